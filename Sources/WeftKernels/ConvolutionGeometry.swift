// Sizes of a convolution and the copies between images and rows of patches.

internal import WeftTensors

/// One spatial axis of a window that slides over an image.
package struct WindowAxis: Sendable, Hashable {
  /// Sizes of input, output and window.
  package let input: Int
  package let output: Int
  package let kernel: Int
  package let stride: Int
  package let dilation: Int
  /// Elements of padding before the first.
  package let before: Int

  /// An axis of these sizes.
  package init(
    input: Int, output: Int, kernel: Int, stride: Int = 1, dilation: Int = 1, before: Int = 0
  ) {
    self.input = input
    self.output = output
    self.kernel = kernel
    self.stride = stride
    self.dilation = dilation
    self.before = before
  }

  /// An axis of one element, to fill up to three.
  package static let unit = WindowAxis(input: 1, output: 1, kernel: 1)

  /// Where tap `tap` of the window at `position` lies; nil in the padding.
  @inline(__always)
  func source(_ position: Int, _ tap: Int) -> Int? {
    let at = position * stride - before + tap * dilation
    return at >= 0 && at < input ? at : nil
  }

  /// The taps of the window at `position` that lie in the image, when nothing is dilated.
  @inline(__always)
  func range(_ position: Int) -> Range<Int> {
    let start = position * stride - before
    return max(0, start)..<max(max(0, start), min(input, start + kernel))
  }

  var isPointwise: Bool { kernel == 1 && stride == 1 && before == 0 && input == output }
}

/// A convolution over three spatial axes; images are [N, D, H, W, C] or [N, C, D, H, W].
package struct ConvolutionGeometry: Sendable {
  package let images: Int
  package let axes: [WindowAxis]
  package let inChannels: Int
  package let outChannels: Int
  package let groups: Int
  package let channelsFirst: Bool

  /// A convolution of these sizes; missing leading axes have one element.
  package init(
    images: Int, axes: [WindowAxis], inChannels: Int, outChannels: Int, groups: Int,
    channelsFirst: Bool
  ) {
    self.images = images
    self.axes = Array(repeating: .unit, count: 3 - axes.count) + axes
    self.inChannels = inChannels
    self.outChannels = outChannels
    self.groups = max(1, groups)
    self.channelsFirst = channelsFirst
  }

  var inSpatial: Int { axes[0].input * axes[1].input * axes[2].input }
  var outSpatial: Int { axes[0].output * axes[1].output * axes[2].output }
  var taps: Int { axes[0].kernel * axes[1].kernel * axes[2].kernel }
  var groupIn: Int { inChannels / groups }
  var groupOut: Int { outChannels / groups }
  /// The length of a patch: the window's elements of one group.
  var patch: Int { taps * groupIn }
  package var inputCount: Int { images * inSpatial * inChannels }
  package var outputCount: Int { images * outSpatial * outChannels }
  package var filterCount: Int { patch * outChannels }
  /// Multiply-adds, counted as two operations each.
  package var flops: Int { 2 &* images &* outSpatial &* outChannels &* patch }

  // A quarter of a megabyte of patches at a time.
  var tileRows: Int { max(1, min(outSpatial, max(16, min(512, 65_536 / max(1, patch))))) }
  var tilesPerImage: Int { (outSpatial + tileRows - 1) / tileRows }
  var tiles: Int { images * tilesPerImage }
  /// Pieces of work with memory of their own: by sizes alone.
  var forwardPieces: Int { max(1, min(16, tiles)) }
  var imagePieces: Int { max(1, min(8, images)) }
  var filterPieces: Int {
    let room = max(1, 8_388_608 / max(1, filterCount))
    return max(1, min(min(8, tiles), room))
  }
  var tileCount: Int { tileRows * patch }
  var isPointwise: Bool {
    groups == 1 && !channelsFirst && axes.allSatisfy(\.isPointwise)
  }

  /// The image and the first and last output position of tile `tile`.
  func tile(_ tile: Int) -> (image: Int, lower: Int, upper: Int) {
    let lower = tile % tilesPerImage * tileRows
    return (tile / tilesPerImage, lower, min(outSpatial, lower + tileRows))
  }

  /// Calls `body` with each tap's row, column in the patch and place in the image (nil in padding)
  /// for the output positions `lower ..< upper`.
  @inline(__always)
  private func forEachTap(_ lower: Int, _ upper: Int, _ body: (Int, Int, Int?) -> Void) {
    let (d, h, w) = (axes[0], axes[1], axes[2])
    for position in lower..<upper {
      let x = position % w.output
      let y = position / w.output % h.output
      let z = position / (w.output * h.output)
      var column = 0
      for kd in 0..<d.kernel {
        let sd = d.source(z, kd)
        for kh in 0..<h.kernel {
          let sh = h.source(y, kh)
          for kw in 0..<w.kernel {
            if let sd, let sh, let sw = w.source(x, kw) {
              body(position - lower, column, (sd * h.input + sh) * w.input + sw)
            } else {
              body(position - lower, column, nil)
            }
            column += groupIn
          }
        }
      }
    }
  }

  /// Copies the windows at `lower ..< upper` of one image and group into rows of patches.
  func gatherPatches<E: StateNumber>(
    _ input: UnsafePointer<E>, image: Int, group: Int, _ lower: Int, _ upper: Int,
    _ patches: UnsafeMutablePointer<E>
  ) {
    let base = input + image * inSpatial * inChannels
    let width = groupIn
    let length = patch
    if channelsFirst {
      let from = base + group * width * inSpatial
      forEachTap(lower, upper) { row, column, place in
        let to = patches + row * length + column
        if let place {
          for c in 0..<width { to[c] = from[c * inSpatial + place] }
        } else {
          for c in 0..<width { to[c] = E.zeroValue }
        }
      }
    } else {
      let from = base + group * width
      forEachTap(lower, upper) { row, column, place in
        let to = patches + row * length + column
        if let place {
          to.update(from: from + place * inChannels, count: width)
        } else {
          for c in 0..<width { to[c] = E.zeroValue }
        }
      }
    }
  }

  /// Adds rows of patches back to the places they came from.
  func scatterPatches<E: StateNumber>(
    _ patches: UnsafePointer<E>, image: Int, group: Int, _ lower: Int, _ upper: Int,
    _ input: UnsafeMutablePointer<E>
  ) {
    let base = input + image * inSpatial * inChannels
    let width = groupIn
    let length = patch
    let (spatialStep, channelStep) = channelsFirst ? (1, inSpatial) : (inChannels, 1)
    let to = base + group * width * (channelsFirst ? inSpatial : 1)
    forEachTap(lower, upper) { row, column, place in
      guard let place else { return }
      let from = patches + row * length + column
      let at = to + place * spatialStep
      if channelStep == 1 {
        for c in 0..<width { at[c] = E.plus(at[c], from[c]) }
      } else {
        for c in 0..<width { at[c * channelStep] = E.plus(at[c * channelStep], from[c]) }
      }
    }
  }
}

// Depthwise convolution and its gradients: each channel has filters of its own.

package import WeftTensors

/// Depthwise convolution loops; operands as in `ConvolutionKernels`. The geometry's output channels
/// are `inChannels * multiplier`; the filter is [h, w, inChannels, multiplier].
package enum DepthwiseKernels {
  /// Runs one part; false for a type that is not a float.
  package static func run(
    _ part: ConvolutionPart, _ dtype: DType, _ g: ConvolutionGeometry, _ a: UnsafeRawPointer,
    _ b: UnsafeRawPointer, _ out: UnsafeMutableRawPointer, pool: ThreadPool
  ) -> Bool {
    withRealType(dtype, Task(part: part, g: g, a: a, b: b, out: out, pool: pool))
  }

  private struct Task: RealTask {
    let part: ConvolutionPart
    let g: ConvolutionGeometry
    let a: UnsafeRawPointer
    let b: UnsafeRawPointer
    let out: UnsafeMutableRawPointer
    let pool: ThreadPool

    @inline(__always)
    private func inPlace(_ image: Int, _ place: Int, _ c: Int) -> Int {
      g.channelsFirst
        ? (image * g.inChannels + c) * g.inSpatial + place
        : (image * g.inSpatial + place) * g.inChannels + c
    }
    @inline(__always)
    private func outPlace(_ image: Int, _ position: Int, _ o: Int) -> Int {
      g.channelsFirst
        ? (image * g.outChannels + o) * g.outSpatial + position
        : (image * g.outSpatial + position) * g.outChannels + o
    }

    func run<E: RealElement>(_: E.Type) {
      let x = a.assumingMemoryBound(to: E.self)
      let y = b.assumingMemoryBound(to: E.self)
      let to = out.assumingMemoryBound(to: E.self)
      switch part {
      case .forward: forward(x, y, to)
      case .input: input(x, y, to)
      case .filter: filter(x, y, to)
      }
    }

    private func forward<E: RealElement>(
      _ x: UnsafePointer<E>, _ f: UnsafePointer<E>, _ y: UnsafeMutablePointer<E>
    ) {
      let (h, w) = (g.axes[1], g.axes[2])
      let multiplier = g.outChannels / max(1, g.inChannels)
      let rows = g.images * g.outSpatial
      let work = max(1, g.taps * g.outChannels)
      pool.split(rows, grain: max(1, 16_384 / work)) { lo, hi in
        for row in lo..<hi {
          let (image, position) = (row / g.outSpatial, row % g.outSpatial)
          let (px, py) = (position % w.output, position / w.output)
          for c in 0..<g.inChannels {
            for q in 0..<multiplier {
              let o = c * multiplier + q
              var sum: E.Wide = 0
              for kh in 0..<h.kernel {
                guard let sh = h.source(py, kh) else { continue }
                for kw in 0..<w.kernel {
                  guard let sw = w.source(px, kw) else { continue }
                  let weight = f[((kh * w.kernel + kw) * g.inChannels + c) * multiplier + q].wide
                  sum += x[inPlace(image, sh * w.input + sw, c)].wide * weight
                }
              }
              y[outPlace(image, position, o)] = E(wide: sum)
            }
          }
        }
      }
    }

    private func input<E: RealElement>(
      _ dy: UnsafePointer<E>, _ f: UnsafePointer<E>, _ dx: UnsafeMutablePointer<E>
    ) {
      let (h, w) = (g.axes[1], g.axes[2])
      let multiplier = g.outChannels / max(1, g.inChannels)
      // One task owns a channel of an image; sums run over the outputs that touch each element.
      pool.split(g.images * g.inSpatial, grain: max(1, 16_384 / max(1, g.taps * g.outChannels))) {
        lo, hi in
        for row in lo..<hi {
          let (image, place) = (row / g.inSpatial, row % g.inSpatial)
          let (ix, iy) = (place % w.input, place / w.input)
          for c in 0..<g.inChannels {
            var sum: E.Wide = 0
            for kh in 0..<h.kernel {
              let ny = iy + h.before - kh * h.dilation
              guard ny >= 0, ny % h.stride == 0, ny / h.stride < h.output else { continue }
              for kw in 0..<w.kernel {
                let nx = ix + w.before - kw * w.dilation
                guard nx >= 0, nx % w.stride == 0, nx / w.stride < w.output else { continue }
                let position = ny / h.stride * w.output + nx / w.stride
                for q in 0..<multiplier {
                  let weight = f[((kh * w.kernel + kw) * g.inChannels + c) * multiplier + q].wide
                  sum += dy[outPlace(image, position, c * multiplier + q)].wide * weight
                }
              }
            }
            dx[inPlace(image, place, c)] = E(wide: sum)
          }
        }
      }
    }

    private func filter<E: RealElement>(
      _ x: UnsafePointer<E>, _ dy: UnsafePointer<E>, _ df: UnsafeMutablePointer<E>
    ) {
      let (h, w) = (g.axes[1], g.axes[2])
      let multiplier = g.outChannels / max(1, g.inChannels)
      let total = g.taps * g.outChannels
      pool.split(total, grain: max(1, 16_384 / max(1, g.images * g.outSpatial))) { lo, hi in
        for index in lo..<hi {
          let q = index % multiplier
          let c = index / multiplier % g.inChannels
          let tap = index / (multiplier * g.inChannels)
          let (kh, kw) = (tap / w.kernel, tap % w.kernel)
          var sum: E.Wide = 0
          for image in 0..<g.images {
            for py in 0..<h.output {
              guard let sh = h.source(py, kh) else { continue }
              for px in 0..<w.output {
                guard let sw = w.source(px, kw) else { continue }
                let grad = dy[outPlace(image, py * w.output + px, c * multiplier + q)].wide
                sum += x[inPlace(image, sh * w.input + sw, c)].wide * grad
              }
            }
          }
          df[index] = E(wide: sum)
        }
      }
    }
  }
}

// Maximum and average over windows of images, with gradients.

package import WeftTensors

/// Pooling loops. The geometry's filter sizes are the window; output channels are the input's.
package enum PoolingKernels {
  /// Average of the window's elements in the image (padding does not count). `x` to `y`; or, for
  /// the gradient, the output gradient `x` to the input gradient `y`. False for other types.
  package static func average(
    _ dtype: DType, _ g: ConvolutionGeometry, _ x: UnsafeRawPointer, _ y: UnsafeMutableRawPointer,
    isGradient: Bool, pool: ThreadPool
  ) -> Bool {
    withRealType(dtype, AverageTask(g: g, x: x, y: y, isGradient: isGradient, pool: pool))
  }

  /// Strides of an element's place and channel, for images of `spatial` places.
  @inline(__always)
  fileprivate static func steps(
    _ g: ConvolutionGeometry, _ spatial: Int
  ) -> (place: Int, channel: Int) {
    g.channelsFirst ? (1, spatial) : (g.inChannels, 1)
  }

  private struct AverageTask: RealTask {
    let g: ConvolutionGeometry
    let x: UnsafeRawPointer
    let y: UnsafeMutableRawPointer
    let isGradient: Bool
    let pool: ThreadPool

    func run<E: RealElement>(_: E.Type) {
      if isGradient { backward(E.self) } else { forward(E.self) }
    }

    private func forward<E: RealElement>(_: E.Type) {
      let (h, w, channels) = (g.axes[1], g.axes[2], g.inChannels)
      let (inStep, outStep) = (
        PoolingKernels.steps(g, g.inSpatial), PoolingKernels.steps(g, g.outSpatial)
      )
      let from = x.assumingMemoryBound(to: E.self)
      let to = y.assumingMemoryBound(to: E.self)
      let work = max(1, g.taps * channels)
      pool.split(g.images * g.outSpatial, grain: max(1, 16_384 / work)) { lo, hi in
        for row in lo..<hi {
          let (image, position) = (row / g.outSpatial, row % g.outSpatial)
          let ys = h.range(position / w.output)
          let xs = w.range(position % w.output)
          let count = E.Wide(ys.count * xs.count)
          let base = from + image * g.inSpatial * channels
          let out = to + image * g.outSpatial * channels + position * outStep.place
          for c in 0..<channels {
            var sum: E.Wide = 0
            for iy in ys {
              for ix in xs {
                sum += base[(iy * w.input + ix) * inStep.place + c * inStep.channel].wide
              }
            }
            out[c * outStep.channel] = E(wide: sum / count)
          }
        }
      }
    }

    private func backward<E: RealElement>(_: E.Type) {
      let (h, w, channels) = (g.axes[1], g.axes[2], g.inChannels)
      let (inStep, outStep) = (
        PoolingKernels.steps(g, g.inSpatial), PoolingKernels.steps(g, g.outSpatial)
      )
      let dy = x.assumingMemoryBound(to: E.self)
      let dx = y.assumingMemoryBound(to: E.self)
      // One image a task: windows overlap.
      pool.split(g.images, grain: max(1, 16_384 / max(1, g.inSpatial * channels))) { lo, hi in
        for image in lo..<hi {
          let to = dx + image * g.inSpatial * channels
          let from = dy + image * g.outSpatial * channels
          for i in 0..<(g.inSpatial * channels) { to[i] = E(wide: 0) }
          for position in 0..<g.outSpatial {
            let ys = h.range(position / w.output)
            let xs = w.range(position % w.output)
            let count = E.Wide(ys.count * xs.count)
            for iy in ys {
              for ix in xs {
                let place = to + (iy * w.input + ix) * inStep.place
                let grad = from + position * outStep.place
                for c in 0..<channels {
                  let at = c * inStep.channel
                  place[at] = E(wide: place[at].wide + grad[c * outStep.channel].wide / count)
                }
              }
            }
          }
        }
      }
    }
  }

  /// Where the maximum of each window is; what is done with it depends on the caller.
  package struct MaximumCall {
    package let g: ConvolutionGeometry
    package let x: UnsafeRawPointer
    /// The maximum, for the forward op.
    package var y: UnsafeMutableRawPointer?
    /// The flat index of the maximum, for MaxPoolWithArgmax.
    package var argmax: UnsafeMutableRawPointer?
    package var isWide = false
    package var includesBatch = false
    /// Output gradient and input gradient, for the gradient op.
    package var dy: UnsafeRawPointer?
    package var dx: UnsafeMutableRawPointer?

    /// A call that reads `x`.
    package init(_ g: ConvolutionGeometry, _ x: UnsafeRawPointer) {
      self.g = g
      self.x = x
    }
  }

  /// Runs a maximum over windows; of equal elements the first counts. False for other types.
  package static func maximum(_ dtype: DType, _ call: MaximumCall, pool: ThreadPool) -> Bool {
    switch dtype {
    case .float32: maximum(Float.self, call, pool) { $0 > $1 }
    case .float64: maximum(Double.self, call, pool) { $0 > $1 }
    case .bfloat16: maximum(BFloat16.self, call, pool) { $0.float > $1.float }
    #if !(os(macOS) && arch(x86_64))
      case .float16: maximum(Float16.self, call, pool) { $0 > $1 }
    #endif
    case .int8: maximum(Int8.self, call, pool) { $0 > $1 }
    case .int16: maximum(Int16.self, call, pool) { $0 > $1 }
    case .int32: maximum(Int32.self, call, pool) { $0 > $1 }
    case .int64: maximum(Int64.self, call, pool) { $0 > $1 }
    case .uint8: maximum(UInt8.self, call, pool) { $0 > $1 }
    case .uint16: maximum(UInt16.self, call, pool) { $0 > $1 }
    case .uint32: maximum(UInt32.self, call, pool) { $0 > $1 }
    case .uint64: maximum(UInt64.self, call, pool) { $0 > $1 }
    default: return false
    }
    return true
  }

  @inline(__always)
  private static func maximum<E: StateNumber>(
    _: E.Type, _ call: MaximumCall, _ pool: ThreadPool, _ exceeds: (E, E) -> Bool
  ) {
    let g = call.g
    let (h, w, channels) = (g.axes[1], g.axes[2], g.inChannels)
    let (inStep, outStep) = (steps(g, g.inSpatial), steps(g, g.outSpatial))
    let from = call.x.assumingMemoryBound(to: E.self)
    let perImage = g.inSpatial * channels
    // Calls `body` with channel, output index within the image, and the place of the maximum.
    func visit(_ image: Int, _ position: Int, _ body: (Int, Int, Int) -> Void) {
      let ys = h.range(position / w.output)
      let xs = w.range(position % w.output)
      let base = from + image * perImage
      for c in 0..<channels {
        var best = -1
        for iy in ys {
          for ix in xs {
            let at = (iy * w.input + ix) * inStep.place + c * inStep.channel
            if best < 0 || exceeds(base[at], base[best]) { best = at }
          }
        }
        if best >= 0 { body(c, position * outStep.place + c * outStep.channel, best) }
      }
    }
    if let dy = call.dy?.assumingMemoryBound(to: E.self),
      let dx = call.dx?.assumingMemoryBound(to: E.self)
    {
      pool.split(g.images, grain: max(1, 16_384 / max(1, perImage))) { lo, hi in
        for image in lo..<hi {
          let to = dx + image * perImage
          let grad = dy + image * g.outSpatial * channels
          for i in 0..<perImage { to[i] = E.zeroValue }
          for position in 0..<g.outSpatial {
            visit(image, position) { _, out, best in to[best] = E.plus(to[best], grad[out]) }
          }
        }
      }
      return
    }
    let y = call.y?.assumingMemoryBound(to: E.self)
    let work = max(1, g.taps * channels)
    pool.split(g.images * g.outSpatial, grain: max(1, 16_384 / work)) { lo, hi in
      for row in lo..<hi {
        let (image, position) = (row / g.outSpatial, row % g.outSpatial)
        let start = image * g.outSpatial * channels
        visit(image, position) { _, out, best in
          if let y { y[start + out] = from[image * perImage + best] }
          guard let argmax = call.argmax else { return }
          let index = call.includesBatch ? image * perImage + best : best
          if call.isWide {
            argmax.assumingMemoryBound(to: Int64.self)[start + out] = Int64(index)
          } else {
            argmax.assumingMemoryBound(to: Int32.self)[start + out] = Int32(
              truncatingIfNeeded: index)
          }
        }
      }
    }
  }
}

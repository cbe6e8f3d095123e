// Batch normalization over a channel axis, with its gradient, and local response normalization.

package import WeftTensors

/// Batch normalization loops; statistics are float32, sums are taken in double.
package enum BatchNormKernels {
  /// Where the channel statistics of one call go.
  package struct Forward {
    package var x: UnsafeRawPointer
    package var scale: UnsafePointer<Float>
    package var offset: UnsafePointer<Float>
    /// Given mean and variance: what is used, or what the running averages start from.
    package var mean: UnsafePointer<Float>
    package var variance: UnsafePointer<Float>
    package var y: UnsafeMutableRawPointer
    package var newMean: UnsafeMutablePointer<Float>
    package var newVariance: UnsafeMutablePointer<Float>
    package var savedMean: UnsafeMutablePointer<Float>
    package var savedVariance: UnsafeMutablePointer<Float>

    /// All operands.
    package init(
      x: UnsafeRawPointer, scale: UnsafePointer<Float>, offset: UnsafePointer<Float>,
      mean: UnsafePointer<Float>, variance: UnsafePointer<Float>, y: UnsafeMutableRawPointer,
      newMean: UnsafeMutablePointer<Float>, newVariance: UnsafeMutablePointer<Float>,
      savedMean: UnsafeMutablePointer<Float>, savedVariance: UnsafeMutablePointer<Float>
    ) {
      self.x = x
      self.scale = scale
      self.offset = offset
      self.mean = mean
      self.variance = variance
      self.y = y
      self.newMean = newMean
      self.newVariance = newVariance
      self.savedMean = savedMean
      self.savedVariance = savedVariance
    }
  }

  /// y = (x - mean) / sqrt(variance + epsilon) * scale + offset. False for other types.
  package static func forward(
    _ dtype: DType, _ layout: ChannelLayout, _ f: Forward, epsilon: Float, factor: Float,
    isTraining: Bool, pool: ThreadPool
  ) -> Bool {
    withRealType(
      dtype,
      ForwardTask(
        layout: layout, f: f, epsilon: epsilon, factor: factor, isTraining: isTraining, pool: pool))
  }

  private struct ForwardTask: RealTask {
    let layout: ChannelLayout
    let f: Forward
    let epsilon: Float
    let factor: Float
    let isTraining: Bool
    let pool: ThreadPool

    func run<E: RealElement>(_: E.Type) {
      let (outer, channels, inner) = (layout.outer, layout.channels, layout.inner)
      let x = f.x.assumingMemoryBound(to: E.self)
      let y = f.y.assumingMemoryBound(to: E.self)
      let count = outer * inner
      pool.split(channels, grain: max(1, 16_384 / max(1, count))) { lo, hi in
        for c in lo..<hi {
          var mean = f.mean[c]
          var variance = f.variance[c]
          if isTraining {
            var sum = 0.0
            layout.forEach(c) { sum += Double(x[$0].wide) }
            let average = count > 0 ? sum / Double(count) : 0
            var squares = 0.0
            layout.forEach(c) {
              let d = Double(x[$0].wide) - average
              squares += d * d
            }
            let spread = count > 0 ? squares / Double(count) : 0
            mean = Float(average)
            variance = Float(spread)
            // The running variance is the unbiased one.
            let unbiased = count > 1 ? squares / Double(count - 1) : spread
            if factor == 1 {
              f.newMean[c] = mean
              f.newVariance[c] = Float(unbiased)
            } else {
              f.newMean[c] = (1 - factor) * f.mean[c] + factor * mean
              f.newVariance[c] = (1 - factor) * f.variance[c] + factor * Float(unbiased)
            }
          } else {
            f.newMean[c] = mean
            f.newVariance[c] = variance
          }
          f.savedMean[c] = mean
          f.savedVariance[c] = variance
          let scale = f.scale[c] / (variance + epsilon).squareRoot()
          let offset = f.offset[c]
          layout.forEach(c) {
            y[$0] = E(wide: E.Wide((Float(x[$0].wide) - mean) * scale + offset))
          }
        }
      }
    }
  }

  /// The gradients with respect to x, scale and offset. False for other types.
  package static func backward(
    _ dtype: DType, _ layout: ChannelLayout, dy: UnsafeRawPointer, x: UnsafeRawPointer,
    scale: UnsafePointer<Float>, mean: UnsafePointer<Float>, variance: UnsafePointer<Float>,
    dx: UnsafeMutableRawPointer, dScale: UnsafeMutablePointer<Float>,
    dOffset: UnsafeMutablePointer<Float>, epsilon: Float, isTraining: Bool, pool: ThreadPool
  ) -> Bool {
    withRealType(
      dtype,
      BackwardTask(
        layout: layout, dy: dy, x: x, scale: scale, mean: mean, variance: variance, dx: dx,
        dScale: dScale, dOffset: dOffset, epsilon: epsilon, isTraining: isTraining, pool: pool))
  }

  private struct BackwardTask: RealTask {
    let layout: ChannelLayout
    let dy: UnsafeRawPointer
    let x: UnsafeRawPointer
    let scale: UnsafePointer<Float>
    let mean: UnsafePointer<Float>
    let variance: UnsafePointer<Float>
    let dx: UnsafeMutableRawPointer
    let dScale: UnsafeMutablePointer<Float>
    let dOffset: UnsafeMutablePointer<Float>
    let epsilon: Float
    let isTraining: Bool
    let pool: ThreadPool

    func run<E: RealElement>(_: E.Type) {
      let g = dy.assumingMemoryBound(to: E.self)
      let from = x.assumingMemoryBound(to: E.self)
      let to = dx.assumingMemoryBound(to: E.self)
      let count = layout.outer * layout.inner
      pool.split(layout.channels, grain: max(1, 16_384 / max(1, count))) { lo, hi in
        for c in lo..<hi {
          let mean = Double(self.mean[c])
          let spread = Double(variance[c]) + Double(epsilon)
          let inverse = 1 / spread.squareRoot()
          var sum = 0.0
          var product = 0.0
          layout.forEach(c) {
            let d = Double(g[$0].wide)
            sum += d
            product += d * (Double(from[$0].wide) - mean)
          }
          dOffset[c] = Float(sum)
          dScale[c] = Float(product * inverse)
          let factor = Double(scale[c]) * inverse
          if isTraining {
            let average = sum / Double(max(1, count))
            let slope = product / Double(max(1, count)) / spread
            layout.forEach(c) {
              let centered = Double(from[$0].wide) - mean
              let value = (Double(g[$0].wide) - average - centered * slope) * factor
              to[$0] = E(wide: E.Wide(value))
            }
          } else {
            layout.forEach(c) { to[$0] = E(wide: E.Wide(Double(g[$0].wide) * factor)) }
          }
        }
      }
    }
  }

  /// Local response normalization over the last axis: x / (bias + alpha * sum of squares)^beta.
  package static func localResponse(
    _ dtype: DType, rows: Int, channels: Int, radius: Int, bias: Float, alpha: Float, beta: Float,
    _ x: UnsafeRawPointer, _ y: UnsafeMutableRawPointer, pool: ThreadPool
  ) -> Bool {
    struct Task: RealTask {
      let rows: Int
      let channels: Int
      let radius: Int
      let bias: Float
      let alpha: Float
      let beta: Float
      let x: UnsafeRawPointer
      let y: UnsafeMutableRawPointer
      let pool: ThreadPool
      func run<E: RealElement>(_: E.Type) {
        pool.split(rows, grain: max(1, 4_096 / max(1, channels))) { lo, hi in
          for row in lo..<hi {
            let from = x.assumingMemoryBound(to: E.self) + row * channels
            let to = y.assumingMemoryBound(to: E.self) + row * channels
            for c in 0..<channels {
              let norm = bias + alpha * BatchNormKernels.squares(from, c, radius, channels)
              to[c] = E(wide: E.Wide(Float(from[c].wide) * Float.power(norm, -beta)))
            }
          }
        }
      }
    }
    return withRealType(
      dtype,
      Task(
        rows: rows, channels: channels, radius: radius, bias: bias, alpha: alpha, beta: beta, x: x,
        y: y, pool: pool))
  }

  /// The gradient of `localResponse`, from the output gradient, its input and its output.
  package static func localResponseGradient(
    _ dtype: DType, rows: Int, channels: Int, radius: Int, bias: Float, alpha: Float, beta: Float,
    dy: UnsafeRawPointer, _ x: UnsafeRawPointer, _ y: UnsafeRawPointer,
    dx: UnsafeMutableRawPointer, pool: ThreadPool
  ) -> Bool {
    struct Task: RealTask {
      let rows: Int
      let channels: Int
      let radius: Int
      let bias: Float
      let alpha: Float
      let beta: Float
      let dy: UnsafeRawPointer
      let x: UnsafeRawPointer
      let y: UnsafeRawPointer
      let dx: UnsafeMutableRawPointer
      let pool: ThreadPool
      func run<E: RealElement>(_: E.Type) {
        pool.split(rows, grain: max(1, 4_096 / max(1, channels))) { lo, hi in
          withUnsafeTemporaryAllocation(of: Float.self, capacity: max(1, channels)) { sums in
            for row in lo..<hi {
              let grad = dy.assumingMemoryBound(to: E.self) + row * channels
              let from = x.assumingMemoryBound(to: E.self) + row * channels
              let out = y.assumingMemoryBound(to: E.self) + row * channels
              let to = dx.assumingMemoryBound(to: E.self) + row * channels
              for c in 0..<channels { sums[c] = 0 }
              for c in 0..<channels {
                let norm = bias + alpha * BatchNormKernels.squares(from, c, radius, channels)
                let g = Float(grad[c].wide)
                let shared = -2 * alpha * beta * Float(out[c].wide) / norm * g
                for k in max(0, c - radius)..<min(channels, c + radius + 1) {
                  sums[k] += Float(from[k].wide) * shared
                }
                sums[c] += Float.power(norm, -beta) * g
              }
              for c in 0..<channels { to[c] = E(wide: E.Wide(sums[c])) }
            }
          }
        }
      }
    }
    return withRealType(
      dtype,
      Task(
        rows: rows, channels: channels, radius: radius, bias: bias, alpha: alpha, beta: beta,
        dy: dy, x: x, y: y, dx: dx, pool: pool))
  }

  private static func squares<E: RealElement>(
    _ x: UnsafePointer<E>, _ c: Int, _ radius: Int, _ channels: Int
  ) -> Float {
    var sum: Float = 0
    for k in max(0, c - radius)..<min(channels, c + radius + 1) {
      let v = Float(x[k].wide)
      sum += v * v
    }
    return sum
  }
}

extension ChannelLayout {
  /// Calls `body` with the flat index of every element of channel `c`.
  @inline(__always)
  func forEach(_ c: Int, _ body: (Int) -> Void) {
    for row in 0..<outer {
      let start = (row * channels + c) * inner
      for i in 0..<inner { body(start + i) }
    }
  }
}

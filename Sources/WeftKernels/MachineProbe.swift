// Measuring what this machine does at best, in this process.

public import WeftTensors

/// Short measurements of the machine.
public enum MachineProbe {
  private static func seconds(_ body: () -> Void) -> Double {
    let start = ContinuousClock.now
    body()
    let parts = start.duration(to: .now).components
    return Double(parts.seconds) + Double(parts.attoseconds) * 1e-18
  }

  /// Operations a second of float32 matrix products on the pool's threads: tiles of 512 x 464 over
  /// 128, the size at which BLAS runs at its best here, two for each thread.
  public static func productRate(_ pool: ThreadPool, repeats: Int = 3) -> Double {
    let (m, n, k) = (512, 464, 128)
    let tasks = 8 * pool.width
    let a = UnsafeMutablePointer<Float>.allocate(capacity: m * k)
    let b = UnsafeMutablePointer<Float>.allocate(capacity: k * n)
    let c = UnsafeMutablePointer<Float>.allocate(capacity: m * n * pool.width * 2)
    defer {
      a.deallocate()
      b.deallocate()
      c.deallocate()
    }
    a.initialize(repeating: 0.5, count: m * k)
    b.initialize(repeating: 0.25, count: k * n)
    c.initialize(repeating: 0, count: m * n * pool.width * 2)
    BlasThreads.enter()
    defer { BlasThreads.leave() }
    var best = Double.infinity
    for _ in 0...repeats {
      // Two halves for each thread, so that a result is not written twice at once.
      let elapsed = seconds {
        pool.parallel(pool.width) { thread in
          for task in 0..<tasks / pool.width {
            Float.blasMultiply(
              false, false, m, n, k, 1, a, k, b, n, 0, c + (thread * 2 + task % 2) * m * n, n)
          }
        }
      }
      best = min(best, elapsed)
    }
    return Double(tasks) * 2 * Double(m * n * k) / best
  }

  /// Bytes a second of y = a x + y over 64 MB, on the pool's threads.
  public static func memoryRate(_ pool: ThreadPool) -> Double {
    let count = 8 << 20
    let x = UnsafeMutablePointer<Float>.allocate(capacity: count)
    let y = UnsafeMutablePointer<Float>.allocate(capacity: count)
    defer {
      x.deallocate()
      y.deallocate()
    }
    x.initialize(repeating: 1, count: count)
    y.initialize(repeating: 1, count: count)
    guard let add = BinaryFunction.add.row(.float32) else { return 1 }
    var best = Double.infinity
    for _ in 0..<3 {
      let elapsed = seconds {
        pool.split(count, grain: 1 << 16) { lower, upper in
          add(x + lower, y + lower, y + lower, upper - lower, .both)
        }
      }
      best = min(best, elapsed)
    }
    return Double(count) * 12 / best
  }
}

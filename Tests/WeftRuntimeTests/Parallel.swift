// Threads for tests.

import Foundation
import Synchronization

/// Runs `body(0) ..< body(count)` on threads of their own, all of them at once however busy the
/// machine is; the first error is thrown.
func inParallel(_ count: Int, _ body: @escaping @Sendable (Int) throws -> Void) throws {
  let failure = Failure()
  let running = DispatchGroup()
  for index in 0..<count {
    running.enter()
    Thread.detachNewThread {
      do {
        try body(index)
      } catch {
        failure.first.withLock { $0 = $0 ?? error }
      }
      running.leave()
    }
  }
  running.wait()
  if let error = failure.first.withLock({ $0 }) { throw error }
}

private final class Failure: Sendable {
  let first = Mutex<(any Error)?>(nil)
}

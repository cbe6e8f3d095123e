// Which runs of a session go on at once: those that change nothing side by side, the others alone.

#if canImport(Glibc)
  internal import Glibc
#elseif canImport(Darwin)
  internal import Darwin
#endif

/// Lets runs in, in the order in which they came, so that none waits for ever.
final class RunGate: @unchecked Sendable {
  private let limit: Int
  private let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
  private let changed = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)
  // What follows is read and written under the mutex.
  private var tickets: UInt64 = 0
  private var serving: UInt64 = 0
  private var running = 0
  private var isOneAlone = false
  private var waiting = 0

  /// A gate that lets `limit` runs through at once.
  init(limit: Int) {
    self.limit = max(1, limit)
    mutex.initialize(to: pthread_mutex_t())
    changed.initialize(to: pthread_cond_t())
    pthread_mutex_init(mutex, nil)
    pthread_cond_init(changed, nil)
  }

  deinit {
    pthread_cond_destroy(changed)
    pthread_mutex_destroy(mutex)
    changed.deallocate()
    mutex.deallocate()
  }

  /// Waits until this run may go on, and for what it needs beside.
  /// - Parameters:
  ///   - alone: whether no other run may go on at the same time.
  ///   - take: gives what the run needs, or nil to wait until another run ends. It has the gate for
  ///     itself, and must not wait.
  func enter<Needed>(alone: Bool, _ take: () throws -> Needed?) rethrows -> Needed {
    pthread_mutex_lock(mutex)
    defer { pthread_mutex_unlock(mutex) }
    let ticket = tickets
    tickets &+= 1
    while true {
      if serving == ticket, alone ? running == 0 : running < limit && !isOneAlone {
        do {
          if let needed = try take() {
            running += 1
            isOneAlone = alone
            next()
            return needed
          }
        } catch {
          next()
          throw error
        }
      }
      waiting += 1
      pthread_cond_wait(changed, mutex)
      waiting -= 1
    }
  }

  /// A run ends; `give` puts back what it took.
  func leave(_ give: () -> Void) {
    withLock {
      give()
      running -= 1
      isOneAlone = false
      if waiting > 0 { pthread_cond_broadcast(changed) }
    }
  }

  /// Reads or changes what is guarded by the gate.
  func withLock<Value>(_ body: () -> Value) -> Value {
    pthread_mutex_lock(mutex)
    defer { pthread_mutex_unlock(mutex) }
    return body()
  }

  private func next() {
    serving &+= 1
    if waiting > 0 { pthread_cond_broadcast(changed) }
  }
}

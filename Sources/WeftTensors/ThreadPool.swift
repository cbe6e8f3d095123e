// A fixed team of threads that share out numbered tasks.

internal import Synchronization

#if canImport(Glibc)
  internal import Glibc
#elseif canImport(Darwin)
  internal import Darwin
#endif

/// Threads that run numbered tasks together with the caller.
///
/// Which thread takes which task is not fixed, so a kernel's tasks must not depend on the number of
/// threads: the same grid of tasks at every width gives the same bits.
public final class ThreadPool: @unchecked Sendable {
  /// The number of threads that work on one job, the caller included.
  public let width: Int

  private let state: UnsafeMutablePointer<State>
  private var threads: [pthread_t] = []
  private let busy = Atomic<Bool>(false)

  // Shared with the workers; lives as long as they do.
  private final class State {
    var mutex = pthread_mutex_t()
    var wake = pthread_cond_t()
    let generation = Atomic<Int>(0)
    /// For each thread the next task of its share, each in a cache line of its own.
    let next: UnsafeMutablePointer<Atomic<Int>>
    let width: Int
    let joined = Atomic<Int>(0)
    let running = Atomic<Int>(0)
    let stop = Atomic<Bool>(false)
    var count = 0
    var body: ((Int) -> Void)?

    private static let lineLength = 16

    init(width: Int) {
      self.width = width
      next = .allocate(capacity: width * State.lineLength)
      for place in 0..<width * State.lineLength { (next + place).initialize(to: Atomic(0)) }
    }

    deinit {
      next.deinitialize(count: width * State.lineLength)
      next.deallocate()
    }

    private func start(_ thread: Int) -> Int { thread * count / width }

    func shareOut() {
      for thread in 0..<width {
        next[thread * State.lineLength].store(start(thread), ordering: .relaxed)
      }
    }

    // A thread's own share first, so that it finds again in its cache what the same task of an
    // earlier job read; then what is left of the others'.
    func drain(_ thread: Int) {
      guard let body else { return }
      for other in 0..<width {
        let owner = (thread + other) % width
        let end = start(owner + 1)
        while true {
          let index = next[owner * State.lineLength].wrappingAdd(1, ordering: .relaxed).oldValue
          if index >= end { break }
          body(index)
        }
      }
    }

    func work() {
      // The caller of `parallel` is thread 0.
      let thread = joined.wrappingAdd(1, ordering: .relaxed).newValue
      var seen = 0
      while true {
        // A short spin: the next job usually follows within microseconds.
        var spins = 0
        while generation.load(ordering: .acquiring) == seen && spins < 4_000 {
          spins += 1
          if stop.load(ordering: .relaxed) { return }
        }
        if generation.load(ordering: .acquiring) == seen {
          pthread_mutex_lock(&mutex)
          while generation.load(ordering: .acquiring) == seen
            && !stop.load(ordering: .relaxed)
          {
            pthread_cond_wait(&wake, &mutex)
          }
          pthread_mutex_unlock(&mutex)
        }
        if stop.load(ordering: .acquiring) { return }
        seen = generation.load(ordering: .acquiring)
        drain(thread)
        running.wrappingSubtract(1, ordering: .acquiringAndReleasing)
      }
    }
  }

  /// A pool of `width` threads; the caller of `parallel` is one of them.
  public init(width: Int) {
    self.width = max(1, width)
    state = .allocate(capacity: 1)
    state.initialize(to: State(width: self.width))
    pthread_mutex_init(&state.pointee.mutex, nil)
    pthread_cond_init(&state.pointee.wake, nil)
    for _ in 1..<self.width where self.width > 1 {
      #if canImport(Darwin)
        var thread: pthread_t?
      #else
        var thread = pthread_t()
      #endif
      let box = Unmanaged.passRetained(state.pointee)
      let failed = pthread_create(
        &thread, nil,
        { argument in
          #if canImport(Darwin)
            let shared = Unmanaged<State>.fromOpaque(argument).takeRetainedValue()
          #else
            guard let argument else { return nil }
            let shared = Unmanaged<State>.fromOpaque(argument).takeRetainedValue()
          #endif
          shared.work()
          return nil
        }, box.toOpaque())
      if failed != 0 {
        box.release()
        break
      }
      #if canImport(Darwin)
        if let thread { threads.append(thread) }
      #else
        threads.append(thread)
      #endif
    }
  }

  deinit {
    let shared = state.pointee
    pthread_mutex_lock(&shared.mutex)
    shared.stop.store(true, ordering: .releasing)
    pthread_cond_broadcast(&shared.wake)
    pthread_mutex_unlock(&shared.mutex)
    for thread in threads { pthread_join(thread, nil) }
    pthread_cond_destroy(&shared.wake)
    pthread_mutex_destroy(&shared.mutex)
    state.deinitialize(count: 1)
    state.deallocate()
  }

  /// Runs `body(0) ..< body(count)`, each once, on the pool's threads; returns when all have run.
  ///
  /// A call from inside a task, or while another job runs, works on the calling thread alone.
  public func parallel(_ count: Int, _ body: (Int) -> Void) {
    if count <= 0 { return }
    if count == 1 || threads.isEmpty || busy.exchange(true, ordering: .acquiring) {
      for index in 0..<count { body(index) }
      return
    }
    defer { busy.store(false, ordering: .releasing) }
    let shared = state.pointee
    withoutActuallyEscaping(body) { escapable in
      shared.count = count
      shared.body = escapable
      shared.shareOut()
      shared.running.store(threads.count, ordering: .relaxed)
      pthread_mutex_lock(&shared.mutex)
      shared.generation.wrappingAdd(1, ordering: .releasing)
      pthread_cond_broadcast(&shared.wake)
      pthread_mutex_unlock(&shared.mutex)
      shared.drain(0)
      // A short spin, then the processor is given up: on a busy machine the others need it.
      var spins = 0
      while shared.running.load(ordering: .acquiring) > 0 {
        spins += 1
        if spins > 4_000 { sched_yield() }
      }
      shared.body = nil
    }
  }

  /// Runs `body(lower, upper)` over pieces of `0 ..< count` of at least `grain` items.
  ///
  /// The pieces do not depend on the width: only on `count` and `grain`.
  public func split(_ count: Int, grain: Int, _ body: (Int, Int) -> Void) {
    let grain = max(1, grain)
    if count <= grain {
      if count > 0 { body(0, count) }
      return
    }
    // At most 64 pieces: enough for any team this pool serves, few enough to be cheap.
    let pieces = min(64, count / grain)
    parallel(pieces) { piece in
      let lower = piece * count / pieces
      let upper = (piece + 1) * count / pieces
      body(lower, upper)
    }
  }
}

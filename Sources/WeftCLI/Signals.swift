// SIGINT and SIGTERM: most verbs end at once, training saves first.

internal import Synchronization

#if canImport(Glibc)
  internal import Glibc
#elseif canImport(Musl)
  internal import Musl
#elseif canImport(Darwin)
  internal import Darwin
#endif

/// What to do when the user or the system asks to stop.
///
/// A file is written beside its place and renamed, so ending at once can only leave the temporary
/// file behind; while one is being written the end waits.
enum Signals {
  private static let received = Atomic<Int32>(0)
  private static let isGraceful = Atomic<Bool>(false)
  private static let writing = Atomic<Int>(0)

  /// The exit code that a signal asks for, once one has come: 130 or 143.
  static var exitCode: Int32? {
    let signal = received.load(ordering: .relaxed)
    return signal == 0 ? nil : 128 + signal
  }

  /// Whether a signal has come.
  static var isStopping: Bool { exitCode != nil }

  static func install() {
    // Touched now: a handler must not be the first to make them.
    _ = (received.load(ordering: .relaxed), isGraceful.load(ordering: .relaxed))
    _ = writing.load(ordering: .relaxed)
    for number in [SIGINT, SIGTERM] { signal(number) { Signals.handle($0) } }
    // Whoever started us may have had them blocked, as threads of libdispatch have.
    var asked = sigset_t()
    sigemptyset(&asked)
    for number in [SIGINT, SIGTERM] { sigaddset(&asked, number) }
    pthread_sigmask(SIG_UNBLOCK, &asked, nil)
    // A reader that went away shows as a failed write.
    signal(SIGPIPE, SIG_IGN)
  }

  private static func handle(_ number: Int32) {
    let again = received.exchange(number, ordering: .relaxed) != 0
    let waits =
      writing.load(ordering: .relaxed) > 0 || isGraceful.load(ordering: .relaxed)
    if again || !waits { _exit(128 + number) }
  }

  /// Runs `body`, which looks at `isStopping` and stops by itself.
  static func handledGracefully<Result>(_ body: () throws -> Result) rethrows -> Result {
    isGraceful.store(true, ordering: .relaxed)
    defer { isGraceful.store(false, ordering: .relaxed) }
    return try body()
  }

  /// Runs `body`, which writes files; a signal is obeyed after it.
  static func deferredWhileWriting<Result>(_ body: () throws -> Result) rethrows -> Result {
    writing.wrappingAdd(1, ordering: .relaxed)
    defer {
      writing.wrappingSubtract(1, ordering: .relaxed)
      if let exitCode, !isGraceful.load(ordering: .relaxed) { _exit(exitCode) }
    }
    return try body()
  }
}

// When each step of one run began and ended.

public import WeftCompiler

/// The timing of one run, step by step.
public struct RunTrace: Sendable {
  /// One step's time, in seconds from the run's start.
  public struct Entry: Sendable {
    /// The step, by place in the plan.
    public let step: Int
    /// When it began.
    public let begin: Double
    /// When it ended.
    public let end: Double
  }

  /// What ran.
  public let plan: Plan
  /// The steps that ran, in order.
  public let entries: [Entry]
  /// The threads that the run had, the caller included.
  public let threads: Int
}

/// Collects the times of a run's steps.
struct StepClock {
  private let start = ContinuousClock.now
  private(set) var entries: [RunTrace.Entry] = []

  func now() -> Double {
    let parts = start.duration(to: .now).components
    return Double(parts.seconds) + Double(parts.attoseconds) * 1e-18
  }

  mutating func add(_ step: Int, from begin: Double) {
    entries.append(RunTrace.Entry(step: step, begin: begin, end: now()))
  }
}

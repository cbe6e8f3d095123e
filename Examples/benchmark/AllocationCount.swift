// Heap allocations of repeated runs, as Tests/Tools/count_allocations.py counts them.

import ArgumentParser
import Weft

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

struct AllocationCount: Workload {
  static let configuration = CommandConfiguration(
    commandName: "allocations", abstract: "Count allocations of runs, under a preloaded counter.",
    shouldDisplay: false)

  @Option(help: "rnn, lstm, lstm2 or gru; one generated character if not given.")
  var cell: BenchmarkCell?

  @Flag(help: "Update by plain gradient descent: every size is known before the run.")
  var plain = false

  @Option(help: "Runs before counting.")
  var warmup = 5

  @Option(help: "Counted runs.")
  var steps = 20

  @OptionGroup var common: CommonOptions

  func validate() throws {
    if warmup < 2 { throw ValidationError("--warmup takes a number from 2") }
    if steps < 1 { throw ValidationError("--steps takes a number from 1") }
  }

  func measure() throws -> Report {
    guard let counter = AllocationCounter() else {
      throw WeftError(
        .failedPrecondition, "no allocation counter is preloaded", category: .usage,
        hint: "run it by Tests/Tools/count_allocations.py")
    }
    let run: PreparedRun
    var now: [Tensor]
    var next: [Tensor]
    if let cell {
      let step = try TrainStep(.tiny(cell, steps: 12), isPlain: plain)
      run = try step.prepare(threads: common.width)
      now = try step.randomFeeds(1)[0]
      next = []
    } else {
      let step = try GenerationStep(vocabulary: 50, hidden: 8, embedding: 8)
      run = try step.prepare(threads: common.width)
      now = try step.start()
      next = try step.start()
    }
    let goesOn = cell == nil
    func repeated(_ count: Int) throws {
      for _ in 0..<count {
        try run.run(now, into: &next)
        if goesOn { swap(&now, &next) }
      }
    }
    try repeated(warmup)
    let before = counter.count()
    counter.mark()
    try repeated(steps)
    let after = counter.count()
    counter.mark()
    var report = Report("allocations")
    report.add("workload", cell?.rawValue ?? "generate")
    report.add("late_steps", run.plan.steps.count { $0.isLate })
    report.add("counted_steps", steps)
    report.add("allocations", Int(clamping: after - before))
    report.add("allocations_per_step", Double(after - before) / Double(steps))
    return report
  }
}

/// The functions of the preloaded counter, when there is one.
private struct AllocationCounter {
  private typealias Count = @convention(c) () -> UInt64
  private typealias Mark = @convention(c) () -> Void
  private let counting: Count
  private let marking: Mark

  init?() {
    // A handle of nil searches the whole process.
    guard let count = dlsym(nil, "weft_allocation_count"),
      let mark = dlsym(nil, "weft_allocation_mark")
    else { return nil }
    counting = unsafeBitCast(count, to: Count.self)
    marking = unsafeBitCast(mark, to: Mark.self)
  }

  /// Allocations of all threads so far.
  func count() -> UInt64 { counting() }

  /// Begins to show where allocations come from, or ends it, when the counter is told to.
  func mark() { marking() }
}

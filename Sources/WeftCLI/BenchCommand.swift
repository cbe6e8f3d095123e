// weft bench: the time of a run.

import ArgumentParser
import Weft

struct BenchCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "bench", abstract: "Time the steps of a run.",
    discussion: "Prints median, p95 and least time of a step, FLOP/s and peak memory.")

  @Argument(help: "The graph file, run directory or SavedModel.")
  var model: String

  @OptionGroup var request: RequestArguments
  @OptionGroup var sessionOptions: SessionArguments

  @Option(name: .customLong("init"), help: "Run initializers: auto, always or never.")
  var initMode: InitMode = .auto

  @Option(help: "Steps that are run and not timed.")
  var warmup = 3

  @Option(help: "Timed steps; --steps, or 20, if not given.")
  var `repeat`: Int?

  @Flag(help: "Print JSON.")
  var json = false

  func validate() throws {
    if warmup < 0 { throw ValidationError("--warmup takes a number from 0") }
    if let `repeat`, `repeat` < 1 { throw ValidationError("--repeat takes a number from 1") }
  }

  func run() throws {
    let model = try Model(model)
    var call = try request.resolve(model)
    guard !call.isEmpty else {
      throw WeftError(
        .invalidArgument, "there is nothing to run", category: .usage,
        hint: "choose a signature with --signature, or tensors with --outputs")
    }
    call.steps = nil
    let repeats = `repeat` ?? request.steps ?? 20
    let session = try sessionOptions.session(model)
    let edges = call.fetches.map(\.edge)
    let start = Platform.seconds
    try call.initialize(session, initMode)
    let feeds = try call.feeds(0)
    let run = try session.prepare(
      edges, feeds: feeds.map { ($0.0, $0.1.type) }, targets: call.targets)
    let plan = run.plan
    let prepared = Platform.seconds - start
    var results: [Tensor] = []
    for step in 0..<warmup { try run.run(try call.feeds(step).map(\.1), into: &results) }
    let pool = ThreadPool(width: sessionOptions.threads ?? SessionOptions.availableCores)
    var times: [Double] = []
    var rates: [Double] = []
    // The limit is measured between the steps: a shared machine is faster now, slower then.
    let pause = max(1, repeats / 5)
    for step in 0..<repeats {
      let values = try call.feeds(step).map(\.1)
      let begin = Platform.seconds
      try run.run(values, into: &results)
      times.append(Platform.seconds - begin)
      if plan.productFlops > 0, step % pause == 0 { rates.append(MachineProbe.productRate(pool)) }
    }
    times.sort()
    rates.sort()
    let median = times[times.count / 2]
    let p95 = times[min(times.count - 1, times.count * 95 / 100)]
    let rate = Double(plan.flops) / median
    let limit = rates.isEmpty ? 0 : rates[rates.count / 2]
    let least = limit > 0 ? Double(plan.productFlops) / limit : 0
    if json {
      Console.print(
        JSONValue.object([
          ("median_ms", .real(median * 1e3)), ("p95_ms", .real(p95 * 1e3)),
          ("min_ms", .real(times[0] * 1e3)), ("repeats", .int(repeats)),
          ("flops", .int(plan.flops)), ("flop_per_s", .real(rate)),
          ("product_flops", .int(plan.productFlops)), ("product_limit_flop_per_s", .real(limit)),
          ("product_limit_ms", .real(least * 1e3)), ("share_of_limit", .real(least / median)),
          ("prepare_ms", .real(prepared * 1e3)), ("steps_in_plan", .int(plan.steps.count)),
          ("arena_bytes", .int(plan.arenaBytes)), ("peak_rss_bytes", .int(Platform.peakMemory)),
        ]).text)
      return
    }
    func milliseconds(_ seconds: Double) -> String { Format.fixed(seconds * 1e3, 3) + " ms" }
    Console.print("median    \(milliseconds(median))")
    Console.print("p95       \(milliseconds(p95))")
    Console.print("min       \(milliseconds(times[0]))  of \(repeats)")
    Console.print("prepare   \(milliseconds(prepared))")
    Console.print("rate      \(Format.fixed(rate / 1e9, 2)) GFLOP/s  (\(plan.flops) FLOP)")
    if limit > 0 {
      Console.print(
        "products  \(Format.fixed(Double(plan.productFlops) / 1e9, 2)) GFLOP at "
          + "\(Format.fixed(limit / 1e9, 1)) GFLOP/s measured here: \(milliseconds(least)), "
          + "\(Format.fixed(100 * least / median, 1)) % of the median")
    }
    Console.print("peak RSS  \(Format.bytes(Platform.peakMemory))")
  }
}

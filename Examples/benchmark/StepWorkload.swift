// Workload A: one training step of full batches, nothing padded.

import ArgumentParser
import Weft

struct StepWorkload: Workload {
  static let configuration = CommandConfiguration(
    commandName: "a", abstract: "A training step: 100 texts of 50 tokens, nothing padded.",
    discussion: """
      rnn: SimpleRNN 128, embedding 64, Adam. lstm2: two LSTM layers of 128, embedding 100, \
      RMSProp with clipped gradients. gru: GRU 128, embedding 64, Adam.
      """)

  @Option(help: "rnn, lstm2 or gru.")
  var cell = BenchmarkCell.rnn

  @Option(help: "Timed steps.")
  var steps = 30

  @Option(help: "Classes, when ids are drawn at random; a corpus has its own number.")
  var vocabulary = 7307

  @Option(help: "A corpus of poems, whose texts of exactly 50 tokens are taken.")
  var poems: String?

  @Flag(help: "Run the steps in a loop of any length in place of unrolled ones.")
  var dynamic = false

  @Option(help: "Only write the train graph to this file, for `weft plan` and `weft bench`.")
  var export: String?

  @OptionGroup var common: CommonOptions

  func validate() throws {
    if steps < 1 { throw ValidationError("--steps takes a number from 1") }
    if !(2...(1 << 24)).contains(vocabulary) {
      throw ValidationError("--vocabulary takes a number from 2")
    }
  }

  func measure() throws -> Report {
    let begin = Resources.seconds
    var sizes = TrainSizes(cell, vocabulary: vocabulary)
    let texts = try poems.map { try WorkloadTexts.exactly(sizes.steps + 1, poems: $0) }
    if let texts { sizes.vocabulary = texts.vocabulary }
    let step = try TrainStep(sizes, isDynamic: dynamic)
    if let export { return try Report("a", writing: step.graph, to: export) }
    let feeds: [[Tensor]]
    if let texts {
      feeds = try texts.batches(of: sizes.batch, count: 20).map { try step.feeds($0) }
    } else {
      feeds = try step.randomFeeds(5)
    }
    let run = try step.prepare(threads: common.width)
    let pool = ThreadPool(width: common.width)
    var results: [Tensor] = []
    var times: [Double] = []
    var rates: [Double] = []
    var losses: [Float] = []
    var first = 0.0
    let warmUp = 3
    for index in 0..<(warmUp + steps) {
      let values = feeds[index % feeds.count]
      let seconds = try Resources.time { try run.run(values, into: &results) }
      losses.append(try results[0].scalar())
      if index == 0 { first = Resources.seconds - begin }
      if index < warmUp { continue }
      times.append(seconds)
      // Between the steps: a shared machine is faster now, slower then.
      if index % max(1, steps / 10) == 0 { rates.append(MachineProbe.productRate(pool)) }
    }
    let median = Statistics.median(times)
    let limit = Statistics.median(rates)
    let least = limit > 0 ? Double(run.plan.productFlops) / limit : 0
    var report = Report("a")
    report.add("cell", cell.rawValue)
    report.add("vocabulary", sizes.vocabulary)
    report.add(milliseconds: times)
    report.add("first_step_s", first)
    report.add("product_gflop", Double(run.plan.productFlops) / 1e9)
    report.add("product_rate_gflop_per_s", limit / 1e9, digits: 1)
    report.add("product_limit_ms", least * 1e3)
    report.add("share_of_limit", median > 0 ? least / median : 0)
    report.add("characters_per_s", Double(sizes.batch * sizes.steps) / median, digits: 0)
    report.add("first_loss", Double(losses.first ?? 0), digits: 4)
    report.add("last_loss", Double(losses.last ?? 0), digits: 4)
    report.add("arena_mb", Double(run.plan.arenaBytes) / 1e6, digits: 1)
    report.addMachine(threads: common.width)
    return report
  }
}

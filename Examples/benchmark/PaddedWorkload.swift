// Workload B: shuffled, padded batches of poems of up to 200 tokens, masked mean loss.

import ArgumentParser
import Weft

struct PaddedWorkload: Workload {
  static let configuration = CommandConfiguration(
    commandName: "b", abstract: "Training on padded batches of texts of up to 200 tokens.",
    discussion: """
      The report's TensorFlow model. Only real characters count: what padding costs shows in the \
      rate.
      """)

  @Option(help: "rnn, lstm or gru.")
  var cell = BenchmarkCell.rnn

  @Option(help: "Timed batches.")
  var steps = 40

  @Option(help: "Classes, when texts are drawn at random; a corpus has its own number.")
  var vocabulary = 7307

  @Option(help: "A corpus of poems.")
  var poems: String?

  @Option(help: "Only write the train graph to this file, for `weft plan` and `weft run --trace`.")
  var export: String?

  @OptionGroup var common: CommonOptions

  func validate() throws {
    if steps < 1 { throw ValidationError("--steps takes a number from 1") }
    if !(2...(1 << 24)).contains(vocabulary) {
      throw ValidationError("--vocabulary takes a number from 2")
    }
    if cell == .lstm2 { throw ValidationError("--cell takes rnn, lstm or gru here") }
  }

  private struct Part {
    let run: PreparedRun
    var results: [Tensor] = []
  }

  func measure() throws -> Report {
    let warmUp = 5
    let texts =
      try poems.map { try WorkloadTexts.upTo200(poems: $0) }
      ?? WorkloadTexts.random((warmUp + steps) * 100, vocabulary: vocabulary)
    var configuration = CharacterModelConfiguration.reportTensorFlow(
      cell: cell.kind, vocabularySize: texts.vocabulary)
    configuration.batchSize = 100
    configuration.seed = 1
    let model = try CharacterModel(configuration)
    if let export { return try Report("b", writing: model.graph, to: export) }
    let session = Session(model.graph, options: SessionOptions(threads: common.width, seed: 1))
    try session.initialize()

    var options = BatchingOptions.reportTensorFlow
    options.widths = configuration.widths.sorted()
    options.lastBatch = .drop
    var batcher = try Batcher(texts.texts, options: options, seed: 1)
    let batches = (0..<(warmUp + steps)).map { _ in batcher.nextAcrossEpochs() }
    var parts: [Int: Part] = [:]
    let preparing = try Resources.time {
      for width in Set(batches.map(\.width)).sorted() {
        guard let part = model.part(width: width) else { continue }
        let table = TensorType(.int32, Shape([100, width]))
        let run = try session.prepare(
          [part.loss.edge],
          feeds: [
            (part.tokens.edge, table), (part.targets.edge, table),
            (part.lengths.edge, TensorType(.int32, Shape([100]))),
          ], targets: [part.trainOperation.id])
        parts[width] = Part(run: run)
      }
    }
    let pool = ThreadPool(width: common.width)
    var (times, rates, losses): ([Double], [Double], [Float]) = ([], [], [])
    for (index, batch) in batches.enumerated() {
      // Putting a batch into tensors is a part of the job.
      let seconds = try Resources.time {
        let shape = [batch.batchSize, batch.width]
        let feeds = [
          try Tensor(batch.tokens, shape: shape), try Tensor(batch.targets, shape: shape),
          try Tensor(batch.lengths),
        ]
        guard var part = parts.removeValue(forKey: batch.width) else { return }
        try part.run.run(feeds, into: &part.results)
        losses.append(try part.results[0].scalar())
        parts[batch.width] = part
      }
      if index < warmUp { continue }
      times.append(seconds)
      if index % max(1, steps / 10) == 0 { rates.append(MachineProbe.productRate(pool)) }
    }
    let timed = batches.dropFirst(warmUp)
    let real = timed.reduce(0) { $0 + $1.positionCount }
    let padded = timed.reduce(0) { $0 + $1.batchSize * $1.width }
    let total = times.reduce(0, +)
    var report = Report("b")
    report.add("cell", cell.rawValue)
    report.add("vocabulary", texts.vocabulary)
    report.add("characters_per_s", Double(real) / total, digits: 0)
    report.add("padding", Double(padded) / Double(max(1, real)), digits: 2)
    report.add("mean_ms", total / Double(times.count) * 1e3)
    report.add(milliseconds: times)
    report.add("prepare_ms", preparing * 1e3)
    report.add("product_rate_gflop_per_s", Statistics.median(rates) / 1e9, digits: 1)
    report.add("first_loss", Double(losses.first ?? 0), digits: 4)
    report.add("last_loss", Double(losses.last ?? 0), digits: 4)
    report.addMachine(threads: common.width)
    return report
  }
}

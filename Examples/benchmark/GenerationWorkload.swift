// Workload C: one character generated, and what a session adds to a kernel.

import ArgumentParser
import Weft

/// The graph that writes a character: token and states in, best token and states out.
struct GenerationStep {
  let graph: Graph
  let feeds: [(Edge, TensorType)]
  let fetches: [Edge]

  /// Two LSTM layers over an embedding; one text.
  init(vocabulary: Int = 7428, hidden: Int = 128, embedding: Int = 100) throws {
    var configuration = CharacterModelConfiguration(
      cell: .lstm, vocabularySize: vocabulary, widths: [1])
    configuration.layers = 2
    configuration.hiddenSize = hidden
    configuration.embeddingSize = embedding
    configuration.seed = 1
    let model = try CharacterModel(configuration)
    let part = model.generation
    let best = try argmax(part.logits, axis: 1, outputType: .int32, name: "next")
    graph = model.graph
    let state = TensorType(.float32, Shape([1, hidden]))
    feeds =
      [(part.token.edge, TensorType(.int32, Shape([1])))] + part.states.map { ($0.edge, state) }
    fetches = [best.edge] + part.newStates.map(\.edge)
  }

  /// A session with initial values, and the step prepared in it.
  func prepare(threads: Int) throws -> PreparedRun {
    let session = Session(graph, options: SessionOptions(threads: threads, seed: 1))
    try session.initialize()
    return try session.prepare(fetches, feeds: feeds)
  }

  /// The token 1 and states of zero.
  func start() throws -> [Tensor] {
    try feeds.enumerated().map { index, feed in
      index == 0
        ? try Tensor([Int32(1)]) : try Tensor(zeros: feed.1.dtype, shape: feed.1.shape.known ?? [])
    }
  }
}

struct GenerationWorkload: Workload {
  static let configuration = CommandConfiguration(
    commandName: "c", abstract: "One character generated; the session's overhead.",
    discussion: """
      Two LSTM layers of 128, embedding 100, one text, the best character each time. Then whole \
      texts in one run, characters drawn: one text, and 64 at once.
      """)

  @Option(help: "Timed characters.")
  var steps = 2000

  @Option(help: "Classes.")
  var vocabulary = 7428

  @OptionGroup var common: CommonOptions

  func validate() throws {
    if steps < 1 { throw ValidationError("--steps takes a number from 1") }
    if !(2...(1 << 24)).contains(vocabulary) {
      throw ValidationError("--vocabulary takes a number from 2")
    }
  }

  func measure() throws -> Report {
    let step = try GenerationStep(vocabulary: vocabulary)
    let run = try step.prepare(threads: common.width)
    // One character's results are the next one's feeds; its own results go where the last ones'
    // feeds were.
    var now = try step.start()
    var next = try step.start()
    var times: [Double] = []
    for index in 0..<(50 + steps) {
      let seconds = try Resources.time { try run.run(now, into: &next) }
      swap(&now, &next)
      if index >= 50 { times.append(seconds) }
    }
    let pool = ThreadPool(width: common.width)
    var report = Report("c")
    report.add("vocabulary", vocabulary)
    report.add("character_median_us", Statistics.median(times) * 1e6)
    report.add("character_min_us", (times.min() ?? 0) * 1e6)
    try addOverhead(to: &report)
    try addTexts(to: &report)
    report.add("memory_rate_gb_per_s", MachineProbe.memoryRate(pool) / 1e9, digits: 1)
    report.addMachine(threads: common.width)
    return report
  }

  // Whole texts in one run: a loop in the graph draws every character.
  private func addTexts(to report: inout Report) throws {
    let length = 50
    let sizes = TrainSizes(.lstm2, vocabulary: vocabulary)
    let graph = Graph()
    let scope = VariableScope(graph, seed: 1)
    let embedding = try Embedding(scope, count: vocabulary, size: sizes.embedding)
    let cell = try TrainStep.cell(sizes, scope)
    let dense = try Dense(scope, inputSize: sizes.hidden, units: vocabulary)
    let first = try graph.placeholder(.int32, shape: [-1], name: "first")
    let start = try cell.zeroState(batch: first.shapeTensor().reshaped(to: []), dtype: .float32)
    // No character is -1: every text has its full length.
    let texts = try generationLoop(first: first, state: start, maximum: length, end: -1) {
      ids, state in
      let next = try cell.step(cell.projecting(try embedding(ids)), state)
      return (try dense(next.output), next.state)
    }
    let session = Session(graph, options: SessionOptions(threads: common.width, seed: 1))
    try session.initialize()
    for count in [1, 64] {
      let feeds = [(first.edge, try Tensor([Int32](repeating: 1, count: count)))]
      var times: [Double] = []
      for index in 0..<(2 + 400 / (count + 7)) {
        let seconds = try Resources.time { _ = try session.run([texts.ids.edge], feeds: feeds) }
        if index >= 2 { times.append(seconds) }
      }
      report.add(
        "texts_\(count)_characters_per_s",
        Double(count * length) / Statistics.median(times), digits: 0)
    }
  }

  // A graph of one op that does next to nothing.
  private func addOverhead(to report: inout Report) throws {
    let graph = Graph()
    let x = try graph.placeholder(.float32, shape: Shape([4]), name: "x")
    let y = try negate(x)
    let session = Session(graph, options: SessionOptions(threads: common.width))
    let value = try Tensor([Float](repeating: 1, count: 4))
    let run = try session.prepare([y.edge], feeds: [(x.edge, value.type)])
    let feeds = [value]
    var results: [Tensor] = []
    // A clock's own cost would show: many runs at a time.
    func microseconds(_ body: () throws -> Void) rethrows -> Double {
      let times = try (0..<21).map { _ in
        try Resources.time { for _ in 0..<500 { try body() } } / 500
      }
      return Statistics.median(times) * 1e6
    }
    report.add(
      "overhead_prepared_us", try microseconds { try run.run(feeds, into: &results) })
    report.add(
      "overhead_run_us",
      try microseconds { _ = try session.run([y.edge], feeds: [(x.edge, value)]) })
  }
}

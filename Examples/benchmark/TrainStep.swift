// The train graph of workloads A, D and E: embedding, unrolled cells, softmax over a vocabulary.

import Weft

/// The sizes of a train graph.
struct TrainSizes {
  var cell: BenchmarkCell
  var vocabulary: Int
  var batch = 100
  var steps = 49
  var hidden = 128
  var embedding: Int

  /// The sizes of workload A.
  init(_ cell: BenchmarkCell, vocabulary: Int) {
    self.cell = cell
    self.vocabulary = vocabulary
    embedding = cell == .lstm2 ? 100 : 64
  }

  /// Sizes at which the arithmetic costs next to nothing.
  static func tiny(_ cell: BenchmarkCell, steps: Int) -> TrainSizes {
    var sizes = TrainSizes(cell, vocabulary: 50)
    sizes.batch = 4
    sizes.steps = steps
    sizes.hidden = 8
    sizes.embedding = 8
    return sizes
  }
}

/// One training step as TensorFlow 1 programs write it: nothing padded, the plain mean loss.
struct TrainStep {
  let sizes: TrainSizes
  let graph = Graph()
  let tokens: Output
  let targets: Output
  let loss: Output
  let train: Node
  /// Seconds that building the forward part and the rest took.
  let forwardSeconds: Double
  let gradientSeconds: Double

  /// LSTM: RMSProp 0.01 with gradients clipped to norm 1; the others: Adam 5e-4.
  /// - Parameters:
  ///   - isPlain: plain gradient descent instead, which has no tensors whose sizes only a run knows:
  ///     the others merge the rows of a batch's equal ids.
  ///   - isDynamic: the steps in a loop, whose length a run decides, in place of unrolled ones.
  init(_ sizes: TrainSizes, isPlain: Bool = false, isDynamic: Bool = false) throws {
    self.sizes = sizes
    let begin = Resources.seconds
    let graph = self.graph
    let scope = VariableScope(graph, seed: 1)
    let table: Shape = [.known(sizes.batch), isDynamic ? .unknown : .known(sizes.steps)]
    tokens = try graph.placeholder(.int32, shape: table, name: "tokens")
    targets = try graph.placeholder(.int32, shape: table, name: "targets")
    let embedding = try Embedding(scope, count: sizes.vocabulary, size: sizes.embedding)
    let embedded = try embedding(try tokens.transposed(permutation: [1, 0]))
    let cell = try TrainStep.cell(sizes, scope)
    let hidden =
      isDynamic
      ? try dynamicRNN(cell, over: embedded).outputs : try unroll(cell, over: embedded).stacked()
    let rows = try hidden.reshaped(to: [-1, sizes.hidden])
    let dense = try Dense(scope, inputSize: sizes.hidden, units: sizes.vocabulary)
    let labels = try targets.transposed(permutation: [1, 0]).reshaped(to: [-1])
    loss = try identity(
      try meanSparseSoftmaxCrossEntropy(labels: labels, logits: try dense(rows)), name: "loss")
    let middle = Resources.seconds
    let isLSTM = sizes.cell.kind == .lstm
    var rule: any UpdateRule = Adam()
    if isLSTM { rule = RMSProp() }
    if isPlain { rule = GradientDescent() }
    let optimizer = Optimizer(rule, learningRate: isLSTM ? 0.01 : 5e-4)
    let minimization = try optimizer.minimize(
      loss, variables: scope.trainableVariables, clipping: isLSTM ? .globalNorm(1) : .none)
    train = try noOp(graph, controls: [minimization.operation], name: "train_op")
    let assigns = graph.variables.compactMap { graph.snapshot.node($0.initializer) }
    let initializer = try noOp(graph, controls: assigns, name: "init")
    graph.signatures["init"] = Signature(outputs: ["init": initializer.name], method: "weft/init")
    graph.signatures["train"] = Signature(
      inputs: ["tokens": tokens.name, "targets": targets.name],
      outputs: ["loss": loss.name, "train_op": train.name], method: "weft/train")
    forwardSeconds = middle - begin
    gradientSeconds = Resources.seconds - middle
  }

  static func cell(
    _ sizes: TrainSizes, _ scope: VariableScope
  ) throws -> any RecurrentCell {
    let hidden = sizes.hidden
    switch sizes.cell {
    case .rnn:
      return try BasicRNNCell(scope.scope("rnn"), inputSize: sizes.embedding, units: hidden)
    case .gru: return try GRUCell(scope.scope("rnn"), inputSize: sizes.embedding, units: hidden)
    case .lstm:
      return try BasicLSTMCell(scope.scope("rnn"), inputSize: sizes.embedding, units: hidden)
    case .lstm2:
      return try MultiCell(
        (0..<2).map { layer in
          try BasicLSTMCell(
            scope.scope("rnn/multi_rnn_cell/cell_\(layer)"),
            inputSize: layer == 0 ? sizes.embedding : hidden, units: hidden)
        })
    }
  }

  /// The types of the feeds: tokens, targets.
  var feedTypes: [(Edge, TensorType)] {
    let type = TensorType(.int32, Shape([sizes.batch, sizes.steps]))
    return [(tokens.edge, type), (targets.edge, type)]
  }

  /// A session with initial values, and the step prepared in it.
  func prepare(threads: Int) throws -> PreparedRun {
    let session = Session(graph, options: SessionOptions(threads: threads, seed: 1))
    try session.initialize()
    return try session.prepare([loss.edge], feeds: feedTypes, targets: [train.id])
  }

  /// Feeds of `count` batches of ids drawn at random.
  func randomFeeds(_ count: Int) throws -> [[Tensor]] {
    var numbers = FixedNumbers(seed: 1)
    let width = sizes.steps + 1
    return try (0..<count).map { _ in
      let texts = (0..<(sizes.batch * width)).map { _ in
        Int32.random(in: 0..<Int32(clamping: sizes.vocabulary), using: &numbers)
      }
      return try feeds(texts)
    }
  }

  /// Feeds of a batch of texts of T + 1 tokens, one after the other.
  func feeds(_ texts: [Int32]) throws -> [Tensor] {
    let width = sizes.steps + 1
    let shape = [sizes.batch, sizes.steps]
    func part(_ from: Int) -> [Int32] {
      (0..<sizes.batch).flatMap { texts[($0 * width + from)..<($0 * width + from + sizes.steps)] }
    }
    return [try Tensor(part(0), shape: shape), try Tensor(part(1), shape: shape)]
  }
}

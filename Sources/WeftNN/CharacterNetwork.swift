// The network inside a character model, and its parts as nodes.

internal import WeftGraph
internal import WeftOps
internal import WeftTensors

/// Embedding, cells and dense layer of a character model.
struct CharacterNetwork {
  let configuration: CharacterModelConfiguration
  let scope: VariableScope
  let embedding: Embedding
  let cell: any RecurrentCell
  let dense: Dense

  init(_ configuration: CharacterModelConfiguration, _ scope: VariableScope) throws {
    self.configuration = configuration
    self.scope = scope
    let c = configuration
    let isPyTorch = c.form == .pytorch
    embedding = try Embedding(
      scope, count: c.vocabularySize, size: c.embeddingSize,
      name: isPyTorch ? "embedding.weight" : "embedding",
      initializer: isPyTorch ? .uniform(min: -1, max: 1) : .uniform(min: -0.05, max: 0.05))
    let layers = try (0..<c.layers).map { layer in
      try Self.layer(
        layer, c, scope, inputSize: layer == 0 ? c.embeddingSize : c.hiddenSize)
    }
    cell = try layers.count == 1 ? layers[0] : MultiCell(layers)
    guard isPyTorch else {
      dense = try Dense(scope, inputSize: c.hiddenSize, units: c.vocabularySize)
      return
    }
    dense = try .pytorch(
      scope, inputSize: c.hiddenSize, units: c.vocabularySize, name: "fc",
      kernelInitializer: .glorotUniform(), biasInitializer: .zeros)
  }

  private static func layer(
    _ index: Int, _ c: CharacterModelConfiguration, _ scope: VariableScope, inputSize: Int
  ) throws -> any RecurrentCell {
    switch c.form {
    case .keras:
      return try SplitCell.keras(
        c.cell, scope.scope(index == 0 ? "rnn" : "rnn_\(index)"), inputSize: inputSize,
        units: c.hiddenSize)
    case .pytorch:
      return try SplitCell.pytorch(
        c.cell, scope, layer: index, inputSize: inputSize, units: c.hiddenSize)
    case .tensorflow:
      let own = scope.scope(c.layers == 1 ? "rnn" : "rnn/multi_rnn_cell/cell_\(index)")
      switch c.cell {
      case .rnn: return try BasicRNNCell(own, inputSize: inputSize, units: c.hiddenSize)
      case .lstm: return try BasicLSTMCell(own, inputSize: inputSize, units: c.hiddenSize)
      case .gru: return try GRUCell(own, inputSize: inputSize, units: c.hiddenSize)
      }
    }
  }

  private func logits(_ rows: Output) throws -> Output {
    let scores = try dense(rows)
    return try configuration.hasReLU ? relu(scores) : scores
  }

  /// The part unrolled to `width` steps, in the current scope.
  func part(
    width: Int, optimizer: Optimizer, variables: [Variable]
  ) throws -> CharacterModel.Part {
    let graph = scope.graph
    let batch: Dim = configuration.batchSize.map { .known($0) } ?? .symbolic("B")
    let table = Shape(dims: [batch, .known(width)])
    let tokens = try graph.placeholder(.int32, shape: table, name: "tokens")
    let targets = try graph.placeholder(.int32, shape: table, name: "targets")
    let lengths = try graph.placeholder(.int32, shape: Shape(dims: [batch]), name: "lengths")

    // Time first, so that a step's rows lie together. Padding needs no care in the cells: it comes
    // after the text, and its losses are masked.
    let embedded = try embedding(try tokens.transposed(permutation: [1, 0]))
    let hidden = try unroll(cell, over: embedded).stacked()
    let rows = try hidden.reshaped(to: [-1, configuration.hiddenSize])
    let labels = try targets.transposed(permutation: [1, 0])
    let flat = try sparseSoftmaxCrossEntropy(
      labels: try labels.reshaped(to: [-1]), logits: try logits(rows))
    let losses = try flat.reshaped(to: try labels.shapeTensor())
    let masked =
      try losses
      * (try timeMajorMask(lengths: lengths, steps: width, dtype: configuration.dtype))
    let loss = try identity(try meanOverTexts(masked, lengths: lengths), name: "loss")
    let nats = try sum(masked, name: "nats")
    let most = try graph.constant(Double(width), dtype: .int32)
    let count = try sum(try minimum(lengths, most), name: "count")

    var prediction: Output?
    if configuration.showsPrediction {
      let first = try hidden.sliced(
        begin: [0, 0, 0], size: [width, 1, configuration.hiddenSize]
      ).reshaped(to: [width, configuration.hiddenSize])
      prediction = try argmax(try logits(first), axis: 1, name: "prediction")
    }
    let minimization = try optimizer.minimize(
      loss, variables: variables, clipping: configuration.clipping)
    let train = try noOp(graph, controls: [minimization.operation], name: "train_op")
    return CharacterModel.Part(
      width: width, tokens: tokens, targets: targets, lengths: lengths, loss: loss, nats: nats,
      count: count, minimization: minimization, trainOperation: train, prediction: prediction)
  }

  /// One step of generation, in the current scope.
  func generation() throws -> CharacterModel.Generation {
    let graph = scope.graph
    let rows = Dim.symbolic("N")
    let token = try graph.placeholder(.int32, shape: Shape(dims: [rows]), name: "token")
    let states = try cell.stateSizes.enumerated().map { index, size in
      try graph.placeholder(
        configuration.dtype, shape: Shape(dims: [rows, .known(size)]), name: "state_\(index)")
    }
    let (output, next) = try cell(try embedding(token), RecurrentState(states))
    let scores = try identity(try logits(output), name: "logits")
    let newStates = try next.parts.enumerated().map { index, part in
      try identity(part, name: "new_state_\(index)")
    }
    return CharacterModel.Generation(
      token: token, states: states, logits: scores, newStates: newStates,
      initialStates: try initialStates(token))
  }

  private func initialStates(_ token: Output) throws -> [Output] {
    guard configuration.generationStddev > 0 else { return [] }
    let graph = scope.graph
    let rows = try token.shapeTensor()
    let deviation = try graph.constant(
      configuration.generationStddev, dtype: configuration.dtype)
    return try cell.stateSizes.enumerated().map { index, size in
      let name = "initial_state_\(index)"
      let shape = try concat([rows, try graph.shapeConstant([size])], axis: 0)
      let seed = OpSeed(model: configuration.seed, name: "generate/" + name)
      let unit = try randomNormal(
        graph, shape: shape, dtype: configuration.dtype, seed: seed.pair)
      return try identity(try unit * deviation, name: name)
    }
  }
}

// Where a training run's feeds come from: texts in batches, or arrays cut along axis 0.

public import OrderedCollections
public import WeftGraph
public import WeftTensors

/// One batch, ready to be fed to a signature.
public struct TrainingBatch: Sendable {
  /// The signature it is for.
  public var call: SignatureCall
  /// Values of its inputs.
  public var feeds: [(Edge, Tensor)]
  /// Characters predicted, or examples.
  public var units: Int
  /// The texts' batch, when it is one.
  public var tokens: TokenBatch?
}

/// Hands out batches epoch after epoch, resumable at any batch.
public struct TrainingSource: Sendable {
  private enum Kind: Sendable {
    case text(TextFeeder)
    case arrays(ArrayFeeder)
  }

  private var kind: Kind

  /// What `units` of a batch counts: `chars` or `examples`.
  public var unitName: String {
    if case .text = kind { "chars" } else { "examples" }
  }

  /// The batches of each epoch.
  public var batchesPerEpoch: Int {
    switch kind {
    case .text(let feeder): feeder.batcher.batchesPerEpoch
    case .arrays(let feeder): feeder.batchesPerEpoch
    }
  }

  /// Texts that no batch holds because they fit no width.
  public var droppedCount: Int {
    if case .text(let feeder) = kind { feeder.batcher.droppedCount } else { 0 }
  }

  /// Where the source stands.
  public var state: BatcherState {
    switch kind {
    case .text(let feeder): feeder.batcher.state
    case .arrays(let feeder): feeder.state
    }
  }

  /// Goes to where another source of the same data stood.
  public mutating func resume(from state: BatcherState) throws(WeftError) {
    switch kind {
    case .text(var feeder):
      try feeder.batcher.resume(from: state)
      kind = .text(feeder)
    case .arrays(var feeder):
      try feeder.resume(from: state)
      kind = .arrays(feeder)
    }
  }

  /// The next batch of this epoch; nil at its end, and the call after that begins the next one.
  public mutating func next() throws(WeftError) -> TrainingBatch? {
    switch kind {
    case .text(var feeder):
      let batch = try feeder.next()
      kind = .text(feeder)
      return batch
    case .arrays(var feeder):
      let batch = try feeder.next()
      kind = .arrays(feeder)
      return batch
    }
  }

  /// Texts for the signature `verb` and its narrower forms `verb_26`, ...
  ///
  /// - Parameters:
  ///   - options: how texts are batched; nil takes what their preparation says. Widths and a
  ///     batch size that the graph states win.
  ///   - fillsBatches: whether every batch has all rows, the last ones empty: for evaluation.
  /// - Throws: NotFound when the graph has no such signature with `tokens` and `targets`.
  public init(
    _ texts: PreparedTexts, graph: GraphSnapshot, verb: String = "train",
    batchSize: Int? = nil, options: BatchingOptions? = nil, seed: UInt64 = 0,
    fillsBatches: Bool = false
  ) throws(WeftError) {
    kind = .text(
      try TextFeeder(
        texts, graph: graph, verb: verb, batchSize: batchSize, options: options, seed: seed,
        fillsBatches: fillsBatches))
  }

  /// Arrays, cut along axis 0, for the inputs of the same names.
  ///
  /// - Parameters:
  ///   - constants: inputs that get the same value in every batch.
  /// - Throws: InvalidArgument for arrays that do not fit the inputs, or each other.
  public init(
    arrays: OrderedDictionary<String, Tensor>, graph: GraphSnapshot, verb: String = "train",
    batchSize: Int? = nil, constants: [(Edge, Tensor)] = [], shuffles: Bool = false,
    seed: UInt64 = 0, keepsLast: Bool = true
  ) throws(WeftError) {
    kind = .arrays(
      try ArrayFeeder(
        arrays, graph: graph, verb: verb, batchSize: batchSize, constants: constants,
        shuffles: shuffles, seed: seed, keepsLast: keepsLast))
  }
}

extension BatchingOptions {
  /// How texts of a preparation are batched when nothing else is asked for.
  public static func usual(for preparation: TextPreparation) -> BatchingOptions {
    switch preparation.kind {
    case .reportTensorFlow: .reportTensorFlow
    case .reportPyTorch: .reportPyTorch
    case .poems: BatchingOptions(groupsByWidth: true)
    }
  }
}

/// Batches of texts for signatures of one or several widths.
private struct TextFeeder: Sendable {
  struct Bucket: Sendable {
    /// nil: any width.
    var width: Int?
    var call: SignatureCall
    var tokens: Edge
    var targets: Edge
    var lengths: Edge?
    var weights: Edge?
    var weightsType: DType
  }

  var buckets: [Bucket]
  var batcher: Batcher

  init(
    _ texts: PreparedTexts, graph: GraphSnapshot, verb: String, batchSize: Int?,
    options given: BatchingOptions?, seed: UInt64, fillsBatches: Bool
  ) throws(WeftError) {
    buckets = []
    var rows: Int?
    for name in graph.signatures.keys where TextFeeder.isForm(name, of: verb) {
      let call = try SignatureCall(name, of: graph)
      guard let tokens = call.input("tokens"), let targets = call.input("targets") else {
        if name != verb { continue }
        throw WeftError(
          .invalidArgument,
          "the signature '\(name)' takes no 'tokens' and 'targets', as texts need",
          category: .usage,
          hint: "its inputs are \(call.inputs.map(\.key).joined(separator: ", ")); give arrays "
            + "with --data FILE.npz")
      }
      let shape = graph.type(tokens).shape
      rows = rows ?? shape.dim(0).size
      let weights = call.input("weights")
      buckets.append(
        Bucket(
          width: shape.dim(1).size, call: call, tokens: tokens, targets: targets,
          lengths: call.input("lengths"), weights: weights,
          weightsType: weights.map { graph.type($0).dtype } ?? .float32))
    }
    guard !buckets.isEmpty else {
      // Tells which signatures there are.
      _ = try SignatureCall(verb, of: graph)
      throw WeftError(.notFound, "there is no signature '\(verb)'", category: .usage)
    }
    var options = given ?? .usual(for: texts.preparation)
    if let batchSize { options.batchSize = batchSize }
    if let rows {
      if let batchSize, batchSize != rows {
        throw WeftError(
          .invalidArgument, "the graph takes batches of \(rows), not \(batchSize)",
          category: .usage)
      }
      options.batchSize = rows
      if options.lastBatch == .keep { options.lastBatch = texts.texts.count < rows ? .fill : .drop }
    }
    if fillsBatches { options.lastBatch = .fill }
    options.widths = buckets.compactMap(\.width).sorted()
    let masks = buckets.allSatisfy { $0.lengths != nil || $0.weights != nil }
    if options.widths.count < buckets.count {
      // Any width runs, but each one is a plan: a few are enough where padding is masked.
      let largest = max(8, (texts.texts.maximumLength + 7) / 8 * 8)
      options.widths = masks ? Array(stride(from: 8, through: largest, by: 8)) : []
    }
    options.padding = texts.vocabulary.pad ?? 0
    batcher = try Batcher(texts.texts, options: options, seed: seed)
  }

  // `train` or `train_26`.
  private static func isForm(_ name: String, of verb: String) -> Bool {
    if name == verb { return true }
    guard name.hasPrefix(verb + "_") else { return false }
    let rest = name.dropFirst(verb.count + 1)
    return !rest.isEmpty && rest.utf8.allSatisfy { (48...57).contains($0) }
  }

  mutating func next() throws(WeftError) -> TrainingBatch? {
    guard let batch = batcher.next() else { return nil }
    guard
      let bucket = buckets.first(where: { $0.width == batch.width })
        ?? buckets.first(where: { $0.width == nil })
    else {
      throw WeftError(.internal, "no signature takes batches of width \(batch.width)")
    }
    let shape = [batch.batchSize, batch.width]
    var feeds: [(Edge, Tensor)] = [
      (bucket.tokens, try Tensor(batch.tokens, shape: shape)),
      (bucket.targets, try Tensor(batch.targets, shape: shape)),
    ]
    if let lengths = bucket.lengths { feeds.append((lengths, try Tensor(batch.lengths))) }
    if let weights = bucket.weights {
      let mask = batch.weights
      feeds.append(
        (
          weights,
          bucket.weightsType == .float64
            ? try Tensor(mask.map { Double($0) }, shape: shape) : try Tensor(mask, shape: shape)
        ))
    }
    return TrainingBatch(
      call: bucket.call, feeds: feeds, units: batch.positionCount, tokens: batch)
  }
}

/// Rows of arrays for the inputs of one signature.
private struct ArrayFeeder: Sendable {
  var call: SignatureCall
  var columns: [(edge: Edge, tensor: Tensor)] = []
  var constants: [(Edge, Tensor)]
  var batchSize: Int
  var batchesPerEpoch: Int
  var shuffles: Bool
  var state: BatcherState
  private var rowCount = 0
  private var order: [Int] = []

  init(
    _ arrays: OrderedDictionary<String, Tensor>, graph: GraphSnapshot, verb: String,
    batchSize: Int?, constants: [(Edge, Tensor)], shuffles: Bool, seed: UInt64, keepsLast: Bool
  ) throws(WeftError) {
    call = try SignatureCall(verb, of: graph)
    self.constants = constants
    self.shuffles = shuffles
    var missing: [String] = []
    var fixed: Int?
    var hash = ContentHash()
    for (key, edge) in call.inputs {
      if constants.contains(where: { $0.0 == edge }) { continue }
      let type = graph.type(edge)
      guard let array = arrays[key] else {
        // A placeholder with a default need not be fed.
        if case .placeholder? = graph.nodes[edge.node].def?.lowering { missing.append(key) }
        continue
      }
      guard array.dtype == type.dtype else {
        throw WeftError(
          .invalidArgument,
          "the array '\(key)' is \(array.dtype.name), the input takes \(type.dtype.name)")
      }
      if type.shape.rank == 0, array.shape.isEmpty {
        self.constants.append((edge, array))
        continue
      }
      guard let rows = array.shape.first else {
        throw WeftError(.invalidArgument, "the array '\(key)' is a scalar: it has no rows")
      }
      let row = Shape(dims: [type.shape.dim(0)] + array.shape.dropFirst().map { Dim($0) })
      guard type.shape.rank != 0, type.shape.isCompatible(with: row) else {
        throw WeftError(
          .invalidArgument,
          "the array '\(key)' has shape \(array.shape), the input takes \(type.shape)")
      }
      if !columns.isEmpty, rows != rowCount {
        throw WeftError(
          .invalidArgument,
          "the array '\(key)' has \(rows) rows, others have \(rowCount)")
      }
      rowCount = rows
      if let size = type.shape.dim(0).size { fixed = fixed ?? size }
      columns.append((edge, array))
      hash.add(key)
      hash.add(rows)
      for byte in array.bytes { hash.add(byte: byte) }
    }
    guard missing.isEmpty else {
      throw WeftError(
        .invalidArgument,
        "the data have no array for " + missing.map { "'\($0)'" }.joined(separator: ", "),
        hint: "they have " + arrays.keys.map { "'\($0)'" }.joined(separator: ", "))
    }
    guard rowCount > 0 else {
      throw WeftError(.invalidArgument, "the data hold no row for '\(verb)'")
    }
    if let fixed, let batchSize, fixed != batchSize {
      throw WeftError(
        .invalidArgument, "the graph takes batches of \(fixed), not \(batchSize)",
        category: .usage)
    }
    self.batchSize = min(fixed ?? batchSize ?? 32, fixed ?? rowCount)
    guard self.batchSize > 0 else {
      throw WeftError(.invalidArgument, "a batch must have at least 1 row", category: .usage)
    }
    let whole = rowCount / self.batchSize
    batchesPerEpoch =
      keepsLast && fixed == nil ? (rowCount + self.batchSize - 1) / self.batchSize : whole
    guard batchesPerEpoch > 0 else {
      throw WeftError(
        .invalidArgument, "\(rowCount) rows make no batch of \(self.batchSize)")
    }
    hash.add(self.batchSize)
    hash.add(shuffles ? 1 : 0)
    state = BatcherState(seed: seed, epoch: 0, position: 0, content: hash.hex)
    layOut()
  }

  private mutating func layOut() {
    order = Array(0..<rowCount)
    guard shuffles else { return }
    var random = SplitMix64(seed: state.seed, stream: UInt64(truncatingIfNeeded: state.epoch))
    for last in stride(from: rowCount - 1, to: 0, by: -1) {
      order.swapAt(last, random.next(below: last + 1))
    }
  }

  mutating func resume(from state: BatcherState) throws(WeftError) {
    guard state.content == self.state.content else {
      throw WeftError(
        .failedPrecondition, "the data or the batch size are not those the run began with",
        details: [.init("began with", state.content), .init("now", self.state.content)])
    }
    guard (0..<1 << 40).contains(state.epoch), (0...batchesPerEpoch).contains(state.position) else {
      throw WeftError(
        .dataLoss,
        "the run stopped at batch \(state.position) of epoch \(state.epoch), but an epoch has "
          + "\(batchesPerEpoch)")
    }
    self.state = state
    layOut()
  }

  mutating func next() throws(WeftError) -> TrainingBatch? {
    guard state.position < batchesPerEpoch else {
      state.epoch += 1
      state.position = 0
      layOut()
      return nil
    }
    let begin = state.position * batchSize
    let rows = order[begin..<min(begin + batchSize, rowCount)]
    state.position += 1
    var feeds = constants
    for (edge, tensor) in columns { feeds.append((edge, try tensor.rows(rows))) }
    return TrainingBatch(call: call, feeds: feeds, units: rows.count, tokens: nil)
  }
}

extension Tensor {
  /// The given rows of axis 0, in their order.
  func rows(_ rows: some Swift.Collection<Int>) throws(WeftError) -> Tensor {
    let shape = [rows.count] + self.shape.dropFirst()
    let inner = self.shape.dropFirst().reduce(1, *)
    if dtype == .string {
      return try Tensor(
        strings: rows.flatMap { strings[($0 * inner)..<(($0 + 1) * inner)] }, shape: shape)
    }
    let size = inner * dtype.byteSize
    return try Tensor(dtype: dtype, shape: shape) { memory throws(WeftError) in
      for (place, row) in rows.enumerated() where size > 0 {
        UnsafeMutableRawBufferPointer(rebasing: memory[(place * size)..<((place + 1) * size)])
          .copyMemory(
            from: UnsafeRawBufferPointer(rebasing: bytes[(row * size)..<((row + 1) * size)]))
      }
    }
  }
}

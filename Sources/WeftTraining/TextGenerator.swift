// Writing texts with a trained model: its `generate` signature step by step.

internal import OrderedCollections
internal import WeftCompiler
internal import WeftGraph
public import WeftRuntime
internal import WeftTensors

/// How texts are written.
public struct GenerationOptions: Sendable {
  /// How characters are chosen.
  public var sampling = SamplingOptions()
  /// The seed of draws, and of random first states.
  public var seed: UInt64 = 0
  /// Texts end here, markers not counted.
  public var maximumTokens = 100
  /// Whether the start marker comes before a given start; nil: as the model was trained.
  public var beginsWithMarker: Bool?
  /// Whether an end marker ends the text; else it is a line break, counts, and more is written.
  public var endsAtMarker = true
  /// The default options.
  public init() {}
}

/// Writes texts with a model's signature `generate`.
public struct TextGenerator {
  /// The session with trained variables.
  public let session: Session
  /// The model's vocabulary and preparation.
  public let info: TextModelInfo

  private let call: SignatureCall
  private let token: Edge
  private let logits: Int
  private let states: [(input: Edge, output: Int)]
  private let fetches: [Edge]

  /// A generator over a session whose variables have values.
  /// - Throws: NotFound when the graph has no such signature or no vocabulary; FailedPrecondition
  ///   when variables that generation reads have no value.
  public init(_ session: Session) throws {
    let graph = session.graph
    call = try SignatureCall("generate", of: graph)
    guard let info = try TextModelInfo(of: graph) else {
      throw WeftError(
        .notFound, "the graph has no vocabulary: it has no texts to write", category: .content,
        details: [.init("collection", TextModelInfo.vocabularyCollection)])
    }
    self.session = session
    self.info = info
    func required<Value>(_ value: Value?, _ key: String) throws -> Value {
      guard let value else {
        throw WeftError(.invalidArgument, "the signature 'generate' has no '\(key)'")
      }
      return value
    }
    token = try required(call.input("token"), "token")
    var fetches = [try required(call.output("logits"), "logits")]
    logits = 0
    var states: [(input: Edge, output: Int)] = []
    for (key, edge) in call.inputs where key.hasPrefix("state_") {
      states.append((edge, fetches.count))
      fetches.append(try required(call.output(key), key))
    }
    self.states = states
    self.fetches = fetches
    try requireWeights()
  }

  private func requireWeights() throws {
    let types = try feeds([0], try zeroStates(1)).map { ($0.0, $0.1.type) }
    let lacking = try session.plan(fetches, feeds: types).requiredVariables.filter {
      $0.value == nil
    }
    guard lacking.isEmpty else {
      throw WeftError(
        .failedPrecondition,
        "the model has no trained weights: \(lacking.count) variables have no value",
        category: .noInput,
        details: [.init("variables", lacking.prefix(6).map(\.name).joined(separator: ", "))],
        hint: "train it with `weft train MODEL --run-dir DIR` and name DIR, or give --restore FILE")
    }
  }

  // MARK: - Writing

  /// The ids that a text begins with.
  /// - Throws: InvalidArgument for a character that the vocabulary lacks.
  public func startTokens(_ start: String, options: GenerationOptions) throws -> [Int32] {
    let vocabulary = info.vocabulary
    let given = try vocabulary.encodeStart(start)
    let isMarked =
      options.beginsWithMarker
      ?? (given.isEmpty || info.preparationName != TextPreparation.Kind.reportPyTorch.rawValue)
    if isMarked, let bos = vocabulary.bos { return [bos] + given }
    guard !given.isEmpty else {
      throw WeftError(
        .invalidArgument, "the vocabulary has no start marker: a text needs a start",
        category: .usage, hint: "give one with --start")
    }
    return given
  }

  /// Writes one text.
  /// - Parameters:
  ///   - stream: which of several texts of one seed.
  ///   - each: called with each piece of text as it comes; false stops.
  /// - Returns: the text, the start included.
  @discardableResult
  public func write(
    start: String = "", options: GenerationOptions = GenerationOptions(), stream: Int = 0,
    each: (String) -> Bool = { _ in true }
  ) throws -> String {
    try options.sampling.validate()
    let vocabulary = info.vocabulary
    let opening = try startTokens(start, options: options)
    var sampler = Sampler(options.sampling, seed: options.seed, stream: stream)
    var state = try initialStates()
    var text = ""
    // What a text never holds is not drawn; ids without an entry are not either.
    let entries = vocabulary.words.count
    let never = [vocabulary.pad, vocabulary.unk, vocabulary.bos].compactMap { $0.map(Int.init) }
    func add(_ id: Int32) -> Bool {
      let piece = id == vocabulary.eos ? "\n" : vocabulary.decode([id])
      text += piece
      return piece.isEmpty || each(piece)
    }
    for id in opening where !add(id) { return text }
    var last: [Double] = []
    for id in opening { (last, state) = try step(id, state) }
    var count = opening.count { $0 != vocabulary.bos }
    while count < options.maximumTokens {
      let banned = never + (entries < last.count ? Array(entries..<last.count) : [])
      let id = Int32(truncatingIfNeeded: try sampler.next(last, banned: banned))
      if id == vocabulary.eos, options.endsAtMarker { break }
      count += 1
      if !add(id) { break }
      if count < options.maximumTokens { (last, state) = try step(id, state) }
    }
    return text
  }

  // MARK: - Steps

  private func step(_ id: Int32, _ state: [Tensor]) throws -> ([Double], [Tensor]) {
    let values = try session.run(fetches, feeds: try feeds([id], state))
    guard let row = values[logits].doubles, !row.isEmpty else {
      throw WeftError(.invalidArgument, "the logits are no numbers", category: .run)
    }
    return (row, states.map { values[$0.output] })
  }

  private func feeds(_ ids: [Int32], _ state: [Tensor]) throws -> [(Edge, Tensor)] {
    let type = session.graph.type(token)
    let shape = type.shape.rank == 0 ? [] : type.shape.rank == 2 ? [ids.count, 1] : [ids.count]
    let value =
      type.dtype == .int64
      ? try Tensor(ids.map { Int64($0) }, shape: shape) : try Tensor(ids, shape: shape)
    return [(token, value)] + zip(states, state).map { ($0.input, $1) }
  }

  private func zeroStates(_ rows: Int) throws -> [Tensor] {
    try states.map { state in
      let type = session.graph.type(state.input)
      guard let dims = type.shape.dims, dims.dropFirst().allSatisfy({ $0.size != nil }) else {
        throw WeftError(
          .invalidArgument,
          "the state '\(session.graph.nodes[state.input.node].name)' has shape \(type.shape): only "
            + "its first size may be unknown")
      }
      return try Tensor(zeros: type.dtype, shape: dims.map { $0.size ?? rows })
    }
  }

  /// Zeros, or what the signature `generate_init` gives.
  private func initialStates() throws -> [Tensor] {
    var result = try zeroStates(1)
    guard session.graph.signatures["generate_init"] != nil else { return result }
    let begin = try SignatureCall("generate_init", of: session.graph)
    var given: [(Edge, Tensor)] = []
    if let edge = begin.input("token") {
      let type = session.graph.type(edge)
      let shape = type.shape.rank == 0 ? [] : [1]
      given.append((edge, try Tensor(zeros: type.dtype, shape: shape)))
    }
    let values = try session.run(
      begin.outputs.map(\.edge), feeds: given, targets: begin.operations.map(\.node))
    for (index, (key, _)) in call.inputs.filter({ $0.key.hasPrefix("state_") }).enumerated() {
      if let at = begin.outputs.firstIndex(where: { $0.key == key }) { result[index] = values[at] }
    }
    return result
  }
}

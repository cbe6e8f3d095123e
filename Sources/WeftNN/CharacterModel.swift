// A character model as one graph: train, evaluate and generate over the same variables.

internal import OrderedCollections
public import WeftGraph
public import WeftOps
internal import WeftTensors

/// The graph of a model that predicts each character of a text from those before it:
/// embedding, recurrent cells, and a dense layer over the vocabulary.
///
/// Its signatures are `init`, `train`, `evaluate` (for each smaller width also `train_26`,
/// `evaluate_26`, ...), `generate`, and `generate_init` where states do not begin at zero.
public struct CharacterModel {
  /// One unrolled part.
  public struct Part {
    /// The number of steps, T.
    public let width: Int
    /// int32 `[B, T]`.
    public let tokens: Output
    /// int32 `[B, T]`.
    public let targets: Output
    /// int32 `[B]`.
    public let lengths: Output
    /// The scalar that training lowers.
    public let loss: Output
    /// The sum of cross entropies over real positions, a scalar.
    public let nats: Output
    /// The number of real positions, an int32 scalar.
    public let count: Output
    /// Gradients and update.
    public let minimization: Minimization
    /// The node that trains by one batch.
    public let trainOperation: Node
    /// int64 `[T]`: predictions for the first text, where asked for.
    public let prediction: Output?
  }

  /// One step of generation.
  public struct Generation {
    /// int32 `[N]`.
    public let token: Output
    /// The states before the step, each `[N, H]`.
    public let states: [Output]
    /// `[N, V]`.
    public let logits: Output
    /// The states after it.
    public let newStates: [Output]
    /// The states to begin with, unless they are zero; their N is that of `token`.
    public let initialStates: [Output]
  }

  /// What it was made by.
  public let configuration: CharacterModelConfiguration
  /// The graph, with signatures and collections.
  public let graph: Graph
  /// The variables.
  public let scope: VariableScope
  /// The optimizer, which holds the slots.
  public let optimizer: Optimizer
  /// The unrolled parts, by falling width.
  public let parts: [Part]
  /// The generation part.
  public let generation: Generation
  /// The node that gives all variables their initial values.
  public let initializer: Node

  /// Builds the graph.
  /// - Parameters:
  ///   - vocabulary: the entries for the collection `weft/vocabulary`, by id.
  ///   - text: the JSON object for the collection `weft/text`.
  ///   - registry: the ops.
  /// - Throws: InvalidArgument for sizes that make no model, or more entries than rows.
  public init(
    _ configuration: CharacterModelConfiguration, vocabulary: [String] = [], text: String? = nil,
    registry: OpRegistry = .standard
  ) throws {
    try configuration.validate()
    guard vocabulary.count <= configuration.vocabularySize else {
      throw WeftError(
        .invalidArgument,
        "\(vocabulary.count) entries do not fit a model of \(configuration.vocabularySize) rows",
        category: .usage)
    }
    let graph = Graph(registry: registry)
    let scope = VariableScope(graph, dtype: configuration.dtype, seed: configuration.seed)
    let optimizer = Optimizer(configuration.rule, learningRate: configuration.learningRate)
    let network = try CharacterNetwork(configuration, scope)
    let trainable = scope.trainableVariables
    parts = try configuration.widths.sorted(by: >).map { width in
      try graph.withScope(configuration.signatureName("train", width: width)) {
        try network.part(width: width, optimizer: optimizer, variables: trainable)
      }
    }
    generation = try graph.withScope("generate") { try network.generation() }
    let assigns = graph.variables.compactMap { graph.snapshot.node($0.initializer) }
    initializer = try noOp(graph, controls: assigns, name: "init")
    self.configuration = configuration
    self.graph = graph
    self.scope = scope
    self.optimizer = optimizer
    addSignatures()
    if !vocabulary.isEmpty {
      graph.collections["weft/vocabulary"] = .bytes(vocabulary.map { Array($0.utf8) })
    }
    if let text { graph.collections["weft/text"] = .bytes([Array(text.utf8)]) }
  }

  /// The part that is unrolled to `width` steps.
  public func part(width: Int) -> Part? { parts.first { $0.width == width } }

  private func addSignatures() {
    graph.signatures["init"] = Signature(outputs: ["init": initializer.name], method: "weft/init")
    for part in parts {
      let inputs: OrderedDictionary<String, String> = [
        "tokens": part.tokens.name, "targets": part.targets.name, "lengths": part.lengths.name,
      ]
      var outputs: OrderedDictionary<String, String> = ["loss": part.loss.name]
      if let prediction = part.prediction { outputs["prediction"] = prediction.name }
      outputs["train_op"] = part.trainOperation.name
      graph.signatures[configuration.signatureName("train", width: part.width)] = Signature(
        inputs: inputs, outputs: outputs, method: "weft/train")
      graph.signatures[configuration.signatureName("evaluate", width: part.width)] = Signature(
        inputs: inputs, outputs: ["nats": part.nats.name, "count": part.count.name],
        method: "weft/evaluate")
    }
    func states(_ outputs: [Output]) -> [(String, String)] {
      outputs.enumerated().map { ("state_\($0.offset)", $0.element.name) }
    }
    graph.signatures["generate"] = Signature(
      inputs: OrderedDictionary(
        uniqueKeysWithValues: [("token", generation.token.name)] + states(generation.states)),
      outputs: OrderedDictionary(
        uniqueKeysWithValues: [("logits", generation.logits.name)] + states(generation.newStates)),
      method: "weft/generate")
    if !generation.initialStates.isEmpty {
      graph.signatures["generate_init"] = Signature(
        inputs: ["token": generation.token.name],
        outputs: OrderedDictionary(uniqueKeysWithValues: states(generation.initialStates)),
        method: "weft/generate_init")
    }
  }
}

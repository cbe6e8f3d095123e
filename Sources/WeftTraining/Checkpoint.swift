// Checkpoints: a session's variables in a file, and the report when they do not fit a graph.

public import OrderedCollections
internal import WeftFormats
public import WeftGraph
public import WeftRuntime
public import WeftTensors

/// A variable that a graph has: the name its session and checkpoints use, and its type.
public struct ModelVariable: Sendable, Hashable {
  /// The session's name: `shared_name` or the node's own.
  public var name: String
  /// The element type.
  public var dtype: DType
  /// The shape, as far as the graph states it.
  public var shape: Shape
  /// Whether optimizers update it: false for slots and counters.
  public var isTrainable: Bool
}

extension GraphSnapshot {
  /// The variables of the graph, optimizer slots included, in the order of their nodes.
  public var modelVariables: [ModelVariable] {
    let trainable = Set(variables.filter(\.isTrainable).map(\.handle))
    var seen = Set<String>()
    var result: [ModelVariable] = []
    for node in nodes {
      guard case .variable? = node.def?.lowering, let handle = node.handles.first ?? nil else {
        continue
      }
      let name = variableName(of: node)
      guard seen.insert(name).inserted else { continue }
      result.append(
        ModelVariable(
          name: name, dtype: handle.dtype, shape: handle.shape,
          isTrainable: trainable.contains(node.name)))
    }
    return result
  }
}

/// The values of variables by name, with text metadata: a `.safetensors` or `.npz` file, or what
/// TensorFlow wrote.
public struct Checkpoint: Sendable {
  /// How strictly a checkpoint has to fit a graph.
  public enum Fit: Sendable {
    /// The same variables on both sides.
    case exact
    /// What both have must agree; the graph may have more, and the file may have more.
    case common
  }

  /// Metadata key of the hash of the vocabulary the variables belong to.
  public static let vocabularyKey = "weft.vocabulary"

  /// Values by the session's variable names.
  public var tensors: OrderedDictionary<String, Tensor>
  /// Text beside them; only `.safetensors` files have any.
  public var metadata: OrderedDictionary<String, String>
  /// Names of tensors that the file has and no `Tensor` can hold, with their types.
  public var omitted: OrderedDictionary<String, String> = [:]

  /// A checkpoint of given values.
  public init(
    tensors: OrderedDictionary<String, Tensor>, metadata: OrderedDictionary<String, String> = [:]
  ) {
    self.tensors = tensors
    self.metadata = metadata
  }

  /// The variables of `session` that have a value, in the order of their names.
  public init(of session: Session, metadata: OrderedDictionary<String, String> = [:]) {
    tensors = [:]
    self.metadata = metadata
    if let hash = TextModelInfo.vocabularyHash(of: session.graph) {
      self.metadata[Checkpoint.vocabularyKey] = hash
    }
    for cell in session.variables.all.sorted(by: { $0.name < $1.name }) {
      if let value = cell.value { tensors[cell.name] = value }
    }
  }

  // MARK: - Files

  /// Throws (usage) unless `path` has the suffix of a checkpoint format.
  public static func checkSuffix(_ path: String) throws(WeftError) {
    guard path.hasSuffix(".safetensors") || path.hasSuffix(".npz") else {
      throw WeftError(
        .invalidArgument, "no checkpoint format has the suffix of '\(path)'", category: .usage,
        hint: "name a .safetensors or .npz file")
    }
  }

  /// Reads a `.safetensors` or `.npz` file; a TensorFlow checkpoint by its prefix, by its `.index`,
  /// or by a folder with TensorFlow's file `checkpoint`; the variables of a SavedModel; or the
  /// newest checkpoint of a run directory. Which it is, is told by what is there.
  public init(reading path: String) throws(WeftError) {
    if let newest = try RunDirectory(path).newestCheckpoint() {
      self = newest.checkpoint
      return
    }
    metadata = [:]
    switch try CheckpointLocation(path) {
    case .tensorBundle(let prefix):
      let bundle = try TensorBundle(reading: prefix)
      tensors = bundle.tensors
      omitted = bundle.omitted
    case .archive(let path):
      tensors = try NumPyFile.readArchive(path)
    case .safetensors(let path):
      let file = try SafetensorsFile(reading: path)
      tensors = file.tensors
      metadata = file.metadata
    }
  }

  /// Writes a `.safetensors` or `.npz` file, whole or not at all.
  public func write(to path: String) throws(WeftError) {
    try Checkpoint.checkSuffix(path)
    if path.hasSuffix(".npz") {
      try NumPyFile.writeArchive(tensors, to: path)
    } else {
      try SafetensorsFile(tensors: tensors, metadata: metadata).write(to: path)
    }
  }

  /// Takes out the tensors that the format of `path` has no type for.
  /// - Returns: their names and types, and those of `omitted`.
  public mutating func removeTensors(
    notHeldBy path: String
  ) -> OrderedDictionary<String, String> {
    let isArchive = path.hasSuffix(".npz")
    for (name, tensor) in tensors
    where !(isArchive ? NumPyFile.holds(tensor.dtype) : SafetensorsFile.holds(tensor.dtype)) {
      omitted[name] = tensor.dtype.name
      tensors[name] = nil
    }
    defer { omitted = [:] }
    return omitted
  }

  // MARK: - Restoring

  /// The same values under the names that the graph's session uses.
  ///
  /// TensorFlow saves variables by the names of their nodes, which imports may have changed while
  /// `shared_name` stayed, and partitioned variables in one piece.
  public func named(for graph: GraphSnapshot) throws(WeftError) -> Checkpoint {
    let missing = graph.modelVariables.filter { tensors[$0.name] == nil }
    guard !missing.isEmpty else { return self }
    let names = Set(missing.map(\.name))
    let known = Set(graph.modelVariables.map(\.name))
    var copy = self
    var whole: Set<String> = []
    let partitions = VariablePartition.all(of: graph)
    let byHandle = Dictionary(partitions.map { ($0.handle, $0) }) { first, _ in first }
    for node in graph.nodes {
      guard case .variable? = node.def?.lowering else { continue }
      let name = graph.variableName(of: node)
      guard names.contains(name), copy.tensors[name] == nil else { continue }
      if let value = tensors[node.name], !known.contains(node.name) {
        copy.tensors[name] = value
        copy.tensors[node.name] = nil
      } else if let partition = byHandle[node.name], let value = tensors[partition.fullName] {
        copy.tensors[name] = try partition.part(of: value)
        whole.insert(partition.fullName)
      }
    }
    for name in whole.subtracting(known) { copy.tensors[name] = nil }
    return copy
  }

  /// Everything in which the checkpoint and the graph do not fit, one line each.
  public func mismatches(with graph: GraphSnapshot, fit: Fit) -> [WeftError.Detail] {
    var problems: [WeftError.Detail] = []
    if let own = metadata[Checkpoint.vocabularyKey],
      let other = TextModelInfo.vocabularyHash(of: graph), own != other
    {
      problems.append(
        .init("vocabulary", "hash \(own) in the checkpoint, \(other) in the graph"))
    }
    var known = Set<String>()
    for variable in graph.modelVariables {
      known.insert(variable.name)
      guard let value = tensors[variable.name] else {
        if fit == .exact {
          let type = TensorType(variable.dtype, variable.shape)
          problems.append(.init(variable.name, "\(type) in the graph, not in the checkpoint"))
        }
        continue
      }
      if value.dtype != variable.dtype || !variable.shape.isCompatible(with: Shape(value.shape)) {
        let type = TensorType(variable.dtype, variable.shape)
        problems.append(
          .init(variable.name, "\(value.type) in the checkpoint, \(type) in the graph"))
      }
    }
    if fit == .exact {
      for (name, value) in tensors where !known.contains(name) {
        problems.append(.init(name, "\(value.type) in the checkpoint, not in the graph"))
      }
    }
    return problems
  }

  /// Gives the variables of `session` the values of this checkpoint.
  ///
  /// Nothing is changed when it throws.
  /// - Returns: names in the checkpoint that the graph has no variable for.
  /// - Throws: InvalidArgument that lists every variable that does not fit.
  @discardableResult
  public func restore(into session: Session, fit: Fit = .common) throws(WeftError) -> [String] {
    try named(for: session.graph).assign(to: session, fit)
  }

  private func assign(to session: Session, _ fit: Fit) throws(WeftError) -> [String] {
    let problems = mismatches(with: session.graph, fit: fit)
    guard problems.isEmpty else {
      throw WeftError(
        .invalidArgument,
        "the checkpoint does not fit the graph in \(problems.count) "
          + (problems.count == 1 ? "place" : "places"),
        details: problems)
    }
    let known = Set(session.graph.modelVariables.map(\.name))
    var unused: [String] = []
    for (name, value) in tensors {
      if known.contains(name) {
        try session.variables.cell(name, dtype: value.dtype).assign(value)
      } else {
        unused.append(name)
      }
    }
    if unused.count == tensors.count, let first = tensors.keys.first {
      throw WeftError(
        .invalidArgument,
        "none of the checkpoint's \(tensors.count) tensors is a variable of the graph",
        details: [
          .init("checkpoint", first),
          .init("graph", session.graph.modelVariables.first?.name ?? "has no variables"),
        ])
    }
    return unused
  }
}

// Messages to a Graph: nodes, signatures, variables, collections, and all else as carried bytes.

internal import OrderedCollections
internal import SwiftProtobuf
internal import WeftGraph
internal import WeftTensors

/// Names under which a graph carries the parts of its file that it does not interpret. Each holds
/// the serialized message of that field, except where noted.
enum Carried {
  static let versions = "versions"
  static let library = "library"
  static let debugInfo = "debugInfo"
  /// A GraphDef with only its deprecated `version`.
  static let version = "version"
  static let metaInfo = "metaInfoDef"
  static let saver = "saverDef"
  /// A MetaGraphDef with only its assets.
  static let assets = "assetFileDef"
  static let objects = "objectGraphDef"
  /// CollectionDefs as they were, where the variable records alone would not restore them.
  static let variables = "variables"
  static let trainable = "trainable_variables"
  /// Present, and empty, when the file was a GraphDef without anything around it.
  static let bare = "bareGraphDef"
}

/// Makes graphs of messages.
struct GraphReader {
  private let registry: OpRegistry
  private var attrs = AttrReader()

  private init(registry: OpRegistry) { self.registry = registry }

  /// The graph of a document. Of a SavedModel with several graphs, the one for training.
  static func graph(
    of document: GraphDocument, registry: OpRegistry
  ) throws(WeftError) -> Graph {
    var reader = GraphReader(registry: registry)
    switch document {
    case .graph(let message):
      let graph = try reader.graph(message, path: "$")
      graph.passthrough[Carried.bare] = []
      return graph
    case .metaGraph(let message):
      return try reader.graph(message, path: "$")
    case .savedModel(let message):
      let index = message.metaGraphs.firstIndex { $0.metaInfoDef.tags.contains("train") } ?? 0
      guard message.metaGraphs.indices.contains(index) else {
        throw FormatError(.invalid, "the SavedModel holds no graph").weftError
      }
      return try reader.graph(message.metaGraphs[index], path: "$.metaGraphs[\(index)]")
    }
  }

  // MARK: - GraphDef

  private mutating func graph(_ message: TFGraphDef, path: String) throws(WeftError) -> Graph {
    var specs: [NodeSpec] = []
    specs.reserveCapacity(message.node.count)
    for (index, node) in message.node.enumerated() {
      do throws(FormatError) {
        specs.append(try spec(node, path: "\(path).node[\(index)]"))
      } catch {
        throw error.weftError
      }
    }
    let graph: Graph
    do {
      let functions = try functions(message.library, path: path + ".library")
      graph = try Graph(
        loading: specs, registry: registry.calling(functions), functions: functions)
    } catch let error as WeftError {
      throw error
    } catch {
      throw WeftError(.internal, "\(error)")
    }
    try publicErrors { () throws(FormatError) in
      if message.hasVersions {
        graph.passthrough[Carried.versions] = try message.versions.stableBytes()
      }
      if message.hasLibrary {
        graph.passthrough[Carried.library] = try message.library.stableBytes()
      }
      if message.hasDebugInfo {
        graph.passthrough[Carried.debugInfo] = try message.debugInfo.stableBytes()
      }
      if message.version != 0 {
        graph.passthrough[Carried.version] =
          try TFGraphDef.with { $0.version = message.version }.stableBytes()
      }
    }
    return graph
  }

  private func functions(
    _ library: TFFunctionDefLibrary, path: String
  ) throws(WeftError) -> OrderedDictionary<String, GraphFunction> {
    do throws(FormatError) {
      let reader = FunctionReader { [self] node, path throws(FormatError) in
        var copy = self
        return try copy.spec(node, path: path)
      }
      return try reader.functions(library, path: path)
    } catch {
      throw error.weftError
    }
  }

  private mutating func spec(
    _ message: TFNodeDef, path: String
  ) throws(FormatError) -> NodeSpec {
    var values: [String: AttrValue] = [:]
    values.reserveCapacity(message.attr.count)
    // What the node carries besides: fields of its own, and attributes with details that their
    // values here do not have.
    var rest = TFNodeDef()
    if message.hasExperimentalDebugInfo {
      rest.experimentalDebugInfo = message.experimentalDebugInfo
    }
    if message.hasExperimentalType { rest.experimentalType = message.experimentalType }
    for (name, attr) in message.attr.sorted(by: { $0.key < $1.key }) {
      do throws(FormatError) {
        let (value, isExact) = try attrs.value(attr, path: path + ".attr" + JSONText.step(name))
        values[name] = value
        if !isExact { rest.attr[name] = attr }
      } catch {
        var placed = error
        placed.node = "\(message.name)  (\(message.op))"
        throw placed
      }
    }
    return NodeSpec(
      name: message.name, op: message.op, inputs: message.input, attrs: values,
      device: message.device, path: path,
      passthrough: rest == TFNodeDef() ? [] : try rest.stableBytes())
  }

  // MARK: - MetaGraphDef

  private mutating func graph(_ message: TFMetaGraphDef, path: String) throws(WeftError) -> Graph {
    let graph = try graph(message.graphDef, path: path + ".graphDef")
    try publicErrors { () throws(FormatError) in
      for (key, signature) in message.signatureDef.sorted(by: { $0.key < $1.key }) {
        graph.signatures[key] = Self.signature(signature, bytes: try signature.stableBytes())
      }
      try readCollections(message.collectionDef, into: graph)
      if message.hasMetaInfoDef {
        graph.passthrough[Carried.metaInfo] = try message.metaInfoDef.stableBytes()
      }
      if message.hasSaverDef {
        graph.passthrough[Carried.saver] = try message.saverDef.stableBytes()
      }
      if message.hasObjectGraphDef {
        graph.passthrough[Carried.objects] = try message.objectGraphDef.stableBytes()
      }
      if !message.assetFileDef.isEmpty {
        graph.passthrough[Carried.assets] =
          try TFMetaGraphDef.with { $0.assetFileDef = message.assetFileDef }.stableBytes()
      }
    }
    return graph
  }

  /// The signature of a message; tensors that are not named (sparse, composite) are left to the
  /// bytes.
  static func signature(_ message: TFSignatureDef, bytes: [UInt8]) -> Signature {
    func names(_ map: [String: TFTensorInfo]) -> OrderedDictionary<String, String> {
      var names: OrderedDictionary<String, String> = [:]
      for (key, info) in map.sorted(by: { $0.key < $1.key }) where !info.name.isEmpty {
        names[key] = info.name
      }
      return names
    }
    return Signature(
      inputs: names(message.inputs), outputs: names(message.outputs), method: message.methodName,
      passthrough: bytes)
  }

  private func readCollections(
    _ message: [String: TFCollectionDef], into graph: Graph
  ) throws(FormatError) {
    let variableKeys = [Carried.variables, Carried.trainable]
    let records = VariableCodec.records(
      variables: message[Carried.variables], trainable: message[Carried.trainable])
    if let records {
      graph.variables = records
      // Empty bytes say that the file had no such collection although some variables could be in it.
      if message[Carried.trainable] == nil, records.contains(where: \.isTrainable) {
        graph.passthrough[Carried.trainable] = []
      }
    }
    for (key, collection) in message.sorted(by: { $0.key < $1.key }) {
      if let records, variableKeys.contains(key) {
        let own = try VariableCodec.collection(
          records, trainable: key == Carried.trainable, kept: nil)
        if own != collection { graph.passthrough[key] = try collection.stableBytes() }
        continue
      }
      graph.collections[key] =
        switch collection.kind {
        case .nodeList(let list): .nodes(list.value)
        case .bytesList(let list): .bytes(list.value.map { Array($0) })
        case .int64List(let list): .ints(list.value)
        case .floatList(let list): .floats(list.value)
        case .anyList, nil: .opaque(try collection.stableBytes())
        }
    }
  }
}

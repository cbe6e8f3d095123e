// A graph to messages: the inverse of GraphReader, restoring what the graph carried.

internal import OrderedCollections
internal import SwiftProtobuf
internal import WeftGraph
internal import WeftTensors

#if canImport(FoundationEssentials)
  internal import FoundationEssentials
#else
  internal import Foundation
#endif

/// Makes messages of graphs.
struct GraphWriter {
  private let graph: GraphSnapshot
  private let writesSites: Bool

  /// The document of a graph: a MetaGraphDef, or a GraphDef where the graph came from one and
  /// nothing was added that only a MetaGraphDef holds.
  static func document(
    of graph: GraphSnapshot, writesSites: Bool = false
  ) throws(FormatError) -> GraphDocument {
    let writer = GraphWriter(graph: graph, writesSites: writesSites)
    let isBare =
      graph.passthrough[Carried.bare] != nil && graph.signatures.isEmpty
      && graph.collections.isEmpty && graph.variables.isEmpty
    return isBare ? .graph(try writer.graphDef()) : .metaGraph(try writer.metaGraphDef())
  }

  // MARK: - Carried parts

  private func carried<M: Message>(_ key: String, _: M.Type = M.self) throws(FormatError) -> M? {
    guard let bytes = graph.passthrough[key] else { return nil }
    do {
      return try M(serializedBytes: bytes)
    } catch {
      throw FormatError(.invalid, "the graph's carried '\(key)' is no \(M.protoMessageName)")
    }
  }

  // MARK: - GraphDef

  private func graphDef() throws(FormatError) -> TFGraphDef {
    var message = TFGraphDef()
    message.node.reserveCapacity(graph.nodes.count)
    for node in graph.nodes {
      do throws(FormatError) {
        message.node.append(try nodeDef(node))
      } catch {
        var placed = error
        placed.node = placed.node ?? "\(node.name)  (\(node.op))"
        throw placed
      }
    }
    message.versions =
      try carried(Carried.versions) ?? TFVersionDef.with { $0.producer = Graph.producer }
    let library = try carried(Carried.library, TFFunctionDefLibrary.self)
    let used = graph.usedFunctions
    let made = graph.functions.values.filter { !$0.isCarried && used.contains($0.name) }
    if library != nil || !made.isEmpty {
      message.library = try FunctionWriter.library(library, adding: made)
    }
    if let info = try carried(Carried.debugInfo, TFGraphDebugInfo.self) { message.debugInfo = info }
    if let old = try carried(Carried.version, TFGraphDef.self) { message.version = old.version }
    return message
  }

  private func nodeDef(_ node: Node) throws(FormatError) -> TFNodeDef {
    var message = TFNodeDef()
    var kept: [String: TFAttrValue] = [:]
    if !node.passthrough.isEmpty {
      do {
        message = try TFNodeDef(serializedBytes: node.passthrough)
      } catch {
        throw FormatError(.invalid, "the node's carried bytes are no NodeDef")
      }
      swap(&kept, &message.attr)
    }
    message.name = node.name
    message.op = node.op
    message.device = node.device
    message.input =
      node.inputs.map { graph.nodes[$0.node].outputName($0.port) }
      + node.controlInputs.map { "^" + graph.nodes[$0].name }
    for (name, value) in node.attrs.sorted(by: { $0.key < $1.key }) {
      if let own = try unchanged(kept[name], value) {
        message.attr[name] = own
      } else {
        message.attr[name] = try AttrWriter.message(value)
      }
    }
    if writesSites, case .site(let file, let line) = node.origin {
      message.attr["_weft_site"] = try AttrWriter.message(.string("\(file):\(line)"))
    }
    return message
  }

  /// The file's own attribute, if the value is still the one that was read from it.
  private func unchanged(
    _ kept: TFAttrValue?, _ value: AttrValue
  ) throws(FormatError) -> TFAttrValue? {
    guard let kept else { return nil }
    var reader = AttrReader()
    return try reader.value(kept, path: "$").value == value ? kept : nil
  }

  // MARK: - MetaGraphDef

  private func metaGraphDef() throws(FormatError) -> TFMetaGraphDef {
    var message = TFMetaGraphDef()
    message.graphDef = try graphDef()
    if let info = try carried(Carried.metaInfo, TFMetaGraphDef.MetaInfoDef.self) {
      message.metaInfoDef = info
    }
    if let saver = try carried(Carried.saver, TFSaverDef.self) { message.saverDef = saver }
    if let objects = try carried(Carried.objects, TFSavedObjectGraph.self) {
      message.objectGraphDef = objects
    }
    if let assets = try carried(Carried.assets, TFMetaGraphDef.self) {
      message.assetFileDef = assets.assetFileDef
    }
    for (key, collection) in graph.collections {
      message.collectionDef[key] = try Self.collection(collection)
    }
    for key in [Carried.variables, Carried.trainable] where message.collectionDef[key] == nil {
      if key == Carried.trainable, graph.passthrough[key]?.isEmpty == true { continue }
      let collection = try VariableCodec.collection(
        graph.variables, trainable: key == Carried.trainable,
        kept: try carried(key, TFCollectionDef.self))
      if !collection.bytesList.value.isEmpty { message.collectionDef[key] = collection }
    }
    for (key, signature) in graph.signatures {
      message.signatureDef[key] = try self.signature(signature)
    }
    return message
  }

  private static func collection(_ collection: Collection) throws(FormatError) -> TFCollectionDef {
    var message = TFCollectionDef()
    switch collection {
    case .nodes(let names): message.nodeList.value = names
    case .bytes(let values):
      message.bytesList = TFCollectionDef.BytesList.with { $0.value = values.map { Data($0) } }
    case .ints(let values): message.int64List.value = values
    case .floats(let values): message.floatList.value = values
    case .opaque(let bytes):
      do {
        message = try TFCollectionDef(serializedBytes: bytes)
      } catch {
        throw FormatError(.invalid, "a collection's carried bytes are no CollectionDef")
      }
    }
    return message
  }

  private func signature(_ signature: Signature) throws(FormatError) -> TFSignatureDef {
    var old = TFSignatureDef()
    if !signature.passthrough.isEmpty {
      do {
        old = try TFSignatureDef(serializedBytes: signature.passthrough)
      } catch {
        throw FormatError(.invalid, "a signature's carried bytes are no SignatureDef")
      }
    }
    var message = old
    message.methodName = signature.method
    message.inputs = infos(signature.inputs, old: old.inputs)
    message.outputs = infos(signature.outputs, old: old.outputs)
    return message
  }

  /// The file's own entries where they name the same tensor, and those that name none.
  private func infos(
    _ names: OrderedDictionary<String, String>, old: [String: TFTensorInfo]
  ) -> [String: TFTensorInfo] {
    var infos = old.filter { $0.value.name.isEmpty }
    for (key, name) in names {
      if let kept = old[key], kept.name == name {
        infos[key] = kept
      } else {
        infos[key] = info(name)
      }
    }
    return infos
  }

  private func info(_ name: String) -> TFTensorInfo {
    var info = TFTensorInfo()
    info.name = name
    // A name without a port is an operation: no type, and no shape of any rank.
    if name.contains(":"), let edge = try? graph.edge(name) {
      info.dtype = AttrWriter.type(graph.type(edge).dtype)
      info.tensorShape = AttrWriter.shape(graph.type(edge).shape)
    } else {
      info.tensorShape.unknownRank = true
    }
    return info
  }
}

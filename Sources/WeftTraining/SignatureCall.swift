// A signature with its names looked up: what to feed, fetch and run.

internal import OrderedCollections
public import WeftGraph
public import WeftTensors

/// One signature of a graph, resolved.
///
/// An output whose tensor name has no `:` names an operation; running the signature runs it.
public struct SignatureCall: Sendable {
  /// The signature's name.
  public let name: String
  /// Input keys and what they feed.
  public let inputs: [(key: String, edge: Edge)]
  /// Output keys of tensors and what they fetch.
  public let outputs: [(key: String, edge: Edge)]
  /// Output keys of operations and the nodes to run.
  public let operations: [(key: String, node: Int)]

  /// The signature `name` of `graph`.
  /// - Throws: NotFound (usage) with the signatures that there are; InvalidArgument when the
  ///   signature names what the graph does not have.
  public init(_ name: String, of graph: GraphSnapshot) throws(WeftError) {
    guard let signature = graph.signatures[name] else {
      let known = graph.signatures.keys.map { "'\($0)'" }.joined(separator: ", ")
      throw WeftError(
        .notFound, "there is no signature '\(name)'", category: .usage,
        hint: known.isEmpty ? "the graph has no signatures" : "the graph has \(known)")
    }
    self.name = name
    var inputs: [(key: String, edge: Edge)] = []
    for (key, tensor) in signature.inputs {
      inputs.append((key, try Self.edge(tensor, key, name, graph)))
    }
    var outputs: [(key: String, edge: Edge)] = []
    var operations: [(key: String, node: Int)] = []
    for (key, tensor) in signature.outputs {
      if tensor.contains(":") {
        outputs.append((key, try Self.edge(tensor, key, name, graph)))
      } else if let node = graph.nodeID(tensor) {
        operations.append((key, node))
      } else {
        throw Self.dangling(tensor, key, name)
      }
    }
    self.inputs = inputs
    self.outputs = outputs
    self.operations = operations
  }

  private static func edge(
    _ tensor: String, _ key: String, _ name: String, _ graph: GraphSnapshot
  ) throws(WeftError) -> Edge {
    do {
      return try graph.edge(tensor)
    } catch {
      throw dangling(tensor, key, name)
    }
  }

  private static func dangling(_ tensor: String, _ key: String, _ name: String) -> WeftError {
    WeftError(
      .invalidArgument,
      "the signature '\(name)' gives '\(key)' the name '\(tensor)', which the graph does not have")
  }

  /// What the input `key` feeds.
  public func input(_ key: String) -> Edge? { inputs.first { $0.key == key }?.edge }
  /// What the output `key` fetches.
  public func output(_ key: String) -> Edge? { outputs.first { $0.key == key }?.edge }
}

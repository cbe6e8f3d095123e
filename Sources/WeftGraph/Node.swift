// Nodes, edges and handles: the plain data of a graph.

public import WeftTensors

/// One output of one node, by number.
public struct Edge: Hashable, Sendable {
  /// The node's id in its graph.
  public var node: Int
  /// Which of its outputs.
  public var port: Int
  /// Output `port` of node `node`.
  public init(node: Int, port: Int) {
    self.node = node
    self.port = port
  }
}

/// Where a node was made.
public enum Origin: Sendable, Hashable {
  /// A line of Swift, `#fileID:line`.
  case site(file: String, line: UInt)
  /// A place in a file, such as `$.graphDef.node[212]`.
  case path(String)
  /// Not known.
  case unknown

  /// `made at Model.swift:73`, the JSON path, or nothing.
  public var description: String? {
    switch self {
    case .site(let file, let line): "made at \(file):\(line)"
    case .path(let path): path
    case .unknown: nil
    }
  }
}

/// One operation of a graph.
public struct Node: Sendable {
  /// Its place in the graph's `nodes`.
  public let id: Int
  /// The unique scoped name, `decoder/dense/MatMul`.
  public let name: String
  /// TensorFlow's op name.
  public let op: String
  /// The op's row; nil for an op that is not registered.
  public let def: OpDef?
  /// Data inputs.
  public internal(set) var inputs: [Edge]
  /// Nodes that must have run before.
  public internal(set) var controlInputs: [Int]
  /// Attributes as stored, without defaults.
  public internal(set) var attrs: [String: AttrValue]
  /// TensorFlow's device string; kept, not used.
  public var device: String
  /// The types of the outputs.
  public internal(set) var outputs: [TensorType]
  /// What resource and reference outputs stand for.
  public internal(set) var handles: [HandleType?]
  /// Where it was made.
  public let origin: Origin
  /// Fields of the file's node that Weft carries but does not use (serialized NodeDef).
  public var passthrough: [UInt8]

  /// Attributes with the op's defaults.
  public var attributes: Attrs { Attrs(attrs, signature: def?.signature) }

  /// The attribute of a node that gives nothing but the random numbers of a conditional or call: the
  /// name of that node, for which they are drawn.
  package static var drawsOnly: String { "_draws_only_for" }
  /// The node for which it draws random numbers and gives nothing else.
  package var drawsOnlyFor: String? { attrs[Node.drawsOnly]?.text }

  /// The name of output `port`: the node's name, with `:port` unless it is 0.
  public func outputName(_ port: Int) -> String { port == 0 ? name : "\(name):\(port)" }
}

/// A symbolic tensor: one output of one node of a graph.
public struct Output {
  /// The graph it belongs to.
  public let graph: Graph
  /// Which node and port.
  public let edge: Edge

  /// The output at `edge` of `graph`.
  public init(graph: Graph, edge: Edge) {
    self.graph = graph
    self.edge = edge
  }

  /// The node that makes it.
  public var node: Node { graph.nodes[edge.node] }
  /// Its type.
  public var type: TensorType { graph.nodes[edge.node].outputs[edge.port] }
  /// Its element type.
  public var dtype: DType { type.dtype }
  /// Its shape, as far as it is known.
  public var shape: Shape { type.shape }
  /// TensorFlow's tensor name, `scope/op:0`.
  public var name: String { "\(node.name):\(edge.port)" }
}

extension Output: Hashable {
  /// Whether both are one output of one graph.
  public static func == (a: Output, b: Output) -> Bool { a.graph === b.graph && a.edge == b.edge }
  /// Hashes graph and place.
  public func hash(into hasher: inout Hasher) {
    hasher.combine(ObjectIdentifier(graph))
    hasher.combine(edge)
  }
}

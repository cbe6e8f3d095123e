// Making a graph of nodes that name each other, as files hold them.

public import OrderedCollections
internal import WeftTensors

/// A node as a file states it: inputs by name.
public struct NodeSpec: Sendable {
  /// The unique name.
  public var name: String
  /// TensorFlow's op name.
  public var op: String
  /// `node`, `node:port`, and after those `^node` for control inputs.
  public var inputs: [String]
  /// Attributes as stored.
  public var attrs: [String: AttrValue]
  /// TensorFlow's device string.
  public var device: String
  /// Where it stands in the file, such as `$.graphDef.node[212]`.
  public var path: String
  /// Fields that Weft carries but does not use (serialized NodeDef).
  public var passthrough: [UInt8]

  /// A node as stated in a file.
  public init(
    name: String, op: String, inputs: [String], attrs: [String: AttrValue] = [:],
    device: String = "", path: String, passthrough: [UInt8] = []
  ) {
    self.name = name
    self.op = op
    self.inputs = inputs
    self.attrs = attrs
    self.device = device
    self.path = path
    self.passthrough = passthrough
  }
}

extension Graph {
  /// A graph of `specs`, in any order; ids follow their order.
  ///
  /// Ops that the registry lacks are kept: their outputs have type `invalid`, and only a run that
  /// depends on them fails. `_output_shapes` refines inferred shapes and must not contradict them.
  /// - Throws: InvalidArgument for duplicate names, dangling inputs, cycles other than those of
  ///   loops (through NextIteration), and everything `add` checks, each with its path.
  public convenience init(
    loading specs: [NodeSpec], registry: OpRegistry,
    functions: OrderedDictionary<String, GraphFunction> = [:]
  ) throws {
    var snapshot = GraphSnapshot(registry: registry)
    snapshot.functions = functions
    snapshot.nodes.reserveCapacity(specs.count)
    for (id, spec) in specs.enumerated() {
      guard Graph.isValidName(spec.name) else {
        throw WeftError(.invalidArgument, "'\(spec.name)' is not a valid node name")
          .adding("at", spec.path)
      }
      if let other = snapshot.index[spec.name] {
        throw WeftError(.invalidArgument, "two nodes are called '\(spec.name)'")
          .adding("first", specs[other].path).adding("second", spec.path)
      }
      snapshot.index[spec.name] = id
      snapshot.nodes.append(
        Node(
          id: id, name: spec.name, op: spec.op, def: registry[spec.op], inputs: [],
          controlInputs: [], attrs: spec.attrs, device: spec.device, outputs: [], handles: [],
          origin: .path(spec.path), passthrough: spec.passthrough))
    }
    self.init(snapshot: snapshot)
    // How many outputs an unregistered op has is known only from who uses them.
    var unknownPorts = [Int](repeating: 0, count: specs.count)
    for (id, spec) in specs.enumerated() {
      var data: [Edge] = []
      var controls: [Int] = []
      for (position, text) in spec.inputs.enumerated() {
        let isControl = text.hasPrefix("^")
        let (name, port) =
          isControl ? (String(text.dropFirst()), 0) : GraphSnapshot.splitTensorName(text)
        guard let source = snapshot.index[name] else {
          throw WeftError(.invalidArgument, "input '\(text)' names a node that does not exist")
            .adding("node", "\(spec.name)  (\(spec.op))").adding(
              "at", "\(spec.path).input[\(position)]")
        }
        if isControl {
          if !controls.contains(source) { controls.append(source) }
        } else {
          guard controls.isEmpty else {
            throw WeftError(
              .invalidArgument, "data input '\(text)' stands after a control input"
            ).adding("node", "\(spec.name)  (\(spec.op))").adding(
              "at", "\(spec.path).input[\(position)]")
          }
          guard port < Graph.portLimit else {
            throw WeftError(.invalidArgument, "input '\(text)': no op has that many outputs")
              .adding("node", "\(spec.name)  (\(spec.op))").adding(
                "at", "\(spec.path).input[\(position)]")
          }
          data.append(Edge(node: source, port: port))
          unknownPorts[source] = max(unknownPorts[source], port + 1)
        }
      }
      setInputs(id, data, controls)
    }
    var outputs = 0
    for id in try loadOrder() {
      try inferLoaded(id, unknownPorts[id])
      outputs += nodes[id].outputs.count
      guard outputs <= Graph.totalOutputsLimit else {
        throw describe(
          WeftError(
            .resourceExhausted,
            "the nodes up to this one have more than \(Graph.totalOutputsLimit) outputs"),
          op: nodes[id].op, name: nodes[id].name, def: nil, inputs: [], origin: nodes[id].origin)
      }
    }
    // Back edges point at types that were not yet known when their Merge was inferred.
    for node in nodes {
      for edge in node.inputs where edge.port >= nodes[edge.node].outputs.count {
        let source = nodes[edge.node]
        throw describe(
          WeftError(
            .invalidArgument,
            "input '\(source.name):\(edge.port)' does not exist: \(source.op) has "
              + "\(source.outputs.count) outputs"),
          op: node.op, name: node.name, def: nil, inputs: [], origin: node.origin)
      }
    }
  }

  // Inputs before users, ids breaking ties; edges out of NextIteration are loops and do not count.
  private func loadOrder() throws(WeftError) -> [Int] {
    let order = snapshot.topologicalOrder()
    guard order.count == nodes.count else {
      let members = cycle(outside: Set(order))
      throw WeftError(
        .invalidArgument,
        "the graph has a cycle through "
          + members.prefix(8).map { "'\(nodes[$0].name)'" }.joined(separator: ", ")
          + (members.count > 8 ? ", ... (\(members.count) nodes)" : ""),
        details: members.prefix(8).map { id in
          let place = nodes[id].origin.description.map { "  \($0)" } ?? ""
          return WeftError.Detail("node", "\(nodes[id].name)  (\(nodes[id].op))\(place)")
        })
    }
    return order
  }

  // The nodes of one cycle, each an input of the next. What merely depends on a cycle is left out
  // of the order too, but every node outside it has an input outside it: following those ends in
  // a cycle.
  private func cycle(outside done: Set<Int>) -> [Int] {
    guard var id = nodes.indices.first(where: { !done.contains($0) }) else { return [] }
    var path: [Int] = []
    var place: [Int: Int] = [:]
    while place[id] == nil {
      place[id] = path.count
      path.append(id)
      let sources = nodes[id].inputs.map(\.node) + nodes[id].controlInputs
      guard
        let next = sources.first(where: {
          !done.contains($0) && nodes[$0].op != GraphSnapshot.backEdgeOp
        })
      else { return path }
      id = next
    }
    return path[(place[id] ?? 0)...].reversed()
  }

  private func inferLoaded(_ id: Int, _ unknownPorts: Int) throws {
    let node = nodes[id]
    guard let def = node.def else {
      setTypes(
        id, Array(repeating: TensorType(.invalid, .unknown), count: max(1, unknownPorts)),
        Array(repeating: nil, count: max(1, unknownPorts)))
      return
    }
    do {
      var types: [TensorType] = []
      for edge in node.inputs {
        let outputs = nodes[edge.node].outputs
        if outputs.isEmpty && nodes[edge.node].op == GraphSnapshot.backEdgeOp {
          types.append(TensorType(.invalid, .unknown))
        } else if edge.port < outputs.count {
          types.append(outputs[edge.port])
        } else {
          throw WeftError(
            .invalidArgument,
            "input '\(nodes[edge.node].name):\(edge.port)' does not exist: "
              + "\(nodes[edge.node].op) has \(outputs.count) outputs")
        }
      }
      try checkAttrs(def, node.attrs)
      // Between inputs of unknown ops, types may be unknown; a file that states one must mean one.
      for attr in def.signature.attrs {
        if case .type(.invalid)? = node.attrs[attr.name] {
          throw WeftError(
            .invalidArgument, "\(def.name) attr '\(attr.name)' is no type: DT_INVALID"
          )
          .adding("attr", attr.name)
        }
      }
      var (outputs, handles) = try inferTypes(def, node.attrs, node.inputs, types)
      if case .list(let stated)? = node.attrs["_output_shapes"] {
        guard stated.count == outputs.count else {
          throw WeftError(
            .invalidArgument,
            "attr '_output_shapes' lists \(stated.count) shapes, \(node.op) has \(outputs.count) outputs"
          )
        }
        for (port, value) in stated.enumerated() {
          guard case .shape(let shape) = value else { continue }
          guard let merged = outputs[port].shape.merged(with: shape) else {
            throw WeftError(
              .invalidArgument,
              "attr '_output_shapes' says \(shape) for output \(port), inferred is "
                + "\(outputs[port].shape)")
          }
          outputs[port].shape = merged
        }
      }
      setTypes(id, outputs, handles)
    } catch let error as WeftError {
      throw describe(
        error, op: node.op, name: node.name, def: def,
        inputs: node.inputs.filter { $0.port < nodes[$0.node].outputs.count },
        origin: node.origin)
    }
  }
}

extension GraphSnapshot {
  /// The op whose output closes a loop's cycle.
  static let backEdgeOp = "NextIteration"

  /// Node ids with inputs before users, smaller ids first among the ready; shorter than `nodes`
  /// when there is a cycle. Edges out of NextIteration do not count.
  public func topologicalOrder() -> [Int] {
    var pending = [Int](repeating: 0, count: nodes.count)
    var users = [[Int]](repeating: [], count: nodes.count)
    for node in nodes {
      for edge in node.inputs where nodes[edge.node].op != GraphSnapshot.backEdgeOp {
        pending[node.id] += 1
        users[edge.node].append(node.id)
      }
      for source in node.controlInputs where nodes[source].op != GraphSnapshot.backEdgeOp {
        pending[node.id] += 1
        users[source].append(node.id)
      }
    }
    var ready = MinHeap()
    for node in nodes where pending[node.id] == 0 { ready.insert(node.id) }
    var order: [Int] = []
    order.reserveCapacity(nodes.count)
    while let id = ready.popMin() {
      order.append(id)
      for user in users[id] {
        pending[user] -= 1
        if pending[user] == 0 { ready.insert(user) }
      }
    }
    return order
  }
}

/// A binary heap of integers, smallest first.
public struct MinHeap: Sendable {
  private var items: [Int] = []
  /// An empty heap.
  public init() {}
  /// Adds a number. O(log n).
  public mutating func insert(_ item: Int) {
    items.append(item)
    var child = items.count - 1
    while child > 0 {
      let parent = (child - 1) / 2
      if items[parent] <= items[child] { break }
      items.swapAt(parent, child)
      child = parent
    }
  }
  /// Removes and returns the smallest number. O(log n).
  public mutating func popMin() -> Int? {
    guard let first = items.first else { return nil }
    let last = items.removeLast()
    if !items.isEmpty {
      items[0] = last
      var parent = 0
      while true {
        var child = 2 * parent + 1
        if child >= items.count { break }
        if child + 1 < items.count && items[child + 1] < items[child] { child += 1 }
        if items[parent] <= items[child] { break }
        items.swapAt(parent, child)
        parent = child
      }
    }
    return first
  }
}

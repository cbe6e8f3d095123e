// Constant folding and common subexpressions: the rewrites that change no bit.

internal import WeftGraph
internal import WeftOps
internal import WeftTensors

extension IR {
  /// Nodes whose every output is known become constants; their inputs are no longer needed.
  mutating func fold() {
    // A value that is known in some steps of a loop that was written out stays: it would make them
    // unlike the others.
    var open = Set<BodyNode>()
    for id in nodes.indices where live[id] && known[Edge(node: id, port: 0)] == nil {
      if let body = nodes[id].bodyNode { open.insert(body) }
    }
    for id in nodes.indices where live[id] {
      guard case .op = nodes[id].kind, nodes[id].outputs.count == 1, !nodes[id].isStateful,
        nodes[id].controls.isEmpty, let value = known[Edge(node: id, port: 0)]
      else { continue }
      if let body = nodes[id].bodyNode, open.contains(body) { continue }
      nodes[id].kind = .constant(value)
      nodes[id].inputs = []
    }
    // Nodes of several outputs: each used output becomes its own constant.
    var replaced: [Edge: Edge] = [:]
    for id in nodes.indices where live[id] {
      for index in nodes[id].inputs.indices {
        let edge = nodes[id].inputs[index]
        if let new = replacement(edge, &replaced) { nodes[id].inputs[index] = new }
      }
    }
    for index in fetches.indices {
      if let new = replacement(fetches[index], &replaced) { fetches[index] = new }
    }
    markLive()
  }

  private mutating func replacement(_ edge: Edge, _ replaced: inout [Edge: Edge]) -> Edge? {
    // Most nodes have one output and are not copied for it.
    guard nodes[edge.node].outputs.count > 1, case .op = nodes[edge.node].kind,
      !nodes[edge.node].isStateful, nodes[edge.node].controls.isEmpty, let value = known[edge]
    else { return nil }
    if let new = replaced[edge] { return new }
    let node = nodes[edge.node]
    var constant = node
    constant.kind = .constant(value)
    constant.inputs = []
    constant.outputs = [node.outputs[edge.port]]
    constant.handles = [nil]
    constant.name = "\(node.name):\(edge.port)"
    nodes.append(constant)
    live.append(true)
    let new = Edge(node: nodes.count - 1, port: 0)
    known[new] = value
    replaced[edge] = new
    return new
  }

  private struct Key: Hashable {
    /// The row: those that passes made are one node's own.
    let op: ObjectIdentifier?
    let attrs: [String: AttrValue]
    let inputs: [Edge]
    let controls: [Int]
    let constant: AttrValue?
    let outputs: [TensorType]

    // Few expressions differ in attributes alone, and dictionaries take long to hash.
    func hash(into hasher: inout Hasher) {
      hasher.combine(op)
      hasher.combine(inputs)
      hasher.combine(controls)
      hasher.combine(constant)
    }
  }

  // A read of a variable that waits for nothing: all of them see the value from before the run's
  // writes.
  private func isEarlyRead(_ id: Int) -> Bool {
    let node = nodes[id]
    guard node.controls.isEmpty, node.def.traits == [.stateful, .readsVariable, .view],
      let handle = node.inputs.first, case .variable = nodes[handle.node].kind
    else { return false }
    return true
  }

  /// Nodes that only pass a value on are left out.
  mutating func forwardValues() {
    var table: [Edge: Edge] = [:]
    for id in nodes.indices where live[id] && nodes[id].controls.isEmpty && isPlainView(id) {
      let source = nodes[id].inputs[0]
      // Unknown sizes are equal in name only: a reshape may be behind them.
      guard isOp(id, KnownOp.identity) || nodes[id].outputs[0].shape.isFullyKnown else { continue }
      if type(source) == nodes[id].outputs[0] { table[Edge(node: id, port: 0)] = source }
    }
    for (edge, var source) in table {
      while let next = table[source] { source = next }
      table[edge] = source
    }
    replace(table)
    markLive()
  }

  /// Nodes that compute the same from the same become one.
  mutating func mergeCommon() {
    var seen: [Key: [Int]] = [:]
    /// For each node the nodes of loops' bodies that it stands for.
    var bodies: [Int: [Int: Int]] = [:]
    seen.reserveCapacity(liveCount)
    var into = Array(nodes.indices)
    // The node that `id` is merged into, else it is the next that others may be merged into.
    func merge(_ id: Int, _ alike: inout [Int]) -> Int? {
      // Nodes of one loop that was written out stay apart unless they are so in every step: those of
      // one step alone would make it unlike the others.
      let body = nodes[id].bodyNode
      let first = alike.first { other in
        guard let body, let known = bodies[other]?[body.loop] else { return true }
        return known == body.node
      }
      if first == nil { alike.append(id) }
      if let body { bodies[first ?? id, default: [:]][body.loop] = body.node }
      return first
    }
    for id in order() {
      for index in nodes[id].inputs.indices {
        let edge = nodes[id].inputs[index]
        if into[edge.node] != edge.node {
          nodes[id].inputs[index] = Edge(node: into[edge.node], port: edge.port)
        }
      }
      if !nodes[id].controls.isEmpty {
        var controls: [Int] = []
        for source in nodes[id].controls where !controls.contains(into[source]) {
          controls.append(into[source])
        }
        nodes[id].controls = controls
      }
      let node = nodes[id]
      var constant: AttrValue?
      switch node.kind {
      case .constant(let value): constant = .tensor(value)
      case .op:
        if !isEarlyRead(id),
          node.isStateful || node.def.traits.contains(.readsVariable)
            || node.outputs.contains(where: { $0.isReference || !$0.dtype.isPlain })
            || node.inputs.contains(where: { type($0).isReference })
        {
          continue
        }
      case .feed, .variable: continue
      }
      // Attributes that start with an underscore have no meaning for the result.
      var attrs = constant == nil ? node.attrs : [:]
      if attrs.contains(where: { $0.key.hasPrefix("_") }) {
        attrs = attrs.filter { !$0.key.hasPrefix("_") }
      }
      if constant == nil {
        for attr in node.def.signature.attrs where attrs[attr.name] == nil {
          attrs[attr.name] = attr.defaultValue
        }
      }
      let key = Key(
        op: constant == nil ? ObjectIdentifier(node.def) : nil, attrs: attrs, inputs: node.inputs,
        controls: node.controls, constant: constant, outputs: node.outputs)
      into[id] = merge(id, &seen[key, default: []]) ?? id
    }
    fetches = fetches.map { Edge(node: into[$0.node], port: $0.port) }
    targets = targets.map { into[$0] }
    markLive()
  }
}

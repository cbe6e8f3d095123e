// The first step: the part of a graph that fetches and targets need, cut at what is fed.

package import WeftGraph
package import WeftTensors

/// What a plan is made for.
package struct PlanRequest {
  package var fetches: [Edge]
  package var targets: [Int]
  package var feeds: [(edge: Edge, type: TensorType)]

  package init(fetches: [Edge], targets: [Int], feeds: [(edge: Edge, type: TensorType)]) {
    self.fetches = fetches
    self.targets = targets
    self.feeds = feeds
  }
}

extension IR {
  /// Imports what `request` needs from `graph`.
  /// - Throws: Unimplemented that lists every op needed but not known; InvalidArgument for needed
  ///   placeholders that are not fed.
  package init(
    importing graph: GraphSnapshot, request: PlanRequest,
    variable: (_ name: String, DType) -> VariableCell
  ) throws {
    var fedAt: [Edge: Int] = [:]
    for (index, feed) in request.feeds.enumerated() { fedAt[feed.edge] = index }
    // A placeholder that is fed is there from the start: nothing waits for it.
    func isGiven(_ id: Int) -> Bool {
      guard fedAt[Edge(node: id, port: 0)] != nil,
        case .placeholder? = graph.nodes[id].def?.lowering
      else { return false }
      return true
    }
    // Needed nodes, not looking behind fed edges.
    var needed = [Bool](repeating: false, count: graph.nodes.count)
    let wanted = request.targets.filter { !isGiven($0) }
    var stack = wanted + request.fetches.filter { fedAt[$0] == nil }.map(\.node)
    while let id = stack.popLast() {
      if needed[id] { continue }
      needed[id] = true
      let node = graph.nodes[id]
      for edge in node.inputs where fedAt[edge] == nil && !needed[edge.node] {
        stack.append(edge.node)
      }
      for source in node.controlInputs where !needed[source] && !isGiven(source) {
        stack.append(source)
      }
    }
    try IR.checkRunnable(graph, needed, fedAt)

    // Feeds come first, then the needed nodes in order.
    guard let feedDef = IR.feedDef(graph.registry) else {
      throw WeftError(.internal, "the registry has no placeholder op")
    }
    for (index, feed) in request.feeds.enumerated() {
      nodes.append(
        IRNode(
          name: graph.nodes[feed.edge.node].outputName(feed.edge.port), def: feedDef, attrs: [:],
          inputs: [], controls: [], outputs: [feed.type], handles: [nil],
          origin: graph.nodes[feed.edge.node].origin, kind: .feed(index: index), rank: 0))
    }
    var place = [Int](repeating: -1, count: graph.nodes.count)
    var next = nodes.count
    for id in graph.nodes.indices where needed[id] {
      place[id] = next
      next += 1
    }
    func move(_ edge: Edge) -> Edge {
      if let index = fedAt[edge] { return Edge(node: index, port: 0) }
      return Edge(node: place[edge.node], port: edge.port)
    }
    for node in graph.nodes where needed[node.id] {
      guard let def = node.def else { continue }
      var kind = IRKind.op
      switch def.lowering {
      case .constant:
        if case .tensor(let value)? = node.attrs["value"] { kind = .constant(value) }
      case .variable:
        let shared = node.attrs["shared_name"]?.text ?? ""
        let container = node.attrs["container"]?.text ?? ""
        let name = shared.isEmpty ? node.name : shared
        let handle = node.handles.first.flatMap { $0 }
        kind = .variable(
          variable(
            container.isEmpty ? name : "\(container)/\(name)", handle?.dtype ?? .invalid))
      default: break
      }
      nodes.append(
        IRNode(
          // Streams of random numbers go by names: taking a gradient changes none.
          name: node.drawsOnlyFor ?? node.name, def: def, attrs: node.attrs,
          inputs: node.inputs.map(move),
          controls: node.controlInputs.filter { !isGiven($0) }.map { place[$0] },
          outputs: node.outputs,
          handles: node.handles, origin: node.origin, kind: kind, rank: node.id + 1))
    }
    fetches = request.fetches.map(move)
    targets = wanted.map { place[$0] }
    feeds = request.feeds
    live = [Bool](repeating: true, count: nodes.count)
    for (id, node) in nodes.enumerated() {
      if case .constant(let value) = node.kind { known[Edge(node: id, port: 0)] = value }
    }
  }

  static func feedDef(_ registry: OpRegistry) -> OpDef? {
    registry.all.first { if case .placeholder = $0.lowering { true } else { false } }
  }

  private static func checkRunnable(
    _ graph: GraphSnapshot, _ needed: [Bool], _ fedAt: [Edge: Int]
  ) throws {
    let unknown = graph.nodes.filter { needed[$0.id] && $0.def == nil }
    if !unknown.isEmpty {
      var ops: [(op: String, names: [String])] = []
      for node in unknown {
        let name = node.name + (node.origin.description.map { " (\($0))" } ?? "")
        if let at = ops.firstIndex(where: { $0.op == node.op }) {
          ops[at].names.append(name)
        } else {
          ops.append((node.op, [name]))
        }
      }
      throw WeftError(
        .unimplemented,
        "this run needs \(ops.count) ops that are not known: "
          + ops.map(\.op).joined(separator: ", "),
        details: ops.map { entry in
          WeftError.Detail(
            entry.op,
            entry.names.prefix(5).joined(separator: ", ")
              + (entry.names.count > 5 ? ", ... (\(entry.names.count) nodes)" : ""))
        })
    }
    // A needed placeholder is an error only when one of its values is used, not merely its order.
    var usedUnfed = Set<Int>()
    for node in graph.nodes where needed[node.id] {
      for edge in node.inputs where fedAt[edge] == nil { usedUnfed.insert(edge.node) }
    }
    let missing = graph.nodes.filter { node in
      guard needed[node.id], case .placeholder? = node.def?.lowering else { return false }
      return usedUnfed.contains(node.id) || fedAt[Edge(node: node.id, port: 0)] == nil
    }
    if !missing.isEmpty {
      throw WeftError(
        .invalidArgument,
        "this run needs a value for "
          + missing.prefix(20).map { "'\($0.name)' (\($0.outputs.first?.description ?? ""))" }
          .joined(separator: ", "),
        category: .usage,
        details: missing.prefix(20).map { node in
          let place = node.origin.description.map { "  \($0)" } ?? ""
          return WeftError.Detail("node", "\(node.name)  (\(node.op))\(place)")
        }, hint: "feed it, on the command line with --inputs NAME=VALUE")
    }
    for node in graph.nodes where needed[node.id] {
      if case .refused(let hint)? = node.def?.lowering {
        throw WeftError(
          .unimplemented, "\(node.op) '\(node.name)' is kept in files, but cannot be run",
          details: [
            WeftError.Detail("node", node.name + (node.origin.description.map { "  \($0)" } ?? ""))
          ], hint: hint)
      }
    }
  }
}

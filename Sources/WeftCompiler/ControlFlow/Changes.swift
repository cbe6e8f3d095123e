// What expanding replaces in a working graph, and small questions to it.

internal import WeftGraph
internal import WeftTensors

extension TensorType {
  /// The type of the value that a reference refers to.
  var value: TensorType { TensorType(dtype, shape) }
}

extension IR {
  /// What the handle at `edge` stands for.
  func handle(_ edge: Edge) -> HandleType? {
    let handles = nodes[edge.node].handles
    return handles.indices.contains(edge.port) ? handles[edge.port] : nil
  }

  /// Whether `edge` is the part's own parameter `index`, or the variable behind it, unchanged.
  func source(of edge: Edge, isParameter index: Int, argument: Edge, _ outer: IR) -> Bool {
    var edge = edge
    while true {
      let node = nodes[edge.node]
      switch node.kind {
      case .feed(let feed): return feed == index
      case .variable(let cell): return (try? outer.cell(of: argument)) === cell
      case .constant: return false
      case .op:
        guard node.def.traits.contains(.view), node.inputs.count == 1, edge.port == 0,
          !node.def.traits.contains(.readsVariable), !node.isStateful,
          node.def.signature.attrs.allSatisfy({ $0.name == "T" }), node.controls.isEmpty
        else { return false }
        edge = node.inputs[0]
      }
    }
  }

  /// Gives feeds other numbers.
  mutating func renumberFeeds(_ position: [Int: Int]) {
    for id in nodes.indices {
      if case .feed(let index) = nodes[id].kind, let new = position[index] {
        nodes[id].kind = .feed(index: new)
      }
    }
  }
}

/// What replaces nodes of a working graph, gathered and then applied at once.
struct Changes {
  /// What is read in place of an output.
  var edges: [Edge: Edge] = [:]
  /// What whoever reads an output must also wait for.
  var after: [Int: [Int]] = [:]
  /// What is waited for in place of a node.
  var instead: [Int: [Int]] = [:]

  mutating func replace(_ old: Int, by new: Int, outputs: Int) {
    for port in 0..<outputs { edges[Edge(node: old, port: port)] = Edge(node: new, port: port) }
    instead[old] = [new]
  }

  /// Lets one node read what replaced its inputs so far.
  func refresh(_ node: inout IRNode) {
    var extra: [Int] = []
    node.inputs = node.inputs.map { resolve($0, &extra) }
    node.controls += extra.filter { !node.controls.contains($0) }
  }

  /// Rewrites all users.
  func apply(to ir: inout IR) {
    guard !instead.isEmpty || !edges.isEmpty else { return }
    for id in ir.nodes.indices where ir.live[id] {
      var extra: [Int] = []
      ir.nodes[id].inputs = ir.nodes[id].inputs.map { resolve($0, &extra) }
      let wanted = controls(ir.nodes[id].controls + extra)
      ir.nodes[id].controls = wanted.filter { $0 != id }
    }
    var extra: [Int] = []
    ir.fetches = ir.fetches.map { resolve($0, &extra) }
    ir.targets = controls(ir.targets + extra)
  }

  private func resolve(_ edge: Edge, _ extra: inout [Int]) -> Edge {
    var edge = edge
    while let next = edges[edge] {
      extra += after[edge.node] ?? []
      edge = next
    }
    return edge
  }

  // Follows replacements of what is waited for, each once.
  private func controls(_ ids: [Int]) -> [Int] {
    var result: [Int] = []
    var seen = Set<Int>()
    var stack = Array(ids.reversed())
    while let id = stack.popLast() {
      guard seen.insert(id).inserted else { continue }
      if let others = instead[id] {
        stack += others.reversed()
      } else {
        result.append(id)
      }
    }
    return result
  }
}

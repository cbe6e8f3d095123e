// What passes share: who uses a value, what a value is a view of, and replacing one by another.

internal import WeftGraph
internal import WeftOps
internal import WeftTensors

/// The users of every value of a working graph, as it was when the table was made.
struct Users {
  struct Use: Equatable {
    let node: Int
    let input: Int
  }
  // The uses of all edges in one array; `start` has where those of each begin, and the end.
  private var table: [Use]
  private var start: [Int]
  private let base: [Int]
  private var isFetched: [Bool]

  init(_ ir: IR) {
    var base: [Int] = []
    base.reserveCapacity(ir.nodes.count)
    var count = 0
    for id in ir.nodes.indices {
      base.append(count)
      count += ir.nodes[id].outputs.count
    }
    isFetched = Array(repeating: false, count: count)
    self.base = base
    // One place further than what is begun with: filling moves it there.
    start = Array(repeating: 0, count: count + 2)
    for id in ir.nodes.indices where ir.live[id] {
      for edge in ir.nodes[id].inputs { start[base[edge.node] + edge.port + 2] += 1 }
    }
    for place in 0..<count + 1 { start[place + 1] += start[place] }
    table = Array(repeating: Use(node: 0, input: 0), count: start[count + 1])
    for id in ir.nodes.indices where ir.live[id] {
      for (input, edge) in ir.nodes[id].inputs.enumerated() {
        let place = base[edge.node] + edge.port + 1
        table[start[place]] = Use(node: id, input: input)
        start[place] += 1
      }
    }
    for edge in ir.fetches { isFetched[base[edge.node] + edge.port] = true }
  }

  /// The uses of `edge`, by node.
  subscript(edge: Edge) -> ArraySlice<Use> {
    let place = base[edge.node] + edge.port
    return table[start[place]..<start[place + 1]]
  }
  /// Whether `edge` is a fetch.
  func fetched(_ edge: Edge) -> Bool { isFetched[base[edge.node] + edge.port] }

  /// The uses of `edge` and of what are views of it, each with the edge used; nil when one of them
  /// is a fetch.
  func through(_ edge: Edge, _ ir: IR) -> [(use: Use, edge: Edge)]? {
    // A stack, not recursion: a file may have any number of views in a row.
    var all: [(use: Use, edge: Edge)] = []
    var stack = [edge]
    while let next = stack.popLast() {
      if fetched(next) { return nil }
      for use in self[next] {
        if use.input == 0, ir.isPlainView(use.node) {
          stack.append(Edge(node: use.node, port: 0))
        } else {
          all.append((use, next))
        }
      }
    }
    return all
  }
}

extension IR {
  /// Whether a node's output is its first input under another shape, with no effect beside.
  func isPlainView(_ id: Int) -> Bool {
    // The node is looked at where it is: a copy would count references to all that it holds.
    let traits = nodes[id].def.traits
    guard traits.contains(.view), case .op = nodes[id].kind, !nodes[id].isStateful,
      !traits.contains(.readsVariable), nodes[id].outputs.count == 1,
      let first = nodes[id].inputs.first
    else { return false }
    let (source, result) = (type(first), nodes[id].outputs[0])
    return !source.isReference && !result.isReference && source.dtype == result.dtype
      && source.dtype.isPlain
  }

  /// The value that `edge` is a view of.
  func root(_ edge: Edge) -> Edge {
    var edge = edge
    while isPlainView(edge.node) { edge = nodes[edge.node].inputs[0] }
    return edge
  }

  /// Whether a node is an op of this row.
  func isOp(_ id: Int, _ def: OpDef) -> Bool {
    guard case .op = nodes[id].kind else { return false }
    return nodes[id].def === def
  }

  func isOp(_ id: Int, _ defs: [OpDef]) -> Bool { defs.contains { isOp(id, $0) } }

  /// A boolean attribute, or its default.
  func flag(_ id: Int, _ name: String) -> Bool {
    (try? Attrs(nodes[id].attrs, signature: nodes[id].def.signature).bool(name)) ?? false
  }

  /// An integer attribute, or its default.
  func integer(_ id: Int, _ name: String) -> Int? {
    try? Attrs(nodes[id].attrs, signature: nodes[id].def.signature).int(name)
  }

  /// The known sizes of `edge`.
  func shape(_ edge: Edge) -> [Int]? { type(edge).shape.known }

  /// Whether any of `sources` needs what node `id` gives.
  func anyDepends(_ sources: [Edge], on id: Int) -> Bool {
    var seen = Set<Int>()
    var stack = sources.map(\.node)
    while let next = stack.popLast() {
      if next == id { return true }
      guard seen.insert(next).inserted else { continue }
      stack += nodes[next].inputs.map(\.node)
      stack += nodes[next].controls
    }
    return false
  }

  /// Adds a node and returns its id.
  mutating func append(_ node: IRNode) -> Int {
    nodes.append(node)
    live.append(true)
    return nodes.count - 1
  }

  /// Uses `table`'s values in place of its keys everywhere.
  mutating func replace(_ table: [Edge: Edge]) {
    for id in nodes.indices where live[id] {
      for index in nodes[id].inputs.indices {
        if let new = table[nodes[id].inputs[index]] { nodes[id].inputs[index] = new }
      }
    }
    for index in fetches.indices {
      if let new = table[fetches[index]] { fetches[index] = new }
    }
  }
}

extension OpDef {
  /// The row of a kernel that a pass made of several nodes. It stands in plans only.
  static func fused(
    _ name: String, inputs: [String], outputs: [String], summary: String,
    _ lower: @escaping @Sendable (LowerContext) throws -> Kernel
  ) -> OpDef {
    func list(_ names: [String]) -> String { names.map { $0 + ": T" }.joined(separator: ", ") }
    return OpDef(
      name, list(inputs) + " -> " + list(outputs), "T: type", summary: summary,
      infer: { ctx in throw ctx.error("is made after shapes are known") },
      gradient: .none("it is made by the compiler"), lowering: .kernel(lower))
  }
}

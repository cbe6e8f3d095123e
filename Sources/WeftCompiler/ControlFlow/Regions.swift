// Nodes that run under one condition, gathered into conditionals.

internal import WeftGraph
internal import WeftOps
internal import WeftTensors

/// Gathers guarded nodes into nested plans.
///
/// Nodes behind one test form a region for each level: levels rise where an edge enters or leaves a
/// region, so putting a region's nodes together makes no cycle.
struct Regions {
  var ir: IR
  private var guards: [Guard]
  private let options: NestedOptions

  init(_ ir: IR, _ guards: [Guard], _ options: NestedOptions) {
    self.ir = ir
    self.guards = guards
    self.options = options
  }

  private struct Key: Hashable {
    let test: Edge
    let level: Int
  }

  mutating func build() throws {
    let order = ir.order()
    guard order.count == ir.liveCount else {
      throw WeftError(.internal, "switches left a cycle behind")
    }
    var level = [Int](repeating: 0, count: ir.nodes.count)
    var keys: [Key] = []
    var members: [Key: [Int]] = [:]
    for id in order {
      let own = guards[id].first?.test
      for source in ir.nodes[id].inputs.map(\.node) + ir.nodes[id].controls {
        let crosses = guards[source].first?.test != own
        level[id] = max(level[id], level[source] + (crosses ? 1 : 0))
      }
      // The test itself comes before what it decides.
      for literal in guards[id].prefix(1) {
        level[id] = max(level[id], level[literal.test.node] + 1)
      }
      guard let own else { continue }
      let key = Key(test: own, level: level[id])
      if members[key] == nil { keys.append(key) }
      members[key, default: []].append(id)
    }
    // Which values are read by whom, kept up to date as regions are cut out.
    for key in keys { try gather(key, members[key] ?? []) }
    ir.markLive()
  }

  private mutating func gather(_ key: Key, _ all: [Int]) throws {
    let inside = Set(all)
    var outputs: [Edge] = []
    var seen = Set<Edge>()
    func use(_ edge: Edge) {
      if inside.contains(edge.node), seen.insert(edge).inserted { outputs.append(edge) }
    }
    for id in ir.nodes.indices where ir.live[id] && !inside.contains(id) {
      for edge in ir.nodes[id].inputs { use(edge) }
      for literal in guards[id] { use(literal.test) }
    }
    for edge in ir.fetches { use(edge) }

    let captures = Captures()
    var parts: [IR?] = []
    for value in [false, true] {
      let own = all.filter { guards[$0].first?.value == value }
      guard !own.isEmpty else {
        parts.append(nil)
        continue
      }
      parts.append(try cut(own, outputs, captures))
    }
    for index in parts.indices {
      parts[index]?.placeCaptures(first: 0, captured: captures.edges.count)
    }
    try place(key, all, outputs, parts, captures)
  }

  // One branch: its nodes, and within it the regions of the tests behind the first.
  private mutating func cut(
    _ own: [Int], _ outputs: [Edge], _ captures: Captures
  ) throws -> IR {
    let inside = Set(own)
    let tests = own.flatMap { guards[$0].dropFirst().map(\.test) }
    var wanted = outputs.filter { inside.contains($0.node) }
    let count = wanted.count
    for test in tests where !wanted.contains(test) { wanted.append(test) }
    let part = try ir.cut(
      own, bound: [:], fetches: wanted,
      targets: own.filter { ir.nodes[$0].isStateful }, captures)
    var inner = part.ir
    var placed: [Edge: Edge] = [:]
    for (edge, place) in zip(wanted, inner.fetches) { placed[edge] = place }
    inner.fetches = Array(inner.fetches.prefix(count))
    guard own.contains(where: { guards[$0].count > 1 }) else { return inner }
    var innerGuards = [Guard](repeating: [], count: inner.nodes.count)
    for id in own {
      guard let place = part.place[id] else { continue }
      innerGuards[place] = guards[id].dropFirst().map {
        Literal(test: placed[$0.test] ?? $0.test, value: $0.value)
      }
    }
    // Values of inner branches that others read are read only where those branches were taken.
    var regions = Regions(inner, innerGuards, options)
    try regions.build()
    return regions.ir
  }

  private mutating func place(
    _ key: Key, _ all: [Int], _ outputs: [Edge], _ parts: [IR?], _ captures: Captures
  ) throws {
    let inputs = [key.test] + captures.edges
    let handles = captures.handles
    // Each branch has its own results; a node for each keeps their types apart.
    var changes = Changes()
    for value in [0, 1] {
      guard let part = parts[value] else { continue }
      let own = all.filter { guards[$0].first?.value == (value == 1) }
      let mine = outputs.filter { own.contains($0.node) }
      let conditional = ConditionalNode(
        op: OpDef.raisedConditional, branches: value == 1 ? [nil, part] : [part, nil],
        isIndexed: false, options: options)
      let first = ir.nodes[own[0]]
      let arguments = inputs + handles
      let types = mine.map { ir.type($0).value }
      let node = IRNode(
        name: first.name, def: conditional.row(outputs: mine.count),
        attrs: [
          "Tcond": .type(ir.type(key.test).dtype),
          "Tin": .list(arguments.dropFirst().map { .type(ir.type($0).dtype) }),
          "Tout": .list(types.map { .type($0.dtype) }),
        ], inputs: arguments,
        controls: captures.controls.filter { !all.contains($0) },
        outputs: types.map { TensorType($0.dtype, $0.dtype.isPlain ? .unknown : $0.shape) },
        handles: mine.map { ir.handle($0) }, origin: first.origin, kind: .op,
        rank: own.map { ir.nodes[$0].rank }.max() ?? first.rank)
      ir.nodes.append(node)
      ir.live.append(true)
      guards.append([])
      let new = ir.nodes.count - 1
      for (port, edge) in mine.enumerated() { changes.edges[edge] = Edge(node: new, port: port) }
      for id in own { changes.instead[id] = [new] }
      for id in own { ir.live[id] = false }
    }
    changes.apply(to: &ir)
    for id in ir.nodes.indices where ir.live[id] {
      guards[id] = guards[id].map { literal in
        Literal(test: changes.edges[literal.test] ?? literal.test, value: literal.value)
      }
    }
  }
}

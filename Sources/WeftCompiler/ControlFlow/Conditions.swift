// Raising TensorFlow 1's conditionals: what stands behind a Switch becomes a nested plan that runs
// when its branch is taken, and a Merge chooses among their results.

internal import WeftGraph
internal import WeftOps
internal import WeftTensors

/// One thing that must hold for a node to run: a boolean has this value.
struct Literal: Hashable {
  let test: Edge
  let value: Bool
}

/// What must hold for a node to run, in the order of the tests.
typealias Guard = [Literal]

/// Which input of a merge is there.
indirect enum MergeChoice: Sendable {
  case input(Int)
  /// Nothing was computed here.
  case nothing
  /// By the bool at this input of the node.
  case test(Int, whenFalse: MergeChoice, whenTrue: MergeChoice)
}

extension Raising {
  /// Raises every conditional of the graph, and those within its loops.
  /// - Parameter given: booleans that are known to hold wherever this graph runs.
  mutating func raiseConditionals(given: [Edge: Bool]) throws {
    let order = ir.order()
    guard order.count == ir.liveCount else {
      let done = Set(order)
      let stuck = ir.nodes.indices.first { ir.live[$0] && !done.contains($0) } ?? 0
      throw failure("the graph has a cycle that is no loop", at: stuck)
    }
    var position = [Int](repeating: 0, count: ir.nodes.count)
    for (index, id) in order.enumerated() { position[id] = index }
    var guards = [Guard](repeating: [], count: ir.nodes.count)
    var choices: [Int: MergeChoice] = [:]
    var tests: [Int: [Edge]] = [:]

    func sorted(_ literals: Set<Literal>) -> Guard {
      literals.sorted {
        (position[$0.test.node], $0.test.port, $0.value ? 1 : 0)
          < (position[$1.test.node], $1.test.port, $1.value ? 1 : 0)
      }
    }
    func guardOf(_ edge: Edge) -> Set<Literal> {
      var all = Set(guards[edge.node])
      if role(edge.node) == .branch {
        let test = root(ir.nodes[edge.node].inputs[1])
        if given[test] != (edge.port == 1) {
          all.insert(Literal(test: test, value: edge.port == 1))
        }
      }
      return all
    }
    for id in order {
      let node = ir.nodes[id]
      var own = Set<Literal>()
      switch role(id) {
      case .trigger: break
      case .merge:
        let alternatives = node.inputs.enumerated().map { ($0, guardOf($1)) }
        (own, choices[id], tests[id]) = try choose(alternatives, at: id)
        for source in node.controls { own.formUnion(guards[source]) }
      default:
        for edge in node.inputs { own.formUnion(guardOf(edge)) }
        for source in node.controls { own.formUnion(guards[source]) }
      }
      guards[id] = sorted(own)
    }
    try raiseInLoops(guards, given)
    guard order.contains(where: { role($0) == .branch || role($0) == .merge }) else { return }

    // Switches go: whoever reads them reads what they pass.
    for id in order {
      let node = ir.nodes[id]
      ir.nodes[id].inputs = node.inputs.map(passed)
      ir.nodes[id].controls = node.controls.filter { role($0) != .branch }
    }
    for id in order where role(id) == .merge {
      if let choice = choices[id], let edges = tests[id] { placeMerge(id, choice, edges) }
    }
    for (index, edge) in ir.fetches.enumerated() {
      let needed = sorted(guardOf(edge))
      ir.fetches[index] = passed(edge)
      if !needed.isEmpty { ir.fetches[index] = require(ir.fetches[index], needed, &guards) }
    }
    // What is known before the run needs no condition.
    for id in ir.nodes.indices {
      switch ir.nodes[id].kind {
      case .op: break
      case .constant, .feed, .variable:
        guards[id] = []
        ir.nodes[id].controls = []
      }
    }
    ir.markLive()
    var regions = Regions(ir, guards, options)
    try regions.build()
    ir = regions.ir
  }

  private func passed(_ edge: Edge) -> Edge {
    var edge = edge
    while role(edge.node) == .branch { edge = ir.nodes[edge.node].inputs[0] }
    return edge
  }

  // Loops see the conditions under which they run: values that they take from outside.
  private func raiseInLoops(_ guards: [Guard], _ given: [Edge: Bool]) throws {
    for (id, loop) in loops.sorted(by: { $0.key < $1.key }) where ir.live[id] {
      var known: [Int: Bool] = [:]
      for (feed, edge) in loop.captures.enumerated() where feed >= loop.node.carried {
        let source = root(edge)
        if let value = given[source] { known[feed] = value }
        for literal in guards[id] where literal.test == source { known[feed] = literal.value }
      }
      func raised(_ part: IR) throws -> IR {
        var part = part
        part.markLive()
        guard
          part.nodes.indices.contains(where: {
            part.live[$0] && (part.nodes[$0].def.controlRole != nil || loops(part.nodes[$0]))
          })
        else { return part }
        var inner = Raising(part, options)
        inner.loops = inherited(by: part)
        var holds: [Edge: Bool] = [:]
        for id in part.nodes.indices {
          if case .feed(let index) = part.nodes[id].kind, let value = known[index] {
            holds[Edge(node: id, port: 0)] = value
          }
        }
        try inner.raiseConditionals(given: holds)
        return inner.ir
      }
      loop.node.condition = try raised(loop.node.condition)
      loop.node.body = try raised(loop.node.body)
    }
  }

  // Loops are told by their rows, which moved into the part with them.
  private func loops(_ node: IRNode) -> Bool {
    loops.contains { ir.nodes[$0.key].def === node.def }
  }

  private func inherited(by part: IR) -> [Int: (node: LoopNode, captures: [Edge])] {
    var found: [Int: (node: LoopNode, captures: [Edge])] = [:]
    for (outer, loop) in loops {
      guard let id = part.nodes.firstIndex(where: { $0.def === ir.nodes[outer].def }) else {
        continue
      }
      found[id] = (loop.node, Array(part.nodes[id].inputs.prefix(loop.captures.count)))
    }
    return found
  }

  // MARK: - Merges

  /// Decides by which tests a merge chooses: what must hold for the merge itself, the choice, and
  /// the tests it reads.
  private func choose(
    _ alternatives: [(Int, Set<Literal>)], at id: Int
  ) throws -> (Set<Literal>, MergeChoice, [Edge]) {
    // What is never there is never chosen.
    let possible = alternatives.filter { !isImpossible($0.1) }
    guard let first = possible.first else {
      return (alternatives.first?.1 ?? [], .nothing, [])
    }
    let common = possible.dropFirst().reduce(first.1) { $0.intersection($1.1) }
    var tests: [Edge] = []
    let rest = possible.map { ($0.0, $0.1.subtracting(common)) }
    let choice = try decide(rest, &tests, at: id)
    if rest.count == 1 { return (common, .input(rest[0].0), []) }
    return (common, choice, tests)
  }

  private func isImpossible(_ literals: Set<Literal>) -> Bool {
    literals.contains { literals.contains(Literal(test: $0.test, value: !$0.value)) }
  }

  private func decide(
    _ alternatives: [(Int, Set<Literal>)], _ tests: inout [Edge], at id: Int
  ) throws -> MergeChoice {
    if alternatives.isEmpty { return .nothing }
    if alternatives.count == 1, alternatives[0].1.isEmpty { return .input(alternatives[0].0) }
    let shared = alternatives.dropFirst().reduce(Set(alternatives[0].1.map(\.test))) {
      $0.intersection($1.1.map(\.test))
    }
    guard
      let test = shared.min(by: { ($0.node, $0.port) < ($1.node, $1.port) })
    else {
      throw failure("\(ir.nodes[id].def.name) may get more than one of its inputs", at: id)
    }
    let number = tests.firstIndex(of: test) ?? tests.count
    if number == tests.count { tests.append(test) }
    func side(_ value: Bool) throws -> MergeChoice {
      let literal = Literal(test: test, value: value)
      return try decide(
        alternatives.filter { $0.1.contains(literal) }.map { ($0.0, $0.1.subtracting([literal])) },
        &tests, at: id)
    }
    return .test(number, whenFalse: try side(false), whenTrue: try side(true))
  }

  private mutating func placeMerge(_ id: Int, _ choice: MergeChoice, _ tests: [Edge]) {
    let values = ir.nodes[id].inputs
    ir.nodes[id].inputs = tests + values
    ir.nodes[id].def = MergeRow.row(
      ir.nodes[id].def.name, choice: choice, tests: tests.count, values: values.count)
    ir.nodes[id].attrs = MergeRow.attrs((tests + values).map { ir.type($0).dtype }, ir.nodes[id])
    ir.nodes[id].outputs = ir.nodes[id].outputs.map(\.value)
    ir.nodes[id].outputs[0].shape = .unknown
  }

  // A fetched value that may not be there.
  private mutating func require(
    _ edge: Edge, _ needed: Guard, _ guards: inout [Guard]
  ) -> Edge {
    var choice = MergeChoice.input(0)
    for number in needed.indices.reversed() {
      choice =
        needed[number].value
        ? .test(number, whenFalse: .nothing, whenTrue: choice)
        : .test(number, whenFalse: choice, whenTrue: .nothing)
    }
    let source = ir.nodes[edge.node]
    var node = source
    node.def = MergeRow.row(
      source.def.name, choice: choice, tests: needed.count, values: 1, hasIndex: false)
    node.kind = .op
    node.inputs = needed.map(\.test) + [edge]
    node.controls = []
    node.outputs = [ir.type(edge).value]
    node.handles = [ir.handle(edge)]
    node.attrs = MergeRow.attrs(node.inputs.map { ir.type($0).dtype }, node)
    ir.nodes.append(node)
    ir.live.append(true)
    guards.append([])
    return Edge(node: ir.nodes.count - 1, port: 0)
  }
}

/// The row of merges whose choice is known.
enum MergeRow {
  static func attrs(_ types: [DType], _ node: IRNode) -> [String: AttrValue] {
    ["Tin": .list(types.map { .type($0) }), "Tout": .list(node.outputs.map { .type($0.dtype) })]
  }

  static func row(
    _ name: String, choice: MergeChoice, tests: Int, values: Int, hasIndex: Bool = true
  ) -> OpDef {
    OpDef(
      name, "input: Tin -> output: Tout", "Tin: list(type) >= 0; Tout: list(type) >= 0",
      summary: "The one of its values that is there.",
      traits: [.stateful, .nested, .dataDependent],
      infer: { ctx in
        let reached = reachable(choice)
        var shape: Shape?
        for index in reached {
          let own = ctx.inputs[tests + index].shape
          shape = shape.map { $0.joined(with: own) } ?? own
        }
        return [shape ?? .unknown] + (hasIndex ? [.scalar] : [])
      },
      handles: { ctx in
        var handle: BorderType?
        for index in reachable(choice) {
          let own = BorderType(
            type: ctx.inputs[tests + index], handle: ctx.handle(tests + index))
          handle = handle.map { $0.joined(with: own) } ?? own
        }
        return [handle?.handle] + (hasIndex ? [nil] : [])
      },
      gradient: .none("it exists in plans only"),
      lowering: .kernel { ctx in
        let sources = (0..<values).map { NestedSource(ctx, tests + $0) }
        let target = NestedTarget(ctx, 0)
        return Kernel("merge") { call in
          var at = choice
          while case .test(let number, let whenFalse, let whenTrue) = at {
            at = call.input(number, as: UInt8.self)[0] != 0 ? whenTrue : whenFalse
          }
          guard case .input(let index) = at else {
            throw WeftError(
              .invalidArgument,
              "\(name) has no value in this run: it belongs to a branch that was not taken",
              category: .run)
          }
          try target.write(call, try sources[index].read(call))
          if hasIndex {
            call.output(1, as: Int32.self)[0] = Int32(truncatingIfNeeded: index)
          }
        }
      })
  }

  private static func reachable(_ choice: MergeChoice) -> [Int] {
    switch choice {
    case .input(let index): [index]
    case .nothing: []
    case .test(_, let whenFalse, let whenTrue):
      reachable(whenFalse) + reachable(whenTrue).filter { !reachable(whenFalse).contains($0) }
    }
  }
}

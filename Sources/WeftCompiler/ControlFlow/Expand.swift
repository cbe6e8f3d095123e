// Control flow of both dialects to nested plans: functions are expanded, TensorFlow 1's loops and
// conditionals raised.

internal import WeftGraph
internal import WeftOps
internal import WeftTensors

extension IR {
  /// Replaces calls by what they call, and loops and conditionals by nodes with nested plans.
  mutating func expandControlFlow(
    _ graph: GraphSnapshot, options: CompileOptions, sessionSeed: UInt64,
    variable: (_ name: String, DType) -> VariableCell
  ) throws {
    let hasRoles = nodes.contains {
      $0.def.functionalRole != nil || $0.def.controlRole != nil
    }
    guard hasRoles else { return }
    try withoutActuallyEscaping(variable) { variable in
      let expansion = Expansion(
        options: NestedOptions(compile: options, sessionSeed: sessionSeed), variable: variable)
      try expansion.expand(&self, graph, callers: [])
    }
  }
}

/// One expansion of a plan's control flow.
final class Expansion {
  let options: NestedOptions
  let variable: (String, DType) -> VariableCell
  /// Nodes made so far: functions that call others several times may grow beyond all bounds.
  private var made = 0
  static let nodeLimit = 1 << 20

  init(options: NestedOptions, variable: @escaping (String, DType) -> VariableCell) {
    self.options = options
    self.variable = variable
  }

  /// Expands everything in `ir`, whose functions are those of `graph`.
  func expand(_ ir: inout IR, _ graph: GraphSnapshot, callers: [String]) throws {
    try expandFunctions(&ir, graph, callers)
    ir.markLive()
    if ir.nodes.contains(where: { $0.def.controlRole != nil }) {
      var raising = Raising(ir, options)
      try raising.raiseLoops()
      try raising.raiseConditionals(given: [:])
      ir = raising.ir
    }
  }

  private func expandFunctions(
    _ ir: inout IR, _ graph: GraphSnapshot, _ callers: [String]
  ) throws {
    var changes = Changes()
    var callersOf: [Int: [String]] = [:]
    var id = 0
    while id < ir.nodes.count {
      if ir.live[id], let role = ir.nodes[id].def.functionalRole {
        let callers = callersOf[id] ?? callers
        changes.refresh(&ir.nodes[id])
        do {
          let before = ir.nodes.count
          switch role {
          case .call, .gradient:
            try expandCall(&ir, id, graph, role, callers, &changes, &callersOf)
          case .conditional, .indexed:
            try expandConditional(&ir, id, graph, role, callers, &changes)
          case .loop: try expandLoop(&ir, id, graph, callers, &changes)
          }
          try count(ir.nodes.count - before)
        } catch {
          throw ir.locate(error, at: id)
        }
        ir.live[id] = false
      }
      id += 1
    }
    changes.apply(to: &ir)
  }

  private func count(_ nodes: Int) throws {
    made += nodes
    guard made <= Self.nodeLimit else {
      throw WeftError(
        .resourceExhausted,
        "the functions that this calls, written out, have more than \(Self.nodeLimit) nodes")
    }
  }

  // MARK: - Bodies

  /// The function's body with a feed for each parameter.
  private func part(
    _ body: FunctionBody, parameters: [Edge], results: [Edge]
  ) throws -> IR {
    let snapshot = body.graph.snapshot
    let request = PlanRequest(
      fetches: results, targets: body.controls,
      feeds: parameters.map { (edge: $0, type: snapshot.type($0)) })
    let part = try IR(importing: snapshot, request: request, variable: variable)
    try count(part.nodes.count)
    return part
  }

  /// The body of a function that is a part of its own, expanded, with the variables behind its
  /// parameters known.
  private func nested(
    _ ref: FunctionRef, _ ir: IR, _ owner: Int, _ arguments: [Edge], _ graph: GraphSnapshot,
    _ callers: [String]
  ) throws -> IR {
    try GraphSnapshot.checkCall(ref.name, by: callers)
    // Shapes are inferred when the part is compiled: those of a loop's start may not last.
    let types = arguments.map { edge in
      let dtype = ir.type(edge).dtype
      return TensorType(dtype, dtype == .variant || dtype == .resource ? .scalar : .unknown)
    }
    let body = try graph.body(of: ref, inputs: types)
    var part = try part(body, parameters: body.parameters, results: body.results)
    for id in part.nodes.indices {
      part.nodes[id].name = "\(ir.nodes[owner].name)/\(part.nodes[id].name)"
      guard case .feed(let index) = part.nodes[id].kind, arguments.indices.contains(index) else {
        continue
      }
      let edge = arguments[index]
      if ir.type(edge).dtype == .resource, let cell = try? ir.cell(of: edge) {
        part.nodes[id].kind = .variable(cell)
        part.nodes[id].handles = [ir.handle(edge) ?? HandleType(cell.dtype, .unknown)]
      }
    }
    try expand(&part, body.graph.snapshot, callers: callers + [ref.name])
    return part
  }

  // MARK: - Calls

  private func expandCall(
    _ ir: inout IR, _ id: Int, _ graph: GraphSnapshot, _ role: OpDef.FunctionalRole,
    _ callers: [String], _ changes: inout Changes, _ callersOf: inout [Int: [String]]
  ) throws {
    let node = ir.nodes[id]
    let attrs = Attrs(node.attrs, signature: node.def.signature)
    let ref = try node.def.callee(attrs)
    try GraphSnapshot.checkCall(ref.name, by: callers)
    let types = node.inputs.map { ir.type($0).value }
    let body: FunctionBody
    var parameters: [Edge]
    var results: [Edge]
    if role == .gradient {
      (body, parameters, results) = try gradientBody(ref, types, graph)
    } else {
      body = try graph.body(of: ref, inputs: types)
      (parameters, results) = (body.parameters, body.results)
    }
    guard results.count == node.outputs.count else {
      throw WeftError(
        .invalidArgument,
        "function '\(ref.name)' gives \(results.count) results, \(node.outputs.count) are taken")
    }
    let part = try part(body, parameters: parameters, results: results)
    // The part's nodes join this graph; its feeds are the call's inputs.
    let base = ir.nodes.count
    var place: [Int] = []
    var next = base
    for inner in part.nodes {
      if case .feed = inner.kind {
        place.append(-1)
      } else {
        place.append(next)
        next += 1
      }
    }
    func outer(_ edge: Edge) -> Edge {
      if case .feed(let index) = part.nodes[edge.node].kind { return node.inputs[index] }
      return Edge(node: place[edge.node], port: edge.port)
    }
    for (number, inner) in part.nodes.enumerated() where place[number] >= 0 {
      var copy = inner
      copy.name = "\(node.name)/\(inner.name)"
      copy.rank = node.rank
      copy.inputs = inner.inputs.map(outer)
      copy.controls = inner.controls.compactMap { place[$0] >= 0 ? place[$0] : nil }
      copy.controls += node.controls
      if case .constant(let value) = copy.kind, node.controls.isEmpty {
        ir.known[Edge(node: place[number], port: 0)] = value
      }
      ir.nodes.append(copy)
      ir.live.append(true)
      callersOf[place[number]] = callers + [ref.name]
    }
    let effects = part.targets.compactMap { place[$0] >= 0 ? place[$0] : nil }
    for (port, edge) in part.fetches.enumerated() {
      changes.edges[Edge(node: id, port: port)] = outer(edge)
    }
    changes.after[id] = effects + node.controls
    let ends = part.fetches.compactMap { place[$0.node] >= 0 ? place[$0.node] : nil }
    changes.instead[id] = effects + (effects.isEmpty ? ends : []) + node.controls
  }

  /// A function's gradient as a body: parameters, then gradients of results, to gradients of
  /// parameters.
  private func gradientBody(
    _ ref: FunctionRef, _ types: [TensorType], _ graph: GraphSnapshot
  ) throws -> (FunctionBody, [Edge], [Edge]) {
    let function = try graph.function(ref)
    let count = function.inputs.count
    guard types.count == count + function.outputs.count else {
      throw WeftError(
        .invalidArgument,
        "the gradient of '\(ref.name)' takes \(count + function.outputs.count) inputs, "
          + "got \(types.count)")
    }
    let body = try graph.body(of: ref, inputs: Array(types.prefix(count)))
    let inner = body.graph
    let given = try types.dropFirst(count).map { type in
      try inner.placeholder(type.dtype, shape: type.shape)
    }
    let xs = body.parameters.map { Output(graph: inner, edge: $0) }
    let found = try gradients(
      of: body.results.map { Output(graph: inner, edge: $0) }, withRespectTo: xs, gradYs: given)
    let results = try zip(found, xs).map { gradient, x in
      try gradient.map { try dense($0) } ?? zerosLike(x)
    }
    return (
      FunctionBody(
        graph: inner, parameters: body.parameters, results: results.map(\.edge), controls: []),
      body.parameters + given.map(\.edge), results.map(\.edge)
    )
  }

  // MARK: - Conditionals

  private func expandConditional(
    _ ir: inout IR, _ id: Int, _ graph: GraphSnapshot, _ role: OpDef.FunctionalRole,
    _ callers: [String], _ changes: inout Changes
  ) throws {
    let node = ir.nodes[id]
    let attrs = Attrs(node.attrs, signature: node.def.signature)
    let arguments = Array(node.inputs.dropFirst())
    let branches = try node.def.branches(attrs).map { ref in
      let branch = try nested(ref, ir, id, arguments, graph, callers)
      guard branch.fetches.count == node.outputs.count else {
        throw WeftError(
          .invalidArgument,
          "branch '\(ref.name)' gives \(branch.fetches.count) results, the node has "
            + "\(node.outputs.count) outputs")
      }
      return branch
    }
    let conditional = ConditionalNode(
      op: node.def.name, branches: branches, isIndexed: role == .indexed, options: options)
    var fresh = node
    fresh.def = conditional.row(
      outputs: node.outputs.count, declared: node.outputs.map(\.shape))
    fresh.attrs = [
      "Tcond": .type(ir.type(node.inputs[0]).dtype),
      "Tin": .list(arguments.map { .type(ir.type($0).dtype) }),
      "Tout": .list(node.outputs.map { .type($0.dtype) }),
    ]
    ir.nodes.append(fresh)
    ir.live.append(true)
    changes.replace(id, by: ir.nodes.count - 1, outputs: node.outputs.count)
  }

  // MARK: - Loops

  private func expandLoop(
    _ ir: inout IR, _ id: Int, _ graph: GraphSnapshot, _ callers: [String],
    _ changes: inout Changes
  ) throws {
    let node = ir.nodes[id]
    let attrs = Attrs(node.attrs, signature: node.def.signature)
    var condition = try nested(attrs.function("cond"), ir, id, node.inputs, graph, callers)
    var body = try nested(attrs.function("body"), ir, id, node.inputs, graph, callers)
    guard condition.fetches.count == 1 else {
      throw WeftError(
        .invalidArgument,
        "\(node.def.name) needs a condition of one result, got \(condition.fetches.count)")
    }
    guard body.fetches.count == node.inputs.count else {
      throw WeftError(
        .invalidArgument,
        "\(node.def.name) carries \(node.inputs.count) values, its body gives "
          + "\(body.fetches.count)")
    }
    // What the body only passes on stays the same: it is no carried value.
    let passed = node.inputs.indices.filter { index in
      body.source(of: body.fetches[index], isParameter: index, argument: node.inputs[index], ir)
    }
    let carried = node.inputs.indices.filter { !passed.contains($0) }
    var position: [Int: Int] = [:]
    for (new, old) in (carried + passed).enumerated() { position[old] = new }
    condition.renumberFeeds(position)
    body.renumberFeeds(position)
    body.fetches = carried.map { body.fetches[$0] }
    let loop = LoopNode(
      op: node.def.name, condition: condition, body: body, carried: carried.count,
      options: options)
    var fresh = node
    fresh.inputs = (carried + passed).map { node.inputs[$0] }
    fresh.outputs = carried.map { node.outputs[$0] }
    fresh.handles = carried.map { node.handles.indices.contains($0) ? node.handles[$0] : nil }
    fresh.def = loop.row(declared: fresh.outputs.map(\.shape))
    fresh.loop = loop
    fresh.attrs = [
      "Tin": .list(fresh.inputs.map { .type(ir.type($0).dtype) }),
      "Tout": .list(fresh.outputs.map { .type($0.dtype) }),
    ]
    ir.nodes.append(fresh)
    ir.live.append(true)
    let new = ir.nodes.count - 1
    for (port, old) in carried.enumerated() {
      changes.edges[Edge(node: id, port: old)] = Edge(node: new, port: port)
    }
    for old in passed { changes.edges[Edge(node: id, port: old)] = node.inputs[old] }
    // A variable's handle that comes out of the loop stands for the variable after it.
    changes.after[id] = [new]
    changes.instead[id] = [new]
  }
}

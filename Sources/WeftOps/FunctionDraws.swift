// Random numbers within conditionals and calls: drawn by one node and given to another, so that a
// gradient that computes the values again computes them from the same numbers.

internal import WeftGraph
internal import WeftTensors

extension Graph {
  /// Marks a conditional or call that gives nothing but random numbers.
  private static let drawsOnly = "_draws_only"

  /// The random numbers that nodes of this graph give.
  func draws() -> [Edge] {
    nodes.filter { $0.def?.traits.contains(.random) == true || isDrawsOnly($0) }.flatMap { node in
      node.outputs.indices.map { Edge(node: node.id, port: $0) }
    }
  }

  /// Whether the node gives nothing but random numbers that functions draw.
  func isDrawsOnly(_ node: Node) -> Bool { node.attrs[Graph.drawsOnly] != nil }

  /// Splits all conditionals and calls that draw; whether there were any.
  @discardableResult
  func splitDraws() throws -> Bool {
    var found = false
    for node in nodes where try splitDraws(of: node) != nil { found = true }
    return found
  }

  /// A function that does what `ref` does, its conditionals and calls split; `ref` itself where none
  /// draws.
  func splittingDraws(
    _ ref: FunctionRef, _ types: [TensorType], _ handles: [HandleType?]
  ) throws -> FunctionRef {
    let body = try snapshot.body(of: ref, inputs: types)
    try body.setHandles(handles)
    guard try body.graph.splitDraws() else { return ref }
    return try addFunction(
      "\(ref.name)_split", body.graph, parameters: body.parameters, results: body.results,
      controls: body.controls)
  }

  /// Lets a new node draw what the functions of `node`, a conditional or call, draw, and gives it to
  /// `node`, whose functions then take it as arguments. Its outputs stay what they are.
  /// - Returns: the node as it is then; nil when its functions draw nothing, or in loops.
  func splitDraws(of node: Node) throws -> Node? {
    guard let def = node.def, !def.isCall, !isDrawsOnly(node), !snapshot.isRepeatable(node),
      let role = def.functionalRole
    else { return nil }
    let first: Int
    let refs: [FunctionRef]
    switch role {
    case .conditional, .indexed: (first, refs) = (1, try def.branches(node.attributes))
    case .call: (first, refs) = (0, [try def.callee(node.attributes)])
    case .loop, .gradient: return nil
    }
    let types = node.inputs.dropFirst(first).map {
      TensorType(snapshot.type($0).dtype, snapshot.type($0).shape)
    }
    let handles = node.inputs.dropFirst(first).map { edge -> HandleType? in
      let all = nodes[edge.node].handles
      return all.indices.contains(edge.port) ? all[edge.port] : nil
    }
    let bodies = try refs.map { ref in
      let body = try snapshot.body(of: ref, inputs: types)
      try body.setHandles(handles)
      try body.graph.splitDraws()
      adopt(body.graph)
      return body
    }
    let drawn = bodies.map { body in
      let needed = body.graph.ancestors(of: body.results)
      return body.graph.draws().filter { needed.contains($0.node) }
    }
    let drawnTypes = zip(bodies, drawn).flatMap { body, edges in
      edges.map { body.graph.snapshot.type($0) }
    }
    guard !drawnTypes.isEmpty, drawnTypes.allSatisfy(\.dtype.isPlain) else { return nil }

    var drawing: [FunctionRef] = []
    var given: [FunctionRef] = []
    for (place, (ref, body)) in zip(refs, bodies).enumerated() {
      drawing.append(try addDrawing(ref, body, place, drawn, drawnTypes))
      given.append(try addGiven(ref, body, place, drawn, drawnTypes))
    }
    let draws = try addNode(like: node, drawing, drawnTypes)
    var attrs = node.attrs.merging(functions(given, role)) { $1 }
    let inputs = node.inputs + draws
    attrs["Tin"] = .list(inputs.dropFirst(first).map { .type(snapshot.type($0).dtype) })
    rewrite(node.id, inputs: inputs, attrs: attrs, outputs: node.outputs, handles: node.handles)
    return nodes[node.id]
  }

  // A branch that gives its own numbers, and zeros in place of those of the others.
  private func addDrawing(
    _ ref: FunctionRef, _ body: FunctionBody, _ place: Int, _ drawn: [[Edge]],
    _ types: [TensorType]
  ) throws -> FunctionRef {
    var results: [Edge] = []
    for (other, edges) in drawn.enumerated() {
      for edge in edges {
        if other == place {
          results.append(edge)
        } else {
          let type = types[results.count]
          let zero = try body.graph.constant(0, dtype: type.dtype)
          results.append(
            try type.shape.known.map { sizes in
              try fill(dims: body.graph.constant(integers: sizes), value: zero).edge
            } ?? zero.edge)
        }
      }
    }
    return try addFunction(
      "\(ref.name)_draws", body.graph, parameters: body.parameters, results: results)
  }

  // A branch that takes the numbers of all as arguments.
  private func addGiven(
    _ ref: FunctionRef, _ body: FunctionBody, _ place: Int, _ drawn: [[Edge]],
    _ types: [TensorType]
  ) throws -> FunctionRef {
    var parameters = body.parameters
    var results = body.results
    for (other, edges) in drawn.enumerated() {
      for edge in edges {
        let type = types[parameters.count - body.parameters.count]
        let number = try body.graph.placeholder(type.dtype, shape: type.shape, name: "drawn").edge
        parameters.append(number)
        guard other == place else { continue }
        body.graph.redirect(edge, to: number)
        results = results.map { $0 == edge ? number : $0 }
      }
    }
    return try addFunction(
      "\(ref.name)_given", body.graph, parameters: parameters, results: results,
      controls: body.controls)
  }

  private func functions(
    _ refs: [FunctionRef], _ role: OpDef.FunctionalRole
  ) -> [String: AttrValue] {
    switch role {
    case .conditional: ["else_branch": .function(refs[0]), "then_branch": .function(refs[1])]
    case .indexed: ["branches": .list(refs.map { .function($0) })]
    case .call, .loop, .gradient: ["f": .function(refs[0])]
    }
  }

  private func addNode(
    like node: Node, _ refs: [FunctionRef], _ types: [TensorType]
  ) throws -> [Edge] {
    guard let role = node.def?.functionalRole else { return [] }
    let op =
      switch role {
      case .conditional: FunctionalRows.ifRow
      case .indexed: FunctionalRows.caseRow
      case .call, .loop, .gradient: FunctionalRows.statefulCall
      }
    var attrs = functions(refs, role)
    attrs["Tout"] = .list(types.map { .type($0.dtype) })
    attrs[Graph.drawsOnly] = .bool(true)
    if role != .call { attrs["output_shapes"] = .list(types.map { .shape($0.shape) }) }
    let made = try add(
      op.name, name: "draws", inputs: node.inputs.map { Output(graph: self, edge: $0) },
      attrs: attrs)
    return types.indices.map { Edge(node: made.id, port: $0) }
  }
}

// Random numbers within conditionals and calls: drawn by one node and given to another, so that a
// gradient that computes the values again computes them from the same numbers.

internal import WeftGraph
internal import WeftTensors

extension Graph {
  /// The random numbers that nodes of this graph give.
  func draws() -> [Edge] {
    nodes.filter { $0.def?.traits.contains(.random) == true || $0.drawsOnlyFor != nil }
      .flatMap { node in node.outputs.indices.map { Edge(node: node.id, port: $0) } }
  }

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
  /// - Returns: the node as it is then; nil when its functions draw nothing, or nothing that could be
  ///   drawn elsewhere: in loops, after writes, with a gradient of its own.
  func splitDraws(of node: Node) throws -> Node? {
    guard let def = node.def, !def.isCall, node.drawsOnlyFor == nil, !snapshot.isRepeatable(node),
      let role = def.functionalRole
    else { return nil }
    let first: Int
    let refs: [FunctionRef]
    switch role {
    case .conditional, .indexed: (first, refs) = (1, try def.branches(node.attributes))
    case .call: (first, refs) = (0, [try def.callee(node.attributes)])
    case .loop, .gradient: return nil
    }
    let arguments = node.inputs.dropFirst(first).map { Output(graph: self, edge: $0) }
    let types = FunctionalGradients.types(arguments)
    var branches: [Branch] = []
    for ref in refs {
      let body = try snapshot.body(of: ref, inputs: types)
      try body.setHandles(FunctionalGradients.handles(arguments))
      try body.graph.splitDraws()
      adopt(body.graph)
      guard let branch = Branch(ref, body) else { return nil }
      branches.append(branch)
    }
    let drawn = branches.flatMap { $0.types.map(\.handedOver) }
    guard !drawn.isEmpty else { return nil }

    let drawing = try branches.indices.map { try addDrawing(branches, $0) }
    let given = try branches.indices.map { try addGiven(branches, $0) }
    let draws = try addNode(like: node, drawing, drawn)
    var attrs = node.attrs.merging(functions(given, role)) { $1 }
    let inputs = node.inputs + draws
    attrs["Tin"] = .list(inputs.dropFirst(first).map { .type(snapshot.type($0).dtype) })
    rewrite(node.id, inputs: inputs, attrs: attrs, outputs: node.outputs, handles: node.handles)
    return nodes[node.id]
  }

  // A function of a node that is split.
  private struct Branch {
    let ref: FunctionRef
    let body: FunctionBody
    let draws: [Edge]
    let types: [TensorType]

    init?(_ ref: FunctionRef, _ body: FunctionBody) {
      (self.ref, self.body) = (ref, body)
      let graph = body.graph
      let needed = graph.ancestors(of: body.results)
      draws = graph.draws().filter { needed.contains($0.node) }
      types = draws.map { graph.snapshot.type($0) }
      // Writes would happen twice; what has a gradient of its own must stay where it is.
      let before = graph.ancestors(of: draws)
      for node in graph.nodes where before.contains(node.id) && node.drawsOnlyFor == nil {
        guard let def = node.def, !def.traits.contains(.writesVariable),
          graph.snapshot.isRepeatable(node)
        else { return nil }
        if def.traits.contains(.random) {
          guard case .zero = def.gradient else { return nil }
        }
      }
      guard types.allSatisfy({ $0.dtype.isPlain || $0.dtype == .variant }) else { return nil }
    }
  }

  // A branch that gives its own numbers, and in place of those of the others zeros, or empty lists.
  private func addDrawing(_ branches: [Branch], _ place: Int) throws -> FunctionRef {
    let (ref, body) = (branches[place].ref, branches[place].body)
    var results: [Edge] = []
    for (index, other) in branches.enumerated() {
      for (edge, type) in zip(other.draws, other.types) {
        let isOwn = index == place
        if type.handedOver.dtype == type.dtype && isOwn {
          results.append(edge)
        } else if let sizes = type.shape.known, type.dtype.isPlain {
          results.append(
            try fill(
              dims: body.graph.constant(integers: sizes),
              value: body.graph.constant(0, dtype: type.dtype)
            ).edge)
        } else {
          var list = try TensorListGradients.empty(
            body.graph, type.dtype, TensorListGradients.unknownShape(body.graph))
          if isOwn {
            list = try TensorListGradients.push(list, Output(graph: body.graph, edge: edge))
          }
          results.append(list.edge)
        }
      }
    }
    return try addFunction(
      "\(ref.name)_draws", body.graph, parameters: body.parameters, results: results)
  }

  // A branch that takes the numbers of all as arguments.
  private func addGiven(_ branches: [Branch], _ place: Int) throws -> FunctionRef {
    let (ref, body) = (branches[place].ref, branches[place].body)
    var parameters = body.parameters
    var results = body.results
    for (index, other) in branches.enumerated() {
      for (edge, type) in zip(other.draws, other.types) {
        let handed = type.handedOver
        var number = try body.graph.placeholder(handed.dtype, shape: handed.shape, name: "drawn")
        parameters.append(number.edge)
        guard index == place else { continue }
        if handed.dtype != type.dtype {
          let sizes = try type.shape.dims.map {
            try body.graph.constant(integers: $0.map { $0.size ?? -1 })
          }
          number = try TensorListGradients.pop(
            number, type.dtype, sizes ?? TensorListGradients.unknownShape(body.graph)
          ).1
        }
        let value = number.edge
        body.graph.redirect(edge, to: value)
        results = results.map { $0 == edge ? value : $0 }
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
    attrs[Node.drawsOnly] = .string(Array(node.name.utf8))
    if role != .call { attrs["output_shapes"] = .list(types.map { .shape($0.shape) }) }
    let made = try withoutControlDependencies {
      try add(
        op.name, name: "draws", inputs: node.inputs.map { Output(graph: self, edge: $0) },
        attrs: attrs, controls: node.controlInputs)
    }
    return types.indices.map { Edge(node: made.id, port: $0) }
  }
}

extension TensorType {
  /// As what a drawn number of this type goes from one conditional to another: a list of one where
  /// the size is not known, which the branch that is not taken leaves empty.
  fileprivate var handedOver: TensorType {
    dtype.isPlain && shape.isFullyKnown ? self : TensorType(.variant, .scalar)
  }
}

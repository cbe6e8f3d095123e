// Gradients of loops: the forward loop keeps each iteration's values on lists, another loop goes
// back over them.

internal import WeftGraph
internal import WeftTensors

extension FunctionalGradients {
  static func loop(_ g: GradientContext) throws -> [Gradient?] {
    try LoopGradient(g).build()
  }
}

/// The gradient of one loop.
private struct LoopGradient {
  let g: GradientContext
  let cond: FunctionRef
  let body: FunctionRef
  let count: Int
  let types: [TensorType]
  let handles: [HandleType?]
  /// Variables that the body only passes on.
  let isInvariant: [Bool]

  init(_ g: GradientContext) throws {
    self.g = g
    try g.graph.snapshot.checkCalls(g.node)
    cond = try g.attrs.function("cond")
    count = g.inputCount
    let inputs = (0..<count).map { g.input($0) }
    let inputTypes = FunctionalGradients.types(inputs)
    handles = FunctionalGradients.handles(inputs)
    let body = try g.attrs.function("body")
    let probe = try g.graph.snapshot.body(
      of: body, inputs: inputTypes.map { TensorType($0.dtype, .unknown) })
    isInvariant = (0..<g.inputCount).map { index in
      probe.results.indices.contains(index)
        && probe.graph.passes(probe.results[index], probe.parameters[index])
    }
    // What changes has the shape that the loop states, what does not that of its input.
    var types: [TensorType] = []
    for (index, input) in inputTypes.enumerated() {
      types.append(
        isInvariant[index]
          ? input : TensorType(input.dtype, g.node.outputs[index].shape))
    }
    self.types = types
    self.body = try g.graph.splittingDraws(body, types, handles)
  }

  func build() throws -> [Gradient?] {
    // The variables whose gradients are carried back: those that have one, and those that these
    // depend on through an iteration.
    var flows = (0..<count).map { g.gradients[$0] != nil }
    var part = try differentiate(flows)
    while true {
      let more = (0..<count).map { flows[$0] || (!isInvariant[$0] && part.gradients[$0] != nil) }
      if more == flows { break }
      flows = more
      part = try differentiate(flows)
    }
    g.graph.adopt(part.graph)
    let carried = (0..<count).filter { flows[$0] && !isInvariant[$0] }
    let invariant = (0..<count).filter { isInvariant[$0] && part.gradients[$0] != nil }
    // Gradients that arrive at what only passes through go straight to the input.
    let straight = (0..<count).filter { isInvariant[$0] && g.gradients[$0] != nil }
    var all: [Gradient?] = Array(repeating: nil, count: count)
    for index in straight { all[index] = .dense(try g.gradient(index)) }
    guard !carried.isEmpty || !invariant.isEmpty else { return all }

    let inner = part.graph
    let given = part.given
    var sums: [Output] = []
    var accumulators: [Output] = []
    for index in invariant {
      let gradient = try part.gradient(index)
      let before = try inner.placeholder(
        gradient.dtype, shape: gradient.dtype == .variant ? .scalar : gradient.shape,
        name: "gradient_so_far")
      accumulators.append(before)
      sums.append(try addN([before, gradient]))
    }
    let nexts = try carried.map { try part.gradient($0) }
    let needed = inner.ancestors(of: (nexts + sums).map(\.edge))
    let used = (0..<count).filter { needed.contains(part.body.parameters[$0].node) }
    let constant = used.filter { isInvariant[$0] }
    // Random numbers come as the forward loop drew them.
    let drawn = part.drawn.filter { needed.contains($0.node) }
    let saved =
      used.filter { !isInvariant[$0] }.map {
        Kept(edge: part.body.parameters[$0], type: types[$0])
      } + drawn.map { Kept(edge: $0, type: inner.snapshot.type($0)) }

    // The forward loop counts, and keeps what the way back needs.
    let (trips, lists) = try extendForward(saved)

    // The way back: a step takes from the lists what the iteration began with.
    let counter = try inner.placeholder(.int32, shape: .scalar, name: "iterations_left")
    var listsBefore: [Output] = []
    var listsAfter: [Output] = []
    var results = (nexts + sums).map(\.edge)
    for kept in saved {
      let list = try inner.placeholder(.variant, shape: .scalar, name: "kept")
      let shape =
        kept.type.dtype == .variant
        ? try TensorListGradients.unknownShape(inner) : try sizes(kept.type.shape, inner)
      let (rest, value) = try TensorListGradients.pop(list, kept.type.dtype, shape)
      inner.redirect(kept.edge, to: value.edge)
      results = results.map { $0 == kept.edge ? value.edge : $0 }
      listsBefore.append(list)
      listsAfter.append(rest)
    }
    let left = try counter - inner.constant(Int32(1))
    let parameters =
      [counter.edge] + given.map(\.edge) + accumulators.map(\.edge) + listsBefore.map(\.edge)
      + constant.map { part.body.parameters[$0] }
    let ends =
      [left.edge] + results + listsAfter.map(\.edge) + constant.map { part.body.parameters[$0] }
    let bodyRef = try g.graph.addFunction(
      "\(body.name)_gradient", inner, parameters: parameters, results: ends)
    let condRef = try backCondition(parameters.map { inner.snapshot.type($0).dtype })

    var inputs = [trips]
    for index in carried { inputs.append(try g.gradient(index)) }
    for index in invariant { inputs.append(try FunctionalGradients.zerosFor(g.input(index))) }
    inputs += lists
    inputs += constant.map { g.input($0) }
    let shapes =
      [Shape.scalar] + carried.map { types[$0].shape }
      + invariant.map { index in
        types[index].dtype == .resource ? handles[index]?.shape ?? .unknown : types[index].shape
      }
      + lists.map { _ in Shape.scalar } + constant.map { types[$0].shape }
    let isStateful = g.graph.isStateful(bodyRef)
    let node = try g.graph.add(
      isStateful ? FunctionalRows.whileLoop.name : FunctionalRows.statelessWhile.name,
      inputs: inputs,
      attrs: [
        "cond": .function(condRef), "body": .function(bodyRef),
        "output_shapes": .list(shapes.map { .shape($0) }),
      ])
    let outputs = g.graph.outputs(of: node)
    for (position, index) in carried.enumerated() { all[index] = .dense(outputs[1 + position]) }
    for (position, index) in invariant.enumerated() {
      let sum = outputs[1 + carried.count + position]
      if case .dense(let other)? = all[index] {
        all[index] = .dense(try addN([other, sum]))
      } else {
        all[index] = .dense(sum)
      }
    }
    return all
  }

  private func differentiate(_ flows: [Bool]) throws -> FunctionalGradients.Differentiated {
    try FunctionalGradients.differentiate(
      body, in: g.graph, types: types, handles: handles,
      flows: (0..<count).map { flows[$0] && !isInvariant[$0] }, keepsDraws: true)
  }

  private func sizes(_ shape: Shape, _ graph: Graph) throws -> Output {
    guard let dims = shape.dims else { return try TensorListGradients.unknownShape(graph) }
    return try graph.constant(integers: dims.map { $0.size ?? -1 })
  }

  private func backCondition(_ dtypes: [DType]) throws -> FunctionRef {
    let graph = Graph(registry: g.graph.registry)
    let parameters = try dtypes.map { try graph.placeholder($0, name: "argument") }
    let test = try greater(parameters[0], graph.constant(Int32(0)))
    return try g.graph.addFunction(
      "\(body.name)_gradient_cond", graph, parameters: parameters.map(\.edge),
      results: [test.edge])
  }

  /// A value of the body that each iteration keeps for the way back. Edges are those of the body as
  /// the library has it, whichever graph it was written out in.
  private struct Kept {
    let edge: Edge
    let type: TensorType
  }

  /// Lets the forward loop count its iterations and keep the values `saved` of each.
  private func extendForward(_ saved: [Kept]) throws -> (trips: Output, lists: [Output]) {
    let part = try g.graph.snapshot.body(of: body, inputs: types)
    let inner = part.graph
    var parameters = part.parameters
    var results = part.results
    let counter = try inner.placeholder(.int32, shape: .scalar, name: "iterations")
    parameters.append(counter.edge)
    results.append(try (counter + inner.constant(Int32(1))).edge)
    var inputs = (0..<count).map { g.input($0) }
    inputs.append(try g.graph.withoutControlDependencies { try g.graph.constant(Int32(0)) })
    for kept in saved {
      let list = try inner.placeholder(.variant, shape: .scalar, name: "kept")
      let value = Output(graph: inner, edge: kept.edge)
      parameters.append(list.edge)
      results.append(try TensorListGradients.push(list, value).edge)
      // The loop is there already: what it starts from must not wait for what comes after it.
      inputs.append(
        try g.graph.withoutControlDependencies {
          let shape =
            value.dtype == .variant
            ? try TensorListGradients.unknownShape(g.graph) : try sizes(kept.type.shape, g.graph)
          return try TensorListGradients.empty(g.graph, value.dtype, shape)
        })
    }
    let bodyRef = try g.graph.addFunction(
      "\(body.name)_kept", inner, parameters: parameters, results: results,
      controls: part.controls)
    let dtypes = parameters.map { inner.snapshot.type($0).dtype }
    let head = try g.graph.snapshot.body(of: cond, inputs: types)
    var headParameters = head.parameters
    for dtype in dtypes.dropFirst(count) {
      headParameters.append(try head.graph.placeholder(dtype, name: "argument").edge)
    }
    let condRef = try g.graph.addFunction(
      "\(cond.name)_kept", head.graph, parameters: headParameters, results: head.results,
      controls: head.controls)

    var attrs = g.graph.nodes[g.node.id].attrs
    attrs["cond"] = .function(condRef)
    attrs["body"] = .function(bodyRef)
    attrs["T"] = .list(dtypes.map { .type($0) })
    attrs["_output_shapes"] = nil
    attrs["_num_original_outputs"] = nil
    let more = dtypes.dropFirst(count).map { TensorType($0, .scalar) }
    if case .list(let stated)? = attrs["output_shapes"], !stated.isEmpty {
      attrs["output_shapes"] = .list(stated + more.map { .shape($0.shape) })
    }
    g.graph.rewrite(
      g.node.id, inputs: inputs.map(\.edge), attrs: attrs, outputs: g.node.outputs + more,
      handles: g.node.handles + more.map { _ in nil })
    func output(_ port: Int) -> Output {
      Output(graph: g.graph, edge: Edge(node: g.node.id, port: port))
    }
    return (output(count), saved.indices.map { output(count + 1 + $0) })
  }
}

extension Graph {
  /// Whether `result` is `parameter` under another name.
  func passes(_ result: Edge, _ parameter: Edge) -> Bool {
    var edge = result
    while edge != parameter {
      let node = nodes[edge.node]
      guard node.op == IdentityRows.identity.name, node.controlInputs.isEmpty,
        let first = node.inputs.first
      else { return false }
      edge = first
    }
    return true
  }
}

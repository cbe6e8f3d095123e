// Gradients of calls and conditionals over functions: new functions in the library.

internal import WeftGraph
internal import WeftTensors

enum FunctionalGradients {
  /// The body of a function with the gradients of its results added.
  struct Differentiated {
    let body: FunctionBody
    /// Placeholders of the gradients that arrive, for the results that have one.
    let given: [Output]
    /// The gradient of each parameter; nil where none flows.
    let gradients: [Gradient?]
    /// Random numbers in the body, which would come out differently a second time.
    let drawn: [Edge]

    var graph: Graph { body.graph }
    func parameter(_ index: Int) -> Output {
      Output(graph: body.graph, edge: body.parameters[index])
    }

    /// The gradient of parameter `index` as one tensor, zeros where none flows.
    func gradient(_ index: Int) throws -> Output {
      if let gradient = gradients[index] { return try dense(gradient) }
      return try zerosFor(parameter(index))
    }
  }

  /// Zeros like a value, or like that of a variable.
  static func zerosFor(_ x: Output) throws -> Output {
    guard x.dtype == .resource else { return try zerosLike(x) }
    guard let handle = x.graph.nodes[x.edge.node].handles.first.flatMap({ $0 }) else {
      throw WeftError(.unimplemented, "the variable behind '\(x.name)' is not known")
    }
    let value = try x.graph.output(
      VariableRows.read.name, inputs: [x], attrs: ["dtype": .type(handle.dtype)])
    return try zerosLike(value)
  }

  /// Whether a value of this type may have a gradient.
  static func mayFlow(_ dtype: DType) -> Bool {
    dtype.isDifferentiable || dtype == .variant || dtype == .resource
  }

  /// Instantiates `ref` and differentiates the results for which `flows` is true.
  /// - Parameter keepsDraws: whether the caller puts the forward run's random numbers in place of
  ///   those that the body would draw again.
  static func differentiate(
    _ ref: FunctionRef, in graph: Graph, types: [TensorType], handles: [HandleType?],
    flows: [Bool], keepsDraws: Bool = false
  ) throws -> Differentiated {
    let body = try graph.snapshot.body(of: ref, inputs: types)
    try body.setHandles(handles)
    let inner = body.graph
    let drawn = inner.draws()
    try checkRepeatable(body, ref, keepsDraws: keepsDraws)
    var ys: [Output] = []
    var given: [Output] = []
    for (index, edge) in body.results.enumerated() where flows.indices.contains(index) {
      guard flows[index] else { continue }
      let y = Output(graph: inner, edge: edge)
      ys.append(y)
      given.append(
        try inner.placeholder(
          y.dtype, shape: y.dtype == .variant ? .scalar : y.shape, name: "given_gradient"))
    }
    let places = body.parameters.indices.filter {
      mayFlow(inner.snapshot.type(body.parameters[$0]).dtype)
    }
    var found: [Gradient?] = Array(repeating: nil, count: body.parameters.count)
    let results = try gradients(
      of: ys, withRespectTo: places.map { Output(graph: inner, edge: body.parameters[$0]) },
      gradYs: given, listsFlow: true)
    for (index, gradient) in zip(places, results) { found[index] = gradient }
    return Differentiated(
      body: body, given: given, gradients: found, drawn: drawn)
  }

  // The gradient computes the function's values again: what would come out differently then has no
  // gradient here.
  private static func checkRepeatable(
    _ body: FunctionBody, _ ref: FunctionRef, keepsDraws: Bool
  ) throws {
    let snapshot = body.graph.snapshot
    let needed = body.graph.ancestors(of: body.results)
    for node in snapshot.nodes where needed.contains(node.id) {
      guard let traits = node.def?.traits else { continue }
      if keepsDraws, node.drawsOnlyFor != nil { continue }
      let draws = traits.contains(.random) && !keepsDraws
      if draws || traits.contains(.writesVariable) || !snapshot.isRepeatable(node) {
        throw WeftError(
          .unimplemented,
          "function '\(ref.name)' has no gradient here: \(node.op) '\(node.name)' in it would "
            + "give something else when the gradient computes it again",
          hint: "draw random numbers outside of the function and give them as arguments")
      }
    }
  }

  static func handles(_ inputs: [Output]) -> [HandleType?] {
    inputs.map { input in
      let all = input.graph.nodes[input.edge.node].handles
      return all.indices.contains(input.edge.port) ? all[input.edge.port] : nil
    }
  }

  static func types(_ inputs: [Output]) -> [TensorType] {
    inputs.map { TensorType($0.type.dtype, $0.type.shape) }
  }

  /// The gradients that arrive at a node, without those where none does.
  static func arriving(_ g: GradientContext) throws -> (flows: [Bool], values: [Output]) {
    let flows = g.node.outputs.indices.map { g.gradients[$0] != nil }
    return (flows, try flows.indices.filter { flows[$0] }.map { try g.gradient($0) })
  }

  // MARK: - Calls

  static func call(_ g: GradientContext) throws -> [Gradient?] {
    guard let def = g.node.def, g.node.drawsOnlyFor == nil else {
      return Array(repeating: nil, count: g.inputCount)
    }
    try g.graph.snapshot.checkCalls(g.node)
    let (flows, values) = try arriving(g)
    // The context holds the node as it was.
    let node = try g.graph.splitDraws(of: g.node) ?? g.node
    let inputs = node.inputs.map { Output(graph: g.graph, edge: $0) }
    let ref = try def.callee(node.attributes)
    let part = try differentiate(
      ref, in: g.graph, types: types(inputs), handles: handles(inputs), flows: flows)
    let places = (0..<g.inputCount).filter { part.gradients[$0] != nil }
    guard !places.isEmpty else { return Array(repeating: nil, count: g.inputCount) }
    let results = try places.map { try part.gradient($0).edge }
    let function = try g.graph.addFunction(
      "\(ref.name)_gradient", part.graph,
      parameters: part.body.parameters + part.given.map(\.edge), results: results)
    let isStateful = g.graph.isStateful(function)
    let back = try g.graph.add(
      isStateful ? FunctionalRows.statefulCall.name : FunctionalRows.call.name,
      inputs: inputs + values,
      attrs: [
        "f": .function(function),
        "Tout": .list(results.map { .type(part.graph.snapshot.type($0).dtype) }),
      ])
    var all: [Gradient?] = Array(repeating: nil, count: g.inputCount)
    for (index, output) in zip(places, g.graph.outputs(of: back)) { all[index] = .dense(output) }
    return all
  }

  // MARK: - Conditionals

  static func conditional(_ g: GradientContext) throws -> [Gradient?] {
    guard let def = g.node.def, g.node.drawsOnlyFor == nil else {
      return Array(repeating: nil, count: g.inputCount)
    }
    try g.graph.snapshot.checkCalls(g.node)
    let (flows, values) = try arriving(g)
    let conditional = try g.graph.splitDraws(of: g.node) ?? g.node
    let inputs = conditional.inputs.map { Output(graph: g.graph, edge: $0) }
    let arguments = Array(inputs.dropFirst())
    let branches = try def.branches(conditional.attributes)
    var parts: [Differentiated] = []
    for ref in branches {
      parts.append(
        try differentiate(
          ref, in: g.graph, types: types(arguments), handles: handles(arguments), flows: flows))
      // What one branch's gradient adds to the library, the next one's sees.
      g.graph.adopt(parts[parts.count - 1].graph)
    }
    let places = (0..<(g.inputCount - 1)).filter { index in
      parts.contains { $0.gradients[index] != nil }
    }
    guard !places.isEmpty else { return Array(repeating: nil, count: g.inputCount) }
    var refs: [FunctionRef] = []
    var dtypes: [DType] = []
    var isStateful = false
    for (ref, part) in zip(branches, parts) {
      let results = try places.map { try part.gradient($0).edge }
      dtypes = results.map { part.graph.snapshot.type($0).dtype }
      let function = try g.graph.addFunction(
        "\(ref.name)_gradient", part.graph,
        parameters: part.body.parameters + part.given.map(\.edge), results: results)
      isStateful = isStateful || g.graph.isStateful(function)
      refs.append(function)
    }
    var attrs: [String: AttrValue] = ["Tout": .list(dtypes.map { .type($0) })]
    let op: OpDef
    if def.functionalRole == .conditional {
      attrs["else_branch"] = .function(refs[0])
      attrs["then_branch"] = .function(refs[1])
      op = isStateful ? FunctionalRows.ifRow : FunctionalRows.statelessIf
    } else {
      attrs["branches"] = .list(refs.map { .function($0) })
      op = isStateful ? FunctionalRows.caseRow : FunctionalRows.statelessCase
    }
    // A gradient has the shape of what it is the gradient of.
    attrs["output_shapes"] = .list(
      places.map { index in
        let type = g.input(index + 1).type
        guard type.dtype == .resource else { return .shape(type.shape) }
        return .shape(handles(arguments)[index]?.shape ?? .unknown)
      })
    let node = try g.graph.add(
      op.name, inputs: inputs + values, attrs: attrs)
    var all: [Gradient?] = Array(repeating: nil, count: g.inputCount)
    for (index, output) in zip(places, g.graph.outputs(of: node)) {
      all[index + 1] = .dense(output)
    }
    return all
  }
}

extension FunctionBody {
  /// Says what the handles among the parameters stand for.
  func setHandles(_ handles: [HandleType?]) throws {
    for (edge, handle) in zip(parameters, handles) {
      guard let handle else { continue }
      let node = graph.nodes[edge.node]
      graph.rewrite(
        edge.node, inputs: node.inputs, attrs: node.attrs, outputs: node.outputs,
        handles: [handle])
    }
  }
}

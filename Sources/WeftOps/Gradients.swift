// The reverse walk that adds gradient nodes. It knows no op: each op's row has its rule.

public import WeftGraph
internal import WeftTensors

/// The gradients of the sum of `ys` with respect to each of `xs`, as nodes added under `gradients/`.
///
/// Contributions of several users are added; slices of gathers stay slices until something needs
/// the whole. Linear in the number of nodes between `ys` and `xs`.
/// - Parameters:
///   - ys: what is differentiated.
///   - xs: tensors, or handles of resource variables.
///   - gradYs: for each y the gradient that arrives at it; ones where nil.
/// - Returns: a gradient for each x; nil for an x that no y depends on.
/// - Throws: InvalidArgument that shows the path on which an op without a gradient stands.
public func gradients(
  of ys: [Output], withRespectTo xs: [Output], gradYs: [Output?]? = nil, name: String = "gradients",
  file: StaticString = #fileID, line: UInt = #line
) throws -> [Gradient?] {
  try gradients(of: ys, withRespectTo: xs, gradYs: gradYs, name: name, listsFlow: false)
}

/// The same, also for lists of tensors among `ys` where `listsFlow` says so.
func gradients(
  of ys: [Output], withRespectTo xs: [Output], gradYs: [Output?]?, name: String = "gradients",
  listsFlow: Bool
) throws -> [Gradient?] {
  guard let graph = ys.first?.graph else { return xs.map { _ in nil } }
  for output in ys + xs where output.graph !== graph {
    throw WeftError(.invalidArgument, "'\(output.name)' belongs to another graph")
  }
  if let gradYs, gradYs.count != ys.count {
    throw WeftError(.invalidArgument, "\(gradYs.count) gradients are given for \(ys.count) ys")
  }
  return try graph.withScope(name) {
    var walk = GradientWalk(graph: graph, ys: ys, xs: xs, listsFlow: listsFlow)
    return try walk.run(gradYs: gradYs)
  }
}

/// The gradients of `y`, each as one dense tensor; zeros for an x that y does not depend on.
public func denseGradients(
  of y: Output, withRespectTo xs: [Output]
) throws -> [Output] {
  try zip(gradients(of: [y], withRespectTo: xs), xs).map { gradient, x in
    try gradient.map { try dense($0) } ?? zerosLike(x)
  }
}

/// A gradient as one tensor: slices are added up into the whole.
public func dense(_ gradient: Gradient) throws -> Output {
  switch gradient {
  case .dense(let output): return output
  case .slices(let slices):
    guard let shape = slices.denseShape else {
      throw WeftError(
        .invalidArgument, "slices of '\(slices.values.name)' have no dense shape")
    }
    let rows = try shape.element(at: 0)
    return try unsortedSegmentSum(slices.values, slices.indices, count: rows)
  }
}

private struct GradientWalk {
  let graph: Graph
  let ys: [Output]
  let xs: [Output]
  let listsFlow: Bool
  /// Contributions that have arrived at each edge.
  var arrived: [Edge: [Gradient]] = [:]

  init(graph: Graph, ys: [Output], xs: [Output], listsFlow: Bool) {
    self.listsFlow = listsFlow
    self.graph = graph
    self.ys = ys
    self.xs = xs
  }

  mutating func run(gradYs: [Output?]?) throws -> [Gradient?] {
    // Nodes between xs and ys: reachable from an x, and needed by a y.
    let count = graph.nodes.count
    let sources = Set(xs.map(\.edge))
    let between = nodesBetween(count: count, sources: sources)
    for (index, y) in ys.enumerated() {
      if y.dtype == .invalid { throw unknownType(graph.nodes[y.edge.node]) }
      guard y.dtype.isDifferentiable || (listsFlow && y.dtype == .variant) else {
        throw WeftError(
          .invalidArgument,
          "'\(y.name)' is \(y.dtype.name): only floating-point tensors have gradients")
      }
      let start: Output
      if let given = gradYs?[index] {
        guard given.dtype == y.dtype, given.shape.isCompatible(with: y.shape) else {
          throw WeftError(
            .invalidArgument,
            "the gradient given for '\(y.name)' (\(y.type)) is \(given.type)")
        }
        start = given
      } else {
        start = try graph.withScope("grad_ys_\(index)") { try onesLike(y) }
      }
      arrived[y.edge, default: []].append(.dense(start))
    }
    // Users before producers: reverse topological order of the nodes in between.
    var pending = [Int: Int]()
    for id in between.ids {
      for edge in graph.nodes[id].inputs where between.contains(edge.node) {
        pending[edge.node, default: 0] += 1
      }
    }
    var ready: [Int] = []
    for id in between.ids.sorted(by: >) where pending[id, default: 0] == 0 { ready.append(id) }
    var next = 0
    var results: [Edge: Gradient] = [:]
    while next < ready.count {
      let id = ready[next]
      next += 1
      try visit(id, sources: sources, between: between, results: &results)
      for edge in graph.nodes[id].inputs where between.contains(edge.node) {
        let left = pending[edge.node, default: 0] - 1
        pending[edge.node] = left
        if left == 0 { ready.append(edge.node) }
      }
    }
    return try xs.map { x in
      if let done = results[x.edge] { return done }
      return try total(x.edge)
    }
  }

  private struct Between {
    var member: [Bool]
    var ids: [Int]
    func contains(_ id: Int) -> Bool { id < member.count && member[id] }
  }

  private func nodesBetween(count: Int, sources: Set<Edge>) -> Between {
    var needed = [Bool](repeating: false, count: count)
    var stack = ys.map(\.edge.node)
    var order: [Int] = []
    while let id = stack.popLast() {
      if needed[id] { continue }
      needed[id] = true
      order.append(id)
      for edge in graph.nodes[id].inputs where !needed[edge.node] { stack.append(edge.node) }
    }
    // Forward reachability over the needed nodes.
    var users: [Int: [Int]] = [:]
    for id in order {
      for edge in graph.nodes[id].inputs { users[edge.node, default: []].append(id) }
    }
    var reached = [Bool](repeating: false, count: count)
    var queue = Array(Set(sources.map(\.node))).filter { needed[$0] }.sorted()
    for id in queue { reached[id] = true }
    while let id = queue.popLast() {
      for user in users[id] ?? [] where !reached[user] {
        reached[user] = true
        queue.append(user)
      }
    }
    let ids = order.filter { reached[$0] }.sorted()
    return Between(member: reached, ids: ids)
  }

  private mutating func visit(
    _ id: Int, sources: Set<Edge>, between: Between, results: inout [Edge: Gradient]
  ) throws {
    let node = graph.nodes[id]
    // What arrived at the node's outputs; an x keeps its own total.
    var incoming: [Gradient?] = []
    for port in node.outputs.indices {
      let edge = Edge(node: id, port: port)
      let sum = try total(edge)
      if let sum, sources.contains(edge) { results[edge] = sum }
      incoming.append(sum)
    }
    guard incoming.contains(where: { $0 != nil }),
      node.inputs.contains(where: { between.contains($0.node) })
    else { return }
    guard let def = node.def else {
      throw noGradient(node, "the op is not known")
    }
    let contributions: [Gradient?]
    switch try rule(of: node, def) {
    case .zero: return
    case .none(let reason): throw noGradient(node, reason)
    case .rule(let rule):
      let graph = self.graph
      let context = GradientContext(
        graph: graph, node: node, gradients: incoming,
        densify: { port in
          if let gradient = incoming[port] { return try WeftOps.dense(gradient) }
          return try zerosLike(Output(graph: graph, edge: Edge(node: id, port: port)))
        })
      let scope = "\(graph.currentScope)\(node.name)_grad"
      contributions = try graph.withAbsoluteScope(scope) {
        do {
          return try rule(context)
        } catch let error as WeftError {
          throw error.adding("gradient of", "\(node.name)  (\(node.op))")
        }
      }
    }
    guard contributions.count == node.inputs.count else {
      throw WeftError(
        .internal,
        "the gradient of \(node.op) gave \(contributions.count) gradients for \(node.inputs.count) inputs"
      ).adding("node", node.name)
    }
    for (edge, contribution) in zip(node.inputs, contributions) {
      guard let contribution, between.contains(edge.node) || sources.contains(edge) else {
        continue
      }
      try check(contribution, edge, node)
      arrived[edge, default: []].append(contribution)
    }
  }

  // The op's rule, or that of the op which `gradient_override_map` put in its place.
  private func rule(of node: Node, _ def: OpDef) throws -> GradientRule {
    // A function's own name as op: its row cannot know how functions are differentiated.
    if def.isCall { return FunctionalRows.call.gradient }
    guard let other = node.attrs["_gradient_op_type"]?.text else { return def.gradient }
    guard let replacement = graph.registry[other] else {
      throw noGradient(node, "its _gradient_op_type '\(other)' is not known")
    }
    return replacement.gradient
  }

  // Outputs of ops that are not known have no type that a gradient could have.
  private func unknownType(_ source: Node) -> WeftError {
    let place = source.origin.description.map { "  \($0)" } ?? ""
    return WeftError(
      .unimplemented,
      "the gradient reaches '\(source.name)', whose op \(source.op) gives no known type"
    ).adding("node", "\(source.name)  (\(source.op))\(place)")
  }

  // A rule's result must have the input's type.
  private func check(_ gradient: Gradient, _ edge: Edge, _ node: Node) throws {
    let type = graph.snapshot.type(edge)
    let output: Output
    switch gradient {
    case .dense(let dense): output = dense
    case .slices(let slices): output = slices.values
    }
    let dtype =
      type.dtype == .resource
      ? graph.nodes[edge.node].handles.first.flatMap { $0?.dtype } ?? output.dtype : type.dtype
    guard dtype != .invalid else { throw unknownType(graph.nodes[edge.node]) }
    guard output.dtype == dtype else {
      throw WeftError(
        .internal,
        "the gradient of \(node.op) with respect to '\(graph.nodes[edge.node].name)' is "
          + "\(output.dtype.name), expected \(dtype.name)"
      ).adding("node", node.name)
    }
    if case .dense = gradient, type.dtype != .resource, !output.shape.isCompatible(with: type.shape)
    {
      throw WeftError(
        .internal,
        "the gradient of \(node.op) has shape \(output.shape), its input \(type.shape)"
      ).adding("node", node.name)
    }
  }

  // All contributions of an edge as one gradient; slices stay slices when there is nothing else.
  private mutating func total(_ edge: Edge) throws -> Gradient? {
    guard let parts = arrived.removeValue(forKey: edge), let first = parts.first else { return nil }
    if parts.count == 1 { return first }
    var denseParts: [Output] = []
    var slices: [IndexedSlices] = []
    for part in parts {
      switch part {
      case .dense(let output): denseParts.append(output)
      case .slices(let rows): slices.append(rows)
      }
    }
    if denseParts.isEmpty {
      return .slices(
        IndexedSlices(
          values: try concat(slices.map(\.values), axis: 0),
          indices: try concat(slices.map(\.indices), axis: 0),
          denseShape: slices.first { $0.denseShape != nil }?.denseShape))
    }
    for rows in slices { denseParts.append(try dense(.slices(rows))) }
    return .dense(denseParts.count == 1 ? denseParts[0] : try addN(denseParts))
  }

  // The error of a path that breaks, with the path from the op to a y.
  private func noGradient(_ node: Node, _ reason: String) -> WeftError {
    var users: [Int: Int] = [:]
    for user in graph.nodes {
      for edge in user.inputs where users[edge.node] == nil || user.id < (users[edge.node] ?? 0) {
        users[edge.node] = user.id
      }
    }
    let goals = Set(ys.map(\.edge.node))
    var path = ["\(node.name) (\(node.op))"]
    var at = node.id
    while !goals.contains(at), path.count < 12, let user = users[at] {
      at = user
      path.append("\(graph.nodes[at].name) (\(graph.nodes[at].op))")
    }
    var error = WeftError(
      .invalidArgument, "\(node.op) '\(node.name)' has no gradient: \(reason)",
      hint: "stopGradient(_:) before it leaves it out of the derivative")
    error.details.append(WeftError.Detail("path", path.joined(separator: " -> ")))
    if let made = node.origin.description { error.details.append(WeftError.Detail("at", made)) }
    return error
  }
}

// Making functions of Swift closures: what a closure builds becomes a body, what it takes from
// outside a parameter.

internal import WeftGraph
internal import WeftTensors

/// A function under construction.
final class FunctionTrace {
  let graph: Graph
  private(set) var parameters: [Output]
  /// Values of the enclosing graph that the body takes, in order; each has a parameter.
  private(set) var captured: [Output] = []
  private var known: [Output: Output] = [:]
  var results: [Output] = []

  /// A body for parameters of these types, within `parent`.
  init(in parent: Graph, _ types: [TensorType], names: String = "argument") throws {
    let graph = Graph(registry: parent.registry)
    graph.parent = parent
    graph.adopt(parent)
    self.graph = graph
    parameters = try types.map { try graph.placeholder($0.dtype, shape: $0.shape, name: names) }
    graph.capture = { [unowned self, unowned parent] outer in
      try self.parameter(for: outer, parent)
    }
  }

  private func parameter(for outer: Output, _ parent: Graph) throws -> Output {
    // A value from further out passes through every function between.
    var source = outer
    if source.graph !== parent {
      guard let capture = parent.capture else {
        throw WeftError(
          .invalidArgument, "'\(outer.name)' belongs to another graph")
      }
      source = try capture(source)
    }
    return try take(source)
  }

  /// The parameter for a value of the enclosing graph.
  func take(_ source: Output) throws -> Output {
    if let made = known[source] { return made }
    // A small constant is made again: shapes may follow from its value.
    if let value = source.graph.constant(of: source.edge), value.count <= 1_024 {
      let copy = try graph.withAbsoluteScope("") {
        try graph.constant(value, name: source.node.name)
      }
      known[source] = copy
      return copy
    }
    // Outside of any scope: a parameter is no part of what the body is doing.
    let inner = try graph.withAbsoluteScope("") {
      try graph.placeholder(source.dtype, shape: source.shape, name: "captured")
    }
    let handles = source.graph.nodes[source.edge.node].handles
    if handles.indices.contains(source.edge.port), let handle = handles[source.edge.port] {
      let node = graph.nodes[inner.edge.node]
      graph.rewrite(
        node.id, inputs: [], attrs: node.attrs, outputs: node.outputs, handles: [handle])
    }
    known[source] = inner
    captured.append(source)
    return inner
  }

  /// Runs `body` and keeps what it returns, each brought into this graph.
  func record(_ body: ([Output]) throws -> [Output]) throws {
    results = try body(parameters).map { output in
      if output.graph === graph { return output }
      guard let capture = graph.capture else { return output }
      return try capture(output)
    }
  }

  /// Adds the function to the enclosing graph's library.
  /// - Parameter captures: what it takes beside its parameters, in this order.
  func finish(
    _ name: String, captures: [Output], passing passed: Bool = false
  ) throws -> FunctionRef {
    guard let parent = graph.parent else {
      throw WeftError(.internal, "a function's graph is in no other")
    }
    let own = try captures.map { try take($0) }
    graph.capture = nil
    let effects = graph.nodes.filter { node in
      node.def?.traits.contains(.writesVariable) == true
    }
    return try parent.addFunction(
      name, graph, parameters: (parameters + own).map(\.edge),
      results: (results + (passed ? own : [])).map(\.edge), controls: effects.map(\.id))
  }
}

/// The union of what several functions capture, in order.
func captures(of traces: [FunctionTrace]) -> [Output] {
  var all: [Output] = []
  var seen = Set<Output>()
  for trace in traces {
    for output in trace.captured where seen.insert(output).inserted { all.append(output) }
  }
  return all
}

// From a graph to a function of a library.

internal import OrderedCollections
internal import WeftTensors

extension Graph {
  /// The function that takes `parameters`, placeholders of this graph, and gives `results`.
  /// - Parameters:
  ///   - name: its name, which the library must not hold yet.
  ///   - controls: ids of nodes that run with every call.
  package func asFunction(
    _ name: String, parameters: [Edge], results: [Edge], controls: [Int] = []
  ) throws -> GraphFunction {
    var needed = [Bool](repeating: false, count: nodes.count)
    var stack = results.map(\.node) + controls
    let given = Set(parameters.map(\.node))
    while let id = stack.popLast() {
      if needed[id] || given.contains(id) { continue }
      needed[id] = true
      stack += nodes[id].inputs.map(\.node) + nodes[id].controlInputs
    }
    let kept = nodes.filter { needed[$0.id] }
    // Names of parameters and results must differ from those of nodes.
    let taken = Set(kept.map(\.name))
    func free(_ prefix: String, _ index: Int) -> String {
      var text = "\(prefix)_\(index)"
      while taken.contains(text) { text += "x" }
      return text
    }
    let names = parameters.indices.map { free("argument", $0) }
    let position = Dictionary(
      zip(parameters, parameters.indices), uniquingKeysWith: { first, _ in first })
    func text(_ edge: Edge) throws -> String {
      if let index = position[edge] { return names[index] }
      return try bodyName(edge)
    }
    let specs = try kept.map { node in
      NodeSpec(
        name: node.name, op: node.op,
        inputs: try node.inputs.map(text)
          + node.controlInputs.filter { needed[$0] }.map { "^\(nodes[$0].name)" },
        attrs: node.attrs, device: node.device, path: node.origin.description ?? "",
        passthrough: node.passthrough)
    }
    let hasEffects = kept.contains { node in
      guard let def = node.def else { return true }
      return def.traits.contains(.stateful) || def.traits.contains(.random)
        || def.traits.contains(.writesVariable)
    }
    return GraphFunction(
      name: name,
      inputs: zip(names, parameters).map { FunctionArgument($0, snapshot.type($1).dtype) },
      outputs: results.enumerated().map {
        FunctionArgument(free("result", $0), snapshot.type($1).dtype)
      }, results: try results.map(text), controls: controls.map { nodes[$0].name }, nodes: specs,
      isStateful: hasEffects)
  }

  // An edge as functions write it: node, output argument and which of its tensors.
  private func bodyName(_ edge: Edge) throws -> String {
    let node = nodes[edge.node]
    if let function = functions[node.op], node.def?.isCall != false {
      return "\(node.name):\(function.outputs[edge.port].name):0"
    }
    guard let def = node.def else {
      throw WeftError(
        .unimplemented, "'\(node.name)' cannot stand in a function: \(node.op) is not known")
    }
    var port = edge.port
    for argument in def.signature.outputs {
      let width = try Graph.expand([argument], node.attributes, op: node.op).count
      if port < width { return "\(node.name):\(argument.name):\(port)" }
      port -= width
    }
    throw WeftError(.internal, "\(node.op) has no output \(edge.port)")
  }

  /// Adds a function under a name that is free, and returns a reference to it.
  package func addFunction(
    _ wanted: String, _ body: Graph, parameters: [Edge], results: [Edge], controls: [Int] = []
  ) throws -> FunctionRef {
    adopt(body)
    var name = wanted.replacing("/", with: "_")
    var count = 0
    while functions[name] != nil || registry[name] != nil {
      count += 1
      name = "\(wanted.replacing("/", with: "_"))_\(count)"
    }
    let function = try body.asFunction(
      name, parameters: parameters, results: results, controls: controls)
    // The graphs around this one must not take the name for something else.
    var at: Graph? = self
    while let graph = at {
      graph.functions[name] = function
      at = graph.parent
    }
    return FunctionRef(name)
  }

  /// Takes over the functions that another graph's library has and this one's lacks.
  package func adopt(_ other: Graph) {
    for (name, function) in other.functions where functions[name] == nil {
      functions[name] = function
    }
  }

  /// Whether calls of a function have effects, or read what may change.
  package func isStateful(_ ref: FunctionRef) -> Bool { functions[ref.name]?.isStateful ?? true }

  /// Lets all users of `old` in this graph read `new`, except the node that makes `new`.
  package func redirect(_ old: Edge, to new: Edge, except: Set<Int> = []) {
    for node in nodes where !except.contains(node.id) && node.id != new.node {
      guard node.inputs.contains(old) else { continue }
      rewrite(
        node.id, inputs: node.inputs.map { $0 == old ? new : $0 }, attrs: node.attrs,
        outputs: node.outputs, handles: node.handles)
    }
  }

  /// Ids of the nodes that `edges` need.
  package func ancestors(of edges: [Edge]) -> Set<Int> {
    var seen = Set<Int>()
    var stack = edges.map(\.node)
    while let id = stack.popLast() {
      guard seen.insert(id).inserted else { continue }
      stack += nodes[id].inputs.map(\.node) + nodes[id].controlInputs
    }
    return seen
  }
}

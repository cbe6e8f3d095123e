// Running initializers: which ones a graph has, and in which order.

internal import OrderedCollections
internal import WeftCompiler
public import WeftGraph
public import WeftTensors

extension GraphSnapshot {
  /// Names of signatures that initialize, Weft's own first.
  public static let initSignatures = ["init", "__saved_model_init_op"]

  /// The ids of the nodes that initialize everything: what the signature `init` names, else the
  /// initializers that the collections `variables` and `init_op` know, else the node called `init`;
  /// empty when there is none.
  public var initializerNodes: [Int] {
    for name in GraphSnapshot.initSignatures {
      guard let signature = signatures[name] else { continue }
      let found = signature.outputs.values.compactMap {
        nodeID(GraphSnapshot.splitTensorName($0).name)
      }
      if !found.isEmpty { return found }
    }
    let known = variables.compactMap { nodeID($0.initializer) }
    if !known.isEmpty { return known }
    if case .nodes(let names)? = collections["init_op"] {
      let found = names.compactMap { nodeID(GraphSnapshot.splitTensorName($0).name) }
      if !found.isEmpty { return found }
    }
    return nodeID("init").map { [$0] } ?? []
  }

  /// The node that makes the handle or reference at `edge`, seen through nodes that pass it on.
  public func variableNode(behind edge: Edge) -> Int? {
    var edge = edge
    for _ in 0..<nodes.count {
      let node = nodes[edge.node]
      if case .variable? = node.def?.lowering { return node.id }
      guard let next = node.inputs.first else { return nil }
      edge = next
    }
    return nil
  }

  /// The session's name of the variable that a node makes: `shared_name` or the node's own.
  public func variableName(of node: Node) -> String {
    let shared = node.attrs["shared_name"]?.text ?? ""
    let container = node.attrs["container"]?.text ?? ""
    let name = shared.isEmpty ? node.name : shared
    return container.isEmpty ? name : "\(container)/\(name)"
  }

  // The writing nodes that `roots` run, through groups and dependencies.
  fileprivate func assignments(under roots: [Int]) -> [Int] {
    var seen = Set(roots)
    var stack = roots
    var found: [Int] = []
    while let id = stack.popLast() {
      let node = nodes[id]
      if node.def?.traits.contains(.writesVariable) == true {
        found.append(id)
        continue
      }
      for next in node.controlInputs + node.inputs.map(\.node) where seen.insert(next).inserted {
        stack.append(next)
      }
    }
    return found.sorted()
  }
}

extension Session {
  /// Runs every initializer of the graph, those first whose values others start from.
  ///
  /// Variables that have a value get a new one.
  /// - Throws: FailedPrecondition when the graph has no initializer, or they wait for each other.
  public func initialize() throws {
    let roots = graph.initializerNodes
    guard !roots.isEmpty else {
      throw WeftError(
        .failedPrecondition, "the graph has no initializer", category: .run,
        details: [
          WeftError.Detail(
            "searched", "the signature 'init', the collection 'variables', a node called 'init'")
        ],
        hint: "restore a checkpoint, or name the operation that initializes")
    }
    // Usually one run does: no initial value reads another variable.
    let ready = try plan([], targets: roots).requiredVariables.allSatisfy { $0.value != nil }
    let assigned = ready ? [] : graph.assignments(under: roots)
    if assigned.isEmpty {
      try run([], targets: roots)
    } else {
      try runInOrder(assigned)
    }
  }

  /// Runs the initializers of variables that have no value yet; the others keep theirs.
  public func initializeMissing() throws {
    let kept = variables.all.compactMap { cell in cell.value.map { (cell, $0) } }
    if kept.isEmpty { return try initialize() }
    let valued = Set(kept.map(\.0.name))
    var missing: [Int] = []
    for id in graph.assignments(under: graph.initializerNodes) {
      guard let first = graph.nodes[id].inputs.first,
        let variable = graph.variableNode(behind: first)
      else { continue }
      if !valued.contains(graph.variableName(of: graph.nodes[variable])) { missing.append(id) }
    }
    if !missing.isEmpty { try runInOrder(missing) }
  }

  /// Runs the initializers that `fetches` and `targets` wait for, if there are any.
  public func initializeIfNeeded(
    _ fetches: [Edge], feeds: [(Edge, TensorType)] = [], targets: [Int] = []
  ) throws {
    let needed = try plan(fetches, feeds: feeds, targets: targets).requiredVariables
    if needed.contains(where: { $0.value == nil }) && !graph.initializerNodes.isEmpty {
      try initializeMissing()
    }
  }

  // Runs assignments round by round, each round those whose reads have values.
  private func runInOrder(_ assignments: [Int]) throws {
    var waiting = assignments
    while !waiting.isEmpty {
      var ready: [Int] = []
      var later: [Int] = []
      var lacking: [String] = []
      for id in waiting {
        let required = try plan([], targets: [id]).requiredVariables.filter { $0.value == nil }
        if required.isEmpty { ready.append(id) } else { later.append(id) }
        lacking += required.map(\.name)
      }
      guard !ready.isEmpty else {
        throw WeftError(
          .failedPrecondition, "initial values wait for variables that nothing initializes",
          category: .run,
          details: [
            WeftError.Detail("waiting", Array(Set(lacking)).sorted().joined(separator: ", "))
          ])
      }
      try run([], targets: ready)
      waiting = later
    }
  }
}

// What run and bench are asked to do: signature, inputs, outputs, targets, steps.

import ArgumentParser
import Weft

/// Options that say what to run.
struct RequestArguments: ParsableArguments {
  @Option(help: "The signature whose keys names are.")
  var signature: String?

  @Option(help: ArgumentHelp("Feed a value.", valueName: "NAME=VALUE"))
  var inputs: [String] = []

  @Option(help: ArgumentHelp("Fetch a tensor.", valueName: "NAME"))
  var outputs: [String] = []

  @Option(help: ArgumentHelp("Run an operation.", valueName: "OP"))
  var targets: [String] = []

  @Option(help: "Run this many times; arrays with one more axis hold a slice for each step.")
  var steps: Int?

  var isUsed: Bool {
    signature != nil || steps != nil || !inputs.isEmpty || !outputs.isEmpty || !targets.isEmpty
  }

  func validate() throws {
    if let steps, steps < 1 { throw ValidationError("--steps takes a number from 1") }
  }

  /// Looks up every name and reads every value.
  func resolve(_ model: Model) throws -> ResolvedRequest {
    let call = try model.signature(signature)
    var fetches: [(name: String, edge: Edge)] = []
    var nodes: [Int] = []
    if outputs.isEmpty && targets.isEmpty, let call {
      fetches = call.outputs.map { (name: $0.key, edge: $0.edge) }
      nodes = call.operations.map(\.node)
    }
    for name in outputs {
      if let operation = call?.operations.first(where: { $0.key == name }) {
        nodes.append(operation.node)
      } else {
        fetches.append((name: name, edge: try model.edge(name, keys: call?.outputs)))
      }
    }
    for name in targets {
      if let operation = call?.operations.first(where: { $0.key == name }) {
        nodes.append(operation.node)
      } else {
        nodes.append(try model.operation(name))
      }
    }
    var feeds: [SteppedInput] = []
    for argument in inputs {
      let (name, text) = try InputValue.split(argument)
      let edge = try model.edge(name, keys: call?.inputs)
      if feeds.contains(where: { $0.edge == edge }) {
        throw WeftError(.invalidArgument, "'\(name)' is fed twice", category: .usage)
      }
      let wanted = model.graph.snapshot.type(edge)
      let value = try InputValue(text, name: name).tensor(wanted.dtype, name: name)
      feeds.append(
        try SteppedInput(value, for: edge, wanted: wanted, hasSteps: steps != nil, name: name))
    }
    return ResolvedRequest(fetches: fetches, feeds: feeds, targets: nodes, steps: steps)
  }
}

/// A request with its names looked up.
struct ResolvedRequest {
  var fetches: [(name: String, edge: Edge)]
  var feeds: [SteppedInput]
  var targets: [Int]
  var steps: Int?

  var isEmpty: Bool { fetches.isEmpty && targets.isEmpty }

  func feeds(_ step: Int) throws -> [(Edge, Tensor)] {
    try feeds.map { ($0.edge, try $0.value(step)) }
  }

  /// Runs initializers as `mode` says.
  func initialize(_ session: Session, _ mode: InitMode) throws {
    switch mode {
    case .never: return
    case .always: try session.initialize()
    case .auto:
      if isEmpty { return try session.initializeMissing() }
      try session.initializeIfNeeded(
        fetches.map(\.edge), feeds: try feeds(0).map { ($0.0, $0.1.type) }, targets: targets)
    }
  }

  /// Runs all steps; each output is one tensor, with a leading axis when steps were asked for.
  /// - Parameter onTrace: is given the times of the last step's parts.
  func run(_ session: Session, onTrace: ((RunTrace) -> Void)? = nil) throws -> [Tensor] {
    if isEmpty { return [] }
    let edges = fetches.map(\.edge)
    func once(_ step: Int, isLast: Bool) throws -> [Tensor] {
      guard let onTrace, isLast else {
        return try session.run(edges, feeds: feeds(step), targets: targets)
      }
      let (values, trace) = try session.trace(edges, feeds: feeds(step), targets: targets)
      onTrace(trace)
      return values
    }
    guard let steps else { return try once(0, isLast: true) }
    var columns = [[Tensor]](repeating: [], count: edges.count)
    for step in 0..<steps {
      let values: [Tensor]
      do {
        values = try once(step, isLast: step == steps - 1)
      } catch let error as WeftError {
        throw error.adding("step", "\(step) of \(steps)")
      }
      for (index, value) in values.enumerated() { columns[index].append(value) }
    }
    return try columns.map { try Tensor.stacked($0) }
  }
}

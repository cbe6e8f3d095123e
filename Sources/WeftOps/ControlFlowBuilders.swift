// Conditionals and loops of Swift closures: written as the functional dialect, which TensorFlow
// imports.

public import WeftGraph
public import WeftTensors

/// What `then` of `arguments` gives where `condition`, a bool scalar, is true, else what `otherwise`
/// gives.
///
/// Only the branch taken runs. Both give as many values of the same types. Values from outside that
/// a closure combines with its arguments become arguments too; what it computes of outside values
/// alone runs outside, in every case. TensorFlow's If, or StatelessIf without effects. Gradient: that
/// of the branch taken; zero for what only the other branch uses.
/// - Throws: InvalidArgument when the branches do not fit each other.
public func cond(
  _ condition: Output, _ arguments: [Output], name: String? = nil,
  file: StaticString = #fileID, line: UInt = #line,
  then: ([Output]) throws -> [Output], otherwise: ([Output]) throws -> [Output]
) throws -> [Output] {
  let graph = Graph.innermost([condition] + arguments) ?? condition.graph
  let types = arguments.map { $0.type.value }
  let traces = [try FunctionTrace(in: graph, types), try FunctionTrace(in: graph, types)]
  try traces[0].record(otherwise)
  try traces[1].record(then)
  let (no, yes) = (traces[0].results, traces[1].results)
  guard no.count == yes.count, zip(no, yes).allSatisfy({ $0.dtype == $1.dtype }) else {
    throw WeftError(
      .invalidArgument,
      "cond needs branches of the same types: \(yes.map(\.type)) and \(no.map(\.type))"
    ).adding("at", "\(file):\(line)")
  }
  let taken = captures(of: traces)
  let label = name ?? "cond"
  let refs = try zip(["false", "true"], traces).map { side, trace in
    try trace.finish("\(graph.currentScope)\(label)_\(side)", captures: taken)
  }
  let isStateful = refs.contains { graph.isStateful($0) }
  let node = try graph.add(
    (isStateful ? FunctionalRows.ifRow : FunctionalRows.statelessIf).name, name: label,
    inputs: [condition] + arguments + taken,
    attrs: [
      "else_branch": .function(refs[0]), "then_branch": .function(refs[1]),
      "Tin": .list((arguments + taken).map { .type($0.dtype) }),
      "Tout": .list(yes.map { .type($0.dtype) }),
      "output_shapes": .list(zip(yes, no).map { .shape($0.shape.joined(with: $1.shape)) }),
    ], file: file, line: line)
  return graph.outputs(of: node)
}

/// `variables` after `body` was applied to them as long as `condition` of them holds.
///
/// What the closures take from outside becomes an argument that stays the same. TensorFlow's While,
/// or StatelessWhile without effects. Gradient: a loop backward over values that the forward loop
/// keeps.
/// - Parameters:
///   - shapeInvariants: what the shapes have in common over all iterations; those of the start
///     unless given.
///   - maximumIterations: ends the loop after so many.
/// - Throws: InvalidArgument when the body's results do not fit types and invariants.
public func whileLoop(
  _ variables: [Output], shapeInvariants: [Shape]? = nil, maximumIterations: Int? = nil,
  name: String? = nil, file: StaticString = #fileID, line: UInt = #line,
  condition: ([Output]) throws -> Output, body: ([Output]) throws -> [Output]
) throws -> [Output] {
  guard let graph = Graph.innermost(variables) else {
    throw WeftError(.invalidArgument, "whileLoop needs a variable").adding(
      "at", "\(file):\(line)")
  }
  let shapes = shapeInvariants ?? variables.map(\.shape)
  guard shapes.count == variables.count else {
    throw WeftError(
      .invalidArgument, "\(shapes.count) invariants are given for \(variables.count) variables"
    ).adding("at", "\(file):\(line)")
  }
  func check(_ output: Output, _ index: Int, _ what: String) throws {
    guard output.dtype == variables[index].dtype, shapes[index].isInvariant(for: output.shape)
    else {
      throw WeftError(
        .invalidArgument,
        "variable \(index) of the loop is \(variables[index].dtype.name) \(shapes[index]), "
          + "\(what) is \(output.type)",
        hint: "give shapeInvariants with the sizes that change left unknown"
      ).adding("at", "\(file):\(line)")
    }
  }
  for (index, variable) in variables.enumerated() { try check(variable, index, "its start") }
  var all = variables
  var types = zip(variables, shapes).map { TensorType($0.dtype, $1) }
  if maximumIterations != nil {
    all.append(try graph.constant(Int32(0), name: "iteration", file: file, line: line))
    types.append(TensorType(.int32, .scalar))
  }
  let head = try FunctionTrace(in: graph, types)
  try head.record { arguments in
    let own = Array(arguments.prefix(variables.count))
    let holds = try condition(own)
    guard let maximumIterations, let count = arguments.last else { return [holds] }
    let limit = try head.graph.constant(Int32(clamping: maximumIterations))
    return [try logicalAnd(less(count, limit), holds)]
  }
  guard let test = head.results.first, test.dtype == .bool,
    Shape.scalar.isCompatible(with: test.shape)
  else {
    throw WeftError(
      .invalidArgument,
      "the condition of a loop is one bool, not \(head.results.first?.type.description ?? "")"
    ).adding("at", "\(file):\(line)")
  }
  let step = try FunctionTrace(in: graph, types)
  try step.record { arguments in
    let own = Array(arguments.prefix(variables.count))
    let next = try body(own)
    guard next.count == own.count else {
      throw WeftError(
        .invalidArgument,
        "the body of the loop gives \(next.count) values for \(own.count) variables"
      ).adding("at", "\(file):\(line)")
    }
    guard maximumIterations != nil, let count = arguments.last else { return next }
    return next + [try count + step.graph.constant(Int32(1))]
  }
  for index in variables.indices {
    try check(step.results[index], index, "after an iteration it")
  }
  let taken = captures(of: [head, step])
  let label = name ?? "while"
  let scope = "\(graph.currentScope)\(label)"
  let condRef = try head.finish("\(scope)_cond", captures: taken)
  let bodyRef = try step.finish("\(scope)_body", captures: taken, passing: true)
  let isStateful = graph.isStateful(condRef) || graph.isStateful(bodyRef)
  let node = try graph.add(
    (isStateful ? FunctionalRows.whileLoop : FunctionalRows.statelessWhile).name, name: label,
    inputs: all + taken,
    attrs: [
      "cond": .function(condRef), "body": .function(bodyRef),
      "T": .list((all + taken).map { .type($0.dtype) }),
      "output_shapes": .list((types.map(\.shape) + taken.map(\.shape)).map { .shape($0) }),
    ], file: file, line: line)
  return Array(graph.outputs(of: node).prefix(variables.count))
}

/// A state carried over the rows of `sequences`, and what each step gives, stacked.
///
/// `sequences` share their first dimension, `[T, ...]`. The body gets the state and one row of each,
/// and gives the next state and any number of values; these come back as `[T, ...]`. A loop over
/// lists, so T need not be known. Gradients flow to states, sequences and whatever the body uses.
/// - Parameter isReversed: whether it goes from the last row to the first; results stay in place.
public func scan(
  _ sequences: [Output], state: [Output], isReversed: Bool = false, name: String? = nil,
  file: StaticString = #fileID, line: UInt = #line,
  body: (_ state: [Output], _ rows: [Output]) throws -> (state: [Output], values: [Output])
) throws -> (state: [Output], values: [Output]) {
  guard let first = sequences.first else {
    throw WeftError(.invalidArgument, "scan needs a sequence").adding("at", "\(file):\(line)")
  }
  let graph = Graph.innermost(sequences + state) ?? first.graph
  for sequence in sequences {
    guard sequence.shape.rank != 0, sequence.shape.dim(0).isCompatible(with: first.shape.dim(0))
    else {
      throw WeftError(
        .invalidArgument,
        "scan needs sequences of one length: \(sequences.map(\.shape))"
      ).adding("at", "\(file):\(line)")
    }
  }
  return try graph.withScope(name ?? "scan") {
    let length = try first.shapeTensor().sliced(begin: [0], size: [1]).reshaped(to: [])
    let lists = try sequences.map { sequence in
      try graph.output(
        TensorListWholeRows.fromTensor.name,
        inputs: [sequence, try sequence.shapeTensor().sliced(begin: [1], size: [-1])],
        attrs: ["element_dtype": .type(sequence.dtype)])
    }
    // What a step gives is known once the body was seen: a first look at it, which is not kept.
    let rowTypes = sequences.map { TensorType($0.dtype, $0.shape.droppingFirst) }
    let probe = try FunctionTrace(in: graph, state.map { $0.type.value } + rowTypes)
    var valueTypes: [TensorType] = []
    try probe.record { arguments in
      let result = try body(
        Array(arguments.prefix(state.count)), Array(arguments.dropFirst(state.count)))
      valueTypes = result.values.map { $0.type.value }
      return result.state
    }
    let outputs = try valueTypes.map { type in
      try graph.output(
        TensorListRows.reserve.name,
        inputs: [try elementSizes(type.shape, graph), length],
        attrs: ["element_dtype": .type(type.dtype)])
    }
    let start = try graph.constant(Int32(0))
    let results = try whileLoop(
      [start] + state + outputs, name: "loop", file: file, line: line,
      condition: { try less($0[0], length) },
      body: { arguments in
        let inner = arguments[0].graph
        let count = arguments[0]
        let index =
          isReversed
          ? try (length - (count + inner.constant(Int32(1)))) : count
        let rows = try zip(lists, rowTypes).map { list, type in
          try inner.output(
            TensorListRows.getItem.name,
            inputs: [list, index, try elementSizes(type.shape, inner)],
            attrs: ["element_dtype": .type(type.dtype)])
        }
        let result = try body(Array(arguments[1..<(1 + state.count)]), rows)
        guard result.values.count == outputs.count else {
          throw WeftError(.invalidArgument, "the body of a scan gives values of other number")
        }
        let kept = try zip(arguments.dropFirst(1 + state.count), result.values).map {
          try inner.output(
            TensorListRows.setItem.name, inputs: [$0, index, $1],
            attrs: ["element_dtype": .type($1.dtype)])
        }
        return [try count + inner.constant(Int32(1))] + result.state + kept
      })
    let count = first.shape.dim(0).size ?? -1
    let values = try zip(results.dropFirst(1 + state.count), valueTypes).map { list, type in
      try graph.output(
        TensorListWholeRows.stack.name, inputs: [list, try elementSizes(type.shape, graph)],
        attrs: ["element_dtype": .type(type.dtype), "num_elements": .int(Int64(count))])
    }
    return (Array(results[1..<(1 + state.count)]), values)
  }
}

/// What `body` gives for each row of `sequences`, stacked: `[T, ...]`.
public func map(
  _ sequences: [Output], name: String? = nil, file: StaticString = #fileID, line: UInt = #line,
  body: ([Output]) throws -> [Output]
) throws -> [Output] {
  try scan(sequences, state: [], name: name ?? "map", file: file, line: line) { _, rows in
    ([], try body(rows))
  }.values
}

// A shape as list ops take it: -1 where it is not known.
private func elementSizes(_ shape: Shape, _ graph: Graph) throws -> Output {
  guard let dims = shape.dims else { return try graph.constant(Int32(-1)) }
  return try graph.constant(integers: dims.map { $0.size ?? -1 })
}

extension TensorType {
  /// The type of the value that a reference refers to.
  var value: TensorType { TensorType(dtype, shape) }
}

extension Shape {
  /// The shape of a row.
  var droppingFirst: Shape { dims.map { Shape(dims: Array($0.dropFirst())) } ?? .unknown }

  /// Whether every tensor of shape `other` has this one too.
  func isInvariant(for other: Shape) -> Bool {
    guard let own = dims else { return true }
    guard let theirs = other.dims, own.count == theirs.count else { return false }
    return zip(own, theirs).allSatisfy { $0.size == nil || $0.size == $1.size }
  }
}

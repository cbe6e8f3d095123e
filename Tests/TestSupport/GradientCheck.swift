// Gradients against finite differences, in float64, by random projection.

public import WeftGraph
internal import WeftOps
public import WeftRuntime
public import WeftTensors

/// A small deterministic generator for test data.
public struct TestRandom: Sendable {
  private var state: UInt64
  /// A stream for `seed`.
  public init(_ seed: UInt64) { state = seed &* 0x9e37_79b9_7f4a_7c15 &+ 0x1234_5678_9abc_def1 }
  /// The next 64 bits.
  public mutating func next() -> UInt64 {
    state = state &+ 0x9e37_79b9_7f4a_7c15
    var z = state
    z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
    z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
    return z ^ (z >> 31)
  }
  /// A number in `range`.
  public mutating func uniform(_ range: ClosedRange<Double>) -> Double {
    let unit = Double(next() >> 11) / Double(1 << 53)
    return range.lowerBound + unit * (range.upperBound - range.lowerBound)
  }
}

/// What a gradient check found.
public struct GradientReport: Sendable {
  /// The largest relative difference between the analytic and the numeric directional derivative.
  public var worst = 0.0
  /// Which input and direction that was.
  public var place = ""
}

/// A differentiable function of float64 inputs, built anew in each graph.
public typealias GraphFunction = (_ graph: Graph, _ inputs: [Output]) throws -> [Output]

/// What a checked function is given for each input.
public enum GradientInputs: Sendable {
  /// A placeholder that is fed.
  case placeholders
  /// The handle of a resource variable that holds the value.
  case variables
  /// A reference variable that holds the value.
  case references
}

/// Compares the symbolic gradient of a random projection of `function` with central differences.
/// - Parameters:
///   - values: the point, float64 tensors.
///   - order: 1, or 2 to check the gradient of the gradient too.
///   - kind: what `function` gets as inputs.
/// - Returns: the worst relative difference, over several directions for each input.
public func checkGradient(
  at values: [Tensor], order: Int = 1, step: Double = 1e-5, seed: UInt64 = 1,
  inputs kind: GradientInputs = .placeholders, of function: @escaping GraphFunction
) throws -> GradientReport {
  let first = try compare(at: values, step: step, seed: seed, kind, function)
  guard order > 1 else { return first }
  // The sizes of some results are known only in a run.
  let graph = Graph()
  let probe = try GradientProbe(graph, shapes: values.map(\.shape), kind)
  let ys = try function(graph, probe.inputs).filter { $0.dtype == .float64 }
  let shapes = try probe.run(
    Session(graph, options: SessionOptions(threads: 1)), ys, at: values
  ).map(\.shape)
  // The gradient's own projection is a function like any other.
  let second = try compare(at: values, step: step, seed: seed &+ 1, kind) { graph, inputs in
    let ys = try function(graph, inputs).filter { $0.dtype == .float64 }
    var random = TestRandom(seed &+ 7)
    let weights = try shapes.map {
      try graph.constant(try randomTensor($0, in: 0.5...1.5, &random))
    }
    // A gradient that does not depend on the inputs has no second order.
    return try gradients(of: ys, withRespectTo: inputs, gradYs: weights).compactMap {
      try $0.map { try dense($0) }
    }
  }
  return second.worst > first.worst ? second : first
}

/// A float64 tensor of numbers in `range`.
public func randomTensor(
  _ shape: [Int], in range: ClosedRange<Double>, _ random: inout TestRandom
) throws -> Tensor {
  let count = shape.reduce(1, *)
  return try Tensor((0..<count).map { _ in random.uniform(range) }, shape: shape)
}

/// A function's inputs in a graph, and how its results are had at a point.
public struct GradientProbe {
  /// What the function is given, and differentiated by.
  public let inputs: [Output]
  /// One placeholder for each input.
  public let placeholders: [Output]
  /// What gives variables their values.
  public let initializers: [Node]

  /// Inputs of `kind` for values of these shapes.
  public init(_ graph: Graph, shapes: [[Int]], _ kind: GradientInputs) throws {
    placeholders = try shapes.enumerated().map { index, shape in
      try graph.placeholder(.float64, shape: Shape(shape), name: "x\(index)")
    }
    switch kind {
    case .placeholders:
      inputs = placeholders
      initializers = []
    case .variables:
      let variables = try placeholders.enumerated().map { index, value in
        try graph.variable("v\(index)", initialValue: value)
      }
      inputs = variables.map(\.handle)
      initializers = variables.map(\.initializer)
    case .references:
      inputs = try shapes.enumerated().map { index, shape in
        try graph.referenceVariable("v\(index)", dtype: .float64, shape: Shape(shape))
      }
      initializers = try zip(inputs, placeholders).map { try assign(reference: $0, $1).node }
    }
  }

  /// The values of `outputs` at a point.
  public func run(_ session: Session, _ outputs: [Output], at point: [Tensor]) throws -> [Tensor] {
    let feeds = Dictionary(uniqueKeysWithValues: zip(placeholders, point))
    guard !initializers.isEmpty else { return try session.run(outputs, feeds: feeds) }
    try session.run([], feeds: feeds, targets: initializers)
    return try session.run(outputs)
  }

  /// The gradients of `ys`, dense; zeros for an input that no y depends on.
  public func gradients(of ys: [Output], gradYs: [Output]) throws -> [Output] {
    try zip(WeftOps.gradients(of: ys, withRespectTo: inputs, gradYs: gradYs), placeholders).map {
      try $0.map { try dense($0) } ?? zerosLike($1)
    }
  }
}

private func compare(
  at values: [Tensor], step: Double, seed: UInt64, _ kind: GradientInputs,
  _ function: @escaping GraphFunction
) throws -> GradientReport {
  let graph = Graph()
  let inputs = try GradientProbe(graph, shapes: values.map(\.shape), kind)
  let ys = try function(graph, inputs.inputs).filter { $0.dtype == .float64 }
  guard !ys.isEmpty else { return GradientReport() }
  var random = TestRandom(seed)
  let probe = Session(graph, options: SessionOptions(threads: 1))
  let shapes = try inputs.run(probe, ys, at: values).map(\.shape)
  let weights = try shapes.map { shape in
    try graph.constant(try randomTensor(shape, in: 0.5...1.5, &random))
  }
  let analytic = try inputs.gradients(of: ys, gradYs: weights)
  let weightValues = try weights.map {
    try $0.node.attributes.tensor("value").array(of: Double.self)
  }
  let session = Session(graph, options: SessionOptions(threads: 1))
  func project(_ point: [Tensor]) throws -> Double {
    var total = 0.0
    for (result, weight) in zip(try inputs.run(session, ys, at: point), weightValues) {
      for (a, b) in zip(try result.array(of: Double.self), weight) { total += a * b }
    }
    return total
  }
  let slopes = try inputs.run(session, analytic, at: values)
  var report = GradientReport()
  for index in values.indices {
    let slope = try slopes[index].array(of: Double.self)
    let point = try values[index].array(of: Double.self)
    for direction in 0..<3 {
      let along = point.map { _ in random.uniform(-1...1) }
      func moved(_ by: Double) throws -> [Tensor] {
        var all = values
        all[index] = try Tensor(
          zip(point, along).map { $0 + by * $1 }, shape: values[index].shape)
        return all
      }
      // Richardson: two step sizes cancel the second-order error.
      let wide = (try project(moved(2 * step)) - project(moved(-2 * step))) / (4 * step)
      let narrow = (try project(moved(step)) - project(moved(-step))) / (2 * step)
      let numeric = (4 * narrow - wide) / 3
      let exact = zip(slope, along).reduce(0) { $0 + $1.0 * $1.1 }
      // Relative to the size of the terms, not of a sum that may cancel.
      let scale = zip(slope, along).reduce(0) { $0 + abs($1.0 * $1.1) }
      let difference = abs(numeric - exact) / max(1e-3, scale)
      if !(difference <= report.worst) {
        report.worst = difference.isNaN ? .infinity : difference
        report.place = "input \(index), direction \(direction): \(exact) vs \(numeric)"
      }
    }
  }
  return report
}

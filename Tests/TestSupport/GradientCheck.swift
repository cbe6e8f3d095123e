// Gradients against finite differences, in float64, by random projection.

public import WeftGraph
public import WeftOps
internal import WeftRuntime
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

/// Compares the symbolic gradient of a random projection of `function` with central differences.
/// - Parameters:
///   - values: the point, float64 tensors.
///   - order: 1, or 2 to check the gradient of the gradient too.
/// - Returns: the worst relative difference, over several directions for each input.
public func checkGradient(
  at values: [Tensor], order: Int = 1, step: Double = 1e-5, seed: UInt64 = 1,
  of function: @escaping GraphFunction
) throws -> GradientReport {
  let first = try compare(at: values, step: step, seed: seed, function)
  guard order > 1 else { return first }
  // The gradient's own projection is a function like any other.
  let second = try compare(at: values, step: step, seed: seed &+ 1) { graph, inputs in
    let ys = try function(graph, inputs).filter { $0.dtype == .float64 }
    var random = TestRandom(seed &+ 7)
    let weights = try ys.map { y in
      try graph.constant(
        try randomTensor(y.shape.known ?? [], in: 0.5...1.5, &random))
    }
    let results = try gradients(of: ys, withRespectTo: inputs, gradYs: weights)
    var outputs: [Output] = []
    for gradient in results.compactMap({ $0 }) {
      let output = try dense(gradient)
      // A gradient that does not depend on the inputs has no second order.
      outputs.append(output)
    }
    return outputs
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

private func compare(
  at values: [Tensor], step: Double, seed: UInt64, _ function: @escaping GraphFunction
) throws -> GradientReport {
  let graph = Graph()
  let inputs = try values.enumerated().map { index, value in
    try graph.placeholder(.float64, shape: Shape(value.shape), name: "x\(index)")
  }
  let ys = try function(graph, inputs).filter { $0.dtype == .float64 }
  guard !ys.isEmpty else { return GradientReport() }
  var random = TestRandom(seed)
  let probe = Session(graph, options: SessionOptions(threads: 1))
  let shapes = try probe.run(ys, feeds: Dictionary(uniqueKeysWithValues: zip(inputs, values)))
    .map(\.shape)
  let weights = try shapes.map { shape in
    try graph.constant(try randomTensor(shape, in: 0.5...1.5, &random))
  }
  let found = try gradients(of: ys, withRespectTo: inputs, gradYs: weights)
  let analytic = try zip(found, inputs).map { gradient, x in
    try gradient.map { try dense($0) } ?? zerosLike(x)
  }
  let weightValues = try weights.map {
    try $0.node.attributes.tensor("value").array(of: Double.self)
  }
  let session = Session(graph, options: SessionOptions(threads: 1))
  func project(_ point: [Tensor]) throws -> Double {
    let results = try session.run(
      ys, feeds: Dictionary(uniqueKeysWithValues: zip(inputs, point)))
    var total = 0.0
    for (result, weight) in zip(results, weightValues) {
      for (a, b) in zip(try result.array(of: Double.self), weight) { total += a * b }
    }
    return total
  }
  let slopes = try session.run(
    analytic, feeds: Dictionary(uniqueKeysWithValues: zip(inputs, values)))
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

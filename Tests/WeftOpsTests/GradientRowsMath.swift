// Gradient rows of elementwise math: special functions, trigonometry, quotients, activations.

import TestSupport
import WeftGraph
import WeftOps
import WeftTensors

let specialRows: [GradientRow] = [
  unary("expm1") { try expm1($0) },
  unary("log1p", in: -0.5...2) { try log1p($0) },
  unary("erfc") { try erfc($0) },
  unary("erfInverse", in: -0.7...0.7) { try erfInverse($0) },
  unary("normalQuantile", in: 0.2...0.8) { try normalQuantile($0) },
  unary("logGamma", in: 1.5...4) { try logGamma($0) },
  unary("digamma", in: 1.5...4) { try digamma($0) },
  binary("xlogy", in: 0.5...2) { try xlogy($0, $1) },
  binary("xlog1py", in: 0.5...2) { try xlog1py($0, $1) },
  binary("xdivy", in: 0.5...2) { try xdivy($0, $1) },
  binary("atan2", in: 0.3...2) { try atan2($0, $1) },
  // The neighbour of a number moves as the number does; it has no curvature.
  binary("nextAfter", in: 0.3...2) { try nextAfter(square($0), $1) },
  // IgammaGradA has no gradient in TensorFlow, so neither has the derivative by a.
  binary("igamma", in: 0.6...3, order: 1) { try igamma($0, $1) },
  binary("igammac", in: 0.6...3, order: 1) { try igammac($0, $1) },
  // x only: TensorFlow gives the other argument no gradient.
  unary("igammaSecondOrder", in: 0.6...3) { x in
    try igamma(stopGradient(onesLike(x) * 1.7), x)
  },
  unary("zeta", in: 1.2...3) { q in try zeta(stopGradient(onesLike(q) * 2.5), q) },
  unary("polygamma", in: 1.2...3) { x in
    try polygamma(stopGradient(onesLike(x) * 2), x)
  },
  GradientRow("betainc", [[[]], [[0]], [[1]], [[5]], [[3, 2]]], in: 0.2...0.8) { graph, x in
    let (a, b) = (try graph.constant(1.7), try graph.constant(2.3))
    return [try betainc(a, b, x[0])]
  },
  GradientRow("betaincScalar", [[[]]], in: 0.2...0.8) { graph, x in
    let a = try graph.constant([1.2, 1.7, 2.4])
    return [try betainc(a, a + 0.5, x[0])]
  },
]

let trigonometryRows: [GradientRow] = [
  unary("tan", in: -1...1) { try tan($0) },
  unary("asin", in: -0.7...0.7) { try asin($0) },
  unary("acos", in: -0.7...0.7) { try acos($0) },
  unary("atan") { try atan($0) },
  unary("sinh") { try sinh($0) },
  unary("cosh") { try cosh($0) },
  unary("asinh") { try asinh($0) },
  unary("acosh", in: 1.5...3) { try acosh($0) },
  unary("atanh", in: -0.7...0.7) { try atanh($0) },
]

let quotientRows: [GradientRow] = [
  GradientRow("legacyAdd", binaryShapes) { graph, x in
    [try square(graph.output("Add", inputs: [x[0], x[1]]))]
  },
  binary("legacyDivide", in: 0.5...2) { try divide($0, $1) },
  binary("divideNoNan", in: 0.5...2) { try divideNoNan($0, $1) },
  // At a zero divisor the quotient is the constant zero.
  unary("divideNoNanByZero") { x in try divideNoNan(x, zerosLike(x)) + square(x) },
  binary("multiplyNoNan", in: 0.5...2) { try multiplyNoNan($0, $1) },
  GradientRow("inverse", unaryShapes, in: 0.5...2) { graph, x in
    [try graph.output("Inv", inputs: [x[0]])]
  },
  binary("reciprocalGrad") { try reciprocalGrad($0 + zerosLike($1), $1 + zerosLike($0)) },
  binary("squareRootGrad", in: 0.5...2) {
    try squareRootGrad($0 + zerosLike($1), $1 + zerosLike($0))
  },
  binary("reciprocalSquareRootGrad", in: 0.5...2) {
    try reciprocalSquareRootGrad($0 + zerosLike($1), $1 + zerosLike($0))
  },
  GradientRow("selectV1", [[[], []], [[0], [0]], [[1], [1]], [[3, 5], [3, 5]]]) { graph, x in
    let condition = try less(x[0], x[1])
    return [
      try graph.output("Select", inputs: [condition, square(x[0]), square(x[1]) * 2])
    ]
  },
  GradientRow("selectRows", [[[3, 5], [3, 5]], [[3, 0], [3, 0]], [[3], [3]]]) { graph, x in
    let condition = try graph.constant([true, false, true])
    return [try graph.output("Select", inputs: [condition, square(x[0]), square(x[1])])]
  },
  GradientRow("clipBounds", [[[4], []], [[3, 5], [3, 5]]], in: 0.2...0.9) { graph, x in
    [try square(clip(x[0], min: x[1] - 0.5, max: x[1] + 0.1))]
  },
]

private func gradientOp(
  _ name: String, in domain: ClosedRange<Double> = -1.5...1.5, note: String = "",
  attrs: [String: AttrValue] = [:]
) -> GradientRow {
  GradientRow(
    name + note, [[[], []], [[0], [0]], [[1], [1]], [[3, 5], [3, 5]]], in: domain
  ) { graph, x in
    // Squared, so that the second derivative by the incoming gradient is not zero.
    [try graph.output(name, inputs: [square(x[0]), x[1]], attrs: attrs)]
  }
}

let activationRows: [GradientRow] = [
  gradientOp("ReluGrad"),
  gradientOp("Relu6Grad", in: 0.5...5),
  gradientOp("LeakyReluGrad", attrs: ["alpha": .float(0.3)]),
  gradientOp("EluGrad", in: -0.9...(-0.1)),
  gradientOp("EluGrad", in: 0.1...0.9, note: " positive"),
  gradientOp("SeluGrad", in: -0.9...(-0.1)),
  gradientOp("SoftplusGrad"),
  unary("softplusSecondOrder") { try softplus($0) },
  // TensorFlow defines no second derivative of softsign.
  unary("softsign", in: 0.2...2, order: 1) { try softsign($0) },
  unary("softsignNegative", in: -2...(-0.2), order: 1) { try softsign($0) },
]

let scanRows: [GradientRow] = [
  GradientRow("accumulate", [[[3, 5], [3, 5], [3, 5]], [[], []], [[0], [0]]]) { graph, x in
    let shape = AttrValue.shape(x[0].shape)
    return [try square(graph.output("AccumulateNV2", inputs: x, attrs: ["shape": shape]))]
  },
  GradientRow("euclideanNorm", [[[]], [[1]], [[7]], [[3, 5]], [[2, 3, 5]]], in: 0.3...2) { _, x in
    [try euclideanNorm(x[0])]
  },
  GradientRow("euclideanNormAxis", [[[3, 5]], [[2, 3, 5]], [[2, 0]]], in: 0.3...2) { _, x in
    [
      try euclideanNorm(x[0], axes: [0]),
      try euclideanNorm(x[0], axes: [-1], keepDims: true),
    ]
  },
  GradientRow("cumulativeSum", [[[0]], [[1]], [[7]], [[3, 5]], [[2, 3, 5]]]) { _, x in
    [try square(cumulativeSum(square(x[0]), axis: 0))]
  },
  GradientRow("cumulativeSumOptions", [[[3, 5]], [[2, 3, 5]]]) { _, x in
    [
      try square(cumulativeSum(x[0], axis: 1, exclusive: true)),
      try square(cumulativeSum(x[0], axis: -1, reverse: true)),
      try square(cumulativeSum(x[0], axis: 0, exclusive: true, reverse: true)),
    ]
  },
  GradientRow("cumulativeProduct", [[[0]], [[1]], [[5]], [[3, 4]]], in: 0.5...1.5) { _, x in
    [
      try cumulativeProduct(x[0], axis: 0),
      try cumulativeProduct(x[0], axis: -1, exclusive: true, reverse: true),
    ]
  },
  GradientRow("cross", [[[3], [3]], [[0, 3], [0, 3]], [[4, 3], [4, 3]]]) { _, x in
    [try square(cross(x[0], x[1]))]
  },
]

private func segment(
  _ name: String, in domain: ClosedRange<Double> = 0.5...1.5, order: Int = 2,
  _ build: @escaping @Sendable (Output, Output, Graph) throws -> Output
) -> GradientRow {
  GradientRow(name, [[[6]], [[6, 3]], [[6, 0]], [[6, 2, 2]]], in: domain, order: order) {
    graph, x in
    // One id is left out, one has a single row.
    let ids = try graph.constant([Int32(0), 0, 2, 2, 2, 3])
    return [try build(square(x[0]), ids, graph)]
  }
}

private func count(_ graph: Graph) throws -> Output { try graph.constant(Int32(4)) }

/// The same with ids in any order, in one of which rows are dropped, and no segment without rows:
/// the extreme of nothing is the lowest number, whose square is no number.
private func unsorted(
  _ name: String, _ build: @escaping @Sendable (Output, Output, Output) throws -> Output
) -> GradientRow {
  GradientRow(name, [[[7]], [[7, 3]], [[7, 0]], [[7, 2, 2]]], in: 0.5...1.5) { graph, x in
    let ids = try graph.constant([Int32(2), 0, -1, 2, 1, 3, 2])
    return [try build(square(x[0]), ids, count(graph))]
  }
}

private func sparse(
  _ name: String, order: Int,
  _ build: @escaping @Sendable (Output, Output, Output) throws -> Output
) -> GradientRow {
  GradientRow(name, [[[4]], [[4, 3]], [[4, 0]]], order: order) { graph, x in
    let indices = try graph.constant([Int32(3), 0, 0, 2, 1])
    let ids = try graph.constant([Int32(0), 0, 1, 1, 3])
    return [try build(square(x[0]), indices, ids)]
  }
}

let segmentRows: [GradientRow] = [
  unsorted("unsortedSegmentProd") { try unsortedSegmentProd($0, $1, count: $2) },
  unsorted("unsortedSegmentMax") { try square(unsortedSegmentMax($0, $1, count: $2)) },
  unsorted("unsortedSegmentMin") { try square(unsortedSegmentMin($0, $1, count: $2)) },
  GradientRow("unsortedSegmentSumOfPairs", [[[2, 3]], [[2, 3, 2]]]) { graph, x in
    let ids = try graph.constant([Int32(2), 0, 1, 2, 2, 0], shape: [2, 3])
    return [try square(unsortedSegmentSum(x[0], ids, count: count(graph)))]
  },
  segment("segmentSum") { x, ids, _ in try square(segmentSum(x, ids)) },
  segment("segmentMean") { x, ids, _ in try square(segmentMean(x, ids)) },
  segment("segmentProd") { x, ids, _ in try segmentProd(x, ids) },
  segment("segmentMax") { x, ids, _ in try square(segmentMax(x, ids)) },
  segment("segmentMin") { x, ids, _ in try square(segmentMin(x, ids)) },
  sparse("sparseSegmentSum", order: 2) { try square(sparseSegmentSum($0, $1, $2)) },
  // The gradient ops of these have no gradient themselves.
  sparse("sparseSegmentMean", order: 1) { try square(sparseSegmentMean($0, $1, $2)) },
  sparse("sparseSegmentSqrtN", order: 1) { try square(sparseSegmentSqrtN($0, $1, $2)) },
]

// One row for each differentiable op: how it is built, where its derivative exists, which shapes.

import TestSupport
import Testing
import WeftGraph
import WeftOps
import WeftTensors

/// A function of float64 tensors whose gradients are checked against finite differences.
struct GradientRow: Sendable, CustomTestStringConvertible {
  let name: String
  /// Each entry is one set of input shapes.
  let shapes: [[[Int]]]
  /// Where inputs are drawn from: away from kinks and poles.
  let domain: ClosedRange<Double>
  let order: Int
  let tolerance: Double
  /// The step of the finite differences.
  let step: Double
  let inputs: GradientInputs
  /// How far results may be from TensorFlow's, relative to their largest element.
  let reference: Double
  let build: @Sendable (Graph, [Output]) throws -> [Output]

  init(
    _ name: String, _ shapes: [[[Int]]], in domain: ClosedRange<Double> = -1.5...1.5,
    order: Int = 2, tolerance: Double = 1e-6, step: Double = 1e-5,
    inputs: GradientInputs = .placeholders, reference: Double = 1e-10,
    build: @escaping @Sendable (Graph, [Output]) throws -> [Output]
  ) {
    self.name = name
    self.shapes = shapes
    self.domain = domain
    self.order = order
    self.tolerance = tolerance
    self.step = step
    self.inputs = inputs
    self.reference = reference
    self.build = build
  }

  var testDescription: String { name }
}

/// Scalar, empty, one element, odd sizes.
let unaryShapes: [[[Int]]] = [
  [[]], [[0]], [[3, 0]], [[1]], [[7]], [[3, 5]], [[2, 3, 5]],
]
/// Equal, scalar, broadcast both ways, empty.
let binaryShapes: [[[Int]]] = [
  [[], []], [[7], [7]], [[3, 5], []], [[], [3, 5]], [[3, 1], [1, 5]], [[5], [3, 5]],
  [[2, 3, 5], [3, 1]], [[0, 5], [5]], [[1, 1], [4, 3]],
]

func unary(
  _ name: String, in domain: ClosedRange<Double> = -1.5...1.5, order: Int = 2,
  tolerance: Double = 1e-6, _ build: @escaping @Sendable (Output) throws -> Output
) -> GradientRow {
  GradientRow(name, unaryShapes, in: domain, order: order, tolerance: tolerance) { _, x in
    [try build(x[0])]
  }
}

func binary(
  _ name: String, in domain: ClosedRange<Double> = -1.5...1.5, order: Int = 2,
  _ build: @escaping @Sendable (Output, Output) throws -> Output
) -> GradientRow {
  GradientRow(name, binaryShapes, in: domain, order: order) { _, x in [try build(x[0], x[1])] }
}

let gradientRows: [GradientRow] =
  elementwiseRows + reductionRows + matmulRows + arrayGradientRows + networkRows
  + specialRows + trigonometryRows + quotientRows + activationRows + scanRows + segmentRows
  + productRows + factorRows + diagonalRows + orderRows + blockRows + scatterRows + partRows
  + convolutionRows + poolingRows + normalizationRows + variableRows + passRows
  + functionalRows + loopRows + listRows + arrayRows

let elementwiseRows: [GradientRow] = [
  binary("add") { try $0 + $1 },
  binary("sub") { try $0 - $1 },
  binary("mul") { try $0 * $1 },
  binary("div", in: 0.5...2) { try $0 / $1 },
  binary("pow", in: 0.5...2) { try pow($0, $1) },
  binary("maximum") { try maximum($0, $1) },
  binary("minimum") { try minimum($0, $1) },
  binary("squaredDifference") { try squaredDifference($0, $1) },
  binary("floorDiv", in: 0.6...0.9, order: 1) { try floorDiv($0, $1) * $0 },
  binary("floorMod", in: 0.6...0.9, order: 1) { try floorMod($0 * 1.3, $1) },
  unary("neg") { try -$0 },
  unary("abs", in: 0.2...2) { try abs($0) },
  unary("sign") { try sign($0) * $0 },
  unary("square") { try square($0) },
  unary("sqrt", in: 0.5...2) { try sqrt($0) },
  unary("rsqrt", in: 0.5...2) { try rsqrt($0) },
  unary("exp") { try exp($0) },
  unary("log", in: 0.5...2) { try log($0) },
  unary("tanh") { try tanh($0) },
  unary("sigmoid") { try sigmoid($0) },
  unary("softplus", order: 1) { try softplus($0) },
  unary("erf") { try erf($0) },
  unary("sin") { try sin($0) },
  unary("cos") { try cos($0) },
  unary("reciprocal", in: 0.5...2) { try reciprocal($0) },
  unary("floor", in: 0.2...0.8) { try floor($0) + $0 },
  unary("clip") { try clip($0, min: -0.7, max: 0.8) },
  unary("relu") { try relu($0) * $0 },
  unary("relu6", in: 0.5...5) { try relu6($0) },
  unary("elu") { try elu($0) },
  unary("selu") { try selu($0) },
  unary("leakyRelu") { try leakyRelu($0) * $0 },
  unary("identity") { try square(identity($0)) },
  unary("stopGradient") { x in try x * x - stopGradient(x) * 0 },
  unary("cast") { try square($0).cast(to: .float64) },
  binary("select") { a, b in try select(less(a, b), square(a) + b * 0, b * 2 + a * 0) },
]

let reductionRows: [GradientRow] = [
  GradientRow("sumAll", unaryShapes) { _, x in [try sum(square(x[0]))] },
  GradientRow("sumAxis", [[[3, 5]], [[0, 5]], [[3, 5, 2]]]) { _, x in
    [try sum(square(x[0]), axes: [0]), try sum(square(x[0]), axes: [-1], keepDims: true)]
  },
  GradientRow("meanAll", [[[]], [[1]], [[7]], [[3, 5]]]) { _, x in [try mean(square(x[0]))] },
  GradientRow("meanAxis", [[[3, 5]], [[2, 3, 5]]]) { _, x in
    [try mean(square(x[0]), axes: [1]), try mean(square(x[0]), axes: [0, 1], keepDims: true)]
  },
  GradientRow("max", [[[7]], [[3, 5]]]) { _, x in
    [try max(x[0]), try max(x[0], axes: [0])]
  },
  GradientRow("min", [[[7]], [[3, 5]]]) { _, x in [try min(x[0], axes: [-1], keepDims: true)] },
  GradientRow("prod", [[[4]], [[3, 4]]], in: 0.5...1.5) { _, x in
    [try prod(x[0]), try prod(x[0], axes: [0])]
  },
  GradientRow("l2Loss", unaryShapes) { _, x in [try l2Loss(x[0])] },
  GradientRow("addN", [[[3, 5], [3, 5], [3, 5]], [[], [], []]]) { _, x in
    [try square(addN(x))]
  },
  GradientRow("unsortedSegmentSum", [[[6, 3]], [[6]]]) { graph, x in
    let ids = try graph.constant([Int32(0), 2, 1, 2, -1, 0])
    return [try square(unsortedSegmentSum(x[0], ids, count: graph.constant(Int32(4))))]
  },
]

let matmulRows: [GradientRow] = [
  GradientRow(
    "matmul", [[[3, 4], [4, 5]], [[1, 1], [1, 1]], [[0, 4], [4, 5]], [[3, 0], [0, 5]]]
  ) {
    _, x in [try matmul(x[0], x[1])]
  },
  GradientRow("matmulTransposeA", [[[4, 3], [4, 5]]]) { _, x in
    [try matmul(x[0], x[1], transposeA: true)]
  },
  GradientRow("matmulTransposeB", [[[3, 4], [5, 4]]]) { _, x in
    [try matmul(x[0], x[1], transposeB: true)]
  },
  GradientRow("matmulTransposeBoth", [[[4, 3], [5, 4]]]) { _, x in
    [try matmul(x[0], x[1], transposeA: true, transposeB: true)]
  },
]

let arrayGradientRows: [GradientRow] = [
  GradientRow("reshape", [[[3, 4]], [[0, 4]]]) { _, x in [try square(x[0]).reshaped(to: [-1, 2])] },
  GradientRow("expandDims", unaryShapes) { _, x in [try square(x[0]).expandingDims(axis: 0)] },
  GradientRow("squeeze", [[[1, 3, 1]], [[1]]]) { _, x in [try square(x[0]).squeezed(axes: [0])] },
  GradientRow("transpose", [[[3, 4, 2]], [[0, 4, 2]]]) { _, x in
    [try square(x[0]).transposed(permutation: [2, 0, 1])]
  },
  GradientRow("concat", [[[2, 3], [4, 3]], [[0, 3], [4, 3]]]) { _, x in
    [try square(concat(x, axis: 0)), try concat([x[1], x[1]], axis: -1)]
  },
  GradientRow("stack", [[[3, 2], [3, 2]], [[], []]]) { _, x in [try square(stack(x, axis: 0))] },
  GradientRow("unstack", [[[3, 2]]]) { _, x in
    let parts = try unstack(x[0], axis: 0)
    return [try parts[0] * parts[2], parts[1]]
  },
  GradientRow("split", [[[4, 6]]]) { _, x in
    let parts = try split(x[0], count: 3, axis: 1)
    return [try parts[0] * parts[2]]
  },
  GradientRow("splitV", [[[4, 6]]]) { _, x in
    let parts = try split(x[0], sizes: [1, 3], axis: 0)
    return [try square(parts[1])]
  },
  GradientRow("slice", [[[4, 6]]]) { _, x in
    [try square(x[0]).sliced(begin: [1, 2], size: [2, -1])]
  },
  GradientRow("stridedSlice", [[[5, 6]]]) { _, x in
    [try square(x[0]).stridedSlice(begin: [4, 1], end: [0, 6], strides: [-2, 2])]
  },
  GradientRow("pad", [[[2, 3]]]) { _, x in [try square(x[0]).padded([[1, 0], [2, 1]])] },
  GradientRow("tile", [[[2, 3]], [[3]]]) { graph, x in
    let multiples = [Int32](repeating: 2, count: x[0].shape.rank ?? 0)
    return [try square(tile(x[0], multiples: graph.constant(multiples)))]
  },
  GradientRow("gather", [[[5, 3]], [[5]]]) { graph, x in
    [try square(gather(x[0], graph.constant([Int32(4), 0, 4, 2])))]
  },
  GradientRow("gatherAxis1", [[[3, 5]]]) { graph, x in
    [try square(gather(x[0], graph.constant([Int32(4), 0, 4, 2], shape: [2, 2]), axis: 1))]
  },
  GradientRow("broadcast", [[[3]], [[1, 3]], [[]]]) { graph, x in
    [try square(x[0].broadcast(to: graph.constant([Int32(2), 4, 3])))]
  },
  GradientRow("fill", [[[]]]) { graph, x in
    [try square(fill(dims: graph.constant([Int32(2), 3]), value: x[0]))]
  },
  GradientRow("zerosAndOnesLike", [[[3]]]) { _, x in
    [try x[0] * onesLike(x[0]) + zerosLike(x[0]) * x[0]]
  },
]

let networkRows: [GradientRow] = [
  GradientRow("biasAdd", [[[3, 4], [4]], [[0, 4], [4]], [[2, 3, 4], [4]]]) { _, x in
    [try square(biasAdd(x[0], x[1]))]
  },
  GradientRow("softmax", [[[3, 5]], [[1, 1]], [[5]]]) { _, x in [try softmax(x[0])] },
  GradientRow("logSoftmax", [[[3, 5]], [[1, 1]]]) { _, x in [try logSoftmax(x[0])] },
  GradientRow("sparseSoftmaxCrossEntropy", [[[4, 5]]]) { graph, x in
    let labels = try graph.constant([Int32(4), 0, 2, 2])
    return [try sparseSoftmaxCrossEntropy(labels: labels, logits: x[0])]
  },
  GradientRow("tanhGrad", [[[3, 4], [3, 4]]]) { _, x in [try tanhGrad(x[0], x[1])] },
  GradientRow("sigmoidGrad", [[[3, 4], [3, 4]]]) { _, x in [try sigmoidGrad(x[0], x[1])] },
]

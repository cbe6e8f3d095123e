// Gradient rows of network layers: convolutions, pooling, normalization, resizing, bias.

import TestSupport
import WeftGraph
import WeftOps
import WeftTensors

let convolutionRows: [GradientRow] = [
  GradientRow(
    "conv2D",
    [
      [[1, 1, 1, 1], [1, 1, 1, 1]], [[0, 4, 4, 2], [3, 3, 2, 3]], [[2, 4, 5, 2], [3, 2, 2, 3]],
    ]
  ) { _, x in
    [try conv2D(x[0], x[1])]
  },
  GradientRow("conv2DStrides", [[[1, 5, 6, 2], [3, 2, 2, 3]]]) { _, x in
    [try conv2D(x[0], x[1], strides: [2, 1], padding: .valid)]
  },
  GradientRow("conv2DDilations", [[[1, 6, 5, 2], [2, 2, 2, 2]]]) { _, x in
    [try conv2D(x[0], x[1], padding: .valid, dilations: [2, 1])]
  },
  GradientRow("conv2DExplicit", [[[1, 4, 4, 1], [3, 3, 1, 2]]]) { _, x in
    [try conv2D(x[0], x[1], strides: [2, 2], padding: .explicit([[1, 0], [2, 1]]))]
  },
  GradientRow("conv2DGroups", [[[1, 3, 3, 4], [2, 2, 2, 6]]]) { _, x in
    [try conv2D(x[0], x[1])]
  },
  GradientRow(
    "conv3D", [[[1, 1, 1, 1, 1], [1, 1, 1, 1, 1]], [[1, 3, 4, 3, 2], [2, 2, 3, 2, 2]]]
  ) { _, x in
    [try conv3D(x[0], x[1])]
  },
  GradientRow("conv3DStrides", [[[1, 4, 3, 5, 1], [2, 2, 2, 1, 2]]]) { _, x in
    [try conv3D(x[0], x[1], strides: [2, 1, 2], padding: .valid)]
  },
  GradientRow(
    "depthwise", [[[1, 1, 1, 1], [1, 1, 1, 1]], [[2, 4, 5, 3], [3, 2, 3, 2]]]
  ) { _, x in
    [try depthwiseConv2D(x[0], x[1])]
  },
  GradientRow("depthwiseStrides", [[[1, 5, 5, 2], [2, 2, 2, 1]]]) { _, x in
    [try depthwiseConv2D(x[0], x[1], strides: [2, 2], padding: .valid)]
  },
]

let poolingRows: [GradientRow] = [
  GradientRow("averagePool", [[[1, 1, 2, 1]], [[2, 5, 6, 3]], [[0, 4, 4, 1]]]) { _, x in
    [try averagePool(square(x[0]), window: [1, 2])]
  },
  GradientRow("averagePoolSame", [[[2, 5, 4, 3]]]) { _, x in
    [try averagePool(square(x[0]), window: [3, 2], strides: [2, 1], padding: .same)]
  },
  // The second derivative of max pooling is not defined here.
  GradientRow("maxPool", [[[1, 1, 2, 1]], [[2, 5, 6, 3]], [[0, 4, 4, 1]]], order: 1) { _, x in
    [try maxPool(square(x[0]), window: [1, 2])]
  },
  GradientRow("maxPoolSame", [[[2, 5, 4, 3]]], order: 1) { _, x in
    [try maxPool(x[0], window: [3, 2], strides: [2, 1], padding: .same)]
  },
  resized("ResizeNearestNeighbor", [[1, 2, 3, 2], [2, 4, 4, 1]]),
  resized("ResizeNearestNeighbor", [[1, 3, 2, 2]], ["half_pixel_centers": .bool(true)]),
  resized("ResizeNearestNeighbor", [[1, 3, 2, 2]], ["align_corners": .bool(true)]),
  resized("ResizeNearestNeighborGrad", [[1, 5, 6, 2]]),
  bilinear("resizeBilinear", [:]),
  bilinear("resizeBilinear half", ["half_pixel_centers": .bool(true)]),
  bilinear("resizeBilinear corners", ["align_corners": .bool(true)]),
]

private func resized(
  _ op: String, _ shapes: [[Int]], _ attrs: [String: AttrValue] = [:]
) -> GradientRow {
  let suffix = attrs.keys.sorted().map { " \($0)" }.joined()
  return GradientRow(op + suffix, shapes.map { [$0] }) { graph, x in
    let size = try graph.constant([Int32(3), 4])
    return [try graph.output(op, inputs: [square(x[0]), size], attrs: attrs)]
  }
}

private func bilinear(_ name: String, _ attrs: [String: AttrValue]) -> GradientRow {
  // Its result is float32 for any input, so differences carry that type's rounding: the function is
  // linear, so a wide step keeps their quotient exact to a few units of 2^-24.
  GradientRow(
    name, [[[1, 2, 3, 2]], [[2, 4, 4, 1]]], order: 1, tolerance: 1e-5, step: 0.25
  ) { graph, x in
    let size = try graph.constant([Int32(3), 5])
    let y = try graph.output("ResizeBilinear", inputs: [x[0], size], attrs: attrs)
    return [try y.cast(to: .float64)]
  }
}

// These have float32 kernels only. A step of 0.03 balances the rounding of differences (6e-8 / 0.03)
// against what the extrapolated differences leave out (0.03^4); both stay below 1e-4 of the terms.
private let singleStep = 0.03
private let singleTolerance = 2e-4
// TensorFlow adds up in another order: some units of 2^-24.
private let singleReference = 5e-6

private func batchNorm(_ name: String, _ op: String, isTraining: Bool) -> GradientRow {
  GradientRow(
    name, [[[2, 2, 3, 2], [2], [2]]], in: 0.5...1.5, order: 1, tolerance: singleTolerance,
    step: singleStep, reference: singleReference
  ) { graph, x in
    let single = try x.map { try $0.cast(to: .float32) }
    // Squared, since the sum of normalized numbers does not move.
    let statistics = [
      try graph.constant(isTraining ? [] : [Float(0.9), 1.1]),
      try graph.constant(isTraining ? [] : [Float(0.8), 0.5]),
    ]
    let y = try graph.output(
      op, inputs: single + statistics,
      attrs: ["epsilon": .float(0.01), "is_training": .bool(isTraining)])
    return [try square(y).cast(to: .float64)]
  }
}

let normalizationRows: [GradientRow] = [
  batchNorm("fusedBatchNorm", "FusedBatchNormV3", isTraining: true),
  batchNorm("fusedBatchNormInference", "FusedBatchNormV3", isTraining: false),
  batchNorm("fusedBatchNormV1", "FusedBatchNorm", isTraining: true),
  GradientRow(
    "localResponse", [[[1, 1, 1, 1]], [[1, 2, 2, 5]]], in: 0.5...1.5, order: 1,
    tolerance: singleTolerance, step: singleStep, reference: singleReference
  ) { _, x in
    let y = try localResponseNormalization(
      x[0].cast(to: .float32), radius: 1, bias: 1, alpha: 0.5, beta: 0.7)
    return [try y.cast(to: .float64)]
  },
  GradientRow("biasAddV1", [[[3, 4], [4]], [[0, 4], [4]], [[2, 3, 4], [4]]]) { graph, x in
    [try square(graph.output("BiasAddV1", inputs: x))]
  },
  GradientRow("biasAddChannelsFirst", [[[2, 3, 2, 2], [3]]]) { _, x in
    [try square(biasAdd(x[0], x[1], format: "NCHW"))]
  },
  GradientRow("biasAddGrad", [[[3, 4]], [[0, 4]], [[2, 3, 4]]]) { graph, x in
    [try square(graph.output("BiasAddGrad", inputs: [square(x[0])]))]
  },
  // Labels that sum to one: for others TensorFlow's gradient by the logits is not the derivative.
  // Its second derivative leaves the labels out, too.
  GradientRow("softmaxCrossEntropyLabels", [[[3, 4], [3, 4]], [[1, 1], [1, 1]]], order: 1) { _, x in
    [try softmaxCrossEntropy(labels: softmax(x[1]), logits: x[0])]
  },
  GradientRow("softmaxCrossEntropyLogits", [[[3, 4]]]) { graph, x in
    let labels = try graph.constant(
      [0.1, 0.2, 0.3, 0.4, 1, 0, 0, 0, 0.25, 0.25, 0.25, 0.25], shape: [3, 4])
    return [try softmaxCrossEntropy(labels: labels, logits: x[0])]
  },
]

// Gradient rows of ops that move elements: order, blocks, scattering, parts.

import TestSupport
import WeftGraph
import WeftOps
import WeftTensors

let orderRows: [GradientRow] = [
  GradientRow("reverse", [[[0, 2]], [[1, 1]], [[3, 5]], [[2, 3, 2]]]) { _, x in
    [try reversed(square(x[0]), axes: [0]), try reversed(square(x[0]), axes: [-1, 0])]
  },
  GradientRow("roll", [[[0, 2]], [[1, 1]], [[3, 5]], [[2, 3, 2]]]) { _, x in
    [try roll(square(x[0]), shifts: [4, -1], axes: [1, 0])]
  },
  GradientRow("reverseSequence", [[[3, 5]], [[3, 5, 2]], [[3, 4, 0]]]) { graph, x in
    [try reverseSequence(square(x[0]), lengths: graph.constant([Int64(0), 1, 4]))]
  },
  GradientRow("reverseSequenceAxes", [[[4, 3]], [[4, 3, 2]]]) { graph, x in
    let lengths = try graph.constant([Int32(2), 4, 3])
    return [try reverseSequence(square(x[0]), lengths: lengths, timeAxis: 0, batchAxis: 1)]
  },
  mirrored("MirrorPad", "REFLECT", [[[4, 3]], [[3, 5]]]),
  mirrored("MirrorPad", "SYMMETRIC", [[[4, 3]], [[2, 2]]]),
  mirrored("MirrorPadGrad", "REFLECT", [[[6, 5]], [[5, 7]]]),
  mirrored("MirrorPadGrad", "SYMMETRIC", [[[6, 5]], [[5, 7]]]),
  GradientRow("padValue", [[[0]], [[1]], [[3]]]) { graph, x in
    [try square(x[0]).padded([[1, 2]], value: graph.constant(0.5))]
  },
  GradientRow("concatV1", [[[2, 3], [2, 1]], [[0, 3], [0, 4]], [[2, 1, 2], [2, 3, 2]]]) {
    graph, x in
    let axis = try graph.constant(Int32(1))
    return [try graph.output("Concat", inputs: [axis] + x.map { try square($0) })]
  },
  GradientRow("topK", [[[5]], [[3, 5]], [[2, 3, 4]], [[0, 4]]]) { _, x in
    [try square(topK(x[0], k: 3).values)]
  },
  GradientRow("stridedSliceGrad", [[[3]], [[3, 2]]]) { graph, x in
    let shape = try graph.constant(x[0].shape.rank == 1 ? [Int32(6)] : [Int32(6), 2])
    let ranges = try [[Int32(1)], [Int32(6)], [Int32(2)]].map { try graph.constant($0) }
    return [
      try graph.output("StridedSliceGrad", inputs: [shape] + ranges + [square(x[0])])
    ]
  },
  GradientRow("stridedSliceMasks", [[[3, 4, 2]]]) { _, x in
    let masks = SliceMasks(begin: 1, end: 2, ellipsis: 0, newAxis: 4, shrinkAxis: 8)
    return [
      try square(x[0]).stridedSlice(
        begin: [1, 1, 0, 1], end: [2, 2, 0, 2], strides: [1, 1, 1, 1], masks: masks)
    ]
  },
]

private func mirrored(_ op: String, _ mode: String, _ shapes: [[[Int]]]) -> GradientRow {
  GradientRow("\(op) \(mode)", shapes) { graph, x in
    let paddings = try graph.constant([Int32(1), 1, 0, 2], shape: [2, 2])
    return [
      try graph.output(op, inputs: [square(x[0]), paddings], attrs: ["mode": .string(mode)])
    ]
  }
}

let blockRows: [GradientRow] = [
  GradientRow("spaceToDepth", [[[2, 4, 6, 3]], [[1, 2, 2, 1]], [[0, 2, 2, 1]]]) { _, x in
    [try spaceToDepth(square(x[0]), block: 2)]
  },
  GradientRow("depthToSpace", [[[2, 1, 3, 8]], [[1, 1, 1, 4]], [[0, 1, 1, 4]]]) { _, x in
    [try depthToSpace(square(x[0]), block: 2)]
  },
  GradientRow("spaceToBatch", [[[2, 3, 4]], [[1, 3, 2, 2]]]) { graph, x in
    let (block, pads) = (
      try graph.constant([Int32(2), 2]), try graph.constant([Int32(1), 0, 0, 2], shape: [2, 2])
    )
    return [try graph.output("SpaceToBatchND", inputs: [square(x[0]), block, pads])]
  },
  GradientRow("batchToSpace", [[[4, 2, 3]], [[8, 2, 2, 2]]]) { graph, x in
    let (block, crops) = (
      try graph.constant([Int32(2), 2]), try graph.constant([Int32(1), 0, 0, 2], shape: [2, 2])
    )
    return [try graph.output("BatchToSpaceND", inputs: [square(x[0]), block, crops])]
  },
]

private func pairs(_ graph: Graph) throws -> Output {
  try graph.constant([Int32(0), 1, 2, 0, 1, 1], shape: [3, 2])
}

private func scattered(
  _ op: String,
  _ shapes: [[[Int]]] = [[[3, 2], [3]], [[3, 2, 4], [3, 4]], [[3, 2, 0], [3, 0]]]
) -> GradientRow {
  GradientRow(op, shapes) { graph, x in
    [try square(graph.output(op, inputs: [square(x[0]), pairs(graph), square(x[1])]))]
  }
}

let scatterRows: [GradientRow] = [
  GradientRow("gatherNd", [[[3, 2]], [[3, 2, 4]], [[3, 2, 0]]]) { graph, x in
    [try square(gatherNd(x[0], pairs(graph)))]
  },
  GradientRow("gatherNdRows", [[[3]], [[3, 2]]]) { graph, x in
    let rows = try graph.constant([Int32(2), 0, 2], shape: [3, 1])
    return [try square(gatherNd(x[0], rows))]
  },
  GradientRow("gatherV1", [[[5]], [[5, 3]]]) { graph, x in
    let rows = try graph.constant([Int32(4), 0, 4])
    return [try square(graph.output("Gather", inputs: [x[0], rows]))]
  },
  GradientRow("gatherBatches", [[[2, 5]], [[2, 5, 3]]]) { graph, x in
    let rows = try graph.constant([Int32(4), 0, 4, 1], shape: [2, 2])
    return [try square(gather(x[0], rows, axis: 1, batchDims: 1))]
  },
  GradientRow("scatterNd", [[[3]], [[3, 4]], [[3, 0]]]) { graph, x in
    let rest = x[0].shape.known.map { $0.dropFirst().map { Int32($0) } } ?? []
    let shape = try graph.constant([Int32(3), 2] + rest)
    let places = try graph.constant([Int32(0), 1, 2, 0, 0, 1], shape: [3, 2])
    return [try square(scatterNd(places, square(x[0]), shape: shape))]
  },
  scattered("TensorScatterUpdate"),
  scattered("TensorScatterAdd"),
  scattered("TensorScatterSub"),
  scattered("TensorScatterMin"),
  scattered("TensorScatterMax"),
]

let partRows: [GradientRow] = [
  GradientRow("partition", [[[5]], [[5, 2]], [[5, 0]]]) { graph, x in
    let parts = try graph.constant([Int32(1), 0, 2, 1, 1])
    return try partition(square(x[0]), parts, count: 3)
  },
  GradientRow("stitch", [[[2], [3]], [[2, 2], [3, 2]]]) { graph, x in
    // Distinct places: to a row that is overwritten TensorFlow gives the gradient of the one that
    // stays, and so do we.
    let places = [try graph.constant([Int32(4), 0]), try graph.constant([Int32(1), 3, 2])]
    return [try stitch(places, x.map { try square($0) })]
  },
  GradientRow("parallelStitch", [[[2], [3]], [[2, 2], [3, 2]]]) { graph, x in
    let places = [try graph.constant([Int32(4), 0]), try graph.constant([Int32(1), 3, 2])]
    return [
      try graph.output("ParallelDynamicStitch", inputs: places + x.map { try square($0) })
    ]
  },
]

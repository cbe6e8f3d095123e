// Reference rows of shapes, choices, casts and random numbers.

import WeftGraph
import WeftOps
import WeftTensors

let shapeRows: [ReferenceRow] = [
  op("Shape", { try [doubles([1, 2, 3, 4, 5, 6], [2, 3])] }),
  op("Shape int64", { try [doubles([], [0, 3])] }, ["out_type": .type(.int64)]),
  op("ShapeN", { try [doubles([1, 2]), doubles([3], [1, 1])] }),
  op("Size", { try [doubles([1, 2, 3, 4, 5, 6], [2, 3])] }),
  op("Rank", { try [doubles([1, 2, 3, 4, 5, 6], [2, 3])] }),
  op("BroadcastArgs", { try [ints([2, 1, 3]), ints([4, 1])] }, fixed: 2),
  op("BroadcastGradientArgs", { try [ints([2, 1, 3]), ints([4, 1])] }, fixed: 2),
  op("ConcatOffset", { try [ints([1], []), ints([2, 3]), ints([2, 5])] }, fixed: 3),
  op("InvertPermutation", { try [ints([2, 0, 3, 1])] }),
  op("Range", { try [ints([3], []), ints([-5], []), ints([-2], [])] }, fixed: 3),
  op("Range float64", { try [doubles([0], []), doubles([1], []), doubles([0.3], [])] }, fixed: 3),
  op("LinSpace", { try [doubles([-1], []), doubles([2], []), ints([7], [])] }, fixed: 1),
  op(
    "OneHot", { try [longs([2, -1, 0, 5]), ints([3], []), doubles([1], []), doubles([-1], [])] },
    fixed: 3),
  op(
    "OneHot axis",
    { try [longs([2, 0], [2]), ints([3], []), doubles([1], []), doubles([0], [])] },
    fixed: 3, ["axis": .int(0)]),
  op("Fill int32", { try [ints([2, 3]), ints([7], [])] }, fixed: 2),
  op("ZerosLike int32", { try [ints([2, 3])] }),
  op("OnesLike bool", { try [bools([false])] }),
  op("Transpose int32", { try [ints([1, 2, 3, 4, 5, 6], [2, 3]), ints([1, 0])] }, fixed: 1),
  op("GatherV2 int64", { try [longs([5, 6, 7]), ints([2, 0]), ints([0], [])] }, fixed: 1),
  op("Slice int32", { try [ints([1, 2, 3, 4]), ints([1]), ints([2])] }, fixed: 2),
  op("Pad int32", { try [ints([1, 2]), ints([1, 2], [1, 2])] }, fixed: 1),
  op("Tile bool", { try [bools([true, false]), ints([3])] }, fixed: 1),
  op("GuaranteeConst", { try [doubles([1, 2])] }),
  op("PreventGradient", { try [doubles([1, 2])] }),
  ReferenceRow("order", { try [doubles([1, 2])] }) { graph, x in
    let nodes = [try noOp(graph), try graph.add("ControlTrigger")]
    return ReferenceRow.Run(steps: nodes, fetches: x)
  },
  ReferenceRow("guards", { try [doubles([1, 2])] }) { graph, x in
    let holds = try assertTrue(graph.constant(true), data: x)
    let shown = try graph.add(
      "PrintV2", inputs: [graph.constant(text: "")], attrs: ["end": .string("")])
    return ReferenceRow.Run(steps: [holds, shown], fetches: x)
  },
]

private let repeated: [Int32] = [4, 1, 4, 2, 1, 9]

let choiceRows: [ReferenceRow] = [
  op("Unique", { try [ints(repeated)] }),
  op("Unique int64", { try [longs([3, 3, -1])] }, ["out_idx": .type(.int64)]),
  op("UniqueV2", { try [ints([1, 2, 1, 2, 3, 4], [3, 2]), longs([0])] }, fixed: 1),
  op("UniqueWithCounts", { try [ints(repeated)] }),
  op("UniqueWithCountsV2", { try [ints([1, 2, 1, 2, 3, 4], [3, 2]), longs([0])] }, fixed: 1),
  op("ListDiff", { try [ints(repeated), ints([4, 7])] }),
  op("Where", { try [bools([true, false, true, true], [2, 2])] }),
  op("Where float64", { try [doubles([0, 0.5, -1, 0], [2, 2])] }),
  op(
    "DynamicPartition int32", { try [ints(repeated), ints([0, 1, 0, 1, 1, 0])] },
    ["num_partitions": .int(3)]),
]

private let numbers: [Double] = [-3.7, -0.5, 0, 0.5, 2.9, 127, 200.5]

let castRows: [ReferenceRow] =
  [DType.float32, .float16, .bfloat16, .int8, .int16, .int32, .int64, .bool].map { to in
    op(
      "Cast float64 to \(to.name)", { try [doubles(numbers.filter { abs($0) < 127.5 })] },
      ["DstT": .type(to)])
  }
  + [DType.float64, .float16, .int8, .uint8, .int64, .bool].map { to in
    op("Cast int32 to \(to.name)", { try [ints([-130, -1, 0, 3, 300])] }, ["DstT": .type(to)])
  } + [
    op("Cast bool to float64", { try [bools([true, false])] }, ["DstT": .type(.float64)]),
    op("Cast int64 to int32", { try [longs([1 << 33 + 5, -7])] }, ["DstT": .type(.int32)]),
    op("Bitcast", { try [doubles([1, -2.5])] }, ["type": .type(.int64)]),
    op("Bitcast narrow", { try [doubles([1, -2.5])] }, ["type": .type(.int32)]),
  ]

private func random(
  _ name: String, _ dtype: DType, tolerance: Double = 0
) -> ReferenceRow {
  op(
    "\(name) \(dtype.name)", { try [ints([3, 5])] }, fixed: 1,
    ["seed": .int(87_654_321), "seed2": .int(42), "dtype": .type(dtype)], tolerance: tolerance)
}

private let seeds: [String: AttrValue] = ["seed": .int(87_654_321), "seed2": .int(42)]
// Both programs draw the same bits; log, sin and cos of them differ in the last ones.
private let normalTolerance = 1e-6

let randomRows: [ReferenceRow] =
  [DType.float32, .float64].flatMap { dtype in
    [
      random("RandomUniform", dtype),
      random("RandomStandardNormal", dtype, tolerance: normalTolerance),
      random("TruncatedNormal", dtype, tolerance: normalTolerance),
    ]
  } + [
    op(
      "RandomUniformInt", { try [ints([3, 5]), ints([-3], []), ints([9], [])] }, fixed: 3, seeds),
    op("RandomShuffle", { try [ints([1, 2, 3, 4, 5, 6, 7])] }, seeds),
    op(
      "Multinomial", { try [drawnFloats([2, 4]), ints([6], [])] }, fixed: 1, seeds),
    op(
      "RandomGamma", { try [ints([4]), doubles([0.5, 2.5])] }, fixed: 2, seeds,
      tolerance: normalTolerance),
    op("StatelessRandomUniform", { try [ints([3, 5]), longs([7, -9])] }, fixed: 2),
    op(
      "StatelessRandomNormal", { try [ints([3, 5]), longs([7, -9])] }, fixed: 2,
      ["dtype": .type(.float64)], tolerance: normalTolerance),
    op("StatelessRandomGetKeyCounter", { try [longs([7, -9])] }),
    ReferenceRow("StatelessRandomV2", tolerance: normalTolerance) { graph, _ in
      let seed = try graph.constant([Int64(7), -9])
      let (shape, algorithm) = (try graph.constant([Int32(3), 5]), try graph.constant(Int32(1)))
      let key = try graph.add("StatelessRandomGetKeyCounter", inputs: [seed])
      let inputs = [shape] + all(key, graph) + [algorithm]
      return ReferenceRow.Run(fetches: [
        try graph.output("StatelessRandomUniformV2", inputs: inputs),
        try graph.output("StatelessRandomNormalV2", inputs: inputs),
      ])
    },
  ]

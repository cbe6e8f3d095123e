// Reference rows of math without a gradient: rounding, integers, comparisons, counts, cells.

import WeftGraph
import WeftOps
import WeftTensors

private let edges: [Double] = [
  -2.5, -1.5, -0.5, 0, 0.5, 1.5, 2.5, -0.0, 3.7, -3.7, .infinity, -.infinity, .nan,
]

let roundingRows: [ReferenceRow] =
  ["Ceil", "Floor", "Round", "Rint", "Sign", "IsNan", "IsInf", "IsFinite"].map { name in
    op(name, { try [doubles(edges)] })
  } + [
    op("Round int32", { try [ints([-2, 0, 7])] }),
    op("Sign int32", { try [ints([-2, 0, 7])] }),
    op("Sign int8", { try [Tensor([Int8(-128), 0, 7, -1, 127])] }),
    op("Sign int64", { try [longs([-2, 0, 7])] }),
    op("Neg int16", { try [Tensor([Int16(-300), 0, 7])] }),
    op("Square int8", { try [Tensor([Int8(-11), 0, 7])] }),
    op("Round int64", { try [longs([-2, 0, 7])] }),
    op("Abs int32", { try [ints([-2, 0, 7])] }),
    op("Mod float64", { try [doubles([7.5, -7.5, 7.5, -7.5]), doubles([2, 2, -2, -2])] }),
    op("FloorMod float64", { try [doubles([7.5, -7.5, 7.5, -7.5]), doubles([2, 2, -2, -2])] }),
    op("TruncateMod float64", { try [doubles([7.5, -7.5]), doubles([-2, 2])] }),
    op("FloorDiv float64", { try [doubles([7.5, -7.5]), doubles([-2, -2])] }),
  ]

private let signed: [Int32] = [7, -7, 7, -7, 6, 0]
private let divisors: [Int32] = [2, 2, -2, -2, 3, 5]
private let bits: [Int32] = [0, 1, -1, 12, 1 << 30, -7]

let integerRows: [ReferenceRow] =
  ["Mod", "FloorMod", "TruncateMod", "TruncateDiv", "FloorDiv", "Div", "Mul", "Sub", "AddV2"].map {
    op("\($0) int32", { try [ints(signed), ints(divisors)] })
  }
  + ["Maximum", "Minimum", "SquaredDifference", "BitwiseAnd", "BitwiseOr", "BitwiseXor"].map {
    op("\($0) int32", { try [ints(bits), ints([3])] })
  } + [
    op("LeftShift", { try [ints([1, -1, 5]), ints([0, 3, 7])] }),
    op("RightShift", { try [ints([1 << 20, -64, 5]), ints([4, 3, 1])] }),
    op("Invert", { try [ints(bits)] }),
    op("Pow int32", { try [ints([2, -3, 0, 5]), ints([10, 3, 0, 0])] }),
    op("Sum int32", { try [ints(signed, [2, 3]), ints([1])] }, fixed: 1),
    op("Prod int32", { try [ints(signed, [2, 3]), ints([0])] }, fixed: 1),
    op("Mean int32", { try [ints(signed, [2, 3]), ints([1])] }, fixed: 1),
    op("Max int64", { try [longs([3, -4, 9, 2], [2, 2]), ints([0])] }, fixed: 1),
    op("Cumsum int64", { try [longs([3, -4, 9, 2]), ints([0], [])] }, fixed: 1),
    op("MatMul int32", { try [ints([1, 2, 3, 4], [2, 2]), ints([5, 6, 7, 8], [2, 2])] }),
  ]

let comparisonRows: [ReferenceRow] =
  ["Equal", "NotEqual", "Less", "LessEqual", "Greater", "GreaterEqual"].flatMap { name in
    [
      op(name, { try [doubles(edges, [13, 1]), doubles([0, -0.5, .nan, .infinity])] }),
      op("\(name) int64", { try [longs([-3, 0, 4]), longs([0])] }),
    ]
  }
  + ["LogicalAnd", "LogicalOr"].map { name in
    op(name, { try [bools([true, false], [2, 1]), bools([true, false])] })
  } + [
    op("LogicalNot", { try [bools([true, false])] }),
    op("Equal bool", { try [bools([true, false], [2, 1]), bools([true, false])] }),
    op(
      "ApproximateEqual", { try [doubles([1, 2, 3]), doubles([1.05, 2.2, 3])] },
      ["tolerance": .float(0.1)]),
    op("All", { try [bools([true, true, false, true], [2, 2]), ints([1])] }, fixed: 1),
    op("Any", { try [bools([false, false, false, true], [2, 2]), ints([0])] }, fixed: 1),
    op("All empty", { try [bools([], [0, 2]), ints([0])] }, fixed: 1),
    op("ArgMax", { try [doubles([1, 5, 5, -2, -2, -2], [2, 3]), ints([1], [])] }, fixed: 1),
    op("ArgMin", { try [doubles([1, 5, 5, -2, -2, -3], [2, 3]), ints([0], [])] }, fixed: 1),
    op(
      "ArgMax int32", { try [ints([1, 5, 5]), ints([0], [])] }, fixed: 1,
      ["output_type": .type(.int32)]
    ),
    op("SelectV2 int32", { try [bools([true, false], [2, 1]), ints([1, 2]), ints([5])] }),
    op("ClipByValue int32", { try [ints([-4, 0, 9]), ints([-1], []), ints([3], [])] }),
    op(
      "InTopK", { try [floats([0.1, 0.7, 0.7, 0.2, 0.3, 0.1], [2, 3]), ints([2, 2])] },
      ["k": .int(2)]),
    op(
      "InTopKV2",
      { try [floats([0.1, 0.7, 0.7, 0.2, 0.3, 0.1], [2, 3]), ints([2, 2]), ints([1], [])] }),
    op("TopKV2 ties", { try [doubles([1, 5, 5, -2, 7, 7], [2, 3]), ints([2], [])] }, fixed: 1),
  ]

let countingRows: [ReferenceRow] = [
  op("Bincount", { try [ints([0, 3, 3, 9, 1]), ints([5], []), doubles([])] }, fixed: 2),
  op(
    "Bincount weights", { try [ints([0, 3, 3]), ints([5], []), doubles([0.5, 1, 2])] }, fixed: 2),
  op(
    "HistogramFixedWidth",
    { try [doubles([-1, 0, 0.3, 0.5, 2]), doubles([0, 1]), ints([4], [])] },
    fixed: 1),
  op(
    "Bucketize", { try [doubles([-1, 0, 0.3, 1, 2])] },
    ["boundaries": .list([.float(0), .float(0.5), .float(1)])]),
  op(
    "LowerBound",
    { try [doubles([0, 1, 1, 3, 2, 4, 6, 8], [2, 4]), doubles([1, 5, 4, 9], [2, 2])] }),
  op(
    "UpperBound",
    { try [doubles([0, 1, 1, 3, 2, 4, 6, 8], [2, 4]), doubles([1, 5, 4, 9], [2, 2])] }),
  op(
    "UnsortedSegmentSum int32", { try [ints([1, 2, 3]), ints([1, -1, 1]), ints([3], [])] }, fixed: 1
  ),
  op(
    "UnsortedSegmentMax empty", { try [doubles([1, 2]), ints([2, 2]), ints([3], [])] }, fixed: 1),
  op("SegmentMax gap", { try [doubles([1, 2, 3]), ints([1, 1, 3])] }),
  op("SegmentProd gap", { try [doubles([1, 2, 3]), ints([1, 1, 3])] }),
  op(
    "SparseSegmentSumGrad",
    { try [drawn([2, 3]), ints([0, 2, 2]), ints([0, 0, 1]), ints([4], [])] }, fixed: 1),
  op(
    "SparseSoftmaxCrossEntropyWithLogits float32",
    { try [drawnFloats([3, 4]), longs([3, 0, 1])] }, tolerance: 1e-6),
  op(
    "MaxPoolWithArgmax", { try [drawnFloats([1, 4, 4, 2])] },
    [
      "ksize": .ints([1, 2, 2, 1]), "strides": .ints([1, 2, 2, 1]), "padding": .string("VALID"),
    ]),
]

// Their kernels are float32 only, and exp and tanh differ in the last bits.
private let cellTolerance = 2e-6

let cellRows: [ReferenceRow] = [
  op(
    "LSTMBlockCell",
    {
      try [
        drawnFloats([2, 3]), drawnFloats([2, 4], seed: 6), drawnFloats([2, 4], seed: 7),
        drawnFloats([7, 16], seed: 8), drawnFloats([4], seed: 9), drawnFloats([4], seed: 10),
        drawnFloats([4], seed: 11),
        drawnFloats([16], seed: 12),
      ]
    }, ["use_peephole": .bool(true)], tolerance: cellTolerance),
  op(
    "LSTMBlockCell clip",
    {
      try [
        drawnFloats([2, 3]), drawnFloats([2, 4], seed: 6), drawnFloats([2, 4], seed: 7),
        drawnFloats([7, 16], seed: 8), drawnFloats([4], seed: 9), drawnFloats([4], seed: 10),
        drawnFloats([4], seed: 11),
        drawnFloats([16], seed: 12),
      ]
    }, ["cell_clip": .float(0.3), "forget_bias": .float(0)], tolerance: cellTolerance),
  op(
    "GRUBlockCell",
    {
      try [
        drawnFloats([2, 3]), drawnFloats([2, 4], seed: 6), drawnFloats([7, 8], seed: 7),
        drawnFloats([7, 4], seed: 8),
        drawnFloats([8], seed: 9), drawnFloats([4], seed: 10),
      ]
    }, tolerance: cellTolerance),
]

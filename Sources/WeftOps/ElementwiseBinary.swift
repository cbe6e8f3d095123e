// Sums, differences, products, the larger and the smaller of two operands.

public import WeftGraph
internal import WeftKernels
internal import WeftTensors

// x + y under its older name, which also joins strings.
let legacyAddRow: OpDef = OpDef(
  "Add", "x: T, y: T -> z: T",
  "T: {bfloat16, half, float, double, uint8, int8, int16, int32, int64, complex64, complex128, string}",
  summary: "x + y, or two strings joined.", traits: .elementwise,
  infer: { ctx in [try ctx.broadcast(0, 1)] },
  value: integerValue { exact($0.addingReportingOverflow($1)) },
  gradient: .rule { g in
    let dy = try g.gradient()
    return try unbroadcast(g, dy, dy)
  },
  lowering: .kernel { ctx in
    guard ctx.dtype(0) == .string else {
      return try ctx.elementwise("add", BinaryFunction.add.row(ctx.dtype(0)))
    }
    let shape = ctx.outputShape(0)
    let plan = BroadcastPlan(inputs: [ctx.shape(0), ctx.shape(1)], output: shape)
    let (left, right) = (plan.indices(0), plan.indices(1))
    return Kernel("addString") { call in
      let (a, b) = (try stringInput(call, 0).strings, try stringInput(call, 1).strings)
      let joined = zip(left, right).map { a[$0] + b[$1] }
      call.setObject(try Tensor(strings: joined, shape: shape), output: 0)
    }
  })

// dy where `first` holds, to the first operand; the rest to the second.
private func choiceGradient(_ g: GradientContext, _ first: Output) throws -> (Output?, Output?) {
  let dy = try g.gradient()
  let zeros = try zerosLike(dy)
  return (try select(first, dy, zeros), try select(first, zeros, dy))
}

let addRow: OpDef = binaryRow(
  "AddV2", .add,
  "bfloat16, half, float, double, int8, int16, int32, int64, uint8, uint16, uint32, uint64, complex64, complex128",
  traits: .commutative, summary: "x + y.",
  value: integerValue { exact($0.addingReportingOverflow($1)) }
) { g in
  let dy = try g.gradient()
  return (dy, dy)
}

let subtractRow: OpDef = binaryRow(
  "Sub", .subtract,
  "bfloat16, half, float, double, int8, int16, int32, int64, uint8, uint16, uint32, uint64, complex64, complex128",
  summary: "x - y.", value: integerValue { exact($0.subtractingReportingOverflow($1)) }
) { g in
  let dy = try g.gradient()
  return (dy, try -dy)
}

let multiplyRow: OpDef = binaryRow(
  "Mul", .multiply,
  "bfloat16, half, float, double, int8, int16, int32, int64, uint8, uint16, uint32, uint64, complex64, complex128",
  traits: .commutative, summary: "x * y.",
  value: integerValue { exact($0.multipliedReportingOverflow(by: $1)) }
) { g in
  let dy = try g.gradient()
  return (try dy * g.input(1), try g.input(0) * dy)
}

let multiplyNoNanRow: OpDef = binaryRow(
  "MulNoNan", .multiplyNoNan, "bfloat16, half, float, double, complex64, complex128",
  summary: "x * y, and 0 where y is 0."
) { g in
  let dy = try g.gradient()
  return (try multiplyNoNan(dy, g.input(1)), try multiplyNoNan(g.input(0), dy))
}

/// x * y, and 0 where y is 0, even for infinite or NaN x. Gradients: dy * y, x * dy, by the same rule (TensorFlow: `MulNoNan`).
public func multiplyNoNan(
  _ x: Output, _ y: Output, name: String? = nil, file: StaticString = #fileID,
  line: UInt = #line
) throws -> Output { try multiplyNoNanRow.node([x, y], name, file, line) }

let squaredDifferenceRow: OpDef = binaryRow(
  "SquaredDifference", .squaredDifference,
  "bfloat16, half, float, double, int32, int64, complex64, complex128",
  traits: .commutative, summary: "(x - y)^2."
) { g in
  let dx = try 2.0 * g.gradient() * (g.input(0) - g.input(1))
  return (dx, try -dx)
}

/// (x - y)^2, elementwise with broadcasting. Gradients: 2 dy (x - y) and its negative (TensorFlow: `SquaredDifference`).
public func squaredDifference(
  _ x: Output, _ y: Output, name: String? = nil, file: StaticString = #fileID,
  line: UInt = #line
) throws -> Output { try squaredDifferenceRow.node([x, y], name, file, line) }

let maximumRow: OpDef = binaryRow(
  "Maximum", .maximum,
  "bfloat16, half, float, double, int8, int16, int32, int64, uint8, uint16, uint32, uint64",
  summary: "The larger of x and y.", value: integerValue { Swift.max($0, $1) }
) { g in
  try choiceGradient(g, greaterEqual(g.input(0), g.input(1)))
}

/// The larger of x and y, elementwise with broadcasting; NaN when either is. The gradient goes to the
/// larger one, on a tie to x (TensorFlow: `Maximum`).
public func maximum(
  _ x: Output, _ y: Output, name: String? = nil, file: StaticString = #fileID,
  line: UInt = #line
) throws -> Output { try maximumRow.node([x, y], name, file, line) }

let minimumRow: OpDef = binaryRow(
  "Minimum", .minimum,
  "bfloat16, half, float, double, int8, int16, int32, int64, uint8, uint16, uint32, uint64",
  summary: "The smaller of x and y.", value: integerValue { Swift.min($0, $1) }
) { g in
  try choiceGradient(g, lessEqual(g.input(0), g.input(1)))
}

/// The smaller of x and y, elementwise with broadcasting; NaN when either is. The gradient goes to
/// the smaller one, on a tie to x (TensorFlow: `Minimum`).
public func minimum(
  _ x: Output, _ y: Output, name: String? = nil, file: StaticString = #fileID,
  line: UInt = #line
) throws -> Output { try minimumRow.node([x, y], name, file, line) }

let binaryRows = [
  addRow, subtractRow, multiplyRow, multiplyNoNanRow, squaredDifferenceRow, maximumRow, minimumRow,
  legacyAddRow,
]

// Division of every kind, and reciprocals.

public import WeftGraph
internal import WeftKernels
internal import WeftTensors

private func truncatedQuotient(_ x: Int, _ y: Int) -> Int? {
  y == 0 ? nil : exact(x.dividedReportingOverflow(by: y))
}

private func floorQuotient(_ x: Int, _ y: Int) -> Int? {
  guard y != 0, let q = exact(x.dividedReportingOverflow(by: y)) else { return nil }
  return q * y != x && (x < 0) != (y < 0) ? q - 1 : q
}

let realDivideRow: OpDef = binaryRow(
  "RealDiv", .divide,
  "bfloat16, half, float, double, int8, int16, int32, int64, uint8, uint16, uint32, uint64, complex64, complex128",
  summary: "x / y.", value: integerValue { truncatedQuotient($0, $1) }, fault: divisionByZero
) { g in
  let dy = try g.gradient()
  return (
    try dy / g.input(1), try dy * ((-g.input(0)) / g.input(1) / g.input(1))
  )
}

let divideRow: OpDef = binaryRow(
  "Div", .divide,
  "bfloat16, half, float, double, int8, int16, int32, int64, uint8, uint16, uint32, uint64, complex64, complex128",
  summary: "x / y; integers towards zero.", value: integerValue { truncatedQuotient($0, $1) },
  fault: divisionByZero
) { g in
  let dy = try g.gradient()
  return (
    try divide(dy, g.input(1)), try dy * divide(divide(-g.input(0), g.input(1)), g.input(1))
  )
}

/// x / y, elementwise with broadcasting; integers are divided towards zero.
///
/// Gradients: dy / y and -dy x / y^2. An integer divided by zero is an error (TensorFlow: `Div`).
public func divide(
  _ x: Output, _ y: Output, name: String? = nil, file: StaticString = #fileID,
  line: UInt = #line
) throws -> Output { try divideRow.node([x, y], name, file, line) }

let divideNoNanRow: OpDef = binaryRow(
  "DivNoNan", .divideNoNan, "bfloat16, half, float, double, complex64, complex128",
  summary: "x / y, and 0 where y is 0."
) { g in
  let dy = try g.gradient()
  return (
    try divideNoNan(dy, g.input(1)),
    try dy * divideNoNan(divideNoNan(-g.input(0), g.input(1)), g.input(1))
  )
}

/// x / y, elementwise with broadcasting, and 0 where y is 0.
///
/// Gradients: dy / y and -dy x / y^2, by the same rule (TensorFlow: `DivNoNan`).
public func divideNoNan(
  _ x: Output, _ y: Output, name: String? = nil, file: StaticString = #fileID,
  line: UInt = #line
) throws -> Output { try divideNoNanRow.node([x, y], name, file, line) }

let floorDivideRow: OpDef = binaryRow(
  "FloorDiv", .floorDivide,
  "bfloat16, half, float, double, int8, int16, int32, int64, uint8, uint16, uint32, uint64, complex64, complex128",
  summary: "x / y rounded towards minus infinity.", value: integerValue { floorQuotient($0, $1) },
  fault: divisionByZero,
  rule: .zero)

/// x / y rounded towards minus infinity, elementwise with broadcasting.
///
/// The gradient is zero. An integer divided by zero is an error (TensorFlow: `FloorDiv`).
public func floorDiv(
  _ x: Output, _ y: Output, name: String? = nil, file: StaticString = #fileID,
  line: UInt = #line
) throws -> Output { try floorDivideRow.node([x, y], name, file, line) }

let floorRemainderRow: OpDef = binaryRow(
  "FloorMod", .floorRemainder,
  "bfloat16, half, float, double, int8, int16, int32, int64, uint8, uint16, uint32, uint64",
  summary: "What floor division leaves.",
  value: integerValue { x, y in floorQuotient(x, y).map { x - $0 * y } }, fault: divisionByZero
) { g in
  let dy = try g.gradient()
  return (dy, try dy * -floorDiv(g.input(0), g.input(1)))
}

/// What floor division leaves: x - floor(x / y) y, with the sign of y, elementwise with broadcasting.
///
/// Gradients: dy and -dy floor(x / y). An integer divided by zero is an error (TensorFlow: `FloorMod`).
public func floorMod(
  _ x: Output, _ y: Output, name: String? = nil, file: StaticString = #fileID,
  line: UInt = #line
) throws -> Output { try floorRemainderRow.node([x, y], name, file, line) }

let remainderRow: OpDef = binaryRow(
  "Mod", .truncatingRemainder, "int32, int64, half, bfloat16, float, double",
  summary: "What division towards zero leaves.", fault: divisionByZero,
  rule: .none("TensorFlow defines none"))

/// What division towards zero leaves, with the sign of x, elementwise with broadcasting.
///
/// An integer divided by zero is an error (TensorFlow: `Mod`).
public func remainder(
  _ x: Output, _ y: Output, name: String? = nil, file: StaticString = #fileID,
  line: UInt = #line
) throws -> Output { try remainderRow.node([x, y], name, file, line) }

let truncatedRemainderRow: OpDef = binaryRow(
  "TruncateMod", .truncatingRemainder, "int32, int64, bfloat16, half, float, double",
  summary: "What division towards zero leaves.", fault: divisionByZero,
  rule: .none("TensorFlow defines none"))

/// What division towards zero leaves, with the sign of x, elementwise with broadcasting.
///
/// An integer divided by zero is an error (TensorFlow: `TruncateMod`).
public func truncatedRemainder(
  _ x: Output, _ y: Output, name: String? = nil, file: StaticString = #fileID,
  line: UInt = #line
) throws -> Output { try truncatedRemainderRow.node([x, y], name, file, line) }

let truncatedDivideRow: OpDef = OpDef(
  "TruncateDiv", "x: T, y: T -> z: T",
  "T: {bfloat16, half, float, double, uint8, int8, uint16, int16, int32, uint32, uint64, int64, complex64, complex128}",
  summary: "x / y rounded towards zero.", traits: .elementwise,
  infer: { ctx in [try ctx.broadcast(0, 1)] },
  value: integerValue { truncatedQuotient($0, $1) }, gradient: .zero,
  lowering: .kernel { ctx in
    guard ctx.dtype(0).isInteger else { throw ctx.unsupported(ctx.dtype(0)) }
    return try ctx.elementwise(
      "truncateDivide", BinaryFunction.divide.row(ctx.dtype(0)), fault: divisionByZero)
  })

/// x / y rounded towards zero, for integers, elementwise with broadcasting.
///
/// The gradient is zero. Division by zero is an error (TensorFlow: `TruncateDiv`).
public func truncatedDivide(
  _ x: Output, _ y: Output, name: String? = nil, file: StaticString = #fileID,
  line: UInt = #line
) throws -> Output { try truncatedDivideRow.node([x, y], name, file, line) }

private func reciprocal(_ name: String) -> OpDef {
  OpDef(
    name, "x: T -> y: T",
    "T: {bfloat16, half, float, double, int8, int16, int32, int64, complex64, complex128}",
    summary: "1 / x.", traits: .elementwise, infer: { ctx in [ctx.shape(0)] },
    gradient: .rule { g in [.dense(try reciprocalGrad(g.output(), g.gradient()))] },
    lowering: .kernel { ctx in
      let dtype = ctx.dtype(0)
      guard dtype.isInteger else {
        return try ctx.elementwise("reciprocal", UnaryFunction.reciprocal.row(dtype))
      }
      guard let row = UnaryFunction.reciprocal.row(dtype) else { throw ctx.unsupported(dtype) }
      let (count, size, failure) = (ctx.count(0), dtype.byteSize, ctx.error(divisionByZero.text))
      return Kernel(ctx.kernelName("reciprocal", dtype), inPlace: [[0]], flops: count) { call in
        if IntegerFault.zero.first(call.rawInput(0), count: count, dtype: dtype) != nil {
          throw failure
        }
        runUnary(
          call.rawInput(0), call.rawOutput(0), count: count, inputSize: size, outputSize: size,
          pool: call.pool, row: row)
      }
    })
}

let reciprocalRow: OpDef = reciprocal("Reciprocal")
let inverseRow: OpDef = reciprocal("Inv")

/// 1 / x, elementwise. The gradient is -dy y^2 (TensorFlow: `Reciprocal`).
public func reciprocal(
  _ x: Output, name: String? = nil, file: StaticString = #fileID, line: UInt = #line
) throws -> Output { try reciprocalRow.node([x], name, file, line) }

let divisionRows = [
  realDivideRow, divideRow, divideNoNanRow, floorDivideRow, floorRemainderRow, remainderRow,
  truncatedRemainderRow, truncatedDivideRow, reciprocalRow, inverseRow,
]

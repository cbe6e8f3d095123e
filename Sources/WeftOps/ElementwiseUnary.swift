// Arithmetic and rounding of one operand.

public import WeftGraph
internal import WeftKernels

let absRow: OpDef = unaryRow(
  "Abs", .absolute, "bfloat16, half, float, double, int8, int16, int32, int64",
  summary: "|x|.",
  value: integerValue { $0 == Int.min ? nil : Swift.abs($0) }
) { g in try g.gradient() * sign(g.input(0)) }

/// |x|, elementwise.
///
/// The gradient is dy * sign(x). The smallest integer stays itself (TensorFlow: `Abs`).
public func abs(
  _ x: Output, name: String? = nil, file: StaticString = #fileID, line: UInt = #line
) throws -> Output { try absRow.node([x], name, file, line) }

let negateRow: OpDef = unaryRow(
  "Neg", .negate, "bfloat16, half, float, double, int8, int16, int32, int64, complex64, complex128",
  summary: "-x.",
  value: integerValue { exact((0).subtractingReportingOverflow($0)) }
) { g in try -g.gradient() }

/// -x, elementwise; the same as `-x`. The gradient is -dy (TensorFlow: `Neg`).
public func negate(
  _ x: Output, name: String? = nil, file: StaticString = #fileID, line: UInt = #line
) throws -> Output { try negateRow.node([x], name, file, line) }

let signRow: OpDef = unaryRow(
  "Sign", .sign, "bfloat16, half, float, double, int8, int16, int32, int64, complex64, complex128",
  summary: "-1, 0 or 1 after the sign of x.",
  value: integerValue { $0.signum() }
) { g in try zerosLike(g.input(0)) }

/// -1, 0 or 1 after the sign of x, elementwise; NaN stays NaN. The gradient is zero (TensorFlow: `Sign`).
public func sign(
  _ x: Output, name: String? = nil, file: StaticString = #fileID, line: UInt = #line
) throws -> Output { try signRow.node([x], name, file, line) }

let squareRow: OpDef = unaryRow(
  "Square", .square,
  "bfloat16, half, float, double, int8, int16, int32, int64, uint8, uint16, uint32, uint64, complex64, complex128",
  summary: "x * x.",
  value: integerValue { exact($0.multipliedReportingOverflow(by: $0)) }
) { g in try g.gradient() * (g.input(0) * 2.0) }

/// x * x, elementwise. The gradient is dy * 2x (TensorFlow: `Square`).
public func square(
  _ x: Output, name: String? = nil, file: StaticString = #fileID, line: UInt = #line
) throws -> Output { try squareRow.node([x], name, file, line) }

let squareRootRow: OpDef = unaryRow(
  "Sqrt", .squareRoot, "bfloat16, half, float, double, complex64, complex128", cost: 4,
  summary: "The square root of x."
) { g in try squareRootGrad(g.output(), g.gradient()) }

/// The square root of x, elementwise; NaN below zero. The gradient is dy / 2y (TensorFlow: `Sqrt`).
public func sqrt(
  _ x: Output, name: String? = nil, file: StaticString = #fileID, line: UInt = #line
) throws -> Output { try squareRootRow.node([x], name, file, line) }

let reciprocalSquareRootRow: OpDef = unaryRow(
  "Rsqrt", .reciprocalSquareRoot, "bfloat16, half, float, double, complex64, complex128", cost: 4,
  summary: "1 / sqrt(x)."
) { g in try reciprocalSquareRootGrad(g.output(), g.gradient()) }

/// 1 / sqrt(x), elementwise; infinite at zero. The gradient is -dy y^3 / 2 (TensorFlow: `Rsqrt`).
public func rsqrt(
  _ x: Output, name: String? = nil, file: StaticString = #fileID, line: UInt = #line
) throws -> Output { try reciprocalSquareRootRow.node([x], name, file, line) }

let floorRow: OpDef = unaryRow(
  "Floor", .floor, "bfloat16, half, float, double",
  summary: "The largest integer not above x.", rule: .zero)

/// The largest integer not above x, elementwise. The gradient is zero (TensorFlow: `Floor`).
public func floor(
  _ x: Output, name: String? = nil, file: StaticString = #fileID, line: UInt = #line
) throws -> Output { try floorRow.node([x], name, file, line) }

let ceilRow: OpDef = unaryRow(
  "Ceil", .ceil, "bfloat16, half, float, double",
  summary: "The smallest integer not below x.", rule: .zero)

/// The smallest integer not below x, elementwise. The gradient is zero (TensorFlow: `Ceil`).
public func ceil(
  _ x: Output, name: String? = nil, file: StaticString = #fileID, line: UInt = #line
) throws -> Output { try ceilRow.node([x], name, file, line) }

let roundRow: OpDef = unaryRow(
  "Round", .roundHalfEven,
  "bfloat16, half, float, double, int8, int16, int32, int64, complex64, complex128",
  summary: "x rounded to the nearest integer, ties to even.", rule: .zero)

/// x rounded to the nearest integer, ties to even; of integers 0, as TensorFlow's kernel gives. The gradient is zero (TensorFlow: `Round`).
public func round(
  _ x: Output, name: String? = nil, file: StaticString = #fileID, line: UInt = #line
) throws -> Output { try roundRow.node([x], name, file, line) }

let rintRow: OpDef = unaryRow(
  "Rint", .roundHalfEven, "bfloat16, half, float, double",
  summary: "x rounded to the nearest integer, ties to even.", rule: .zero)

/// x rounded to the nearest integer, ties to even. The gradient is zero (TensorFlow: `Rint`).
public func rint(
  _ x: Output, name: String? = nil, file: StaticString = #fileID, line: UInt = #line
) throws -> Output { try rintRow.node([x], name, file, line) }

let unaryRows = [
  absRow, negateRow, signRow, squareRow, squareRootRow, reciprocalSquareRootRow, floorRow, ceilRow,
  roundRow, rintRow,
]

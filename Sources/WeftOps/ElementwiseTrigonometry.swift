// Trigonometric and hyperbolic functions.

public import WeftGraph
internal import WeftKernels

let sinRow: OpDef = unaryRow(
  "Sin", .sin, "bfloat16, half, float, double, complex64, complex128", cost: 20,
  summary: "The sine of x."
) { g in try g.gradient() * cos(g.input(0)) }

/// The sine of x, in radians. The gradient is dy * cos(x) (TensorFlow: `Sin`).
public func sin(
  _ x: Output, name: String? = nil, file: StaticString = #fileID, line: UInt = #line
) throws -> Output { try sinRow.node([x], name, file, line) }

let cosRow: OpDef = unaryRow(
  "Cos", .cos, "bfloat16, half, float, double, complex64, complex128", cost: 20,
  summary: "The cosine of x."
) { g in try -(g.gradient() * sin(g.input(0))) }

/// The cosine of x, in radians. The gradient is -dy * sin(x) (TensorFlow: `Cos`).
public func cos(
  _ x: Output, name: String? = nil, file: StaticString = #fileID, line: UInt = #line
) throws -> Output { try cosRow.node([x], name, file, line) }

let tanRow: OpDef = unaryRow(
  "Tan", .tan, "bfloat16, half, float, double, complex64, complex128", cost: 20,
  summary: "The tangent of x."
) { g in try g.gradient() * square(reciprocal(cos(g.input(0)))) }

/// The tangent of x, in radians. The gradient is dy / cos(x)^2 (TensorFlow: `Tan`).
public func tan(
  _ x: Output, name: String? = nil, file: StaticString = #fileID, line: UInt = #line
) throws -> Output { try tanRow.node([x], name, file, line) }

let asinRow: OpDef = unaryRow(
  "Asin", .asin, "bfloat16, half, float, double, complex64, complex128", cost: 20,
  summary: "The angle whose sine is x."
) { g in try g.gradient() * reciprocal(sqrt(1.0 - square(g.input(0)))) }

/// The angle in [-pi/2, pi/2] whose sine is x; NaN outside [-1, 1]. The gradient is dy / sqrt(1 - x^2) (TensorFlow: `Asin`).
public func asin(
  _ x: Output, name: String? = nil, file: StaticString = #fileID, line: UInt = #line
) throws -> Output { try asinRow.node([x], name, file, line) }

let acosRow: OpDef = unaryRow(
  "Acos", .acos, "bfloat16, half, float, double, complex64, complex128", cost: 20,
  summary: "The angle whose cosine is x."
) { g in try -(g.gradient() * reciprocal(sqrt(1.0 - square(g.input(0))))) }

/// The angle in [0, pi] whose cosine is x; NaN outside [-1, 1]. The gradient is -dy / sqrt(1 - x^2) (TensorFlow: `Acos`).
public func acos(
  _ x: Output, name: String? = nil, file: StaticString = #fileID, line: UInt = #line
) throws -> Output { try acosRow.node([x], name, file, line) }

let atanRow: OpDef = unaryRow(
  "Atan", .atan, "bfloat16, half, float, double, complex64, complex128", cost: 20,
  summary: "The angle whose tangent is x."
) { g in try g.gradient() * reciprocal(1.0 + square(g.input(0))) }

/// The angle in [-pi/2, pi/2] whose tangent is x. The gradient is dy / (1 + x^2) (TensorFlow: `Atan`).
public func atan(
  _ x: Output, name: String? = nil, file: StaticString = #fileID, line: UInt = #line
) throws -> Output { try atanRow.node([x], name, file, line) }

let sinhRow: OpDef = unaryRow(
  "Sinh", .sinh, "bfloat16, half, float, double, complex64, complex128", cost: 20,
  summary: "The hyperbolic sine of x."
) { g in try g.gradient() * cosh(g.input(0)) }

/// The hyperbolic sine of x. The gradient is dy * cosh(x) (TensorFlow: `Sinh`).
public func sinh(
  _ x: Output, name: String? = nil, file: StaticString = #fileID, line: UInt = #line
) throws -> Output { try sinhRow.node([x], name, file, line) }

let coshRow: OpDef = unaryRow(
  "Cosh", .cosh, "bfloat16, half, float, double, complex64, complex128", cost: 20,
  summary: "The hyperbolic cosine of x."
) { g in try g.gradient() * sinh(g.input(0)) }

/// The hyperbolic cosine of x. The gradient is dy * sinh(x) (TensorFlow: `Cosh`).
public func cosh(
  _ x: Output, name: String? = nil, file: StaticString = #fileID, line: UInt = #line
) throws -> Output { try coshRow.node([x], name, file, line) }

let asinhRow: OpDef = unaryRow(
  "Asinh", .asinh, "bfloat16, half, float, double, complex64, complex128", cost: 20,
  summary: "The inverse hyperbolic sine of x."
) { g in try g.gradient() / cosh(g.output()) }

/// The inverse hyperbolic sine of x. The gradient is dy / cosh(y) (TensorFlow: `Asinh`).
public func asinh(
  _ x: Output, name: String? = nil, file: StaticString = #fileID, line: UInt = #line
) throws -> Output { try asinhRow.node([x], name, file, line) }

let acoshRow: OpDef = unaryRow(
  "Acosh", .acosh, "bfloat16, half, float, double, complex64, complex128", cost: 20,
  summary: "The inverse hyperbolic cosine of x."
) { g in try g.gradient() / sinh(g.output()) }

/// The inverse hyperbolic cosine of x; NaN below 1. The gradient is dy / sinh(y) (TensorFlow: `Acosh`).
public func acosh(
  _ x: Output, name: String? = nil, file: StaticString = #fileID, line: UInt = #line
) throws -> Output { try acoshRow.node([x], name, file, line) }

let atanhRow: OpDef = unaryRow(
  "Atanh", .atanh, "bfloat16, half, float, double, complex64, complex128", cost: 20,
  summary: "The inverse hyperbolic tangent of x."
) { g in try g.gradient() * reciprocal(1.0 - square(g.input(0))) }

/// The inverse hyperbolic tangent of x; NaN outside [-1, 1]. The gradient is dy / (1 - x^2) (TensorFlow: `Atanh`).
public func atanh(
  _ x: Output, name: String? = nil, file: StaticString = #fileID, line: UInt = #line
) throws -> Output { try atanhRow.node([x], name, file, line) }

let trigonometryRows = [
  sinRow, cosRow, tanRow, asinRow, acosRow, atanRow, sinhRow, coshRow, asinhRow, acoshRow, atanhRow,
]

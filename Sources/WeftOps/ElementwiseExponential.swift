// Exponentials, logarithms, the error function and the gamma function.

public import WeftGraph
internal import WeftKernels

let expRow: OpDef = unaryRow(
  "Exp", .exp, "bfloat16, half, float, double, complex64, complex128", cost: 10,
  summary: "e^x."
) { g in try g.gradient() * g.output() }

/// e^x, elementwise. The gradient is dy * y (TensorFlow: `Exp`).
public func exp(
  _ x: Output, name: String? = nil, file: StaticString = #fileID, line: UInt = #line
) throws -> Output { try expRow.node([x], name, file, line) }

let expm1Row: OpDef = unaryRow(
  "Expm1", .expm1, "bfloat16, half, float, double, complex64, complex128", cost: 10,
  summary: "e^x - 1, exact near zero."
) { g in try g.gradient() * exp(g.input(0)) }

/// e^x - 1, exact near zero. The gradient is dy * e^x (TensorFlow: `Expm1`).
public func expm1(
  _ x: Output, name: String? = nil, file: StaticString = #fileID, line: UInt = #line
) throws -> Output { try expm1Row.node([x], name, file, line) }

let logRow: OpDef = unaryRow(
  "Log", .log, "bfloat16, half, float, double, complex64, complex128", cost: 10,
  summary: "The natural logarithm of x."
) { g in try g.gradient() * reciprocal(g.input(0)) }

/// The natural logarithm of x, elementwise: -inf at zero, NaN below. The gradient is dy / x (TensorFlow: `Log`).
public func log(
  _ x: Output, name: String? = nil, file: StaticString = #fileID, line: UInt = #line
) throws -> Output { try logRow.node([x], name, file, line) }

let log1pRow: OpDef = unaryRow(
  "Log1p", .log1p, "bfloat16, half, float, double, complex64, complex128", cost: 10,
  summary: "log(1 + x), exact near zero."
) { g in try g.gradient() * reciprocal(1.0 + g.input(0)) }

/// log(1 + x), exact near zero. The gradient is dy / (1 + x) (TensorFlow: `Log1p`).
public func log1p(
  _ x: Output, name: String? = nil, file: StaticString = #fileID, line: UInt = #line
) throws -> Output { try log1pRow.node([x], name, file, line) }

let tanhRow: OpDef = unaryRow(
  "Tanh", .tanh, "bfloat16, half, float, double, complex64, complex128", cost: 10,
  summary: "The hyperbolic tangent of x."
) { g in try tanhGrad(g.output(), g.gradient()) }

/// The hyperbolic tangent of x, elementwise. The gradient is dy * (1 - y^2) (TensorFlow: `Tanh`).
public func tanh(
  _ x: Output, name: String? = nil, file: StaticString = #fileID, line: UInt = #line
) throws -> Output { try tanhRow.node([x], name, file, line) }

let sigmoidRow: OpDef = unaryRow(
  "Sigmoid", .sigmoid, "bfloat16, half, float, double, complex64, complex128", cost: 10,
  summary: "1 / (1 + e^-x)."
) { g in try sigmoidGrad(g.output(), g.gradient()) }

/// 1 / (1 + e^-x), elementwise, without overflow. The gradient is dy * y (1 - y) (TensorFlow: `Sigmoid`).
public func sigmoid(
  _ x: Output, name: String? = nil, file: StaticString = #fileID, line: UInt = #line
) throws -> Output { try sigmoidRow.node([x], name, file, line) }

let erfRow: OpDef = unaryRow(
  "Erf", .erf, "bfloat16, half, float, double", cost: 20,
  summary: "The error function."
) { g in try 1.1283791670955126 * (g.gradient() * exp(-square(g.input(0)))) }

/// The error function of x, elementwise. The gradient is dy * 2 / sqrt(pi) e^(-x^2) (TensorFlow: `Erf`).
public func erf(
  _ x: Output, name: String? = nil, file: StaticString = #fileID, line: UInt = #line
) throws -> Output { try erfRow.node([x], name, file, line) }

let erfcRow: OpDef = unaryRow(
  "Erfc", .erfc, "bfloat16, half, float, double", cost: 20,
  summary: "1 - erf(x), exact for large x."
) { g in try -1.1283791670955126 * (g.gradient() * exp(-square(g.input(0)))) }

/// The complementary error function, elementwise. The gradient is -dy * 2 / sqrt(pi) e^(-x^2) (TensorFlow: `Erfc`).
public func erfc(
  _ x: Output, name: String? = nil, file: StaticString = #fileID, line: UInt = #line
) throws -> Output { try erfcRow.node([x], name, file, line) }

let erfInverseRow: OpDef = unaryRow(
  "Erfinv", .erfInverse, "bfloat16, half, float, double", cost: 40,
  summary: "The inverse of the error function."
) { g in try 0.886226925452758 * (g.gradient() * exp(square(g.output()))) }

/// The inverse of the error function, elementwise; NaN outside [-1, 1].
///
/// The gradient is dy * sqrt(pi) / 2 e^(y^2) (TensorFlow: `Erfinv`).
public func erfInverse(
  _ x: Output, name: String? = nil, file: StaticString = #fileID, line: UInt = #line
) throws -> Output { try erfInverseRow.node([x], name, file, line) }

let normalQuantileRow: OpDef = unaryRow(
  "Ndtri", .normalQuantile, "bfloat16, half, float, double", cost: 40,
  summary: "The inverse of the standard normal distribution function."
) { g in try 2.5066282746310002 * (g.gradient() * exp(square(g.output()) * 0.5)) }

/// The inverse of the standard normal distribution function, elementwise; NaN outside [0, 1].
///
/// The gradient is dy * sqrt(2 pi) e^(y^2 / 2) (TensorFlow: `Ndtri`).
public func normalQuantile(
  _ x: Output, name: String? = nil, file: StaticString = #fileID, line: UInt = #line
) throws -> Output { try normalQuantileRow.node([x], name, file, line) }

let logGammaRow: OpDef = unaryRow(
  "Lgamma", .logGamma, "bfloat16, half, float, double", cost: 40,
  summary: "log |gamma(x)|."
) { g in try g.gradient() * digamma(g.input(0)) }

/// log |gamma(x)|, elementwise. The gradient is dy * digamma(x) (TensorFlow: `Lgamma`).
public func logGamma(
  _ x: Output, name: String? = nil, file: StaticString = #fileID, line: UInt = #line
) throws -> Output { try logGammaRow.node([x], name, file, line) }

let digammaRow: OpDef = unaryRow(
  "Digamma", .digamma, "bfloat16, half, float, double", cost: 40,
  summary: "The derivative of log |gamma(x)|."
) { g in try g.gradient() * polygamma(onesLike(g.input(0)), g.input(0)) }

/// The derivative of log |gamma(x)|, elementwise. The gradient is dy * polygamma(1, x) (TensorFlow: `Digamma`).
public func digamma(
  _ x: Output, name: String? = nil, file: StaticString = #fileID, line: UInt = #line
) throws -> Output { try digammaRow.node([x], name, file, line) }

let exponentialRows = [
  expRow, expm1Row, logRow, log1pRow, tanhRow, sigmoidRow, erfRow, erfcRow, erfInverseRow,
  normalQuantileRow, logGammaRow, digammaRow,
]

// Powers and special functions of two or three operands.

public import WeftGraph
internal import WeftKernels
internal import WeftTensors

let powerRow: OpDef = binaryRow(
  "Pow", .power,
  "bfloat16, float, half, double, int8, int16, int32, int64, complex64, complex128",
  summary: "x to the power of y.", value: integerValue { integerPower($0, $1) },
  fault: (.negative, "raises an integer to a negative power")
) { g in
  let (dz, x, y) = (try g.gradient(), g.input(0), g.input(1))
  let dx = try dz * y * pow(x, y - 1.0)
  // log(x) only where x > 0: elsewhere z has no derivative in y, and zero stands for it.
  let isPositive = try greater(x, zerosLike(x))
  let logX = try select(isPositive, log(select(isPositive, x, onesLike(x))), zerosLike(x))
  return (dx, try dz * g.output() * logX)
}

private func integerPower(_ x: Int, _ y: Int) -> Int? {
  guard y >= 0, y < 64 else { return nil }
  var result = 1
  for _ in 0..<y {
    guard let next = exact(result.multipliedReportingOverflow(by: x)) else { return nil }
    result = next
  }
  return result
}

/// x to the power of y, elementwise with broadcasting.
///
/// Gradients: dz y x^(y-1), and dz z log(x) where x > 0. A negative power of integers is an error
/// (TensorFlow: `Pow`).
public func pow(
  _ x: Output, _ y: Output, name: String? = nil, file: StaticString = #fileID, line: UInt = #line
) throws -> Output { try powerRow.node([x, y], name, file, line) }

// One where x is not zero.
private func nonzero(_ x: Output) throws -> Output {
  try notEqual(x, zerosLike(x)).cast(to: x.dtype)
}

// dP(a, x)/dx.
private func gammaDensity(_ a: Output, _ x: Output) throws -> Output {
  try exp((a - 1.0) * log(x) - x - logGamma(a))
}

let xlogyRow: OpDef = binaryRow(
  "Xlogy", .xlogy, "half, bfloat16, float, double, complex64, complex128",
  summary: "x log(y), and 0 where x is 0."
) { g in
  let (dy, x, y) = (try g.gradient(), g.input(0), g.input(1))
  return (try dy * xlogy(nonzero(x), y), try dy * xdivy(x, y))
}

/// x log(y), and 0 where x is 0, elementwise with broadcasting.
///
/// Gradients: dy log(y) where x is not 0, and dy x / y (TensorFlow: `Xlogy`).
public func xlogy(
  _ x: Output, _ y: Output, name: String? = nil, file: StaticString = #fileID,
  line: UInt = #line
) throws -> Output { try xlogyRow.node([x, y], name, file, line) }

let xlog1pyRow: OpDef = binaryRow(
  "Xlog1py", .xlog1py, "half, bfloat16, float, double, complex64, complex128",
  summary: "x log(1 + y), and 0 where x is 0."
) { g in
  let (dy, x, y) = (try g.gradient(), g.input(0), g.input(1))
  return (try dy * xlog1py(nonzero(x), y), try dy * xdivy(x, y + 1.0))
}

/// x log(1 + y), and 0 where x is 0, elementwise with broadcasting.
///
/// Gradients: dy log(1 + y) where x is not 0, and dy x / (1 + y) (TensorFlow: `Xlog1py`).
public func xlog1py(
  _ x: Output, _ y: Output, name: String? = nil, file: StaticString = #fileID,
  line: UInt = #line
) throws -> Output { try xlog1pyRow.node([x, y], name, file, line) }

let xdivyRow: OpDef = binaryRow(
  "Xdivy", .xdivy, "half, bfloat16, float, double, complex64, complex128",
  summary: "x / y, and 0 where x is 0."
) { g in
  let (dy, x, y) = (try g.gradient(), g.input(0), g.input(1))
  return (try dy * xdivy(nonzero(x), y), try dy * xdivy(-x, square(y)))
}

/// x / y, and 0 where x is 0, elementwise with broadcasting.
///
/// Gradients: dy / y where x is not 0, and -dy x / y^2 (TensorFlow: `Xdivy`).
public func xdivy(
  _ x: Output, _ y: Output, name: String? = nil, file: StaticString = #fileID,
  line: UInt = #line
) throws -> Output { try xdivyRow.node([x, y], name, file, line) }

let atan2Row: OpDef = binaryRow(
  "Atan2", .atan2, "bfloat16, half, float, double",
  arguments: "y: T, x: T -> z: T", summary: "The angle of the point (x, y)."
) { g in
  let (y, x) = (g.input(0), g.input(1))
  let scaled = try g.gradient() / (square(x) + square(y))
  return (try x * scaled, try -y * scaled)
}

/// The angle of the point (x, y) from the x axis, in (-pi, pi], with broadcasting.
///
/// Gradients: dz x / (x^2 + y^2) and -dz y / (x^2 + y^2) (TensorFlow: `Atan2`).
public func atan2(
  _ y: Output, _ x: Output, name: String? = nil, file: StaticString = #fileID,
  line: UInt = #line
) throws -> Output { try atan2Row.node([y, x], name, file, line) }

let nextAfterRow: OpDef = binaryRow(
  "NextAfter", .nextAfter, "double, float",
  arguments: "x1: T, x2: T -> output: T", summary: "The number after x1 in the direction of x2."
) { g in
  let dy = try g.gradient()
  return (dy, try zerosLike(dy))
}

/// The representable number after x1 in the direction of x2, elementwise with broadcasting.
///
/// Gradients: dy and zero (TensorFlow: `NextAfter`).
public func nextAfter(
  _ x1: Output, _ x2: Output, name: String? = nil, file: StaticString = #fileID,
  line: UInt = #line
) throws -> Output { try nextAfterRow.node([x1, x2], name, file, line) }

let igammaRow: OpDef = binaryRow(
  "Igamma", .igamma, "bfloat16, half, float, double",
  arguments: "a: T, x: T -> z: T",
  summary: "The regularized lower incomplete gamma function P(a, x)."
) { g in
  let (dz, a, x) = (try g.gradient(), g.input(0), g.input(1))
  return (try dz * igammaGradA(a, x), try dz * gammaDensity(a, x))
}

/// The regularized lower incomplete gamma function P(a, x), elementwise with broadcasting.
///
/// Gradients: dz dP/da and dz x^(a-1) e^-x / gamma(a) (TensorFlow: `Igamma`).
public func igamma(
  _ a: Output, _ x: Output, name: String? = nil, file: StaticString = #fileID,
  line: UInt = #line
) throws -> Output { try igammaRow.node([a, x], name, file, line) }

let igammacRow: OpDef = binaryRow(
  "Igammac", .igammac, "bfloat16, half, float, double",
  arguments: "a: T, x: T -> z: T",
  summary: "The regularized upper incomplete gamma function Q(a, x)."
) { g in
  let (dz, a, x) = (try g.gradient(), g.input(0), g.input(1))
  return (try -(dz * igammaGradA(a, x)), try -(dz * gammaDensity(a, x)))
}

/// The regularized upper incomplete gamma function Q(a, x) = 1 - P(a, x), with broadcasting.
///
/// Gradients: those of P, negated (TensorFlow: `Igammac`).
public func igammac(
  _ a: Output, _ x: Output, name: String? = nil, file: StaticString = #fileID,
  line: UInt = #line
) throws -> Output { try igammacRow.node([a, x], name, file, line) }

let igammaGradARow: OpDef = binaryRow(
  "IgammaGradA", .igammaGradA, "float, double",
  arguments: "a: T, x: T -> z: T", summary: "The derivative of P(a, x) with respect to a.",
  rule: .none("TensorFlow defines none"))

/// The derivative of P(a, x) with respect to a (TensorFlow: `IgammaGradA`).
public func igammaGradA(
  _ a: Output, _ x: Output, name: String? = nil, file: StaticString = #fileID,
  line: UInt = #line
) throws -> Output { try igammaGradARow.node([a, x], name, file, line) }

let zetaRow: OpDef = binaryRow(
  "Zeta", .zeta, "float, double",
  arguments: "x: T, q: T -> z: T", summary: "The Hurwitz zeta function."
) { g in
  let (dz, x, q) = (try g.gradient(), g.input(0), g.input(1))
  return (nil, try dz * (-x * zeta(x + 1.0, q)))
}

/// The Hurwitz zeta function, sum over k >= 0 of (q + k)^-x, elementwise with broadcasting.
///
/// Gradients: none for x, -dz x zeta(x + 1, q) for q (TensorFlow: `Zeta`).
public func zeta(
  _ x: Output, _ q: Output, name: String? = nil, file: StaticString = #fileID,
  line: UInt = #line
) throws -> Output { try zetaRow.node([x, q], name, file, line) }

let polygammaRow: OpDef = binaryRow(
  "Polygamma", .polygamma, "float, double",
  arguments: "a: T, x: T -> z: T", summary: "The a-th derivative of digamma at x."
) { g in
  let (dz, a, x) = (try g.gradient(), g.input(0), g.input(1))
  return (nil, try dz * polygamma(a + 1.0, x))
}

/// The a-th derivative of digamma at x, a being a whole number, elementwise with broadcasting.
///
/// Gradients: none for a, dz polygamma(a + 1, x) for x (TensorFlow: `Polygamma`).
public func polygamma(
  _ a: Output, _ x: Output, name: String? = nil, file: StaticString = #fileID,
  line: UInt = #line
) throws -> Output { try polygammaRow.node([a, x], name, file, line) }

let betaincRow: OpDef = OpDef(
  "Betainc", "a: T, b: T, x: T -> z: T", "T: {float, double}",
  summary: "The regularized incomplete beta function I_x(a, b).", traits: .elementwise,
  infer: { ctx in
    // Scalars go with any shape; otherwise all shapes are equal.
    var shape = Shape.scalar
    for i in 0..<3 where ctx.shape(i).rank != 0 {
      guard let merged = shape.rank == 0 ? ctx.shape(i) : shape.merged(with: ctx.shape(i)) else {
        throw ctx.error("needs equal shapes or scalars: \(shape) vs \(ctx.shape(i))")
      }
      shape = merged
    }
    return [shape]
  },
  gradient: .rule { g in
    let (a, b, x) = (g.input(0), g.input(1), g.input(2))
    let logBeta = try logGamma(a) + logGamma(b) - logGamma(a + b)
    let slope = try exp(xlog1py(b - 1.0, -x) + xlogy(a - 1.0, x) - logBeta)
    let dx = try g.gradient() * slope
    return [nil, nil, .dense(try BroadcastPair(x, g.output()).sumLeft(dx))]
  },
  lowering: .kernel { ctx in
    try ctx.elementwise("betainc", WeftKernels.betaincRow(ctx.dtype(0)), inPlace: [0, 1, 2])
  })

/// The regularized incomplete beta function I_x(a, b), elementwise; scalars go with any shape.
///
/// The gradient for x is dz x^(a-1) (1-x)^(b-1) / B(a, b); none for a and b (TensorFlow: `Betainc`).
public func betainc(
  _ a: Output, _ b: Output, _ x: Output, name: String? = nil, file: StaticString = #fileID,
  line: UInt = #line
) throws -> Output { try betaincRow.node([a, b, x], name, file, line) }

let powerRows = [
  xlogyRow, xlog1pyRow, xdivyRow, atan2Row, nextAfterRow, igammaRow, igammacRow, igammaGradARow,
  zetaRow, polygammaRow, powerRow, betaincRow,
]

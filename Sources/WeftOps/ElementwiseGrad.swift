// Gradients of activations and roots, from the function's own output.

public import WeftGraph
internal import WeftKernels

let squareRootGradRow: OpDef = binaryRow(
  "SqrtGrad", .squareRootGradient, "bfloat16, half, float, double, complex64, complex128",
  arguments: "y: T, dy: T -> z: T", summary: "dy / 2y: the gradient of a square root y."
) { g in
  let (y, ddx) = (g.input(0), try g.gradient())
  let scaled = try ddx / y
  return (try -scaled * g.output(), try 0.5 * scaled)
}

/// Dy / 2y: the gradient of a square root y (TensorFlow: `SqrtGrad`).
public func squareRootGrad(
  _ y: Output, _ dy: Output, name: String? = nil, file: StaticString = #fileID,
  line: UInt = #line
) throws -> Output { try squareRootGradRow.node([y, dy], name, file, line) }

let reciprocalSquareRootGradRow: OpDef = binaryRow(
  "RsqrtGrad", .reciprocalSquareRootGradient,
  "bfloat16, half, float, double, complex64, complex128",
  arguments: "y: T, dy: T -> z: T", summary: "-dy y^3 / 2: the gradient of y = 1 / sqrt(x)."
) { g in
  let (y, dy, ddx) = (g.input(0), g.input(1), try g.gradient())
  return (
    try -1.5 * ddx * dy * square(y), try reciprocalSquareRootGrad(y, ddx)
  )
}

/// -dy y^3 / 2: the gradient of y = 1 / sqrt(x) (TensorFlow: `RsqrtGrad`).
public func reciprocalSquareRootGrad(
  _ y: Output, _ dy: Output, name: String? = nil, file: StaticString = #fileID,
  line: UInt = #line
) throws -> Output { try reciprocalSquareRootGradRow.node([y, dy], name, file, line) }

let tanhGradRow: OpDef = binaryRow(
  "TanhGrad", .tanhGradient, "bfloat16, half, float, double, complex64, complex128",
  arguments: "y: T, dy: T -> z: T", summary: "dy (1 - y^2): the gradient of y = tanh(x)."
) { g in
  let (y, dy, ddx) = (g.input(0), g.input(1), try g.gradient())
  return (try -2.0 * ddx * dy * y, try tanhGrad(y, ddx))
}

/// Dy (1 - y^2): the gradient of y = tanh(x) (TensorFlow: `TanhGrad`).
public func tanhGrad(
  _ y: Output, _ dy: Output, name: String? = nil, file: StaticString = #fileID,
  line: UInt = #line
) throws -> Output { try tanhGradRow.node([y, dy], name, file, line) }

let sigmoidGradRow: OpDef = binaryRow(
  "SigmoidGrad", .sigmoidGradient, "bfloat16, half, float, double, complex64, complex128",
  arguments: "y: T, dy: T -> z: T", summary: "dy y (1 - y): the gradient of y = sigmoid(x)."
) { g in
  let (y, dy, ddx) = (g.input(0), g.input(1), try g.gradient())
  let product = try ddx * dy
  return (try product - 2.0 * product * y, try sigmoidGrad(y, ddx))
}

/// Dy y (1 - y): the gradient of y = sigmoid(x) (TensorFlow: `SigmoidGrad`).
public func sigmoidGrad(
  _ y: Output, _ dy: Output, name: String? = nil, file: StaticString = #fileID,
  line: UInt = #line
) throws -> Output { try sigmoidGradRow.node([y, dy], name, file, line) }

let reciprocalGradRow: OpDef = binaryRow(
  "ReciprocalGrad", .reciprocalGradient, "bfloat16, half, float, double, complex64, complex128",
  arguments: "y: T, dy: T -> z: T", summary: "-dy y^2: the gradient of y = 1 / x."
) { g in
  let (y, dy, ddx) = (g.input(0), g.input(1), try g.gradient())
  return (try -2.0 * ddx * dy * y, try reciprocalGrad(y, ddx))
}

/// -dy y^2: the gradient of y = 1 / x (TensorFlow: `ReciprocalGrad`).
public func reciprocalGrad(
  _ y: Output, _ dy: Output, name: String? = nil, file: StaticString = #fileID,
  line: UInt = #line
) throws -> Output { try reciprocalGradRow.node([y, dy], name, file, line) }

let elementwiseGradRows = [
  squareRootGradRow, reciprocalSquareRootGradRow, tanhGradRow, sigmoidGradRow, reciprocalGradRow,
]

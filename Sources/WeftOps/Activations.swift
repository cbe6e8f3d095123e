// Rectifiers and their relatives, with their gradient ops.

public import WeftGraph
internal import WeftKernels
internal import WeftTensors

// For loops that a fused program runs: on its own thread, and to ask whether a type has one.
private let onePool = ThreadPool(width: 1)
private nonisolated(unsafe) let noMemory = UnsafeMutableRawPointer.allocate(
  byteCount: 64, alignment: 64)

/// Rows of the activations.
enum ActivationRows {
  static let all: [OpDef] = [
    relu, reluGrad, relu6, relu6Grad, leakyRelu, leakyReluGrad, elu, eluGrad, selu, seluGrad,
    softplus, softplusGrad, softsign, softsignGrad,
  ]

  private static let floats = "T: {half, bfloat16, float, double}"
  private static let alpha = "alpha: float = 0.20000000298023224; "
  private typealias Kind = @Sendable (Attrs) throws -> Activation

  static let relu: OpDef = forward(
    "Relu", "features: T -> activations: T", "T: realnumbertype", "max(x, 0).", { _ in .relu }
  ) { g in [.dense(try grad(reluGrad, g.gradient(), g.output()))] }
  static let relu6: OpDef = forward(
    "Relu6", "features: T -> activations: T", "T: realnumbertype", "min(max(x, 0), 6).",
    { _ in .relu6 }
  ) { g in [.dense(try grad(relu6Grad, g.gradient(), g.output()))] }
  static let leakyRelu: OpDef = forward(
    "LeakyRelu", "features: T -> activations: T", alpha + floats + " = float",
    "x where positive, else alpha * x.", { .leakyRelu(alpha: try $0.float("alpha")) }
  ) { g in [.dense(try grad(leakyReluGrad, g.gradient(), g.input(0), alphaOf(g)))] }
  static let elu: OpDef = forward(
    "Elu", "features: T -> activations: T", floats, "x where not negative, else e^x - 1.",
    { _ in .elu }
  ) { g in [.dense(try grad(eluGrad, g.gradient(), g.output()))] }
  static let selu: OpDef = forward(
    "Selu", "features: T -> activations: T", floats,
    "scale * x where not negative, else scale * alpha * (e^x - 1).", { _ in .selu }
  ) { g in [.dense(try grad(seluGrad, g.gradient(), g.output()))] }
  static let softplus: OpDef = forward(
    "Softplus", "features: T -> activations: T", floats, "log(1 + e^x), without overflow.",
    { _ in .softplus }
  ) { g in [.dense(try grad(softplusGrad, g.gradient(), g.input(0)))] }
  static let softsign: OpDef = forward(
    "Softsign", "features: T -> activations: T", floats, "x / (1 + |x|).", { _ in .softsign }
  ) { g in [.dense(try grad(softsignGrad, g.gradient(), g.input(0)))] }

  static let reluGrad: OpDef = backward(
    "ReluGrad", "features", "T: realnumbertype", "dy where features > 0, else 0.", { _ in .relu },
    .rule { g in [.dense(try grad(reluGrad, g.gradient(), g.input(1))), nil] })
  static let relu6Grad: OpDef = backward(
    "Relu6Grad", "features", "T: realnumbertype", "dy where 0 < features < 6, else 0.",
    { _ in .relu6 },
    .rule { g in [.dense(try grad(relu6Grad, g.gradient(), g.input(1))), nil] })
  static let leakyReluGrad: OpDef = backward(
    "LeakyReluGrad", "features", alpha + floats + " = float",
    "dy where features > 0, else alpha * dy.", { .leakyRelu(alpha: try $0.float("alpha")) },
    .rule { g in
      [.dense(try grad(leakyReluGrad, g.gradient(), g.input(1), alphaOf(g))), nil]
    })
  static let eluGrad: OpDef = backward(
    "EluGrad", "outputs", floats, "dy where y >= 0, else dy * (y + 1).", { _ in .elu },
    .rule { g in [.dense(try grad(eluGrad, g.gradient(), g.input(1))), try whereNegative(g)] })
  static let seluGrad: OpDef = backward(
    "SeluGrad", "outputs", floats, "dy * scale where y >= 0, else dy * (y + scale * alpha).",
    { _ in .selu },
    .rule { g in [.dense(try grad(seluGrad, g.gradient(), g.input(1))), try whereNegative(g)] })
  static let softplusGrad: OpDef = backward(
    "SoftplusGrad", "features", floats, "dy * sigmoid(features).", { _ in .softplus },
    .rule { g in
      let (dy, x) = (g.input(0), g.input(1))
      let ddx = try g.gradient()
      let s = try sigmoid(x)
      let slope = try s * sigmoid(-x)
      return [.dense(try grad(softplusGrad, ddx, x)), .dense(try ddx * dy * slope)]
    })
  static let softsignGrad: OpDef = backward(
    "SoftsignGrad", "features", floats, "dy / (1 + |features|)^2.", { _ in .softsign },
    .none("TensorFlow defines no second derivative of softsign"))

  // The second derivative of (S)ELU: gradient * dy where y is negative.
  private static func whereNegative(_ g: GradientContext) throws -> Gradient {
    let y = g.input(1)
    let zeros = try zerosLike(y)
    return .dense(try select(less(y, zeros), g.gradient() * g.input(0), zeros))
  }

  private static func alphaOf(_ g: GradientContext) throws -> [String: AttrValue] {
    ["alpha": .float(try g.attrs.float("alpha"))]
  }

  private static func grad(
    _ row: OpDef, _ dy: Output, _ x: Output, _ attrs: [String: AttrValue] = [:]
  ) throws -> Output {
    try dy.graph.output(row.name, inputs: [dy, x], attrs: attrs)
  }

  private static func forward(
    _ name: String, _ arguments: String, _ attributes: String, _ summary: String,
    _ kind: @escaping Kind,
    _ rule: @escaping @Sendable (GradientContext) throws -> [Gradient?]
  ) -> OpDef {
    OpDef(
      name, arguments, attributes, summary: summary, traits: [.elementwise],
      infer: { ctx in [ctx.shape(0)] }, gradient: .rule(rule),
      lowering: .kernel { ctx in
        let (kind, dtype, count) = (try kind(ctx.attrs), ctx.dtype(0), ctx.count(0))
        let unsupported = ctx.unsupported(dtype)
        var kernel = Kernel("activation", inPlace: [[0]], flops: 4 * count) { call in
          guard
            ActivationKernels.forward(
              kind, dtype, call.rawInput(0), call.rawOutput(0), count: count, pool: call.pool)
          else { throw unsupported }
        }
        if ActivationKernels.forward(kind, dtype, noMemory, noMemory, count: 0, pool: onePool) {
          kernel.loop = .unary { x, y, n in
            _ = ActivationKernels.forward(kind, dtype, x, y, count: n, pool: onePool)
          }
        }
        return kernel
      })
  }

  private static func backward(
    _ name: String, _ second: String, _ attributes: String, _ summary: String,
    _ kind: @escaping Kind, _ rule: GradientRule
  ) -> OpDef {
    OpDef(
      name, "gradients: T, \(second): T -> backprops: T", attributes, summary: summary,
      traits: [.elementwise],
      infer: { ctx in [try ctx.merge(0, 1)] }, gradient: rule,
      lowering: .kernel { ctx in
        let (kind, dtype, count) = (try kind(ctx.attrs), ctx.dtype(0), ctx.count(0))
        let unsupported = ctx.unsupported(dtype)
        var kernel = Kernel("activationGrad", inPlace: [[0, 1]], flops: 4 * count) { call in
          guard
            ActivationKernels.backward(
              kind, dtype, dy: call.rawInput(0), call.rawInput(1), dx: call.rawOutput(0),
              count: count, pool: call.pool)
          else { throw unsupported }
        }
        if ActivationKernels.backward(
          kind, dtype, dy: noMemory, noMemory, dx: noMemory, count: 0, pool: onePool)
        {
          kernel.loop = .binary { dy, x, dx, n, _ in
            _ = ActivationKernels.backward(kind, dtype, dy: dy, x, dx: dx, count: n, pool: onePool)
          }
        }
        return kernel
      })
  }
}

private func unary(
  _ row: OpDef, _ x: Output, _ attrs: [String: AttrValue], _ name: String?, _ file: StaticString,
  _ line: UInt
) throws -> Output {
  try x.graph.output(row.name, name: name, inputs: [x], attrs: attrs, file: file, line: line)
}

/// `max(x, 0)`; NaN stays NaN. Gradient: dy where the output is positive. TensorFlow: `Relu`.
public func relu(
  _ x: Output, name: String? = nil, file: StaticString = #fileID, line: UInt = #line
) throws -> Output { try unary(ActivationRows.relu, x, [:], name, file, line) }

/// `min(max(x, 0), 6)`. Gradient: dy where 0 < y < 6. TensorFlow: `Relu6`.
public func relu6(
  _ x: Output, name: String? = nil, file: StaticString = #fileID, line: UInt = #line
) throws -> Output { try unary(ActivationRows.relu6, x, [:], name, file, line) }

/// `x` where positive, else `alpha * x`. Gradient: dy or `alpha * dy`. TensorFlow: `LeakyRelu`.
public func leakyRelu(
  _ x: Output, alpha: Float = 0.2, name: String? = nil, file: StaticString = #fileID,
  line: UInt = #line
) throws -> Output {
  try unary(ActivationRows.leakyRelu, x, ["alpha": .float(alpha)], name, file, line)
}

/// `x` where not negative, else `e^x - 1`. Gradient: dy, or `dy * (y + 1)`. TensorFlow: `Elu`.
public func elu(
  _ x: Output, name: String? = nil, file: StaticString = #fileID, line: UInt = #line
) throws -> Output { try unary(ActivationRows.elu, x, [:], name, file, line) }

/// The scaled ELU that keeps zero mean and unit variance. TensorFlow: `Selu`.
public func selu(
  _ x: Output, name: String? = nil, file: StaticString = #fileID, line: UInt = #line
) throws -> Output { try unary(ActivationRows.selu, x, [:], name, file, line) }

/// `log(1 + e^x)`, without overflow. Gradient: `dy * sigmoid(x)`. TensorFlow: `Softplus`.
public func softplus(
  _ x: Output, name: String? = nil, file: StaticString = #fileID, line: UInt = #line
) throws -> Output { try unary(ActivationRows.softplus, x, [:], name, file, line) }

/// `x / (1 + |x|)`. Gradient: `dy / (1 + |x|)^2`. TensorFlow: `Softsign`.
public func softsign(
  _ x: Output, name: String? = nil, file: StaticString = #fileID, line: UInt = #line
) throws -> Output { try unary(ActivationRows.softsign, x, [:], name, file, line) }

// Softmax and log-softmax over the last axis.

public import WeftGraph
internal import WeftKernels
internal import WeftTensors

/// Rows of softmax and log-softmax.
enum SoftmaxRows {
  static let all: [OpDef] = [softmax, logSoftmax]

  static let softmax = OpDef(
    "Softmax", "logits: T -> softmax: T", "T: {half, bfloat16, float, double}",
    summary: "e^x / sum(e^x) over the last axis.",
    infer: rowwise,
    gradient: .rule { g in
      let y = g.output()
      let dy = try g.gradient()
      let inner = try sum(dy * y, axes: [-1], keepDims: true)
      return [.dense(try (dy - inner) * y)]
    },
    lowering: .kernel { ctx in kernel(ctx, isLog: false) })

  static let logSoftmax = OpDef(
    "LogSoftmax", "logits: T -> logsoftmax: T", "T: {half, bfloat16, float, double}",
    summary: "x - log(sum(e^x)) over the last axis.",
    infer: rowwise,
    gradient: .rule { g in
      let dy = try g.gradient()
      let total = try sum(dy, axes: [-1], keepDims: true)
      return [.dense(try dy - total * exp(g.output()))]
    },
    lowering: .kernel { ctx in kernel(ctx, isLog: true) })

  private static let rowwise: @Sendable (InferContext) throws -> [Shape] = { ctx in
    _ = try ctx.shape(0, rankAtLeast: 1)
    return [ctx.shape(0)]
  }

  private static func kernel(_ ctx: LowerContext, isLog: Bool) -> Kernel {
    let dtype = ctx.dtype(0)
    let cols = ctx.shape(0).last ?? 0
    let rows = cols == 0 ? 0 : ctx.count(0) / cols
    let unsupported = ctx.unsupported(dtype)
    return Kernel(isLog ? "logSoftmax" : "softmax", inPlace: [[0]], flops: 12 * rows * cols) {
      call in
      guard
        SoftmaxKernels.softmax(
          dtype, call.rawInput(0), call.rawOutput(0), rows: rows, cols: cols, isLog: isLog,
          pool: call.pool)
      else { throw unsupported }
    }
  }
}

/// `e^x / sum(e^x)` along `axis`, without overflow.
///
/// Gradient: `dx = (dy - sum(dy * y)) * y`. A row with NaN or +inf gives NaN.
/// TensorFlow: `Softmax`.
public func softmax(
  _ x: Output, axis: Int = -1, name: String? = nil, file: StaticString = #fileID,
  line: UInt = #line
) throws -> Output {
  try alongAxis(x, axis) {
    try x.graph.output(SoftmaxRows.softmax.name, name: name, inputs: [$0], file: file, line: line)
  }
}

/// `x - log(sum(e^x))` along `axis`, without overflow.
///
/// Gradient: `dx = dy - e^y * sum(dy)`. TensorFlow: `LogSoftmax`.
public func logSoftmax(
  _ x: Output, axis: Int = -1, name: String? = nil, file: StaticString = #fileID,
  line: UInt = #line
) throws -> Output {
  try alongAxis(x, axis) {
    try x.graph.output(
      SoftmaxRows.logSoftmax.name, name: name, inputs: [$0], file: file, line: line)
  }
}

// The ops work on the last axis: another one is exchanged with it before and after.
private func alongAxis(
  _ x: Output, _ axis: Int, _ body: (Output) throws -> Output
) throws -> Output {
  guard let rank = x.shape.rank else {
    guard axis == -1 else {
      throw WeftError(.invalidArgument, "axis \(axis) needs an input of known rank")
    }
    return try body(x)
  }
  let last = axis < 0 ? axis + rank : axis
  if last == rank - 1 { return try body(x) }
  guard last >= 0, last < rank else {
    throw WeftError(.invalidArgument, "axis \(axis) is not an axis of shape \(x.shape)")
  }
  var order = Array(0..<rank)
  order.swapAt(last, rank - 1)
  return try body(x.transposed(permutation: order)).transposed(permutation: order)
}

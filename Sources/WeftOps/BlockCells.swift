// TensorFlow's fused recurrent cells: one step of an LSTM or a GRU as one op.

internal import WeftGraph
internal import WeftKernels
internal import WeftTensors

/// Rows of the fused cells.
enum BlockCellRows {
  static let all: [OpDef] = [lstm, gru]

  static let lstm = OpDef(
    "LSTMBlockCell",
    "x: T, cs_prev: T, h_prev: T, w: T, wci: T, wcf: T, wco: T, b: T -> i: T, cs: T, f: T, o: T, "
      + "ci: T, co: T, h: T",
    "forget_bias: float = 1.0; cell_clip: float = 3.0; use_peephole: bool = false; "
      + "T: {half, float}",
    summary:
      "One LSTM step with optional peepholes and clipping; gates lie in the order i, ci, f, o.",
    infer: { ctx in
      let x = try ctx.shape(0, rank: 2)
      let cs = try ctx.shape(1, rank: 2)
      let h = try ctx.shape(2, rank: 2)
      let rows = try ctx.merge(try ctx.merge(x[0], cs[0], "batch sizes"), h[0], "batch sizes")
      let units = try ctx.merge(cs[1], h[1], "numbers of units")
      try checkWeights(ctx, 3, 7, inputs: x[1], units: units, gates: 4)
      if try ctx.attrs.bool("use_peephole") {
        for index in 4...6 {
          _ = try ctx.merge(try ctx.shape(index, rank: 1)[0], units, "peephole weights and units")
        }
      }
      return Array(repeating: Shape(dims: [rows, units]), count: 7)
    },
    gradient: .none("build the cell from plain ops to train it"),
    lowering: .kernel { ctx in
      let (rows, inputs, units) = (ctx.shape(0)[0], ctx.shape(0)[1], ctx.shape(1)[1])
      guard ctx.dtype(0) == .float32 else { throw ctx.unsupported(ctx.dtype(0)) }
      let forgetBias = try ctx.attrs.float("forget_bias")
      let clip = try ctx.attrs.float("cell_clip")
      let hasPeepholes = try ctx.attrs.bool("use_peephole")
      return Kernel(
        "lstmBlockCell", scratchBytes: 16 * rows * units + 64,
        flops: 8 * rows * units * (inputs + units)
      ) { call in
        let gates = call.scratch.assumingMemoryBound(to: Float.self)
        let w = call.input(3, as: Float.self)
        gemm(
          m: rows, n: 4 * units, k: inputs, a: call.input(0, as: Float.self), lda: inputs, b: w,
          ldb: 4 * units, c: gates, ldc: 4 * units, pool: call.pool)
        gemm(
          m: rows, n: 4 * units, k: units, a: call.input(2, as: Float.self), lda: units,
          b: w + inputs * 4 * units, ldb: 4 * units, beta: 1, c: gates, ldc: 4 * units,
          pool: call.pool)
        let outputs = (call.scratch + 16 * rows * units).assumingMemoryBound(
          to: UnsafeMutablePointer<Float>.self)
        for port in 0..<7 { outputs[port] = call.output(port, as: Float.self) }
        var step = BlockCellKernels.LSTMStep(
          gates: gates, bias: call.input(7, as: Float.self),
          previous: call.input(1, as: Float.self), outputs: outputs)
        (step.rows, step.units) = (rows, units)
        (step.forgetBias, step.clip) = (forgetBias, clip)
        if hasPeepholes {
          step.peepholes = (
            i: call.input(4, as: Float.self), f: call.input(5, as: Float.self),
            o: call.input(6, as: Float.self)
          )
        }
        BlockCellKernels.lstm(step)
      }
    })

  static let gru = OpDef(
    "GRUBlockCell",
    "x: T, h_prev: T, w_ru: T, w_c: T, b_ru: T, b_c: T -> r: T, u: T, c: T, h: T", "T: {float}",
    summary: "One GRU step: h = (1 - u) * c + u * h_prev.",
    infer: { ctx in
      let x = try ctx.shape(0, rank: 2)
      let h = try ctx.shape(1, rank: 2)
      let rows = try ctx.merge(x[0], h[0], "batch sizes")
      try checkWeights(ctx, 2, 4, inputs: x[1], units: h[1], gates: 2)
      try checkWeights(ctx, 3, 5, inputs: x[1], units: h[1], gates: 1)
      return Array(repeating: Shape(dims: [rows, h[1]]), count: 4)
    },
    gradient: .none("build the cell from plain ops to train it"),
    lowering: .kernel { ctx in
      let (rows, inputs, units) = (ctx.shape(0)[0], ctx.shape(0)[1], ctx.shape(1)[1])
      return Kernel(
        "gruBlockCell", scratchBytes: 12 * rows * units,
        flops: 6 * rows * units * (inputs + units)
      ) { call in
        let gates = call.scratch.assumingMemoryBound(to: Float.self)
        let reset = gates + 2 * rows * units
        let (x, h) = (call.input(0, as: Float.self), call.input(1, as: Float.self))
        let (w, wc) = (call.input(2, as: Float.self), call.input(3, as: Float.self))
        gemm(
          m: rows, n: 2 * units, k: inputs, a: x, lda: inputs, b: w, ldb: 2 * units, c: gates,
          ldc: 2 * units, pool: call.pool)
        gemm(
          m: rows, n: 2 * units, k: units, a: h, lda: units, b: w + inputs * 2 * units,
          ldb: 2 * units, beta: 1, c: gates, ldc: 2 * units, pool: call.pool)
        let u = call.output(1, as: Float.self)
        BlockCellKernels.gruGates(
          rows: rows, units: units, gates: gates, bias: call.input(4, as: Float.self), previous: h,
          r: call.output(0, as: Float.self), u: u, reset: reset)
        let c = call.output(2, as: Float.self)
        gemm(
          m: rows, n: units, k: inputs, a: x, lda: inputs, b: wc, ldb: units, c: c, ldc: units,
          pool: call.pool)
        gemm(
          m: rows, n: units, k: units, a: reset, lda: units, b: wc + inputs * units, ldb: units,
          beta: 1, c: c, ldc: units, pool: call.pool)
        BlockCellKernels.gruOutput(
          rows: rows, units: units, bias: call.input(5, as: Float.self), previous: h, u: u, c: c,
          h: call.output(3, as: Float.self))
      }
    })

  /// Weights [inputs + units, gates * units] and bias [gates * units].
  private static func checkWeights(
    _ ctx: InferContext, _ weights: Int, _ bias: Int, inputs: Dim, units: Dim, gates: Int
  ) throws {
    let w = try ctx.shape(weights, rank: 2)
    let b = try ctx.shape(bias, rank: 1)
    guard let n = units.size else { return }
    let wanted = Shape(dims: [inputs.size.map { .known($0 + n) } ?? .unknown, .known(gates * n)])
    guard wanted.isCompatible(with: Shape(dims: w)), Dim.known(gates * n).isCompatible(with: b[0])
    else {
      throw ctx.error(
        "needs weights of shape \(wanted) and a bias of \(gates * n), got \(ctx.shape(weights)) "
          + "and \(ctx.shape(bias))")
    }
  }
}

// Stateless random ops: numbers that are a function of their seed inputs alone.

public import WeftGraph
internal import WeftKernels
public import WeftTensors

/// Rows of the stateless random ops.
enum StatelessRows {
  static let all: [OpDef] = [uniform, normal, uniformV2, normalV2, keyCounter]

  static let uniform = fill("StatelessRandomUniform", .uniform, "Uniform numbers in [0, 1)")
  static let normal = fill("StatelessRandomNormal", .normal, "Standard normal numbers")
  static let uniformV2 = fillV2("StatelessRandomUniformV2", .uniform, "Uniform numbers in [0, 1)")
  static let normalV2 = fillV2("StatelessRandomNormalV2", .normal, "Standard normal numbers")

  // Two seeds of either integer type.
  private static func seeds(_ memory: UnsafeRawPointer, _ dtype: DType) -> (UInt64, UInt64) {
    if dtype == .int64 {
      let s = memory.assumingMemoryBound(to: Int64.self)
      return (UInt64(bitPattern: s[0]), UInt64(bitPattern: s[1]))
    }
    let s = memory.assumingMemoryBound(to: Int32.self)
    return (UInt64(bitPattern: Int64(s[0])), UInt64(bitPattern: Int64(s[1])))
  }

  private static func checkLength(_ ctx: InferContext, _ index: Int, _ length: Int) throws {
    let dims = try ctx.shape(index, rank: 1)
    if let n = dims[0].size, n != length {
      throw ctx.error("needs input \(index) of shape [\(length)], got [\(n)]")
    }
  }

  private static func fill(_ name: String, _ kind: RandomKind, _ what: String) -> OpDef {
    OpDef(
      name, "shape: T, seed: Tseed -> output: dtype",
      "dtype: {half, bfloat16, float, double} = float; T: {int32, int64} = int32; "
        + "Tseed: {int32, int64} = int64",
      summary: "\(what) that follow from the two seeds.", traits: [.neverFold],
      infer: { ctx in
        try checkLength(ctx, 1, 2)
        return [try ctx.shapeFromValue(0)]
      },
      gradient: .zero,
      lowering: .kernel { ctx in
        _ = try ctx.knownOutput()
        let (count, dtype) = (ctx.outputCount(0), ctx.outputs[0].dtype)
        let (seedType, unsupported) = (ctx.dtype(1), ctx.unsupported(dtype))
        return Kernel("statelessRandom", flops: 20 * count) { call in
          let (a, b) = seeds(call.rawInput(1), seedType)
          guard
            RandomKernels.fill(
              kind, dtype, .stateless(a, b), call.rawOutput(0), count: count, pool: call.pool)
          else { throw unsupported }
        }
      })
  }

  private static func fillV2(_ name: String, _ kind: RandomKind, _ what: String) -> OpDef {
    OpDef(
      name, "shape: Tshape, key: uint64, counter: uint64, alg: int32 -> output: dtype",
      "dtype: {half, bfloat16, float, double} = float; Tshape: {int32, int64} = int32",
      summary: "\(what) of a Philox stream at this key and counter.", traits: [.neverFold],
      infer: { ctx in
        try checkLength(ctx, 1, 1)
        let counter = try ctx.shape(2, rank: 1)
        if let n = counter[0].size, n < 2 {
          throw ctx.error("needs a counter of at least 2 elements, got \(n)")
        }
        try ctx.checkScalar(3)
        return [try ctx.shapeFromValue(0)]
      },
      gradient: .zero,
      lowering: .kernel { ctx in
        _ = try ctx.knownOutput()
        let (count, dtype) = (ctx.outputCount(0), ctx.outputs[0].dtype)
        let (failure, unsupported) = (ctx.failure, ctx.unsupported(dtype))
        return Kernel("statelessRandom", flops: 20 * count) { call in
          // 1 is Philox, 3 leaves the choice to the device; 2, ThreeFry, is not supported.
          let algorithm = call.input(3, as: Int32.self)[0]
          guard algorithm == 1 || algorithm == 3 else {
            throw failure("knows algorithm 1 (Philox) only, got \(algorithm)")
          }
          let counter = call.input(2, as: UInt64.self)
          let stream = PhiloxStream(
            key: call.input(1, as: UInt64.self)[0], low: counter[0], high: counter[1])
          guard
            RandomKernels.fill(
              kind, dtype, stream, call.rawOutput(0), count: count, pool: call.pool)
          else { throw unsupported }
        }
      })
  }

  static let keyCounter = OpDef(
    "StatelessRandomGetKeyCounter", "seed: Tseed -> key: uint64, counter: uint64",
    "Tseed: {int32, int64} = int64",
    summary: "The Philox key and counter that two seeds stand for.",
    infer: { ctx in
      try checkLength(ctx, 0, 2)
      return [[1], [2]]
    },
    gradient: .zero,
    lowering: .kernel { ctx in
      let seedType = ctx.dtype(0)
      return Kernel("keyCounter") { call in
        let (a, b) = seeds(call.rawInput(0), seedType)
        let stream = PhiloxStream.stateless(a, b)
        call.output(0, as: UInt64.self)[0] = stream.key
        call.output(1, as: UInt64.self)[0] = stream.low
        call.output(1, as: UInt64.self)[1] = stream.high
      }
    })
}

/// Uniform numbers in `[0, 1)` of shape `shape`, a function of the two integers in `seed` alone.
/// TensorFlow: `StatelessRandomUniform`.
public func statelessRandomUniform(
  shape: Output, seed: Output, dtype: DType = .float32, name: String? = nil,
  file: StaticString = #fileID, line: UInt = #line
) throws -> Output {
  try shape.graph.output(
    StatelessRows.uniform.name, name: name, inputs: [shape, seed],
    attrs: ["dtype": .type(dtype)], file: file, line: line)
}

/// Standard normal numbers of shape `shape`, a function of the two integers in `seed` alone.
/// TensorFlow: `StatelessRandomNormal`.
public func statelessRandomNormal(
  shape: Output, seed: Output, dtype: DType = .float32, name: String? = nil,
  file: StaticString = #fileID, line: UInt = #line
) throws -> Output {
  try shape.graph.output(
    StatelessRows.normal.name, name: name, inputs: [shape, seed],
    attrs: ["dtype": .type(dtype)], file: file, line: line)
}

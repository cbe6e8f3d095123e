// Random ops with TensorFlow's Philox streams: stateful ones with seeds, and samplers on data.

public import WeftGraph
internal import WeftKernels
public import WeftTensors

/// Where a stateful random node's numbers come from.
struct NodeStream: Sendable {
  private let seeds: (UInt64, UInt64)?
  private let name: String
  private let sessionSeed: UInt64

  init(_ ctx: LowerContext) throws {
    let seed = UInt64(bitPattern: Int64(try ctx.attrs.int("seed")))
    let seed2 = UInt64(bitPattern: Int64(try ctx.attrs.int("seed2")))
    seeds = seed == 0 && seed2 == 0 ? nil : (seed, seed2)
    name = ctx.name
    sessionSeed = ctx.sessionSeed
  }

  /// The stream of run number `run`, of which each takes `reserved` counter values: TensorFlow
  /// sets aside 256 for each output, whatever a run consumes.
  func stream(run: UInt64, reserved: Int) -> PhiloxStream {
    guard let seeds else { return .named(name, sessionSeed: sessionSeed, run: run) }
    return PhiloxStream(key: seeds.0, high: seeds.1)
      .skipping(run &* UInt64(truncatingIfNeeded: reserved))
  }
}

extension InferContext {
  /// The shape whose sizes input `index` holds, as far as they are known.
  func shapeFromValue(_ index: Int) throws -> Shape {
    let sizes = try shape(index, rank: 1)
    if let known = integers(index), let bad = known.first(where: { $0 < 0 }) {
      throw error("got the negative size \(bad) in shape \(known)")
    }
    if let dims = value(index) { return Shape(dims: dims) }
    return try unknownShape(ofRank: sizes[0], "its shape")
  }
}

extension LowerContext {
  /// The sizes of output 0, which must be known by now.
  func knownOutput() throws -> [Int] {
    guard let shape = outputs[0].shape.known else {
      throw error("needs the value of its shape before it can run")
    }
    return shape
  }
}

/// Rows of the stateful random ops.
enum RandomRows {
  static let all: [OpDef] =
    [uniform, normal, truncatedNormal, uniformInt, shuffle, multinomial, gamma]
    + StatelessRows.all

  static let uniform = fill(
    "RandomUniform", .uniform, "Uniform numbers in [0, 1), drawn anew in each run.")
  static let normal = fill(
    "RandomStandardNormal", .normal, "Standard normal numbers, drawn anew in each run.")
  static let truncatedNormal = fill(
    "TruncatedNormal", .truncatedNormal,
    "Standard normal numbers of magnitude below 2, drawn anew in each run.")

  private static func fill(_ name: String, _ kind: RandomKind, _ summary: String) -> OpDef {
    OpDef(
      name, "shape: T -> output: dtype",
      "seed: int = 0; seed2: int = 0; dtype: {half, bfloat16, float, double}; T: {int32, int64}",
      summary: summary, traits: [.stateful, .random],
      infer: { ctx in [try ctx.shapeFromValue(0)] },
      gradient: .zero,
      lowering: .kernel { ctx in
        _ = try ctx.knownOutput()
        let (count, dtype) = (ctx.outputCount(0), ctx.outputs[0].dtype)
        let (source, unsupported) = (try NodeStream(ctx), ctx.unsupported(dtype))
        return Kernel("random", flops: 20 * count) { call in
          let stream = source.stream(run: call.objects.runIndex, reserved: 256 &* count)
          guard
            RandomKernels.fill(
              kind, dtype, stream, call.rawOutput(0), count: count, pool: call.pool)
          else { throw unsupported }
        }
      })
  }

  static let uniformInt = OpDef(
    "RandomUniformInt", "shape: T, minval: Tout, maxval: Tout -> output: Tout",
    "seed: int = 0; seed2: int = 0; Tout: {int32, int64}; T: {int32, int64}",
    summary: "Uniform integers in [minval, maxval), drawn anew in each run.",
    traits: [.stateful, .random],
    infer: { ctx in
      try ctx.checkScalar(1)
      try ctx.checkScalar(2)
      return [try ctx.shapeFromValue(0)]
    },
    gradient: .zero,
    lowering: .kernel { ctx in
      _ = try ctx.knownOutput()
      let (count, dtype) = (ctx.outputCount(0), ctx.outputs[0].dtype)
      let (source, failure) = (try NodeStream(ctx), ctx.failure)
      return Kernel("randomInt", flops: 10 * count) { call in
        let low = Int64(IndexList(call.rawInput(1), dtype, count: 1)[0])
        let high = Int64(IndexList(call.rawInput(2), dtype, count: 1)[0])
        guard low < high || count == 0 else {
          throw failure("needs minval < maxval, got \(low) >= \(high)")
        }
        RandomKernels.fillIntegers(
          dtype, low: low, high: high,
          source.stream(run: call.objects.runIndex, reserved: 256 &* count), call.rawOutput(0),
          count: count)
      }
    })

  static let shuffle = OpDef(
    "RandomShuffle", "value: T -> output: T", "seed: int = 0; seed2: int = 0; T: type",
    summary: "The rows of the first dimension in random order.",
    traits: [.stateful, .random],
    infer: { ctx in [ctx.shape(0)] },
    gradient: .none("its permutation is not kept"),
    lowering: .kernel { ctx in
      let shape = ctx.shape(0)
      let dtype = ctx.dtype(0)
      let rows = shape.first ?? 1
      let bytes = shape.dropFirst().reduce(dtype.byteSize, *)
      let source = try NodeStream(ctx)
      let failure = ctx.failure
      return Kernel("randomShuffle", scratchBytes: 8 * rows) { call in
        let order = call.scratch.assumingMemoryBound(to: Int.self)
        // 32-bit samples, four to a counter value.
        let stream = source.stream(run: call.objects.runIndex, reserved: (rows + 2) / 4)
        RandomKernels.permutation(stream, order, count: rows)
        if dtype == .string {
          guard let value = call.objectInput(0) as? Tensor else {
            throw failure("got no strings")
          }
          let inner = shape.dropFirst().reduce(1, *)
          var all: [[UInt8]] = []
          for i in 0..<rows { all += value.strings[(order[i] * inner)..<((order[i] + 1) * inner)] }
          call.setObject(try Tensor(strings: all, shape: shape), output: 0)
          return
        }
        if bytes == 0 { return }
        let (from, to) = (call.rawInput(0), call.rawOutput(0))
        for i in 0..<rows {
          (to + i * bytes).copyMemory(from: from + order[i] * bytes, byteCount: bytes)
        }
      }
    })

  static let multinomial = OpDef(
    "Multinomial", "logits: T, num_samples: int32 -> output: output_dtype",
    "seed: int = 0; seed2: int = 0; T: realnumbertype; output_dtype: {int32, int64} = int64",
    summary: "Classes drawn for each row of unnormalized log probabilities.",
    traits: [.stateful, .random],
    infer: { ctx in
      let rows = try ctx.shape(0, rank: 2)[0]
      try ctx.checkScalar(1)
      if let samples = ctx.integers(1)?.first, samples < 0 {
        throw ctx.error("needs num_samples >= 0, got \(samples)")
      }
      return [Shape(dims: [rows, ctx.value(1)?.first ?? .unknown])]
    },
    gradient: .zero,
    lowering: .kernel { ctx in
      let shape = try ctx.knownOutput()
      let (rows, samples, classes) = (shape[0], shape[1], ctx.shape(0)[1])
      let (dtype, source) = (ctx.dtype(0), try NodeStream(ctx))
      let isWide = ctx.outputs[0].dtype == .int64
      let unsupported = ctx.unsupported(dtype)
      guard classes > 0 || rows * samples == 0 else {
        throw ctx.error("needs at least one class, got logits of shape \(ctx.shape(0))")
      }
      let reserved = rows &* ((samples + 3) / 4 * 4) &* 2 &* 256
      let scratch = RandomKernels.multinomialScratchBytes(rows: rows, classes: classes, dtype)
      return Kernel("multinomial", scratchBytes: scratch, flops: 20 * rows * classes) { call in
        guard
          RandomKernels.multinomial(
            source.stream(run: call.objects.runIndex, reserved: reserved),
            logits: call.rawInput(0), dtype, rows: rows, classes: classes, samples: samples,
            out: call.rawOutput(0), isWide: isWide, scratch: call.scratch, pool: call.pool)
        else { throw unsupported }
      }
    })

  static let gamma = OpDef(
    "RandomGamma", "shape: S, alpha: T -> output: T",
    "seed: int = 0; seed2: int = 0; S: {int32, int64}; T: {half, float, double}",
    summary: "Gamma numbers of each alpha and rate 1, of shape `shape + alpha.shape`.",
    traits: [.stateful, .random],
    infer: { ctx in [try ctx.shapeFromValue(0).appending(ctx.shape(1))] },
    gradient: .none("samples of RandomGamma are not differentiated"),
    lowering: .kernel { ctx in
      _ = try ctx.knownOutput()
      let (count, dtype) = (ctx.outputCount(0), ctx.outputs[0].dtype)
      let (source, unsupported) = (try NodeStream(ctx), ctx.unsupported(dtype))
      let alphas = ctx.count(1)
      let each = alphas == 0 ? 0 : count / alphas
      return Kernel("randomGamma", flops: 60 * count) { call in
        guard
          RandomKernels.gamma(
            source.stream(run: call.objects.runIndex, reserved: 256 &* count), dtype,
            alphas: call.rawInput(1), alphaCount: alphas, perAlpha: each, out: call.rawOutput(0),
            pool: call.pool)
        else { throw unsupported }
      }
    })
}

/// Uniform numbers in `[0, 1)` of shape `shape`, drawn anew in each run.
///
/// With `seed` other than (0, 0) the stream is TensorFlow's own for these `seed` and `seed2`
/// attributes; else it follows from the session's seed and the node's name. No gradient flows.
/// TensorFlow: `RandomUniform`.
public func randomUniform(
  _ graph: Graph, shape: Output, dtype: DType = .float32, seed: (Int, Int) = (0, 0),
  name: String? = nil, file: StaticString = #fileID, line: UInt = #line
) throws -> Output {
  try randomFill(RandomRows.uniform.name, graph, shape, dtype, seed, name, file, line)
}

/// Standard normal numbers of shape `shape`, drawn anew in each run; seeds as in `randomUniform`.
/// TensorFlow: `RandomStandardNormal`.
public func randomNormal(
  _ graph: Graph, shape: Output, dtype: DType = .float32, seed: (Int, Int) = (0, 0),
  name: String? = nil, file: StaticString = #fileID, line: UInt = #line
) throws -> Output {
  try randomFill(RandomRows.normal.name, graph, shape, dtype, seed, name, file, line)
}

/// Standard normal numbers of magnitude below 2 (others are drawn again), of shape `shape`; seeds
/// as in `randomUniform`. TensorFlow: `TruncatedNormal`.
public func truncatedNormal(
  _ graph: Graph, shape: Output, dtype: DType = .float32, seed: (Int, Int) = (0, 0),
  name: String? = nil, file: StaticString = #fileID, line: UInt = #line
) throws -> Output {
  try randomFill(RandomRows.truncatedNormal.name, graph, shape, dtype, seed, name, file, line)
}

private func randomFill(
  _ op: String, _ graph: Graph, _ shape: Output, _ dtype: DType, _ seed: (Int, Int),
  _ name: String?, _ file: StaticString, _ line: UInt
) throws -> Output {
  try graph.output(
    op, name: name, inputs: [shape],
    attrs: [
      "dtype": .type(dtype), "seed": .int(Int64(seed.0)), "seed2": .int(Int64(seed.1)),
    ], file: file, line: line)
}

/// Integers in `low ..< high` (scalars of int32 or int64) of shape `shape`; seeds as in
/// `randomUniform`. TensorFlow: `RandomUniformInt`.
public func randomUniformInt(
  shape: Output, low: Output, high: Output, seed: (Int, Int) = (0, 0), name: String? = nil,
  file: StaticString = #fileID, line: UInt = #line
) throws -> Output {
  try shape.graph.output(
    RandomRows.uniformInt.name, name: name, inputs: [shape, low, high],
    attrs: ["seed": .int(Int64(seed.0)), "seed2": .int(Int64(seed.1))], file: file, line: line)
}

/// The rows of `value` in random order. TensorFlow: `RandomShuffle`.
public func randomShuffle(
  _ value: Output, seed: (Int, Int) = (0, 0), name: String? = nil, file: StaticString = #fileID,
  line: UInt = #line
) throws -> Output {
  try value.graph.output(
    RandomRows.shuffle.name, name: name, inputs: [value],
    attrs: ["seed": .int(Int64(seed.0)), "seed2": .int(Int64(seed.1))], file: file, line: line)
}

/// `count` (an int32 scalar) classes for each row of `logits`, `[rows, classes]`: class k with
/// probability proportional to `e^logits[row, k]`. Result `[rows, count]`.
/// TensorFlow: `Multinomial`.
public func multinomial(
  _ logits: Output, count: Output, seed: (Int, Int) = (0, 0), dtype: DType = .int64,
  name: String? = nil, file: StaticString = #fileID, line: UInt = #line
) throws -> Output {
  try logits.graph.output(
    RandomRows.multinomial.name, name: name, inputs: [logits, count],
    attrs: [
      "seed": .int(Int64(seed.0)), "seed2": .int(Int64(seed.1)), "output_dtype": .type(dtype),
    ], file: file, line: line)
}

// Borders around tensors: Pad, PadV2.

public import WeftGraph
internal import WeftKernels
internal import WeftTensors

enum PadRows {
  /// The sizes with `paddings` added, each as far as known.
  static func infer(_ ctx: InferContext) throws -> [Dim]? {
    let table = try ctx.shape(1, rank: 2)
    guard table[1].isCompatible(with: 2) else {
      throw ctx.error("needs paddings of shape [n, 2], got \(ctx.shape(1))")
    }
    guard let dims = ctx.shape(0).dims else {
      return try ctx.unknownShape(ofRank: table[0], "its paddings").dims
    }
    guard table[0].isCompatible(with: .known(dims.count)) else {
      throw ctx.error("needs paddings for \(dims.count) dimensions, got \(table[0])")
    }
    guard let pads = ctx.integers(1), pads.count == 2 * dims.count else {
      return Array(repeating: .unknown, count: dims.count)
    }
    return try dims.indices.map { d in
      let (before, after) = (pads[2 * d], pads[2 * d + 1])
      guard before >= 0, after >= 0 else {
        throw ctx.error("paddings must be non-negative: \(before) \(after)")
      }
      if before == 0 && after == 0 { return dims[d] }
      guard let n = dims[d].size else { return .unknown }
      let (border, over) = before.addingReportingOverflow(after)
      let (size, overflow) = n.addingReportingOverflow(border)
      guard !over, !overflow else { throw ctx.error("padded size overflows") }
      return .known(size)
    }
  }

  private static func lower(_ ctx: LowerContext, value: Int?) throws -> Kernel {
    let pads = try ctx.integers(1, "its paddings")
    let shape = ctx.shape(0)
    let out = ctx.outputShape(0)
    let dtype = ctx.dtype(0)
    guard dtype.isPlain else { throw ctx.unsupported(dtype) }
    if shape == out { return ctx.pass() }
    let strides = StridedCopy.strides(out)
    let offset = strides.indices.reduce(0) { $0 + pads[2 * $1] * strides[$1] }
    let copy = StridedCopy(
      elementBytes: dtype.byteSize, sizes: shape, source: StridedCopy.strides(shape),
      target: strides, targetOffset: offset)
    let count = product(out)
    return Kernel(ctx.kernelName("pad", dtype)) { call in
      if let value {
        fillElements(
          call.rawOutput(0), count: count, value: call.rawInput(value),
          elementBytes: dtype.byteSize, call.pool)
      } else {
        call.rawOutput(0).initializeMemory(
          as: UInt8.self, repeating: 0, count: count * dtype.byteSize)
      }
      copy.run(call.rawInput(0), call.rawOutput(0), call.pool)
    }
  }

  private static func gradient(_ g: GradientContext) throws -> Output {
    let dy = try g.gradient()
    let x = g.input(0)
    let table = g.input(1)
    if let pads = g.graph.integers(table), let shape = x.shape.known, pads.count == 2 * shape.count
    {
      return try dy.sliced(begin: shape.indices.map { pads[2 * $0] }, size: shape)
    }
    let begin = try table.stridedSlice(
      begin: [0, 0], end: [0, 1], masks: SliceMasks(begin: 1, end: 1, shrinkAxis: 2))
    return try dy.sliced(begin: begin, size: try x.shapeTensor(table.dtype))
  }

  static let pad = OpDef(
    "Pad", "input: T, paddings: Tpaddings -> output: T",
    "T: type; Tpaddings: {int32, int64} = int32",
    summary: "Its input with zeros around it.",
    infer: { ctx in [try infer(ctx).map { Shape(dims: $0) } ?? .unknown] },
    gradient: .rule { g in [.dense(try gradient(g)), nil] },
    lowering: .kernel { ctx in try lower(ctx, value: nil) })

  static let padV2 = OpDef(
    "PadV2", "input: T, paddings: Tpaddings, constant_values: T -> output: T",
    "T: type; Tpaddings: {int32, int64} = int32",
    summary: "Its input with a value around it.",
    infer: { ctx in
      _ = try ctx.shape(2, rank: 0)
      return [try infer(ctx).map { Shape(dims: $0) } ?? .unknown]
    },
    gradient: .rule { g in [.dense(try gradient(g)), nil, nil] },
    lowering: .kernel { ctx in try lower(ctx, value: 2) })

  static let all = [pad, padV2]
}

extension Output {
  /// Zeros around: `paddings[i]` holds how many before and after in dimension i.
  ///
  /// Gradient: dy without the border. TensorFlow's Pad, or PadV2 when `value` is given.
  public func padded(
    _ paddings: [[Int]], value: Output? = nil, name: String? = nil, file: StaticString = #fileID,
    line: UInt = #line
  ) throws -> Output {
    for pair in paddings where pair.count != 2 {
      throw WeftError(.invalidArgument, "paddings are pairs, got \(pair)")
    }
    let table = try graph.constant(
      try Tensor(integers: paddings.flatMap { $0 }, shape: [paddings.count, 2], dtype: .int32),
      name: "paddings", file: file, line: line)
    return try padded(table, value: value, name: name, file: file, line: line)
  }

  /// A border as wide as the integer matrix `paddings` `[rank, 2]` says.
  public func padded(
    _ paddings: Output, value: Output? = nil, name: String? = nil, file: StaticString = #fileID,
    line: UInt = #line
  ) throws -> Output {
    if let value {
      return try graph.output(
        PadRows.padV2.name, name: name, inputs: [self, paddings, value], file: file, line: line)
    }
    return try graph.output(
      PadRows.pad.name, name: name, inputs: [self, paddings], file: file, line: line)
  }
}

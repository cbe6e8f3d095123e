// Conversion between element types.

public import WeftGraph
internal import WeftKernels
public import WeftTensors

let castOpRow: OpDef = OpDef(
  "Cast", "x: SrcT -> y: DstT", "SrcT: type; DstT: type; Truncate: bool = false",
  summary: "x converted to another element type.", traits: .elementwise,
  infer: { ctx in [ctx.shape(0)] },
  value: { ctx in
    // Sizes fit all types that hold sizes; what would wrap is not known here.
    guard let to = try? ctx.attrs.type("DstT"), to == .int32 || to == .int64,
      ctx.dtype(0).isInteger || ctx.dtype(0) == .bool, let rank = ctx.shape(0).rank, rank <= 1
    else { return nil }
    return ctx.value(0)?.map { dim in
      guard to == .int32, let n = dim.size else { return dim }
      return Int32(exactly: n) == nil ? .unknown : dim
    }
  },
  gradient: .rule { g in
    let from = g.input(0).dtype
    guard from.isDifferentiable, g.output().dtype.isDifferentiable else { return [nil] }
    return [.dense(try g.gradient().cast(to: from))]
  },
  lowering: .kernel { ctx in
    let (from, to) = (ctx.dtype(0), ctx.outputs[0].dtype)
    if from == to { return .alias() }
    var row = castRow(from: from, to: to)
    if try ctx.attrs.bool("Truncate"), from == .float32, to == .bfloat16 {
      row = truncatingBFloat16Row
    }
    guard let row else {
      throw ctx.error("cannot convert \(from.name) to \(to.name)")
    }
    let (count, inSize, outSize) = (ctx.count(0), from.byteSize, to.byteSize)
    var kernel = Kernel(
      ctx.kernelName("cast", from) + "To" + ctx.kernelName("", to),
      inPlace: inSize == outSize ? [[0]] : [], flops: count
    ) { call in
      runUnary(
        call.rawInput(0), call.rawOutput(0), count: count, inputSize: inSize, outputSize: outSize,
        pool: call.pool, row: row)
    }
    kernel.loop = .unary(row)
    return kernel
  })

extension Output {
  /// The elements converted to `dtype`; itself when it has that type already.
  ///
  /// Integers wrap, floats are cut towards zero, anything but zero is true. The gradient is dy
  /// converted back, between floating types only (TensorFlow: `Cast`).
  public func cast(
    to dtype: DType, name: String? = nil, file: StaticString = #fileID, line: UInt = #line
  ) throws -> Output {
    if dtype == self.dtype && name == nil { return self }
    return try castOpRow.node([self], attrs: ["DstT": .type(dtype)], name, file, line)
  }
}

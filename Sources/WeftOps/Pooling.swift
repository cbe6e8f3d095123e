// Maximum and average pooling with their gradient ops.

public import WeftGraph
internal import WeftKernels
internal import WeftTensors

/// Rows of the poolings.
enum PoolingRows {
  static let all: [OpDef] = [
    averagePool, averagePoolGrad, maxPool, maxPoolGrad, maxPoolWithArgmax,
  ]

  private static let floats = "T: {half, bfloat16, float, double}"
  private static let sizes = "ksize: list(int) >= 4; strides: list(int) >= 4; "
  private static let formats = "data_format: {'NHWC', 'NCHW'} = 'NHWC'; "
  private static let maxPadding =
    "padding: {'SAME', 'VALID', 'EXPLICIT'}; explicit_paddings: list(int) = []"

  static let averagePool: OpDef = OpDef(
    "AvgPool", "value: T -> output: T", sizes + "padding: {'SAME', 'VALID'}; " + formats + floats,
    summary: "The average of each window's elements; padding does not count.",
    infer: { ctx in [try output(ctx, try ctx.shape(0, rank: 4))] },
    gradient: .rule { g in
      let shape = try g.input(0).shapeTensor()
      return [.dense(try sibling(averagePoolGrad, [shape, try g.gradient()], like: g))]
    },
    lowering: .kernel { ctx in
      let (geometry, dtype) = (try makeGeometry(ctx, ctx.shape(0)), ctx.dtype(0))
      let unsupported = ctx.unsupported(dtype)
      return Kernel("averagePool", flops: geometry.flops / 2) { call in
        guard
          PoolingKernels.average(
            dtype, geometry, call.rawInput(0), call.rawOutput(0), isGradient: false,
            pool: call.pool)
        else { throw unsupported }
      }
    })

  static let averagePoolGrad: OpDef = OpDef(
    "AvgPoolGrad", "orig_input_shape: int32, grad: T -> output: T",
    sizes + "padding: {'SAME', 'VALID'}; " + formats + floats,
    summary: "The gradient of AvgPool: each dy in equal parts to its window.",
    infer: { ctx in
      let shape = try ctx.shapeFromValue(0)
      guard let dims = shape.dims else { return [Shape(unknownOfRank: 4)] }
      guard dims.count == 4 else { throw ctx.error("needs 4 sizes, got \(shape)") }
      let wanted = try output(ctx, dims)
      guard wanted.isCompatible(with: ctx.shape(1)) else {
        throw ctx.error("needs an output gradient of shape \(wanted), got \(ctx.shape(1))")
      }
      return [shape]
    },
    gradient: .rule { g in
      [nil, .dense(try sibling(averagePool, [try g.gradient()], like: g))]
    },
    lowering: .kernel { ctx in
      let (geometry, dtype) = (try makeGeometry(ctx, try ctx.knownOutput()), ctx.dtype(1))
      let unsupported = ctx.unsupported(dtype)
      return Kernel("averagePoolGrad", flops: geometry.flops / 2) { call in
        guard
          PoolingKernels.average(
            dtype, geometry, call.rawInput(1), call.rawOutput(0), isGradient: true, pool: call.pool)
        else { throw unsupported }
      }
    })

  static let maxPool: OpDef = OpDef(
    "MaxPool", "input: T -> output: T",
    "T: {half, bfloat16, float, double, int32, int64, uint8, int16, int8, uint16} = float; "
      + sizes + maxPadding + "; data_format: {'NHWC', 'NCHW', 'NCHW_VECT_C'} = 'NHWC'",
    summary: "The maximum of each window's elements.",
    infer: { ctx in [try output(ctx, try ctx.shape(0, rank: 4))] },
    gradient: .rule { g in
      let inputs = [g.input(0), g.output(), try g.gradient()]
      return [.dense(try sibling(maxPoolGrad, inputs, like: g))]
    },
    lowering: .kernel { ctx in
      let (geometry, dtype) = (try makeGeometry(ctx, ctx.shape(0)), ctx.dtype(0))
      let unsupported = ctx.unsupported(dtype)
      return Kernel("maxPool", flops: geometry.flops / 2) { call in
        var work = PoolingKernels.MaximumCall(geometry, call.rawInput(0))
        work.y = call.rawOutput(0)
        guard PoolingKernels.maximum(dtype, work, pool: call.pool) else { throw unsupported }
      }
    })

  static let maxPoolGrad: OpDef = OpDef(
    "MaxPoolGrad", "orig_input: T, orig_output: T, grad: T -> output: T",
    sizes + maxPadding + "; " + formats + "T: realnumbertype = float",
    summary: "The gradient of MaxPool: each dy to the first maximum of its window.",
    infer: { ctx in
      let wanted = try output(ctx, try ctx.shape(0, rank: 4))
      for index in 1...2 where !wanted.isCompatible(with: ctx.shape(index)) {
        throw ctx.error("needs input \(index) of shape \(wanted), got \(ctx.shape(index))")
      }
      return [ctx.shape(0)]
    },
    gradient: .none("the second derivative of max pooling is not defined here"),
    lowering: .kernel { ctx in
      let (geometry, dtype) = (try makeGeometry(ctx, ctx.shape(0)), ctx.dtype(0))
      let unsupported = ctx.unsupported(dtype)
      return Kernel("maxPoolGrad", flops: geometry.flops / 2) { call in
        var work = PoolingKernels.MaximumCall(geometry, call.rawInput(0))
        work.dy = call.rawInput(2)
        work.dx = call.rawOutput(0)
        guard PoolingKernels.maximum(dtype, work, pool: call.pool) else { throw unsupported }
      }
    })

  static let maxPoolWithArgmax: OpDef = OpDef(
    "MaxPoolWithArgmax", "input: T -> output: T, argmax: Targmax",
    sizes + "Targmax: {int32, int64} = int64; padding: {'SAME', 'VALID'}; "
      + "include_batch_in_index: bool = false; T: realnumbertype",
    summary: "The maximum of each window's elements and its flat index in the image.",
    infer: { ctx in
      let shape = try output(ctx, try ctx.shape(0, rank: 4))
      return [shape, shape]
    },
    gradient: .none("it needs MaxPoolGradWithArgmax, which is not registered"),
    lowering: .kernel { ctx in
      let (geometry, dtype) = (try makeGeometry(ctx, ctx.shape(0)), ctx.dtype(0))
      let unsupported = ctx.unsupported(dtype)
      let includesBatch = try ctx.attrs.bool("include_batch_in_index")
      let isWide = ctx.outputs[1].dtype == .int64
      return Kernel("maxPoolArgmax", flops: geometry.flops / 2) { call in
        var work = PoolingKernels.MaximumCall(geometry, call.rawInput(0))
        work.y = call.rawOutput(0)
        work.argmax = call.rawOutput(1)
        work.isWide = isWide
        work.includesBatch = includesBatch
        guard PoolingKernels.maximum(dtype, work, pool: call.pool) else { throw unsupported }
      }
    })

  /// The shape of the output for an image of shape `x`.
  private static func output(_ ctx: InferContext, _ x: [Dim]) throws -> Shape {
    let spatial = try SpatialAttrs(ctx.attrs, rank: 2, op: ctx.op.name)
    var out: [Dim] = []
    for (axis, size) in spatial.spatial(x).enumerated() {
      out.append(
        try spatial.outputDim(axis, input: size, kernel: .known(spatial.window[axis])))
    }
    return Shape(dims: spatial.image(x[0], out, spatial.channels(x)))
  }

  private static func makeGeometry(_ ctx: LowerContext, _ x: [Int]) throws -> ConvolutionGeometry {
    let spatial = try SpatialAttrs(ctx.attrs, rank: 2, op: ctx.op.name)
    let axes = try spatial.spatial(x).enumerated().map { axis, size in
      try spatial.axis(axis, input: size, kernel: spatial.window[axis])
    }
    let channels = spatial.channels(x)
    return ConvolutionGeometry(
      images: x[0], axes: axes, inChannels: channels, outChannels: channels,
      groups: max(1, channels), channelsFirst: spatial.channelsFirst)
  }

  private static func sibling(
    _ row: OpDef, _ inputs: [Output], like g: GradientContext
  ) throws -> Output {
    var attrs: [String: AttrValue] = [:]
    for attr in row.signature.attrs where attr.name != "T" {
      if let value = g.attrs[attr.name] { attrs[attr.name] = value }
    }
    return try g.graph.output(row.name, inputs: inputs, attrs: attrs)
  }
}

private func pool(
  _ op: String, _ x: Output, _ window: [Int], _ strides: [Int]?, _ padding: Padding,
  _ format: String, _ name: String?, _ file: StaticString, _ line: UInt
) throws -> Output {
  var attrs = padding.attrs(channelsFirst: format.hasPrefix("NC"))
  attrs["ksize"] = windowAttr(window, format)
  attrs["strides"] = windowAttr(strides ?? window, format)
  attrs["data_format"] = .string(format)
  return try x.graph.output(op, name: name, inputs: [x], attrs: attrs, file: file, line: line)
}

/// The maximum over windows of images `[N, H, W, C]` (or `[N, C, H, W]`); strides are the window's
/// sizes unless given.
///
/// Gradient: dy to the first maximum of its window. TensorFlow: `MaxPool`.
public func maxPool(
  _ x: Output, window: [Int], strides: [Int]? = nil, padding: Padding = .valid,
  format: String = "NHWC", name: String? = nil, file: StaticString = #fileID, line: UInt = #line
) throws -> Output {
  try pool(PoolingRows.maxPool.name, x, window, strides, padding, format, name, file, line)
}

/// The average over windows of images; padding does not count. `same` or `valid` padding only.
///
/// Gradient: dy in equal parts. TensorFlow: `AvgPool`.
public func averagePool(
  _ x: Output, window: [Int], strides: [Int]? = nil, padding: Padding = .valid,
  format: String = "NHWC", name: String? = nil, file: StaticString = #fileID, line: UInt = #line
) throws -> Output {
  try pool(PoolingRows.averagePool.name, x, window, strides, padding, format, name, file, line)
}

// Depthwise convolution with its gradient ops.

public import WeftGraph
internal import WeftKernels
internal import WeftTensors

/// Rows of depthwise convolution.
enum DepthwiseRows {
  static let all: [OpDef] = [forward, input, filter]

  private static let attributes =
    "T: {half, bfloat16, float, double}; strides: list(int); "
    + "padding: {'SAME', 'VALID', 'EXPLICIT'}; explicit_paddings: list(int) = []; "
    + "data_format: {'NHWC', 'NCHW'} = 'NHWC'; dilations: list(int) = [1, 1, 1, 1]"

  static let forward: OpDef = OpDef(
    "DepthwiseConv2dNative", "input: T, filter: T -> output: T", attributes,
    summary: "Slides filters of its own over each channel of images.",
    infer: { ctx in
      let spatial = try SpatialAttrs(ctx.attrs, rank: 2, op: ctx.op.name)
      let x = try ctx.shape(0, rank: 4)
      let f = try ctx.shape(1, rank: 4)
      let channels = try ctx.merge(spatial.channels(x), f[2], "numbers of input channels")
      var out: [Dim] = []
      for (axis, size) in spatial.spatial(x).enumerated() {
        out.append(try spatial.outputDim(axis, input: size, kernel: f[axis]))
      }
      return [Shape(dims: spatial.image(x[0], out, try product(ctx, channels, f[3])))]
    },
    gradient: .rule { g in
      let (x, f, dy) = (g.input(0), g.input(1), try g.gradient())
      return [
        .dense(try sibling(input, [try x.shapeTensor(), f, dy], like: g)),
        .dense(try sibling(filter, [x, try f.shapeTensor(), dy], like: g)),
      ]
    },
    lowering: .kernel { ctx in
      try kernel(ctx, .forward, image: ctx.shape(0), filter: ctx.shape(1), operands: (0, 1))
    })

  static let input: OpDef = OpDef(
    "DepthwiseConv2dNativeBackpropInput",
    "input_sizes: int32, filter: T, out_backprop: T -> output: T", attributes,
    summary: "The gradient of a depthwise convolution with respect to its input.",
    infer: { ctx in
      let spatial = try SpatialAttrs(ctx.attrs, rank: 2, op: ctx.op.name)
      let dy = try ctx.shape(2, rank: 4)
      let f = try ctx.shape(1, rank: 4)
      let dims = try ctx.shapeFromValue(0)
      guard let x = dims.dims else { return [Shape(unknownOfRank: 4)] }
      guard x.count == 4 else { throw ctx.error("needs 4 sizes, got \(dims)") }
      _ = try ctx.merge(spatial.channels(x), f[2], "numbers of input channels")
      try ConvolutionRows.checkOutput(ctx, spatial, image: x, filter: f, dy)
      return [dims]
    },
    gradient: .rule { g in
      let (f, dy, d) = (g.input(1), g.input(2), try g.gradient())
      return [
        nil, .dense(try sibling(filter, [d, try f.shapeTensor(), dy], like: g)),
        .dense(try sibling(forward, [d, f], like: g)),
      ]
    },
    lowering: .kernel { ctx in
      try kernel(
        ctx, .input, image: try ctx.knownOutput(), filter: ctx.shape(1), operands: (2, 1))
    })

  static let filter: OpDef = OpDef(
    "DepthwiseConv2dNativeBackpropFilter",
    "input: T, filter_sizes: int32, out_backprop: T -> output: T", attributes,
    summary: "The gradient of a depthwise convolution with respect to its filter.",
    infer: { ctx in
      let spatial = try SpatialAttrs(ctx.attrs, rank: 2, op: ctx.op.name)
      let x = try ctx.shape(0, rank: 4)
      let dy = try ctx.shape(2, rank: 4)
      let dims = try ctx.shapeFromValue(1)
      guard let f = dims.dims else { return [Shape(unknownOfRank: 4)] }
      guard f.count == 4 else { throw ctx.error("needs 4 sizes, got \(dims)") }
      _ = try ctx.merge(spatial.channels(x), f[2], "numbers of input channels")
      try ConvolutionRows.checkOutput(ctx, spatial, image: x, filter: f, dy)
      return [dims]
    },
    gradient: .rule { g in
      let (x, dy, d) = (g.input(0), g.input(2), try g.gradient())
      return [
        .dense(try sibling(input, [try x.shapeTensor(), d, dy], like: g)), nil,
        .dense(try sibling(forward, [x, d], like: g)),
      ]
    },
    lowering: .kernel { ctx in
      try kernel(
        ctx, .filter, image: ctx.shape(0), filter: try ctx.knownOutput(), operands: (0, 2))
    })

  private static func product(_ ctx: InferContext, _ a: Dim, _ b: Dim) throws -> Dim {
    guard let a = a.size, let b = b.size else { return .unknown }
    let (n, overflow) = a.multipliedReportingOverflow(by: b)
    if overflow { throw ctx.error("has too many output channels: \(a) * \(b)") }
    return .known(n)
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

  private static func kernel(
    _ ctx: LowerContext, _ part: ConvolutionPart, image: [Int], filter: [Int],
    operands: (Int, Int)
  ) throws -> Kernel {
    let spatial = try SpatialAttrs(ctx.attrs, rank: 2, op: ctx.op.name)
    let axes = try spatial.spatial(image).enumerated().map { axis, size in
      try spatial.axis(axis, input: size, kernel: filter[axis])
    }
    let channels = spatial.channels(image)
    let outShape = spatial.image(image[0], axes.map(\.output), channels * filter[3])
    let given = part == .forward ? ctx.outputShape(0) : ctx.shape(2)
    guard given == outShape, filter[2] == channels else {
      throw ctx.error("needs an output of shape \(outShape), got \(given)")
    }
    let geometry = ConvolutionGeometry(
      images: image[0], axes: axes, inChannels: channels, outChannels: channels * filter[3],
      groups: max(1, channels), channelsFirst: spatial.channelsFirst)
    let dtype = ctx.outputs[0].dtype
    let unsupported = ctx.unsupported(dtype)
    return Kernel("depthwiseConvolution", flops: geometry.flops) { call in
      guard
        DepthwiseKernels.run(
          part, dtype, geometry, call.rawInput(operands.0), call.rawInput(operands.1),
          call.rawOutput(0), pool: call.pool)
      else { throw unsupported }
    }
  }
}

/// 2-D convolution of each channel with `M` filters of its own: x `[N, H, W, C]`, filter
/// `[kh, kw, C, M]`, result with `C * M` channels, channel `c * M + q` from filter `[.., c, q]`.
/// TensorFlow: `DepthwiseConv2dNative`.
public func depthwiseConv2D(
  _ x: Output, _ filter: Output, strides: [Int] = [1, 1], padding: Padding = .same,
  dilations: [Int] = [1, 1], format: String = "NHWC", name: String? = nil,
  file: StaticString = #fileID, line: UInt = #line
) throws -> Output {
  var attrs = padding.attrs(channelsFirst: format.hasPrefix("NC"))
  attrs["strides"] = windowAttr(strides, format)
  attrs["dilations"] = windowAttr(dilations, format)
  attrs["data_format"] = .string(format)
  return try x.graph.output(
    DepthwiseRows.forward.name, name: name, inputs: [x, filter], attrs: attrs, file: file,
    line: line)
}

// Convolutions in two and three dimensions with their gradient ops.

public import WeftGraph
internal import WeftKernels
internal import WeftTensors

/// Rows of the dense convolutions.
enum ConvolutionRows {
  static let all: [OpDef] = [
    conv2D, conv2DInput, conv2DFilter, conv3D, conv3DInput, conv3DFilter,
  ]

  private static let attributes2D =
    "strides: list(int); use_cudnn_on_gpu: bool = true; padding: {'SAME', 'VALID', 'EXPLICIT'}; "
    + "explicit_paddings: list(int) = []; data_format: {'NHWC', 'NCHW'} = 'NHWC'; "
    + "dilations: list(int) = [1, 1, 1, 1]"
  private static let attributes3D =
    "strides: list(int) >= 5; padding: {'SAME', 'VALID'}; "
    + "data_format: {'NDHWC', 'NCDHW'} = 'NDHWC'; dilations: list(int) = [1, 1, 1, 1, 1]"
  private static let floats = "T: {half, bfloat16, float, double}; "

  static let conv2D: OpDef = forward(
    "Conv2D", "T: {half, bfloat16, float, double, int32}; " + attributes2D, 2)
  static let conv2DInput: OpDef = inputGradient(
    "Conv2DBackpropInput", "int32", "T: {half, bfloat16, float, double, int32}; " + attributes2D, 2)
  static let conv2DFilter: OpDef = filterGradient(
    "Conv2DBackpropFilter", floats + attributes2D, 2)
  static let conv3D: OpDef = forward("Conv3D", floats + attributes3D, 3)
  static let conv3DInput: OpDef = inputGradient(
    "Conv3DBackpropInputV2", "Tshape",
    floats + attributes3D + "; Tshape: {int32, int64} = int32", 3)
  static let conv3DFilter: OpDef = filterGradient(
    "Conv3DBackpropFilterV2", floats + attributes3D, 3)

  private static func forwardRow(_ rank: Int) -> OpDef { rank == 2 ? conv2D : conv3D }
  private static func inputRow(_ rank: Int) -> OpDef { rank == 2 ? conv2DInput : conv3DInput }
  private static func filterRow(_ rank: Int) -> OpDef { rank == 2 ? conv2DFilter : conv3DFilter }

  /// A node of one of the three ops with the attributes of another.
  private static func sibling(
    _ row: OpDef, _ inputs: [Output], like g: GradientContext
  ) throws -> Output {
    var attrs: [String: AttrValue] = [:]
    for attr in row.signature.attrs where !attr.name.hasPrefix("T") {
      if let value = g.attrs[attr.name] { attrs[attr.name] = value }
    }
    return try g.graph.output(row.name, inputs: inputs, attrs: attrs)
  }

  private static func forward(_ name: String, _ attributes: String, _ rank: Int) -> OpDef {
    OpDef(
      name, "input: T, filter: T -> output: T", attributes,
      summary: "Slides a filter over the spatial axes of images.",
      infer: { ctx in
        let spatial = try SpatialAttrs(ctx.attrs, rank: rank, op: name)
        let x = try ctx.shape(0, rank: rank + 2)
        let f = try ctx.shape(1, rank: rank + 2)
        try checkChannels(ctx, spatial.channels(x), f)
        var out: [Dim] = []
        for (axis, size) in spatial.spatial(x).enumerated() {
          out.append(try spatial.outputDim(axis, input: size, kernel: f[axis]))
        }
        return [Shape(dims: spatial.image(x[0], out, f[rank + 1]))]
      },
      gradient: .rule { g in
        let (x, f, dy) = (g.input(0), g.input(1), try g.gradient())
        return [
          .dense(try sibling(inputRow(rank), [try x.shapeTensor(), f, dy], like: g)),
          .dense(try sibling(filterRow(rank), [x, try f.shapeTensor(), dy], like: g)),
        ]
      },
      lowering: .kernel { ctx in
        try kernel(ctx, .forward, rank, image: ctx.shape(0), filter: ctx.shape(1), operands: (0, 1))
      })
  }

  private static func inputGradient(
    _ name: String, _ sizesType: String, _ attributes: String, _ rank: Int
  ) -> OpDef {
    OpDef(
      name, "input_sizes: \(sizesType), filter: T, out_backprop: T -> output: T", attributes,
      summary: "The gradient of a convolution with respect to its input.",
      infer: { ctx in
        let spatial = try SpatialAttrs(ctx.attrs, rank: rank, op: name)
        let dy = try ctx.shape(2, rank: rank + 2)
        let f = try ctx.shape(1, rank: rank + 2)
        var dims = try sizes(ctx, 0, rank + 2)
        // TensorFlow lets callers leave out the batch.
        if dims.count == rank + 1 { dims.insert(dy[0], at: 0) }
        try checkChannels(ctx, spatial.channels(dims), f)
        try checkOutput(ctx, spatial, image: dims, filter: f, dy)
        return [Shape(dims: dims)]
      },
      gradient: .rule { g in
        let (f, dy, d) = (g.input(1), g.input(2), try g.gradient())
        return [
          nil,
          .dense(try sibling(filterRow(rank), [d, try f.shapeTensor(), dy], like: g)),
          .dense(try sibling(forwardRow(rank), [d, f], like: g)),
        ]
      },
      lowering: .kernel { ctx in
        try kernel(
          ctx, .input, rank, image: try ctx.knownOutput(), filter: ctx.shape(1), operands: (2, 1))
      })
  }

  private static func filterGradient(_ name: String, _ attributes: String, _ rank: Int) -> OpDef {
    OpDef(
      name, "input: T, filter_sizes: int32, out_backprop: T -> output: T", attributes,
      summary: "The gradient of a convolution with respect to its filter.",
      infer: { ctx in
        let spatial = try SpatialAttrs(ctx.attrs, rank: rank, op: name)
        let x = try ctx.shape(0, rank: rank + 2)
        let dy = try ctx.shape(2, rank: rank + 2)
        let f = try sizes(ctx, 1, rank + 2)
        try checkChannels(ctx, spatial.channels(x), f)
        try checkOutput(ctx, spatial, image: x, filter: f, dy)
        return [Shape(dims: f)]
      },
      gradient: .rule { g in
        let (x, dy, d) = (g.input(0), g.input(2), try g.gradient())
        return [
          .dense(try sibling(inputRow(rank), [try x.shapeTensor(), d, dy], like: g)), nil,
          .dense(try sibling(forwardRow(rank), [x, d], like: g)),
        ]
      },
      lowering: .kernel { ctx in
        try kernel(
          ctx, .filter, rank, image: ctx.shape(0), filter: try ctx.knownOutput(),
          operands: (0, 2))
      })
  }

  /// The sizes that input `index` holds.
  static func sizes(_ ctx: InferContext, _ index: Int, _ rank: Int) throws -> [Dim] {
    let shape = try ctx.shapeFromValue(index)
    guard let dims = shape.dims else { return Array(repeating: .unknown, count: rank) }
    guard dims.count == rank || dims.count == rank - 1 && index == 0 else {
      throw ctx.error("needs \(rank) sizes, got \(shape)")
    }
    return dims
  }

  /// The filter's input channels divide the image's, and its groups divide the output's.
  private static func checkChannels(_ ctx: InferContext, _ image: Dim, _ filter: [Dim]) throws {
    let (own, out) = (filter[filter.count - 2], filter[filter.count - 1])
    guard let c = image.size, let part = own.size else { return }
    guard part > 0 ? c % part == 0 : c == 0 else {
      throw ctx.error("has \(c) input channels, which the filter's \(part) do not divide")
    }
    if let out = out.size, part > 0, c > 0, out % (c / part) != 0 {
      throw ctx.error("cannot share \(out) output channels among \(c / part) groups")
    }
  }

  /// The output gradient has the shape of the convolution's output.
  static func checkOutput(
    _ ctx: InferContext, _ spatial: SpatialAttrs, image: [Dim], filter: [Dim], _ dy: [Dim]
  ) throws {
    var out: [Dim] = []
    for (axis, size) in spatial.spatial(image).enumerated() {
      out.append(try spatial.outputDim(axis, input: size, kernel: filter[axis]))
    }
    let wanted = Shape(dims: spatial.image(image[0], out, .unknown))
    guard wanted.isCompatible(with: Shape(dims: dy)) else {
      throw ctx.error("needs an output gradient of shape \(wanted), got \(Shape(dims: dy))")
    }
  }

  private static func kernel(
    _ ctx: LowerContext, _ part: ConvolutionPart, _ rank: Int, image: [Int], filter: [Int],
    operands: (Int, Int)
  ) throws -> Kernel {
    let spatial = try SpatialAttrs(ctx.attrs, rank: rank, op: ctx.op.name)
    let axes = try spatial.spatial(image).enumerated().map { axis, size in
      try spatial.axis(axis, input: size, kernel: filter[axis])
    }
    let (channels, part1) = (spatial.channels(image), filter[rank])
    let outChannels = filter[rank + 1]
    let outShape = spatial.image(image[0], axes.map(\.output), outChannels)
    let given = part == .forward ? ctx.outputShape(0) : ctx.shape(2)
    guard given == outShape else {
      throw ctx.error("needs an output of shape \(outShape), got \(given)")
    }
    let geometry = ConvolutionGeometry(
      images: image[0], axes: axes, inChannels: channels, outChannels: outChannels,
      groups: part1 == 0 ? 1 : channels / part1, channelsFirst: spatial.channelsFirst)
    let dtype = ctx.outputs[0].dtype
    let unsupported = ctx.unsupported(dtype)
    let scratch = ConvolutionKernels.scratchBytes(part, dtype, geometry)
    return Kernel("convolution", scratchBytes: scratch, flops: geometry.flops) { call in
      guard
        ConvolutionKernels.run(
          part, dtype, geometry, call.rawInput(operands.0), call.rawInput(operands.1),
          call.rawOutput(0), scratch: call.scratch, pool: call.pool)
      else { throw unsupported }
    }
  }
}

/// How a window is padded at the borders of an image.
public enum Padding: Sendable, Hashable {
  /// As much as makes the output `ceil(input / stride)`, the odd element behind.
  case same
  /// None: windows lie in the image.
  case valid
  /// So many elements before and after each spatial axis.
  case explicit([[Int]])

  /// The node's attributes.
  func attrs(channelsFirst: Bool) -> [String: AttrValue] {
    switch self {
    case .same: return ["padding": .string("SAME")]
    case .valid: return ["padding": .string("VALID")]
    case .explicit(let pairs):
      let all = channelsFirst ? [[0, 0], [0, 0]] + pairs : [[0, 0]] + pairs + [[0, 0]]
      return ["padding": .string("EXPLICIT"), "explicit_paddings": .ints(all.flatMap { $0 })]
    }
  }
}

/// One for batch and channels, `sizes` for the spatial axes.
func windowAttr(_ sizes: [Int], _ format: String) -> AttrValue {
  .ints(format.hasPrefix("NC") ? [1, 1] + sizes : [1] + sizes + [1])
}

/// 2-D convolution: x `[N, H, W, C]` (or `[N, C, H, W]`), filter `[kh, kw, C / groups, O]`.
///
/// `y[n, i, j, o] = sum x[n, i * s + a * d, j * s + b * d, c] * filter[a, b, c, o]`. Gradients:
/// `Conv2DBackpropInput` and `Conv2DBackpropFilter`. TensorFlow: `Conv2D`.
public func conv2D(
  _ x: Output, _ filter: Output, strides: [Int] = [1, 1], padding: Padding = .same,
  dilations: [Int] = [1, 1], format: String = "NHWC", name: String? = nil,
  file: StaticString = #fileID, line: UInt = #line
) throws -> Output {
  var attrs = padding.attrs(channelsFirst: format.hasPrefix("NC"))
  attrs["strides"] = windowAttr(strides, format)
  attrs["dilations"] = windowAttr(dilations, format)
  attrs["data_format"] = .string(format)
  return try x.graph.output(
    ConvolutionRows.conv2D.name, name: name, inputs: [x, filter], attrs: attrs, file: file,
    line: line)
}

/// 3-D convolution: x `[N, D, H, W, C]` (or `[N, C, D, H, W]`), filter `[kd, kh, kw, C, O]`.
/// Gradients as those of `conv2D`. TensorFlow: `Conv3D`.
public func conv3D(
  _ x: Output, _ filter: Output, strides: [Int] = [1, 1, 1], padding: Padding = .same,
  dilations: [Int] = [1, 1, 1], format: String = "NDHWC", name: String? = nil,
  file: StaticString = #fileID, line: UInt = #line
) throws -> Output {
  var attrs = padding.attrs(channelsFirst: format.hasPrefix("NC"))
  attrs["strides"] = windowAttr(strides, format)
  attrs["dilations"] = windowAttr(dilations, format)
  attrs["data_format"] = .string(format)
  return try x.graph.output(
    ConvolutionRows.conv3D.name, name: name, inputs: [x, filter], attrs: attrs, file: file,
    line: line)
}

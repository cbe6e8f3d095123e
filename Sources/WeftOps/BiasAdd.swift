// Adding a bias vector along the channel axis, and its gradient.

public import WeftGraph
internal import WeftKernels
internal import WeftTensors

/// Rows of the bias ops.
enum BiasRows {
  static let all: [OpDef] = [add, addV1, grad]

  private static let formats = "data_format: {'NHWC', 'NCHW'} = 'NHWC'"

  static let add = OpDef(
    "BiasAdd", "value: T, bias: T -> output: T", "T: numbertype; " + formats,
    summary: "value + bias along the channel axis: the last, or axis 1 for NCHW.",
    infer: { ctx in try infer(ctx, try isChannelsFirst(ctx.attrs)) },
    gradient: .rule { g in
      let dy = try g.gradient()
      let format = try g.attrs.string("data_format")
      return [.dense(dy), .dense(try channelSums(dy, format: format))]
    },
    lowering: .kernel { ctx in kernel(ctx, try isChannelsFirst(ctx.attrs)) })

  static let addV1 = OpDef(
    "BiasAddV1", "value: T, bias: T -> output: T", "T: numbertype",
    summary: "value + bias along the last axis.",
    infer: { ctx in try infer(ctx, false) },
    gradient: .rule { g in
      let dy = try g.gradient()
      return [.dense(dy), .dense(try channelSums(dy, format: "NHWC"))]
    },
    lowering: .kernel { ctx in kernel(ctx, false) })

  static let grad = OpDef(
    "BiasAddGrad", "out_backprop: T -> output: T", "T: numbertype; " + formats,
    summary: "Sums over all axes but the channel axis.",
    infer: { ctx in
      let first = try isChannelsFirst(ctx.attrs)
      guard let dims = try ctx.shape(0, rankAtLeast: 2) else { return [Shape(dims: [.unknown])] }
      return [Shape(dims: [first ? dims[1] : dims[dims.count - 1]])]
    },
    gradient: .rule { g in
      // Each element contributes to its channel's sum: the bias's gradient, spread out again.
      let zeros = try zerosLike(g.input(0))
      let format = try g.attrs.string("data_format")
      return [.dense(try biasAdd(zeros, try g.gradient(), format: format))]
    },
    lowering: .kernel { ctx in
      let first = try isChannelsFirst(ctx.attrs)
      let (layout, dtype) = (ChannelLayout(ctx.shape(0), channelsFirst: first), ctx.dtype(0))
      let unsupported = ctx.unsupported(dtype)
      let scratch = BiasKernels.scratchBytes(dtype, layout)
      return Kernel("biasAddGrad", scratchBytes: scratch, flops: ctx.count(0)) { call in
        guard
          BiasKernels.sum(
            dtype, call.rawInput(0), call.rawOutput(0), layout, scratch: call.scratch,
            pool: call.pool)
        else { throw unsupported }
      }
    })

  static func isChannelsFirst(_ attrs: Attrs) throws -> Bool {
    try attrs.string("data_format").hasPrefix("NC")
  }

  private static func infer(_ ctx: InferContext, _ channelsFirst: Bool) throws -> [Shape] {
    let bias = try ctx.shape(1, rank: 1)[0]
    guard var dims = try ctx.shape(0, rankAtLeast: 2) else { return [.unknown] }
    let axis = channelsFirst ? 1 : dims.count - 1
    dims[axis] = try ctx.merge(dims[axis], bias, "sizes of channel axis and bias")
    return [Shape(dims: dims)]
  }

  private static func kernel(_ ctx: LowerContext, _ channelsFirst: Bool) -> Kernel {
    let (layout, dtype) = (ChannelLayout(ctx.shape(0), channelsFirst: channelsFirst), ctx.dtype(0))
    let unsupported = ctx.unsupported(dtype)
    return Kernel("biasAdd", inPlace: [[0]], flops: ctx.count(0)) { call in
      guard
        BiasKernels.add(
          dtype, call.rawInput(0), bias: call.rawInput(1), call.rawOutput(0), layout,
          pool: call.pool)
      else { throw unsupported }
    }
  }

  static func channelSums(_ dy: Output, format: String) throws -> Output {
    try dy.graph.output(
      grad.name, inputs: [dy], attrs: ["data_format": .string(format)])
  }
}

extension ChannelLayout {
  /// How channels lie in a tensor of this shape.
  init(_ shape: [Int], channelsFirst: Bool) {
    let axis = channelsFirst && shape.count > 1 ? 1 : max(0, shape.count - 1)
    self.init(
      outer: shape.prefix(axis).reduce(1, *), channels: shape.isEmpty ? 1 : shape[axis],
      inner: shape.dropFirst(axis + 1).reduce(1, *))
  }
}

/// `x + bias` along the channel axis: x `[..., C]`, or `[N, C, ...]` with format `NCHW`; bias `[C]`.
///
/// Gradients: dy, and dy summed over all other axes. TensorFlow: `BiasAdd`.
public func biasAdd(
  _ x: Output, _ bias: Output, format: String = "NHWC", name: String? = nil,
  file: StaticString = #fileID, line: UInt = #line
) throws -> Output {
  try x.graph.output(
    BiasRows.add.name, name: name, inputs: [x, bias],
    attrs: ["data_format": .string(format)], file: file, line: line)
}

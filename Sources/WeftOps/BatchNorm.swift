// Fused batch normalization and local response normalization, with their gradient ops.

public import WeftGraph
internal import WeftKernels
internal import WeftTensors

/// Rows of the normalizations.
enum NormalizationRows {
  static let all: [OpDef] = [fusedV3, fused, fusedGrad, localResponse, localResponseGrad]

  private static let formats = "data_format: {'NHWC', 'NCHW', 'NDHWC', 'NCDHW'} = 'NHWC'; "
  private static let numbers = "epsilon: float = 9.999999747378752e-05; "
  private static let average = "exponential_avg_factor: float = 1.0; "

  static let fusedV3: OpDef = forward(
    "FusedBatchNormV3",
    "x: T, scale: U, offset: U, mean: U, variance: U -> y: T, batch_mean: U, batch_variance: U, "
      + "reserve_space_1: U, reserve_space_2: U, reserve_space_3: U",
    "T: {half, bfloat16, float}; U: {bfloat16, float}; " + numbers + average + formats
      + "is_training: bool = true", outputs: 6)

  static let fused: OpDef = forward(
    "FusedBatchNorm",
    "x: T, scale: T, offset: T, mean: T, variance: T -> y: T, batch_mean: T, batch_variance: T, "
      + "reserve_space_1: T, reserve_space_2: T",
    "T: {float}; " + numbers + average + "data_format: {'NHWC', 'NCHW'} = 'NHWC'; "
      + "is_training: bool = true", outputs: 5)

  private static func forward(
    _ name: String, _ arguments: String, _ attributes: String, outputs: Int
  ) -> OpDef {
    OpDef(
      name, arguments, attributes,
      summary: "(x - mean) / sqrt(variance + epsilon) * scale + offset for each channel.",
      infer: { ctx in
        let rank = try imageRank(ctx.attrs)
        var x = try ctx.shape(0, rank: rank)
        let axis = try channelAxis(ctx.attrs, rank: rank)
        var channels = x[axis]
        for index in 1...2 {
          let own = try ctx.shape(index, rank: 1)[0]
          channels = try ctx.merge(channels, own, "numbers of channels")
        }
        // Mean and variance may be empty while training with a factor of one.
        for index in 3...4 {
          let own = try ctx.shape(index, rank: 1)[0]
          if own.size == 0, try ctx.attrs.bool("is_training"),
            try ctx.attrs.float("exponential_avg_factor") == 1
          {
            continue
          }
          channels = try ctx.merge(channels, own, "numbers of channels")
        }
        x[axis] = channels
        let one = Shape(dims: [channels])
        let all = [Shape(dims: x), one, one, one, one]
        return outputs == 6 ? all + [.scalar] : all
      },
      gradient: .rule { g in
        let isTraining = try g.attrs.bool("is_training")
        let (dy, x, scale) = (try g.gradient(), g.input(0), g.input(1))
        let mean = isTraining ? g.output(3) : g.input(3)
        let variance = isTraining ? g.output(4) : g.input(4)
        let reserve = outputs == 6 ? g.output(5) : try g.graph.constant(Float(0))
        let node = try g.graph.add(
          fusedGrad.name, inputs: [dy, x, scale, mean, variance, reserve],
          attrs: [
            "epsilon": .float(try g.attrs.float("epsilon")),
            "data_format": .string(try g.attrs.string("data_format")),
            "is_training": .bool(isTraining),
          ])
        let parts = (0..<3).map {
          Gradient.dense(Output(graph: g.graph, edge: Edge(node: node.id, port: $0)))
        }
        return parts.map { Optional($0) } + [nil, nil]
      },
      lowering: .kernel { ctx in
        let shape = ctx.shape(0)
        let layout = try makeLayout(ctx.attrs, shape)
        let dtype = ctx.dtype(0)
        guard ctx.dtype(1) == .float32 else { throw ctx.unsupported(ctx.dtype(1)) }
        let unsupported = ctx.unsupported(dtype)
        let epsilon = try ctx.attrs.float("epsilon")
        let factor = try ctx.attrs.float("exponential_avg_factor")
        let isTraining = try ctx.attrs.bool("is_training")
        let channels = ctx.count(1)
        // With empty statistics nothing may read them.
        let given = ctx.count(3) == channels && ctx.count(4) == channels
        guard given || isTraining && factor == 1 else {
          throw ctx.error("needs a mean and a variance of \(channels) channels")
        }
        return Kernel("batchNorm", flops: 8 * ctx.count(0)) { call in
          let work = BatchNormKernels.Forward(
            x: call.rawInput(0), scale: call.input(1, as: Float.self),
            offset: call.input(2, as: Float.self), mean: call.input(given ? 3 : 1, as: Float.self),
            variance: call.input(given ? 4 : 1, as: Float.self), y: call.rawOutput(0),
            newMean: call.output(1, as: Float.self), newVariance: call.output(2, as: Float.self),
            savedMean: call.output(3, as: Float.self),
            savedVariance: call.output(4, as: Float.self))
          guard
            BatchNormKernels.forward(
              dtype, layout, work, epsilon: epsilon, factor: factor, isTraining: isTraining,
              pool: call.pool)
          else { throw unsupported }
          if outputs == 6 { call.output(5, as: Float.self)[0] = 0 }
        }
      })
  }

  static let fusedGrad: OpDef = OpDef(
    "FusedBatchNormGradV3",
    "y_backprop: T, x: T, scale: float, reserve_space_1: U, reserve_space_2: U, "
      + "reserve_space_3: U -> x_backprop: T, scale_backprop: U, offset_backprop: U, "
      + "reserve_space_4: U, reserve_space_5: U",
    "T: {half, bfloat16, float}; U: {float}; " + numbers + formats + "is_training: bool = true",
    summary: "The gradient of batch normalization with respect to x, scale and offset.",
    infer: { ctx in
      let rank = try imageRank(ctx.attrs)
      _ = try ctx.shape(0, rank: rank)
      _ = try ctx.shape(1, rank: rank)
      guard var x = try ctx.merge(0, 1).dims else {
        return [.unknown, .unknown, .unknown, [0], [0]]
      }
      let axis = try channelAxis(ctx.attrs, rank: rank)
      for index in 2...4 {
        let own = try ctx.shape(index, rank: 1)[0]
        x[axis] = try ctx.merge(x[axis], own, "numbers of channels")
      }
      let one = Shape(dims: [x[axis]])
      return [Shape(dims: x), one, one, [0], [0]]
    },
    gradient: .none("the second derivative of fused batch normalization is not defined here"),
    lowering: .kernel { ctx in
      let layout = try makeLayout(ctx.attrs, ctx.shape(0))
      let dtype = ctx.dtype(0)
      let unsupported = ctx.unsupported(dtype)
      let epsilon = try ctx.attrs.float("epsilon")
      let isTraining = try ctx.attrs.bool("is_training")
      return Kernel("batchNormGrad", flops: 12 * ctx.count(0)) { call in
        guard
          BatchNormKernels.backward(
            dtype, layout, dy: call.rawInput(0), x: call.rawInput(1),
            scale: call.input(2, as: Float.self), mean: call.input(3, as: Float.self),
            variance: call.input(4, as: Float.self), dx: call.rawOutput(0),
            dScale: call.output(1, as: Float.self), dOffset: call.output(2, as: Float.self),
            epsilon: epsilon, isTraining: isTraining, pool: call.pool)
        else { throw unsupported }
      }
    })

  private static func imageRank(_ attrs: Attrs) throws -> Int {
    try attrs.string("data_format").count == 5 ? 5 : 4
  }
  private static func channelAxis(_ attrs: Attrs, rank: Int) throws -> Int {
    try attrs.string("data_format").hasPrefix("NC") ? 1 : rank - 1
  }
  private static func makeLayout(_ attrs: Attrs, _ shape: [Int]) throws -> ChannelLayout {
    ChannelLayout(shape, channelsFirst: try attrs.string("data_format").hasPrefix("NC"))
  }

  // MARK: - Local response normalization

  private static let responseAttributes =
    "depth_radius: int = 5; bias: float = 1.0; alpha: float = 1.0; beta: float = 0.5; "
    + "T: {half, bfloat16, float} = float"

  static let localResponse: OpDef = OpDef(
    "LRN", "input: T -> output: T", responseAttributes,
    summary: "x / (bias + alpha * sum of squares over near channels)^beta.",
    infer: { ctx in [Shape(dims: try ctx.shape(0, rank: 4))] },
    gradient: .rule { g in
      var attrs: [String: AttrValue] = [:]
      for name in ["depth_radius", "bias", "alpha", "beta"] {
        if let value = g.attrs[name] { attrs[name] = value }
      }
      return [
        .dense(
          try g.graph.output(
            localResponseGrad.name, inputs: [try g.gradient(), g.input(0), g.output()],
            attrs: attrs))
      ]
    },
    lowering: .kernel { ctx in
      let (channels, dtype) = (ctx.shape(0)[3], ctx.dtype(0))
      let rows = channels == 0 ? 0 : ctx.count(0) / channels
      let radius = max(0, min(try ctx.attrs.int("depth_radius"), channels))
      let (bias, alpha) = (try ctx.attrs.float("bias"), try ctx.attrs.float("alpha"))
      let beta = try ctx.attrs.float("beta")
      let unsupported = ctx.unsupported(dtype)
      return Kernel("localResponse", flops: ctx.count(0) &* (2 &* radius &+ 20)) { call in
        guard
          BatchNormKernels.localResponse(
            dtype, rows: rows, channels: channels, radius: radius, bias: bias, alpha: alpha,
            beta: beta, call.rawInput(0), call.rawOutput(0), pool: call.pool)
        else { throw unsupported }
      }
    })

  static let localResponseGrad: OpDef = OpDef(
    "LRNGrad", "input_grads: T, input_image: T, output_image: T -> output: T", responseAttributes,
    summary: "The gradient of local response normalization.",
    infer: { ctx in
      _ = try ctx.shape(0, rank: 4)
      guard let both = try ctx.merge(0, 1).merged(with: ctx.shape(2)) else {
        throw ctx.error("needs three inputs of one shape")
      }
      return [both]
    },
    gradient: .none("the second derivative of local response normalization is not defined"),
    lowering: .kernel { ctx in
      let (channels, dtype) = (ctx.shape(0)[3], ctx.dtype(0))
      let rows = channels == 0 ? 0 : ctx.count(0) / channels
      let radius = max(0, min(try ctx.attrs.int("depth_radius"), channels))
      let (bias, alpha) = (try ctx.attrs.float("bias"), try ctx.attrs.float("alpha"))
      let beta = try ctx.attrs.float("beta")
      let unsupported = ctx.unsupported(dtype)
      return Kernel("localResponseGrad", flops: ctx.count(0) &* (4 &* radius &+ 30)) { call in
        guard
          BatchNormKernels.localResponseGradient(
            dtype, rows: rows, channels: channels, radius: radius, bias: bias, alpha: alpha,
            beta: beta, dy: call.rawInput(0), call.rawInput(1), call.rawInput(2),
            dx: call.rawOutput(0), pool: call.pool)
        else { throw unsupported }
      }
    })
}

/// What `fusedBatchNorm` gives.
public struct BatchNormResult {
  /// The normalized images.
  public let y: Output
  /// The statistics for running averages: the batch's mean and unbiased variance.
  public let mean: Output
  /// The batch's unbiased variance while training, else the given one.
  public let variance: Output
}

/// `(x - mean) / sqrt(variance + epsilon) * scale + offset` for each channel of images
/// `[N, H, W, C]` (or another format).
///
/// While training, mean and (biased) variance are the batch's; `mean` and `variance` may then be
/// empty. Gradients flow to x, scale and offset. TensorFlow: `FusedBatchNormV3`.
public func fusedBatchNorm(
  _ x: Output, scale: Output, offset: Output, mean: Output, variance: Output,
  epsilon: Float = 1e-3, averageFactor: Float = 1, isTraining: Bool = true,
  format: String = "NHWC", name: String? = nil, file: StaticString = #fileID, line: UInt = #line
) throws -> BatchNormResult {
  let node = try x.graph.add(
    NormalizationRows.fusedV3.name, name: name, inputs: [x, scale, offset, mean, variance],
    attrs: [
      "epsilon": .float(epsilon), "exponential_avg_factor": .float(averageFactor),
      "is_training": .bool(isTraining), "data_format": .string(format),
    ], file: file, line: line)
  func port(_ index: Int) -> Output {
    Output(graph: x.graph, edge: Edge(node: node.id, port: index))
  }
  return BatchNormResult(y: port(0), mean: port(1), variance: port(2))
}

/// Local response normalization of images `[N, H, W, C]`:
/// `x / (bias + alpha * sum of squares over 2 * radius + 1 channels)^beta`. TensorFlow: `LRN`.
public func localResponseNormalization(
  _ x: Output, radius: Int = 5, bias: Float = 1, alpha: Float = 1, beta: Float = 0.5,
  name: String? = nil, file: StaticString = #fileID, line: UInt = #line
) throws -> Output {
  try x.graph.output(
    NormalizationRows.localResponse.name, name: name, inputs: [x],
    attrs: [
      "depth_radius": .int(Int64(radius)), "bias": .float(bias), "alpha": .float(alpha),
      "beta": .float(beta),
    ], file: file, line: line)
}

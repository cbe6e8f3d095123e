// Initial values of variables, as graph nodes with seeds of their own.

public import WeftGraph
internal import WeftOps
public import WeftTensors

/// The two seeds of a random op: TensorFlow's `seed` and `seed2` attributes.
public struct OpSeed: Sendable, Hashable {
  /// The graph's seed.
  public var graph: Int
  /// The op's own seed.
  public var op: Int

  /// Both seeds; two zeros, which would mean "draw a new seed", become 0 and 2^31 - 1, as
  /// `tf.get_seed` does.
  public init(graph: Int, op: Int) {
    self.graph = graph
    self.op = graph == 0 && op == 0 ? Int(Int32.max) : op
  }

  /// The seeds of the variable or op called `name` in a model of seed `seed`.
  ///
  /// They depend on the name alone, so that a node added elsewhere changes no number.
  public init(model seed: Int, name: String) {
    var hash: UInt64 = 0xcbf2_9ce4_8422_2325
    for byte in name.utf8 { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01b3 }
    self.init(graph: seed, op: Int((hash ^ (hash >> 32)) & 0x7fff_ffff))
  }

  var pair: (Int, Int) { (graph, op) }
}

/// How a variable gets its first value.
public struct Initializer: Sendable {
  private let build: @Sendable (Graph, [Int], DType, OpSeed) throws -> Output

  /// An initializer that `build` makes of graph, shape, element type and seeds.
  public init(_ build: @escaping @Sendable (Graph, [Int], DType, OpSeed) throws -> Output) {
    self.build = build
  }

  /// Adds the nodes that compute an initial value of this shape.
  public func callAsFunction(
    _ graph: Graph, shape: [Int], dtype: DType, seed: OpSeed
  ) throws -> Output {
    try build(graph, shape, dtype, seed)
  }

  /// All zero.
  public static let zeros = constant(0)
  /// All one.
  public static let ones = constant(1)

  /// All `value`.
  public static func constant(_ value: Double) -> Initializer {
    Initializer { graph, shape, dtype, _ in
      let scalar = try graph.constant(value, dtype: dtype)
      if shape.isEmpty { return scalar }
      return try fill(dims: try graph.shapeConstant(shape), value: scalar)
    }
  }

  /// This tensor; its shape and type must be the variable's.
  public static func value(_ tensor: Tensor) -> Initializer {
    Initializer { graph, shape, dtype, _ in
      guard tensor.shape == shape, tensor.dtype == dtype else {
        throw WeftError(
          .invalidArgument,
          "an initial value of type \(tensor.type) was given for a variable of type "
            + "\(TensorType(dtype, Shape(shape)))")
      }
      return try graph.constant(tensor)
    }
  }

  /// Uniform in `min ..< max`, as `tf.random_uniform_initializer`.
  public static func uniform(min: Double, max: Double, seed: OpSeed? = nil) -> Initializer {
    Initializer { graph, shape, dtype, own in
      let unit = try randomUniform(
        graph, shape: try graph.shapeConstant(shape), dtype: dtype, seed: (seed ?? own).pair)
      let span = try graph.constant(max - min, dtype: dtype)
      let low = try graph.constant(min, dtype: dtype)
      return try unit * span + low
    }
  }

  /// Normal, as `tf.random_normal_initializer`.
  public static func normal(
    mean: Double = 0, stddev: Double = 1, seed: OpSeed? = nil
  ) -> Initializer {
    Initializer { graph, shape, dtype, own in
      let unit = try randomNormal(
        graph, shape: try graph.shapeConstant(shape), dtype: dtype, seed: (seed ?? own).pair)
      return try scaled(unit, mean: mean, stddev: stddev)
    }
  }

  /// Normal with values beyond two standard deviations drawn again, as
  /// `tf.truncated_normal_initializer`.
  public static func truncatedNormal(
    mean: Double = 0, stddev: Double = 1, seed: OpSeed? = nil
  ) -> Initializer {
    Initializer { graph, shape, dtype, own in
      let unit = try WeftOps.truncatedNormal(
        graph, shape: try graph.shapeConstant(shape), dtype: dtype, seed: (seed ?? own).pair)
      return try scaled(unit, mean: mean, stddev: stddev)
    }
  }

  /// Uniform in `±sqrt(6 / (fan in + fan out))`, as `tf.glorot_uniform_initializer`.
  ///
  /// Fans are the last two dimensions, each times the product of those before them.
  public static func glorotUniform(seed: OpSeed? = nil) -> Initializer {
    Initializer { graph, shape, dtype, own in
      let (fanIn, fanOut) = fans(of: shape)
      let limit = (6 / Swift.max(1, fanIn + fanOut)).squareRoot()
      return try uniform(min: -limit, max: limit, seed: seed)(
        graph, shape: shape, dtype: dtype, seed: own)
    }
  }

  /// An orthogonal matrix: rows (or columns, whichever are fewer) of length `gain`, at right angles
  /// to each other. All dimensions but the last are taken as one.
  ///
  /// TensorFlow's own initializer needs a QR op; here the matrix is computed when the graph is
  /// built, from the seeds alone, and stored as a constant, which any reader of the file can run.
  public static func orthogonal(gain: Double = 1, seed: OpSeed? = nil) -> Initializer {
    Initializer { graph, shape, dtype, own in
      guard shape.count >= 2, let count = Shape.checkedCount(shape) else {
        throw WeftError(
          .invalidArgument, "an orthogonal matrix needs two dimensions or more, not \(shape)")
      }
      let columns = shape[shape.count - 1]
      let rows = columns == 0 ? 0 : count / columns
      var values = try OrthogonalMatrix.make(rows: rows, columns: columns, seed: seed ?? own)
      if gain != 1 { for i in values.indices { values[i] *= gain } }
      switch dtype {
      case .float32: return try graph.constant(values.map { Float($0) }, shape: shape)
      case .float64: return try graph.constant(values, shape: shape)
      default:
        throw WeftError(.unimplemented, "orthogonal matrices are float32 or float64")
      }
    }
  }

  private static func scaled(_ unit: Output, mean: Double, stddev: Double) throws -> Output {
    let graph = unit.graph
    let wide = try unit * (try graph.constant(stddev, dtype: unit.dtype))
    return mean == 0 ? wide : try wide + (try graph.constant(mean, dtype: unit.dtype))
  }

  private static func fans(of shape: [Int]) -> (Double, Double) {
    switch shape.count {
    case 0: return (1, 1)
    case 1: return (Double(shape[0]), Double(shape[0]))
    default:
      let field = shape.dropLast(2).reduce(1.0) { $0 * Double($1) }
      return (field * Double(shape[shape.count - 2]), field * Double(shape[shape.count - 1]))
    }
  }
}

extension Graph {
  /// A shape as the int32 vector that shape-taking ops want.
  func shapeConstant(_ shape: [Int]) throws -> Output {
    var sizes: [Int32] = []
    for size in shape {
      guard let small = Int32(exactly: size), small >= 0 else {
        throw WeftError(.invalidArgument, "a dimension of \(size) is out of bounds")
      }
      sizes.append(small)
    }
    return try constant(sizes)
  }
}

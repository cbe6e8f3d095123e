// Embedding and dense layers.

public import WeftGraph
public import WeftOps
internal import WeftTensors

/// A table of vectors, one for each id.
public struct Embedding {
  /// `[V, E]`.
  public let table: Variable

  /// A table of `count` vectors, the variable `name` in `scope`.
  public init(
    _ scope: VariableScope, count: Int, size: Int, name: String = "embedding",
    initializer: Initializer = .uniform(min: -0.05, max: 0.05)
  ) throws {
    table = try scope.variable(name, shape: [count, size], initializer: initializer)
  }

  /// The vectors of `ids` `[...]`, as `[..., E]`. Their gradient stays a list of rows.
  public func callAsFunction(_ ids: Output) throws -> Output { try gather(table, ids) }
}

/// `x W + b`.
public struct Dense {
  /// `[in, out]`, or `[out, in]` in PyTorch's layout.
  public let kernel: Variable
  /// `[out]`.
  public let bias: Variable?
  private let isTransposed: Bool

  /// A layer with `dense/kernel` `[in, out]` and `dense/bias`, as TensorFlow names them.
  public init(
    _ scope: VariableScope, inputSize: Int, units: Int, name: String = "dense",
    kernelInitializer: Initializer = .glorotUniform(), biasInitializer: Initializer? = .zeros
  ) throws {
    let own = scope.scope(name)
    kernel = try own.variable(
      "kernel", shape: [inputSize, units], initializer: kernelInitializer)
    bias = try biasInitializer.map {
      try own.variable("bias", shape: [units], initializer: $0)
    }
    isTransposed = false
  }

  /// PyTorch's `nn.Linear`: `name.weight` `[out, in]` and `name.bias`.
  public static func pytorch(
    _ scope: VariableScope, inputSize: Int, units: Int, name: String,
    kernelInitializer: Initializer, biasInitializer: Initializer
  ) throws -> Dense {
    Dense(
      kernel: try scope.variable(
        "\(name).weight", shape: [units, inputSize], initializer: kernelInitializer),
      bias: try scope.variable("\(name).bias", shape: [units], initializer: biasInitializer),
      isTransposed: true)
  }

  private init(kernel: Variable, bias: Variable?, isTransposed: Bool) {
    self.kernel = kernel
    self.bias = bias
    self.isTransposed = isTransposed
  }

  /// `x W + b` for rows `[N, in]`.
  public func callAsFunction(_ rows: Output) throws -> Output {
    let product = try matmul(rows, kernel.value, transposeB: isTransposed)
    return try bias.map { try biasAdd(product, $0.value) } ?? product
  }
}

// What an op's shape rule, gradient and lowering are given.

public import WeftTensors

/// What a shape rule sees.
public struct InferContext: Sendable {
  /// The op.
  public let op: OpDef
  /// Attributes with defaults.
  public let attrs: Attrs
  /// The types of the inputs.
  public let inputs: [TensorType]
  let values: @Sendable (Int) -> [Dim]?
  let tensors: @Sendable (Int) -> Tensor?
  let handleTypes: @Sendable (Int) -> HandleType?

  /// A context with what is known of the inputs' values.
  public init(
    op: OpDef, attrs: Attrs, inputs: [TensorType],
    values: @escaping @Sendable (Int) -> [Dim]? = { _ in nil },
    tensors: @escaping @Sendable (Int) -> Tensor? = { _ in nil },
    handleTypes: @escaping @Sendable (Int) -> HandleType? = { _ in nil }
  ) {
    self.op = op
    self.attrs = attrs
    self.inputs = inputs
    self.values = values
    self.tensors = tensors
    self.handleTypes = handleTypes
  }

  /// The shape of input `index`.
  public func shape(_ index: Int) -> Shape { inputs[index].shape }
  /// The element type of input `index`.
  public func dtype(_ index: Int) -> DType { inputs[index].dtype }
  /// The integers of input `index`, a scalar or vector, each as far as it is known; nil when
  /// nothing is known.
  public func value(_ index: Int) -> [Dim]? {
    values(index) ?? tensors(index)?.integers.map { $0.map { Dim.known($0) } }
  }
  /// The integers of input `index` when all are known. Unlike `value`, negative ones too.
  public func integers(_ index: Int) -> [Int]? {
    if let all = tensors(index)?.integers { return all }
    guard let dims = values(index) else { return nil }
    let known = dims.compactMap(\.size)
    return known.count == dims.count ? known : nil
  }
  /// The whole value of input `index`, when it is a constant.
  public func tensor(_ index: Int) -> Tensor? { tensors(index) }
  /// What the resource or reference handle at input `index` stands for.
  public func handle(_ index: Int) -> HandleType? { handleTypes(index) }

  /// An InvalidArgument error that begins with the op's name.
  public func error(_ message: String, hint: String? = nil) -> WeftError {
    WeftError(.invalidArgument, "\(op.name) \(message)", hint: hint)
  }

  /// The shape of input `index`, whose rank must be `rank` if it is known.
  public func shape(_ index: Int, rank: Int) throws -> [Dim] {
    guard let dims = inputs[index].shape.dims else {
      return Array(repeating: .unknown, count: rank)
    }
    guard dims.count == rank else {
      throw error("needs input \(index) of rank \(rank), got shape \(inputs[index].shape)")
    }
    return dims
  }

  /// The shape of input `index`, whose rank must be at least `rank` if it is known.
  public func shape(_ index: Int, rankAtLeast rank: Int) throws -> [Dim]? {
    guard let dims = inputs[index].shape.dims else { return nil }
    guard dims.count >= rank else {
      throw error("needs input \(index) of rank >= \(rank), got shape \(inputs[index].shape)")
    }
    return dims
  }

  /// The shape that both inputs must have.
  public func merge(_ a: Int, _ b: Int) throws -> Shape {
    guard let merged = shape(a).merged(with: shape(b)) else {
      throw error("needs inputs \(a) and \(b) of equal shapes: \(shape(a)) vs \(shape(b))")
    }
    return merged
  }

  /// One dimension that two places must share.
  public func merge(_ a: Dim, _ b: Dim, _ what: String) throws -> Dim {
    guard a.isCompatible(with: b) else { throw error("needs equal \(what): \(a) vs \(b)") }
    return a.merged(with: b)
  }
}

/// What a lowering sees: concrete input types.
public struct LowerContext: Sendable {
  /// The node's name.
  public let name: String
  /// The op.
  public let op: OpDef
  /// Attributes with defaults.
  public let attrs: Attrs
  /// The inputs' types; every dimension is known.
  public let inputs: [TensorType]
  /// The outputs' types; dimensions are unknown only where the data decide.
  public let outputs: [TensorType]
  let tensors: @Sendable (Int) -> Tensor?
  let variables: @Sendable (Int) throws -> VariableCell
  /// The session's seed, for random ops without seeds of their own.
  public let sessionSeed: UInt64
  /// The input that says how many rows count, of an op made by `OpDef.countingRows`.
  public var rowCount: Int?

  /// A lowering context.
  public init(
    name: String, op: OpDef, attrs: Attrs, inputs: [TensorType], outputs: [TensorType],
    sessionSeed: UInt64 = 0,
    tensors: @escaping @Sendable (Int) -> Tensor? = { _ in nil },
    variables: @escaping @Sendable (Int) throws -> VariableCell
  ) {
    self.name = name
    self.op = op
    self.attrs = attrs
    self.inputs = inputs
    self.outputs = outputs
    self.sessionSeed = sessionSeed
    self.tensors = tensors
    self.variables = variables
  }

  /// The sizes of input `index`.
  public func shape(_ index: Int) -> [Int] { inputs[index].shape.known ?? [] }
  /// The number of elements of input `index`.
  public func count(_ index: Int) -> Int { inputs[index].shape.count ?? 0 }
  /// The element type of input `index`.
  public func dtype(_ index: Int) -> DType { inputs[index].dtype }
  /// The sizes of output `index`; an unknown size (data-dependent op) reads as 0.
  public func outputShape(_ index: Int) -> [Int] {
    (outputs[index].shape.dims ?? []).map { $0.size ?? 0 }
  }
  /// The number of elements of output `index`.
  public func outputCount(_ index: Int) -> Int { outputs[index].shape.count ?? 0 }
  /// The value of input `index`, when it is constant in every run of the plan.
  public func tensor(_ index: Int) -> Tensor? { tensors(index) }
  /// The variable behind the resource or reference input `index`.
  public func variable(_ index: Int) throws -> VariableCell { try variables(index) }

  /// An InvalidArgument error of the run.
  public func error(_ message: String) -> WeftError {
    WeftError(.invalidArgument, "\(op.name) \(message)", category: .run)
  }

  /// An error that says the op has no kernel for this element type.
  public func unsupported(_ dtype: DType) -> WeftError {
    WeftError(.unimplemented, "\(op.name) has no kernel for \(dtype.name)", category: .run)
  }
}

/// A gradient that is nonzero only in some rows: TensorFlow's IndexedSlices.
public struct IndexedSlices {
  /// The rows, `[n, ...]`.
  public var values: Output
  /// Which row of the whole each one adds to, `[n]`; duplicates add up.
  public var indices: Output
  /// The shape of the whole, `[rank]`.
  public var denseShape: Output?
  /// Rows of a tensor of shape `denseShape`.
  public init(values: Output, indices: Output, denseShape: Output?) {
    self.values = values
    self.indices = indices
    self.denseShape = denseShape
  }
}

/// The gradient with respect to one tensor.
public enum Gradient {
  case dense(Output)
  case slices(IndexedSlices)

  /// A dense gradient, or none.
  public static func optional(_ output: Output?) -> Gradient? { output.map { .dense($0) } }
}

/// What a gradient rule sees.
public struct GradientContext {
  /// The graph that gradient nodes are added to.
  public let graph: Graph
  /// The node to differentiate.
  public let node: Node
  /// The gradient with respect to each output; nil where none flows.
  public let gradients: [Gradient?]
  /// Makes a gradient dense, or zeros like output `index` where none flows.
  let densify: (Int) throws -> Output

  /// A context for one node.
  public init(
    graph: Graph, node: Node, gradients: [Gradient?], densify: @escaping (Int) throws -> Output
  ) {
    self.graph = graph
    self.node = node
    self.gradients = gradients
    self.densify = densify
  }

  /// Attributes with defaults.
  public var attrs: Attrs { node.attributes }
  /// Input `index` of the node.
  public func input(_ index: Int) -> Output { Output(graph: graph, edge: node.inputs[index]) }
  /// Output `index` of the node.
  public func output(_ index: Int = 0) -> Output {
    Output(graph: graph, edge: Edge(node: node.id, port: index))
  }
  /// The gradient with respect to output `index`, dense; zeros where none flows.
  public func gradient(_ index: Int = 0) throws -> Output { try densify(index) }
  /// The number of inputs.
  public var inputCount: Int { node.inputs.count }
}

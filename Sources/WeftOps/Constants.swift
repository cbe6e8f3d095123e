// Constants and placeholders: where values enter a graph.

public import WeftGraph
public import WeftTensors

enum ConstantRows {
  static let const = OpDef(
    "Const", " -> output: dtype", "value: tensor; dtype: type",
    summary: "The tensor stored in the node.",
    infer: { ctx in
      let value = try ctx.attrs.tensor("value")
      let dtype = try ctx.attrs.type("dtype")
      guard value.dtype == dtype else {
        throw ctx.error("attr 'dtype' is \(dtype.name), attr 'value' holds \(value.dtype.name)")
      }
      return [Shape(value.shape)]
    },
    value: { ctx in
      guard case .tensor(let value)? = ctx.attrs["value"], value.shape.count <= 1,
        value.count <= 1_000
      else { return nil }
      return value.integers?.map { .known($0) }
    },
    gradient: .zero, lowering: .constant)

  static let placeholder = OpDef(
    "Placeholder", " -> output: dtype", "dtype: type; shape: shape = <unknown>",
    summary: "A value that must be fed.",
    infer: { ctx in [try ctx.attrs.shape("shape")] },
    gradient: .zero, lowering: .placeholder)

  static let placeholderV2 = OpDef(
    "PlaceholderV2", " -> output: dtype", "dtype: type; shape: shape",
    summary: "A value that must be fed.",
    infer: { ctx in [try ctx.attrs.shape("shape")] },
    gradient: .zero, lowering: .placeholder)

  static let withDefault = OpDef(
    "PlaceholderWithDefault", "input: dtype -> output: dtype", "dtype: type; shape: shape",
    summary: "The value fed for it, or its input when none is fed.",
    infer: { ctx in
      let shape = try ctx.attrs.shape("shape")
      // What is fed may be less precise than the default: the stated shape counts.
      guard shape.isCompatible(with: ctx.shape(0)) else {
        throw ctx.error("default of shape \(ctx.shape(0)) does not fit shape \(shape)")
      }
      return [shape]
    },
    gradient: .rule { g in [g.gradients[0]] },
    lowering: .kernel { ctx in
      if ctx.outputs[0].shape.isFullyKnown || !ctx.dtype(0).isPlain { return .alias() }
      let shape = ctx.shape(0)
      let bytes = ctx.count(0) * ctx.dtype(0).byteSize
      var kernel = Kernel("copy") { call in
        call.rawOutput(0).copyMemory(from: call.rawInput(0), byteCount: bytes)
        call.setShape(shape, output: 0)
      }
      kernel.bounds = [shape]
      return kernel
    })

  static let all = [const, placeholder, placeholderV2, withDefault]
}

extension Graph {
  /// A constant tensor (TensorFlow's Const).
  public func constant(
    _ tensor: Tensor, name: String? = nil, file: StaticString = #fileID, line: UInt = #line
  ) throws -> Output {
    try output(
      ConstantRows.const.name, name: name,
      attrs: ["value": .tensor(tensor), "dtype": .type(tensor.dtype)], file: file, line: line)
  }

  /// A constant scalar of the element type that Swift's type names.
  public func constant<Element: TensorElement>(
    _ scalar: Element, name: String? = nil, file: StaticString = #fileID, line: UInt = #line
  ) throws -> Output {
    try constant(try Tensor(scalar: scalar), name: name, file: file, line: line)
  }

  /// A constant of `values`, row-major; a vector unless `shape` says otherwise.
  /// - Throws: InvalidArgument when the number of values is not the product of `shape`.
  public func constant<Element: TensorElement>(
    _ values: [Element], shape: [Int]? = nil, name: String? = nil, file: StaticString = #fileID,
    line: UInt = #line
  ) throws -> Output {
    try constant(
      try Tensor(values, shape: shape ?? [values.count]), name: name, file: file, line: line)
  }

  /// A constant scalar of type `dtype`, rounded from `value` as a cast would.
  /// - Throws: InvalidArgument when `dtype` is not a number type, or `value` does not fit it.
  public func constant(
    _ value: Double, dtype: DType, name: String? = nil, file: StaticString = #fileID,
    line: UInt = #line
  ) throws -> Output {
    try constant(try Tensor(value, dtype: dtype), name: name, file: file, line: line)
  }

  /// A constant vector of integers, of type `dtype` (int32 or int64).
  public func constant(
    integers: [Int], dtype: DType = .int32, name: String? = nil, file: StaticString = #fileID,
    line: UInt = #line
  ) throws -> Output {
    try constant(
      try Tensor(integers: integers, shape: [integers.count], dtype: dtype), name: name,
      file: file, line: line)
  }

  /// A constant scalar integer, of type `dtype` (int32 or int64).
  public func constant(
    integer: Int, dtype: DType = .int32, name: String? = nil, file: StaticString = #fileID,
    line: UInt = #line
  ) throws -> Output {
    try constant(
      try Tensor(integers: [integer], shape: [], dtype: dtype), name: name, file: file,
      line: line)
  }

  /// A constant scalar string.
  public func constant(
    text: String, name: String? = nil, file: StaticString = #fileID, line: UInt = #line
  ) throws -> Output {
    try constant(
      try Tensor(strings: [Array(text.utf8)], shape: []), name: name, file: file, line: line)
  }

  /// A value that must be fed in each run that needs it (TensorFlow's Placeholder).
  public func placeholder(
    _ dtype: DType, shape: Shape = .unknown, name: String? = nil, file: StaticString = #fileID,
    line: UInt = #line
  ) throws -> Output {
    try output(
      ConstantRows.placeholder.name, name: name,
      attrs: ["dtype": .type(dtype), "shape": .shape(shape)], file: file, line: line)
  }

  /// A value that may be fed; `value` when it is not (TensorFlow's PlaceholderWithDefault).
  public func placeholder(
    withDefault value: Output, shape: Shape, name: String? = nil, file: StaticString = #fileID,
    line: UInt = #line
  ) throws -> Output {
    try output(
      ConstantRows.withDefault.name, name: name, inputs: [value],
      attrs: ["shape": .shape(shape)], file: file, line: line)
  }
}

extension Tensor {
  /// Integers as a tensor of `dtype`, int32 or int64.
  init(integers: [Int], shape: [Int], dtype: DType) throws(WeftError) {
    switch dtype {
    case .int64: self = try Tensor(integers.map { Int64($0) }, shape: shape)
    case .int32:
      var narrow: [Int32] = []
      narrow.reserveCapacity(integers.count)
      for n in integers {
        guard let small = Int32(exactly: n) else {
          throw WeftError(.invalidArgument, "\(n) does not fit int32")
        }
        narrow.append(small)
      }
      self = try Tensor(narrow, shape: shape)
    default:
      throw WeftError(.invalidArgument, "sizes and axes are int32 or int64, not \(dtype.name)")
    }
  }

  /// A scalar of `dtype`.
  init(_ value: Double, dtype: DType) throws(WeftError) {
    func integer<Element: TensorElement & FixedWidthInteger>(
      _: Element.Type
    ) throws(WeftError) -> Tensor {
      guard let whole = Element(exactly: value.rounded(.towardZero)) else {
        throw WeftError(.invalidArgument, "\(value) does not fit \(dtype.name)")
      }
      return try Tensor(scalar: whole)
    }
    switch dtype {
    case .float32: self = try Tensor(scalar: Float(value))
    case .float64: self = try Tensor(scalar: value)
    case .bfloat16: self = try Tensor(scalar: BFloat16(Float(value)))
    case .float16:
      #if os(macOS) && arch(x86_64)
        throw WeftError(.unimplemented, "this platform has no float16")
      #else
        self = try Tensor(scalar: Float16(value))
      #endif
    case .complex64: self = try Tensor(scalar: ComplexValue<Float>(Float(value), 0))
    case .complex128: self = try Tensor(scalar: ComplexValue<Double>(value, 0))
    case .int8: self = try integer(Int8.self)
    case .int16: self = try integer(Int16.self)
    case .int32: self = try integer(Int32.self)
    case .int64: self = try integer(Int64.self)
    case .uint8: self = try integer(UInt8.self)
    case .uint16: self = try integer(UInt16.self)
    case .uint32: self = try integer(UInt32.self)
    case .uint64: self = try integer(UInt64.self)
    case .bool: self = try Tensor(scalar: value != 0)
    default:
      throw WeftError(.invalidArgument, "\(dtype.name) has no number constants")
    }
  }
}

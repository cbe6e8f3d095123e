// What the families of lists, arrays and stacks share: elements in and out of kernels.

internal import WeftGraph
internal import WeftKernels
internal import WeftTensors

/// Reads an element that a kernel is given, as a value of its own.
struct ElementSource: Sendable {
  let input: Int
  let dtype: DType
  let shape: [Int]

  init(_ ctx: LowerContext, _ input: Int) {
    self.input = input
    dtype = ctx.dtype(input)
    shape = ctx.shape(input)
  }

  func read(_ call: borrowing KernelCall) throws -> any Sendable {
    guard dtype.isPlain else {
      guard let object = call.objectInput(input) else {
        throw WeftError(.internal, "input \(input) has no value", category: .run)
      }
      return object
    }
    return try Tensor(copying: call.rawInput(input), dtype: dtype, shape: shape)
  }
}

extension Tensor {
  /// A tensor with a copy of these bytes.
  init(copying source: UnsafeRawPointer, dtype: DType, shape: [Int]) throws(WeftError) {
    let bytes = try Tensor.byteCount(dtype: dtype, shape: shape)
    let buffer = try Buffer(byteCount: bytes)
    if bytes > 0 { buffer.base.copyMemory(from: source, byteCount: bytes) }
    try self.init(dtype: dtype, shape: shape, buffer: buffer)
  }

  /// Zeros, or empty strings.
  static func zeros(_ dtype: DType, _ shape: [Int]) throws(WeftError) -> Tensor {
    guard dtype == .string else { return try Tensor(zeros: dtype, shape: shape) }
    guard let count = Shape.checkedCount(shape), count <= 1 << 24 else {
      throw WeftError(.resourceExhausted, "too many strings: shape \(shape)", category: .run)
    }
    return try Tensor(strings: Array(repeating: [], count: count), shape: shape)
  }
}

/// Gives a tensor as an output: into its memory when the size was known, else as an object.
struct ElementTarget: Sendable {
  let output: Int
  let dtype: DType
  let shape: [Int]?
  let failure: OpFailure

  init(_ ctx: LowerContext, _ output: Int) {
    self.output = output
    dtype = ctx.outputs[output].dtype
    shape = ctx.outputs[output].shape.known
    failure = ctx.failure
  }

  func write(_ call: borrowing KernelCall, _ value: any Sendable) throws {
    guard let tensor = value as? Tensor else {
      guard !dtype.isPlain else { throw failure("holds no tensor where one is read") }
      call.setObject(value, output: output)
      return
    }
    guard tensor.dtype == dtype else {
      throw failure("expects \(dtype.name), the value is \(tensor.dtype.name)")
    }
    guard let shape, dtype.isPlain else {
      call.setObject(tensor, output: output)
      return
    }
    guard tensor.shape == shape else {
      throw failure("expects shape \(shape), the value has \(tensor.shape)")
    }
    if tensor.byteCount > 0 {
      call.rawOutput(output).copyMemory(from: tensor.buffer.base, byteCount: tensor.byteCount)
    }
  }
}

/// Tensors put together and taken apart along their first dimension.
enum Rows {
  /// `[n]` and the shape of `elements`, which all have the same.
  static func stack(_ elements: [Tensor], _ dtype: DType, _ shape: [Int]) throws -> Tensor {
    try joined(elements, dtype, [elements.count] + shape)
  }

  /// The elements one after the other, under `shape`.
  static func joined(_ elements: [Tensor], _ dtype: DType, _ shape: [Int]) throws -> Tensor {
    if dtype == .string {
      return try Tensor(strings: elements.flatMap(\.strings), shape: shape)
    }
    return try Tensor(dtype: dtype, shape: shape) { memory throws(WeftError) in
      var at = 0
      for element in elements {
        let bytes = element.byteCount
        guard bytes <= memory.count - at else {
          throw WeftError(.internal, "elements are larger than their sum", category: .run)
        }
        if bytes > 0, let base = memory.baseAddress {
          (base + at).copyMemory(from: element.buffer.base, byteCount: bytes)
        }
        at += bytes
      }
    }
  }

  /// `count` rows of `tensor` from `first`, under `shape`.
  static func slice(_ tensor: Tensor, first: Int, count: Int, shape: [Int]) throws -> Tensor {
    let width = product(tensor.shape.dropFirst())
    if tensor.dtype == .string {
      return try Tensor(
        strings: Array(tensor.strings[first * width..<(first + count) * width]), shape: shape)
    }
    let start = tensor.buffer.base + first * width * tensor.dtype.byteSize
    return try Tensor(copying: start, dtype: tensor.dtype, shape: shape)
  }
}

extension KernelCall {
  /// The integers of input `index`, `count` of them.
  func integers(_ index: Int, _ dtype: DType, count: Int) -> [Int] {
    dtype == .int64
      ? (0..<count).map { Int(input(index, as: Int64.self)[$0]) }
      : (0..<count).map { Int(input(index, as: Int32.self)[$0]) }
  }
}

/// An int32 or int64 input that states a shape: -1 for unknown sizes, a scalar -1 for unknown rank.
struct ShapeSource: Sendable {
  let input: Int
  let dtype: DType
  let count: Int
  let isScalar: Bool
  let failure: OpFailure

  init(_ ctx: LowerContext, _ input: Int) {
    self.input = input
    dtype = ctx.dtype(input)
    count = ctx.count(input)
    isScalar = ctx.shape(input).isEmpty
    failure = ctx.failure
  }

  func read(_ call: borrowing KernelCall) throws -> Shape {
    try ShapeSource.shape(
      call.integers(input, dtype, count: count), isScalar: isScalar, failure)
  }

  static func shape(_ sizes: [Int], isScalar: Bool, _ failure: OpFailure) throws -> Shape {
    if isScalar {
      guard sizes.first == -1 else {
        throw failure("needs an element shape: a vector, or -1 where it is not known")
      }
      return .unknown
    }
    guard sizes.allSatisfy({ $0 >= -1 }), sizes.count <= Shape.rankLimit,
      Shape.checkedCount(sizes.filter { $0 >= 0 }) != nil
    else { throw failure("cannot have elements of shape \(sizes)") }
    return Shape(sizes)
  }
}

extension InferContext {
  /// The shape that the vector of sizes at input `index` states, as far as it is known.
  func statedShape(_ index: Int) throws -> Shape {
    guard let sizes = value(index) else {
      guard let rank = shape(index).dims?.first?.size, shape(index).rank == 1 else {
        return .unknown
      }
      return Shape(unknownOfRank: rank)
    }
    if shape(index).rank == 0 { return .unknown }
    for case .known(let n) in sizes where n < -1 {
      throw error("cannot have elements of shape \(Shape(dims: sizes))")
    }
    return Shape(
      dims: sizes.map { dim in if case .known(let n) = dim, n < 0 { .unknown } else { dim } })
  }
}

// A concrete tensor value and the memory behind it.

#if canImport(Glibc)
  internal import Glibc
#elseif canImport(Darwin)
  internal import Darwin
#endif

/// Aligned memory that a tensor, a variable or an arena owns.
///
/// Sendable by convention: whoever holds the only writable view writes, everyone else reads.
public final class Buffer: @unchecked Sendable {
  /// The first byte, aligned to 64 bytes.
  public let base: UnsafeMutableRawPointer
  /// The number of usable bytes.
  public let byteCount: Int
  private let isOwner: Bool

  /// Uninitialized memory of at least `byteCount` bytes.
  /// - Throws: ResourceExhausted when the system has no more memory.
  public init(byteCount: Int) throws(WeftError) {
    // Whole cache lines, so that vector tails never share one with a neighbour.
    guard byteCount >= 0, byteCount <= Int.max - 64 else {
      throw WeftError(.resourceExhausted, "cannot allocate \(byteCount) bytes", category: .run)
    }
    let rounded = max(64, (byteCount + 63) & ~63)
    guard let memory = aligned_alloc(64, rounded) else {
      throw WeftError(.resourceExhausted, "cannot allocate \(byteCount) bytes", category: .run)
    }
    base = memory
    self.byteCount = byteCount
    isOwner = true
  }

  /// A view of memory that belongs to someone else, who keeps it as long as this is used.
  package init(borrowing base: UnsafeMutableRawPointer, byteCount: Int) {
    self.base = base
    self.byteCount = byteCount
    isOwner = false
  }

  deinit { if isOwner { free(base) } }
}

/// A tensor value: element type, shape and elements in row-major order. Immutable once made.
public struct Tensor: Sendable {
  /// The element type.
  public let dtype: DType
  /// The size of each dimension.
  public let shape: [Int]
  /// Elements of plain types.
  public private(set) var buffer: Buffer
  /// Elements of a string tensor, row-major; empty for other types.
  public let strings: [[UInt8]]

  /// Whether this is a value of `type`.
  package func has(_ type: TensorType) -> Bool {
    guard dtype == type.dtype, let dims = type.shape.dims, dims.count == shape.count else {
      return false
    }
    for (size, dim) in zip(shape, dims) where dim.size != size { return false }
    return true
  }

  /// Takes `type.shape`'s elements from `source`, where the memory is this value's alone and fits.
  package mutating func overwrite(_ type: TensorType, from source: UnsafeRawPointer) -> Bool {
    guard dtype.isPlain, has(type), isKnownUniquelyReferenced(&buffer) else { return false }
    if byteCount > 0 { buffer.base.copyMemory(from: source, byteCount: byteCount) }
    return true
  }

  /// The number of elements.
  public var count: Int { shape.reduce(1, *) }
  /// The bytes of all elements of a plain tensor.
  public var byteCount: Int { count * dtype.byteSize }
  /// The type of this value.
  public var type: TensorType { TensorType(dtype, Shape(shape)) }

  /// A plain tensor over memory that already holds its elements.
  /// - Throws: InvalidArgument when the buffer is smaller than the shape needs.
  public init(dtype: DType, shape: [Int], buffer: Buffer) throws(WeftError) {
    let bytes = try Tensor.byteCount(dtype: dtype, shape: shape)
    guard buffer.byteCount >= bytes else {
      throw WeftError(
        .invalidArgument,
        "a \(dtype.name) \(shape) tensor needs \(bytes) bytes, the buffer holds \(buffer.byteCount)"
      )
    }
    self.dtype = dtype
    self.shape = shape
    self.buffer = buffer
    strings = []
  }

  /// A plain tensor whose bytes `fill` writes; the memory is zero before.
  public init(
    dtype: DType, shape: [Int], fill: (UnsafeMutableRawBufferPointer) throws(WeftError) -> Void
  ) throws(WeftError) {
    let bytes = try Tensor.byteCount(dtype: dtype, shape: shape)
    let buffer = try Buffer(byteCount: bytes)
    let memory = UnsafeMutableRawBufferPointer(start: buffer.base, count: bytes)
    if bytes > 0 { memset(buffer.base, 0, bytes) }
    try fill(memory)
    try self.init(dtype: dtype, shape: shape, buffer: buffer)
  }

  /// A tensor of zeros.
  public init(zeros dtype: DType, shape: [Int]) throws(WeftError) {
    try self.init(dtype: dtype, shape: shape) { _ throws(WeftError) in }
  }

  /// A tensor of `elements`, row-major.
  /// - Throws: InvalidArgument when their number is not the product of `shape`.
  public init<Element: TensorElement>(_ elements: [Element], shape: [Int]) throws(WeftError) {
    guard Shape.checkedCount(shape) == elements.count else {
      throw WeftError(.invalidArgument, "\(elements.count) elements do not fill shape \(shape)")
    }
    try self.init(dtype: Element.dtype, shape: shape) { memory throws(WeftError) in
      elements.withUnsafeBytes { memory.copyMemory(from: $0) }
    }
  }

  /// A vector.
  public init<Element: TensorElement>(_ elements: [Element]) throws(WeftError) {
    try self.init(elements, shape: [elements.count])
  }

  /// A scalar.
  public init<Element: TensorElement>(scalar: Element) throws(WeftError) {
    try self.init([scalar], shape: [])
  }

  /// A string tensor, row-major.
  public init(strings: [[UInt8]], shape: [Int]) throws(WeftError) {
    guard Shape.checkedCount(shape) == strings.count else {
      throw WeftError(.invalidArgument, "\(strings.count) strings do not fill shape \(shape)")
    }
    dtype = .string
    self.shape = shape
    buffer = Tensor.noBytes
    self.strings = strings
  }

  /// The same elements under another shape of the same count.
  public func reshaped(to shape: [Int]) throws(WeftError) -> Tensor {
    guard Shape.checkedCount(shape) == count else {
      throw WeftError(.invalidArgument, "cannot reshape \(self.shape) to \(shape)")
    }
    if dtype == .string { return try Tensor(strings: strings, shape: shape) }
    return try Tensor(dtype: dtype, shape: shape, buffer: buffer)
  }

  /// The elements as an array.
  /// - Throws: InvalidArgument when `Element` is not the tensor's type.
  public func array<Element: TensorElement>(
    of _: Element.Type = Element.self
  ) throws(WeftError) -> [Element] {
    guard dtype == Element.dtype else {
      throw WeftError(
        .invalidArgument, "a \(dtype.name) tensor has no \(Element.dtype.name) elements")
    }
    return Array(
      UnsafeBufferPointer(start: buffer.base.assumingMemoryBound(to: Element.self), count: count))
  }

  /// The only element.
  public func scalar<Element: TensorElement>(
    of type: Element.Type = Element.self
  ) throws(WeftError) -> Element {
    let all = try array(of: type)
    guard all.count == 1 else {
      throw WeftError(.invalidArgument, "a tensor of shape \(shape) is not one element")
    }
    return all[0]
  }

  /// The elements as integers when the type is an integer type or bool; else nil.
  public var integers: [Int]? { integers(in: 0..<count) }

  private func integers(in range: Range<Int>) -> [Int]? {
    func all<Element: TensorElement & BinaryInteger>(_: Element.Type) -> [Int] {
      UnsafeBufferPointer(start: buffer.base.assumingMemoryBound(to: Element.self), count: count)[
        range
      ].map { Int(truncatingIfNeeded: $0) }
    }
    return switch dtype {
    case .int8: all(Int8.self)
    case .int16: all(Int16.self)
    case .int32: all(Int32.self)
    case .int64: all(Int64.self)
    case .uint8, .bool: all(UInt8.self)
    case .uint16: all(UInt16.self)
    case .uint32: all(UInt32.self)
    case .uint64: all(UInt64.self)
    default: nil
    }
  }

  /// The elements as doubles when the type is a real number type; else nil.
  public var doubles: [Double]? { doubles(in: 0..<count) }

  /// Some of the elements, counted in C order, as doubles; nil for types without any.
  ///
  /// What goes through a large tensor in parts needs no second one of twice its size.
  public func doubles(in range: Range<Int>) -> [Double]? {
    func all<Element: TensorElement>(
      _: Element.Type, _ value: (Element) -> Double
    ) -> [Double] {
      UnsafeBufferPointer(start: buffer.base.assumingMemoryBound(to: Element.self), count: count)[
        range
      ].map(value)
    }
    switch dtype {
    case .float32: return all(Float.self) { Double($0) }
    case .float64: return all(Double.self) { $0 }
    case .float16:
      #if !(os(macOS) && arch(x86_64))
        return all(Float16.self) { Double($0) }
      #else
        return nil
      #endif
    case .bfloat16: return all(BFloat16.self) { Double($0.float) }
    case .uint64: return all(UInt64.self) { Double($0) }
    default: return integers(in: range)?.map { Double($0) }
    }
  }

  /// The raw bytes of a plain tensor.
  public var bytes: UnsafeRawBufferPointer {
    UnsafeRawBufferPointer(start: buffer.base, count: byteCount)
  }

  /// Whether type, shape and every byte are equal (so NaN equals itself, and 0 differs from -0).
  public func isIdentical(to other: Tensor) -> Bool {
    guard dtype == other.dtype, shape == other.shape else { return false }
    if dtype == .string { return strings == other.strings }
    return byteCount == 0 || memcmp(buffer.base, other.buffer.base, byteCount) == 0
  }

  /// The bytes a plain tensor needs.
  /// - Throws: InvalidArgument for a negative size or a product that overflows.
  public static func byteCount(dtype: DType, shape: [Int]) throws(WeftError) -> Int {
    guard let count = Shape.checkedCount(shape) else {
      throw WeftError(.invalidArgument, "shape \(shape) is negative or overflows")
    }
    let (bytes, overflow) = count.multipliedReportingOverflow(by: max(1, dtype.byteSize))
    guard !overflow, bytes <= Int.max - 4096 else {
      throw WeftError(.resourceExhausted, "a \(dtype.name) \(shape) tensor is too large")
    }
    return bytes
  }

  // One shared empty buffer for string tensors; 64 bytes cannot fail in a running process.
  private static let noBytes: Buffer = {
    do { return try Buffer(byteCount: 0) } catch { preconditionFailure("no memory at all") }
  }()
}

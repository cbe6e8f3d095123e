// Searches of integer operands for values an op refuses.

public import WeftTensors

/// What makes an integer operand unusable.
public enum IntegerFault: Sendable {
  case zero, negative

  /// The first of `count` integers of `dtype` with this fault; nil when there is none, and for
  /// other types.
  public func first(_ x: UnsafeRawPointer, count: Int, dtype: DType) -> Int? {
    switch dtype {
    case .int8: search(x, count, Int8.self)
    case .int16: search(x, count, Int16.self)
    case .int32: search(x, count, Int32.self)
    case .int64: search(x, count, Int64.self)
    case .uint8: search(x, count, UInt8.self)
    case .uint16: search(x, count, UInt16.self)
    case .uint32: search(x, count, UInt32.self)
    case .uint64: search(x, count, UInt64.self)
    default: nil
    }
  }

  private func search<I: FixedWidthInteger>(
    _ x: UnsafeRawPointer, _ count: Int, _: I.Type
  ) -> Int? {
    let x = x.assumingMemoryBound(to: I.self)
    switch self {
    case .zero:
      for i in 0..<count where x[i] == 0 { return i }
    case .negative:
      for i in 0..<count where x[i] < 0 { return i }
    }
    return nil
  }
}

/// Integers of any type, read as Int.
public struct IntegerReader: Sendable {
  private let read: @Sendable (UnsafeRawPointer, Int) -> Int

  /// A reader of `dtype`; nil when it is not an integer type or bool.
  public init?(_ dtype: DType) {
    func make<I: FixedWidthInteger & SendableMetatype>(_: I.Type)
      -> @Sendable (UnsafeRawPointer, Int) -> Int
    {
      { Int(truncatingIfNeeded: $0.assumingMemoryBound(to: I.self)[$1]) }
    }
    switch dtype {
    case .int8: read = make(Int8.self)
    case .int16: read = make(Int16.self)
    case .int32: read = make(Int32.self)
    case .int64: read = make(Int64.self)
    case .uint8, .bool: read = make(UInt8.self)
    case .uint16: read = make(UInt16.self)
    case .uint32: read = make(UInt32.self)
    case .uint64: read = make(UInt64.self)
    default: return nil
    }
  }

  /// Element `index` of the memory at `x`.
  @inline(__always)
  public func callAsFunction(_ x: UnsafeRawPointer, _ index: Int) -> Int { read(x, index) }
}

/// Writes `value` as element `index` of the memory at `y`, wrapped to `dtype`, an integer type.
@inline(__always)
public func storeInteger(_ value: Int, _ y: UnsafeMutableRawPointer, _ index: Int, dtype: DType) {
  switch dtype.byteSize {
  case 1: y.assumingMemoryBound(to: Int8.self)[index] = Int8(truncatingIfNeeded: value)
  case 2: y.assumingMemoryBound(to: Int16.self)[index] = Int16(truncatingIfNeeded: value)
  case 4: y.assumingMemoryBound(to: Int32.self)[index] = Int32(truncatingIfNeeded: value)
  default: y.assumingMemoryBound(to: Int64.self)[index] = Int64(truncatingIfNeeded: value)
  }
}

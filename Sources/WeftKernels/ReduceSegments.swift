// Folding rows into segments: sums, products and extremes of rows that share an id.

public import WeftTensors

#if canImport(Glibc)
  internal import Glibc
#elseif canImport(Darwin)
  internal import Darwin
#endif

/// How rows of one element type are folded into a row of a segment.
public struct SegmentFold: Sendable {
  /// What a segment of no rows holds.
  public enum Empty: Sendable {
    case zero, one, lowest, highest
  }

  private let element: [UInt8]
  private let empty: [UInt8]
  private let combine: BinaryRow
  private let size: Int

  /// A fold, or nil when it is not defined for `dtype`.
  /// - Parameters:
  ///   - function: add, multiply, maximum or minimum.
  ///   - identity: where a fold starts.
  ///   - empty: what a segment of no rows holds.
  public init?(_ function: BinaryFunction, dtype: DType, identity: Empty, empty: Empty) {
    guard let row = function.row(dtype), let start = SegmentFold.bytes(identity, dtype),
      let nothing = SegmentFold.bytes(empty, dtype)
    else { return nil }
    combine = row
    element = start
    self.empty = nothing
    size = dtype.byteSize
  }

  /// Writes what folds start with to `count` elements.
  public func start(_ out: UnsafeMutableRawPointer, count: Int) { fill(out, count, element) }

  /// Writes what segments of no rows hold to `count` elements.
  public func clear(_ out: UnsafeMutableRawPointer, count: Int) { fill(out, count, empty) }

  /// Folds `n` elements of `row` into `out`.
  @inline(__always)
  public func add(_ row: UnsafeRawPointer, to out: UnsafeMutableRawPointer, _ n: Int) {
    combine(UnsafeRawPointer(out), row, out, n, .both)
  }

  private func fill(_ out: UnsafeMutableRawPointer, _ count: Int, _ pattern: [UInt8]) {
    if pattern.allSatisfy({ $0 == 0 }) {
      memset(out, 0, count * size)
      return
    }
    pattern.withUnsafeBytes { bytes in
      guard let source = bytes.baseAddress else { return }
      for i in 0..<count { (out + i * size).copyMemory(from: source, byteCount: size) }
    }
  }

  private static func bytes(_ value: Empty, _ dtype: DType) -> [UInt8]? {
    func raw<E>(_ value: E) -> [UInt8] { withUnsafeBytes(of: value) { Array($0) } }
    func integer<I: FixedWidthInteger>(_: I.Type) -> [UInt8] {
      switch value {
      case .zero: raw(I(0))
      case .one: raw(I(1))
      case .lowest: raw(I.min)
      case .highest: raw(I.max)
      }
    }
    func floating<F: BinaryFloatingPoint>(_: F.Type) -> [UInt8] {
      switch value {
      case .zero: raw(F(0))
      case .one: raw(F(1))
      case .lowest: raw(-F.greatestFiniteMagnitude)
      case .highest: raw(F.greatestFiniteMagnitude)
      }
    }
    switch dtype {
    case .float32: return floating(Float.self)
    case .float64: return floating(Double.self)
    #if !(os(macOS) && arch(x86_64))
      case .float16: return floating(Float16.self)
    #endif
    case .bfloat16:
      switch value {
      case .zero: return raw(BFloat16(0))
      case .one: return raw(BFloat16(1))
      case .lowest: return raw(BFloat16(bitPattern: 0xff7f))
      case .highest: return raw(BFloat16(bitPattern: 0x7f7f))
      }
    case .int8: return integer(Int8.self)
    case .int16: return integer(Int16.self)
    case .int32: return integer(Int32.self)
    case .int64: return integer(Int64.self)
    case .uint8: return integer(UInt8.self)
    case .uint16: return integer(UInt16.self)
    case .uint32: return integer(UInt32.self)
    case .uint64: return integer(UInt64.self)
    default: return nil
    }
  }
}

/// The row of a divisor: y = x / scalar, for means and the like.
public func dividedBy(_ dtype: DType) -> (@Sendable (UnsafeMutableRawPointer, Double, Int) -> Void)?
{
  guard let row = BinaryFunction.divide.row(dtype), let store = castRow(from: .float64, to: dtype)
  else { return nil }
  return { x, divisor, n in
    withUnsafeTemporaryAllocation(byteCount: 8, alignment: 8) { scalar in
      guard let scalar = scalar.baseAddress else { return }
      var divisor = divisor
      store(&divisor, scalar, 1)
      row(UnsafeRawPointer(x), UnsafeRawPointer(scalar), x, n, .scalarRight)
    }
  }
}

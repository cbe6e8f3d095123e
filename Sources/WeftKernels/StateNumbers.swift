// What state and neural-network kernels ask of element types, and dispatch on them.

package import WeftTensors

#if canImport(Glibc)
  internal import Glibc
#elseif canImport(Darwin)
  internal import Darwin
#endif

/// Arithmetic of every number type; integers wrap.
package protocol StateNumber: TensorElement {
  static func plus(_ a: Self, _ b: Self) -> Self
  static func minus(_ a: Self, _ b: Self) -> Self
  static func times(_ a: Self, _ b: Self) -> Self
  /// The quotient; integers truncate, and the caller has checked that `b` is not zero.
  static func over(_ a: Self, _ b: Self) -> Self
  /// The smaller and the larger; complex numbers have neither and give `b`.
  static func least(_ a: Self, _ b: Self) -> Self
  static func greatest(_ a: Self, _ b: Self) -> Self
  static var zeroValue: Self { get }
  /// Whether a division by this integer is an error.
  var isIntegerZero: Bool { get }
}

extension StateNumber where Self: FixedWidthInteger {
  package static func plus(_ a: Self, _ b: Self) -> Self { a &+ b }
  package static func minus(_ a: Self, _ b: Self) -> Self { a &- b }
  package static func times(_ a: Self, _ b: Self) -> Self { a &* b }
  package static func over(_ a: Self, _ b: Self) -> Self {
    b == 0 ? 0 : a.dividedReportingOverflow(by: b).partialValue
  }
  package static func least(_ a: Self, _ b: Self) -> Self { Swift.min(a, b) }
  package static func greatest(_ a: Self, _ b: Self) -> Self { Swift.max(a, b) }
  package static var zeroValue: Self { 0 }
  package var isIntegerZero: Bool { self == 0 }
}

extension StateNumber where Self: BinaryFloatingPoint {
  package static func plus(_ a: Self, _ b: Self) -> Self { a + b }
  package static func minus(_ a: Self, _ b: Self) -> Self { a - b }
  package static func times(_ a: Self, _ b: Self) -> Self { a * b }
  package static func over(_ a: Self, _ b: Self) -> Self { a / b }
  package static func least(_ a: Self, _ b: Self) -> Self { a.isNaN || a < b ? a : b }
  package static func greatest(_ a: Self, _ b: Self) -> Self { a.isNaN || a > b ? a : b }
  package static var zeroValue: Self { 0 }
  package var isIntegerZero: Bool { false }
}

extension Int8: StateNumber {}
extension Int16: StateNumber {}
extension Int32: StateNumber {}
extension Int64: StateNumber {}
extension UInt8: StateNumber {}
extension UInt16: StateNumber {}
extension UInt32: StateNumber {}
extension UInt64: StateNumber {}
extension Float: StateNumber {}
extension Double: StateNumber {}
#if !(os(macOS) && arch(x86_64))
  extension Float16: StateNumber {}
#endif

extension BFloat16: StateNumber {
  package static func plus(_ a: Self, _ b: Self) -> Self { BFloat16(a.float + b.float) }
  package static func minus(_ a: Self, _ b: Self) -> Self { BFloat16(a.float - b.float) }
  package static func times(_ a: Self, _ b: Self) -> Self { BFloat16(a.float * b.float) }
  package static func over(_ a: Self, _ b: Self) -> Self { BFloat16(a.float / b.float) }
  package static func least(_ a: Self, _ b: Self) -> Self {
    BFloat16(Float.least(a.float, b.float))
  }
  package static func greatest(_ a: Self, _ b: Self) -> Self {
    BFloat16(Float.greatest(a.float, b.float))
  }
  package static var zeroValue: Self { BFloat16(bitPattern: 0) }
  package var isIntegerZero: Bool { false }
}

extension ComplexValue: StateNumber {
  package static func plus(_ a: Self, _ b: Self) -> Self {
    Self(a.real + b.real, a.imaginary + b.imaginary)
  }
  package static func minus(_ a: Self, _ b: Self) -> Self {
    Self(a.real - b.real, a.imaginary - b.imaginary)
  }
  package static func times(_ a: Self, _ b: Self) -> Self {
    Self(
      a.real * b.real - a.imaginary * b.imaginary, a.real * b.imaginary + a.imaginary * b.real)
  }
  package static func over(_ a: Self, _ b: Self) -> Self {
    let norm = b.real * b.real + b.imaginary * b.imaginary
    return Self(
      (a.real * b.real + a.imaginary * b.imaginary) / norm,
      (a.imaginary * b.real - a.real * b.imaginary) / norm)
  }
  package static func least(_ a: Self, _ b: Self) -> Self { b }
  package static func greatest(_ a: Self, _ b: Self) -> Self { b }
  package static var zeroValue: Self { Self(0, 0) }
  package var isIntegerZero: Bool { false }
}

/// The Swift type behind a number type; nil for others. Loops over it are not specialized: hot
/// types deserve a `switch` of their own before.
package func stateNumberType(_ dtype: DType) -> (any StateNumber.Type)? {
  switch dtype {
  case .float32: Float.self
  case .float64: Double.self
  case .int8: Int8.self
  case .int16: Int16.self
  case .int32: Int32.self
  case .int64: Int64.self
  case .uint8: UInt8.self
  case .uint16: UInt16.self
  case .uint32: UInt32.self
  case .uint64: UInt64.self
  case .bfloat16: BFloat16.self
  #if !(os(macOS) && arch(x86_64))
    case .float16: Float16.self
  #endif
  case .complex64: ComplexValue<Float>.self
  case .complex128: ComplexValue<Double>.self
  default: nil
  }
}

/// A float type that loops compute in.
package protocol WideFloat: BinaryFloatingPoint, TensorElement {
  static func exponential(_ x: Self) -> Self
  static func expm1(_ x: Self) -> Self
  static func log1p(_ x: Self) -> Self
  static func logarithm(_ x: Self) -> Self
  static func power(_ x: Self, _ y: Self) -> Self
}

extension Float: WideFloat {
  package static func exponential(_ x: Float) -> Float { expf(x) }
  package static func expm1(_ x: Float) -> Float { expm1f(x) }
  package static func log1p(_ x: Float) -> Float { log1pf(x) }
  package static func logarithm(_ x: Float) -> Float { logf(x) }
  package static func power(_ x: Float, _ y: Float) -> Float { powf(x, y) }
}

extension Double: WideFloat {
  package static func exponential(_ x: Double) -> Double { exp(x) }
  package static func expm1(_ x: Double) -> Double { cExpm1(x) }
  package static func log1p(_ x: Double) -> Double { cLog1p(x) }
  package static func logarithm(_ x: Double) -> Double { log(x) }
  package static func power(_ x: Double, _ y: Double) -> Double { pow(x, y) }
}

// Inside the extension the members would shadow the C functions.
private func cExpm1(_ x: Double) -> Double { expm1(x) }
private func cLog1p(_ x: Double) -> Double { log1p(x) }

/// A float type as stored, with the type its arithmetic runs in.
package protocol RealElement: StateNumber {
  associatedtype Wide: WideFloat
  init(wide: Wide)
  var wide: Wide { get }
}

extension Float: RealElement {
  @inline(__always) package init(wide: Float) { self = wide }
  @inline(__always) package var wide: Float { self }
}
extension Double: RealElement {
  @inline(__always) package init(wide: Double) { self = wide }
  @inline(__always) package var wide: Double { self }
}
extension BFloat16: RealElement {
  @inline(__always) package init(wide: Float) { self.init(wide) }
  @inline(__always) package var wide: Float { float }
}
#if !(os(macOS) && arch(x86_64))
  extension Float16: RealElement {
    @inline(__always) package init(wide: Float) { self.init(wide) }
    @inline(__always) package var wide: Float { Float(self) }
  }
#endif

/// A generic piece of work over a float type.
package protocol RealTask {
  func run<E: RealElement>(_: E.Type)
}

/// Runs `task` for a float type, specialized; false when `dtype` is none.
@inline(__always)
package func withRealType(_ dtype: DType, _ task: some RealTask) -> Bool {
  switch dtype {
  case .float32: task.run(Float.self)
  case .float64: task.run(Double.self)
  case .bfloat16: task.run(BFloat16.self)
  #if !(os(macOS) && arch(x86_64))
    case .float16: task.run(Float16.self)
  #endif
  default: return false
  }
  return true
}

/// The first element as a double; zero for types that are not real numbers.
package func realScalar(_ dtype: DType, _ memory: UnsafeRawPointer) -> Double {
  switch dtype {
  case .float32: Double(memory.load(as: Float.self))
  case .float64: memory.load(as: Double.self)
  case .bfloat16: Double(memory.load(as: BFloat16.self).float)
  #if !(os(macOS) && arch(x86_64))
    case .float16: Double(memory.load(as: Float16.self))
  #endif
  case .int32: Double(memory.load(as: Int32.self))
  case .int64: Double(memory.load(as: Int64.self))
  default: 0
  }
}

/// Integer indices of 32 or 64 bits in memory.
package struct IndexList: @unchecked Sendable {
  let base: UnsafeRawPointer
  let isWide: Bool
  /// How many there are.
  package let count: Int

  /// `count` indices of type `dtype` (int16, int32 or int64) at `base`.
  package init(_ base: UnsafeRawPointer, _ dtype: DType, count: Int) {
    self.base = base
    isWide = dtype == .int64
    self.count = count
  }

  /// Index number `i`.
  @inline(__always)
  package subscript(i: Int) -> Int {
    isWide
      ? Int(base.assumingMemoryBound(to: Int64.self)[i])
      : Int(base.assumingMemoryBound(to: Int32.self)[i])
  }

  /// The position of the first index outside `0 ..< bound`.
  package func firstOutside(_ bound: Int) -> Int? {
    for i in 0..<count where self[i] < 0 || self[i] >= bound { return i }
    return nil
  }
}

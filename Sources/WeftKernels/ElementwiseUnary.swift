// Loops of one operand: arithmetic, rounding, exponentials, trigonometry.

internal import CWeftVectorMath
public import WeftTensors

#if canImport(Glibc)
  internal import Glibc
#elseif canImport(Darwin)
  internal import Darwin
#endif

/// A function of one number whose result has the operand's type.
public enum UnaryFunction: Sendable {
  case negate, absolute, sign, square, reciprocal, bitwiseNot
  case squareRoot, reciprocalSquareRoot, exp, expm1, log, log1p
  case tanh, sigmoid
  case sin, cos, tan, asin, acos, atan, sinh, cosh, asinh, acosh, atanh
  case erf, erfc, erfInverse, normalQuantile, logGamma, digamma
  case floor, ceil, roundHalfEven

  /// The loop over elements of `dtype`; nil when the function is not defined there.
  public func row(_ dtype: DType) -> UnaryRow? {
    if self == .absolute || self == .negate || self == .square, dtype.isComplex {
      return complexRow(dtype)
    }
    guard let wide = wideType(dtype) else { return complexRow(dtype) }
    let row: UnaryRow? =
      switch wide {
      case .float32: floatRow()
      case .float64: doubleRow()
      case .int32: integerRow(Int32.self)
      case .int64: integerRow(Int64.self)
      case .uint64: integerRow(UInt64.self)
      default: nil
      }
    return row.flatMap { widened($0, from: dtype, through: wide) }
  }

  private func floatRow() -> UnaryRow? {
    switch self {
    case .negate: cRow(weft_neg_f32)
    case .absolute: cRow(weft_abs_f32)
    case .square: cRow(weft_square_f32)
    case .sign: unaryRow { (x: Float) in x > 0 ? 1 : x < 0 ? -1 : x }
    case .reciprocal: unaryRow { (x: Float) in 1 / x }
    case .bitwiseNot: nil
    case .squareRoot: cRow(weft_sqrt_f32)
    case .reciprocalSquareRoot: cRow(weft_rsqrt_f32)
    case .exp: cRow(weft_exp_f32)
    case .expm1: cRow(weft_expm1_f32)
    case .log: cRow(weft_log_f32)
    case .log1p: cRow(weft_log1p_f32)
    case .tanh: cRow(weft_tanh_f32)
    case .sigmoid: cRow(weft_sigmoid_f32)
    case .sin: cRow(weft_sin_f32)
    case .cos: cRow(weft_cos_f32)
    case .erf: cRow(weft_erf_f32)
    case .floor: unaryRow { (x: Float) in x.rounded(.down) }
    case .ceil: unaryRow { (x: Float) in x.rounded(.up) }
    case .roundHalfEven: unaryRow { (x: Float) in x.rounded(.toNearestOrEven) }
    default:
      // In double and rounded once: within half an ulp, and no second set of formulas.
      scalarFunction.map { f in unaryRow { (x: Float) in Float(f(Double(x))) } }
    }
  }

  private func doubleRow() -> UnaryRow? {
    switch self {
    case .negate: cRow(weft_neg_f64)
    case .absolute: cRow(weft_abs_f64)
    case .square: cRow(weft_square_f64)
    case .sign: unaryRow { (x: Double) in x > 0 ? 1 : x < 0 ? -1 : x }
    case .reciprocal: unaryRow { (x: Double) in 1 / x }
    case .bitwiseNot: nil
    case .squareRoot: cRow(weft_sqrt_f64)
    case .reciprocalSquareRoot: cRow(weft_rsqrt_f64)
    case .exp: cRow(weft_exp_f64)
    case .expm1: cRow(weft_expm1_f64)
    case .log: cRow(weft_log_f64)
    case .log1p: cRow(weft_log1p_f64)
    case .tanh: cRow(weft_tanh_f64)
    case .sigmoid: cRow(weft_sigmoid_f64)
    case .sin: cRow(weft_sin_f64)
    case .cos: cRow(weft_cos_f64)
    case .erf: cRow(weft_erf_f64)
    case .floor: unaryRow { (x: Double) in x.rounded(.down) }
    case .ceil: unaryRow { (x: Double) in x.rounded(.up) }
    case .roundHalfEven: unaryRow { (x: Double) in x.rounded(.toNearestOrEven) }
    default: scalarFunction.map { f in unaryRow { (x: Double) in f(x) } }
    }
  }

  private var scalarFunction: (@Sendable (Double) -> Double)? {
    switch self {
    #if canImport(Glibc)
      case .tan: { Glibc.tan($0) }
      case .asin: { Glibc.asin($0) }
      case .acos: { Glibc.acos($0) }
      case .atan: { Glibc.atan($0) }
      case .sinh: { Glibc.sinh($0) }
      case .cosh: { Glibc.cosh($0) }
      case .asinh: { Glibc.asinh($0) }
      case .acosh: { Glibc.acosh($0) }
      case .atanh: { Glibc.atanh($0) }
      case .erfc: { Glibc.erfc($0) }
    #elseif canImport(Darwin)
      case .tan: { Darwin.tan($0) }
      case .asin: { Darwin.asin($0) }
      case .acos: { Darwin.acos($0) }
      case .atan: { Darwin.atan($0) }
      case .sinh: { Darwin.sinh($0) }
      case .cosh: { Darwin.cosh($0) }
      case .asinh: { Darwin.asinh($0) }
      case .acosh: { Darwin.acosh($0) }
      case .atanh: { Darwin.atanh($0) }
      case .erfc: { Darwin.erfc($0) }
    #endif
    case .erfInverse: { SpecialFunction.erfInverse($0) }
    case .normalQuantile: { SpecialFunction.normalQuantile($0) }
    case .logGamma: { SpecialFunction.logGamma($0) }
    case .digamma: { SpecialFunction.digamma($0) }
    default: nil
    }
  }

  private func integerRow<I: FixedWidthInteger & Sendable>(_: I.Type) -> UnaryRow? {
    switch self {
    // A result made of literals alone is stated: it would be an Int, eight bytes wide.
    case .negate: unaryRow { (x: I) in 0 &- x }
    case .absolute: unaryRow { (x: I) in x < 0 ? 0 &- x : x }
    case .sign: unaryRow { (x: I) -> I in x > 0 ? 1 : x < 0 ? 0 &- 1 : 0 }
    case .square: unaryRow { (x: I) in x &* x }
    // Division by zero is checked before the loop runs.
    case .reciprocal: unaryRow { (x: I) in x == 1 ? 1 : x == 0 &- 1 ? x : 0 }
    case .bitwiseNot: unaryRow { (x: I) in ~x }
    case .floor, .ceil: unaryRow { (x: I) in x }
    // TensorFlow's formula, 2 * floor(0.5 * x) where x + 0.5 is a tie, in integers: 0.5 is 0.
    case .roundHalfEven: unaryRow { (_: I) -> I in 0 }
    default: nil
    }
  }

  private func complexRow(_ dtype: DType) -> UnaryRow? {
    switch dtype {
    case .complex64: complexRow(Float.self)
    case .complex128: complexRow(Double.self)
    default: nil
    }
  }

  private func complexRow<P: BinaryFloatingPoint & Sendable & BitwiseCopyable>(
    _: P.Type
  ) -> UnaryRow? {
    typealias C = ComplexValue<P>
    switch self {
    case .negate: return unaryRow { (x: C) in C(-x.real, -x.imaginary) }
    case .square: return unaryRow { (x: C) in x * x }
    case .reciprocal: return unaryRow { (x: C) in C(1, 0) / x }
    default: return nil
    }
  }
}

extension ComplexValue {
  @inline(__always)
  static func + (a: Self, b: Self) -> Self { Self(a.real + b.real, a.imaginary + b.imaginary) }
  @inline(__always)
  static func - (a: Self, b: Self) -> Self { Self(a.real - b.real, a.imaginary - b.imaginary) }
  @inline(__always)
  static func * (a: Self, b: Self) -> Self {
    Self(
      a.real * b.real - a.imaginary * b.imaginary, a.real * b.imaginary + a.imaginary * b.real)
  }
  @inline(__always)
  static func / (a: Self, b: Self) -> Self {
    // Scaled by the larger part, so that squares do not overflow.
    if Swift.abs(b.real) >= Swift.abs(b.imaginary) {
      let r = b.imaginary / b.real
      let d = b.real + b.imaginary * r
      return Self((a.real + a.imaginary * r) / d, (a.imaginary - a.real * r) / d)
    }
    let r = b.real / b.imaginary
    let d = b.real * r + b.imaginary
    return Self((a.real * r + a.imaginary) / d, (a.imaginary * r - a.real) / d)
  }
}

@inline(__always)
private func cRow<E>(
  _ f: @escaping @Sendable (UnsafePointer<E>?, UnsafeMutablePointer<E>?, Int) -> Void
) -> UnaryRow {
  { x, y, n in
    f(x.assumingMemoryBound(to: E.self), y.assumingMemoryBound(to: E.self), n)
  }
}

/// Tests of one number whose result is bool.
public enum UnaryTest: Sendable {
  case isNan, isInfinite, isFinite, logicalNot

  /// The loop over elements of `dtype`.
  public func row(_ dtype: DType) -> UnaryRow? {
    if self == .logicalNot {
      return dtype == .bool ? unaryRow { (x: UInt8) in x == 0 } : nil
    }
    guard dtype.isFloating, let wide = wideType(dtype) else { return nil }
    let row: UnaryRow? =
      switch self {
      case .isNan:
        wide == .float32 ? unaryRow { (x: Float) in x != x } : unaryRow { (x: Double) in x != x }
      case .isInfinite:
        wide == .float32
          ? unaryRow { (x: Float) in Swift.abs(x) == .infinity }
          : unaryRow { (x: Double) in Swift.abs(x) == .infinity }
      case .isFinite:
        wide == .float32
          ? unaryRow { (x: Float) in Swift.abs(x) < .infinity }
          : unaryRow { (x: Double) in Swift.abs(x) < .infinity }
      case .logicalNot: nil
      }
    return row.flatMap { widened($0, from: dtype, through: wide, narrow: false) }
  }
}

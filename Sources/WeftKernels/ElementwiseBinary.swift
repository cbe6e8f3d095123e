// Loops of two operands: arithmetic, division in all its kinds, powers, gradients of activations.

internal import CWeftVectorMath
public import WeftTensors

/// A function of two numbers of one type whose result has that type.
public enum BinaryFunction: Sendable {
  case add, subtract, multiply, divide, divideNoNan, multiplyNoNan
  /// Division rounded towards minus infinity, and what remains (sign of the divisor).
  case floorDivide, floorRemainder
  /// What remains of division rounded towards zero (sign of the dividend).
  case truncatingRemainder
  case power, maximum, minimum, squaredDifference
  case xlogy, xlog1py, xdivy, atan2, nextAfter
  case igamma, igammac, igammaGradA, zeta, polygamma
  case tanhGradient, sigmoidGradient, squareRootGradient, reciprocalSquareRootGradient
  case reciprocalGradient
  case bitwiseAnd, bitwiseOr, bitwiseXor, leftShift, rightShift

  /// Whether a zero on the right is an error for integers.
  public var dividesIntegers: Bool {
    switch self {
    case .divide, .floorDivide, .floorRemainder, .truncatingRemainder: true
    default: false
    }
  }

  /// The loop over elements of `dtype`; nil when the function is not defined there.
  public func row(_ dtype: DType) -> BinaryRow? {
    switch dtype {
    case .complex64: return complexRow(Float.self)
    case .complex128: return complexRow(Double.self)
    default: break
    }
    guard let wide = wideType(dtype) else { return nil }
    if self == .leftShift || self == .rightShift { return shiftRow(dtype) }
    let row: BinaryRow? =
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

  private func floatRow() -> BinaryRow? {
    switch self {
    case .add:
      cRow(weft_add_f32, right: weft_add_scalar_f32, left: weft_add_scalar_f32)
    case .subtract:
      cRow(weft_sub_f32, right: weft_sub_scalar_f32, left: weft_scalar_sub_f32)
    case .multiply: cRow(weft_mul_f32, right: weft_scale_f32, left: weft_scale_f32)
    case .divide:
      cRow(weft_div_f32, right: weft_div_scalar_f32, left: weft_scalar_div_f32)
    case .power:
      { a, b, out, n, kind in
        let a = a.assumingMemoryBound(to: Float.self)
        let b = b.assumingMemoryBound(to: Float.self)
        let out = out.assumingMemoryBound(to: Float.self)
        powRow(a, b, out, n, kind, vector: weft_pow_f32)
      }
    case .tanhGradient:
      gradRow(weft_tanh_grad_f32) { (y: Float, dy) in dy * (1 - y * y) }
    case .sigmoidGradient:
      gradRow(weft_sigmoid_grad_f32) { (y: Float, dy) in dy * y * (1 - y) }
    case .maximum: gradRow(weft_maximum_f32) { (a: Float, b) in floatMaximum(a, b) }
    case .minimum: gradRow(weft_minimum_f32) { (a: Float, b) in floatMinimum(a, b) }
    case .squaredDifference:
      gradRow(weft_squared_difference_f32) { (a: Float, b) in (a - b) * (a - b) }
    default: floatingRow(Float.self)
    }
  }

  private func doubleRow() -> BinaryRow? {
    switch self {
    case .add:
      cRow(weft_add_f64, right: weft_add_scalar_f64, left: weft_add_scalar_f64)
    case .subtract:
      cRow(weft_sub_f64, right: weft_sub_scalar_f64, left: weft_scalar_sub_f64)
    case .multiply: cRow(weft_mul_f64, right: weft_scale_f64, left: weft_scale_f64)
    case .divide:
      cRow(weft_div_f64, right: weft_div_scalar_f64, left: weft_scalar_div_f64)
    case .power:
      { a, b, out, n, kind in
        let a = a.assumingMemoryBound(to: Double.self)
        let b = b.assumingMemoryBound(to: Double.self)
        let out = out.assumingMemoryBound(to: Double.self)
        powRow(a, b, out, n, kind, vector: weft_pow_f64)
      }
    case .tanhGradient: binaryRow { (y: Double, dy) in dy * (1 - y * y) }
    case .sigmoidGradient: binaryRow { (y: Double, dy) in dy * y * (1 - y) }
    case .maximum: binaryRow { (a: Double, b) in floatMaximum(a, b) }
    case .minimum: binaryRow { (a: Double, b) in floatMinimum(a, b) }
    case .squaredDifference: binaryRow { (a: Double, b) in (a - b) * (a - b) }
    default: floatingRow(Double.self)
    }
  }

  private func floatingRow<F: BinaryFloatingPoint & Sendable>(_: F.Type) -> BinaryRow? {
    switch self {
    case .divideNoNan: return binaryRow { (a: F, b: F) in b == 0 ? 0 : a / b }
    case .multiplyNoNan: return binaryRow { (a: F, b: F) in b == 0 ? 0 : a * b }
    case .floorDivide: return binaryRow { (a: F, b: F) in (a / b).rounded(.down) }
    case .floorRemainder:
      return binaryRow { (a: F, b: F) in
        let r = a.truncatingRemainder(dividingBy: b)
        return r != 0 && (r < 0) != (b < 0) ? r + b : r
      }
    case .truncatingRemainder:
      return binaryRow { (a: F, b: F) in a.truncatingRemainder(dividingBy: b) }
    case .xdivy: return binaryRow { (a: F, b: F) in a == 0 ? 0 : a / b }
    case .nextAfter:
      return binaryRow { (a: F, b: F) in
        a.isNaN || b.isNaN ? .nan : a == b ? b : b > a ? a.nextUp : a.nextDown
      }
    case .squareRootGradient: return binaryRow { (y: F, dy: F) in dy * 0.5 / y }
    case .reciprocalSquareRootGradient:
      return binaryRow { (y: F, dy: F) in dy * (-0.5 * y) * (y * y) }
    case .reciprocalGradient: return binaryRow { (y: F, dy: F) in -dy * (y * y) }
    default:
      // In double and rounded once.
      guard let f = scalarFunction else { return nil }
      return binaryRow { (a: F, b: F) in F(f(Double(a), Double(b))) }
    }
  }

  private var scalarFunction: (@Sendable (Double, Double) -> Double)? {
    switch self {
    case .xlogy: { $0 == 0 ? 0 : $0 * LibM.log($1) }
    case .xlog1py: { $0 == 0 ? 0 : $0 * LibM.log1p($1) }
    case .atan2: { LibM.atan2($0, $1) }
    case .igamma: { SpecialFunction.igamma($0, $1) }
    case .igammac: { SpecialFunction.igammac($0, $1) }
    case .igammaGradA: { SpecialFunction.igammaGradA($0, $1) }
    case .zeta: { SpecialFunction.zeta($0, $1) }
    case .polygamma: { SpecialFunction.polygamma($0, $1) }
    default: nil
    }
  }

  private func integerRow<I: FixedWidthInteger & Sendable>(_: I.Type) -> BinaryRow? {
    switch self {
    case .add: return binaryRow { (a: I, b: I) in a &+ b }
    case .subtract: return binaryRow { (a: I, b: I) in a &- b }
    case .multiply: return binaryRow { (a: I, b: I) in a &* b }
    // Zero divisors are refused before the loop runs; here they only must not trap.
    case .divide:
      return binaryRow { (a: I, b: I) in a.dividedReportingOverflow(by: b).partialValue }
    case .floorDivide:
      return binaryRow { (a: I, b: I) in
        let q = a.dividedReportingOverflow(by: b).partialValue
        let r = a.remainderReportingOverflow(dividingBy: b).partialValue
        return r != 0 && (r < 0) != (b < 0) ? q &- 1 : q
      }
    case .floorRemainder:
      return binaryRow { (a: I, b: I) in
        let r = a.remainderReportingOverflow(dividingBy: b).partialValue
        return r != 0 && (r < 0) != (b < 0) ? r &+ b : r
      }
    case .truncatingRemainder:
      return binaryRow { (a: I, b: I) in a.remainderReportingOverflow(dividingBy: b).partialValue }
    case .power:
      return binaryRow { (a: I, b: I) in
        var result: I = 1
        var base = a
        var rest = b
        while rest > 0 {
          if rest & 1 == 1 { result = result &* base }
          base = base &* base
          rest >>= 1
        }
        return result
      }
    case .maximum: return binaryRow { (a: I, b: I) in a < b ? b : a }
    case .minimum: return binaryRow { (a: I, b: I) in b < a ? b : a }
    case .squaredDifference: return binaryRow { (a: I, b: I) in (a &- b) &* (a &- b) }
    case .bitwiseAnd: return binaryRow { (a: I, b: I) in a & b }
    case .bitwiseOr: return binaryRow { (a: I, b: I) in a | b }
    case .bitwiseXor: return binaryRow { (a: I, b: I) in a ^ b }
    default: return nil
    }
  }

  // Shifts depend on the width, so they are not computed in a wider type. Counts are clamped to it.
  private func shiftRow(_ dtype: DType) -> BinaryRow? {
    switch dtype {
    case .int8: shiftRow(Int8.self)
    case .int16: shiftRow(Int16.self)
    case .int32: shiftRow(Int32.self)
    case .int64: shiftRow(Int64.self)
    case .uint8: shiftRow(UInt8.self)
    case .uint16: shiftRow(UInt16.self)
    case .uint32: shiftRow(UInt32.self)
    case .uint64: shiftRow(UInt64.self)
    default: nil
    }
  }

  private func shiftRow<I: FixedWidthInteger & Sendable>(_: I.Type) -> BinaryRow {
    let top = I(I.bitWidth - 1)
    if self == .leftShift {
      return binaryRow { (a: I, b: I) in a &<< (b < 0 ? 0 : b > top ? top : b) }
    }
    return binaryRow { (a: I, b: I) in a &>> (b < 0 ? 0 : b > top ? top : b) }
  }

  private func complexRow<P: BinaryFloatingPoint & Sendable & BitwiseCopyable>(
    _: P.Type
  ) -> BinaryRow? {
    typealias C = ComplexValue<P>
    switch self {
    case .add: return binaryRow { (a: C, b: C) in a + b }
    case .subtract: return binaryRow { (a: C, b: C) in a - b }
    case .multiply: return binaryRow { (a: C, b: C) in a * b }
    case .divide: return binaryRow { (a: C, b: C) in a / b }
    default: return nil
    }
  }
}

// NaN wins, as in TensorFlow.
@inline(__always)
func floatMaximum<F: BinaryFloatingPoint>(_ a: F, _ b: F) -> F { a >= b || a != a ? a : b }

@inline(__always)
func floatMinimum<F: BinaryFloatingPoint>(_ a: F, _ b: F) -> F { a <= b || a != a ? a : b }

// A row of three C functions. Those of one scalar take the array first.
@inline(__always)
private func cRow<E: Sendable>(
  _ both:
    @escaping @Sendable (UnsafePointer<E>?, UnsafePointer<E>?, UnsafeMutablePointer<E>?, Int)
    -> Void,
  right: @escaping @Sendable (UnsafePointer<E>?, E, UnsafeMutablePointer<E>?, Int) -> Void,
  left: @escaping @Sendable (UnsafePointer<E>?, E, UnsafeMutablePointer<E>?, Int) -> Void
) -> BinaryRow {
  { a, b, out, n, kind in
    let a = a.assumingMemoryBound(to: E.self)
    let b = b.assumingMemoryBound(to: E.self)
    let out = out.assumingMemoryBound(to: E.self)
    switch kind {
    case .both: both(a, b, out, n)
    case .scalarRight: right(a, b[0], out, n)
    case .scalarLeft: left(b, a[0], out, n)
    }
  }
}

// A C function for two rows; a scalar operand goes element by element.
@inline(__always)
private func gradRow<E: Sendable>(
  _ both:
    @escaping @Sendable (UnsafePointer<E>?, UnsafePointer<E>?, UnsafeMutablePointer<E>?, Int)
    -> Void,
  _ f: @escaping @Sendable (E, E) -> E
) -> BinaryRow {
  let one: BinaryRow = binaryRow(f)
  return { a, b, out, n, kind in
    if kind == .both {
      both(
        a.assumingMemoryBound(to: E.self), b.assumingMemoryBound(to: E.self),
        out.assumingMemoryBound(to: E.self), n)
    } else {
      one(a, b, out, n, kind)
    }
  }
}

private func powRow<F: BinaryFloatingPoint>(
  _ a: UnsafePointer<F>, _ b: UnsafePointer<F>, _ out: UnsafeMutablePointer<F>, _ n: Int,
  _ kind: RowKind,
  vector: (UnsafePointer<F>?, UnsafePointer<F>?, UnsafeMutablePointer<F>?, Int) -> Void
) {
  if kind == .both { return vector(a, b, out, n) }
  // Squares and first powers are exact and frequent.
  if kind == .scalarRight && b[0] == 2 {
    for i in 0..<n { out[i] = a[i] * a[i] }
    return
  }
  if kind == .scalarRight && b[0] == 1 {
    for i in 0..<n { out[i] = a[i] }
    return
  }
  withUnsafeTemporaryAllocation(of: F.self, capacity: wideBlock) { block in
    guard let filled = block.baseAddress else { return }
    for i in 0..<wideBlock { filled[i] = kind == .scalarRight ? b[0] : a[0] }
    var done = 0
    while done < n {
      let count = Swift.min(wideBlock, n - done)
      if kind == .scalarRight {
        vector(a + done, filled, out + done, count)
      } else {
        vector(filled, b + done, out + done, count)
      }
      done += count
    }
  }
}

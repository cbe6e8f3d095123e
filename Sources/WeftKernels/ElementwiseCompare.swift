// Comparisons, logic, choice and clipping.

public import WeftTensors

/// A comparison of two elements of one type, or logic on two bools; the result is bool.
public enum Comparison: Sendable {
  case equal, notEqual, less, lessEqual, greater, greaterEqual, and, or
  /// |a - b| < tolerance.
  case near(Float)

  /// The loop over elements of `dtype`; nil when the comparison is not defined there.
  public func row(_ dtype: DType) -> BinaryRow? {
    switch dtype {
    case .bool: return boolRow()
    case .complex64: return complexRow(Float.self)
    case .complex128: return complexRow(Double.self)
    default: break
    }
    guard let wide = wideType(dtype) else { return nil }
    let row: BinaryRow? =
      switch wide {
      case .float32: nearRow(Float.self) ?? orderRow(Float.self)
      case .float64: nearRow(Double.self) ?? orderRow(Double.self)
      case .int32: nearRow(Int32.self) ?? orderRow(Int32.self)
      case .int64: nearRow(Int64.self) ?? orderRow(Int64.self)
      case .uint64: nearRow(UInt64.self) ?? orderRow(UInt64.self)
      default: nil
      }
    return row.flatMap { widened($0, from: dtype, through: wide, narrow: false) }
  }

  private func orderRow<T: Comparable & Sendable>(_: T.Type) -> BinaryRow? {
    switch self {
    case .equal: binaryRow { (a: T, b: T) in a == b }
    case .notEqual: binaryRow { (a: T, b: T) in a != b }
    case .less: binaryRow { (a: T, b: T) in a < b }
    case .lessEqual: binaryRow { (a: T, b: T) in a <= b }
    case .greater: binaryRow { (a: T, b: T) in a > b }
    case .greaterEqual: binaryRow { (a: T, b: T) in a >= b }
    default: nil
    }
  }

  private func nearRow<F: BinaryFloatingPoint & Sendable>(_: F.Type) -> BinaryRow? {
    guard case .near(let tolerance) = self else { return nil }
    let limit = F(tolerance)
    return binaryRow { (a: F, b: F) in Swift.abs(a - b) < limit }
  }

  private func nearRow<I: FixedWidthInteger & Sendable>(_: I.Type) -> BinaryRow? {
    guard case .near(let tolerance) = self else { return nil }
    // TensorFlow casts the tolerance to the type and wraps the difference of magnitudes.
    let limit = Double(tolerance).rounded(.towardZero)
    return binaryRow { (a: I, b: I) in Double(a > b ? a &- b : b &- a) < limit }
  }

  private func boolRow() -> BinaryRow? {
    switch self {
    case .equal: binaryRow { (a: UInt8, b: UInt8) in (a != 0) == (b != 0) }
    case .notEqual: binaryRow { (a: UInt8, b: UInt8) in (a != 0) != (b != 0) }
    case .and: binaryRow { (a: UInt8, b: UInt8) in a & b }
    case .or: binaryRow { (a: UInt8, b: UInt8) in a | b }
    default: nil
    }
  }

  private func complexRow<P: BinaryFloatingPoint & Sendable & BitwiseCopyable>(
    _: P.Type
  ) -> BinaryRow? {
    typealias C = ComplexValue<P>
    switch self {
    case .equal:
      return binaryRow { (a: C, b: C) in a.real == b.real && a.imaginary == b.imaginary }
    case .notEqual:
      return binaryRow { (a: C, b: C) in a.real != b.real || a.imaginary != b.imaginary }
    default: return nil
    }
  }
}

/// out = condition ? a : b, by element size; the condition is bool.
public func selectRow(byteSize: Int) -> TernaryRow? {
  switch byteSize {
  case 1: selectRow(UInt8.self)
  case 2: selectRow(UInt16.self)
  case 4: selectRow(UInt32.self)
  case 8: selectRow(UInt64.self)
  case 16: selectRow(SIMD2<UInt64>.self)
  default: nil
  }
}

private func selectRow<E>(_: E.Type) -> TernaryRow {
  { c, stepC, a, stepA, b, stepB, out, n in
    let c = c.assumingMemoryBound(to: UInt8.self)
    let a = a.assumingMemoryBound(to: E.self)
    let b = b.assumingMemoryBound(to: E.self)
    let out = out.assumingMemoryBound(to: E.self)
    if stepC == 0 {
      // One decision for the whole row.
      let source = c[0] != 0 ? a : b
      if c[0] != 0 ? stepA == 1 : stepB == 1 {
        if UnsafePointer(out) != source {
          UnsafeMutableRawPointer(out).copyMemory(
            from: source, byteCount: n * MemoryLayout<E>.stride)
        }
      } else {
        let value = source[0]
        for i in 0..<n { out[i] = value }
      }
    } else if stepA == 1 && stepB == 1 {
      for i in 0..<n { out[i] = c[i] != 0 ? a[i] : b[i] }
    } else if stepA == 1 {
      let value = b[0]
      for i in 0..<n { out[i] = c[i] != 0 ? a[i] : value }
    } else if stepB == 1 {
      let value = a[0]
      for i in 0..<n { out[i] = c[i] != 0 ? value : b[i] }
    } else {
      let (x, y) = (a[0], b[0])
      for i in 0..<n { out[i] = c[i] != 0 ? x : y }
    }
  }
}

/// out = min(max(x, low), high); NaN in x stays.
public func clipRow(_ dtype: DType) -> TernaryRow? {
  switch dtype {
  case .float32: clipRow(Float.self)
  case .float64: clipRow(Double.self)
  case .int8: clipRow(Int8.self)
  case .int16: clipRow(Int16.self)
  case .int32: clipRow(Int32.self)
  case .int64: clipRow(Int64.self)
  case .uint8: clipRow(UInt8.self)
  case .uint16: clipRow(UInt16.self)
  case .uint32: clipRow(UInt32.self)
  case .uint64: clipRow(UInt64.self)
  #if !(os(macOS) && arch(x86_64))
    case .float16: clipRow(Float16.self)
  #endif
  default: nil
  }
}

private func clipRow<E: Comparable & SendableMetatype>(_: E.Type) -> TernaryRow {
  { x, stepX, low, stepLow, high, stepHigh, out, n in
    let x = x.assumingMemoryBound(to: E.self)
    let low = low.assumingMemoryBound(to: E.self)
    let high = high.assumingMemoryBound(to: E.self)
    let out = out.assumingMemoryBound(to: E.self)
    if stepX == 1 && stepLow == 0 && stepHigh == 0 {
      let (l, h) = (low[0], high[0])
      for i in 0..<n {
        let v = x[i]
        let u = h < v ? h : v
        out[i] = u < l ? l : u
      }
    } else {
      for i in 0..<n {
        let v = x[i * stepX]
        let (l, h) = (low[i * stepLow], high[i * stepHigh])
        let u = h < v ? h : v
        out[i] = u < l ? l : u
      }
    }
  }
}

/// out = I_x(a, b), the regularized incomplete beta function.
public func betaincRow(_ dtype: DType) -> TernaryRow? {
  switch dtype {
  case .float32: betaincRow(Float.self)
  case .float64: betaincRow(Double.self)
  default: nil
  }
}

private func betaincRow<F: BinaryFloatingPoint & SendableMetatype>(_: F.Type) -> TernaryRow {
  { a, stepA, b, stepB, x, stepX, out, n in
    let a = a.assumingMemoryBound(to: F.self)
    let b = b.assumingMemoryBound(to: F.self)
    let x = x.assumingMemoryBound(to: F.self)
    let out = out.assumingMemoryBound(to: F.self)
    for i in 0..<n {
      out[i] = F(
        SpecialFunction.betainc(
          Double(a[i * stepA]), Double(b[i * stepB]), Double(x[i * stepX])))
    }
  }
}

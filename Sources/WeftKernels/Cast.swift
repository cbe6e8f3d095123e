// Conversions between element types.

public import WeftTensors

/// Converts `n` elements; nil when there is no conversion between the two types.
///
/// Integers wrap. A float becomes an integer by truncation; what does not fit (and NaN) becomes the
/// smallest integer, as x86 does. Anything but zero is true. Of a complex number the real part
/// stays.
public func castRow(from: DType, to: DType) -> UnaryRow? {
  if from == to {
    let size = from.byteSize
    guard size > 0 else { return nil }
    return { x, y, n in
      if x != UnsafeRawPointer(y) { y.copyMemory(from: x, byteCount: n * size) }
    }
  }
  if let direct = directCast(from, to) { return direct }
  guard let hub = castHub(from, to), hub != from, hub != to,
    let first = castRow(from: from, to: hub), let second = castRow(from: hub, to: to)
  else { return nil }
  let inSize = from.byteSize
  let outSize = to.byteSize
  return { x, y, n in
    withUnsafeTemporaryAllocation(byteCount: 1024, alignment: 16) { block in
      guard let block = block.baseAddress else { return }
      var done = 0
      while done < n {
        let count = Swift.min(wideBlock, n - done)
        first(x + done * inSize, block, count)
        second(block, y + done * outSize, count)
        done += count
      }
    }
  }
}

// The type that a conversion without a loop of its own passes through.
private func castHub(_ from: DType, _ to: DType) -> DType? {
  func isInt(_ type: DType) -> Bool { type.isInteger || type == .bool }
  switch (from, to) {
  case (.complex64, _): return .float32
  case (.complex128, _): return .float64
  case (_, .complex64): return .float32
  case (_, .complex128): return .float64
  case (.float16, _), (.bfloat16, _), (_, .float16), (_, .bfloat16): return .float32
  default: break
  }
  if isInt(from) && isInt(to) { return .int64 }
  if isInt(from) { return to.isFloating ? .int64 : nil }
  return from.isFloating && isInt(to) ? .int64 : nil
}

@inline(__always)
private func integer<F: BinaryFloatingPoint, I: FixedWidthInteger & SignedInteger>(
  _ x: F, _: I.Type
) -> I {
  // The bounds are powers of two, so they are exact in any floating type.
  let bound = -F(I.min)
  return x >= -bound && x < bound ? I(x) : I.min
}

@inline(__always)
private func unsigned<F: BinaryFloatingPoint>(_ x: F) -> UInt64 {
  if x >= 0x1p63 && x < 0x1p64 { return UInt64(x) }
  return UInt64(bitPattern: integer(x, Int64.self))
}

private func widenInt<I: FixedWidthInteger & SendableMetatype>(_: I.Type) -> UnaryRow {
  unaryRow { (x: I) in Int64(truncatingIfNeeded: x) }
}

private func narrowInt<I: FixedWidthInteger & SendableMetatype>(_: I.Type) -> UnaryRow {
  unaryRow { (x: Int64) in I(truncatingIfNeeded: x) }
}

private func directCast(_ from: DType, _ to: DType) -> UnaryRow? {
  switch (from, to) {
  case (.int8, .int64): return widenInt(Int8.self)
  case (.int16, .int64): return widenInt(Int16.self)
  case (.int32, .int64): return widenInt(Int32.self)
  case (.uint8, .int64), (.bool, .int64): return widenInt(UInt8.self)
  case (.uint16, .int64): return widenInt(UInt16.self)
  case (.uint32, .int64): return widenInt(UInt32.self)
  case (.uint64, .int64): return widenInt(UInt64.self)
  case (.int64, .int8): return narrowInt(Int8.self)
  case (.int64, .int16): return narrowInt(Int16.self)
  case (.int64, .int32): return narrowInt(Int32.self)
  case (.int64, .uint8): return narrowInt(UInt8.self)
  case (.int64, .uint16): return narrowInt(UInt16.self)
  case (.int64, .uint32): return narrowInt(UInt32.self)
  case (.int64, .uint64): return narrowInt(UInt64.self)
  case (.int64, .bool): return unaryRow { (x: Int64) in x != 0 }
  case (.int32, .bool): return unaryRow { (x: Int32) in x != 0 }
  case (.bool, .int32): return unaryRow { (x: UInt8) in Int32(x) }

  case (.int32, .float32): return unaryRow { (x: Int32) in Float(x) }
  case (.int64, .float32): return unaryRow { (x: Int64) in Float(x) }
  case (.uint64, .float32): return unaryRow { (x: UInt64) in Float(x) }
  case (.uint8, .float32), (.bool, .float32): return unaryRow { (x: UInt8) in Float(x) }
  case (.int32, .float64): return unaryRow { (x: Int32) in Double(x) }
  case (.int64, .float64): return unaryRow { (x: Int64) in Double(x) }
  case (.uint64, .float64): return unaryRow { (x: UInt64) in Double(x) }

  case (.float32, .int32): return unaryRow { (x: Float) in integer(x, Int32.self) }
  case (.float32, .int64): return unaryRow { (x: Float) in integer(x, Int64.self) }
  case (.float32, .uint64): return unaryRow { (x: Float) in unsigned(x) }
  case (.float32, .bool): return unaryRow { (x: Float) in x != 0 }
  case (.float64, .int32): return unaryRow { (x: Double) in integer(x, Int32.self) }
  case (.float64, .int64): return unaryRow { (x: Double) in integer(x, Int64.self) }
  case (.float64, .uint64): return unaryRow { (x: Double) in unsigned(x) }
  case (.float64, .bool): return unaryRow { (x: Double) in x != 0 }

  case (.float32, .float64): return unaryRow { (x: Float) in Double(x) }
  case (.float64, .float32): return unaryRow { (x: Double) in Float(x) }
  case (.bfloat16, .float32): return unaryRow { (x: BFloat16) in x.float }
  case (.float32, .bfloat16): return unaryRow { (x: Float) in BFloat16(x) }
  #if !(os(macOS) && arch(x86_64))
    case (.float16, .float32): return unaryRow { (x: Float16) in Float(x) }
    case (.float32, .float16): return unaryRow { (x: Float) in Float16(x) }
  #endif
  case (.complex64, .float32): return unaryRow { (x: ComplexValue<Float>) in x.real }
  case (.complex128, .float64): return unaryRow { (x: ComplexValue<Double>) in x.real }
  case (.float32, .complex64): return unaryRow { (x: Float) in ComplexValue<Float>(x, 0) }
  case (.float64, .complex128): return unaryRow { (x: Double) in ComplexValue<Double>(x, 0) }
  case (.complex64, .complex128):
    return unaryRow { (x: ComplexValue<Float>) in
      ComplexValue<Double>(Double(x.real), Double(x.imaginary))
    }
  case (.complex128, .complex64):
    return unaryRow { (x: ComplexValue<Double>) in
      ComplexValue<Float>(Float(x.real), Float(x.imaginary))
    }
  default: return nil
  }
}

/// float32 to bfloat16 without rounding: the upper half of the bits.
public let truncatingBFloat16Row: UnaryRow = unaryRow { (x: Float) in
  BFloat16(bitPattern: UInt16(truncatingIfNeeded: x.bitPattern >> 16))
}

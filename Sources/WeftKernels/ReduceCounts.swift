// Counting integers, finding places in sorted elements, cross products.

public import WeftTensors

/// Adds one, or a weight, to the bin of each of `count` integers; bins are cleared first, integers
/// beyond them left out. Nil unless `dtype` is int32, int64, float32 or float64.
public func countingRow(
  _ dtype: DType
) -> (
  @Sendable (
    _ x: UnsafePointer<Int32>, _ weights: UnsafeRawPointer?, _ count: Int,
    _ out: UnsafeMutableRawPointer, _ bins: Int
  ) -> Void
)? {
  switch dtype {
  case .int32: counting(Int32(1)) { $0 &+ $1 }
  case .int64: counting(Int64(1)) { $0 &+ $1 }
  case .float32: counting(Float(1)) { $0 + $1 }
  case .float64: counting(Double(1)) { $0 + $1 }
  default: nil
  }
}

private func counting<E: Sendable & Numeric>(
  _ one: E, _ add: @escaping @Sendable (E, E) -> E
) -> @Sendable (UnsafePointer<Int32>, UnsafeRawPointer?, Int, UnsafeMutableRawPointer, Int) -> Void
{
  { x, weights, count, out, bins in
    let out = out.assumingMemoryBound(to: E.self)
    let weights = weights?.assumingMemoryBound(to: E.self)
    for i in 0..<bins { out[i] = 0 }
    for i in 0..<count {
      let bin = Int(x[i])
      if bin >= 0 && bin < bins { out[bin] = add(out[bin], weights?[i] ?? one) }
    }
  }
}

/// The number of `bounds`, in rising order, that are not above each element.
public func bucketRow(_ dtype: DType, _ bounds: [Double]) -> UnaryRow? {
  switch dtype {
  case .float32: unaryRow { (x: Float) in bucket(Double(x), bounds) }
  case .float64: unaryRow { (x: Double) in bucket(x, bounds) }
  case .int32: unaryRow { (x: Int32) in bucket(Double(x), bounds) }
  case .int64: unaryRow { (x: Int64) in bucket(Double(x), bounds) }
  default: nil
  }
}

private func bucket(_ x: Double, _ bounds: [Double]) -> Int32 {
  var lower = 0
  var upper = bounds.count
  while lower < upper {
    let middle = (lower + upper) / 2
    // NaN is above all bounds, as it is for C++'s upper_bound.
    if x < bounds[middle] { upper = middle } else { lower = middle + 1 }
  }
  return Int32(truncatingIfNeeded: lower)
}

/// The number of `length` sorted elements below (with `isUpper`, not above) the value at an address.
public func searchRow(
  _ dtype: DType, isUpper: Bool
) -> (@Sendable (_ sorted: UnsafeRawPointer, _ length: Int, _ value: UnsafeRawPointer) -> Int)? {
  switch dtype {
  case .float32: searching(Float.self, isUpper)
  case .float64: searching(Double.self, isUpper)
  case .int8: searching(Int8.self, isUpper)
  case .int16: searching(Int16.self, isUpper)
  case .int32: searching(Int32.self, isUpper)
  case .int64: searching(Int64.self, isUpper)
  case .uint8: searching(UInt8.self, isUpper)
  case .uint16: searching(UInt16.self, isUpper)
  case .uint32: searching(UInt32.self, isUpper)
  case .uint64: searching(UInt64.self, isUpper)
  default: nil
  }
}

private func searching<E: Comparable & SendableMetatype>(
  _: E.Type, _ isUpper: Bool
) -> @Sendable (UnsafeRawPointer, Int, UnsafeRawPointer) -> Int {
  { sorted, length, value in
    let sorted = sorted.assumingMemoryBound(to: E.self)
    let value = value.assumingMemoryBound(to: E.self)[0]
    var lower = 0
    var upper = length
    while lower < upper {
      let middle = (lower + upper) / 2
      let goesOn = isUpper ? !(value < sorted[middle]) : sorted[middle] < value
      if goesOn { lower = middle + 1 } else { upper = middle }
    }
    return lower
  }
}

/// `count` cross products of vectors of three.
public typealias CrossRows =
  @Sendable (
    _ a: UnsafeRawPointer, _ b: UnsafeRawPointer, _ out: UnsafeMutableRawPointer, _ count: Int
  ) -> Void

/// The cross products of `dtype`; nil when there are none.
public func crossRows(_ dtype: DType) -> CrossRows? {
  switch dtype {
  case .float32: crossing { (a: Float, b, c, d) in a * b - c * d }
  case .float64: crossing { (a: Double, b, c, d) in a * b - c * d }
  #if !(os(macOS) && arch(x86_64))
    case .float16: crossing { (a: Float16, b, c, d) in a * b - c * d }
  #endif
  case .int8: crossing { (a: Int8, b, c, d) in a &* b &- c &* d }
  case .int16: crossing { (a: Int16, b, c, d) in a &* b &- c &* d }
  case .int32: crossing { (a: Int32, b, c, d) in a &* b &- c &* d }
  case .int64: crossing { (a: Int64, b, c, d) in a &* b &- c &* d }
  case .uint8: crossing { (a: UInt8, b, c, d) in a &* b &- c &* d }
  case .uint16: crossing { (a: UInt16, b, c, d) in a &* b &- c &* d }
  case .uint32: crossing { (a: UInt32, b, c, d) in a &* b &- c &* d }
  case .uint64: crossing { (a: UInt64, b, c, d) in a &* b &- c &* d }
  default: nil
  }
}

// `f` is a b - c d.
private func crossing<E: Sendable>(
  _ f: @escaping @Sendable (E, E, E, E) -> E
) -> CrossRows {
  { a, b, out, count in
    let a = a.assumingMemoryBound(to: E.self)
    let b = b.assumingMemoryBound(to: E.self)
    let out = out.assumingMemoryBound(to: E.self)
    for i in 0..<count {
      let k = 3 * i
      out[k] = f(a[k + 1], b[k + 2], a[k + 2], b[k + 1])
      out[k + 1] = f(a[k + 2], b[k], a[k], b[k + 2])
      out[k + 2] = f(a[k], b[k + 1], a[k + 1], b[k])
    }
  }
}

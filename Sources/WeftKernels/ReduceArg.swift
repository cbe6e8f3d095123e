// Places of extremes, running sums and products, sums of squares, counts.

internal import CWeftVectorMath
public import WeftTensors

/// The index of the first largest (or smallest) element along the middle axis of
/// [outer, length, inner]. NaN is never the largest nor the smallest.
public func argRow(
  _ dtype: DType, largest: Bool
) -> (
  @Sendable (
    _ x: UnsafeRawPointer, _ length: Int, _ inner: Int, _ out: UnsafeMutablePointer<Int>, _ n: Int
  ) -> Void
)? {
  switch dtype {
  case .float32:
    let general = argRow(Float.self, largest, -.infinity)
    return { x, length, inner, out, n in
      guard inner == 1, n == 1, length > 0 else { return general(x, length, inner, out, n) }
      // One pass in vectors for the value, another up to its place.
      let row = x.assumingMemoryBound(to: Float.self)
      let best = largest ? weft_max_f32(row, length) : weft_min_f32(row, length)
      guard !best.isNaN else { return general(x, length, inner, out, n) }
      var place = 0
      while row[place] != best { place += 1 }
      out[0] = place
    }
  case .float64: return argRow(Double.self, largest, -.infinity)
  case .int8: return argRow(Int8.self, largest, nil)
  case .int16: return argRow(Int16.self, largest, nil)
  case .int32: return argRow(Int32.self, largest, nil)
  case .int64: return argRow(Int64.self, largest, nil)
  case .uint8, .bool: return argRow(UInt8.self, largest, nil)
  case .uint16: return argRow(UInt16.self, largest, nil)
  case .uint32: return argRow(UInt32.self, largest, nil)
  case .uint64: return argRow(UInt64.self, largest, nil)
  #if !(os(macOS) && arch(x86_64))
    case .float16: return argRow(Float16.self, largest, -.infinity)
  #endif
  case .bfloat16:
    return { x, length, inner, out, n in
      let x = x.assumingMemoryBound(to: BFloat16.self)
      for column in 0..<n {
        var best = largest ? -Float.infinity : .infinity
        var place = 0
        for i in 0..<length {
          let value = x[i * inner + column].float
          if largest ? value > best : value < best { (best, place) = (value, i) }
        }
        out[column] = place
      }
    }
  default: return nil
  }
}

// `start` is a value below all others, for types with NaN; others start with the first element.
private func argRow<E: Comparable & SignedNumeric & Sendable>(
  _: E.Type, _ largest: Bool, _ start: E
) -> @Sendable (UnsafeRawPointer, Int, Int, UnsafeMutablePointer<Int>, Int) -> Void {
  { x, length, inner, out, n in
    let x = x.assumingMemoryBound(to: E.self)
    for column in 0..<n {
      var best = largest ? start : -start
      var place = 0
      for i in 0..<length {
        let value = x[i * inner + column]
        if largest ? value > best : value < best { (best, place) = (value, i) }
      }
      out[column] = place
    }
  }
}

private func argRow<E: FixedWidthInteger & Sendable>(
  _: E.Type, _ largest: Bool, _: Int?
) -> @Sendable (UnsafeRawPointer, Int, Int, UnsafeMutablePointer<Int>, Int) -> Void {
  { x, length, inner, out, n in
    let x = x.assumingMemoryBound(to: E.self)
    for column in 0..<n {
      var best = x[column]
      var place = 0
      for i in 1..<Swift.max(1, length) {
        let value = x[i * inner + column]
        if largest ? value > best : value < best { (best, place) = (value, i) }
      }
      out[column] = place
    }
  }
}

/// Running sums or products along the middle axis of [outer, length, inner], for one outer index.
public typealias ScanRow =
  @Sendable (
    _ x: UnsafeRawPointer, _ out: UnsafeMutableRawPointer, _ length: Int, _ inner: Int
  ) -> Void

/// The scan of `dtype`; nil when there is none.
/// - Parameters:
///   - product: multiply instead of add.
///   - exclusive: element i does not include x[i].
///   - reverse: from the last element to the first.
public func scanRow(
  _ dtype: DType, product: Bool, exclusive: Bool, reverse: Bool
) -> ScanRow? {
  func integer<I: FixedWidthInteger & Sendable>(_: I.Type) -> ScanRow {
    product
      ? scan(exclusive, reverse, I(1), { $0 }, { $0 }) { $0 &* $1 }
      : scan(exclusive, reverse, I(0), { $0 }, { $0 }) { $0 &+ $1 }
  }
  switch dtype {
  case .float32:
    return product
      ? scan(exclusive, reverse, Float(1), { $0 }, { $0 }) { $0 * $1 }
      : scan(exclusive, reverse, Float(0), { $0 }, { $0 }) { $0 + $1 }
  case .float64:
    return product
      ? scan(exclusive, reverse, Double(1), { $0 }, { $0 }) { $0 * $1 }
      : scan(exclusive, reverse, Double(0), { $0 }, { $0 }) { $0 + $1 }
  case .bfloat16:
    return product
      ? scan(exclusive, reverse, Float(1), { (x: BFloat16) in x.float }, { BFloat16($0) }) {
        $0 * $1
      }
      : scan(exclusive, reverse, Float(0), { (x: BFloat16) in x.float }, { BFloat16($0) }) {
        $0 + $1
      }
  #if !(os(macOS) && arch(x86_64))
    case .float16:
      return product
        ? scan(exclusive, reverse, Float(1), { (x: Float16) in Float(x) }, { Float16($0) }) {
          $0 * $1
        }
        : scan(exclusive, reverse, Float(0), { (x: Float16) in Float(x) }, { Float16($0) }) {
          $0 + $1
        }
  #endif
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

private func scan<E: Sendable, A: Sendable>(
  _ exclusive: Bool, _ reverse: Bool, _ start: A, _ load: @escaping @Sendable (E) -> A,
  _ store: @escaping @Sendable (A) -> E, _ f: @escaping @Sendable (A, A) -> A
) -> ScanRow {
  { x, out, length, inner in
    let x = x.assumingMemoryBound(to: E.self)
    let out = out.assumingMemoryBound(to: E.self)
    for column in 0..<inner {
      var total = start
      for step in 0..<length {
        let place = (reverse ? length - 1 - step : step) * inner + column
        // Read before it is written: the output may be the input's own memory.
        let value = load(x[place])
        if exclusive {
          out[place] = store(total)
          total = f(total, value)
        } else {
          total = f(total, value)
          out[place] = store(total)
        }
      }
    }
  }
}

/// Sum of squares of `count` elements, in slots of a fixed number; `partial` holds 64 doubles.
public func halfSquareSum(
  _ x: UnsafePointer<Float>, count: Int, partial: UnsafeMutablePointer<Double>, pool: ThreadPool
) -> Float {
  let slots = Swift.max(1, Swift.min(64, count / elementwiseGrain))
  pool.parallel(slots) { slot in
    let lower = slot * count / slots
    let upper = (slot + 1) * count / slots
    partial[slot] = weft_sum_squares_wide_f32(x + lower, upper - lower)
  }
  var total = 0.0
  for slot in 0..<slots { total += partial[slot] }
  return Float(total / 2)
}

/// Sum of squares of `count` doubles, halved.
public func halfSquareSum(_ x: UnsafePointer<Double>, count: Int) -> Double {
  weft_sum_squares_f64(x, count) / 2
}

/// y = the sum of `inputs`, added in order, on the pool's threads; `y` may be the first input.
public func addAll(
  _ inputs: UnsafePointer<UnsafeMutableRawPointer>, inputCount: Int, _ y: UnsafeMutableRawPointer,
  count: Int, elementBytes: Int, pool: ThreadPool, add: BinaryRow
) {
  pool.split(count, grain: elementwiseGrain) { lower, upper in
    // Block by block, so that the sum stays in the cache.
    var place = lower
    while place < upper {
      let n = Swift.min(2048, upper - place)
      let offset = place * elementBytes
      if inputCount == 1 {
        if inputs[0] != y {
          (y + offset).copyMemory(from: inputs[0] + offset, byteCount: n * elementBytes)
        }
      } else {
        add(inputs[0] + offset, inputs[1] + offset, y + offset, n, .both)
        for i in 2..<Swift.max(2, inputCount) {
          add(UnsafeRawPointer(y + offset), inputs[i] + offset, y + offset, n, .both)
        }
      }
      place += n
    }
  }
}

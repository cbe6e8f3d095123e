// Updates of variables in place: whole, by rows, and by slices.

internal import CWeftVectorMath
package import WeftTensors

/// What a scatter does with an element that an index names.
package enum ScatterRule: Sendable {
  case add, sub, mul, div, min, max, update
}

/// In-place updates of a variable's memory.
package enum VariableKernels {
  /// `target[i] += source[i]`, or `-=`. False when the type has no arithmetic.
  package static func accumulate(
    _ dtype: DType, _ target: UnsafeMutableRawPointer, _ source: UnsafeRawPointer, count: Int,
    subtract: Bool, pool: ThreadPool
  ) -> Bool {
    func run<E: StateNumber>(_: E.Type, _ lo: Int, _ hi: Int) {
      let y = target.assumingMemoryBound(to: E.self)
      let x = source.assumingMemoryBound(to: E.self)
      if subtract {
        for i in lo..<hi { y[i] = E.minus(y[i], x[i]) }
      } else {
        for i in lo..<hi { y[i] = E.plus(y[i], x[i]) }
      }
    }
    switch dtype {
    case .float32: pool.split(count, grain: 32_768) { run(Float.self, $0, $1) }
    case .float64: pool.split(count, grain: 32_768) { run(Double.self, $0, $1) }
    case .int32: run(Int32.self, 0, count)
    case .int64: run(Int64.self, 0, count)
    default:
      guard let type = stateNumberType(dtype) else { return false }
      run(type, 0, count)
    }
    return true
  }

  /// Applies `rule` to rows of `target` (`inner` elements each), update `i` to row `indices[i]`,
  /// in the order of `i`. Indices have been checked. With `isScalar`, one element is every update.
  /// False when the type has no arithmetic.
  package static func scatterRows(
    _ rule: ScatterRule, _ dtype: DType, target: UnsafeMutableRawPointer, rows: Int, inner: Int,
    indices: IndexList, updates: UnsafeRawPointer, isScalar: Bool, pool: ThreadPool
  ) -> Bool {
    if inner == 0 || indices.count == 0 { return true }
    if rule == .update && dtype.isPlain {
      let bytes = inner * dtype.byteSize
      for i in 0..<indices.count {
        let row = target + indices[i] * bytes
        if isScalar {
          for k in 0..<inner {
            (row + k * dtype.byteSize).copyMemory(from: updates, byteCount: dtype.byteSize)
          }
        } else {
          row.copyMemory(from: updates + i * bytes, byteCount: bytes)
        }
      }
      return true
    }
    // Pieces own ranges of rows, so that duplicates add up in the order of `i` at any width.
    let grain = indices.count * inner < 131_072 ? rows : Swift.max(1, rows / 16)
    switch dtype {
    case .float32:
      pool.split(rows, grain: grain) { lo, hi in
        if rule == .add && !isScalar {
          let y = target.assumingMemoryBound(to: Float.self)
          let x = updates.assumingMemoryBound(to: Float.self)
          for i in 0..<indices.count {
            let row = indices[i]
            if row < lo || row >= hi { continue }
            weft_add_f32(y + row * inner, x + i * inner, y + row * inner, inner)
          }
        } else {
          rows_(rule, Float.self, target, inner, indices, updates, isScalar, lo, hi)
        }
      }
    case .float64:
      pool.split(rows, grain: grain) {
        rows_(rule, Double.self, target, inner, indices, updates, isScalar, $0, $1)
      }
    case .int32: rows_(rule, Int32.self, target, inner, indices, updates, isScalar, 0, rows)
    case .int64: rows_(rule, Int64.self, target, inner, indices, updates, isScalar, 0, rows)
    default:
      guard let type = stateNumberType(dtype) else { return false }
      rows_(rule, type, target, inner, indices, updates, isScalar, 0, rows)
    }
    return true
  }

  private static func rows_<E: StateNumber>(
    _ rule: ScatterRule, _: E.Type, _ target: UnsafeMutableRawPointer, _ inner: Int,
    _ indices: IndexList, _ updates: UnsafeRawPointer, _ isScalar: Bool, _ lo: Int, _ hi: Int
  ) {
    let y = target.assumingMemoryBound(to: E.self)
    let x = updates.assumingMemoryBound(to: E.self)
    let step = isScalar ? 0 : 1
    for i in 0..<indices.count {
      let row = indices[i]
      if row < lo || row >= hi { continue }
      let to = y + row * inner
      let from = x + i * inner * step
      switch rule {
      case .add: for k in 0..<inner { to[k] = E.plus(to[k], from[k * step]) }
      case .sub: for k in 0..<inner { to[k] = E.minus(to[k], from[k * step]) }
      case .mul: for k in 0..<inner { to[k] = E.times(to[k], from[k * step]) }
      case .div: for k in 0..<inner { to[k] = E.over(to[k], from[k * step]) }
      case .min: for k in 0..<inner { to[k] = E.least(to[k], from[k * step]) }
      case .max: for k in 0..<inner { to[k] = E.greatest(to[k], from[k * step]) }
      case .update: for k in 0..<inner { to[k] = from[k * step] }
      }
    }
  }

  /// Whether an integer tensor holds a zero, by which nothing can be divided.
  package static func hasIntegerZero(
    _ dtype: DType, _ memory: UnsafeRawPointer, count: Int
  ) -> Bool {
    func any<E: StateNumber>(_: E.Type) -> Bool {
      let x = memory.assumingMemoryBound(to: E.self)
      for i in 0..<count where x[i].isIntegerZero { return true }
      return false
    }
    guard dtype.isInteger, let type = stateNumberType(dtype) else { return false }
    return any(type)
  }
}

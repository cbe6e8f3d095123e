// The folds behind reductions, one set for each element type that is computed in.

internal import CWeftVectorMath

@inline(__always)
private func plain<E: Sendable>(
  _ identity: E, _ f: @escaping @Sendable (E, E) -> E, finish: (@Sendable (E, Int) -> E)? = nil
) -> Folder<E> {
  Folder(
    identity: identity,
    row: { x, n in
      var total = identity
      for i in 0..<n { total = f(total, x[i]) }
      return total
    }, combine: f,
    rows: { x, ld, out, rows, n in
      for r in 0..<rows {
        let row = x + r * ld
        for i in 0..<n { out[i] = f(out[i], row[i]) }
      }
    }, finish: finish)
}

func floatFolder(_ reduction: Reduction) -> Folder<Float>? {
  switch reduction {
  case .sum, .mean:
    var folder = Folder<Float>(
      identity: 0, row: { x, n in weft_sum_f32(x, n) }, combine: { a, b in a + b },
      rows: { x, ld, out, rows, n in weft_add_rows_f32(x, ld, out, rows, n) }, finish: nil)
    if reduction == .mean { folder.finish = { total, n in total / Float(n) } }
    return folder
  case .product: return plain(1) { (a: Float, b) in a * b }
  case .maximum:
    return Folder(
      identity: -.infinity, row: { weft_max_f32($0, $1) }, combine: { floatMaximum($0, $1) },
      rows: { x, ld, out, rows, n in
        for r in 0..<rows { weft_maximum_f32(out, x + r * ld, out, n) }
      })
  case .minimum:
    return Folder(
      identity: .infinity, row: { weft_min_f32($0, $1) }, combine: { floatMinimum($0, $1) },
      rows: { x, ld, out, rows, n in
        for r in 0..<rows { weft_minimum_f32(out, x + r * ld, out, n) }
      })
  case .euclideanNorm:
    // `row` squares and `combine` does not: partial folds are sums of squares already.
    return Folder(
      identity: 0, row: { weft_sum_squares_f32($0, $1) }, combine: { $0 + $1 },
      rows: { x, ld, out, rows, n in
        for r in 0..<rows {
          let row = x + r * ld
          for i in 0..<n { out[i] += row[i] * row[i] }
        }
      }, finish: { total, _ in total.squareRoot() })
  case .all, .any: return nil
  }
}

func doubleFolder(_ reduction: Reduction) -> Folder<Double>? {
  switch reduction {
  case .sum, .mean:
    var folder = Folder<Double>(
      identity: 0, row: { x, n in weft_sum_f64(x, n) }, combine: { a, b in a + b },
      rows: { x, ld, out, rows, n in weft_add_rows_f64(x, ld, out, rows, n) }, finish: nil)
    if reduction == .mean { folder.finish = { total, n in total / Double(n) } }
    return folder
  case .product: return plain(1) { (a: Double, b) in a * b }
  case .maximum: return plain(-.infinity) { (a: Double, b) in floatMaximum(a, b) }
  case .minimum: return plain(.infinity) { (a: Double, b) in floatMinimum(a, b) }
  case .euclideanNorm:
    return Folder(
      identity: 0, row: { weft_sum_squares_f64($0, $1) }, combine: { $0 + $1 },
      rows: { x, ld, out, rows, n in
        for r in 0..<rows {
          let row = x + r * ld
          for i in 0..<n { out[i] += row[i] * row[i] }
        }
      }, finish: { total, _ in total.squareRoot() })
  case .all, .any: return nil
  }
}

func integerFolder<I: FixedWidthInteger & Sendable>(
  _ reduction: Reduction, _: I.Type
) -> Folder<I>? {
  switch reduction {
  case .sum: return plain(0) { (a: I, b) in a &+ b }
  case .mean:
    return plain(0, { (a: I, b) in a &+ b }) { total, count in
      // A mean of nothing has no value; zero, not a trap.
      count == 0 ? 0 : total / I(truncatingIfNeeded: count)
    }
  case .product: return plain(1) { (a: I, b) in a &* b }
  case .maximum: return plain(I.min) { (a: I, b) in a < b ? b : a }
  case .minimum: return plain(I.max) { (a: I, b) in b < a ? b : a }
  case .euclideanNorm:
    return Folder(
      identity: 0,
      row: { x, n in
        var total: I = 0
        for i in 0..<n { total = total &+ x[i] &* x[i] }
        return total
      }, combine: { $0 &+ $1 },
      rows: { x, ld, out, rows, n in
        for r in 0..<rows {
          let row = x + r * ld
          for i in 0..<n { out[i] = out[i] &+ row[i] &* row[i] }
        }
      }, finish: { total, _ in I(Double(total < 0 ? 0 : total).squareRoot()) })
  case .all, .any: return nil
  }
}

func logicFolder(_ reduction: Reduction) -> Folder<UInt8>? {
  switch reduction {
  case .all: plain(1) { (a: UInt8, b) in a & (b != 0 ? 1 : 0) }
  case .any: plain(0) { (a: UInt8, b) in a | (b != 0 ? 1 : 0) }
  default: nil
  }
}

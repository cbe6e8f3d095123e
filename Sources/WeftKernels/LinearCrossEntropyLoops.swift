// The loops of tiled cross-entropy for float32 and float64.
internal import CWeftVectorMath

extension Float: CrossEntropyElement {
  package static func tile(
    _ work: CrossEntropyWork<Float>, _ z: UnsafeMutablePointer<Float>, _ panel: Int, _ relu: Bool,
    _ from: Int, _ labels: UnsafePointer<Float>?, _ ldl: Int, _ j: Int, _ step: Int, _ rows: Int,
    _ cols: Int
  ) {
    withTileColumns(work.column, from, rows, isSparse: labels == nil) { column in
      weft_xent_tile_f32(
        z, panel, relu ? 1 : 0, column, labels, ldl, work.largest + j, work.sum + j,
        labels == nil ? work.chosen : work.chosen + j, work.mass + j, step, rows, cols)
    }
  }

  package static func tileGradient(
    _ work: CrossEntropyWork<Float>, _ z: UnsafeMutablePointer<Float>, _ panel: Int, _ relu: Bool,
    _ from: Int, _ labels: UnsafePointer<Float>?, _ ldl: Int, _ j: Int, _ step: Int, _ rows: Int,
    _ cols: Int
  ) {
    withTileColumns(work.column, from, rows, isSparse: labels == nil) { column in
      weft_xent_tile_grad_f32(
        z, panel, relu ? 1 : 0, column, labels, ldl, work.largest + j, step, work.scale, rows, cols)
    }
  }

  package static func sumRows(
    _ z: UnsafePointer<Float>, _ panel: Int, _ factor: UnsafePointer<Float>?, _ step: Int,
    _ out: UnsafeMutablePointer<Float>, _ rows: Int, _ cols: Int
  ) { weft_panel_sum_f32(z, panel, factor, step, out, rows, cols) }

  package static func scaleRow(
    _ z: UnsafeMutablePointer<Float>, _ panel: Int, _ a: Float, _ cols: Int
  ) { weft_panel_scale_row_f32(z, panel, a, cols) }

  package static func add(
    _ y: UnsafeMutablePointer<Float>, _ a: Float, _ x: UnsafePointer<Float>, _ n: Int
  ) { weft_axpy_f32(x, a, y, n) }

  package static func scale(
    _ x: UnsafePointer<Float>, _ a: Float, _ y: UnsafeMutablePointer<Float>, _ n: Int
  ) { weft_scale_f32(x, a, y, n) }

  package static func exponentials(_ x: UnsafeMutablePointer<Float>, _ n: Int) {
    weft_exp_f32(x, x, n)
  }

  package static func isFinite(_ x: UnsafePointer<Float>, _ n: Int) -> Bool {
    weft_is_finite_f32(x, n) != 0
  }

  package static func naturalLogarithm(_ x: Float) -> Float {
    var (x, y): (Float, Float) = (x, 0)
    weft_log_f32(&x, &y, 1)
    return y
  }
}

extension Double: CrossEntropyElement {
  package static func tile(
    _ work: CrossEntropyWork<Double>, _ z: UnsafeMutablePointer<Double>, _ panel: Int, _ relu: Bool,
    _ from: Int, _ labels: UnsafePointer<Double>?, _ ldl: Int, _ j: Int, _ step: Int, _ rows: Int,
    _ cols: Int
  ) {
    withTileColumns(work.column, from, rows, isSparse: labels == nil) { column in
      weft_xent_tile_f64(
        z, panel, relu ? 1 : 0, column, labels, ldl, work.largest + j, work.sum + j,
        labels == nil ? work.chosen : work.chosen + j, work.mass + j, step, rows, cols)
    }
  }

  package static func tileGradient(
    _ work: CrossEntropyWork<Double>, _ z: UnsafeMutablePointer<Double>, _ panel: Int, _ relu: Bool,
    _ from: Int, _ labels: UnsafePointer<Double>?, _ ldl: Int, _ j: Int, _ step: Int, _ rows: Int,
    _ cols: Int
  ) {
    withTileColumns(work.column, from, rows, isSparse: labels == nil) { column in
      weft_xent_tile_grad_f64(
        z, panel, relu ? 1 : 0, column, labels, ldl, work.largest + j, step, work.scale, rows, cols)
    }
  }

  package static func sumRows(
    _ z: UnsafePointer<Double>, _ panel: Int, _ factor: UnsafePointer<Double>?, _ step: Int,
    _ out: UnsafeMutablePointer<Double>, _ rows: Int, _ cols: Int
  ) { weft_panel_sum_f64(z, panel, factor, step, out, rows, cols) }

  package static func scaleRow(
    _ z: UnsafeMutablePointer<Double>, _ panel: Int, _ a: Double, _ cols: Int
  ) { weft_panel_scale_row_f64(z, panel, a, cols) }

  package static func add(
    _ y: UnsafeMutablePointer<Double>, _ a: Double, _ x: UnsafePointer<Double>, _ n: Int
  ) { weft_axpy_f64(x, a, y, n) }

  package static func scale(
    _ x: UnsafePointer<Double>, _ a: Double, _ y: UnsafeMutablePointer<Double>, _ n: Int
  ) { weft_scale_f64(x, a, y, n) }

  package static func exponentials(_ x: UnsafeMutablePointer<Double>, _ n: Int) {
    weft_exp_f64(x, x, n)
  }

  package static func isFinite(_ x: UnsafePointer<Double>, _ n: Int) -> Bool {
    weft_is_finite_f64(x, n) != 0
  }

  package static func naturalLogarithm(_ x: Double) -> Double {
    var (x, y): (Double, Double) = (x, 0)
    weft_log_f64(&x, &y, 1)
    return y
  }
}

// Labels counted from a tile's first column, on the stack; nil for dense labels.
@inline(__always)
private func withTileColumns(
  _ column: UnsafePointer<Int32>, _ from: Int, _ rows: Int, isSparse: Bool,
  _ body: (UnsafePointer<Int32>?) -> Void
) {
  guard isSparse else { return body(nil) }
  let from = Int32(truncatingIfNeeded: from)
  withUnsafeTemporaryAllocation(of: Int32.self, capacity: rows) { own in
    guard let base = own.baseAddress else { return }
    for r in 0..<rows { base[r] = column[r] &- from }
    body(base)
  }
}

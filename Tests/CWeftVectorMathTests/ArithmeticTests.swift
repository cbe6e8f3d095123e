// Arithmetic, activation gradients and reductions against plain Swift.
import CWeftVectorMath
import Testing

typealias FloatPair =
  (UnsafePointer<Float>?, UnsafePointer<Float>?, UnsafeMutablePointer<Float>?, Int) -> Void
typealias DoublePair =
  (UnsafePointer<Double>?, UnsafePointer<Double>?, UnsafeMutablePointer<Double>?, Int) -> Void
typealias FloatScalar = (UnsafePointer<Float>?, Float, UnsafeMutablePointer<Float>?, Int) -> Void
typealias DoubleScalar =
  (UnsafePointer<Double>?, Double, UnsafeMutablePointer<Double>?, Int) -> Void

@Suite struct ArithmeticTests {
  /// Floats and doubles, every tail length, out of place and in place of either operand.
  func check(
    _ name: String, _ single: FloatPair, _ wide: DoublePair, _ float: (Float, Float) -> Float,
    _ double: (Double, Double) -> Double
  ) {
    var noise = Noise()
    let x = noise.floats(67), y = noise.floats(67)
    for n in 0...67 {
      let truth = (0..<n).map { float(x[$0], y[$0]) }
      var z = [Float](repeating: 7, count: 67)
      single(x, y, &z, n)
      #expect(same(z, truth + [Float](repeating: 7, count: 67 - n)), "\(name) \(n)")
      var first = x, second = y
      first.withUnsafeMutableBufferPointer { single($0.baseAddress, y, $0.baseAddress, n) }
      second.withUnsafeMutableBufferPointer { single(x, $0.baseAddress, $0.baseAddress, n) }
      #expect(same(first, truth + Array(x[n...])) && same(second, truth + Array(y[n...])))
      let wideX = x.map(Double.init), wideY = y.map(Double.init)
      var w = [Double](repeating: 7, count: 67)
      wide(wideX, wideY, &w, n)
      let wideTruth = (0..<n).map { double(wideX[$0], wideY[$0]) }
      #expect(same(w, wideTruth + [Double](repeating: 7, count: 67 - n)), "\(name) \(n)")
    }
  }

  @Test func pairs() {
    check("add", weft_add_f32, weft_add_f64, { $0 + $1 }, { $0 + $1 })
    check("sub", weft_sub_f32, weft_sub_f64, { $0 - $1 }, { $0 - $1 })
    check("mul", weft_mul_f32, weft_mul_f64, { $0 * $1 }, { $0 * $1 })
    check("div", weft_div_f32, weft_div_f64, { $0 / $1 }, { $0 / $1 })
    check("max", weft_maximum_f32, weft_maximum_f64, { max($0, $1) }, { max($0, $1) })
    check("min", weft_minimum_f32, weft_minimum_f64, { min($0, $1) }, { min($0, $1) })
    check(
      "squared difference", weft_squared_difference_f32, weft_squared_difference_f64,
      { ($0 - $1) * ($0 - $1) }, { ($0 - $1) * ($0 - $1) })
    check(
      "tanh grad", weft_tanh_grad_f32, weft_tanh_grad_f64, { $1 * (1 - $0 * $0) },
      { $1 * (1 - $0 * $0) })
    check(
      "sigmoid grad", weft_sigmoid_grad_f32, weft_sigmoid_grad_f64, { $1 * $0 * (1 - $0) },
      { $1 * $0 * (1 - $0) })
    check(
      "relu grad", weft_relu_grad_f32, weft_relu_grad_f64, { $0 > 0 ? $1 : 0 },
      { $0 > 0 ? $1 : 0 })
  }

  @Test func nanReachesExtremes() {
    let x: [Float] = [.nan, 1, .nan], y: [Float] = [1, .nan, .nan]
    var z = [Float](repeating: 0, count: 3)
    weft_maximum_f32(x, y, &z, 3)
    #expect(z.allSatisfy { $0.isNaN })
    weft_minimum_f32(x, y, &z, 3)
    #expect(z.allSatisfy { $0.isNaN })
  }

  @Test func scalars() {
    let rows: [(FloatScalar, DoubleScalar, (Double, Double) -> Double)] = [
      (weft_add_scalar_f32, weft_add_scalar_f64, { $0 + $1 }),
      (weft_sub_scalar_f32, weft_sub_scalar_f64, { $0 - $1 }),
      (weft_scale_f32, weft_scale_f64, { $0 * $1 }),
      (weft_div_scalar_f32, weft_div_scalar_f64, { $0 / $1 }),
      (weft_scalar_sub_f32, weft_scalar_sub_f64, { $1 - $0 }),
      (weft_scalar_div_f32, weft_scalar_div_f64, { $1 / $0 }),
    ]
    var noise = Noise()
    let x = noise.floats(67)
    for (index, row) in rows.enumerated() {
      for n in 0...67 {
        var y = x, w = x.map(Double.init)
        y.withUnsafeMutableBufferPointer { row.0($0.baseAddress, 1.7, $0.baseAddress, n) }
        w.withUnsafeMutableBufferPointer { row.1($0.baseAddress, 1.7, $0.baseAddress, n) }
        let s = Double(Float(1.7))
        // One rounding of the double result: correct but for rare double rounding.
        let truth = (0..<n).map { Float(row.2(Double(x[$0]), s)) } + Array(x[n...])
        #expect(zip(y, truth).allSatisfy { abs($0 - $1) <= $1.ulp }, "scalar \(index), \(n)")
        #expect(same(w, (0..<67).map { $0 < n ? row.2(Double(x[$0]), 1.7) : Double(x[$0]) }))
      }
    }
    let a = noise.floats(67)
    var y = noise.floats(67)
    let before = y
    weft_axpy_f32(a, -0.3, &y, 60)
    let moved: [Float] = (0..<67).map { (i: Int) -> Float in
      let product: Float = -0.3 * a[i]
      return i < 60 ? before[i] + product : before[i]
    }
    #expect(same(y, moved))
    var w = before.map(Double.init)
    weft_axpy_f64(a.map(Double.init), -0.3, &w, 67)
    let movedWide: [Double] = (0..<67).map { (i: Int) -> Double in
      let product: Double = -0.3 * Double(a[i])
      return Double(before[i]) + product
    }
    #expect(same(w, movedWide))
  }

  @Test func isFinite() {
    for n in 0...67 {
      let x = [Float](repeating: -.greatestFiniteMagnitude, count: n)
      #expect(weft_is_finite_f32(x, n) == 1 && weft_is_finite_f64(x.map(Double.init), n) == 1)
      for i in 0..<n {
        for odd in [Float.infinity, -.infinity, .nan] {
          var y = x
          y[i] = odd
          #expect(weft_is_finite_f32(y, n) == 0 && weft_is_finite_f32(y, i) == 1, "\(i) of \(n)")
          #expect(weft_is_finite_f64(y.map(Double.init), n) == 0)
        }
      }
    }
  }

  @Test func columnSumsAndBias() {
    var noise = Noise()
    for (rows, cols) in [(0, 5), (1, 1), (3, 17), (4, 16), (9, 33), (50, 128)] {
      let ld = cols + 2
      let x = noise.floats(rows * ld + 1), start = noise.floats(cols)
      var out = start, wide = start.map(Double.init)
      weft_add_rows_f32(x, ld, &out, rows, cols)
      weft_add_rows_f64(x.map(Double.init), ld, &wide, rows, cols)
      for c in 0..<cols {
        // Strictly in order: the same bits as a plain loop.
        #expect(out[c] == (0..<rows).reduce(start[c]) { $0 + x[$1 * ld + c] })
        #expect(wide[c] == (0..<rows).reduce(Double(start[c])) { $0 + Double(x[$1 * ld + c]) })
      }
      var y = [Float](repeating: 7, count: rows * (cols + 1) + 1)
      weft_add_bias_f32(x, ld, start, &y, cols + 1, rows, cols)
      var w = y.map(Double.init)
      weft_add_bias_f64(x.map(Double.init), ld, start.map(Double.init), &w, cols + 1, rows, cols)
      for r in 0..<rows {
        for c in 0..<cols {
          #expect(y[r * (cols + 1) + c] == x[r * ld + c] + start[c])
          #expect(w[r * (cols + 1) + c] == Double(x[r * ld + c]) + Double(start[c]))
        }
        #expect(y[r * (cols + 1) + cols] == 7)
      }
    }
  }
}

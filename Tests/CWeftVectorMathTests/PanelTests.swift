// Products in panels against plain sums, at sizes around blocks and panels.
import CWeftVectorMath
import Testing

@Suite struct PanelTests {
  /// C = A B, then C += A B, for float32 and float64: within rounding of sums in double, and columns
  /// beyond the last left alone.
  @Test(arguments: [1, 2, 5, 6, 12, 13, 31], [1, 15, 16, 32, 33, 70])
  func products(_ m: Int, _ n: Int) {
    var noise = Noise()
    for k in [1, 31, 32, 45] {
      let (a, b, ldc) = (noise.floats(m * k), noise.floats(k * n), n + 3)
      var truth = [Double](repeating: 0, count: m * n)
      for i in 0..<m {
        for j in 0..<n {
          for l in 0..<k { truth[i * n + j] += Double(a[i * k + l]) * Double(b[l * n + j]) }
        }
      }
      let columns = Int(WEFT_PANEL_F32), panels = (n + columns - 1) / columns
      var packed = [Float](repeating: 9, count: panels * columns * k)
      weft_pack_panels_f32(b, n, 1, k, n, &packed)
      var shape = weft_panel_product(
        m: m, n: n, k: k, a_row: k, a_step: 1, a_block: columns, b_panel: k * columns, c_row: ldc,
        c_panel: columns, c_whole: 0, accumulate: 0)
      var c = [Float](repeating: 7, count: m * ldc)
      for times in 1...2 {
        shape.accumulate = times == 1 ? 0 : 1
        weft_panel_product_f32(&shape, a, packed, nil, &c)
        for i in 0..<m {
          for j in 0..<n {
            let wanted = Double(times) * truth[i * n + j]
            #expect(abs(Double(c[i * ldc + j]) - wanted) <= 1e-5 * (1 + abs(wanted)))
          }
          for j in n..<ldc { #expect(c[i * ldc + j] == 7) }
        }
      }
      // The same through the transpose of B, in double.
      let wide = Int(WEFT_PANEL_F64), wideCount = (n + wide - 1) / wide
      var transposed = [Double](repeating: 0, count: n * k)
      for l in 0..<k { for j in 0..<n { transposed[j * k + l] = Double(b[l * n + j]) } }
      var widePacked = [Double](repeating: 9, count: wideCount * wide * k)
      weft_pack_panels_f64(transposed, 1, k, k, n, &widePacked)
      shape.accumulate = 0
      (shape.a_block, shape.b_panel, shape.c_panel) = (wide, k * wide, wide)
      var d = [Double](repeating: 7, count: m * ldc)
      weft_panel_product_f64(&shape, a.map(Double.init), widePacked, nil, &d)
      for i in 0..<m {
        for j in 0..<n {
          let wanted = truth[i * n + j]
          #expect(abs(d[i * ldc + j] - wanted) <= 1e-12 * (1 + abs(wanted)))
        }
      }
    }
  }
}

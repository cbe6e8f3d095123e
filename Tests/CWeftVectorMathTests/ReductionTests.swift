// Reductions: the stated order bit for bit, tails, long arrays, NaN.
import CWeftVectorMath
import Testing

@Suite struct ReductionTests {
  let lengths = Array(0...67) + [100, 4_095, 4_096, 4_097, 8_191, 8_200, 12_289, 40_000]

  /// The order the header promises, written plainly.
  func ordered<T: BinaryFloatingPoint>(_ terms: ArraySlice<T>) -> T {
    let n = terms.count
    if n > 8_192 {
      let half = terms.startIndex + ((n + 1) / 2 + 7) / 8 * 8
      return ordered(terms[..<half]) + ordered(terms[half...])
    }
    let x = Array(terms)
    let (unrolled, whole) = (n / 32 * 32, n / 8 * 8)
    var quads = [[T]](repeating: [T](repeating: 0, count: 8), count: 4)
    for i in 0..<unrolled { quads[i / 8 % 4][i % 8] += x[i] }
    var lanes = (0..<8).map { (quads[0][$0] + quads[1][$0]) + (quads[2][$0] + quads[3][$0]) }
    for i in unrolled..<whole { lanes[i % 8] += x[i] }
    let tail = x[whole...].reduce(0, +)
    for width in [4, 2, 1] {
      for j in 0..<width { lanes[j] += lanes[j + width] }
    }
    return tail + lanes[0]
  }

  @Test func sumsKeepTheirOrder() {
    var noise = Noise()
    for n in lengths {
      let x = noise.floats(n), y = noise.floats(n)
      let p = x.map(Double.init), q = y.map(Double.init)
      #expect(weft_sum_f32(x, n) == ordered(x[...]), "\(n)")
      #expect(weft_sum_squares_f32(x, n) == ordered(x.map { $0 * $0 }[...]))
      #expect(weft_dot_f32(x, y, n) == ordered(zip(x, y).map { $0 * $1 }[...]))
      #expect(weft_sum_f64(p, n) == ordered(p[...]))
      #expect(weft_sum_squares_f64(p, n) == ordered(p.map { $0 * $0 }[...]))
      #expect(weft_dot_f64(p, q, n) == ordered(zip(p, q).map { $0 * $1 }[...]))
      #expect(weft_sum_wide_f32(x, n) == ordered(p[...]))
      #expect(weft_sum_squares_wide_f32(x, n) == ordered(p.map { $0 * $0 }[...]))
      #expect(weft_dot_wide_f32(x, y, n) == ordered(zip(p, q).map { $0 * $1 }[...]))
    }
  }

  @Test func alignmentDoesNotMatter() {
    var noise = Noise()
    let x = noise.floats(10_000)
    let sum = weft_sum_f32(x, x.count)
    for shift in 1...17 {
      let moved = [Float](repeating: 5, count: shift) + x
      let again = moved.withUnsafeBufferPointer { buffer -> Float in
        guard let base = buffer.baseAddress else { return .nan }
        return weft_sum_f32(base + shift, x.count)
      }
      #expect(again == sum)
    }
  }

  @Test func longSumsStayAccurate() {
    // A plain running float sum of these is off by more than one in a thousand.
    let x = [Float](repeating: 0.1, count: 10_000_000)
    let truth = Double(Float(0.1)) * 1e7
    #expect(abs(Double(weft_sum_f32(x, x.count)) - truth) < 1e-5 * truth)
    #expect(abs(weft_sum_wide_f32(x, x.count) - truth) < 1e-13 * truth)
  }

  @Test func extremes() {
    var noise = Noise()
    #expect(weft_max_f32([], 0) == -.infinity && weft_min_f64([], 0) == .infinity)
    for n in lengths where n > 0 {
      var x = noise.floats(n)
      var p = x.map(Double.init)
      #expect(weft_max_f32(x, n) == x.max() && weft_min_f32(x, n) == x.min(), "\(n)")
      #expect(weft_max_f64(p, n) == p.max() && weft_min_f64(p, n) == p.min(), "\(n)")
      let at = Int(noise.next() % UInt64(n))
      x[at] = .nan
      p[at] = .nan
      #expect(weft_max_f32(x, n).isNaN && weft_min_f32(x, n).isNaN, "\(n)")
      #expect(weft_max_f64(p, n).isNaN && weft_min_f64(p, n).isNaN, "\(n)")
    }
  }
}

// Philox and what is drawn from it: numbers TensorFlow 2.21 gave, cuts and carries, moments.
import CWeftVectorMath
import Foundation
import Testing

@Suite struct RandomTests {
  func draw(
    _ fill: (weft_philox, UnsafeMutablePointer<Float>?, Int) -> Void, _ state: weft_philox, _ n: Int
  ) -> [Float] {
    var out = [Float](repeating: 9, count: n)
    fill(state, &out, n)
    return out
  }

  func draw(
    _ fill: (weft_philox, UnsafeMutablePointer<Double>?, Int) -> Void, _ state: weft_philox,
    _ n: Int
  ) -> [Double] {
    var out = [Double](repeating: 9, count: n)
    fill(state, &out, n)
    return out
  }

  func words(_ state: weft_philox, _ n: Int) -> [UInt32] {
    var out = [UInt32](repeating: 0, count: n)
    weft_philox_fill_u32(state, &out, n)
    return out
  }

  @Test func knownAnswer() {
    // The published vector for a key and counter of zero.
    #expect(
      words(weft_philox_seed(0, 0), 4) == [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8])
  }

  /// The second run of a graph's op with seed 87654321, seed2 42 and nine elements.
  @Test func sameAsTensorFlow() {
    let state = weft_philox_skip(weft_philox_seed(87_654_321, 42), 9 * 256)
    #expect(
      draw(weft_philox_uniform_f32, state, 9) == [
        0.4399062395095825, 0.30032968521118164, 0.6673927307128906, 0.37405431270599365,
        0.12334299087524414, 0.6743499040603638, 0.6197847127914429, 0.9406460523605347,
        0.8950519561767578,
      ])
    #expect(
      draw(weft_philox_uniform_f64, state, 9) == [
        0.5192507361999334, 0.33914197492237075, 0.9867444833262822, 0.9582785869774335,
        0.1604159480168248, 0.666458275388162, 0.34519227278833253, 0.07205976189667718,
        0.4839656320010137,
      ])
    let normals = [
      1.2180098295211792, -0.39854663610458374, 0.6396733522415161, -0.632116436958313,
      -1.819071888923645, -0.9362425208091736, -0.35638415813446045, 0.9109096527099609,
      0.4365820586681366,
    ]
    #expect(distance(draw(weft_philox_normal_f32, state, 9), normals) < 3e-7)
    let truncated = [
      1.2180098295211792, -0.39854663610458374, 0.6396733522415161, -0.632116436958313,
      -0.4811500608921051, -0.5914120078086853, 0.4668888747692108, 1.8181930780410767,
      -1.0811662673950195,
    ]
    #expect(distance(draw(weft_philox_truncated_normal_f32, state, 9), truncated) < 3e-7)
    let wideNormals = [
      0.9699423561643797, -0.6082340195550381, -0.04233639902594796, 0.1577844723966054,
      -1.655543543340942, -0.9587209708820028, 0.6380386395715015, 1.3115693286811783,
      -1.2047738319072026,
    ]
    #expect(distance(draw(weft_philox_normal_f64, state, 9), wideNormals) < 1e-14)
    let wideTruncated = [
      0.9699423561643797, -0.6082340195550381, -1.0196033164899152, 0.46117011342626846,
      0.16186124364153112, 1.1183345294872036, 0.3711157701930472, 1.574023117315092,
      -1.7476761642135938,
    ]
    #expect(distance(draw(weft_philox_truncated_normal_f64, state, 9), wideTruncated) < 1e-14)
  }

  @Test func statelessAndIntegers() {
    let state = weft_philox_stateless_seed(3, UInt64(bitPattern: -9))
    #expect(
      draw(weft_philox_uniform_f32, state, 6) == [
        0.21066689491271973, 0.15415716171264648, 0.6554964780807495, 0.5014930963516235,
        0.7312765121459961, 0.814450740814209,
      ])
    var small = [Int32](repeating: 0, count: 6)
    weft_philox_uniform_i32(weft_philox_seed(4, 5), -17, 1_000_020, &small, 6)
    #expect(small == [57_777, 456_370, 714_018, 149_864, 753_916, 963_912])
    var large = [Int64](repeating: 0, count: 6)
    weft_philox_uniform_i64(weft_philox_seed(4, 5), -17, 1_000_000_000_000_017, &large, 6)
    #expect(
      large == [
        547_089_567_518_670, 806_290_616_671_372, 493_666_451_083_284, 4_780_735_477_705,
        657_673_826_820_242, 225_692_896_906_825,
      ])
  }

  @Test func fastGammasAreThePreciseOnesRounded() {
    // The last starts where the counter's lowest word wraps between samples.
    for state in [weft_philox_seed(5, 6), weft_philox_skip(weft_philox_seed(5, 6), 0xffff_f7f0)] {
      let kinds = [0.3, 1, 2.5, 1e-3, 700, .nan, 0, -1, .infinity]
      let alphas = (0..<4_000).map { kinds[$0 % kinds.count] }
      var precise = [Double](repeating: 0, count: alphas.count)
      var fast = precise
      weft_philox_gamma_f64(state, alphas, &precise, alphas.count)
      weft_philox_gamma_f32(state, alphas, &fast, alphas.count)
      for (i, alpha) in alphas.enumerated() {
        #expect(precise[i].isNaN == !(alpha > 0 && alpha < .infinity))
        let allowed = 1e-9 * abs(precise[i])
        #expect(precise[i].isNaN ? fast[i].isNaN : abs(fast[i] - precise[i]) <= allowed)
      }
      for (start, n) in [(1, 17), (5, 3), (16, 40), (3, 0)] {
        var part = [Double](repeating: 0, count: n)
        weft_philox_gamma_f32(
          weft_philox_skip(state, UInt64(256 * start)), Array(alphas[start..<start + n]), &part, n)
        #expect(same(part, Array(fast[start..<start + n])))
      }
    }
  }

  // Sums and classes against those that one sum of doubles after the other gives.
  @Test func classesByWeights() {
    for n in [1, 3, 16, 40, 7_001] {
      var x = (0..<n).map { Double(($0 * 7_919) % 997) / 40 - 12 }
      if n > 3 { (x[1], x[2], x[3]) = (.infinity, .nan, -800) }
      if n > 16 { (x[n - 1], x[n - 2]) = (-.infinity, -800) }
      let narrow = x.map(Float.init)
      let blocks = (n + 15) / 16
      var sums = [Double](repeating: 0, count: blocks)
      var (sums32, largest, largest32) = (sums, 0.0, Float(0))
      let total = weft_draw_sums_f64(x, n, &largest, &sums)
      let total32 = weft_draw_sums_f32(narrow, n, &largest32, &sums32)
      #expect(largest == x.filter(\.isFinite).max() && largest32 == Float(largest))
      #expect(total == sums[blocks - 1] && total32 == sums32[blocks - 1])
      var (wanted, before, wanted32, before32) = (0.0, 0.0, 0.0, 0.0)
      for k in 0..<n {
        let weight = x[k].isFinite ? exp(x[k] - largest) : 0
        let weight32 = narrow[k].isFinite ? exp(Double(narrow[k]) - Double(largest32)) : 0
        (before, wanted) = (wanted, wanted + weight)
        (before32, wanted32) = (wanted32, wanted32 + weight32)
        if k % 16 == 15 || k == n - 1 {
          #expect(abs(sums[k / 16] - wanted) <= 1e-10 * wanted)
          #expect(abs(sums32[k / 16] - wanted32) <= 1e-10 * wanted32)
        }
        // Sums are correct to 1e-10 of what they come to.
        if weight > 1e-8 * wanted {
          let middle = before + weight / 2
          #expect(weft_draw_class_f64(x, n, largest, sums, middle) == k)
          let middle32 = before32 + weight32 / 2
          #expect(weft_draw_class_f32(narrow, n, largest32, sums32, middle32) == k)
        }
      }
      #expect(weft_draw_class_f64(x, n, largest, sums, total) == n)
      // The last with a weight, however near the end.
      let last = weft_draw_class_f64(x, n, largest, sums, total.nextDown)
      #expect(last == x.lastIndex { $0.isFinite && $0 > -700 })
    }
    let none = [-Double.infinity, .nan, -.infinity]
    var (sum, largest) = ([1.0], 0.0)
    #expect(weft_draw_sums_f64(none, 3, &largest, &sum) == 0 && sum == [0])
    #expect(weft_draw_class_f64(none, 3, largest, sum, 0) == 3)
  }

  @Test func fillsMayBeCut() {
    let state = weft_philox_seed(5, 6)
    let all = words(state, 400)
    let normals = draw(weft_philox_normal_f32, state, 400)
    let truncated = draw(weft_philox_truncated_normal_f32, state, 400)
    let wide = draw(weft_philox_truncated_normal_f64, state, 100)
    for n in 0...67 {
      for group in [0, 1, 7, 33] {
        let later = weft_philox_skip(state, UInt64(group))
        #expect(words(later, n) == Array(all[4 * group..<4 * group + n]))
        let part = draw(weft_philox_normal_f32, later, n)
        #expect(same(part, Array(normals[4 * group..<4 * group + n])))
        let reserved = weft_philox_skip(state, UInt64(256 * group))
        let cut = draw(weft_philox_truncated_normal_f32, reserved, n)
        #expect(same(cut, Array(truncated[4 * group..<4 * group + n])))
      }
      let reserved = weft_philox_skip(state, 128 * 3)
      #expect(same(draw(weft_philox_truncated_normal_f64, reserved, n), Array(wide[6..<6 + n])))
    }
  }

  @Test func countersCarry() {
    var state = weft_philox_seed(1, UInt64.max)
    state.counter = (UInt32.max - 20, UInt32.max, UInt32.max, 0)
    let all = words(state, 4 * 50)
    for group in 0..<50 {
      let later = weft_philox_skip(state, UInt64(group))
      #expect(words(later, 4) == Array(all[4 * group..<4 * group + 4]), "\(group)")
      if group == 30 { #expect(later.counter.0 == 9 && later.counter.3 == 1) }
    }
  }

  @Test func moments() {
    let n = 200_000
    func check(_ x: [Double], _ mean: Double, _ variance: Double, _ bound: ClosedRange<Double>) {
      let m = x.reduce(0, +) / Double(n)
      let v = x.reduce(0) { $0 + ($1 - m) * ($1 - m) } / Double(n)
      #expect(abs(m - mean) < 0.01 && abs(v - variance) < 0.01)
      #expect(x.allSatisfy(bound.contains))
    }
    let state = weft_philox_seed(11, 12)
    check(draw(weft_philox_uniform_f32, state, n).map(Double.init), 0.5, 1 / 12, 0...0.9999999)
    check(draw(weft_philox_uniform_f64, state, n), 0.5, 1 / 12, 0...0.9999999999)
    check(draw(weft_philox_normal_f32, state, n).map(Double.init), 0, 1, -6...6)
    check(draw(weft_philox_normal_f64, state, n), 0, 1, -6...6)
    // The variance of a normal cut at two deviations.
    check(draw(weft_philox_truncated_normal_f32, state, n).map(Double.init), 0, 0.7737, -2...2)
    check(draw(weft_philox_truncated_normal_f64, state, n), 0, 0.7737, -2...2)
  }
}

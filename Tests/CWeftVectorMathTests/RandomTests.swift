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

  @Test func sumsOfDrawWeights() {
    for n in [1, 3, 16, 40, 7_001] {
      var x = (0..<n).map { Double(($0 * 7_919) % 997) / 40 - 12 }
      if n > 3 { (x[1], x[2], x[3]) = (.infinity, .nan, -800) }
      let largest = x.filter(\.isFinite).max() ?? 0
      var sums = x
      let total = weft_draw_sums_f64(&sums, n)
      var wanted = 0.0
      for (value, sum) in zip(x, sums) {
        wanted += value.isFinite ? exp(value - largest) : 0
        #expect(abs(sum - wanted) <= 1e-10 * wanted)
      }
      #expect(total == sums[n - 1])
    }
    var none = [-Double.infinity, .nan, -.infinity]
    #expect(weft_draw_sums_f64(&none, 3) == 0 && none == [0, 0, 0])
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

// Elementwise functions against libm in double: dense over all floats, special values, tails.
import CWeftVectorMath
import Testing

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// One function: both versions, the truth, the bound stated in the header.
struct UnaryRow: CustomTestStringConvertible {
  let name: String
  let single: FloatMap
  let wide: DoubleMap
  let bound: Double
  let reference: (Double) -> Double
  var testDescription: String { name }
}

/// Not Sendable by its closures, but never changed.
nonisolated(unsafe) let unaryRows: [UnaryRow] = [
  UnaryRow(name: "exp", single: weft_exp_f32, wide: weft_exp_f64, bound: 1, reference: { exp($0) }),
  UnaryRow(
    name: "expm1", single: weft_expm1_f32, wide: weft_expm1_f64, bound: 2,
    reference: { expm1($0) }),
  UnaryRow(name: "log", single: weft_log_f32, wide: weft_log_f64, bound: 1, reference: { log($0) }),
  UnaryRow(
    name: "log1p", single: weft_log1p_f32, wide: weft_log1p_f64, bound: 2,
    reference: { log1p($0) }),
  UnaryRow(
    name: "tanh", single: weft_tanh_f32, wide: weft_tanh_f64, bound: 2, reference: { tanh($0) }),
  UnaryRow(
    name: "sigmoid", single: weft_sigmoid_f32, wide: weft_sigmoid_f64, bound: 2,
    reference: sigmoid),
  UnaryRow(
    name: "softplus", single: weft_softplus_f32, wide: weft_softplus_f64, bound: 2,
    reference: { ($0 < 0 ? 0 : $0) + log1p(exp(-abs($0))) }),
  UnaryRow(name: "erf", single: weft_erf_f32, wide: weft_erf_f64, bound: 2, reference: { erf($0) }),
  UnaryRow(
    name: "sqrt", single: weft_sqrt_f32, wide: weft_sqrt_f64, bound: 0.5001,
    reference: { $0.squareRoot() }),
  UnaryRow(
    name: "rsqrt", single: weft_rsqrt_f32, wide: weft_rsqrt_f64, bound: 2,
    reference: { 1 / $0.squareRoot() }),
  UnaryRow(name: "sin", single: weft_sin_f32, wide: weft_sin_f64, bound: 1, reference: { sin($0) }),
  UnaryRow(name: "cos", single: weft_cos_f32, wide: weft_cos_f64, bound: 1, reference: { cos($0) }),
  UnaryRow(name: "neg", single: weft_neg_f32, wide: weft_neg_f64, bound: 0, reference: { -$0 }),
  UnaryRow(name: "abs", single: weft_abs_f32, wide: weft_abs_f64, bound: 0, reference: { abs($0) }),
  UnaryRow(
    name: "square", single: weft_square_f32, wide: weft_square_f64, bound: 0.5001,
    reference: { $0 * $0 }),
  UnaryRow(
    name: "relu", single: weft_relu_f32, wide: weft_relu_f64, bound: 0,
    reference: { $0 <= 0 ? 0 : $0 }),
]

let specials: [Float] = [
  0, -0.0, 1, -1, .infinity, -.infinity, .nan, .leastNonzeroMagnitude, -.leastNonzeroMagnitude,
  .leastNormalMagnitude, -.leastNormalMagnitude, .greatestFiniteMagnitude,
  -.greatestFiniteMagnitude, 88.72283, 88.72284, -87.33655, -100, -103.9, -104.1, 0.625, 9.01, 16,
  -17.5, 1e-8, -1e-8, 1_048_575, 1_048_576, 3e9, 1e30,
]

@Suite struct UnaryTests {
  @Test(arguments: unaryRows.indices)
  func floatsAgreeWithLibm(_ index: Int) {
    let row = unaryRows[index]
    // Every 20,011th bit pattern: all exponents, both signs, NaNs; then densely around zero.
    var x = stride(from: UInt64(0), to: 1 << 32, by: 20_011).map { Float(bitPattern: UInt32($0)) }
    x += (0...80_000).map { Float($0 - 40_000) / 2_000 }
    x += specials
    let y = apply(row.single, x)
    var worst = 0.0
    var at: Float = 0
    for (input, output) in zip(x, y) {
      let error = ulps(output, row.reference(Double(input)))
      if error > worst { (worst, at) = (error, input) }
    }
    #expect(worst <= row.bound, "\(row.name) is off by \(worst) ulp at \(at)")
  }

  @Test(arguments: unaryRows.indices)
  func doublesAgreeWithLibm(_ index: Int) {
    let row = unaryRows[index]
    let x = (0...20_000).map { Double($0 - 10_000) / 700 } + specials.map(Double.init)
    for (input, output) in zip(x, apply(row.wide, x)) {
      let reference = row.reference(input)
      let near = abs(output - reference) <= 4 * reference.ulp
      #expect(
        near || output == reference || (output.isNaN && reference.isNaN), "\(row.name)(\(input))")
    }
  }

  @Test(arguments: unaryRows.indices)
  func tailsAndAliases(_ index: Int) {
    let row = unaryRows[index]
    var noise = Noise()
    let x = noise.floats(80, -20, 20)
    let wideX = x.map(Double.init)
    let whole = apply(row.single, x)
    let wideWhole = apply(row.wide, wideX)
    for count in 0...67 {
      // Out of place, with a guard behind the end.
      var y = [Float](repeating: 7, count: 80)
      row.single(x, &y, count)
      #expect(same(Array(y[..<count]), Array(whole[..<count])), "\(row.name), \(count)")
      #expect(y[count...].allSatisfy { $0 == 7 }, "\(row.name) wrote behind \(count)")
      // In place, starting off alignment: how a range is cut changes nothing.
      var z = x
      z.withUnsafeMutableBufferPointer {
        guard let base = $0.baseAddress else { return }
        row.single(base + 3, base + 3, count)
      }
      let expected = Array(x[..<3]) + Array(whole[3..<(3 + count)]) + Array(x[(3 + count)...])
      #expect(same(z, expected), "\(row.name) in place, \(count)")
      var wide = wideX
      wide.withUnsafeMutableBufferPointer { row.wide($0.baseAddress, $0.baseAddress, count) }
      #expect(same(wide, Array(wideWhole[..<count]) + Array(wideX[count...])))
    }
  }

  @Test func power() {
    var noise = Noise()
    var x = noise.floats(20_000, 0, 5) + noise.floats(20_000, 0.99, 1.01)
    var y = noise.floats(20_000, -30, 30) + noise.floats(20_000, -5_000, 5_000)
    for base in specials + [-2, -3.5, 2] {
      for exponent in specials + [2, 3, -3, 0.5, -0.5] {
        x.append(base)
        y.append(exponent)
      }
    }
    var z = [Float](repeating: 0, count: x.count)
    weft_pow_f32(x, y, &z, x.count)
    for i in x.indices {
      let error = ulps(z[i], pow(Double(x[i]), Double(y[i])))
      #expect(error <= 1, "pow(\(x[i]), \(y[i])) = \(z[i])")
    }
    for count in 0...67 {
      var inPlace = x
      inPlace.withUnsafeMutableBufferPointer {
        weft_pow_f32($0.baseAddress, y, $0.baseAddress, count)
      }
      #expect(same(inPlace, Array(z[..<count]) + Array(x[count...])))
    }
    var wide = x.map(Double.init)
    let wideY = y.map(Double.init)
    wide.withUnsafeMutableBufferPointer {
      weft_pow_f64($0.baseAddress, wideY, $0.baseAddress, $0.count)
    }
    for i in x.indices {
      let truth = pow(Double(x[i]), Double(y[i]))
      #expect(wide[i] == truth || (wide[i].isNaN && truth.isNaN))
    }
  }

  /// The float functions use no libm (in their vector range): any CPU and platform gives these bits.
  @Test func sameBitsEverywhere() {
    let x = stride(from: UInt64(0), to: 1 << 32, by: 65_521).map { Float(bitPattern: UInt32($0)) }
    let small = x.filter { abs($0) < 1_000_000 }
    let hashes = unaryRows.map { row in
      fingerprint(apply(row.single, ["sin", "cos"].contains(row.name) ? small : x))
    }
    #expect(hashes == goldenFingerprints, "\(zip(unaryRows, hashes).map { ($0.name, $1) })")
  }

  @Test func levelIsKnown() {
    #expect([0, 3, 4].contains(weft_cpu_level()))
    let name = String(cString: weft_cpu_name())
    #expect(["x86-64-v4", "x86-64-v3", "arm64", "baseline"].contains(name))
    #expect(name.hasSuffix("v\(weft_cpu_level())") || weft_cpu_level() == 0)
  }
}

/// In the order of `unaryRows`.
let goldenFingerprints: [UInt64] = [
  0xdbdf_7daa_bfcb_747b, 0xbda7_f327_b869_7bf3, 0x580a_e126_3651_58c3, 0xc864_d7af_4bae_ef76,
  0xce9f_cd6d_57f0_9f94, 0x2627_ded1_763c_a32b, 0x3b64_4a7e_5e6a_406d, 0xb7cf_b078_ef1e_d3a5,
  0xb393_3142_e090_cfd3, 0xb28e_e969_b231_b05a, 0x7308_ee31_5084_9227, 0xc948_6b0a_fb51_cd22,
  0x647b_4de7_ce5b_92f8, 0x593b_da70_ce5b_92f8, 0xcca1_21ef_7bad_a4b2, 0xda41_9269_2065_657d,
]

// Optimizer updates against the formulas, written plainly: the same bits, for every tail length.
import CWeftVectorMath
import Testing

@Suite struct OptimizerTests {
  /// Runs both versions for lengths 0...67 on copies of the slots (var first, 67 elements apart)
  /// and compares with `formula`, which updates one element's slots.
  func check(
    _ name: String, slots: Int, formula32: ([Float], Float) -> [Float],
    formula64: ([Double], Double) -> [Double],
    single: ([Float], UnsafeMutablePointer<Float>, Int) -> Void,
    wide: ([Double], UnsafeMutablePointer<Double>, Int) -> Void
  ) {
    var noise = Noise()
    let grad = noise.floats(67), wideGrad = grad.map(Double.init)
    // Slots stay positive: squares' averages must be.
    let start = noise.floats(67 * slots, 0.5, 2), wideStart = start.map(Double.init)
    for n in 0...67 {
      var mine = start, wideMine = wideStart
      mine.withUnsafeMutableBufferPointer { if let p = $0.baseAddress { single(grad, p, n) } }
      wideMine.withUnsafeMutableBufferPointer { if let p = $0.baseAddress { wide(wideGrad, p, n) } }
      for i in 0..<67 {
        let places = (0..<slots).map { $0 * 67 + i }
        let old = places.map { start[$0] }, wideOld = places.map { wideStart[$0] }
        let expected = i < n ? formula32(old, grad[i]) : old
        #expect(places.map { mine[$0] } == expected, "\(name), element \(i) of \(n)")
        let wideExpected = i < n ? formula64(wideOld, wideGrad[i]) : wideOld
        #expect(places.map { wideMine[$0] } == wideExpected, "\(name), element \(i) of \(n)")
      }
    }
  }

  func descent<T: BinaryFloatingPoint>(_ s: [T], _ g: T) -> [T] { [s[0] - g * 0.1] }

  func momentum<T: BinaryFloatingPoint>(_ s: [T], _ g: T, _ nesterov: Bool) -> [T] {
    let a = s[1] * 0.9 + g
    return [s[0] - (nesterov ? g * 0.1 + a * 0.9 * 0.1 : a * 0.1), a]
  }

  func adam<T: BinaryFloatingPoint>(_ s: [T], _ g: T, _ nesterov: Bool) -> [T] {
    let m = s[1] + (g - s[1]) * (1 - 0.9), v = s[2] + (g * g - s[2]) * (1 - 0.999)
    let step: T = nesterov ? g * (1 - 0.9) + 0.9 * m : m
    return [s[0] - (step * 0.01) / (v.squareRoot() + 1e-8), m, v]
  }

  func rms<T: BinaryFloatingPoint>(_ s: [T], _ g: T) -> [T] {
    let ms = s[1] + (g * g - s[1]) * (1 - 0.9)
    let mom = s[2] * 0.5 + (g * 0.01) / (ms + 1e-10).squareRoot()
    return [s[0] - mom, ms, mom]
  }

  func centered<T: BinaryFloatingPoint>(_ s: [T], _ g: T) -> [T] {
    let ms = s[2] + (g * g - s[2]) * (1 - 0.9), mg = s[1] + (g - s[1]) * (1 - 0.9)
    let mom = s[3] * 0.5 + (g * 0.01) / ((ms - mg * mg) + 6).squareRoot()
    return [s[0] - mom, mg, ms, mom]
  }

  func adagrad<T: BinaryFloatingPoint>(_ s: [T], _ g: T, _ update: Bool) -> [T] {
    let a = update ? s[1] + g * g : s[1]
    return [s[0] - g * 0.1 * (1 / a.squareRoot()), a]
  }

  func adadelta<T: BinaryFloatingPoint>(_ s: [T], _ g: T) -> [T] {
    let a = s[1] * 0.9 + g * g * (1 - 0.9)
    let update = (s[2] + 1e-6).squareRoot() * (1 / (a + 1e-6).squareRoot()) * g
    return [s[0] - update * 0.01, a, s[2] * 0.9 + update * update * (1 - 0.9)]
  }

  @Test func updates() {
    check(
      "descent", slots: 1, formula32: descent, formula64: descent,
      single: { weft_apply_gradient_descent_f32($0, 0.1, $1, $2) },
      wide: { weft_apply_gradient_descent_f64($0, 0.1, $1, $2) })
    check(
      "rms prop", slots: 3, formula32: rms, formula64: rms,
      single: { weft_apply_rms_prop_f32($0, 0.01, 0.9, 0.5, 1e-10, $1, $1 + 67, $1 + 134, $2) },
      wide: { weft_apply_rms_prop_f64($0, 0.01, 0.9, 0.5, 1e-10, $1, $1 + 67, $1 + 134, $2) })
    check(
      "centered rms prop", slots: 4, formula32: centered, formula64: centered,
      single: {
        weft_apply_centered_rms_prop_f32(
          $0, 0.01, 0.9, 0.5, 6, $1, $1 + 67, $1 + 134, $1 + 201, $2)
      },
      wide: {
        weft_apply_centered_rms_prop_f64(
          $0, 0.01, 0.9, 0.5, 6, $1, $1 + 67, $1 + 134, $1 + 201, $2)
      })
    check(
      "adadelta", slots: 3, formula32: adadelta, formula64: adadelta,
      single: { weft_apply_adadelta_f32($0, 0.01, 0.9, 1e-6, $1, $1 + 67, $1 + 134, $2) },
      wide: { weft_apply_adadelta_f64($0, 0.01, 0.9, 1e-6, $1, $1 + 67, $1 + 134, $2) })
  }

  @Test(arguments: [false, true])
  func updatesWithAFlag(_ flag: Bool) {
    let on: Int32 = flag ? 1 : 0
    check(
      "momentum", slots: 2, formula32: { momentum($0, $1, flag) },
      formula64: { momentum($0, $1, flag) },
      single: { weft_apply_momentum_f32($0, 0.1, 0.9, on, $1, $1 + 67, $2) },
      wide: { weft_apply_momentum_f64($0, 0.1, 0.9, on, $1, $1 + 67, $2) })
    check(
      "adam", slots: 3, formula32: { adam($0, $1, flag) }, formula64: { adam($0, $1, flag) },
      single: {
        weft_apply_adam_f32($0, 0.01, 0.9, 0.999, 1e-8, on, $1, $1 + 67, $1 + 134, $2)
      },
      wide: {
        weft_apply_adam_f64($0, 0.01, 0.9, 0.999, 1e-8, on, $1, $1 + 67, $1 + 134, $2)
      })
    check(
      "adagrad", slots: 2, formula32: { adagrad($0, $1, flag) },
      formula64: { adagrad($0, $1, flag) },
      single: { weft_apply_adagrad_f32($0, 0.1, on, $1, $1 + 67, $2) },
      wide: { weft_apply_adagrad_f64($0, 0.1, on, $1, $1 + 67, $2) })
  }
}

// Elementwise loops of the rectifiers and their relatives.

internal import CWeftVectorMath
package import WeftTensors

/// An activation; `alpha` is LeakyRelu's slope.
package enum Activation: Sendable {
  case relu, relu6
  case leakyRelu(alpha: Float)
  case elu, selu, softplus, softsign
}

/// Activation loops.
package enum ActivationKernels {
  // SELU's constants: the fixed point of zero mean and unit variance.
  private static let seluScale = 1.0507009873554804934193349852946
  private static let seluScaleAlpha = 1.7580993408473768599402175208123

  private static let grain = 16_384

  /// y = f(x); x may be y. False for a type without such a kernel.
  package static func forward(
    _ kind: Activation, _ dtype: DType, _ x: UnsafeRawPointer, _ y: UnsafeMutableRawPointer,
    count: Int, pool: ThreadPool
  ) -> Bool {
    if dtype == .float32 {
      let from = x.assumingMemoryBound(to: Float.self)
      let to = y.assumingMemoryBound(to: Float.self)
      switch kind {
      case .relu:
        pool.split(count, grain: grain) { weft_relu_f32(from + $0, to + $0, $1 - $0) }
        return true
      case .softplus:
        pool.split(count, grain: 4_096) { weft_softplus_f32(from + $0, to + $0, $1 - $0) }
        return true
      default: break
      }
    }
    if dtype.isFloating {
      return withRealType(
        dtype, Forward(kind: kind, x: x, y: y, count: count, pool: pool))
    }
    guard dtype.isInteger, let type = stateNumberType(dtype) else { return false }
    func integers<E: StateNumber>(_: E.Type) -> Bool {
      let from = x.assumingMemoryBound(to: E.self)
      let to = y.assumingMemoryBound(to: E.self)
      let zero = E.zeroValue
      switch kind {
      case .relu: for i in 0..<count { to[i] = E.greatest(from[i], zero) }
      case .relu6:
        guard let six = integer(6, E.self) else { return false }
        for i in 0..<count { to[i] = E.least(E.greatest(from[i], zero), six) }
      default: return false
      }
      return true
    }
    return integers(type)
  }

  /// dx from dy and x or y, whichever the op takes; dx may be either. False for a type without
  /// such a kernel.
  package static func backward(
    _ kind: Activation, _ dtype: DType, dy: UnsafeRawPointer, _ x: UnsafeRawPointer,
    dx: UnsafeMutableRawPointer, count: Int, pool: ThreadPool
  ) -> Bool {
    if dtype == .float32, case .relu = kind {
      let g = dy.assumingMemoryBound(to: Float.self)
      let from = x.assumingMemoryBound(to: Float.self)
      let to = dx.assumingMemoryBound(to: Float.self)
      pool.split(count, grain: grain) {
        weft_relu_grad_f32(from + $0, g + $0, to + $0, $1 - $0)
      }
      return true
    }
    if dtype.isFloating {
      return withRealType(
        dtype, Backward(kind: kind, dy: dy, x: x, dx: dx, count: count, pool: pool))
    }
    guard dtype.isInteger, let type = stateNumberType(dtype) else { return false }
    func integers<E: StateNumber>(_: E.Type) -> Bool {
      let g = dy.assumingMemoryBound(to: E.self)
      let from = x.assumingMemoryBound(to: E.self)
      let to = dx.assumingMemoryBound(to: E.self)
      guard let one = integer(1, E.self), let six = integer(6, E.self) else { return false }
      for i in 0..<count {
        let v = from[i]
        // v >= 1 and, for relu6, v < 6.
        let isPositive = equal(E.greatest(v, one), v)
        switch kind {
        case .relu: to[i] = isPositive ? g[i] : E.zeroValue
        case .relu6:
          let isBelow = equal(E.least(v, six), v) && !equal(v, six)
          to[i] = isPositive && isBelow ? g[i] : E.zeroValue
        default: return false
        }
      }
      return true
    }
    return integers(type)
  }

  private static func integer<E: StateNumber>(_ value: Int8, _: E.Type) -> E? {
    guard let type = E.self as? any FixedWidthInteger.Type else { return nil }
    func make<I: FixedWidthInteger>(_: I.Type) -> E? { I(value) as? E }
    return make(type)
  }

  private static func equal<E: StateNumber>(_ a: E, _ b: E) -> Bool {
    withUnsafeBytes(of: a) { x in withUnsafeBytes(of: b) { y in x.elementsEqual(y) } }
  }

  private struct Forward: RealTask {
    let kind: Activation
    let x: UnsafeRawPointer
    let y: UnsafeMutableRawPointer
    let count: Int
    let pool: ThreadPool

    func run<E: RealElement>(_: E.Type) {
      func apply(_ f: (E.Wide) -> E.Wide) {
        let from = x.assumingMemoryBound(to: E.self)
        let to = y.assumingMemoryBound(to: E.self)
        pool.split(count, grain: 8_192) { lo, hi in
          for i in lo..<hi { to[i] = E(wide: f(from[i].wide)) }
        }
      }
      typealias W = E.Wide
      let (zero, one, six): (W, W, W) = (0, 1, 6)
      let (scale, scaleAlpha) = (W(seluScale), W(seluScaleAlpha))
      switch kind {
      // The comparisons let NaN through.
      case .relu: apply { $0 < zero ? zero : $0 }
      case .relu6: apply { $0 < zero ? zero : $0 > six ? six : $0 }
      case .leakyRelu(let alpha):
        let slope = W(alpha)
        apply { $0 > zero ? $0 : $0 * slope }
      case .elu: apply { $0 < zero ? W.expm1($0) : $0 }
      case .selu: apply { $0 < zero ? scaleAlpha * W.expm1($0) : scale * $0 }
      case .softplus:
        apply { v in
          (v > zero ? v : v < zero ? zero : v) + W.log1p(W.exponential(-abs(v)))
        }
      case .softsign: apply { $0 / (abs($0) + one) }
      }
    }
  }

  private struct Backward: RealTask {
    let kind: Activation
    let dy: UnsafeRawPointer
    let x: UnsafeRawPointer
    let dx: UnsafeMutableRawPointer
    let count: Int
    let pool: ThreadPool

    func run<E: RealElement>(_: E.Type) {
      func apply(_ f: (E.Wide, E.Wide) -> E.Wide) {
        let g = dy.assumingMemoryBound(to: E.self)
        let from = x.assumingMemoryBound(to: E.self)
        let to = dx.assumingMemoryBound(to: E.self)
        pool.split(count, grain: 8_192) { lo, hi in
          for i in lo..<hi { to[i] = E(wide: f(g[i].wide, from[i].wide)) }
        }
      }
      typealias W = E.Wide
      let (zero, one, six): (W, W, W) = (0, 1, 6)
      let (scale, scaleAlpha) = (W(seluScale), W(seluScaleAlpha))
      switch kind {
      case .relu: apply { g, v in v > zero ? g : zero }
      case .relu6: apply { g, v in v > zero && v < six ? g : zero }
      case .leakyRelu(let alpha):
        let slope = W(alpha)
        apply { g, v in v > zero ? g : g * slope }
      case .elu: apply { g, y in y < zero ? (y + one) * g : g }
      case .selu: apply { g, y in y < zero ? g * (y + scaleAlpha) : g * scale }
      case .softplus: apply { g, v in g / (W.exponential(-v) + one) }
      case .softsign:
        apply { g, v in
          let d = one + abs(v)
          return g / (d * d)
        }
      }
    }
  }
}

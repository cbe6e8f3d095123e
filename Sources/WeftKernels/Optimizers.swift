// Optimizer updates in TensorFlow's formulas. Comments name slots and scalars in input order.

internal import CWeftVectorMath
internal import WeftTensors

/// var; alpha: `var -= alpha * delta`.
package enum GradientDescentRule: OptimizerRule {
  package static func fast(_ s: OptimizerSpan) -> Bool {
    switch s.dtype {
    case .float32:
      weft_apply_gradient_descent_f32(
        s.grad(Float.self), s.scalar(0, Float.self), s.slot(0, Float.self), s.count)
    case .float64:
      weft_apply_gradient_descent_f64(
        s.grad(Double.self), s.scalar(0, Double.self), s.slot(0, Double.self), s.count)
    default: return false
    }
    return true
  }
  package static func loop<E: RealElement>(_: E.Type, _ s: OptimizerSpan) {
    let (v, g, lr) = (s.slot(0, E.self), s.grad(E.self), s.scalar(0, E.Wide.self))
    for i in 0..<s.count { v[i] = E(wide: v[i].wide - g[i].wide * lr) }
  }
}

/// var, accum; lr, momentum; flag use_nesterov.
package enum MomentumRule: OptimizerRule {
  package static func fast(_ s: OptimizerSpan) -> Bool {
    let nesterov: Int32 = s.flag ? 1 : 0
    switch s.dtype {
    case .float32:
      weft_apply_momentum_f32(
        s.grad(Float.self), s.scalar(0, Float.self), s.scalar(1, Float.self), nesterov,
        s.slot(0, Float.self), s.slot(1, Float.self), s.count)
    case .float64:
      weft_apply_momentum_f64(
        s.grad(Double.self), s.scalar(0, Double.self), s.scalar(1, Double.self), nesterov,
        s.slot(0, Double.self), s.slot(1, Double.self), s.count)
    default: return false
    }
    return true
  }
  package static func loop<E: RealElement>(_: E.Type, _ s: OptimizerSpan) {
    let (v, a, g) = (s.slot(0, E.self), s.slot(1, E.self), s.grad(E.self))
    let (lr, momentum) = (s.scalar(0, E.Wide.self), s.scalar(1, E.Wide.self))
    for i in 0..<s.count {
      let grad = g[i].wide
      let accum = a[i].wide * momentum + grad
      a[i] = E(wide: accum)
      let step = s.flag ? grad * lr + accum * momentum * lr : accum * lr
      v[i] = E(wide: v[i].wide - step)
    }
  }
}

/// var, m, v; beta1_power, beta2_power, lr, beta1, beta2, epsilon; flag use_nesterov.
package enum AdamRule: OptimizerRule {
  @inline(__always)
  private static func rate<W: WideFloat>(_ s: OptimizerSpan, _: W.Type) -> W {
    let one: W = 1
    return s.scalar(2, W.self) * (one - s.scalar(1, W.self)).squareRoot()
      / (one - s.scalar(0, W.self))
  }
  package static func fast(_ s: OptimizerSpan) -> Bool {
    let nesterov: Int32 = s.flag ? 1 : 0
    switch s.dtype {
    case .float32:
      weft_apply_adam_f32(
        s.grad(Float.self), rate(s, Float.self), s.scalar(3, Float.self), s.scalar(4, Float.self),
        s.scalar(5, Float.self), nesterov, s.slot(0, Float.self), s.slot(1, Float.self),
        s.slot(2, Float.self), s.count)
    case .float64:
      weft_apply_adam_f64(
        s.grad(Double.self), rate(s, Double.self), s.scalar(3, Double.self),
        s.scalar(4, Double.self), s.scalar(5, Double.self), nesterov, s.slot(0, Double.self),
        s.slot(1, Double.self), s.slot(2, Double.self), s.count)
    default: return false
    }
    return true
  }
  package static func loop<E: RealElement>(_: E.Type, _ s: OptimizerSpan) {
    let (x, ms, vs) = (s.slot(0, E.self), s.slot(1, E.self), s.slot(2, E.self))
    let g = s.grad(E.self)
    let alpha = rate(s, E.Wide.self)
    let (beta1, beta2) = (s.scalar(3, E.Wide.self), s.scalar(4, E.Wide.self))
    let epsilon = s.scalar(5, E.Wide.self)
    let one: E.Wide = 1
    for i in 0..<s.count {
      let grad = g[i].wide
      let m = ms[i].wide + (grad - ms[i].wide) * (one - beta1)
      let v = vs[i].wide + (grad * grad - vs[i].wide) * (one - beta2)
      ms[i] = E(wide: m)
      vs[i] = E(wide: v)
      let top = s.flag ? grad * (one - beta1) + beta1 * m : m
      x[i] = E(wide: x[i].wide - (top * alpha) / (v.squareRoot() + epsilon))
    }
  }
}

/// var, m, v; beta1_power, lr, beta1, beta2, epsilon.
package enum AdaMaxRule: OptimizerRule {
  package static func loop<E: RealElement>(_: E.Type, _ s: OptimizerSpan) {
    let (x, ms, vs) = (s.slot(0, E.self), s.slot(1, E.self), s.slot(2, E.self))
    let g = s.grad(E.self)
    let one: E.Wide = 1
    let rate = s.scalar(1, E.Wide.self) / (one - s.scalar(0, E.Wide.self))
    let (beta1, beta2) = (s.scalar(2, E.Wide.self), s.scalar(3, E.Wide.self))
    let epsilon = s.scalar(4, E.Wide.self)
    for i in 0..<s.count {
      let grad = g[i].wide
      let m = ms[i].wide + (grad - ms[i].wide) * (one - beta1)
      let v = max(beta2 * vs[i].wide, abs(grad))
      ms[i] = E(wide: m)
      vs[i] = E(wide: v)
      x[i] = E(wide: x[i].wide - rate * (m / (v + epsilon)))
    }
  }
}

/// var, ms, mom; lr, rho, momentum, epsilon. The sparse op rounds in another order.
package enum RMSPropRule: OptimizerRule {
  package static func fast(_ s: OptimizerSpan) -> Bool {
    switch s.dtype {
    case .float32:
      (s.isSparse ? weft_sparse_apply_rms_prop_f32 : weft_apply_rms_prop_f32)(
        s.grad(Float.self), s.scalar(0, Float.self), s.scalar(1, Float.self),
        s.scalar(2, Float.self), s.scalar(3, Float.self), s.slot(0, Float.self),
        s.slot(1, Float.self), s.slot(2, Float.self), s.count)
    case .float64:
      (s.isSparse ? weft_sparse_apply_rms_prop_f64 : weft_apply_rms_prop_f64)(
        s.grad(Double.self), s.scalar(0, Double.self), s.scalar(1, Double.self),
        s.scalar(2, Double.self), s.scalar(3, Double.self), s.slot(0, Double.self),
        s.slot(1, Double.self), s.slot(2, Double.self), s.count)
    default: return false
    }
    return true
  }
  package static func loop<E: RealElement>(_: E.Type, _ s: OptimizerSpan) {
    let (x, mss, moms) = (s.slot(0, E.self), s.slot(1, E.self), s.slot(2, E.self))
    let g = s.grad(E.self)
    let (lr, rho) = (s.scalar(0, E.Wide.self), s.scalar(1, E.Wide.self))
    let (momentum, epsilon) = (s.scalar(2, E.Wide.self), s.scalar(3, E.Wide.self))
    let one: E.Wide = 1
    for i in 0..<s.count {
      let grad = g[i].wide
      let old = mss[i].wide
      let ms: E.Wide
      let mom: E.Wide
      if s.isSparse {
        ms = old * rho + grad * grad * (one - rho)
        mom = moms[i].wide * momentum + one / (ms + epsilon).squareRoot() * lr * grad
      } else {
        ms = old + (grad * grad - old) * (one - rho)
        mom = moms[i].wide * momentum + (grad * lr) / (ms + epsilon).squareRoot()
      }
      mss[i] = E(wide: ms)
      moms[i] = E(wide: mom)
      x[i] = E(wide: x[i].wide - mom)
    }
  }
}

/// var, mg, ms, mom; lr, rho, momentum, epsilon. The sparse op rounds in another order.
package enum CenteredRMSPropRule: OptimizerRule {
  package static func fast(_ s: OptimizerSpan) -> Bool {
    if s.isSparse { return false }
    switch s.dtype {
    case .float32:
      weft_apply_centered_rms_prop_f32(
        s.grad(Float.self), s.scalar(0, Float.self), s.scalar(1, Float.self),
        s.scalar(2, Float.self), s.scalar(3, Float.self), s.slot(0, Float.self),
        s.slot(1, Float.self), s.slot(2, Float.self), s.slot(3, Float.self), s.count)
    case .float64:
      weft_apply_centered_rms_prop_f64(
        s.grad(Double.self), s.scalar(0, Double.self), s.scalar(1, Double.self),
        s.scalar(2, Double.self), s.scalar(3, Double.self), s.slot(0, Double.self),
        s.slot(1, Double.self), s.slot(2, Double.self), s.slot(3, Double.self), s.count)
    default: return false
    }
    return true
  }
  package static func loop<E: RealElement>(_: E.Type, _ s: OptimizerSpan) {
    let (x, mgs) = (s.slot(0, E.self), s.slot(1, E.self))
    let (mss, moms) = (s.slot(2, E.self), s.slot(3, E.self))
    let g = s.grad(E.self)
    let (lr, rho) = (s.scalar(0, E.Wide.self), s.scalar(1, E.Wide.self))
    let (momentum, epsilon) = (s.scalar(2, E.Wide.self), s.scalar(3, E.Wide.self))
    let one: E.Wide = 1
    for i in 0..<s.count {
      let grad = g[i].wide
      let (oldMS, oldMG) = (mss[i].wide, mgs[i].wide)
      let ms: E.Wide
      let mg: E.Wide
      let mom: E.Wide
      if s.isSparse {
        ms = oldMS * rho + grad * grad * (one - rho)
        mg = oldMG * rho + grad * (one - rho)
        let denominator = ms + epsilon - mg * mg
        mom = moms[i].wide * momentum + one / denominator.squareRoot() * lr * grad
      } else {
        ms = oldMS + (grad * grad - oldMS) * (one - rho)
        mg = oldMG + (grad - oldMG) * (one - rho)
        let denominator = (ms - mg * mg) + epsilon
        mom = moms[i].wide * momentum + (grad * lr) / denominator.squareRoot()
      }
      mss[i] = E(wide: ms)
      mgs[i] = E(wide: mg)
      moms[i] = E(wide: mom)
      x[i] = E(wide: x[i].wide - mom)
    }
  }
}

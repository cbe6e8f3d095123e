// The Ada, Ftrl, sign and proximal optimizers. Comments name slots and scalars in input order.

internal import CWeftVectorMath
internal import WeftTensors

/// var, accum; lr; flag update_slots.
package enum AdagradRule: OptimizerRule {
  package static func fast(_ s: OptimizerSpan) -> Bool {
    let update: Int32 = s.flag ? 1 : 0
    switch s.dtype {
    case .float32:
      weft_apply_adagrad_f32(
        s.grad(Float.self), s.scalar(0, Float.self), update, s.slot(0, Float.self),
        s.slot(1, Float.self), s.count)
    case .float64:
      weft_apply_adagrad_f64(
        s.grad(Double.self), s.scalar(0, Double.self), update, s.slot(0, Double.self),
        s.slot(1, Double.self), s.count)
    default: return false
    }
    return true
  }
  package static func loop<E: RealElement>(_: E.Type, _ s: OptimizerSpan) {
    let (x, accums, g) = (s.slot(0, E.self), s.slot(1, E.self), s.grad(E.self))
    let lr = s.scalar(0, E.Wide.self)
    let one: E.Wide = 1
    for i in 0..<s.count {
      let grad = g[i].wide
      let accum = s.flag ? accums[i].wide + grad * grad : accums[i].wide
      accums[i] = E(wide: accum)
      x[i] = E(wide: x[i].wide - grad * lr * (one / accum.squareRoot()))
    }
  }
}

/// var, accum; lr, epsilon; flag update_slots.
package enum AdagradV2Rule: OptimizerRule {
  package static func loop<E: RealElement>(_: E.Type, _ s: OptimizerSpan) {
    let (x, accums, g) = (s.slot(0, E.self), s.slot(1, E.self), s.grad(E.self))
    let (lr, epsilon) = (s.scalar(0, E.Wide.self), s.scalar(1, E.Wide.self))
    for i in 0..<s.count {
      let grad = g[i].wide
      let accum = s.flag ? accums[i].wide + grad * grad : accums[i].wide
      accums[i] = E(wide: accum)
      x[i] = E(wide: x[i].wide - grad * lr / (accum.squareRoot() + epsilon))
    }
  }
}

/// var, accum, accum_update; lr, rho, epsilon.
package enum AdadeltaRule: OptimizerRule {
  package static func fast(_ s: OptimizerSpan) -> Bool {
    switch s.dtype {
    case .float32:
      weft_apply_adadelta_f32(
        s.grad(Float.self), s.scalar(0, Float.self), s.scalar(1, Float.self),
        s.scalar(2, Float.self), s.slot(0, Float.self), s.slot(1, Float.self),
        s.slot(2, Float.self), s.count)
    case .float64:
      weft_apply_adadelta_f64(
        s.grad(Double.self), s.scalar(0, Double.self), s.scalar(1, Double.self),
        s.scalar(2, Double.self), s.slot(0, Double.self), s.slot(1, Double.self),
        s.slot(2, Double.self), s.count)
    default: return false
    }
    return true
  }
  package static func loop<E: RealElement>(_: E.Type, _ s: OptimizerSpan) {
    let (x, accums, updates) = (s.slot(0, E.self), s.slot(1, E.self), s.slot(2, E.self))
    let g = s.grad(E.self)
    let (lr, rho) = (s.scalar(0, E.Wide.self), s.scalar(1, E.Wide.self))
    let epsilon = s.scalar(2, E.Wide.self)
    let one: E.Wide = 1
    for i in 0..<s.count {
      let grad = g[i].wide
      let accum = accums[i].wide * rho + grad * grad * (one - rho)
      let old = updates[i].wide
      let update = (old + epsilon).squareRoot() * (one / (accum + epsilon).squareRoot()) * grad
      accums[i] = E(wide: accum)
      x[i] = E(wide: x[i].wide - update * lr)
      updates[i] = E(wide: old * rho + update * update * (one - rho))
    }
  }
}

/// var, accum, linear; lr, l1, l2, lr_power; flag multiply_linear_by_lr.
package enum FtrlRule: OptimizerRule {
  package static func loop<E: RealElement>(_: E.Type, _ s: OptimizerSpan) {
    let (x, accums, linears) = (s.slot(0, E.self), s.slot(1, E.self), s.slot(2, E.self))
    let g = s.grad(E.self)
    let (lr, l1) = (s.scalar(0, E.Wide.self), s.scalar(1, E.Wide.self))
    let (l2, lrPower) = (s.scalar(2, E.Wide.self), s.scalar(3, E.Wide.self))
    let half: E.Wide = -0.5
    let two: E.Wide = 2
    let isRoot = lrPower == half
    for i in 0..<s.count {
      let grad = g[i].wide
      let accum = accums[i].wide
      let newAccum = accum + grad * grad
      let oldPower = isRoot ? accum.squareRoot() : E.Wide.power(accum, -lrPower)
      let newPower = isRoot ? newAccum.squareRoot() : E.Wide.power(newAccum, -lrPower)
      let linear: E.Wide
      let quadratic: E.Wide
      let bound: E.Wide
      if s.flag {
        linear = linears[i].wide + grad * lr - (newPower - oldPower) * x[i].wide
        quadratic = newPower + two * l2 * lr
        bound = l1 * lr
      } else {
        linear = linears[i].wide + grad - (newPower - oldPower) / lr * x[i].wide
        quadratic = newPower / lr + two * l2
        bound = l1
      }
      let clipped = max(min(linear, bound), -bound)
      x[i] = E(wide: (clipped - linear) / quadratic)
      linears[i] = E(wide: linear)
      accums[i] = E(wide: newAccum)
    }
  }
}

@inline(__always)
private func signOf<W: WideFloat>(_ x: W) -> W {
  x > 0 ? 1 : x < 0 ? -1 : x
}

/// var, m; lr, alpha, sign_decay, beta.
package enum AddSignRule: OptimizerRule {
  package static func loop<E: RealElement>(_: E.Type, _ s: OptimizerSpan) {
    let (x, ms, g) = (s.slot(0, E.self), s.slot(1, E.self), s.grad(E.self))
    let (lr, alpha) = (s.scalar(0, E.Wide.self), s.scalar(1, E.Wide.self))
    let (decay, beta) = (s.scalar(2, E.Wide.self), s.scalar(3, E.Wide.self))
    let one: E.Wide = 1
    for i in 0..<s.count {
      let grad = g[i].wide
      let m = ms[i].wide * beta + grad * (one - beta)
      ms[i] = E(wide: m)
      let sign = signOf(grad) * signOf(m)
      x[i] = E(wide: x[i].wide - lr * (alpha + decay * sign) * grad)
    }
  }
}

/// var, m; lr, logbase, sign_decay, beta.
package enum PowerSignRule: OptimizerRule {
  package static func loop<E: RealElement>(_: E.Type, _ s: OptimizerSpan) {
    let (x, ms, g) = (s.slot(0, E.self), s.slot(1, E.self), s.grad(E.self))
    let (lr, logBase) = (s.scalar(0, E.Wide.self), s.scalar(1, E.Wide.self))
    let (decay, beta) = (s.scalar(2, E.Wide.self), s.scalar(3, E.Wide.self))
    let one: E.Wide = 1
    for i in 0..<s.count {
      let grad = g[i].wide
      let m = ms[i].wide * beta + grad * (one - beta)
      ms[i] = E(wide: m)
      let scale = E.Wide.exponential(logBase * decay * (signOf(grad) * signOf(m)))
      x[i] = E(wide: x[i].wide - lr * scale * grad)
    }
  }
}

/// var; alpha, l1, l2.
package enum ProximalGradientDescentRule: OptimizerRule {
  package static func loop<E: RealElement>(_: E.Type, _ s: OptimizerSpan) {
    let (x, g) = (s.slot(0, E.self), s.grad(E.self))
    let (lr, l1) = (s.scalar(0, E.Wide.self), s.scalar(1, E.Wide.self))
    let l2 = s.scalar(2, E.Wide.self)
    let (zero, one): (E.Wide, E.Wide) = (0, 1)
    for i in 0..<s.count {
      let moved = x[i].wide - g[i].wide * lr
      if l1 > 0 {
        x[i] = E(
          wide: signOf(moved) * max(abs(moved) - lr * l1, zero) / (one + lr * l2))
      } else {
        x[i] = E(wide: moved / (one + lr * l2))
      }
    }
  }
}

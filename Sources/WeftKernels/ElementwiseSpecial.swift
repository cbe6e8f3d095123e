// Special functions in double precision: gamma, zeta and beta families, inverse error function.
//
// Sources: Lentz's continued fractions and power series as in Numerical Recipes and DLMF chapters 5,
// 8 and 25; the inverse normal starts from Winitzki's formula and is polished by Newton's method.

#if canImport(Glibc)
  internal import Glibc
#elseif canImport(Darwin)
  internal import Darwin
#endif

/// Scalar special functions.
public enum SpecialFunction {
  private static let epsilon = 3e-16
  private static let tiny = 1e-300
  private static let sqrtPi = 1.772453850905516

  /// The natural logarithm.
  public static func log(_ x: Double) -> Double { LibM.log(x) }

  /// log |gamma(x)|; infinite at zero and the negative integers.
  public static func logGamma(_ x: Double) -> Double {
    var sign: Int32 = 0
    return lgamma_r(x, &sign)
  }

  /// The derivative of `logGamma`; NaN at zero and the negative integers.
  public static func digamma(_ x: Double) -> Double {
    if x.isNaN || x == -.infinity { return .nan }
    if x == .infinity { return x }
    var x = x
    var result = 0.0
    if x <= 0 {
      if x == x.rounded(.down) { return .nan }
      // Reflection: psi(1 - x) - psi(x) = pi / tan(pi x).
      let fraction = x - x.rounded(.down)
      result = -Double.pi / tan(Double.pi * fraction)
      x = 1 - x
    }
    while x < 10 {
      result -= 1 / x
      x += 1
    }
    let z = 1 / (x * x)
    let tail =
      z
      * (1 / 12.0 - z
        * (1 / 120.0 - z
          * (1 / 252.0 - z
            * (1 / 240.0 - z
              * (1 / 132.0
                - z * (691 / 32760.0 - z / 12))))))
    return result + log(x) - 0.5 / x - tail
  }

  /// The Hurwitz zeta function, sum over k of (q + k)^-s, for s > 1.
  public static func zeta(_ s: Double, _ q: Double) -> Double {
    if s == 1 { return .infinity }
    if s.isNaN || q.isNaN || s < 1 { return .nan }
    if q <= 0 {
      if q == q.rounded(.down) {
        return s == s.rounded(.down) && s.truncatingRemainder(dividingBy: 2) == 0 ? .infinity : .nan
      }
      if s != s.rounded(.down) { return .nan }
    }
    // Euler-Maclaurin after the first terms.
    var sum = pow(q, -s)
    var a = q
    var i = 0
    var power = 0.0
    while i < 9 || a <= 9 {
      i += 1
      a += 1
      power = pow(a, -s)
      sum += power
      if Swift.abs(power / sum) < epsilon { return sum }
    }
    let w = a
    sum += power * w / (s - 1)
    sum -= 0.5 * power
    var factor = 1.0
    var k = 0.0
    // B(2j) / (2j)!, as divisors.
    let divisors = [
      12.0, -720, 30240, -1_209_600, 47_900_160, -1.8924375803183791606e9, 7.47242496e10,
      -2.950130727918164224e12, 1.1646782814350067249e14, -4.5979787224074726105e15,
      1.8152105401943546773e17, -7.1661652561756670113e18,
    ]
    for divisor in divisors {
      factor *= s + k
      power /= w
      let term = factor * power / divisor
      sum += term
      if Swift.abs(term / sum) < epsilon { break }
      k += 1
      factor *= s + k
      power /= w
      k += 1
    }
    return sum
  }

  /// The n-th derivative of `digamma`, n a non-negative integer.
  public static func polygamma(_ n: Double, _ x: Double) -> Double {
    if n == 0 { return digamma(x) }
    if n < 0 || n != n.rounded(.down) { return .nan }
    let sign = n.truncatingRemainder(dividingBy: 2) == 0 ? -1.0 : 1.0
    return sign * exp(logGamma(n + 1)) * zeta(n + 1, x)
  }

  /// The regularized lower incomplete gamma function P(a, x).
  public static func igamma(_ a: Double, _ x: Double) -> Double {
    if a.isNaN || x.isNaN || x < 0 || a <= 0 { return a == 0 && x > 0 ? 1 : .nan }
    if x == 0 { return 0 }
    if a == .infinity { return x == .infinity ? .nan : 0 }
    if x == .infinity { return 1 }
    return x > 1 && x > a ? 1 - upperFraction(a, x) : lowerSeries(a, x)
  }

  /// The regularized upper incomplete gamma function Q(a, x) = 1 - P(a, x).
  public static func igammac(_ a: Double, _ x: Double) -> Double {
    if a.isNaN || x.isNaN || x < 0 || a <= 0 { return a == 0 && x > 0 ? 0 : .nan }
    if x == 0 { return 1 }
    if a == .infinity { return x == .infinity ? .nan : 1 }
    if x == .infinity { return 0 }
    return x < 1 || x < a ? 1 - lowerSeries(a, x) : upperFraction(a, x)
  }

  private static func gammaWeight(_ a: Double, _ x: Double) -> Double {
    exp(a * log(x) - x - logGamma(a))
  }

  private static func lowerSeries(_ a: Double, _ x: Double) -> Double {
    var term = 1 / a
    var sum = term
    var n = a
    for _ in 0..<10_000 {
      n += 1
      term *= x / n
      sum += term
      if term <= sum * epsilon { break }
    }
    return sum * gammaWeight(a, x)
  }

  private static func upperFraction(_ a: Double, _ x: Double) -> Double {
    var b = x + 1 - a
    var c = 1 / tiny
    var d = 1 / b
    var h = d
    for i in 1..<10_000 {
      let an = -Double(i) * (Double(i) - a)
      b += 2
      d = an * d + b
      if Swift.abs(d) < tiny { d = tiny }
      c = b + an / c
      if Swift.abs(c) < tiny { c = tiny }
      d = 1 / d
      let delta = d * c
      h *= delta
      if Swift.abs(delta - 1) < epsilon { break }
    }
    return h * gammaWeight(a, x)
  }

  /// The derivative of P(a, x) with respect to a.
  public static func igammaGradA(_ a: Double, _ x: Double) -> Double {
    if a.isNaN || x.isNaN || x < 0 || a <= 0 { return .nan }
    if x == 0 || x == .infinity { return 0 }
    // d/da of the series x^a e^-x sum x^n / gamma(a + n + 1), term by term.
    var term = 1.0
    var sum = 0.0
    let logX = log(x)
    var psi = digamma(a + 1)
    let scale = exp(a * logX - x - logGamma(a + 1))
    for n in 0..<20_000 {
      let add = term * (logX - psi)
      sum += add
      let next = a + Double(n) + 1
      if Double(n) > x && Swift.abs(add) <= Swift.abs(sum) * epsilon { break }
      term *= x / next
      psi += 1 / next
    }
    return sum * scale
  }

  /// The regularized incomplete beta function I_x(a, b).
  public static func betainc(_ a: Double, _ b: Double, _ x: Double) -> Double {
    if a.isNaN || b.isNaN || x.isNaN || a <= 0 || b <= 0 || x < 0 || x > 1 { return .nan }
    if x == 0 || x == 1 { return x }
    let weight = exp(
      logGamma(a + b) - logGamma(a) - logGamma(b) + a * log(x) + b * log1p(-x))
    return x < (a + 1) / (a + b + 2)
      ? weight * betaFraction(a, b, x) / a : 1 - weight * betaFraction(b, a, 1 - x) / b
  }

  private static func betaFraction(_ a: Double, _ b: Double, _ x: Double) -> Double {
    var c = 1.0
    var d = 1 - (a + b) * x / (a + 1)
    if Swift.abs(d) < tiny { d = tiny }
    d = 1 / d
    var h = d
    for m in 1..<10_000 {
      let m = Double(m)
      for term in [
        m * (b - m) * x / ((a - 1 + 2 * m) * (a + 2 * m)),
        -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 1 + 2 * m)),
      ] {
        d = 1 + term * d
        if Swift.abs(d) < tiny { d = tiny }
        c = 1 + term / c
        if Swift.abs(c) < tiny { c = tiny }
        d = 1 / d
        h *= d * c
      }
      if Swift.abs(d * c - 1) < epsilon { break }
    }
    return h
  }

  /// The inverse of the error function on [-1, 1].
  public static func erfInverse(_ x: Double) -> Double {
    if x.isNaN || x < -1 || x > 1 { return .nan }
    if Swift.abs(x) == 1 { return x * .infinity }
    if x == 0 { return x }
    let y = Swift.abs(x)
    let l = log1p(-y * y)
    let s = 2 / (Double.pi * 0.147) + l / 2
    var z = (max(0, (s * s - l / 0.147).squareRoot() - s)).squareRoot()
    // Halley steps; near 1 the complement keeps the digits.
    for _ in 0..<4 {
      let error = y < 0.5 ? erf(z) - y : (1 - y) - erfc(z)
      let step = error / (2 / sqrtPi * exp(-z * z))
      let next = z - step / (1 + z * step)
      if !next.isFinite { break }
      z = next
    }
    return x < 0 ? -z : z
  }

  /// The inverse of the standard normal distribution function on [0, 1].
  public static func normalQuantile(_ p: Double) -> Double {
    if p.isNaN || p < 0 || p > 1 { return .nan }
    if p == 0 { return -.infinity }
    if p == 1 { return .infinity }
    // Tails: solve log of the smaller tail, where 2p - 1 has lost its digits.
    if p > 0.02 && p < 0.98 { return erfInverse(2 * p - 1) * 2.0.squareRoot() }
    let tail = min(p, 1 - p)
    var z = (-2 * log(tail)).squareRoot()
    z -=
      (2.515517 + 0.802853 * z + 0.010328 * z * z)
      / (1 + 1.432788 * z + 0.189269 * z * z + 0.001308 * z * z * z)
    for _ in 0..<4 {
      let q = 0.5 * erfc(z / 2.0.squareRoot())
      let density = exp(-z * z / 2) / (2 * Double.pi).squareRoot()
      if density == 0 || q == 0 { break }
      // Newton on the logarithm of the tail.
      z += log(q / tail) * q / density
    }
    return p < 0.5 ? -z : z
  }
}

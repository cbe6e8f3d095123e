// Pointwise parts of TensorFlow's fused recurrent cells.

/// Loops of the fused cells, float32, over rows of `units`.
package enum BlockCellKernels {
  @inline(__always)
  private static func sigmoid(_ x: Float) -> Float {
    let e = Float.exponential(-abs(x))
    return x >= 0 ? 1 / (1 + e) : e / (1 + e)
  }
  // tanh by e^-2|x|, with expm1 for small arguments.
  @inline(__always)
  private static func tanh(_ x: Float) -> Float {
    let e = Float.expm1(-2 * abs(x))
    let y = -e / (2 + e)
    return x < 0 ? -y : y
  }

  /// The memory of one LSTM step; rows of `units`, `gates` rows of 4 * units in the order i, ci,
  /// f, o without bias.
  package struct LSTMStep {
    package var rows = 0
    package var units = 0
    package var forgetBias: Float = 1
    /// Not positive: no clipping.
    package var clip: Float = 0
    package var gates: UnsafePointer<Float>
    package var bias: UnsafePointer<Float>
    package var previous: UnsafePointer<Float>
    /// Peephole weights of i, f and o; nil without peepholes.
    package var peepholes:
      (i: UnsafePointer<Float>, f: UnsafePointer<Float>, o: UnsafePointer<Float>)?
    /// Outputs i, cs, f, o, ci, co, h.
    package var outputs: UnsafePointer<UnsafeMutablePointer<Float>>

    /// A step over this memory.
    package init(
      gates: UnsafePointer<Float>, bias: UnsafePointer<Float>, previous: UnsafePointer<Float>,
      outputs: UnsafePointer<UnsafeMutablePointer<Float>>
    ) {
      self.gates = gates
      self.bias = bias
      self.previous = previous
      self.outputs = outputs
    }
  }

  /// i, f, o = sigmoid, ci = tanh, cs = ci * i + cs_prev * f, h = tanh(cs) * o.
  package static func lstm(_ s: LSTMStep) {
    let n = s.units
    for row in 0..<s.rows {
      for u in 0..<n {
        let at = row * n + u
        let gates = s.gates + row * 4 * n
        let old = s.previous[at]
        var preI = gates[u] + s.bias[u]
        let preC = gates[n + u] + s.bias[n + u]
        var preF = gates[2 * n + u] + s.bias[2 * n + u] + s.forgetBias
        var preO = gates[3 * n + u] + s.bias[3 * n + u]
        if let p = s.peepholes {
          preI += old * p.i[u]
          preF += old * p.f[u]
        }
        let i = sigmoid(preI)
        let f = sigmoid(preF)
        let ci = tanh(preC)
        var cs = ci * i + old * f
        if s.clip > 0 { cs = min(max(cs, -s.clip), s.clip) }
        if let p = s.peepholes { preO += cs * p.o[u] }
        let o = sigmoid(preO)
        let co = tanh(cs)
        s.outputs[0][at] = i
        s.outputs[1][at] = cs
        s.outputs[2][at] = f
        s.outputs[3][at] = o
        s.outputs[4][at] = ci
        s.outputs[5][at] = co
        s.outputs[6][at] = co * o
      }
    }
  }

  /// r, u = sigmoid(gates + bias), gates in rows of 2 * units; reset = h_prev * r.
  package static func gruGates(
    rows: Int, units n: Int, gates: UnsafePointer<Float>, bias: UnsafePointer<Float>,
    previous: UnsafePointer<Float>, r: UnsafeMutablePointer<Float>,
    u: UnsafeMutablePointer<Float>, reset: UnsafeMutablePointer<Float>
  ) {
    for row in 0..<rows {
      for k in 0..<n {
        let at = row * n + k
        r[at] = sigmoid(gates[row * 2 * n + k] + bias[k])
        u[at] = sigmoid(gates[row * 2 * n + n + k] + bias[n + k])
        reset[at] = previous[at] * r[at]
      }
    }
  }

  /// c = tanh(c + bias) in place; h = (1 - u) * c + u * h_prev.
  package static func gruOutput(
    rows: Int, units n: Int, bias: UnsafePointer<Float>, previous: UnsafePointer<Float>,
    u: UnsafePointer<Float>, c: UnsafeMutablePointer<Float>, h: UnsafeMutablePointer<Float>
  ) {
    for row in 0..<rows {
      for k in 0..<n {
        let at = row * n + k
        c[at] = tanh(c[at] + bias[k])
        h[at] = (1 - u[at]) * c[at] + u[at] * previous[at]
      }
    }
  }
}

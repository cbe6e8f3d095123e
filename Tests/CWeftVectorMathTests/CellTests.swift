// Recurrent cells: forward against the formulas, backward against finite differences.
import CWeftVectorMath
import Testing

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// The state of one LSTM step in double, and its loss: the sum of weights times h and c.
struct LSTMStep {
  var pre: [Double]
  var bias: [Double]
  var cPrev: [Double]
  let rows: Int
  let hidden: Int
  var act: [Double] = []
  var c: [Double] = []
  var tanhC: [Double] = []
  var h: [Double] = []

  mutating func run() {
    act = pre
    c = cPrev
    tanhC = cPrev
    h = cPrev
    weft_lstm_f64(
      pre, 4 * hidden, bias, cPrev, 1, &act, 4 * hidden, &c, &tanhC, &h, hidden, rows, hidden)
  }

  func loss(_ onH: [Double], _ onC: [Double]) -> Double {
    var copy = self
    copy.run()
    return zip(copy.h, onH).reduce(0) { $0 + $1.0 * $1.1 }
      + zip(copy.c, onC).reduce(0) { $0 + $1.0 * $1.1 }
  }
}

/// A whole GRU step in double where the candidate's product is a plain vector: both halves.
struct GRUStep {
  var gates: [Double]
  var candidate: [Double]
  var hPrev: [Double]
  let rows: Int
  let hidden: Int
  var act: [Double] = []
  var rh: [Double] = []
  var c: [Double] = []
  var h: [Double] = []

  mutating func run() {
    act = gates
    (rh, c, h) = (hPrev, candidate, hPrev)
    weft_gru_gates_f64(
      gates, 2 * hidden, nil, hPrev, hidden, &act, 2 * hidden, &rh, hidden, rows, hidden)
    weft_gru_output_f64(
      candidate, hidden, nil, act, 2 * hidden, hPrev, hidden, &c, hidden, &h, hidden, rows, hidden)
  }

  func loss(_ onH: [Double], _ onRH: [Double]) -> Double {
    var copy = self
    copy.run()
    return zip(copy.h, onH).reduce(0) { $0 + $1.0 * $1.1 }
      + zip(copy.rh, onRH).reduce(0) { $0 + $1.0 * $1.1 }
  }
}

@Suite struct CellTests {
  let rows = 3

  @Test func lstmForward() {
    var noise = Noise()
    for hidden in 1...67 {
      let n = rows * hidden
      let pre = noise.floats(4 * n), bias = noise.floats(4 * hidden), cPrev = noise.floats(n)
      var step = LSTMStep(
        pre: pre.map(Double.init), bias: bias.map(Double.init), cPrev: cPrev.map(Double.init),
        rows: rows, hidden: hidden)
      step.run()
      for r in 0..<rows {
        for k in 0..<hidden {
          let p = (0..<4).map { step.pre[(4 * r + $0) * hidden + k] + step.bias[$0 * hidden + k] }
          let c = step.cPrev[r * hidden + k] * sigmoid(p[2] + 1) + sigmoid(p[0]) * tanh(p[1])
          #expect(abs(step.c[r * hidden + k] - c) < 1e-14)
          #expect(abs(step.h[r * hidden + k] - tanh(c) * sigmoid(p[3])) < 1e-14)
        }
      }
      // Floats, everything in place that may be, and with leading dimensions.
      var act = pre, c = cPrev, tanhC = cPrev, h = [Float](repeating: 7, count: rows * (hidden + 2))
      act.withUnsafeMutableBufferPointer { act in
        c.withUnsafeMutableBufferPointer { c in
          weft_lstm_f32(
            act.baseAddress, 4 * hidden, bias, c.baseAddress, 1, act.baseAddress, 4 * hidden,
            c.baseAddress, &tanhC, &h, hidden + 2, rows, hidden)
        }
      }
      #expect(distance(act, step.act) < 1e-6 && distance(c, step.c) < 2e-6, "\(hidden)")
      #expect(distance(tanhC, step.tanhC) < 1e-6)
      for r in 0..<rows {
        let at = r * (hidden + 2)
        let row = Array(step.h[r * hidden..<(r + 1) * hidden])
        #expect(distance(Array(h[at..<at + hidden]), row) < 1e-6)
        #expect(h[at + hidden] == 7 && h[at + hidden + 1] == 7)
      }
    }
  }

  @Test func lstmBackward() {
    var noise = Noise()
    for hidden in [1, 5, 16, 33] {
      let n = rows * hidden
      var step = LSTMStep(
        pre: noise.doubles(4 * n), bias: noise.doubles(4 * hidden), cPrev: noise.doubles(n),
        rows: rows, hidden: hidden)
      step.run()
      let onH = noise.doubles(n), onC = noise.doubles(n)
      var dpre = step.act, dcPrev = onC
      // dpre over act, dc_prev over dc.
      dpre.withUnsafeMutableBufferPointer { dpre in
        dcPrev.withUnsafeMutableBufferPointer { dc in
          weft_lstm_grad_f64(
            dpre.baseAddress, 4 * hidden, step.tanhC, step.cPrev, onH, hidden, dc.baseAddress,
            dpre.baseAddress, 4 * hidden, dc.baseAddress, rows, hidden)
        }
      }
      for i in 0..<4 * n {
        #expect(abs(slope(step, \.pre, i) { $0.loss(onH, onC) } - dpre[i]) < 1e-7)
      }
      for i in 0..<n {
        #expect(abs(slope(step, \.cPrev, i) { $0.loss(onH, onC) } - dcPrev[i]) < 1e-7)
      }
      // Without dc, and in float.
      var plain = step.act, plainC = onC, zeroC = onC
      let zero = [Double](repeating: 0, count: n)
      weft_lstm_grad_f64(
        step.act, 4 * hidden, step.tanhC, step.cPrev, onH, hidden, nil, &plain, 4 * hidden,
        &plainC, rows, hidden)
      weft_lstm_grad_f64(
        step.act, 4 * hidden, step.tanhC, step.cPrev, onH, hidden, zero, &dpre, 4 * hidden, &zeroC,
        rows, hidden)
      #expect(distance(plain, dpre) == 0 && distance(plainC, zeroC) == 0)
      var single = [Float](repeating: 0, count: 4 * n), singleC = [Float](repeating: 0, count: n)
      weft_lstm_grad_f32(
        step.act.map(Float.init), 4 * hidden, step.tanhC.map(Float.init),
        step.cPrev.map(Float.init), onH.map(Float.init), hidden, nil, &single, 4 * hidden,
        &singleC, rows, hidden)
      #expect(distance(single, plain) < 4e-6 && distance(singleC, plainC) < 4e-6)
    }
  }

  @Test func gru() {
    var noise = Noise()
    for hidden in [1, 5, 16, 33, 64] {
      let n = rows * hidden
      var step = GRUStep(
        gates: noise.doubles(2 * n), candidate: noise.doubles(n), hPrev: noise.doubles(n),
        rows: rows, hidden: hidden)
      step.run()
      for r in 0..<rows {
        for k in 0..<hidden {
          let reset = sigmoid(step.gates[2 * r * hidden + k])
          let update = sigmoid(step.gates[(2 * r + 1) * hidden + k])
          let at = r * hidden + k, old = step.hPrev[at]
          let h = update * old + (1 - update) * tanh(step.candidate[at])
          #expect(abs(step.rh[at] - reset * old) < 1e-14 && abs(step.h[at] - h) < 1e-14)
        }
      }
      let onH = noise.doubles(n), onRH = noise.doubles(n)
      var dgates = step.gates, dcandidate = step.c, dhPrev = onH
      weft_gru_output_grad_f64(
        step.act, 2 * hidden, step.hPrev, hidden, step.c, hidden, onH, hidden, &dcandidate, hidden,
        &dgates, 2 * hidden, &dhPrev, hidden, rows, hidden)
      weft_gru_gates_grad_f64(
        step.act, 2 * hidden, step.hPrev, hidden, onRH, hidden, &dgates, 2 * hidden, &dhPrev,
        hidden, rows, hidden)
      for i in 0..<2 * n {
        #expect(abs(slope(step, \.gates, i) { $0.loss(onH, onRH) } - dgates[i]) < 1e-7)
      }
      for i in 0..<n {
        #expect(abs(slope(step, \.candidate, i) { $0.loss(onH, onRH) } - dcandidate[i]) < 1e-7)
        #expect(abs(slope(step, \.hPrev, i) { $0.loss(onH, onRH) } - dhPrev[i]) < 1e-7)
      }
      singleGRU(step, onH, onRH, dgates, dcandidate, dhPrev)
    }
  }

  /// The float versions against the double ones, with biases of zero.
  func singleGRU(
    _ step: GRUStep, _ onH: [Double], _ onRH: [Double], _ dgates: [Double],
    _ dcandidate: [Double], _ dhPrev: [Double]
  ) {
    let hidden = step.hidden, n = rows * hidden
    let zero = [Float](repeating: 0, count: 2 * hidden), old = step.hPrev.map(Float.init)
    var act = step.gates.map(Float.init), rh = old, c = step.candidate.map(Float.init), h = old
    act.withUnsafeMutableBufferPointer {
      weft_gru_gates_f32(
        $0.baseAddress, 2 * hidden, zero, old, hidden, $0.baseAddress, 2 * hidden, &rh, hidden,
        rows, hidden)
    }
    h.withUnsafeMutableBufferPointer { h in
      c.withUnsafeMutableBufferPointer { c in
        weft_gru_output_f32(
          c.baseAddress, hidden, zero, act, 2 * hidden, h.baseAddress, hidden, c.baseAddress,
          hidden, h.baseAddress, hidden, rows, hidden)
      }
    }
    #expect(distance(act, step.act) < 1e-6 && distance(rh, step.rh) < 1e-6)
    #expect(distance(c, step.c) < 1e-6 && distance(h, step.h) < 1e-6)
    var gates = [Float](repeating: 0, count: 2 * n), candidate = c, dh = onH.map(Float.init)
    dh.withUnsafeMutableBufferPointer {
      weft_gru_output_grad_f32(
        act, 2 * hidden, old, hidden, c, hidden, $0.baseAddress, hidden, &candidate, hidden,
        &gates, 2 * hidden, $0.baseAddress, hidden, rows, hidden)
    }
    weft_gru_gates_grad_f32(
      act, 2 * hidden, old, hidden, onRH.map(Float.init), hidden, &gates, 2 * hidden, &dh, hidden,
      rows, hidden)
    #expect(distance(gates, dgates) < 3e-6 && distance(candidate, dcandidate) < 3e-6)
    #expect(distance(dh, dhPrev) < 3e-6)
  }

  func slope<S>(
    _ state: S, _ path: WritableKeyPath<S, [Double]>, _ index: Int, _ loss: (S) -> Double
  ) -> Double {
    var up = state, down = state
    up[keyPath: path][index] += 1e-6
    down[keyPath: path][index] -= 1e-6
    return (loss(up) - loss(down)) / 2e-6
  }
}

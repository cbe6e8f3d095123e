// Cells and unrolling against plain loops over doubles.

import Testing
import WeftGraph
import WeftNN
import WeftOps
import WeftRuntime
import WeftTensors

/// A matrix of doubles, row by row.
struct Matrix {
  var rows: Int, columns: Int
  var values: [Double]

  init(_ values: [Double], _ rows: Int, _ columns: Int) {
    (self.values, self.rows, self.columns) = (values, rows, columns)
  }

  init(_ tensor: Tensor?) {
    let shape = tensor?.shape ?? []
    self.init(
      tensor?.doubles ?? [], shape.count == 2 ? shape[0] : 1, shape.last ?? 1)
  }

  subscript(_ r: Int, _ c: Int) -> Double { values[r * columns + c] }

  /// `x W (+ b)` for one row.
  func applied(to x: [Double], bias: [Double] = []) -> [Double] {
    (0..<columns).map { c in
      (bias.isEmpty ? 0 : bias[c]) + (0..<rows).reduce(0) { $0 + x[$1] * self[$1, c] }
    }
  }

  var transposed: Matrix {
    Matrix(
      (0..<columns).flatMap { c in (0..<rows).map { self[$0, c] } }, columns, rows)
  }
}

/// Deterministic numbers in -1 ..< 1.
func someNumbers(_ count: Int, seed: UInt64) -> [Double] {
  var state = seed &* 0x9e37_79b9_7f4a_7c15 &+ 1
  return (0..<count).map { _ in
    state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
    return Double(state >> 11) / Double(1 << 52) - 1
  }
}

struct CellTests {
  private static let steps = 4
  private static let batch = 3
  private static let width = 2
  private static let units = 5

  private func sigmoid(_ x: Double) -> Double { 1 / (1 + exponential(-x)) }

  /// Unrolls `make`'s cell with lengths 1...T and compares outputs and states with `step`, which
  /// takes the values of variables, one input row and one state row.
  private func check(
    _ make: (VariableScope) throws -> any RecurrentCell,
    _ step: (_ values: (String) -> Matrix, _ x: [Double], _ state: [[Double]]) -> (
      [Double], [[Double]]
    )
  ) throws {
    let (t, n, e) = (Self.steps, Self.batch, Self.width)
    let graph = Graph()
    let scope = VariableScope(graph, dtype: .float64, seed: 5)
    let cell = try make(scope)
    let input = try graph.placeholder(.float64, shape: [Dim(t), "B", Dim(e)], name: "x")
    let lengths = try graph.placeholder(.int32, shape: ["B"], name: "lengths")
    let states = try cell.stateSizes.map {
      try graph.placeholder(.float64, shape: ["B", Dim($0)])
    }
    let result = try unroll(
      cell, over: input, initialState: RecurrentState(states), lengths: lengths)
    for output in result.outputs { #expect(output.shape == ["B", Dim(cell.outputSize)]) }
    let session = Session(graph)
    try session.run([], targets: scope.variables.map(\.initializer))
    // Biases begin at zero, which would hide them.
    for (index, variable) in scope.variables.enumerated() {
      let shape = variable.shape.known ?? []
      let count = shape.reduce(1, *)
      try session.variables.cell(variable.name, dtype: .float64).assign(
        try Tensor(someNumbers(count, seed: UInt64(index)), shape: shape))
    }
    let x = someNumbers(t * n * e, seed: 77)
    let given = [1, 4, 2]
    var feeds: [Output: Tensor] = [
      input: try Tensor(x, shape: [t, n, e]), lengths: try Tensor(given.map { Int32($0) }),
    ]
    var start: [[Double]] = []
    for (index, state) in states.enumerated() {
      let size = cell.stateSizes[index]
      start.append(someNumbers(n * size, seed: 99 + UInt64(index)))
      feeds[state] = try Tensor(start[index], shape: [n, size])
    }
    let values = try session.run(result.outputs + result.state.parts, feeds: feeds)

    func value(_ name: String) -> Matrix { Matrix(session.variables.existing(name)?.value) }
    for row in 0..<n {
      var state = cell.stateSizes.indices.map { index in
        let size = cell.stateSizes[index]
        return Array(start[index][row * size..<(row + 1) * size])
      }
      for time in 0..<t {
        let size = cell.outputSize
        let got = Array((values[time].doubles ?? [])[row * size..<(row + 1) * size])
        var expected = [Double](repeating: 0, count: size)
        if time < given[row] {
          let from = (time * n + row) * e
          (expected, state) = step(value, Array(x[from..<from + e]), state)
        }
        #expect(relativeError(got, expected) < 1e-12, "output \(time) of row \(row)")
      }
      for (index, size) in cell.stateSizes.enumerated() {
        let got = Array((values[t + index].doubles ?? [])[row * size..<(row + 1) * size])
        #expect(relativeError(got, state[index]) < 1e-12, "state \(index) of row \(row)")
      }
    }
  }

  private func lstm(_ g: [Double], _ c: [Double], order: [Int], forgetBias: Double) -> (
    [Double], [[Double]]
  ) {
    let h = Self.units
    func gate(_ index: Int, _ k: Int) -> Double { g[order[index] * h + k] }
    let newC = (0..<h).map { k in
      sigmoid(gate(1, k) + forgetBias) * c[k] + sigmoid(gate(0, k)) * hyperbolicTangent(gate(2, k))
    }
    let newH = (0..<h).map { k in sigmoid(gate(3, k)) * hyperbolicTangent(newC[k]) }
    return (newH, [newC, newH])
  }

  @Test func basicRNN() throws {
    try check(
      { try BasicRNNCell($0.scope("rnn"), inputSize: Self.width, units: Self.units) },
      { value, x, state in
        let h = value("rnn/basic_rnn_cell/kernel").applied(
          to: x + state[0], bias: value("rnn/basic_rnn_cell/bias").values
        ).map { hyperbolicTangent($0) }
        return (h, [h])
      })
  }

  @Test func basicLSTM() throws {
    try check(
      { try BasicLSTMCell($0.scope("rnn"), inputSize: Self.width, units: Self.units) },
      { value, x, state in
        let g = value("rnn/basic_lstm_cell/kernel").applied(
          to: x + state[1], bias: value("rnn/basic_lstm_cell/bias").values)
        return lstm(g, state[0], order: [0, 2, 1, 3], forgetBias: 1)
      })
  }

  @Test func gru() throws {
    try check(
      { try GRUCell($0.scope("rnn"), inputSize: Self.width, units: Self.units) },
      { value, x, state in
        let h = state[0]
        let g = value("rnn/gru_cell/gates/kernel").applied(
          to: x + h, bias: value("rnn/gru_cell/gates/bias").values
        ).map { sigmoid($0) }
        let (r, u) = (g.prefix(Self.units), Array(g.suffix(Self.units)))
        let c = value("rnn/gru_cell/candidate/kernel").applied(
          to: x + zip(r, h).map { $0 * $1 }, bias: value("rnn/gru_cell/candidate/bias").values
        ).map { hyperbolicTangent($0) }
        let new = h.indices.map { u[$0] * h[$0] + (1 - u[$0]) * c[$0] }
        return (new, [new])
      })
  }

  @Test func kerasAndPyTorchLSTM() throws {
    try check(
      { try SplitCell.keras(.lstm, $0.scope("rnn"), inputSize: Self.width, units: Self.units) },
      { value, x, state in
        let p = value("rnn/kernel").applied(to: x, bias: value("rnn/bias").values)
        let s = value("rnn/recurrent_kernel").applied(to: state[1])
        return lstm(zip(p, s).map { $0 + $1 }, state[0], order: [0, 1, 2, 3], forgetBias: 0)
      })
    try check(
      { try SplitCell.pytorch(.lstm, $0, layer: 1, inputSize: Self.width, units: Self.units) },
      { value, x, state in
        let p = value("lstm.weight_ih_l1").transposed.applied(
          to: x, bias: value("lstm.bias_ih_l1").values)
        let s = value("lstm.weight_hh_l1").transposed.applied(
          to: state[1], bias: value("lstm.bias_hh_l1").values)
        return lstm(zip(p, s).map { $0 + $1 }, state[0], order: [0, 1, 2, 3], forgetBias: 0)
      })
  }

  private func gruStep(
    _ p: [Double], _ s: [Double], _ h: [Double], reset: Int
  ) -> ([Double], [[Double]]) {
    let u = Self.units
    let new = (0..<u).map { k in
      let r = sigmoid(p[reset * u + k] + s[reset * u + k])
      let z = sigmoid(p[(1 - reset) * u + k] + s[(1 - reset) * u + k])
      return z * h[k] + (1 - z) * hyperbolicTangent(p[2 * u + k] + r * s[2 * u + k])
    }
    return (new, [new])
  }

  @Test func kerasAndPyTorchGRU() throws {
    try check(
      { try SplitCell.keras(.gru, $0.scope("rnn"), inputSize: Self.width, units: Self.units) },
      { value, x, state in
        let biases = value("rnn/bias").values
        let p = value("rnn/kernel").applied(to: x, bias: Array(biases.prefix(biases.count / 2)))
        let s = value("rnn/recurrent_kernel").applied(
          to: state[0], bias: Array(biases.suffix(biases.count / 2)))
        return gruStep(p, s, state[0], reset: 1)
      })
    try check(
      { try SplitCell.pytorch(.gru, $0, inputSize: Self.width, units: Self.units) },
      { value, x, state in
        let p = value("gru.weight_ih_l0").transposed.applied(
          to: x, bias: value("gru.bias_ih_l0").values)
        let s = value("gru.weight_hh_l0").transposed.applied(
          to: state[0], bias: value("gru.bias_hh_l0").values)
        return gruStep(p, s, state[0], reset: 0)
      })
  }

  @Test func twoLayers() throws {
    try check(
      {
        let scope = $0.scope("rnn")
        return try MultiCell([
          SplitCell.keras(.rnn, scope, inputSize: Self.width, units: Self.units),
          BasicRNNCell(scope, inputSize: Self.units, units: 3),
        ])
      },
      { value, x, state in
        let p = value("rnn/kernel").applied(to: x, bias: value("rnn/bias").values)
        let s = value("rnn/recurrent_kernel").applied(to: state[0])
        let h = zip(p, s).map { hyperbolicTangent($0 + $1) }
        let top = value("rnn/basic_rnn_cell/kernel").applied(
          to: h + state[1], bias: value("rnn/basic_rnn_cell/bias").values
        ).map { hyperbolicTangent($0) }
        return (top, [h, top])
      })
  }

  @Test func orthogonalMatricesAreOrthogonal() throws {
    for (rows, columns) in [(8, 8), (3, 12), (12, 3)] {
      let graph = Graph()
      let output = try Initializer.orthogonal()(
        graph, shape: [rows, columns], dtype: .float64, seed: OpSeed(model: 1, name: "w"))
      var matrix = Matrix(try Session(graph).run([output])[0])
      if rows > columns { matrix = matrix.transposed }
      for i in 0..<matrix.rows {
        for j in 0..<matrix.rows {
          let dot = (0..<matrix.columns).reduce(0) { $0 + matrix[i, $1] * matrix[j, $1] }
          #expect(abs(dot - (i == j ? 1 : 0)) < 1e-12)
        }
      }
    }
  }

  @Test func initializersFollowTheirSeeds() throws {
    func draw(_ initializer: Initializer, seed: Int, name: String) throws -> [Double] {
      let graph = Graph()
      let output = try initializer(
        graph, shape: [40, 25], dtype: .float32, seed: OpSeed(model: seed, name: name))
      return try Session(graph).run([output])[0].doubles ?? []
    }
    for initializer in [
      Initializer.glorotUniform(), .uniform(min: -0.3, max: 0.3), .normal(stddev: 0.1),
      .truncatedNormal(stddev: 0.1), .orthogonal(),
    ] {
      let first = try draw(initializer, seed: 3, name: "a")
      let again = try draw(initializer, seed: 3, name: "a")
      let otherSeed = try draw(initializer, seed: 4, name: "a")
      let otherName = try draw(initializer, seed: 3, name: "b")
      #expect(first == again)
      #expect(first != otherSeed)
      #expect(first != otherName)
      #expect(abs(first.reduce(0, +) / 1000) < 0.03)
    }
    let limit = (6.0 / 65).squareRoot()
    let glorot = try draw(.glorotUniform(), seed: 3, name: "a")
    #expect(glorot.allSatisfy { abs($0) <= limit })
    #expect((glorot.max() ?? 0) > 0.98 * limit)
  }
}

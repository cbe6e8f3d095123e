// Optimizers, clipping and losses against plain loops over doubles.

import Testing
import WeftGraph
import WeftNN
import WeftOps
import WeftRuntime
import WeftTensors

struct OptimizerTests {
  private static let rows = 4
  private static let columns = 2
  // Row 2 stands twice, rows 0 and 3 not at all.
  private static let touched: [Int32] = [2, 1, 2]

  /// Updates a table three times by rows of a gather and by a whole gradient, and compares each
  /// with `step`, which updates one element from its gradient. `touches` tells whether elements
  /// without a gradient are left alone.
  private func check(
    _ rule: any UpdateRule, rate: Double, leavesUntouched: Bool,
    _ step: (_ w: inout Double, _ slots: inout [Double], _ g: Double, _ t: Int) -> Void,
    slots: [Double]
  ) throws {
    let start = someNumbers(Self.rows * Self.columns, seed: 1)
    let factor = someNumbers(Self.touched.count * Self.columns, seed: 2)
    for isSparse in [true, false] {
      let graph = Graph()
      let scope = VariableScope(graph, dtype: .float64)
      let table = try scope.variable(
        "table", shape: [Self.rows, Self.columns],
        initializer: .value(try Tensor(start, shape: [Self.rows, Self.columns])))
      let ids = try graph.constant(Self.touched)
      let weights = try graph.constant(factor, shape: [Self.touched.count, Self.columns])
      // The loss is quadratic, so that gradients change with the values.
      let one = try graph.constant(1.0)
      let taken = try isSparse ? gather(table, ids) : gather(table.value * one, ids)
      let loss = try sum(try weights * (try taken * taken))
      let optimizer = Optimizer(rule, learningRate: rate)
      let done = try optimizer.minimize(loss, variables: [table])
      var isRows = false
      if case .slices = try #require(done.gradients.first).gradient { isRows = true }
      #expect(isRows == isSparse, "a gather's gradient stays rows, and nothing else is")
      let session = Session(graph)
      try session.run(
        [], targets: graph.variables.compactMap { graph.snapshot.node($0.initializer) })

      var w = start
      var states = [[Double]](repeating: slots, count: w.count)
      for t in 1...3 {
        try session.run([], targets: [done.operation])
        var gradient = [Double](repeating: 0, count: w.count)
        for (i, row) in Self.touched.enumerated() {
          for c in 0..<Self.columns {
            let at = Int(row) * Self.columns + c
            gradient[at] += 2 * factor[i * Self.columns + c] * w[at]
          }
        }
        for at in w.indices {
          let isTouched = Self.touched.contains(Int32(at / Self.columns))
          if isSparse && leavesUntouched && !isTouched { continue }
          step(&w[at], &states[at], gradient[at], t)
        }
        let got = session.variables.existing("table")?.value?.doubles ?? []
        let error = relativeError(got, w)
        #expect(error < 1e-12, "\(rule) step \(t), sparse \(isSparse): \(error)")
      }
    }
  }

  @Test func gradientDescent() throws {
    try check(
      GradientDescent(), rate: 0.1, leavesUntouched: false, { w, _, g, _ in w -= 0.1 * g },
      slots: [])
  }

  @Test func momentum() throws {
    try check(
      Momentum(0.9), rate: 0.1, leavesUntouched: true,
      { w, s, g, _ in
        s[0] = 0.9 * s[0] + g
        w -= 0.1 * s[0]
      }, slots: [0])
    try check(
      Momentum(0.9, nesterov: true), rate: 0.1, leavesUntouched: true,
      { w, s, g, _ in
        s[0] = 0.9 * s[0] + g
        w -= 0.1 * (g + 0.9 * s[0])
      }, slots: [0])
  }

  @Test func adam() throws {
    try check(
      Adam(), rate: 0.05, leavesUntouched: false,
      { w, s, g, t in
        s[0] = 0.9 * s[0] + (1 - 0.9) * g
        s[1] = 0.999 * s[1] + (1 - 0.999) * g * g
        var (power1, power2) = (1.0, 1.0)
        for _ in 0..<t { (power1, power2) = (power1 * 0.9, power2 * 0.999) }
        let rate = 0.05 * (1 - power2).squareRoot() / (1 - power1)
        w -= rate * s[0] / (s[1].squareRoot() + 1e-8)
      }, slots: [0, 0])
  }

  @Test func rmsProp() throws {
    try check(
      RMSProp(decay: 0.9, momentum: 0.5, epsilon: 1e-3), rate: 0.05, leavesUntouched: true,
      { w, s, g, _ in
        s[0] = 0.9 * s[0] + (1 - 0.9) * g * g
        s[1] = 0.5 * s[1] + 0.05 * g / (s[0] + 1e-3).squareRoot()
        w -= s[1]
      }, slots: [1, 0])
    try check(
      RMSPropPyTorch(alpha: 0.99, epsilon: 1e-3), rate: 0.05, leavesUntouched: false,
      { w, s, g, _ in
        s[0] = 0.99 * s[0] + (1 - 0.99) * g * g
        w -= 0.05 * g / (s[0].squareRoot() + 1e-3)
      }, slots: [0])
  }

  @Test func globalNormCountsRowsOneByOne() throws {
    let graph = Graph()
    let whole = try graph.constant([3.0, 4.0])
    let values = try graph.constant([1.0, 2.0, 2.0, 4.0], shape: [2, 2])
    let rows = IndexedSlices(
      values: values, indices: try graph.constant([Int32(1), 1]), denseShape: nil)
    let clipped = try clipByGlobalNorm([.dense(whole), .slices(rows)], to: 1)
    let torch = try clipByGlobalNormPyTorch([.dense(whole), .slices(rows)], to: 1)
    let results = try Session(graph).run([
      clipped.norm, clipped.gradients[0].values, clipped.gradients[1].values, torch.norm,
      torch.gradients[0].values,
    ]).map { $0.doubles ?? [] }
    let norm = 50.0.squareRoot()
    #expect(abs(results[0][0] - norm) < 1e-12)
    #expect(relativeError(results[1], [3 / norm, 4 / norm]) < 1e-12)
    #expect(relativeError(results[2], [1, 2, 2, 4].map { $0 / norm }) < 1e-12)
    // PyTorch's rows are added up: [3, 6].
    let whole2 = 70.0.squareRoot()
    #expect(abs(results[3][0] - whole2) < 1e-12)
    #expect(relativeError(results[4], [3, 4].map { $0 / (whole2 + 1e-6) }) < 1e-12)
  }

  @Test func clippingOfOneGradient() throws {
    let graph = Graph()
    let small = Gradient.dense(try graph.constant([0.3, -0.4]))
    let large = Gradient.dense(try graph.constant([3.0, -4.0]))
    let zero = Gradient.dense(try graph.constant([0.0, 0.0]))
    let outputs = try [
      clipByNorm(small, to: 1), clipByNorm(large, to: 1), clipByNorm(zero, to: 1),
      clipByValue(large, to: 3.5),
    ].map(\.values)
    let results = try Session(graph).run(outputs).map { $0.doubles ?? [] }
    #expect(relativeError(results[0], [0.3, -0.4]) < 1e-12)
    #expect(relativeError(results[1], [0.6, -0.8]) < 1e-12)
    #expect(results[2] == [0, 0])
    #expect(results[3] == [3, -3.5])
  }

  @Test func sequenceLossAverages() throws {
    let graph = Graph()
    let (b, t, v) = (2, 3, 4)
    let raw = someNumbers(b * t * v, seed: 9)
    let labels: [Int32] = [0, 3, 1, 2, 2, 0]
    let weights: [Double] = [1, 1, 0, 1, 0.5, 2]
    let logits = try graph.constant(raw, shape: [b, t, v])
    let targets = try graph.constant(labels, shape: [b, t])
    let weightTensor = try graph.constant(weights, shape: [b, t])
    let outputs = try [(true, true), (true, false), (false, true), (false, false)].map {
      try sequenceLoss(
        logits: logits, targets: targets, weights: weightTensor, averageAcrossTimesteps: $0.0,
        averageAcrossBatch: $0.1)
    }
    let results = try Session(graph).run(outputs).map { $0.doubles ?? [] }
    let losses = labels.indices.map { i -> Double in
      let row = raw[i * v..<(i + 1) * v]
      let total = row.reduce(0) { $0 + exponential($1) }
      return -naturalLog(exponential(row[i * v + Int(labels[i])]) / total) * weights[i]
    }
    func ratio(_ indices: [Int]) -> Double {
      indices.reduce(0) { $0 + losses[$1] } / indices.reduce(0) { $0 + weights[$1] }
    }
    #expect(relativeError(results[0], [ratio(Array(0..<6))]) < 1e-9)
    #expect(relativeError(results[1], [ratio([0, 1, 2]), ratio([3, 4, 5])]) < 1e-9)
    #expect(
      relativeError(results[2], [ratio([0, 3]), ratio([1, 4]), ratio([2, 5])]) < 1e-9)
    #expect(relativeError(results[3], losses) < 1e-9)
  }
}

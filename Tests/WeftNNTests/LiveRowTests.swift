// Steps of sequences that no loss depends on: left out where that is so, and nowhere else.

import Testing
import WeftCompiler
import WeftGraph
import WeftOps
import WeftRuntime
import WeftTensors

@Suite struct LiveRowTests {
  private static let (steps, batch, inputs, units, classes) = (9, 40, 3, 4, 11)

  /// What a step gives, beside h = tanh(x W + h U + b).
  private enum Cell { case plain, looksAhead, logOfSigmoid }

  /// A recurrent net with weighted losses, in either order of steps and sequences.
  private struct Net {
    let graph = Graph()
    let x, weights, labels, loss: Output
    let states: [Output]
    let rows: Output
    var gradients: [Output] = []
    let matrices: [Output]

    init(
      batchMajor: Bool = false, backwards: Bool = false, usesRows: Bool = false, cell: Cell = .plain
    ) throws {
      x = try graph.placeholder(.float64, shape: Shape([steps, batch, inputs]))
      weights = try graph.placeholder(.float64, shape: Shape([steps * batch]))
      labels = try graph.placeholder(.int32, shape: Shape([steps * batch]))
      let w = try graph.placeholder(.float64, shape: Shape([inputs, units]))
      let u = try graph.placeholder(.float64, shape: Shape([units, units]))
      let v = try graph.placeholder(.float64, shape: Shape([units, classes]))
      let b = try graph.placeholder(.float64, shape: Shape([units]))
      matrices = [w, u, v, b]
      var h = try graph.constant(try Tensor(zeros: .float64, shape: [batch, units]))
      var all: [Output] = []
      let slices = try unstack(x)
      let made = try slices.map { try tanh(matmul($0, w)) }
      for (step, slice) in (backwards ? slices.reversed() : slices).enumerated() {
        switch cell {
        case .plain: h = try tanh(matmul(slice, w) + matmul(h, u) + b)
        case .looksAhead:
          let next = step + 1 < steps ? made[step + 1] : try zerosLike(made[step])
          h = try tanh(matmul(h, u) + made[step] + next)
        case .logOfSigmoid: h = try sigmoid(matmul(slice, w) + matmul(h, u) + b)
        }
        all.append(h)
      }
      states = all
      var stacked = try stack(all, axis: batchMajor ? 1 : 0)
      if cell == .logOfSigmoid { stacked = try log(stacked) }
      rows = try stacked.reshaped(to: [steps * batch, units])
      let losses = try sparseSoftmaxCrossEntropy(labels: labels, logits: matmul(rows, v))
      var total = try sum(losses * weights)
      if usesRows { total = try total + sum(square(rows)) }
      loss = total
      for case .dense(let slope)? in try WeftOps.gradients(
        of: [loss], withRespectTo: [x, w, u, v, b])
      {
        gradients.append(slope)
      }
    }

    private func session(without: Set<String>, threads: Int) -> Session {
      var options = SessionOptions(threads: threads)
      options.compile.disabled = without
      options.compile.checksPasses = true
      return Session(graph, options: options)
    }

    func run(
      _ fetches: [Output], weights mask: [Double], without: Set<String> = [], threads: Int = 2
    ) throws -> [Tensor] {
      let values = (0..<steps * batch * inputs).map { Double($0 * 7 % 23) / 10 - 1 }
      let classes = (0..<steps * batch).map { Int32($0 * 5 % 11) }
      var feeds = [
        x: try Tensor(values, shape: [steps, batch, inputs]),
        labels: try Tensor(classes, shape: [steps * batch]),
      ]
      for matrix in matrices {
        let sizes = matrix.shape.known ?? []
        let values = (0..<sizes.reduce(1, *)).map { Double($0 * 13 % 17) / 20 - 0.4 }
        feeds[matrix] = try Tensor(values, shape: sizes)
      }
      let session = session(without: without, threads: threads)
      // The second run has the memory of one with other lengths.
      feeds[weights] = try Tensor(mask.map { 1 - $0 }, shape: [steps * batch])
      _ = try session.run(fetches, feeds: feeds)
      feeds[weights] = try Tensor(mask, shape: [steps * batch])
      return try session.run(fetches, feeds: feeds)
    }

    /// How many loops of the plan leave out steps.
    func skippingLoops(_ fetches: [Output]) throws -> (skipping: Int, all: Int) {
      let plan = try session(without: [], threads: 1).plan(
        fetches.map(\.edge),
        feeds: ([x, weights, labels] + matrices).map { ($0.edge, TensorType($0.dtype, $0.shape)) })
      let loops = plan.steps.filter { $0.kernel?.name.hasPrefix("loop") == true }
      let lengths = TensorType(.int32, Shape([batch]))
      let skipping = loops.filter { step in
        (0..<step.inputCount).contains { plan.arguments[step.argumentBase + $0].type == lengths }
      }
      return (skipping.count, loops.count)
    }
  }

  /// Weights by the length of each sequence, in either order; `hole` is one row of weight zero.
  private func weights(_ lengths: [Int], batchMajor: Bool, hole: Bool = false) -> [Double] {
    let (steps, batch) = (Self.steps, Self.batch)
    return (0..<steps * batch).map { row in
      let (b, t) = batchMajor ? (row / steps, row % steps) : (row % batch, row / batch)
      if hole && t == 1 && b % 3 == 0 { return 0 }
      return t < lengths[b] ? 0.1 + Double(b % 4) / 10 : 0
    }
  }

  /// For each pair of values the largest difference; NaN where one is no number.
  private func differences(_ a: [Tensor], _ b: [Tensor]) throws -> [Double] {
    try zip(a, b).map { a, b in
      try zip(a.array(of: Double.self), b.array(of: Double.self)).reduce(0) { worst, pair in
        let difference = abs(pair.0 - pair.1)
        return worst.isNaN || difference <= worst ? worst : difference
      }
    }
  }

  private static let lengths: [[Int]] = [
    (0..<batch).map { $0 * 7 % (steps + 1) }, (0..<batch).map { _ in steps },
    (0..<batch).map { _ in 0 }, (0..<batch).map { $0 == 17 ? 5 : 0 },
    (0..<batch).map { $0 % 2 == 0 ? steps : 1 },
  ]

  @Test(arguments: [false, true]) func valuesAreTheSame(_ batchMajor: Bool) throws {
    let net = try Net(batchMajor: batchMajor)
    let fetches = [net.loss] + net.gradients
    #expect(try net.skippingLoops(fetches) == (2, 2))
    for lengths in Self.lengths {
      for hole in [false, true] {
        let mask = weights(lengths, batchMajor: batchMajor, hole: hole)
        let plain = try net.run(fetches, weights: mask, without: ["liverows"])
        let short = try net.run(fetches, weights: mask)
        for (index, worst) in try differences(plain, short).enumerated() {
          #expect(worst <= 1e-13, "\(lengths), hole \(hole), value \(index)")
        }
        let one = try net.run(fetches, weights: mask, threads: 1)
        for (a, b) in zip(one, short) { #expect(a.isIdentical(to: b)) }
      }
    }
  }

  @Test func whatElseIsReadKeepsAllSteps() throws {
    let mask = weights(Self.lengths[0], batchMajor: false)
    func check(_ net: Net, _ more: [Output], _ expected: (Int, Int)) throws {
      let fetches = [net.loss] + net.gradients + more
      #expect(try net.skippingLoops(fetches) == expected)
      let plain = try net.run(fetches, weights: mask, without: Set(optionalPasses))
      let short = try net.run(fetches, weights: mask)
      for (index, worst) in try differences(plain, short).enumerated() {
        #expect(worst <= 1e-13, "value \(index)")
      }
    }
    let net = try Net()
    // The forward loop's values are fetched: only the backward loop knows of zeros.
    try check(net, [net.rows], (1, 2))
    try check(net, [net.states[6]], (1, 2))
    // From the last step to the first: steps beyond the end come first, and count.
    try check(try Net(backwards: true), [], (0, 2))
    // The next step's operand counts where the row's own steps have ended, too.
    let ahead = try Net(cell: .looksAhead)
    #expect(try ahead.skippingLoops([ahead.loss]).skipping == 0)
    // Zeros in place of rows that are left out would be infinite.
    for net in [ahead, try Net(cell: .logOfSigmoid)] {
      for fetches in [[net.loss], [net.loss] + net.gradients] {
        let plain = try net.run(fetches, weights: mask, without: Set(optionalPasses))
        let short = try net.run(fetches, weights: mask)
        for (index, worst) in try differences(plain, short).enumerated() {
          #expect(worst <= 1e-12, "value \(index)")
        }
      }
    }
    // Another loss takes all rows.
    try check(try Net(usesRows: true), [], (0, 2))
  }
}

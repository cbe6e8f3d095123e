// What the compiler makes of the models: loops in place of steps, no whole logits, the same results.

import Testing
import WeftCompiler
import WeftGraph
import WeftNN
import WeftOps
import WeftRuntime
import WeftTensors

@Suite struct PassTests {
  private struct Model {
    let graph: Graph
    let loss: Output
    let gradients: [Output]
    /// Gradients of the sum of the gradients' squares.
    let second: [Output]
    let squares: Output
    let variables: [String]
    let initializer: Node
    let feeds: [Output: Tensor]

    init(
      _ cell: CellKind, _ form: CharacterModelConfiguration.Form, width: Int, layers: Int = 1,
      rows: Int = 33
    ) throws {
      var configuration = CharacterModelConfiguration(
        cell: cell, form: form, vocabularySize: 11, widths: [width])
      configuration.layers = layers
      configuration.embeddingSize = 3
      configuration.hiddenSize = 4
      configuration.dtype = .float64
      configuration.seed = 7
      let model = try CharacterModel(configuration)
      let part = try #require(model.part(width: width))
      graph = model.graph
      loss = part.loss
      let slopes = try part.minimization.gradients.map { try dense($0.gradient) }
      gradients = slopes
      var state = 11.0
      let squares = try addN(
        slopes.map { slope in
          let sizes = try #require(slope.shape.known)
          let noise = (0..<sizes.reduce(1, *)).map { _ in
            state = (state * 7.31 + 0.17).truncatingRemainder(dividingBy: 2)
            return state - 1
          }
          let weights = try model.graph.constant(try Tensor(noise, shape: sizes))
          return try sum(slope * weights)
        })
      self.squares = squares
      variables = part.minimization.gradients.map(\.variable.name)
      second = try WeftOps.gradients(
        of: [squares], withRespectTo: part.minimization.gradients.map(\.variable.handle)
      ).compactMap { try $0.map { try dense($0) } }
      initializer = model.initializer
      let ids: [Int32] = (0..<rows * width).map { place in Int32((place * 5 + place / 7) % 11) }
      let next: [Int32] = ids.map { id in (id + 3) % 11 }
      let lengths: [Int32] = (0..<rows).map { row in Int32(1 + row % width) }
      feeds = [
        part.tokens: try Tensor(ids, shape: [rows, width]),
        part.targets: try Tensor(next, shape: [rows, width]),
        part.lengths: try Tensor(lengths),
      ]
    }

    func plan() throws -> Plan {
      try Session(graph).plan(
        ([loss] + gradients).map(\.edge),
        feeds: feeds.map { ($0.key.edge, $0.value.type) }.sorted { $0.0.node < $1.0.node })
    }

    func run(
      without: Set<String>, threads: Int = 2, order: Int = 1
    ) throws -> [Tensor] {
      var options = SessionOptions(threads: threads)
      options.compile.disabled = without
      options.compile.checksPasses = true
      let session = Session(graph, options: options)
      try session.run([], targets: [initializer])
      let fetches: [Output] =
        switch order {
        case 0: [loss]
        case 1: [loss] + gradients
        case 2: [loss] + gradients + second
        case 3: gradients
        case 4: second
        default: [squares]
        }
      // The second run, with other values of the variables, has the first one's memory.
      _ = try session.run(fetches, feeds: feeds)
      for name in variables {
        let cell = try #require(session.variables.existing(name))
        let old = try cell.read()
        let moved = try old.array(of: Double.self).enumerated().map { $1 + 0.01 * Double($0 % 7) }
        try cell.assign(try Tensor(moved, shape: old.shape))
      }
      return try session.run(fetches, feeds: feeds)
    }
  }

  private static let cells: [CellKind] = [.rnn, .lstm, .gru]

  @Test(arguments: cells, CharacterModelConfiguration.Form.allCases)
  func stepsBecomeLoops(_ cell: CellKind, _ form: CharacterModelConfiguration.Form) throws {
    for layers in [1, 2, 3] {
      let short = try Model(cell, form, width: 6, layers: layers).plan()
      let long = try Model(cell, form, width: 24, layers: layers).plan()
      let kernels = long.steps.compactMap { $0.kernel?.name }
      #expect(kernels.filter { $0 == "loop" }.count == layers, "\(kernels)")
      #expect(kernels.filter { $0 == "loopBackward" }.count == layers)
      // A plan does not grow with the number of steps.
      #expect(short.steps.count == long.steps.count)
      #expect(kernels.filter { $0.hasPrefix("linearCrossEntropyGrad") }.count == 1)
    }
  }

  @Test(arguments: cells, CharacterModelConfiguration.Form.allCases)
  func stepsBeyondTheEndAreLeftOut(
    _ cell: CellKind, _ form: CharacterModelConfiguration.Form
  ) throws {
    for layers in [1, 2] {
      let plan = try Model(cell, form, width: 12, layers: layers).plan()
      let loops = plan.steps.filter { $0.kernel?.name.hasPrefix("loop") == true }
      let skipping = loops.filter { step in
        plan.arguments[step.argumentBase + step.inputCount - 1].type
          == TensorType(.int32, Shape([33]))
      }
      #expect(skipping.count == 2 * layers && loops.count == skipping.count, "\(layers) layers")
    }
  }

  @Test(arguments: cells, CharacterModelConfiguration.Form.allCases)
  func sumsOverStepsCopyNothing(
    _ cell: CellKind, _ form: CharacterModelConfiguration.Form
  ) throws {
    // Gradients of matrices are products of rows as loops left them, whatever the order of terms.
    let plan = try Model(cell, form, width: 12, layers: 1, rows: 32).plan()
    // A single step may be, and parts of matrices: all 4 units of two steps are more.
    let copies = plan.steps.filter { step in
      let moved = plan.arguments[step.argumentBase..<(step.argumentBase + step.inputCount)]
        .reduce(0) { $0 + ($1.type.shape.known ?? []).reduce(1, *) }
      return ["Pack", "Unpack", "Slice"].contains(step.def.name)
        && moved >= 2 * 32 * 4
        && plan.arguments[step.argumentBase + step.inputCount].type.shape.known?.first != 1
    }
    #expect(copies.map(\.name) == [])
  }

  @Test(arguments: cells, CharacterModelConfiguration.Form.allCases)
  func eachPassAloneCanBeLeftOut(
    _ cell: CellKind, _ form: CharacterModelConfiguration.Form
  ) throws {
    let model = try Model(cell, form, width: 8, layers: 2)
    let plain = try model.run(without: Set(optionalPasses), order: 2)
    var choices = optionalPasses.map { Set([$0]) }
    choices += optionalPasses.map { Set(optionalPasses).subtracting([$0]) }
    choices.append([])
    for without in choices {
      for (index, (a, b)) in zip(plain, try model.run(without: without, order: 2)).enumerated() {
        let x = try a.array(of: Double.self)
        let y = try b.array(of: Double.self)
        var (scale, worst) = (0.0, 0.0)
        for (p, q) in zip(x, y) {
          scale = Swift.max(scale, Swift.abs(p))
          worst = Swift.max(worst, Swift.abs(p - q))
        }
        // 33 rows of 8 steps, taken on by 8 steps: see Agreement in TestSupport.
        let limit = 8 * Double.ulpOfOne * Double(33 * 8 * 8 * 8).squareRoot()
        #expect(worst <= limit * scale, "without \(without.sorted()), value \(index)")
      }
    }
  }

  @Test(arguments: cells, CharacterModelConfiguration.Form.allCases)
  func sizesThatAreEqualAreNotMixedUp(
    _ cell: CellKind, _ form: CharacterModelConfiguration.Form
  ) throws {
    // As many rows as steps and units.
    for (rows, width) in [(5, 5), (4, 4), (1, 4)] {
      let model = try Model(cell, form, width: width, rows: rows)
      for order in 0...5 {
        let plain = try model.run(without: Set(optionalPasses), order: order)
        for (index, (a, b)) in zip(plain, try model.run(without: [], order: order)).enumerated() {
          let difference = zip(try a.array(of: Double.self), try b.array(of: Double.self)).reduce(0)
          {
            Swift.max($0, Swift.abs($1.0 - $1.1))
          }
          #expect(difference <= 1e-12, "\(rows) rows, order \(order), value \(index)")
        }
      }
    }
  }

  @Test(arguments: cells) func bitsDoNotDependOnThreads(_ cell: CellKind) throws {
    let model = try Model(cell, .tensorflow, width: 7, layers: 2, rows: 120)
    let one = try model.run(without: [], threads: 1)
    for threads in [2, 3, 5] {
      for (a, b) in zip(one, try model.run(without: [], threads: threads)) {
        #expect(a.isIdentical(to: b))
      }
    }
  }

  @Test func preparedRunsWriteIntoTheSameTensors() throws {
    let model = try Model(.lstm, .tensorflow, width: 6)
    let session = Session(model.graph)
    try session.run([], targets: [model.initializer])
    let feeds = model.feeds.sorted { $0.key.edge.node < $1.key.edge.node }
    let run = try session.prepare(
      [model.loss.edge] + model.gradients.map(\.edge),
      feeds: feeds.map { ($0.key.edge, $0.value.type) })
    var results: [Tensor] = []
    try run.run(feeds.map(\.value), into: &results)
    let first = results.map { $0.buffer.base }
    let kept = results[0]
    try run.run(feeds.map(\.value), into: &results)
    // What someone else still holds is not written over; everything else is.
    #expect(results[0].buffer.base != first[0])
    #expect(kept.isIdentical(to: results[0]))
    #expect(results.dropFirst().map { $0.buffer.base } == Array(first.dropFirst()))
    #expect(throws: WeftError.self) { try run.run([], into: &results) }
    #expect(throws: WeftError.self) {
      try run.run(feeds.map { _ in try Tensor(scalar: Float(1)) }, into: &results)
    }
  }
}

// The loss of each model against finite differences in float64: first and second order, with
// sequence lengths from 1 to T.

import Testing
import WeftGraph
import WeftNN
import WeftOps
import WeftRuntime
import WeftTensors

@Suite struct ModelGradientTests {
  private static let steps = 5

  private struct Model {
    let loss: Output
    /// The loss's gradients weighted by constants and summed: what the second order differentiates.
    let projection: Output
    let gradients: [Output]
    let second: [Output]
    let session: Session
    let feeds: [Output: Tensor]
    let cells: [VariableCell]

    init(_ cell: CellKind, _ form: CharacterModelConfiguration.Form, layers: Int) throws {
      var configuration = CharacterModelConfiguration(
        cell: cell, form: form, vocabularySize: 7, widths: [steps])
      configuration.layers = layers
      configuration.embeddingSize = 3
      configuration.hiddenSize = 4
      configuration.dtype = .float64
      configuration.seed = 5
      let model = try CharacterModel(configuration)
      let part = try #require(model.part(width: steps))
      loss = part.loss
      let variables = part.minimization.gradients.map(\.variable)
      gradients = try part.minimization.gradients.map { try dense($0.gradient) }
      var noise = Noise(state: 11)
      let terms = try zip(gradients, variables).map { gradient, variable in
        let sizes = try #require(variable.shape.known)
        return try sum(gradient * model.graph.constant(try noise.tensor(sizes)))
      }
      projection = try addN(terms)
      second = try zip(
        WeftOps.gradients(of: [projection], withRespectTo: variables.map(\.handle)), variables
      ).map { try $0.map { try dense($0) } ?? zerosLike($1.value) }
      let session = Session(model.graph)
      self.session = session
      try session.run([], targets: [model.initializer])
      cells = try variables.map { try #require(session.variables.existing($0.name)) }
      // Row b has b + 1 steps, so that every length from 1 to T occurs.
      let ids: [Int32] = (0..<steps * steps).map { place in Int32((place * 5 + place / 3) % 7) }
      let next: [Int32] = ids.map { id in (id + 2) % 7 }
      let lengths: [Int32] = (1...steps).map { length in Int32(length) }
      let tokens = try Tensor(ids, shape: [steps, steps])
      let targets = try Tensor(next, shape: [steps, steps])
      feeds = [
        part.tokens: tokens, part.targets: targets, part.lengths: try Tensor(lengths),
      ]
    }

    func value(_ output: Output) throws -> Double {
      try session.run([output], feeds: feeds)[0].scalar()
    }

    /// The derivative of `output` along `direction`, by central differences.
    func slope(of output: Output, along direction: [[Double]]) throws -> Double {
      let start = try cells.map { try $0.read().array(of: Double.self) }
      func at(_ distance: Double) throws -> Double {
        for (index, cell) in cells.enumerated() {
          let moved = zip(start[index], direction[index]).map { $0 + distance * $1 }
          try cell.assign(try Tensor(moved, shape: cell.read().shape))
        }
        return try value(output)
      }
      let step = 1e-5
      let slope = (try at(step) - at(-step)) / (2 * step)
      _ = try at(0)
      return slope
    }
  }

  private struct Noise {
    var state: UInt64
    mutating func next() -> Double {
      state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
      return Double(state >> 11) * 0x1p-52 - 1
    }
    mutating func tensor(_ shape: [Int]) throws -> Tensor {
      try Tensor((0..<shape.reduce(1, *)).map { _ in next() }, shape: shape)
    }
  }

  @Test(
    arguments: [CellKind.rnn, .lstm, .gru], CharacterModelConfiguration.Form.allCases)
  func lossesMatchFiniteDifferences(
    _ cell: CellKind, _ form: CharacterModelConfiguration.Form
  ) throws {
    for layers in [1, 2] {
      let model = try Model(cell, form, layers: layers)
      var noise = Noise(state: 3)
      for (output, gradients) in [(model.loss, model.gradients), (model.projection, model.second)] {
        let values = try model.session.run(gradients, feeds: model.feeds)
        // Each variable by itself, then all together.
        for moving in Array(model.cells.indices.map { [$0] }) + [Array(model.cells.indices)] {
          var direction: [[Double]] = []
          var expected = 0.0
          var scale = 0.0
          for (index, value) in values.enumerated() {
            let gradient = try value.array(of: Double.self)
            let along = gradient.map { _ in moving.contains(index) ? noise.next() : 0 }
            direction.append(along)
            expected += zip(gradient, along).reduce(0) { $0 + $1.0 * $1.1 }
            scale += zip(gradient, along).reduce(0) { $0 + Swift.abs($1.0 * $1.1) }
          }
          let slope = try model.slope(of: output, along: direction)
          let names = moving.map { model.cells[$0].name }
          #expect(
            Swift.abs(slope - expected) <= 1e-6 * Swift.max(scale, 1e-3),
            "\(cell) \(form) \(layers) \(names): \(expected), by differences \(slope)")
        }
      }
    }
  }
}

// An unrolled cell grows with the number of steps and no faster: graph, gradients, plan.

import Testing
import WeftCompiler
import WeftGraph
import WeftNN
import WeftRuntime
import WeftTensors

@Suite struct GrowthTests {
  /// What an LSTM model of `steps` steps takes.
  private func size(_ steps: Int) throws -> (nodes: Int, planned: Int) {
    let clock = ContinuousClock()
    let start = clock.now
    let model = try CharacterModel(
      CharacterModelConfiguration(cell: .lstm, vocabularySize: 50, widths: [steps]))
    let built = clock.now
    let part = try #require(model.part(width: steps))
    let session = Session(model.graph)
    let batch = 100
    let plan = try session.plan(
      [part.loss.edge],
      feeds: [
        (part.tokens.edge, TensorType(.int32, Shape([batch, steps]))),
        (part.targets.edge, TensorType(.int32, Shape([batch, steps]))),
        (part.lengths.edge, TensorType(.int32, Shape([batch]))),
      ], targets: [part.trainOperation.id])
    // Shown, not judged: times depend on what else the machine does.
    print(
      "LSTM of \(steps) steps: \(model.graph.nodes.count) nodes built and differentiated in "
        + "\(start.duration(to: built)), \(plan.steps.count) steps compiled in "
        + "\(built.duration(to: clock.now))")
    return (model.graph.nodes.count, plan.steps.count)
  }

  @Test func unrolledCellsGrowLinearly() throws {
    _ = try size(10)
    let (small, middle, large) = (try size(50), try size(200), try size(350))
    #expect(large.nodes - middle.nodes == middle.nodes - small.nodes)
    #expect(large.planned - middle.planned == middle.planned - small.planned)
  }
}

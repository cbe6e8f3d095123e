// Updates of the rows that a batch names, with as much memory as there are ids.

import Testing
import WeftCompiler
import WeftGraph
import WeftNN
import WeftOps
import WeftRuntime
import WeftTensors

@Suite struct SparseUpdateTests {
  private struct Training {
    let graph: Graph
    let ids: Output
    let loss: Output
    let step: Node
    let initializers: [Node]

    init(_ rule: any UpdateRule, _ dtype: DType) throws {
      let graph = Graph()
      let scope = VariableScope(graph, dtype: dtype)
      let numbers = someNumbers(9 * 5, seed: 1)
      let start =
        try dtype == .float64
        ? Tensor(numbers, shape: [9, 5]) : Tensor(numbers.map { Float($0) }, shape: [9, 5])
      let table = try scope.variable("table", shape: [9, 5], initializer: .value(start))
      ids = try graph.placeholder(.int32, shape: [7], name: "ids")
      let taken = try gather(table, ids)
      loss = try sum(try taken * taken * taken)
      step = try Optimizer(rule, learningRate: 0.1).minimize(loss, variables: [table]).operation
      self.graph = graph
      initializers = graph.variables.compactMap { graph.snapshot.node($0.initializer) }
    }

    /// The table and its slots after three steps of different batches, and whether any kernel was
    /// chosen in the run.
    func run(disabled: Set<String>, also: [Output] = []) throws -> (values: [Tensor], isLate: Bool)
    {
      var options = SessionOptions(threads: 2)
      options.compile.disabled = disabled
      options.compile.checksPasses = true
      let session = Session(graph, options: options)
      try session.run([], targets: initializers)
      for batch: [Int32] in [
        [3, 3, 3, 3, 3, 3, 3], [8, 1, 0, 1, 8, 2, 4], [0, 1, 2, 3, 4, 5, 6],
      ] {
        try session.run([loss] + also, feeds: [ids: try Tensor(batch)], targets: [step])
      }
      let plan = try session.plan(
        ([loss] + also).map(\.edge), feeds: [(ids.edge, TensorType(.int32, [7]))],
        targets: [step.id])
      return (session.variables.all.compactMap(\.value), plan.steps.contains { $0.isLate })
    }
  }

  private static let rules: [any UpdateRule] = [
    Momentum(), Momentum(0.9, nesterov: true), Adam(), RMSProp(),
    RMSProp(momentum: 0.9), RMSPropPyTorch(),
  ]

  @Test(arguments: rules.indices, [DType.float32, .float64])
  func rowsAreBoundBeforeTheRun(_ rule: Int, _ dtype: DType) throws {
    let training = try Training(Self.rules[rule], dtype)
    let bound = try training.run(disabled: [])
    let late = try training.run(disabled: ["sparserows"])
    #expect(!bound.isLate && late.isLate)
    #expect(bound.values.count == late.values.count)
    for (a, b) in zip(bound.values, late.values) { #expect(a.isIdentical(to: b)) }
  }

  // What asks for the number of distinct ids is given no more of them.
  @Test func distinctIdsThatAreFetchedStay() throws {
    let training = try Training(Adam(), .float32)
    let unique = try #require(training.graph.snapshot.nodes.first { $0.op == "Unique" })
    let found = try training.graph.output("\(unique.name):0")
    let bound = try training.run(disabled: [], also: [found])
    let late = try training.run(disabled: ["sparserows"], also: [found])
    #expect(bound.isLate)
    for (a, b) in zip(bound.values, late.values) { #expect(a.isIdentical(to: b)) }
  }

  @Test func idsOutsideTheTableAreRefused() throws {
    let training = try Training(RMSProp(), .float32)
    let session = Session(training.graph)
    try session.run([], targets: training.initializers)
    #expect(throws: WeftError.self) {
      try session.run(
        [], feeds: [training.ids: try Tensor([Int32(1), 2, 9, 2, 1, 0, 0])],
        targets: [training.step])
    }
  }
}

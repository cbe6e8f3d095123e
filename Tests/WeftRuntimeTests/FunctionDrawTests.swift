// Gradients through conditionals that draw random numbers: the way back uses the same numbers.

import Testing
import WeftFormats
import WeftGraph
import WeftOps
import WeftRuntime
import WeftTensors

@Suite struct FunctionDrawTests {
  private static let size = 64

  private func uniform(_ graph: Graph) throws -> Output {
    try randomUniform(graph, shape: graph.constant([Int32(Self.size)]))
  }

  private func run(
    _ fetches: [Output], _ x: Output, _ choice: Output, _ value: Bool
  ) throws -> [[Float]] {
    let session = Session(x.graph, options: SessionOptions(threads: 1))
    let feed = try Tensor((0..<Self.size).map { Float($0 + 1) / 8 })
    let results = try session.run(
      fetches.map(\.edge), feeds: [(x.edge, feed), (choice.edge, try Tensor(scalar: value))])
    return try results.map { try $0.array(of: Float.self) }
  }

  private func inputs(_ graph: Graph) throws -> (x: Output, choice: Output) {
    (
      try graph.placeholder(.float32, shape: Shape([Self.size]), name: "x"),
      try graph.placeholder(.bool, shape: .scalar, name: "choice")
    )
  }

  private func isClose(_ a: [Float], _ b: [Float]) -> Bool {
    a.count == b.count && zip(a, b).allSatisfy { abs($0 - $1) <= 1e-5 * max(1, abs($1)) }
  }

  // y = x r or 2 x r'; the gradient of sum(y^2) is 2 y^2 / x, whatever was drawn.
  @Test func conditionals() throws {
    let graph = Graph()
    let (x, choice) = try inputs(graph)
    let y = try cond(
      choice, [x], then: { [try $0[0] * uniform($0[0].graph)] },
      otherwise: { [try $0[0] * 2 * uniform($0[0].graph)] })[0]
    let slope = try denseGradients(of: sum(try y * y), withRespectTo: [x])[0]
    // The second derivative of x^2 r^2 is 2 r^2.
    let second = try denseGradients(of: sum(slope), withRespectTo: [x])[0]
    for value in [true, false] {
      let results = try run([y, slope, second, x], x, choice, value)
      let (y, x) = (results[0], results[3])
      #expect(Set(zip(y, x).map { $0 / $1 }).count > Self.size / 2)
      #expect(isClose(results[1], zip(y, x).map { 2 * $0 * $0 / $1 }))
      #expect(isClose(results[2], zip(y, x).map { 2 * $0 * $0 / ($1 * $1) }))
    }
  }

  // A conditional in a conditional, in a loop: what comes out is x times a number, so is its slope.
  @Test func conditionalsInLoops() throws {
    let graph = Graph()
    let (x, choice) = try inputs(graph)
    let results = try whileLoop(
      [graph.constant(Int32(0)), x],
      condition: { try less($0[0], $0[0].graph.constant(Int32(9))) },
      body: { values in
        let (index, value) = (values[0], values[1])
        let graph = index.graph
        let isEven = try equal(floorMod(index, graph.constant(Int32(2))), graph.constant(Int32(0)))
        let next = try cond(
          isEven, [value],
          then: { outer in
            try cond(
              choice, outer, then: { [try $0[0] * (uniform($0[0].graph) + 0.5)] },
              otherwise: { [try $0[0] * 0.5] })
          },
          otherwise: { [try $0[0] * (uniform($0[0].graph) + 0.5)] })[0]
        return [try index + graph.constant(Int32(1)), next]
      })
    let slope = try denseGradients(of: sum(results[1]), withRespectTo: [x])[0]
    for value in [true, false] {
      let results = try run([results[1], slope, x], x, choice, value)
      let ratios = zip(results[0], results[2]).map { $0 / $1 }
      #expect(Set(ratios).count > Self.size / 2)
      #expect(isClose(results[1], ratios))
    }
    // And after a way through a file.
    let data = try GraphFile.encode(graph.snapshot, as: .json)
    let copy = try GraphFile.decode(data, registry: .standard)
    func output(_ old: Output) throws -> Output {
      Output(graph: copy, edge: try copy.snapshot.edge("\(old.node.name):\(old.edge.port)"))
    }
    let again = try run(
      [output(results[1]), output(slope), output(x)], output(x), output(choice), true)
    #expect(isClose(again[1], zip(again[0], again[2]).map { $0 / $1 }))
  }

  // A loop within a branch draws anew when it is computed again: refused by name.
  @Test func loopsThatDrawAreRefused() throws {
    let graph = Graph()
    let (x, choice) = try inputs(graph)
    let y = try cond(
      choice, [x],
      then: { values in
        try [
          whileLoop(
            [values[0].graph.constant(Int32(0)), values[0]],
            condition: { try less($0[0], $0[0].graph.constant(Int32(3))) },
            body: {
              [try $0[0] + $0[0].graph.constant(Int32(1)), try $0[1] * uniform($0[1].graph)]
            })[1]
        ]
      }, otherwise: { $0 })[0]
    let error = #expect(throws: WeftError.self) {
      try denseGradients(of: sum(y), withRespectTo: [x])
    }
    #expect(error?.code == .unimplemented)
    #expect(error?.message.contains("would give something else") == true)
  }
}

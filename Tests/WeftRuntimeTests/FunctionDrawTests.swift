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

  // What is drawn does not change when somebody asks for a gradient, and sizes may be those of a feed.
  @Test func gradientsChangeNoNumber() throws {
    func values(withGradient: Bool, _ choice: Bool) throws -> [[Float]] {
      let graph = Graph()
      let x = try graph.placeholder(.float32, shape: [-1], name: "x")
      let which = try graph.placeholder(.bool, shape: .scalar, name: "choice")
      let y = try cond(
        which, [x], then: { [try $0[0] * randomUniform($0[0].graph, shape: $0[0].shapeTensor())] },
        otherwise: { [try $0[0] * randomNormal($0[0].graph, shape: $0[0].shapeTensor())] })[0]
      var fetches = [y, x]
      if withGradient { fetches.append(try denseGradients(of: sum(y), withRespectTo: [x])[0]) }
      return try run(fetches, x, which, choice)
    }
    for choice in [true, false] {
      let (plain, both) = (
        try values(withGradient: false, choice), try values(withGradient: true, choice)
      )
      #expect(plain[0] == both[0])
      #expect(isClose(both[2], zip(both[0], both[1]).map { $0 / $1 }))
    }
  }

  // What only the branch that is taken can draw is not drawn for the other: in a loop, too.
  @Test func sizesThatOnlyOneBranchHas() throws {
    let graph = Graph()
    let x = try graph.placeholder(.float32, shape: Shape([2]), name: "x")
    let n = try graph.placeholder(.int32, shape: .scalar, name: "n")
    // The factor is the sum of n - 5 numbers, none for n = 3; in the loop for n = 3, 4, ... 7.
    func branch(_ value: Output, _ n: Output) throws -> Output {
      let inner = value.graph
      return try cond(
        greater(n, inner.constant(Int32(5))), [value, n],
        then: {
          let count = try ($0[1] - $0[1].graph.constant(Int32(5))).reshaped(to: [1])
          return [try $0[0] * sum(randomUniform($0[0].graph, shape: count))]
        }, otherwise: { [try $0[0] * 3] })[0]
    }
    let once = try branch(x, n)
    let often = try whileLoop(
      [n, x], condition: { try less($0[0], $0[0].graph.constant(Int32(8))) },
      body: { [try $0[0] + $0[0].graph.constant(Int32(1)), try branch($0[1], $0[0])] })[1]
    // A gradient made where all waits for what comes after the conditional: that waits for it.
    let slopes = try graph.withControlDependencies([once.node.id, often.node.id]) {
      try [once, often].map { try denseGradients(of: sum($0), withRespectTo: [x])[0] }
    }
    let session = Session(graph, options: SessionOptions(threads: 1))
    for count: Int32 in [3, 8] {
      let results = try session.run(
        ([once, often] + slopes).map(\.edge),
        feeds: [(x.edge, try Tensor([Float(2), 5])), (n.edge, try Tensor(scalar: count))]
      ).map { try $0.array(of: Float.self) }
      for (y, slope) in zip(results[..<2], results[2...]) {
        #expect(isClose(slope, zip(y, [2, 5]).map { $0 / $1 }))
      }
      #expect(count == 8 || results[0] == [6, 15])
    }
  }

  // Numbers that depend on a variable see it as the conditional does: after what it waits for.
  @Test func drawsWaitForWhatTheConditionalWaitsFor() throws {
    let graph = Graph()
    let (x, choice) = try inputs(graph)
    let logits = try graph.variable("logits", dtype: .float32, shape: Shape([1, 3])) {
      try graph.constant([Float](repeating: 0, count: 3), shape: [1, 3])
    }
    // Afterwards it is the last class that is drawn.
    let sure = try assign(logits, graph.constant([Float(-900), -900, 0], shape: [1, 3]))
    let y = try graph.withControlDependencies([sure.id]) {
      try cond(
        choice, [x],
        then: {
          let graph = $0[0].graph
          let read = try graph.output(
            "ReadVariableOp", inputs: [logits.handle], attrs: ["dtype": .type(.float32)])
          let drawn = try multinomial(read, count: graph.constant(Int32(1)))
          return [try $0[0] * sum(drawn.cast(to: .float32))]
        }, otherwise: { $0 })[0]
    }
    let slope = try denseGradients(of: sum(y), withRespectTo: [x])[0]
    let session = Session(graph, options: SessionOptions(threads: 1))
    try session.initialize()
    let feeds = [
      (x.edge, try Tensor([Float](repeating: 3, count: Self.size))),
      (choice.edge, try Tensor(scalar: true)),
    ]
    let results = try session.run([y.edge, slope.edge], feeds: feeds)
    #expect(try results[0].array(of: Float.self).allSatisfy { $0 == 6 })
    #expect(try results[1].array(of: Float.self).allSatisfy { $0 == 2 })
  }

  @Test func drawsThatMustStayAreRefused() throws {
    func refuses(_ branch: @escaping ([Output]) throws -> [Output]) throws {
      let graph = Graph()
      let (x, choice) = try inputs(graph)
      let y = try cond(choice, [x], then: branch, otherwise: { $0 })[0]
      let error = #expect(throws: WeftError.self) {
        try denseGradients(of: sum(y), withRespectTo: [x])
      }
      #expect(error?.code == .unimplemented)
    }
    // A shuffle has no gradient: it is no number beside x, whose gradient would be lost.
    try refuses { [try randomShuffle($0[0]) * $0[0]] }
    // A write would happen in both parts.
    try refuses { values in
      let graph = values[0].graph
      let total = try graph.variable("total", dtype: .float32, shape: Shape([])) {
        try graph.constant(0, dtype: .float32)
      }
      let write = try assignAdd(total, try graph.constant(1, dtype: .float32))
      return try graph.withControlDependencies([write.id]) { [try values[0] * uniform(graph)] }
    }
  }
}

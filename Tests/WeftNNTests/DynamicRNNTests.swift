// Networks in loops against the same networks unrolled, and texts generated in one run.

import Testing
import WeftCompiler
import WeftGraph
import WeftNN
import WeftOps
import WeftRuntime
import WeftTensors

@Suite struct DynamicRNNTests {
  /// Values of `fetches` in a session of one thread after initialization.
  private func run(
    _ graph: Graph, _ scope: VariableScope, _ fetches: [Output], _ feeds: [Output: Tensor]
  ) throws -> [[Float]] {
    let session = Session(graph, options: SessionOptions(threads: 1, seed: 3))
    try session.run([], targets: scope.variables.map(\.initializer))
    return try session.run(fetches, feeds: feeds).map { try $0.array() }
  }

  private func near(_ a: [[Float]], _ b: [[Float]]) -> Bool {
    guard a.count == b.count else { return false }
    for (x, y) in zip(a, b) {
      guard x.count == y.count else { return false }
      for (found, wanted) in zip(x, y) {
        let bound: Float = 1e-5 + 1e-4 * abs(wanted)
        guard abs(found - wanted) <= bound else { return false }
      }
    }
    return true
  }

  private func numbers(_ shape: [Int]) throws -> Tensor {
    let count = shape.reduce(1, *)
    var values: [Float] = []
    for index in 0..<count { values.append(Float((index * 7919) % 23) / 23 - 0.5) }
    return try Tensor(values, shape: shape)
  }

  private func cell(_ kind: String, _ scope: VariableScope) throws -> any RecurrentCell {
    switch kind {
    case "lstm": try BasicLSTMCell(scope, inputSize: 3, units: 4)
    case "gru": try GRUCell(scope, inputSize: 3, units: 4)
    default: try BasicRNNCell(scope, inputSize: 3, units: 4)
    }
  }

  @Test(arguments: ["rnn", "lstm", "gru"], [false, true])
  func aLoopIsTheUnrolledNetwork(_ kind: String, _ hasLengths: Bool) throws {
    let graph = Graph()
    let scope = VariableScope(graph)
    let cell = try cell(kind, scope.scope("cell"))
    let x = try graph.placeholder(.float32, shape: [5, 2, 3])
    let lengths = hasLengths ? try graph.constant([Int32(3), 5]) : nil
    let unrolled = try unroll(cell, over: x, lengths: lengths)
    let loop = try dynamicRNN(cell, over: x, lengths: lengths)
    let handles = scope.trainableVariables.map(\.value) + [x]
    func all(_ outputs: Output, _ state: RecurrentState) throws -> [Output] {
      let loss = try sum(square(outputs)) + sum(state.parts[0])
      return [outputs] + state.parts + (try denseGradients(of: loss, withRespectTo: handles))
    }
    let fed = [x: try numbers([5, 2, 3])]
    let wanted = try run(graph, scope, all(unrolled.stacked(), unrolled.state), fed)
    let found = try run(graph, scope, all(loop.outputs, loop.state), fed)
    #expect(near(found, wanted))
  }

  /// How long rows are: all as long as the input, or as long as is fed, or as a constant says.
  enum Lengths: CaseIterable { case none, fed, constant }

  @Test(arguments: ["rnn", "lstm", "gru"], Lengths.allCases)
  func aLoopOfKnownLengthRunsInLoopKernels(_ kind: String, _ given: Lengths) throws {
    for isReversed in [false, true] {
      try checkKnownLength(kind, given, isReversed: isReversed)
    }
  }

  private func checkKnownLength(_ kind: String, _ given: Lengths, isReversed: Bool) throws {
    let graph = Graph()
    let scope = VariableScope(graph)
    let cell = try cell(kind, scope.scope("cell"))
    let x = try graph.placeholder(.float32, shape: [-1, 2, 3])
    let lengths: Output? =
      switch given {
      case .none: nil
      case .fed: try graph.placeholder(.int32, shape: [2])
      case .constant: try graph.constant([Int32(3), 9])
      }
    let loop = try dynamicRNN(cell, over: x, lengths: lengths, isReversed: isReversed)
    let handles = scope.trainableVariables.map(\.value) + [x]
    let loss = try sum(square(loop.outputs)) + sum(loop.state.parts[0])
    let all =
      [loop.outputs] + loop.state.parts
      + (try denseGradients(of: loss, withRespectTo: handles))
    var fed = [x: try numbers([9, 2, 3])]
    if let lengths, given == .fed { fed[lengths] = try Tensor([Int32(3), 9], shape: [2]) }
    let feeds = fed
    func run(_ disabled: Set<String>) throws -> (values: [[Float]], ops: [String]) {
      var options = SessionOptions(threads: 1, seed: 3)
      options.compile.disabled = disabled
      let session = Session(graph, options: options)
      try session.run([], targets: scope.variables.map(\.initializer))
      let plan = try session.plan(
        all.map(\.edge), feeds: feeds.map { ($0.key.edge, $0.value.type) })
      return (
        try session.run(all, feeds: feeds).map { try $0.array() }, plan.steps.map(\.def.name)
      )
    }
    let (found, rolled) = try run([])
    let (wanted, plain) = try run(["unroll"])
    #expect(near(found, wanted))
    #expect(plain.count { $0 == "StatelessWhile" } == 2)
    #expect(!rolled.contains("StatelessWhile") && !rolled.contains { $0.hasPrefix("TensorList") })
    #expect(rolled.contains("Loop") && rolled.contains("LoopBackward"))
  }

  @Test func aListAddedToItselfCountsTwice() throws {
    let graph = Graph()
    let x = try graph.placeholder(.float32, shape: [9, 2, 4])
    let weights = try graph.constant(try numbers([4, 4]))
    let list = try graph.output(
      "TensorListFromTensor", inputs: [x, graph.constant(integers: [2, 4])],
      attrs: ["element_dtype": .type(.float32)])
    let both = try addN([list, list])
    let result = try whileLoop(
      [
        graph.constant(Int32(0)), try zerosLike(graph.constant(try numbers([2, 4]))), both, weights,
      ],
      condition: { try less($0[0], $0[0].graph.constant(Int32(9))) },
      body: { values in
        let inner = values[0].graph
        let row = try inner.output(
          "TensorListGetItem",
          inputs: [values[2], values[0], inner.constant(integers: [2, 4])],
          attrs: ["element_dtype": .type(.float32)])
        let state = try tanh(row + matmul(values[1], values[3]))
        return [try values[0] + inner.constant(Int32(1)), state, values[2], values[3]]
      })
    func run(_ disabled: Set<String>) throws -> ([Float], [String]) {
      var options = SessionOptions(threads: 1)
      options.compile.disabled = disabled
      let session = Session(graph, options: options)
      let value = try numbers([9, 2, 4])
      let plan = try session.plan([result[1].edge], feeds: [(x.edge, value.type)])
      return (
        try session.run([result[1]], feeds: [x: value])[0].array(), plan.steps.map(\.def.name)
      )
    }
    let (found, ops) = try run([])
    #expect(near([found], [try run(["unroll"]).0]))
    #expect(ops.contains("Loop"))
  }

  @Test func loopsWithEffectsStay() throws {
    let graph = Graph()
    let x = try graph.placeholder(.float32, shape: [12])
    let result = try whileLoop(
      [graph.constant(Int32(0)), x],
      condition: { try less($0[0], $0[0].graph.constant(Int32(10))) },
      body: { values in
        let inner = values[0].graph
        return [
          try values[0] + inner.constant(Int32(1)),
          try values[1] + randomUniform(inner, shape: inner.constant(integers: [12])),
        ]
      })
    let session = Session(graph)
    let feed = (x.edge, TensorType(.float32, [12]))
    let ops = try session.plan([result[1].edge], feeds: [feed]).steps.map(\.def.name)
    #expect(ops.contains { $0.contains("While") })
  }

  @Test func anyLengthInOneGraph() throws {
    let graph = Graph()
    let scope = VariableScope(graph)
    let cell = try cell("gru", scope.scope("cell"))
    let x = try graph.placeholder(.float32, shape: [2, -1, 3])
    let loop = try dynamicRNN(cell, over: x, isTimeMajor: false)
    for steps in [1, 4] {
      let value = try numbers([2, steps, 3])
      let fixed = try graph.placeholder(.float32, shape: [.known(2), .known(steps), 3])
      let unrolled = try unroll(cell, over: fixed.transposed(permutation: [1, 0, 2]))
      let found = try run(graph, scope, [loop.outputs], [x: value])
      let wanted = try run(
        graph, scope, [unrolled.stacked().transposed(permutation: [1, 0, 2])], [fixed: value])
      #expect(near(found, wanted))
    }
  }

  @Test func backwardBeginsAtEachRowsEnd() throws {
    let graph = Graph()
    let scope = VariableScope(graph)
    let cell = try cell("rnn", scope.scope("cell"))
    let x = try graph.placeholder(.float32, shape: [4, 1, 3])
    let short = try graph.placeholder(.float32, shape: [2, 1, 3])
    let both = try bidirectionalRNN(
      forward: cell, backward: cell, over: x, lengths: graph.constant([Int32(2)]))
    let alone = try dynamicRNN(cell, over: short, isReversed: true)
    let value = try numbers([4, 1, 3])
    let head = try Tensor(Array(try value.array(of: Float.self).prefix(6)), shape: [2, 1, 3])
    let long = try run(graph, scope, [both.backward.outputs], [x: value])[0]
    let brief = try run(graph, scope, [alone.outputs], [short: head])[0]
    #expect(near([Array(long.prefix(8))], [brief]))
    #expect(long.suffix(8).allSatisfy { $0 == 0 })
  }

  @Test func generatingStopsAtTheEnd() throws {
    let graph = Graph()
    let first = try graph.placeholder(.int32, shape: [-1])
    // Each id is followed by the next; 5 ends a text.
    var follows = [Float](repeating: 0, count: 36)
    for id in 0..<6 { follows[id * 6 + (id + 1) % 6] = 90 }
    let next = try graph.constant(follows, shape: [6, 6])
    for sampling in [
      LoopSampling(temperature: 0), LoopSampling(temperature: 0.01),
      LoopSampling(topK: 1), LoopSampling(topP: 0.5, seed: (1, 2)),
    ] {
      let texts = try generationLoop(
        first: first, state: RecurrentState([]), maximum: 4, end: 5, sampling: sampling
      ) { ids, state in (try gather(next, ids), state) }
      let session = Session(graph)
      let values = try session.run(
        [texts.ids, texts.lengths], feeds: [first: try Tensor([Int32(0), 2, 4])])
      #expect(
        try values[0].array(of: Int32.self) == [1, 2, 3, 4, 3, 4, 5, 5, 5, 5, 5, 5])
      #expect(try values[1].array(of: Int32.self) == [4, 2, 0])
    }
  }

  @Test func bannedIDsAreNeverChosen() throws {
    let graph = Graph()
    let logits = try graph.constant([Float(5), 1, 4, 0], shape: [1, 4])
    for temperature in [0.0, 1] {
      let chosen = try choose(
        logits, LoopSampling(temperature: temperature, topK: 1, banned: [0]))
      #expect(try Session(graph).run([chosen])[0].array(of: Int32.self) == [2])
    }
  }
}

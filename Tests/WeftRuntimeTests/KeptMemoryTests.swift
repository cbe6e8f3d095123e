// What loops keep beside the arena: known before the run where the number of iterations is.

import Testing
import WeftCompiler
import WeftGraph
import WeftOps
import WeftTensors

@testable import WeftRuntime

@Suite struct KeptMemoryTests {
  /// x multiplied by w and squashed as often as `condition` says, and the gradient to w.
  private struct Powers {
    let graph = Graph()
    let x: Output
    let w: Output
    let limit: Output
    let fetches: [Edge]

    /// - Parameter isBounded: whether the loop also ends after 12 iterations.
    init(elements: Int, isBounded: Bool = true, isLimited: Bool = false) throws {
      x = try graph.placeholder(.float32, shape: Shape([elements]), name: "x")
      limit = try graph.placeholder(.int32, shape: .scalar, name: "limit")
      let limit = limit
      w = try graph.placeholder(.float32, shape: Shape([elements]), name: "w")
      let w = w
      let results = try whileLoop(
        [graph.constant(Int32(0)), x],
        condition: { values in
          let graph = values[0].graph
          let bound = try less(values[0], graph.constant(Int32(12)))
          if !isLimited { return bound }
          let limited = try less(values[0], limit)
          return isBounded ? try logicalAnd(bound, limited) : limited
        },
        body: { [try $0[0] + $0[0].graph.constant(Int32(1)), try tanh($0[1] * w)] })
      let loss = try sum(results[1])
      fetches = [loss.edge, try denseGradients(of: loss, withRespectTo: [w])[0].edge]
    }

    func session(memoryLimit: Int? = nil) -> Session {
      var options = SessionOptions(threads: 1)
      options.compile.disabled = ["unroll"]
      if let memoryLimit { options.compile.memoryLimit = memoryLimit }
      return Session(graph, options: options)
    }

    var types: [(Edge, TensorType)] {
      [(x.edge, x.type), (w.edge, w.type), (limit.edge, TensorType(.int32, .scalar))]
    }

    func feeds(_ limit: Int32 = 5) throws -> [(Edge, Tensor)] {
      let values = try Tensor([Float](repeating: 0.1, count: x.type.shape.count ?? 0))
      return [
        (x.edge, values), (w.edge, values),
        (self.limit.edge, try Tensor(scalar: limit)),
      ]
    }
  }

  /// The bytes that the first loop of a plan says it keeps of each iteration.
  private func keptOfEach(_ plan: Plan) -> Int? {
    plan.description.split(separator: "\n").lazy.compactMap { line -> Int? in
      guard let end = line.firstRange(of: " bytes kept of each") else { return nil }
      return line[..<end.lowerBound].split(separator: " ").last.flatMap { Int($0) }
    }.first
  }

  @Test func gradientsOfLoopsOfKnownLength() throws {
    let (small, large) = (try Powers(elements: 100), try Powers(elements: 1_100))
    let plans = try [small, large].map { try $0.session().plan($0.fetches, feeds: $0.types) }
    let kept = try plans.map { try #require($0.keptBytes) }
    let each = try plans.map { try #require(keptOfEach($0)) }
    #expect(plans[0].description.contains("| 12 iterations, \(each[0]) bytes kept of each"))
    // A thousand floats more in each value that is kept: the old state and the new one.
    #expect((each[1] - each[0]) % 4_000 == 0)
    let values = (each[1] - each[0]) / 4_000
    #expect((1...3).contains(values))
    #expect(kept[0] >= 12 * values * 400 && kept[0] < 12 * values * 400 + 128 * 1_024)
    #expect(plans[1].neededBytes == plans[1].arenaBytes + 12 * values * 4_400)
  }

  @Test func runsWithoutRoomAreRefusedBefore() throws {
    let powers = try Powers(elements: 10_000)
    let wanted = try powers.session().run(powers.fetches, feeds: powers.feeds())
    let needed = try powers.session().plan(powers.fetches, feeds: powers.types).neededBytes
    let error = #expect(throws: WeftError.self) {
      try powers.session(memoryLimit: needed - 1).plan(powers.fetches, feeds: powers.types)
    }
    #expect(error?.code == .resourceExhausted)
    #expect(error?.message.contains("a run needs \(needed) bytes at once") == true)
    let session = powers.session(memoryLimit: needed)
    let results = try session.run(powers.fetches, feeds: powers.feeds())
    #expect(zip(results, wanted).allSatisfy { $0.isIdentical(to: $1) })
  }

  // As many iterations as there may be, of which a run need not make all.
  @Test func boundsThatRunsNeedNotReach() throws {
    let powers = try Powers(elements: 10_000, isLimited: true)
    let plan = try powers.session().plan(powers.fetches, feeds: powers.types)
    #expect(plan.description.contains("| at most 12 iterations, "))
    let kept = try #require(plan.keptBytes)
    #expect(plan.neededBytes == plan.arenaBytes && kept > 12 * 40_000)
    let session = powers.session(memoryLimit: plan.arenaBytes + kept / 2)
    _ = try session.run(powers.fetches, feeds: powers.feeds(2))
  }

  @Test func lengthsThatOnlyTheRunKnows() throws {
    let powers = try Powers(elements: 100, isBounded: false, isLimited: true)
    let plan = try powers.session().plan(powers.fetches, feeds: powers.types)
    #expect(plan.keptBytes == nil)
    #expect(plan.description.contains("| as many iterations as the run decides, "))
    #expect(plan.description.contains("what only the run knows in lists and loops"))
  }

  // A list that each iteration of an outer loop makes anew is there once, not once an iteration.
  @Test func listsOfInnerLoops() throws {
    func kept(outer: Int32) throws -> Int {
      let graph = Graph()
      let x = try graph.placeholder(.float32, shape: Shape([1_000]), name: "x")
      let results = try whileLoop(
        [graph.constant(Int32(0)), x],
        condition: { try less($0[0], $0[0].graph.constant(outer)) },
        body: { values in
          let graph = values[0].graph
          let rows = try map([try graph.constant([Float](repeating: 1, count: 10))]) {
            [try values[1] * $0[0]]
          }
          return [
            try values[0] + graph.constant(Int32(1)),
            try sum(rows[0], axes: [0]),
          ]
        })
      var options = SessionOptions(threads: 1)
      options.compile.disabled = ["unroll"]
      let plan = try Session(graph, options: options).plan(
        [results[1].edge], feeds: [(x.edge, x.type)])
      return try #require(plan.keptBytes)
    }
    let (few, many) = (try kept(outer: 3), try kept(outer: 3_000))
    #expect(few == many)
    #expect(few > 40_000 && few < 400_000)
  }

  // Elements that take the place of others, or are taken again, are gone: no run is refused for them.
  @Test func elementsThatGo() throws {
    for isPopped in [true, false] {
      let graph = Graph()
      let x = try graph.placeholder(.float32, shape: Shape([1_000]), name: "x")
      let start =
        isPopped
        ? try graph.output(
          "EmptyTensorList",
          inputs: [graph.constant([Int32(1_000)]), graph.constant(Int32(-1))],
          attrs: ["element_dtype": .type(.float32)])
        : try graph.output(
          "TensorListReserve", inputs: [graph.constant([Int32(1_000)]), graph.constant(Int32(1))],
          attrs: ["element_dtype": .type(.float32)])
      let results = try whileLoop(
        [graph.constant(Int32(0)), start],
        condition: { try less($0[0], $0[0].graph.constant(Int32(500))) },
        body: { values in
          let graph = values[0].graph
          let zero = try graph.constant(Int32(0))
          var list = values[1]
          if isPopped {
            list = try graph.output(
              "TensorListPushBack", inputs: [list, x], attrs: ["element_dtype": .type(.float32)])
            let popped = try graph.add(
              "TensorListPopBack", inputs: [list, graph.constant([Int32(1_000)])],
              attrs: ["element_dtype": .type(.float32)])
            list = Output(graph: graph, edge: Edge(node: popped.id, port: 0))
          } else {
            list = try graph.output(
              "TensorListSetItem", inputs: [list, zero, x],
              attrs: ["element_dtype": .type(.float32)])
          }
          return [try values[0] + graph.constant(Int32(1)), list]
        })
      let count = try graph.output("TensorListLength", inputs: [results[1]])
      let types = [(x.edge, x.type)]
      let plan = try Session(graph).plan([count.edge], feeds: types)
      #expect(plan.neededBytes == plan.arenaBytes)
      #expect(try #require(plan.keptBytes) > 500 * 4_000)
      var options = SessionOptions(threads: 1)
      options.compile.memoryLimit = 100_000
      let found = try Session(graph, options: options).run(
        [count.edge], feeds: [(x.edge, try Tensor([Float](repeating: 1, count: 1_000)))])
      #expect(try found[0].scalar(of: Int32.self) == (isPopped ? 0 : 1))
    }
  }
}

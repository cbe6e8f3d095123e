// Several runs of one session at once: which go on side by side, and in whose memory.

import Dispatch
import Synchronization
import Testing
import WeftCompiler
import WeftGraph
import WeftOps
import WeftTensors

@testable import WeftRuntime

@Suite struct ConcurrentRunTests {
  // Counts to `limit`, and carries a value along that depends on `step`.
  private struct Counting {
    let graph = Graph()
    let limit: Output
    let step: Output
    let results: [Output]

    init() throws {
      limit = try graph.placeholder(.int32, shape: .scalar, name: "limit")
      step = try graph.placeholder(.float32, shape: Shape([1]), name: "step")
      let (limit, step) = (limit, step)
      results = try whileLoop(
        [graph.constant(Int32(0)), step],
        condition: { try less($0[0], limit) },
        body: { [try $0[0] + $0[0].graph.constant(Int32(1)), try $0[1] * 0.5 + step] })
    }

    var types: [(Edge, TensorType)] {
      [(limit.edge, TensorType(.int32, .scalar)), (step.edge, step.type)]
    }

    static func feeds(_ limit: Int32, _ step: Float) throws -> [Tensor] {
      [try Tensor(scalar: limit), try Tensor([step], shape: [1])]
    }
  }

  // A run goes on while another does: the other's place is held here until the first has ended.
  @Test func shortRunsDoNotWaitForLongOnes() throws {
    let counting = try Counting()
    let session = Session(counting.graph, options: SessionOptions(threads: 1, concurrentRuns: 2))
    let run = try session.prepare(counting.results.map(\.edge), feeds: counting.types)
    let short = try Counting.feeds(3, 1)
    let hasEnded = DispatchSemaphore(value: 0)
    session.gate.enter(alone: false) { () }
    try inParallel(2) { index in
      if index == 0 {
        #expect(hasEnded.wait(timeout: .now() + 60) == .success)
        session.gate.leave {}
      } else {
        var results: [Tensor] = []
        for _ in 0..<10 { try run.run(short, into: &results) }
        hasEnded.signal()
        #expect(try results[1].array(of: Float.self) == [1.875])
      }
    }
  }

  @Test func eachRunHasMemoryOfItsOwn() throws {
    let counting = try Counting()
    let session = Session(counting.graph, options: SessionOptions(threads: 2, concurrentRuns: 3))
    let run = try session.prepare(counting.results.map(\.edge), feeds: counting.types)
    try inParallel(6) { index in
      let feeds = try Counting.feeds(1_000 + Int32(index), Float(index))
      var results: [Tensor] = []
      for _ in 0..<30 {
        try run.run(feeds, into: &results)
        #expect(try results[0].scalar(of: Int32.self) == 1_000 + Int32(index))
        #expect(try results[1].array(of: Float.self) == [Float(2 * index)])
      }
    }
    let arenas = try session.arenas(counting.results.map(\.edge), feeds: counting.types)
    #expect(arenas <= 3)
  }

  // Room for one, not for two: the second thread waits instead of failing.
  @Test func memoryLimitBoundsRunsAtOnce() throws {
    let graph = Graph()
    let x = try graph.placeholder(.float32, shape: Shape([300, 300]), name: "x")
    let y = try tanh(try matmul(try matmul(x, x), x))
    let (fetches, types) = ([y.edge], [(x.edge, x.type)])
    let needed = try Session(graph).plan(fetches, feeds: types).arenaBytes
    var options = SessionOptions(threads: 1, concurrentRuns: 4)
    // A fetched value is copied while the run's own memory is still held.
    options.compile.memoryLimit = needed * 7 / 4
    let session = Session(graph, options: options)
    let run = try session.prepare(fetches, feeds: types)
    let feed = try Tensor([Float](repeating: 1e-3, count: 90_000), shape: [300, 300])
    let wanted = try Session(graph).run(fetches, feeds: [(x.edge, feed)])[0]
    try inParallel(4) { index in
      var results: [Tensor] = []
      for _ in 0..<20 {
        try run.run([feed], into: &results)
        #expect(results[0].isIdentical(to: wanted))
      }
    }
    #expect(try session.arenas(fetches, feeds: types) == 1)
  }

  @Test func runsThatWriteOrDrawAreAlone() throws {
    let graph = Graph()
    let total = try graph.variable("total", dtype: .float32, shape: Shape([])) {
      try graph.constant(0, dtype: .float32)
    }
    let add = try assignAdd(total, try graph.constant(1, dtype: .float32))
    let x = try graph.placeholder(.float32, shape: .scalar, name: "x")
    let drawn = try cond(
      try less(x, graph.constant(Float(0))), [x], then: { [try $0[0] + 1] },
      otherwise: {
        [try sum(try randomUniform($0[0].graph, shape: $0[0].graph.constant([Int32(3)])))]
      })
    let session = Session(graph, options: SessionOptions(threads: 1, concurrentRuns: 4))
    try session.initialize()
    #expect(try session.plan([], targets: [add.id]).changesSession)
    #expect(try session.plan([total.value.edge]).changesSession == false)
    let type = TensorType(.float32, .scalar)
    #expect(try session.plan(drawn.map(\.edge), feeds: [(x.edge, type)]).changesSession)
    let (addition, value) = (add.id, total.value.edge)
    try inParallel(8) { _ in
      var last: Float = 0
      for _ in 0..<50 {
        try session.run([], targets: [addition])
        let now: Float = try session.run([value])[0].scalar()
        #expect(now > last)
        last = now
      }
    }
    #expect(try session.run([value])[0].scalar(of: Float.self) == 400)
  }

  @Test func theGateLetsInByTurn() throws {
    let gate = RunGate(limit: 2)
    struct Failed: Error {}
    let seen = Mutex<[String]>([])
    @Sendable func note(_ what: String) { seen.withLock { $0.append(what) } }
    gate.enter(alone: false) { () }
    gate.enter(alone: false) { () }
    // Whoever fails to get what it needs makes way for the next.
    #expect(throws: Failed.self) {
      gate.leave {}
      return try gate.enter(alone: false) { throw Failed() }
    }
    gate.enter(alone: false) { () }
    let done = DispatchGroup()
    let entered = DispatchSemaphore(value: 0)
    let never = DispatchSemaphore(value: 0)
    DispatchQueue.global().async(group: done) {
      gate.enter(alone: true) { note("alone") }
      entered.signal()
      _ = never.wait(timeout: .now() + 0.05)
      gate.leave { note("alone ends") }
    }
    #expect(entered.wait(timeout: .now() + 0.05) == .timedOut)
    note("first ends")
    gate.leave {}
    #expect(entered.wait(timeout: .now() + 0.05) == .timedOut)
    note("second ends")
    gate.leave {}
    entered.wait()
    gate.enter(alone: false) { note("next") }
    gate.leave {}
    done.wait()
    #expect(seen.withLock { $0 } == ["first ends", "second ends", "alone", "alone ends", "next"])
  }
}

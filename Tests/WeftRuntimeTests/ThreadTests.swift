// Sessions used by several threads at once, and threads inside a run: what ThreadSanitizer watches.

import Testing
import WeftGraph
import WeftOps
import WeftRuntime
import WeftTensors

@Suite struct ThreadTests {
  @Test func runsOfOneSessionTakeTurns() throws {
    let graph = Graph()
    let x = try graph.placeholder(.float32, shape: Shape(dims: [.unknown, .known(64)]), name: "x")
    let y = try tanh(try matmul(x, x, transposeB: true))
    let total = try graph.variable("total", dtype: .float32, shape: Shape([])) {
      try graph.constant(0, dtype: .float32)
    }
    let one = try graph.constant(1, dtype: .float32)
    let add = try assignAdd(total, one)
    let session = Session(graph, options: SessionOptions(threads: 2))
    try session.initialize()
    let (feed, fetch, addition) = (x.edge, y.edge, add.id)
    try inParallel(8) { index in
      // Each thread has a shape of its own, and so a plan of its own to compile.
      let rows = 1 + index % 4 * 40
      let value = try Tensor(
        [Float](repeating: Float(index) / 64, count: rows * 64), shape: [rows, 64])
      let wanted = Double(index * index) / 64
      for _ in 0..<10 {
        let found = try session.run([fetch], feeds: [(feed, value)], targets: [addition])
        let elements = try found[0].array(of: Float.self)
        #expect(elements.count == rows * rows)
        // tanh of the sum of 64 equal products.
        let first = try #require(elements.first)
        #expect(elements.allSatisfy { abs($0 - first) < 1e-6 })
        let error = abs(Double(first) - hyperbolicTangent(wanted))
        #expect(error < 1e-5, "\(index): \(first)")
      }
    }
    let count: Float = try session.run([total.value])[0].scalar()
    #expect(count == 80)
  }

  @Test func preparedRunsTakeTurns() throws {
    let graph = Graph()
    let x = try graph.placeholder(.float32, shape: Shape([100]), name: "x")
    let y = try x + x
    let session = Session(graph, options: SessionOptions(threads: 2))
    let feed = try Tensor([Float](repeating: 0, count: 100))
    let run = try session.prepare([y.edge], feeds: [(x.edge, feed.type)])
    try inParallel(6) { index in
      let value = try Tensor([Float](repeating: Float(index), count: 100))
      var results: [Tensor] = []
      for _ in 0..<50 {
        try run.run([value], into: &results)
        let elements = try results[0].array(of: Float.self)
        #expect(elements.allSatisfy { $0 == Float(2 * index) })
      }
    }
  }

  @Test func threadsChangeNoBit() throws {
    let graph = Graph()
    // Odd sizes, so that parts are of different sizes.
    let (rows, inner, columns) = (331, 77, 503)
    let x = try graph.placeholder(.float32, shape: Shape([rows, inner]), name: "x")
    let w = try graph.placeholder(.float32, shape: Shape([inner, columns]), name: "w")
    let scores = try softmax(try tanh(try matmul(x, w)))
    let loss = try sum(try scores * scores)
    let slope = try #require(try gradients(of: [loss], withRespectTo: [w])[0])
    let fetches = [scores.edge, loss.edge, try dense(slope).edge]
    func values(_ count: Int, _ step: Int) -> [Float] {
      (0..<count).map { Float($0 * step % 1009) / 1009 - 0.5 }
    }
    let feeds = [
      (x.edge, try Tensor(values(rows * inner, 31), shape: [rows, inner])),
      (w.edge, try Tensor(values(inner * columns, 17), shape: [inner, columns])),
    ]
    func run(threads: Int) throws -> [Tensor] {
      try Session(graph, options: SessionOptions(threads: threads)).run(fetches, feeds: feeds)
    }
    let alone = try run(threads: 1)
    for threads in [2, 3, 5] {
      for (one, several) in zip(alone, try run(threads: threads)) {
        #expect(one.isIdentical(to: several), "\(threads) threads")
      }
    }
  }

  // Without the C library: 1 - 2 / (e^2x + 1), e^2x by its series.
  private func hyperbolicTangent(_ x: Double) -> Double {
    var (term, power) = (1.0, 1.0)
    for n in 1..<60 {
      term *= 2 * x / Double(n)
      power += term
    }
    return 1 - 2 / (power + 1)
  }
}

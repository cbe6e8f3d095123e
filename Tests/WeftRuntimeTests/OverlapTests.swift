// An independent check that no two values share memory while both are needed.

import Testing
import WeftCompiler
import WeftGraph
import WeftOps
import WeftRuntime
import WeftTensors

@Suite struct OverlapTests {
  /// Walks a plan's steps and keeps, for every byte range, who wrote it last: a step that reads a
  /// range which another step has written over since its maker wrote it has lost its operand.
  private func faults(_ plan: Plan) throws -> [String] {
    struct Range: Hashable {
      let from: Int
      let to: Int
    }
    func range(_ argument: Argument) throws -> Range? {
      guard case .arena(let offset) = argument.place, let shape = argument.type.shape.known else {
        return nil
      }
      let bytes = try Tensor.byteCount(dtype: argument.type.dtype, shape: shape)
      return bytes > 0 ? Range(from: offset, to: offset + bytes) : nil
    }
    var written: [(range: Range, step: Int)] = []
    // The steps whose results each step means to read, by the names of its inputs.
    var makers: [String: Int] = [:]
    var found: [String] = []
    for (index, step) in plan.steps.enumerated() {
      for place in 0..<step.inputCount {
        guard let wanted = try range(plan.arguments[step.argumentBase + place]),
          let maker = makers[step.inputNames[place]]
        else { continue }
        for (other, writer) in written
        where writer > maker && other.from < wanted.to && wanted.from < other.to {
          found.append("\(step.name) reads what \(plan.steps[writer].name) wrote over")
        }
      }
      for port in 0..<step.outputCount {
        let argument = plan.arguments[step.argumentBase + step.inputCount + port]
        makers["\(step.name):\(port)"] = index
        guard let mine = try range(argument) else { continue }
        #expect(mine.to <= plan.arenaBytes, "\(step.name) leaves the arena")
        written.removeAll { $0.range.from >= mine.from && $0.range.to <= mine.to }
        written.append((mine, index))
        if let kernel = step.kernel, kernel.scratchBytes > 0 {
          let scratch = (step.scratchOffset, step.scratchOffset + kernel.scratchBytes)
          #expect(
            scratch.1 <= mine.from || scratch.0 >= mine.to, "\(step.name) works in its own result")
        }
      }
    }
    return found
  }

  /// A recurrent net with a dense layer and its gradients, whose plan has every kind of step.
  private func plan(reuses: Bool, passes: Bool) throws -> Plan {
    let graph = Graph()
    let input = try graph.placeholder(.float32, shape: Shape([9, 6, 5]))
    let w = try graph.placeholder(.float32, shape: Shape([9, 4]))
    let v = try graph.placeholder(.float32, shape: Shape([4, 30]))
    let labels = try graph.placeholder(.int32, shape: Shape([54]))
    var h = try graph.constant(try Tensor(zeros: .float32, shape: [9, 4]))
    var all: [Output] = []
    for x in try unstack(input, axis: 1) {
      h = try tanh(matmul(concat([x, h], axis: 1), w))
      all.append(h)
    }
    let rows = try concat(all, axis: 0)
    let losses = try sparseSoftmaxCrossEntropy(labels: labels, logits: matmul(rows, v))
    let loss = try sum(losses) + sum(square(rows) * 0.5 + sigmoid(rows))
    var fetches = [loss]
    for case .dense(let slope)? in try gradients(of: [loss], withRespectTo: [input, w, v]) {
      fetches.append(slope)
    }
    var options = SessionOptions(threads: 1)
    options.compile.reusesMemory = reuses
    if !passes { options.compile.disabled = Set(optionalPasses) }
    return try Session(graph, options: options).plan(
      fetches.map(\.edge),
      feeds: [input, w, v, labels].map {
        ($0.edge, TensorType($0.dtype, $0.shape))
      })
  }

  @Test func valuesAreUsedUpBeforeOthersAreMade() throws {
    // All large values are made before the first is used; and a write, which comes last in any order.
    let graph = Graph()
    let x = try graph.placeholder(.float32, shape: Shape([256, 1]))
    let v = try graph.variable("v", initialValue: try graph.constant(Float(2)))
    let large = try (0..<20).map {
      try x * (try graph.constant([Float](repeating: Float($0), count: 256)))
    }
    let before = try v.value + 0
    let write = try assign(v, try v.value * 3)
    let small = try large.map { try sum($0) + before }
    let plan = try Session(graph).plan(
      small.map(\.edge), feeds: [(x.edge, TensorType(.float32, Shape([256, 1])))],
      targets: [write.id])
    #expect(plan.arenaBytes >= 256 * 256 * 4)
    #expect(plan.arenaBytes < 3 * 256 * 256 * 4)
    #expect(plan.steps.last?.def.name == "AssignVariableOp")
  }

  @Test func partsOfAValueShareItsMemory() throws {
    let graph = Graph()
    let input = try graph.placeholder(.float32, shape: Shape([8, 4, 16]))
    let x = try input * 2
    // Parts as they lie: whole, nested, and cut along the first axis that is longer than one.
    let parts = try unstack(x)
    let middle = try x.sliced(begin: [2, 0, 0], size: [5, 4, 16])
    let halves = try split(middle.sliced(begin: [1, 0, 0], size: [4, 4, 16]), count: 2, axis: 0)
    // Not such parts: columns, a small one, and one that begins between cache lines.
    let column = try x.sliced(begin: [0, 0, 2], size: [8, 4, 3])
    let small = try x.sliced(begin: [3, 1, 0], size: [1, 1, 16])
    let odd = try x.reshaped(to: [512]).sliced(begin: [3], size: [500])
    // Written over: x is in use until the sum, parts[7] dies before it.
    let last = try parts[7] * 3
    let total = try sum(x)
    let fetches = [
      parts[0], parts[6], last, middle, halves[0], halves[1], column, small, odd, total,
    ]
    let feed = try Tensor((0..<512).map { Float($0) }, shape: [8, 4, 16])
    let session = Session(graph)
    let plan = try session.plan(fetches.map(\.edge), feeds: [(input.edge, feed.type)])
    #expect(
      plan.steps.map(\.def.name).filter { $0 != "Mul" && $0 != "Sum" } == [
        "Slice", "Slice", "Slice",
      ])
    let values = try session.run(fetches, feeds: [input: feed])
    func doubled(_ range: Range<Int>) -> [Float] { range.map { Float(2 * $0) } }
    let expected = [
      doubled(0..<64), doubled(384..<448), doubled(448..<512).map { $0 * 3 }, doubled(128..<448),
      doubled(192..<320), doubled(320..<448),
      (0..<32).flatMap { doubled($0 * 16 + 2..<$0 * 16 + 5) }, doubled(208..<224),
      doubled(3..<503), [Float(511 * 512)],
    ]
    for (index, (value, wanted)) in zip(values, expected).enumerated() {
      #expect(try value.array(of: Float.self) == wanted, "fetch \(index)")
    }
    // The arena's curve knows that parts keep the whole in use.
    #expect((plan.liveBytes.last ?? 0) >= 512 * 4)
  }

  @Test(arguments: [true, false]) func valuesKeepTheirMemory(_ passes: Bool) throws {
    let shared = try plan(reuses: true, passes: passes)
    #expect(try faults(shared) == [])
    let own = try plan(reuses: false, passes: passes)
    #expect(try faults(own) == [])
    #expect(shared.arenaBytes < own.arenaBytes)
  }
}

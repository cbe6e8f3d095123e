// Loops and conditionals in runs: written graphs of TensorFlow 1's dialect, limits, effects.

import Testing
import WeftCompiler
import WeftFormats
import WeftGraph
import WeftOps
import WeftRuntime
import WeftTensors

/// A node of a written graph.
private func node(_ name: String, _ op: String, _ inputs: [String], _ attrs: String = "") -> String
{
  let list = inputs.map { "\"\($0)\"" }.joined(separator: ",")
  return #"{"name":"\#(name)","op":"\#(op)","input":[\#(list)],"attr":{\#(attrs)}}"#
}

private func frame(_ name: String, constant: Bool = false, type: String = "DT_INT32") -> String {
  let encoded = name == "outer" ? "b3V0ZXI=" : "aW5uZXI="
  return
    #""T":{"type":"\#(type)"},"frame_name":{"s":"\#(encoded)"},"is_constant":{"b":\#(constant)}"#
}

private func constant(_ name: String, _ value: Int, after: String? = nil) -> String {
  node(
    name, "Const", after.map { ["^\($0)"] } ?? [],
    #""dtype":{"type":"DT_INT32"},"value":{"tensor":{"dtype":"DT_INT32","tensorShape":{},"intVal":[\#(value)]}}"#
  )
}

private let int = #""T":{"type":"DT_INT32"}"#
private let two = int + #","N":{"i":"2"}"#

@Suite struct LoopTests {
  private func session(_ nodes: [String], limit: Int? = nil) throws -> Session {
    let text = #"{"node":[\#(nodes.joined(separator: ","))]}"#
    var options = SessionOptions(threads: 1)
    if let limit { options.compile.iterationLimit = limit }
    return Session(
      try GraphFile.decode(Array(text.utf8), registry: .standard), options: options)
  }

  private func run(_ session: Session, _ fetch: String, _ feeds: [String: Int32]) throws -> Int32 {
    try session.run(
      [session.graph.edge(fetch)],
      feeds: feeds.sorted { $0.key < $1.key }.map {
        (try session.graph.edge($0.key), try Tensor(scalar: $0.value))
      })[0].scalar()
  }

  /// Adds 1, 2, ... 3 to a number, n times: a loop in a loop.
  private var nested: [String] {
    let shape = #""dtype":{"type":"DT_INT32"},"shape":{"shape":{}}"#
    return [
      node("n", "Placeholder", [], shape), constant("zero", 0),
      node("i0", "Enter", ["zero"], frame("outer")),
      node("t0", "Enter", ["zero"], frame("outer")),
      node("limit", "Enter", ["n"], frame("outer", constant: true)),
      node("i", "Merge", ["i0", "iNext"], two), node("t", "Merge", ["t0", "tNext"], two),
      node("less", "Less", ["i", "limit"], int), node("go", "LoopCond", ["less"]),
      node("iSwitch", "Switch", ["i", "go"], int), node("tSwitch", "Switch", ["t", "go"], int),
      node("iBody", "Identity", ["iSwitch:1"], int), constant("one", 1, after: "iBody"),
      node("iSum", "AddV2", ["iBody", "one"], int), node("iNext", "NextIteration", ["iSum"], int),
      node("k0", "Enter", ["one"], frame("inner")),
      node("u0", "Enter", ["tSwitch:1"], frame("inner")),
      node("k", "Merge", ["k0", "kNext"], two), node("u", "Merge", ["u0", "uNext"], two),
      constant("three", 3, after: "k"), node("inLess", "LessEqual", ["k", "three"], int),
      node("inGo", "LoopCond", ["inLess"]), node("kSwitch", "Switch", ["k", "inGo"], int),
      node("uSwitch", "Switch", ["u", "inGo"], int),
      node("kBody", "Identity", ["kSwitch:1"], int), constant("step", 1, after: "kBody"),
      node("kSum", "AddV2", ["kBody", "step"], int),
      node("uSum", "AddV2", ["uSwitch:1", "kBody"], int),
      node("kNext", "NextIteration", ["kSum"], int), node("uNext", "NextIteration", ["uSum"], int),
      node("uExit", "Exit", ["uSwitch"], int), node("tNext", "NextIteration", ["uExit"], int),
      node("tExit", "Exit", ["tSwitch"], int), node("iExit", "Exit", ["iSwitch"], int),
      node("out", "Identity", ["tExit"], int),
    ]
  }

  @Test(arguments: [0, 1, 5]) func aLoopInALoop(_ n: Int32) throws {
    let session = try session(nested)
    #expect(try run(session, "out", ["n": n]) == 6 * n)
    // The same plan again.
    #expect(try run(session, "out", ["n": n]) == 6 * n)
    #expect(try run(session, "iExit", ["n": n]) == n)
  }

  @Test func iterationsOfAllLoopsCount() throws {
    let session = try session(nested, limit: 100)
    #expect(try run(session, "out", ["n": 10]) == 60)
    #expect(throws: WeftError.self) { try run(session, "out", ["n": 30]) }
    // A run that failed leaves nothing behind.
    #expect(try run(session, "out", ["n": 10]) == 60)
  }

  @Test func onlyTheBranchTakenRuns() throws {
    let graph = Graph()
    let x = try graph.placeholder(.float32, shape: [2])
    let taken = try graph.placeholder(.bool, shape: .scalar)
    let variable = try graph.variable("count", initialValue: graph.constant(Float(0)))
    let result = try cond(
      taken, [x],
      then: { arguments in
        let inner = arguments[0].graph
        let one = try sum(arguments[0] * 0) + 1
        let add = try inner.add("AssignAddVariableOp", inputs: [variable.handle, one])
        return try inner.withControlDependencies([add.id]) { [try arguments[0] + 1] }
      }, otherwise: { [try $0[0] * 2] })
    let session = Session(graph)
    try session.run([], targets: [variable.initializer])
    for value in [true, false, true] {
      let y = try session.run(
        result, feeds: [x: try Tensor([Float(3), 4]), taken: try Tensor([value], shape: [])])[0]
      #expect(try y.array(of: Float.self) == (value ? [4, 5] : [6, 8]))
    }
    #expect(try session.run([variable.value])[0].scalar(of: Float.self) == 2)
  }

  @Test func shapesThatGrow() throws {
    let graph = Graph()
    let start = try graph.constant([Float(1)])
    let n = try graph.placeholder(.int32, shape: .scalar)
    let result = try whileLoop(
      [graph.constant(Int32(0)), start], shapeInvariants: [.scalar, [-1]],
      condition: { try less($0[0], n) },
      body: { [try $0[0] + 1, try concat([$0[1], $0[1] + 1], axis: 0)] })
    let session = Session(graph)
    for trips in [0, 1, 3] {
      let value = try session.run([result[1]], feeds: [n: try Tensor(scalar: Int32(trips))])[0]
      #expect(value.shape == [1 << trips])
    }
  }

  // The way back must see the numbers that the forward loop drew.
  @Test func gradientsThroughRandomNumbers() throws {
    let graph = Graph()
    let x = try graph.placeholder(.float64, shape: [3])
    let shape = try graph.constant([Int32(3)])
    let result = try whileLoop(
      [graph.constant(Int32(0)), x], condition: { try less($0[0], graph.constant(Int32(4))) },
      body: { v in
        let inner = v[0].graph
        let noise = try inner.output(
          "RandomUniform", inputs: [shape], attrs: ["dtype": .type(.float64)])
        return [try v[0] + 1, try v[1] * (noise + 0.5)]
      })[1]
    let slope = try denseGradients(of: sum(result), withRespectTo: [x])[0]
    let values = try Session(graph).run([result, slope], feeds: [x: try Tensor([1.0, 2, 3])])
    let (y, dx) = (try values[0].array(of: Double.self), try values[1].array(of: Double.self))
    for (index, start) in [1.0, 2, 3].enumerated() {
      #expect(abs(dx[index] * start - y[index]) < 1e-12)
    }
  }

  @Test func invariantsAreChecked() throws {
    let graph = Graph()
    let start = try graph.constant([Float(1)])
    #expect(throws: WeftError.self) {
      try whileLoop(
        [start], condition: { try less(sum($0[0]), sum($0[0]) + 1) },
        body: { [try concat([$0[0], $0[0]], axis: 0)] })
    }
    #expect(throws: WeftError.self) {
      try whileLoop(
        [start], condition: { try less(sum($0[0]), sum($0[0]) + 1) },
        body: { [try $0[0].cast(to: .float64)] })
    }
  }

  // A loop over values of unknown size is compiled for the numbers that it is given.
  @Test func numbersThatComeAgainAreTakenForWhatTheyAre() throws {
    let graph = Graph()
    let x = try graph.placeholder(.int32, shape: [4], name: "x")
    let n = try graph.placeholder(.int32, shape: .scalar, name: "n")
    // How many iterations there are is worked out with the plan.
    let count = try size(range(graph.constant(Int32(0)), n, graph.constant(Int32(1))))
    let result = try whileLoop(
      [graph.constant(Int32(0)), unique(x).values],
      shapeInvariants: [.scalar, Shape(dims: [.unknown])],
      condition: { try less($0[0], count) },
      body: { values in
        let graph = values[0].graph
        return [
          try values[0] + graph.constant(Int32(1)), try values[1] * graph.constant(Int32(2)),
        ]
      })
    let total = try sum(result[1])
    let session = Session(graph, options: SessionOptions(threads: 1))
    for count: Int32 in [3, 5, 3, 2, 5] {
      let found = try session.run(
        [total], feeds: [x: Tensor([Int32(7), 7, 1, 7]), n: Tensor(scalar: count)])
      #expect(try found[0].scalar(of: Int32.self) == 8 << count)
    }
  }

  @Test func aMillionIterations() throws {
    let graph = Graph()
    let limit = try graph.placeholder(.int32, shape: .scalar)
    let result = try whileLoop(
      [graph.constant(Int32(0)), graph.constant(Float(0))],
      condition: { try less($0[0], limit) },
      body: { [try $0[0] + $0[0].graph.constant(Int32(1)), try $0[1] * 0.5 + 1] })
    let session = Session(graph, options: SessionOptions(threads: 1))
    _ = try session.run(result, feeds: [limit: try Tensor(scalar: Int32(10))])
    let before = session.heldBytes
    let values = try session.run(result, feeds: [limit: try Tensor(scalar: Int32(1_000_000))])
    #expect(try values[0].scalar(of: Int32.self) == 1_000_000)
    #expect(try values[1].scalar(of: Float.self) == 2)
    #expect(session.heldBytes == before)
  }

  @Test func plansShowWhatLoopsRun() throws {
    let session = try session(nested)
    let text = try session.plan(
      [session.graph.edge("out")],
      feeds: [(session.graph.edge("n"), TensorType(.int32, .scalar))]
    ).description
    #expect(text.contains("| condition: 1 steps"))
    #expect(text.contains("| body: "))
    // The inner loop within the outer one's body.
    #expect(text.contains("|       | body: "))
  }

  @Test func maximumIterationsEndALoop() throws {
    let graph = Graph()
    let result = try whileLoop(
      [graph.constant(Int32(0))], maximumIterations: 7,
      condition: { try less($0[0], $0[0] + 1) }, body: { [try $0[0] + 1] })
    #expect(try Session(graph).run(result)[0].scalar(of: Int32.self) == 7)
  }

  @Test func filesKeepTheirFunctions() throws {
    let graph = Graph()
    let x = try graph.placeholder(.float32, shape: [2], name: "x")
    let y = try scan([x], state: [graph.constant(Float(0))]) { state, rows in
      let next = try state[0] + rows[0]
      return ([next], [next])
    }.values[0]
    _ = try identity(y, name: "y")
    let first = try GraphFile.encode(graph.snapshot, as: .json)
    let again = try GraphFile.decode(first, registry: .standard)
    #expect(try GraphFile.encode(again.snapshot, as: .json) == first)
    let value = try Session(again).run(
      [again.output("y")], feeds: [again.output("x"): try Tensor([Float(1), 2])])[0]
    #expect(try value.array(of: Float.self) == [1, 3])
  }
}

// Recurrences as TensorFlow 1 writes them: frames, tensor arrays, stacks for the gradient.

import Testing
import WeftCompiler
import WeftFormats
import WeftGraph
import WeftOps
import WeftRuntime
import WeftTensors

/// A graph file in the making. Attributes are given in short: `T=f N=2 frame_name=ZnJhbWU=`.
private struct WrittenGraph {
  private var nodes: [String] = []

  private static let types = [
    "f": "DT_FLOAT", "i": "DT_INT32", "b": "DT_BOOL", "h": "DT_RESOURCE",
  ]

  mutating func add(_ name: String, _ op: String, _ inputs: String, _ attrs: String = "") {
    let list = inputs.split(separator: " ").map { "\"\($0)\"" }.joined(separator: ",")
    let values = attrs.split(separator: " ").map { pair -> String in
      let parts = pair.split(separator: "=", maxSplits: 1).map(String.init)
      let (key, value) = (parts[0], parts[1])
      let text: String
      if let type = Self.types[value] {
        text = #"{"type":"\#(type)"}"#
      } else if value == "true" || value == "false" {
        text = #"{"b":\#(value)}"#
      } else if value.hasPrefix("[") {
        let sizes = value.dropFirst().dropLast().split(separator: ",")
        text =
          #"{"shape":{"dim":[\#(sizes.map { #"{"size":"\#($0)"}"# }.joined(separator: ","))]}}"#
      } else if Int(value) != nil {
        text = #"{"i":"\#(value)"}"#
      } else {
        text = #"{"s":"\#(value)"}"#
      }
      return #""\#(key)":\#(text)"#
    }
    nodes.append(
      #"{"name":"\#(name)","op":"\#(op)","input":[\#(list)],"attr":{\#(values.joined(separator: ","))}}"#
    )
  }

  mutating func constant(_ name: String, _ values: [Int], shape: [Int]? = nil) {
    let dims = (shape ?? [values.count]).map { #"{"size":"\#($0)"}"# }.joined(separator: ",")
    let list = values.map(String.init).joined(separator: ",")
    nodes.append(
      #"{"name":"\#(name)","op":"Const","attr":{"dtype":{"type":"DT_INT32"},"value":{"tensor":{"dtype":"DT_INT32","tensorShape":{"dim":[\#(dims)]},"intVal":[\#(list)]}}}}"#
    )
  }

  mutating func scalar(_ name: String, _ value: Int) { constant(name, [value], shape: []) }

  mutating func floats(_ name: String, _ value: Int, _ shape: [Int]) {
    let dims = shape.map { #"{"size":"\#($0)"}"# }.joined(separator: ",")
    nodes.append(
      #"{"name":"\#(name)","op":"Const","attr":{"dtype":{"type":"DT_FLOAT"},"value":{"tensor":{"dtype":"DT_FLOAT","tensorShape":{"dim":[\#(dims)]},"floatVal":[\#(value)]}}}}"#
    )
  }

  /// Values from outside, which a frame knows under their names and its own.
  mutating func enter(_ frame: String, _ type: String, _ names: String) {
    for name in names.split(separator: " ") {
      add(
        "\(name)@\(frame)".replacing("@", with: "/in/"), "Enter", String(name),
        "T=\(type) frame_name=\(frame) is_constant=true")
    }
  }

  /// A value that a loop carries: what starts it, and what the body makes of it. Inside it is called
  /// by its name, at the end `name/exit`.
  mutating func carry(_ name: String, _ frame: String, _ type: String, from: String, next: String) {
    add("\(name)/enter", "Enter", from, "T=\(type) frame_name=\(frame)")
    add("\(name)/merge", "Merge", "\(name)/enter \(name)/next", "T=\(type) N=2")
    add("\(name)/switch", "Switch", "\(name)/merge go\(frame)", "T=\(type)")
    add(name, "Identity", "\(name)/switch:1", "T=\(type)")
    add("\(name)/exit", "Exit", "\(name)/switch", "T=\(type)")
    add("\(name)/next", "NextIteration", next, "T=\(type)")
  }

  func graph() throws -> Graph {
    let text = #"{"node":[\#(nodes.joined(separator: ","))]}"#
    return try GraphFile.decode(Array(text.utf8), registry: .standard)
  }
}

@Suite struct ArrayLoopTests {
  private static let steps = 9

  /// What is not as in `dynamic_rnn`.
  enum Deviation: CaseIterable {
    case none, outputsDoNotEnd, countIsRead, elementsHaveNoShape, gradientIsNotCounted
    case stepsBackAreCounted, boundsAreNested, sumBroadcasts
  }

  // h = tanh([x, h] w) for two rows, and the gradient of the sum of outputs times `dys`.
  private func written(
    hasLengths: Bool, _ deviation: Deviation, stackSize: String = "steps"
  ) throws -> Graph {
    var g = WrittenGraph()
    g.add("x", "Placeholder", "", "dtype=f shape=[\(Self.steps),2,3]")
    g.add("w", "Placeholder", "", "dtype=f shape=[7,4]")
    g.add("dys", "Placeholder", "", "dtype=f shape=[\(Self.steps),2,4]")
    g.add("lengths", "Placeholder", "", "dtype=i shape=[2]")
    for (name, value) in [("zero", 0), ("one", 1), ("steps", Self.steps)] { g.scalar(name, value) }
    g.constant("all", Array(0..<Self.steps))
    g.constant("axes", [0])
    g.constant("axes1", [1])
    g.floats("start", 0, [2, 4])
    g.floats("noW", 0, [7, 4])
    g.floats("noFlow", 0, [])
    g.floats("huge", 1_000_000, [])
    for (name, value) in [
      ("xAt", [0, 0]), ("xSize", [2, 3]), ("hAt", [0, 3]), ("hSize", [2, 4]),
    ] {
      g.constant(name, value)
    }
    let shape = deviation == .elementsHaveNoShape ? "" : " element_shape=[2,4]"
    g.add("in", "TensorArrayV3", "steps", "dtype=f")
    g.add("out", "TensorArrayV3", "steps", "dtype=f" + shape)
    g.add("inFlow", "TensorArrayScatterV3", "in all x in:1", "T=f")
    for (name, type) in [("ys", "f"), ("xhs", "f"), ("ends", "b")] {
      g.add(name, "StackV2", stackSize, "elem_type=\(type)")
    }
    g.add("longest", "Max", "lengths axes", "T=i Tidx=i")
    g.add("atLeastOne", "Maximum", "one longest", "T=i")
    g.scalar("eight", 8)
    if deviation == .boundsAreNested {
      g.add("inner", "Minimum", "eight longest", "T=i")
      g.add("bound", "Maximum", "steps inner", "T=i")
    } else {
      g.add("bound", "Minimum", "steps atLeastOne", "T=i")
    }
    forward(&g, hasLengths: hasLengths, deviation)
    backward(&g, hasLengths: hasLengths, deviation)
    return try g.graph()
  }

  private func forward(_ g: inout WrittenGraph, hasLengths: Bool, _ deviation: Deviation) {
    let frame = "Zndk"
    func inside(_ name: String) -> String { "\(name)/in/\(frame)" }
    g.enter(frame, "h", "in out ys xhs ends")
    g.enter(frame, "f", "inFlow w start")
    g.enter(frame, "i", "one steps bound lengths")
    g.carry("i", frame, "i", from: "zero", next: "i/plus")
    g.carry("n", frame, "i", from: "zero", next: "n/plus")
    g.carry("h", frame, "f", from: "start", next: "h/new")
    g.carry("flow", frame, "f", from: "out:1", next: "write")
    // A scalar at first, then a number for each row.
    g.enter(frame, "i", "axes1")
    g.carry("sum", frame, "f", from: "noFlow", next: "sum/plus")
    g.add("y/sum", "Sum", "h/new \(inside("axes1"))", "T=f Tidx=i")
    g.add("sum/plus", "AddV2", "sum y/sum", "T=f")
    g.add("less", "Less", "i/merge \(inside(hasLengths ? "bound" : "steps"))", "T=i")
    g.add("go\(frame)", "LoopCond", "less")
    g.add("x/t", "TensorArrayReadV3", "\(inside("in")) i \(inside("inFlow"))", "dtype=f")
    g.add("xh", "ConcatV2", "x/t h \(inside("one"))", "T=f N=2 Tidx=i")
    g.add("z", "MatMul", "xh \(inside("w"))", "T=f")
    g.add("y", "Tanh", "z", "T=f")
    g.add("end", "GreaterEqual", "i \(inside("lengths"))", "T=i")
    let ends = hasLengths && deviation != .outputsDoNotEnd
    g.add("h/new", hasLengths ? "Select" : "Identity", hasLengths ? "end h y" : "y", "T=f")
    g.add(
      "out/t", ends ? "Select" : "Identity", ends ? "end \(inside("start")) y" : "y", "T=f")
    g.add("write", "TensorArrayWriteV3", "\(inside("out")) i out/t flow", "T=f")
    g.add("pushY", "StackPushV2", "\(inside("ys")) y", "T=f")
    g.add("pushXh", "StackPushV2", "\(inside("xhs")) xh", "T=f")
    g.add("pushEnd", "StackPushV2", "\(inside("ends")) end", "T=b")
    g.add("i/plus", "AddV2", "i \(inside("one"))", "T=i")
    g.add("n/plus", "AddV2", "n \(inside("one")) ^pushY ^pushXh ^pushEnd", "T=i")
    g.add("outputs", "TensorArrayGatherV3", "out all flow/exit", "dtype=f element_shape=[2,4]")
  }

  private func backward(_ g: inout WrittenGraph, hasLengths: Bool, _ deviation: Deviation) {
    let frame = "Yndk"
    func inside(_ name: String) -> String { "\(name)/in/\(frame)" }
    let source = "source=Z3JhZA=="
    g.add("outGrad", "TensorArrayGradV3", "out flow/exit", source)
    g.add("outGradFlow", "TensorArrayScatterV3", "outGrad all dys outGrad:1", "T=f")
    g.enter(frame, "h", "in out ys xhs ends")
    g.enter(frame, "f", "inFlow w start huge")
    g.enter(frame, "i", "one xAt xSize hAt hSize")
    g.carry("k", frame, "i", from: "n/exit", next: "index")
    g.carry("m", frame, "i", from: "zero", next: "m/plus")
    g.add("m/plus", "AddV2", "m \(inside("one"))", "T=i")
    g.carry("dh", frame, "f", from: "start", next: "dh/new")
    g.carry("dw", frame, "f", from: "noW", next: "dw/plus")
    g.carry("dFlow", frame, "f", from: "outGradFlow", next: "dFlow")
    g.carry("xFlow", frame, "f", from: "noFlow", next: "xFlow/plus")
    g.add("more", "GreaterEqual", "k/merge \(inside("one"))", "T=i")
    g.add("small", "Less", "xFlow/merge \(inside("huge"))", "T=f")
    g.add("both", "LogicalAnd", "more small")
    g.add("go\(frame)", "LoopCond", deviation == .gradientIsNotCounted ? "both" : "more")
    g.add("popY", "StackPopV2", inside("ys"), "elem_type=f")
    g.add("popXh", "StackPopV2", inside("xhs"), "elem_type=f")
    g.add("popEnd", "StackPopV2", inside("ends"), "elem_type=b")
    g.add("index", "Sub", "k \(inside("one"))", "T=i")
    g.add("outGrad/t", "TensorArrayGradV3", "\(inside("out")) dFlow", source)
    g.add("dy", "TensorArrayReadV3", "outGrad/t index dFlow", "dtype=f")
    let none = inside("start")
    func choose(_ name: String, _ a: String, _ b: String, otherwise: String) {
      let inputs = hasLengths ? "popEnd \(a) \(b)" : otherwise
      g.add(name, hasLengths ? "Select" : "Identity", inputs, "T=f")
    }
    let ended = deviation == .outputsDoNotEnd ? "dy" : none
    choose("dy/in", ended, "dy", otherwise: "dy")
    choose("dh/in", none, "dh", otherwise: "dh")
    choose("dh/kept", "dh", none, otherwise: none)
    g.add("dyh", "AddN", "dy/in dh/in", "T=f N=2")
    g.add("dz", "TanhGrad", "popY dyh", "T=f")
    g.add("dxh", "MatMul", "dz \(inside("w"))", "T=f transpose_b=true")
    g.add("dw/t", "MatMul", "popXh dz", "T=f transpose_a=true")
    g.add("dw/plus", "AddV2", "dw dw/t", "T=f")
    g.add("dx", "Slice", "dxh \(inside("xAt")) \(inside("xSize"))", "T=f Index=i")
    g.add("dh/back", "Slice", "dxh \(inside("hAt")) \(inside("hSize"))", "T=f Index=i")
    g.add("dh/new", "AddN", "dh/kept dh/back", "T=f N=2")
    g.add("inGrad/t", "TensorArrayGradV3", "\(inside("in")) \(inside("inFlow"))", source)
    g.add("writeDx", "TensorArrayWriteV3", "inGrad/t index dx \(inside("inFlow"))", "T=f")
    g.add("xFlow/plus", "AddV2", "xFlow writeDx", "T=f")
    g.add("inGrad", "TensorArrayGradV3", "in inFlow", source)
    g.add("dxs", "TensorArrayGatherV3", "inGrad all xFlow/exit", "dtype=f element_shape=[2,3]")
  }

  private func numbers(_ shape: [Int]) throws -> Tensor {
    let count = shape.reduce(1, *)
    return try Tensor((0..<count).map { Float(($0 * 7919) % 23) / 23 - 0.5 }, shape: shape)
  }

  private func run(
    _ graph: Graph, _ fetches: [String], lengths: [Int32], disabled: Set<String>
  ) throws -> (values: [[Float]], ops: [String]) {
    var options = SessionOptions(threads: 1)
    options.compile.disabled = disabled
    options.compile.checksPasses = true
    let session = Session(graph, options: options)
    let feeds = try [
      ("x", numbers([Self.steps, 2, 3])), ("w", numbers([7, 4])),
      ("dys", numbers([Self.steps, 2, 4])), ("lengths", try Tensor(lengths)),
    ].map { (try session.graph.edge($0.0), $0.1) }
    let edges = try fetches.map { try session.graph.edge($0) }
    let ops = try session.plan(edges, feeds: feeds.map { ($0.0, $0.1.type) }).steps.map(\.def.name)
    let values = try session.run(edges, feeds: feeds).map { value -> [Float] in
      value.dtype == .int32
        ? try value.array(of: Int32.self).map { Float($0) } : try value.array(of: Float.self)
    }
    return (values, ops)
  }

  @Test(arguments: [false, true], Deviation.allCases)
  func recurrencesRunInLoopKernels(_ hasLengths: Bool, _ deviation: Deviation) throws {
    let graph = try written(hasLengths: hasLengths, deviation)
    var fetches = ["outputs", "h/exit", "dw/exit", "dxs"]
    if deviation == .countIsRead { fetches.append("n/exit") }
    if deviation == .stepsBackAreCounted { fetches.append("m/exit") }
    if deviation == .sumBroadcasts { fetches.append("sum/exit") }
    for lengths: [Int32] in [[5, 3], [9, 4], [0, 1]] {
      let plain = try run(graph, fetches, lengths: lengths, disabled: ["unroll"])
      let rolled = try run(graph, fetches, lengths: lengths, disabled: [])
      #expect(plain.ops.filter { $0 == "While" }.count == 2)
      for (name, (found, wanted)) in zip(fetches, zip(rolled.values, plain.values)) {
        #expect(found.count == wanted.count)
        for (a, b) in zip(found, wanted) {
          #expect(abs(a - b) <= 1e-6 + 1e-5 * abs(b), "\(name) for \(lengths)")
        }
      }
      if deviation == .sumBroadcasts { continue }
      let differs = deviation != .none && deviation != .boundsAreNested
      let staysLoop = deviation == .gradientIsNotCounted || (hasLengths && differs)
      #expect(rolled.ops.contains("While") == staysLoop, "\(rolled.ops)")
      #expect(staysLoop || !rolled.ops.contains { $0.hasPrefix("TensorArray") })
      #expect(staysLoop || rolled.ops.contains("LoopBackward"))
      if deviation == .countIsRead || deviation == .stepsBackAreCounted {
        let steps = hasLengths ? Float(max(1, lengths.max() ?? 0)) : Float(Self.steps)
        #expect(rolled.values[4] == [steps])
      }
    }
  }

  @Test func aStackThatIsTooSmallIsAnError() throws {
    let graph = try written(hasLengths: false, .none, stackSize: "one")
    for disabled: Set<String> in [[], ["unroll"]] {
      #expect(throws: WeftError.self) {
        try run(graph, ["dw/exit"], lengths: [9, 9], disabled: disabled)
      }
    }
  }

  // As TensorFlow 2.21 does; nil where it fails. Reads come in order, then a write after them.
  @Test(arguments: [
    ("element_shape=[2]", [1], false, [Float(0), 0]),
    ("", [1], false, nil),
    ("identical_element_shapes=true", [1], false, [0, 0]),
    ("element_shape=[2] clear_after_read=false", [1, 1], false, [0, 0]),
    ("element_shape=[2]", [1, 1], false, nil),
    ("element_shape=[2] clear_after_read=false", [1], true, nil),
    ("element_shape=[2] clear_after_read=false", [0], true, [1, 1]),
    ("element_shape=[2]", [0, 0], false, nil),
  ])
  func elementsThatAreNotWrittenAreZeros(
    _ attrs: String, _ reads: [Int], _ writesAfter: Bool, _ wanted: [Float]?
  ) throws {
    var g = WrittenGraph()
    g.scalar("three", 3)
    g.floats("value", 1, [2])
    g.add("array", "TensorArrayV3", "three", "dtype=f " + attrs)
    for index in 0...1 { g.scalar("at\(index)", index) }
    g.add("first", "TensorArrayWriteV3", "array at0 value array:1", "T=f")
    var last = ""
    for (number, index) in reads.enumerated() {
      g.add("read\(number)", "TensorArrayReadV3", "array at\(index) first\(last)", "dtype=f")
      last = " ^read\(number)"
    }
    g.add("then", "TensorArrayWriteV3", "array at1 value first\(last)", "T=f")
    let session = Session(try g.graph())
    let fetches = try [session.graph.edge("read\(reads.count - 1)")]
    let targets = writesAfter ? [try session.graph.edge("then").node] : []
    if let wanted {
      let found = try session.run(fetches, targets: targets)
      #expect(try found[0].array(of: Float.self) == wanted)
    } else {
      #expect(throws: WeftError.self) { try session.run(fetches, targets: targets) }
    }
  }
}

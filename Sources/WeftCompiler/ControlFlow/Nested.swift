// Parts of the working graph with plans of their own, and how their kernels reach a running one.

internal import WeftGraph
package import WeftTensors

/// A value on its way into or out of a nested plan.
package enum NestedValue {
  /// Plain elements in memory that belongs to someone else.
  case memory(UnsafeMutableRawPointer, DType, [Int])
  /// A tensor of its own.
  case tensor(Tensor)
  /// A list or other object.
  case object(any Sendable)

  /// A tensor that outlives the memory it came from.
  func owned() throws(WeftError) -> NestedValue {
    guard case .memory(let address, let dtype, let shape) = self else { return self }
    let bytes = try Tensor.byteCount(dtype: dtype, shape: shape)
    let buffer = try Buffer(byteCount: bytes)
    if bytes > 0 { buffer.base.copyMemory(from: address, byteCount: bytes) }
    return .tensor(try Tensor(dtype: dtype, shape: shape, buffer: buffer))
  }
}

/// A nested plan with its memory, ready to run.
package protocol NestedExecution: AnyObject {
  /// Says what feed `index` is in the runs to come.
  func setFeed(_ index: Int, _ value: NestedValue)
  /// Says that many runs follow, until `endRuns`.
  func beginRuns()
  /// Ends what `beginRuns` began.
  func endRuns()
  /// Runs every step.
  func runSteps() throws
  /// What fetch `index` is after a run.
  func value(ofFetch index: Int) throws -> NestedValue
  /// Where fetch `index` is after every run, when that never changes.
  func address(ofFetch index: Int) -> UnsafeMutableRawPointer?
}

/// What runs plans: the objects of a kernel call, where nested plans are allowed.
package protocol NestedHost: AnyObject {
  /// A new execution of a nested plan.
  func makeNested(_ plan: Plan) throws -> any NestedExecution
  /// Counts iterations of loops against the limit for one run.
  func countIterations(_ count: Int) throws
}

/// What is known of a value at the border of a nested plan.
struct BorderType: Hashable {
  var type: TensorType
  var handle: HandleType?

  /// What is known of a value that comes from here or from there.
  func joined(with other: BorderType) -> BorderType {
    var result = self
    result.type.shape = type.shape.joined(with: other.type.shape)
    guard let a = handle, let b = other.handle, a.dtype == b.dtype else {
      result.handle = nil
      return result
    }
    // A list in which nothing is set takes what the other knows of its elements.
    switch (a.isFresh, b.isFresh) {
    case (true, false): result.handle = b
    case (false, true): result.handle = a
    default:
      result.handle = HandleType(a.dtype, a.shape.joined(with: b.shape), isFresh: a.isFresh)
    }
    return result
  }
}

/// What a nested part was compiled for.
struct NestedKey: Hashable {
  let types: [TensorType]
  let handles: [HandleType?]
  let known: [AttrValue?]
}

/// How nested parts are compiled.
struct NestedOptions: Sendable {
  let compile: CompileOptions
  let sessionSeed: UInt64
}

extension IR {
  /// The part made concrete for these feeds: passes have run.
  func specialized(
    _ feeds: [BorderType], known values: [Int: Tensor], _ options: NestedOptions
  ) throws -> IR {
    var copy = self
    for id in copy.nodes.indices {
      guard case .feed(let index) = copy.nodes[id].kind, feeds.indices.contains(index) else {
        continue
      }
      let given = feeds[index]
      let wanted = copy.nodes[id].outputs[0].dtype
      guard wanted == given.type.dtype || wanted == .invalid else {
        throw WeftError(
          .invalidArgument,
          "'\(copy.nodes[id].name)' takes \(wanted.name), the value given is \(given.type.dtype.name)"
        )
      }
      copy.nodes[id].outputs = [given.type]
      copy.nodes[id].outputs[0].isReference = false
      copy.nodes[id].handles = [given.handle]
      if let value = values[index] { copy.known[Edge(node: id, port: 0)] = value }
    }
    copy.feeds = feeds.map { (edge: Edge(node: 0, port: 0), type: $0.type) }
    copy.memoryLimit = options.compile.memoryLimit
    copy.iterationLimit = options.compile.iterationLimit
    copy.markLive()
    _ = try copy.runPasses(options.compile)
    return copy
  }

  /// What is known of each fetch.
  var results: [BorderType] {
    fetches.map { edge in
      let handles = nodes[edge.node].handles
      return BorderType(
        type: type(edge), handle: handles.indices.contains(edge.port) ? handles[edge.port] : nil)
    }
  }

  /// What the part puts behind handles that it is fed, where that is more than `given` says.
  func refined(_ given: [BorderType]) -> [Int: HandleType] {
    var all: [Int: HandleType] = [:]
    for node in nodes {
      guard case .feed(let index) = node.kind, given.indices.contains(index),
        let handle = node.handles.first.flatMap({ $0 }), handle != given[index].handle
      else { continue }
      all[index] = handle
    }
    return all
  }

  /// Which feeds are in use.
  var usedFeeds: Set<Int> {
    var used = Set<Int>()
    for id in nodes.indices where live[id] {
      if case .feed(let index) = nodes[id].kind { used.insert(index) }
    }
    return used
  }

  /// What a node that runs this part does to the session.
  var effects: OpTraits {
    var effects: OpTraits = []
    for node in nodes {
      let traits = node.def.traits
      if traits.contains(.writesVariable) { effects.insert(.writesVariable) }
      if !traits.isDisjoint(with: [.random, .drawsWithin]) { effects.insert(.drawsWithin) }
    }
    return effects
  }

  /// The plan of a part whose passes have run.
  func nestedPlan(_ options: NestedOptions) throws -> Plan {
    var planner = Planner(self, options: options.compile, sessionSeed: options.sessionSeed)
    return try planner.plan(passes: [])
  }
}

/// Compiled forms of one nested part, by what they were compiled for.
struct NestedCache<Value> {
  private var entries: [(key: NestedKey, value: Value)] = []
  /// Values that change from call to call would be compiled in again each time: they are left out
  /// once that has been seen.
  private(set) var usesKnown = true
  private static var limit: Int { 16 }

  /// The form for `key`, made when there is none yet.
  mutating func value(_ key: NestedKey, _ make: (NestedKey) throws -> Value) rethrows -> Value {
    var wanted = key
    if !usesKnown {
      wanted = NestedKey(
        types: key.types, handles: key.handles, known: key.known.map { _ in nil })
    }
    if let at = entries.lastIndex(where: { $0.key == wanted }) {
      // The last one is that of the latest call.
      entries.append(entries.remove(at: at))
      return entries[entries.count - 1].value
    }
    let similar = entries.count { $0.key.types == key.types && $0.key.handles == key.handles }
    if similar >= 4, usesKnown {
      usesKnown = false
      entries.removeAll { $0.key.types == key.types }
      return try value(key, make)
    }
    if entries.count >= Self.limit { entries.removeFirst() }
    let fresh = try make(wanted)
    entries.append((wanted, fresh))
    return fresh
  }

  /// The latest form for these inputs: what is compiled into it is what they hold.
  func latest(_ ctx: LowerContext) -> Value? {
    entries.last { entry in
      entry.key.types == ctx.inputs
        && entry.key.known.enumerated().allSatisfy { index, value in
          value == nil || value == ctx.tensor(index).map { .tensor($0) }
        }
    }?.value
  }
}

extension NestedKey {
  init(_ ctx: InferContext, values: Range<Int>) {
    types = ctx.inputs
    handles = ctx.inputs.indices.map { ctx.handle($0) }
    known = ctx.inputs.indices.map { index in
      guard values.contains(index), let tensor = ctx.tensor(index), tensor.count <= 64 else {
        return nil
      }
      return .tensor(tensor)
    }
  }

  /// The values that are known, by input.
  var values: [Int: Tensor] {
    var all: [Int: Tensor] = [:]
    for (index, value) in known.enumerated() {
      if case .tensor(let tensor)? = value { all[index] = tensor }
    }
    return all
  }
}

/// Gives the value of a nested plan as output `output` of a kernel call.
struct NestedTarget: Sendable {
  let output: Int
  let dtype: DType
  /// The shape when the output's memory is planned.
  let shape: [Int]?
  let op: String

  init(_ ctx: LowerContext, _ output: Int) {
    self.output = output
    dtype = ctx.outputs[output].dtype
    shape = dtype.isPlain ? ctx.outputs[output].shape.known : nil
    op = ctx.op.name
  }

  func write(_ call: borrowing KernelCall, _ value: NestedValue) throws {
    switch value {
    case .object(let object): call.setObject(object, output: output)
    case .tensor(let tensor):
      guard let shape else { return call.setObject(tensor, output: output) }
      try check(tensor.shape, tensor.dtype, shape)
      copy(call, tensor.buffer.base, tensor.byteCount)
    case .memory(let address, let type, let sizes):
      guard let shape else {
        if case .tensor(let tensor) = try value.owned() { call.setObject(tensor, output: output) }
        return
      }
      try check(sizes, type, shape)
      copy(call, address, try Tensor.byteCount(dtype: type, shape: sizes))
    }
  }

  private func copy(
    _ call: borrowing KernelCall, _ source: UnsafeMutableRawPointer, _ bytes: Int
  ) {
    if bytes > 0 { call.rawOutput(output).copyMemory(from: source, byteCount: bytes) }
  }

  private func check(_ sizes: [Int], _ type: DType, _ shape: [Int]) throws {
    guard sizes == shape, type == dtype else {
      throw WeftError(
        .invalidArgument,
        "\(op) output \(output) is \(type.name) \(sizes), declared \(dtype.name) \(shape)",
        category: .run)
    }
  }
}

/// Takes the value of an input of a kernel call.
struct NestedSource: Sendable {
  let input: Int
  let dtype: DType
  let shape: [Int]
  /// The variable that a reference refers to: it must have a value only where it is read.
  let cell: VariableCell?

  init(_ ctx: LowerContext, _ input: Int) {
    self.input = input
    dtype = ctx.dtype(input)
    shape = ctx.shape(input)
    cell = ctx.inputs[input].isReference ? try? ctx.variable(input) : nil
  }

  func read(_ call: borrowing KernelCall) throws -> NestedValue {
    if let cell {
      let value = try cell.read()
      return dtype.isPlain ? .memory(value.buffer.base, dtype, value.shape) : .tensor(value)
    }
    if dtype.isPlain { return .memory(call.arguments[input], dtype, shape) }
    guard let object = call.objectInput(input) else {
      throw WeftError(.internal, "input \(input) has no value", category: .run)
    }
    if let tensor = object as? Tensor { return .tensor(tensor) }
    return .object(object)
  }
}

// Drives the nested plans of one loop: no allocation and no lookup in an iteration where the carried
// values are plain and their shapes are known.

internal import WeftGraph
internal import WeftTensors

/// Runs one loop's plans. Used by one run at a time.
final class LoopRunner: @unchecked Sendable {
  private let plans: LoopPlans
  private let op: String
  private let sources: [NestedSource]
  private let targets: [NestedTarget]
  /// Memory of the carried values whose size is known.
  private let buffers: [Buffer?]
  private let sizes: [Int]
  private let selector: ConditionTest
  /// Carried values that the body only passes on under another number: they are read before any
  /// is written.
  private let staged: [(index: Int, buffer: Buffer)]
  private var ready: Ready?

  private struct Copy {
    let source: UnsafeMutableRawPointer
    let target: UnsafeMutableRawPointer
    let bytes: Int
  }

  private struct Ready {
    let condition: any NestedExecution
    let body: any NestedExecution
    let test: UnsafeMutableRawPointer?
    /// Carried values at fixed places.
    let copies: [Copy]
    let stagedCopies: [Copy]
    /// Carried values that move, or have no fixed size.
    let moving: [Int]
    let extras: [(fetch: Int, feed: Int)]
  }

  init(
    _ plans: LoopPlans, op: String, sources: [NestedSource], targets: [NestedTarget]
  ) throws {
    self.plans = plans
    self.op = op
    self.sources = sources
    self.targets = targets
    var buffers: [Buffer?] = []
    var sizes: [Int] = []
    for type in plans.carried {
      if type.dtype.isPlain, let shape = type.shape.known {
        let bytes = try Tensor.byteCount(dtype: type.dtype, shape: shape)
        buffers.append(try Buffer(byteCount: bytes))
        sizes.append(bytes)
      } else {
        buffers.append(nil)
        sizes.append(0)
      }
    }
    self.buffers = buffers
    self.sizes = sizes
    selector = ConditionTest(plans.condition.fetches[0].type)
    var staged: [(index: Int, buffer: Buffer)] = []
    for index in buffers.indices where buffers[index] != nil {
      if case .feed(let from) = plans.body.fetches[index].place, from != index,
        from < plans.carried.count
      {
        staged.append((index, try Buffer(byteCount: sizes[index])))
      }
    }
    self.staged = staged
  }

  private func prepare(_ call: borrowing KernelCall) throws -> Ready {
    if let ready { return ready }
    guard let host = call.objects as? any NestedHost else {
      throw WeftError(.internal, "nothing here runs nested plans", category: .run)
    }
    let condition = try host.makeNested(plans.condition)
    let body = try host.makeNested(plans.body)
    var copies: [Copy] = []
    var stagedCopies: [Copy] = []
    var moving: [Int] = []
    for (index, type) in plans.carried.enumerated() {
      guard let buffer = buffers[index], let shape = type.shape.known else {
        moving.append(index)
        continue
      }
      let value = NestedValue.memory(buffer.base, type.dtype, shape)
      if plans.conditionFeeds.contains(index) { condition.setFeed(index, value) }
      // Also when only a fetch names it.
      body.setFeed(index, value)
      if case .feed(index) = plans.body.fetches[index].place { continue }
      if let stage = staged.first(where: { $0.index == index }),
        case .feed(let from) = plans.body.fetches[index].place, let source = buffers[from]
      {
        stagedCopies.append(
          Copy(source: source.base, target: stage.buffer.base, bytes: sizes[index]))
        continue
      }
      if let source = body.address(ofFetch: index) {
        copies.append(Copy(source: source, target: buffer.base, bytes: sizes[index]))
      } else {
        moving.append(index)
      }
    }
    let inputs = sources.count
    let extras = plans.condition.fetches.indices.dropFirst().map { fetch in
      (fetch: fetch, feed: inputs + fetch - 1)
    }
    let fresh = Ready(
      condition: condition, body: body, test: condition.address(ofFetch: 0), copies: copies,
      stagedCopies: stagedCopies, moving: moving, extras: extras)
    ready = fresh
    return fresh
  }

  func run(_ call: borrowing KernelCall) throws {
    let ready = try prepare(call)
    guard let host = call.objects as? any NestedHost else { return }
    for index in plans.carried.indices {
      let value = try sources[index].read(call)
      if let buffer = buffers[index] {
        guard case .memory(let address, _, _) = value else { continue }
        if sizes[index] > 0 {
          buffer.base.copyMemory(from: address, byteCount: sizes[index])
        }
      } else {
        try set(index, try value.owned(), ready)
      }
    }
    for index in plans.carried.count..<max(plans.carried.count, sources.count) {
      let (inCondition, inBody) = (
        plans.conditionFeeds.contains(index), plans.bodyFeeds.contains(index)
      )
      guard inCondition || inBody else { continue }
      let value = try sources[index].read(call)
      if inCondition { ready.condition.setFeed(index, value) }
      if inBody { ready.body.setFeed(index, value) }
    }
    ready.condition.beginRuns()
    ready.body.beginRuns()
    defer {
      ready.condition.endRuns()
      ready.body.endRuns()
    }
    try iterate(ready, host)
    for (index, target) in targets.enumerated() {
      if let buffer = buffers[index], let shape = plans.carried[index].shape.known {
        try target.write(call, .memory(buffer.base, plans.carried[index].dtype, shape))
      } else {
        try target.write(call, current[index] ?? .object(0))
      }
    }
    current = [:]
  }

  /// Carried values without memory of their own here.
  private var current: [Int: NestedValue] = [:]

  private func set(_ index: Int, _ value: NestedValue, _ ready: Ready) throws {
    current[index] = value
    if plans.conditionFeeds.contains(index) { ready.condition.setFeed(index, value) }
    ready.body.setFeed(index, value)
  }

  private func iterate(_ ready: Ready, _ host: any NestedHost) throws {
    var count = 0
    while true {
      try ready.condition.runSteps()
      if let test = ready.test {
        if try !selector.isTrue(test) { break }
      } else if try !selector.isTrue(try ready.condition.value(ofFetch: 0)) {
        break
      }
      for extra in ready.extras {
        ready.body.setFeed(extra.feed, try ready.condition.value(ofFetch: extra.fetch))
      }
      try ready.body.runSteps()
      try advance(ready)
      count += 1
      if count == 1 << 12 {
        try host.countIterations(count)
        count = 0
      }
    }
    try host.countIterations(count)
  }

  private func advance(_ ready: Ready) throws {
    for copy in ready.stagedCopies {
      copy.target.copyMemory(from: copy.source, byteCount: copy.bytes)
    }
    if !ready.moving.isEmpty { try advanceMoving(ready) }
    for copy in ready.copies { copy.target.copyMemory(from: copy.source, byteCount: copy.bytes) }
    for entry in staged {
      buffers[entry.index]?.base.copyMemory(
        from: entry.buffer.base, byteCount: sizes[entry.index])
    }
  }

  private func advanceMoving(_ ready: Ready) throws {
    var fresh: [(Int, NestedValue)] = []
    for index in ready.moving {
      fresh.append((index, try ready.body.value(ofFetch: index).owned()))
    }
    for (index, value) in fresh {
      guard let buffer = buffers[index] else {
        try set(index, value, ready)
        continue
      }
      guard case .tensor(let tensor) = value, tensor.shape == plans.carried[index].shape.known
      else {
        throw WeftError(
          .invalidArgument,
          "\(op) carries \(plans.carried[index]) as value \(index), its body gives another shape",
          category: .run)
      }
      if sizes[index] > 0 {
        buffer.base.copyMemory(from: tensor.buffer.base, byteCount: sizes[index])
      }
    }
  }
}

/// Whether a loop's condition holds.
struct ConditionTest: Sendable {
  let dtype: DType
  let shape: [Int]?

  init(_ type: TensorType) {
    dtype = type.dtype
    shape = type.shape.known
  }

  @inline(__always)
  func isTrue(_ memory: UnsafeMutableRawPointer) throws -> Bool {
    if dtype == .bool { return memory.load(as: UInt8.self) != 0 }
    return try isTrue(.memory(memory, dtype, shape ?? []))
  }

  func isTrue(_ value: NestedValue) throws -> Bool {
    switch value {
    case .object: throw WeftError(.invalidArgument, "a condition is no tensor", category: .run)
    case .tensor(let tensor):
      if tensor.dtype == .string {
        return tensor.shape.isEmpty
          ? tensor.strings.first?.isEmpty == false : !tensor.shape.contains(0)
      }
      return try isTrue(.memory(tensor.buffer.base, tensor.dtype, tensor.shape))
    case .memory(let address, let dtype, let shape):
      guard shape.isEmpty else { return !shape.contains(0) }
      if dtype == .float32 { return address.load(as: Float.self) != 0 }
      if dtype == .float64 { return address.load(as: Double.self) != 0 }
      return UnsafeRawBufferPointer(start: address, count: dtype.byteSize).contains { $0 != 0 }
    }
  }
}

// Walks a plan's steps over one arena.

internal import WeftCompiler
internal import WeftGraph
internal import WeftTensors

/// The memory of one plan: arena, slots and ready addresses. Used by one run at a time.
final class Execution: RunObjects, @unchecked Sendable {
  let plan: Plan
  let arena: Buffer
  let addresses: UnsafeMutablePointer<UnsafeMutableRawPointer>
  let pool: ThreadPool
  let store: VariableStore
  private let limit: Int
  override var memoryLimit: Int { limit }
  var slots: [Slot]
  /// The feeds; nil where a nested plan is fed an object.
  var feeds: [Tensor?] = []
  var draw: UInt64 = 0
  /// Arguments whose address is a feed's, with the feed's number.
  private(set) var feedArguments: [(argument: Int, feed: Int)] = []
  // See ReadySteps.swift.
  var readySteps: [ReadyStep] = []
  var variableArguments: [VariableArgument] = []
  /// Times of the steps, when they are asked for.
  var clock: StepClock?
  // Of nested plans, see Loops.swift.
  var feedObjects: [(any Sendable)?] = []
  var feedPlaces: [[Int]] = []
  var fastSteps: [FastStep]?
  var calls: UnsafeMutablePointer<KernelCall>?
  var nested: [NestedReference] = []
  var iterations = IterationCount(limit: CompileOptions().iterationLimit)
  /// Kernels of late steps, kept while their input shapes and values stay the same.
  private var lateKernels: [Int: LateKernel] = [:]

  struct Slot {
    var buffer: Buffer?
    var shape: [Int] = []
    var object: (any Sendable)?
  }

  private struct LateKernel {
    var inputs: [TensorType]
    var values: [Tensor?]
    var outputs: [TensorType]
    var kernel: Kernel
    var function: KernelFunction?
  }

  /// - Parameter isNested: whether it is for a part of another run, which may need it or not.
  init(
    plan: Plan, pool: ThreadPool, store: VariableStore, memoryLimit: Int, isNested: Bool = false
  ) throws {
    self.plan = plan
    limit = memoryLimit
    self.pool = pool
    self.store = store
    do throws(WeftError) {
      let needed = isNested ? plan.arenaBytes : plan.neededBytes
      guard needed <= memoryLimit else {
        throw WeftError(
          .resourceExhausted,
          "a run needs \(needed) bytes at once, the memory limit is \(memoryLimit)",
          category: .run)
      }
      arena = try Buffer(byteCount: plan.arenaBytes)
    } catch {
      throw plan.namingLargest(error)
    }
    slots = Array(repeating: Slot(), count: plan.slotCount)
    addresses = .allocate(capacity: max(1, plan.arguments.count))
    super.init()
    for (index, argument) in plan.arguments.enumerated() {
      var address = arena.base
      switch argument.place {
      case .arena(let offset): address = arena.base + offset
      case .constant(let value): address = value.buffer.base
      case .feed(let feed): feedArguments.append((index, feed))
      case .variable, .slot, .none: break
      }
      addresses.advanced(by: index).initialize(to: address)
    }
    try makeReadySteps()
    reportedBytes = heldBytes
  }

  deinit {
    addresses.deinitialize(count: plan.arguments.count)
    addresses.deallocate()
  }

  // MARK: - RunObjects

  override func inputs(_ index: Int) -> (any Sendable)? {
    switch plan.arguments[index].place {
    case .slot(let slot): slots[slot].object
    case .constant(let value): value
    case .feed(let feed): feedObjects.isEmpty ? feeds[feed] : feedObjects[feed] ?? feeds[feed]
    case .variable(let cell): cell.value
    case .arena, .none: nil
    }
  }

  override func setOutput(_ index: Int, _ value: any Sendable) {
    guard case .slot(let slot) = plan.arguments[index].place else { return }
    slots[slot].object = value
    if let tensor = value as? Tensor, tensor.dtype.isPlain {
      slots[slot].buffer = tensor.buffer
      slots[slot].shape = tensor.shape
    }
  }

  override func setShape(_ index: Int, _ shape: [Int]) {
    guard case .slot(let slot) = plan.arguments[index].place else { return }
    slots[slot].shape = shape
  }

  override var runIndex: UInt64 { draw }

  // MARK: - Running

  /// Runs every step and returns the fetches as tensors of their own.
  func run(_ feeds: [Tensor]) throws -> [Tensor] {
    var results: [Tensor] = []
    try run(feeds, into: &results)
    return results
  }

  /// Runs every step; fetches go into `results`, into the tensors there where they fit.
  func run(_ given: [Tensor], into results: inout [Tensor]) throws {
    if feeds.count != given.count { feeds = Array(repeating: nil, count: given.count) }
    for index in given.indices { feeds[index] = given[index] }
    defer { for index in feeds.indices { feeds[index] = nil } }
    // What an earlier run made large must not leave this one, of other sizes, without room.
    if !slots.isEmpty, heldBytes - plan.arenaBytes > memoryLimit / 4 {
      for slot in slots.indices { slots[slot].buffer = nil }
    }
    for entry in feedArguments { addresses[entry.argument] = given[entry.feed].buffer.base }
    iterations.count = 0
    try runAllSteps()
    var copied = 0
    for index in plan.fetches.indices {
      if index < results.count, overwrite(&results[index], plan.fetches[index]) { continue }
      let value = try fetched(plan.fetches[index], &copied)
      if index < results.count { results[index] = value } else { results.append(value) }
    }
    if results.count > plan.fetches.count { results.removeLast(results.count - plan.fetches.count) }
  }

  // Copies a fetched value into a tensor of an earlier run, if that is its caller's alone.
  private func overwrite(_ result: inout Tensor, _ argument: Argument) -> Bool {
    switch argument.place {
    case .arena(let offset): result.overwrite(argument.type, from: arena.base + offset)
    case .variable(let cell):
      cell.value.map {
        $0.has(argument.type) && result.overwrite(argument.type, from: $0.buffer.base)
      }
        ?? false
    case .constant, .feed, .slot, .none: false
    }
  }

  /// What the session counts for it, between runs.
  var reportedBytes = 0

  /// Bytes for values, planned ones and those of sizes that a run decided.
  var heldBytes: Int {
    slots.reduce(plan.arenaBytes) { $0 + ($1.buffer?.byteCount ?? 0) } + nestedBytes
  }

  // Values whose sizes a run decides, and copies of fetched ones, count against the memory limit
  // as planned values do.
  private func reserve(_ bytes: Int, _ what: String, copied: Int = 0) throws(WeftError) {
    let held = heldBytes + copied
    guard bytes <= memoryLimit - held else {
      throw WeftError(
        .resourceExhausted,
        "\(what) needs \(bytes) bytes beside the \(held) of other values, the memory limit is "
          + "\(memoryLimit)", category: .run)
    }
  }

  func memory(
    of cell: VariableCell, _ argument: Argument
  ) throws(WeftError) -> UnsafeMutableRawPointer {
    let value = try cell.read()
    if let expected = argument.type.shape.known, value.shape != expected {
      throw WeftError(
        .invalidArgument,
        "variable \(cell.name) holds shape \(value.shape), this plan was made for \(expected)",
        category: .run)
    }
    return value.buffer.base
  }

  private func fetched(_ argument: Argument, _ copied: inout Int) throws -> Tensor {
    func copy(_ source: UnsafeRawPointer, _ dtype: DType, _ shape: [Int]) throws -> Tensor {
      let bytes = try Tensor.byteCount(dtype: dtype, shape: shape)
      try reserve(bytes, "a fetched value", copied: copied)
      copied += bytes
      let buffer = try Buffer(byteCount: bytes)
      if bytes > 0 { buffer.base.copyMemory(from: source, byteCount: bytes) }
      return try Tensor(dtype: dtype, shape: shape, buffer: buffer)
    }
    // A view of a value has its bytes under another shape or type.
    func view(_ value: Tensor) throws -> Tensor {
      let type = argument.type
      guard let shape = type.shape.known, shape != value.shape || type.dtype != value.dtype else {
        return value
      }
      guard value.dtype.isPlain else { return try value.reshaped(to: shape) }
      return try Tensor(dtype: type.dtype, shape: shape, buffer: value.buffer)
    }
    switch argument.place {
    case .constant(let value): return try view(value)
    case .feed(let index):
      guard let value = feeds[index] else {
        throw WeftError(.internal, "a fed value was not given", category: .run)
      }
      return try view(value)
    case .arena(let offset):
      return try copy(
        arena.base + offset, argument.type.dtype, argument.type.shape.known ?? [])
    case .variable(let cell):
      let value = try cell.read()
      guard value.dtype.isPlain else { return try view(value) }
      return try view(copy(value.buffer.base, value.dtype, value.shape))
    case .slot(let index):
      if let tensor = slots[index].object as? Tensor, tensor.dtype == argument.type.dtype {
        return tensor
      }
      guard let buffer = slots[index].buffer else {
        throw WeftError(.internal, "a fetched value was not produced", category: .run)
      }
      return try copy(buffer.base, argument.type.dtype, slots[index].shape)
    case .none:
      throw WeftError(.internal, "a fetched value has no place", category: .run)
    }
  }

  // MARK: - Late steps

  private func type(_ argument: Argument) -> TensorType {
    var type = argument.type
    switch argument.place {
    case .slot(let slot):
      if let tensor = slots[slot].object as? Tensor, !type.dtype.isPlain {
        type.shape = Shape(tensor.shape)
      } else if type.dtype.isPlain {
        type.shape = Shape(slots[slot].shape)
      }
    case .variable(let cell):
      if let value = cell.value { type.shape = Shape(value.shape) }
    case .feed(let feed):
      if let value = feeds[feed], !type.shape.isFullyKnown { type.shape = Shape(value.shape) }
    default: break
    }
    return type
  }

  func runLate(_ step: Step, _ index: Int) throws {
    let inputs = (0..<step.inputCount).map { plan.arguments[step.argumentBase + $0] }
    for (position, input) in inputs.enumerated() {
      if case .slot(let slot) = input.place, let buffer = slots[slot].buffer {
        addresses[step.argumentBase + position] = buffer.base
      }
    }
    let types = inputs.map { type($0) }
    // Small integer inputs may decide shapes: their values are offered to the op's rules.
    var values: [Tensor?] = []
    for (position, type) in types.enumerated() {
      values.append(
        try smallValue(inputs[position], type, addresses[step.argumentBase + position]))
    }
    let ready = try lateKernel(step, index, inputs, types, values)
    for port in 0..<step.outputCount {
      let at = step.argumentBase + step.inputCount + port
      guard case .slot(let slot) = plan.arguments[at].place else { continue }
      slots[slot].object = nil
      guard plan.arguments[at].type.dtype.isPlain else { continue }
      var shape = ready.outputs[port].shape.known ?? []
      if ready.kernel.bounds.indices.contains(port), let bound = ready.kernel.bounds[port] {
        shape = bound
      }
      let bytes = try Tensor.byteCount(dtype: plan.arguments[at].type.dtype, shape: shape)
      if (slots[slot].buffer?.byteCount ?? -1) < bytes {
        slots[slot].buffer = nil
        try reserve(bytes, step.def.name)
        slots[slot].buffer = try Buffer(byteCount: bytes)
      }
      slots[slot].shape = shape
      if let buffer = slots[slot].buffer { addresses[at] = buffer.base }
    }
    switch ready.kernel.action {
    case .nothing: return
    case .alias(let input):
      let at = step.argumentBase + step.inputCount
      if let object = self.inputs(step.argumentBase + input), !types[input].dtype.isPlain {
        setOutput(at, object)
        return
      }
      let bytes = try Tensor.byteCount(
        dtype: types[input].dtype, shape: types[input].shape.known ?? [])
      if bytes > 0 {
        addresses[at].copyMemory(
          from: addresses[step.argumentBase + input], byteCount: bytes)
      }
    case .call, .keeping:
      let scratchBytes = step.kernel == nil ? ready.kernel.scratchBytes : 0
      if scratchBytes > 0 { try reserve(scratchBytes, step.def.name) }
      let scratch = try Buffer(byteCount: scratchBytes)
      let call = KernelCall(
        arguments: UnsafePointer(addresses + step.argumentBase), inputCount: step.inputCount,
        scratch: step.kernel == nil ? scratch.base : arena.base + step.scratchOffset, pool: pool,
        objects: self, objectBase: step.argumentBase)
      try ready.function?(call)
    }
  }

  private func smallValue(
    _ argument: Argument, _ type: TensorType, _ address: UnsafeMutableRawPointer
  ) throws -> Tensor? {
    if case .constant(let value) = argument.place { return value }
    guard type.dtype.isInteger || type.dtype == .bool, let shape = type.shape.known,
      let count = Shape.checkedCount(shape), count <= 1_000
    else { return nil }
    return try Tensor(dtype: type.dtype, shape: shape) { memory throws(WeftError) in
      memory.copyMemory(from: UnsafeRawBufferPointer(start: address, count: memory.count))
    }
  }

  private func lateKernel(
    _ step: Step, _ index: Int, _ inputs: [Argument], _ types: [TensorType], _ values: [Tensor?]
  ) throws -> LateKernel {
    if let kept = lateKernels[index], kept.inputs == types,
      zip(kept.values, values).allSatisfy({ a, b in
        switch (a, b) {
        case (nil, nil): true
        case (let a?, let b?): a.isIdentical(to: b)
        default: false
        }
      })
    {
      return kept
    }
    let attrs = Attrs(step.attrs, signature: step.def.signature)
    let cells = inputs.map(\.cell)
    let context = InferContext(
      op: step.def, attrs: attrs, inputs: types,
      tensors: { $0 < values.count ? values[$0] : nil },
      handleTypes: { index in
        guard index < cells.count, let cell = cells[index] else { return nil }
        return HandleType(cell.dtype, cell.value.map { Shape($0.shape) } ?? .unknown)
      })
    let shapes = try step.def.infer(context)
    // A shape stated before the run does not hold where memory waits for no certain size.
    func later(_ planned: TensorType, _ found: Shape) -> Shape? {
      planned.shape.isFullyKnown && planned.dtype.isPlain ? nil : found
    }
    let outputs = try (0..<step.outputCount).map { port in
      var type = plan.arguments[step.argumentBase + step.inputCount + port].type
      // What was known when the plan was made may be more than what these inputs tell.
      guard port < shapes.count else { return type }
      guard let merged = shapes[port].merged(with: type.shape) ?? later(type, shapes[port]) else {
        throw WeftError(
          .invalidArgument,
          "\(step.def.name) output \(port) has shape \(shapes[port]), this plan was made for "
            + "\(type.shape)", category: .run)
      }
      type.shape = merged
      return type
    }
    for output in outputs { try output.checkMemory(step.def.name, within: memoryLimit) }
    let kernel: Kernel
    if let given = step.kernel {
      kernel = given
    } else {
      guard case .kernel(let lower) = step.def.lowering else {
        throw WeftError(.unimplemented, "\(step.def.name) cannot be run", category: .run)
      }
      kernel = try lower(
        LowerContext(
          name: step.name, op: step.def, attrs: attrs, inputs: types, outputs: outputs,
          sessionSeed: sessionSeed,
          tensors: { $0 < values.count ? values[$0] : nil },
          variables: { index in
            guard index < cells.count, let cell = cells[index] else {
              throw WeftError(.internal, "input \(index) is no variable", category: .run)
            }
            return cell
          }))
    }
    let fresh = LateKernel(
      inputs: types, values: values, outputs: outputs, kernel: kernel,
      function: step.kernel == nil ? try kernel.function() : readySteps[index].function)
    lateKernels[index] = fresh
    return fresh
  }

  var sessionSeed: UInt64 = 0
}

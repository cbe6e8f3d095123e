// Nested plans while they run: feeds by address.

internal import WeftCompiler
internal import WeftGraph
internal import WeftTensors

/// Iterations of all loops in one run.
final class IterationCount: @unchecked Sendable {
  var count = 0
  let limit: Int
  init(limit: Int) { self.limit = limit }
}

/// An execution that a kernel of this one holds.
struct NestedReference {
  weak var execution: Execution?
}

/// A step that needs nothing but its kernel.
struct FastStep {
  let function: KernelFunction
  let arguments: UnsafePointer<UnsafeMutableRawPointer>
  let inputCount: Int
  let scratch: UnsafeMutableRawPointer
  let objectBase: Int
  let index: Int
}

extension Execution: NestedHost {
  func makeNested(_ plan: Plan) throws -> any NestedExecution {
    let nested = try Execution(
      plan: plan, pool: pool, store: store, memoryLimit: max(0, memoryLimit - heldBytes),
      isNested: true)
    nested.sessionSeed = sessionSeed
    nested.iterations = iterations
    nested.prepareNested()
    self.nested.removeAll { $0.execution == nil }
    self.nested.append(NestedReference(execution: nested))
    return nested
  }

  /// Bytes that nested plans hold.
  var nestedBytes: Int { nested.reduce(0) { $0 + ($1.execution?.heldBytes ?? 0) } }

  func countIterations(_ count: Int) throws {
    iterations.count += count
    guard iterations.count <= iterations.limit else {
      throw WeftError(
        .resourceExhausted,
        "the loops of this run made more than \(iterations.limit) iterations", category: .run,
        hint: "if they are meant to, raise the limit with --iteration-limit")
    }
  }
}

extension Execution: NestedExecution {
  func setFeed(_ index: Int, _ value: NestedValue) {
    switch value {
    case .memory(let address, let dtype, let shape):
      if let held = feeds[index], held.buffer.base == address, held.dtype == dtype,
        held.shape == shape
      {
        return
      }
      feeds[index] = try? Tensor(
        dtype: dtype, shape: shape,
        buffer: Buffer(
          borrowing: address, byteCount: Tensor.byteCount(dtype: dtype, shape: shape)))
      feedObjects[index] = nil
      bind(index, address)
    case .tensor(let tensor):
      feeds[index] = tensor
      feedObjects[index] = tensor
      if tensor.dtype.isPlain { bind(index, tensor.buffer.base) }
    case .object(let object):
      feeds[index] = nil
      feedObjects[index] = object
    }
  }

  private func bind(_ index: Int, _ address: UnsafeMutableRawPointer) {
    for argument in feedPlaces[index] { addresses[argument] = address }
  }

  /// Makes the tables that nested runs use.
  func prepareNested() {
    feeds = Array(repeating: nil, count: plan.feeds.count)
    feedObjects = Array(repeating: nil, count: plan.feeds.count)
    feedPlaces = Array(repeating: [], count: plan.feeds.count)
    for entry in feedArguments where feedPlaces.indices.contains(entry.feed) {
      feedPlaces[entry.feed].append(entry.argument)
    }
    var steps: [FastStep] = []
    for (index, step) in plan.steps.enumerated() {
      guard !step.isRandom, !step.isLate, readySteps[index].variables.isEmpty, step.kernel != nil
      else { return }
      guard let function = readySteps[index].function else { continue }
      steps.append(
        FastStep(
          function: function, arguments: UnsafePointer(addresses + step.argumentBase),
          inputCount: step.inputCount, scratch: arena.base + step.scratchOffset,
          objectBase: step.argumentBase, index: index))
    }
    fastSteps = steps
  }

  func beginRuns() {
    guard let fastSteps, calls == nil, !fastSteps.isEmpty else { return }
    // Made once for all iterations: to make them anew for each costs more than a small kernel.
    let made = UnsafeMutablePointer<KernelCall>.allocate(capacity: fastSteps.count)
    for (index, step) in fastSteps.enumerated() {
      (made + index).initialize(
        to: KernelCall(
          arguments: step.arguments, inputCount: step.inputCount, scratch: step.scratch,
          pool: pool, objects: self, objectBase: step.objectBase))
    }
    calls = made
  }

  func endRuns() {
    guard let calls, let fastSteps else { return }
    calls.deinitialize(count: fastSteps.count)
    calls.deallocate()
    self.calls = nil
  }

  func runSteps() throws {
    guard let fastSteps else { return try runAllSteps() }
    var at = 0
    do {
      if let calls {
        try fastSteps.withUnsafeBufferPointer { steps in
          while at < steps.count {
            try steps[at].function(calls[at])
            at += 1
          }
        }
        return
      }
      try fastSteps.withUnsafeBufferPointer { steps in
        while at < steps.count {
          try steps[at].function(
            KernelCall(
              arguments: steps[at].arguments, inputCount: steps[at].inputCount,
              scratch: steps[at].scratch, pool: pool, objects: self,
              objectBase: steps[at].objectBase))
          at += 1
        }
      }
    } catch {
      throw plan.steps[fastSteps[at].index].locate(error, plan)
    }
  }

  func address(ofFetch index: Int) -> UnsafeMutableRawPointer? {
    let fetch = plan.fetches[index]
    switch fetch.place {
    case .arena(let offset): return arena.base + offset
    case .constant(let value): return value.dtype.isPlain ? value.buffer.base : nil
    case .feed, .variable, .slot, .none: return nil
    }
  }

  func value(ofFetch index: Int) throws -> NestedValue {
    let fetch = plan.fetches[index]
    let missing = WeftError(
      .internal, "a nested value was not produced: \(fetch.type)", category: .run)
    func shaped(_ tensor: Tensor) throws -> NestedValue {
      guard tensor.dtype.isPlain else {
        return .tensor(try tensor.reshaped(to: fetch.type.shape.known ?? tensor.shape))
      }
      return .memory(
        tensor.buffer.base, fetch.type.dtype, fetch.type.shape.known ?? tensor.shape)
    }
    switch fetch.place {
    case .arena(let offset):
      return .memory(arena.base + offset, fetch.type.dtype, fetch.type.shape.known ?? [])
    case .constant(let value): return try shaped(value)
    case .feed(let feed):
      if let tensor = feeds[feed] { return try shaped(tensor) }
      guard let object = feedObjects[feed] else { throw missing }
      return .object(object)
    case .variable(let cell): return try shaped(try cell.read())
    case .slot(let slot):
      if fetch.type.dtype.isPlain {
        guard let buffer = slots[slot].buffer else { throw missing }
        return .memory(buffer.base, fetch.type.dtype, slots[slot].shape)
      }
      guard let object = slots[slot].object else { throw missing }
      if let tensor = object as? Tensor { return .tensor(tensor) }
      return .object(object)
    case .none: throw missing
    }
  }
}

// Conditionals: one of several nested plans runs, as a selector says.

internal import Synchronization
internal import WeftGraph
internal import WeftTensors

/// A conditional of the working graph. Input 0 is the selector, the others are the branches' feeds.
final class ConditionalNode: @unchecked Sendable {
  let op: String
  /// The branches by index; one that is nil does nothing, and its outputs are not read.
  let branches: [IR?]
  let options: NestedOptions
  /// Whether an index out of range means the last branch.
  let isIndexed: Bool

  private final class Compiled {
    let branches: [IR?]
    let outputs: [BorderType]
    /// What the branches put behind handles, by input.
    let refined: [Int: HandleType]
    var plans: [(plan: Plan, feeds: [Int])?]?
    init(_ branches: [IR?], _ outputs: [BorderType], refined: [Int: HandleType]) {
      self.branches = branches
      self.outputs = outputs
      self.refined = refined
    }
  }
  private let cache = Mutex(Cache())
  private struct Cache: ~Copyable { var table = NestedCache<Compiled>() }

  init(op: String, branches: [IR?], isIndexed: Bool, options: NestedOptions) {
    self.op = op
    self.branches = branches
    self.isIndexed = isIndexed
    self.options = options
  }

  /// The node's row, which exists only in this plan.
  /// - Parameter declared: the shapes that the file states for the outputs.
  func row(outputs: Int, declared: [Shape] = []) -> OpDef {
    let traits = branches.reduce([.stateful, .nested, .dataDependent] as OpTraits) {
      $0.union($1?.effects ?? [])
    }
    return OpDef(
      op, "selector: Tcond, input: Tin -> output: Tout",
      "Tcond: type; Tin: list(type) >= 0; Tout: list(type) >= 0",
      summary: "What the branch gives that the selector chooses.", traits: traits,
      infer: { ctx in
        let shapes = try self.compiled(ctx).outputs.map(\.type.shape)
        return shapes.count == outputs
          ? try declared.confirming(shapes, ctx.op.name)
          : Array(repeating: .unknown, count: outputs)
      },
      handles: { ctx in try self.compiled(ctx).outputs.map(\.handle) },
      refines: { ctx in (try? self.compiled(ctx))?.refined ?? [:] },
      gradient: .none("it exists in plans only"),
      lowering: .kernel { ctx in try self.lower(ctx) })
  }

  private func compiled(_ ctx: InferContext) throws -> Compiled {
    let key = NestedKey(ctx, values: 1..<max(1, ctx.inputs.count))
    return try cache.withLock { cache in
      try cache.table.value(key) { key in
        let feeds = zip(key.types, key.handles).dropFirst().map {
          BorderType(type: $0, handle: $1)
        }
        let values = Dictionary(
          uniqueKeysWithValues: key.values.map { ($0.key - 1, $0.value) })
        let parts = try branches.map { try $0?.specialized(feeds, known: values, options) }
        var outputs: [BorderType]?
        for part in parts {
          guard let results = part?.results else { continue }
          guard let known = outputs else {
            outputs = results
            continue
          }
          outputs = try zip(known, results).map { a, b in
            guard a.type.dtype == b.type.dtype else {
              throw WeftError(
                .invalidArgument,
                "\(op) branches give \(a.type.dtype.name) and \(b.type.dtype.name)")
            }
            return a.joined(with: b)
          }
        }
        var refined: [Int: HandleType] = [:]
        for part in parts {
          for (feed, handle) in part?.refined(feeds) ?? [:] {
            // Whatever only one branch does may not have been done.
            let other = refined[feed + 1]
            refined[feed + 1] =
              other.map { HandleType($0.dtype, $0.shape.joined(with: handle.shape)) } ?? handle
          }
        }
        return Compiled(parts, outputs ?? [], refined: refined)
      }
    }
  }

  private func lower(_ ctx: LowerContext) throws -> Kernel {
    let plans: [(plan: Plan, feeds: [Int])?] = try cache.withLock { cache in
      guard let compiled = cache.table.latest(ctx) else {
        throw WeftError(.internal, "\(op) was not compiled")
      }
      if let plans = compiled.plans { return plans }
      let plans = try compiled.branches.map { part in
        try part.map { ($0, $0.usedFeeds.sorted()) }.map {
          (plan: try $0.0.nestedPlan(options), feeds: $0.1)
        }
      }
      compiled.plans = plans
      return plans
    }
    let selector = try Selector(ctx, isIndexed: isIndexed, count: branches.count)
    let sources = (1..<max(1, ctx.inputs.count)).map { NestedSource(ctx, $0) }
    let targets = ctx.outputs.indices.map { NestedTarget(ctx, $0) }
    var kernel = Kernel(
      "branches",
      action: .keeping {
        let runner = ConditionalRunner(
          plans: plans, selector: selector, sources: sources, targets: targets)
        return { call in try runner.run(call) }
      })
    kernel.nested = NestedParts.branches(plans.map { $0?.plan })
    kernel.details = {
      plans.enumerated().flatMap { $1?.plan.nestedLines("branch \($0)") ?? [] }
    }
    return kernel
  }
}

/// Reads which branch a selector means.
struct Selector: Sendable {
  let dtype: DType
  let shape: [Int]
  let isIndexed: Bool
  let count: Int

  init(_ ctx: LowerContext, isIndexed: Bool, count: Int) throws {
    dtype = ctx.dtype(0)
    shape = ctx.shape(0)
    self.isIndexed = isIndexed
    self.count = count
    if isIndexed, !shape.isEmpty {
      throw ctx.error("needs a scalar index, got shape \(shape)")
    }
  }

  func read(_ call: borrowing KernelCall) throws -> Int {
    if isIndexed {
      let index = Int(call.input(0, as: Int32.self)[0])
      return index < 0 || index >= count ? count - 1 : index
    }
    return try isTrue(
      dtype.isPlain ? call.rawInput(0) : nil, dtype.isPlain ? nil : call.objectInput(0))
      ? 1 : 0
  }

  /// A scalar that is not zero, a string that is not empty, a tensor with elements.
  func isTrue(_ memory: UnsafeRawPointer?, _ object: (any Sendable)?) throws -> Bool {
    if let tensor = object as? Tensor {
      return shape.isEmpty ? tensor.strings.first?.isEmpty == false : tensor.count > 0
    }
    guard let memory else {
      throw WeftError(.invalidArgument, "a condition has no truth value", category: .run)
    }
    guard shape.isEmpty else { return !shape.contains(0) }
    if dtype == .bool { return memory.load(as: UInt8.self) != 0 }
    if dtype == .float32 { return memory.load(as: Float.self) != 0 }
    if dtype == .float64 { return memory.load(as: Double.self) != 0 }
    return UnsafeRawBufferPointer(start: memory, count: dtype.byteSize).contains { $0 != 0 }
  }
}

/// Runs the branches of one kernel. Used by one run at a time.
private final class ConditionalRunner: @unchecked Sendable {
  let plans: [(plan: Plan, feeds: [Int])?]
  let selector: Selector
  let sources: [NestedSource]
  let targets: [NestedTarget]
  private var executions: [(any NestedExecution)?]

  init(
    plans: [(plan: Plan, feeds: [Int])?], selector: Selector, sources: [NestedSource],
    targets: [NestedTarget]
  ) {
    self.plans = plans
    self.selector = selector
    self.sources = sources
    self.targets = targets
    executions = plans.map { _ in nil }
  }

  func run(_ call: borrowing KernelCall) throws {
    let branch = try selector.read(call)
    guard plans.indices.contains(branch), let (plan, feeds) = plans[branch] else { return }
    let execution: any NestedExecution
    if let made = executions[branch] {
      execution = made
    } else {
      guard let host = call.objects as? any NestedHost else {
        throw WeftError(.internal, "nothing here runs nested plans", category: .run)
      }
      execution = try host.makeNested(plan)
      executions[branch] = execution
    }
    for feed in feeds { execution.setFeed(feed, try sources[feed].read(call)) }
    try execution.runSteps()
    for (index, target) in targets.enumerated() {
      try target.write(call, try execution.value(ofFetch: index))
    }
  }
}

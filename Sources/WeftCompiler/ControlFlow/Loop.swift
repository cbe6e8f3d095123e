// Loops: a condition and a body as nested plans, run in turn over values that are carried along.

internal import Synchronization
internal import WeftGraph
internal import WeftTensors

/// A loop of the working graph. Its inputs are the carried values at the start, then the values
/// that stay the same; its outputs are the carried values at the end.
///
/// Feeds of both parts are the same, in the order of the inputs; the body has more feeds behind
/// them for what it takes of the condition's results.
final class LoopNode: @unchecked Sendable {
  let op: String
  /// Fetches the condition, then what the body takes of it.
  var condition: IR
  /// Fetches the carried values of the next iteration.
  var body: IR
  let carried: Int
  let options: NestedOptions

  private final class Compiled {
    let condition: IR
    let body: IR
    let carried: [BorderType]
    /// What the body puts behind handles that stay the same.
    let refined: [Int: HandleType]
    var plans: LoopPlans?
    init(
      _ condition: IR, _ body: IR, _ carried: [BorderType], refined: [Int: HandleType]
    ) {
      self.condition = condition
      self.body = body
      self.carried = carried
      self.refined = refined
    }
  }
  private struct Cache: ~Copyable { var table = NestedCache<Compiled>() }
  private let cache = Mutex(Cache())

  init(op: String, condition: IR, body: IR, carried: Int, options: NestedOptions) {
    self.op = op
    self.condition = condition
    self.body = body
    self.carried = carried
    self.options = options
  }

  /// The node's row, which exists only in this plan.
  /// - Parameter declared: the shapes that the file states for the carried values.
  func row(declared: [Shape] = []) -> OpDef {
    let traits = OpTraits([.stateful, .nested, .dataDependent])
      .union(condition.effects).union(body.effects)
    return OpDef(
      op, "input: Tin -> output: Tout", "Tin: list(type) >= 0; Tout: list(type) >= 0",
      summary: "Its first inputs after the body was applied as long as the condition holds.",
      traits: traits,
      infer: { ctx in
        try declared.confirming(try self.compiled(ctx).carried.map(\.type.shape), ctx.op.name)
      },
      handles: { ctx in try self.compiled(ctx).carried.map(\.handle) },
      refines: { ctx in (try? self.compiled(ctx))?.refined ?? [:] },
      gradient: .none("it exists in plans only"),
      lowering: .kernel { ctx in try self.lower(ctx) })
  }

  private func compiled(_ ctx: InferContext) throws -> Compiled {
    let key = NestedKey(ctx, values: min(carried, ctx.inputs.count)..<ctx.inputs.count)
    return try cache.withLock { cache in
      try cache.table.value(key) { try compile($0) }
    }
  }

  // Shapes that differ between the start and the end of an iteration are unknown in the loop.
  private func compile(_ key: NestedKey) throws -> Compiled {
    let inputs = zip(key.types, key.handles).map { BorderType(type: $0, handle: $1) }
    var types = Array(inputs.prefix(carried))
    let values = key.values
    var constants = Array(inputs.dropFirst(carried))
    var refined: [Int: HandleType] = [:]
    for _ in 0..<64 {
      let feeds = types + constants
      let condition = try self.condition.specialized(feeds, known: values, options)
      guard let test = condition.fetches.first.map({ condition.type($0) }) else {
        throw WeftError(.internal, "\(op) has no condition")
      }
      if let rank = test.shape.rank, rank != 0, test.dtype == .bool {
        throw WeftError(
          .invalidArgument, "\(op) needs a condition of one bool, it gives \(test)")
      }
      let body = try self.body.specialized(
        feeds + condition.results.dropFirst(), known: values, options)
      let results = body.results
      guard results.count == types.count else {
        throw WeftError(
          .invalidArgument,
          "\(op) carries \(types.count) values, its body gives \(results.count)")
      }
      var joined: [BorderType] = []
      for (index, (before, after)) in zip(types, results).enumerated() {
        guard before.type.dtype == after.type.dtype else {
          throw WeftError(
            .invalidArgument,
            "\(op) carries \(before.type.dtype.name) as value \(index), its body gives "
              + after.type.dtype.name)
        }
        var both = before.joined(with: after)
        both.type.isReference = false
        joined.append(both)
      }
      // What one iteration puts behind a handle, the next one may find there.
      var before = constants
      for (index, handle) in body.refined(feeds) where index >= carried {
        guard before.indices.contains(index - carried) else { continue }
        refined[index] = handle
        before[index - carried].handle = handle
      }
      if joined == types, before == constants {
        return Compiled(condition, body, types, refined: refined)
      }
      types = joined
      constants = before
    }
    throw WeftError(.internal, "\(op): the shapes of what it carries do not settle")
  }

  private func lower(_ ctx: LowerContext) throws -> Kernel {
    let plans: LoopPlans = try cache.withLock { cache in
      guard let compiled = cache.table.latest(ctx) else {
        throw WeftError(.internal, "\(op) was not compiled")
      }
      if let plans = compiled.plans { return plans }
      let plans = LoopPlans(
        condition: try compiled.condition.nestedPlan(options),
        conditionFeeds: compiled.condition.usedFeeds,
        body: try compiled.body.nestedPlan(options), bodyFeeds: compiled.body.usedFeeds,
        carried: compiled.carried.map(\.type))
      compiled.plans = plans
      return plans
    }
    let sources = ctx.inputs.indices.map { NestedSource(ctx, $0) }
    let targets = ctx.outputs.indices.map { NestedTarget(ctx, $0) }
    var kernel = Kernel(
      "loop",
      action: .keeping { [op] in
        let runner = try LoopRunner(plans, op: op, sources: sources, targets: targets)
        return { call in try runner.run(call) }
      })
    kernel.nested = NestedParts.loop(plans)
    kernel.details = {
      plans.condition.nestedLines("condition") + plans.body.nestedLines("body")
    }
    return kernel
  }
}

extension [Shape] {
  /// The shapes that were found, made more precise by those declared here, if there are any.
  /// - Throws: InvalidArgument where the two contradict each other.
  func confirming(_ found: [Shape], _ op: String) throws -> [Shape] {
    guard count == found.count else { return found }
    return try zip(self, found).enumerated().map { index, pair in
      guard let merged = pair.1.merged(with: pair.0) else {
        throw WeftError(
          .invalidArgument, "\(op) output \(index) was declared \(pair.0), it is \(pair.1)",
          category: .run)
      }
      return merged
    }
  }
}

/// The plans of a loop.
struct LoopPlans: Sendable {
  let condition: Plan
  let conditionFeeds: Set<Int>
  let body: Plan
  let bodyFeeds: Set<Int>
  let carried: [TensorType]

  /// Bytes of the carried values whose size is known.
  var carriedBytes: Int {
    carried.reduce(0) { sum, type in
      guard type.dtype.isPlain, let shape = type.shape.known else { return sum }
      return sum + ((try? Tensor.byteCount(dtype: type.dtype, shape: shape)) ?? 0)
    }
  }
}

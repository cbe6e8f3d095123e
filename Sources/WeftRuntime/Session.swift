// A session: a graph's snapshot, its variables, and the plans made so far.

internal import Synchronization
public import WeftCompiler
public import WeftGraph
internal import WeftKernels
public import WeftTensors

#if canImport(FoundationEssentials)
  internal import FoundationEssentials
#else
  internal import Foundation
#endif

/// How a session compiles and runs.
public struct SessionOptions: Sendable {
  /// Threads for one run, the caller included; nil takes one for each available core.
  public var threads: Int?
  /// How many runs may go on at once, each in memory of its own; nil takes one for each
  /// available core.
  public var concurrentRuns: Int?
  /// The seed of random ops that have none of their own.
  public var seed: UInt64
  /// Which passes run.
  public var compile: CompileOptions
  /// Options.
  public init(
    threads: Int? = nil, concurrentRuns: Int? = nil, seed: UInt64 = 0,
    compile: CompileOptions = CompileOptions()
  ) {
    self.threads = threads
    self.concurrentRuns = concurrentRuns
    self.seed = seed
    self.compile = compile
  }

  /// The cores this process may use.
  public static var availableCores: Int {
    // Counts what the affinity mask and the container's quota leave.
    max(1, min(ProcessInfo.processInfo.activeProcessorCount, Machine.quotaCores ?? .max))
  }
}

/// Runs a graph. Safe to call from several threads.
///
/// Runs that change nothing go on at once, as many as `SessionOptions.concurrentRuns` says, each in
/// memory of its own while the memory limit has room for it. A run that writes variables or draws
/// random numbers has the session for itself. Runs are let in in the order in which they come.
///
/// The graph is frozen when the session is made: building on changes nothing here. Variables live
/// in the session and keep their values between runs.
public final class Session: @unchecked Sendable {
  /// The graph as it was when the session was made.
  public let graph: GraphSnapshot
  /// The variables.
  public let variables = VariableStore()
  /// How it compiles and runs.
  public let options: SessionOptions

  private let pool: ThreadPool
  private let lock = Mutex<[Key: Prepared]>([:])
  // Entered with `lock` held to compile, never the other way round.
  let gate: RunGate
  // Bytes of all plans' runs; guarded by the gate.
  private var allBytes = 0

  private struct Key: Hashable {
    let fetches: [Edge]
    let targets: [Int]
    let feeds: [Edge]
    let types: [TensorType]
  }

  /// A plan, and the memory of those of its runs that go on at once.
  final class Prepared: @unchecked Sendable {
    let plan: Plan
    let isAlone: Bool
    // Guarded by the session's gate.
    var idle: [Execution]
    var count = 1
    /// Whether the session has forgotten it: what it holds counts no more.
    var isEvicted = false

    init(_ plan: Plan, _ execution: Execution) {
      self.plan = plan
      isAlone = plan.changesSession
      idle = [execution]
    }
  }

  /// A session over `graph` as it is now.
  public convenience init(_ graph: Graph, options: SessionOptions = SessionOptions()) {
    self.init(graph.snapshot, options: options)
  }

  /// A session over a snapshot.
  public init(_ graph: GraphSnapshot, options: SessionOptions = SessionOptions()) {
    self.graph = graph
    self.options = options
    pool = ThreadPool(width: max(1, options.threads ?? SessionOptions.availableCores))
    gate = RunGate(limit: options.concurrentRuns ?? SessionOptions.availableCores)
  }

  /// Runs what `fetches` and `targets` need and returns the fetches' values.
  /// - Parameters:
  ///   - fetches: tensors whose values are returned, in this order.
  ///   - feeds: values that replace tensors, any edge of the graph.
  ///   - targets: ids of nodes to run for their effect.
  /// - Throws: a `WeftError` that names the node at fault.
  @discardableResult
  public func run(
    _ fetches: [Edge], feeds: [(Edge, Tensor)] = [], targets: [Int] = []
  ) throws -> [Tensor] {
    let prepared = try prepared(fetches, feeds.map { ($0.0, $0.1.type) }, targets)
    var results: [Tensor] = []
    try run(prepared, feeds.map(\.1), into: &results)
    return results
  }

  /// Compiles a run once, to be repeated.
  public func prepare(
    _ fetches: [Edge], feeds: [(Edge, TensorType)] = [], targets: [Int] = []
  ) throws -> PreparedRun {
    PreparedRun(self, try prepared(fetches, feeds, targets))
  }

  func run(_ prepared: Prepared, _ feeds: [Tensor], into results: inout [Tensor]) throws {
    try using(prepared) { execution in try execution.run(feeds, into: &results) }
  }

  /// Runs as `run` does, and says when each step began and ended.
  public func trace(
    _ fetches: [Edge], feeds: [(Edge, Tensor)] = [], targets: [Int] = []
  ) throws -> (values: [Tensor], trace: RunTrace) {
    let prepared = try prepared(fetches, feeds.map { ($0.0, $0.1.type) }, targets)
    return try using(prepared) { execution in
      execution.clock = StepClock()
      defer { execution.clock = nil }
      var results: [Tensor] = []
      try execution.run(feeds.map(\.1), into: &results)
      let entries = execution.clock?.entries ?? []
      return (results, RunTrace(plan: prepared.plan, entries: entries, threads: pool.width))
    }
  }

  // Runs `body` with memory for one run of the plan, when that run's turn has come.
  private func using<Value>(
    _ prepared: Prepared, _ body: (Execution) throws -> Value
  ) throws -> Value {
    let execution = try gate.enter(alone: prepared.isAlone) { try take(prepared) }
    defer {
      gate.leave {
        let held = execution.heldBytes
        count(held - execution.reportedBytes, for: prepared)
        execution.reportedBytes = held
        prepared.idle.append(execution)
      }
    }
    if prepared.plan.requiredVariables.contains(where: { $0.value == nil }) {
      let empty = prepared.plan.requiredVariables.filter { $0.value == nil }
      throw WeftError(
        .failedPrecondition,
        "\(empty.count) variables are read before they have a value: "
          + empty.map(\.name).joined(separator: ", "),
        category: .run,
        hint: "run the initializers first (`--init auto`), or restore a checkpoint")
    }
    BlasThreads.enter()
    defer { BlasThreads.leave() }
    return try body(execution)
  }

  // Memory that no run uses now, made where there is none and the limit has room; else nil.
  private func take(_ prepared: Prepared) throws -> Execution? {
    if let execution = prepared.idle.popLast() { return execution }
    guard prepared.plan.arenaBytes <= options.compile.memoryLimit - allBytes else { return nil }
    let execution = try execution(prepared.plan)
    prepared.count += 1
    count(execution.reportedBytes, for: prepared)
    return execution
  }

  // Under the gate.
  private func count(_ bytes: Int, for prepared: Prepared) {
    if !prepared.isEvicted { allBytes += bytes }
  }

  private func execution(_ plan: Plan) throws -> Execution {
    let execution = try Execution(
      plan: plan, pool: pool, store: variables, memoryLimit: options.compile.memoryLimit)
    execution.sessionSeed = options.seed
    execution.iterations = IterationCount(limit: options.compile.iterationLimit)
    return execution
  }

  /// Runs by symbolic handles.
  @discardableResult
  public func run(
    _ fetches: [Output], feeds: [Output: Tensor] = [:], targets: [Node] = []
  ) throws -> [Tensor] {
    try run(
      fetches.map(\.edge),
      feeds: feeds.map { ($0.key.edge, $0.value) }.sorted {
        ($0.0.node, $0.0.port) < ($1.0.node, $1.0.port)
      },
      targets: targets.map(\.id))
  }

  /// The plan that such a run would use.
  public func plan(
    _ fetches: [Edge], feeds: [(Edge, TensorType)] = [], targets: [Int] = []
  ) throws -> Plan {
    try prepared(fetches, feeds, targets).plan
  }

  /// Bytes that the session holds for the values of its runs, between runs too.
  package var heldBytes: Int { gate.withLock { allBytes } }

  /// How many runs of such a plan have memory of their own.
  package func arenas(
    _ fetches: [Edge], feeds: [(Edge, TensorType)] = [], targets: [Int] = []
  ) throws -> Int {
    let prepared = try prepared(fetches, feeds, targets)
    return gate.withLock { prepared.count }
  }

  private func prepared(
    _ fetches: [Edge], _ feeds: [(Edge, TensorType)], _ targets: [Int]
  ) throws -> Prepared {
    try lock.withLock { plans in try prepare(&plans, fetches, feeds, targets) }
  }

  private func prepare(
    _ plans: inout [Key: Prepared], _ fetches: [Edge], _ feeds: [(Edge, TensorType)],
    _ targets: [Int]
  ) throws -> Prepared {
    let key = Key(
      fetches: fetches, targets: targets, feeds: feeds.map(\.0), types: feeds.map(\.1))
    if let found = plans[key] { return found }
    for (edge, type) in feeds { try check(edge, type) }
    for edge in fetches { try checkFetch(edge) }
    let request = PlanRequest(
      fetches: fetches, targets: targets, feeds: feeds.map { (edge: $0.0, type: $0.1) })
    // A plan depends on the variables' shapes: no run changes them meanwhile.
    gate.enter(alone: false) { () }
    defer { gate.leave {} }
    BlasThreads.enter()
    defer { BlasThreads.leave() }
    let plan = try compile(
      graph, request: request, options: options.compile, sessionSeed: options.seed,
      variable: { variables.cell($0, dtype: $1) })
    // What plans for other feeds hold is kept for their next run while there is room.
    if gate.withLock({ allBytes }) > options.compile.memoryLimit - plan.arenaBytes {
      gate.withLock {
        for prepared in plans.values { prepared.isEvicted = true }
        allBytes = 0
      }
      plans.removeAll()
    }
    let execution = try execution(plan)
    let fresh = Prepared(plan, execution)
    gate.withLock { count(execution.reportedBytes, for: fresh) }
    plans[key] = fresh
    return fresh
  }

  // A feed must fit the type the graph states.
  private func check(_ edge: Edge, _ type: TensorType) throws(WeftError) {
    let wanted = graph.type(edge)
    let node = graph.nodes[edge.node]
    guard wanted.dtype == type.dtype || wanted.dtype == .invalid else {
      throw WeftError(
        .invalidArgument,
        "'\(node.outputName(edge.port))' takes \(wanted.dtype.name), the value given is \(type.dtype.name)"
      ).adding("node", place(node))
    }
    guard wanted.shape.isCompatible(with: type.shape) else {
      throw WeftError(
        .invalidArgument,
        "'\(node.outputName(edge.port))' takes shape \(wanted.shape), the value given has "
          + "\(type.shape)"
      ).adding("node", place(node))
    }
  }

  // What is fetched must be a tensor.
  private func checkFetch(_ edge: Edge) throws(WeftError) {
    let (dtype, node) = (graph.type(edge).dtype, graph.nodes[edge.node])
    guard dtype == .variant || dtype == .resource else { return }
    throw WeftError(
      .invalidArgument,
      "'\(node.outputName(edge.port))' is \(dtype.name), no tensor that can be fetched; "
        + "fetch what reads it"
    ).adding("node", place(node))
  }

  private func place(_ node: Node) -> String {
    "\(node.name)  (\(node.op))" + (node.origin.description.map { "  \($0)" } ?? "")
  }
}

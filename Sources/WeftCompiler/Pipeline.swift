// The ordered list of passes from graph to plan.

internal import WeftGraph
internal import WeftTensors

/// One pass over the compiler's working graph.
package struct Pass: Sendable {
  /// The name that switches and reports use.
  package let name: String
  /// What it does, in one line.
  package let purpose: String
  let run: @Sendable (inout IR) throws -> Void
}

/// What a pass did.
public struct PassReport: Sendable {
  /// The pass.
  public let name: String
  /// What it does.
  public let purpose: String
  /// Nodes before it.
  public let before: Int
  /// Nodes after it.
  public let after: Int
  /// How long it took.
  public let milliseconds: Double
  /// The working graph before and after it, a line for each node, where that was asked for.
  public internal(set) var listings: (before: [String], after: [String])?
}

/// Which passes run.
public struct CompileOptions: Sendable, Hashable {
  /// Names of passes that are left out.
  public var disabled: Set<String> = []
  /// Whether values share memory when their lifetimes allow.
  public var reusesMemory = true
  /// Whether kernels may write over a dead input.
  public var worksInPlace = true
  /// The bytes that a run may take for its values; a plan that needs more is refused.
  public var memoryLimit = Machine.memory
  /// The iterations that all loops of a run together may make; a run that makes more is ended.
  public var iterationLimit = 1 << 24
  /// Names of passes whose reports show the working graph before and after them.
  public var listed: Set<String> = []
  /// Whether the working graph is checked after every pass.
  public var checksPasses = false
  /// The default options.
  public init() {}
}

/// The passes, in order.
package let pipeline: [Pass] = [
  Pass(
    name: "specialize", purpose: "infer shapes for these feeds, evaluate small constants",
    run: { try $0.specialize() }),
  Pass(
    name: "unroll", purpose: "write out loops of a known length whose steps roll up into kernels",
    run: { $0.unrollLoops() }),
  Pass(name: "fold", purpose: "replace known values by constants", run: { $0.fold() }),
  Pass(
    name: "order", purpose: "drop orderings that order no effects, or that data imply",
    run: { $0.dropIdleControls() }),
  Pass(
    name: "forward", purpose: "leave out nodes that only pass a value on",
    run: { $0.forwardValues() }),
  Pass(
    name: "cse", purpose: "compute equal expressions once", run: { $0.mergeCommon() }),
  Pass(
    name: "crossentropy", purpose: "dense layer, softmax, loss and gradients in chunks of rows",
    run: { $0.fuseLinearCrossEntropy() }),
  Pass(
    name: "reroll", purpose: "roll the steps of unrolled recurrences up into loops",
    run: { $0.reroll() }),
  Pass(
    name: "liverows", purpose: "leave out steps of sequences that no loss depends on",
    run: { $0.skipDeadRows() }),
  Pass(
    name: "sparserows", purpose: "give sparse updates memory for as many rows as there may be",
    run: { $0.boundSparseRows() }),
  Pass(
    name: "elementwise", purpose: "run elementwise nodes of one shape block by block as one",
    run: { $0.fuseElementwise() }),
]

/// Names of all passes, in order.
public let allPasses = pipeline.map(\.name)

/// Names of the passes that may be switched off.
public let optionalPasses = allPasses.filter { $0 != "specialize" }

extension IR {
  package mutating func runPasses(_ options: CompileOptions) throws -> [PassReport] {
    var reports: [PassReport] = []
    for pass in pipeline where !options.disabled.contains(pass.name) {
      let before = liveCount
      let isListed = options.listed.contains(pass.name)
      let listing = isListed ? self.listing : []
      let start = ContinuousClock.now
      try pass.run(&self)
      if options.checksPasses { try verify(after: pass.name) }
      let elapsed = start.duration(to: .now)
      reports.append(
        PassReport(
          name: pass.name, purpose: pass.purpose, before: before, after: liveCount,
          milliseconds: Double(elapsed.components.attoseconds) / 1e15
            + Double(elapsed.components.seconds) * 1e3,
          listings: isListed ? (listing, self.listing) : nil))
    }
    return reports
  }
}

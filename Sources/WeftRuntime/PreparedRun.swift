// A run compiled once for a signature, to be repeated without lookups.

public import WeftCompiler
public import WeftTensors

/// One choice of fetches, targets and feeds of a session, ready to run again and again.
///
/// A run looks nothing up, copies no feed, and writes results into tensors that the caller owns
/// when they have the right type and nobody else holds them: after the first run it allocates no
/// memory. Several threads may call it at once, as `Session.run`.
public final class PreparedRun: Sendable {
  private let session: Session
  private let prepared: Session.Prepared
  /// What it runs.
  public var plan: Plan { prepared.plan }

  init(_ session: Session, _ prepared: Session.Prepared) {
    self.session = session
    self.prepared = prepared
  }

  /// Runs with `feeds`, in the order they were given in.
  /// - Parameter results: the fetches' values, in order; tensors of earlier runs are written over.
  /// - Throws: InvalidArgument when a feed has another type than the run was prepared for.
  public func run(_ feeds: [Tensor], into results: inout [Tensor]) throws {
    guard feeds.count == plan.feeds.count else {
      throw WeftError(
        .invalidArgument, "this run takes \(plan.feeds.count) feeds, \(feeds.count) were given",
        category: .usage)
    }
    for (index, type) in plan.feeds.enumerated() where !feeds[index].has(type) {
      throw WeftError(
        .invalidArgument, "feed \(index) must be \(type), the value given is \(feeds[index].type)",
        category: .usage)
    }
    try session.run(prepared, feeds, into: &results)
  }
}

// The one list of all ops: every family adds its rows here.

public import WeftGraph

extension OpRegistry {
  /// Every op that Weft knows.
  public static let standard = OpRegistry(mathRows + arrayRows + stateRows + controlRows)
}

extension Graph {
  /// An empty graph of the standard ops.
  public convenience init() { self.init(registry: .standard) }
}

// Orderings that order nothing.

internal import WeftGraph
internal import WeftOps

extension IR {
  /// Drops control inputs on nodes without effects: who waits for such a node need not, and the node
  /// itself is no longer needed for that.
  ///
  /// A read of a variable that follows a write counts as an effect; any other read sees the value
  /// from before the run's writes, which come as late as they may.
  mutating func dropIdleControls() {
    var effective = [Bool](repeating: false, count: nodes.count)
    for id in order() {
      let node = nodes[id]
      if case .op = node.kind { effective[id] = node.hasEffect && !isOp(id, KnownOp.noOp) }
      if !effective[id] {
        effective[id] =
          node.inputs.contains { effective[$0.node] } || node.controls.contains { effective[$0] }
      }
    }
    for id in nodes.indices where live[id] && !nodes[id].controls.isEmpty {
      nodes[id].controls = nodes[id].controls.filter { effective[$0] }
    }
    markLive()
  }
}

extension IRNode {
  // Reads and draws are marked as state so that they are neither merged nor folded.
  fileprivate var hasEffect: Bool {
    if def.traits.contains(.writesVariable) { return true }
    return def.traits.contains(.stateful) && !def.traits.contains(.readsVariable)
      && !def.traits.contains(.random)
  }
}

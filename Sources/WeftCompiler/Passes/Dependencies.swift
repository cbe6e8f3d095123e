// Orderings that order nothing.

internal import WeftGraph
internal import WeftOps

extension IR {
  /// Drops control inputs that a node's data inputs imply: every effect that the node they name waits
  /// for, those inputs wait for too. A node without effects before it orders nothing.
  ///
  /// A read of a variable that follows a write counts as an effect; any other read sees the value
  /// from before the run's writes, which come as late as they may.
  mutating func dropIdleControls() {
    let sequence = order()
    // Effects by number, and nodes by their place in the order.
    var effect = [Int](repeating: -1, count: nodes.count)
    var place = [Int](repeating: 0, count: nodes.count)
    var count = 0
    for (index, id) in sequence.enumerated() {
      place[id] = index
      guard case .op = nodes[id].kind, nodes[id].hasEffect, !isOp(id, KnownOp.noOp) else {
        continue
      }
      effect[id] = count
      count += 1
    }
    // For each node the effects that come before it, and its own. Too many are not told apart: then
    // only what orders nothing at all is dropped.
    let isExact = (count + 63) / 64 * sequence.count <= 1 << 22
    let words = isExact ? (count + 63) / 64 : 1
    var before = [UInt64](repeating: 0, count: sequence.count * words)
    for (index, id) in sequence.enumerated() {
      let own = index * words
      func add(_ source: Int) {
        for word in 0..<words { before[own + word] |= before[place[source] * words + word] }
      }
      for edge in nodes[id].inputs { add(edge.node) }
      if !nodes[id].controls.isEmpty {
        nodes[id].controls = nodes[id].controls.filter { source in
          (0..<words).contains { word in
            let known = isExact ? before[own + word] : 0
            return before[place[source] * words + word] & ~known != 0
          }
        }
        for source in nodes[id].controls { add(source) }
      }
      if effect[id] >= 0 {
        before[own + (isExact ? effect[id] / 64 : 0)] |= 1 << UInt64(effect[id] % 64)
      }
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

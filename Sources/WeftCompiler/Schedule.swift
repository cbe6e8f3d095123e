// The order of a plan's steps: that of the graph, or depth first where values then take less memory.

internal import WeftGraph
internal import WeftTensors

extension IR {
  /// Live ids in the order in which they run.
  ///
  /// Writes come as late as dependencies allow: whatever is not ordered after a write sees the value
  /// from before it, as TensorFlow's gated gradients do, and reads need no copy.
  func schedule() -> [Int] {
    let isWrite = nodes.indices.map { nodes[$0].def.traits.contains(.writesVariable) ? 1 << 30 : 0 }
    let created = order { nodes[$0].rank + isWrite[$0] }
    // Other effects keep the order in which they were made.
    let hasEffects = nodes.indices.contains { id in
      guard live[id], case .op = nodes[id].kind else { return false }
      return nodes[id].def.traits.contains(.stateful)
        && !nodes[id].def.traits.contains(.readsVariable)
        && !nodes[id].def.traits.contains(.writesVariable)
    }
    if hasEffects { return created }
    let place = depthFirst()
    let deep = order { isWrite[$0] > 0 ? nodes[$0].rank + isWrite[$0] : place[$0] }
    return peakBytes(deep) < peakBytes(created) ? deep : created
  }

  // For each live node its place in an order that finishes what it began: of a node's inputs the
  // first one with all that leads to it, then the next.
  private func depthFirst() -> [Int] {
    var place = [Int](repeating: -1, count: nodes.count)
    var next = 0
    // A stack, not recursion: a graph may be any number of nodes deep.
    var stack: [(id: Int, input: Int)] = []
    func visit(_ id: Int) {
      if place[id] < 0 {
        place[id] = 0
        stack.append((id, 0))
      }
    }
    for root in fetches.map(\.node) + targets + nodes.indices.filter({ live[$0] }) {
      visit(root)
      while let (id, input) = stack.last {
        let count = nodes[id].inputs.count
        if input < count + nodes[id].controls.count {
          stack[stack.count - 1].input += 1
          visit(input < count ? nodes[id].inputs[input].node : nodes[id].controls[input - count])
        } else {
          place[id] = next
          next += 1
          stack.removeLast()
        }
      }
    }
    return place
  }

  // The most bytes that values of known size take at once. A view lives in what it is a view of.
  private func peakBytes(_ order: [Int]) -> Double {
    var holder = Array(nodes.indices)
    var last = [Int](repeating: -1, count: nodes.count)
    for (at, id) in order.enumerated() {
      if isPlainView(id) { holder[id] = holder[nodes[id].inputs[0].node] }
      for edge in nodes[id].inputs { last[holder[edge.node]] = at }
    }
    for edge in fetches { last[holder[edge.node]] = order.count }
    func bytes(_ id: Int) -> Double {
      guard case .op = nodes[id].kind, !isPlainView(id) else { return 0 }
      return nodes[id].outputs.reduce(0) { sum, type in
        guard type.dtype.isPlain, !type.isReference, let shape = type.shape.known else {
          return sum
        }
        return sum + shape.reduce(Double(type.dtype.byteSize)) { $0 * Double($1) }
      }
    }
    var ends = [[Int]](repeating: [], count: order.count)
    for id in order where last[id] >= 0 && last[id] < order.count { ends[last[id]].append(id) }
    var (now, peak) = (0.0, 0.0)
    for (at, id) in order.enumerated() {
      let own = bytes(id)
      now += own
      peak = max(peak, now)
      if last[id] < 0 { now -= own }
      for dead in ends[at] { now -= bytes(dead) }
    }
    return peak
  }
}

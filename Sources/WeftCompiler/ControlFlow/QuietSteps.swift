// Loops over sequences that end with the longest one: what more steps would do.

internal import WeftGraph
internal import WeftOps
internal import WeftTensors

extension IR {
  /// Whether steps of a loop whose counter has passed all `lengths` change nothing: each carried
  /// value is then what it was, and what is written to an array are the zeros that its reader would
  /// find without them. That is how `dynamic_rnn` treats sequences that have ended.
  func isQuiet(_ id: Int, beyond lengths: Edge, counter: Int) -> Bool {
    guard let loop = nodes[id].loop,
      !loop.body.nodes.indices.contains(where: { loop.body.mayFail($0) })
    else { return false }
    let users = Users(self)
    let quiet = QuietSteps(self, nodes[id], loop, lengths: passed(lengths), counter: counter)
    return (0..<loop.carried).allSatisfy { index in
      if step(loop, index) != nil {
        // How far it counted must not be seen, but by the loop of its gradient, which counts back
        // while it takes from the stacks what the steps have put there.
        let end = Edge(node: id, port: index)
        return !users.fetched(end)
          && users[end].allSatisfy { countsBack($0.node, from: $0.input, id, users) }
      }
      return quiet.isKept(index)
    }
  }

  // Whether node `id` is a loop that empties stacks of the loop `other`, counting back from input
  // `index`, and nothing sees how many steps it has made.
  private func countsBack(_ id: Int, from index: Int, _ other: Int, _ users: Users) -> Bool {
    guard let loop = nodes[id].loop, index < loop.carried, step(loop, index) == -1,
      nodes[id].inputs.contains(where: {
        isOp($0.node, KnownOp.Stack.make) && nodes[other].inputs.contains($0)
      })
    else { return false }
    return (0..<loop.carried).allSatisfy { counter in
      let end = Edge(node: id, port: counter)
      return step(loop, counter) == nil || users[end].isEmpty && !users.fetched(end)
    }
  }
}

private struct QuietSteps {
  private let outer: IR
  private let inputs: [Edge]
  private let body: IR
  private let carried: Int
  private let lengths: Edge
  private let counter: Int
  /// What bodies are given where they name a feed.
  private func given(_ edge: Edge) -> Edge? {
    guard case .feed(let index) = body.nodes[body.passed(edge).node].kind, index >= carried,
      inputs.indices.contains(index)
    else { return nil }
    return outer.passed(inputs[index])
  }

  init(_ outer: IR, _ node: IRNode, _ loop: LoopNode, lengths: Edge, counter: Int) {
    (self.outer, inputs, body, carried) = (outer, node.inputs, loop.body, loop.carried)
    (self.lengths, self.counter) = (lengths, counter)
  }

  /// Whether a carried value stays what it is, as far as anybody can see.
  func isKept(_ index: Int) -> Bool {
    let next = body.passed(body.fetches[index])
    if isFeed(next, index) { return true }
    let node = body.nodes[next.node]
    if body.isOp(next.node, KnownOp.Array.write) {
      return isFeed(node.inputs[3], index) && kept(node.inputs[2]).map(isZero) == true
        && readsAsZeros(node.inputs[0])
    }
    return kept(next).map { isFeed($0, index) } == true
  }

  private func isFeed(_ edge: Edge, _ index: Int) -> Bool {
    if case .feed(index) = body.nodes[body.passed(edge).node].kind { return true }
    return false
  }

  // What a selection takes of rows that have ended.
  private func kept(_ edge: Edge) -> Edge? {
    let edge = body.passed(edge)
    guard body.isOp(edge.node, [KnownOp.selectRows, KnownOp.selectElements]) else { return nil }
    let inputs = body.nodes[edge.node].inputs
    switch hasEnded(inputs[0]) {
    case true?: return inputs[1]
    case false?: return inputs[2]
    case nil: return nil
    }
  }

  // Whether a condition says of each row that it has ended, or that it has not; nil for others.
  private func hasEnded(_ edge: Edge) -> Bool? {
    var edge = body.passed(edge)
    // Whatever its shape: it is to hold for every row.
    while body.isOp(edge.node, KnownOp.reshapes) {
      edge = body.passed(body.nodes[edge.node].inputs[0])
    }
    let node = body.nodes[edge.node]
    guard case .op = node.kind else { return nil }
    if body.isOp(edge.node, KnownOp.logicalNot) { return hasEnded(node.inputs[0]).map { !$0 } }
    guard node.inputs.count == 2 else { return nil }
    let (a, b) = (node.inputs[0], node.inputs[1])
    if isFeed(a, counter), given(b) == lengths {
      if node.def === KnownOp.greaterEqual { return true }
      return node.def === KnownOp.less ? false : nil
    }
    if isFeed(b, counter), given(a) == lengths {
      if node.def === KnownOp.lessEqual { return true }
      return node.def === KnownOp.greater ? false : nil
    }
    return nil
  }

  private func isZero(_ edge: Edge) -> Bool {
    let edge = body.passed(edge)
    if case .constant(let value) = body.nodes[edge.node].kind { return value.isZero }
    if body.isOp(edge.node, KnownOp.zerosLike) { return true }
    guard let source = given(edge) else { return false }
    return outer.known[source]?.isZero == true || outer.isOp(source.node, KnownOp.zerosLike)
  }

  // Whether elements of the array that were not written read as zeros.
  private func readsAsZeros(_ handle: Edge) -> Bool {
    guard let array = given(handle), outer.isOp(array.node, KnownOp.Array.make),
      let shape = try? Attrs(
        outer.nodes[array.node].attrs, signature: outer.nodes[array.node].def.signature
      ).shape("element_shape")
    else { return false }
    return shape.isFullyKnown || outer.flag(array.node, "identical_element_shapes")
  }
}

extension IR {
  /// Whether a node fails for some values, as those beyond a sequence's end may be.
  fileprivate func mayFail(_ id: Int) -> Bool {
    guard case .op = nodes[id].kind else { return false }
    if isOp(id, KnownOp.gathers) { return true }
    return isOp(id, KnownOp.divisions) && !type(Edge(node: id, port: 0)).dtype.isFloating
  }
}

extension Tensor {
  /// Whether it holds nothing but zeros.
  fileprivate var isZero: Bool {
    dtype.isPlain
      && UnsafeRawBufferPointer(start: buffer.base, count: byteCount).allSatisfy { $0 == 0 }
  }
}

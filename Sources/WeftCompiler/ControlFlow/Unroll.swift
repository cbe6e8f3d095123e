// Loops of a known number of steps, written out so that their recurrences roll up into loop kernels.

internal import WeftGraph
internal import WeftOps
internal import WeftTensors

extension IR {
  /// The fewest and most steps of a loop that is written out, and the most nodes that this may make.
  private static let unrolledSteps = 8...1_024
  private static let unrolledNodes = 1 << 15

  /// Writes out loops whose number of steps is known and rolls their steps up again: a cell's
  /// products and gates then run in loop kernels, and what does not depend on the past in one
  /// operation over all steps. Loops whose steps do not all roll up stay as they are.
  mutating func unrollLoops() {
    guard nodes.indices.contains(where: { live[$0] && trips($0) != nil }) else { return }
    var copy = self
    guard let writtenOut = try? copy.writeOutLoops() else { return }
    copy.fold()
    copy.dropIdleControls()
    copy.forwardValues()
    copy.mergeCommon()
    copy.flattenSums()
    copy.reroll()
    // Nothing of what was written out may be left step by step.
    let (before, after) = (countLoopKernels, copy.countLoopKernels)
    if after - before >= writtenOut.loops, copy.liveCount <= liveCount + writtenOut.stepNodes {
      self = copy
    }
  }

  private var countLoopKernels: Int {
    nodes.indices.count { live[$0] && LoopBody.opNames.contains(nodes[$0].def.name) }
  }

  /// Writes out all loops that can be, also those whose steps other loops count.
  /// - Returns: how many there are, and the nodes of one step of each together.
  private mutating func writeOutLoops() throws -> (loops: Int, stepNodes: Int) {
    var (count, stepNodes) = (0, 0)
    while true {
      let loops = nodes.indices.compactMap { id in
        live[id] ? trips(id).map { (id: id, trips: $0) } : nil
      }
      guard !loops.isEmpty else { return (count, stepNodes) }
      count += loops.count
      var changes = Changes()
      for loop in loops { stepNodes += try writeOut(loop.id, trips: loop.trips, &changes) }
      changes.apply(to: &self)
      markLive()
      // What is read from lists may be what other reads, and conditions, depend on.
      repeat { try specialize() } while resolveLists()
    }
  }

  private mutating func writeOut(
    _ id: Int, trips: Int, _ changes: inout Changes
  ) throws -> Int {
    guard let loop = nodes[id].loop else { return 0 }
    let node = nodes[id]
    var body = loop.body
    body.targets = []
    body.markLive()
    // What is equal in every step is so in the body; in one step alone nothing may become one.
    body.mergeCommon()
    let sequence = body.order()
    guard sequence.count * trips <= IR.unrolledNodes - nodes.count else {
      throw WeftError(.resourceExhausted, "the loop is too long to be written out")
    }
    var values = node.inputs
    var shared: [Int: Int] = [:]
    var readers: [Int] = []
    for _ in 0..<trips {
      var place: [Int: Int] = [:]
      func outer(_ edge: Edge) -> Edge {
        if case .feed(let index) = body.nodes[edge.node].kind { return values[index] }
        return Edge(node: shared[edge.node] ?? place[edge.node] ?? 0, port: edge.port)
      }
      for inner in sequence {
        var copy = body.nodes[inner]
        switch copy.kind {
        case .feed: continue
        case .constant(let value):
          if shared[inner] == nil {
            shared[inner] = append(copy)
            known[Edge(node: nodes.count - 1, port: 0)] = value
          }
        case .variable:
          if shared[inner] == nil { shared[inner] = append(copy) }
        case .op:
          copy.rank = node.rank
          copy.inputs = copy.inputs.map(outer)
          copy.controls = copy.controls.compactMap { shared[$0] ?? place[$0] } + node.controls
          copy.bodyNode = BodyNode(loop: id, node: inner)
          place[inner] = append(copy)
          if copy.def.traits.contains(.readsVariable) { readers.append(nodes.count - 1) }
        }
      }
      values.replaceSubrange(0..<loop.carried, with: body.fetches.map(outer))
    }
    for port in 0..<loop.carried { changes.edges[Edge(node: id, port: port)] = values[port] }
    changes.after[id] = node.controls
    // Without effects, nothing but its reads of variables has to come before what waits for it.
    changes.instead[id] = readers + node.controls
    live[id] = false
    return sequence.count
  }

  // MARK: - The number of steps

  private enum Operand {
    case fixed(Int)
    case counter(Int)
  }

  /// The steps that a loop makes, when its condition compares counters with known numbers and
  /// nothing in it has effects.
  private func trips(_ id: Int) -> Int? {
    guard let loop = nodes[id].loop, loop.condition.fetches.count == 1,
      loop.body.fetches.count == loop.carried, !loop.condition.hasEffects, !loop.body.hasEffects,
      let tests = tests(loop, loop.condition.fetches[0], nodes[id].inputs)
    else { return nil }
    var counters: [Int: (value: Int, step: Int)] = [:]
    for case .counter(let index) in tests.flatMap({ [$0.left, $0.right] }) {
      guard let start = known[nodes[id].inputs[index]]?.integers?.first,
        let step = step(loop, index)
      else { return nil }
      counters[index] = (start, step)
    }
    func value(_ operand: Operand) -> Int {
      switch operand {
      case .fixed(let value): value
      case .counter(let index): counters[index]?.value ?? 0
      }
    }
    var count = 0
    while tests.allSatisfy({ $0.holds(value($0.left), value($0.right)) }) {
      count += 1
      guard count <= min(IR.unrolledSteps.upperBound, iterationLimit) else { return nil }
      for index in counters.keys.sorted() {
        guard let counter = counters[index] else { continue }
        let (next, overflow) = counter.value.addingReportingOverflow(counter.step)
        guard !overflow, Int(Int32(truncatingIfNeeded: next)) == next else { return nil }
        counters[index]?.value = next
      }
    }
    return count >= IR.unrolledSteps.lowerBound ? count : nil
  }

  private typealias Test = (holds: (Int, Int) -> Bool, left: Operand, right: Operand)

  // The comparisons that all must hold for another step.
  private func tests(_ loop: LoopNode, _ edge: Edge, _ inputs: [Edge]) -> [Test]? {
    let edge = loop.condition.passed(edge)
    let node = loop.condition.nodes[edge.node]
    guard case .op = node.kind, node.inputs.count == 2 else { return nil }
    if node.def === KnownOp.logicalAnd {
      guard let left = tests(loop, node.inputs[0], inputs),
        let right = tests(loop, node.inputs[1], inputs)
      else { return nil }
      return left + right
    }
    let holds: (Int, Int) -> Bool
    if node.def === KnownOp.less {
      holds = { $0 < $1 }
    } else if node.def === KnownOp.lessEqual {
      holds = { $0 <= $1 }
    } else if node.def === KnownOp.greater {
      holds = { $0 > $1 }
    } else if node.def === KnownOp.greaterEqual {
      holds = { $0 >= $1 }
    } else {
      return nil
    }
    func operand(_ edge: Edge) -> Operand? {
      let edge = loop.condition.passed(edge)
      switch loop.condition.nodes[edge.node].kind {
      case .constant(let value): return value.scalarInteger.map { .fixed($0) }
      case .feed(let index):
        if index < loop.carried { return .counter(index) }
        guard inputs.indices.contains(index) else { return nil }
        return known[inputs[index]]?.scalarInteger.map { .fixed($0) }
      case .op, .variable: return nil
      }
    }
    guard let left = operand(node.inputs[0]), let right = operand(node.inputs[1]) else {
      return nil
    }
    return [(holds, left, right)]
  }

  // What a step adds to the carried value `index`: a constant, or nothing that is known.
  private func step(_ loop: LoopNode, _ index: Int) -> Int? {
    let body = loop.body
    let sum = body.nodes[body.passed(body.fetches[index]).node]
    guard case .op = sum.kind, sum.inputs.count == 2 else { return nil }
    func isCounter(_ edge: Edge) -> Bool {
      if case .feed(index) = body.nodes[body.passed(edge).node].kind { return true }
      return false
    }
    func constant(_ edge: Edge) -> Int? {
      guard case .constant(let value) = body.nodes[body.passed(edge).node].kind else { return nil }
      return value.scalarInteger
    }
    if KnownOp.add.contains(where: { $0 === sum.def }) {
      if isCounter(sum.inputs[0]) { return constant(sum.inputs[1]) }
      if isCounter(sum.inputs[1]) { return constant(sum.inputs[0]) }
    }
    if sum.def === KnownOp.subtract, isCounter(sum.inputs[0]) {
      return constant(sum.inputs[1]).map { -$0 }
    }
    return nil
  }

  // What identities pass on.
  private func passed(_ edge: Edge) -> Edge {
    var edge = edge
    while isOp(edge.node, KnownOp.identity) { edge = nodes[edge.node].inputs[0] }
    return edge
  }

  /// Whether anything in use does more than compute values from its inputs and variables.
  private var hasEffects: Bool {
    var copy = self
    copy.markLive()
    return copy.nodes.indices.contains { id in
      guard copy.live[id], case .op = copy.nodes[id].kind else { return false }
      let node = copy.nodes[id]
      return node.isStateful
        && !(node.def.traits.contains(.readsVariable)
          && !node.def.traits.contains(.writesVariable))
    }
  }

  // MARK: - Sums

  /// Makes a sum whose first term is a sum that nothing else uses one sum of all their terms, which
  /// are added in the same order.
  mutating func flattenSums() {
    let users = Users(self)
    for id in order() where isOp(id, KnownOp.addN) {
      guard let first = nodes[id].inputs.first, isOp(first.node, KnownOp.addN),
        nodes[first.node].controls.isEmpty, users[first].count == 1, !users.fetched(first),
        !targets.contains(first.node), type(first).dtype.isPlain
      else { continue }
      nodes[id].inputs = nodes[first.node].inputs + nodes[id].inputs.dropFirst()
      nodes[id].attrs["N"] = .int(Int64(nodes[id].inputs.count))
    }
    markLive()
  }
}

extension Tensor {
  /// The value of a scalar of integers.
  fileprivate var scalarInteger: Int? { shape.isEmpty ? integers?.first : nil }
}

// How many steps a loop makes, where that is known before the run.

internal import WeftGraph
internal import WeftOps
internal import WeftTensors

extension IR {
  /// The fewest and most steps of a loop that is written out.
  private static let unrolledSteps = 8...1_024

  private enum Operand {
    case fixed(Int)
    case counter(Int)
    /// The longest of these lengths, or a number that is as large.
    case longest(Edge, most: Int?)
    /// What another loop counted to.
    case counted(Int, isExact: Bool)
  }

  /// The steps that a loop makes, when its condition compares counters with known numbers and
  /// nothing in it has effects. A loop that ends with the longest of several sequences counts as
  /// long as it may be, when further steps change nothing.
  func trips(_ id: Int) -> Int? {
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
      case .longest(_, let most): most ?? .max
      case .counted(let most, _): most
      }
    }
    for test in tests {
      if case .longest = test.left { return nil }
      if case .counted = test.left { return nil }
      if case .counted = test.right { return nil }
      guard case .longest(let lengths, _) = test.right else { continue }
      guard test.comparison == .less, case .counter(let counter) = test.left,
        counters[counter].map({ $0.value >= 0 && $0.step > 0 }) == true,
        isQuiet(id, beyond: lengths, counter: counter)
      else { return nil }
    }
    var count = 0
    while tests.allSatisfy({ $0.comparison.holds(value($0.left), value($0.right)) }) {
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

  /// The most iterations that a loop can make, nil when its condition does not bound them, and
  /// whether it always makes as many.
  /// - Parameter depth: how many loops that end by this one's number were asked already. Each may ask
  ///   for the one before it several times: few are followed.
  func mostTrips(_ id: Int, depth: Int = 0) -> (most: Int?, isExact: Bool) {
    guard let loop = nodes[id].loop, loop.condition.fetches.count > 0,
      loop.body.fetches.count >= loop.carried
    else { return (nil, false) }
    var isExact = true
    let tests = tests(
      loop, loop.condition.fetches[0], nodes[id].inputs, depth: depth, ignoresUnknown: &isExact)
    var most: Int?
    for test in tests {
      guard let bound = bound(loop, test, nodes[id].inputs, depth: depth) else {
        isExact = false
        continue
      }
      most = min(most ?? .max, bound.most)
      isExact = isExact && bound.isExact
    }
    return (most, isExact && most != nil)
  }

  // The iterations after which a test fails, if it does.
  private func bound(
    _ loop: LoopNode, _ test: Test, _ inputs: [Edge], depth: Int
  ) -> (most: Int, isExact: Bool)? {
    // Where a number starts, at most if that is not known exactly, and what it changes by.
    func counter(_ operand: Operand) -> (start: Int, step: Int, isExact: Bool)? {
      switch operand {
      case .fixed(let value): return (value, 0, true)
      case .longest(_, let most): return most.map { ($0, 0, false) }
      case .counted(let most, let isExact): return (most, 0, isExact)
      case .counter(let index):
        guard [.int32, .int64].contains(type(inputs[index]).dtype),
          let change = step(loop, index)
        else { return nil }
        if let start = known[inputs[index]]?.scalarInteger { return (start, change, true) }
        return counted(inputs[index], depth: depth).map { ($0.most, change, $0.isExact) }
      }
    }
    guard let left = counter(test.left), let right = counter(test.right) else { return nil }
    // As a distance that shrinks by `step` in each iteration and must stay above zero.
    let isUp = test.comparison == .less || test.comparison == .lessEqual
    let (low, high) = isUp ? (left, right) : (right, left)
    // An upper bound of what it starts at says nothing of the lower one.
    guard low.isExact else { return nil }
    let limit = Int(Int32.max)
    guard max(low.start.magnitude, high.start.magnitude) <= limit,
      max(low.step.magnitude, high.step.magnitude) <= limit
    else { return nil }
    let isStrict = test.comparison == .less || test.comparison == .greater
    let distance = high.start - low.start + (isStrict ? 0 : 1)
    if distance <= 0 { return (0, high.isExact) }
    let change = low.step - high.step
    guard change > 0 else { return nil }
    let most = (distance + change - 1) / change
    // Counters that would wrap never get there.
    for (start, step, _) in [low, high] {
      let (way, overflow) = most.multipliedReportingOverflow(by: step)
      guard !overflow, way.magnitude <= limit, (start + way).magnitude <= limit else { return nil }
    }
    return (most, high.isExact)
  }

  // The number that another loop counts to, at most.
  private func counted(_ edge: Edge, depth: Int) -> (most: Int, isExact: Bool)? {
    let edge = passed(edge)
    guard depth < 4, let loop = nodes[edge.node].loop, edge.port < loop.carried,
      let start = known[nodes[edge.node].inputs[edge.port]]?.scalarInteger,
      let step = step(loop, edge.port), step > 0
    else { return nil }
    let trips = mostTrips(edge.node, depth: depth + 1)
    guard let (change, overflow) = trips.most?.multipliedReportingOverflow(by: step), !overflow
    else { return nil }
    let (end, overflows) = start.addingReportingOverflow(change)
    return overflows ? nil : (end, trips.isExact)
  }

  private enum Comparison {
    case less, lessEqual, greater, greaterEqual

    func holds(_ a: Int, _ b: Int) -> Bool {
      switch self {
      case .less: a < b
      case .lessEqual: a <= b
      case .greater: a > b
      case .greaterEqual: a >= b
      }
    }
  }

  private typealias Test = (comparison: Comparison, left: Operand, right: Operand)

  // The comparisons that all must hold for another step; nil when there are others.
  private func tests(_ loop: LoopNode, _ edge: Edge, _ inputs: [Edge]) -> [Test]? {
    var isAll = true
    let tests = tests(loop, edge, inputs, depth: 0, ignoresUnknown: &isAll)
    return isAll ? tests : nil
  }

  // The same without those that are of another kind; `isAll` becomes false where there are any.
  private func tests(
    _ loop: LoopNode, _ edge: Edge, _ inputs: [Edge], depth: Int,
    ignoresUnknown isAll: inout Bool
  ) -> [Test] {
    let edge = loop.condition.passed(edge)
    let node = loop.condition.nodes[edge.node]
    func unknown() -> [Test] {
      isAll = false
      return []
    }
    guard case .op = node.kind, node.inputs.count == 2 else { return unknown() }
    if node.def === KnownOp.logicalAnd {
      let left = tests(loop, node.inputs[0], inputs, depth: depth, ignoresUnknown: &isAll)
      return left + tests(loop, node.inputs[1], inputs, depth: depth, ignoresUnknown: &isAll)
    }
    let comparison: Comparison
    if node.def === KnownOp.less {
      comparison = .less
    } else if node.def === KnownOp.lessEqual {
      comparison = .lessEqual
    } else if node.def === KnownOp.greater {
      comparison = .greater
    } else if node.def === KnownOp.greaterEqual {
      comparison = .greaterEqual
    } else {
      return unknown()
    }
    func operand(_ edge: Edge) -> Operand? {
      let edge = loop.condition.passed(edge)
      switch loop.condition.nodes[edge.node].kind {
      case .constant(let value): return value.scalarInteger.map { .fixed($0) }
      case .feed(let index):
        if index < loop.carried { return .counter(index) }
        guard inputs.indices.contains(index) else { return nil }
        return known[inputs[index]]?.scalarInteger.map { .fixed($0) }
          ?? longest(inputs[index])
          ?? counted(inputs[index], depth: depth).map { .counted($0.most, isExact: $0.isExact) }
      case .op, .variable: return nil
      }
    }
    guard let left = operand(node.inputs[0]), let right = operand(node.inputs[1]) else {
      return unknown()
    }
    return [(comparison, left, right)]
  }

  // The longest of the lengths whose largest `edge` is, bounded by numbers that are known.
  private func longest(_ edge: Edge) -> Operand? {
    var edge = passed(edge)
    // From the outside in; applied from the inside out.
    var bounds: [(isMost: Bool, number: Int)] = []
    while isOp(edge.node, KnownOp.minimum) || isOp(edge.node, KnownOp.maximum) {
      let inputs = nodes[edge.node].inputs
      guard let place = [0, 1].first(where: { known[inputs[$0]]?.scalarInteger != nil }),
        let bound = known[inputs[place]]?.scalarInteger
      else { return nil }
      bounds.append((isOp(edge.node, KnownOp.minimum), bound))
      edge = passed(inputs[1 - place])
    }
    guard isOp(edge.node, KnownOp.max), shape(nodes[edge.node].inputs[0])?.count == 1,
      known[nodes[edge.node].inputs[1]]?.integers?.count == 1
    else { return nil }
    var most: Int?
    for bound in bounds.reversed() {
      most =
        bound.isMost ? min(most ?? .max, bound.number) : most.map { max($0, bound.number) }
    }
    return .longest(passed(nodes[edge.node].inputs[0]), most: most)
  }

  // What a step adds to the carried value `index`: a constant, or nothing that is known.
  func step(_ loop: LoopNode, _ index: Int) -> Int? {
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
      return constant(sum.inputs[1]).flatMap { $0 == .min ? nil : -$0 }
    }
    return nil
  }

  // What identities pass on.
  func passed(_ edge: Edge) -> Edge {
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
      return node.isStateful && !copy.usesObject(id) && !copy.isOp(id, KnownOp.noOp)
        && !(node.def.traits.contains(.readsVariable)
          && !node.def.traits.contains(.writesVariable))
    }
  }

}

extension Tensor {
  /// The value of a scalar of integers.
  var scalarInteger: Int? { shape.isEmpty ? integers?.first : nil }
}

// Rows that no loss depends on: steps of a batch's sequences beyond their ends.

internal import WeftGraph
internal import WeftOps
internal import WeftTensors

extension IR {
  /// Where a fused cross-entropy leaves out rows of weight zero, leaves the same rows out of the
  /// loops and products that make its input and use its gradient.
  ///
  /// Gradients of such rows are zero, and nothing that counts reads their values; both are proven
  /// node by node, and whatever is not understood keeps all its rows.
  mutating func skipDeadRows() {
    let candidates = nodes.indices.filter {
      live[$0] && nodes[$0].def.name == CrossEntropyMatch.opName
    }
    for id in candidates {
      guard let finder = LiveRowFinder(self, crossEntropy: id) else { continue }
      var copy = self
      guard (try? finder.apply(to: &copy)) == true else { continue }
      copy.markLive()
      // Where weights depend on the rows themselves, lengths would come too late.
      if copy.order().count == copy.liveCount { self = copy }
    }
  }
}

/// Rows of a value: `count` steps of each sequence, from step `first` on.
struct RowLayout: Equatable {
  var first: Int
  var count: Int
  /// Whether sequences, not steps, come first.
  var isBatchMajor = false
}

/// What follows for other values from the rows that one cross-entropy leaves out.
struct LiveRowFinder {
  let ir: IR
  let users: Users
  let id: Int
  let mask: Edge
  let scale: Edge?
  let steps: Int
  let batch: Int
  let isBatchMajor: Bool
  let order: [Int]
  /// Loops over these rows whose kernels can leave out rows.
  private var loops: Set<Int> = []
  /// Values whose rows beyond the end are zero.
  var zero: [Edge: RowLayout] = [:]
  /// Values whose rows beyond the end are not needed.
  var unneeded: [Edge: RowLayout] = [:]
  /// Values whose rows beyond the end something reads, be it only to pass them on to where they must
  /// be numbers.
  var read: Set<Edge> = []

  init?(_ ir: IR, crossEntropy id: Int) {
    self.ir = ir
    self.id = id
    let node = ir.nodes[id]
    func input(_ name: String) -> Edge? {
      node.def.signature.inputs.firstIndex { $0.name == name }.map { node.inputs[$0] }
    }
    guard let mask = input("mask"), let h = input("h"), let rows = ir.shape(h)?.first,
      let found = LiveRowFinder.layout(ir, h, rows)
    else { return nil }
    (self.mask, scale) = (mask, input("scale"))
    (steps, batch, isBatchMajor) = found
    users = Users(ir)
    order = ir.order()
    loops = Set(order.filter { canLeaveOutRows($0) })
    findZero()
    findUnneeded()
    findRead()
  }

  // Steps, rows of a step, and which of them come first in the rows of `edge`: from the loop that
  // they come from.
  private static func layout(
    _ ir: IR, _ edge: Edge, _ rows: Int
  ) -> (steps: Int, batch: Int, isBatchMajor: Bool)? {
    var at = ir.root(edge)
    var isSwapped = false
    while true {
      let node = ir.nodes[at.node]
      if let body = node.recurrence {
        guard body.rows > 0, body.steps * body.rows == rows, body.lengths == nil else { return nil }
        return (body.steps, body.rows, isSwapped)
      }
      guard case .op = node.kind else { return nil }
      if ir.swapsSteps(at.node) {
        isSwapped.toggle()
        at = ir.root(node.inputs[0])
      } else if node.def.traits.contains(.elementwise) || ir.isOp(at.node, KnownOp.concat)
        || ir.isOp(at.node, KnownOp.biasAdd)
        || (ir.isOp(at.node, KnownOp.matMul) && !ir.flag(at.node, "transpose_a"))
      {
        let same = node.inputs.first { ir.shape($0)?.dropLast().reduce(1, *) == rows }
        guard let next = same else { return nil }
        at = ir.root(next)
      } else {
        return nil
      }
    }
  }

  // Whether all that a loop over these rows does in a step is done row by row: other kernels would
  // work on what lies in rows that are not live, and leave it to the next step.
  private func canLeaveOutRows(_ id: Int) -> Bool {
    guard var body = ir.nodes[id].recurrence, body.steps == steps, body.rows == batch,
      body.lengths == nil
    else { return false }
    // A step beyond a row's end may be looked at only where it is known not to count: see isZero.
    let looksAhead = body.ops.contains { op in
      op.inputs.contains { if case .step(_, let shift, _, _) = $0 { shift > 0 } else { false } }
    }
    if looksAhead && !body.isReversed { return false }
    body.lengths = LoopBody.Lengths(fills: ir.nodes[id].outputs.map { _ in false })
    guard let program = try? LoopProgram(body, rows: body.chunk) else { return false }
    return program.units.allSatisfy { if case .kernel = $0.unit { false } else { true } }
  }

  func rows(_ layout: RowLayout) -> Int { layout.count * batch }

  // Whether a value has these rows: all dimensions but the last.
  func fits(_ edge: Edge, _ layout: RowLayout) -> Bool {
    guard let sizes = ir.shape(edge), sizes.count >= 2 else { return false }
    return sizes.dropLast().reduce(1, *) == rows(layout)
  }

  // MARK: - Rows that are zero

  private mutating func findZero() {
    guard let port = ir.nodes[id].def.signature.outputs.firstIndex(where: { $0.name == "dh" })
    else { return }
    zero[Edge(node: id, port: port)] = RowLayout(
      first: 0, count: steps, isBatchMajor: isBatchMajor)
    for node in order where node != id {
      guard ir.nodes[node].inputs.contains(where: { zero[$0] != nil }),
        let layout = zeroRows(node)
      else { continue }
      for port in ir.nodes[node].outputs.indices {
        let edge = Edge(node: node, port: port)
        if fits(edge, layout) { zero[edge] = layout }
      }
    }
  }

  // The layout of a node's results, when their rows beyond the end are zero.
  private func zeroRows(_ id: Int) -> RowLayout? {
    let node = ir.nodes[id]
    guard case .op = node.kind else { return nil }
    let layouts = node.inputs.map { zero[$0] }
    if let body = node.recurrence {
      return loops.contains(id) && isZero(body, node.inputs)
        ? RowLayout(first: 0, count: steps) : nil
    }
    if let layout = layouts[0], let moved = moved(id, layout) { return moved }
    if ir.isOp(id, KnownOp.matMul) { return ir.flag(id, "transpose_a") ? nil : layouts[0] }
    guard let data = ir.rowwiseInputs(id), let layout = layouts.compactMap({ $0 }).first,
      data.allSatisfy({ layouts[$0] == nil || layouts[$0] == layout })
    else { return nil }
    // What is broadcast over rows is an operand, too.
    let operands = node.def.traits.contains(.elementwise) ? Array(node.inputs.indices) : data
    let isZero = operands.map { layouts[$0] != nil && fits(node.inputs[$0], layout) }
    return node.def.isZero(whereInputsAre: isZero) ? layout : nil
  }

  // The layout of what is another view of a value's rows.
  private func moved(_ id: Int, _ layout: RowLayout) -> RowLayout? {
    let node = ir.nodes[id]
    let output = Edge(node: id, port: 0)
    if ir.isPlainView(id) {
      return ir.shape(output)?.last == ir.shape(node.inputs[0])?.last ? layout : nil
    }
    if ir.swapsSteps(id), let sizes = ir.shape(node.inputs[0]),
      sizes.prefix(2)
        == (layout.isBatchMajor ? [batch, layout.count] : [layout.count, batch])
    {
      return RowLayout(
        first: layout.first, count: layout.count, isBatchMajor: !layout.isBatchMajor)
    }
    if let cut = stepsCut(id), !layout.isBatchMajor, cut.whole == layout.count {
      return RowLayout(first: layout.first + cut.from, count: cut.count)
    }
    return nil
  }

  // A Slice of whole steps [count, batch, columns].
  func stepsCut(_ id: Int) -> (from: Int, count: Int, whole: Int)? {
    let node = ir.nodes[id]
    guard ir.isOp(id, KnownOp.slice), let begin = ir.integers(of: node.inputs[1]),
      let whole = ir.shape(node.inputs[0]), let sizes = ir.shape(Edge(node: id, port: 0)),
      sizes.count == 3, whole[1] == batch, sizes.dropFirst() == whole.dropFirst()
    else { return nil }
    return (begin[0], sizes[0], whole[0])
  }

  // Whether a backward loop's results are zero in every step beyond a row's end, and its steps
  // before the end need nothing of those beyond it.
  private func isZero(_ body: LoopBody, _ inputs: [Edge]) -> Bool {
    guard body.isReversed else { return false }
    func isKnownZero(_ input: Int) -> Bool {
      guard let value = ir.known[inputs[input]] else { return false }
      // Of either sign.
      switch value.type.dtype {
      case .float32: return (try? value.array(of: Float.self))?.allSatisfy { $0 == 0 } ?? false
      case .float64: return (try? value.array(of: Double.self))?.allSatisfy { $0 == 0 } ?? false
      default: return false
      }
    }
    let whole = RowLayout(first: 0, count: steps)
    // Beyond the end: what comes from the step after is zero if all is.
    func isZeroBeyond(_ ref: LoopBody.Ref, _ values: [Bool]) -> Bool {
      switch ref {
      case .input: false
      case .step(let index, let shift, let boundary, _):
        zero[inputs[index]] == whole && shift >= 0 && boundary.map(isKnownZero) != false
      case .value(let id, _, let boundary): values[id] && boundary.map(isKnownZero) != false
      }
    }
    // Assumed for all, and given up for each value that does not hold it.
    var values = body.values.map { _ in true }
    while true {
      var holds = values
      for op in body.ops {
        let data = op.inputs.indices.filter { body.isOperand(op, $0) }
        let isZero = op.def.isZero(whereInputsAre: data.map { isZeroBeyond(op.inputs[$0], values) })
        for output in op.outputs where !isZero { holds[output] = false }
      }
      if holds == values { break }
      values = holds
    }
    guard values.indices.allSatisfy({ values[$0] || body.values[$0].result == nil }),
      values.indices.allSatisfy({ values[$0] || !body.values[$0].isCarried })
    else { return false }
    // In the last step: what comes from the step after is zero, or only ever meets zeros.
    enum State { case plain, zero, unknown }
    var states = body.values.map { _ in State.plain }
    for op in body.ops {
      let data = op.inputs.indices.filter { body.isOperand(op, $0) }
      let given = data.map { place -> State in
        switch op.inputs[place] {
        case .input: return .plain
        case .step(let index, let shift, _, _):
          if shift <= 0 { return .plain }
          return zero[inputs[index]] == whole ? .zero : .unknown
        case .value(let id, let shift, _): return shift == 0 ? states[id] : .zero
        }
      }
      var state = State.plain
      if op.def.isZero(whereInputsAre: given.map { $0 == .zero }) {
        state = .zero
      } else if given.contains(.unknown) {
        state = .unknown
      }
      for output in op.outputs { states[output] = state }
    }
    return states.indices.allSatisfy { index in
      states[index] != .unknown
        || (body.values[index].result == nil && !body.values[index].isCarried)
    }
  }

  // MARK: - Rows that are not needed

  private mutating func findUnneeded() {
    for node in order.reversed() {
      for port in ir.nodes[node].outputs.indices {
        let edge = Edge(node: node, port: port)
        if users.fetched(edge) || users[edge].isEmpty { continue }
        var result: RowLayout?
        for use in users[edge] {
          guard let layout = layout(edge, use), fits(edge, layout), layout.first >= 0 else {
            result = nil
            break
          }
          if let other = result {
            guard other.count == layout.count, other.isBatchMajor == layout.isBatchMajor else {
              result = nil
              break
            }
          }
          // The fewest rows: those beyond the end for every use.
          let first = min(result?.first ?? .max, layout.first)
          result = layout
          result?.first = first
        }
        if let result { unneeded[edge] = result }
      }
    }
  }

  // The rows of `edge` that one use does not need.
  private func layout(_ edge: Edge, _ use: Users.Use) -> RowLayout? {
    let node = ir.nodes[use.node]
    let output = unneeded[Edge(node: use.node, port: 0)]
    if use.node == id {
      let isRows = node.def.signature.inputs[use.input].name == "h"
      return isRows ? RowLayout(first: 0, count: steps, isBatchMajor: isBatchMajor) : nil
    }
    if let body = node.recurrence {
      let isSkipped = isSkipped(use.node, body)
      return isSkipped && readsSteps(body, use.input) ? RowLayout(first: 0, count: steps) : nil
    }
    if ir.isOp(use.node, KnownOp.matMul) {
      if !ir.flag(use.node, "transpose_a") { return use.input == 0 ? output : nil }
      if ir.flag(use.node, "transpose_b") { return nil }
      return zero[node.inputs[1 - use.input]]
    }
    guard let output else { return nil }
    if use.input == 0, ir.isPlainView(use.node) {
      return ir.shape(edge)?.last == ir.shape(Edge(node: use.node, port: 0))?.last ? output : nil
    }
    if use.input == 0, ir.swapsSteps(use.node), let sizes = ir.shape(edge),
      sizes.prefix(2) == (output.isBatchMajor ? [output.count, batch] : [batch, output.count])
    {
      return RowLayout(
        first: output.first, count: output.count, isBatchMajor: !output.isBatchMajor)
    }
    if use.input == 0, let cut = stepsCut(use.node), !output.isBatchMajor {
      return RowLayout(first: output.first - cut.from, count: cut.whole)
    }
    // Each row of the results from the same row of the operands.
    guard let data = ir.rowwiseInputs(use.node), data.contains(use.input),
      node.outputs.indices.allSatisfy({ port in
        let edge = Edge(node: use.node, port: port)
        return unneeded[edge] == output || (users[edge].isEmpty && !users.fetched(edge))
      })
    else { return nil }
    return output
  }

  // Whether a loop uses an input only as the values of its steps.
  private func readsSteps(_ body: LoopBody, _ input: Int) -> Bool {
    for op in body.ops {
      for ref in op.inputs {
        switch ref {
        case .input(input): return false
        case .step(_, _, input, _), .value(_, _, input): return false
        default: break
        }
      }
    }
    return true
  }

  // Whether a loop's steps beyond a row's end can be left out.
  func isSkipped(_ id: Int, _ body: LoopBody) -> Bool {
    guard loops.contains(id) else { return false }
    let edges = ir.nodes[id].outputs.indices.map { Edge(node: id, port: $0) }
    if body.isReversed { return edges.allSatisfy { zero[$0] != nil } }
    let whole = RowLayout(first: 0, count: steps)
    return edges.allSatisfy { edge in
      unneeded[edge] == whole || (users[edge].isEmpty && !users.fetched(edge))
    }
  }
}

extension IR {
  /// Whether a node is a Transpose that swaps the first two of three dimensions.
  func swapsSteps(_ id: Int) -> Bool {
    isOp(id, KnownOp.transpose) && integers(of: nodes[id].inputs[1]) == [1, 0, 2]
  }

  /// The operands of an op that makes each row of its results from the same row of those that have
  /// rows; nil for other ops.
  func rowwiseInputs(_ id: Int) -> [Int]? {
    let node = nodes[id]
    guard case .op = node.kind, let out = node.outputs.first?.shape.known, out.count >= 2 else {
      return nil
    }
    let count = node.inputs.count
    func isLast(_ edge: Edge) -> Bool {
      integers(of: edge).map { $0 == [-1] || $0 == [out.count - 1] } ?? false
    }
    if isOp(id, KnownOp.biasAdd) { return out.count == 2 ? [0] : nil }
    if isOp(id, KnownOp.concat) {
      return isLast(node.inputs[count - 1]) ? Array(0..<count - 1) : nil
    }
    if isOp(id, KnownOp.split) { return isLast(node.inputs[0]) ? [1] : nil }
    if isOp(id, KnownOp.splitV) { return isLast(node.inputs[2]) ? [0] : nil }
    // Those that give numbers for any numbers, of which zeros stand for rows beyond the end.
    let elementwise =
      [
        KnownOp.subtract, KnownOp.multiply, KnownOp.negate, KnownOp.addN, KnownOp.relu,
        KnownOp.reluGrad, KnownOp.tanh, KnownOp.sigmoid,
      ] + KnownOp.add + KnownOp.activationGrads
    guard isOp(id, elementwise), node.outputs.count == 1 else { return nil }
    return node.inputs.indices.filter { shape(node.inputs[$0])?.dropLast() == out.dropLast() }
  }
}

extension OpDef {
  /// Whether an op of rows gives zero where these of its data operands are.
  fileprivate func isZero(whereInputsAre zero: [Bool]) -> Bool {
    func has(_ place: Int) -> Bool { zero.indices.contains(place) && zero[place] }
    if self === KnownOp.multiply { return zero.contains(true) }
    if self === KnownOp.matMul { return has(0) }
    if KnownOp.activationGrads.contains(where: { $0 === self }) { return has(1) }
    if self === KnownOp.reluGrad { return has(0) }
    let joins = [KnownOp.concat, KnownOp.split, KnownOp.splitV, KnownOp.slice]
    let keepsZeros = KnownOp.add + [KnownOp.addN, KnownOp.subtract, KnownOp.negate] + joins
    guard keepsZeros.contains(where: { $0 === self }) || traits.contains(.view) else {
      return false
    }
    return !zero.isEmpty && zero.allSatisfy { $0 }
  }
}

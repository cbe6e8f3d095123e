// A group of packs that depend on their own past, as one loop node.

internal import WeftGraph
internal import WeftOps
internal import WeftTensors

extension Roller {
  /// Replaces a recurrent group by a loop, where its steps hang together in one direction.
  mutating func emitLoop(_ members: [Int]) throws {
    guard let order = stepOrder(members) else { return try refuseLoop(members) }
    var builder = LoopBuilder(steps: steps, isReversed: order.isReversed)
    let inside = Set(members)
    for pack in order.packs {
      for port in packs[pack].outputs.indices {
        let key = Key(pack: pack, port: port)
        builder.addValue(
          key, packs[pack].outputs[port], valid: packs[pack].valid,
          isResult: isUsedOutside(key, inside))
      }
    }
    for pack in order.packs {
      var refs: [LoopBody.Ref] = []
      for input in packs[pack].inputs {
        refs.append(try ref(input, inside, packs[pack], &builder))
      }
      let constants = packs[pack].inputs.map { input -> Tensor? in
        if case .same(let edge) = input { ir.known[edge] } else { nil }
      }
      builder.body.ops.append(
        LoopBody.Op(
          name: packs[pack].name, def: packs[pack].def, attrs: packs[pack].attrs, inputs: refs,
          inputTypes: packs[pack].inputTypes, constants: constants,
          outputs: packs[pack].outputs.indices.compactMap {
            builder.valueOf[Key(pack: pack, port: $0)]
          }))
    }
    builder.body.findRows()
    let body = builder.body
    // Whatever cannot be lowered is left as it was.
    guard let kernel = try? body.kernel() else { return try refuseLoop(members) }
    let first = packs[order.packs[0]]
    let types = builder.results.map { key in
      let type = packs[key.pack].outputs[key.port]
      return TensorType(type.dtype, Shape([steps] + (type.shape.known ?? [])))
    }
    let id = ir.append(
      IRNode(
        name: "\(first.name)/loop", def: body.definition(kernel), attrs: [:],
        inputs: builder.inputs, controls: [],
        outputs: types, handles: types.map { _ in nil }, origin: first.origin, kind: .op,
        rank: first.rank, content: .recurrence(body)))
    for (port, key) in builder.results.enumerated() { stacked[key] = Edge(node: id, port: port) }
  }

  private func refuseLoop(_ members: [Int]) throws {
    if members.contains(where: { packs[$0].lanes.allSatisfy { $0 == nil } }) {
      throw WeftError(.internal, "a rewritten recurrence cannot be rolled")
    }
  }

  // The packs of a group in the order of one step, and the direction of steps.
  private func stepOrder(_ members: [Int]) -> (packs: [Int], isReversed: Bool)? {
    let inside = Set(members)
    var shifts = Set<Int>()
    var pending: [Int: Int] = [:]
    for pack in members {
      var count = 0
      for case .pack(let source, _, let shift, let boundary) in packs[pack].inputs
      where inside.contains(source) {
        // Within a step every value is one that the step makes.
        if shift == 0 && boundary != nil { return nil }
        if shift == 0 { count += 1 } else { shifts.insert(shift) }
      }
      pending[pack] = count
    }
    guard shifts.count == 1, let shift = shifts.first, abs(shift) == 1 else { return nil }
    var order: [Int] = []
    var ready = members.filter { pending[$0] == 0 }
    while !ready.isEmpty {
      let next = ready.removeFirst()
      order.append(next)
      for pack in members where pending[pack, default: 0] > 0 {
        var count = pending[pack, default: 0]
        for case .pack(next, _, 0, _) in packs[pack].inputs { count -= 1 }
        if count == 0, pending[pack] != 0 { ready.append(pack) }
        pending[pack] = count
      }
    }
    return order.count == members.count ? (order, shift > 0) : nil
  }

  private func isUsedOutside(_ key: Key, _ inside: Set<Int>) -> Bool {
    if outside[key.pack].contains(key.port) { return true }
    return packs.indices.contains { other in
      isLive[other] && !inside.contains(other)
        && packs[other].inputs.contains {
          if case .pack(key.pack, key.port, _, _) = $0 { true } else { false }
        }
    }
  }

  private mutating func ref(
    _ input: PackInput, _ inside: Set<Int>, _ pack: Pack, _ builder: inout LoopBuilder
  ) throws -> LoopBody.Ref {
    switch input {
    case .same(let edge):
      return .input(builder.input(edge, ir.type(edge)))
    case .lanes(let edges):
      guard let whole = try allSteps(.lanes(edges), like: pack) else {
        throw WeftError(.internal, "steps of a loop have no values")
      }
      return .step(
        builder.input(whole, ir.type(whole)), shift: 0, boundary: nil, valid: 0..<steps)
    case .pack(let source, let port, let shift, let boundary):
      let end = boundary.map { builder.input($0, ir.type($0)) }
      if inside.contains(source) {
        guard let id = builder.valueOf[Key(pack: source, port: port)] else {
          throw WeftError(.internal, "a loop uses a value that it does not make")
        }
        if shift != 0 { builder.body.values[id].isCarried = true }
        return .value(id, shift: shift, boundary: end)
      }
      let whole = try stack(source, port)
      return .step(
        builder.input(whole, ir.type(whole)), shift: shift, boundary: end,
        valid: packs[source].valid)
    }
  }
}

/// Collects the values and inputs of a loop's body.
private struct LoopBuilder {
  var body: LoopBody
  var valueOf: [Roller.Key: Int] = [:]
  var inputs: [Edge] = []
  var results: [Roller.Key] = []
  private var inputOf: [Edge: Int] = [:]

  init(steps: Int, isReversed: Bool) {
    body = LoopBody(steps: steps, isReversed: isReversed, ops: [], values: [], inputTypes: [])
  }

  mutating func addValue(
    _ key: Roller.Key, _ type: TensorType, valid: Range<Int>, isResult: Bool
  ) {
    valueOf[key] = body.values.count
    body.values.append(
      LoopBody.Value(type: type, result: isResult ? results.count : nil, valid: valid))
    if isResult { results.append(key) }
  }

  mutating func input(_ edge: Edge, _ type: TensorType) -> Int {
    if let known = inputOf[edge] { return known }
    inputOf[edge] = inputs.count
    inputs.append(edge)
    body.inputTypes.append(type)
    return inputs.count - 1
  }
}

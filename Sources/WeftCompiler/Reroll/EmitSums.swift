// Sums over all steps: gradients of what every step uses.

internal import WeftGraph
internal import WeftOps
internal import WeftTensors

extension Roller {
  mutating func emitReduction(_ reduction: Reduction) throws {
    let pack = packs[reduction.pack]
    guard let out = pack.outputs[0].shape.known else { return }
    var total: Edge?
    if pack.def === KnownOp.matMul, flag(reduction.pack, "transpose_a"),
      !flag(reduction.pack, "transpose_b"), out.count == 2
    {
      total = try product(reduction.pack, pack, out)
    } else if pack.def === KnownOp.biasAddGrad, pack.inputTypes[0].shape.rank == 2,
      let rows = try allSteps(pack.inputs[0], like: pack), let sizes = ir.shape(rows)
    {
      let flat = try ir.reshape(rows, to: [sizes[0] * sizes[1], sizes[2]], like: pack)
      total = ir.node(pack.def, [flat], attrs: pack.attrs, shape: out, like: pack, part: "all")
    } else {
      try emitBatch(reduction.pack)
      guard let all = stacked[Key(pack: reduction.pack, port: 0)] else { return }
      total = ir.node(
        KnownOp.sum, [all, try ir.integers([0])], shape: out, like: pack, part: "sum")
    }
    guard let total else { return }
    summed.insert(reduction.pack)
    let lanes = Set(pack.lanes.compactMap { $0 })
    let rest = ir.nodes[reduction.node].inputs.filter { !lanes.contains($0.node) }
    if rest.isEmpty {
      ir.replace([Edge(node: reduction.node, port: 0): total])
    } else {
      ir.nodes[reduction.node].inputs = [total] + rest
      ir.nodes[reduction.node].attrs["N"] = .int(Int64(rest.count + 1))
    }
  }

  // Where a step's operand lies: step `at` of a value of all steps, or by itself.
  private enum StepSource {
    case step(of: Edge, at: Int)
    case own(Edge)
  }

  private func stepSource(_ input: PackInput, _ lane: Int) -> StepSource? {
    switch input {
    case .same: return nil
    case .lanes(let edges): return stepSource(edges[lane])
    case .pack(let source, let port, let shift, let boundary):
      let at = lane + shift
      if packs[source].valid.contains(at) {
        return stacked[Key(pack: source, port: port)].map { .step(of: $0, at: at) }
      }
      return boundary.map { stepSource($0) }
    }
  }

  private func stepSource(_ edge: Edge) -> StepSource {
    if let place = placeOf[edge.node],
      let whole = stacked[Key(pack: place.pack, port: edge.port)]
    {
      return .step(of: whole, at: place.lane)
    }
    if ir.isOp(edge.node, KnownOp.unpack), ir.integer(edge.node, "axis") == 0,
      let whole = ir.nodes[edge.node].inputs.first
    {
      return .step(of: whole, at: edge.port)
    }
    return .own(edge)
  }

  // A product summed over all steps as few products over runs of steps in which both operands lie in
  // order, as they are: in whatever order the sum had its terms, nothing is copied.
  private mutating func runs(_ left: PackInput, _ right: PackInput, _ pack: Pack) throws -> [Edge]?
  {
    var pairs: [(a: Edge, i: Int, b: Edge, j: Int)] = []
    var products: [Edge] = []
    for lane in 0..<steps {
      guard let a = stepSource(left, lane), let b = stepSource(right, lane) else { return nil }
      if case .step(let a, let i) = a, case .step(let b, let j) = b {
        pairs.append((a, i, b, j))
        continue
      }
      guard products.count < 2 else { return nil }
      products.append(try product([try step(a, pack), try step(b, pack)], pack))
    }
    pairs.sort { $0.j < $1.j }
    var from = 0
    for at in 1...max(1, pairs.count) where from < pairs.count {
      let (first, last) = (pairs[from], pairs[at - 1])
      if at < pairs.count {
        let next = pairs[at]
        let goesOn = next.a == last.a && next.b == last.b && next.i == last.i + 1
        if goesOn && next.j == last.j + 1 { continue }
      }
      guard products.count < 4 else { return nil }
      let rows = [
        try cut(first.a, first.i, at - from, pack), try cut(first.b, first.j, at - from, pack),
      ]
      products.append(try product(rows, pack))
      from = at
    }
    return products
  }

  private mutating func product(_ rows: [Edge], _ pack: Pack) throws -> Edge {
    let shape = [ir.shape(rows[0])?.last ?? 0, ir.shape(rows[1])?.last ?? 0]
    return ir.node(pack.def, rows, attrs: pack.attrs, shape: shape, like: pack, part: "all")
  }

  private mutating func step(_ source: StepSource, _ pack: Pack) throws -> Edge {
    switch source {
    case .own(let edge): edge
    case .step(let whole, let at): try cut(whole, at, 1, pack)
    }
  }

  // Rows of `count` steps from step `at`.
  private mutating func cut(_ whole: Edge, _ at: Int, _ count: Int, _ pack: Pack) throws -> Edge {
    guard let sizes = ir.shape(whole), sizes.count == 3 else {
      throw WeftError(.internal, "steps of a product are no matrices")
    }
    let part =
      count == sizes[0]
      ? whole
      : try ir.slice(
        whole, begin: [at, 0, 0], sizes: [count, sizes[1], sizes[2]], like: pack)
    return try ir.reshape(part, to: [count * sizes[1], sizes[2]], like: pack)
  }

  // The sum over all steps of a^T d is A^T D of all rows. A joined a = [x, h] gives its rows apart.
  private mutating func product(_ index: Int, _ pack: Pack, _ out: [Int]) throws -> Edge? {
    var parts = [pack.inputs[0]]
    if case .pack(let join, 0, 0, nil) = pack.inputs[0], packs[join].def === KnownOp.concat,
      joinsColumns(join), !isRolled(join)
    {
      parts = Array(packs[join].inputs.dropLast())
    }
    var products: [Edge] = []
    for part in parts {
      if let terms = try runs(part, pack.inputs[1], pack) {
        products.append(try ir.sum(terms, like: pack))
        continue
      }
      guard let right = try flatRows(pack.inputs[1], pack), let left = try flatRows(part, pack),
        let sizes = ir.shape(left)
      else { return nil }
      products.append(
        ir.node(
          pack.def, [left, right], attrs: pack.attrs, shape: [sizes[1], out[1]], like: pack,
          part: "all"))
    }
    return try ir.concat(products, axis: 0, like: pack)
  }

  private mutating func flatRows(_ input: PackInput, _ pack: Pack) throws -> Edge? {
    guard let whole = try allSteps(input, like: pack), let sizes = ir.shape(whole),
      sizes.count == 3
    else { return nil }
    return try ir.reshape(whole, to: [sizes[0] * sizes[1], sizes[2]], like: pack)
  }
}

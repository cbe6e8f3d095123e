// What rolled packs become: operations over all steps at once, and the links to the rest.

internal import WeftGraph
internal import WeftOps
internal import WeftTensors

extension Roller {
  // MARK: - Values of all steps

  /// An operand's values of all steps `[T, ...]`; nil for one that is the same in every step.
  mutating func allSteps(_ input: PackInput, like: Pack) throws -> Edge? {
    switch input {
    case .same: return nil
    case .lanes(let edges): return try stackLanes(edges, like: like)
    case .pack(let source, let port, let shift, let boundary):
      let whole = try stack(source, port)
      guard shift != 0 || boundary != nil, let sizes = ir.shape(whole) else { return whole }
      let valid = packs[source].valid
      let step = Array(sizes.dropFirst())
      func cut(_ from: Int, _ count: Int) throws -> Edge? {
        guard count > 0 else { return nil }
        return try ir.slice(
          whole, begin: [from] + step.map { _ in 0 }, sizes: [count] + step, like: like)
      }
      // Where the source has no such step: at one end of its valid ones.
      let isLow = shift < 0 || (shift == 0 && valid.lowerBound > 0)
      let gap = isLow ? valid.lowerBound - shift - 1 : valid.upperBound - shift
      let middle: Edge?
      if let boundary {
        middle = try ir.reshape(boundary, to: [1] + step, like: like)
      } else {
        // No step looks there: any value does.
        middle = try cut(min(max(gap, 0), steps - 1), 1)
      }
      // Before and after the gap; steps that do not count take any values.
      let before = try cut(min(max(shift, 0), steps - max(gap, 0)), gap)
      let after = try cut(max(0, gap + 1 + shift), steps - gap - 1)
      return try ir.concat([before, middle, after].compactMap { $0 }, axis: 0, like: like)
    }
  }

  /// What `pack` gives in all steps.
  mutating func stack(_ pack: Int, _ port: Int) throws -> Edge {
    let key = Key(pack: pack, port: port)
    if let made = stacked[key] { return made }
    // Not rolled: its nodes' values are put together.
    guard let some = packs[pack].lanes.lazy.compactMap({ $0 }).first else {
      throw WeftError(.internal, "a rewritten operation was not rolled")
    }
    let edges = packs[pack].lanes.map { Edge(node: $0 ?? some, port: port) }
    return ir.stack(edges, like: packs[pack])
  }

  private mutating func stackLanes(_ edges: [Edge], like: Pack) throws -> Edge {
    // The outputs of one Unpack, in order, are its input.
    let head = edges[0]
    if ir.isOp(head.node, KnownOp.unpack), ir.nodes[head.node].outputs.count == edges.count,
      edges.indices.allSatisfy({ edges[$0] == Edge(node: head.node, port: $0) }),
      let source = ir.nodes[head.node].inputs.first, let sizes = ir.shape(source),
      let axis = ir.integer(head.node, "axis")
    {
      let at = axis < 0 ? axis + sizes.count : axis
      return try ir.transpose(
        source, [at] + sizes.indices.filter { $0 != at }, like: like)
    }
    // Constants are put together now.
    let values = edges.compactMap { ir.known[$0] }
    if values.count == edges.count, let type = values.first?.type {
      let joined = try Tensor(dtype: type.dtype, shape: [edges.count] + (type.shape.known ?? [])) {
        memory throws(WeftError) in
        guard let base = memory.baseAddress, let size = values.first?.byteCount, size > 0 else {
          return
        }
        for (index, value) in values.enumerated() {
          (base + index * size).copyMemory(from: value.buffer.base, byteCount: size)
        }
      }
      return ir.constant(joined, name: "\(like.name)/steps")
    }
    return ir.stack(edges, like: like)
  }

  // MARK: - Operations over all steps

  /// Makes one operation of a pack that does not depend on its own past, where that is known to
  /// give each step the same bits; other packs stay as they are.
  mutating func emitBatch(_ index: Int) throws {
    let pack = packs[index]
    guard let out = pack.outputs[0].shape.known else { return }
    if pack.outputs.count == 1, let result = try batched(index, pack, out) {
      stacked[Key(pack: index, port: 0)] = result
      return
    }
    guard pack.def === KnownOp.split, let axis = integers(index, 0)?.first, !out.isEmpty,
      let whole = try allSteps(pack.inputs[1], like: pack)
    else { return try refuse(index) }
    let at = try Tensor(scalar: Int32(clamping: axis < 0 ? axis : axis + 1))
    let types = pack.outputs.map {
      TensorType($0.dtype, Shape([steps] + ($0.shape.known ?? [])))
    }
    let id = ir.append(
      IRNode(
        name: pack.name, def: pack.def, attrs: pack.attrs,
        inputs: [ir.constant(at, name: "axis"), whole], controls: [], outputs: types,
        handles: types.map { _ in nil }, origin: pack.origin, kind: .op, rank: pack.rank))
    for port in types.indices { stacked[Key(pack: index, port: port)] = Edge(node: id, port: port) }
  }

  // A pack without nodes of its own cannot be left alone.
  private func refuse(_ index: Int) throws {
    if packs[index].lanes.allSatisfy({ $0 == nil }) {
      throw WeftError(.internal, "\(packs[index].name) was rewritten and cannot be run at once")
    }
  }

  private mutating func batched(_ index: Int, _ pack: Pack, _ out: [Int]) throws -> Edge? {
    let full = [steps] + out
    if pack.def === KnownOp.matMul, !flag(index, "transpose_a"),
      case .same(let matrix) = pack.inputs[1],
      let rows = try allSteps(pack.inputs[0], like: pack), let sizes = ir.shape(rows)
    {
      let flat = try ir.reshape(rows, to: [sizes[0] * sizes[1], sizes[2]], like: pack)
      let product = ir.node(
        pack.def, [flat, matrix], attrs: pack.attrs, shape: [steps * out[0], out[1]], like: pack,
        part: "all")
      return try ir.reshape(product, to: full, like: pack)
    }
    if KnownOp.biasAdd.contains(where: { $0 === pack.def }), out.count == 2,
      case .same(let bias) = pack.inputs[1], let rows = try allSteps(pack.inputs[0], like: pack)
    {
      let flat = try ir.reshape(rows, to: [steps * out[0], out[1]], like: pack)
      let sum = ir.node(
        pack.def, [flat, bias], attrs: pack.attrs, shape: [steps * out[0], out[1]], like: pack,
        part: "all")
      return try ir.reshape(sum, to: full, like: pack)
    }
    if pack.def === KnownOp.concat, let axis = integers(index, pack.inputs.count - 1)?.first {
      var parts: [Edge] = []
      for input in pack.inputs.dropLast() {
        guard let part = try allSteps(input, like: pack) else { return nil }
        parts.append(part)
      }
      return try ir.concat(parts, axis: axis < 0 ? axis + full.count : axis + 1, like: pack)
    }
    if pack.def === KnownOp.slice, let box = box(index),
      let whole = try allSteps(pack.inputs[0], like: pack)
    {
      return try ir.slice(whole, begin: [0] + box.begin, sizes: full, like: pack)
    }
    if pack.def.traits.contains(.view), pack.inputs.count >= 1,
      let whole = try allSteps(pack.inputs[0], like: pack)
    {
      return try ir.reshape(whole, to: full, like: pack)
    }
    if pack.def === KnownOp.sum, let axes = integers(index, 1),
      let whole = try allSteps(pack.inputs[0], like: pack)
    {
      let over = try ir.integers(axes.map { $0 < 0 ? $0 : $0 + 1 })
      return ir.node(
        pack.def, [whole, over], attrs: pack.attrs, shape: full, like: pack, part: "all")
    }
    if pack.def === KnownOp.biasAddGrad, pack.inputTypes[0].shape.rank == 2,
      let whole = try allSteps(pack.inputs[0], like: pack)
    {
      return ir.node(
        KnownOp.sum, [whole, try ir.integers([1])], shape: full, like: pack, part: "all")
    }
    return try elementwise(index, pack, full)
  }

  private mutating func elementwise(_ index: Int, _ pack: Pack, _ full: [Int]) throws -> Edge? {
    guard pack.def.traits.contains(.elementwise), let kernel = try? lower(pack) else { return nil }
    let broadcasts = kernel.loop != nil
    var inputs: [Edge] = []
    for (input, type) in zip(pack.inputs, pack.inputTypes) {
      guard let sizes = type.shape.known else { return nil }
      if case .same(let edge) = input {
        guard broadcasts else { return nil }
        inputs.append(edge)
        continue
      }
      guard broadcasts || sizes == Array(full.dropFirst()),
        let whole = try allSteps(input, like: pack)
      else { return nil }
      let ones = [Int](repeating: 1, count: full.count - 1 - sizes.count)
      inputs.append(try ir.reshape(whole, to: [steps] + ones + sizes, like: pack))
    }
    let id = ir.append(
      IRNode(
        name: "\(pack.name)/all", def: pack.def, attrs: pack.attrs, inputs: inputs, controls: [],
        outputs: [TensorType(pack.outputs[0].dtype, Shape(full))], handles: [nil],
        origin: pack.origin, kind: .op, rank: pack.rank))
    return Edge(node: id, port: 0)
  }

  /// The kernel of one step of a pack.
  func lower(_ pack: Pack) throws -> Kernel {
    guard case .kernel(let make) = pack.def.lowering else {
      throw WeftError(.unimplemented, "\(pack.def.name) cannot be run")
    }
    let known = pack.inputs.map { input -> Tensor? in
      if case .same(let edge) = input { ir.known[edge] } else { nil }
    }
    return try make(
      LowerContext(
        name: pack.name, op: pack.def, attrs: Attrs(pack.attrs, signature: pack.def.signature),
        inputs: pack.inputTypes, outputs: pack.outputs,
        tensors: { $0 < known.count ? known[$0] : nil },
        variables: { _ in throw WeftError(.internal, "no variable in a step") }))
  }

  // MARK: - The rest of the graph

  /// Nodes outside that use one step's value, or all of them, get them from the rolled values.
  mutating func reconnect() throws {
    let users = Users(ir)
    for index in packs.indices where isRolled(index) || summed.contains(index) {
      rolledNodes.formUnion(packs[index].lanes.compactMap { $0 })
    }
    var replaced: [Edge: Edge] = [:]
    for index in packs.indices {
      for port in packs[index].outputs.indices {
        guard let whole = stacked[Key(pack: index, port: port)] else { continue }
        try reconnect(index, port, whole, users, &replaced)
      }
    }
    ir.replace(replaced)
  }

  private mutating func reconnect(
    _ index: Int, _ port: Int, _ whole: Edge, _ users: Users, _ replaced: inout [Edge: Edge]
  ) throws {
    let pack = packs[index]
    let nodes = Set(pack.lanes.compactMap { $0 })
    guard nodes.count == steps, let sizes = ir.shape(whole) else {
      return try unstack(index, port, whole, users, &replaced)
    }
    let edges = pack.lanes.compactMap { $0.map { Edge(node: $0, port: port) } }
    // Stacks and joins of all steps in order are the rolled value itself.
    for use in users[edges[0]] where use.input == 0 {
      let node = ir.nodes[use.node]
      let output = Edge(node: use.node, port: 0)
      if ir.isOp(use.node, KnownOp.pack), node.inputs == edges,
        let axis = ir.integer(use.node, "axis")
      {
        var perm = Array(1..<sizes.count)
        perm.insert(0, at: axis < 0 ? axis + sizes.count : axis)
        replaced[output] = try ir.transpose(whole, perm, like: pack)
      } else if ir.isOp(use.node, KnownOp.concat), Array(node.inputs.dropLast()) == edges,
        ir.integers(of: node.inputs[node.inputs.count - 1]) == [0], sizes.count > 1
      {
        replaced[output] = try ir.reshape(
          whole, to: [sizes[0] * sizes[1]] + sizes.dropFirst(2), like: pack)
      }
    }
    try unstack(index, port, whole, users, &replaced)
  }

  private mutating func unstack(
    _ index: Int, _ port: Int, _ whole: Edge, _ users: Users, _ replaced: inout [Edge: Edge]
  ) throws {
    let pack = packs[index]
    // A few steps are cut out one by one.
    let used = pack.lanes.indices.filter { lane in
      guard let node = pack.lanes[lane] else { return false }
      let edge = Edge(node: node, port: port)
      return users.fetched(edge) || users[edge].contains { !rolledNodes.contains($0.node) }
    }
    if used.count <= 4 {
      let step = pack.outputs[port].shape.known ?? []
      for lane in used {
        guard let node = pack.lanes[lane] else { continue }
        let piece = try ir.slice(
          whole, begin: [lane] + step.map { _ in 0 }, sizes: [1] + step, like: pack)
        replaced[Edge(node: node, port: port)] = try ir.reshape(piece, to: step, like: pack)
      }
      return
    }
    let types = (0..<steps).map { _ in pack.outputs[port] }
    let id = ir.append(
      IRNode(
        name: "\(pack.name)/steps", def: KnownOp.unpack,
        attrs: ["num": .int(Int64(steps)), "axis": .int(0)], inputs: [whole], controls: [],
        outputs: types, handles: types.map { _ in nil }, origin: pack.origin, kind: .op,
        rank: pack.rank))
    for (lane, node) in pack.lanes.enumerated() {
      if let node { replaced[Edge(node: node, port: port)] = Edge(node: id, port: lane) }
    }
  }
}

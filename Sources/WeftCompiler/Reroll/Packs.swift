// Finding the copies of an unrolled cell: nodes that do the same in every step, side by side.

internal import WeftGraph
internal import WeftOps
internal import WeftTensors

/// One operand of a pack.
enum PackInput {
  /// The same value in every step.
  case same(Edge)
  /// What another pack (or this one) gives `shift` steps later; `boundary` where that is no valid
  /// step of it.
  case pack(Int, port: Int, shift: Int, boundary: Edge?)
  /// Any value for each step.
  case lanes([Edge])
}

/// One operation of every step: T nodes that differ in their operands alone.
struct Pack {
  var name: String
  let def: OpDef
  let attrs: [String: AttrValue]
  let outputs: [TensorType]
  var inputTypes: [TensorType]
  let origin: Origin
  let rank: Int
  /// The node of each step; nil in a step that does not need one, and everywhere when the pack was
  /// made by a rewrite.
  var lanes: [Int?]
  /// The steps that need it: all but perhaps one at an end. What it is given elsewhere, and gives,
  /// does not count.
  var valid: Range<Int>
  var inputs: [PackInput] = []
}

/// Grows packs from places where the values of all steps come together, operand by operand.
///
/// Nothing is asked of names or of the kind of cell: only that nodes have the same op, attributes
/// and types, and that they use one another the same way in each step.
struct PackFinder {
  private(set) var packs: [Pack] = []
  private(set) var packOf: [Int: (pack: Int, lane: Int)] = [:]
  private var ir: IR
  private let steps: Int
  private let position: [Int]
  private var work: [Int] = []
  private var pending: [(pack: Int, input: Int)] = []
  /// Sums that were made for a step, and the one term that stood there.
  private var filled: [Int: Edge] = [:]

  init(_ ir: IR, steps: Int, position: [Int]) {
    self.ir = ir
    self.steps = steps
    self.position = position
  }

  /// Packs of `steps` nodes, from these seeds in order; nodes may have been added to the graph.
  consuming func find(joined: [[Edge]], unordered: [[Int]]) -> (IR, [Pack]) {
    for edges in joined {
      if Set(edges.map(\.port)).count == 1 { admit(edges.map(\.node)) }
      drain()
    }
    for nodes in unordered where nodes.contains(where: { packOf[$0] == nil }) {
      if let ordered = ordered(nodes) { admit(ordered) }
      drain()
    }
    for index in packs.indices {
      let given = packs[index].lanes.indices.filter { packs[index].lanes[$0] != nil }
      packs[index].valid = (given.first ?? 0)..<((given.last ?? -1) + 1)
    }
    for index in packs.indices {
      packs[index].inputs = ir.nodes[first(index)].inputs.indices.map { resolve(index, $0) }
    }
    return (ir, packs)
  }

  private func first(_ pack: Int) -> Int { packs[pack].lanes.lazy.compactMap { $0 }.first ?? 0 }

  private mutating func drain() {
    while true {
      if let next = work.popLast() {
        for input in ir.nodes[first(next)].inputs.indices { grow(next, input) }
      } else if !pending.isEmpty {
        let (pack, input) = pending.removeFirst()
        growPartly(pack, input)
      } else {
        return
      }
    }
  }

  // MARK: - Sameness

  private func isPackable(_ id: Int) -> Bool {
    // Field by field: a node is dear to copy, and all of a graph's are looked at.
    guard case .op = ir.nodes[id].kind, !ir.nodes[id].isStateful,
      ir.nodes[id].def.traits.isDisjoint(with: [.readsVariable, .dataDependent]),
      ir.nodes[id].controls.isEmpty, !ir.nodes[id].inputs.isEmpty
    else { return false }
    return ir.nodes[id].outputs.allSatisfy {
      $0.dtype.isPlain && $0.shape.isFullyKnown && !$0.isReference
    }
      && ir.nodes[id].inputs.allSatisfy {
        let type = ir.type($0)
        return type.dtype.isPlain && type.shape.isFullyKnown && !type.isReference
      }
  }

  private func areAlike(_ a: Int, _ b: Int) -> Bool {
    guard ir.nodes[a].def === ir.nodes[b].def,
      ir.nodes[a].inputs.count == ir.nodes[b].inputs.count,
      ir.nodes[a].outputs == ir.nodes[b].outputs
    else { return false }
    for (p, q) in zip(ir.nodes[a].inputs, ir.nodes[b].inputs) where ir.type(p) != ir.type(q) {
      return false
    }
    func plain(_ attrs: [String: AttrValue]) -> [String: AttrValue] {
      attrs.contains { $0.key.hasPrefix("_") } ? attrs.filter { !$0.key.hasPrefix("_") } : attrs
    }
    return plain(ir.nodes[a].attrs) == plain(ir.nodes[b].attrs)
  }

  // Whether these may be a pack of their own.
  private func areFresh(_ nodes: [Int]) -> Bool {
    guard let head = nodes.first, isPackable(head), Set(nodes).count == nodes.count else {
      return false
    }
    return nodes.allSatisfy { packOf[$0] == nil && isPackable($0) && areAlike(head, $0) }
  }

  // MARK: - Growth

  private mutating func make(_ lanes: [Int?]) {
    guard let head = lanes.lazy.compactMap({ $0 }).first else { return }
    let node = ir.nodes[head]
    for (lane, id) in lanes.enumerated() {
      if let id { packOf[id] = (packs.count, lane) }
    }
    packs.append(
      Pack(
        name: node.name, def: node.def, attrs: node.attrs, outputs: node.outputs,
        inputTypes: node.inputs.map { ir.type($0) }, origin: node.origin, rank: node.rank,
        lanes: lanes, valid: 0..<steps))
    work.append(packs.count - 1)
  }

  @discardableResult
  private mutating func admit(_ nodes: [Int]) -> Bool {
    guard nodes.count == steps else { return false }
    if areFresh(nodes) {
      make(nodes)
      return true
    }
    // All but one may be packed already: the one is the step that seemed not to need a node.
    let open = nodes.indices.filter { packOf[nodes[$0]] == nil }
    guard open.count == 1, let lane = open.first,
      let other = nodes.indices.first(where: { $0 != lane }),
      let pack = packOf[nodes[other]]?.pack, packs[pack].lanes[lane] == nil,
      isPackable(nodes[lane]), areAlike(nodes[other], nodes[lane]),
      nodes.indices.allSatisfy({ $0 == lane || packs[pack].lanes[$0] == nodes[$0] })
    else { return false }
    packs[pack].lanes[lane] = nodes[lane]
    packOf[nodes[lane]] = (pack, lane)
    work.append(pack)
    return true
  }

  private func edges(_ pack: Int, _ input: Int) -> [Edge?] {
    packs[pack].lanes.map { $0.map { ir.nodes[$0].inputs[input] } }
  }

  private mutating func grow(_ pack: Int, _ input: Int) {
    let all = edges(pack, input)
    let given = all.compactMap { $0 }
    guard let head = given.first, given.count > 1, given.contains(where: { $0 != head }) else {
      return
    }
    if given.count == steps, given.allSatisfy({ $0.port == head.port }),
      admit(given.map(\.node))
    {
      return
    }
    if given.count < steps, given.allSatisfy({ $0.port == head.port }),
      areFresh(given.map(\.node))
    {
      make(all.map { $0?.node })
      return
    }
    pending.append((pack, input))
  }

  // An operand that one end of the steps takes from elsewhere.
  private mutating func growPartly(_ pack: Int, _ input: Int) {
    let all = edges(pack, input)
    guard all.allSatisfy({ $0 != nil }) else { return }
    let given = all.compactMap { $0 }
    for lane in [0, steps - 1] {
      let rest = given.indices.filter { $0 != lane }
      let head = given[rest[0]]
      guard rest.allSatisfy({ given[$0].port == head.port }),
        areFresh(rest.map { given[$0].node })
      else { continue }
      if fillSum(pack, input, lane, given) { return }
      // Which step each belongs to: that of an operand whose steps are known, else the neighbour.
      let shift = knownShift(rest.map { (lane: $0, node: given[$0].node) }) ?? (lane == 0 ? -1 : 1)
      var lanes = [Int?](repeating: nil, count: steps)
      for index in rest {
        guard lanes.indices.contains(index + shift) else { return }
        lanes[index + shift] = given[index].node
      }
      make(lanes)
      return
    }
  }

  private func knownShift(_ nodes: [(lane: Int, node: Int)]) -> Int? {
    guard let head = nodes.first else { return nil }
    for input in ir.nodes[head.node].inputs.indices {
      let found = nodes.map { entry -> Int? in
        packOf[ir.nodes[entry.node].inputs[input].node].map { $0.lane - entry.lane }
      }
      if let shift = found[0], abs(shift) <= 1, found.allSatisfy({ $0 == shift }) { return shift }
    }
    return nil
  }

  // A sum that one end does not need, because it has a single term there, or fewer: the missing sum
  // is made, of these terms and negative zeros, which change no bit of it.
  private mutating func fillSum(_ pack: Int, _ input: Int, _ lane: Int, _ given: [Edge]) -> Bool {
    let other = given[lane == 0 ? 1 : 0].node
    let node = ir.nodes[other]
    guard isSum(other), node.outputs[0].dtype.isFloating,
      let places = places([given[lane]], node.inputs.indices, lane, given)
        ?? fewerTerms(given[lane], node).flatMap({
          places($0, node.inputs.indices, lane, given)
        })
    else { return false }
    guard let zero = negativeZero(node.outputs[0]) else { return false }
    var copy = node
    copy.inputs = node.inputs.indices.map { places[$0] ?? zero }
    copy.name = "\(node.name)/end"
    let made = ir.append(copy)
    guard let user = packs[pack].lanes[lane] else { return false }
    ir.nodes[user].inputs[input] = Edge(node: made, port: 0)
    filled[made] = given[lane]
    return admit(given.indices.map { $0 == lane ? made : given[$0].node })
  }

  private func isSum(_ id: Int) -> Bool {
    (ir.isOp(id, KnownOp.addN) || ir.isOp(id, KnownOp.add))
      && ir.nodes[id].inputs.allSatisfy { ir.type($0) == ir.nodes[id].outputs[0] }
  }

  // The terms of a sum, if it has fewer than `node`.
  private func fewerTerms(_ edge: Edge, _ node: IRNode) -> [Edge]? {
    let terms = ir.nodes[edge.node].inputs
    return isSum(edge.node) && terms.count < node.inputs.count ? terms : nil
  }

  // Which term each of these continues in the others' sums.
  private func places(
    _ terms: [Edge], _ ports: Range<Int>, _ lane: Int, _ given: [Edge]
  ) -> [Int: Edge]? {
    var places: [Int: Edge] = [:]
    var last = -1
    for term in terms {
      guard
        let port = ports.first(where: { port in
          places[port] == nil
            && continues(
              given.indices.map { $0 == lane ? term : ir.nodes[given[$0].node].inputs[port] }, lane)
        })
      else { return nil }
      // Three terms in another order would be another sum.
      if terms.count > 2 && port < last { return nil }
      places[port] = term
      last = port
    }
    return places
  }

  // Whether the operand of the odd step continues the row of the others'.
  private func continues(_ edges: [Edge], _ lane: Int) -> Bool {
    let rest = edges.indices.filter { $0 != lane }.map { edges[$0] }
    let odd = edges[lane]
    guard ir.type(odd) == ir.type(rest[0]), ir.isOp(odd.node, ir.nodes[rest[0].node].def) else {
      return false
    }
    if rest.allSatisfy({ $0.node == odd.node }) {
      // Outputs of one node, in steps of one.
      let ports = edges.map(\.port)
      let step = ports[1] - ports[0]
      return abs(step) == 1 && zip(ports, ports.dropFirst()).allSatisfy { $1 - $0 == step }
    }
    return rest.allSatisfy { $0.port == odd.port && $0.node != odd.node }
      && areAlike(odd.node, rest[0].node) && Set(rest.map(\.node)).count == rest.count
  }

  private mutating func negativeZero(_ type: TensorType) -> Edge? {
    let value: Tensor?
    switch type.dtype {
    case .float32: value = try? Tensor([-Float.zero], shape: [])
    case .float64: value = try? Tensor([-Double.zero], shape: [])
    default: value = nil
    }
    guard let value, let shape = type.shape.known,
      let full = try? Tensor(
        dtype: type.dtype, shape: shape,
        fill: { memory throws(WeftError) in
          let size = value.byteCount
          var at = 0
          while at + size <= memory.count {
            memory.baseAddress.map {
              ($0 + at).copyMemory(from: value.buffer.base, byteCount: size)
            }
            at += size
          }
        })
    else { return nil }
    return ir.constant(full, name: "negative_zero")
  }

  // MARK: - Order and result

  // Nodes in the order of the steps they belong to: that of operands whose steps are known, or that
  // in which they depend on one another.
  private func ordered(_ nodes: [Int]) -> [Int]? {
    guard nodes.count == steps, Set(nodes).count == steps else { return nil }
    if packs.isEmpty { return nodes.sorted { position[$0] < position[$1] } }
    var level = [nodes]
    for _ in 0..<6 {
      var next: [[Int]] = []
      for vector in level {
        guard let head = vector.first else { continue }
        for input in ir.nodes[head].inputs.indices {
          guard vector.allSatisfy({ ir.nodes[$0].inputs.indices.contains(input) }) else { continue }
          let sources = vector.map { ir.nodes[$0].inputs[input].node }
          let known = sources.map { packOf[$0] }
          // One of them may stand in a step that did not seem to need it: it takes the step left.
          let found = known.compactMap { $0 }
          if let pack = found.first?.pack, found.count >= steps - 1,
            found.allSatisfy({ $0.pack == pack }), Set(found.map(\.lane)).count == found.count
          {
            let rest = (0..<steps).first { lane in !found.contains { $0.lane == lane } } ?? 0
            var result = nodes
            for (index, place) in known.enumerated() { result[place?.lane ?? rest] = nodes[index] }
            return result
          } else if known.allSatisfy({ $0 == nil }), Set(sources).count == steps,
            sources.allSatisfy({ ir.nodes[$0].def === ir.nodes[sources[0]].def })
          {
            next.append(sources)
          }
        }
      }
      level = next
    }
    return nodes.sorted { position[$0] < position[$1] }
  }

  private func resolve(_ pack: Int, _ input: Int) -> PackInput {
    let all = edges(pack, input)
    let given = all.compactMap { $0 }
    guard let head = given.first else { return .lanes([]) }
    if given.allSatisfy({ $0 == head }) && (given.count > 1 || packOf[head.node] == nil) {
      return .same(head)
    }
    for edge in given {
      guard let source = packOf[edge.node], let lane = all.firstIndex(of: edge) else { continue }
      let shift = source.lane - lane
      guard abs(shift) <= 1 else { continue }
      var boundary: [Edge] = []
      var fits = true
      for (index, edge) in all.enumerated() {
        guard let edge else { continue }
        let other = index + shift
        if packs[source.pack].lanes.indices.contains(other),
          let node = packs[source.pack].lanes[other]
        {
          let isSame = edge.node == node && edge.port == all[lane]?.port
          fits = fits && (isSame || filled[node] == edge)
        } else {
          boundary.append(edge)
        }
      }
      if fits, boundary.count <= 1 {
        return .pack(source.pack, port: edge.port, shift: shift, boundary: boundary.first)
      }
    }
    return .lanes(all.map { $0 ?? head })
  }
}

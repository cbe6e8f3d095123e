// Re-rolling: T copies of an unrolled cell become loops and products over all steps at once.

internal import WeftGraph
internal import WeftOps
internal import WeftTensors

extension IR {
  /// The fewest steps that are worth a loop.
  private static let fewestSteps = 4

  /// Finds the steps of unrolled recurrences, forward and backward, and rolls them up: what depends
  /// on its own past becomes a loop, everything else one operation over all steps.
  mutating func reroll() {
    var tried = Set<Int>()
    while true {
      let seeds = rerollSeeds()
      guard
        let steps = seeds.counts.first(where: { $0 >= IR.fewestSteps && !tried.contains($0) })
      else { return }
      tried.insert(steps)
      var position = [Int](repeating: 0, count: nodes.count)
      for (index, id) in order().enumerated() { position[id] = index }
      let (found, packs) = PackFinder(self, steps: steps, position: position).find(
        joined: seeds.joined.filter { $0.count == steps },
        unordered: seeds.unordered.filter { $0.count == steps })
      var roller = Roller(found, packs: packs, steps: steps)
      guard var copy = try? roller.roll() else { continue }
      copy.markLive()
      // A pass that would make a cycle changes nothing.
      if copy.order().count == copy.liveCount { self = copy }
    }
  }

  // Where all steps come together: stacks and joins in order; products with one matrix, and sums.
  private func rerollSeeds() -> (joined: [[Edge]], unordered: [[Int]], counts: [Int]) {
    var joined: [[Edge]] = []
    var products: [ProductKey: [Int]] = [:]
    var keys: [ProductKey] = []
    var sums: [[Int]] = []
    for id in nodes.indices where live[id] {
      if isOp(id, KnownOp.pack) {
        joined.append(nodes[id].inputs)
      } else if isOp(id, KnownOp.concat), let axis = nodes[id].inputs.last,
        integers(of: axis) == [0]
      {
        joined.append(Array(nodes[id].inputs.dropLast()))
      } else if isOp(id, KnownOp.matMul) {
        let key = ProductKey(
          matrix: root(nodes[id].inputs[1]), other: type(nodes[id].inputs[0]),
          ta: flag(id, "transpose_a"), tb: flag(id, "transpose_b"))
        if products[key] == nil { keys.append(key) }
        products[key, default: []].append(id)
      } else if isOp(id, KnownOp.addN) {
        sums += alikeInputs(id)
      }
    }
    let unordered = keys.compactMap { products[$0] }.filter { $0.count > 1 } + sums
    let counts = Set(joined.map(\.count) + unordered.map(\.count)).sorted(by: >)
    return (joined, unordered, counts)
  }

  private struct ProductKey: Hashable {
    let matrix: Edge
    let other: TensorType
    let ta: Bool
    let tb: Bool
  }

  // The nodes that a sum adds up, by what they are.
  private func alikeInputs(_ id: Int) -> [[Int]] {
    var groups: [[Int]] = []
    for edge in nodes[id].inputs {
      if let place = groups.firstIndex(where: {
        nodes[$0[0]].def === nodes[edge.node].def
          && nodes[$0[0]].inputs.map { type($0) } == nodes[edge.node].inputs.map { type($0) }
      }) {
        groups[place].append(edge.node)
      } else {
        groups.append([edge.node])
      }
    }
    return groups.filter { $0.count > 1 }
  }
}

/// Rewrites the packs of one number of steps.
struct Roller {
  var ir: IR
  var packs: [Pack]
  let steps: Int
  /// Strongly connected groups of packs, each before those that use it.
  var groups: [[Int]] = []
  var groupOf: [Int] = []
  /// Which packs anything needs, and which (pack, port) is needed one step at a time.
  var isLive: [Bool] = []
  var outside: [Set<Int>] = []
  var reductions: [Reduction] = []
  /// The pack and step of each node.
  var placeOf: [Int: (pack: Int, lane: Int)] = [:]
  /// Values of all steps, first dimension the step, of packs that were rolled.
  var stacked: [Key: Edge] = [:]
  /// Packs whose sum over all steps was made without them.
  var summed = Set<Int>()
  /// Nodes that rolled packs stand for.
  var rolledNodes = Set<Int>()

  struct Key: Hashable {
    let pack: Int
    let port: Int
  }

  /// A sum over all steps of what a pack gives, in a node that may add more.
  struct Reduction {
    let pack: Int
    let node: Int
  }

  init(_ ir: IR, packs: [Pack], steps: Int) {
    self.ir = ir
    self.packs = packs
    self.steps = steps
    for (index, pack) in packs.enumerated() {
      for (lane, node) in pack.lanes.enumerated() {
        if let node { placeOf[node] = (index, lane) }
      }
    }
  }

  /// The graph with loops, or nil when there is no recurrence.
  mutating func roll() throws -> IR? {
    group()
    guard groups.contains(where: { isRecurrent($0) }) else { return nil }
    try splitJoinedProducts()
    try splitSlicedProducts()
    group()
    findUses()
    for members in groups where members.contains(where: { isLive[$0] }) {
      if isRecurrent(members) {
        try emitLoop(members)
      } else if let reduction = reductions.first(where: { $0.pack == members[0] }) {
        try emitReduction(reduction)
      } else if !isTakenApart(members[0]) {
        try emitBatch(members[0])
      }
    }
    guard groups.contains(where: { isRecurrent($0) && isRolled($0[0]) }) else { return nil }
    try reconnect()
    return ir
  }

  func isRolled(_ pack: Int) -> Bool {
    packs[pack].outputs.indices.contains { stacked[Key(pack: pack, port: $0)] != nil }
  }

  func isRecurrent(_ members: [Int]) -> Bool {
    if members.count > 1 { return true }
    return packs[members[0]].inputs.contains {
      if case .pack(members[0], _, _, _) = $0 { true } else { false }
    }
  }

  // MARK: - Groups

  mutating func group() {
    groups = []
    groupOf = Array(repeating: -1, count: packs.count)
    // Tarjan's algorithm with a stack of its own: a step may be any number of operations deep.
    var index = [Int](repeating: -1, count: packs.count)
    var low = index
    var open: [Int] = []
    var next = 0
    let sources = packs.map { pack in
      pack.inputs.compactMap { input -> Int? in
        if case .pack(let source, _, _, _) = input { source } else { nil }
      }
    }
    func visit(_ root: Int) {
      var path: [(pack: Int, place: Int)] = []
      func enter(_ pack: Int) {
        index[pack] = next
        low[pack] = next
        next += 1
        open.append(pack)
        path.append((pack, 0))
      }
      enter(root)
      while let (pack, place) = path.last {
        if place < sources[pack].count {
          path[path.count - 1].place += 1
          let source = sources[pack][place]
          if index[source] < 0 {
            enter(source)
          } else if groupOf[source] < 0 {
            low[pack] = min(low[pack], index[source])
          }
          continue
        }
        path.removeLast()
        if let user = path.last?.pack { low[user] = min(low[user], low[pack]) }
        guard low[pack] == index[pack] else { continue }
        var members: [Int] = []
        while let member = open.popLast() {
          groupOf[member] = groups.count
          members.append(member)
          if member == pack { break }
        }
        groups.append(members.sorted())
      }
    }
    for pack in packs.indices where index[pack] < 0 { visit(pack) }
  }

  // MARK: - Uses from outside

  private mutating func findUses() {
    let users = Users(ir)
    outside = Array(repeating: [], count: packs.count)
    reductions = []
    for (index, pack) in packs.enumerated() {
      var sums = Set<Int>()
      var count = 0
      for case let id? in pack.lanes {
        for port in pack.outputs.indices {
          let edge = Edge(node: id, port: port)
          if users.fetched(edge) { outside[index].insert(port) }
          for use in users[edge] where placeOf[use.node] == nil {
            outside[index].insert(port)
            if ir.isOp(use.node, KnownOp.addN) {
              sums.insert(use.node)
              count += 1
            } else {
              count += steps + 1
            }
          }
        }
      }
      for target in ir.targets where placeOf[target]?.pack == index { outside[index].insert(-1) }
      if sums.count == 1, count == steps, pack.outputs.count == 1, let node = sums.first {
        reductions.append(Reduction(pack: index, node: node))
      }
    }
    isLive = Array(repeating: false, count: packs.count)
    var stack = packs.indices.filter { !outside[$0].isEmpty }
    while let pack = stack.popLast() {
      if isLive[pack] { continue }
      isLive[pack] = true
      for case .pack(let source, _, _, _) in packs[pack].inputs where !isLive[source] {
        stack.append(source)
      }
    }
    reductions.removeAll { reduction in
      packs.indices.contains { other in
        isLive[other]
          && packs[other].inputs.contains {
            if case .pack(reduction.pack, _, _, _) = $0 { true } else { false }
          }
      }
    }
  }

  // Whether only summed products use a join of columns: they take its parts.
  private func isTakenApart(_ pack: Int) -> Bool {
    guard packs[pack].def === KnownOp.concat, joinsColumns(pack), outside[pack].isEmpty else {
      return false
    }
    return packs.indices.allSatisfy { other in
      guard isLive[other] else { return true }
      for (place, input) in packs[other].inputs.enumerated() {
        guard case .pack(pack, _, _, _) = input else { continue }
        guard place == 0, packs[other].def === KnownOp.matMul, flag(other, "transpose_a"),
          reductions.contains(where: { $0.pack == other })
        else { return false }
      }
      return true
    }
  }

  // MARK: - Products of joined operands

  // [x, h] W is x W_x + h W_h: what does not depend on the past becomes a product over all steps.
  private mutating func splitJoinedProducts() throws {
    for index in packs.indices {
      guard packs[index].def === KnownOp.matMul, isRecurrent(groups[groupOf[index]]),
        case .pack(let join, 0, 0, nil) = packs[index].inputs[0],
        case .same(let matrix) = packs[index].inputs[1], packs[join].def === KnownOp.concat,
        groupOf[join] == groupOf[index], joinsColumns(join), !flag(index, "transpose_a"),
        let sizes = ir.shape(matrix), sizes.count == 2
      else { continue }
      let parts = Array(packs[join].inputs.dropLast())
      func isInside(_ input: PackInput) -> Bool {
        if case .pack(let source, _, _, _) = input { return groupOf[source] == groupOf[index] }
        return false
      }
      guard parts.contains(where: { !isInside($0) }) else { continue }
      let isTransposed = flag(index, "transpose_b")
      var terms: [(input: PackInput, inside: Bool)] = []
      var from = 0
      for (place, part) in parts.enumerated() {
        let width = packs[join].inputTypes[place].shape.known?.last ?? 0
        let slice = try ir.slice(
          matrix, begin: isTransposed ? [0, from] : [from, 0],
          sizes: isTransposed ? [sizes[0], width] : [width, sizes[1]], like: packs[index])
        from += width
        var term = packs[index]
        term.lanes = Array(repeating: nil, count: steps)
        term.name += "/part\(place)"
        term.inputTypes = [packs[join].inputTypes[place], ir.type(slice)]
        term.inputs = [part, .same(slice)]
        packs.append(term)
        groupOf.append(-1)
        terms.append((.pack(packs.count - 1, port: 0, shift: 0, boundary: nil), isInside(part)))
      }
      // What is known for all steps is added up first.
      let ordered = terms.filter { !$0.inside } + terms.filter { $0.inside }
      let old = packs[index]
      packs[index] = Pack(
        name: old.name, def: KnownOp.addN, attrs: ["N": .int(Int64(ordered.count))],
        outputs: old.outputs, inputTypes: ordered.map { _ in old.outputs[0] }, origin: old.origin,
        rank: old.rank, lanes: old.lanes, valid: old.valid, inputs: ordered.map(\.input))
    }
  }

  // Column slices of d W^T are products with rows of W alone.
  private mutating func splitSlicedProducts() throws {
    for index in packs.indices {
      guard packs[index].def === KnownOp.matMul, groupOf[index] >= 0,
        isRecurrent(groups[groupOf[index]]), !flag(index, "transpose_a"),
        case .same(let matrix) = packs[index].inputs[1], let sizes = ir.shape(matrix)
      else { continue }
      let isTransposed = flag(index, "transpose_b")
      for user in packs.indices {
        guard packs[user].def === KnownOp.slice,
          case .pack(index, 0, 0, nil) = packs[user].inputs[0],
          let box = box(user), box.begin[0] == 0,
          box.sizes[0] == packs[index].outputs[0].shape.known?[0]
        else { continue }
        let slice = try ir.slice(
          matrix, begin: isTransposed ? [box.begin[1], 0] : [0, box.begin[1]],
          sizes: isTransposed ? [box.sizes[1], sizes[1]] : [sizes[0], box.sizes[1]],
          like: packs[index])
        let old = packs[user]
        packs[user] = Pack(
          name: old.name, def: packs[index].def, attrs: packs[index].attrs, outputs: old.outputs,
          inputTypes: [packs[index].inputTypes[0], ir.type(slice)], origin: old.origin,
          rank: old.rank, lanes: old.lanes, valid: old.valid,
          inputs: [packs[index].inputs[0], .same(slice)])
      }
    }
  }

  // MARK: - Facts about packs

  func flag(_ pack: Int, _ name: String) -> Bool {
    (try? Attrs(packs[pack].attrs, signature: packs[pack].def.signature).bool(name)) ?? false
  }

  /// The integers of an operand that is the same constant in every step.
  func integers(_ pack: Int, _ input: Int) -> [Int]? {
    guard packs[pack].inputs.indices.contains(input),
      case .same(let edge) = packs[pack].inputs[input]
    else { return nil }
    return ir.integers(of: edge)
  }

  /// Where a Slice begins and what it takes; nil when that is not known.
  func box(_ pack: Int) -> (begin: [Int], sizes: [Int])? {
    guard let begin = integers(pack, 1), let sizes = packs[pack].outputs[0].shape.known,
      begin.count == sizes.count, begin.count > 1
    else { return nil }
    return (begin, sizes)
  }

  /// Whether a ConcatV2 of matrices joins their columns.
  func joinsColumns(_ pack: Int) -> Bool {
    guard let axis = integers(pack, packs[pack].inputs.count - 1)?.first,
      packs[pack].outputs[0].shape.rank == 2
    else { return false }
    return axis == 1 || axis == -1
  }
}

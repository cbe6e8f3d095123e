// Loops of a known number of steps, written out so that their recurrences roll up into loop kernels.

internal import WeftGraph
internal import WeftOps
internal import WeftTensors

extension IR {
  /// The most nodes that loops may become when they are written out.
  private static let unrolledNodes = 1 << 15

  /// Writes out loops whose number of steps is known and rolls their steps up again: a cell's
  /// products and gates then run in loop kernels, and what does not depend on the past in one
  /// operation over all steps. Loops whose steps do not all roll up stay as they are.
  mutating func unrollLoops() {
    guard nodes.indices.contains(where: { live[$0] && trips($0) != nil }) else { return }
    var copy = self
    guard let writtenOut = try? copy.writeOutLoops() else { return }
    copy.broadcastSelections()
    copy.fold()
    copy.dropIdleControls()
    copy.forwardValues()
    copy.mergeCommon()
    copy.flattenSums()
    copy.reroll()
    // Nothing of what was written out may be left step by step.
    let (before, after) = (countLoopKernels, copy.countLoopKernels)
    if after - before >= writtenOut.loops, copy.liveCount <= liveCount + writtenOut.stepNodes,
      !copy.nodes.indices.contains(where: {
        copy.live[$0] && copy.nodes[$0].bodyNode != nil && copy.usesObject($0)
      })
    {
      self = copy
    }
  }

  // Whether a node uses an object that the run makes, and has no effect beside.
  func usesObject(_ id: Int) -> Bool {
    isOp(id, KnownOp.Array.uses) || isOp(id, KnownOp.Array.make) || isOp(id, KnownOp.Stack.push)
      || isOp(id, KnownOp.Stack.pop)
  }

  private var countLoopKernels: Int {
    nodes.indices.count { live[$0] && LoopBody.opNames.contains(nodes[$0].def.name) }
  }

  /// Writes out all loops that can be, also those whose steps other loops count.
  /// - Returns: how many there are, and the nodes of one step of each together.
  private mutating func writeOutLoops() throws -> (loops: Int, stepNodes: Int) {
    var (count, stepNodes) = (0, 0)
    var stacks = StackContents(fetched: fetches.count)
    while true {
      let loops = nodes.indices.compactMap { id in
        live[id] ? trips(id).map { (id: id, trips: $0) } : nil
      }
      stacks.load(&self)
      guard !loops.isEmpty else {
        // What was put on a stack is gone: nothing else may take it.
        guard stacks.elements.keys.allSatisfy({ !live[$0.node] }) else {
          throw WeftError(.failedPrecondition, "another loop takes what a loop put on a stack")
        }
        return (count, stepNodes)
      }
      count += loops.count
      var changes = Changes()
      for loop in loops {
        stepNodes += try writeOut(loop.id, trips: loop.trips, &changes, &stacks)
      }
      stacks.store(&self)
      changes.apply(to: &self)
      markLive()
      // What is read from lists may be what other reads, and conditions, depend on.
      repeat { try specialize() } while resolveLists() || resolveArrays()
    }
  }

  // `stacks` is what loops that were written out before have left.
  private mutating func writeOut(
    _ id: Int, trips: Int, _ changes: inout Changes, _ stacks: inout StackContents
  ) throws -> Int {
    guard let loop = nodes[id].loop else { return 0 }
    let node = nodes[id]
    var body = loop.body
    body.targets = body.targets.filter { body.isOp($0, KnownOp.Stack.push) }
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
      var taken: [Edge: Edge] = [:]
      func outer(_ edge: Edge) -> Edge {
        if let element = taken[edge] { return element }
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
          let out = Edge(node: inner, port: 0)
          if body.isOp(inner, KnownOp.Stack.push) {
            try stacks.push(copy.inputs[1], on: passed(copy.inputs[0]), self)
            taken[out] = copy.inputs[1]
            continue
          }
          if body.isOp(inner, KnownOp.Stack.pop) {
            taken[out] = try stacks.pop(from: passed(copy.inputs[0]), copy.outputs[0].dtype, self)
            continue
          }
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

  /// TensorFlow 1's selections of whole rows as those of elements, which broadcast: those of several
  /// steps can be made one.
  private mutating func broadcastSelections() {
    for id in nodes.indices where live[id] && isOp(id, KnownOp.selectRows) {
      let node = nodes[id]
      guard let rows = shape(node.inputs[0]), rows.count == 1, let whole = shape(node.inputs[1]),
        whole.count > 1
      else { continue }
      let column = rows + Array(repeating: 1, count: whole.count - 1)
      guard let sizes = try? Tensor(column.map { Int64($0) }) else { continue }
      let reshaped = append(
        IRNode(
          name: "\(node.name)/rows", def: KnownOp.reshape, attrs: [:],
          inputs: [node.inputs[0], constant(sizes, name: "\(node.name)/sizes")], controls: [],
          outputs: [TensorType(.bool, Shape(column))], handles: [nil], origin: node.origin,
          kind: .op, rank: node.rank))
      nodes[id].def = KnownOp.selectElements
      nodes[id].inputs[0] = Edge(node: reshaped, port: 0)
    }
    markLive()
  }

  // MARK: - Sums

  /// Makes a sum whose first term is a sum that nothing else uses one sum of all their terms, which
  /// are added in the same order.
  mutating func flattenSums() {
    let users = Users(self)
    for id in order() where isOp(id, KnownOp.addN) || addsUpSteps(id) {
      guard let first = nodes[id].inputs.first,
        isOp(id, KnownOp.addN)
          ? isOp(first.node, KnownOp.addN) : nodes[first.node].bodyNode == nodes[id].bodyNode,
        nodes[first.node].inputs.allSatisfy({ shape($0) == shape(first) }),
        nodes[first.node].controls.isEmpty, users[first].count == 1, !users.fetched(first),
        !targets.contains(first.node), type(first).dtype.isPlain
      else { continue }
      nodes[id].def = KnownOp.addN
      nodes[id].inputs = nodes[first.node].inputs + nodes[id].inputs.dropFirst()
      nodes[id].attrs["N"] = .int(Int64(nodes[id].inputs.count))
    }
    markLive()
  }

  // Whether a node that was written out adds two values of one shape, as what adds up steps does.
  private func addsUpSteps(_ id: Int) -> Bool {
    guard nodes[id].bodyNode != nil, isOp(id, KnownOp.add), let shape = shape(nodes[id].inputs[0])
    else { return false }
    return shape == self.shape(nodes[id].inputs[1])
  }
}

/// The elements of TensorFlow 1's stacks, by the edge that makes the stack: what one loop puts there
/// and the loop of its gradient takes.
private struct StackContents {
  var elements: [Edge: [Edge]] = [:]
  /// How many fetches the working graph has of its own.
  let fetched: Int
  private var order: [(stack: Edge, count: Int)] = []

  init(fetched: Int) { self.fetched = fetched }

  /// Puts an element on a stack, if the run could.
  mutating func push(_ element: Edge, on stack: Edge, _ ir: IR) throws {
    let node = ir.nodes[stack.node]
    guard ir.isOp(stack.node, KnownOp.Stack.make),
      let dtype = try? Attrs(node.attrs, signature: node.def.signature).type("elem_type"),
      dtype == ir.type(element).dtype, let most = ir.known[node.inputs[0]]?.scalarInteger,
      most < 0 || elements[stack]?.count ?? 0 < most
    else { throw WeftError(.failedPrecondition, "the stack may not take the element") }
    elements[stack, default: []].append(element)
  }

  /// Takes the element on top.
  mutating func pop(from stack: Edge, _ dtype: DType, _ ir: IR) throws -> Edge {
    guard let element = elements[stack]?.popLast(), ir.type(element).dtype == dtype else {
      throw WeftError(.failedPrecondition, "the stack holds nothing that is known")
    }
    return element
  }

  /// Keeps the elements as fetches, so that they stay in use, and follow what replaces them.
  mutating func store(_ ir: inout IR) {
    let stacks = elements.keys.sorted { ($0.node, $0.port) < ($1.node, $1.port) }
    order = stacks.map { ($0, elements[$0]?.count ?? 0) }
    ir.fetches += stacks.flatMap { elements[$0] ?? [] }
  }

  /// Takes them back.
  mutating func load(_ ir: inout IR) {
    var next = fetched
    for (stack, count) in order {
      elements[stack] = Array(ir.fetches[next..<(next + count)])
      next += count
    }
    ir.fetches.removeLast(ir.fetches.count - fetched)
    order = []
  }
}

// Raising TensorFlow 1's loops: the nodes of a frame become one node with nested plans.

internal import WeftGraph
internal import WeftOps
internal import WeftTensors

/// Raises the control flow of one working graph.
struct Raising {
  var ir: IR
  let options: NestedOptions
  /// Loops made here, by node, whose parts still hold switches and merges.
  var loops: [Int: (node: LoopNode, captures: [Edge])] = [:]

  /// A frame: the nodes between a loop's Enter and Exit nodes.
  private struct Frame {
    let name: String
    let parent: Int?
    let depth: Int
  }
  private var frames: [Frame] = []
  private var frameOf: [Int?] = []

  init(_ ir: IR, _ options: NestedOptions) {
    self.ir = ir
    self.options = options
  }

  func role(_ id: Int) -> OpDef.ControlRole? { ir.nodes[id].def.controlRole }

  func failure(_ message: String, at id: Int) -> any Error {
    ir.locate(WeftError(.unimplemented, message, category: .run), at: id)
  }

  mutating func raiseLoops() throws {
    guard ir.nodes.indices.contains(where: { ir.live[$0] && role($0) == .enter }) else {
      if let id = ir.nodes.indices.first(where: {
        ir.live[$0] && [.exit, .next].contains(role($0))
      }) {
        throw failure(
          "\(ir.nodes[id].def.name) stands outside a loop: no Enter leads to it", at: id)
      }
      return
    }
    try findFrames()
    let deepest = frames.indices.sorted { (-frames[$0].depth, $0) < (-frames[$1].depth, $1) }
    for frame in deepest { try raise(frame) }
    ir.markLive()
  }

  // MARK: - Frames

  /// Live nodes with inputs before users, edges out of NextIteration left out.
  private func forwardOrder() throws -> [Int] {
    var copy = ir
    for id in copy.nodes.indices {
      copy.nodes[id].inputs.removeAll { role($0.node) == .next }
      copy.nodes[id].controls.removeAll { role($0) == .next }
    }
    let order = copy.order()
    guard order.count == ir.liveCount else {
      let done = Set(order)
      let stuck = ir.nodes.indices.first { ir.live[$0] && !done.contains($0) } ?? 0
      throw failure("the graph has a cycle that is no loop", at: stuck)
    }
    return order
  }

  private func isWithin(_ inner: Int?, _ outer: Int?) -> Bool {
    var at = inner
    while at != outer {
      guard let frame = at else { return false }
      at = frames[frame].parent
    }
    return true
  }

  private mutating func findFrames() throws {
    frameOf = Array(repeating: nil, count: ir.nodes.count)
    var known: [String: Int] = [:]
    for id in try forwardOrder() {
      let node = ir.nodes[id]
      func frame(_ source: Int) -> Int? {
        role(source) == .exit ? frameOf[source].flatMap { frames[$0].parent } : frameOf[source]
      }
      var own: Int?
      for source in node.inputs.map(\.node) + node.controls where role(source) != .next {
        let other = frame(source)
        if isWithin(other, own) {
          own = other
        } else if !isWithin(own, other) {
          throw ir.locate(
            WeftError(
              .invalidArgument,
              "\(node.def.name) mixes values of different loops: "
                + [own, other].map { $0.map { "'\(frames[$0].name)'" } ?? "none" }
                .joined(separator: " and "), category: .run), at: id)
        }
      }
      if role(id) == .enter {
        let name = try Attrs(node.attrs, signature: node.def.signature).string("frame_name")
        // The same frame entered in another iteration of an outer loop is another one.
        let key = "\(own.map(String.init) ?? "")/\(name)"
        let frame = known[key] ?? frames.count
        if known[key] == nil {
          known[key] = frame
          frames.append(
            Frame(name: name, parent: own, depth: own.map { frames[$0].depth + 1 } ?? 0))
          guard frames[frame].depth < GraphSnapshot.nestingLimit else {
            throw failure("loops are nested more than \(GraphSnapshot.nestingLimit) deep", at: id)
          }
        }
        own = frame
      }
      frameOf[id] = own
    }
    for id in ir.nodes.indices where ir.live[id] && frameOf[id] == nil {
      if let role = role(id), [.exit, .next].contains(role) {
        throw failure("\(ir.nodes[id].def.name) stands outside a loop", at: id)
      }
    }
  }

  // MARK: - One loop

  private mutating func raise(_ frame: Int) throws {
    let members = ir.nodes.indices.filter { ir.live[$0] && frameOf[$0] == frame }
    guard let first = members.first else { return }
    let inside = Set(members)
    let conditions = members.filter { role($0) == .condition }
    guard conditions.count == 1 else {
      throw ir.locate(
        WeftError(
          .invalidArgument,
          "loop '\(frames[frame].name)' has \(conditions.count) conditions (LoopCond), it needs one",
          category: .run), at: conditions.first ?? first)
    }
    let condition = conditions[0]

    // Carried values: a Merge of an Enter and a NextIteration.
    var carried: [(merge: Int, start: Edge, next: Edge)] = []
    var number: [Int: Int] = [:]
    for id in members where role(id) == .merge {
      let inputs = ir.nodes[id].inputs
      guard inputs.contains(where: { role($0.node) == .next }) else { continue }
      guard inputs.count == 2, let back = inputs.first(where: { role($0.node) == .next }),
        let front = inputs.first(where: { role($0.node) == .enter }), inside.contains(back.node)
      else {
        throw failure(
          "Merge of loop '\(frames[frame].name)' needs one Enter and one NextIteration", at: id)
      }
      number[id] = carried.count
      carried.append((id, ir.nodes[front.node].inputs[0], ir.nodes[back.node].inputs[0]))
    }
    var bound: [Edge: Int] = [:]
    var switches: [Int: Edge] = [:]
    for (index, value) in carried.enumerated() { bound[Edge(node: value.merge, port: 0)] = index }
    for id in members where role(id) == .branch && root(ir.nodes[id].inputs[1]).node == condition {
      let data = ir.nodes[id].inputs[0]
      switches[id] = data
      if let index = number[data.node] { bound[Edge(node: id, port: 1)] = index }
    }
    let entered = members.filter { role($0) == .enter }

    // What an Enter brings in, the parts take from outside; what a Switch passes is its input.
    var aliases: [Edge: Edge] = [:]
    for id in entered { aliases[Edge(node: id, port: 0)] = ir.nodes[id].inputs[0] }
    for (id, data) in switches.sorted(by: { $0.key < $1.key }) where number[data.node] == nil {
      aliases[Edge(node: id, port: 1)] = data
    }
    func resolve(_ edge: Edge) -> Edge {
      var edge = edge
      while let next = aliases[edge] { edge = next }
      return edge
    }
    for id in members { ir.nodes[id].inputs = ir.nodes[id].inputs.map(resolve) }

    // The condition's own nodes, then the body's.
    let border = Set(number.keys).union(switches.keys).union(entered)
    var needed = Set<Int>()
    var stack = [ir.nodes[condition].inputs[0].node]
    while let id = stack.popLast() {
      guard inside.contains(id), !border.contains(id), needed.insert(id).inserted else { continue }
      stack += ir.nodes[id].inputs.map(\.node) + ir.nodes[id].controls
    }
    let test = members.filter { needed.contains($0) }
    let rest = members.filter { id in
      !needed.contains(id) && !border.contains(id) && id != condition
        && role(id) != .next && role(id) != .exit
    }
    for id in rest {
      for edge in ir.nodes[id].inputs {
        if switches[edge.node] != nil, edge.port == 0, bound[edge] == nil {
          throw failure(
            "\(ir.nodes[id].def.name) in loop '\(frames[frame].name)' reads a value that is there "
              + "only when the loop has ended", at: id)
        }
      }
    }
    try build(
      frame, condition, carried, bound, test: test, rest: rest, members: members,
      switches: switches, number: number, resolve: resolve)
  }

  private mutating func build(
    _ frame: Int, _ condition: Int, _ carried: [(merge: Int, start: Edge, next: Edge)],
    _ bound: [Edge: Int], test: [Int], rest: [Int], members: [Int], switches: [Int: Edge],
    number: [Int: Int], resolve: (Edge) -> Edge
  ) throws {
    let ignored = Set(members).subtracting(rest).subtracting(test)
    let captures = Captures()
    let bodyPart = try ir.cut(
      rest, bound: bound, extras: Set(test), ignored: ignored,
      fetches: carried.map { resolve($0.next) },
      targets: rest.filter { ir.nodes[$0].isStateful || role($0) == .trigger }, captures)
    let testPart = try ir.cut(
      test, bound: bound, ignored: ignored,
      fetches: [ir.nodes[condition].inputs[0]] + captures.extras,
      targets: test.filter { ir.nodes[$0].isStateful }, captures)
    var (body, head) = (bodyPart.ir, testPart.ir)
    body.placeCaptures(first: carried.count, captured: captures.edges.count)
    head.placeCaptures(first: carried.count, captured: captures.edges.count)
    let loop = LoopNode(
      op: OpDef.raisedLoop, condition: head, body: body, carried: carried.count, options: options)
    let origin = ir.nodes[condition].origin
    let inputs = carried.map { resolve($0.start) } + captures.edges
    let all = inputs + captures.handles
    let outer = frames[frame].parent
    var node = IRNode(
      name: frames[frame].name, def: loop.row(), attrs: [:], inputs: all,
      controls: captures.controls.filter { !members.contains($0) },
      outputs: carried.map { TensorType(ir.type($0.start).dtype, .unknown) },
      handles: carried.map { _ in nil }, origin: origin, kind: .op,
      rank: members.map { ir.nodes[$0].rank }.max() ?? 0)
    node.loop = loop
    // What orders the start of the loop: controls of its Enter nodes.
    for id in members where role(id) == .enter {
      for source in ir.nodes[id].controls
      where !members.contains(source) && !node.controls.contains(source) {
        node.controls.append(source)
      }
    }
    node.attrs = [
      "Tin": .list(all.map { .type(ir.type($0).dtype) }),
      "Tout": .list(node.outputs.map { .type($0.dtype) }),
    ]
    ir.nodes.append(node)
    ir.live.append(true)
    frameOf.append(outer)
    let new = ir.nodes.count - 1
    loops[new] = (loop, inputs)

    var changes = Changes()
    for id in members {
      changes.instead[id] = [new]
      guard role(id) == .exit else { continue }
      let source = ir.nodes[id].inputs[0]
      if let data = switches[source.node], source.port == 0 {
        if let index = number[data.node] {
          changes.edges[Edge(node: id, port: 0)] = Edge(node: new, port: index)
          continue
        }
        let outside = resolve(data)
        if !members.contains(outside.node) {
          changes.edges[Edge(node: id, port: 0)] = outside
          continue
        }
      }
      throw failure(
        "Exit of loop '\(frames[frame].name)' takes no value that the loop carries", at: id)
    }
    for id in members { ir.live[id] = false }
    changes.apply(to: &ir)
  }

  /// Where a value comes from: through identities, switches and enters.
  func root(_ edge: Edge) -> Edge {
    var edge = edge
    while true {
      let node = ir.nodes[edge.node]
      guard case .op = node.kind, let first = node.inputs.first else { return edge }
      switch role(edge.node) {
      case .branch, .enter: edge = first
      case nil
      where node.def.traits.contains(.view) && node.inputs.count == 1 && edge.port == 0
        && !node.isStateful && !node.def.traits.contains(.readsVariable)
        && node.def.signature.attrs.allSatisfy({ $0.name == "T" })
        && !ir.type(first).isReference:
        edge = first
      default: return edge
      }
    }
  }
}

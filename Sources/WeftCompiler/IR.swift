// The compiler's working copy of the part of a graph that one plan runs.

package import WeftGraph
internal import WeftOps
package import WeftTensors

/// What an IR node is.
package enum IRKind {
  /// An op with a kernel.
  case op
  /// A value given at each run: entry `index` of the plan's feeds.
  case feed(index: Int)
  /// A value known now.
  case constant(Tensor)
  /// A variable: its handle or reference.
  case variable(VariableCell)
}

/// A node of a loop's body.
struct BodyNode: Hashable {
  let loop: Int
  let node: Int
}

/// One node of the compiler's working graph. Ids are places in `IR.nodes`.
package struct IRNode {
  package var name: String
  package var def: OpDef
  package var attrs: [String: AttrValue]
  package var inputs: [Edge]
  package var controls: [Int]
  package var outputs: [TensorType]
  package var handles: [HandleType?]
  package var origin: Origin
  package var kind: IRKind
  /// Creation order in the graph, which the scheduler prefers.
  package var rank: Int
  /// The node of a loop's body that it is one step of, where the loop was written out.
  var bodyNode: BodyNode?
  /// What the node holds beside its kernel. Few nodes have it: it takes one word of the others.
  var content: Content?

  indirect enum Content {
    case loop(LoopNode)
    case recurrence(LoopBody)
  }

  /// The condition and body, when the node is a loop.
  var loop: LoopNode? {
    get { if case .loop(let loop) = content { loop } else { nil } }
    set { content = newValue.map { .loop($0) } }
  }
  /// The steps, when the node is a rolled recurrence.
  var recurrence: LoopBody? {
    get { if case .recurrence(let body) = content { body } else { nil } }
    set { content = newValue.map { .recurrence($0) } }
  }

  package var isStateful: Bool {
    def.traits.contains(.stateful) || def.traits.contains(.random)
      || def.traits.contains(.writesVariable)
  }
}

/// The part of a graph that one plan runs, as passes rewrite it.
package struct IR {
  package var nodes: [IRNode] = []
  /// Which nodes are still in use, in place of removing them.
  package var live: [Bool] = []
  package var fetches: [Edge] = []
  package var targets: [Int] = []
  package var feeds: [(edge: Edge, type: TensorType)] = []
  /// The bytes that a value may take.
  package var memoryLimit = Machine.memory
  /// The iterations that loops of a run may make.
  package var iterationLimit = Int.max
  /// Values known before the run, by edge.
  package var known: [Edge: Tensor] = [:]

  package var liveCount: Int { live.reduce(0) { $0 + ($1 ? 1 : 0) } }

  package func type(_ edge: Edge) -> TensorType { nodes[edge.node].outputs[edge.port] }

  /// Live ids with inputs before users; ids of smaller rank first among the ready.
  /// Shorter than `liveCount` when there is a cycle.
  package func order() -> [Int] { order { nodes[$0].rank } }

  /// The same with another priority of ids.
  func order(priority: (Int) -> Int) -> [Int] {
    // Priority in the high bits, id in the low ones: keys are integers.
    func key(_ id: Int) -> Int { (priority(id) << 32) | id }
    if let order = orderByPriority(key) { return order }
    var pending = [Int](repeating: 0, count: nodes.count)
    // The users of all nodes in one array: those of id end before `end[id]`, where the next's begin.
    var end = [Int](repeating: 0, count: nodes.count + 1)
    for id in nodes.indices where live[id] {
      pending[id] = nodes[id].inputs.count + nodes[id].controls.count
      for edge in nodes[id].inputs { end[edge.node + 1] += 1 }
      for source in nodes[id].controls { end[source + 1] += 1 }
    }
    for id in nodes.indices { end[id + 1] += end[id] }
    var users = [Int](repeating: 0, count: end[nodes.count])
    for id in nodes.indices where live[id] {
      for edge in nodes[id].inputs {
        users[end[edge.node]] = id
        end[edge.node] += 1
      }
      for source in nodes[id].controls {
        users[end[source]] = id
        end[source] += 1
      }
    }
    var ready = MinHeap()
    for id in nodes.indices where live[id] && pending[id] == 0 { ready.insert(key(id)) }
    var order: [Int] = []
    order.reserveCapacity(nodes.count)
    while let next = ready.popMin() {
      let id = next & 0xffff_ffff
      order.append(id)
      for user in users[(id == 0 ? 0 : end[id - 1])..<end[id]] {
        pending[user] -= 1
        if pending[user] == 0 { ready.insert(key(user)) }
      }
    }
    return order
  }

  // Live ids by their keys, if inputs come first so: then it is the order that is asked for. Most
  // graphs were made like that.
  private func orderByPriority(_ key: (Int) -> Int) -> [Int]? {
    var keys: [Int] = []
    keys.reserveCapacity(nodes.count)
    var isSorted = true
    for id in nodes.indices where live[id] {
      let key = key(id)
      isSorted = isSorted && keys.last.map { $0 < key } != false
      keys.append(key)
    }
    if !isSorted { keys.sort() }
    var isPlaced = [Bool](repeating: false, count: nodes.count)
    for index in keys.indices {
      let id = keys[index] & 0xffff_ffff
      for edge in nodes[id].inputs where !isPlaced[edge.node] { return nil }
      for source in nodes[id].controls where !isPlaced[source] { return nil }
      isPlaced[id] = true
      keys[index] = id
    }
    return keys
  }

  /// Marks live what fetches and targets need.
  package mutating func markLive() {
    live = [Bool](repeating: false, count: nodes.count)
    var stack = fetches.map(\.node) + targets
    while let id = stack.popLast() {
      if live[id] { continue }
      live[id] = true
      for edge in nodes[id].inputs where !live[edge.node] { stack.append(edge.node) }
      for source in nodes[id].controls where !live[source] { stack.append(source) }
    }
  }

  /// The variable behind a handle or reference: found through the first inputs of what passes it on.
  package func cell(of edge: Edge) throws -> VariableCell {
    var id = edge.node
    while true {
      if case .variable(let cell) = nodes[id].kind { return cell }
      // Objects made in the run are no variables, whatever they are made from.
      let isObject =
        !nodes[id].def.traits.isDisjoint(with: [.makesObject, .nested])
        || nodes[id].def.functionalRole != nil
      guard let first = nodes[id].inputs.first, !isObject else {
        throw WeftError(
          .unimplemented,
          "the variable behind '\(nodes[edge.node].name)' is not known before the run",
          category: .run)
      }
      id = first.node
    }
  }

  /// An error with the node's name and place.
  package func locate(_ error: any Error, at id: Int) -> any Error {
    guard var error = error as? WeftError else { return error }
    if error.details.contains(where: { $0.label == "node" }) { return error }
    let node = nodes[id]
    var place = "\(node.name)  (\(node.def.name))"
    if let text = node.origin.description { place += "  \(text)" }
    error.details.insert(WeftError.Detail("node", place), at: 0)
    for (index, edge) in node.inputs.prefix(6).enumerated() {
      let source = nodes[edge.node]
      let name =
        node.def.signature.inputs.indices.contains(index)
        ? node.def.signature.inputs[index].name : "input \(index)"
      error.details.append(WeftError.Detail(name, "\(source.name):\(edge.port)  \(type(edge))"))
    }
    return error
  }
}

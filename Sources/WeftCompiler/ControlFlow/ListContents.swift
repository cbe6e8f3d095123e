// Tensor lists whose elements are known: reads of them take the elements themselves.

internal import WeftGraph
internal import WeftOps
internal import WeftTensors

extension IR {
  /// Follows lists from where they are made; what reads an element, or all of them, no longer needs
  /// the list. An element that was never set is zero.
  /// - Returns: whether any read was replaced.
  mutating func resolveLists() -> Bool {
    var lists = ListContents(self)
    for id in order() { lists.visit(id) }
    lists.changes.apply(to: &lists.ir)
    lists.ir.markLive()
    self = lists.ir
    return !lists.changes.edges.isEmpty
  }
}

private struct ListContents {
  var ir: IR
  var changes = Changes()
  /// The elements of lists; nil for one that is not set.
  private var contents: [Edge: [Edge?]] = [:]
  private var zeros: [TensorType: Edge] = [:]
  private static let longest = 1 << 12

  init(_ ir: IR) { self.ir = ir }

  mutating func visit(_ id: Int) {
    let node = ir.nodes[id]
    guard case .op = node.kind, node.controls.isEmpty || !node.isStateful else { return }
    let out = Edge(node: id, port: 0)
    let ops = KnownOp.List.self
    if node.def === ops.empty {
      contents[out] = []
    } else if node.def === ops.reserve {
      guard let count = integer(node.inputs[1]), (0...Self.longest).contains(count) else { return }
      contents[out] = Array(repeating: nil, count: count)
    } else if node.def === ops.fromTensor {
      contents[out] = rows(node.inputs[0], node)
    } else if node.def === ops.pushBack {
      guard let list = contents[node.inputs[0]], list.count < Self.longest else { return }
      contents[out] = list + [node.inputs[1]]
    } else if node.def === ops.popBack {
      guard let list = contents[node.inputs[0]], let last = list.last else { return }
      contents[out] = list.dropLast()
      read(last, as: Edge(node: id, port: 1))
    } else if node.def === ops.setItem {
      guard var list = contents[node.inputs[0]], let index = integer(node.inputs[1]),
        list.indices.contains(index)
      else { return }
      list[index] = node.inputs[2]
      contents[out] = list
    } else if node.def === ops.getItem {
      guard let list = contents[node.inputs[0]], let index = integer(node.inputs[1]),
        list.indices.contains(index)
      else { return }
      read(list[index], as: out)
    } else if node.def === ops.length {
      guard let list = contents[node.inputs[0]],
        let count = try? Tensor(scalar: Int32(clamping: list.count))
      else { return }
      ir.known[out] = count
    } else if node.def === ops.stack {
      guard let list = contents[node.inputs[0]] else { return }
      stack(list, node, out)
    } else if node.outputs.first?.dtype == .variant {
      join(node, out)
    }
  }

  // The known integer of an operand, which may be an element that was read.
  private func integer(_ edge: Edge) -> Int? {
    var edge = edge
    while let next = changes.edges[edge] { edge = next }
    return ir.known[edge]?.integers?.first
  }

  // Sums, zeros and copies of lists.
  private mutating func join(_ node: IRNode, _ out: Edge) {
    if KnownOp.identity.contains(where: { $0 === node.def }) {
      contents[out] = contents[node.inputs[0]]
    } else if node.def === KnownOp.zerosLike, let list = contents[node.inputs[0]] {
      contents[out] = list.map { _ in nil }
    } else if node.def === KnownOp.addN {
      var sum: [Edge?] = []
      for edge in node.inputs {
        guard let list = contents[edge] else { return }
        // A list that was never filled adds nothing.
        if sum.isEmpty {
          sum = list
          continue
        }
        guard list.isEmpty || list.count == sum.count else { return }
        if list.isEmpty { continue }
        for index in sum.indices {
          guard let term = list[index] else { continue }
          sum[index] = sum[index].map { add($0, term, node) } ?? term
        }
      }
      contents[out] = sum
    }
  }

  private mutating func add(_ a: Edge, _ b: Edge, _ like: IRNode) -> Edge {
    make(KnownOp.addN, [a, b], ["N": .int(2)], [ir.type(a)], like)
  }

  private mutating func make(
    _ def: OpDef, _ inputs: [Edge], _ attrs: [String: AttrValue], _ outputs: [TensorType],
    _ like: IRNode
  ) -> Edge {
    let id = ir.append(
      IRNode(
        name: "\(like.name)/elements_\(ir.nodes.count)", def: def, attrs: attrs, inputs: inputs,
        controls: [], outputs: outputs, handles: outputs.map { _ in nil }, origin: like.origin,
        kind: .op, rank: like.rank))
    return Edge(node: id, port: 0)
  }

  // The rows of a tensor.
  private mutating func rows(_ tensor: Edge, _ node: IRNode) -> [Edge?]? {
    guard let shape = ir.shape(tensor), let count = shape.first,
      (1...Self.longest).contains(count), ir.type(tensor).dtype.isPlain
    else { return nil }
    let type = TensorType(ir.type(tensor).dtype, Shape(Array(shape.dropFirst())))
    let first = make(
      KnownOp.unpack, [tensor], ["num": .int(Int64(count)), "axis": .int(0)],
      Array(repeating: type, count: count), node)
    return (0..<count).map { Edge(node: first.node, port: $0) }
  }

  // Takes an element in place of what was read.
  private mutating func read(_ element: Edge?, as edge: Edge) {
    let wanted = ir.type(edge)
    if let element {
      if ir.type(element).dtype == wanted.dtype { changes.edges[edge] = element }
      if wanted.dtype == .variant { contents[edge] = contents[element] }
    } else if let zero = zero(wanted) {
      changes.edges[edge] = zero
    }
  }

  private mutating func zero(_ type: TensorType) -> Edge? {
    let type = TensorType(type.dtype, type.shape)
    if let known = zeros[type] { return known }
    guard type.dtype.isPlain, let shape = type.shape.known,
      let value = try? Tensor(zeros: type.dtype, shape: shape)
    else { return nil }
    let edge = ir.constant(value, name: "zeros")
    zeros[type] = edge
    return edge
  }

  private mutating func stack(_ list: [Edge?], _ node: IRNode, _ out: Edge) {
    guard !list.isEmpty, node.outputs[0].dtype.isPlain else { return }
    let some = list.lazy.compactMap { $0 }.first.map { ir.type($0).shape }
    guard let shape = some?.known ?? node.outputs[0].shape.known.map({ Array($0.dropFirst()) })
    else { return }
    let type = TensorType(node.outputs[0].dtype, Shape(shape))
    var elements: [Edge] = []
    for element in list {
      guard let edge = element ?? zero(type), ir.type(edge) == type else { return }
      elements.append(edge)
    }
    changes.edges[out] = make(
      KnownOp.pack, elements, ["N": .int(Int64(elements.count)), "axis": .int(0)],
      [TensorType(type.dtype, Shape([elements.count] + shape))], node)
  }
}

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
    return lists.elements.apply(to: &self)
  }
}

private struct ListContents {
  var elements: Elements
  /// The elements of lists; nil for one that is not set.
  private var contents: [Edge: [Edge?]] = [:]

  init(_ ir: IR) { elements = Elements(ir) }

  mutating func visit(_ id: Int) {
    let node = elements.ir.nodes[id]
    guard case .op = node.kind, node.controls.isEmpty || !node.isStateful else { return }
    let out = Edge(node: id, port: 0)
    let ops = KnownOp.List.self
    if node.def === ops.empty {
      contents[out] = []
    } else if node.def === ops.reserve {
      guard let count = elements.integer(node.inputs[1]), (0...Elements.longest).contains(count)
      else { return }
      contents[out] = Array(repeating: nil, count: count)
    } else if node.def === ops.fromTensor {
      contents[out] = elements.rows(node.inputs[0], node)
    } else if node.def === ops.pushBack {
      guard let list = contents[node.inputs[0]], list.count < Elements.longest else { return }
      contents[out] = list + [node.inputs[1]]
    } else if node.def === ops.popBack {
      guard let list = contents[node.inputs[0]], let last = list.last else { return }
      contents[out] = list.dropLast()
      read(last, as: Edge(node: id, port: 1))
    } else if node.def === ops.setItem {
      guard var list = contents[node.inputs[0]], let index = elements.integer(node.inputs[1]),
        list.indices.contains(index)
      else { return }
      list[index] = node.inputs[2]
      contents[out] = list
    } else if node.def === ops.getItem {
      guard let list = contents[node.inputs[0]], let index = elements.integer(node.inputs[1]),
        list.indices.contains(index)
      else { return }
      read(list[index], as: out)
    } else if node.def === ops.length {
      guard let list = contents[node.inputs[0]],
        let count = try? Tensor(scalar: Int32(clamping: list.count))
      else { return }
      elements.ir.known[out] = count
    } else if node.def === ops.stack {
      guard let list = contents[node.inputs[0]] else { return }
      if let all = elements.stack(list, node) { elements.changes.edges[out] = all }
    } else if node.outputs.first?.dtype == .variant {
      join(node, out)
    }
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
          sum[index] = sum[index].map { elements.add($0, term, node) } ?? term
        }
      }
      contents[out] = sum
    }
  }

  // Takes an element in place of what was read.
  private mutating func read(_ element: Edge?, as edge: Edge) {
    elements.read(element, as: edge)
    if let element, elements.ir.type(edge).dtype == .variant { contents[edge] = contents[element] }
  }
}

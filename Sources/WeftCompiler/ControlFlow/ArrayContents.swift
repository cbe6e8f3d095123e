// TensorFlow 1's tensor arrays when all that is done with them is known before the run.

internal import WeftGraph
internal import WeftOps
internal import WeftTensors

extension IR {
  /// Follows arrays from where they are made. Where every index is known, what reads elements takes
  /// the elements themselves, and the array is no longer needed. An array stays as it is when
  /// anything is done with it that is not followed, or that fails in the run.
  /// - Returns: whether any read was replaced.
  mutating func resolveArrays() -> Bool {
    guard nodes.indices.contains(where: { live[$0] && isOp($0, KnownOp.Array.make) }) else {
      return false
    }
    var arrays = ArrayContents(self)
    for id in order() { arrays.visit(id) }
    return arrays.apply(to: &self)
  }
}

private struct ArrayContents {
  private struct Contents {
    /// nil for an element that is not set.
    var elements: [Edge?]
    var wasRead: [Bool]
    var shape: Shape
    let clearsAfterRead: Bool
    /// Whether writes add up.
    var isGradient = false
    var gradients: [String: Int] = [:]
    /// What replaces its ops.
    var edges: [Edge: Edge] = [:]
    var ops: [Int] = []
    /// The array that it is a gradient of, perhaps of another's, and itself otherwise.
    var family: Int
  }

  private var elements: Elements
  private var arrays: [Contents] = []
  /// Which array a handle names.
  private var handles: [Edge: Int] = [:]
  /// Arrays that stay, with all gradients of theirs: whoever has an array's handle has those too.
  private var kept = Set<Int>()

  init(_ ir: IR) { elements = Elements(ir) }

  consuming func apply(to ir: inout IR) -> Bool {
    for array in arrays where !kept.contains(array.family) {
      elements.changes.edges.merge(array.edges) { _, last in last }
      for id in array.ops {
        let node = elements.ir.nodes[id]
        elements.changes.after[id] = node.controls
        elements.changes.instead[id] = node.controls + node.inputs.map(\.node)
      }
    }
    return elements.apply(to: &ir)
  }

  mutating func visit(_ id: Int) {
    let node = elements.ir.nodes[id]
    guard case .op = node.kind else { return }
    let out = Edge(node: id, port: 0)
    if node.def === KnownOp.Array.make {
      make(node, out)
      return
    }
    if elements.ir.isOp(id, KnownOp.identity), let array = handles[node.inputs[0]] {
      handles[out] = array
      return
    }
    if let first = node.inputs.first, let array = handles[first],
      KnownOp.Array.uses.contains(where: { $0 === node.def })
    {
      arrays[array].ops.append(id)
      if !use(array, node, out) { kept.insert(arrays[array].family) }
      return
    }
    // Whatever else takes the handle may do anything with it.
    for edge in node.inputs {
      if let array = handles[edge] { kept.insert(arrays[array].family) }
    }
  }

  private mutating func make(_ node: IRNode, _ out: Edge) {
    let attrs = Attrs(node.attrs, signature: node.def.signature)
    guard let count = elements.integer(node.inputs[0]), (0...Elements.longest).contains(count),
      let isDynamic = try? attrs.bool("dynamic_size"), !isDynamic,
      let clears = try? attrs.bool("clear_after_read"),
      let shape = try? attrs.shape("element_shape")
    else { return }
    handles[out] = add(
      Contents(
        elements: Array(repeating: nil, count: count),
        wasRead: Array(repeating: false, count: count), shape: shape, clearsAfterRead: clears,
        ops: [out.node], family: arrays.count))
    setFlow(arrays.count - 1, Edge(node: out.node, port: 1))
  }

  private mutating func add(_ array: Contents) -> Int {
    arrays.append(array)
    return arrays.count - 1
  }

  // Flows order what is done with an array; without the array they are any number.
  private mutating func setFlow(_ array: Int, _ edge: Edge) {
    arrays[array].edges[edge] = elements.zero(TensorType(.float32, .scalar))
  }

  // Follows one op; false when the array has to stay.
  private mutating func use(_ array: Int, _ node: IRNode, _ out: Edge) -> Bool {
    let ops = KnownOp.Array.self
    if node.def === ops.gradient {
      return gradient(array, node, out)
    } else if node.def === ops.write {
      setFlow(array, out)
      return elements.integer(node.inputs[1]).map { write(array, $0, node.inputs[2], node) }
        ?? false
    } else if node.def === ops.read {
      guard let index = elements.integer(node.inputs[1]), let element = take(array, index),
        let value = element ?? elements.zero(elements.ir.type(out)),
        elements.ir.type(value).dtype == elements.ir.type(out).dtype
      else { return false }
      arrays[array].edges[out] = value
      return true
    } else if node.def === ops.gather {
      guard let indices = elements.integers(node.inputs[1]) else { return false }
      var list: [Edge?] = []
      for index in indices {
        guard let element = take(array, index) else { return false }
        list.append(element)
      }
      guard let all = elements.stack(list, node) else { return false }
      arrays[array].edges[out] = all
      return true
    } else if node.def === ops.scatter {
      setFlow(array, out)
      guard let indices = elements.integers(node.inputs[1]),
        let rows = elements.rows(node.inputs[2], node), rows.count == indices.count
      else { return false }
      return zip(indices, rows).allSatisfy { index, row in
        row.map { write(array, index, $0, node) } ?? false
      }
    } else if node.def === ops.size {
      guard let count = try? Tensor(scalar: Int32(clamping: arrays[array].elements.count)) else {
        return false
      }
      arrays[array].edges[out] = elements.ir.constant(count, name: "\(node.name)/size")
      return true
    }
    return node.outputs.isEmpty
  }

  private mutating func gradient(_ array: Int, _ node: IRNode, _ out: Edge) -> Bool {
    guard
      let source = try? Attrs(node.attrs, signature: node.def.signature).string("source")
    else { return false }
    let found: Int
    if let known = arrays[array].gradients[source] {
      found = known
    } else {
      var fresh = arrays[array]
      fresh.elements = fresh.elements.map { _ in nil }
      fresh.wasRead = fresh.wasRead.map { _ in false }
      fresh.isGradient = true
      (fresh.gradients, fresh.edges, fresh.ops) = ([:], [:], [])
      found = add(fresh)
      arrays[array].gradients[source] = found
    }
    handles[out] = found
    setFlow(array, Edge(node: out.node, port: 1))
    return true
  }

  private mutating func write(_ array: Int, _ index: Int, _ value: Edge, _ node: IRNode) -> Bool {
    let type = elements.ir.type(value)
    guard arrays[array].elements.indices.contains(index), type.dtype.isPlain,
      type.shape.isFullyKnown, arrays[array].shape.merged(with: type.shape) != nil
    else { return false }
    guard !arrays[array].wasRead[index] else { return false }
    if let old = arrays[array].elements[index] {
      guard arrays[array].isGradient, elements.ir.type(old) == type else { return false }
      arrays[array].elements[index] = elements.add(old, value, node)
      return true
    }
    arrays[array].elements[index] = value
    return true
  }

  // An element as a read finds it, nil within for zeros; nil when the read fails.
  private mutating func take(_ array: Int, _ index: Int) -> Edge?? {
    guard arrays[array].elements.indices.contains(index),
      !arrays[array].wasRead[index] || !arrays[array].clearsAfterRead
    else { return nil }
    let element = arrays[array].elements[index]
    if element == nil, !arrays[array].isGradient, !arrays[array].shape.isFullyKnown { return nil }
    arrays[array].wasRead[index] = true
    return .some(element)
  }
}

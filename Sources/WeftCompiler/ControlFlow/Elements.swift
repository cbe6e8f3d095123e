// Elements of lists and arrays as nodes of the working graph.

internal import WeftGraph
internal import WeftOps
internal import WeftTensors

/// A working graph in which reads of elements are replaced by the elements.
struct Elements {
  var ir: IR
  var changes = Changes()
  private var zeros: [TensorType: Edge] = [:]
  /// The most elements that are followed one by one.
  static let longest = 1 << 12

  private let originals: Int

  init(_ ir: IR) {
    self.ir = ir
    originals = ir.nodes.count
  }

  /// Puts what was replaced so far into a working graph.
  /// - Returns: whether anything there has read it.
  consuming func apply(to target: inout IR) -> Bool {
    let replaced = changes.edges
    let wasRead =
      ir.fetches.contains { replaced[$0] != nil }
      || (0..<originals).contains { id in
        ir.live[id] && ir.nodes[id].inputs.contains { replaced[$0] != nil }
      }
    changes.apply(to: &ir)
    ir.markLive()
    target = ir
    return wasRead
  }

  /// The known integers of an operand, which may be an element that was read.
  func integers(_ edge: Edge) -> [Int]? {
    var edge = edge
    while let next = changes.edges[edge] { edge = next }
    return ir.known[edge]?.integers
  }

  /// The known integer of an operand.
  func integer(_ edge: Edge) -> Int? { integers(edge)?.first }

  /// Takes an element in place of what was read; zeros for one that is not set.
  /// - Returns: whether that could be done.
  @discardableResult
  mutating func read(_ element: Edge?, as edge: Edge) -> Bool {
    let wanted = ir.type(edge)
    guard let value = element ?? zero(wanted), ir.type(value).dtype == wanted.dtype else {
      return false
    }
    changes.edges[edge] = value
    return true
  }

  /// The sum of two elements.
  mutating func add(_ a: Edge, _ b: Edge, _ like: IRNode) -> Edge {
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

  /// The rows of a tensor.
  mutating func rows(_ tensor: Edge, _ node: IRNode) -> [Edge?]? {
    guard let shape = ir.shape(tensor), let count = shape.first,
      (1...Elements.longest).contains(count), ir.type(tensor).dtype.isPlain
    else { return nil }
    let type = TensorType(ir.type(tensor).dtype, Shape(Array(shape.dropFirst())))
    let first = make(
      KnownOp.unpack, [tensor], ["num": .int(Int64(count)), "axis": .int(0)],
      Array(repeating: type, count: count), node)
    return (0..<count).map { Edge(node: first.node, port: $0) }
  }

  /// Zeros of a type whose shape is known.
  mutating func zero(_ type: TensorType) -> Edge? {
    let type = TensorType(type.dtype, type.shape)
    if let known = zeros[type] { return known }
    guard type.dtype.isPlain, let shape = type.shape.known,
      let value = try? Tensor(zeros: type.dtype, shape: shape)
    else { return nil }
    let edge = ir.constant(value, name: "zeros")
    zeros[type] = edge
    return edge
  }

  /// The elements as the rows of one tensor, for what `node` gives.
  mutating func stack(_ list: [Edge?], _ node: IRNode) -> Edge? {
    guard !list.isEmpty, node.outputs[0].dtype.isPlain else { return nil }
    let some = list.lazy.compactMap { $0 }.first.map { ir.type($0).shape }
    guard let shape = some?.known ?? node.outputs[0].shape.known.map({ Array($0.dropFirst()) })
    else { return nil }
    let type = TensorType(node.outputs[0].dtype, Shape(shape))
    var elements: [Edge] = []
    for element in list {
      guard let edge = element ?? zero(type), ir.type(edge) == type else { return nil }
      elements.append(edge)
    }
    return make(
      KnownOp.pack, elements, ["N": .int(Int64(elements.count)), "axis": .int(0)],
      [TensorType(type.dtype, Shape([elements.count] + shape))], node)
  }
}

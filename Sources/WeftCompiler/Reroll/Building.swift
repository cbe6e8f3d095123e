// Ordinary nodes that passes add.

internal import WeftGraph
internal import WeftOps
internal import WeftTensors

extension IR {
  /// A constant.
  mutating func constant(_ value: Tensor, name: String) -> Edge {
    let id = append(
      IRNode(
        name: name, def: KnownOp.constant, attrs: [:], inputs: [], controls: [],
        outputs: [value.type], handles: [nil], origin: Origin.unknown, kind: .constant(value),
        rank: 0))
    let edge = Edge(node: id, port: 0)
    known[edge] = value
    return edge
  }

  /// A constant vector of integers.
  mutating func integers(_ values: [Int]) throws -> Edge {
    constant(
      try Tensor(values.map { Int32(clamping: $0) }, shape: [values.count]), name: "integers")
  }

  /// A node with one output, placed and named as `like`.
  mutating func node(
    _ def: OpDef, _ inputs: [Edge], attrs: [String: AttrValue] = [:], shape: [Int], like: Pack,
    part: String
  ) -> Edge {
    let dtype = type(inputs[0]).dtype
    let id = append(
      IRNode(
        name: "\(like.name)/\(part)_\(nodes.count)", def: def, attrs: attrs, inputs: inputs,
        controls: [],
        outputs: [TensorType(dtype, Shape(shape))], handles: [nil], origin: like.origin, kind: .op,
        rank: like.rank))
    return Edge(node: id, port: 0)
  }

  mutating func reshape(_ x: Edge, to shape: [Int], like: Pack) throws -> Edge {
    if self.shape(x) == shape { return x }
    let source = root(x)
    if self.shape(source) == shape { return source }
    return node(
      KnownOp.reshape, [source, try integers(shape)], shape: shape, like: like, part: "reshape")
  }

  mutating func transpose(_ x: Edge, _ perm: [Int], like: Pack) throws -> Edge {
    guard let sizes = shape(x), perm != Array(sizes.indices) else { return x }
    return node(
      KnownOp.transpose, [x, try integers(perm)], shape: perm.map { sizes[$0] }, like: like,
      part: "transpose")
  }

  /// `sizes` elements from `begin`.
  mutating func slice(_ x: Edge, begin: [Int], sizes: [Int], like: Pack) throws -> Edge {
    node(
      KnownOp.slice, [x, try integers(begin), try integers(sizes)], shape: sizes, like: like,
      part: "slice")
  }

  mutating func concat(_ parts: [Edge], axis: Int, like: Pack) throws -> Edge {
    if parts.count == 1 { return parts[0] }
    var sizes = shape(parts[0]) ?? []
    sizes[axis] = parts.reduce(0) { $0 + (shape($1)?[axis] ?? 0) }
    let at = constant(try Tensor(scalar: Int32(clamping: axis)), name: "axis")
    return node(
      KnownOp.concat, parts + [at], attrs: ["N": .int(Int64(parts.count))], shape: sizes,
      like: like, part: "concat")
  }

  mutating func sum(_ terms: [Edge], like: Pack) throws -> Edge {
    if terms.count == 1 { return terms[0] }
    return node(
      KnownOp.addN, terms, attrs: ["N": .int(Int64(terms.count))], shape: shape(terms[0]) ?? [],
      like: like, part: "sum")
  }

  mutating func stack(_ parts: [Edge], like: Pack) -> Edge {
    let sizes = [parts.count] + (shape(parts[0]) ?? [])
    return node(
      KnownOp.pack, parts, attrs: ["N": .int(Int64(parts.count)), "axis": .int(0)], shape: sizes,
      like: like, part: "stack")
  }

  /// The known integers of `edge`.
  func integers(of edge: Edge) -> [Int]? { known[edge]?.integers }
}

// Ops that give the same bytes another shape or type: Reshape, ExpandDims, Squeeze, Bitcast.

public import WeftGraph
public import WeftTensors

enum ReshapeRows {
  /// The shape that `wanted` (with at most one -1) gives a tensor of shape `input`.
  static func resolve(_ ctx: InferContext, _ input: Shape, _ wanted: [Dim]) throws -> Shape {
    var dims = wanted
    let open = dims.indices.filter { dims[$0] == .known(-1) }
    guard open.count <= 1 else {
      throw ctx.error("shape \(Shape(dims: wanted)) has more than one -1")
    }
    for case .known(let n) in dims where n < -1 {
      throw ctx.error("size \(n) in the requested shape is negative")
    }
    let asked = dims.map { $0.size.map(String.init) ?? $0.description }.joined(separator: ", ")
    // Symbolic sizes that stand on both sides cancel.
    var have = input.dims
    var rest = dims.indices.filter { !open.contains($0) }
    if var left = have {
      rest = rest.filter { i in
        guard case .symbolic = dims[i], let match = left.firstIndex(of: dims[i]) else {
          return true
        }
        left.remove(at: match)
        return false
      }
      have = left
    }
    let unknown = rest.filter { dims[$0].size == nil }
    let product = Shape.checkedCount(rest.compactMap { dims[$0].size })
    guard let product else { throw ctx.error("shape [\(asked)] is negative or overflows") }
    let known = have.flatMap { Shape(dims: $0).known }
    guard let sizes = known, let count = Shape.checkedCount(sizes) else {
      for i in open { dims[i] = .unknown }
      return Shape(dims: dims)
    }
    if unknown.isEmpty, open.isEmpty {
      if product != count {
        throw ctx.error(
          "cannot turn shape \(input) into [\(asked)]: \(count) vs \(product) elements")
      }
    } else if unknown.isEmpty || (unknown.count == 1 && open.isEmpty), product > 0 {
      guard count % product == 0 else {
        throw ctx.error(
          "cannot turn shape \(input) into [\(asked)]: \(count) elements are no multiple of "
            + "\(product)")
      }
      dims[open.first ?? unknown[0]] = .known(count / product)
    } else if unknown.isEmpty, product == 0 {
      throw ctx.error("cannot tell the size of -1 in [\(asked)]: it has no elements")
    }
    for i in dims.indices where dims[i] == .known(-1) { dims[i] = .unknown }
    return Shape(dims: dims)
  }

  static let reshape = OpDef(
    "Reshape", "tensor: T, shape: Tshape -> output: T",
    "T: type; Tshape: {int32, int64} = int32",
    summary: "The same elements under another shape.", traits: [.view],
    infer: { ctx in
      let length = try ctx.shape(1, rank: 1)[0]
      if let wanted = ctx.value(1) { return [try resolve(ctx, ctx.shape(0), wanted)] }
      return [try ctx.unknownShape(ofRank: length, "its shape")]
    },
    value: { ctx in
      guard let wanted = ctx.integers(1), wanted.count <= 1 else { return nil }
      return ctx.smallValue()
    },
    gradient: .rule { g in
      [.dense(try g.gradient().reshaped(to: g.input(0).shapeTensor())), nil]
    },
    lowering: .kernel { _ in .alias() })

  static let expandDims = OpDef(
    "ExpandDims", "input: T, dim: Tdim -> output: T", "T: type; Tdim: {int32, int64} = int32",
    summary: "Its input with a dimension of size 1 inserted.", traits: [.view],
    infer: { ctx in
      let axis = try ctx.oneInteger(1, "dim")
      guard var dims = ctx.shape(0).dims else { return [.unknown] }
      guard let axis else { return [Shape(unknownOfRank: dims.count + 1)] }
      dims.insert(1, at: try ctx.axisIndex(axis, rank: dims.count + 1, "dim"))
      return [Shape(dims: dims)]
    },
    value: { ctx in ctx.shape(0).rank == 0 ? ctx.value(0) : nil },
    gradient: .rule { g in
      [.dense(try g.gradient().reshaped(to: g.input(0).shapeTensor())), nil]
    },
    lowering: .kernel { _ in .alias() })

  static let squeeze = OpDef(
    "Squeeze", "input: T -> output: T", "T: type; squeeze_dims: list(int) >= 0 = []",
    summary: "Its input without dimensions of size 1: those listed, or all.", traits: [.view],
    infer: { ctx in
      let listed = try ctx.attrs.ints("squeeze_dims")
      guard let dims = ctx.shape(0).dims else { return [.unknown] }
      if listed.isEmpty {
        // An unknown size may turn out to be 1.
        guard dims.allSatisfy({ $0.size != nil }) else { return [.unknown] }
        return [Shape(dims: dims.filter { $0 != .known(1) })]
      }
      let axes = try listed.map { try ctx.axisIndex($0, rank: dims.count, "squeeze_dims") }
      for axis in axes where (dims[axis].size ?? 1) != 1 {
        throw ctx.error(
          "can not squeeze dim[\(axis)], expected a dimension of 1, got \(dims[axis]) in "
            + "\(ctx.shape(0))")
      }
      return [Shape(dims: dims.indices.filter { !axes.contains($0) }.map { dims[$0] })]
    },
    value: { ctx in ctx.smallValue() },
    gradient: .rule { g in
      [.dense(try g.gradient().reshaped(to: g.input(0).shapeTensor()))]
    },
    lowering: .kernel { _ in .alias() })

  static let bitcast = OpDef(
    "Bitcast", "input: T -> output: type",
    "T: {bfloat16, half, float, double, int64, int32, uint8, uint16, uint32, uint64, int8, int16, "
      + "complex64, complex128}; type: {bfloat16, half, float, double, int64, int32, uint8, "
      + "uint16, uint32, uint64, int8, int16, complex64, complex128}",
    summary: "The same bytes read as another type.", traits: [.view],
    infer: { ctx in
      let from = ctx.dtype(0).byteSize
      let to = try ctx.attrs.type("type").byteSize
      guard from > 0, to > 0, let dims = ctx.shape(0).dims else { return [.unknown] }
      if from == to { return [ctx.shape(0)] }
      if from > to { return [Shape(dims: dims + [.known(from / to)])] }
      guard let last = dims.last, (last.size ?? to / from) == to / from else {
        throw ctx.error("needs a last dimension of \(to / from), got shape \(ctx.shape(0))")
      }
      return [Shape(dims: dims.dropLast())]
    },
    gradient: .none("the bits of a number have no derivative"), lowering: .kernel { _ in .alias() })

  static let all = [reshape, expandDims, squeeze, bitcast]
}

extension Output {
  /// The same elements under another shape; one size may be -1 and is then computed.
  ///
  /// Gradient: dy under the shape of `self`. TensorFlow's Reshape.
  /// - Throws: InvalidArgument when the numbers of elements differ.
  public func reshaped(
    to sizes: [Int], name: String? = nil, file: StaticString = #fileID, line: UInt = #line
  ) throws -> Output {
    try reshaped(
      to: try graph.constant(integers: sizes, name: "shape", file: file, line: line), name: name,
      file: file, line: line)
  }

  /// The same elements under the shape that the vector `sizes` holds.
  public func reshaped(
    to sizes: Output, name: String? = nil, file: StaticString = #fileID, line: UInt = #line
  ) throws -> Output {
    try graph.output(
      ReshapeRows.reshape.name, name: name, inputs: [self, sizes], file: file, line: line)
  }

  /// A dimension of size 1 inserted before `axis`; -1 appends one. TensorFlow's ExpandDims.
  public func expandingDims(
    axis: Int, name: String? = nil, file: StaticString = #fileID, line: UInt = #line
  ) throws -> Output {
    try graph.output(
      ReshapeRows.expandDims.name, name: name,
      inputs: [self, try graph.constant(integer: axis, name: "dim", file: file, line: line)],
      file: file, line: line)
  }

  /// Dimensions of size 1 removed: those in `axes`, or all when it is empty. TensorFlow's Squeeze.
  public func squeezed(
    axes: [Int] = [], name: String? = nil, file: StaticString = #fileID, line: UInt = #line
  ) throws -> Output {
    try graph.output(
      ReshapeRows.squeeze.name, name: name, inputs: [self],
      attrs: axes.isEmpty ? [:] : ["squeeze_dims": .ints(axes)], file: file, line: line)
  }

  /// The same bytes read as elements of `dtype`. TensorFlow's Bitcast.
  public func bitcast(
    to dtype: DType, name: String? = nil, file: StaticString = #fileID, line: UInt = #line
  ) throws -> Output {
    try graph.output(
      ReshapeRows.bitcast.name, name: name, inputs: [self], attrs: ["type": .type(dtype)],
      file: file, line: line)
  }
}

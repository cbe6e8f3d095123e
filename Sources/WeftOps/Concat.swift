// Joining tensors: ConcatV2, Concat, ConcatOffset, Pack.

public import WeftGraph
internal import WeftKernels
internal import WeftTensors

enum ConcatRows {
  // The shape of `values` joined along the axis that input `axisInput` holds.
  private static func infer(
    _ ctx: InferContext, values: Range<Int>, axisInput: Int
  ) throws -> [Shape] {
    var joined: [Dim]?
    for i in values {
      guard let dims = ctx.shape(i).dims else { continue }
      if let rank = joined?.count, rank != dims.count {
        throw ctx.error(
          "needs inputs of one rank: \(ctx.shape(values.lowerBound)) vs \(ctx.shape(i))")
      }
      joined = joined ?? dims
    }
    let axis = try ctx.oneInteger(axisInput, "an axis")
    guard let rank = joined?.count else { return [.unknown] }
    guard rank > 0 else { throw ctx.error("cannot join scalars") }
    guard let axis else { return [Shape(unknownOfRank: rank)] }
    let at = try ctx.axisIndex(axis, rank: rank)
    var out = [Dim](repeating: .unknown, count: rank)
    var total = 0
    var isKnown = true
    for i in values {
      guard let dims = ctx.shape(i).dims else {
        isKnown = false
        continue
      }
      for d in 0..<rank where d != at {
        guard out[d].isCompatible(with: dims[d]) else {
          throw ctx.error(
            "needs equal sizes besides axis \(at): \(ctx.shape(values.lowerBound)) vs "
              + "\(ctx.shape(i)) (input \(i - values.lowerBound))")
        }
        out[d] = out[d].merged(with: dims[d])
      }
      if let n = dims[at].size {
        let (sum, overflow) = total.addingReportingOverflow(n)
        guard !overflow else { throw ctx.error("joined size overflows") }
        total = sum
      } else {
        isKnown = false
      }
    }
    out[at] = isKnown ? .known(total) : values.count == 1 ? joined?[at] ?? .unknown : .unknown
    return [Shape(dims: out)]
  }

  private static func value(_ ctx: InferContext, _ values: Range<Int>) -> [Dim]? {
    var all: [Dim] = []
    for i in values {
      guard ctx.shape(i).rank == 1 else { return nil }
      if let part = ctx.value(i) {
        all += part
      } else if let count = ctx.shape(i).count, count <= 1_000 {
        all += Array(repeating: .unknown, count: count)
      } else {
        return nil
      }
      if all.count > 1_000 { return nil }
    }
    return all
  }

  private static func lower(
    _ ctx: LowerContext, values: Range<Int>, axisInput: Int
  ) throws -> Kernel {
    let axis = try ctx.axis(axisInput, rank: ctx.outputShape(0).count)
    if values.count == 1, values.lowerBound == 0 { return ctx.pass() }
    return try join(ctx, values, axis: axis)
  }

  // Rows of every input, one after the other, in each row of the output.
  private static func join(
    _ ctx: LowerContext, _ values: Range<Int>, axis: Int, stacked: Bool = false
  ) throws -> Kernel {
    let first = ctx.shape(values.lowerBound)
    let outer = product(first.prefix(axis))
    let sizes = values.map { product(ctx.shape($0).dropFirst(axis)) }
    let row = sizes.reduce(0, +)
    return try ctx.moves(stacked ? "pack" : "concat") { bytes in
      var offset = 0
      var moves: [Move] = []
      for (i, size) in zip(values, sizes) {
        if size > 0 && outer > 0 {
          moves.append(
            .rows(
              input: i,
              RowCopy(
                rows: outer, rowBytes: size * bytes, sourceStride: size * bytes,
                targetStride: row * bytes, targetOffset: offset * bytes)))
        }
        offset += size
      }
      return moves
    }
  }

  // What each of `values` gets of the gradient of their concatenation.
  private static func gradient(
    _ g: GradientContext, values: Range<Int>, axis: Output
  ) throws -> [Output] {
    let dy = try g.gradient()
    if values.count == 1 { return [dy] }
    let inputs = values.map { g.input($0) }
    if let place = g.graph.integer(axis) {
      let sizes = inputs.map { $0.shape.dim(place).size }
      let known = sizes.compactMap { $0 }
      if known.count == sizes.count { return try split(dy, sizes: known, axis: place) }
    }
    let sizes = try shapes(inputs)
    let offsets = try concatOffsets(axis: axis, shapes: sizes)
    return try zip(offsets, sizes).map { try dy.sliced(begin: $0, size: $1) }
  }

  static let concatV2 = OpDef(
    "ConcatV2", "values: N * T, axis: Tidx -> output: T",
    "N: int >= 2; T: type; Tidx: {int32, int64} = int32",
    summary: "Its inputs joined along an axis.",
    infer: { ctx in
      let last = ctx.inputs.count - 1
      return try infer(ctx, values: 0..<last, axisInput: last)
    },
    value: { ctx in value(ctx, 0..<(ctx.inputs.count - 1)) },
    gradient: .rule { g in
      let last = g.inputCount - 1
      let parts = try gradient(g, values: 0..<last, axis: g.input(last))
      return parts.map { .dense($0) } + [nil]
    },
    lowering: .kernel { ctx in
      let last = ctx.inputs.count - 1
      return try lower(ctx, values: 0..<last, axisInput: last)
    })

  static let concat = OpDef(
    "Concat", "concat_dim: int32, values: N * T -> output: T", "N: int >= 2; T: type",
    summary: "Its inputs joined along an axis, which comes first.",
    infer: { ctx in try infer(ctx, values: 1..<ctx.inputs.count, axisInput: 0) },
    value: { ctx in value(ctx, 1..<ctx.inputs.count) },
    gradient: .rule { g in
      let parts = try gradient(g, values: 1..<g.inputCount, axis: g.input(0))
      return [nil] + parts.map { .dense($0) }
    },
    lowering: .kernel { ctx in
      try lower(ctx, values: 1..<ctx.inputs.count, axisInput: 0)
    })

  static let concatOffset = OpDef(
    "ConcatOffset", "concat_dim: int32, shape: N * shape_type -> offset: N * shape_type",
    "N: int >= 2; shape_type: {int32, int64} = int32",
    summary: "Where each of several shapes starts when tensors of them are joined.",
    infer: { ctx in
      var rank = Dim.unknown
      for i in 1..<ctx.inputs.count {
        rank = try ctx.merge(rank, try ctx.shape(i, rank: 1)[0], "ranks")
      }
      return Array(repeating: Shape(dims: [rank]), count: ctx.inputs.count - 1)
    },
    value: { ctx in
      guard ctx.inputs.count > 1, let count = ctx.shape(1).count, count <= 1_000 else {
        return nil
      }
      return Array(repeating: .known(0), count: count)
    },
    gradient: .zero,
    lowering: .kernel { ctx in
      let all = try (1..<ctx.inputs.count).map { try ctx.integers($0, "the shapes") }
      let rank = all.first?.count ?? 0
      let axis = try ctx.axis(0, rank: rank)
      var offset = 0
      var offsets: [[Int]] = []
      for sizes in all {
        for d in 0..<rank where d != axis && sizes[d] != all[0][d] {
          throw ctx.error("needs equal sizes besides axis \(axis): \(all[0]) vs \(sizes)")
        }
        var at = [Int](repeating: 0, count: rank)
        at[axis] = offset
        offsets.append(at)
        offset &+= sizes[axis]
      }
      return try ShapeRows.integerKernel(ctx, offsets)
    })

  static let pack = OpDef(
    "Pack", "values: N * T -> output: T", "N: int >= 1; T: type; axis: int = 0",
    summary: "Its inputs stacked along a new axis.",
    infer: { ctx in
      var merged = Shape.unknown
      for i in ctx.inputs.indices {
        guard let next = merged.merged(with: ctx.shape(i)) else {
          throw ctx.error(
            "needs inputs of equal shapes: \(ctx.shape(0)) vs \(ctx.shape(i)) (input \(i))")
        }
        merged = next
      }
      guard var dims = merged.dims else { return [.unknown] }
      let axis = try ctx.axisIndex(try ctx.attrs.int("axis"), rank: dims.count + 1)
      dims.insert(.known(ctx.inputs.count), at: axis)
      return [Shape(dims: dims)]
    },
    value: { ctx in
      guard ctx.inputs.count <= 1_000, ctx.inputs.allSatisfy({ $0.shape.rank == 0 }),
        ctx.dtype(0).isInteger
      else { return nil }
      return ctx.inputs.indices.map { ctx.value($0)?.first ?? .unknown }
    },
    gradient: .rule { g in
      let parts = try unstack(
        try g.gradient(), count: g.inputCount, axis: try g.attrs.int("axis"))
      return parts.map { .dense($0) }
    },
    lowering: .kernel { ctx in
      let axis = try ctx.checkedAxis(try ctx.attrs.int("axis"), rank: ctx.shape(0).count + 1)
      if ctx.inputs.count == 1 { return ctx.pass() }
      return try join(ctx, 0..<ctx.inputs.count, axis: axis, stacked: true)
    })

  static let all = [concatV2, concat, concatOffset, pack]
}

extension Graph {
  /// The integer that a scalar output holds, when it is known without running.
  func integer(_ output: Output) -> Int? { integers(output)?.first }

  /// The integers that a scalar or vector holds, when all are known without running.
  func integers(_ output: Output) -> [Int]? {
    if let all = constant(of: output.edge)?.integers { return all }
    guard let dims = value(of: output.edge) else { return nil }
    let known = dims.compactMap(\.size)
    return known.count == dims.count ? known : nil
  }
}

/// Joins tensors of equal rank along `axis` (negative from the end). TensorFlow's ConcatV2.
///
/// `[..., n1, ...], [..., n2, ...] -> [..., n1 + n2, ...]`. Gradient: dy cut at the same places.
/// - Throws: InvalidArgument when other sizes differ, or for scalars.
public func concat(
  _ xs: [Output], axis: Int, name: String? = nil, file: StaticString = #fileID, line: UInt = #line
) throws -> Output {
  guard let graph = xs.first?.graph else {
    throw WeftError(.invalidArgument, "there is nothing to join")
  }
  return try concat(
    xs, axis: try graph.constant(integer: axis, name: "axis", file: file, line: line), name: name,
    file: file, line: line)
}

/// Joins tensors along the axis that the int32 scalar `axis` holds.
public func concat(
  _ xs: [Output], axis: Output, name: String? = nil, file: StaticString = #fileID,
  line: UInt = #line
) throws -> Output {
  // The op takes two values or more.
  if xs.count == 1 { return try identity(xs[0], name: name, file: file, line: line) }
  return try axis.graph.output(
    ConcatRows.concatV2.name, name: name ?? "concat", inputs: xs + [axis], file: file, line: line)
}

/// Where tensors of these shapes start in their concatenation. TensorFlow's ConcatOffset.
func concatOffsets(
  axis: Output, shapes: [Output], name: String? = nil, file: StaticString = #fileID,
  line: UInt = #line
) throws -> [Output] {
  let node = try axis.graph.add(
    ConcatRows.concatOffset.name, name: name, inputs: [axis] + shapes, file: file, line: line)
  return axis.graph.outputs(of: node)
}

/// Stacks tensors of one shape along a new `axis`. TensorFlow's Pack.
///
/// N times `[A, B]` gives `[N, A, B]` for axis 0. Gradient: dy unstacked.
public func stack(
  _ xs: [Output], axis: Int = 0, name: String? = nil, file: StaticString = #fileID,
  line: UInt = #line
) throws -> Output {
  guard let graph = xs.first?.graph else {
    throw WeftError(.invalidArgument, "there is nothing to stack")
  }
  return try graph.output(
    ConcatRows.pack.name, name: name ?? "stack", inputs: xs, attrs: ["axis": .int(Int64(axis))],
    file: file, line: line)
}

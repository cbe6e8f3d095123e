// Rows picked by index: GatherV2, Gather, GatherNd.

public import WeftGraph
internal import WeftKernels
public import WeftTensors

enum GatherRows {
  // params[:axis] + indices[batch:] + params[axis + 1:]
  private static func infer(_ ctx: InferContext, axis: Int?, batchDims: Int) throws -> Shape {
    _ = try ctx.shape(0, rankAtLeast: 1)
    guard let ids = ctx.shape(1).dims else { return .unknown }
    let batch = batchDims < 0 ? batchDims + ids.count : batchDims
    guard batch >= 0, batch <= ids.count else {
      throw ctx.error("batch_dims = \(batchDims) does not fit indices of shape \(ctx.shape(1))")
    }
    guard let dims = ctx.shape(0).dims else { return .unknown }
    guard let axis else { return Shape(unknownOfRank: dims.count - 1 + ids.count - batch) }
    let at = try ctx.axisIndex(axis, rank: dims.count)
    guard batch <= at else {
      throw ctx.error("needs batch_dims <= axis: \(batch) vs \(at)")
    }
    var head: [Dim] = []
    for d in 0..<batch {
      head.append(try ctx.merge(dims[d], ids[d], "sizes of batch dimension \(d)"))
    }
    return Shape(dims: head + dims[batch..<at] + ids[batch...] + dims[(at + 1)...])
  }

  private static func value(_ ctx: InferContext) -> [Dim]? {
    guard ctx.shape(0).rank == 1, let all = ctx.value(0), let rank = ctx.shape(1).rank, rank <= 1,
      let ids = ctx.integers(1), ids.allSatisfy({ all.indices.contains($0) })
    else { return nil }
    return ids.map { all[$0] }
  }

  /// `[2, 3]` for flat position 11 of shape [3, 4].
  static func position(_ flat: Int, _ shape: [Int]) -> String {
    var rest = flat
    var parts: [Int] = []
    for size in shape.reversed() {
      parts.append(size == 0 ? 0 : rest % size)
      rest = size == 0 ? 0 : rest / size
    }
    return "[" + parts.reversed().map { "\($0)" }.joined(separator: ",") + "]"
  }

  private static func lower(_ ctx: LowerContext, axis: Int, batchDims: Int) throws -> Kernel {
    switch ctx.dtype(1) {
    case .int16: try lower(ctx, axis: axis, batchDims: batchDims, Int16.self)
    case .int32: try lower(ctx, axis: axis, batchDims: batchDims, Int32.self)
    case .int64: try lower(ctx, axis: axis, batchDims: batchDims, Int64.self)
    default: throw ctx.unsupported(ctx.dtype(1))
    }
  }

  private static func lower<Index: IndexElement>(
    _ ctx: LowerContext, axis: Int, batchDims: Int, _: Index.Type
  ) throws -> Kernel {
    let params = ctx.shape(0)
    let ids = ctx.shape(1)
    let at = try ctx.checkedAxis(axis, rank: params.count)
    let batch = batchDims < 0 ? batchDims + ids.count : batchDims
    let dtype = ctx.dtype(0)
    let limit = params[at]
    let total = product(ids)
    let op = ctx.op.name
    @Sendable func check(_ indices: UnsafePointer<Index>) throws {
      if let bad = firstIndexOutOfRange(indices, total, limit: limit) {
        throw WeftError(
          .invalidArgument,
          "\(op) indices\(position(bad, ids)) = \(indices[bad]) is not in [0, \(limit))",
          category: .run)
      }
    }
    var gather = RowGather(
      batch: product(params.prefix(batch)), outer: product(params[batch..<at]), axis: limit,
      count: product(ids.dropFirst(batch)), rowBytes: product(params.dropFirst(at + 1)))
    if dtype == .string {
      gather.rowBytes *= 8
      let rows = gather
      let shape = ctx.outputShape(0)
      let numbers = Array(0..<product(params))
      return Kernel("gatherString") { call in
        let indices = call.input(1, as: Index.self)
        try check(indices)
        var places = [Int](repeating: 0, count: product(shape))
        numbers.withUnsafeBytes { from in
          places.withUnsafeMutableBytes { to in
            if let source = from.baseAddress, let target = to.baseAddress {
              rows.run(source, indices, target, call.pool)
            }
          }
        }
        let strings = try stringInput(call, 0).strings
        call.setObject(
          try Tensor(strings: places.map { strings[$0] }, shape: shape), output: 0)
      }
    }
    guard dtype.isPlain else { throw ctx.unsupported(dtype) }
    gather.rowBytes *= dtype.byteSize
    let rows = gather
    return Kernel(ctx.kernelName("gather", dtype)) { call in
      let indices = call.input(1, as: Index.self)
      try check(indices)
      rows.run(call.rawInput(0), indices, call.rawOutput(0), call.pool)
    }
  }

  // Rows along the first axis stay a pair of values and indices; other axes become dense.
  private static func gradient(_ g: GradientContext, axis: Output?) throws -> Gradient {
    let params = g.input(0)
    let indices = g.input(1)
    let dy = try g.gradient()
    let batchDims = axis == nil ? 0 : try g.attrs.int("batch_dims")
    let known = axis.map { g.graph.integer($0) } ?? 0
    if known == 0, batchDims == 0 {
      return .slices(try gatherSlices(params.shapeTensor(), params.shape, indices, dy))
    }
    guard let axis = known, let rank = params.shape.rank, let idRank = indices.shape.rank else {
      throw WeftError(
        .unimplemented, "the gradient of a gather needs its axis and ranks to be known")
    }
    let at = axis < 0 ? axis + rank : axis
    let batch = batchDims < 0 ? batchDims + idRank : batchDims
    if at == 0, batch == 0 {
      return .slices(try gatherSlices(params.shapeTensor(), params.shape, indices, dy))
    }
    // Bring the gathered dimensions to the front, as rows: [batch..., ids..., rest...].
    let outRank = rank - 1 + idRank - batch
    let middle = Array(batch..<at)
    let picked = Array(at..<(at + idRank - batch))
    let tail = Array((at + idRank - batch)..<outRank)
    let rows = try dy.transposed(permutation: Array(0..<batch) + picked + middle + tail)
    let shape = try params.shapeTensor()
    let order = Array(0..<batch) + [at] + middle + Array((at + 1)..<rank)
    let moved = try gather(shape, try g.graph.constant(integers: order))
    let rest = try moved.sliced(begin: [batch + 1], size: [-1])
    var ids = indices
    var count = try gather(shape, try g.graph.constant(integer: at))
    if batch > 0 {
      // Number rows across the batch: entry b of the batch starts at b * size.
      let head = try shape.sliced(begin: [0], size: [batch])
      let entries = try prod(head)
      let zero = try g.graph.constant(integer: 0)
      let unit = try g.graph.constant(integer: 1)
      let starts = try range(zero, entries, unit) * count
      let ones = try g.graph.constant(
        integers: Array(repeating: 1, count: idRank - batch))
      let first = try starts.reshaped(to: try concat([head, ones], axis: 0))
      ids = try indices + first.cast(to: indices.dtype)
      count = try count * entries
    }
    let flat = try ids.reshaped(to: [-1])
    let values = try rows.reshaped(
      to: try concat([try size(indices).reshaped(to: [1]), rest], axis: 0))
    let summed = try unsortedSegmentSum(values, flat, count: count).reshaped(to: moved)
    var inverse = [Int](repeating: 0, count: rank)
    for (i, p) in order.enumerated() { inverse[p] = i }
    return .dense(try summed.transposed(permutation: inverse))
  }

  static let gatherV2 = OpDef(
    "GatherV2", "params: Tparams, indices: Tindices, axis: Taxis -> output: Tparams",
    "batch_dims: int = 0; Tparams: type; Tindices: {int16, int32, int64}; Taxis: {int32, int64}",
    summary: "Slices of its first input along an axis, at the places its second input names.",
    infer: { ctx in
      [
        try infer(
          ctx, axis: try ctx.oneInteger(2, "an axis"), batchDims: try ctx.attrs.int("batch_dims"))
      ]
    },
    value: { ctx in value(ctx) },
    gradient: .rule { g in [try gradient(g, axis: g.input(2)), nil, nil] },
    lowering: .kernel { ctx in
      let axis = try ctx.axis(2, rank: ctx.shape(0).count)
      return try lower(ctx, axis: axis, batchDims: try ctx.attrs.int("batch_dims"))
    })

  static let gather1 = OpDef(
    "Gather", "params: Tparams, indices: Tindices -> output: Tparams",
    "validate_indices: bool = true; Tparams: type; Tindices: {int32, int64}",
    summary: "Rows of its first input at the places its second input names.",
    infer: { ctx in [try infer(ctx, axis: 0, batchDims: 0)] },
    value: { ctx in value(ctx) },
    gradient: .rule { g in [try gradient(g, axis: nil), nil] },
    lowering: .kernel { ctx in try lower(ctx, axis: 0, batchDims: 0) })

  static let all = [gatherV2, gather1]
}

/// The gradient of a gather along axis 0: dy as rows, with their indices.
public func gatherSlices(
  _ shape: Output, _ known: Shape, _ indices: Output, _ dy: Output
) throws -> IndexedSlices {
  let flat = try indices.reshaped(to: [-1])
  let values: Output
  if let sizes = known.dims?.dropFirst().map(\.size), !sizes.contains(nil), !sizes.contains(0) {
    values = try dy.reshaped(to: [-1] + sizes.compactMap { $0 })
  } else {
    let count = try size(indices).reshaped(to: [1])
    let narrow = shape.dtype == count.dtype ? shape : try shape.cast(to: count.dtype)
    let tail = try narrow.stridedSlice(begin: [1], end: [0], masks: SliceMasks(end: 1))
    values = try dy.reshaped(to: try concat([count, tail], axis: 0))
  }
  return IndexedSlices(values: values, indices: flat, denseShape: shape)
}

/// Slices of `params` along `axis` at the places that `indices` names. TensorFlow's GatherV2.
///
/// `params [P..., N, Q...]`, `indices [I...]` give `[P..., I..., Q...]`. Gradient for axis 0: the rows
/// of dy with their indices (`IndexedSlices`); for other axes, dy summed over equal indices.
/// - Throws: InvalidArgument, in a run, for an index outside `0 ..< N`.
public func gather(
  _ params: Output, _ indices: Output, axis: Int = 0, batchDims: Int = 0, name: String? = nil,
  file: StaticString = #fileID, line: UInt = #line
) throws -> Output {
  let graph = params.graph
  let place = try graph.constant(integer: axis, name: "axis", file: file, line: line)
  return try graph.output(
    GatherRows.gatherV2.name, name: name, inputs: [params, indices, place],
    attrs: ["batch_dims": .int(Int64(batchDims))], file: file, line: line)
}

// Folding rows by ids in rising order: Segment and SparseSegment ops.

public import WeftGraph
internal import WeftKernels
internal import WeftTensors

// What a folded row is divided by.
private enum SegmentScale {
  case none, count, rootOfCount

  func divisor(_ members: Int) -> Double? {
    switch self {
    case .none: nil
    case .count: Double(members)
    case .rootOfCount: Double(members).squareRoot()
    }
  }
}

// The kernel for ids in rising order; with `isIndexed`, input 1 names the rows to fold.
private func sortedKernel(
  _ ctx: LowerContext, _ function: BinaryFunction, _ identity: SegmentFold.Empty,
  empty: SegmentFold.Empty, scale: SegmentScale, isIndexed: Bool
) throws -> Kernel {
  let dtype = ctx.dtype(0)
  let idInput = isIndexed ? 2 : 1
  guard let fold = SegmentFold(function, dtype: dtype, identity: identity, empty: empty),
    let divide = dividedBy(dtype), let id = IntegerReader(ctx.dtype(idInput)),
    let index = IntegerReader(ctx.dtype(1))
  else { throw ctx.unsupported(dtype) }
  let rows = ctx.shape(0)[0]
  let tail = Array(ctx.shape(0).dropFirst())
  let inner = product(tail)
  let bytes = inner &* dtype.byteSize
  let count = ctx.count(idInput)
  let failure = SegmentFailure(op: ctx.op.name)
  return Kernel(ctx.kernelName("segment", dtype), flops: count &* inner) { call in
    let data = call.rawInput(0)
    let places = call.rawInput(1)
    let ids = call.rawInput(idInput)
    var last = 0
    for i in 0..<count {
      let segment = id(ids, i)
      guard segment >= last else {
        throw failure.error(
          segment < 0
            ? "segment_ids[\(i)] = \(segment) is negative"
            : "segment ids must not fall: segment_ids[\(i)] = \(segment) after \(last)")
      }
      last = segment
      if isIndexed, index(places, i) < 0 || index(places, i) >= rows {
        throw failure.outside(i, index(places, i), rows, shape: [count], what: "indices")
      }
    }
    // An id at the end of its type wraps to a negative size, which the tensor refuses.
    let segments = count == 0 ? 0 : last &+ 1
    let result = try Tensor(dtype: dtype, shape: [segments] + tail) { memory throws(WeftError) in
      guard let out = memory.baseAddress else { return }
      var next = 0
      var i = 0
      while i < count {
        let segment = id(ids, i)
        fold.clear(out + next * bytes, count: (segment - next) * inner)
        let row = out + segment * bytes
        fold.start(row, count: inner)
        var members = 0
        while i < count, id(ids, i) == segment {
          fold.add(data + (isIndexed ? index(places, i) : i) * bytes, to: row, inner)
          members += 1
          i += 1
        }
        if let divisor = scale.divisor(members) { divide(row, divisor, inner) }
        next = segment + 1
      }
    }
    call.setObject(result, output: 0)
  }
}

private func sortedRow(
  _ name: String, _ function: BinaryFunction, _ identity: SegmentFold.Empty, types: String,
  empty: SegmentFold.Empty = .zero, scale: SegmentScale = .none, _ summary: String,
  gradient: @escaping @Sendable (GradientContext) throws -> Output
) -> OpDef {
  OpDef(
    name, "data: T, segment_ids: Tindices -> output: T",
    "T: \(types); Tindices: {int32, int64}", summary: summary, traits: .dataDependent,
    infer: { ctx in
      let ids = try ctx.shape(1, rank: 1)
      guard let data = try ctx.shape(0, rankAtLeast: 1) else { return [.unknown] }
      _ = try ctx.merge(data[0], ids[0], "numbers of rows and ids")
      return [Shape(dims: [.unknown] + data.dropFirst())]
    },
    gradient: .rule { g in [.dense(try gradient(g)), nil] },
    lowering: .kernel { ctx in
      try sortedKernel(
        ctx, function, identity, empty: empty, scale: scale, isIndexed: false)
    })
}

private let allNumbers =
  "{float, double, int32, uint8, int16, int8, complex64, int64, bfloat16, uint16, complex128, half, uint32, uint64}"

let segmentSumRow: OpDef = sortedRow(
  "SegmentSum", .add, .zero, types: allNumbers, "Sums of the rows with one id, ids rising."
) { g in try gather(g.gradient(), g.input(1)) }

let segmentMeanRow: OpDef = sortedRow(
  "SegmentMean", .add, .zero, types: allNumbers, scale: .count,
  "Means of the rows with one id, ids rising."
) { g in
  let (data, ids, dy) = (g.input(0), g.input(1), try g.gradient())
  guard let rank = data.shape.rank else {
    throw WeftError(.unimplemented, "the gradient of a segment mean needs a known rank")
  }
  // The size of each segment, with the rank of the rows.
  var ones = try onesLike(ids).cast(to: dy.dtype)
  for _ in 1..<Swift.max(1, rank) { ones = try ones.expandingDims(axis: -1) }
  let counts = try segmentSumRow.node([ones, ids], nil, #fileID, #line)
  return try gather(dy / counts, ids)
}

let segmentProductRow: OpDef = sortedRow(
  "SegmentProd", .multiply, .one, types: allNumbers, empty: .one,
  "Products of the rows with one id, ids rising."
) { g in
  let ids = g.input(1)
  return try productGradient(g) { rows, isProduct in
    try (isProduct ? segmentProductRow : segmentSumRow).node([rows, ids], nil, #fileID, #line)
  } gather: {
    try gather($0, ids)
  }
}

let segmentMaxRow: OpDef = sortedRow(
  "SegmentMax", .maximum, .lowest, types: "realnumbertype",
  "The largest of the rows with one id, ids rising."
) { g in try sortedExtremeGradient(g) }

let segmentMinRow: OpDef = sortedRow(
  "SegmentMin", .minimum, .highest, types: "realnumbertype",
  "The smallest of the rows with one id, ids rising."
) { g in try sortedExtremeGradient(g) }

private func sortedExtremeGradient(_ g: GradientContext) throws -> Output {
  let ids = g.input(1)
  return try extremeGradient(g) {
    try segmentSumRow.node([$0, ids], nil, #fileID, #line)
  } gather: {
    try gather($0, ids)
  } isKept: {
    nil
  }
}

/// Sums of the rows of `data` that have the same id, for ids that do not fall; zero for absent ids.
///
/// The result has one row more than the last id. The gradient of a row is dy of its segment
/// (TensorFlow: `SegmentSum`).
/// - Throws: InvalidArgument, in a run, when ids fall or are negative.
public func segmentSum(
  _ data: Output, _ ids: Output, name: String? = nil, file: StaticString = #fileID,
  line: UInt = #line
) throws -> Output { try segmentSumRow.node([data, ids], name, file, line) }

/// Means of rows with the same id; zero for absent ids (TensorFlow: `SegmentMean`).
public func segmentMean(
  _ data: Output, _ ids: Output, name: String? = nil, file: StaticString = #fileID,
  line: UInt = #line
) throws -> Output { try segmentMeanRow.node([data, ids], name, file, line) }

/// Products of rows with the same id; one for absent ids (TensorFlow: `SegmentProd`).
public func segmentProd(
  _ data: Output, _ ids: Output, name: String? = nil, file: StaticString = #fileID,
  line: UInt = #line
) throws -> Output { try segmentProductRow.node([data, ids], name, file, line) }

/// The largest of rows with the same id; zero for absent ids (TensorFlow: `SegmentMax`).
public func segmentMax(
  _ data: Output, _ ids: Output, name: String? = nil, file: StaticString = #fileID,
  line: UInt = #line
) throws -> Output { try segmentMaxRow.node([data, ids], name, file, line) }

/// The smallest of rows with the same id; zero for absent ids (TensorFlow: `SegmentMin`).
public func segmentMin(
  _ data: Output, _ ids: Output, name: String? = nil, file: StaticString = #fileID,
  line: UInt = #line
) throws -> Output { try segmentMinRow.node([data, ids], name, file, line) }

// MARK: - Chosen rows

private func sparseRow(
  _ name: String, types: String, scale: SegmentScale, _ summary: String,
  gradient: @escaping @Sendable (GradientContext, Output) throws -> Output
) -> OpDef {
  OpDef(
    name, "data: T, indices: Tidx, segment_ids: Tsegmentids -> output: T",
    "T: \(types); Tidx: {int32, int64} = int32; Tsegmentids: {int32, int64} = int32; sparse_gradient: bool = false",
    summary: summary, traits: .dataDependent,
    infer: { ctx in
      let (indices, ids) = (try ctx.shape(1, rank: 1), try ctx.shape(2, rank: 1))
      _ = try ctx.merge(indices[0], ids[0], "numbers of indices and ids")
      guard let data = try ctx.shape(0, rankAtLeast: 1) else { return [.unknown] }
      return [Shape(dims: [.unknown] + data.dropFirst())]
    },
    gradient: .rule { g in
      let data = g.input(0)
      let rows: Output
      if let known = data.shape.dim(0).size, let small = Int32(exactly: known) {
        rows = try g.graph.constant(small)
      } else {
        rows = try gather(data.shapeTensor(), g.graph.constant(Int32(0)))
      }
      return [.dense(try gradient(g, rows)), nil, nil]
    },
    lowering: .kernel { ctx in
      try sortedKernel(ctx, .add, .zero, empty: .zero, scale: scale, isIndexed: true)
    })
}

private let floats = "{bfloat16, half, float, double}"

let sparseSegmentSumRow: OpDef = sparseRow(
  "SparseSegmentSum", types: "realnumbertype", scale: .none,
  "Sums of chosen rows with one id, ids rising."
) { g, rows in
  try unsortedSegmentSum(gather(g.gradient(), g.input(2)), g.input(1), count: rows)
}

let sparseSegmentMeanRow: OpDef = sparseRow(
  "SparseSegmentMean", types: floats, scale: .count,
  "Means of chosen rows with one id, ids rising."
) { g, rows in
  try sparseSegmentMeanGradRow.node(
    [g.gradient(), g.input(1), g.input(2), rows], nil, #fileID, #line)
}

let sparseSegmentRootRow: OpDef = sparseRow(
  "SparseSegmentSqrtN", types: floats, scale: .rootOfCount,
  "Sums of chosen rows with one id, divided by the root of their number."
) { g, rows in
  try sparseSegmentRootGradRow.node(
    [g.gradient(), g.input(1), g.input(2), rows], nil, #fileID, #line)
}

private func sparseGradRow(_ name: String, scale: SegmentScale, _ summary: String) -> OpDef {
  OpDef(
    name, "grad: T, indices: Tidx, segment_ids: Tsegmentids, output_dim0: int32 -> output: T",
    "T: \(floats); Tidx: {int32, int64} = int32; Tsegmentids: {int32, int64} = int32",
    summary: summary,
    infer: { ctx in
      let (indices, ids) = (try ctx.shape(1, rank: 1), try ctx.shape(2, rank: 1))
      _ = try ctx.merge(indices[0], ids[0], "numbers of indices and ids")
      let rows = try ctx.oneInteger(3, "output_dim0")
      if let rows, rows < 0 { throw ctx.error("needs output_dim0 >= 0, got \(rows)") }
      guard let dy = try ctx.shape(0, rankAtLeast: 1) else { return [.unknown] }
      return [Shape(dims: [rows.map { .known($0) } ?? .unknown] + dy.dropFirst())]
    },
    gradient: .none("TensorFlow defines none"),
    lowering: .kernel { ctx in
      let dtype = ctx.dtype(0)
      guard let fold = SegmentFold(.add, dtype: dtype, identity: .zero, empty: .zero),
        let divide = dividedBy(dtype), let index = IntegerReader(ctx.dtype(1)),
        let id = IntegerReader(ctx.dtype(2))
      else { throw ctx.unsupported(dtype) }
      let (segments, rows) = (ctx.shape(0)[0], ctx.outputShape(0)[0])
      let (total, count) = (ctx.outputCount(0), ctx.count(1))
      let inner = product(ctx.shape(0).dropFirst())
      let bytes = inner &* dtype.byteSize
      let failure = SegmentFailure(op: ctx.op.name)
      // Members of each segment, then one row.
      return Kernel(
        ctx.kernelName("segmentGrad", dtype), scratchBytes: segments &* 8 &+ bytes &+ 64
      ) { call in
        let (dy, out) = (call.rawInput(0), call.rawOutput(0))
        let (places, ids) = (call.rawInput(1), call.rawInput(2))
        let members = call.scratch.assumingMemoryBound(to: Int.self)
        let row = call.scratch + (segments * 8 + 63) / 64 * 64
        for i in 0..<segments { members[i] = 0 }
        for i in 0..<count {
          let (segment, place) = (id(ids, i), index(places, i))
          guard segment >= 0 && segment < segments else {
            throw failure.outside(i, segment, segments, shape: [count])
          }
          guard place >= 0 && place < rows else {
            throw failure.outside(i, place, rows, shape: [count], what: "indices")
          }
          members[segment] += 1
        }
        fold.start(out, count: total)
        for i in 0..<count {
          let segment = id(ids, i)
          row.copyMemory(from: dy + segment * bytes, byteCount: bytes)
          if let divisor = scale.divisor(members[segment]) { divide(row, divisor, inner) }
          fold.add(UnsafeRawPointer(row), to: out + index(places, i) * bytes, inner)
        }
      }
    })
}

let sparseSegmentSumGradRow: OpDef = sparseGradRow(
  "SparseSegmentSumGrad", scale: .none, "The gradient of sums of chosen rows.")
let sparseSegmentMeanGradRow: OpDef = sparseGradRow(
  "SparseSegmentMeanGrad", scale: .count, "The gradient of means of chosen rows.")
let sparseSegmentRootGradRow: OpDef = sparseGradRow(
  "SparseSegmentSqrtNGrad", scale: .rootOfCount,
  "The gradient of sums of chosen rows divided by the root of their number.")

/// Sums of the rows of `data` at `indices` that have the same id, for ids that do not fall.
///
/// The gradient adds dy of its segment to each chosen row (TensorFlow: `SparseSegmentSum`).
/// - Throws: InvalidArgument, in a run, for indices out of range and ids that fall or are negative.
public func sparseSegmentSum(
  _ data: Output, _ indices: Output, _ ids: Output, name: String? = nil,
  file: StaticString = #fileID, line: UInt = #line
) throws -> Output { try sparseSegmentSumRow.node([data, indices, ids], name, file, line) }

/// Means of chosen rows with the same id (TensorFlow: `SparseSegmentMean`).
public func sparseSegmentMean(
  _ data: Output, _ indices: Output, _ ids: Output, name: String? = nil,
  file: StaticString = #fileID, line: UInt = #line
) throws -> Output { try sparseSegmentMeanRow.node([data, indices, ids], name, file, line) }

/// Sums of chosen rows with the same id, divided by the root of their number (TensorFlow:
/// `SparseSegmentSqrtN`).
public func sparseSegmentSqrtN(
  _ data: Output, _ indices: Output, _ ids: Output, name: String? = nil,
  file: StaticString = #fileID, line: UInt = #line
) throws -> Output { try sparseSegmentRootRow.node([data, indices, ids], name, file, line) }

let sortedSegmentRows = [
  segmentSumRow, segmentMeanRow, segmentProductRow, segmentMaxRow, segmentMinRow,
  sparseSegmentSumRow, sparseSegmentMeanRow, sparseSegmentRootRow, sparseSegmentSumGradRow,
  sparseSegmentMeanGradRow, sparseSegmentRootGradRow,
]

// Folding the rows of a tensor by ids in any order: UnsortedSegment ops.

public import WeftGraph
internal import WeftKernels
internal import WeftTensors

private func unsortedRow(
  _ name: String, _ function: BinaryFunction, _ identity: SegmentFold.Empty, types: String,
  _ summary: String, gradient: @escaping @Sendable (GradientContext) throws -> Output
) -> OpDef {
  OpDef(
    name, "data: T, segment_ids: Tindices, num_segments: Tnumsegments -> output: T", types,
    summary: summary,
    infer: { ctx in
      let count = try ctx.oneInteger(2, "num_segments")
      if let count, count < 0 { throw ctx.error("needs num_segments >= 0, got \(count)") }
      guard let data = ctx.shape(0).dims, let ids = ctx.shape(1).dims else { return [.unknown] }
      guard ids.count <= data.count,
        zip(data, ids).allSatisfy({ $0.isCompatible(with: $1) })
      else {
        throw ctx.error(
          "needs data of a shape that begins with that of segment_ids: \(ctx.shape(0)) vs \(ctx.shape(1))"
        )
      }
      return [Shape(dims: [count.map { .known($0) } ?? .unknown] + data.dropFirst(ids.count))]
    },
    gradient: .rule { g in [.dense(try gradient(g)), nil, nil] },
    lowering: .kernel { ctx in
      let dtype = ctx.dtype(0)
      guard let fold = SegmentFold(function, dtype: dtype, identity: identity, empty: identity),
        let id = IntegerReader(ctx.dtype(1))
      else { throw ctx.unsupported(dtype) }
      let (rows, segments) = (ctx.count(1), ctx.outputShape(0)[0])
      let inner = product(ctx.outputShape(0).dropFirst())
      let bytes = inner &* dtype.byteSize
      let (idShape, failure) = (ctx.shape(1), SegmentFailure(op: ctx.op.name))
      // Large outputs are shared out by segments; each task scans all ids.
      let work = rows &* inner
      let tasks = work < 4 * elementwiseGrain ? 1 : Swift.min(16, Swift.max(1, segments / 8))
      return Kernel(ctx.kernelName("segment", dtype), flops: work) { call in
        let (data, ids, out) = (call.rawInput(0), call.rawInput(1), call.rawOutput(0))
        for i in 0..<rows where id(ids, i) >= segments {
          throw failure.outside(i, id(ids, i), segments, shape: idShape)
        }
        call.pool.parallel(tasks) { task in
          let lower = task * segments / tasks
          let upper = (task + 1) * segments / tasks
          fold.start(out + lower * bytes, count: (upper - lower) * inner)
          for i in 0..<rows {
            let segment = id(ids, i)
            if segment >= lower && segment < upper {
              fold.add(data + i * bytes, to: out + segment * bytes, inner)
            }
          }
        }
      }
    })
}

/// Errors about ids.
struct SegmentFailure: Sendable {
  let op: String

  func outside(_ place: Int, _ id: Int, _ count: Int, shape: [Int], what: String = "segment_ids")
    -> WeftError
  {
    var rest = place
    var index: [Int] = []
    for size in shape.reversed() {
      index.append(rest % Swift.max(1, size))
      rest /= Swift.max(1, size)
    }
    let text = index.reversed().map(String.init).joined(separator: ", ")
    return error("\(what)[\(text)] = \(id) is not in [0, \(count))")
  }

  func error(_ text: String) -> WeftError {
    WeftError(.invalidArgument, "\(op) \(text)", category: .run)
  }
}

private let numberTypes =
  "T: {float, double, int32, uint8, int16, int8, complex64, int64, bfloat16, uint16, complex128, half, uint32, uint64}"
private let idTypes = "Tindices: {int32, int64}; Tnumsegments: {int32, int64} = int32"

let unsortedSegmentSumRow: OpDef = unsortedRow(
  "UnsortedSegmentSum", .add, .zero,
  types: numberTypes + "; Tindices: {int16, int32, int64}; Tnumsegments: {int32, int64} = int32",
  "Sums of the rows with one id."
) { g in try gatherKept(g.gradient(), g.input(1), like: g.input(0)) }

let unsortedSegmentProductRow: OpDef = unsortedRow(
  "UnsortedSegmentProd", .multiply, .one, types: "\(numberTypes); \(idTypes)",
  "Products of the rows with one id."
) { g in
  let (data, ids, count) = (g.input(0), g.input(1), g.input(2))
  return try productGradient(g) { rows, isProduct in
    try (isProduct ? unsortedSegmentProductRow : unsortedSegmentSumRow).node(
      [rows, ids, count], nil, #fileID, #line)
  } gather: {
    try gatherKept($0, ids, like: data)
  }
}

let unsortedSegmentMaxRow: OpDef = unsortedRow(
  "UnsortedSegmentMax", .maximum, .lowest, types: "T: realnumbertype; \(idTypes)",
  "The largest of the rows with one id."
) { g in try unsortedExtremeGradient(g) }

let unsortedSegmentMinRow: OpDef = unsortedRow(
  "UnsortedSegmentMin", .minimum, .highest, types: "T: realnumbertype; \(idTypes)",
  "The smallest of the rows with one id."
) { g in try unsortedExtremeGradient(g) }

private func unsortedExtremeGradient(_ g: GradientContext) throws -> Output {
  let (data, ids, count) = (g.input(0), g.input(1), g.input(2))
  return try extremeGradient(g) {
    try unsortedSegmentSum($0, ids, count: count)
  } gather: {
    try gatherKept($0, ids, like: data)
  } isKept: {
    try isKept(ids, like: data)
  }
}

// Whether each row has an id that is not negative, with the rank of `data`.
private func isKept(_ ids: Output, like data: Output) throws -> Output {
  guard let rank = data.shape.rank, let idRank = ids.shape.rank else {
    throw WeftError(.unimplemented, "the gradient of a segment op needs known ranks")
  }
  var flags = try greaterEqual(ids, zerosLike(ids))
  for _ in 0..<rank - idRank { flags = try flags.expandingDims(axis: -1) }
  return flags
}

// The row of each id; zeros for negative ids, whose rows were dropped.
private func gatherKept(_ rows: Output, _ ids: Output, like data: Output) throws -> Output {
  let gathered = try gather(rows, maximum(ids, zerosLike(ids)))
  return try select(isKept(ids, like: data), gathered, zerosLike(gathered))
}

/// The gradient of products of rows: dy times the product of the other rows, zeros included.
func productGradient(
  _ g: GradientContext, fold: (Output, Bool) throws -> Output, gather: (Output) throws -> Output
) throws -> Output {
  let data = g.input(0)
  let isZero = try equal(data, zerosLike(data))
  let zeros = try fold(isZero.cast(to: data.dtype), false)
  let dy = try select(greater(zeros, onesLike(zeros)), zerosLike(g.gradient()), g.gradient())
  let safe = try select(isZero, onesLike(data), data)
  let others = try select(isZero, gather(fold(safe, true)), gather(g.output()) / safe)
  return try gather(dy) * others
}

/// The gradient of extremes of rows: dy, shared among the rows that have the extreme.
func extremeGradient(
  _ g: GradientContext, sum: (Output) throws -> Output, gather: (Output) throws -> Output,
  isKept: () throws -> Output?
) throws -> Output {
  let data = g.input(0)
  var isChosen = try equal(data, gather(g.output()))
  if let kept = try isKept() { isChosen = try logicalAnd(isChosen, kept) }
  let count = try sum(isChosen.cast(to: data.dtype))
  let shared = try gather(g.gradient() / count)
  return try select(isChosen, shared, zerosLike(shared))
}

/// Sums of the rows of `data` that have the same id: `[count] + data.shape[ids.rank...]`.
///
/// Rows with negative ids are dropped. The gradient of a row is dy of its segment (TensorFlow:
/// `UnsortedSegmentSum`).
/// - Throws: InvalidArgument when an id is `count` or more.
public func unsortedSegmentSum(
  _ data: Output, _ ids: Output, count: Output, name: String? = nil,
  file: StaticString = #fileID, line: UInt = #line
) throws -> Output { try unsortedSegmentSumRow.node([data, ids, count], name, file, line) }

/// Products of the rows of `data` that have the same id; one where there is none (TensorFlow:
/// `UnsortedSegmentProd`).
public func unsortedSegmentProd(
  _ data: Output, _ ids: Output, count: Output, name: String? = nil,
  file: StaticString = #fileID, line: UInt = #line
) throws -> Output { try unsortedSegmentProductRow.node([data, ids, count], name, file, line) }

/// The largest of the rows of `data` that have the same id; the lowest number where there is none.
///
/// Equal rows share the gradient (TensorFlow: `UnsortedSegmentMax`).
public func unsortedSegmentMax(
  _ data: Output, _ ids: Output, count: Output, name: String? = nil,
  file: StaticString = #fileID, line: UInt = #line
) throws -> Output { try unsortedSegmentMaxRow.node([data, ids, count], name, file, line) }

/// The smallest of the rows of `data` that have the same id; the highest number where there is none.
///
/// Equal rows share the gradient (TensorFlow: `UnsortedSegmentMin`).
public func unsortedSegmentMin(
  _ data: Output, _ ids: Output, count: Output, name: String? = nil,
  file: StaticString = #fileID, line: UInt = #line
) throws -> Output { try unsortedSegmentMinRow.node([data, ids, count], name, file, line) }

let unsortedSegmentRows = [
  unsortedSegmentSumRow, unsortedSegmentProductRow, unsortedSegmentMaxRow, unsortedSegmentMinRow,
]

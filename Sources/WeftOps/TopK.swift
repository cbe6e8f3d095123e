// The largest elements of rows, and whether a target is among them.

public import WeftGraph
internal import WeftKernels
internal import WeftTensors

/// Rows of the top-k ops.
enum TopKRows {
  static let all: [OpDef] = [topK, inTopK, inTopKV2]

  static let topK = OpDef(
    "TopKV2", "input: T, k: Tk -> values: T, indices: index_type",
    "sorted: bool = true; T: realnumbertype; Tk: {int16, int32, int64} = int32; "
      + "index_type: {int16, int32, int64} = int32",
    summary: "The k largest elements along the last axis and where they are; ties by lower index.",
    infer: { ctx in
      try ctx.checkScalar(1)
      guard var dims = try ctx.shape(0, rankAtLeast: 1) else { return [.unknown, .unknown] }
      let k = ctx.value(1)?.first ?? .unknown
      if let k = ctx.integers(1)?.first {
        guard k >= 0 else { throw ctx.error("needs k >= 0, got \(k)") }
        if let n = dims[dims.count - 1].size, n < k {
          throw ctx.error("needs at least k = \(k) columns, got shape \(ctx.shape(0))")
        }
      }
      dims[dims.count - 1] = k
      return [Shape(dims: dims), Shape(dims: dims)]
    },
    gradient: .rule { g in
      // Positions in the flat input: row * columns + index.
      let (x, dy) = (g.input(0), try g.gradient())
      let graph = g.graph
      let indices = try g.output(1).cast(to: .int32)
      let shape = try x.shapeTensor()
      let columns = try shape.stridedSlice(begin: [-1], end: [Int(Int32.max)], strides: [1])
      let ks = try g.output(1).shapeTensor().stridedSlice(
        begin: [-1], end: [Int(Int32.max)], strides: [1])
      let minusOne = try graph.constant([Int32(-1)])
      let byRow = try indices.reshaped(to: concat([minusOne, ks], axis: 0))
      let total = try prod(shape, axes: [0])
      let starts = try range(
        graph.constant(Int32(0)), total, columns.reshaped(to: [Int]()))
      let flat = try (byRow + starts.expandingDims(axis: -1)).reshaped(to: [-1])
      let dx = try unsortedSegmentSum(dy.reshaped(to: [-1]), flat, count: total)
      return [.dense(try dx.reshaped(to: shape)), nil]
    },
    lowering: .kernel { ctx in
      guard let out = ctx.outputs[0].shape.known else {
        throw ctx.error("needs the value of k before it can run")
      }
      let (cols, k) = (ctx.shape(0).last ?? 0, out.last ?? 0)
      let rows = out.dropLast().reduce(1, *)
      let (dtype, indexType) = (ctx.dtype(0), ctx.outputs[1].dtype)
      let unsupported = ctx.unsupported(dtype)
      return Kernel("topK", scratchBytes: 8 * cols, flops: rows * cols) { call in
        guard
          TopKKernels.topK(
            dtype, call.rawInput(0), values: call.rawOutput(0), indices: call.rawOutput(1),
            indexType, rows: rows, cols: cols, k: k,
            order: call.scratch.assumingMemoryBound(to: Int.self))
        else { throw unsupported }
      }
    })

  static let inTopK = OpDef(
    "InTopK", "predictions: float, targets: T -> precision: bool",
    "k: int; T: {int32, int64} = int32",
    summary: "Whether fewer than k predictions of a row exceed the target's.",
    infer: rowsOfTargets, gradient: .zero,
    lowering: .kernel { ctx in
      let k = try ctx.attrs.int("k")
      let (shape, type) = (ctx.shape(0), ctx.dtype(1))
      return Kernel("inTopK", flops: ctx.count(0)) { call in
        TopKKernels.inTopK(
          call.input(0, as: Float.self), IndexList(call.rawInput(1), type, count: shape[0]),
          call.output(0, as: Bool.self), cols: shape[1], k: k)
      }
    })

  static let inTopKV2 = OpDef(
    "InTopKV2", "predictions: float, targets: T, k: T -> precision: bool",
    "T: {int32, int64} = int32",
    summary: "Whether fewer than k predictions of a row exceed the target's.",
    infer: rowsOfTargets, gradient: .zero,
    lowering: .kernel { ctx in
      let (shape, type) = (ctx.shape(0), ctx.dtype(1))
      return Kernel("inTopK", flops: ctx.count(0)) { call in
        TopKKernels.inTopK(
          call.input(0, as: Float.self), IndexList(call.rawInput(1), type, count: shape[0]),
          call.output(0, as: Bool.self), cols: shape[1],
          k: IndexList(call.rawInput(2), type, count: 1)[0])
      }
    })

  private static let rowsOfTargets: @Sendable (InferContext) throws -> [Shape] = { ctx in
    let predictions = try ctx.shape(0, rank: 2)
    let targets = try ctx.shape(1, rank: 1)
    if ctx.inputs.count > 2 { try ctx.checkScalar(2) }
    return [Shape(dims: [try ctx.merge(predictions[0], targets[0], "numbers of rows")])]
  }
}

/// The `k` largest elements along the last axis, in falling order, and their places; of equal
/// elements the one with the lower index comes first.
///
/// Gradient: dy goes to the places. More than the axis holds is an error. TensorFlow: `TopKV2`.
public func topK(
  _ x: Output, k: Output, sorted: Bool = true, name: String? = nil, file: StaticString = #fileID,
  line: UInt = #line
) throws -> (values: Output, indices: Output) {
  let node = try x.graph.add(
    TopKRows.topK.name, name: name, inputs: [x, k], attrs: ["sorted": .bool(sorted)], file: file,
    line: line)
  return (
    Output(graph: x.graph, edge: Edge(node: node.id, port: 0)),
    Output(graph: x.graph, edge: Edge(node: node.id, port: 1))
  )
}

/// The `k` largest elements along the last axis. TensorFlow: `TopKV2`.
public func topK(
  _ x: Output, k: Int, sorted: Bool = true, name: String? = nil, file: StaticString = #fileID,
  line: UInt = #line
) throws -> (values: Output, indices: Output) {
  try topK(
    x, k: x.graph.constant(Int32(truncatingIfNeeded: k)), sorted: sorted, name: name, file: file,
    line: line)
}

/// For each row of `predictions`, `[rows, classes]`: whether fewer than `k` (a scalar of the
/// targets' type) exceed the target class's; false when one that counts is not finite.
/// TensorFlow: `InTopKV2`.
public func inTopK(
  predictions: Output, targets: Output, k: Output, name: String? = nil,
  file: StaticString = #fileID, line: UInt = #line
) throws -> Output {
  try predictions.graph.output(
    TopKRows.inTopKV2.name, name: name, inputs: [predictions, targets, k], file: file, line: line)
}

// Matrix products: one, and batches.

public import WeftGraph
internal import WeftKernels
internal import WeftTensors

let matMulRow: OpDef = OpDef(
  "MatMul", "a: T, b: T -> product: T",
  "transpose_a: bool = false; transpose_b: bool = false; T: {bfloat16, half, float, double, int32, int64, uint8, uint16, uint32, uint64, complex64, complex128}; grad_a: bool = false; grad_b: bool = false",
  summary: "The matrix product of a and b, each transposed first if asked.",
  infer: { ctx in
    let (a, b) = (try ctx.shape(0, rank: 2), try ctx.shape(1, rank: 2))
    let (ta, tb) = (try ctx.attrs.bool("transpose_a"), try ctx.attrs.bool("transpose_b"))
    _ = try ctx.merge(a[ta ? 0 : 1], b[tb ? 1 : 0], "inner dimensions")
    return [Shape(dims: [a[ta ? 1 : 0], b[tb ? 0 : 1]])]
  },
  gradient: .rule { g in
    let (a, b, dc) = (g.input(0), g.input(1), try g.gradient())
    let (ta, tb) = (try g.attrs.bool("transpose_a"), try g.attrs.bool("transpose_b"))
    guard !a.dtype.isComplex else {
      throw WeftError(.unimplemented, "complex matrix products have no gradient here")
    }
    switch (ta, tb) {
    case (false, false):
      return [
        .dense(try matmul(dc, b, transposeB: true)), .dense(try matmul(a, dc, transposeA: true)),
      ]
    case (false, true):
      return [.dense(try matmul(dc, b)), .dense(try matmul(dc, a, transposeA: true))]
    case (true, false):
      return [.dense(try matmul(b, dc, transposeB: true)), .dense(try matmul(a, dc))]
    case (true, true):
      return [
        .dense(try matmul(b, dc, transposeA: true, transposeB: true)),
        .dense(try matmul(dc, a, transposeA: true, transposeB: true)),
      ]
    }
  },
  lowering: .kernel { ctx in
    let (a, b) = (ctx.shape(0), ctx.shape(1))
    let (ta, tb) = (try ctx.attrs.bool("transpose_a"), try ctx.attrs.bool("transpose_b"))
    let sizes = MatrixProduct.Sizes(
      m: a[ta ? 1 : 0], n: b[tb ? 0 : 1], k: a[ta ? 0 : 1], transA: ta, transB: tb)
    return try ctx.product("matmul", sizes)
  })

extension LowerContext {
  /// The kernel of a product of inputs 0 and 1.
  func product(_ label: String, _ sizes: MatrixProduct.Sizes) throws -> Kernel {
    guard
      let product = MatrixProduct(
        sizes, a: (dtype(0), count(0)), b: (dtype(1), count(1)), output: outputs[0].dtype)
    else { throw unsupported(dtype(0)) }
    var kernel = Kernel(
      kernelName(label, outputs[0].dtype), scratchBytes: product.scratchBytes,
      flops: product.flops
    ) { call in
      product.run(
        call.rawInput(0), call.rawInput(1), call.rawOutput(0), call.scratch, call.pool)
    }
    kernel.productFlops = product.flops
    return kernel
  }
}

/// The matrix product a b of `[M, K]` and `[K, N]`; a transposed operand is given as `[K, M]` or
/// `[N, K]`.
///
/// Gradients: dc b^T and a^T dc. K = 0 gives zeros (TensorFlow: `MatMul`).
/// - Throws: InvalidArgument unless both are matrices with equal inner dimensions.
public func matmul(
  _ a: Output, _ b: Output, transposeA: Bool = false, transposeB: Bool = false,
  name: String? = nil, file: StaticString = #fileID, line: UInt = #line
) throws -> Output {
  try matMulRow.node(
    [a, b], attrs: ["transpose_a": .bool(transposeA), "transpose_b": .bool(transposeB)], name,
    file, line)
}

// MARK: - Batches

private func batchRow(_ name: String, _ arguments: String, types: String, broadcasts: Bool) -> OpDef
{
  OpDef(
    name, arguments,
    types
      + "; adj_x: bool = false; adj_y: bool = false; grad_x: bool = false; grad_y: bool = false",
    summary: "The matrix products of two batches.",
    infer: { ctx in
      guard let x = try ctx.shape(0, rankAtLeast: 2), let y = try ctx.shape(1, rankAtLeast: 2)
      else { return [.unknown] }
      let (ax, ay) = (try ctx.attrs.bool("adj_x"), try ctx.attrs.bool("adj_y"))
      let (fromX, fromY) = (x.suffix(2), y.suffix(2))
      let rows = ax ? fromX[fromX.endIndex - 1] : fromX[fromX.startIndex]
      let cols = ay ? fromY[fromY.startIndex] : fromY[fromY.endIndex - 1]
      _ = try ctx.merge(
        ax ? fromX[fromX.startIndex] : fromX[fromX.endIndex - 1],
        ay ? fromY[fromY.endIndex - 1] : fromY[fromY.startIndex], "inner dimensions")
      let (batchX, batchY) = (Shape(dims: x.dropLast(2)), Shape(dims: y.dropLast(2)))
      let batch = broadcasts ? Shape.broadcast(batchX, batchY) : batchX.merged(with: batchY)
      guard let batch else { throw ctx.error("cannot pair batches of \(batchX) and \(batchY)") }
      return [batch.appending(Shape(dims: [rows, cols]))]
    },
    gradient: .rule { g in try batchGradient(g, broadcasts: broadcasts) },
    lowering: .kernel { ctx in
      let (x, y) = (ctx.shape(0), ctx.shape(1))
      let (ax, ay) = (try ctx.attrs.bool("adj_x"), try ctx.attrs.bool("adj_y"))
      if ctx.dtype(0).isComplex && (ax || ay) { throw ctx.unsupported(ctx.dtype(0)) }
      let (rows, cols) = (x[x.count - 2], x[x.count - 1])
      let (rowsY, colsY) = (y[y.count - 2], y[y.count - 1])
      let plan = BroadcastPlan(
        inputs: [Array(x.dropLast(2)), Array(y.dropLast(2))],
        output: Array(ctx.outputShape(0).dropLast(2)))
      // Without results there is nothing to go through, however many pairs there are.
      let isEmpty = ctx.outputCount(0) == 0
      let (left, right): ([Int], [Int]) = isEmpty ? ([], []) : (plan.indices(0), plan.indices(1))
      let offsets = zip(left, right).map {
        (a: $0 * rows * cols, b: $1 * rowsY * colsY)
      }
      return try ctx.product(
        "batchMatmul",
        MatrixProduct.Sizes(
          m: ax ? cols : rows, n: ay ? rowsY : colsY, k: ax ? rows : cols, transA: ax,
          transB: ay, offsets: offsets))
    })
}

private func batchGradient(_ g: GradientContext, broadcasts: Bool) throws -> [Gradient?] {
  let (x, y, dz) = (g.input(0), g.input(1), try g.gradient())
  guard !x.dtype.isComplex else {
    throw WeftError(.unimplemented, "complex matrix products have no gradient here")
  }
  let dx: Output
  let dy: Output
  switch (try g.attrs.bool("adj_x"), try g.attrs.bool("adj_y")) {
  case (false, false):
    dx = try batchMatmul(dz, y, adjointB: true)
    dy = try batchMatmul(x, dz, adjointA: true)
  case (false, true):
    dx = try batchMatmul(dz, y)
    dy = try batchMatmul(dz, x, adjointA: true)
  case (true, false):
    dx = try batchMatmul(y, dz, adjointB: true)
    dy = try batchMatmul(x, dz)
  case (true, true):
    dx = try batchMatmul(y, dz, adjointA: true, adjointB: true)
    dy = try batchMatmul(dz, x, adjointA: true, adjointB: true)
  }
  if !broadcasts { return [.dense(dx), .dense(dy)] }
  return [
    .dense(try sumBatches(dx, to: x, against: y)), .dense(try sumBatches(dy, to: y, against: x)),
  ]
}

// `dx` summed over the batch dimensions along which x was repeated.
private func sumBatches(_ dx: Output, to x: Output, against y: Output) throws -> Output {
  if let own = x.shape.dims, let other = y.shape.dims,
    let axes = repeatedAxes(Array(own.dropLast(2)), Array(other.dropLast(2)))
  {
    return try sumRepeated(dx, axes, known: x.shape.known)
  }
  func batch(_ shape: Output) throws -> Output {
    try shape.sliced(
      begin: x.graph.constant([Int32(0)]),
      size: (size(shape) - x.graph.constant(Int32(2))).reshaped(to: [1]))
  }
  let shape = try x.shapeTensor()
  let axes = try broadcastGradientAxes(batch(shape), batch(y.shapeTensor())).0
  return try sum(dx, axes: axes).reshaped(to: shape)
}

let batchMatMulRow: OpDef = batchRow(
  "BatchMatMul", "x: T, y: T -> output: T",
  types: "T: {bfloat16, half, float, double, int32, int64, complex64, complex128}",
  broadcasts: false)

let batchMatMulV2Row: OpDef = batchRow(
  "BatchMatMulV2", "x: T, y: T -> output: T",
  types:
    "T: {bfloat16, half, float, double, int16, int32, int64, uint8, uint16, uint32, uint64, complex64, complex128}",
  broadcasts: true)

private let mixedTypes =
  "{bfloat16, half, float, double, uint8, int8, int16, int32, int64, complex64, complex128}"
let batchMatMulV3Row: OpDef = batchRow(
  "BatchMatMulV3", "x: Ta, y: Tb -> output: Tout",
  types: "Ta: \(mixedTypes); Tb: \(mixedTypes); "
    + "Tout: {bfloat16, half, float, double, int16, int32, int64, complex64, complex128}",
  broadcasts: true)

/// The matrix products of `[..., M, K]` and `[..., K, N]`, whose leading dimensions broadcast; an
/// adjoint operand is stored as `[..., K, M]` or `[..., N, K]`.
///
/// Gradients: dz y^T and x^T dz, summed over repeated batches (TensorFlow: `BatchMatMulV2`).
public func batchMatmul(
  _ x: Output, _ y: Output, adjointA: Bool = false, adjointB: Bool = false, name: String? = nil,
  file: StaticString = #fileID, line: UInt = #line
) throws -> Output {
  try batchMatMulV2Row.node(
    [x, y], attrs: ["adj_x": .bool(adjointA), "adj_y": .bool(adjointB)], name, file, line)
}

let matMulRows = [matMulRow, batchMatMulRow, batchMatMulV2Row, batchMatMulV3Row]

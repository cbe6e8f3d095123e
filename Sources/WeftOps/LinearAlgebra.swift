// Factorizations, determinants, inverses and linear systems of batches of square matrices.

public import WeftGraph
internal import WeftKernels
internal import WeftTensors

private let matrixTypes = "T: {double, float, half, complex64, complex128}"

extension InferContext {
  // The shape of input `index`, whose last two sizes must be equal.
  fileprivate func squares(_ index: Int = 0) throws -> [Dim]? {
    guard var dims = try shape(index, rankAtLeast: 2) else { return nil }
    let last = dims.count - 1
    let size = try merge(dims[last - 1], dims[last], "rows and columns")
    dims[last - 1] = size
    dims[last] = size
    return dims
  }
}

// Conversion of a type's elements to double and back; all is computed in double.
private struct Doubles: Sendable {
  let load: UnaryRow
  let store: UnaryRow
  let size: Int

  init(_ ctx: LowerContext) throws {
    let dtype = ctx.dtype(0)
    guard dtype.isFloating, let load = castRow(from: dtype, to: .float64),
      let store = castRow(from: .float64, to: dtype)
    else { throw ctx.unsupported(dtype) }
    self.load = load
    self.store = store
    size = dtype.byteSize
  }
}

// A kernel over square matrices, one after the other. `body` gets the number of the matrix, its
// elements (free to overwrite), pivots, and room for another matrix; it fails with the text returned.
private func squareKernel(
  _ label: String, _ ctx: LowerContext,
  _ body:
    @escaping @Sendable (
      borrowing KernelCall, Int, Int, UnsafeMutablePointer<Double>, UnsafeMutablePointer<Int>,
      UnsafeMutablePointer<Double>, Doubles
    ) -> String?,
  _ doubles: Doubles
) -> Kernel {
  let shape = ctx.shape(0)
  let n = shape[shape.count - 1]
  // Without results there is nothing to go through, however many matrices there are.
  let count = ctx.outputCount(0) == 0 ? 0 : product(shape.dropLast(2))
  let elements = n &* n
  let failure = SegmentFailure(op: ctx.op.name)
  let bytes = (elements &* 2 &+ n) &* 8
  return Kernel(
    ctx.kernelName(label, ctx.dtype(0)), scratchBytes: bytes, flops: elements &* n &* count
  ) { call in
    let matrix = call.scratch.assumingMemoryBound(to: Double.self)
    let other = matrix + elements
    let pivots = UnsafeMutableRawPointer(other + elements).assumingMemoryBound(to: Int.self)
    for index in 0..<count {
      doubles.load(call.rawInput(0) + index * elements * doubles.size, matrix, elements)
      if let text = body(call, index, n, matrix, pivots, other, doubles) {
        throw failure.error(text)
      }
    }
  }
}

let choleskyRow: OpDef = OpDef(
  "Cholesky", "input: T -> output: T", matrixTypes,
  summary: "The lower triangular L with L L^T = A, for positive definite A.",
  infer: { ctx in [Shape(dims: try ctx.squares())] },
  gradient: .rule { g in
    let (l, dl) = (g.output(), try g.gradient())
    let inverse = try matrixInverse(l)
    // The lower half of L^T dL, its diagonal halved.
    let whole = try batchMatmul(l, dl, adjointA: true)
    let middle = try whole * lowerMask(whole, diagonal: 0.5)
    let left = try batchMatmul(batchMatmul(inverse, middle, adjointA: true), inverse)
    let right = try batchMatmul(
      batchMatmul(inverse, middle, adjointA: true, adjointB: true), inverse)
    return [.dense(try 0.5 * (left + right))]
  },
  lowering: .kernel { ctx in
    squareKernel(
      "cholesky", ctx,
      { call, index, n, matrix, _, _, doubles in
        guard MatrixFactor.cholesky(matrix, n) else {
          return "found matrix \(index) not to be positive definite"
        }
        let offset = index * n * n * doubles.size
        doubles.store(UnsafeRawPointer(matrix), call.rawOutput(0) + offset, n * n)
        return nil
      }, try Doubles(ctx))
  })

// 1 below the diagonal of matrices like `x`, `diagonal` on it, 0 above.
private func lowerMask(_ x: Output, diagonal: Double) throws -> Output {
  let graph = x.graph
  let size: Output
  if let known = x.shape.dim(-1).size, let small = Int32(exactly: known) {
    size = try graph.constant(small)
  } else {
    size = try x.shapeTensor().stridedSlice(begin: [-1], end: [Int(Int32.max)], strides: [1])
      .reshaped(to: [])
  }
  let places = try range(graph.constant(Int32(0)), size, graph.constant(Int32(1)))
  let (rows, columns) = (try places.expandingDims(axis: 1), try places.expandingDims(axis: 0))
  let below = try greater(rows, columns).cast(to: x.dtype)
  let onDiagonal = try equal(rows, columns).cast(to: x.dtype)
  return try below + diagonal * onDiagonal
}

/// The lower triangular L `[..., N, N]` with L L^T = A, for symmetric positive definite A, of which
/// the lower half is read (TensorFlow: `Cholesky`).
/// - Throws: InvalidArgument, in a run, when a matrix is not positive definite.
public func cholesky(
  _ a: Output, name: String? = nil, file: StaticString = #fileID, line: UInt = #line
) throws -> Output { try choleskyRow.node([a], name, file, line) }

// MARK: - Determinants

private func determinantShapes(_ ctx: InferContext, outputs: Int) throws -> [Shape] {
  let shape = Shape(dims: try ctx.squares().map { Array($0.dropLast(2)) })
  return Array(repeating: shape, count: outputs)
}

// Factors of each matrix's inverse transpose, from one factor for each matrix.
private func scaledInverse(_ a: Output, _ factors: Output) throws -> Output {
  let wide = try factors.expandingDims(axis: -1).expandingDims(axis: -1)
  return try wide * matrixInverse(a, adjoint: true)
}

let determinantRow: OpDef = OpDef(
  "MatrixDeterminant", "input: T -> output: T", matrixTypes,
  summary: "The determinants of square matrices.",
  infer: { ctx in try determinantShapes(ctx, outputs: 1) },
  gradient: .rule { g in
    [.dense(try scaledInverse(g.input(0), g.gradient() * g.output()))]
  },
  lowering: .kernel { ctx in
    squareKernel(
      "determinant", ctx,
      { call, index, n, matrix, pivots, _, doubles in
        var value = MatrixFactor.lu(matrix, pivots, n)
        for i in 0..<n { value *= matrix[i * n + i] }
        doubles.store(&value, call.rawOutput(0) + index * doubles.size, 1)
        return nil
      }, try Doubles(ctx))
  })

let logDeterminantRow: OpDef = OpDef(
  "LogMatrixDeterminant", "input: T -> sign: T, log_abs_determinant: T",
  "T: {half, float, double, complex64, complex128}",
  summary: "The signs and logarithms of determinants.",
  infer: { ctx in try determinantShapes(ctx, outputs: 2) },
  gradient: .rule { g in [.dense(try scaledInverse(g.input(0), g.gradient(1)))] },
  lowering: .kernel { ctx in
    squareKernel(
      "logDeterminant", ctx,
      { call, index, n, matrix, pivots, _, doubles in
        var sign = MatrixFactor.lu(matrix, pivots, n)
        var total = 0.0
        for i in 0..<n {
          let pivot = matrix[i * n + i]
          sign *= pivot > 0 ? 1 : pivot < 0 ? -1 : pivot
          total += SpecialFunction.log(Swift.abs(pivot))
        }
        doubles.store(&sign, call.rawOutput(0) + index * doubles.size, 1)
        doubles.store(&total, call.rawOutput(1) + index * doubles.size, 1)
        return nil
      }, try Doubles(ctx))
  })

/// The determinants of matrices `[..., N, N]`. The gradient is dy y A^-T (TensorFlow:
/// `MatrixDeterminant`).
public func determinant(
  _ a: Output, name: String? = nil, file: StaticString = #fileID, line: UInt = #line
) throws -> Output { try determinantRow.node([a], name, file, line) }

/// The signs and the logarithms of the absolute determinants of matrices `[..., N, N]`; 0 and
/// -infinity for singular ones. The gradient is dlog A^-T (TensorFlow: `LogMatrixDeterminant`).
public func logDeterminant(
  _ a: Output, name: String? = nil, file: StaticString = #fileID, line: UInt = #line
) throws -> (sign: Output, logarithm: Output) {
  let sign = try logDeterminantRow.node([a], name, file, line)
  return (sign, Output(graph: a.graph, edge: Edge(node: sign.edge.node, port: 1)))
}

// MARK: - Inverses

let matrixInverseRow: OpDef = OpDef(
  "MatrixInverse", "input: T -> output: T", "adjoint: bool = false; " + matrixTypes,
  summary: "The inverses of square matrices, transposed if asked.",
  infer: { ctx in [Shape(dims: try ctx.squares())] },
  gradient: .rule { g in
    let (y, dy, adjoint) = (g.output(), try g.gradient(), try g.attrs.bool("adjoint"))
    let inner = try batchMatmul(dy, y, adjointA: adjoint, adjointB: !adjoint)
    return [.dense(try -batchMatmul(y, inner, adjointA: !adjoint))]
  },
  lowering: .kernel { ctx in
    let adjoint = try ctx.attrs.bool("adjoint")
    return squareKernel(
      "inverse", ctx,
      { call, index, n, matrix, pivots, other, doubles in
        _ = MatrixFactor.lu(matrix, pivots, n)
        for i in 0..<n where matrix[i * n + i] == 0 {
          return "cannot invert matrix \(index): it is singular"
        }
        // Columns of the inverse from columns of the permuted unit matrix.
        for i in 0..<n {
          for c in 0..<n { other[i * n + c] = pivots[i] == c ? 1 : 0 }
        }
        MatrixFactor.solveTriangle(
          matrix, n, isLower: true, isUnit: true, isTransposed: false, other, columns: n)
        MatrixFactor.solveTriangle(
          matrix, n, isLower: false, isUnit: false, isTransposed: false, other, columns: n)
        if adjoint {
          for i in 0..<n {
            for c in 0..<i {
              let value = other[i * n + c]
              other[i * n + c] = other[c * n + i]
              other[c * n + i] = value
            }
          }
        }
        let offset = index * n * n * doubles.size
        doubles.store(UnsafeRawPointer(other), call.rawOutput(0) + offset, n * n)
        return nil
      }, try Doubles(ctx))
  })

/// The inverses of matrices `[..., N, N]`, transposed when `adjoint`. The gradient is -y^T dy y^T
/// (TensorFlow: `MatrixInverse`).
/// - Throws: InvalidArgument, in a run, when a matrix is singular.
public func matrixInverse(
  _ a: Output, adjoint: Bool = false, name: String? = nil, file: StaticString = #fileID,
  line: UInt = #line
) throws -> Output {
  try matrixInverseRow.node([a], attrs: ["adjoint": .bool(adjoint)], name, file, line)
}

// MARK: - Linear systems

private func solveShape(_ ctx: InferContext) throws -> [Shape] {
  guard let a = try ctx.squares(), let b = try ctx.shape(1, rankAtLeast: 2) else {
    return [.unknown]
  }
  let rows = try ctx.merge(a[a.count - 1], b[b.count - 2], "rows of matrix and right side")
  let (batchA, batchB) = (Shape(dims: a.dropLast(2)), Shape(dims: b.dropLast(2)))
  guard let batch = Shape.broadcast(batchA, batchB) else {
    throw ctx.error("cannot pair batches of \(batchA) and \(batchB)")
  }
  return [batch.appending(Shape(dims: [rows, b[b.count - 1]]))]
}

// A kernel that solves one system after the other; `solve` leaves x in its last argument.
private func solveKernel(
  _ label: String, _ ctx: LowerContext, transposesMatrix: Bool,
  _ solve:
    @escaping @Sendable (
      _ matrix: UnsafeMutablePointer<Double>, _ pivots: UnsafeMutablePointer<Int>, _ n: Int,
      _ right: UnsafeMutablePointer<Double>, _ columns: Int, _ x: UnsafeMutablePointer<Double>
    ) -> Bool
) throws -> Kernel {
  let doubles = try Doubles(ctx)
  let (a, b) = (ctx.shape(0), ctx.shape(1))
  let (n, columns) = (a[a.count - 1], b[b.count - 1])
  let plan = BroadcastPlan(
    inputs: [Array(a.dropLast(2)), Array(b.dropLast(2))],
    output: Array(ctx.outputShape(0).dropLast(2)))
  let isEmpty = ctx.outputCount(0) == 0
  let (placesA, placesB): ([Int], [Int]) = isEmpty ? ([], []) : (plan.indices(0), plan.indices(1))
  let (square, right) = (n &* n, n &* columns)
  let failure = SegmentFailure(op: ctx.op.name)
  return Kernel(
    ctx.kernelName(label, ctx.dtype(0)), scratchBytes: (square &+ 2 &* right &+ n) &* 8,
    flops: n &* square &* placesA.count
  ) { call in
    let matrix = call.scratch.assumingMemoryBound(to: Double.self)
    let (side, x) = (matrix + square, matrix + square + right)
    let pivots = UnsafeMutableRawPointer(x + right).assumingMemoryBound(to: Int.self)
    for index in placesA.indices {
      doubles.load(call.rawInput(0) + placesA[index] * square * doubles.size, matrix, square)
      doubles.load(call.rawInput(1) + placesB[index] * right * doubles.size, side, right)
      if transposesMatrix {
        for i in 0..<n {
          for c in 0..<i {
            let value = matrix[i * n + c]
            matrix[i * n + c] = matrix[c * n + i]
            matrix[c * n + i] = value
          }
        }
      }
      guard solve(matrix, pivots, n, side, columns, x) else {
        throw failure.error("cannot solve system \(index): its matrix is singular")
      }
      doubles.store(
        UnsafeRawPointer(x), call.rawOutput(0) + index * right * doubles.size, right)
    }
  }
}

let matrixSolveRow: OpDef = OpDef(
  "MatrixSolve", "matrix: T, rhs: T -> output: T", "adjoint: bool = false; " + matrixTypes,
  summary: "The solutions of systems of linear equations.",
  infer: { ctx in try solveShape(ctx) },
  gradient: .rule { g in
    let (a, x, adjoint) = (g.input(0), g.output(), try g.attrs.bool("adjoint"))
    let db = try matrixSolve(a, g.gradient(), adjoint: !adjoint)
    let da =
      try adjoint
      ? -batchMatmul(x, db, adjointB: true) : -batchMatmul(db, x, adjointB: true)
    return [.dense(da), .dense(db)]
  },
  lowering: .kernel { ctx in
    try solveKernel("solve", ctx, transposesMatrix: ctx.attrs.bool("adjoint")) {
      matrix, pivots, n, right, columns, x in
      _ = MatrixFactor.lu(matrix, pivots, n)
      for i in 0..<n where matrix[i * n + i] == 0 { return false }
      MatrixFactor.solve(lu: matrix, pivots, n, right, x, columns: columns)
      return true
    }
  })

/// X with A X = B (A^T X = B when `adjoint`) for `[..., N, N]` and `[..., N, K]`.
///
/// Gradients: dB = A^-T dX and dA = -dB X^T (TensorFlow: `MatrixSolve`).
/// - Throws: InvalidArgument, in a run, when a matrix is singular.
public func matrixSolve(
  _ a: Output, _ b: Output, adjoint: Bool = false, name: String? = nil,
  file: StaticString = #fileID, line: UInt = #line
) throws -> Output {
  try matrixSolveRow.node([a, b], attrs: ["adjoint": .bool(adjoint)], name, file, line)
}

let triangularSolveRow: OpDef = OpDef(
  "MatrixTriangularSolve", "matrix: T, rhs: T -> output: T",
  "lower: bool = true; adjoint: bool = false; T: {bfloat16, double, float, half, complex64, complex128}",
  summary: "The solutions of triangular systems of linear equations.",
  infer: { ctx in try solveShape(ctx) },
  gradient: .rule { g in
    let (a, x) = (g.input(0), g.output())
    let (lower, adjoint) = (try g.attrs.bool("lower"), try g.attrs.bool("adjoint"))
    let db = try triangularSolve(a, g.gradient(), lower: lower, adjoint: !adjoint)
    let whole =
      try adjoint
      ? -batchMatmul(x, db, adjointB: true) : -batchMatmul(db, x, adjointB: true)
    // Only the triangle that is read; the upper one is all that is not strictly below.
    let strict = try lowerMask(whole, diagonal: lower ? 1 : 0)
    let da = try whole * (lower ? strict : 1.0 - strict)
    let batchA = Array((a.shape.dims ?? []).dropLast(2))
    let batchB = Array((g.input(1).shape.dims ?? []).dropLast(2))
    guard let axesA = repeatedAxes(batchA, batchB), let axesB = repeatedAxes(batchB, batchA) else {
      throw WeftError(
        .unimplemented, "the gradient of a triangular solve needs known batch sizes")
    }
    return [
      .dense(try sumRepeated(da, axesA, known: a.shape.known)),
      .dense(try sumRepeated(db, axesB, known: g.input(1).shape.known)),
    ]
  },
  lowering: .kernel { ctx in
    let (lower, adjoint) = (try ctx.attrs.bool("lower"), try ctx.attrs.bool("adjoint"))
    return try solveKernel("triangularSolve", ctx, transposesMatrix: false) {
      matrix, _, n, right, columns, x in
      for i in 0..<n where matrix[i * n + i] == 0 { return false }
      for i in 0..<n * columns { x[i] = right[i] }
      MatrixFactor.solveTriangle(
        matrix, n, isLower: lower, isUnit: false, isTransposed: adjoint, x, columns: columns)
      return true
    }
  })

/// X with A X = B (A^T X = B when `adjoint`), reading only the lower (or upper) triangle of A.
///
/// Gradients: dB = A^-T dX and dA = -dB X^T within the triangle (TensorFlow:
/// `MatrixTriangularSolve`).
/// - Throws: InvalidArgument, in a run, when the diagonal has a zero.
public func triangularSolve(
  _ a: Output, _ b: Output, lower: Bool = true, adjoint: Bool = false, name: String? = nil,
  file: StaticString = #fileID, line: UInt = #line
) throws -> Output {
  try triangularSolveRow.node(
    [a, b], attrs: ["lower": .bool(lower), "adjoint": .bool(adjoint)], name, file, line)
}

let linearAlgebraRows = [
  choleskyRow, determinantRow, logDeterminantRow, matrixInverseRow, matrixSolveRow,
  triangularSolveRow,
]

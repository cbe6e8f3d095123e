// Bands of matrices and diagonals of whole tensors: MatrixBandPart, Diag, DiagPart.

public import WeftGraph
internal import WeftKernels
internal import WeftTensors

enum MatrixBandRows {
  static let bandPart = OpDef(
    "MatrixBandPart", "input: T, num_lower: Tindex, num_upper: Tindex -> band: T",
    "T: type; Tindex: {int32, int64} = int64",
    summary: "Matrices with everything outside a band around the diagonal set to zero.",
    infer: { ctx in
      let dims = try ctx.shape(0, rankAtLeast: 2)
      let lower = try ctx.oneInteger(1, "num_lower")
      let upper = try ctx.oneInteger(2, "num_upper")
      if let m = dims?[(dims?.count ?? 2) - 2].size, let lower, lower > m {
        throw ctx.error("num_lower must be negative or less or equal to \(m) rows, got \(lower)")
      }
      if let n = dims?[(dims?.count ?? 1) - 1].size, let upper, upper > n {
        throw ctx.error("num_upper must be negative or less or equal to \(n) columns, got \(upper)")
      }
      return [ctx.shape(0)]
    },
    gradient: .rule { g in
      let dx = try g.graph.output(
        g.node.op, inputs: [try g.gradient(), g.input(1), g.input(2)])
      return [.dense(dx), nil, nil]
    },
    lowering: .kernel { ctx in
      let dtype = ctx.dtype(0)
      guard dtype.isPlain else { throw ctx.unsupported(dtype) }
      let shape = ctx.shape(0)
      let (m, n) = (shape[shape.count - 2], shape[shape.count - 1])
      let low = try ctx.integers(1, "num_lower").first ?? -1
      let up = try ctx.integers(2, "num_upper").first ?? -1
      let bytes = dtype.byteSize
      let rows = product(shape.dropLast())
      return Kernel(ctx.kernelName("bandPart", dtype), inPlace: [[0]]) { call in
        let (x, y) = (call.rawInput(0), call.rawOutput(0))
        for r in 0..<rows {
          let i = r % m
          let first = min(n, low < 0 ? 0 : max(0, i - low))
          let end = max(first, up < 0 ? n : min(n, i + up + 1))
          let to = y + r &* n &* bytes
          if first > 0 { to.initializeMemory(as: UInt8.self, repeating: 0, count: first * bytes) }
          (to + first &* bytes).copyMemory(
            from: x + (r &* n &+ first) &* bytes, byteCount: (end - first) * bytes)
          if end < n {
            (to + end &* bytes).initializeMemory(
              as: UInt8.self, repeating: 0, count: (n - end) * bytes)
          }
        }
      }
    })

  private static let types =
    "T: {bfloat16, half, float, double, int32, int64, complex64, complex128}"

  static let diag: OpDef = OpDef(
    "Diag", "diagonal: T -> output: T", types,
    summary: "A tensor with its input on the diagonal and zeros elsewhere.",
    infer: { ctx in
      let dims = try ctx.shape(0, rankAtLeast: 1)
      return [dims.map { Shape(dims: $0 + $0) } ?? .unknown]
    },
    gradient: .rule { g in
      [.dense(try g.graph.output(diagPart.name, inputs: [try g.gradient()]))]
    },
    lowering: .kernel { ctx in
      let n = ctx.count(0)
      return try ctx.moves("diag", zeroed: true) { bytes in
        [
          .box(StridedCopy(elementBytes: bytes, sizes: [n], source: [1], target: [n + 1]))
        ]
      }
    })

  static let diagPart: OpDef = OpDef(
    "DiagPart", "input: T -> diagonal: T", types, summary: "The diagonal of a tensor.",
    infer: { ctx in
      guard let dims = ctx.shape(0).dims else { return [.unknown] }
      guard dims.count % 2 == 0, !dims.isEmpty else {
        throw ctx.error("needs an even rank, got shape \(ctx.shape(0))")
      }
      let half = dims.count / 2
      return [
        Shape(
          dims: try (0..<half).map {
            try ctx.merge(dims[$0], dims[half + $0], "halves of the shape")
          })
      ]
    },
    gradient: .rule { g in
      [.dense(try g.graph.output(diag.name, inputs: [try g.gradient()]))]
    },
    lowering: .kernel { ctx in
      let n = ctx.outputCount(0)
      return try ctx.moves("diagPart") { bytes in
        [
          .box(StridedCopy(elementBytes: bytes, sizes: [n], source: [n + 1], target: [1]))
        ]
      }
    })

  static let all = [bandPart, diag, diagPart]
}

/// The matrices `x` with zeros more than `lower` below and `upper` above the diagonal; a negative
/// number keeps the whole triangle. Gradient: the same of dy. TensorFlow's MatrixBandPart.
public func matrixBandPart(
  _ x: Output, lower: Int, upper: Int, name: String? = nil, file: StaticString = #fileID,
  line: UInt = #line
) throws -> Output {
  let graph = x.graph
  return try graph.output(
    MatrixBandRows.bandPart.name, name: name,
    inputs: [
      x,
      try graph.constant(integer: lower, dtype: .int64, name: "num_lower", file: file, line: line),
      try graph.constant(integer: upper, dtype: .int64, name: "num_upper", file: file, line: line),
    ], file: file, line: line)
}

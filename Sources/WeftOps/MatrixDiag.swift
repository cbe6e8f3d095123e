// Diagonals of matrices: MatrixDiag, MatrixDiagPart, MatrixSetDiag in all versions.

public import WeftGraph
internal import WeftKernels
internal import WeftTensors

/// The diagonals `lower ... upper` of matrices of `rows` x `columns`, and how a packed tensor
/// `[..., upper - lower + 1, length]` holds them: diagonal d in row `upper - d`.
struct Band: Sendable {
  var lower: Int
  var upper: Int
  var rows: Int
  var columns: Int
  var length: Int
  var alignsUpperLeft: Bool
  var alignsLowerLeft: Bool

  init(_ k: [Int], rows: Int, columns: Int, align: String) {
    lower = k.first ?? 0
    upper = k.last ?? 0
    self.rows = rows
    self.columns = columns
    length = Swift.min(rows + Swift.min(upper, 0), columns - Swift.max(lower, 0))
    alignsUpperLeft = align == "LEFT_LEFT" || align == "LEFT_RIGHT"
    alignsLowerLeft = align == "LEFT_LEFT" || align == "RIGHT_LEFT"
  }

  /// The number of diagonals.
  var count: Int { upper - lower + 1 }

  /// Checks k as an op's input gives it.
  static func check(_ k: [Int], _ fail: (String) -> WeftError) throws {
    guard (1...2).contains(k.count) else {
      throw fail("needs one or two diagonal numbers, got \(k.count)")
    }
    guard k[0] <= k[k.count - 1] else {
      throw fail("lower diagonal \(k[0]) lies above the upper one \(k[k.count - 1])")
    }
  }

  /// Whether every diagonal lies in the matrix.
  func checkRange(_ fail: (String) -> WeftError) throws {
    for d in [lower, upper] where !((-rows < d && d < columns) || d == 0) {
      throw fail("diagonal \(d) lies outside a \(rows) x \(columns) matrix")
    }
  }

  /// Copies of all diagonals between `batch` matrices and the packed tensor.
  func copies(batch: Int, elementBytes: Int, toMatrix: Bool) -> [StridedCopy] {
    (lower...upper).compactMap { d in
      let n = Swift.min(rows + Swift.min(0, d), columns - Swift.max(0, d))
      guard n > 0, batch > 0 else { return nil }
      let left = d >= 0 ? alignsUpperLeft || (d == 0 && alignsLowerLeft) : alignsLowerLeft
      let packed = (upper - d) * length + (left ? 0 : length - n)
      let matrix = Swift.max(0, -d) * columns + Swift.max(0, d)
      let inPacked = [count * length, 1]
      let inMatrix = [rows * columns, columns + 1]
      return StridedCopy(
        elementBytes: elementBytes, sizes: [batch, n], source: toMatrix ? inPacked : inMatrix,
        target: toMatrix ? inMatrix : inPacked, sourceOffset: toMatrix ? packed : matrix,
        targetOffset: toMatrix ? matrix : packed)
    }
  }
}

enum MatrixDiagRows {
  private static let aligned =
    "align: {'LEFT_RIGHT', 'RIGHT_LEFT', 'LEFT_LEFT', 'RIGHT_RIGHT'} = 'RIGHT_LEFT'"

  // The attr of the third versions; the second ones align to the left.
  private static func align(_ attrs: Attrs) throws -> String {
    attrs["align"] == nil ? "LEFT_LEFT" : try attrs.string("align")
  }

  // k of an inference: [0] for the first versions.
  private static func diagonals(_ ctx: InferContext, _ input: Int?) throws -> [Int]? {
    guard let input else { return [0] }
    guard let k = ctx.integers(input) else { return nil }
    try Band.check(k) { ctx.error($0) }
    return k
  }

  private static func diagonals(_ ctx: LowerContext, _ input: Int?) throws -> [Int] {
    guard let input else { return [0] }
    return try ctx.integers(input, "its diagonals")
  }

  private static func align(_ ctx: LowerContext) throws -> String { try align(ctx.attrs) }

  // Kernel: fill with input `fill` or zeros (or a copy of input `base`), then copy diagonals.
  private static func kernel(
    _ ctx: LowerContext, _ name: String, source: Int, fill: Int?, base: Int?, _ band: Band,
    batch: Int, toMatrix: Bool
  ) throws -> Kernel {
    let dtype = ctx.dtype(source)
    guard dtype.isPlain else { throw ctx.unsupported(dtype) }
    let bytes = dtype.byteSize
    let copies = band.copies(batch: batch, elementBytes: bytes, toMatrix: toMatrix)
    let total = ctx.outputCount(0)
    return Kernel(
      ctx.kernelName(name, dtype), inPlace: base.map { [[$0]] } ?? []
    ) { call in
      let out = call.rawOutput(0)
      if let base {
        if UnsafeRawPointer(out) != call.rawInput(base) {
          out.copyMemory(from: call.rawInput(base), byteCount: total * bytes)
        }
      } else if let fill {
        fillElements(
          out, count: total, value: call.rawInput(fill), elementBytes: bytes, call.pool)
      } else {
        out.initializeMemory(as: UInt8.self, repeating: 0, count: total * bytes)
      }
      for copy in copies { copy.run(call.rawInput(source), out, call.pool) }
    }
  }

  // MARK: - MatrixDiag

  // Sizes of the matrices that hold the diagonals.
  private static func matrixSize(
    _ k: [Int], length: Int, rows: Int, columns: Int, _ fail: (String) -> WeftError
  ) throws -> (Int, Int) {
    let leastRows = length - min(k[k.count - 1], 0)
    let leastColumns = length + max(k[0], 0)
    var (m, n) = (rows, columns)
    switch (m == -1, n == -1) {
    case (true, true):
      m = max(leastRows, leastColumns)
      n = m
    case (true, false): m = leastRows
    case (false, true): n = leastColumns
    default: break
    }
    guard m >= leastRows, n >= leastColumns, m == leastRows || n == leastColumns else {
      throw fail(
        "diagonals \(k) of length \(length) do not fit \(rows) rows and \(columns) columns")
    }
    return (m, n)
  }

  private static func inferDiag(_ ctx: InferContext, k: Int?) throws -> [Shape] {
    guard let dims = try ctx.shape(0, rankAtLeast: 1) else { return [.unknown] }
    guard let all = try diagonals(ctx, k) else { return [.unknown] }
    let count = (all.last ?? 0) - all[0] + 1
    var batch = Array(dims.dropLast())
    if count > 1 {
      guard let rows = batch.popLast(), rows.isCompatible(with: .known(count)) else {
        throw ctx.error("needs \(count) diagonals, got shape \(ctx.shape(0))")
      }
    }
    guard k != nil else {
      return [Shape(dims: batch + [dims[dims.count - 1], dims[dims.count - 1]])]
    }
    guard let length = dims[dims.count - 1].size, let rows = ctx.integers(2)?.first,
      let columns = ctx.integers(3)?.first
    else { return [Shape(dims: batch + [.unknown, .unknown])] }
    let (m, n) = try matrixSize(all, length: length, rows: rows, columns: columns) {
      ctx.error($0)
    }
    return [Shape(dims: batch + [.known(m), .known(n)])]
  }

  private static func lowerDiag(_ ctx: LowerContext, k: Int?) throws -> Kernel {
    let out = ctx.outputShape(0)
    var band = Band(
      try diagonals(ctx, k), rows: out[out.count - 2], columns: out[out.count - 1],
      align: try align(ctx))
    band.length = ctx.shape(0).last ?? 0
    return try kernel(
      ctx, "matrixDiag", source: 0, fill: k == nil ? nil : 4, base: nil, band,
      batch: product(out.dropLast(2)), toMatrix: true)
  }

  static let diag = OpDef(
    "MatrixDiag", "diagonal: T -> output: T", "T: type",
    summary: "Square matrices with its input on their diagonals.",
    infer: { ctx in try inferDiag(ctx, k: nil) },
    gradient: .rule { g in [.dense(try matrixDiagPart(try g.gradient()))] },
    lowering: .kernel { ctx in try lowerDiag(ctx, k: nil) })

  private static func diagRow(_ name: String, _ attributes: String) -> OpDef {
    OpDef(
      name,
      "diagonal: T, k: int32, num_rows: int32, num_cols: int32, padding_value: T -> output: T",
      attributes, summary: "Matrices with its input on some of their diagonals.",
      infer: { ctx in try inferDiag(ctx, k: 1) },
      gradient: .rule { g in
        let dy = try g.gradient()
        let part = try partV3(g, dy, k: g.input(1))
        return [.dense(part), nil, nil, nil, nil]
      },
      lowering: .kernel { ctx in try lowerDiag(ctx, k: 1) })
  }
  static let diagV2 = diagRow("MatrixDiagV2", "T: type")
  static let diagV3 = diagRow("MatrixDiagV3", "T: type; " + aligned)

  // The diagonals k of x, padded with zeros, aligned as the node's are.
  private static func partV3(_ g: GradientContext, _ x: Output, k: Output) throws -> Output {
    try g.graph.output(
      partV3.name, inputs: [x, k, try g.graph.constant(0, dtype: x.dtype)],
      attrs: ["align": .string(try align(g.attrs))])
  }

  // MARK: - MatrixDiagPart

  private static func inferPart(_ ctx: InferContext, k: Int?) throws -> [Shape] {
    guard let dims = try ctx.shape(0, rankAtLeast: 2) else { return [.unknown] }
    let batch = dims.dropLast(2)
    guard let all = try diagonals(ctx, k) else { return [.unknown] }
    let count = (all.last ?? 0) - all[0] + 1
    var length = Dim.unknown
    if let m = dims[dims.count - 2].size, let n = dims[dims.count - 1].size {
      let band = Band(all, rows: m, columns: n, align: "LEFT_LEFT")
      try band.checkRange { ctx.error($0) }
      length = .known(max(0, band.length))
    }
    return [Shape(dims: batch + (count > 1 ? [.known(count)] : []) + [length])]
  }

  private static func lowerPart(_ ctx: LowerContext, k: Int?) throws -> Kernel {
    let shape = ctx.shape(0)
    let band = Band(
      try diagonals(ctx, k), rows: shape[shape.count - 2], columns: shape[shape.count - 1],
      align: try align(ctx))
    return try kernel(
      ctx, "matrixDiagPart", source: 0, fill: k == nil ? nil : 2, base: nil, band,
      batch: product(shape.dropLast(2)), toMatrix: false)
  }

  static let part = OpDef(
    "MatrixDiagPart", "input: T -> diagonal: T", "T: type",
    summary: "The main diagonals of matrices.", infer: { ctx in try inferPart(ctx, k: nil) },
    gradient: .rule { g in
      let x = g.input(0)
      let dy = try g.gradient()
      if x.shape.dim(-1).size != nil, x.shape.dim(-1) == x.shape.dim(-2) {
        return [.dense(try matrixDiag(dy))]
      }
      return [.dense(try g.graph.output(set.name, inputs: [try zerosLike(x), dy]))]
    },
    lowering: .kernel { ctx in try lowerPart(ctx, k: nil) })

  private static func partRow(_ name: String, _ attributes: String) -> OpDef {
    OpDef(
      name, "input: T, k: int32, padding_value: T -> diagonal: T", attributes,
      summary: "Some diagonals of matrices, padded to one length.",
      infer: { ctx in try inferPart(ctx, k: 1) },
      gradient: .rule { g in
        let dx = try g.graph.output(
          setV3.name, inputs: [try zerosLike(g.input(0)), try g.gradient(), g.input(1)],
          attrs: ["align": .string(try align(g.attrs))])
        return [.dense(dx), nil, nil]
      },
      lowering: .kernel { ctx in try lowerPart(ctx, k: 1) })
  }
  static let partV2 = partRow("MatrixDiagPartV2", "T: type")
  static let partV3: OpDef = partRow("MatrixDiagPartV3", "T: type; " + aligned)

  // MARK: - MatrixSetDiag

  private static func inferSet(_ ctx: InferContext, k: Int?) throws -> [Shape] {
    guard let dims = try ctx.shape(0, rankAtLeast: 2) else { return [.unknown] }
    guard let all = try diagonals(ctx, k) else { return [ctx.shape(0)] }
    let count = (all.last ?? 0) - all[0] + 1
    var length = Dim.unknown
    if let m = dims[dims.count - 2].size, let n = dims[dims.count - 1].size {
      let band = Band(all, rows: m, columns: n, align: "LEFT_LEFT")
      try band.checkRange { ctx.error($0) }
      length = .known(max(0, band.length))
    }
    let wanted = Shape(dims: dims.dropLast(2) + (count > 1 ? [.known(count)] : []) + [length])
    guard wanted.isCompatible(with: ctx.shape(1)) else {
      throw ctx.error("needs diagonals of shape \(wanted), got \(ctx.shape(1))")
    }
    return [ctx.shape(0)]
  }

  private static func lowerSet(_ ctx: LowerContext, k: Int?) throws -> Kernel {
    let shape = ctx.shape(0)
    let band = Band(
      try diagonals(ctx, k), rows: shape[shape.count - 2], columns: shape[shape.count - 1],
      align: try align(ctx))
    return try kernel(
      ctx, "matrixSetDiag", source: 1, fill: nil, base: 0, band,
      batch: product(shape.dropLast(2)), toMatrix: true)
  }

  static let set: OpDef = OpDef(
    "MatrixSetDiag", "input: T, diagonal: T -> output: T", "T: type",
    summary: "Matrices with their main diagonals replaced.",
    infer: { ctx in try inferSet(ctx, k: nil) },
    gradient: .rule { g in
      let dy = try g.gradient()
      let rest = try g.graph.output(g.node.op, inputs: [dy, try zerosLike(g.input(1))])
      return [.dense(rest), .dense(try matrixDiagPart(dy))]
    },
    lowering: .kernel { ctx in try lowerSet(ctx, k: nil) })

  private static func setRow(_ name: String, _ attributes: String) -> OpDef {
    OpDef(
      name, "input: T, diagonal: T, k: int32 -> output: T", attributes,
      summary: "Matrices with some of their diagonals replaced.",
      infer: { ctx in try inferSet(ctx, k: 2) },
      gradient: .rule { g in
        let dy = try g.gradient()
        let rest = try g.graph.output(
          g.node.op, inputs: [dy, try zerosLike(g.input(1)), g.input(2)],
          attrs: g.node.attrs.filter { $0.key == "align" })
        return [.dense(rest), .dense(try partV3(g, dy, k: g.input(2))), nil]
      },
      lowering: .kernel { ctx in try lowerSet(ctx, k: 2) })
  }
  static let setV2 = setRow("MatrixSetDiagV2", "T: type")
  static let setV3: OpDef = setRow("MatrixSetDiagV3", "T: type; " + aligned)

  static let all = [diag, diagV2, diagV3, part, partV2, partV3, set, setV2, setV3]
}

/// Square matrices with the vectors `x` on their diagonals: `[..., N] -> [..., N, N]`.
///
/// Gradient: the diagonal of dy. TensorFlow's MatrixDiag.
public func matrixDiag(
  _ x: Output, name: String? = nil, file: StaticString = #fileID, line: UInt = #line
) throws -> Output {
  try x.graph.output(MatrixDiagRows.diag.name, name: name, inputs: [x], file: file, line: line)
}

/// The main diagonals of the matrices `x`: `[..., M, N] -> [..., min(M, N)]`.
///
/// Gradient: dy on the diagonal. TensorFlow's MatrixDiagPart.
public func matrixDiagPart(
  _ x: Output, name: String? = nil, file: StaticString = #fileID, line: UInt = #line
) throws -> Output {
  try x.graph.output(MatrixDiagRows.part.name, name: name, inputs: [x], file: file, line: line)
}

/// The matrices `x` with their main diagonals replaced. TensorFlow's MatrixSetDiag.
public func matrixSetDiag(
  _ x: Output, diagonal: Output, name: String? = nil, file: StaticString = #fileID,
  line: UInt = #line
) throws -> Output {
  try x.graph.output(
    MatrixDiagRows.set.name, name: name, inputs: [x, diagonal], file: file, line: line)
}

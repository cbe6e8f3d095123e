// Gradient rows of matrices: products, factors, diagonals and bands.

import TestSupport
import WeftGraph
import WeftOps
import WeftTensors

private let batchShapes: [[[Int]]] = [
  [[3, 4], [4, 2]], [[2, 3, 4], [2, 4, 2]], [[2, 0, 4], [2, 4, 2]], [[1, 1, 1], [1, 1, 1]],
]
/// The same, where batches broadcast.
private let broadcastBatches =
  batchShapes + [[[2, 3, 4], [4, 2]], [[3, 1, 2, 4], [5, 4, 3]], [[1, 3, 4], [2, 4, 2]]]

private func batched(
  _ name: String, _ op: String, _ shapes: [[[Int]]], _ adjoint: (Bool, Bool) = (false, false)
) -> GradientRow {
  GradientRow(name, shapes) { graph, x in
    var attrs: [String: AttrValue] = ["adj_x": .bool(adjoint.0), "adj_y": .bool(adjoint.1)]
    if op == "BatchMatMulV3" { attrs["Tout"] = .type(.float64) }
    return [try graph.output(op, inputs: [x[0], x[1]], attrs: attrs)]
  }
}

let productRows: [GradientRow] = [
  batched("batchMatmulV1", "BatchMatMul", batchShapes),
  batched("batchMatmul", "BatchMatMulV2", broadcastBatches),
  batched("batchMatmulAdjointX", "BatchMatMulV2", [[[2, 4, 3], [4, 2]]], (true, false)),
  batched("batchMatmulAdjointY", "BatchMatMulV2", [[[4, 3], [2, 5, 3]]], (false, true)),
  batched("batchMatmulAdjoints", "BatchMatMulV2", [[[2, 4, 3], [2, 5, 4]]], (true, true)),
  batched("batchMatmulV3", "BatchMatMulV3", broadcastBatches),
  einsumRow("ij,jk->ik", [[[3, 4], [4, 2]], [[0, 4], [4, 2]], [[1, 1], [1, 1]]]),
  einsumRow("bij,bjk->bik", [[[2, 3, 4], [2, 4, 2]]]),
  einsumRow("...ij,...jk->...ik", [[[2, 3, 4], [2, 4, 2]], [[2, 3, 4], [1, 4, 2]]]),
  einsumRow("ij->ji", [[[3, 4]], [[0, 4]]]),
  einsumRow("ijk->j", [[[3, 4, 2]]]),
  einsumRow("ij,ij->", [[[3, 4], [3, 4]]]),
  einsumRow("i,j->ij", [[[3], [4]]]),
  einsumRow("ij,k->i", [[[3, 4], [2]]]),
  einsumRow("ii->i", [[[3, 3]]]),
]

private func einsumRow(_ equation: String, _ shapes: [[[Int]]]) -> GradientRow {
  GradientRow("einsum \(equation)", shapes) { _, x in [try square(einsum(equation, x))] }
}

/// Symmetric and far from singular: the input times its transpose, plus a multiple of one.
private func positive(_ x: Output) throws -> Output {
  try batchMatmul(x, x, adjointB: true) + shifted(zerosLike(x))
}

/// `x` plus three times the identity.
private func shifted(_ x: Output) throws -> Output {
  let ones = try sum(onesLike(x), axes: [-1]) * 0 + 3
  return try x + matrixDiag(ones)
}

private let squareShapes: [[[Int]]] = [[[1, 1]], [[3, 3]], [[2, 2, 2]], [[0, 3, 3]]]

private func squares(
  _ name: String, _ build: @escaping @Sendable (Output) throws -> [Output]
) -> GradientRow {
  GradientRow(name, squareShapes, in: -0.8...0.8) { _, x in try build(x[0]) }
}

let factorRows: [GradientRow] = [
  squares("cholesky") { [try cholesky(positive($0))] },
  squares("determinant") { [try determinant(shifted($0))] },
  squares("logDeterminant") { [try logDeterminant(shifted($0)).logarithm] },
  squares("matrixInverse") { [try matrixInverse(shifted($0))] },
  squares("matrixInverseAdjoint") { [try matrixInverse(shifted($0), adjoint: true)] },
  system("matrixSolve") { [try matrixSolve(shifted($0), $1)] },
  system("matrixSolveAdjoint") { [try matrixSolve(shifted($0), $1, adjoint: true)] },
  system("triangularSolve") { [try triangularSolve(shifted($0), $1)] },
  system("triangularSolveUpper") { [try triangularSolve(shifted($0), $1, lower: false)] },
  system("triangularSolveAdjoint") { [try triangularSolve(shifted($0), $1, adjoint: true)] },
  system("triangularSolveUpperAdjoint") {
    [try triangularSolve(shifted($0), $1, lower: false, adjoint: true)]
  },
  GradientRow("triangularSolveBatches", [[[2, 1, 3, 3], [2, 3, 2]], [[3, 3], [2, 3, 1]]]) { _, x in
    [try triangularSolve(shifted(x[0]), x[1])]
  },
]

private func system(
  _ name: String, _ build: @escaping @Sendable (Output, Output) throws -> [Output]
) -> GradientRow {
  GradientRow(
    name,
    [[[1, 1], [1, 1]], [[3, 3], [3, 2]], [[2, 2, 2], [2, 2, 3]], [[3, 3], [3, 0]]],
    in: -0.8...0.8
  ) { _, x in try build(x[0], x[1]) }
}

let diagonalRows: [GradientRow] = [
  GradientRow("matrixDiag", [[[0]], [[1]], [[3]], [[2, 3]]]) { _, x in
    [try matrixDiag(square(x[0]))]
  },
  GradientRow("matrixDiagPart", [[[0, 0]], [[1, 1]], [[3, 3]], [[2, 3, 4]], [[4, 2]]]) { _, x in
    [try matrixDiagPart(square(x[0]))]
  },
  GradientRow("matrixSetDiag", [[[3, 3], [3]], [[2, 3, 4], [2, 3]], [[4, 2], [2]]]) { _, x in
    [try matrixSetDiag(square(x[0]), diagonal: square(x[1]))]
  },
  diagonals("MatrixDiagV2", [[[2, 3]], [[4, 2, 3]]], (-1, 0), size: (4, 3)),
  diagonals("MatrixDiagV3", [[[2, 3]], [[4, 2, 3]]], (-1, 0), size: (4, 3)),
  diagonals("MatrixDiagV3", [[[2, 3]]], (0, 1), size: (3, 4), align: "LEFT_RIGHT"),
  diagonals("MatrixDiagPartV2", [[[3, 4]], [[2, 3, 3]]], (-1, 1)),
  diagonals("MatrixDiagPartV3", [[[3, 4]], [[2, 3, 3]]], (-1, 1)),
  diagonals("MatrixDiagPartV3", [[[3, 4]]], (-2, 1), align: "LEFT_LEFT"),
  setDiagonals("MatrixSetDiagV2", nil),
  setDiagonals("MatrixSetDiagV3", nil),
  setDiagonals("MatrixSetDiagV3", "RIGHT_RIGHT"),
  GradientRow("matrixBandPart", [[[3, 4]], [[2, 3, 3]], [[0, 3]], [[1, 1]]]) { _, x in
    [
      try matrixBandPart(square(x[0]), lower: 0, upper: -1),
      try matrixBandPart(square(x[0]), lower: -1, upper: 1),
    ]
  },
  GradientRow("diag", [[[0]], [[1]], [[3]], [[2, 3]]]) { graph, x in
    [try graph.output("Diag", inputs: [square(x[0])])]
  },
  GradientRow("diagPart", [[[0, 0]], [[1, 1]], [[3, 3]], [[2, 3, 2, 3]]]) { graph, x in
    [try graph.output("DiagPart", inputs: [square(x[0])])]
  },
]

private func diagonals(
  _ op: String, _ shapes: [[[Int]]], _ k: (Int32, Int32), size: (Int32, Int32)? = nil,
  align: String? = nil
) -> GradientRow {
  GradientRow(op + (align.map { " \($0)" } ?? ""), shapes) { graph, x in
    var inputs = [try square(x[0]), try graph.constant([k.0, k.1])]
    if let size { inputs += [try graph.constant(size.0), try graph.constant(size.1)] }
    let attrs: [String: AttrValue] = align.map { ["align": .string($0)] } ?? [:]
    return [try graph.output(op, inputs: inputs + [graph.constant(0.5)], attrs: attrs)]
  }
}

private func setDiagonals(_ op: String, _ align: String?) -> GradientRow {
  GradientRow(
    op + (align.map { " \($0)" } ?? ""), [[[3, 4], [2, 3]], [[2, 3, 3], [2, 2, 3]]]
  ) { graph, x in
    let k = try graph.constant([Int32(0), 1])
    let attrs: [String: AttrValue] = align.map { ["align": .string($0)] } ?? [:]
    return [try graph.output(op, inputs: [square(x[0]), square(x[1]), k], attrs: attrs)]
  }
}

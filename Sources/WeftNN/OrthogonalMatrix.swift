// Random orthogonal matrices, computed while a graph is built.

internal import WeftKernels
internal import WeftTensors

/// Makes matrices with orthonormal rows or columns.
enum OrthogonalMatrix {
  /// A `rows x columns` matrix, row-major; the shorter side's vectors are orthonormal.
  ///
  /// The columns of a normal matrix, made orthonormal one after another: the Q of its QR
  /// decomposition with a positive diagonal of R, so uniform among orthogonal matrices.
  static func make(rows: Int, columns: Int, seed: OpSeed) throws -> [Double] {
    let length = max(rows, columns)
    let count = min(rows, columns)
    guard count > 0 else { return [] }
    guard length <= 1 << 14 else {
      throw WeftError(
        .resourceExhausted, "an orthogonal matrix of \(rows) x \(columns) is too large")
    }
    // vectors[k] is the k-th of `count` vectors of `length`, stored one after another.
    var vectors = [Double](repeating: 0, count: length * count)
    let stream = PhiloxStream(
      key: UInt64(truncatingIfNeeded: seed.graph), high: UInt64(truncatingIfNeeded: seed.op))
    let filled = vectors.withUnsafeMutableBytes { memory in
      memory.baseAddress.map {
        RandomKernels.fill(
          .normal, .float64, stream, $0, count: length * count, pool: ThreadPool(width: 1))
      } ?? true
    }
    guard filled else { throw WeftError(.internal, "no float64 normals") }
    vectors.withUnsafeMutableBufferPointer { v in
      for k in 0..<count {
        let own = k * length
        // Twice is enough: the second round removes what rounding left of the first.
        for _ in 0..<2 {
          for j in 0..<k {
            let other = j * length
            var dot = 0.0
            for i in 0..<length { dot += v[own + i] * v[other + i] }
            for i in 0..<length { v[own + i] -= dot * v[other + i] }
          }
        }
        var square = 0.0
        for i in 0..<length { square += v[own + i] * v[own + i] }
        let scale = 1 / square.squareRoot()
        for i in 0..<length { v[own + i] *= scale }
      }
    }
    if columns >= rows { return vectors }
    var result = [Double](repeating: 0, count: rows * columns)
    for r in 0..<rows {
      for c in 0..<columns { result[r * columns + c] = vectors[c * length + r] }
    }
    return result
  }
}

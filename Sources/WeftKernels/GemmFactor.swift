// Factorizations and solves of small dense matrices, in double precision, row-major.

/// Cholesky, LU and triangular solves in place.
public enum MatrixFactor {
  /// Replaces a symmetric `n x n` matrix, of which the lower half is read, by its Cholesky factor
  /// with zeros above; false when the matrix is not positive definite.
  public static func cholesky(_ a: UnsafeMutablePointer<Double>, _ n: Int) -> Bool {
    for j in 0..<n {
      let rowJ = a + j * n
      var diagonal = rowJ[j]
      for k in 0..<j { diagonal -= rowJ[k] * rowJ[k] }
      // NaN fails too.
      guard diagonal > 0, diagonal < .infinity else { return false }
      let root = diagonal.squareRoot()
      rowJ[j] = root
      for i in j + 1..<Swift.max(j + 1, n) {
        let rowI = a + i * n
        var value = rowI[j]
        for k in 0..<j { value -= rowI[k] * rowJ[k] }
        rowI[j] = value / root
        rowJ[i] = 0
      }
    }
    return true
  }

  /// Replaces an `n x n` matrix by its LU factors with row exchanges; `pivots[i]` is the row of the
  /// original that came to i. Returns the sign of the exchanges; a zero pivot stays on the diagonal.
  public static func lu(
    _ a: UnsafeMutablePointer<Double>, _ pivots: UnsafeMutablePointer<Int>, _ n: Int
  ) -> Double {
    var sign = 1.0
    for i in 0..<n { pivots[i] = i }
    for j in 0..<n {
      var best = j
      for i in j..<n where Swift.abs(a[i * n + j]) > Swift.abs(a[best * n + j]) { best = i }
      if best != j {
        for k in 0..<n {
          let value = a[j * n + k]
          a[j * n + k] = a[best * n + k]
          a[best * n + k] = value
        }
        let row = pivots[j]
        pivots[j] = pivots[best]
        pivots[best] = row
        sign = -sign
      }
      let pivot = a[j * n + j]
      if pivot == 0 { continue }
      for i in j + 1..<Swift.max(j + 1, n) {
        let factor = a[i * n + j] / pivot
        a[i * n + j] = factor
        if factor == 0 { continue }
        for k in j + 1..<n { a[i * n + k] -= factor * a[j * n + k] }
      }
    }
    return sign
  }

  /// Solves A x = b for `columns` right sides from `lu`; `b` is `n x columns`, `x` another array.
  public static func solve(
    lu a: UnsafePointer<Double>, _ pivots: UnsafePointer<Int>, _ n: Int,
    _ b: UnsafePointer<Double>, _ x: UnsafeMutablePointer<Double>, columns: Int
  ) {
    for i in 0..<n {
      for c in 0..<columns { x[i * columns + c] = b[pivots[i] * columns + c] }
    }
    solveTriangle(a, n, isLower: true, isUnit: true, isTransposed: false, x, columns: columns)
    solveTriangle(a, n, isLower: false, isUnit: false, isTransposed: false, x, columns: columns)
  }

  /// Solves op(A) x = b in place for the lower or upper triangle of A; `x` is `n x columns`.
  public static func solveTriangle(
    _ a: UnsafePointer<Double>, _ n: Int, isLower: Bool, isUnit: Bool, isTransposed: Bool,
    _ x: UnsafeMutablePointer<Double>, columns: Int
  ) {
    // A transposed lower triangle is solved from the end, as an upper one is.
    let isForward = isLower != isTransposed
    for step in 0..<n {
      let i = isForward ? step : n - 1 - step
      let row = x + i * columns
      let known = isForward ? 0..<i : i + 1..<n
      for k in known {
        let factor = isTransposed ? a[k * n + i] : a[i * n + k]
        if factor == 0 { continue }
        let other = x + k * columns
        for c in 0..<columns { row[c] -= factor * other[c] }
      }
      if !isUnit {
        let diagonal = a[i * n + i]
        for c in 0..<columns { row[c] /= diagonal }
      }
    }
  }
}

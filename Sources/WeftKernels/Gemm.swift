// Matrix products: single-threaded BLAS calls on a grid of tiles that only the sizes decide.

internal import COpenBLAS
internal import Synchronization
public import WeftTensors

/// An element type BLAS multiplies.
public protocol BlasElement: BinaryFloatingPoint, Sendable, BitwiseCopyable {
  /// Row-major C = alpha * op(A) op(B) + beta * C, on the calling thread.
  static func blasMultiply(
    _ transA: Bool, _ transB: Bool, _ m: Int, _ n: Int, _ k: Int, _ alpha: Self,
    _ a: UnsafePointer<Self>, _ lda: Int, _ b: UnsafePointer<Self>, _ ldb: Int, _ beta: Self,
    _ c: UnsafeMutablePointer<Self>, _ ldc: Int)
  /// y = alpha * op(A) x + beta * y for a row-major A of `rows` x `cols`.
  static func blasVector(
    _ trans: Bool, _ rows: Int, _ cols: Int, _ alpha: Self, _ a: UnsafePointer<Self>, _ lda: Int,
    _ x: UnsafePointer<Self>, _ incX: Int, _ beta: Self, _ y: UnsafeMutablePointer<Self>,
    _ incY: Int)
}

extension Float: BlasElement {
  /// Calls sgemm.
  public static func blasMultiply(
    _ transA: Bool, _ transB: Bool, _ m: Int, _ n: Int, _ k: Int, _ alpha: Float,
    _ a: UnsafePointer<Float>, _ lda: Int, _ b: UnsafePointer<Float>, _ ldb: Int, _ beta: Float,
    _ c: UnsafeMutablePointer<Float>, _ ldc: Int
  ) {
    cblas_sgemm(
      CblasRowMajor, transA ? CblasTrans : CblasNoTrans, transB ? CblasTrans : CblasNoTrans,
      blasInt(m), blasInt(n), blasInt(k), alpha, a, blasInt(lda), b, blasInt(ldb), beta, c,
      blasInt(ldc))
  }
  /// Calls sgemv.
  public static func blasVector(
    _ trans: Bool, _ rows: Int, _ cols: Int, _ alpha: Float, _ a: UnsafePointer<Float>, _ lda: Int,
    _ x: UnsafePointer<Float>, _ incX: Int, _ beta: Float, _ y: UnsafeMutablePointer<Float>,
    _ incY: Int
  ) {
    cblas_sgemv(
      CblasRowMajor, trans ? CblasTrans : CblasNoTrans, blasInt(rows), blasInt(cols), alpha, a,
      blasInt(lda), x, blasInt(incX), beta, y, blasInt(incY))
  }
}

extension Double: BlasElement {
  /// Calls dgemm.
  public static func blasMultiply(
    _ transA: Bool, _ transB: Bool, _ m: Int, _ n: Int, _ k: Int, _ alpha: Double,
    _ a: UnsafePointer<Double>, _ lda: Int, _ b: UnsafePointer<Double>, _ ldb: Int, _ beta: Double,
    _ c: UnsafeMutablePointer<Double>, _ ldc: Int
  ) {
    cblas_dgemm(
      CblasRowMajor, transA ? CblasTrans : CblasNoTrans, transB ? CblasTrans : CblasNoTrans,
      blasInt(m), blasInt(n), blasInt(k), alpha, a, blasInt(lda), b, blasInt(ldb), beta, c,
      blasInt(ldc))
  }
  /// Calls dgemv.
  public static func blasVector(
    _ trans: Bool, _ rows: Int, _ cols: Int, _ alpha: Double, _ a: UnsafePointer<Double>,
    _ lda: Int, _ x: UnsafePointer<Double>, _ incX: Int, _ beta: Double,
    _ y: UnsafeMutablePointer<Double>, _ incY: Int
  ) {
    cblas_dgemv(
      CblasRowMajor, trans ? CblasTrans : CblasNoTrans, blasInt(rows), blasInt(cols), alpha, a,
      blasInt(lda), x, blasInt(incX), beta, y, blasInt(incY))
  }
}

// Sizes fit: BLAS integers are 32 bits wide, and `gemm` cuts what is longer.
@inline(__always)
private func blasInt(_ n: Int) -> blasint { blasint(truncatingIfNeeded: n) }

/// How a product is cut into tasks: by sizes alone, so that bits do not depend on threads.
public struct GemmGrid: Sendable {
  /// Rows and columns of C in one task.
  public let rows: Int
  /// Columns of C in one task.
  public let cols: Int
  /// Length of K in one task; less than K only for tall products with a small C.
  public let depth: Int
  /// The number of slots that partial sums over K fill; 1 when K is not cut.
  public let slots: Int

  /// The grid of an m x n x k product.
  /// - Parameter splitsDepth: whether memory for partial sums is at hand.
  public init(m: Int, n: Int, k: Int, splitsDepth: Bool) {
    // Below a few MFLOP, waking a second thread costs more than it brings.
    let flops = 2 * Double(m) * Double(n) * Double(k)
    let wanted = Int(Swift.min(16, flops / 2e6))
    if wanted <= 1 {
      (rows, cols, depth, slots) = (m, n, k, 1)
      return
    }
    // A small C under a long K: too few tiles to share, or too narrow ones, so K is cut into slots.
    if splitsDepth && m * n <= 1 << 17 && k >= 2048 && k >= 4 * Swift.max(m, n) {
      let count = Swift.min(8, wanted)
      (rows, cols) = (m, n)
      depth = ((k + count - 1) / count + 15) & ~15
      slots = (k + depth - 1) / depth
      return
    }
    (depth, slots) = (k, 1)
    // Cut the longer side; tiles are whole multiples of BLAS's own blocking.
    func block(_ length: Int) -> Int {
      let unit = length >= 1024 ? 64 : 16
      let size = (length + wanted - 1) / wanted
      return Swift.max(32, (size + unit - 1) / unit * unit)
    }
    if m >= n { (rows, cols) = (block(m), n) } else { (rows, cols) = (m, block(n)) }
  }

  /// The bytes of scratch memory that `gemm` uses for partial sums.
  public static func scratchBytes(m: Int, n: Int, k: Int, elementBytes: Int) -> Int {
    let grid = GemmGrid(m: m, n: n, k: k, splitsDepth: true)
    return grid.slots > 1 ? grid.slots * m * n * elementBytes : 0
  }
}

/// C = alpha * op(A) op(B) + beta * C, row-major, on the pool's threads.
///
/// op(A) is m x k and op(B) k x n; `lda`, `ldb`, `ldc` are the distances between stored rows. With
/// beta = 0 C is never read. k = 0 gives beta * C; m = 0 or n = 0 does nothing. The bits depend on
/// the sizes (and on whether `scratch` is given), not on the number of threads.
/// - Parameter scratch: memory of `GemmGrid.scratchBytes`, for tall products.
public func gemm<E: BlasElement>(
  transA: Bool = false, transB: Bool = false, m: Int, n: Int, k: Int, alpha: E = 1,
  a: UnsafePointer<E>, lda: Int, b: UnsafePointer<E>, ldb: Int, beta: E = 0,
  c: UnsafeMutablePointer<E>, ldc: Int, pool: ThreadPool, scratch: UnsafeMutableRawPointer? = nil
) {
  if m <= 0 || n <= 0 { return }
  if k <= 0 {
    for i in 0..<m { scaleRow(c + i * ldc, n, beta) }
    return
  }
  if m == 1 || n == 1 {
    gemv(
      transA: transA, transB: transB, m: m, n: n, k: k, alpha: alpha, a: a, lda: lda, b: b,
      ldb: ldb, beta: beta, c: c, ldc: ldc, pool: pool)
    return
  }
  let grid = GemmGrid(m: m, n: n, k: k, splitsDepth: scratch != nil)
  if grid.slots > 1, let scratch {
    let partial = scratch.assumingMemoryBound(to: E.self)
    pool.parallel(grid.slots) { slot in
      let start = slot * grid.depth
      let length = Swift.min(grid.depth, k - start)
      E.blasMultiply(
        transA, transB, m, n, length, alpha, a + (transA ? start * lda : start), lda,
        b + (transB ? start : start * ldb), ldb, 0, partial + slot * m * n, n)
    }
    pool.split(m, grain: Swift.max(1, elementwiseGrain / (n * grid.slots))) { lower, upper in
      for i in lower..<upper {
        let row = c + i * ldc
        if beta != 1 { scaleRow(row, n, beta) }
        for slot in 0..<grid.slots {
          let part = partial + (slot * m + i) * n
          for j in 0..<n { row[j] += part[j] }
        }
      }
    }
    return
  }
  let down = (m + grid.rows - 1) / grid.rows
  let across = (n + grid.cols - 1) / grid.cols
  if down * across == 1 {
    E.blasMultiply(transA, transB, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc)
    return
  }
  pool.parallel(down * across) { task in
    let i = task / across * grid.rows
    let j = task % across * grid.cols
    E.blasMultiply(
      transA, transB, Swift.min(grid.rows, m - i), Swift.min(grid.cols, n - j), k, alpha,
      a + (transA ? i : i * lda), lda, b + (transB ? j * ldb : j), ldb, beta, c + i * ldc + j, ldc)
  }
}

// One row or one column: matrix times vector, which reads the matrix once.
private func gemv<E: BlasElement>(
  transA: Bool, transB: Bool, m: Int, n: Int, k: Int, alpha: E, a: UnsafePointer<E>, lda: Int,
  b: UnsafePointer<E>, ldb: Int, beta: E, c: UnsafeMutablePointer<E>, ldc: Int, pool: ThreadPool
) {
  // Blocks of at least 128 results and 256k products: a quarter of a megabyte of matrix or more.
  let count = m == 1 ? n : m
  let size = Swift.max(128, (262_144 / k + 15) & ~15)
  let blocks = count <= size * 3 / 2 ? 1 : Swift.min(16, (count + size - 1) / size)
  let block = ((count + blocks - 1) / blocks + 15) & ~15
  pool.parallel((count + block - 1) / block) { task in
    let start = task * block
    let length = Swift.min(block, count - start)
    // Zeroed here: some BLAS builds multiply what is in c by a beta of 0.
    var beta = beta
    if beta == 0 {
      let step = m == 1 ? 1 : ldc
      for i in start..<start + length { c[i * step] = 0 }
      beta = 1
    }
    if m == 1 {
      // c = a B: B is k x n, or n x k when transposed.
      let step = transA ? lda : 1
      if transB {
        E.blasVector(
          false, length, k, alpha, b + start * ldb, ldb, a, step, beta, c + start, 1)
      } else {
        E.blasVector(true, k, length, alpha, b + start, ldb, a, step, beta, c + start, 1)
      }
    } else {
      let step = transB ? 1 : ldb
      if transA {
        E.blasVector(
          true, k, length, alpha, a + start, lda, b, step, beta, c + start * ldc, ldc)
      } else {
        E.blasVector(
          false, length, k, alpha, a + start * lda, lda, b, step, beta, c + start * ldc, ldc)
      }
    }
  }
}

@inline(__always)
private func scaleRow<E: BlasElement>(_ row: UnsafeMutablePointer<E>, _ n: Int, _ beta: E) {
  if beta == 0 {
    for j in 0..<n { row[j] = 0 }
  } else if beta != 1 {
    for j in 0..<n { row[j] *= beta }
  }
}

/// Products of a batch: `count` pairs of matrices at the element offsets that `offsets` gives.
///
/// Small products are shared out whole, large ones one after the other on all threads.
public func batchGemm<E: BlasElement>(
  count: Int, offsets: (Int) -> (a: Int, b: Int, c: Int), transA: Bool, transB: Bool, m: Int,
  n: Int, k: Int, a: UnsafePointer<E>, lda: Int, b: UnsafePointer<E>, ldb: Int,
  c: UnsafeMutablePointer<E>, ldc: Int, pool: ThreadPool
) {
  let flops = 2 * Double(m) * Double(n) * Double(k)
  if count == 1 || flops >= 8e6 {
    for index in 0..<count {
      let place = offsets(index)
      gemm(
        transA: transA, transB: transB, m: m, n: n, k: k, a: a + place.a, lda: lda,
        b: b + place.b, ldb: ldb, c: c + place.c, ldc: ldc, pool: pool)
    }
    return
  }
  let grain = Int(Swift.max(1, 1e6 / Swift.max(1, flops)))
  pool.split(count, grain: grain) { lower, upper in
    for index in lower..<upper {
      let place = offsets(index)
      if k == 0 {
        for i in 0..<m { scaleRow(c + place.c + i * ldc, n, 0) }
      } else if m > 0 && n > 0 {
        E.blasMultiply(
          transA, transB, m, n, k, 1, a + place.a, lda, b + place.b, ldb, 0, c + place.c, ldc)
      }
    }
  }
}

/// C = op(A) op(B) for elements BLAS does not know; sums wrap for integers.
public func plainGemm<E>(
  transA: Bool, transB: Bool, m: Int, n: Int, k: Int, a: UnsafePointer<E>, lda: Int,
  b: UnsafePointer<E>, ldb: Int, c: UnsafeMutablePointer<E>, ldc: Int, pool: ThreadPool, zero: E,
  multiplyAdd: (E, E, E) -> E
) {
  if m <= 0 || n <= 0 { return }
  pool.split(m, grain: Swift.max(1, elementwiseGrain / Swift.max(1, n * k))) { lower, upper in
    for i in lower..<upper {
      let row = c + i * ldc
      for j in 0..<n { row[j] = zero }
      for p in 0..<k {
        let x = transA ? a[p * lda + i] : a[i * lda + p]
        if transB {
          for j in 0..<n { row[j] = multiplyAdd(row[j], x, b[j * ldb + p]) }
        } else {
          let other = b + p * ldb
          for j in 0..<n { row[j] = multiplyAdd(row[j], x, other[j]) }
        }
      }
    }
  }
}

/// Keeps OpenBLAS on one thread for each call while sessions run, and gives the host program its
/// setting back afterwards.
public enum BlasThreads {
  private struct State {
    var depth = 0
    var saved: Int32 = 1
  }
  private static let state = Mutex(State())

  /// A run begins: the first one saves the setting and turns OpenBLAS's own threads off.
  public static func enter() {
    _ = BlasLibrary.current
    state.withLock { state in
      if state.depth == 0 {
        state.saved = Int32(openblas_get_num_threads())
        if state.saved != 1 { openblas_set_num_threads(1) }
      }
      state.depth += 1
    }
  }

  /// A run ends: the last one restores the setting.
  public static func leave() {
    state.withLock { state in
      state.depth -= 1
      if state.depth == 0 && state.saved != 1 { openblas_set_num_threads(state.saved) }
    }
  }
}

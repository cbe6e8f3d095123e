// A matrix product, or a batch of them, of any element type, ready to run.

public import WeftTensors

/// Products of a batch of matrices: C[i] = op(A[i]) op(B[i]), C stored one after the other.
public struct MatrixProduct: Sendable {
  /// Bytes of scratch memory that `run` needs.
  public let scratchBytes: Int
  /// Multiplications and additions.
  public let flops: Int
  /// Multiplies A and B into C with scratch memory.
  public let run:
    @Sendable (
      _ a: UnsafeRawPointer, _ b: UnsafeRawPointer, _ c: UnsafeMutableRawPointer,
      _ scratch: UnsafeMutableRawPointer, _ pool: ThreadPool
    ) -> Void

  /// Sizes of a product and where each of a batch begins, in elements.
  public struct Sizes: Sendable {
    /// Rows of op(A), columns of op(B), and what is summed over.
    public var m: Int, n: Int, k: Int
    /// Whether the stored matrices are transposed.
    public var transA: Bool, transB: Bool
    /// First elements of A and B, for each product.
    public var offsets: [(a: Int, b: Int)]

    /// Sizes of a batch; a single product by default.
    public init(
      m: Int, n: Int, k: Int, transA: Bool = false, transB: Bool = false,
      offsets: [(a: Int, b: Int)] = [(0, 0)]
    ) {
      self.m = m
      self.n = n
      self.k = k
      self.transA = transA
      self.transB = transB
      self.offsets = offsets
    }

    var lda: Int { Swift.max(1, transA ? m : k) }
    var ldb: Int { Swift.max(1, transB ? k : n) }
    var ldc: Int { Swift.max(1, n) }
  }

  /// A product, or nil when the types cannot be multiplied.
  /// - Parameters:
  ///   - a: A's type, and the number of its elements.
  ///   - b: B's type, and the number of its elements.
  public init?(
    _ sizes: Sizes, a: (type: DType, count: Int), b: (type: DType, count: Int), output: DType
  ) {
    // In double: no memory stands behind these sizes yet, so products may be huge.
    let (m, n, k) = (Double(sizes.m), Double(sizes.n), Double(sizes.k))
    flops = Int(Swift.min(2 * m * n * k * Double(sizes.offsets.count), 0x1p62))
    guard m * n * Double(sizes.offsets.count) < 0x1p48, a.count < 1 << 48, b.count < 1 << 48
    else { return nil }
    if a.type == output && b.type == output, let direct = MatrixProduct.direct(sizes, output) {
      (scratchBytes, run) = direct
      return
    }
    // Through a type that has a loop: operands and result are converted whole.
    guard let wide = wideType(output), let product = MatrixProduct.direct(sizes, wide),
      let loadA = castRow(from: a.type, to: wide), let loadB = castRow(from: b.type, to: wide),
      let store = castRow(from: wide, to: output)
    else { return nil }
    let size = wide.byteSize
    func padded(_ count: Int) -> Int { (count * size + 63) & ~63 }
    let results = sizes.m * sizes.n * sizes.offsets.count
    let (endA, endB) = (padded(a.count), padded(a.count) + padded(b.count))
    let endC = endB + padded(results)
    let (sizeA, sizeB) = (a.type.byteSize, b.type.byteSize)
    let (countA, countB) = (a.count, b.count)
    scratchBytes = endC + product.0
    run = { a, b, c, scratch, pool in
      runUnary(
        a, scratch, count: countA, inputSize: sizeA, outputSize: size, pool: pool, row: loadA)
      runUnary(
        b, scratch + endA, count: countB, inputSize: sizeB, outputSize: size, pool: pool,
        row: loadB)
      product.1(
        UnsafeRawPointer(scratch), UnsafeRawPointer(scratch + endA), scratch + endB,
        scratch + endC, pool)
      store(UnsafeRawPointer(scratch + endB), c, results)
    }
  }

  private typealias Direct = (
    Int,
    @Sendable (
      UnsafeRawPointer, UnsafeRawPointer, UnsafeMutableRawPointer, UnsafeMutableRawPointer,
      ThreadPool
    ) -> Void
  )

  private static func direct(_ sizes: Sizes, _ dtype: DType) -> Direct? {
    switch dtype {
    case .float32: blas(sizes, Float.self)
    case .float64: blas(sizes, Double.self)
    case .int32: plain(sizes, Int32(0)) { $0 &+ $1 &* $2 }
    case .int64: plain(sizes, Int64(0)) { $0 &+ $1 &* $2 }
    case .uint64: plain(sizes, UInt64(0)) { $0 &+ $1 &* $2 }
    case .complex64: plain(sizes, ComplexValue<Float>(0, 0)) { $0 + $1 * $2 }
    case .complex128: plain(sizes, ComplexValue<Double>(0, 0)) { $0 + $1 * $2 }
    default: nil
    }
  }

  private static func blas<E: BlasElement>(_ sizes: Sizes, _: E.Type) -> Direct {
    let s = sizes
    if s.offsets.count == 1 {
      let offset = s.offsets[0]
      let bytes = GemmGrid.scratchBytes(
        m: s.m, n: s.n, k: s.k, elementBytes: MemoryLayout<E>.stride)
      return (
        bytes,
        { a, b, c, scratch, pool in
          gemm(
            transA: s.transA, transB: s.transB, m: s.m, n: s.n, k: s.k,
            a: a.assumingMemoryBound(to: E.self) + offset.a, lda: s.lda,
            b: b.assumingMemoryBound(to: E.self) + offset.b, ldb: s.ldb,
            c: c.assumingMemoryBound(to: E.self), ldc: s.ldc, pool: pool, scratch: scratch)
        }
      )
    }
    return (
      0,
      { a, b, c, _, pool in
        batchGemm(
          count: s.offsets.count,
          offsets: { (s.offsets[$0].a, s.offsets[$0].b, $0 * s.m * s.n) }, transA: s.transA,
          transB: s.transB, m: s.m, n: s.n, k: s.k, a: a.assumingMemoryBound(to: E.self),
          lda: s.lda, b: b.assumingMemoryBound(to: E.self), ldb: s.ldb,
          c: c.assumingMemoryBound(to: E.self), ldc: s.ldc, pool: pool)
      }
    )
  }

  private static func plain<E: Sendable>(
    _ sizes: Sizes, _ zero: E, _ multiplyAdd: @escaping @Sendable (E, E, E) -> E
  ) -> Direct {
    let s = sizes
    return (
      0,
      { a, b, c, _, pool in
        for (index, offset) in s.offsets.enumerated() {
          plainGemm(
            transA: s.transA, transB: s.transB, m: s.m, n: s.n, k: s.k,
            a: a.assumingMemoryBound(to: E.self) + offset.a, lda: s.lda,
            b: b.assumingMemoryBound(to: E.self) + offset.b, ldb: s.ldb,
            c: c.assumingMemoryBound(to: E.self) + index * s.m * s.n, ldc: s.ldc, pool: pool,
            zero: zero, multiplyAdd: multiplyAdd)
        }
      }
    )
  }
}

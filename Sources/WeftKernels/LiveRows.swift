// Sequences of different lengths: where each ends, and products of their rows that leave out the
// steps beyond.

package import WeftTensors

/// The rows `[S, B]` of B sequences in S steps, time-major: row (i, b) is live while
/// i + first < lengths[b].
package struct LiveRows: Sendable, Hashable {
  package var steps: Int
  package var batch: Int
  /// The step of a sequence that row (0, b) is.
  package var first: Int

  package init(steps: Int, batch: Int, first: Int) {
    (self.steps, self.batch, self.first) = (steps, batch, first)
  }

  /// Writes the places of live rows in order; gives their number.
  func list(_ lengths: UnsafePointer<Int32>, into rows: UnsafeMutablePointer<Int32>) -> Int {
    var count = 0
    for step in 0..<steps {
      for b in 0..<batch where step + first < Int(lengths[b]) {
        rows[count] = Int32(truncatingIfNeeded: step * batch + b)
        count += 1
      }
    }
    return count
  }

  /// For each sequence, one more than the last step whose `mask` or `scale` is not zero. Rows
  /// `[S, B]`, or `[B, S]` when `isBatchMajor`.
  package func lengths(
    mask: UnsafeRawPointer, scale: UnsafeRawPointer?, _ dtype: DType, isBatchMajor: Bool,
    into lengths: UnsafeMutablePointer<Int32>
  ) {
    func find<E: BinaryFloatingPoint>(_: E.Type) {
      let mask = mask.assumingMemoryBound(to: E.self)
      let scale = scale?.assumingMemoryBound(to: E.self)
      for b in 0..<batch {
        var step = steps
        while step > 0 {
          let row = isBatchMajor ? b * steps + step - 1 : (step - 1) * batch + b
          if mask[row] != 0 || (scale?[row] ?? 0) != 0 { break }
          step -= 1
        }
        lengths[b] = Int32(truncatingIfNeeded: step)
      }
    }
    if dtype == .float32 { find(Float.self) } else { find(Double.self) }
  }
}

/// C = A op(B) for live rows of A; other rows of C become zero, or stay as they are.
package struct LiveRowsProduct: Sendable {
  private static let blockRows = 96
  /// Each works on every so many blocks, with memory of its own.
  private static let strips = 16

  private let rows: LiveRows
  private let product: SharedProduct
  private let fills: Bool
  /// Bytes of a row of A and of C.
  private let rowBytes: (a: Int, c: Int)
  /// Bytes of scratch memory.
  package let scratchBytes: Int

  /// For float32 and float64, A [rows, k], C [rows, n]; nil for other types.
  package init?(
    _ rows: LiveRows, n: Int, k: Int, transposingB: Bool, fills: Bool, _ dtype: DType
  ) {
    guard let product = SharedProduct(n: n, k: k, transposingB: transposingB, dtype) else {
      return nil
    }
    self.rows = rows
    self.product = product
    self.fills = fills
    rowBytes = (k * dtype.byteSize, n * dtype.byteSize)
    let own = Self.strips * Self.blockRows * (rowBytes.a + rowBytes.c)
    scratchBytes = own + wholeLines(product.packedBytes) + rows.steps * rows.batch * 4
  }

  package func run(
    _ a: UnsafeRawPointer, _ b: UnsafeRawPointer, lengths: UnsafePointer<Int32>,
    _ c: UnsafeMutableRawPointer, scratch: UnsafeMutableRawPointer, pool: ThreadPool
  ) {
    let panels = scratch
    let blocks = panels + wholeLines(product.packedBytes)
    let blockBytes = Self.blockRows * (rowBytes.a + rowBytes.c)
    let list = (blocks + Self.strips * blockBytes).assumingMemoryBound(to: Int32.self)
    product.pack(b, panels)
    let count = rows.list(lengths, into: list)
    let blockCount = (count + Self.blockRows - 1) / Self.blockRows
    let (bytesA, bytesC) = rowBytes
    pool.parallel(min(Self.strips, blockCount)) { strip in
      let left = blocks + strip * blockBytes
      let right = left + Self.blockRows * bytesA
      for block in stride(from: strip, to: blockCount, by: Self.strips) {
        let first = block * Self.blockRows
        let size = min(Self.blockRows, count - first)
        for i in 0..<size {
          (left + i * bytesA).copyMemory(
            from: a + Int(list[first + i]) * bytesA, byteCount: bytesA)
        }
        product.run(left, panels, right, size)
        for i in 0..<size {
          (c + Int(list[first + i]) * bytesC).copyMemory(
            from: right + i * bytesC, byteCount: bytesC)
        }
      }
    }
    guard fills, count < rows.steps * rows.batch else { return }
    pool.split(rows.steps, grain: max(1, (1 << 18) / max(1, rows.batch * bytesC))) {
      lower, upper in
      for step in lower..<upper {
        for b in 0..<rows.batch where step + rows.first >= Int(lengths[b]) {
          (c + (step * rows.batch + b) * bytesC).initializeMemory(
            as: UInt8.self, repeating: 0, count: bytesC)
        }
      }
    }
  }
}

/// C = A^T B summed over live rows.
package struct LiveRowsSum: Sendable {
  private static let blockRows = 512
  private static let tileColumns = 64

  private let rows: LiveRows
  private let (m, n): (Int, Int)
  private let dtype: DType
  package let scratchBytes: Int

  /// For float32 and float64, A [rows, m], B [rows, n]; nil for other types.
  package init?(_ rows: LiveRows, m: Int, n: Int, _ dtype: DType) {
    guard dtype == .float32 || dtype == .float64, m > 0, n > 0,
      Double(m + n) * Double(Self.blockRows) < 0x1p40
    else { return nil }
    self.rows = rows
    (self.m, self.n) = (m, n)
    self.dtype = dtype
    // Rows of A and B, B's in panels, places.
    let perRow = m + n + (n + Self.tileColumns)
    scratchBytes = (Self.blockRows * perRow) * dtype.byteSize + rows.steps * rows.batch * 4
  }

  package func run(
    _ a: UnsafeRawPointer, _ b: UnsafeRawPointer, lengths: UnsafePointer<Int32>,
    _ c: UnsafeMutableRawPointer, scratch: UnsafeMutableRawPointer, pool: ThreadPool
  ) {
    if dtype == .float32 {
      sum(Float.self, a, b, lengths, c, scratch, pool)
    } else {
      sum(Double.self, a, b, lengths, c, scratch, pool)
    }
  }

  // Each column of C is one thread's, and takes rows in order: bits do not depend on threads.
  private func sum<E: PanelElement>(
    _: E.Type, _ a: UnsafeRawPointer, _ b: UnsafeRawPointer, _ lengths: UnsafePointer<Int32>,
    _ c: UnsafeMutableRawPointer, _ scratch: UnsafeMutableRawPointer, _ pool: ThreadPool
  ) {
    let (m, n) = (self.m, self.n)
    let a = a.assumingMemoryBound(to: E.self)
    let b = b.assumingMemoryBound(to: E.self)
    let c = c.assumingMemoryBound(to: E.self)
    let left = scratch.assumingMemoryBound(to: E.self)
    let right = left + Self.blockRows * m
    let panels = right + Self.blockRows * n
    let list = UnsafeMutableRawPointer(panels + Self.blockRows * (n + Self.tileColumns))
      .assumingMemoryBound(to: Int32.self)
    let count = rows.list(lengths, into: list)
    if count == 0 { c.update(repeating: 0, count: m * n) }
    for first in stride(from: 0, to: count, by: Self.blockRows) {
      let size = min(Self.blockRows, count - first)
      pool.split(size, grain: max(1, (1 << 15) / (m + n))) { lower, upper in
        for i in lower..<upper {
          let row = Int(list[first + i])
          (left + i * m).update(from: a + row * m, count: m)
          (right + i * n).update(from: b + row * n, count: n)
        }
      }
      pool.parallel((n + Self.tileColumns - 1) / Self.tileColumns) { tile in
        let from = tile * Self.tileColumns
        let columns = min(Self.tileColumns, n - from)
        let own = panels + Self.blockRows * from
        E.pack(right + from, row: n, column: 1, k: size, n: columns, into: own)
        PanelProduct<E>(m, columns, size, lda: 0, ldc: n, accumulate: first > 0)
          .transposingA(lda: m).run(left, own, c + from)
      }
    }
  }
}

private func wholeLines(_ bytes: Int) -> Int { (bytes + 63) / 64 * 64 }

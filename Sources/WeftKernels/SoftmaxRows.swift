// Softmax, log-softmax and cross-entropy over rows.

internal import CWeftVectorMath
package import WeftTensors

/// Row-wise softmax loops.
package enum SoftmaxKernels {
  private static func grain(_ cols: Int) -> Int { max(1, 8_192 / max(1, cols)) }

  /// Softmax or log-softmax of each of `rows` rows; false for a type that is not a float.
  package static func softmax(
    _ dtype: DType, _ x: UnsafeRawPointer, _ y: UnsafeMutableRawPointer, rows: Int, cols: Int,
    isLog: Bool, pool: ThreadPool
  ) -> Bool {
    if cols == 0 { return dtype.isFloating }
    func floats(_ from: UnsafePointer<Float>, _ to: UnsafeMutablePointer<Float>, _ n: Int) {
      if isLog {
        weft_log_softmax_rows_f32(from, cols, to, cols, n, cols)
      } else {
        weft_softmax_rows_f32(from, cols, to, cols, n, cols)
      }
    }
    func narrow<E: RealElement>(_: E.Type) where E.Wide == Float {
      pool.split(rows, grain: grain(cols)) { lo, hi in
        withUnsafeTemporaryAllocation(of: Float.self, capacity: cols) { row in
          guard let base = row.baseAddress else { return }
          for r in lo..<hi {
            let from = x.assumingMemoryBound(to: E.self) + r * cols
            let to = y.assumingMemoryBound(to: E.self) + r * cols
            for c in 0..<cols { base[c] = from[c].wide }
            floats(base, base, 1)
            for c in 0..<cols { to[c] = E(wide: base[c]) }
          }
        }
      }
    }
    switch dtype {
    case .float32:
      pool.split(rows, grain: grain(cols)) { lo, hi in
        floats(
          x.assumingMemoryBound(to: Float.self) + lo * cols,
          y.assumingMemoryBound(to: Float.self) + lo * cols, hi - lo)
      }
    case .float64:
      pool.split(rows, grain: grain(cols)) { lo, hi in
        let from = x.assumingMemoryBound(to: Double.self) + lo * cols
        let to = y.assumingMemoryBound(to: Double.self) + lo * cols
        if isLog {
          weft_log_softmax_rows_f64(from, cols, to, cols, hi - lo, cols)
        } else {
          weft_softmax_rows_f64(from, cols, to, cols, hi - lo, cols)
        }
      }
    case .bfloat16: narrow(BFloat16.self)
    #if !(os(macOS) && arch(x86_64))
      case .float16: narrow(Float16.self)
    #endif
    default: return false
    }
    return true
  }

  /// Cross-entropy against one label a row: loss [rows], gradient [rows, cols]. Labels (int32 or
  /// int64) have been checked. False for a type that is not a float.
  package static func sparseCrossEntropy(
    _ dtype: DType, _ logits: UnsafeRawPointer, labels: UnsafeRawPointer, isWide: Bool,
    loss: UnsafeMutableRawPointer, gradient: UnsafeMutableRawPointer, rows: Int, cols: Int,
    pool: ThreadPool
  ) -> Bool {
    func floats(
      _ x: UnsafePointer<Float>, _ first: Int, _ loss: UnsafeMutablePointer<Float>,
      _ dx: UnsafeMutablePointer<Float>, _ n: Int
    ) {
      if isWide {
        _ = weft_softmax_xent_rows_f32_i64(
          x, cols, labels.assumingMemoryBound(to: Int64.self) + first, loss, dx, cols, n, cols)
      } else {
        _ = weft_softmax_xent_rows_f32_i32(
          x, cols, labels.assumingMemoryBound(to: Int32.self) + first, loss, dx, cols, n, cols)
      }
    }
    func narrow<E: RealElement>(_: E.Type) where E.Wide == Float {
      pool.split(rows, grain: grain(cols)) { lo, hi in
        withUnsafeTemporaryAllocation(of: Float.self, capacity: cols + 1) { row in
          guard let base = row.baseAddress else { return }
          for r in lo..<hi {
            let from = logits.assumingMemoryBound(to: E.self) + r * cols
            let to = gradient.assumingMemoryBound(to: E.self) + r * cols
            for c in 0..<cols { base[c] = from[c].wide }
            floats(base, r, base + cols, base, 1)
            for c in 0..<cols { to[c] = E(wide: base[c]) }
            loss.assumingMemoryBound(to: E.self)[r] = E(wide: base[cols])
          }
        }
      }
    }
    switch dtype {
    case .float32:
      pool.split(rows, grain: grain(cols)) { lo, hi in
        floats(
          logits.assumingMemoryBound(to: Float.self) + lo * cols, lo,
          loss.assumingMemoryBound(to: Float.self) + lo,
          gradient.assumingMemoryBound(to: Float.self) + lo * cols, hi - lo)
      }
    case .float64:
      pool.split(rows, grain: grain(cols)) { lo, hi in
        let x = logits.assumingMemoryBound(to: Double.self) + lo * cols
        let l = loss.assumingMemoryBound(to: Double.self) + lo
        let dx = gradient.assumingMemoryBound(to: Double.self) + lo * cols
        if isWide {
          _ = weft_softmax_xent_rows_f64_i64(
            x, cols, labels.assumingMemoryBound(to: Int64.self) + lo, l, dx, cols, hi - lo,
            cols)
        } else {
          _ = weft_softmax_xent_rows_f64_i32(
            x, cols, labels.assumingMemoryBound(to: Int32.self) + lo, l, dx, cols, hi - lo,
            cols)
        }
      }
    case .bfloat16: narrow(BFloat16.self)
    #if !(os(macOS) && arch(x86_64))
      case .float16: narrow(Float16.self)
    #endif
    default: return false
    }
    return true
  }

  /// A matrix [rows, cols] that may repeat one row or one column: strides of zero broadcast.
  package struct Operand: @unchecked Sendable {
    let base: UnsafeRawPointer
    let rowStride: Int
    let colStride: Int
    /// A matrix of its own shape, broadcast where a size is one.
    package init(_ base: UnsafeRawPointer, rows: Int, cols: Int) {
      self.base = base
      rowStride = rows == 1 ? 0 : cols
      colStride = cols == 1 ? 0 : 1
    }
    func isPlain(_ cols: Int) -> Bool { colStride == 1 || cols == 1 }
  }

  /// Cross-entropy against a distribution a row; operands broadcast to [rows, cols].
  package static func crossEntropy(
    _ dtype: DType, _ logits: Operand, labels: Operand, loss: UnsafeMutableRawPointer,
    gradient: UnsafeMutableRawPointer, rows: Int, cols: Int, pool: ThreadPool
  ) -> Bool {
    // Whole matrices go to the vector loop; everything else is copied out row by row.
    let direct = logits.isPlain(cols) && labels.isPlain(cols)
    switch dtype {
    case .float32 where direct:
      pool.split(rows, grain: grain(cols)) { lo, hi in
        for r in lo..<hi {
          weft_softmax_xent_dense_rows_f32(
            logits.base.assumingMemoryBound(to: Float.self) + r * logits.rowStride, cols,
            labels.base.assumingMemoryBound(to: Float.self) + r * labels.rowStride, cols,
            loss.assumingMemoryBound(to: Float.self) + r,
            gradient.assumingMemoryBound(to: Float.self) + r * cols, cols, 1, cols)
        }
      }
      return true
    case .float64 where direct:
      pool.split(rows, grain: grain(cols)) { lo, hi in
        for r in lo..<hi {
          weft_softmax_xent_dense_rows_f64(
            logits.base.assumingMemoryBound(to: Double.self) + r * logits.rowStride, cols,
            labels.base.assumingMemoryBound(to: Double.self) + r * labels.rowStride, cols,
            loss.assumingMemoryBound(to: Double.self) + r,
            gradient.assumingMemoryBound(to: Double.self) + r * cols, cols, 1, cols)
        }
      }
      return true
    default:
      return withRealType(
        dtype,
        CrossEntropyTask(
          logits: logits, labels: labels, loss: loss, gradient: gradient, rows: rows, cols: cols,
          pool: pool))
    }
  }

  private struct CrossEntropyTask: RealTask {
    let logits: Operand
    let labels: Operand
    let loss: UnsafeMutableRawPointer
    let gradient: UnsafeMutableRawPointer
    let rows: Int
    let cols: Int
    let pool: ThreadPool

    func run<E: RealElement>(_: E.Type) {
      pool.split(rows, grain: max(1, 8_192 / max(1, cols))) { lo, hi in
        for r in lo..<hi {
          let x = logits.base.assumingMemoryBound(to: E.self) + r * logits.rowStride
          let p = labels.base.assumingMemoryBound(to: E.self) + r * labels.rowStride
          let dx = gradient.assumingMemoryBound(to: E.self) + r * cols
          var largest = -E.Wide.infinity
          for c in 0..<cols { largest = max(largest, x[c * logits.colStride].wide) }
          var sum: E.Wide = 0
          for c in 0..<cols {
            sum += E.Wide.exponential(x[c * logits.colStride].wide - largest)
          }
          let logSum = E.Wide.logarithm(sum)
          var total: E.Wide = 0
          for c in 0..<cols {
            let shifted = x[c * logits.colStride].wide - largest
            let label = p[c * labels.colStride].wide
            // A label of zero adds nothing, even where its logit is -inf.
            if label != 0 { total += label * (logSum - shifted) }
            dx[c] = E(wide: E.Wide.exponential(shifted) / sum - label)
          }
          loss.assumingMemoryBound(to: E.self)[r] = E(wide: total)
        }
      }
    }
  }
}

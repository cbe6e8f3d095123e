// The largest elements of rows.

package import WeftTensors

/// Top-k loops.
package enum TopKKernels {
  /// The `k` largest of each row in falling order, equal ones by rising index; NaN comes last.
  /// `order` has room for `cols` integers. False for a type without an order.
  package static func topK(
    _ dtype: DType, _ x: UnsafeRawPointer, values: UnsafeMutableRawPointer,
    indices: UnsafeMutableRawPointer, _ indexType: DType, rows: Int, cols: Int, k: Int,
    order: UnsafeMutablePointer<Int>
  ) -> Bool {
    if k == 0 || rows == 0 { return true }
    func store(_ place: Int, _ index: Int) {
      switch indexType {
      case .int64: indices.assumingMemoryBound(to: Int64.self)[place] = Int64(index)
      case .int16:
        indices.assumingMemoryBound(to: Int16.self)[place] = Int16(truncatingIfNeeded: index)
      default:
        indices.assumingMemoryBound(to: Int32.self)[place] = Int32(truncatingIfNeeded: index)
      }
    }
    func run<E: StateNumber, Key: Comparable>(_: E.Type, _ key: (E) -> Key) {
      for row in 0..<rows {
        let from = x.assumingMemoryBound(to: E.self) + row * cols
        let to = values.assumingMemoryBound(to: E.self) + row * k
        // a before b: larger, or equal with the lower index; numbers before NaN.
        func before(_ a: Int, _ b: Int) -> Bool {
          let (u, v) = (key(from[a]), key(from[b]))
          if u > v { return true }
          if u < v { return false }
          if u == v { return a < b }
          let (uNaN, vNaN) = (u != u, v != v)
          return uNaN == vNaN ? a < b : vNaN
        }
        if k == 1 {
          var best = 0
          for c in 1..<max(1, cols) where before(c, best) { best = c }
          to[0] = from[best]
          store(row, best)
          continue
        }
        // A heap of the k best, the worst on top; then sorted.
        var size = 0
        func siftDown(_ start: Int) {
          var parent = start
          while true {
            let left = 2 * parent + 1
            if left >= size { return }
            var worst = left
            if left + 1 < size && before(order[left], order[left + 1]) { worst = left + 1 }
            if before(order[worst], order[parent]) { return }
            (order[parent], order[worst]) = (order[worst], order[parent])
            parent = worst
          }
        }
        for c in 0..<cols {
          if size < k {
            order[size] = c
            size += 1
            if size == k { for p in stride(from: k / 2 - 1, through: 0, by: -1) { siftDown(p) } }
          } else if before(c, order[0]) {
            order[0] = c
            siftDown(0)
          }
        }
        while size > 1 {
          size -= 1
          (order[0], order[size]) = (order[size], order[0])
          siftDown(0)
        }
        for i in 0..<k {
          to[i] = from[order[i]]
          store(row * k + i, order[i])
        }
      }
    }
    switch dtype {
    case .float32: run(Float.self) { $0 }
    case .float64: run(Double.self) { $0 }
    case .bfloat16: run(BFloat16.self) { $0.float }
    #if !(os(macOS) && arch(x86_64))
      case .float16: run(Float16.self) { $0 }
    #endif
    case .int8: run(Int8.self) { $0 }
    case .int16: run(Int16.self) { $0 }
    case .int32: run(Int32.self) { $0 }
    case .int64: run(Int64.self) { $0 }
    case .uint8: run(UInt8.self) { $0 }
    case .uint16: run(UInt16.self) { $0 }
    case .uint32: run(UInt32.self) { $0 }
    case .uint64: run(UInt64.self) { $0 }
    default: return false
    }
    return true
  }

  /// Whether fewer than `k` predictions of each row exceed the target's; false when the target is
  /// no class or a prediction that counts is not finite.
  package static func inTopK(
    _ predictions: UnsafePointer<Float>, _ targets: IndexList, _ out: UnsafeMutablePointer<Bool>,
    cols: Int, k: Int
  ) {
    for row in 0..<targets.count {
      let from = predictions + row * cols
      let target = targets[row]
      guard target >= 0, target < cols, from[target].isFinite else {
        out[row] = false
        continue
      }
      var above = 0
      var isKnown = true
      for c in 0..<cols {
        if !from[c].isFinite {
          isKnown = false
          break
        }
        if from[c] > from[target] {
          above += 1
          if above > k { break }
        }
      }
      out[row] = isKnown && above < k
    }
  }
}

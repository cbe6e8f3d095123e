// Row gathers and index checks on raw memory.

public import WeftTensors

/// Integer types that index tensors.
public typealias IndexElement = TensorElement & FixedWidthInteger

/// The position of the first of `count` indices outside `0 ..< limit`, if any.
public func firstIndexOutOfRange<Index: IndexElement>(
  _ indices: UnsafePointer<Index>, _ count: Int, limit: Int
) -> Int? {
  // Two passes: the first has no exit and vectorizes.
  let bound = UInt64(UInt(bitPattern: limit))
  var bad = false
  for i in 0..<count { bad = bad || UInt64(truncatingIfNeeded: indices[i]) >= bound }
  if !bad { return nil }
  for i in 0..<count where UInt64(truncatingIfNeeded: indices[i]) >= bound { return i }
  return nil
}

/// `output[b, o, i] = params[b, o, indices[b, i]]` for rows of `rowBytes` bytes.
///
/// `params` is `[batch, outer, axis]` rows, `indices` `[batch, count]`, all in range.
public struct RowGather: Sendable {
  /// Leading dimensions that params and indices share.
  public var batch: Int
  /// Dimensions of params between those and the gathered axis.
  public var outer: Int
  /// The size of the gathered axis.
  public var axis: Int
  /// The number of indices of one batch entry.
  public var count: Int
  /// The bytes of one row.
  public var rowBytes: Int

  /// A gather of rows.
  public init(batch: Int, outer: Int, axis: Int, count: Int, rowBytes: Int) {
    self.batch = batch
    self.outer = outer
    self.axis = axis
    self.count = count
    self.rowBytes = rowBytes
  }

  /// Copies the rows.
  public func run<Index: FixedWidthInteger>(
    _ params: UnsafeRawPointer, _ indices: UnsafePointer<Index>, _ output: UnsafeMutableRawPointer,
    _ pool: ThreadPool
  ) {
    if rowBytes == 0 || count == 0 { return }
    let total = batch * outer * count
    pool.split(total, grain: max(1, RowCopy.grainBytes / rowBytes)) { lower, upper in
      var at = lower
      while at < upper {
        let (block, first) = at.quotientAndRemainder(dividingBy: count)
        let end = min(count, first + upper - at)
        let rows = params + block &* axis &* rowBytes
        let ids = indices + (block / outer) &* count
        let out = output + block &* count &* rowBytes
        if rowBytes == 4 {
          for i in first..<end {
            (out + i &* 4).storeBytes(
              of: (rows + Int(truncatingIfNeeded: ids[i]) &* 4).loadUnaligned(as: UInt32.self),
              as: UInt32.self)
          }
        } else {
          for i in first..<end {
            (out + i &* rowBytes).copyMemory(
              from: rows + Int(truncatingIfNeeded: ids[i]) &* rowBytes, byteCount: rowBytes)
          }
        }
        at += end - first
      }
    }
  }
}

/// The flat row of each index tuple, or the position of the first tuple out of range.
///
/// `indices` is `[count, sizes.count]`; the row of a tuple counts in row-major order of `sizes`.
@inline(__always)
public func flatRow<Index: IndexElement>(
  _ tuple: UnsafePointer<Index>, sizes: [Int], strides: [Int]
) -> Int? {
  var row = 0
  for d in sizes.indices {
    let at = Int(truncatingIfNeeded: tuple[d])
    guard at >= 0, at < sizes[d] else { return nil }
    row &+= at &* strides[d]
  }
  return row
}

// Copies of rows and strided boxes of elements, prepared once and run many times.

public import WeftTensors

/// A copy of `rows` blocks of `rowBytes` bytes, each side with its own distance between rows.
public struct RowCopy: Sendable {
  /// The number of rows.
  public var rows: Int
  /// The bytes of one row.
  public var rowBytes: Int
  /// The distance between rows of the source, in bytes.
  public var sourceStride: Int
  /// The distance between rows of the target, in bytes.
  public var targetStride: Int
  /// Where the first row of the source starts, in bytes.
  public var sourceOffset: Int
  /// Where the first row of the target starts, in bytes.
  public var targetOffset: Int

  /// Bytes below which a copy stays on one thread.
  static let grainBytes = 1 << 18

  /// A copy of rows; two sides without gaps become one row.
  public init(
    rows: Int, rowBytes: Int, sourceStride: Int, targetStride: Int, sourceOffset: Int = 0,
    targetOffset: Int = 0
  ) {
    self.rows = rowBytes == 0 ? 0 : rows
    self.rowBytes = rowBytes
    self.sourceStride = sourceStride
    self.targetStride = targetStride
    self.sourceOffset = sourceOffset
    self.targetOffset = targetOffset
    if rows > 1, sourceStride == rowBytes, targetStride == rowBytes {
      self.rowBytes = rows * rowBytes
      self.rows = 1
    }
  }

  /// What it copies to the start of the target, when that lies together in the source.
  public var piece: (offset: Int, bytes: Int)? {
    rows == 1 && targetOffset == 0 ? (sourceOffset, rowBytes) : nil
  }

  /// Copies; source and target must not overlap.
  public func run(
    _ source: UnsafeRawPointer, _ target: UnsafeMutableRawPointer, _ pool: ThreadPool
  ) {
    let from = source + sourceOffset
    let to = target + targetOffset
    if rows == 1 {
      if rowBytes <= RowCopy.grainBytes {
        to.copyMemory(from: from, byteCount: rowBytes)
      } else {
        pool.split(rowBytes, grain: RowCopy.grainBytes) { lower, upper in
          (to + lower).copyMemory(from: from + lower, byteCount: upper - lower)
        }
      }
      return
    }
    if rows <= 0 { return }
    if rows * rowBytes <= RowCopy.grainBytes {
      copy(from, to, 0, rows)
    } else {
      pool.split(rows, grain: max(1, RowCopy.grainBytes / rowBytes)) { lower, upper in
        copy(from, to, lower, upper)
      }
    }
  }

  private func copy(
    _ from: UnsafeRawPointer, _ to: UnsafeMutableRawPointer, _ lower: Int, _ upper: Int
  ) {
    if rowBytes == 4 {
      for row in lower..<upper {
        (to + row &* targetStride).storeBytes(
          of: (from + row &* sourceStride).loadUnaligned(as: UInt32.self), as: UInt32.self)
      }
      return
    }
    for row in lower..<upper {
      (to + row &* targetStride).copyMemory(
        from: from + row &* sourceStride, byteCount: rowBytes)
    }
  }
}

/// A copy of an N-dimensional box of elements between two strided layouts.
///
/// Source strides may be zero (broadcasting) or negative (reversal). Transposition, slicing,
/// padding, tiling and reversal are all such copies.
public struct StridedCopy: Sendable {
  // Dimensions outside the innermost one, outermost first; strides in bytes.
  private var sizes: [Int] = []
  private var source: [Int] = []
  private var target: [Int] = []
  private var outerCount = 1
  private var innerSize = 1
  private var innerSource = 0
  private var innerTarget = 0
  private var elementBytes: Int
  private let sourceOffset: Int
  private let targetOffset: Int
  private var isEmpty = false

  /// A copy of a box of `sizes` elements; strides and offsets are in elements.
  public init(
    elementBytes: Int, sizes: [Int], source: [Int], target: [Int], sourceOffset: Int = 0,
    targetOffset: Int = 0
  ) {
    self.elementBytes = elementBytes
    self.sourceOffset = sourceOffset * elementBytes
    self.targetOffset = targetOffset * elementBytes
    isEmpty = sizes.contains(0)
    var dims: [(size: Int, source: Int, target: Int)] = []
    for i in sizes.indices where sizes[i] != 1 {
      dims.append((sizes[i], source[i] * elementBytes, target[i] * elementBytes))
    }
    // Neighbours that are contiguous on both sides are one dimension.
    var merged: [(size: Int, source: Int, target: Int)] = []
    for dim in dims {
      if let last = merged.last, last.source == dim.source * dim.size,
        last.target == dim.target * dim.size
      {
        merged[merged.count - 1] = (last.size * dim.size, dim.source, dim.target)
      } else {
        merged.append(dim)
      }
    }
    // A short contiguous run is one wide element.
    if let last = merged.last, last.source == elementBytes, last.target == elementBytes,
      [2, 4, 8, 16].contains(last.size * elementBytes), merged.count > 1
    {
      self.elementBytes = last.size * elementBytes
      merged.removeLast()
    }
    // A transposition reads best when the dimension that is contiguous in the source stands
    // next to the one that is contiguous in the target.
    if merged.count > 2, let last = merged.last, last.source != self.elementBytes,
      let near = merged.firstIndex(where: { $0.source == self.elementBytes })
    {
      let dim = merged.remove(at: near)
      merged.insert(dim, at: merged.count - 1)
    }
    let inner = merged.popLast() ?? (1, self.elementBytes, self.elementBytes)
    innerSize = inner.size
    innerSource = inner.source
    innerTarget = inner.target
    self.sizes = merged.map(\.size)
    self.source = merged.map(\.source)
    self.target = merged.map(\.target)
    outerCount = self.sizes.reduce(1, *)
  }

  /// What it copies to the start of the target, when that lies together in the source.
  public var piece: (offset: Int, bytes: Int)? {
    let isOne = innerSize == 1 || (innerSource == elementBytes && innerTarget == elementBytes)
    guard !isEmpty, outerCount == 1, isOne, targetOffset == 0 else { return nil }
    return (sourceOffset, innerSize * elementBytes)
  }

  /// Row-major strides of `shape`, in elements.
  public static func strides(_ shape: [Int]) -> [Int] {
    var strides = [Int](repeating: 1, count: shape.count)
    for i in stride(from: shape.count - 2, through: 0, by: -1) {
      strides[i] = strides[i + 1] * shape[i + 1]
    }
    return strides
  }

  /// Copies; source and target must not overlap.
  public func run(
    _ source: UnsafeRawPointer, _ target: UnsafeMutableRawPointer, _ pool: ThreadPool
  ) {
    if isEmpty { return }
    let from = source + sourceOffset
    let to = target + targetOffset
    let rowBytes = innerSize * elementBytes
    // Two transposed dimensions are copied tile by tile.
    let last = sizes.count - 1
    if last >= 0, innerSource != elementBytes, self.source[last] == elementBytes,
      innerTarget == elementBytes, sizes[last] >= 4, innerSize >= 4
    {
      let plane = sizes[last]
      let planes = outerCount / plane
      let tiles = (plane + 15) / 16
      let grain = max(1, RowCopy.grainBytes / (rowBytes * min(16, plane)))
      pool.split(planes * tiles, grain: grain) { lower, upper in
        for unit in lower..<upper {
          let (at, tile) = unit.quotientAndRemainder(dividingBy: tiles)
          let (s, t) = offsets(at, dims: last)
          transpose(from + s, to + t, tile * 16, min(plane, tile * 16 + 16), last)
        }
      }
      return
    }
    if outerCount == 1 {
      row(from, to, pool)
      return
    }
    pool.split(outerCount, grain: max(1, RowCopy.grainBytes / rowBytes)) { lower, upper in
      walk(from, to, lower, upper)
    }
  }

  // Byte offsets of position `index` among the first `dims` outer dimensions.
  private func offsets(_ index: Int, dims: Int) -> (Int, Int) {
    var rest = index
    var s = 0
    var t = 0
    var i = dims - 1
    while i >= 0 {
      let (next, at) = rest.quotientAndRemainder(dividingBy: sizes[i])
      s += at * source[i]
      t += at * target[i]
      rest = next
      i -= 1
    }
    return (s, t)
  }

  private func walk(
    _ from: UnsafeRawPointer, _ to: UnsafeMutableRawPointer, _ lower: Int, _ upper: Int
  ) {
    let last = sizes.count - 1
    let size = sizes[last]
    var index = lower
    while index < upper {
      var (s, t) = offsets(index, dims: last + 1)
      let steps = min(upper - index, size - index % size)
      for _ in 0..<steps {
        inner(from + s, to + t, 0, innerSize)
        s += source[last]
        t += target[last]
      }
      index += steps
    }
  }

  private func row(
    _ from: UnsafeRawPointer, _ to: UnsafeMutableRawPointer, _ pool: ThreadPool
  ) {
    pool.split(innerSize, grain: max(1, RowCopy.grainBytes / elementBytes)) { lower, upper in
      inner(from, to, lower, upper)
    }
  }

  private func inner(
    _ from: UnsafeRawPointer, _ to: UnsafeMutableRawPointer, _ lower: Int, _ upper: Int
  ) {
    if innerSource == elementBytes && innerTarget == elementBytes {
      (to + lower * elementBytes).copyMemory(
        from: from + lower * elementBytes, byteCount: (upper - lower) * elementBytes)
      return
    }
    switch elementBytes {
    case 1: elements(UInt8.self, from, to, lower, upper)
    case 2: elements(UInt16.self, from, to, lower, upper)
    case 4: elements(UInt32.self, from, to, lower, upper)
    case 8: elements(UInt64.self, from, to, lower, upper)
    default:
      for i in lower..<upper {
        (to + i * innerTarget).copyMemory(from: from + i * innerSource, byteCount: elementBytes)
      }
    }
  }

  @inline(__always)
  private func elements<Word: BitwiseCopyable>(
    _: Word.Type, _ from: UnsafeRawPointer, _ to: UnsafeMutableRawPointer, _ lower: Int,
    _ upper: Int
  ) {
    if innerSource == 0 {
      let word = from.loadUnaligned(as: Word.self)
      for i in lower..<upper {
        (to + i &* innerTarget).storeBytes(of: word, as: Word.self)
      }
      return
    }
    for i in lower..<upper {
      (to + i &* innerTarget).storeBytes(
        of: (from + i &* innerSource).loadUnaligned(as: Word.self), as: Word.self)
    }
  }

  private func transpose(
    _ from: UnsafeRawPointer, _ to: UnsafeMutableRawPointer, _ lower: Int, _ upper: Int, _ dim: Int
  ) {
    switch elementBytes {
    case 1: tiles(UInt8.self, from, to, lower, upper, target[dim])
    case 2: tiles(UInt16.self, from, to, lower, upper, target[dim])
    case 4: tiles(UInt32.self, from, to, lower, upper, target[dim])
    case 8: tiles(UInt64.self, from, to, lower, upper, target[dim])
    default:
      for r in lower..<upper {
        for c in 0..<innerSize {
          (to + (r * target[dim] + c * elementBytes)).copyMemory(
            from: from + (r * elementBytes + c * innerSource), byteCount: elementBytes)
        }
      }
    }
  }

  // Rows `lower ..< upper` of the target, in blocks of 16 columns.
  @inline(__always)
  private func tiles<Word: BitwiseCopyable>(
    _: Word.Type, _ from: UnsafeRawPointer, _ to: UnsafeMutableRawPointer, _ lower: Int,
    _ upper: Int, _ rowStride: Int
  ) {
    let bytes = MemoryLayout<Word>.size
    var column = 0
    while column < innerSize {
      let end = min(innerSize, column + 16)
      for r in lower..<upper {
        let s = from + r &* bytes
        let t = to + r &* rowStride
        for c in column..<end {
          (t + c &* bytes).storeBytes(
            of: (s + c &* innerSource).loadUnaligned(as: Word.self), as: Word.self)
        }
      }
      column = end
    }
  }
}

// Box-shaped parts of tensors: the partitions of partitioned variables.

internal import WeftTensors

/// A range on each axis of a tensor.
struct TensorBox: Hashable {
  /// Where the box begins on each axis.
  let starts: [Int]
  /// How long it is on each axis.
  let lengths: [Int]
  /// The number of elements.
  let count: Int

  /// A box within a tensor of shape `shape`; nil when it does not lie there.
  init?(starts: [Int], lengths: [Int], in shape: [Int]) {
    guard starts.count == shape.count, lengths.count == shape.count else { return nil }
    for ((start, length), size) in zip(zip(starts, lengths), shape) {
      guard (0...size).contains(start), (0...(size - start)).contains(length) else { return nil }
    }
    guard let count = Shape.checkedCount(lengths) else { return nil }
    self.starts = starts
    self.lengths = lengths
    self.count = count
  }

  /// Whether two boxes share an element.
  func overlaps(_ other: TensorBox) -> Bool {
    count > 0 && other.count > 0
      && starts.indices.allSatisfy {
        starts[$0] < other.starts[$0] + other.lengths[$0]
          && other.starts[$0] < starts[$0] + lengths[$0]
      }
  }

  /// Goes through the box in runs of bytes that lie together in a tensor of shape `shape`, whose
  /// size in bytes can be counted: where each is in the tensor, where in the box, and how long.
  func forEachRun(
    in shape: [Int], elementSize: Int, _ body: (_ whole: Int, _ part: Int, _ size: Int) -> Void
  ) {
    guard count > 0 else { return }
    // The innermost axes that the box covers whole, and the first that it does not, are one run.
    var outer = shape.count
    var run = elementSize
    var strides = shape
    var size = elementSize
    for axis in shape.indices.reversed() {
      if outer == axis + 1, run == size {
        run *= lengths[axis]
        outer = axis
      }
      strides[axis] = size
      size *= shape[axis]
    }
    var whole = zip(starts, strides).reduce(0) { $0 + $1.0 * $1.1 }
    var place = [Int](repeating: 0, count: outer)
    for part in stride(from: 0, to: count * elementSize, by: run) {
      body(whole, part, run)
      var axis = outer - 1
      while axis >= 0 {
        place[axis] += 1
        whole += strides[axis]
        if place[axis] < lengths[axis] { break }
        whole -= strides[axis] * lengths[axis]
        place[axis] = 0
        axis -= 1
      }
    }
  }
}

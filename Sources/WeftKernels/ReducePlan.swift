// How a reduction walks its input: neighbouring axes of one kind are merged into one.

/// Which elements of a row-major tensor are folded into which output.
///
/// After merging, axes alternate between kept and reduced ones. Either the innermost one is reduced
/// (each output folds rows), or it is kept (rows are folded into a row of outputs).
public struct ReducePlan: Sendable {
  /// Elements of the input.
  public let inputCount: Int
  /// Elements of the output.
  public let outputCount: Int
  /// Elements folded into one output.
  public let foldCount: Int
  /// Whether the innermost axis is reduced.
  public let foldsRows: Bool
  /// The length of the innermost axis.
  public let rowLength: Int
  // Element offsets in the input: of each group of outputs (an output when rows are folded, else a
  // row of outputs), and of each row within a group.
  let groupOffsets: OffsetTable
  let rowOffsets: OffsetTable

  /// The number of groups.
  public var groupCount: Int { groupOffsets.count }
  /// Rows in a group.
  public var rowCount: Int { rowOffsets.count }

  /// A plan to reduce a tensor of `shape` over `axes`, which are within the rank.
  public init(shape: [Int], axes: [Int]) {
    var isReduced = [Bool](repeating: false, count: shape.count)
    for axis in axes { isReduced[axis] = true }
    var sizes: [Int] = []
    var kinds: [Bool] = []
    for (axis, size) in shape.enumerated() where size != 1 {
      if kinds.last == isReduced[axis] {
        sizes[sizes.count - 1] = sizes[sizes.count - 1] &* size
      } else {
        sizes.append(size)
        kinds.append(isReduced[axis])
      }
    }
    // Wrapping products: with a size of zero the others may be of any size, and none is used.
    inputCount = shape.reduce(1, &*)
    outputCount = zip(shape, isReduced).reduce(1) { $1.1 ? $0 : $0 &* $1.0 }
    foldCount = zip(shape, isReduced).reduce(1) { $1.1 ? $0 &* $1.0 : $0 }
    foldsRows = kinds.last ?? true
    rowLength = sizes.last ?? 1
    var groups: [(Int, Int)] = []
    var rows: [(Int, Int)] = []
    var stride = rowLength
    for axis in Swift.stride(from: sizes.count - 2, through: 0, by: -1) {
      if kinds[axis] {
        rows.append((sizes[axis], stride))
      } else {
        groups.append((sizes[axis], stride))
      }
      stride = stride &* sizes[axis]
    }
    groupOffsets = OffsetTable(groups)
    rowOffsets = OffsetTable(rows)
  }
}

/// Element offsets of a mixed-radix counter.
struct OffsetTable: Sendable {
  let count: Int
  // Innermost first.
  private let digits: [(size: Int, stride: Int)]

  init(_ digits: [(Int, Int)]) {
    self.digits = digits.map { (size: $0.0, stride: $0.1) }
    count = digits.reduce(1) { $0 &* $1.0 }
  }

  @inline(__always)
  subscript(index: Int) -> Int {
    if digits.count == 1 { return index * digits[0].stride }
    var rest = index
    var result = 0
    for digit in digits {
      let next = rest / digit.size
      result += (rest - next * digit.size) * digit.stride
      rest = next
    }
    return result
  }
}

// Walking elementwise operands of one or several shapes, row by row, on the pool's threads.

public import WeftTensors

/// Elements of work below which a job is not shared out.
public let elementwiseGrain = 16_384

/// How operands of several shapes are walked to fill one broadcast output.
///
/// Neighbouring dimensions that all operands step through alike are merged, so that equal shapes
/// are one row, and a bias is one row for each row of the other operand.
public struct BroadcastPlan: Sendable {
  /// Elements of the output.
  public let count: Int
  /// Elements of one row of the output.
  public let rowLength: Int
  /// Each operand's element step within a row: 0 or 1.
  public let rowSteps: [Int]
  // Sizes of the outer dimensions, outermost first, and each operand's element strides along them.
  let outerSizes: [Int]
  let outerStrides: [[Int]]

  /// A plan for operands of shapes `inputs`, each of which broadcasts to `output`.
  public init(inputs: [[Int]], output: [Int]) {
    // Wrapping products: with a size of zero the others may be of any size, and none is used.
    count = output.reduce(1, &*)
    // Row-major element strides, 0 along broadcast dimensions.
    let strides = inputs.map { shape -> [Int] in
      var result = [Int](repeating: 0, count: output.count)
      var step = 1
      for axis in stride(from: shape.count - 1, through: 0, by: -1) {
        let place = axis + output.count - shape.count
        if shape[axis] != 1 { result[place] = step }
        step = step &* shape[axis]
      }
      return result
    }
    var sizes: [Int] = []
    var merged = [[Int]](repeating: [], count: inputs.count)
    for axis in output.indices where output[axis] != 1 {
      let size = output[axis]
      let fits =
        !sizes.isEmpty
        && inputs.indices.allSatisfy { merged[$0][sizes.count - 1] == strides[$0][axis] &* size }
      if fits {
        sizes[sizes.count - 1] = sizes[sizes.count - 1] &* size
        for i in inputs.indices { merged[i][sizes.count - 1] = strides[i][axis] }
      } else {
        sizes.append(size)
        for i in inputs.indices { merged[i].append(strides[i][axis]) }
      }
    }
    rowLength = sizes.last ?? 1
    // A scalar output: every operand is one element, read as a row of one.
    rowSteps = merged.map { $0.last ?? 1 }
    outerSizes = Array(sizes.dropLast())
    outerStrides = merged.map { Array($0.dropLast()) }
  }

  /// Element offset of row `row` of operand `operand`.
  @inline(__always)
  func offset(_ operand: Int, row: Int) -> Int {
    var rest = row
    var result = 0
    var axis = outerSizes.count - 1
    while axis >= 0 {
      let size = outerSizes[axis]
      let next = rest / size
      result += (rest - next * size) * outerStrides[operand][axis]
      rest = next
      axis -= 1
    }
    return result
  }

  /// Fills the output of a function of two operands.
  public func run(
    _ a: UnsafeRawPointer, _ b: UnsafeRawPointer, _ out: UnsafeMutableRawPointer, inputSize: Int,
    outputSize: Int, pool: ThreadPool, row: BinaryRow
  ) {
    let kind: RowKind =
      rowSteps[0] == rowSteps[1] ? .both : rowSteps[1] == 0 ? .scalarRight : .scalarLeft
    if outerSizes.isEmpty {
      let (stepA, stepB) = (rowSteps[0] * inputSize, rowSteps[1] * inputSize)
      pool.split(count, grain: elementwiseGrain) { lower, upper in
        row(a + lower * stepA, b + lower * stepB, out + lower * outputSize, upper - lower, kind)
      }
      return
    }
    pool.split(count, grain: elementwiseGrain) { lower, upper in
      var place = lower
      while place < upper {
        let index = place / rowLength
        let column = place - index * rowLength
        let n = Swift.min(rowLength - column, upper - place)
        row(
          a + (offset(0, row: index) + column * rowSteps[0]) * inputSize,
          b + (offset(1, row: index) + column * rowSteps[1]) * inputSize,
          out + place * outputSize, n, kind)
        place += n
      }
    }
  }

  /// Fills the output of a function of three operands.
  public func run(
    _ a: UnsafeRawPointer, sizeA: Int, _ b: UnsafeRawPointer, sizeB: Int, _ c: UnsafeRawPointer,
    sizeC: Int, _ out: UnsafeMutableRawPointer, outputSize: Int, pool: ThreadPool, row: TernaryRow
  ) {
    pool.split(count, grain: elementwiseGrain) { lower, upper in
      var place = lower
      while place < upper {
        let index = place / rowLength
        let column = place - index * rowLength
        let n = Swift.min(rowLength - column, upper - place)
        row(
          a + (offset(0, row: index) + column * rowSteps[0]) * sizeA, rowSteps[0],
          b + (offset(1, row: index) + column * rowSteps[1]) * sizeB, rowSteps[1],
          c + (offset(2, row: index) + column * rowSteps[2]) * sizeC, rowSteps[2],
          out + place * outputSize, n)
        place += n
      }
    }
  }
}

/// Fills the output of a function of one operand.
public func runUnary(
  _ x: UnsafeRawPointer, _ y: UnsafeMutableRawPointer, count: Int, inputSize: Int, outputSize: Int,
  pool: ThreadPool, row: UnaryRow
) {
  pool.split(count, grain: elementwiseGrain) { lower, upper in
    row(x + lower * inputSize, y + lower * outputSize, upper - lower)
  }
}

// A row from a scalar function; the closure is inlined into the loop.
@inline(__always)
func unaryRow<X, Y>(_ f: @escaping @Sendable (X) -> Y) -> UnaryRow {
  { x, y, n in
    let x = x.assumingMemoryBound(to: X.self)
    let y = y.assumingMemoryBound(to: Y.self)
    for i in 0..<n { y[i] = f(x[i]) }
  }
}

@inline(__always)
func binaryRow<X, Y>(_ f: @escaping @Sendable (X, X) -> Y) -> BinaryRow {
  { a, b, out, n, kind in
    let a = a.assumingMemoryBound(to: X.self)
    let b = b.assumingMemoryBound(to: X.self)
    let out = out.assumingMemoryBound(to: Y.self)
    switch kind {
    case .both: for i in 0..<n { out[i] = f(a[i], b[i]) }
    case .scalarRight:
      let s = b[0]
      for i in 0..<n { out[i] = f(a[i], s) }
    case .scalarLeft:
      let s = a[0]
      for i in 0..<n { out[i] = f(s, b[i]) }
    }
  }
}

extension BroadcastPlan {
  /// The element of operand `operand` that each element of the output takes.
  public func indices(_ operand: Int) -> [Int] {
    (0..<count).map { place in
      let row = place / rowLength
      return offset(operand, row: row) + (place - row * rowLength) * rowSteps[operand]
    }
  }
}

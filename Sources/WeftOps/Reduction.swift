// Reductions over axes: sum, mean, product, extremes, norm, all and any.

public import WeftGraph
internal import WeftKernels
internal import WeftTensors

private func reductionRow(
  _ name: String, _ reduction: Reduction, types: String?, summary: String, value: Values? = nil,
  gradient: GradientRule
) -> OpDef {
  let axes = "Tidx: {int32, int64} = int32"
  return OpDef(
    name,
    types == nil
      ? "input: bool, reduction_indices: Tidx -> output: bool"
      : "input: T, reduction_indices: Tidx -> output: T",
    "keep_dims: bool = false; " + (types.map { "T: {\($0)}; " } ?? "") + axes, summary: summary,
    infer: { ctx in [try ctx.reducedShape(keepDims: ctx.attrs.bool("keep_dims"))] },
    value: value, gradient: gradient, lowering: .kernel { ctx in try ctx.reduction(reduction) })
}

// The known integer that a vector reduces to; `start` is the value of an empty one.
private func reducedValue(
  _ start: Int?, _ f: @escaping @Sendable (Int, Int) -> Int?
) -> Values {
  { ctx in
    guard ctx.dtype(0).isInteger, ctx.shape(0).rank == 1, ctx.integers(1)?.count == 1,
      let all = ctx.integers(0)
    else { return nil }
    guard let first = all.first ?? start else { return nil }
    var total = first
    for next in all.dropFirst() {
      guard let sum = f(total, next) else { return nil }
      total = sum
    }
    return [.known(total)]
  }
}

private func meanGradient(_ g: GradientContext) throws -> Output {
  let dx = try Spread(g).full(g.gradient())
  if let all = g.input(0).shape.count, let some = g.output().shape.count {
    return try dx / Double(Swift.max(all, 1) / Swift.max(some, 1))
  }
  if let axes = knownAxes(g), let dims = g.input(0).shape.dims {
    let sizes = axes.compactMap { dims.indices.contains($0) ? dims[$0].size : nil }
    if sizes.count == axes.count { return try dx / Double(Swift.max(1, product(sizes))) }
  }
  let all = try size(g.input(0))
  let some = try maximum(size(g.output()), g.graph.constant(Int32(1)))
  return try dx / floorDiv(all, some).cast(to: dx.dtype)
}

// The product of all other elements: of those before, times of those after.
private func productGradient(_ g: GradientContext) throws -> Output {
  let x = g.input(0)
  guard let rank = x.shape.rank, let axes = knownAxes(g) else {
    return try productGradientOfAnyAxes(g)
  }
  let dx = try Spread(g).full(g.gradient())
  if axes.isEmpty { return dx }
  let permutation = axes + (0..<rank).filter { !axes.contains($0) }
  let isSorted = permutation == Array(0..<rank)
  let moved = isSorted ? x : try x.transposed(permutation: permutation)
  // The reduced axes as one, in front.
  let flat: Output
  if let sizes = moved.shape.known {
    let folded = product(sizes.prefix(axes.count))
    flat = try moved.reshaped(to: [folded, product(sizes.dropFirst(axes.count))])
  } else {
    let shape = try moved.shapeTensor()
    let front = try prod(
      shape.stridedSlice(begin: [0], end: [axes.count], strides: [1]), axes: [0], keepDims: true)
    let back = try prod(
      shape.stridedSlice(begin: [axes.count], end: [rank], strides: [1]), axes: [0], keepDims: true)
    flat = try moved.reshaped(to: concat([front, back], axis: 0))
  }
  let before = try cumulativeProduct(flat, axis: 0, exclusive: true)
  let after = try cumulativeProduct(flat, axis: 0, exclusive: true, reverse: true)
  let others: Output
  if let sizes = moved.shape.known {
    others = try (before * after).reshaped(to: sizes)
  } else {
    others = try (before * after).reshaped(to: moved.shapeTensor())
  }
  if isSorted { return try dx * others }
  var inverse = permutation
  for (to, from) in permutation.enumerated() { inverse[from] = to }
  return try dx * others.transposed(permutation: inverse)
}

// The same where the axes, or how many there are, are known only in a run.
private func productGradientOfAnyAxes(_ g: GradientContext) throws -> Output {
  let x = g.input(0)
  let dx = try Spread(g).full(g.gradient())
  let shape = try x.shapeTensor()
  let rank = try WeftOps.rank(x)
  let given = try g.input(1).cast(to: .int32).reshaped(to: [-1])
  let axes = try floorMod(given + rank, rank)
  let places = try range(g.graph.constant(Int32(0)), rank, g.graph.constant(Int32(1)))
  let kept = try listDiff(places, axes).values
  let permutation = try concat([axes, kept], axis: 0)
  let moved = try x.transposed(permutation: permutation)
  let flat = try moved.reshaped(
    to: concat(
      [
        prod(gather(shape, axes), axes: [0], keepDims: true),
        prod(gather(shape, kept), axes: [0], keepDims: true),
      ], axis: 0))
  let before = try cumulativeProduct(flat, axis: 0, exclusive: true)
  let after = try cumulativeProduct(flat, axis: 0, exclusive: true, reverse: true)
  let others = try (before * after).reshaped(to: moved.shapeTensor())
  return try dx * others.transposed(permutation: invertPermutation(permutation))
}

private func extremeGradient(_ g: GradientContext) throws -> Output {
  let spread = try Spread(g)
  let y = try spread.keepingDims(g.output())
  let dy = try spread.keepingDims(g.gradient())
  let hits = try equal(y, g.input(0)).cast(to: dy.dtype)
  let count = try spread.keepingDims(
    sumRow.node(
      [hits, g.input(1)], attrs: ["keep_dims": .bool(g.attrs.bool("keep_dims"))], nil, #fileID,
      #line))
  return try hits / count * dy
}

private func normGradient(_ g: GradientContext) throws -> Output {
  let spread = try Spread(g)
  return try g.input(0) / spread.keepingDims(g.output() / g.gradient())
}

let sumRow: OpDef = reductionRow(
  "Sum", .sum,
  types:
    "float, double, int32, uint8, int16, int8, complex64, int64, bfloat16, uint16, complex128, half, uint32, uint64",
  summary: "The sum over some axes.",
  value: reducedValue(0) { exact($0.addingReportingOverflow($1)) },
  gradient: .rule { g in [.dense(try Spread(g).full(g.gradient())), nil] })

/// The sum of `x` over `axes` (all when nil, none when empty).
///
/// An empty sum is zero. The gradient is dy, repeated over the axes (TensorFlow: `Sum`).
public func sum(
  _ x: Output, axes: [Int]? = nil, keepDims: Bool = false, name: String? = nil,
  file: StaticString = #fileID, line: UInt = #line
) throws -> Output {
  try sum(x, axes: x.axesTensor(axes), keepDims: keepDims, name: name, file: file, line: line)
}

/// The same over the axes that a tensor holds.
public func sum(
  _ x: Output, axes: Output, keepDims: Bool = false, name: String? = nil,
  file: StaticString = #fileID, line: UInt = #line
) throws -> Output {
  try sumRow.node([x, axes], attrs: ["keep_dims": .bool(keepDims)], name, file, line)
}

let meanRow: OpDef = reductionRow(
  "Mean", .mean,
  types:
    "float, double, int32, uint8, int16, int8, complex64, int64, bfloat16, uint16, complex128, half, uint32, uint64",
  summary: "The mean over some axes.",
  gradient: .rule { g in [.dense(try meanGradient(g)), nil] })

/// The mean of `x` over `axes` (all when nil, none when empty); integers are cut towards zero.
///
/// An empty mean is NaN. The gradient is dy, divided by the number of elements, repeated over the axes (TensorFlow: `Mean`).
public func mean(
  _ x: Output, axes: [Int]? = nil, keepDims: Bool = false, name: String? = nil,
  file: StaticString = #fileID, line: UInt = #line
) throws -> Output {
  try mean(x, axes: x.axesTensor(axes), keepDims: keepDims, name: name, file: file, line: line)
}

/// The same over the axes that a tensor holds.
public func mean(
  _ x: Output, axes: Output, keepDims: Bool = false, name: String? = nil,
  file: StaticString = #fileID, line: UInt = #line
) throws -> Output {
  try meanRow.node([x, axes], attrs: ["keep_dims": .bool(keepDims)], name, file, line)
}

let productRow: OpDef = reductionRow(
  "Prod", .product,
  types:
    "float, double, int32, uint8, int16, int8, complex64, int64, bfloat16, uint16, complex128, half, uint32, uint64",
  summary: "The product over some axes.",
  value: reducedValue(1) { exact($0.multipliedReportingOverflow(by: $1)) },
  gradient: .rule { g in [.dense(try productGradient(g)), nil] })

/// The product of `x` over `axes` (all when nil, none when empty).
///
/// An empty product is one. The gradient is dy times the product of the other elements, zeros included (TensorFlow: `Prod`).
public func prod(
  _ x: Output, axes: [Int]? = nil, keepDims: Bool = false, name: String? = nil,
  file: StaticString = #fileID, line: UInt = #line
) throws -> Output {
  try prod(x, axes: x.axesTensor(axes), keepDims: keepDims, name: name, file: file, line: line)
}

/// The same over the axes that a tensor holds.
public func prod(
  _ x: Output, axes: Output, keepDims: Bool = false, name: String? = nil,
  file: StaticString = #fileID, line: UInt = #line
) throws -> Output {
  try productRow.node([x, axes], attrs: ["keep_dims": .bool(keepDims)], name, file, line)
}

let maxRow: OpDef = reductionRow(
  "Max", .maximum,
  types: "float, double, int32, uint8, int16, int8, int64, bfloat16, uint16, half, uint32, uint64",
  summary: "The largest element over some axes.",
  value: reducedValue(nil) { Swift.max($0, $1) },
  gradient: .rule { g in [.dense(try extremeGradient(g)), nil] })

/// The largest element of `x` over `axes` (all when nil, none when empty); NaN when there is one.
///
/// The largest of nothing is the smallest value of the type. Equal elements share the gradient (TensorFlow: `Max`).
public func max(
  _ x: Output, axes: [Int]? = nil, keepDims: Bool = false, name: String? = nil,
  file: StaticString = #fileID, line: UInt = #line
) throws -> Output {
  try max(x, axes: x.axesTensor(axes), keepDims: keepDims, name: name, file: file, line: line)
}

/// The same over the axes that a tensor holds.
public func max(
  _ x: Output, axes: Output, keepDims: Bool = false, name: String? = nil,
  file: StaticString = #fileID, line: UInt = #line
) throws -> Output {
  try maxRow.node([x, axes], attrs: ["keep_dims": .bool(keepDims)], name, file, line)
}

let minRow: OpDef = reductionRow(
  "Min", .minimum,
  types: "float, double, int32, uint8, int16, int8, int64, bfloat16, uint16, half, uint32, uint64",
  summary: "The smallest element over some axes.",
  value: reducedValue(nil) { Swift.min($0, $1) },
  gradient: .rule { g in [.dense(try extremeGradient(g)), nil] })

/// The smallest element of `x` over `axes` (all when nil, none when empty); NaN when there is one.
///
/// The smallest of nothing is the largest value of the type. Equal elements share the gradient (TensorFlow: `Min`).
public func min(
  _ x: Output, axes: [Int]? = nil, keepDims: Bool = false, name: String? = nil,
  file: StaticString = #fileID, line: UInt = #line
) throws -> Output {
  try min(x, axes: x.axesTensor(axes), keepDims: keepDims, name: name, file: file, line: line)
}

/// The same over the axes that a tensor holds.
public func min(
  _ x: Output, axes: Output, keepDims: Bool = false, name: String? = nil,
  file: StaticString = #fileID, line: UInt = #line
) throws -> Output {
  try minRow.node([x, axes], attrs: ["keep_dims": .bool(keepDims)], name, file, line)
}

let euclideanNormRow: OpDef = reductionRow(
  "EuclideanNorm", .euclideanNorm,
  types:
    "float, double, int32, uint8, int16, int8, complex64, int64, bfloat16, uint16, complex128, half, uint32, uint64",
  summary: "The square root of the sum of squares over some axes.",
  gradient: .rule { g in [.dense(try normGradient(g)), nil] })

/// The square root of the sum of squares of `x` over `axes` (all when nil).
///
/// The gradient is dy x / y (TensorFlow: `EuclideanNorm`).
public func euclideanNorm(
  _ x: Output, axes: [Int]? = nil, keepDims: Bool = false, name: String? = nil,
  file: StaticString = #fileID, line: UInt = #line
) throws -> Output {
  try euclideanNorm(
    x, axes: x.axesTensor(axes), keepDims: keepDims, name: name, file: file, line: line)
}

/// The same over the axes that a tensor holds.
public func euclideanNorm(
  _ x: Output, axes: Output, keepDims: Bool = false, name: String? = nil,
  file: StaticString = #fileID, line: UInt = #line
) throws -> Output {
  try euclideanNormRow.node([x, axes], attrs: ["keep_dims": .bool(keepDims)], name, file, line)
}

let allRow: OpDef = reductionRow(
  "All", .all, types: nil, summary: "Whether all elements over some axes are true.",
  gradient: .zero)

/// Whether all elements of `x` over `axes` (all when nil) are true; true for none (TensorFlow: `All`).
public func all(
  _ x: Output, axes: [Int]? = nil, keepDims: Bool = false, name: String? = nil,
  file: StaticString = #fileID, line: UInt = #line
) throws -> Output {
  try all(x, axes: x.axesTensor(axes), keepDims: keepDims, name: name, file: file, line: line)
}

/// The same over the axes that a tensor holds.
public func all(
  _ x: Output, axes: Output, keepDims: Bool = false, name: String? = nil,
  file: StaticString = #fileID, line: UInt = #line
) throws -> Output {
  try allRow.node([x, axes], attrs: ["keep_dims": .bool(keepDims)], name, file, line)
}

let anyRow: OpDef = reductionRow(
  "Any", .any, types: nil, summary: "Whether any element over some axes is true.",
  gradient: .zero)

/// Whether any element of `x` over `axes` (all when nil) is true; false for none (TensorFlow: `Any`).
public func any(
  _ x: Output, axes: [Int]? = nil, keepDims: Bool = false, name: String? = nil,
  file: StaticString = #fileID, line: UInt = #line
) throws -> Output {
  try any(x, axes: x.axesTensor(axes), keepDims: keepDims, name: name, file: file, line: line)
}

/// The same over the axes that a tensor holds.
public func any(
  _ x: Output, axes: Output, keepDims: Bool = false, name: String? = nil,
  file: StaticString = #fileID, line: UInt = #line
) throws -> Output {
  try anyRow.node([x, axes], attrs: ["keep_dims": .bool(keepDims)], name, file, line)
}

let reductionRows = [
  sumRow, meanRow, productRow, maxRow, minRow, euclideanNormRow, allRow, anyRow,
]

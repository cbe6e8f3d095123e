// Counts and places: Bincount, HistogramFixedWidth, Bucketize, LowerBound, UpperBound, Cross.

public import WeftGraph
internal import WeftKernels
public import WeftTensors

let bincountRow: OpDef = OpDef(
  "Bincount", "arr: int32, size: int32, weights: T -> bins: T", "T: {int32, int64, float, double}",
  summary: "How often each integer occurs, or the sum of its weights.",
  infer: { ctx in
    guard let size = try ctx.oneInteger(1, "a size") else { return [Shape(unknownOfRank: 1)] }
    guard size >= 0 else { throw ctx.error("needs size >= 0, got \(size)") }
    return [Shape([size])]
  },
  gradient: .zero,
  lowering: .kernel { ctx in
    let (count, weighted) = (ctx.count(0), ctx.count(2) > 0)
    guard !weighted || ctx.count(2) == count else {
      throw ctx.error("needs as many weights as integers: \(ctx.shape(2)) vs \(ctx.shape(0))")
    }
    guard let run = countingRow(ctx.dtype(2)) else { throw ctx.unsupported(ctx.dtype(2)) }
    let bins = ctx.outputShape(0)[0]
    let failure = SegmentFailure(op: ctx.op.name)
    return Kernel(ctx.kernelName("bincount", ctx.dtype(2)), flops: count) { call in
      let x = call.input(0, as: Int32.self)
      for i in 0..<count where x[i] < 0 { throw failure.error("has a negative value: \(x[i])") }
      run(x, weighted ? call.rawInput(2) : nil, count, call.rawOutput(0), bins)
    }
  })

/// How often each of `0 ..< size` occurs in `x` (int32), or the sum of its weights; larger integers
/// are left out.
///
/// `weights` has x's shape, or no elements; its type is the result's. No gradient flows (TensorFlow:
/// `Bincount`).
/// - Throws: InvalidArgument, in a run, for negative integers.
public func bincount(
  _ x: Output, size: Output, weights: Output, name: String? = nil, file: StaticString = #fileID,
  line: UInt = #line
) throws -> Output { try bincountRow.node([x, size, weights], name, file, line) }

let histogramRow: OpDef = OpDef(
  "HistogramFixedWidth", "values: T, value_range: T, nbins: int32 -> out: dtype",
  "T: {int32, int64, float, double}; dtype: {int32, int64} = int32",
  summary: "How many values fall into each of equally wide bins.",
  infer: { ctx in
    if let dims = ctx.shape(1).dims, dims.count != 1 || !dims[0].isCompatible(with: 2) {
      throw ctx.error("needs a range of two values, got shape \(ctx.shape(1))")
    }
    guard let bins = try ctx.oneInteger(2, "nbins") else { return [Shape(unknownOfRank: 1)] }
    guard bins > 0 else { throw ctx.error("needs nbins > 0, got \(bins)") }
    return [Shape([bins])]
  },
  gradient: .zero,
  lowering: .kernel { ctx in
    let (dtype, out, count) = (ctx.dtype(0), ctx.outputs[0].dtype, ctx.count(0))
    let bins = ctx.outputShape(0)[0]
    guard let load = castRow(from: dtype, to: .float64) else { throw ctx.unsupported(dtype) }
    let size = dtype.byteSize
    let failure = SegmentFailure(op: ctx.op.name)
    return Kernel(ctx.kernelName("histogram", dtype), scratchBytes: bins &* 8, flops: count) {
      call in
      let counts = call.scratch.assumingMemoryBound(to: Int.self)
      for i in 0..<bins { counts[i] = 0 }
      let x = call.rawInput(0)
      var low = 0.0
      var high = 0.0
      load(call.rawInput(1), &low, 1)
      load(call.rawInput(1) + size, &high, 1)
      guard low < high else {
        throw failure.error("needs a rising value_range, got [\(low), \(high)]")
      }
      let step = (high - low) / Double(bins)
      var value = 0.0
      for i in 0..<count {
        load(x + i * size, &value, 1)
        let place = (value - low) / step
        // Values outside the range count in the outermost bins, NaN in the first.
        let bin = place >= Double(bins) ? bins - 1 : place > 0 ? Int(place) : 0
        counts[Swift.min(bin, bins - 1)] += 1
      }
      for i in 0..<bins { storeInteger(counts[i], call.rawOutput(0), i, dtype: out) }
    }
  })

/// How many values fall into each of `bins` equal parts of `range` (`[low, high]`); values outside
/// count in the outermost bins.
///
/// No gradient flows (TensorFlow: `HistogramFixedWidth`).
/// - Throws: InvalidArgument, in a run, unless low < high.
public func histogram(
  _ values: Output, range: Output, bins: Output, outputType: DType = .int32,
  name: String? = nil, file: StaticString = #fileID, line: UInt = #line
) throws -> Output {
  try histogramRow.node(
    [values, range, bins], attrs: ["dtype": .type(outputType)], name, file, line)
}

let bucketizeRow: OpDef = OpDef(
  "Bucketize", "input: T -> output: int32",
  "T: {int32, int64, float, double}; boundaries: list(float)",
  summary: "The number of boundaries that are not above each element.", traits: .elementwise,
  infer: { ctx in
    let bounds = try ctx.attrs.floats("boundaries")
    guard zip(bounds, bounds.dropFirst()).allSatisfy({ $0 <= $1 }) else {
      throw ctx.error("needs boundaries that do not fall, got \(bounds)")
    }
    return [ctx.shape(0)]
  },
  gradient: .zero,
  lowering: .kernel { ctx in
    let bounds = try ctx.attrs.floats("boundaries").map { Double($0) }
    guard let row = bucketRow(ctx.dtype(0), bounds) else { throw ctx.unsupported(ctx.dtype(0)) }
    let (count, size) = (ctx.count(0), ctx.dtype(0).byteSize)
    return Kernel(ctx.kernelName("bucketize", ctx.dtype(0)), flops: count) { call in
      runUnary(
        call.rawInput(0), call.rawOutput(0), count: count, inputSize: size, outputSize: 4,
        pool: call.pool, row: row)
    }
  })

/// The number of `boundaries`, which do not fall, that are not above each element. No gradient flows
/// (TensorFlow: `Bucketize`).
public func bucketize(
  _ x: Output, boundaries: [Float], name: String? = nil, file: StaticString = #fileID,
  line: UInt = #line
) throws -> Output {
  try bucketizeRow.node(
    [x], attrs: ["boundaries": .list(boundaries.map { .float($0) })], name, file, line)
}

private func boundRow(_ name: String, isUpper: Bool, _ summary: String) -> OpDef {
  OpDef(
    name, "sorted_inputs: T, values: T -> output: out_type",
    "T: type; out_type: {int32, int64} = int32", summary: summary,
    infer: { ctx in
      let (sorted, values) = (try ctx.shape(0, rank: 2), try ctx.shape(1, rank: 2))
      return [Shape(dims: [try ctx.merge(sorted[0], values[0], "numbers of rows"), values[1]])]
    },
    gradient: .zero,
    lowering: .kernel { ctx in
      let dtype = ctx.dtype(0)
      guard let search = searchRow(dtype, isUpper: isUpper) else { throw ctx.unsupported(dtype) }
      let (rows, length, count) = (ctx.shape(1)[0], ctx.shape(0)[1], ctx.shape(1)[1])
      let (size, out) = (dtype.byteSize, ctx.outputs[0].dtype)
      return Kernel(ctx.kernelName("search", dtype), flops: rows &* count) { call in
        for row in 0..<rows {
          let sorted = call.rawInput(0) + row * length * size
          for i in row * count..<(row + 1) * count {
            storeInteger(
              search(sorted, length, call.rawInput(1) + i * size), call.rawOutput(0), i,
              dtype: out)
          }
        }
      }
    })
}

let lowerBoundRow: OpDef = boundRow(
  "LowerBound", isUpper: false, "The number of sorted elements below each value.")
let upperBoundRow: OpDef = boundRow(
  "UpperBound", isUpper: true, "The number of sorted elements not above each value.")

/// The number of elements of each sorted row `[B, N]` that are below (with `right`, not above) each
/// of its values `[B, M]`. No gradient flows (TensorFlow: `LowerBound`, `UpperBound`).
public func searchSorted(
  _ sorted: Output, _ values: Output, right: Bool = false, outputType: DType = .int32,
  name: String? = nil, file: StaticString = #fileID, line: UInt = #line
) throws -> Output {
  try (right ? upperBoundRow : lowerBoundRow).node(
    [sorted, values], attrs: ["out_type": .type(outputType)], name, file, line)
}

let crossRow: OpDef = OpDef(
  "Cross", "a: T, b: T -> product: T", "T: realnumbertype",
  summary: "The cross products of vectors of three.",
  infer: { ctx in
    let shape = try ctx.merge(0, 1)
    if let dims = shape.dims {
      guard let last = dims.last, last.isCompatible(with: 3) else {
        throw ctx.error("needs vectors of three, got shape \(shape)")
      }
    }
    return [shape]
  },
  gradient: .rule { g in
    let dy = try g.gradient()
    return [.dense(try cross(g.input(1), dy)), .dense(try cross(dy, g.input(0)))]
  },
  lowering: .kernel { ctx in
    guard let run = crossRows(ctx.dtype(0)) else { throw ctx.unsupported(ctx.dtype(0)) }
    let count = ctx.count(0) / 3
    return Kernel(ctx.kernelName("cross", ctx.dtype(0)), flops: 9 &* count) { call in
      run(call.rawInput(0), call.rawInput(1), call.rawOutput(0), count)
    }
  })

/// The cross products of vectors `[..., 3]` of equal shapes. Gradients: b x dy and dy x a
/// (TensorFlow: `Cross`).
public func cross(
  _ a: Output, _ b: Output, name: String? = nil, file: StaticString = #fileID, line: UInt = #line
) throws -> Output { try crossRow.node([a, b], name, file, line) }

let histogramRows = [
  bincountRow, histogramRow, bucketizeRow, lowerBoundRow, upperBoundRow, crossRow,
]

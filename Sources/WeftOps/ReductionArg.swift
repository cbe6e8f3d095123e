// Places of extremes, running sums and products, half sums of squares, cross products.

public import WeftGraph
internal import WeftKernels
public import WeftTensors

private func argRow(_ name: String, largest: Bool, _ attributes: String, _ summary: String) -> OpDef
{
  OpDef(
    name, "input: T, dimension: Tidx -> output: output_type",
    "T: {float, double, int32, uint8, int16, int8, int64, bfloat16, uint16, half, uint32, uint64, bool}; "
      + attributes,
    summary: summary,
    infer: { ctx in
      guard var dims = ctx.shape(0).dims else { return [.unknown] }
      guard let axis = try ctx.oneInteger(1, "a dimension") else {
        return [Shape(unknownOfRank: Swift.max(0, dims.count - 1))]
      }
      dims.remove(at: try ctx.axisIndex(axis, rank: dims.count, "dimension"))
      return [Shape(dims: dims)]
    },
    gradient: .zero,
    lowering: .kernel { ctx in
      let (shape, dtype) = (ctx.shape(0), ctx.dtype(0))
      let axis = try ctx.axis(1, rank: shape.count)
      let length = shape[axis]
      let outer = product(shape[..<axis])
      let inner = product(shape[(axis + 1)...])
      let outType = ctx.outputs[0].dtype
      guard let row = WeftKernels.argRow(dtype, largest: largest) else {
        throw ctx.unsupported(dtype)
      }
      guard length > 0 || outer * inner == 0 else {
        throw ctx.error("looks for an extreme among no elements: input of shape \(shape)")
      }
      let (size, block) = (dtype.byteSize, 64)
      // Results are found in blocks of columns, so that rows of a matrix are read as they lie.
      let blocks = (inner + block - 1) / block
      let label = ctx.kernelName(largest ? "argMax" : "argMin", dtype)
      return Kernel(label, flops: product(shape)) { call in
        let (x, out) = (call.rawInput(0), call.rawOutput(0))
        let work = Swift.max(1, length * Swift.min(block, inner))
        call.pool.split(outer * blocks, grain: elementwiseGrain / work) { lower, upper in
          withUnsafeTemporaryAllocation(of: Int.self, capacity: block) { places in
            guard let found = places.baseAddress else { return }
            for task in lower..<upper {
              let (row0, column) = (task / blocks, task % blocks * block)
              let n = Swift.min(block, inner - column)
              row(x + (row0 * length * inner + column) * size, length, inner, found, n)
              for i in 0..<n {
                storeInteger(found[i], out, row0 * inner + column + i, dtype: outType)
              }
            }
          }
        }
      }
    })
}

let argMaxRow: OpDef = argRow(
  "ArgMax", largest: true,
  "Tidx: {int16, int32, int64} = int32; output_type: {int16, uint16, int32, int64} = int64",
  "The place of the first largest element along an axis.")

let argMinRow: OpDef = argRow(
  "ArgMin", largest: false,
  "Tidx: {int32, int64} = int32; output_type: {int32, int64} = int64",
  "The place of the first smallest element along an axis.")

/// The place of the first largest element along `axis`, which is dropped; NaN is never largest.
///
/// No gradient flows (TensorFlow: `ArgMax`).
public func argmax(
  _ x: Output, axis: Int, outputType: DType = .int64, name: String? = nil,
  file: StaticString = #fileID, line: UInt = #line
) throws -> Output {
  try argMaxRow.node(
    [x, x.graph.constant(Int32(clamping: axis))], attrs: ["output_type": .type(outputType)], name,
    file, line)
}

/// The place of the first smallest element along `axis`, which is dropped; NaN is never smallest.
///
/// No gradient flows (TensorFlow: `ArgMin`).
public func argmin(
  _ x: Output, axis: Int, outputType: DType = .int64, name: String? = nil,
  file: StaticString = #fileID, line: UInt = #line
) throws -> Output {
  try argMinRow.node(
    [x, x.graph.constant(Int32(clamping: axis))], attrs: ["output_type": .type(outputType)], name,
    file, line)
}

// MARK: - Running sums and products

private func cumulativeRow(
  _ name: String, product isProduct: Bool, _ summary: String, gradient: GradientRule
) -> OpDef {
  OpDef(
    name, "x: T, axis: Tidx -> out: T",
    "exclusive: bool = false; reverse: bool = false; T: {float, double, int32, uint8, int16, int8, complex64, int64, bfloat16, uint16, complex128, half, uint32, uint64}; Tidx: {int32, int64} = int32",
    summary: summary,
    infer: { ctx in
      if let rank = ctx.shape(0).rank, let axis = try ctx.oneInteger(1, "an axis") {
        _ = try ctx.axisIndex(axis, rank: rank)
      }
      return [ctx.shape(0)]
    }, gradient: gradient,
    lowering: .kernel { ctx in
      let (shape, dtype) = (ctx.shape(0), ctx.dtype(0))
      let axis = try ctx.axis(1, rank: shape.count)
      let (length, outer) = (shape[axis], product(shape[..<axis]))
      let inner = product(shape[(axis + 1)...])
      guard
        let row = scanRow(
          dtype, product: isProduct, exclusive: try ctx.attrs.bool("exclusive"),
          reverse: try ctx.attrs.bool("reverse"))
      else { throw ctx.unsupported(dtype) }
      let step = length &* inner &* dtype.byteSize
      return Kernel(
        ctx.kernelName(isProduct ? "cumprod" : "cumsum", dtype), inPlace: [[0]],
        flops: ctx.count(0)
      ) { call in
        let (x, out) = (call.rawInput(0), call.rawOutput(0))
        guard step > 0 else { return }
        call.pool.split(outer, grain: elementwiseGrain / Swift.max(1, length * inner)) {
          for index in $0..<$1 { row(x + index * step, out + index * step, length, inner) }
        }
      }
    })
}

let cumulativeSumRow: OpDef = cumulativeRow(
  "Cumsum", product: false, "Running sums along an axis.",
  gradient: .rule { g in
    let dx = try cumulativeSumRow.node(
      [g.gradient(), g.input(1)], attrs: try reversedAttrs(g), nil, #fileID, #line)
    return [.dense(dx), nil]
  })

let cumulativeProductRow: OpDef = cumulativeRow(
  "Cumprod", product: true, "Running products along an axis.",
  gradient: .rule { g in
    let weighted = try g.output() * g.gradient()
    let sums = try cumulativeSumRow.node(
      [weighted, g.input(1)], attrs: try reversedAttrs(g), nil, #fileID, #line)
    return [.dense(try divideNoNan(sums, g.input(0))), nil]
  })

private func reversedAttrs(_ g: GradientContext) throws -> [String: AttrValue] {
  [
    "exclusive": .bool(try g.attrs.bool("exclusive")),
    "reverse": .bool(!(try g.attrs.bool("reverse"))),
  ]
}

/// Running sums along `axis`; without the element itself when `exclusive`, from the end when
/// `reverse`.
///
/// The gradient is the running sum of dy in the other direction (TensorFlow: `Cumsum`).
public func cumulativeSum(
  _ x: Output, axis: Int, exclusive: Bool = false, reverse: Bool = false, name: String? = nil,
  file: StaticString = #fileID, line: UInt = #line
) throws -> Output {
  try cumulativeSumRow.node(
    [x, x.graph.constant(Int32(clamping: axis))],
    attrs: ["exclusive": .bool(exclusive), "reverse": .bool(reverse)], name, file, line)
}

/// Running products along `axis`; without the element itself when `exclusive`, from the end when
/// `reverse`.
///
/// The gradient is the reversed running sum of y dy, divided by x; zero where x is 0 (TensorFlow:
/// `Cumprod`).
public func cumulativeProduct(
  _ x: Output, axis: Int, exclusive: Bool = false, reverse: Bool = false, name: String? = nil,
  file: StaticString = #fileID, line: UInt = #line
) throws -> Output {
  try cumulativeProductRow.node(
    [x, x.graph.constant(Int32(clamping: axis))],
    attrs: ["exclusive": .bool(exclusive), "reverse": .bool(reverse)], name, file, line)
}

// MARK: - Half a sum of squares

let halfSquareRow: OpDef = OpDef(
  "L2Loss", "t: T -> output: T", "T: {half, bfloat16, float, double}",
  summary: "Half the sum of squares.", infer: { _ in [.scalar] },
  gradient: .rule { g in [.dense(try g.input(0) * g.gradient())] },
  lowering: .kernel { ctx in
    let (dtype, count) = (ctx.dtype(0), ctx.count(0))
    switch dtype {
    case .float32:
      return Kernel("l2LossFloat32", scratchBytes: 512, flops: 2 &* count) { call in
        let partial = call.scratch.assumingMemoryBound(to: Double.self)
        call.output(0, as: Float.self)[0] = halfSquareSum(
          call.input(0, as: Float.self), count: count, partial: partial, pool: call.pool)
      }
    case .float64:
      return Kernel("l2LossFloat64", flops: 2 &* count) { call in
        call.output(0, as: Double.self)[0] = halfSquareSum(
          call.input(0, as: Double.self), count: count)
      }
    default:
      guard count < 1 << 48, let load = castRow(from: dtype, to: .float32),
        let store = castRow(from: .float32, to: dtype)
      else { throw ctx.unsupported(dtype) }
      let bytes = count * 4
      return Kernel(ctx.kernelName("l2Loss", dtype), scratchBytes: bytes + 1024) { call in
        let partial = (call.scratch + (bytes + 63) / 64 * 64).assumingMemoryBound(to: Double.self)
        load(call.rawInput(0), call.scratch, count)
        var half = halfSquareSum(
          UnsafePointer(call.scratch.assumingMemoryBound(to: Float.self)), count: count,
          partial: partial, pool: call.pool)
        store(&half, call.rawOutput(0), 1)
      }
    }
  })

/// Half the sum of squares of all elements. The gradient is dy x (TensorFlow: `L2Loss`).
public func l2Loss(
  _ x: Output, name: String? = nil, file: StaticString = #fileID, line: UInt = #line
) throws -> Output { try halfSquareRow.node([x], name, file, line) }

let reductionArgRows = [
  argMaxRow, argMinRow, cumulativeSumRow, cumulativeProductRow, halfSquareRow,
]

// Sums of many tensors of one shape.

public import WeftGraph
internal import WeftKernels
internal import WeftTensors

private func mergeAll(_ ctx: InferContext) throws -> Shape {
  var shape = Shape.unknown
  for index in ctx.inputs.indices {
    guard let merged = shape.merged(with: ctx.shape(index)) else {
      throw ctx.error("needs equal shapes: \(shape) vs \(ctx.shape(index))")
    }
    shape = merged
  }
  return shape
}

private let addAllLowering = Lowering.kernel { ctx in
  let (inputs, dtype, count) = (ctx.inputs.count, ctx.dtype(0), ctx.count(0))
  if inputs == 1 { return .alias() }
  if dtype == .variant { return ListArithmetic.sum(ctx) }
  guard let add = BinaryFunction.add.row(dtype) else { throw ctx.unsupported(dtype) }
  let size = dtype.byteSize
  // Only the first two are read before the sum is first written.
  return Kernel(
    ctx.kernelName("addN", dtype), inPlace: [[0, 1]], flops: count &* (inputs - 1)
  ) { call in
    addAll(
      call.arguments, inputCount: inputs, call.rawOutput(0), count: count, elementBytes: size,
      pool: call.pool, add: add)
  }
}

private let sumToAll = GradientRule.rule { g in
  let dy = try g.gradient()
  return Array(repeating: .dense(dy), count: g.inputCount)
}

let addNRow: OpDef = OpDef(
  "AddN", "inputs: N * T -> sum: T",
  "N: int >= 1; T: {float, double, int32, uint8, int16, int8, complex64, int64, bfloat16, uint16, complex128, half, uint32, uint64, variant}",
  summary: "The sum of its inputs, added in order.", traits: [.elementwise, .commutative],
  infer: { ctx in [try mergeAll(ctx)] },
  handles: { ctx in [ctx.inputs.indices.lazy.compactMap { ctx.handle($0) }.first] },
  gradient: sumToAll, lowering: addAllLowering)

let accumulateRow: OpDef = OpDef(
  "AccumulateNV2", "inputs: N * T -> sum: T",
  "N: int >= 1; T: {float, double, int32, uint8, int16, int8, complex64, int64, bfloat16, uint16, complex128, half, uint32, uint64}; shape: shape",
  summary: "The sum of its inputs, added in order.", traits: [.elementwise, .commutative],
  infer: { ctx in
    guard let shape = try mergeAll(ctx).merged(with: ctx.attrs.shape("shape")) else {
      throw ctx.error("has inputs that do not fit the shape \(try ctx.attrs.shape("shape"))")
    }
    return [shape]
  }, gradient: sumToAll, lowering: addAllLowering)

/// The sum of tensors of one shape, added in order. The gradient of each is dy (TensorFlow: `AddN`).
/// - Throws: InvalidArgument when there is none, or shapes differ.
public func addN(
  _ xs: [Output], name: String? = nil, file: StaticString = #fileID, line: UInt = #line
) throws -> Output { try addNRow.node(xs, name, file, line) }

let broadcastGradientRow: OpDef = OpDef(
  "BroadcastGradientArgs", "s0: T, s1: T -> r0: T, r1: T", "T: {int32, int64} = int32",
  summary: "The axes over which gradients of two broadcast operands are summed.",
  infer: { ctx in
    if let s0 = ctx.integers(0), let s1 = ctx.integers(1) {
      guard let axes = broadcastAxes(s0, s1) else {
        throw ctx.error("cannot broadcast shapes \(s0) and \(s1)")
      }
      return [Shape([axes.0.count]), Shape([axes.1.count])]
    }
    return [Shape(unknownOfRank: 1), Shape(unknownOfRank: 1)]
  },
  value: { ctx in
    guard let s0 = ctx.integers(0), let s1 = ctx.integers(1) else { return nil }
    return broadcastAxes(s0, s1)?.0.map { .known($0) }
  },
  gradient: .zero,
  lowering: .kernel { ctx in
    let s0 = try ctx.integers(0, "its shapes")
    let s1 = try ctx.integers(1, "its shapes")
    guard let axes = broadcastAxes(s0, s1) else {
      throw ctx.error("cannot broadcast shapes \(s0) and \(s1)")
    }
    let dtype = ctx.outputs[0].dtype
    return Kernel("broadcastAxes") { call in
      for (i, axis) in axes.0.enumerated() {
        storeInteger(axis, call.rawOutput(0), i, dtype: dtype)
      }
      for (i, axis) in axes.1.enumerated() {
        storeInteger(axis, call.rawOutput(1), i, dtype: dtype)
      }
    }
  })

// For each of two shapes, the axes of the common shape along which it was repeated. An axis of size
// one in both counts for both, as TensorFlow has it; nil when the shapes do not broadcast.
private func broadcastAxes(_ s0: [Int], _ s1: [Int]) -> ([Int], [Int])? {
  if s0 == s1 { return ([], []) }
  let rank = Swift.max(s0.count, s1.count)
  var (r0, r1): ([Int], [Int]) = ([], [])
  for axis in 0..<rank {
    let (i, j) = (axis - (rank - s0.count), axis - (rank - s1.count))
    let a = i < 0 ? 1 : s0[i]
    let b = j < 0 ? 1 : s1[j]
    guard a == b || a == 1 || b == 1 else { return nil }
    if a == 1 { r0.append(axis) }
    if b == 1 { r1.append(axis) }
  }
  return (r0, r1)
}

/// The axes over which the gradients of two operands are summed, from their shape vectors
/// (TensorFlow: `BroadcastGradientArgs`).
public func broadcastGradientAxes(
  _ sx: Output, _ sy: Output, name: String? = nil, file: StaticString = #fileID,
  line: UInt = #line
) throws -> (Output, Output) {
  let node = try sx.graph.add(
    broadcastGradientRow.name, name: name, inputs: [sx, sy], file: file, line: line)
  return (
    Output(graph: sx.graph, edge: Edge(node: node.id, port: 0)),
    Output(graph: sx.graph, edge: Edge(node: node.id, port: 1))
  )
}

let sumRows = [addNRow, accumulateRow, broadcastGradientRow]

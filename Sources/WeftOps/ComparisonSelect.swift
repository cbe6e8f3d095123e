// Choice between two tensors, and clipping.

public import WeftGraph
internal import WeftKernels
internal import WeftTensors

let selectV2Row: OpDef = OpDef(
  "SelectV2", "condition: bool, t: T, e: T -> output: T", "T: type",
  summary: "t where the condition holds, else e, with broadcasting.", traits: .elementwise,
  infer: { ctx in
    guard let both = Shape.broadcast(ctx.shape(1), ctx.shape(2)),
      let all = Shape.broadcast(ctx.shape(0), both)
    else {
      throw ctx.error(
        "cannot broadcast shapes \(ctx.shape(0)), \(ctx.shape(1)) and \(ctx.shape(2))")
    }
    return [all]
  },
  value: { ctx in
    guard ctx.shape(0).rank == 0, let flag = ctx.integers(0)?.first,
      ctx.shape(1) == ctx.shape(2)
    else { return nil }
    return ctx.value(flag != 0 ? 1 : 2)
  },
  gradient: .rule { g in
    let (condition, dy) = (g.input(0), try g.gradient())
    let zeros = try zerosLike(dy)
    let dx = try select(condition, dy, zeros)
    let other = try select(condition, zeros, dy)
    // Each was broadcast against the output's shape.
    return [
      nil, .dense(try BroadcastPair(g.input(1), g.output()).sumLeft(dx)),
      .dense(try BroadcastPair(g.input(2), g.output()).sumLeft(other)),
    ]
  },
  lowering: .kernel { ctx in
    if ctx.dtype(1) == .string {
      return try stringSelect(
        ctx, BroadcastPlan(inputs: (0..<3).map { ctx.shape($0) }, output: ctx.outputShape(0)))
    }
    guard ctx.dtype(1).isPlain else { throw ctx.unsupported(ctx.dtype(1)) }
    return try ctx.elementwise(
      "select", WeftKernels.selectRow(byteSize: ctx.dtype(1).byteSize), inPlace: [1, 2])
  })

let selectRow: OpDef = OpDef(
  "Select", "condition: bool, t: T, e: T -> output: T", "T: type",
  summary: "t where the condition holds, else e; a vector condition chooses rows.",
  traits: .elementwise,
  infer: { ctx in
    let shape = try ctx.merge(1, 2)
    guard let condition = ctx.shape(0).dims, condition.count > 0 else { return [shape] }
    if let merged = shape.merged(with: ctx.shape(0)) { return [merged] }
    guard condition.count == 1, let dims = shape.dims, let first = dims.first,
      first.isCompatible(with: condition[0])
    else {
      throw ctx.error(
        "needs a condition of shape \(shape), or one for each row; got \(ctx.shape(0))")
    }
    return [Shape(dims: [first.merged(with: condition[0])] + dims.dropFirst())]
  },
  gradient: .rule { g in
    let (condition, dy) = (g.input(0), try g.gradient())
    let zeros = try zerosLike(dy)
    // This op again: its vector condition chooses rows, which broadcasting would not do.
    func choose(_ x: Output, _ y: Output) throws -> Output {
      try selectRow.node([condition, x, y], nil, #fileID, #line)
    }
    return [nil, .dense(try choose(dy, zeros)), .dense(try choose(zeros, dy))]
  },
  lowering: .kernel { ctx in
    let shape = ctx.outputShape(0)
    var condition = ctx.shape(0)
    // A vector condition stands for whole rows.
    if condition.count == 1 && shape.count > 1 {
      condition += Array(repeating: 1, count: shape.count - 1)
    }
    let plan = BroadcastPlan(inputs: [condition, shape, shape], output: shape)
    let dtype = ctx.dtype(1)
    if dtype == .string { return try stringSelect(ctx, plan) }
    guard let row = WeftKernels.selectRow(byteSize: dtype.byteSize) else {
      throw ctx.unsupported(dtype)
    }
    let size = dtype.byteSize
    var kernel = Kernel(
      ctx.kernelName("select", dtype), inPlace: [[1, 2]], flops: plan.count
    ) { call in
      plan.run(
        call.rawInput(0), sizeA: 1, call.rawInput(1), sizeB: size, call.rawInput(2), sizeC: size,
        call.rawOutput(0), outputSize: size, pool: call.pool, row: row)
    }
    // A vector condition does not broadcast as others do.
    if ctx.shape(0).count == shape.count { kernel.loop = .ternary(row) }
    return kernel
  })

private func stringSelect(_ ctx: LowerContext, _ plan: BroadcastPlan) throws -> Kernel {
  let places = (0..<3).map { plan.indices($0) }
  let shape = ctx.outputShape(0)
  return Kernel("selectString") { call in
    let condition = call.input(0, as: UInt8.self)
    let (x, y) = (try stringInput(call, 1).strings, try stringInput(call, 2).strings)
    let chosen = places[0].indices.map { i in
      condition[places[0][i]] != 0 ? x[places[1][i]] : y[places[2][i]]
    }
    call.setObject(try Tensor(strings: chosen, shape: shape), output: 0)
  }
}

/// `x` where `condition` holds, else `y`, elementwise; the three shapes broadcast.
///
/// The gradient goes to the chosen side; NaN of the other side does not leak into it (TensorFlow:
/// `SelectV2`).
public func select(
  _ condition: Output, _ x: Output, _ y: Output, name: String? = nil,
  file: StaticString = #fileID, line: UInt = #line
) throws -> Output { try selectV2Row.node([condition, x, y], name, file, line) }

let clipRow: OpDef = OpDef(
  "ClipByValue", "t: T, clip_value_min: T, clip_value_max: T -> output: T",
  "T: {float, double, int32, uint8, int16, int8, complex64, int64, bfloat16, uint16, complex128, half, uint32, uint64}",
  summary: "t, held between a lower and an upper bound.", traits: .elementwise,
  infer: { ctx in
    for index in 1...2 {
      let bound = ctx.shape(index)
      guard bound.rank == nil || bound.rank == 0 || bound.isCompatible(with: ctx.shape(0)) else {
        throw ctx.error("needs scalar bounds, or some of shape \(ctx.shape(0)); got \(bound)")
      }
    }
    return [ctx.shape(0)]
  },
  gradient: .rule { g in
    let (x, low, high) = (g.input(0), g.input(1), g.input(2))
    let dy = try g.gradient()
    let zeros = try zerosLike(dy)
    let (below, above) = (try less(x, low), try greater(x, high))
    let dx = try select(logicalOr(below, above), zeros, dy)
    let dLow = try select(below, dy, zeros)
    let dHigh = try select(above, dy, zeros)
    return [
      .dense(dx), .dense(try BroadcastPair(x, low).sumRight(dLow)),
      .dense(try BroadcastPair(x, high).sumRight(dHigh)),
    ]
  },
  lowering: .kernel { ctx in
    try ctx.elementwise("clip", WeftKernels.clipRow(ctx.dtype(0)), inPlace: [0])
  })

/// `x` held between `min` and `max`, which are scalars or of x's shape; NaN stays.
///
/// The gradient is dy within the bounds; outside, it goes to the bound (TensorFlow: `ClipByValue`).
public func clip(
  _ x: Output, min: Output, max: Output, name: String? = nil, file: StaticString = #fileID,
  line: UInt = #line
) throws -> Output { try clipRow.node([x, min, max], name, file, line) }

/// `x` held between two numbers; see `clip(_:min:max:)` of tensors.
public func clip(
  _ x: Output, min: Double, max: Double, name: String? = nil, file: StaticString = #fileID,
  line: UInt = #line
) throws -> Output {
  try clip(
    x, min: x.graph.constant(min, dtype: x.dtype), max: x.graph.constant(max, dtype: x.dtype),
    name: name, file: file, line: line)
}

let selectRows = [selectV2Row, selectRow, clipRow]

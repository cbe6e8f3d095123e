// Tensors made from sizes and scalars: Fill, ZerosLike, OnesLike, OneHot.

public import WeftGraph
internal import WeftKernels
internal import WeftTensors

enum FillRows {
  static let fill = OpDef(
    "Fill", "dims: index_type, value: T -> output: T",
    "T: type; index_type: {int32, int64} = int32",
    summary: "A tensor of given shape, every element one value.", traits: [.neverFold],
    infer: { ctx in
      if let rank = ctx.shape(1).rank, rank != 0 {
        throw ctx.error("needs a scalar value, got shape \(ctx.shape(1))")
      }
      return [try ctx.sizes(0, "its shape").map { Shape(dims: $0) } ?? .unknown]
    },
    value: { ctx in
      guard let dims = ctx.integers(0), dims.count <= 1, let count = Shape.checkedCount(dims),
        count <= 1_000, let one = ctx.value(1)?.first
      else { return nil }
      return Array(repeating: one, count: count)
    },
    gradient: .rule { g in [nil, .dense(try sum(try g.gradient()))] },
    lowering: .kernel { ctx in
      let dtype = ctx.dtype(1)
      let shape = ctx.outputShape(0)
      let count = product(shape)
      if dtype == .string {
        return Kernel("fillString") { call in
          let one = try stringInput(call, 1).strings.first ?? []
          call.setObject(
            try Tensor(strings: Array(repeating: one, count: count), shape: shape), output: 0)
        }
      }
      guard dtype.isPlain else { throw ctx.unsupported(dtype) }
      return Kernel(ctx.kernelName("fill", dtype)) { call in
        fillElements(
          call.rawOutput(0), count: count, value: call.rawInput(1), elementBytes: dtype.byteSize,
          call.pool)
      }
    })

  static let zerosLike = OpDef(
    "ZerosLike", "x: T -> y: T", "T: type",
    summary: "Zeros of the shape of its input.", traits: [.neverFold],
    infer: { ctx in [ctx.shape(0)] },
    value: { ctx in constantValue(ctx, 0) },
    handles: { ctx in [ctx.handle(0)] },
    gradient: .zero,
    lowering: .kernel { ctx in
      let dtype = ctx.dtype(0)
      if dtype == .variant { return ListArithmetic.zeros(ctx) }
      let shape = ctx.shape(0)
      let count = product(shape)
      if dtype == .string {
        return Kernel("zerosString") { call in
          call.setObject(
            try Tensor(strings: Array(repeating: [], count: count), shape: shape), output: 0)
        }
      }
      guard dtype.isPlain else { throw ctx.unsupported(dtype) }
      let bytes = count * dtype.byteSize
      return Kernel(ctx.kernelName("zeros", dtype)) { call in
        call.rawOutput(0).initializeMemory(as: UInt8.self, repeating: 0, count: bytes)
      }
    })

  private static func constantValue(_ ctx: InferContext, _ n: Int) -> [Dim]? {
    guard ctx.dtype(0).isInteger, let rank = ctx.shape(0).rank, rank <= 1,
      let count = ctx.shape(0).count, count <= 1_000
    else { return nil }
    return Array(repeating: .known(n), count: count)
  }

  static let onesLike = OpDef(
    "OnesLike", "x: T -> y: T",
    "T: {bfloat16, half, float, double, int8, uint8, int16, uint16, int32, uint32, int64, uint64, "
      + "complex64, complex128, bool}",
    summary: "Ones of the shape of its input.", traits: [.neverFold],
    infer: { ctx in [ctx.shape(0)] },
    value: { ctx in constantValue(ctx, 1) },
    gradient: .zero,
    lowering: .kernel { ctx in
      let dtype = ctx.dtype(0)
      let count = ctx.count(0)
      let one = try Tensor(1, dtype: dtype)
      return Kernel(ctx.kernelName("ones", dtype)) { call in
        fillElements(
          call.rawOutput(0), count: count, value: one.buffer.base, elementBytes: dtype.byteSize,
          call.pool)
      }
    })

  static let oneHot = OpDef(
    "OneHot", "indices: TI, depth: int32, on_value: T, off_value: T -> output: T",
    "axis: int = -1; T: type; TI: {uint8, int8, int32, int64} = int64",
    summary: "On at the places its input names along a new axis, off elsewhere.",
    infer: { ctx in
      for i in 1...3 {
        if let rank = ctx.shape(i).rank, rank != 0 {
          throw ctx.error("needs a scalar as input \(i), got shape \(ctx.shape(i))")
        }
      }
      let depth = ctx.integers(1)?.first
      if let depth, depth < 0 { throw ctx.error("depth must be non-negative, got \(depth)") }
      guard var dims = ctx.shape(0).dims else { return [.unknown] }
      let axis = try ctx.attrs.int("axis")
      let at = axis == -1 ? dims.count : axis
      guard at >= 0, at <= dims.count else {
        throw ctx.error("expected axis to be -1 or between [0, \(dims.count + 1)), got \(axis)")
      }
      dims.insert(depth.map { .known($0) } ?? ctx.value(1)?.first ?? .unknown, at: at)
      return [Shape(dims: dims)]
    },
    gradient: .zero,
    lowering: .kernel { ctx in
      switch ctx.dtype(0) {
      case .uint8: try lowerOneHot(ctx, UInt8.self)
      case .int8: try lowerOneHot(ctx, Int8.self)
      case .int32: try lowerOneHot(ctx, Int32.self)
      default: try lowerOneHot(ctx, Int64.self)
      }
    })

  private static func lowerOneHot<Index: IndexElement>(
    _ ctx: LowerContext, _: Index.Type
  ) throws -> Kernel {
    let dtype = ctx.dtype(2)
    let shape = ctx.shape(0)
    let axis = try ctx.attrs.int("axis")
    let at = axis == -1 ? shape.count : axis
    let depth = ctx.outputShape(0)[at]
    let outer = product(shape.prefix(at))
    let inner = product(shape.dropFirst(at))
    let total = ctx.outputCount(0)
    if dtype == .string {
      let outShape = ctx.outputShape(0)
      return Kernel("oneHotString") { call in
        let ids = call.input(0, as: Index.self)
        let on = try stringInput(call, 2).strings.first ?? []
        let off = try stringInput(call, 3).strings.first ?? []
        var all = [[UInt8]](repeating: off, count: total)
        for i in 0..<outer * inner {
          let id = Int(truncatingIfNeeded: ids[i])
          if id >= 0 && id < depth { all[(i / inner * depth + id) * inner + i % inner] = on }
        }
        call.setObject(try Tensor(strings: all, shape: outShape), output: 0)
      }
    }
    guard dtype.isPlain else { throw ctx.unsupported(dtype) }
    let bytes = dtype.byteSize
    return Kernel(ctx.kernelName("oneHot", dtype)) { call in
      let ids = call.input(0, as: Index.self)
      let out = call.rawOutput(0)
      let on = call.rawInput(2)
      fillElements(out, count: total, value: call.rawInput(3), elementBytes: bytes, call.pool)
      for i in 0..<outer * inner {
        let id = Int(truncatingIfNeeded: ids[i])
        // An index out of range is off everywhere.
        if id >= 0 && id < depth {
          (out + ((i / inner * depth + id) * inner + i % inner) * bytes)
            .copyMemory(from: on, byteCount: bytes)
        }
      }
    }
  }

  static let all = [fill, zerosLike, onesLike, oneHot]
}

/// A tensor of shape `dims` (an integer vector), every element the scalar `value`.
///
/// Gradient to `value`: the sum of dy. TensorFlow's Fill.
public func fill(
  dims: Output, value: Output, name: String? = nil, file: StaticString = #fileID,
  line: UInt = #line
) throws -> Output {
  try dims.graph.output(
    FillRows.fill.name, name: name, inputs: [dims, value], file: file, line: line)
}

/// A tensor of shape `dims`, every element the scalar `value`.
public func fill(
  dims: [Int], value: Output, name: String? = nil, file: StaticString = #fileID,
  line: UInt = #line
) throws -> Output {
  try fill(
    dims: try value.graph.constant(integers: dims, name: "dims", file: file, line: line),
    value: value, name: name, file: file, line: line)
}

/// Zeros of the shape and type of `x`. TensorFlow's ZerosLike.
public func zerosLike(
  _ x: Output, name: String? = nil, file: StaticString = #fileID, line: UInt = #line
) throws -> Output {
  try x.graph.output(FillRows.zerosLike.name, name: name, inputs: [x], file: file, line: line)
}

/// Ones of the shape and type of `x`. TensorFlow's OnesLike.
public func onesLike(
  _ x: Output, name: String? = nil, file: StaticString = #fileID, line: UInt = #line
) throws -> Output {
  try x.graph.output(FillRows.onesLike.name, name: name, inputs: [x], file: file, line: line)
}

/// A new axis of size `depth` that is `on` at the place each index names, `off` elsewhere.
///
/// `[B, T]` gives `[B, T, depth]`; an index out of range gives `off` alone. No gradient flows.
/// TensorFlow's OneHot; the values are float32 1 and 0 unless given.
public func oneHot(
  _ indices: Output, depth: Int, on: Output? = nil, off: Output? = nil, axis: Int = -1,
  name: String? = nil, file: StaticString = #fileID, line: UInt = #line
) throws -> Output {
  let graph = indices.graph
  let dtype = on?.dtype ?? off?.dtype ?? .float32
  let inputs = [
    indices, try graph.constant(integer: depth, name: "depth", file: file, line: line),
    try on ?? graph.constant(1, dtype: dtype, name: "on_value", file: file, line: line),
    try off ?? graph.constant(0, dtype: dtype, name: "off_value", file: file, line: line),
  ]
  return try graph.output(
    FillRows.oneHot.name, name: name, inputs: inputs, attrs: ["axis": .int(Int64(axis))],
    file: file, line: line)
}

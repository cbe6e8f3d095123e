// Ops that tell shapes: Shape, ShapeN, Size, Rank, BroadcastArgs.

public import WeftGraph
internal import WeftKernels
public import WeftTensors

enum ShapeRows {
  // A kernel that writes integers known since it was lowered.
  static func integerKernel(_ ctx: LowerContext, _ all: [[Int]]) throws -> Kernel {
    let dtype = ctx.outputs.first?.dtype ?? .int32
    let most = dtype == .int32 ? Int(Int32.max) : Int.max
    for values in all {
      for n in values where n > most { throw ctx.error("\(n) does not fit int32") }
    }
    let narrow = all.map { $0.map { Int32(truncatingIfNeeded: $0) } }
    let wide = all.map { $0.map { Int64($0) } }
    return Kernel(ctx.kernelName("integers", dtype)) { call in
      if dtype == .int32 {
        for (i, values) in narrow.enumerated() {
          let out = call.output(i, as: Int32.self)
          for k in values.indices { out[k] = values[k] }
        }
      } else {
        for (i, values) in wide.enumerated() {
          let out = call.output(i, as: Int64.self)
          for k in values.indices { out[k] = values[k] }
        }
      }
    }
  }

  static let shape = OpDef(
    "Shape", "input: T -> output: out_type", "T: type; out_type: {int32, int64} = int32",
    summary: "The sizes of its input's dimensions.",
    infer: { ctx in [Shape(dims: [ctx.shape(0).rank.map { .known($0) } ?? .unknown])] },
    value: { ctx in ctx.shape(0).dims },
    gradient: .zero,
    lowering: .kernel { ctx in try integerKernel(ctx, [ctx.shape(0)]) })

  static let shapeN = OpDef(
    "ShapeN", "input: N * T -> output: N * out_type",
    "N: int >= 1; T: type; out_type: {int32, int64} = int32",
    summary: "The shapes of its inputs.",
    infer: { ctx in
      ctx.inputs.map { Shape(dims: [$0.shape.rank.map { .known($0) } ?? .unknown]) }
    },
    value: { ctx in ctx.shape(0).dims },
    gradient: .zero,
    lowering: .kernel { ctx in
      try integerKernel(ctx, ctx.inputs.indices.map { ctx.shape($0) })
    })

  static let size = OpDef(
    "Size", "input: T -> output: out_type", "T: type; out_type: {int32, int64} = int32",
    summary: "The number of elements of its input.",
    infer: { _ in [.scalar] },
    value: { ctx in ctx.shape(0).count.map { [.known($0)] } },
    gradient: .zero,
    lowering: .kernel { ctx in try integerKernel(ctx, [[ctx.count(0)]]) })

  static let rank = OpDef(
    "Rank", "input: T -> output: int32", "T: type",
    summary: "The number of dimensions of its input.",
    infer: { _ in [.scalar] },
    value: { ctx in ctx.shape(0).rank.map { [.known($0)] } },
    gradient: .zero,
    lowering: .kernel { ctx in try integerKernel(ctx, [[ctx.shape(0).count]]) })

  // The broadcast of two shapes given as values; nil when they do not fit.
  private static func broadcast(_ a: [Int], _ b: [Int]) -> [Int]? {
    let rank = max(a.count, b.count)
    var out: [Int] = []
    for i in 0..<rank {
      let p = i < rank - a.count ? 1 : a[i - (rank - a.count)]
      let q = i < rank - b.count ? 1 : b[i - (rank - b.count)]
      guard p == q || p == 1 || q == 1 else { return nil }
      out.append(p == 1 ? q : p)
    }
    return out
  }

  static let broadcastArgs = OpDef(
    "BroadcastArgs", "s0: T, s1: T -> r0: T", "T: {int32, int64} = int32",
    summary: "The shape that two shapes broadcast to.",
    infer: { ctx in
      let a = try ctx.shape(0, rank: 1)[0]
      let b = try ctx.shape(1, rank: 1)[0]
      guard let m = a.size, let n = b.size else { return [Shape(unknownOfRank: 1)] }
      if let x = ctx.integers(0), let y = ctx.integers(1), broadcast(x, y) == nil {
        throw ctx.error("shapes \(x) and \(y) do not broadcast")
      }
      return [[.known(max(m, n))]]
    },
    value: { ctx in
      guard let x = ctx.value(0), let y = ctx.value(1) else { return nil }
      return Shape.broadcast(Shape(dims: x), Shape(dims: y))?.dims
    },
    gradient: .zero,
    lowering: .kernel { ctx in
      let a = try ctx.integers(0, "the first shape")
      let b = try ctx.integers(1, "the second shape")
      guard let out = broadcast(a, b) else {
        throw ctx.error("shapes \(a) and \(b) do not broadcast")
      }
      return try integerKernel(ctx, [out])
    })

  static let all = [shape, shapeN, size, rank, broadcastArgs]
}

extension Output {
  /// The shape as a tensor: a constant when every size is known, else TensorFlow's Shape.
  public func shapeTensor(
    _ dtype: DType = .int32, name: String? = nil, file: StaticString = #fileID, line: UInt = #line
  ) throws -> Output {
    if let known = shape.known {
      return try graph.constant(
        integers: known, dtype: dtype, name: name ?? ShapeRows.shape.name, file: file, line: line)
    }
    return try graph.output(
      ShapeRows.shape.name, name: name, inputs: [self], attrs: ["out_type": .type(dtype)],
      file: file, line: line)
  }
}

/// The number of elements of `x` as a scalar (TensorFlow's Size); a constant when it is known.
public func size(
  _ x: Output, dtype: DType = .int32, name: String? = nil, file: StaticString = #fileID,
  line: UInt = #line
) throws -> Output {
  if let count = x.shape.count {
    return try x.graph.constant(
      integer: count, dtype: dtype, name: name ?? ShapeRows.size.name, file: file, line: line)
  }
  return try x.graph.output(
    ShapeRows.size.name, name: name, inputs: [x], attrs: ["out_type": .type(dtype)], file: file,
    line: line)
}

/// The number of dimensions of `x` as an int32 scalar (TensorFlow's Rank).
public func rank(
  _ x: Output, name: String? = nil, file: StaticString = #fileID, line: UInt = #line
) throws -> Output {
  if let rank = x.shape.rank {
    return try x.graph.constant(
      integer: rank, name: name ?? ShapeRows.rank.name, file: file, line: line)
  }
  return try x.graph.output(ShapeRows.rank.name, name: name, inputs: [x], file: file, line: line)
}

/// The shapes of several tensors of one type (TensorFlow's ShapeN).
public func shapes(
  _ xs: [Output], dtype: DType = .int32, name: String? = nil, file: StaticString = #fileID,
  line: UInt = #line
) throws -> [Output] {
  guard let graph = xs.first?.graph else { return [] }
  let node = try graph.add(
    ShapeRows.shapeN.name, name: name, inputs: xs, attrs: ["out_type": .type(dtype)], file: file,
    line: line)
  return graph.outputs(of: node)
}

// Rows at places that index tuples name: GatherNd, ScatterNd, TensorScatter*.

public import WeftGraph
internal import WeftKernels
internal import WeftTensors

/// Calls `body` with the Swift type of `dtype`'s elements, if scatters combine them.
func withScatterType<Result>(
  _ dtype: DType, _ body: (any ScatterElement.Type) throws -> Result
) throws -> Result? {
  switch dtype {
  case .bool: return try body(Bool.self)
  case .int8: return try body(Int8.self)
  case .int16: return try body(Int16.self)
  case .int32: return try body(Int32.self)
  case .int64: return try body(Int64.self)
  case .uint8: return try body(UInt8.self)
  case .uint16: return try body(UInt16.self)
  case .uint32: return try body(UInt32.self)
  case .uint64: return try body(UInt64.self)
  case .float32: return try body(Float.self)
  case .float64: return try body(Double.self)
  case .bfloat16: return try body(BFloat16.self)
  case .complex64: return try body(ComplexValue<Float>.self)
  case .complex128: return try body(ComplexValue<Double>.self)
  #if !(os(macOS) && arch(x86_64))
    case .float16: return try body(Float16.self)
  #endif
  default: return nil
  }
}

/// Calls `body` with the Swift type of an index dtype.
func withIndexType<Result>(
  _ dtype: DType, _ body: (any IndexElement.Type) throws -> Result
) throws -> Result? {
  switch dtype {
  case .int16: try body(Int16.self)
  case .uint16: try body(UInt16.self)
  case .int32: try body(Int32.self)
  case .int64: try body(Int64.self)
  default: nil
  }
}

/// Index tuples `[..., depth]` into a tensor of `shape`.
struct TupleIndex: Sendable {
  let tuples: [Int]
  let depth: Int
  let sizes: [Int]
  let strides: [Int]
  let row: Int
  let ignoresBad: Bool
  var count: Int { product(tuples) }

  init(_ ctx: LowerContext, indices: [Int], into shape: [Int]) throws {
    guard let depth = indices.last, depth <= shape.count else {
      throw ctx.error("needs index tuples no longer than \(shape.count), got \(indices)")
    }
    self.depth = depth
    tuples = indices.dropLast()
    sizes = Array(shape.prefix(depth))
    strides = StridedCopy.strides(sizes)
    row = product(shape.dropFirst(depth))
    ignoresBad =
      try ctx.attrs.stored["bad_indices_policy"] != nil
      && ctx.attrs.string("bad_indices_policy") == "IGNORE"
  }

  func bad<Index: IndexElement>(
    _ op: String, _ indices: UnsafePointer<Index>, _ at: Int, _ shape: [Int]
  ) -> WeftError {
    let tuple = (0..<depth).map { "\(indices[at * depth + $0])" }.joined(separator: ", ")
    return WeftError(
      .invalidArgument,
      "\(op) indices\(GatherRows.position(at, tuples)) = [\(tuple)] does not index into param "
        + "shape \(shape)", category: .run)
  }
}

enum ScatterRows {
  static let gatherTuples = OpDef(
    "GatherNd", "params: Tparams, indices: Tindices -> output: Tparams",
    "Tparams: type; Tindices: {int16, int32, int64}; bad_indices_policy: string = ''",
    summary: "Slices of its first input at the places that index tuples name.",
    infer: { ctx in
      let params = try ctx.shape(0, rankAtLeast: 1)
      guard let indices = try ctx.shape(1, rankAtLeast: 1), let depth = indices.last?.size else {
        return [.unknown]
      }
      guard let params else { return [.unknown] }
      guard depth <= params.count else {
        throw ctx.error(
          "needs index tuples no longer than \(params.count), got indices of shape \(ctx.shape(1))")
      }
      return [Shape(dims: indices.dropLast() + params.dropFirst(depth))]
    },
    gradient: .rule { g in
      let (params, indices) = (g.input(0), g.input(1))
      let dy = try g.gradient()
      let shape = try params.shapeTensor(indices.dtype == .int64 ? .int64 : .int32)
      if indices.shape.rank == 2, indices.shape.dim(-1) == 1 {
        return [
          .slices(
            IndexedSlices(
              values: dy, indices: try indices.squeezed(axes: [-1]), denseShape: shape)), nil,
        ]
      }
      return [.dense(try scatterNd(indices, dy, shape: shape)), nil]
    },
    lowering: .kernel { ctx in
      let params = ctx.shape(0)
      let index = try TupleIndex(ctx, indices: ctx.shape(1), into: params)
      let dtype = ctx.dtype(0)
      let kernel = try withIndexType(ctx.dtype(1)) { type in
        try lowerGather(type, ctx, index, params, dtype)
      }
      guard let kernel else { throw ctx.unsupported(ctx.dtype(1)) }
      return kernel
    })

  private static func lowerGather<Index: IndexElement>(
    _: Index.Type, _ ctx: LowerContext, _ index: TupleIndex, _ params: [Int], _ dtype: DType
  ) throws -> Kernel {
    let op = ctx.op.name
    let count = index.count
    if dtype == .string {
      let shape = ctx.outputShape(0)
      return Kernel("gatherNdString") { call in
        let ids = call.input(1, as: Index.self)
        let strings = try stringInput(call, 0).strings
        var all: [[UInt8]] = []
        for i in 0..<count {
          guard let at = flatRow(ids + i * index.depth, sizes: index.sizes, strides: index.strides)
          else { throw index.bad(op, ids, i, params) }
          all += strings[(at * index.row)..<((at + 1) * index.row)]
        }
        call.setObject(try Tensor(strings: all, shape: shape), output: 0)
      }
    }
    guard dtype.isPlain else { throw ctx.unsupported(dtype) }
    let rowBytes = index.row * dtype.byteSize
    return Kernel(ctx.kernelName("gatherNd", dtype)) { call in
      let ids = call.input(1, as: Index.self)
      let (from, to) = (call.rawInput(0), call.rawOutput(0))
      for i in 0..<count {
        let target = to + i &* rowBytes
        if let at = flatRow(ids + i &* index.depth, sizes: index.sizes, strides: index.strides) {
          target.copyMemory(from: from + at &* rowBytes, byteCount: rowBytes)
        } else if index.ignoresBad {
          target.initializeMemory(as: UInt8.self, repeating: 0, count: rowBytes)
        } else {
          throw index.bad(op, ids, i, params)
        }
      }
    }
  }

  // indices [I..., d], updates [I..., shape[d:]...]
  private static func check(
    _ ctx: InferContext, indices: Int, updates: Int, shape: [Dim]?
  ) throws {
    guard let ids = try ctx.shape(indices, rankAtLeast: 1), let shape,
      let depth = ids.last?.size
    else { return }
    guard depth <= shape.count else {
      throw ctx.error(
        "needs index tuples no longer than \(shape.count), got indices of shape "
          + "\(ctx.shape(indices))")
    }
    let wanted = Shape(dims: ids.dropLast() + shape.dropFirst(depth))
    guard wanted.isCompatible(with: ctx.shape(updates)) else {
      throw ctx.error("needs updates of shape \(wanted), got \(ctx.shape(updates))")
    }
  }

  // Scatters into output 0, which starts as zeros or as a copy of input `base`.
  private static func lower(
    _ ctx: LowerContext, _ kind: ScatterKind, indices: Int, updates: Int, base: Int?
  ) throws -> Kernel {
    let dtype = ctx.dtype(updates)
    let shape = ctx.outputShape(0)
    let index = try TupleIndex(ctx, indices: ctx.shape(indices), into: shape)
    let kernel = try withScatterType(dtype) { element in
      try withIndexType(ctx.dtype(indices)) { type in
        lower(element, type, ctx, kind, index, (indices, updates, base), shape)
      }
    }
    guard let kernel, let kernel else { throw ctx.unsupported(dtype) }
    return kernel
  }

  private static func lower<Element: ScatterElement, Index: IndexElement>(
    _: Element.Type, _: Index.Type, _ ctx: LowerContext, _ kind: ScatterKind, _ index: TupleIndex,
    _ inputs: (indices: Int, updates: Int, base: Int?), _ shape: [Int]
  ) -> Kernel {
    let op = ctx.op.name
    let count = index.count
    let total = product(shape)
    return Kernel(
      ctx.kernelName("scatterNd", ctx.dtype(inputs.updates)),
      inPlace: inputs.base.map { [[$0]] } ?? []
    ) { call in
      let out = call.output(0, as: Element.self)
      if let base = inputs.base {
        if UnsafeRawPointer(out) != call.rawInput(base) {
          out.update(from: call.input(base, as: Element.self), count: total)
        }
      } else {
        call.rawOutput(0).initializeMemory(
          as: UInt8.self, repeating: 0, count: total * MemoryLayout<Element>.stride)
      }
      let ids = call.input(inputs.indices, as: Index.self)
      let bad = scatterRows(
        kind, out, ids, call.input(inputs.updates, as: Element.self), count: count,
        sizes: index.sizes, strides: index.strides, row: index.row, ignoresBad: index.ignoresBad)
      if let bad { throw index.bad(op, ids, bad, shape) }
    }
  }

  static let scatterTuples = OpDef(
    "ScatterNd", "indices: Tindices, updates: T, shape: Tindices -> output: T",
    "T: type; Tindices: {int16, int32, int64}; bad_indices_policy: string = ''",
    summary: "Zeros with rows added at the places that index tuples name.",
    infer: { ctx in
      let shape = try ctx.sizes(2, "shape")
      try check(ctx, indices: 0, updates: 1, shape: shape)
      return [shape.map { Shape(dims: $0) } ?? .unknown]
    },
    gradient: .rule { g in [nil, .dense(try gatherNd(try g.gradient(), g.input(0))), nil] },
    lowering: .kernel { ctx in try lower(ctx, .add, indices: 0, updates: 1, base: nil) })

  private static func tensorRow(
    _ name: String, _ kind: ScatterKind, _ types: String, _ summary: String,
    gradient: @escaping @Sendable (GradientContext) throws -> [Gradient?]
  ) -> OpDef {
    OpDef(
      name, "tensor: T, indices: Tindices, updates: T -> output: T",
      "T: type; Tindices: \(types); bad_indices_policy: string = ''", summary: summary,
      infer: { ctx in
        try check(ctx, indices: 1, updates: 2, shape: ctx.shape(0).dims)
        return [ctx.shape(0)]
      },
      gradient: .rule(gradient),
      lowering: .kernel { ctx in try lower(ctx, kind, indices: 1, updates: 2, base: 0) })
  }

  static let update = tensorRow(
    "TensorScatterUpdate", .update, "{int16, int32, int64, uint16}",
    "Its input with rows replaced at the places that index tuples name."
  ) { g in
    let dy = try g.gradient()
    let rest = try g.graph.output(
      g.node.op, inputs: [dy, g.input(1), try zerosLike(g.input(2))])
    return [.dense(rest), nil, .dense(try gatherNd(dy, g.input(1)))]
  }
  static let add = tensorRow(
    "TensorScatterAdd", .add, "{int32, int64}",
    "Its input with rows added at the places that index tuples name."
  ) { g in
    let dy = try g.gradient()
    return [.dense(dy), nil, .dense(try gatherNd(dy, g.input(1)))]
  }
  static let subtract = tensorRow(
    "TensorScatterSub", .subtract, "{int32, int64}",
    "Its input with rows subtracted at the places that index tuples name."
  ) { g in
    let dy = try g.gradient()
    return [.dense(dy), nil, .dense(try -(try gatherNd(dy, g.input(1))))]
  }
  static let minimum = tensorRow(
    "TensorScatterMin", .minimum, "{int32, int64}",
    "Its input with smaller rows taken at the places that index tuples name."
  ) { g in try extremeGradient(g) }
  static let maximum = tensorRow(
    "TensorScatterMax", .maximum, "{int32, int64}",
    "Its input with larger rows taken at the places that index tuples name."
  ) { g in try extremeGradient(g) }

  // The gradient is shared by the element and all updates that equal the result.
  private static func extremeGradient(_ g: GradientContext) throws -> [Gradient?] {
    let (x, indices, updates) = (g.input(0), g.input(1), g.input(2))
    let (y, dy) = (g.output(), try g.gradient())
    let mine = try equal(x, y).cast(to: dy.dtype)
    let theirs = try equal(updates, try gatherNd(y, indices)).cast(to: dy.dtype)
    let counts =
      try mine
      + (try scatterNd(indices, theirs, shape: try x.shapeTensor(indices.dtype)))
    let share = try dy / counts
    return [
      .dense(try share * mine), nil, .dense(try (try gatherNd(share, indices)) * theirs),
    ]
  }

  static let all = [gatherTuples, scatterTuples, update, add, subtract, minimum, maximum]
}

/// Slices of `params` at index tuples: `y[i] = params[indices[i, 0], indices[i, 1], ...]`.
///
/// `params [N, M, Q...]`, `indices [I..., 2]` give `[I..., Q...]`. Gradient: dy added at the tuples.
/// TensorFlow's GatherNd.
public func gatherNd(
  _ params: Output, _ indices: Output, name: String? = nil, file: StaticString = #fileID,
  line: UInt = #line
) throws -> Output {
  try params.graph.output(
    ScatterRows.gatherTuples.name, name: name, inputs: [params, indices], file: file, line: line)
}

/// Zeros of `shape` with `updates` added at index tuples; equal tuples add up. TensorFlow's
/// ScatterNd. Gradient: dy gathered at the tuples.
public func scatterNd(
  _ indices: Output, _ updates: Output, shape: Output, name: String? = nil,
  file: StaticString = #fileID, line: UInt = #line
) throws -> Output {
  try updates.graph.output(
    ScatterRows.scatterTuples.name, name: name, inputs: [indices, updates, shape], file: file,
    line: line)
}

/// `x` with rows replaced at index tuples. TensorFlow's TensorScatterUpdate.
public func scatterUpdated(
  _ x: Output, _ indices: Output, _ updates: Output, name: String? = nil,
  file: StaticString = #fileID, line: UInt = #line
) throws -> Output {
  try x.graph.output(
    ScatterRows.update.name, name: name, inputs: [x, indices, updates], file: file, line: line)
}

/// `x` with rows added at index tuples. TensorFlow's TensorScatterAdd.
public func scatterAdded(
  _ x: Output, _ indices: Output, _ updates: Output, name: String? = nil,
  file: StaticString = #fileID, line: UInt = #line
) throws -> Output {
  try x.graph.output(
    ScatterRows.add.name, name: name, inputs: [x, indices, updates], file: file, line: line)
}

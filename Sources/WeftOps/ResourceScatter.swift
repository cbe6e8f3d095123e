// Rows of a resource variable: gathers and in-place scatters by index.

public import WeftGraph
internal import WeftKernels
internal import WeftTensors

/// Rows of gathers from and scatters into variables, resource and reference.
enum VariableIndexRows {
  static let resource: [OpDef] = [
    gather,
    scatter("ResourceScatterAdd", .add, "Adds"), scatter("ResourceScatterSub", .sub, "Subtracts"),
    scatter("ResourceScatterMul", .mul, "Multiplies by"),
    scatter("ResourceScatterDiv", .div, "Divides by"),
    scatter("ResourceScatterMin", .min, "Takes the minimum with"),
    scatter("ResourceScatterMax", .max, "Takes the maximum with"),
    scatter("ResourceScatterUpdate", .update, "Writes"),
    scatterNd("ResourceScatterNdAdd", .add, "Adds"),
    scatterNd("ResourceScatterNdSub", .sub, "Subtracts"),
    scatterNd("ResourceScatterNdUpdate", .update, "Writes"),
  ]

  static let reference: [OpDef] = [
    refScatter("ScatterAdd", .add, "Adds"), refScatter("ScatterSub", .sub, "Subtracts"),
    refScatter("ScatterMul", .mul, "Multiplies by"), refScatter("ScatterDiv", .div, "Divides by"),
    refScatter("ScatterMin", .min, "Takes the minimum with"),
    refScatter("ScatterMax", .max, "Takes the maximum with"),
    refScatter("ScatterUpdate", .update, "Writes"),
    refScatterNd("ScatterNdAdd", .add, "Adds"), refScatterNd("ScatterNdSub", .sub, "Subtracts"),
    refScatterNd("ScatterNdUpdate", .update, "Writes"),
  ]

  static var resourceScatterAdd: OpDef { resource[1] }
  static var resourceScatterSub: OpDef { resource[2] }
  static var resourceScatterUpdate: OpDef { resource[7] }

  static let gather = OpDef(
    "ResourceGather", "resource: resource, indices: Tindices -> output: dtype",
    "batch_dims: int = 0; validate_indices: bool = true; dtype: type; Tindices: {int32, int64}",
    summary: "Rows of the variable: output[i, ...] = variable[indices[i], ...].",
    traits: [.stateful, .readsVariable],
    infer: { ctx in
      try ctx.checkVariable(0, try ctx.attrs.type("dtype"))
      let batch = try ctx.attrs.int("batch_dims")
      let params = ctx.variableShape(0)
      guard let dims = params.dims else { return [.unknown] }
      guard dims.count >= 1 else { throw ctx.error("needs a variable of rank >= 1, got \(params)") }
      guard let ids = ctx.shape(1).dims else { return [.unknown] }
      guard batch >= 0, batch <= ids.count, batch < dims.count else {
        throw ctx.error("attr batch_dims = \(batch) does not fit \(params) and \(ctx.shape(1))")
      }
      for axis in 0..<batch { _ = try ctx.merge(dims[axis], ids[axis], "batch sizes") }
      return [Shape(dims: ids + dims[(batch + 1)...])]
    },
    gradient: .rule { g in
      guard try g.attrs.int("batch_dims") == 0 else {
        throw WeftError(.unimplemented, "ResourceGather has no gradient for batch_dims > 0")
      }
      let handle = g.input(0)
      let indices = g.input(1)
      let dy = try g.gradient()
      let shape = g.node.inputs[0].handleType(in: g.graph)?.shape ?? .unknown
      let flat = indices.shape.rank == 1 ? indices : try indices.reshaped(to: [-1])
      let denseShape: Output
      let values: Output
      if let sizes = shape.known {
        denseShape = try g.graph.constant(sizes.map { Int32(truncatingIfNeeded: $0) })
        if indices.shape.rank == 1 {
          values = dy
        } else if let count = indices.shape.count {
          values = try dy.reshaped(to: [count] + sizes[1...])
        } else if sizes[1...].contains(0) {
          let count = try size(indices).reshaped(to: [1])
          let inner = try g.graph.constant(sizes[1...].map { Int32(truncatingIfNeeded: $0) })
          values = try dy.reshaped(to: try concat([count, inner], axis: 0))
        } else {
          values = try dy.reshaped(to: [-1] + sizes[1...])
        }
      } else {
        denseShape = try variableShape(handle)
        let inner = try denseShape.stridedSlice(begin: [1], end: [Int(Int32.max)], strides: [1])
        let count = try size(indices).reshaped(to: [1])
        values = try dy.reshaped(to: try concat([count, inner], axis: 0))
      }
      return [.slices(IndexedSlices(values: values, indices: flat, denseShape: denseShape)), nil]
    },
    lowering: .kernel { ctx in
      let cell = try ctx.variable(0)
      let (indexShape, failure, indexType) = (ctx.shape(1), ctx.failure, ctx.dtype(1))
      let count = ctx.count(1)
      let batch = try ctx.attrs.int("batch_dims")
      let batches = indexShape.prefix(batch).reduce(1, *)
      let outShape = ctx.outputs[0].shape.known
      let elementBytes = cell.dtype.byteSize
      guard cell.dtype.isPlain else { throw ctx.unsupported(cell.dtype) }
      return Kernel("resourceGather") { call in
        let value = try cell.read()
        let shape = value.shape
        guard shape.count > batch, shape[..<batch] == indexShape[..<batch] else {
          throw failure("cannot take rows of a variable of shape \(shape) by \(indexShape)")
        }
        let inner = shape[(batch + 1)...].reduce(1, *)
        let target: UnsafeMutableRawPointer
        if let outShape {
          guard isJoined(outShape, indexShape, shape.dropFirst(batch + 1)) else {
            throw failure("cannot give rows of \(shape) to an output of shape \(outShape)")
          }
          target = call.rawOutput(0)
        } else {
          let own = try Tensor(
            zeros: value.dtype, shape: indexShape + shape.dropFirst(batch + 1))
          call.setObject(own, output: 0)
          target = own.buffer.base
        }
        let indices = IndexList(call.rawInput(1), indexType, count: count)
        let rows = shape[batch]
        try indices.check(rows, shape: indexShape, failure)
        let bytes = inner * elementBytes
        if bytes == 0 || count == 0 { return }
        let source = UnsafeRawPointer(value.buffer.base)
        let each = count / max(1, batches)
        call.pool.split(count, grain: max(1, 65_536 / bytes)) { lo, hi in
          for i in lo..<hi {
            let row = (i / each) * rows + indices[i]
            (target + i * bytes).copyMemory(from: source + row * bytes, byteCount: bytes)
          }
        }
      }
    })

  /// Whether `whole` is `head` followed by `tail`, without making a new array in each run.
  private static func isJoined(
    _ whole: [Int], _ head: some Swift.Collection<Int>, _ tail: ArraySlice<Int>
  ) -> Bool {
    whole.count == head.count + tail.count && whole.prefix(head.count).elementsEqual(head)
      && whole.suffix(tail.count) == tail
  }

  // MARK: - Scatters

  /// Checks indices `[...]` and updates `[..., inner]` (or a scalar) against the variable.
  private static func checkScatter(_ ctx: InferContext) throws {
    let own = ctx.variableShape(0)
    guard let dims = own.dims else { return }
    guard dims.count >= 1 else { throw ctx.error("needs a variable of rank >= 1, got \(own)") }
    guard ctx.shape(2).rank != 0, let ids = ctx.shape(1).dims else { return }
    let wanted = Shape(dims: ids + dims[1...])
    guard wanted.isCompatible(with: ctx.shape(2)) else {
      throw ctx.error(
        "needs updates of shape \(wanted) for indices \(ctx.shape(1)) into \(own), got "
          + "\(ctx.shape(2))")
    }
  }

  private static func scatterKernel(_ ctx: LowerContext, _ rule: ScatterRule) throws -> Kernel {
    let cell = try ctx.variable(0)
    let (indexShape, updateShape) = (ctx.shape(1), ctx.shape(2))
    let (failure, indexType, dtype) = (ctx.failure, ctx.dtype(1), ctx.dtype(2))
    let (count, updateCount) = (ctx.count(1), ctx.count(2))
    let unsupported = ctx.unsupported(dtype)
    guard dtype.isPlain else { throw unsupported }
    let rowCount = ctx.rowCount
    return Kernel("scatterRows", flops: updateCount) { call in
      let value = try cell.read()
      let shape = value.shape
      let inner = shape.dropFirst().reduce(1, *)
      guard let rows = shape.first,
        updateShape.isEmpty || isJoined(updateShape, indexShape, shape.dropFirst())
      else {
        throw failure("cannot scatter updates \(updateShape) by \(indexShape) into \(shape)")
      }
      let some = rowCount.map { Int(call.input($0, as: Int32.self)[0]) }
      let indices = IndexList(call.rawInput(1), indexType, count: some ?? count)
      try indices.check(rows, shape: indexShape, failure)
      let updates = call.rawInput(2)
      if rule == .div,
        VariableKernels.hasIntegerZero(
          dtype, updates, count: some.map { $0 * inner } ?? updateCount)
      {
        throw failure("divides integers by zero")
      }
      guard
        VariableKernels.scatterRows(
          rule, dtype, target: value.buffer.base, rows: rows, inner: inner, indices: indices,
          updates: updates, isScalar: updateShape.isEmpty, pool: call.pool)
      else { throw unsupported }
    }
  }

  private static func scatter(_ name: String, _ rule: ScatterRule, _ verb: String) -> OpDef {
    let type = rule == .update ? "type" : "numbertype"
    return OpDef(
      name, "resource: resource, indices: Tindices, updates: dtype -> ",
      "dtype: \(type); Tindices: {int32, int64}",
      summary: "\(verb) rows of the variable in place; duplicates apply in order.",
      traits: [.stateful, .readsVariable, .writesVariable],
      infer: { ctx in
        try ctx.checkVariable(0, ctx.dtype(2))
        try checkScatter(ctx)
        return []
      },
      rowPlaces: (rows: 2, indices: 1), gradient: .none("an in-place update has no output"),
      lowering: .kernel { ctx in try scatterKernel(ctx, rule) })
  }

  private static func refScatter(_ name: String, _ rule: ScatterRule, _ verb: String) -> OpDef {
    let types =
      switch rule {
      case .update: "type"
      case .min, .max: "{half, bfloat16, float, double, int32, int64}"
      default: "numbertype"
      }
    let locking = rule == .update
    return OpDef(
      name, "ref: Ref(T), indices: Tindices, updates: T -> output_ref: Ref(T)",
      "T: \(types); Tindices: {int32, int64}; use_locking: bool = \(locking)",
      summary: "\(verb) rows of the variable in place and returns the reference.",
      traits: [.stateful, .readsVariable, .writesVariable],
      infer: { ctx in
        try checkScatter(ctx)
        return [ctx.variableShape(0)]
      },
      handles: { ctx in [ctx.handle(0)] }, rowPlaces: (rows: 2, indices: 1),
      gradient: .none("in-place updates are not differentiated"),
      lowering: .kernel { ctx in try scatterKernel(ctx, rule) })
  }

  // MARK: - ScatterNd

  private static func checkScatterNd(_ ctx: InferContext) throws {
    let own = ctx.variableShape(0)
    guard let ids = try ctx.shape(1, rankAtLeast: 1), let dims = own.dims,
      let depth = ids.last?.size
    else { return }
    guard depth <= dims.count else {
      throw ctx.error("indexes \(depth) dimensions of a variable of shape \(own)")
    }
    let wanted = Shape(dims: ids.dropLast() + dims[depth...])
    guard wanted.isCompatible(with: ctx.shape(2)) else {
      throw ctx.error(
        "needs updates of shape \(wanted) for indices \(ctx.shape(1)) into \(own), got "
          + "\(ctx.shape(2))")
    }
  }

  private static func scatterNdKernel(_ ctx: LowerContext, _ rule: ScatterRule) throws -> Kernel {
    let cell = try ctx.variable(0)
    let (indexShape, updateShape) = (ctx.shape(1), ctx.shape(2))
    let (failure, indexType, dtype) = (ctx.failure, ctx.dtype(1), ctx.dtype(2))
    let depth = indexShape.last ?? 0
    let count = indexShape.dropLast().reduce(1, *)
    let updateCount = ctx.count(2)
    let unsupported = ctx.unsupported(dtype)
    guard dtype.isPlain else { throw unsupported }
    return Kernel("scatterNd", scratchBytes: 8 * count, flops: updateCount) { call in
      let value = try cell.read()
      let shape = value.shape
      guard depth <= shape.count,
        isJoined(updateShape, indexShape.dropLast(), shape[depth...])
      else {
        throw failure("cannot scatter updates \(updateShape) by \(indexShape) into \(shape)")
      }
      let indices = IndexList(call.rawInput(1), indexType, count: count * depth)
      let linear = call.scratch.assumingMemoryBound(to: Int64.self)
      for i in 0..<count {
        var row = 0
        for k in 0..<depth {
          let index = indices[i * depth + k]
          guard index >= 0, index < shape[k] else {
            let all = (0..<depth).map { indices[i * depth + $0] }
            let place = indexPosition(i, shape: Array(indexShape.dropLast()))
            throw failure("\(place) = \(all) does not index into shape \(shape)")
          }
          row = row * shape[k] + index
        }
        linear[i] = Int64(row)
      }
      guard
        VariableKernels.scatterRows(
          rule, dtype, target: value.buffer.base, rows: shape[..<depth].reduce(1, *),
          inner: shape[depth...].reduce(1, *),
          indices: IndexList(UnsafeRawPointer(linear), .int64, count: count),
          updates: call.rawInput(2), isScalar: false, pool: call.pool)
      else { throw unsupported }
    }
  }

  private static func scatterNd(_ name: String, _ rule: ScatterRule, _ verb: String) -> OpDef {
    OpDef(
      name, "ref: resource, indices: Tindices, updates: T -> ",
      "T: type; Tindices: {int32, int64}; use_locking: bool = true; "
        + "bad_indices_policy: string = ''",
      summary: "\(verb) slices of the variable in place; duplicates apply in order.",
      traits: [.stateful, .readsVariable, .writesVariable],
      infer: { ctx in
        try ctx.checkVariable(0, ctx.dtype(2))
        try checkScatterNd(ctx)
        return []
      },
      gradient: .none("an in-place update has no output"),
      lowering: .kernel { ctx in try scatterNdKernel(ctx, rule) })
  }

  private static func refScatterNd(_ name: String, _ rule: ScatterRule, _ verb: String) -> OpDef {
    let isUpdate = rule == .update
    return OpDef(
      name, "ref: Ref(T), indices: Tindices, updates: T -> output_ref: Ref(T)",
      "T: \(isUpdate ? "type" : "numbertype"); Tindices: {int32, int64}; "
        + "use_locking: bool = \(isUpdate); bad_indices_policy: string = ''",
      summary: "\(verb) slices of the variable in place and returns the reference.",
      traits: [.stateful, .readsVariable, .writesVariable],
      infer: { ctx in
        try checkScatterNd(ctx)
        return [ctx.variableShape(0)]
      },
      handles: { ctx in [ctx.handle(0)] },
      gradient: .none("in-place updates are not differentiated"),
      lowering: .kernel { ctx in try scatterNdKernel(ctx, rule) })
  }
}

extension Edge {
  /// What the resource or reference that this edge carries stands for.
  func handleType(in graph: Graph) -> HandleType? {
    let handles = graph.nodes[node].handles
    return handles.indices.contains(port) ? handles[port] : nil
  }
}

/// Rows of `variable`: `output[i, ...] = variable[indices[i], ...]`, of shape
/// `indices.shape + variable.shape[1...]`.
///
/// Gradient: IndexedSlices of the rows read; duplicates add up. An index outside the variable is an
/// error of the run. TensorFlow: `ResourceGather`.
public func gather(
  _ variable: Variable, _ indices: Output, name: String? = nil, file: StaticString = #fileID,
  line: UInt = #line
) throws -> Output {
  try variable.graph.output(
    VariableIndexRows.gather.name, name: name, inputs: [variable.handle, indices],
    attrs: ["dtype": .type(variable.dtype)], file: file, line: line)
}

/// Adds `updates[i, ...]` to row `indices[i]` of `variable`; duplicates add up.
/// TensorFlow: `ResourceScatterAdd`.
@discardableResult
public func scatterAdd(
  _ variable: Variable, _ indices: Output, _ updates: Output, name: String? = nil,
  file: StaticString = #fileID, line: UInt = #line
) throws -> Node {
  try variable.graph.add(
    VariableIndexRows.resourceScatterAdd.name, name: name,
    inputs: [variable.handle, indices, updates], file: file, line: line)
}

/// Subtracts `updates[i, ...]` from row `indices[i]` of `variable`. TensorFlow:
/// `ResourceScatterSub`.
@discardableResult
public func scatterSub(
  _ variable: Variable, _ indices: Output, _ updates: Output, name: String? = nil,
  file: StaticString = #fileID, line: UInt = #line
) throws -> Node {
  try variable.graph.add(
    VariableIndexRows.resourceScatterSub.name, name: name,
    inputs: [variable.handle, indices, updates], file: file, line: line)
}

/// Sets row `indices[i]` of `variable` to `updates[i, ...]`; of duplicates the last counts.
/// TensorFlow: `ResourceScatterUpdate`.
@discardableResult
public func scatterUpdate(
  _ variable: Variable, _ indices: Output, _ updates: Output, name: String? = nil,
  file: StaticString = #fileID, line: UInt = #line
) throws -> Node {
  try variable.graph.add(
    VariableIndexRows.resourceScatterUpdate.name, name: name,
    inputs: [variable.handle, indices, updates], file: file, line: line)
}

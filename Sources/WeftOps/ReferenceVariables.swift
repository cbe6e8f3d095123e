// Reference variables of TensorFlow 1: ops that take and return the variable's own buffer.

public import WeftGraph
internal import WeftKernels
public import WeftTensors

/// Rows of the ops on reference variables.
enum ReferenceRows {
  static let all: [OpDef] = [
    variableV2, variable, assign, assignAdd, assignSub, isInitialized, countUpTo,
  ]

  private static let variableAttributes =
    "shape: shape; dtype: type; container: string = ''; shared_name: string = ''"

  static let variableV2 = OpDef(
    "VariableV2", " -> ref: Ref(dtype)", variableAttributes,
    summary: "A reference to the variable named by container and shared_name, else by the node.",
    traits: [.stateful],
    infer: { ctx in [try ctx.attrs.shape("shape")] },
    handles: { ctx in [HandleType(try ctx.attrs.type("dtype"), try ctx.attrs.shape("shape"))] },
    gradient: .zero, lowering: .variable)

  // Its scalar shape attribute means "unknown".
  static let variable = OpDef(
    "Variable", " -> ref: Ref(dtype)", variableAttributes,
    summary: "A reference to a variable, whose shape is unknown when the attribute is a scalar.",
    traits: [.stateful],
    infer: { ctx in [legacyShape(try ctx.attrs.shape("shape"))] },
    handles: { ctx in
      [HandleType(try ctx.attrs.type("dtype"), legacyShape(try ctx.attrs.shape("shape")))]
    },
    gradient: .zero, lowering: .variable)

  private static func legacyShape(_ shape: Shape) -> Shape { shape.rank == 0 ? .unknown : shape }

  static let assign = OpDef(
    "Assign", "ref: Ref(T), value: T -> output_ref: Ref(T)",
    "T: type; validate_shape: bool = true; use_locking: bool = true",
    summary: "Sets the variable to a value and returns the reference.",
    traits: [.stateful, .writesVariable],
    infer: { ctx in
      let validates = try ctx.attrs.bool("validate_shape")
      return [validates ? try ctx.variableShape(0, fitting: ctx.shape(1)) : ctx.shape(1)]
    },
    handles: { ctx in
      let validates = try ctx.attrs.bool("validate_shape")
      let shape = validates ? try ctx.variableShape(0, fitting: ctx.shape(1)) : ctx.shape(1)
      return [HandleType(ctx.dtype(1), shape)]
    },
    gradient: .none("assignments are not differentiated"),
    lowering: .kernel { ctx in
      let cell = try ctx.variable(0)
      let (shape, failure) = (ctx.shape(1), ctx.failure)
      let validates = try ctx.attrs.bool("validate_shape")
      return Kernel("assign") { call in
        if cell.dtype == .string {
          guard let value = call.objectInput(1) as? Tensor else {
            throw failure("got no strings")
          }
          try cell.assign(value)
          return
        }
        if validates, let old = cell.value, old.shape != shape {
          throw failure("needs a value of the variable's shape \(old.shape), got \(shape)")
        }
        try cell.assign(call.rawInput(1), shape: shape)
      }
    })

  static let assignAdd = update("AssignAdd", "Adds", subtract: false)
  static let assignSub = update("AssignSub", "Subtracts", subtract: true)

  private static func update(_ name: String, _ verb: String, subtract: Bool) -> OpDef {
    OpDef(
      name, "ref: Ref(T), value: T -> output_ref: Ref(T)",
      "T: numbertype; use_locking: bool = false",
      summary: "\(verb) a value of the same shape in place and returns the reference.",
      traits: [.stateful, .readsVariable, .writesVariable],
      infer: { ctx in [try ctx.variableShape(0, fitting: ctx.shape(1))] },
      handles: { ctx in
        [HandleType(ctx.dtype(1), try ctx.variableShape(0, fitting: ctx.shape(1)))]
      },
      gradient: .none("assignments are not differentiated"),
      lowering: .kernel { ctx in
        let cell = try ctx.variable(0)
        let (shape, failure, dtype) = (ctx.shape(1), ctx.failure, ctx.dtype(1))
        let unsupported = ctx.unsupported(dtype)
        let count = ctx.count(1)
        return Kernel(subtract ? "assignSub" : "assignAdd", flops: count) { call in
          let value = try cell.read(shape: shape, failure)
          guard
            VariableKernels.accumulate(
              dtype, value.buffer.base, call.rawInput(1), count: count, subtract: subtract,
              pool: call.pool)
          else { throw unsupported }
        }
      })
  }

  static let isInitialized = OpDef(
    "IsVariableInitialized", "ref: Ref(dtype) -> is_initialized: bool", "dtype: type",
    summary: "Whether the variable has a value.",
    traits: [.stateful, .readsVariable],
    infer: { _ in [.scalar] }, gradient: .zero,
    lowering: .kernel { ctx in
      let cell = try ctx.variable(0)
      return Kernel("isInitialized") { call in
        call.output(0, as: Bool.self)[0] = cell.value != nil
      }
    })

  static let countUpTo = OpDef(
    "CountUpTo", "ref: Ref(T) -> output: T", "limit: int; T: {int32, int64}",
    summary: "The scalar variable's value before adding one; OutOfRange at the limit.",
    traits: [.stateful, .readsVariable, .writesVariable],
    infer: { ctx in
      if let rank = ctx.variableShape(0).rank, rank != 0 {
        throw ctx.error("needs a scalar variable, got shape \(ctx.variableShape(0))")
      }
      return [.scalar]
    },
    gradient: .zero,
    lowering: .kernel { ctx in
      let cell = try ctx.variable(0)
      let (limit, failure) = (try ctx.attrs.int("limit"), ctx.failure)
      return Kernel("countUpTo") { call in
        let memory = try cell.read(shape: [], failure).buffer.base
        let isWide = cell.dtype == .int64
        let now = isWide ? Int(memory.load(as: Int64.self)) : Int(memory.load(as: Int32.self))
        if now >= limit {
          throw WeftError(
            .outOfRange, "\(failure.op) reached its limit of \(limit)", category: .run)
        }
        if isWide {
          call.output(0, as: Int64.self)[0] = Int64(now)
          memory.storeBytes(of: Int64(now + 1), as: Int64.self)
        } else {
          call.output(0, as: Int32.self)[0] = Int32(truncatingIfNeeded: now)
          memory.storeBytes(of: Int32(truncatingIfNeeded: now + 1), as: Int32.self)
        }
      }
    })
}

extension Graph {
  /// A reference variable of TensorFlow 1: the output is the variable itself.
  ///
  /// New graphs are better off with `variable(_:initialValue:)`. TensorFlow: `VariableV2`.
  public func referenceVariable(
    _ name: String, dtype: DType, shape: Shape, file: StaticString = #fileID, line: UInt = #line
  ) throws -> Output {
    try output(
      ReferenceRows.variableV2.name, name: name,
      attrs: ["dtype": .type(dtype), "shape": .shape(shape)], file: file, line: line)
  }
}

/// Sets the reference variable `ref` to `value` and returns the reference. With `validateShape`
/// off the shape may change. TensorFlow: `Assign`.
public func assign(
  reference ref: Output, _ value: Output, validateShape: Bool = true, name: String? = nil,
  file: StaticString = #fileID, line: UInt = #line
) throws -> Output {
  try ref.graph.output(
    ReferenceRows.assign.name, name: name, inputs: [ref, value],
    attrs: ["validate_shape": .bool(validateShape)], file: file, line: line)
}

/// Adds `value` to the reference variable `ref` and returns the reference. TensorFlow: `AssignAdd`.
public func assignAdd(
  reference ref: Output, _ value: Output, name: String? = nil, file: StaticString = #fileID,
  line: UInt = #line
) throws -> Output {
  try ref.graph.output(
    ReferenceRows.assignAdd.name, name: name, inputs: [ref, value], file: file, line: line)
}

/// Subtracts `value` from the reference variable `ref` and returns the reference.
/// TensorFlow: `AssignSub`.
public func assignSub(
  reference ref: Output, _ value: Output, name: String? = nil, file: StaticString = #fileID,
  line: UInt = #line
) throws -> Output {
  try ref.graph.output(
    ReferenceRows.assignSub.name, name: name, inputs: [ref, value], file: file, line: line)
}

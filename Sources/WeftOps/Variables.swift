// Resource variables: handle, read, assign, shape, and the public `Variable`.

public import WeftGraph
internal import WeftKernels
public import WeftTensors

/// Rows of the ops on resource variables.
enum VariableRows {
  static let all: [OpDef] = [
    handle, read, assign, assignAdd, assignSub, isInitialized, shape, destroy,
  ]

  static let handle = OpDef(
    "VarHandleOp", " -> resource: resource",
    "container: string = ''; shared_name: string = ''; debug_name: string = ''; dtype: type; "
      + "shape: shape; allowed_devices: list(string) = []",
    summary: "A handle to the variable named by container and shared_name, else by the node.",
    traits: [.stateful],
    infer: { _ in [.scalar] },
    handles: { ctx in [HandleType(try ctx.attrs.type("dtype"), try ctx.attrs.shape("shape"))] },
    gradient: .zero, lowering: .variable)

  static let read = OpDef(
    "ReadVariableOp", "resource: resource -> value: dtype", "dtype: type",
    summary: "The variable's value at the time it runs.",
    traits: [.stateful, .readsVariable, .view],
    infer: { ctx in
      try ctx.checkVariable(0, try ctx.attrs.type("dtype"))
      return [ctx.variableShape(0)]
    },
    gradient: .rule { g in [g.gradients[0]] },
    lowering: .kernel { ctx in
      let cell = try ctx.variable(0)
      let expected = ctx.outputs[0].shape.known
      let failure = ctx.failure
      guard let expected, cell.dtype.isPlain else {
        return Kernel("readVariable") { call in
          let value = try cell.read()
          if value.dtype == .string {
            call.setObject(value, output: 0)
          } else {
            // A copy: the cell's own buffer changes under later writes.
            let copy = try Tensor(dtype: value.dtype, shape: value.shape) { memory in
              memory.copyMemory(from: value.bytes)
            }
            call.setObject(copy, output: 0)
          }
        }
      }
      return Kernel("readVariable") { call in
        let value = try cell.read(shape: expected, failure)
        let bytes = value.byteCount
        if bytes > 0 {
          call.rawOutput(0).copyMemory(from: value.buffer.base, byteCount: bytes)
        }
      }
    })

  static let assign = OpDef(
    "AssignVariableOp", "resource: resource, value: dtype -> ",
    "dtype: type; validate_shape: bool = false",
    summary: "Sets the variable to a value of its declared shape.",
    traits: [.stateful, .writesVariable],
    infer: { ctx in
      try ctx.checkVariable(0, try ctx.attrs.type("dtype"))
      _ = try ctx.variableShape(0, fitting: ctx.shape(1))
      return []
    },
    gradient: .none("an assignment has no output"),
    lowering: .kernel { ctx in
      let cell = try ctx.variable(0)
      let (shape, failure) = (ctx.shape(1), ctx.failure)
      let validates = try ctx.attrs.bool("validate_shape")
      return Kernel("assignVariable") { call in
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

  static let assignAdd = update("AssignAddVariableOp", "Adds", subtract: false)
  static let assignSub = update("AssignSubVariableOp", "Subtracts", subtract: true)

  private static func update(_ name: String, _ verb: String, subtract: Bool) -> OpDef {
    OpDef(
      name, "resource: resource, value: dtype -> ", "dtype: type",
      summary: "\(verb) a value of the same shape in place.",
      traits: [.stateful, .readsVariable, .writesVariable],
      infer: { ctx in
        try ctx.checkVariable(0, try ctx.attrs.type("dtype"))
        _ = try ctx.variableShape(0, fitting: ctx.shape(1))
        return []
      },
      gradient: .none("an assignment has no output"),
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
    "VarIsInitializedOp", "resource: resource -> is_initialized: bool",
    summary: "Whether the variable has a value.",
    traits: [.stateful],
    infer: { _ in [.scalar] }, gradient: .zero,
    lowering: .kernel { ctx in
      let cell = try ctx.variable(0)
      return Kernel("isInitialized") { call in
        call.output(0, as: Bool.self)[0] = cell.value != nil
      }
    })

  static let shape = OpDef(
    "VariableShape", "input: resource -> output: out_type", "out_type: {int32, int64} = int32",
    summary: "The shape of the variable's value.",
    traits: [.stateful],
    infer: { ctx in [Shape(dims: [ctx.variableShape(0).rank.map { .known($0) } ?? .unknown])] },
    value: { ctx in ctx.variableShape(0).dims },
    gradient: .zero,
    lowering: .kernel { ctx in
      let cell = try ctx.variable(0)
      let failure = ctx.failure
      let isWide = ctx.outputs[0].dtype == .int64
      let rank = ctx.outputs[0].shape.known?.first
      return Kernel("variableShape") { call in
        let shape = try cell.read().shape
        guard let rank else {
          call.setObject(
            isWide ? try Tensor(shape.map { Int64($0) }) : try Tensor(shape.map { Int32($0) }),
            output: 0)
          return
        }
        guard shape.count == rank else {
          throw failure("needs a variable of rank \(rank), it has shape \(shape)")
        }
        for (i, n) in shape.enumerated() {
          if isWide {
            call.output(0, as: Int64.self)[i] = Int64(n)
          } else {
            call.output(0, as: Int32.self)[i] = Int32(truncatingIfNeeded: n)
          }
        }
      }
    })

  static let destroy = OpDef(
    "DestroyResourceOp", "resource: resource -> ", "ignore_lookup_error: bool = true",
    summary: "Forgets the variable's value.",
    traits: [.stateful, .writesVariable],
    infer: { _ in [] }, gradient: .none("it has no output"),
    lowering: .kernel { ctx in
      let cell = try ctx.variable(0)
      let mayMiss = try ctx.attrs.bool("ignore_lookup_error")
      return Kernel("destroyVariable") { _ in
        if cell.value == nil && !mayMiss {
          throw WeftError(.notFound, "variable \(cell.name) has no value", category: .run)
        }
        cell.clear()
      }
    })
}

/// A variable of a graph: a tensor that keeps its value between the runs of a session.
///
/// It is what TensorFlow 1 calls a resource variable: `handle` stands for the variable itself,
/// `value` reads it. TensorFlow: `tf.get_variable(..., use_resource=True)`.
public struct Variable {
  /// The graph it belongs to.
  public let graph: Graph
  /// The name that checkpoints know it by, without `:0`.
  public let name: String
  /// The handle that reads, assignments and optimizers take.
  public let handle: Output
  /// The element type.
  public let dtype: DType
  /// The declared shape.
  public let shape: Shape
  /// The node that sets the initial value.
  public let initializer: Node
  /// Whether optimizers update it.
  public let isTrainable: Bool
  /// The value, through one read that all users share: at the time that read runs.
  public let value: Output

  /// A read of its own, which control dependencies can place before or after writes.
  public func read(
    name: String? = nil, file: StaticString = #fileID, line: UInt = #line
  ) throws -> Output {
    try graph.output(
      VariableRows.read.name, name: name, inputs: [handle], attrs: ["dtype": .type(dtype)],
      file: file, line: line)
  }
}

extension Graph {
  /// A variable that begins as `initialValue`, as TensorFlow 1's resource variables are made.
  ///
  /// Nodes: `name` (the handle), `name/Assign`, `name/Read/ReadVariableOp`. A taken name gets a
  /// number behind.
  /// - Parameters:
  ///   - name: the name within the current scope.
  ///   - initialValue: what the initializer assigns; its type and shape become the variable's.
  ///   - trainable: whether optimizers update it.
  ///   - shape: the declared shape, when it is wider than that of the initial value.
  public func variable(
    _ name: String, initialValue: Output, trainable: Bool = true, shape: Shape? = nil,
    file: StaticString = #fileID, line: UInt = #line
  ) throws -> Variable {
    try variable(
      name, dtype: initialValue.dtype, shape: shape ?? initialValue.shape, trainable: trainable,
      file: file, line: line
    ) { initialValue }
  }

  /// A variable of this type whose initial value `initializer` builds, under `name/Initializer`.
  ///
  /// The handle is made before the initializer's nodes, so these may not take the variable's name.
  public func variable(
    _ name: String, dtype: DType, shape: Shape, trainable: Bool = true,
    file: StaticString = #fileID, line: UInt = #line, initializer: () throws -> Output
  ) throws -> Variable {
    // The shared name must be the variable's own: TensorFlow knows the value by nothing else.
    var shared = currentScope + name
    var number = 0
    let taken = Set(variables.map(\.name))
    while taken.contains(shared) || snapshot.nodeID(shared) != nil {
      number += 1
      shared = "\(currentScope)\(name)_\(number)"
    }
    let handle = try withAbsoluteScope("") {
      try output(
        VariableRows.handle.name, name: shared,
        attrs: [
          "dtype": .type(dtype), "shape": .shape(shape), "container": .string(""),
          "shared_name": .string(shared),
        ], file: file, line: line)
    }
    let scope = handle.node.name
    let initial = try withAbsoluteScope(scope + "/Initializer", initializer)
    return try withAbsoluteScope(scope) {
      let assign = try add(
        VariableRows.assign.name, name: ReferenceRows.assign.name, inputs: [handle, initial],
        attrs: ["dtype": .type(dtype)], file: file, line: line)
      let value = try output(
        VariableRows.read.name, name: "Read/" + VariableRows.read.name, inputs: [handle],
        attrs: ["dtype": .type(dtype)], file: file, line: line)
      variables.append(
        VariableRecord(
          name: shared, handle: scope, initializer: assign.name, initialValue: initial.name,
          snapshot: value.name, isResource: true, isTrainable: trainable))
      return Variable(
        graph: self, name: shared, handle: handle, dtype: dtype, shape: shape,
        initializer: assign, isTrainable: trainable, value: value)
    }
  }
}

/// Sets `variable` to `value`, of the declared shape. TensorFlow: `AssignVariableOp`.
@discardableResult
public func assign(
  _ variable: Variable, _ value: Output, name: String? = nil, file: StaticString = #fileID,
  line: UInt = #line
) throws -> Node {
  try variable.graph.add(
    VariableRows.assign.name, name: name, inputs: [variable.handle, value], file: file, line: line)
}

/// Adds `value`, of the same shape, to `variable`. TensorFlow: `AssignAddVariableOp`.
@discardableResult
public func assignAdd(
  _ variable: Variable, _ value: Output, name: String? = nil, file: StaticString = #fileID,
  line: UInt = #line
) throws -> Node {
  try variable.graph.add(
    VariableRows.assignAdd.name, name: name, inputs: [variable.handle, value], file: file,
    line: line)
}

/// Subtracts `value`, of the same shape, from `variable`. TensorFlow: `AssignSubVariableOp`.
@discardableResult
public func assignSub(
  _ variable: Variable, _ value: Output, name: String? = nil, file: StaticString = #fileID,
  line: UInt = #line
) throws -> Node {
  try variable.graph.add(
    VariableRows.assignSub.name, name: name, inputs: [variable.handle, value], file: file,
    line: line)
}

/// Whether `variable` has a value, a bool scalar. TensorFlow: `VarIsInitializedOp`.
public func isInitialized(
  _ variable: Variable, name: String? = nil, file: StaticString = #fileID, line: UInt = #line
) throws -> Output {
  try variable.graph.output(
    VariableRows.isInitialized.name, name: name, inputs: [variable.handle], file: file, line: line)
}

/// The shape behind a resource handle, int32 or int64 `[rank]`. TensorFlow: `VariableShape`.
public func variableShape(
  _ handle: Output, dtype: DType = .int32, name: String? = nil, file: StaticString = #fileID,
  line: UInt = #line
) throws -> Output {
  try handle.graph.output(
    VariableRows.shape.name, name: name, inputs: [handle], attrs: ["out_type": .type(dtype)],
    file: file, line: line)
}

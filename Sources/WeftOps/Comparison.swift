// Comparisons and logic; the results are bool.

public import WeftGraph
internal import WeftKernels
internal import WeftTensors

private func comparison(
  _ name: String, _ comparison: Comparison, _ summary: String
) -> OpDef {
  OpDef(
    name, "x: T, y: T -> z: bool", "T: realnumbertype", summary: summary, traits: .elementwise,
    infer: { ctx in [try ctx.broadcast(0, 1)] }, gradient: .zero,
    lowering: .kernel { ctx in
      try ctx.elementwise("\(comparison)", comparison.row(ctx.dtype(0)))
    })
}

private func equality(
  _ name: String, _ comparison: Comparison, _ summary: String, different: Bool
) -> OpDef {
  OpDef(
    name, "x: T, y: T -> z: bool", "T: type; incompatible_shape_error: bool = true",
    summary: summary, traits: [.elementwise, .commutative],
    infer: { ctx in
      if let shape = Shape.broadcast(ctx.shape(0), ctx.shape(1)) {
        // Sizes that do not fit are only an answer once all sizes are known.
        let strict = try ctx.attrs.bool("incompatible_shape_error")
        return [strict || shape.isFullyKnown ? shape : .unknown]
      }
      if try ctx.attrs.bool("incompatible_shape_error") { return [try ctx.broadcast(0, 1)] }
      return [.scalar]
    },
    gradient: .zero,
    lowering: .kernel { ctx in
      let (a, b) = (ctx.inputs[0].shape, ctx.inputs[1].shape)
      guard Shape.broadcast(a, b) != nil else {
        return Kernel("differentShapes") { call in
          call.output(0, as: Bool.self)[0] = different
        }
      }
      guard ctx.dtype(0) == .string else {
        return try ctx.elementwise("\(comparison)", comparison.row(ctx.dtype(0)))
      }
      let plan = BroadcastPlan(inputs: [ctx.shape(0), ctx.shape(1)], output: ctx.outputShape(0))
      let (left, right) = (plan.indices(0), plan.indices(1))
      return Kernel("\(comparison)String") { call in
        let (x, y) = (try stringInput(call, 0).strings, try stringInput(call, 1).strings)
        let out = call.output(0, as: Bool.self)
        for i in left.indices { out[i] = (x[left[i]] == y[right[i]]) != different }
      }
    })
}

let equalRow: OpDef = equality("Equal", .equal, "Whether x equals y.", different: false)

/// Whether x equals y, elementwise with broadcasting; NaN equals nothing (TensorFlow: `Equal`).
public func equal(
  _ x: Output, _ y: Output, name: String? = nil, file: StaticString = #fileID,
  line: UInt = #line
) throws -> Output { try equalRow.node([x, y], name, file, line) }

let notEqualRow: OpDef = equality(
  "NotEqual", .notEqual, "Whether x differs from y.", different: true)

/// Whether x differs from y, elementwise with broadcasting; NaN differs from all (TensorFlow: `NotEqual`).
public func notEqual(
  _ x: Output, _ y: Output, name: String? = nil, file: StaticString = #fileID,
  line: UInt = #line
) throws -> Output { try notEqualRow.node([x, y], name, file, line) }

let lessRow: OpDef = comparison("Less", .less, "Whether x < y.")

/// Whether x < y, elementwise with broadcasting; false where either is NaN (TensorFlow: `Less`).
public func less(
  _ x: Output, _ y: Output, name: String? = nil, file: StaticString = #fileID,
  line: UInt = #line
) throws -> Output { try lessRow.node([x, y], name, file, line) }

let lessEqualRow: OpDef = comparison("LessEqual", .lessEqual, "Whether x <= y.")

/// Whether x <= y, elementwise with broadcasting; false where either is NaN (TensorFlow: `LessEqual`).
public func lessEqual(
  _ x: Output, _ y: Output, name: String? = nil, file: StaticString = #fileID,
  line: UInt = #line
) throws -> Output { try lessEqualRow.node([x, y], name, file, line) }

let greaterRow: OpDef = comparison("Greater", .greater, "Whether x > y.")

/// Whether x > y, elementwise with broadcasting; false where either is NaN (TensorFlow: `Greater`).
public func greater(
  _ x: Output, _ y: Output, name: String? = nil, file: StaticString = #fileID,
  line: UInt = #line
) throws -> Output { try greaterRow.node([x, y], name, file, line) }

let greaterEqualRow: OpDef = comparison("GreaterEqual", .greaterEqual, "Whether x >= y.")

/// Whether x >= y, elementwise with broadcasting; false where either is NaN (TensorFlow: `GreaterEqual`).
public func greaterEqual(
  _ x: Output, _ y: Output, name: String? = nil, file: StaticString = #fileID,
  line: UInt = #line
) throws -> Output { try greaterEqualRow.node([x, y], name, file, line) }

private func logic(_ name: String, _ comparison: Comparison, _ summary: String) -> OpDef {
  OpDef(
    name, "x: bool, y: bool -> z: bool", summary: summary, traits: [.elementwise, .commutative],
    infer: { ctx in [try ctx.broadcast(0, 1)] }, gradient: .zero,
    lowering: .kernel { ctx in
      try ctx.elementwise("logical", comparison.row(ctx.dtype(0)))
    })
}

let logicalAndRow: OpDef = logic("LogicalAnd", .and, "x and y.")

/// x and y, of bools, elementwise with broadcasting (TensorFlow: `LogicalAnd`).
public func logicalAnd(
  _ x: Output, _ y: Output, name: String? = nil, file: StaticString = #fileID,
  line: UInt = #line
) throws -> Output { try logicalAndRow.node([x, y], name, file, line) }

let logicalOrRow: OpDef = logic("LogicalOr", .or, "x or y.")

/// x or y, of bools, elementwise with broadcasting (TensorFlow: `LogicalOr`).
public func logicalOr(
  _ x: Output, _ y: Output, name: String? = nil, file: StaticString = #fileID,
  line: UInt = #line
) throws -> Output { try logicalOrRow.node([x, y], name, file, line) }

private func test(
  _ name: String, _ test: UnaryTest, _ types: String, _ summary: String
) -> OpDef {
  OpDef(
    name, types == "bool" ? "x: bool -> y: bool" : "x: T -> y: bool",
    types == "bool" ? "" : "T: {\(types)}", summary: summary, traits: .elementwise,
    infer: { ctx in [ctx.shape(0)] }, gradient: .zero,
    lowering: .kernel { ctx in try ctx.elementwise("\(test)", test.row(ctx.dtype(0))) })
}

let logicalNotRow: OpDef = test("LogicalNot", .logicalNot, "bool", "Not x.")

/// Not x, elementwise (TensorFlow: `LogicalNot`).
public func logicalNot(
  _ x: Output, name: String? = nil, file: StaticString = #fileID, line: UInt = #line
) throws -> Output { try logicalNotRow.node([x], name, file, line) }

let isNanRow: OpDef = test("IsNan", .isNan, "bfloat16, half, float, double", "Whether x is NaN.")

/// Whether x is NaN, elementwise (TensorFlow: `IsNan`).
public func isNan(
  _ x: Output, name: String? = nil, file: StaticString = #fileID, line: UInt = #line
) throws -> Output { try isNanRow.node([x], name, file, line) }

let isInfiniteRow: OpDef = test(
  "IsInf", .isInfinite, "bfloat16, half, float, double", "Whether x is infinite.")

/// Whether x is infinite, elementwise (TensorFlow: `IsInf`).
public func isInfinite(
  _ x: Output, name: String? = nil, file: StaticString = #fileID, line: UInt = #line
) throws -> Output { try isInfiniteRow.node([x], name, file, line) }

let isFiniteRow: OpDef = test(
  "IsFinite", .isFinite, "bfloat16, half, float, double", "Whether x is neither infinite nor NaN.")

/// Whether x is neither infinite nor NaN, elementwise (TensorFlow: `IsFinite`).
public func isFinite(
  _ x: Output, name: String? = nil, file: StaticString = #fileID, line: UInt = #line
) throws -> Output { try isFiniteRow.node([x], name, file, line) }

let approximateEqualRow: OpDef = OpDef(
  "ApproximateEqual", "x: T, y: T -> z: bool",
  "T: {float, double, int32, uint8, int16, int8, complex64, int64, bfloat16, uint16, complex128, half, uint32, uint64}; tolerance: float = 9.999999747378752e-06",
  summary: "Whether |x - y| < tolerance.", traits: [.elementwise, .commutative],
  infer: { ctx in [try ctx.merge(0, 1)] }, gradient: .zero,
  lowering: .kernel { ctx in
    let near = Comparison.near(try ctx.attrs.float("tolerance"))
    return try ctx.elementwise("approximateEqual", near.row(ctx.dtype(0)))
  })

/// Whether |x - y| < tolerance, elementwise, for equal shapes (TensorFlow: `ApproximateEqual`).
public func approximateEqual(
  _ x: Output, _ y: Output, tolerance: Float = 1e-5, name: String? = nil,
  file: StaticString = #fileID, line: UInt = #line
) throws -> Output {
  try approximateEqualRow.node([x, y], attrs: ["tolerance": .float(tolerance)], name, file, line)
}

let comparisonRows = [
  equalRow, notEqualRow, lessRow, lessEqualRow, greaterRow, greaterEqualRow, logicalAndRow,
  logicalOrRow, logicalNotRow, isNanRow, isInfiniteRow, isFiniteRow, approximateEqualRow,
]

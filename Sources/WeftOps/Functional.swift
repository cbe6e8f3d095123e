// Calls, conditionals and loops over functions of the library. The compiler expands them.

package import WeftGraph
package import WeftTensors

enum FunctionalRows {
  // Shapes as `output_shapes` states them, else as `other` knows them.
  private static func stated(
    _ ctx: InferContext, _ types: [DType], other: (Int) -> Shape = { _ in .unknown }
  ) throws -> [Shape] {
    let listed = ctx.attrs["output_shapes"] == nil ? [] : try ctx.attrs.shapes("output_shapes")
    guard listed.isEmpty || listed.count == types.count else {
      throw ctx.error(
        "attr 'output_shapes' lists \(listed.count) shapes for \(types.count) outputs")
    }
    return types.indices.map { index in
      if types[index] == .resource || types[index] == .variant { return .scalar }
      return listed.isEmpty ? other(index) : listed[index]
    }
  }

  private static let notExpanded: Lowering = .kernel { ctx in
    throw WeftError(.internal, "\(ctx.op.name) was not expanded", category: .run)
  }

  private static func row(
    _ name: String, _ arguments: String, _ attributes: String, stateful: Bool, _ summary: String,
    gradient: @escaping @Sendable (GradientContext) throws -> [Gradient?]
  ) -> OpDef {
    OpDef(
      name, arguments, attributes, summary: summary, traits: stateful ? [.stateful] : [],
      infer: { ctx in try stated(ctx, try ctx.attrs.types("Tout")) },
      gradient: .rule(gradient), lowering: notExpanded)
  }

  private static let ifText = (
    arguments: "cond: Tcond, input: Tin -> output: Tout",
    attributes: "Tcond: type; Tin: list(type) >= 0; Tout: list(type) >= 0; then_branch: func; "
      + "else_branch: func; output_shapes: list(shape) = []"
  )
  static let ifRow = row(
    "If", ifText.arguments, ifText.attributes, stateful: true,
    "What then_branch gives when cond is true, else what else_branch gives.",
    gradient: { g in try FunctionalGradients.conditional(g) })
  static let statelessIf = row(
    "StatelessIf", ifText.arguments, ifText.attributes, stateful: false,
    "What then_branch gives when cond is true, else what else_branch gives; without effects.",
    gradient: { g in try FunctionalGradients.conditional(g) })

  private static let caseText = (
    arguments: "branch_index: int32, input: Tin -> output: Tout",
    attributes: "Tin: list(type) >= 0; Tout: list(type) >= 0; branches: list(func) >= 1; "
      + "output_shapes: list(shape) = []"
  )
  static let caseRow = row(
    "Case", caseText.arguments, caseText.attributes, stateful: true,
    "What the branch of that index gives; the last branch for an index out of range.",
    gradient: { g in try FunctionalGradients.conditional(g) })
  static let statelessCase = row(
    "StatelessCase", caseText.arguments, caseText.attributes, stateful: false,
    "What the branch of that index gives, the last for one out of range; without effects.",
    gradient: { g in try FunctionalGradients.conditional(g) })

  private static let callAttributes =
    "Tin: list(type) >= 0; Tout: list(type) >= 0; f: func; config: string = ''; "
    + "config_proto: string = ''; executor_type: string = ''"
  static let call = row(
    "PartitionedCall", "args: Tin -> output: Tout", callAttributes, stateful: false,
    "What the function f gives.", gradient: { g in try FunctionalGradients.call(g) })
  static let statefulCall = row(
    "StatefulPartitionedCall", "args: Tin -> output: Tout", callAttributes, stateful: true,
    "What the function f gives; it may have effects.",
    gradient: { g in try FunctionalGradients.call(g) })

  static let symbolicGradient = OpDef(
    "SymbolicGradient", "input: Tin -> output: Tout",
    "Tin: list(type) >= 1; Tout: list(type) >= 1; f: func",
    summary: "The gradients of the function f at its arguments, given those of its results.",
    infer: { ctx in
      let count = try ctx.attrs.types("Tout").count
      return (0..<count).map { $0 < ctx.inputs.count ? ctx.shape($0) : .unknown }
    },
    gradient: .none("second derivatives of functions called by name are not known"),
    lowering: notExpanded)

  private static func whileRow(_ name: String, stateful: Bool, _ summary: String) -> OpDef {
    OpDef(
      name, "input: T -> output: T",
      "T: list(type) >= 0; cond: func; body: func; output_shapes: list(shape) = []; "
        + "parallel_iterations: int = 10",
      summary: summary, traits: stateful ? [.stateful] : [],
      infer: { ctx in try stated(ctx, try ctx.attrs.types("T")) },
      handles: { ctx in ctx.inputs.indices.map { ctx.handle($0) } },
      gradient: .rule { g in try FunctionalGradients.loop(g) }, lowering: notExpanded)
  }
  static let whileLoop = whileRow(
    "While", stateful: true, "Its inputs after body was applied as long as cond holds.")
  static let statelessWhile = whileRow(
    "StatelessWhile", stateful: false,
    "Its inputs after body was applied as long as cond holds; without effects.")

  static let all = [
    ifRow, statelessIf, caseRow, statelessCase, call, statefulCall, symbolicGradient, whileLoop,
    statelessWhile,
  ]
}

extension OpDef {
  /// What an op does with functions of the library.
  package enum FunctionalRole {
    case conditional, indexed, call, loop, gradient
  }

  /// The op that a raised loop of TensorFlow 1 is shown as.
  package static var raisedLoop: String { FunctionalRows.whileLoop.name }
  /// The op that a raised conditional of TensorFlow 1 is shown as.
  package static var raisedConditional: String { FunctionalRows.ifRow.name }

  /// What the op does with functions of the library, if anything.
  package var functionalRole: FunctionalRole? {
    // What the compiler made of such an op keeps its name.
    if traits.contains(.nested) { return nil }
    if isCall { return .call }
    switch name {
    case FunctionalRows.ifRow.name, FunctionalRows.statelessIf.name: return .conditional
    case FunctionalRows.caseRow.name, FunctionalRows.statelessCase.name: return .indexed
    case FunctionalRows.call.name, FunctionalRows.statefulCall.name: return .call
    case FunctionalRows.whileLoop.name, FunctionalRows.statelessWhile.name: return .loop
    case FunctionalRows.symbolicGradient.name: return .gradient
    default: return nil
    }
  }

  /// The function that a call calls.
  package func callee(_ attrs: Attrs) throws(WeftError) -> FunctionRef {
    isCall ? FunctionRef(name, attrs: attrs.stored) : try attrs.function("f")
  }

  /// The branches of a conditional, by index; `then_branch` is 1.
  package func branches(_ attrs: Attrs) throws(WeftError) -> [FunctionRef] {
    functionalRole == .conditional
      ? [try attrs.function("else_branch"), try attrs.function("then_branch")]
      : try attrs.functions("branches")
  }
}

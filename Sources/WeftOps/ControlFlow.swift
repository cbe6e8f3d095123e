// TensorFlow 1's control flow: switches and merges, and the frames of loops. They load and are kept;
// the compiler raises them to conditionals and loops before anything runs.

package import WeftGraph
internal import WeftTensors

enum ControlFlowRows {
  private static let notRaised: Lowering = .kernel { ctx in
    throw WeftError(
      .unimplemented, "\(ctx.op.name) is part of no loop or conditional that is understood",
      category: .run)
  }
  private static let noGradient: GradientRule = .none(
    "TensorFlow 1's control flow carries no context in a graph; its exported gradients run, and "
      + "functional If and While have gradients here")

  private static func passing(
    _ name: String, _ arguments: String, _ attributes: String, outputs: Int = 1, _ summary: String
  ) -> OpDef {
    OpDef(
      name, arguments, attributes, summary: summary,
      infer: { ctx in Array(repeating: ctx.shape(0), count: outputs) },
      handles: { ctx in Array(repeating: ctx.handle(0), count: outputs) },
      gradient: noGradient, lowering: notRaised)
  }

  private static func merging(_ name: String, _ arguments: String, _ summary: String) -> OpDef {
    OpDef(
      name, arguments, "T: type; N: int >= 1", summary: summary,
      infer: { ctx in
        guard let first = ctx.inputs.first?.shape else { return [.unknown, .scalar] }
        // A loop's back edge is not known yet: neither is what comes out.
        let all = ctx.inputs.map(\.shape)
        return [all.allSatisfy { $0 == first } ? first : .unknown, .scalar]
      },
      handles: { ctx in [ctx.inputs.indices.lazy.compactMap { ctx.handle($0) }.first, nil] },
      gradient: noGradient, lowering: notRaised)
  }

  static let switchRow = OpDef(
    "Switch", "data: T, pred: bool -> output_false: T, output_true: T", "T: type",
    summary: "Its input at output 1 when pred is true, at output 0 when it is false.",
    infer: { ctx in
      try ctx.checkScalar(1)
      return [ctx.shape(0), ctx.shape(0)]
    },
    handles: { ctx in [ctx.handle(0), ctx.handle(0)] },
    gradient: noGradient, lowering: notRaised)

  static let refSwitch = passing(
    "RefSwitch", "data: Ref(T), pred: bool -> output_false: Ref(T), output_true: Ref(T)", "T: type",
    outputs: 2, "The reference at output 1 when pred is true, at output 0 when it is false.")

  static let merge = merging(
    "Merge", "inputs: N * T -> output: T, value_index: int32",
    "The one input that is there, and which it is.")
  static let refMerge = merging(
    "RefMerge", "inputs: Ref(N * T) -> output: Ref(T), value_index: int32",
    "The one reference that is there, and which it is.")

  private static let frame =
    "T: type; frame_name: string; is_constant: bool = false; parallel_iterations: int = 10"
  static let enter = passing(
    "Enter", "data: T -> output: T", frame, "Its input inside the loop called frame_name.")
  static let refEnter = passing(
    "RefEnter", "data: Ref(T) -> output: Ref(T)", frame,
    "The reference inside the loop called frame_name.")
  static let exit = passing(
    "Exit", "data: T -> output: T", "T: type", "What its input is when the loop has ended.")
  static let refExit = passing(
    "RefExit", "data: Ref(T) -> output: Ref(T)", "T: type",
    "What the reference is when the loop has ended.")
  static let nextIteration = passing(
    "NextIteration", "data: T -> output: T", "T: type", "Its input, in the loop's next iteration.")
  static let refNextIteration = passing(
    "RefNextIteration", "data: Ref(T) -> output: Ref(T)", "T: type",
    "The reference, in the loop's next iteration.")
  static let loopCond = OpDef(
    "LoopCond", "input: bool -> output: bool", summary: "Whether the loop goes on.",
    traits: [.view], infer: { ctx in [ctx.shape(0)] }, gradient: noGradient,
    // Outside of a loop it only passes its input on.
    lowering: .kernel { _ in .alias() })

  static let all = [
    switchRow, refSwitch, merge, refMerge, enter, refEnter, exit, refExit, nextIteration,
    refNextIteration, loopCond,
  ]
}

extension OpDef {
  /// What part of TensorFlow 1's control flow an op is.
  package enum ControlRole {
    case branch, merge, enter, exit, next, condition, trigger
  }

  /// The op's part in TensorFlow 1's control flow, if it has one.
  package var controlRole: ControlRole? {
    // What the compiler made of such an op keeps its name.
    if traits.contains(.nested) { return nil }
    return switch name {
    case ControlFlowRows.switchRow.name, ControlFlowRows.refSwitch.name: .branch
    case ControlFlowRows.merge.name, ControlFlowRows.refMerge.name: .merge
    case ControlFlowRows.enter.name, ControlFlowRows.refEnter.name: .enter
    case ControlFlowRows.exit.name, ControlFlowRows.refExit.name: .exit
    case ControlFlowRows.nextIteration.name, ControlFlowRows.refNextIteration.name: .next
    case ControlFlowRows.loopCond.name: .condition
    case IdentityRows.controlTrigger.name: .trigger
    default: nil
    }
  }
}

// The op rows of control flow and its values, in one list.

internal import WeftGraph

extension OpRegistry {
  static let controlRows: [OpDef] =
    ControlFlowRows.all + FunctionalRows.all + TensorListRows.all + TensorListWholeRows.all
    + TensorArrayRows.all + StackRows.all + OptionalRows.all
}

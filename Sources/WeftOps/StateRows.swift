// The op rows of the state families, in one list.

internal import WeftGraph

extension OpRegistry {
  static let stateRows: [OpDef] = []
}

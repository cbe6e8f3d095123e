// The op rows of the math families, in one list.

internal import WeftGraph

extension OpRegistry {
  static let mathRows: [OpDef] = []
}

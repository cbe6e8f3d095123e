// The op rows of the array families, in one list.

internal import WeftGraph

extension OpRegistry {
  static let arrayRows: [OpDef] = []
}

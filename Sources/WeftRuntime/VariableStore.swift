// The variables of one session, by name.

internal import Synchronization
public import WeftTensors

/// The variables of one session: made when a plan first names them, kept until the session ends.
public final class VariableStore: Sendable {
  private struct Table: Sendable {
    var cells: [String: VariableCell] = [:]
    var order: [String] = []
    // How often each random node has run, so that each run draws anew.
    var draws: [String: UInt64] = [:]
  }
  private let table = Mutex(Table())

  /// An empty store.
  public init() {}

  /// The variable called `name`, made uninitialized if it is new.
  public func cell(_ name: String, dtype: DType) -> VariableCell {
    table.withLock { table in
      if let cell = table.cells[name] { return cell }
      let cell = VariableCell(name: name, dtype: dtype)
      table.cells[name] = cell
      table.order.append(name)
      return cell
    }
  }

  /// The variable called `name`, if a plan has named it.
  public func existing(_ name: String) -> VariableCell? { table.withLock { $0.cells[name] } }

  /// All variables, in the order in which they were first named.
  public var all: [VariableCell] {
    table.withLock { table in table.order.compactMap { table.cells[$0] } }
  }

  /// How often each random node has drawn, by node name in alphabetical order.
  public var drawCounts: [(name: String, count: UInt64)] {
    get {
      table.withLock { table in
        table.draws.sorted { $0.key < $1.key }.map { (name: $0.key, count: $0.value) }
      }
    }
    set {
      table.withLock { table in
        table.draws = Dictionary(
          newValue.map { ($0.name, $0.count) }, uniquingKeysWith: { _, last in last })
      }
    }
  }

  func nextDraw(_ node: String) -> UInt64 {
    table.withLock { table in
      let count = table.draws[node, default: 0]
      table.draws[node] = count &+ 1
      return count
    }
  }
}

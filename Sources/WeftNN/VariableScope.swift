// Variables by name, made once and shared by all parts of a graph that ask for them.

public import WeftGraph
public import WeftOps
public import WeftTensors

/// The variables of a model, under a common prefix: TensorFlow's variable scope with reuse.
///
/// Asking twice for one name gives one variable, so train, evaluate and generate share it. Scopes
/// made by `scope(_:)` share the same variables.
public struct VariableScope {
  /// The graph the variables belong to.
  public let graph: Graph
  /// The element type of variables, unless one is given.
  public let dtype: DType
  /// The model's seed; each variable's seeds derive from it and the variable's name.
  public let seed: Int
  /// What names begin with: empty, or ending in `/` or another separator.
  public let prefix: String

  private final class Table {
    var byName: [String: Variable] = [:]
    var inOrder: [Variable] = []
  }
  private let table: Table

  /// A scope without variables.
  public init(_ graph: Graph, dtype: DType = .float32, seed: Int = 0) {
    self.init(graph: graph, dtype: dtype, seed: seed, prefix: "", table: Table())
  }

  private init(graph: Graph, dtype: DType, seed: Int, prefix: String, table: Table) {
    self.graph = graph
    self.dtype = dtype
    self.seed = seed
    self.prefix = prefix
    self.table = table
  }

  /// The scope `name/` within this one.
  public func scope(_ name: String) -> VariableScope {
    VariableScope(
      graph: graph, dtype: dtype, seed: seed, prefix: prefix + name + "/", table: table)
  }

  /// All variables made so far, in this scope and all that share its variables, in order.
  public var variables: [Variable] { table.inOrder }
  /// Those that optimizers update.
  public var trainableVariables: [Variable] { table.inOrder.filter(\.isTrainable) }

  /// The variable called `prefix + name`, made when it is asked for the first time.
  ///
  /// Its nodes stand at the root, whatever name scope is current.
  /// - Throws: InvalidArgument when a variable of that name has another shape or element type.
  public func variable(
    _ name: String, shape: [Int], initializer: Initializer, dtype: DType? = nil,
    trainable: Bool = true, file: StaticString = #fileID, line: UInt = #line
  ) throws -> Variable {
    let full = prefix + name
    let type = TensorType(dtype ?? self.dtype, Shape(shape))
    if let old = table.byName[full] {
      let oldType = TensorType(old.dtype, old.shape)
      guard oldType == type else {
        throw WeftError(
          .invalidArgument, "variable '\(full)' is \(oldType), and was asked for as \(type)")
      }
      return old
    }
    let fresh = try graph.withAbsoluteScope("") {
      try graph.variable(
        full, dtype: type.dtype, shape: type.shape, trainable: trainable, file: file, line: line
      ) {
        try initializer(
          graph, shape: shape, dtype: type.dtype, seed: OpSeed(model: seed, name: full))
      }
    }
    guard fresh.name == full else {
      throw WeftError(
        .alreadyExists, "the graph has a variable '\(full)' that this scope did not make")
    }
    table.byName[full] = fresh
    table.inOrder.append(fresh)
    return fresh
  }

  /// An int64 scalar that counts training steps, not trainable: TensorFlow's `global_step`.
  public func globalStep() throws -> Variable {
    try variable(
      "global_step", shape: [], initializer: .zeros, dtype: .int64, trainable: false)
  }
}

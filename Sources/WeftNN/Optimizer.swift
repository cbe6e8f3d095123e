// Optimizers: gradients, bounded if asked for, and the nodes that update variables.

public import WeftGraph
public import WeftOps
public import WeftTensors

/// What one optimizer does with one gradient.
public protocol UpdateRule: Sendable {
  /// The name of the scope of updates, and of slots, as TensorFlow has them: `Adam`, `RMSProp`.
  var name: String { get }

  /// Adds the nodes that update a variable by a dense gradient; returns the last.
  func update(
    _ variable: Variable, by gradient: Output, _ context: UpdateContext
  ) throws -> Node

  /// Adds the nodes that update a variable by rows. Rows of one index may stand several times.
  func update(
    _ variable: Variable, by slices: IndexedSlices, _ context: UpdateContext
  ) throws -> Node

  /// Adds what is to be done after all updates; what it adds waits for them.
  func finish(_ context: UpdateContext) throws -> [Node]
}

extension UpdateRule {
  /// Nothing.
  public func finish(_ context: UpdateContext) throws -> [Node] { [] }
}

/// Slots and constants of one application of an optimizer.
public struct UpdateContext {
  /// The graph.
  public let graph: Graph
  let optimizer: Optimizer
  let scope: String
  let constants: Constants

  final class Constants {
    var byKey: [String: Output] = [:]
  }

  /// A hyperparameter as a scalar node `name` of type `dtype`, made once.
  public func constant(_ name: String, _ value: Double, _ dtype: DType) throws -> Output {
    let key = "\(name) \(dtype.name)"
    if let made = constants.byKey[key] { return made }
    let fresh = try graph.withAbsoluteScope(scope) {
      try graph.constant(value, dtype: dtype, name: name)
    }
    constants.byKey[key] = fresh
    return fresh
  }

  /// The learning rate as a scalar of type `dtype`.
  public func learningRate(_ dtype: DType) throws -> Output {
    switch optimizer.rate {
    case .constant(let value): return try constant("learning_rate", value, dtype)
    case .tensor(let output):
      return output.dtype == dtype ? output : try output.cast(to: dtype)
    }
  }

  /// The slot `key` of `variable`, made once for each optimizer, all `initial` at the start.
  public func slot(
    _ variable: Variable, _ key: String, initial: Double = 0
  ) throws -> Variable {
    try optimizer.slot(variable, key, initial: initial)
  }

  /// The scalar variable `name`, if `scalar` has made it.
  func madeScalar(_ name: String, _ dtype: DType) -> Variable? {
    optimizer.madeScalar(name, dtype)
  }

  /// A scalar variable of the optimizer's own, made once.
  public func scalar(_ name: String, initial: Double, _ dtype: DType) throws -> Variable {
    try optimizer.scalar(graph, name, initial: initial, dtype)
  }
}

/// What `Optimizer.minimize` added.
public struct Minimization {
  /// The node that does the whole update.
  public let operation: Node
  /// The variables updated, with the gradients of the loss before clipping.
  public let gradients: [(variable: Variable, gradient: Gradient)]
  /// The gradients' norm before clipping, where clipping needs it.
  public let globalNorm: Output?
}

/// An optimizer: a rule, a learning rate, and the slots it made.
///
/// Slots are named as TensorFlow 1 names them (`dense/kernel/Adam`, `dense/kernel/Adam_1`,
/// `beta1_power`) and made once, so that several train parts of one graph share them.
public final class Optimizer {
  enum Rate {
    case constant(Double)
    case tensor(Output)
  }

  /// What it does.
  public let rule: any UpdateRule
  let rate: Rate
  private var slots: [String: Variable] = [:]
  /// All slots and scalars made so far, in order.
  public private(set) var slotVariables: [Variable] = []

  /// An optimizer with a fixed learning rate.
  public init(_ rule: any UpdateRule, learningRate: Double) {
    self.rule = rule
    rate = .constant(learningRate)
  }

  /// An optimizer whose learning rate is a scalar of the graph, such as a schedule.
  public init(_ rule: any UpdateRule, learningRate: Output) {
    self.rule = rule
    rate = .tensor(learningRate)
  }

  /// Adds gradients of `loss` and the update of `variables` by them.
  /// - Parameters:
  ///   - variables: those to update; variables that the loss does not depend on are left out.
  ///   - globalStep: counted up after the update.
  /// - Throws: InvalidArgument when the loss depends on none of the variables.
  public func minimize(
    _ loss: Output, variables: [Variable], clipping: GradientClipping = .none,
    globalStep: Variable? = nil
  ) throws -> Minimization {
    let all = try WeftOps.gradients(of: [loss], withRespectTo: variables.map(\.handle))
    var pairs: [(variable: Variable, gradient: Gradient)] = []
    for (variable, gradient) in zip(variables, all) {
      if let gradient { pairs.append((variable, gradient)) }
    }
    guard !pairs.isEmpty else {
      throw WeftError(
        .invalidArgument, "'\(loss.name)' depends on none of the variables to update",
        details: variables.prefix(8).map { .init("variable", $0.name) })
    }
    let clipped = try clip(pairs.map(\.gradient), clipping)
    let operation = try apply(
      zip(pairs, clipped.gradients).map { (variable: $0.variable, gradient: $1) },
      globalStep: globalStep)
    return Minimization(operation: operation, gradients: pairs, globalNorm: clipped.norm)
  }

  private func clip(
    _ gradients: [Gradient], _ clipping: GradientClipping
  ) throws -> (gradients: [Gradient], norm: Output?) {
    switch clipping {
    case .none: return (gradients, nil)
    case .value(let limit): return (try gradients.map { try clipByValue($0, to: limit) }, nil)
    case .norm(let limit): return (try gradients.map { try clipByNorm($0, to: limit) }, nil)
    case .globalNorm(let limit):
      let clipped = try clipByGlobalNorm(gradients, to: limit)
      return (clipped.gradients, clipped.norm)
    case .globalNormPyTorch(let limit):
      let clipped = try clipByGlobalNormPyTorch(gradients, to: limit)
      return (clipped.gradients, clipped.norm)
    }
  }

  /// Adds the update of variables by given gradients; returns the node that does all of it.
  public func apply(
    _ gradients: [(variable: Variable, gradient: Gradient)], globalStep: Variable? = nil
  ) throws -> Node {
    guard let graph = gradients.first?.variable.graph else {
      throw WeftError(.invalidArgument, "there is no gradient to apply")
    }
    return try graph.withScope(rule.name) {
      let scope = graph.currentScope
      let context = UpdateContext(
        graph: graph, optimizer: self, scope: scope, constants: UpdateContext.Constants())
      var updates: [Node] = []
      for (variable, gradient) in gradients {
        let node = try graph.withAbsoluteScope("\(scope)update_\(variable.name)") {
          switch gradient {
          case .dense(let whole): return try rule.update(variable, by: whole, context)
          case .slices(let slices): return try rule.update(variable, by: slices, context)
          }
        }
        updates.append(node)
      }
      let rest = try graph.withControlDependencies(updates.map(\.id)) {
        try rule.finish(context)
      }
      let done = try group(graph, updates + rest, name: "update")
      guard let globalStep else { return done }
      return try graph.withControlDependencies([done.id]) {
        try assignAdd(
          globalStep, try graph.constant(1, dtype: globalStep.dtype), name: "global_step")
      }
    }
  }

  fileprivate func slot(_ variable: Variable, _ key: String, initial: Double) throws -> Variable {
    let id = "\(variable.name) \(key)"
    if let made = slots[id] { return made }
    guard let shape = variable.shape.known else {
      throw WeftError(
        .invalidArgument, "variable '\(variable.name)' of unknown shape cannot have slots")
    }
    return try make(
      variable.graph, id, "\(variable.name)/\(rule.name)", shape, initial, variable.dtype)
  }

  fileprivate func madeScalar(_ name: String, _ dtype: DType) -> Variable? {
    slots["\(name) \(dtype.name)"]
  }

  fileprivate func scalar(
    _ graph: Graph, _ name: String, initial: Double, _ dtype: DType
  ) throws -> Variable {
    let id = "\(name) \(dtype.name)"
    if let made = slots[id] { return made }
    return try make(graph, id, name, [], initial, dtype)
  }

  // A taken name gets a number behind: Adam, Adam_1.
  private func make(
    _ graph: Graph, _ id: String, _ name: String, _ shape: [Int], _ initial: Double, _ dtype: DType
  ) throws -> Variable {
    let fresh = try graph.withAbsoluteScope("") {
      try graph.variable(name, dtype: dtype, shape: Shape(shape), trainable: false) {
        try Initializer.constant(initial)(
          graph, shape: shape, dtype: dtype, seed: OpSeed(graph: 0, op: 0))
      }
    }
    slots[id] = fresh
    slotVariables.append(fresh)
    return fresh
  }
}

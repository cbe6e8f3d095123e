// The update rules: gradient descent, momentum, Adam, and RMSProp as TensorFlow and PyTorch do it.

public import WeftGraph
public import WeftOps
internal import WeftTensors

/// `w -= rate g`: `tf.train.GradientDescentOptimizer`.
public struct GradientDescent: UpdateRule {
  /// A rule without parameters.
  public init() {}

  /// `GradientDescent`.
  public var name: String { "GradientDescent" }

  /// A dense step.
  public func update(
    _ variable: Variable, by gradient: Output, _ context: UpdateContext
  ) throws -> Node {
    try variable.applyGradientDescent(
      alpha: try context.learningRate(variable.dtype), delta: gradient)
  }

  /// A step of rows; rows of one index add up.
  public func update(
    _ variable: Variable, by slices: IndexedSlices, _ context: UpdateContext
  ) throws -> Node {
    let step = try slices.values * (try context.learningRate(variable.dtype))
    return try scatterAdd(variable, slices.indices, try -step)
  }
}

/// `a = momentum a + g`, `w -= rate a` (Nesterov: `w -= rate (g + momentum a)`):
/// `tf.train.MomentumOptimizer`. Rows that no gradient touches stay as they are.
public struct Momentum: UpdateRule {
  /// The share of the accumulator that stays.
  public let momentum: Double
  /// Whether the step looks ahead.
  public let usesNesterov: Bool

  /// A rule.
  public init(_ momentum: Double = 0.9, nesterov: Bool = false) {
    self.momentum = momentum
    usesNesterov = nesterov
  }

  /// `Momentum`.
  public var name: String { "Momentum" }

  /// A dense step.
  public func update(
    _ variable: Variable, by gradient: Output, _ context: UpdateContext
  ) throws -> Node {
    try variable.applyMomentum(
      accum: try context.slot(variable, "momentum"), lr: try context.learningRate(variable.dtype),
      grad: gradient, momentum: try context.constant("momentum", momentum, variable.dtype),
      nesterov: usesNesterov)
  }

  /// A step of rows.
  public func update(
    _ variable: Variable, by slices: IndexedSlices, _ context: UpdateContext
  ) throws -> Node {
    let rows = try deduplicated(slices)
    return try variable.sparseApplyMomentum(
      accum: try context.slot(variable, "momentum"), lr: try context.learningRate(variable.dtype),
      grad: rows.values, indices: rows.indices,
      momentum: try context.constant("momentum", momentum, variable.dtype), nesterov: usesNesterov)
  }
}

/// `m = β1 m + (1 - β1) g`, `v = β2 v + (1 - β2) g²`,
/// `w -= rate sqrt(1 - β2^t) / (1 - β1^t) m / (sqrt(v) + ε)`: `tf.train.AdamOptimizer`.
///
/// With a gradient of rows, all rows of slots decay and all rows of the variable move.
public struct Adam: UpdateRule {
  /// The decay of the mean.
  public let beta1: Double
  /// The decay of the mean square.
  public let beta2: Double
  /// What is added to the root.
  public let epsilon: Double
  // Keras takes 1 - β in double, where TensorFlow's kernel subtracts in the variable's type: for β2
  // in float32 they differ by 1e-5 of themselves. Its powers are of the step's number, and of betas
  // rounded to float32 also where variables are float64.
  private let isKeras: Bool

  /// TensorFlow's rule.
  public init(beta1: Double = 0.9, beta2: Double = 0.999, epsilon: Double = 1e-8) {
    self.init(beta1, beta2, epsilon, isKeras: false)
  }

  /// Keras's rule: ε is 1e-7. In float64 it differs from TensorFlow's in the powers as well.
  public static func keras(
    beta1: Double = 0.9, beta2: Double = 0.999, epsilon: Double = 1e-7
  ) -> Adam {
    Adam(beta1, beta2, epsilon, isKeras: true)
  }

  private init(_ beta1: Double, _ beta2: Double, _ epsilon: Double, isKeras: Bool) {
    self.beta1 = beta1
    self.beta2 = beta2
    self.epsilon = epsilon
    self.isKeras = isKeras
  }

  private func base(_ beta: Double) -> Double { isKeras ? Double(Float(beta)) : beta }

  // The power of a beta that the next step takes.
  private func next(
    _ name: String, _ beta: Double, _ power: Variable, _ context: UpdateContext
  ) throws -> Output {
    let dtype = power.dtype
    guard isKeras else {
      return try power.value * (try context.constant(name, beta, dtype))
    }
    let iterations = try context.scalar("iterations", initial: 0, dtype)
    return try pow(
      try context.constant(name + "_base", base(beta), dtype),
      try iterations.value + (try context.constant("two", 2, dtype)))
  }

  /// `Adam`.
  public var name: String { "Adam" }

  private struct Parts {
    let m: Variable, v: Variable, power1: Variable, power2: Variable
    let rate: Output, beta1: Output, beta2: Output, epsilon: Output
  }

  private func parts(_ variable: Variable, _ context: UpdateContext) throws -> Parts {
    let dtype = variable.dtype
    let power1 = try context.scalar("beta1_power", initial: base(beta1), dtype)
    let power2 = try context.scalar("beta2_power", initial: base(beta2), dtype)
    // Made here, where no dependency on the updates reaches its initializer.
    if isKeras { _ = try context.scalar("iterations", initial: 0, dtype) }
    return Parts(
      m: try context.slot(variable, "m"), v: try context.slot(variable, "v"), power1: power1,
      power2: power2, rate: try context.learningRate(dtype),
      beta1: try context.constant("beta1", beta1, dtype),
      beta2: try context.constant("beta2", beta2, dtype),
      epsilon: try context.constant("epsilon", epsilon, dtype))
  }

  /// A dense step.
  public func update(
    _ variable: Variable, by gradient: Output, _ context: UpdateContext
  ) throws -> Node {
    let p = try parts(variable, context)
    if isKeras { return try kerasStep(variable, gradient, p, context) }
    return try variable.applyAdam(
      m: p.m, v: p.v, beta1Power: p.power1.value, beta2Power: p.power2.value, lr: p.rate,
      beta1: p.beta1, beta2: p.beta2, epsilon: p.epsilon, grad: gradient)
  }

  /// A step of rows.
  public func update(
    _ variable: Variable, by slices: IndexedSlices, _ context: UpdateContext
  ) throws -> Node {
    let p = try parts(variable, context)
    if isKeras { return try kerasStep(variable, try dense(.slices(slices)), p, context) }
    let rows = try deduplicated(slices)
    let one = try context.constant("one", 1, variable.dtype)
    let rate =
      try (try p.rate * (try sqrt(try one - p.power2.value))) / (try one - p.power1.value)
    let square = try rows.values * rows.values
    let m = try decayed(
      p.m, by: p.beta1, adding: try rows.values * (try one - p.beta1), at: rows.indices)
    let v = try decayed(
      p.v, by: p.beta2, adding: try square * (try one - p.beta2), at: rows.indices)
    let step = try (try rate * m) / (try sqrt(v) + p.epsilon)
    return try assignSub(variable, step)
  }

  private func kerasStep(
    _ variable: Variable, _ gradient: Output, _ p: Parts, _ context: UpdateContext
  ) throws -> Node {
    let dtype = variable.dtype
    let one = try context.constant("one", 1, dtype)
    let rate = try (try p.rate * (try sqrt(try one - p.power2.value))) / (try one - p.power1.value)
    let rest1 = try context.constant("beta1_rest", 1 - beta1, dtype)
    let rest2 = try context.constant("beta2_rest", 1 - beta2, dtype)
    let m = try p.m.value + (try (try gradient - p.m.value) * rest1)
    let v = try p.v.value + (try (try square(gradient) - p.v.value) * rest2)
    let slots = [try assign(p.m, m).id, try assign(p.v, v).id]
    let step = try (try m * rate) / (try sqrt(v) + p.epsilon)
    return try variable.graph.withControlDependencies(slots) { try assignSub(variable, step) }
  }

  /// Multiplies the powers.
  public func finish(_ context: UpdateContext) throws -> [Node] {
    var nodes: [Node] = []
    for dtype in [DType.float32, .float64, .float16, .bfloat16] {
      guard let power1 = context.madeScalar("beta1_power", dtype),
        let power2 = context.madeScalar("beta2_power", dtype)
      else { continue }
      nodes.append(try assign(power1, try next("beta1", beta1, power1, context)))
      nodes.append(try assign(power2, try next("beta2", beta2, power2, context)))
      if let iterations = context.madeScalar("iterations", dtype) {
        nodes.append(
          try assign(iterations, try iterations.value + (try context.constant("one", 1, dtype))))
      }
    }
    return nodes
  }
}

/// `slot = slot decay`, then rows added, then read: in this order.
private func decayed(
  _ slot: Variable, by decay: Output, adding rows: Output, at indices: Output
) throws -> Output {
  let graph = slot.graph
  let decayed = try assign(slot, try slot.read() * decay)
  let added = try graph.withControlDependencies([decayed.id]) {
    try scatterAdd(slot, indices, rows)
  }
  return try graph.withControlDependencies([added.id]) { try slot.read() }
}

/// `s = ρ s + (1 - ρ) g²`, `a = momentum a + rate g / sqrt(s + ε)`, `w -= a`:
/// `tf.train.RMSPropOptimizer`. `s` begins at one, ε stands in the root; rows that no gradient
/// touches stay as they are.
public struct RMSProp: UpdateRule {
  /// The decay of the mean square.
  public let decay: Double
  /// The share of the last step that is taken again.
  public let momentum: Double
  /// What is added to the mean square.
  public let epsilon: Double

  /// A rule.
  public init(decay: Double = 0.9, momentum: Double = 0, epsilon: Double = 1e-10) {
    self.decay = decay
    self.momentum = momentum
    self.epsilon = epsilon
  }

  /// `RMSProp`.
  public var name: String { "RMSProp" }

  /// A dense step.
  public func update(
    _ variable: Variable, by gradient: Output, _ context: UpdateContext
  ) throws -> Node {
    let dtype = variable.dtype
    return try variable.applyRMSProp(
      ms: try context.slot(variable, "rms", initial: 1),
      mom: try context.slot(variable, "momentum"),
      lr: try context.learningRate(dtype), rho: try context.constant("decay", decay, dtype),
      momentum: try context.constant("momentum", momentum, dtype),
      epsilon: try context.constant("epsilon", epsilon, dtype), grad: gradient)
  }

  /// A step of rows.
  public func update(
    _ variable: Variable, by slices: IndexedSlices, _ context: UpdateContext
  ) throws -> Node {
    let dtype = variable.dtype
    let rows = try deduplicated(slices)
    return try variable.sparseApplyRMSProp(
      ms: try context.slot(variable, "rms", initial: 1),
      mom: try context.slot(variable, "momentum"),
      lr: try context.learningRate(dtype), rho: try context.constant("decay", decay, dtype),
      momentum: try context.constant("momentum", momentum, dtype),
      epsilon: try context.constant("epsilon", epsilon, dtype), grad: rows.values,
      indices: rows.indices)
  }
}

/// `s = α s + (1 - α) g²`, `w -= rate g / (sqrt(s) + ε)`: `torch.optim.RMSprop`. `s` begins at
/// zero, ε stands outside the root. TensorFlow has no such op, so it is composed of others.
public struct RMSPropPyTorch: UpdateRule {
  /// The decay of the mean square.
  public let alpha: Double
  /// What is added to the root.
  public let epsilon: Double

  /// A rule.
  public init(alpha: Double = 0.99, epsilon: Double = 1e-8) {
    self.alpha = alpha
    self.epsilon = epsilon
  }

  /// `RMSProp`.
  public var name: String { "RMSProp" }

  /// A dense step.
  public func update(
    _ variable: Variable, by gradient: Output, _ context: UpdateContext
  ) throws -> Node {
    let dtype = variable.dtype
    let slot = try context.slot(variable, "square_avg")
    let kept = try context.constant("alpha", alpha, dtype)
    let rest = try context.constant("one_minus_alpha", 1 - alpha, dtype)
    let tiny = try context.constant("epsilon", epsilon, dtype)
    let decayed = try slot.read() * kept
    let square = try decayed + (try (try gradient * gradient) * rest)
    let store = try assign(slot, square)
    let rate = try context.learningRate(dtype)
    let step = try (try gradient * rate) / (try sqrt(square) + tiny)
    let move = try assignSub(variable, step)
    return try group(context.graph, [store, move])
  }

  /// A step of rows: the same numbers as with zeros elsewhere, where nothing moves.
  public func update(
    _ variable: Variable, by slices: IndexedSlices, _ context: UpdateContext
  ) throws -> Node {
    let dtype = variable.dtype
    let graph = context.graph
    let slot = try context.slot(variable, "square_avg")
    let kept = try context.constant("alpha", alpha, dtype)
    let rest = try context.constant("one_minus_alpha", 1 - alpha, dtype)
    let tiny = try context.constant("epsilon", epsilon, dtype)
    let rows = try deduplicated(slices)
    let square = try (try rows.values * rows.values) * rest
    let store = try assign(slot, try slot.read() * kept)
    let added = try graph.withControlDependencies([store.id]) {
      try scatterAdd(slot, rows.indices, square)
    }
    let touched = try graph.withControlDependencies([added.id]) {
      try gather(slot, rows.indices)
    }
    let rate = try context.learningRate(dtype)
    let step = try (try rows.values * rate) / (try sqrt(touched) + tiny)
    return try scatterAdd(variable, rows.indices, try -step)
  }
}

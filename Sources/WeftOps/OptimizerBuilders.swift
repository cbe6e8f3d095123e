// Builders of the optimizer updates that WeftNN uses.

public import WeftGraph

extension Variable {
  private func update(
    _ op: String, _ slots: [Variable], _ rest: [Output], _ attrs: [String: AttrValue],
    _ name: String?, _ file: StaticString, _ line: UInt
  ) throws -> Node {
    try graph.add(
      op, name: name, inputs: [handle] + slots.map(\.handle) + rest, attrs: attrs, file: file,
      line: line)
  }

  /// `self -= alpha * delta`. TensorFlow: `ResourceApplyGradientDescent`.
  public func applyGradientDescent(
    alpha: Output, delta: Output, name: String? = nil, file: StaticString = #fileID,
    line: UInt = #line
  ) throws -> Node {
    try update(
      OptimizerRows.resourceGradientDescent.name, [], [alpha, delta], [:], name, file, line)
  }

  /// `accum = accum * momentum + grad; self -= lr * accum`, or with `nesterov`
  /// `self -= lr * grad + lr * momentum * accum`. TensorFlow: `ResourceApplyMomentum`.
  public func applyMomentum(
    accum: Variable, lr: Output, grad: Output, momentum: Output, nesterov: Bool = false,
    name: String? = nil, file: StaticString = #fileID, line: UInt = #line
  ) throws -> Node {
    try update(
      OptimizerRows.resourceMomentum.name, [accum], [lr, grad, momentum],
      ["use_nesterov": .bool(nesterov)], name, file, line)
  }

  /// Adam with slots `m`, `v` and the powers `beta1^t`, `beta2^t`:
  /// `self -= lr * sqrt(1 - beta2^t) / (1 - beta1^t) * m / (sqrt(v) + epsilon)`.
  /// TensorFlow: `ResourceApplyAdam`.
  public func applyAdam(
    m: Variable, v: Variable, beta1Power: Output, beta2Power: Output, lr: Output, beta1: Output,
    beta2: Output, epsilon: Output, grad: Output, nesterov: Bool = false, name: String? = nil,
    file: StaticString = #fileID, line: UInt = #line
  ) throws -> Node {
    try update(
      OptimizerRows.resourceAdam.name, [m, v],
      [beta1Power, beta2Power, lr, beta1, beta2, epsilon, grad],
      ["use_nesterov": .bool(nesterov)], name, file, line)
  }

  /// RMSProp: `ms += (grad^2 - ms) * (1 - rho); mom = momentum * mom + lr * grad / sqrt(ms +
  /// epsilon); self -= mom`. TensorFlow: `ResourceApplyRMSProp`.
  public func applyRMSProp(
    ms: Variable, mom: Variable, lr: Output, rho: Output, momentum: Output, epsilon: Output,
    grad: Output, name: String? = nil, file: StaticString = #fileID, line: UInt = #line
  ) throws -> Node {
    try update(
      OptimizerRows.resourceRMSProp.name, [ms, mom], [lr, rho, momentum, epsilon, grad], [:], name,
      file, line)
  }

  /// `accum += grad^2; self -= lr * grad / sqrt(accum)`. TensorFlow: `ResourceApplyAdagrad`.
  public func applyAdagrad(
    accum: Variable, lr: Output, grad: Output, updateSlots: Bool = true, name: String? = nil,
    file: StaticString = #fileID, line: UInt = #line
  ) throws -> Node {
    try update(
      OptimizerRows.resourceAdagrad.name, [accum], [lr, grad],
      ["update_slots": .bool(updateSlots)], name, file, line)
  }

  /// `applyMomentum` for the rows `indices` only; `grad` is `[n, ...]`. Duplicates apply one after
  /// another, so sum them before. TensorFlow: `ResourceSparseApplyMomentum`.
  public func sparseApplyMomentum(
    accum: Variable, lr: Output, grad: Output, indices: Output, momentum: Output,
    nesterov: Bool = false, name: String? = nil, file: StaticString = #fileID, line: UInt = #line
  ) throws -> Node {
    try update(
      OptimizerRows.resourceSparseMomentum.name, [accum], [lr, grad, indices, momentum],
      ["use_nesterov": .bool(nesterov)], name, file, line)
  }

  /// `applyRMSProp` for the rows `indices` only; `grad` is `[n, ...]`.
  /// TensorFlow: `ResourceSparseApplyRMSProp`.
  public func sparseApplyRMSProp(
    ms: Variable, mom: Variable, lr: Output, rho: Output, momentum: Output, epsilon: Output,
    grad: Output, indices: Output, name: String? = nil, file: StaticString = #fileID,
    line: UInt = #line
  ) throws -> Node {
    try update(
      OptimizerRows.resourceSparseRMSProp.name, [ms, mom],
      [lr, rho, momentum, epsilon, grad, indices], [:], name, file, line)
  }

  /// `applyAdagrad` for the rows `indices` only; `grad` is `[n, ...]`.
  /// TensorFlow: `ResourceSparseApplyAdagrad`.
  public func sparseApplyAdagrad(
    accum: Variable, lr: Output, grad: Output, indices: Output, updateSlots: Bool = true,
    name: String? = nil, file: StaticString = #fileID, line: UInt = #line
  ) throws -> Node {
    try update(
      OptimizerRows.resourceSparseAdagrad.name, [accum], [lr, grad, indices],
      ["update_slots": .bool(updateSlots)], name, file, line)
  }
}

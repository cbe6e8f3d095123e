// Optimizer ops: dense and sparse, on resource and reference variables, from one table.

internal import WeftGraph
internal import WeftKernels
internal import WeftTensors

/// One optimizer: its inputs in TensorFlow's order and its update.
struct OptimizerSpec: Sendable {
  /// The variable and its slots.
  var slots: [String]
  /// The other inputs; `grad` or `delta` is the gradient, `indices` the rows of a sparse one, the
  /// rest are scalars.
  var rest: [String]
  /// The boolean attribute that the update takes, with its default.
  var flag: (name: String, value: Bool)?
  var summary: String
  var update: @Sendable (OptimizerSpan) -> Bool

  /// The sparse form of a dense optimizer: `indices` follow the gradient.
  var sparse: OptimizerSpec {
    var copy = self
    if let at = rest.firstIndex(where: { $0 == "grad" }) { copy.rest.insert("indices", at: at + 1) }
    copy.summary += " Only the rows that indices name change, one after another."
    return copy
  }
}

enum OptimizerRows {
  static let gradientDescent = OptimizerSpec(
    slots: ["var"], rest: ["alpha", "delta"], summary: "var -= alpha * delta.",
    update: optimizerUpdate(GradientDescentRule.self))
  static let momentum = OptimizerSpec(
    slots: ["var", "accum"], rest: ["lr", "grad", "momentum"], flag: ("use_nesterov", false),
    summary: "accum = accum * momentum + grad; var -= lr * accum.",
    update: optimizerUpdate(MomentumRule.self))
  static let adam = OptimizerSpec(
    slots: ["var", "m", "v"],
    rest: ["beta1_power", "beta2_power", "lr", "beta1", "beta2", "epsilon", "grad"],
    flag: ("use_nesterov", false),
    summary: "Adam: var -= lr * sqrt(1 - beta2^t) / (1 - beta1^t) * m / (sqrt(v) + epsilon).",
    update: optimizerUpdate(AdamRule.self))
  static let adaMax = OptimizerSpec(
    slots: ["var", "m", "v"], rest: ["beta1_power", "lr", "beta1", "beta2", "epsilon", "grad"],
    summary: "AdaMax: v = max(beta2 * v, |grad|); var -= lr / (1 - beta1^t) * m / (v + epsilon).",
    update: optimizerUpdate(AdaMaxRule.self))
  static let rmsProp = OptimizerSpec(
    slots: ["var", "ms", "mom"], rest: ["lr", "rho", "momentum", "epsilon", "grad"],
    summary: "RMSProp: mom = momentum * mom + lr * grad / sqrt(ms + epsilon); var -= mom.",
    update: optimizerUpdate(RMSPropRule.self))
  static let centeredRMSProp = OptimizerSpec(
    slots: ["var", "mg", "ms", "mom"], rest: ["lr", "rho", "momentum", "epsilon", "grad"],
    summary: "RMSProp that divides by sqrt(ms - mg^2 + epsilon).",
    update: optimizerUpdate(CenteredRMSPropRule.self))
  static let adagrad = OptimizerSpec(
    slots: ["var", "accum"], rest: ["lr", "grad"], flag: ("update_slots", true),
    summary: "accum += grad^2; var -= lr * grad / sqrt(accum).",
    update: optimizerUpdate(AdagradRule.self))
  static let adagradV2 = OptimizerSpec(
    slots: ["var", "accum"], rest: ["lr", "epsilon", "grad"], flag: ("update_slots", true),
    summary: "accum += grad^2; var -= lr * grad / (sqrt(accum) + epsilon).",
    update: optimizerUpdate(AdagradV2Rule.self))
  static let adadelta = OptimizerSpec(
    slots: ["var", "accum", "accum_update"], rest: ["lr", "rho", "epsilon", "grad"],
    summary: "Adadelta: var -= lr * sqrt(accum_update + epsilon) / sqrt(accum + epsilon) * grad.",
    update: optimizerUpdate(AdadeltaRule.self))
  static let ftrl = OptimizerSpec(
    slots: ["var", "accum", "linear"], rest: ["grad", "lr", "l1", "l2", "lr_power"],
    flag: ("multiply_linear_by_lr", false),
    summary: "FTRL-proximal with l1 and l2.", update: optimizerUpdate(FtrlRule.self))
  static let addSign = OptimizerSpec(
    slots: ["var", "m"], rest: ["lr", "alpha", "sign_decay", "beta", "grad"],
    summary: "var -= lr * (alpha + sign_decay * sign(grad) * sign(m)) * grad.",
    update: optimizerUpdate(AddSignRule.self))
  static let powerSign = OptimizerSpec(
    slots: ["var", "m"], rest: ["lr", "logbase", "sign_decay", "beta", "grad"],
    summary: "var -= lr * e^(logbase * sign_decay * sign(grad) * sign(m)) * grad.",
    update: optimizerUpdate(PowerSignRule.self))
  static let proximal = OptimizerSpec(
    slots: ["var"], rest: ["alpha", "l1", "l2", "delta"],
    summary: "A gradient step, then shrinking by l1 and l2.",
    update: optimizerUpdate(ProximalGradientDescentRule.self))

  static let all: [OpDef] = [
    resourceGradientDescent, resourceMomentum, resourceAdam, resourceRMSProp, resourceAdagrad,
    row("ResourceApplyAdaMax", adaMax, isResource: true),
    row("ResourceApplyCenteredRMSProp", centeredRMSProp, isResource: true),
    row("ResourceApplyAdagradV2", adagradV2, isResource: true),
    row("ResourceApplyAdadelta", adadelta, isResource: true),
    row("ResourceApplyFtrl", ftrl, isResource: true),
    row("ResourceApplyAddSign", addSign, isResource: true),
    row("ResourceApplyPowerSign", powerSign, isResource: true),
    row("ResourceApplyProximalGradientDescent", proximal, isResource: true),
    row("ApplyGradientDescent", gradientDescent, isResource: false),
    row("ApplyMomentum", momentum, isResource: false),
    row("ApplyAdam", adam, isResource: false),
    row("ApplyAdaMax", adaMax, isResource: false),
    row("ApplyRMSProp", rmsProp, isResource: false),
    row("ApplyCenteredRMSProp", centeredRMSProp, isResource: false),
    row("ApplyAdagrad", adagrad, isResource: false),
    row("ApplyAdagradV2", adagradV2, isResource: false),
    row("ApplyAdadelta", adadelta, isResource: false),
    row("ApplyFtrl", ftrl, isResource: false),
    row("ApplyAddSign", addSign, isResource: false),
    row("ApplyPowerSign", powerSign, isResource: false),
    row("ApplyProximalGradientDescent", proximal, isResource: false),
  ]

  static let resourceGradientDescent = row(
    "ResourceApplyGradientDescent", gradientDescent, isResource: true)
  static let resourceMomentum = row("ResourceApplyMomentum", momentum, isResource: true)
  static let resourceAdam = row("ResourceApplyAdam", adam, isResource: true)
  static let resourceRMSProp = row("ResourceApplyRMSProp", rmsProp, isResource: true)
  static let resourceAdagrad = row("ResourceApplyAdagrad", adagrad, isResource: true)

  static let sparse: [OpDef] = [
    resourceSparseMomentum, resourceSparseRMSProp, resourceSparseAdagrad,
    row("ResourceSparseApplyCenteredRMSProp", centeredRMSProp.sparse, isResource: true),
    row("ResourceSparseApplyAdadelta", adadelta.sparse, isResource: true),
    row("ResourceSparseApplyFtrl", ftrl.sparse, isResource: true),
    row("SparseApplyMomentum", momentum.sparse, isResource: false),
    row("SparseApplyRMSProp", rmsProp.sparse, isResource: false),
    row("SparseApplyCenteredRMSProp", centeredRMSProp.sparse, isResource: false),
    row("SparseApplyAdagrad", adagrad.sparse, isResource: false),
    row("SparseApplyAdadelta", adadelta.sparse, isResource: false),
    row("SparseApplyFtrl", ftrl.sparse, isResource: false),
  ]

  static let resourceSparseMomentum = row(
    "ResourceSparseApplyMomentum", momentum.sparse, isResource: true)
  static let resourceSparseRMSProp = row(
    "ResourceSparseApplyRMSProp", rmsProp.sparse, isResource: true)
  static let resourceSparseAdagrad = row(
    "ResourceSparseApplyAdagrad", adagrad.sparse, isResource: true)

  /// The row of one optimizer op.
  static func row(_ name: String, _ spec: OptimizerSpec, isResource: Bool) -> OpDef {
    let isSparse = spec.rest.contains("indices")
    let inputs =
      spec.slots.map { "\($0): \(isResource ? "resource" : "Ref(T)")" }
      + spec.rest.map { "\($0): \($0 == "indices" ? "Tindices" : "T")" }
    var attributes = "T: numbertype; "
    if isSparse { attributes += "Tindices: {int32, int64}; " }
    attributes += "use_locking: bool = false"
    if let flag = spec.flag { attributes += "; \(flag.name): bool = \(flag.value)" }
    let places = InputPlaces(spec)
    let handles: @Sendable (InferContext) throws -> [HandleType?] = { ctx in [ctx.handle(0)] }
    return OpDef(
      name, inputs.joined(separator: ", ") + " -> " + (isResource ? "" : "out: Ref(T)"), attributes,
      summary: spec.summary, traits: [.stateful, .readsVariable, .writesVariable],
      infer: { ctx in
        let shape = try places.check(ctx)
        return isResource ? [] : [shape]
      },
      handles: isResource ? nil : handles,
      rowPlaces: places.indices.map { (rows: places.gradient, indices: $0) },
      gradient: .none("updates are not differentiated"),
      lowering: .kernel { ctx in try kernel(ctx, spec, places) })
  }

  /// Where the gradient, the indices and the scalars are among the inputs.
  struct InputPlaces: Sendable {
    let slots: Int
    var gradient = 0
    var indices: Int?
    var scalars: [Int] = []

    init(_ spec: OptimizerSpec) {
      slots = spec.slots.count
      for (i, input) in spec.rest.enumerated() {
        switch input {
        case "grad", "delta": gradient = slots + i
        case "indices": indices = slots + i
        default: scalars.append(slots + i)
        }
      }
    }

    /// The variable's shape, after checking slots, scalars and gradient against it.
    func check(_ ctx: InferContext) throws -> Shape {
      for i in scalars { try ctx.checkScalar(i) }
      var shape = ctx.variableShape(0)
      for k in 0..<slots {
        try ctx.checkVariable(k, ctx.dtype(gradient))
        guard let merged = shape.merged(with: ctx.variableShape(k)) else {
          throw ctx.error(
            "needs slots of the variable's shape \(shape), slot \(k) has \(ctx.variableShape(k))")
        }
        shape = merged
      }
      let grad = ctx.shape(gradient)
      guard let indices else {
        guard let merged = shape.merged(with: grad) else {
          throw ctx.error("needs a gradient of the variable's shape \(shape), got \(grad)")
        }
        return merged
      }
      let ids = try ctx.shape(indices, rank: 1)
      if let rows = grad.dims, let dims = shape.dims {
        guard dims.count >= 1, rows.count == dims.count, rows[0].isCompatible(with: ids[0]),
          zip(rows.dropFirst(), dims.dropFirst()).allSatisfy({ $0.isCompatible(with: $1) })
        else {
          throw ctx.error(
            "needs a gradient row of \(shape) for each of the \(ids[0]) indices, got \(grad)")
        }
      }
      return shape
    }
  }

  private static func kernel(
    _ ctx: LowerContext, _ spec: OptimizerSpec, _ places: InputPlaces
  ) throws -> Kernel {
    let cells = try (0..<places.slots).map { try ctx.variable($0) }
    let (gradientIndex, scalars) = (places.gradient, places.scalars)
    let (dtype, failure) = (ctx.dtype(gradientIndex), ctx.failure)
    guard dtype.isFloating else { throw ctx.unsupported(dtype) }
    let gradShape = ctx.shape(gradientIndex)
    let count = ctx.count(gradientIndex)
    let inner = gradShape.dropFirst().reduce(1, *)
    let flag = try spec.flag.map { try ctx.attrs.bool($0.name) } ?? false
    let update = spec.update
    let indexPlace = places.indices
    let indexShape = Array(gradShape.prefix(1))
    let indexType = indexPlace.map { ctx.dtype($0) } ?? .int32
    let scratch = 8 * (cells.count + scalars.count)
    let rowCount = ctx.rowCount
    return Kernel("optimizer", scratchBytes: scratch, flops: 8 * count) { call in
      let slots = call.scratch.assumingMemoryBound(to: UnsafeMutableRawPointer.self)
      let numbers = (call.scratch + 8 * cells.count).assumingMemoryBound(to: Double.self)
      var rows = 0
      for (k, cell) in cells.enumerated() {
        let value = try cell.read()
        if indexPlace == nil {
          guard value.shape == gradShape else {
            throw failure(
              "needs variable \(cell.name) of the gradient's shape \(gradShape), it has "
                + "\(value.shape)")
          }
        } else {
          guard let first = value.shape.first, k == 0 || first == rows,
            value.shape.dropFirst() == gradShape.dropFirst()
          else {
            throw failure(
              "cannot update variable \(cell.name) of shape \(value.shape) by rows \(gradShape)")
          }
          rows = first
        }
        slots[k] = value.buffer.base
      }
      for (k, i) in scalars.enumerated() { numbers[k] = realScalar(dtype, call.rawInput(i)) }
      let span = OptimizerSpan(
        dtype: dtype, slots: slots, gradient: call.rawInput(gradientIndex), scalars: numbers,
        flag: flag, isSparse: indexPlace != nil)
      guard let indexPlace else {
        applyDense(update, span, count: count, pool: call.pool)
        return
      }
      let some = rowCount.map { Int(call.input($0, as: Int32.self)[0]) }
      let indices = IndexList(
        call.rawInput(indexPlace), indexType, count: some ?? gradShape.first ?? 0)
      try indices.check(rows, shape: indexShape, failure)
      applySparse(
        update, span, indices: indices, rows: rows, inner: inner, pool: call.pool)
    }
  }
}

// What elementwise ops share: shapes, known values, lowerings, and gradients of broadcasting.

internal import WeftGraph
internal import WeftKernels
internal import WeftTensors

typealias Values = @Sendable (InferContext) -> [Dim]?

/// Known integers of an op of one operand.
func integerValue(_ f: @escaping @Sendable (Int) -> Int?) -> Values {
  { ctx in
    guard ctx.dtype(0).isInteger, let rank = ctx.shape(0).rank, rank <= 1 else { return nil }
    return ctx.value(0)?.map { $0.size.flatMap(f).map { .known($0) } ?? .unknown }
  }
}

/// Known integers of an op of two operands, scalars or vectors.
func integerValue(_ f: @escaping @Sendable (Int, Int) -> Int?) -> Values {
  { ctx in
    guard ctx.dtype(0).isInteger, let rankA = ctx.shape(0).rank, let rankB = ctx.shape(1).rank,
      rankA <= 1, rankB <= 1, let a = ctx.value(0), let b = ctx.value(1),
      a.count == b.count || a.count == 1 || b.count == 1
    else { return nil }
    let count = a.count == 1 ? b.count : a.count
    return (0..<count).map { i in
      guard let x = a[a.count == 1 ? 0 : i].size, let y = b[b.count == 1 ? 0 : i].size,
        let z = f(x, y)
      else { return .unknown }
      return .known(z)
    }
  }
}

/// The result, unless it overflowed.
func exact(_ result: (partialValue: Int, overflow: Bool)) -> Int? {
  result.overflow ? nil : result.partialValue
}

extension InferContext {
  /// The shape that inputs `a` and `b` broadcast to.
  func broadcast(_ a: Int, _ b: Int) throws -> Shape {
    guard let shape = Shape.broadcast(shape(a), shape(b)) else {
      throw error("cannot broadcast shapes \(shape(a)) and \(shape(b))")
    }
    return shape
  }
}

extension LowerContext {
  /// The kernel of an elementwise function of one operand.
  func elementwise(_ label: String, _ row: UnaryRow?, cost: Int = 1) throws -> Kernel {
    guard let row else { throw unsupported(dtype(0)) }
    let (count, inSize, outSize) = (count(0), dtype(0).byteSize, outputs[0].dtype.byteSize)
    var kernel = Kernel(
      kernelName(label, dtype(0)), inPlace: inSize == outSize ? [[0]] : [], flops: count &* cost
    ) { call in
      runUnary(
        call.rawInput(0), call.rawOutput(0), count: count, inputSize: inSize, outputSize: outSize,
        pool: call.pool, row: row)
    }
    kernel.loop = .unary(row)
    return kernel
  }

  /// The kernel of an elementwise function of two operands that broadcast.
  /// - Parameter fault: what makes an integer in operand 1 an error, and what to say then.
  func elementwise(
    _ label: String, _ row: BinaryRow?, fault: (kind: IntegerFault, text: String)? = nil
  ) throws -> Kernel {
    guard let row else { throw unsupported(dtype(0)) }
    let plan = BroadcastPlan(inputs: [shape(0), shape(1)], output: outputShape(0))
    let (inSize, outSize) = (dtype(0).byteSize, outputs[0].dtype.byteSize)
    let reusable = inSize == outSize ? [0, 1].filter { shape($0) == outputShape(0) } : []
    let name = kernelName(label, dtype(0))
    guard let fault, dtype(0).isInteger else {
      var kernel = Kernel(name, inPlace: [reusable], flops: plan.count) { call in
        plan.run(
          call.rawInput(0), call.rawInput(1), call.rawOutput(0), inputSize: inSize,
          outputSize: outSize, pool: call.pool, row: row)
      }
      kernel.loop = .binary(row)
      return kernel
    }
    let (type, count) = (dtype(1), count(1))
    let failure = error(fault.text)
    return Kernel(name, inPlace: [reusable], flops: plan.count) { call in
      if plan.count > 0, fault.kind.first(call.rawInput(1), count: count, dtype: type) != nil {
        throw failure
      }
      plan.run(
        call.rawInput(0), call.rawInput(1), call.rawOutput(0), inputSize: inSize,
        outputSize: outSize, pool: call.pool, row: row)
    }
  }

  /// The kernel of an elementwise function of three operands that broadcast.
  func elementwise(_ label: String, _ row: TernaryRow?, inPlace: [Int]) throws -> Kernel {
    guard let row else { throw unsupported(outputs[0].dtype) }
    let plan = BroadcastPlan(inputs: [shape(0), shape(1), shape(2)], output: outputShape(0))
    let sizes = (dtype(0).byteSize, dtype(1).byteSize, dtype(2).byteSize)
    let outSize = outputs[0].dtype.byteSize
    let reusable = inPlace.filter { shape($0) == outputShape(0) }
    var kernel = Kernel(
      kernelName(label, outputs[0].dtype), inPlace: [reusable], flops: plan.count
    ) { call in
      plan.run(
        call.rawInput(0), sizeA: sizes.0, call.rawInput(1), sizeB: sizes.1, call.rawInput(2),
        sizeC: sizes.2, call.rawOutput(0), outputSize: outSize, pool: call.pool, row: row)
    }
    kernel.loop = .ternary(row)
    return kernel
  }
}

/// The row of an op of one operand whose result has its type.
func unaryRow(
  _ name: String, _ function: UnaryFunction, _ types: String, cost: Int = 1, summary: String,
  value: Values? = nil, gradient: @escaping @Sendable (GradientContext) throws -> Output
) -> OpDef {
  unaryRow(
    name, function, types, cost: cost, summary: summary, value: value,
    rule: .rule { g in [.dense(try gradient(g))] })
}

/// The same with any gradient rule.
func unaryRow(
  _ name: String, _ function: UnaryFunction, _ types: String, cost: Int = 1, summary: String,
  value: Values? = nil, rule: GradientRule
) -> OpDef {
  OpDef(
    name, "x: T -> y: T", "T: {\(types)}", summary: summary, traits: .elementwise,
    infer: { ctx in [ctx.shape(0)] }, value: value, gradient: rule,
    lowering: .kernel { ctx in
      try ctx.elementwise("\(function)", function.row(ctx.dtype(0)), cost: cost)
    })
}

/// The row of an op of two operands that broadcast; `gradient` gives both gradients in the
/// broadcast shape, nil where none flows.
func binaryRow(
  _ name: String, _ function: BinaryFunction, _ types: String,
  arguments: String = "x: T, y: T -> z: T", traits: OpTraits = [], summary: String,
  value: Values? = nil, fault: (kind: IntegerFault, text: String)? = nil,
  gradient: @escaping @Sendable (GradientContext) throws -> (Output?, Output?)
) -> OpDef {
  binaryRow(
    name, function, types, arguments: arguments, traits: traits, summary: summary, value: value,
    fault: fault,
    rule: .rule { g in
      let (dx, dy) = try gradient(g)
      return try unbroadcast(g, dx, dy)
    })
}

/// The same with any gradient rule.
func binaryRow(
  _ name: String, _ function: BinaryFunction, _ types: String,
  arguments: String = "x: T, y: T -> z: T", traits: OpTraits = [], summary: String,
  value: Values? = nil, fault: (kind: IntegerFault, text: String)? = nil, rule: GradientRule
) -> OpDef {
  OpDef(
    name, arguments, "T: {\(types)}", summary: summary, traits: traits.union(.elementwise),
    infer: { ctx in [try ctx.broadcast(0, 1)] }, value: value, gradient: rule,
    lowering: .kernel { ctx in
      try ctx.elementwise("\(function)", function.row(ctx.dtype(0)), fault: fault)
    })
}

/// The error of integer division by zero.
let divisionByZero = (kind: IntegerFault.zero, text: "divides an integer by zero")

extension OpDef {
  /// A node of this op with one output.
  func node(
    _ inputs: [Output], attrs: [String: AttrValue] = [:], _ name: String?, _ file: StaticString,
    _ line: UInt
  ) throws -> Output {
    guard let graph = inputs.first?.graph else {
      throw WeftError(.invalidArgument, "\(self.name) needs at least one input")
    }
    return try graph.output(
      self.name, name: name, inputs: inputs, attrs: attrs, file: file, line: line)
  }
}

// MARK: - Gradients of broadcasting

/// Gradients in the broadcast shape, summed to the shapes of inputs 0 and 1.
func unbroadcast(_ g: GradientContext, _ dx: Output?, _ dy: Output?) throws -> [Gradient?] {
  let pair = BroadcastPair(g.input(0), g.input(1))
  return [
    .optional(try dx.map { try pair.sumLeft($0) }), .optional(try dy.map { try pair.sumRight($0) }),
  ]
}

/// Two operands that were broadcast against each other.
struct BroadcastPair {
  private let x: Output
  private let y: Output

  init(_ x: Output, _ y: Output) {
    self.x = x
    self.y = y
  }

  /// `dx` summed to the shape of the left operand.
  func sumLeft(_ dx: Output) throws -> Output { try sumTo(dx, x, y, first: true) }
  /// `dy` summed to the shape of the right operand.
  func sumRight(_ dy: Output) throws -> Output { try sumTo(dy, y, x, first: false) }

  private func sumTo(_ dx: Output, _ x: Output, _ y: Output, first: Bool) throws -> Output {
    if x.edge == y.edge { return dx }
    if let own = x.shape.dims, let other = y.shape.dims, let axes = repeatedAxes(own, other) {
      return try sumRepeated(dx, axes, known: x.shape.known)
    }
    let (sx, sy) = (try x.shapeTensor(), try y.shapeTensor())
    let axes = first ? try broadcastGradientAxes(sx, sy).0 : try broadcastGradientAxes(sy, sx).1
    return try sum(dx, axes: axes).reshaped(to: sx)
  }
}

/// Axes of the result along which `own` was repeated: those it lacks, and those where it has size
/// one. Nil when that depends on sizes that are not known.
func repeatedAxes(_ own: [Dim], _ other: [Dim]) -> (missing: [Int], ones: [Int])? {
  let rank = Swift.max(own.count, other.count)
  let missing = Array(0..<rank - own.count)
  var ones: [Int] = []
  for axis in rank - own.count..<rank {
    let mine = own[axis - (rank - own.count)]
    guard axis >= rank - other.count else { continue }
    let theirs = other[axis - (rank - other.count)]
    if theirs == .known(1) || mine == theirs && mine != .unknown { continue }
    switch mine {
    case .known(1): ones.append(axis)
    case .known: continue
    default: return nil
    }
  }
  return (missing, ones)
}

/// `dx` summed over repeated axes to an operand's shape.
func sumRepeated(
  _ dx: Output, _ axes: (missing: [Int], ones: [Int]), known: [Int]?
) throws -> Output {
  if axes.missing.isEmpty && axes.ones.isEmpty { return dx }
  if axes.ones.isEmpty { return try sum(dx, axes: axes.missing) }
  if axes.missing.isEmpty { return try sum(dx, axes: axes.ones, keepDims: true) }
  if let known { return try sum(dx, axes: axes.missing + axes.ones).reshaped(to: known) }
  let kept = axes.ones.map { $0 - axes.missing.count }
  return try sum(sum(dx, axes: axes.missing), axes: kept, keepDims: true)
}

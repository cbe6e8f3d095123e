// A dense layer and softmax cross-entropy, with their gradients, as one kernel.

internal import WeftGraph
internal import WeftKernels
internal import WeftOps
internal import WeftTensors

extension IR {
  /// Replaces MatMul, a bias, perhaps Relu, and softmax cross-entropy, and the gradient nodes of all
  /// of these, by `LinearCrossEntropy`.
  mutating func fuseLinearCrossEntropy() {
    let candidates = nodes.indices.filter {
      live[$0]
        && (isOp($0, KnownOp.sparseCrossEntropy) || isOp($0, KnownOp.denseCrossEntropy))
    }
    for id in candidates {
      guard let match = CrossEntropyMatch(self, id, Users(self)) else { continue }
      match.apply(to: &self)
      markLive()
    }
  }
}

/// The nodes around one cross-entropy.
struct CrossEntropyMatch {
  /// The op that they become.
  static let opName = "LinearCrossEntropy"

  private let id: Int
  private let loss: Edge
  private let h: Edge
  private let weights: Edge
  private var bias: Edge?
  private let labels: Edge
  private var scale: Edge?
  private var mask: Edge?
  private var dh: Edge?
  private var dWeights: Edge?
  private var dBias: Edge?
  private var hasReLU = false
  private let isTransposed: Bool
  private let sizes: (rows: Int, inner: Int, classes: Int)

  init?(_ ir: IR, _ id: Int, _ users: Users) {
    self.id = id
    let node = ir.nodes[id]
    loss = Edge(node: id, port: 0)
    labels = node.inputs[1]
    guard let features = ir.shape(node.inputs[0]), features.count == 2, features[0] > 0,
      features[1] > 0, let dtype = Optional(ir.type(node.inputs[0]).dtype),
      dtype == .float32 || dtype == .float64, node.controls.isEmpty,
      ir.shape(Edge(node: id, port: 1)) == features
    else { return nil }
    let (rows, classes) = (features[0], features[1])
    if ir.isOp(id, KnownOp.denseCrossEntropy) {
      guard ir.shape(labels) == features else { return nil }
    }

    // Forward, from the logits down to the product.
    var at = ir.root(node.inputs[0])
    var reluOutput: Edge?
    if ir.isOp(at.node, KnownOp.relu) {
      hasReLU = true
      reluOutput = at
      at = ir.root(ir.nodes[at.node].inputs[0])
    }
    let sums = at
    if ir.isOp(at.node, KnownOp.biasAdd) || ir.isOp(at.node, KnownOp.add) {
      let inputs = ir.nodes[at.node].inputs
      guard let place = [1, 0].first(where: { ir.shape(inputs[$0]) == [classes] }),
        ir.shape(at)?.last == classes,
        ir.shape(inputs[1 - place])?.reduce(1, *) == rows * classes
      else { return nil }
      bias = inputs[place]
      at = ir.root(inputs[1 - place])
    }
    let product = at.node
    guard ir.isOp(product, KnownOp.matMul), !ir.flag(product, "transpose_a"),
      ir.shape(at) == features
    else { return nil }
    (h, weights) = (ir.nodes[product].inputs[0], ir.nodes[product].inputs[1])
    isTransposed = ir.flag(product, "transpose_b")
    guard let inner = ir.shape(h)?.last, inner > 0 else { return nil }
    sizes = (rows, inner, classes)

    // Backward, from the logits' gradient to the products that use it.
    guard let uses = users.through(Edge(node: id, port: 1), ir), uses.count <= 1 else { return nil }
    if let first = uses.first {
      guard matchGradient(ir, users, first, ends: (reluOutput, sums)) else { return nil }
    }
    matchMask(ir, users)
    let inputs = [h, weights, labels] + [bias, scale, mask].compactMap { $0 }
    if ir.anyDepends(inputs, on: id) {
      // The upstream gradient may depend on the loss; a mask may be done without.
      mask = nil
      let rest = [h, weights, labels] + [bias, scale].compactMap { $0 }
      if ir.anyDepends(rest, on: id) { return nil }
    }
  }

  private mutating func matchGradient(
    _ ir: IR, _ users: Users, _ first: (use: Users.Use, edge: Edge),
    ends: (relu: Edge?, sums: Edge)
  ) -> Bool {
    let scaled = first.use.node
    guard ir.isOp(scaled, KnownOp.multiply) else { return false }
    let other = ir.nodes[scaled].inputs[1 - first.use.input]
    guard let column = ir.shape(other), column == [sizes.rows, 1],
      ir.shape(Edge(node: scaled, port: 0)) == [sizes.rows, sizes.classes]
    else { return false }
    scale = other
    var gradient = Edge(node: scaled, port: 0)
    if hasReLU {
      guard let uses = users.through(gradient, ir), uses.count == 1, uses[0].use.input == 0,
        ir.isOp(uses[0].use.node, KnownOp.reluGrad)
      else { return false }
      let features = ir.root(ir.nodes[uses[0].use.node].inputs[1])
      guard features == ends.relu || features == ends.sums else { return false }
      gradient = Edge(node: uses[0].use.node, port: 0)
    }
    guard let uses = users.through(gradient, ir), !uses.isEmpty else { return false }
    return uses.allSatisfy { matchUse(ir, $0.use, gradient) }
  }

  // One use of the gradient of the logits: a sum for the bias, or one of the two products.
  private mutating func matchUse(_ ir: IR, _ use: Users.Use, _ gradient: Edge) -> Bool {
    let output = Edge(node: use.node, port: 0)
    let node = ir.nodes[use.node]
    guard node.controls.isEmpty else { return false }
    if ir.isOp(use.node, KnownOp.biasAddGrad) || ir.isOp(use.node, KnownOp.sum) {
      guard use.input == 0, bias != nil, dBias == nil,
        ir.shape(output)?.reduce(1, *) == sizes.classes, ir.shape(output)?.last == sizes.classes,
        ir.shape(node.inputs[0])?.last == sizes.classes
      else { return false }
      dBias = output
      return true
    }
    guard ir.isOp(use.node, KnownOp.matMul) else { return false }
    let (ta, tb) = (ir.flag(use.node, "transpose_a"), ir.flag(use.node, "transpose_b"))
    if use.input == 0, !ta, tb == !isTransposed, dh == nil,
      ir.root(node.inputs[1]) == ir.root(weights), ir.shape(node.inputs[1]) == ir.shape(weights)
    {
      dh = output
      return true
    }
    // h^T dz, or dz^T h for weights stored the other way.
    let isProduct =
      isTransposed ? use.input == 0 && ta && !tb : use.input == 1 && ta && !tb
    let rows = node.inputs[1 - use.input]
    guard isProduct, dWeights == nil, ir.root(rows) == ir.root(h), ir.shape(rows) == ir.shape(h)
    else { return false }
    dWeights = output
    return true
  }

  // Where every use of the losses multiplies them by one mask, rows that it makes zero are not
  // needed; without any use, rows of zero scale are not.
  private mutating func matchMask(_ ir: IR, _ users: Users) {
    // Rows of dense labels are taken as they lie.
    if ir.isOp(id, KnownOp.denseCrossEntropy) { return }
    guard let uses = users.through(loss, ir) else { return }
    if uses.isEmpty {
      mask = scale
      return
    }
    var found: Edge?
    for (use, edge) in uses {
      guard ir.isOp(use.node, KnownOp.multiply) else { return }
      let other = ir.nodes[use.node].inputs[1 - use.input]
      guard ir.shape(other) == ir.shape(edge), other != edge, found == nil || found == other
      else { return }
      found = other
    }
    mask = found
  }

  func apply(to ir: inout IR) {
    let optional = [
      ("bias", bias), ("scale", scale), ("mask", mask),
    ].compactMap { pair in pair.1.map { (pair.0, $0) } }
    let results = [
      ("dh", dh), ("dWeights", dWeights), ("dBias", dBias),
    ].compactMap { pair in pair.1.map { (pair.0, $0) } }
    func place(_ name: String) -> Int? {
      optional.firstIndex { $0.0 == name }.map { $0 + 3 }
    }
    func result(_ name: String) -> Int? { results.firstIndex { $0.0 == name }.map { $0 + 1 } }
    let isDense = ir.isOp(id, KnownOp.denseCrossEntropy)
    let work = LinearCrossEntropy(
      rows: sizes.rows, inner: sizes.inner, classes: sizes.classes,
      transposedWeights: isTransposed, hasReLU: hasReLU,
      labels: isDense ? .dense : ir.type(labels).dtype == .int64 ? .int64 : .int32,
      wantsGradient: !results.isEmpty)
    let dtype = ir.type(h).dtype
    guard let scratch = work.scratchBytes(elementBytes: dtype.byteSize) else { return }
    let places = (place("bias"), place("scale"), place("mask"))
    let outputs = (result("dh"), result("dWeights"), result("dBias"))
    let label = work.wantsGradient ? "linearCrossEntropyGrad" : "linearCrossEntropy"
    let def = OpDef.fused(
      Self.opName, inputs: ["h", "weights", "labels"] + optional.map(\.0),
      outputs: ["loss"] + results.map(\.0),
      summary: "Dense layer, softmax cross-entropy and their gradients, in chunks of rows."
    ) { ctx in
      let failure = ctx.error
      let name = dtype == .float32 ? label + "Float32" : label + "Float64"
      var kernel = Kernel(name, scratchBytes: scratch, flops: work.flops) { call in
        let operands = LinearCrossEntropy.Operands(
          h: call.rawInput(0), weights: call.rawInput(1),
          bias: places.0.map { call.rawInput($0) }, labels: call.rawInput(2),
          scale: places.1.map { call.rawInput($0) }, mask: places.2.map { call.rawInput($0) },
          loss: call.rawOutput(0), dh: outputs.0.map { call.rawOutput($0) },
          dWeights: outputs.1.map { call.rawOutput($0) },
          dBias: outputs.2.map { call.rawOutput($0) })
        if let bad = work.badLabel(operands) {
          throw failure("labels[\(bad.row)] = \(bad.label) is not in [0, \(work.classes))")
        }
        work.run(operands, dtype, scratch: call.scratch, pool: call.pool)
      }
      kernel.productFlops = work.flops
      kernel.details = { work.summary }
      return kernel
    }
    let old = ir.nodes[id]
    let fused = ir.append(
      IRNode(
        name: old.name, def: def, attrs: [:],
        inputs: [h, weights, labels] + optional.map(\.1), controls: [],
        outputs: [ir.type(loss)] + results.map { ir.type($0.1) },
        handles: Array(repeating: nil, count: results.count + 1), origin: old.origin, kind: .op,
        rank: old.rank))
    var table = [loss: Edge(node: fused, port: 0)]
    for (index, entry) in results.enumerated() {
      table[entry.1] = Edge(node: fused, port: index + 1)
    }
    ir.replace(table)
  }
}

// Loops and products that leave out rows which no loss depends on.

internal import WeftGraph
internal import WeftKernels
internal import WeftOps
internal import WeftTensors

extension LiveRowFinder {
  private enum Product {
    /// A product of live rows.
    case rows(RowLayout)
    /// A sum over live rows.
    case sum(RowLayout)
  }

  private func product(_ id: Int) -> Product? {
    guard ir.isOp(id, KnownOp.matMul), !ir.flag(id, "transpose_a") || !ir.flag(id, "transpose_b")
    else { return nil }
    let output = Edge(node: id, port: 0)
    let inputs = ir.nodes[id].inputs
    // What the kernels take.
    let dtype = ir.type(output).dtype
    guard dtype == .float32 || dtype == .float64,
      (inputs + [output]).allSatisfy({ edge in
        // Rows are bounded by the cross-entropy's; columns as memory allows.
        ir.shape(edge).map { $0.count == 2 && $0[1] > 0 && $0[1] <= 1 << 18 } ?? false
      }), let c = ir.shape(output), c[0] > 0
    else { return nil }
    if !ir.flag(id, "transpose_a") {
      guard let layout = zero[inputs[0]] ?? unneeded[output], fits(inputs[0], layout),
        !layout.isBatchMajor, rows(layout) >= 256
      else { return nil }
      return .rows(layout)
    }
    for place in 0..<2 {
      guard let layout = zero[inputs[place]], !layout.isBatchMajor, rows(layout) >= 256,
        fits(inputs[1 - place], layout)
      else { continue }
      return .sum(layout)
    }
    return nil
  }

  /// Finds what is read, users before makers.
  mutating func findRead() {
    for node in order.reversed() {
      for port in ir.nodes[node].outputs.indices {
        let edge = Edge(node: node, port: port)
        if users.fetched(edge) || users[edge].contains(where: { reads($0) }) { read.insert(edge) }
      }
    }
  }

  private func reads(_ use: Users.Use) -> Bool {
    if let body = ir.nodes[use.node].recurrence { return !isSkipped(use.node, body) }
    if let product = product(use.node) {
      if case .rows = product { return use.input != 0 }
      return false
    }
    let passes =
      ir.isPlainView(use.node) || ir.swapsSteps(use.node) || stepsCut(use.node) != nil
      || ir.rowwiseInputs(use.node)?.contains(use.input) == true
    guard passes else { return true }
    return ir.nodes[use.node].outputs.indices.contains {
      read.contains(Edge(node: use.node, port: $0))
    }
  }

  /// Rewrites loops and products; false when there are none.
  func apply(to ir: inout IR) throws -> Bool {
    let loops = order.filter { id in
      self.ir.nodes[id].recurrence.map { isSkipped(id, $0) } ?? false
    }
    guard !loops.isEmpty else { return false }
    let lengths = appendLengths(to: &ir)
    for id in loops {
      guard var body = ir.nodes[id].recurrence else { continue }
      body.lengths = LoopBody.Lengths(
        fills: ir.nodes[id].outputs.indices.map { read.contains(Edge(node: id, port: $0)) })
      let kernel = try body.kernel()
      ir.nodes[id].inputs.append(lengths)
      ir.nodes[id].recurrence = body
      ir.nodes[id].def = body.definition(kernel)
    }
    for id in order {
      switch product(id) {
      case .rows(let layout): multiply(id, layout, lengths, in: &ir)
      case .sum(let layout): sum(id, layout, lengths, in: &ir)
      case nil: continue
      }
    }
    return true
  }

  private func appendLengths(to ir: inout IR) -> Edge {
    let rows = LiveRows(steps: steps, batch: batch, first: 0)
    let (dtype, isBatchMajor, hasScale) = (ir.type(mask).dtype, isBatchMajor, scale != nil)
    let def = OpDef.fused(
      "RowLengths", inputs: ["mask"] + (hasScale ? ["scale"] : []), outputs: ["lengths"],
      summary: "For each sequence, one more than its last step of weight not zero."
    ) { _ in
      Kernel("rowLengths") { call in
        rows.lengths(
          mask: call.rawInput(0), scale: hasScale ? call.rawInput(1) : nil, dtype,
          isBatchMajor: isBatchMajor, into: call.output(0, as: Int32.self))
      }
    }
    let node = ir.nodes[id]
    return Edge(
      node: ir.append(
        IRNode(
          name: "\(node.name)/lengths", def: def, attrs: [:],
          inputs: [mask] + (scale.map { [$0] } ?? []), controls: [],
          outputs: [TensorType(.int32, Shape([batch]))], handles: [nil], origin: node.origin,
          kind: .op, rank: node.rank)), port: 0)
  }

  private func multiply(_ id: Int, _ layout: RowLayout, _ lengths: Edge, in ir: inout IR) {
    let node = ir.nodes[id]
    let transposed = ir.flag(id, "transpose_b")
    guard let a = ir.shape(node.inputs[0]), let c = node.outputs[0].shape.known,
      let product = LiveRowsProduct(
        LiveRows(steps: layout.count, batch: batch, first: layout.first), n: c[1], k: a[1],
        transposingB: transposed, fills: read.contains(Edge(node: id, port: 0)),
        node.outputs[0].dtype)
    else { return }
    replace(
      id, lengths, flops: flops(rows(layout), a[1], c[1]), scratchBytes: product.scratchBytes,
      in: &ir
    ) { call in
      product.run(
        call.rawInput(0), call.rawInput(1), lengths: call.input(2, as: Int32.self),
        call.rawOutput(0), scratch: call.scratch, pool: call.pool)
    }
  }

  private func sum(_ id: Int, _ layout: RowLayout, _ lengths: Edge, in ir: inout IR) {
    let node = ir.nodes[id]
    guard let c = node.outputs[0].shape.known,
      let sum = LiveRowsSum(
        LiveRows(steps: layout.count, batch: batch, first: layout.first), m: c[0], n: c[1],
        node.outputs[0].dtype)
    else { return }
    replace(
      id, lengths, flops: flops(rows(layout), c[0], c[1]), scratchBytes: sum.scratchBytes, in: &ir
    ) { call in
      sum.run(
        call.rawInput(0), call.rawInput(1), lengths: call.input(2, as: Int32.self),
        call.rawOutput(0), scratch: call.scratch, pool: call.pool)
    }
  }

  private func flops(_ m: Int, _ n: Int, _ k: Int) -> Int {
    Int(min(2 * Double(m) * Double(n) * Double(k), 0x1p62))
  }

  private func replace(
    _ id: Int, _ lengths: Edge, flops: Int, scratchBytes: Int, in ir: inout IR,
    function: @escaping @Sendable (borrowing KernelCall) throws -> Void
  ) {
    ir.nodes[id].inputs.append(lengths)
    ir.nodes[id].attrs = [:]
    ir.nodes[id].def = OpDef.fused(
      "LiveRowsMatMul", inputs: ["a", "b", "lengths"], outputs: ["product"],
      summary: "A matrix product that leaves out rows beyond the ends of sequences."
    ) { _ in
      var kernel = Kernel(
        "liveRowsMatmul", scratchBytes: scratchBytes, flops: flops, function: function)
      kernel.productFlops = flops
      return kernel
    }
  }
}

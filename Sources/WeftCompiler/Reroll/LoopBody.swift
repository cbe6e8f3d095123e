// The body of a rolled loop: what one step does, and where its values live.

internal import WeftGraph
internal import WeftKernels
internal import WeftOps
internal import WeftTensors

/// One step of a rolled recurrence, and how steps hang together.
struct LoopBody: Sendable {
  /// Where an operand comes from.
  enum Ref: Sendable, Hashable {
    /// An input of the loop, the same in all steps.
    case input(Int)
    /// Step t + shift of an input of the loop; `boundary` is the input that stands for what is not
    /// among its valid steps.
    case step(Int, shift: Int, boundary: Int?, valid: Range<Int>)
    /// A value of this step (shift 0), or of the one before.
    case value(Int, shift: Int, boundary: Int?)
  }

  struct Op: Sendable {
    var name: String
    var def: OpDef
    var attrs: [String: AttrValue]
    var inputs: [Ref]
    var inputTypes: [TensorType]
    /// Operands that are constants, by place.
    var constants: [Tensor?]
    var outputs: [Int]
  }

  struct Value: Sendable {
    var type: TensorType
    /// The output of the loop that collects it, if any.
    var result: Int?
    /// The steps that make it; elsewhere it does not count.
    var valid: Range<Int>
    /// Whether the next step uses it.
    var isCarried = false
  }

  var steps: Int
  /// Whether it runs from the last step to the first.
  var isReversed: Bool
  var ops: [Op]
  var values: [Value]
  /// Types of the loop's inputs, whole.
  var inputTypes: [TensorType]
  /// Rows of the batch, when every row goes its own way through all steps; else 0.
  var rows = 0

  /// Rows of one chunk, which one thread takes through all steps: by the batch alone.
  var chunk: Int {
    guard rows >= 32 else { return rows }
    let chunks = max(2, rows / 50)
    return (rows + chunks - 1) / chunks
  }

  // MARK: - Rows

  /// Whether a value has a row for each row of the batch.
  func hasRows(_ type: TensorType) -> Bool {
    guard rows > 0, let sizes = type.shape.known, sizes.count >= 2 else { return false }
    return sizes[0] == rows
  }

  /// Sets `rows` when no operation mixes rows of the batch.
  mutating func findRows() {
    guard let first = ops.first?.outputs.first, let sizes = values[first].type.shape.known,
      sizes.count >= 2, sizes[0] > 1
    else { return }
    rows = sizes[0]
    if !ops.allSatisfy({ keepsRows($0) }) { rows = 0 }
  }

  private func keepsRows(_ op: Op) -> Bool {
    guard op.outputs.allSatisfy({ hasRows(values[$0].type) }) else { return false }
    let types = op.inputTypes
    if op.def === KnownOp.matMul {
      // The matrix is shared by all rows: were it made in the loop, it would have rows itself.
      guard case .input = op.inputs[1] else { return false }
      return (try? Attrs(op.attrs, signature: op.def.signature).bool("transpose_a")) == false
        && hasRows(types[0])
    }
    if KnownOp.biasAdd.contains(where: { $0 === op.def }) {
      return hasRows(types[0]) && types[0].shape.rank == 2
    }
    let out = values[op.outputs[0]].type.shape.known ?? []
    if op.def === KnownOp.split {
      guard let axis = op.constants[0]?.integers?.first else { return false }
      return axis == 1 || (axis < 0 && axis + out.count > 0)
    }
    if op.def === KnownOp.concat {
      guard let axis = op.constants.last??.integers?.first else { return false }
      return (axis == 1 || (axis < 0 && axis + out.count > 0))
        && types.dropLast().allSatisfy { hasRows($0) }
    }
    if op.def === KnownOp.slice {
      return op.constants[1]?.integers?.first == 0 && hasRows(types[0])
    }
    if op.def.traits.contains(.view) { return hasRows(types[0]) }
    guard op.def.traits.contains(.elementwise) else { return false }
    // An operand either has all rows, at the same place, or is broadcast over them.
    return types.allSatisfy { type in
      guard let sizes = type.shape.known else { return false }
      return sizes.count < out.count || sizes[0] == 1
        || (sizes.count == out.count && sizes[0] == rows)
    } && (out.count == 2 || types.allSatisfy { $0.shape.rank == out.count || $0.shape.rank == 0 })
  }

  /// Whether an operand has a row for each row of the batch: a matrix never has, whatever its size.
  func inputHasRows(_ op: Op, _ index: Int) -> Bool {
    if op.def === KnownOp.matMul && index == 1 { return false }
    if op.constants[index] != nil && !isOperand(op, index) { return false }
    return hasRows(op.inputTypes[index])
  }

  /// Whether an operand is data rather than an axis or a size.
  func isOperand(_ op: Op, _ index: Int) -> Bool {
    if op.def === KnownOp.split { return index == 1 }
    if op.def === KnownOp.concat { return index < op.inputs.count - 1 }
    if op.def === KnownOp.slice || op.def.traits.contains(.view) { return index == 0 }
    return true
  }

  /// A type with `count` rows in place of the batch's.
  func cut(_ type: TensorType, to count: Int) -> TensorType {
    guard count != rows, hasRows(type), var sizes = type.shape.known else { return type }
    sizes[0] = count
    return TensorType(type.dtype, Shape(sizes))
  }

  // MARK: - Kernels

  /// The kernel of `op` for `count` rows.
  func lower(_ op: Op, rows count: Int) throws -> Kernel {
    guard case .kernel(let make) = op.def.lowering else {
      throw WeftError(.unimplemented, "\(op.def.name) cannot be run")
    }
    var constants = op.constants
    if op.def === KnownOp.slice, count != rows, var sizes = constants[2]?.integers {
      sizes[0] = count
      constants[2] = try Tensor(sizes.map { Int32(clamping: $0) }, shape: [sizes.count])
    }
    // Rows of a constant operand are known only all together.
    if count != rows {
      for index in constants.indices where isOperand(op, index) { constants[index] = nil }
    }
    let known = constants
    let types = op.inputTypes.indices.map { index in
      constants[index]?.type
        ?? (inputHasRows(op, index) ? cut(op.inputTypes[index], to: count) : op.inputTypes[index])
    }
    let kernel = try make(
      LowerContext(
        name: op.name, op: op.def, attrs: Attrs(op.attrs, signature: op.def.signature),
        inputs: types, outputs: op.outputs.map { cut(values[$0].type, to: count) },
        tensors: { $0 < known.count ? known[$0] : nil },
        variables: { _ in throw WeftError(.internal, "no variable in a step") }))
    if let product = product(op, types, rows: count) { return product }
    guard kernel.bounds.isEmpty else {
      throw WeftError(.unimplemented, "\(op.def.name) has results of unknown size")
    }
    return kernel
  }

  // A product within a chunk of rows: one call, since other threads have chunks of their own.
  private func product(_ op: Op, _ types: [TensorType], rows count: Int) -> Kernel? {
    guard op.def === KnownOp.matMul, rows > 0, chunk < rows, let a = types[0].shape.known,
      let b = types[1].shape.known,
      let tb = try? Attrs(op.attrs, signature: op.def.signature).bool("transpose_b"),
      let multiply = MatrixProduct.single(
        MatrixProduct.Sizes(m: count, n: b[tb ? 0 : 1], k: a[1], transB: tb), types[0].dtype)
    else { return nil }
    var kernel = Kernel("matmul", flops: 2 * count * b[0] * b[1]) { call in
      multiply(call.rawInput(0), call.rawInput(1), call.rawOutput(0))
    }
    kernel.productFlops = kernel.flops
    return kernel
  }
}

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
  /// Set when one more input holds each row's number of steps, and the loop leaves out the others.
  var lengths: Lengths?

  struct Lengths: Sendable {
    /// For each result, whether the steps left out become zero; else they hold anything.
    var fills: [Bool]
  }

  /// The inputs of the loop's node, before its results.
  var argumentCount: Int { inputTypes.count + (lengths == nil ? 0 : 1) }

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
    if op.def === KnownOp.split || op.def === KnownOp.splitV {
      let place = op.def === KnownOp.split ? 0 : 2
      guard let axis = op.constants[place]?.integers?.first else { return false }
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
    if op.def === KnownOp.slice || op.def === KnownOp.splitV || op.def.traits.contains(.view) {
      return index == 0
    }
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
    if let product = product(op, rows: count) { return product }
    guard kernel.bounds.isEmpty else {
      throw WeftError(.unimplemented, "\(op.def.name) has results of unknown size")
    }
    return kernel
  }

  // A product within a chunk of rows, on the chunk's thread.
  private func product(_ op: Op, rows count: Int) -> Kernel? {
    guard let shared = sharedMatrix(op), let product = shared.product else { return nil }
    var kernel = Kernel("matmul", flops: 2 * count * shared.n * shared.k) { call in
      product.run(call.rawInput(0), call.rawInput(1), call.rawOutput(0), count)
    }
    kernel.productFlops = kernel.flops
    return kernel
  }

  // MARK: - Shared matrices

  /// A matrix that all steps and chunks multiply with: it is copied into panels once for a run.
  struct SharedMatrix: Hashable, Sendable {
    var input: Int
    var isTransposed: Bool
    var n: Int
    var k: Int
    var dtype: DType

    var product: SharedProduct? { SharedProduct(n: n, k: k, transposingB: isTransposed, dtype) }
  }

  /// The matrix of a product whose panels chunks share; nil where one chunk is all, whose products
  /// several threads share instead.
  func sharedMatrix(_ op: Op) -> SharedMatrix? {
    guard op.def === KnownOp.matMul, rows > chunk, case .input(let input) = op.inputs[1],
      let b = op.inputTypes[1].shape.known,
      let transposed = try? Attrs(op.attrs, signature: op.def.signature).bool("transpose_b")
    else { return nil }
    let matrix = SharedMatrix(
      input: input, isTransposed: transposed, n: b[transposed ? 0 : 1], k: b[transposed ? 1 : 0],
      dtype: op.inputTypes[1].dtype)
    return matrix.product == nil ? nil : matrix
  }

  /// Those of all products, and where each lies among their panels.
  func sharedMatrices() -> [(matrix: SharedMatrix, offset: Int, bytes: Int)] {
    var list: [(matrix: SharedMatrix, offset: Int, bytes: Int)] = []
    for op in ops {
      guard let matrix = sharedMatrix(op), !list.contains(where: { $0.matrix == matrix }) else {
        continue
      }
      let bytes = ((matrix.product?.packedBytes ?? 0) + 63) & ~63
      list.append((matrix, list.last.map { $0.offset + $0.bytes } ?? 0, bytes))
    }
    return list
  }
}

// Softmax cross-entropy with its gradient, against class numbers or distributions.

public import WeftGraph
internal import WeftKernels
internal import WeftTensors

/// Rows of softmax cross-entropy.
enum CrossEntropyRows {
  static let all: [OpDef] = [sparse, dense]

  static let sparse = OpDef(
    "SparseSoftmaxCrossEntropyWithLogits",
    "features: T, labels: Tlabels -> loss: T, backprop: T",
    "T: {half, bfloat16, float, double}; Tlabels: {int32, int64} = int64",
    summary: "-log softmax(features)[label] for each row, and its gradient.",
    infer: { ctx in
      let x = try ctx.shape(0, rank: 2)
      let labels = try ctx.shape(1, rank: 1)
      let rows = try ctx.merge(x[0], labels[0], "numbers of rows and labels")
      if x[1].size == 0, rows.size != 0 {
        throw ctx.error("needs at least one class, got features \(ctx.shape(0))")
      }
      return [Shape(dims: [rows]), Shape(dims: [rows, x[1]])]
    },
    gradient: .rule { g in [try logitsGradient(g), nil] },
    lowering: .kernel { ctx in
      let shape = ctx.shape(0)
      let (rows, cols, dtype) = (shape[0], shape[1], ctx.dtype(0))
      let labelType = ctx.dtype(1)
      let (failure, unsupported) = (ctx.failure, ctx.unsupported(dtype))
      return Kernel("sparseCrossEntropy", inPlace: [[], [0]], flops: 14 * rows * cols) { call in
        let labels = IndexList(call.rawInput(1), labelType, count: rows)
        if let i = labels.firstOutside(cols) {
          throw failure("labels[\(i)] = \(labels[i]) is not in [0, \(cols))")
        }
        guard
          SoftmaxKernels.sparseCrossEntropy(
            dtype, call.rawInput(0), labels: call.rawInput(1), isWide: labelType == .int64,
            loss: call.rawOutput(0), gradient: call.rawOutput(1), rows: rows, cols: cols,
            pool: call.pool)
        else { throw unsupported }
      }
    })

  static let dense = OpDef(
    "SoftmaxCrossEntropyWithLogits", "features: T, labels: T -> loss: T, backprop: T",
    "T: {half, bfloat16, float, double}",
    summary: "-sum(labels * log softmax(features)) for each row, and its gradient.",
    infer: { ctx in
      let x = Shape(dims: try ctx.shape(0, rank: 2))
      let labels = Shape(dims: try ctx.shape(1, rank: 2))
      guard let both = Shape.broadcast(x, labels), let dims = both.dims else {
        throw ctx.error("cannot broadcast features \(x) with labels \(labels)")
      }
      return [Shape(dims: [dims[0]]), both]
    },
    gradient: .rule { g in
      let loss = try g.gradient(0).expandingDims(axis: -1)
      let labels: Gradient = .dense(try -(loss * logSoftmax(g.input(0))))
      return [try logitsGradient(g), labels]
    },
    lowering: .kernel { ctx in
      let (x, p, out) = (ctx.shape(0), ctx.shape(1), ctx.outputShape(1))
      let (rows, cols, dtype) = (out[0], out[1], ctx.dtype(0))
      let unsupported = ctx.unsupported(dtype)
      return Kernel("crossEntropy", flops: 14 * rows * cols) { call in
        guard
          SoftmaxKernels.crossEntropy(
            dtype, SoftmaxKernels.Operand(call.rawInput(0), rows: x[0], cols: x[1]),
            labels: SoftmaxKernels.Operand(call.rawInput(1), rows: p[0], cols: p[1]),
            loss: call.rawOutput(0), gradient: call.rawOutput(1), rows: rows, cols: cols,
            pool: call.pool)
        else { throw unsupported }
      }
    })

  /// The gradient of both ops with respect to the logits: that of the loss is at hand as output 1;
  /// that of output 1 (second order) is the softmax's.
  private static func logitsGradient(_ g: GradientContext) throws -> Gradient {
    let loss = try g.gradient(0).expandingDims(axis: -1)
    let first = try loss * g.output(1)
    guard g.gradients[1] != nil else { return .dense(first) }
    let second = try g.gradient(1)
    let y = try softmax(g.input(0))
    let inner = try sum(second * y, axes: [-1], keepDims: true)
    return .dense(try first + (second - inner) * y)
  }
}

/// `-log softmax(logits)[label]` for each row: labels (int32 or int64) of shape `[...]`, logits
/// `[..., classes]`, result `[...]`.
///
/// Gradient: `softmax(logits)` less one at the label, times dy; none for labels. A label outside
/// the classes is an error of the run that names its position, value and bound. 16-bit logits are
/// computed in float32. TensorFlow: `SparseSoftmaxCrossEntropyWithLogits`.
public func sparseSoftmaxCrossEntropy(
  labels: Output, logits: Output, name: String? = nil, file: StaticString = #fileID,
  line: UInt = #line
) throws -> Output {
  let graph = logits.graph
  let isNarrow = logits.dtype == .float16 || logits.dtype == .bfloat16
  let precise = isNarrow ? try logits.cast(to: .float32) : logits
  let loss: Output
  if precise.shape.rank == 2 || labels.shape.rank == 1 {
    loss = try graph.output(
      CrossEntropyRows.sparse.name, name: name, inputs: [precise, labels], file: file, line: line)
  } else {
    if let a = precise.shape.rank, let b = labels.shape.rank, a != b + 1 {
      throw WeftError(
        .invalidArgument,
        "cross-entropy needs logits of one dimension more than the labels: \(precise.shape) vs "
          + "\(labels.shape)")
    }
    let rows: Output
    if let classes = precise.shape.dim(-1).size {
      rows = try precise.reshaped(to: [-1, classes])
    } else {
      let sizes = try precise.shapeTensor()
      let last = try sizes.stridedSlice(begin: [-1], end: [Int(Int32.max)], strides: [1])
      let minusOne = try graph.constant([Int32(-1)])
      rows = try precise.reshaped(to: concat([minusOne, last], axis: 0))
    }
    let flat = try graph.output(
      CrossEntropyRows.sparse.name, name: name,
      inputs: [rows, try labels.reshaped(to: [-1])], file: file, line: line)
    if let sizes = labels.shape.known {
      loss = try flat.reshaped(to: sizes)
    } else {
      loss = try flat.reshaped(to: labels.shapeTensor())
    }
  }
  return isNarrow ? try loss.cast(to: logits.dtype) : loss
}

/// `-sum(labels * log softmax(logits))` for each row of `[rows, classes]`; each row of labels is a
/// distribution. Shapes may broadcast.
///
/// Gradients: `(softmax(logits) - labels) * dy` and `-log softmax(logits) * dy`.
/// TensorFlow: `SoftmaxCrossEntropyWithLogits`.
public func softmaxCrossEntropy(
  labels: Output, logits: Output, name: String? = nil, file: StaticString = #fileID,
  line: UInt = #line
) throws -> Output {
  try logits.graph.output(
    CrossEntropyRows.dense.name, name: name, inputs: [logits, labels], file: file, line: line)
}

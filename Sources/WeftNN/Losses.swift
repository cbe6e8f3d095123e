// Losses of sequence models.

public import WeftGraph
internal import WeftOps
public import WeftTensors

/// The mean of the cross entropies of softmax(`logits`) `[..., V]` at `labels` `[...]`: a scalar.
public func meanSparseSoftmaxCrossEntropy(labels: Output, logits: Output) throws -> Output {
  try mean(try sparseSoftmaxCrossEntropy(labels: labels, logits: logits))
}

/// The weighted cross entropy of a batch of sequences: `tf.contrib.seq2seq.sequence_loss`.
///
/// - Parameters:
///   - logits: `[B, T, V]`.
///   - targets: int32 or int64 `[B, T]`.
///   - weights: `[B, T]`, of the type of the logits.
///   - averageAcrossTimesteps: divide by the sum of weights over the steps.
///   - averageAcrossBatch: divide by the sum of weights over the batch.
/// - Returns: a scalar when both are averaged; `[B]` for steps alone, `[T]` for the batch alone, and
///   `[B, T]` for neither.
public func sequenceLoss(
  logits: Output, targets: Output, weights: Output, averageAcrossTimesteps: Bool = true,
  averageAcrossBatch: Bool = true, name: String = "sequence_loss"
) throws -> Output {
  guard logits.shape.rank == 3, targets.shape.rank == 2, weights.shape.rank == 2 else {
    throw WeftError(
      .invalidArgument,
      "sequenceLoss needs logits [B, T, V], targets [B, T] and weights [B, T]; got "
        + "\(logits.shape), \(targets.shape), \(weights.shape)")
  }
  let graph = logits.graph
  return try graph.withScope(name) {
    let classes = try lastDim(of: logits)
    let minusOne = try graph.constant([Int32(-1)])
    let flat = try logits.reshaped(to: try concat([minusOne, classes], axis: 0))
    let losses =
      try sparseSoftmaxCrossEntropy(labels: try targets.reshaped(to: [-1]), logits: flat)
      * (try weights.reshaped(to: [-1]))
    // Keeps a batch whose weights are all zero from dividing by zero.
    let tiny = try graph.constant(1e-12, dtype: weights.dtype)
    if averageAcrossTimesteps && averageAcrossBatch {
      return try sum(losses) / (try sum(weights) + tiny)
    }
    let table = try losses.reshaped(to: try targets.shapeTensor())
    guard averageAcrossTimesteps || averageAcrossBatch else { return table }
    let axis = averageAcrossTimesteps ? 1 : 0
    return try sum(table, axes: [axis]) / (try sum(weights, axes: [axis]) + tiny)
  }
}

/// One where step t lies within a row's length, else zero, time first: `[T, B]`.
public func timeMajorMask(lengths: Output, steps: Int, dtype: DType) throws -> Output {
  guard let count = Int32(exactly: steps), count > 0 else {
    throw WeftError(.invalidArgument, "a mask of \(steps) steps cannot be made")
  }
  let column = try lengths.graph.constant(Array(0..<count), shape: [steps, 1])
  return try less(column, try lengths.expandingDims(axis: 0)).cast(to: dtype)
}

/// The mean of each text's losses over its own length, then over the batch: a scalar.
///
/// Both programs of the report train with it. `masked` are the losses `[T, B]` times
/// `timeMajorMask`. Rows of length zero, which only fill a batch, do not count.
public func meanOverTexts(_ masked: Output, lengths: Output) throws -> Output {
  let counts = try lengths.cast(to: masked.dtype)
  let one = try masked.graph.constant(1, dtype: masked.dtype)
  let means = try sum(masked, axes: [0]) / (try maximum(counts, one))
  let texts = try sum(try minimum(counts, one))
  return try sum(means) / (try maximum(texts, one))
}

// The size of the last axis as an int32 vector of one.
private func lastDim(of x: Output) throws -> Output {
  try x.shapeTensor().stridedSlice(begin: [2], end: [3], strides: [1])
}

// Bounding gradients; rows of gathers stay rows.

public import WeftGraph
internal import WeftOps
internal import WeftTensors

/// How gradients are bounded before an update.
public enum GradientClipping: Sendable, Hashable {
  /// Not at all.
  case none
  /// Each element to `±limit`: `tf.clip_by_value`.
  case value(Double)
  /// Each gradient to this norm: `tf.clip_by_norm`.
  case norm(Double)
  /// All together to this norm: `tf.clip_by_global_norm`.
  case globalNorm(Double)
  /// All together to this norm: `torch.nn.utils.clip_grad_norm_`.
  case globalNormPyTorch(Double)
}

extension Gradient {
  /// What norms and factors apply to: the tensor, or the rows of slices.
  public var values: Output {
    switch self {
    case .dense(let output): output
    case .slices(let slices): slices.values
    }
  }

  /// The gradient with other values of the same shape.
  func replacing(_ values: Output) -> Gradient {
    switch self {
    case .dense: .dense(values)
    case .slices(let old):
      .slices(
        IndexedSlices(values: values, indices: old.indices, denseShape: old.denseShape))
    }
  }
}

/// Slices in which each row stands once: rows of the same index are added up.
public func deduplicated(_ slices: IndexedSlices) throws -> IndexedSlices {
  let (rows, positions) = try unique(slices.indices)
  let count = try rows.shapeTensor().stridedSlice(
    begin: [0], end: [1], strides: [1], masks: SliceMasks(shrinkAxis: 1))
  let values = try unsortedSegmentSum(slices.values, positions, count: count)
  return IndexedSlices(values: values, indices: rows, denseShape: slices.denseShape)
}

/// The norm of all gradients taken as one vector: `tf.global_norm`.
///
/// As in TensorFlow, rows of slices count one by one, also where several add to one row.
public func globalNorm(_ gradients: [Gradient], name: String = "global_norm") throws -> Output {
  guard let first = gradients.first?.values else {
    throw WeftError(.invalidArgument, "there is no gradient to take the norm of")
  }
  let graph = first.graph
  return try graph.withScope(name) {
    let halves = try gradients.map { try l2Loss($0.values) }
    let half = try sum(try stack(halves))
    return try sqrt(try half * (try graph.constant(2, dtype: first.dtype)))
  }
}

/// Gradients scaled so that their global norm is at most `limit`, and that norm.
///
/// `tf.clip_by_global_norm`: times `limit * min(1 / norm, 1 / limit)`; NaN when the norm is
/// infinite.
public func clipByGlobalNorm(
  _ gradients: [Gradient], to limit: Double, name: String = "clip_by_global_norm"
) throws -> (gradients: [Gradient], norm: Output) {
  guard let first = gradients.first?.values else {
    throw WeftError(.invalidArgument, "there is no gradient to clip")
  }
  let graph = first.graph
  return try graph.withScope(name) {
    let norm = try globalNorm(gradients)
    let bound = try graph.constant(limit, dtype: first.dtype)
    let one = try graph.constant(1, dtype: first.dtype)
    let finite = try bound * (try minimum(try one / norm, try one / bound))
    // Nothing is added unless the norm is infinite, which makes it NaN.
    let scale = try finite + (try norm - norm)
    return (try gradients.map { $0.replacing(try $0.values * scale) }, norm)
  }
}

/// Gradients scaled as `torch.nn.utils.clip_grad_norm_` does, and their norm: times
/// `min(1, limit / (norm + 1e-6))`, rows of the same index added up before.
public func clipByGlobalNormPyTorch(
  _ gradients: [Gradient], to limit: Double, name: String = "clip_grad_norm"
) throws -> (gradients: [Gradient], norm: Output) {
  guard let first = gradients.first?.values else {
    throw WeftError(.invalidArgument, "there is no gradient to clip")
  }
  let graph = first.graph
  return try graph.withScope(name) {
    let whole: [Gradient] = try gradients.map { gradient in
      if case .slices(let slices) = gradient { return .slices(try deduplicated(slices)) }
      return gradient
    }
    let norm = try globalNorm(whole)
    let bound = try graph.constant(limit, dtype: first.dtype)
    let tiny = try graph.constant(1e-6, dtype: first.dtype)
    let one = try graph.constant(1, dtype: first.dtype)
    let scale = try minimum(one, try bound / (try norm + tiny))
    return (try whole.map { $0.replacing(try $0.values * scale) }, norm)
  }
}

/// A gradient scaled so that its own norm is at most `limit`: `tf.clip_by_norm`.
public func clipByNorm(_ gradient: Gradient, to limit: Double) throws -> Gradient {
  let values = gradient.values
  let graph = values.graph
  return try graph.withScope("clip_by_norm") {
    let bound = try graph.constant(limit, dtype: values.dtype)
    let square = try sum(try values * values)
    // The root's slope is infinite at zero: TensorFlow takes the root of one there.
    let zero = try graph.constant(0, dtype: values.dtype)
    let isPositive = try greater(square, zero)
    let safe = try select(isPositive, square, try onesLike(square))
    let norm = try select(isPositive, try sqrt(safe), square)
    return gradient.replacing(try (try values * bound) / (try maximum(norm, bound)))
  }
}

/// A gradient whose elements are bounded to `±limit`: `tf.clip_by_value`.
public func clipByValue(_ gradient: Gradient, to limit: Double) throws -> Gradient {
  let values = gradient.values
  let graph = values.graph
  return try graph.withScope("clip_by_value") {
    let upper = try graph.constant(limit, dtype: values.dtype)
    let lower = try graph.constant(-limit, dtype: values.dtype)
    return gradient.replacing(try maximum(try minimum(values, upper), lower))
  }
}

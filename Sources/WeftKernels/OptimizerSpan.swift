// What one call of an optimizer's loop works on, and how its loops are found.

package import WeftTensors

/// A contiguous range of a variable and its slots, with the gradient for it.
package struct OptimizerSpan {
  /// The element type of everything but `scalars`.
  package let dtype: DType
  /// Addresses of the variable and its slots.
  package let slots: UnsafePointer<UnsafeMutableRawPointer>
  /// The gradient.
  package let gradient: UnsafeRawPointer
  /// Hyperparameters, in the order of the op's inputs.
  package let scalars: UnsafePointer<Double>
  /// The op's boolean attribute (use_nesterov, update_slots, multiply_linear_by_lr).
  package let flag: Bool
  /// Whether the op is the sparse one: some round in another order.
  package let isSparse: Bool
  /// The first element in the slots, the first in the gradient, and how many there are.
  package var offset = 0
  package var gradientOffset = 0
  package var count = 0

  /// A span of no elements yet.
  package init(
    dtype: DType, slots: UnsafePointer<UnsafeMutableRawPointer>, gradient: UnsafeRawPointer,
    scalars: UnsafePointer<Double>, flag: Bool, isSparse: Bool
  ) {
    self.dtype = dtype
    self.slots = slots
    self.gradient = gradient
    self.scalars = scalars
    self.flag = flag
    self.isSparse = isSparse
  }

  @inline(__always)
  func slot<E>(_ k: Int, _: E.Type) -> UnsafeMutablePointer<E> {
    slots[k].assumingMemoryBound(to: E.self) + offset
  }
  @inline(__always)
  func grad<E>(_: E.Type) -> UnsafePointer<E> {
    gradient.assumingMemoryBound(to: E.self) + gradientOffset
  }
  @inline(__always)
  func scalar<Wide: WideFloat>(_ k: Int, _: Wide.Type) -> Wide { Wide(scalars[k]) }
}

/// One optimizer's update.
package protocol OptimizerRule: SendableMetatype {
  /// The C loop for float32 and float64, where there is one and it fits.
  static func fast(_ span: OptimizerSpan) -> Bool
  /// The update of any float type.
  static func loop<E: RealElement>(_: E.Type, _ span: OptimizerSpan)
}

extension OptimizerRule {
  package static func fast(_ span: OptimizerSpan) -> Bool { false }
}

private struct LoopTask<Rule: OptimizerRule>: RealTask {
  let span: OptimizerSpan
  func run<E: RealElement>(_ type: E.Type) { Rule.loop(type, span) }
}

/// The function that updates a span by `Rule`; it returns false for a type that is not a float.
package func optimizerUpdate<Rule: OptimizerRule>(
  _: Rule.Type
) -> @Sendable (OptimizerSpan) -> Bool {
  { span in Rule.fast(span) || withRealType(span.dtype, LoopTask<Rule>(span: span)) }
}

/// Applies an update to a whole variable of `count` elements.
package func applyDense(
  _ update: @Sendable (OptimizerSpan) -> Bool, _ span: OptimizerSpan, count: Int, pool: ThreadPool
) {
  pool.split(count, grain: 16_384) { lo, hi in
    var piece = span
    piece.offset = lo
    piece.gradientOffset = lo
    piece.count = hi - lo
    _ = update(piece)
  }
}

/// Applies an update to the rows (`inner` elements each) that `indices` name, one after another;
/// indices have been checked.
package func applySparse(
  _ update: @Sendable (OptimizerSpan) -> Bool, _ span: OptimizerSpan, indices: IndexList,
  rows: Int, inner: Int, pool: ThreadPool
) {
  // Pieces own ranges of rows, so that duplicates follow each other in order at any width.
  let grain = indices.count * inner < 65_536 ? max(1, rows) : max(1, rows / 16)
  pool.split(rows, grain: grain) { lo, hi in
    var piece = span
    piece.count = inner
    for i in 0..<indices.count {
      let row = indices[i]
      if row < lo || row >= hi { continue }
      piece.offset = row * inner
      piece.gradientOffset = i * inner
      _ = update(piece)
    }
  }
}

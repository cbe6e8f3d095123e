// Loops over one row of elements: what elementwise kernels and fused programs are made of.

/// One input, one output, `n` elements.
public typealias UnaryRow = @Sendable (UnsafeRawPointer, UnsafeMutableRawPointer, Int) -> Void

/// Two inputs, one output, `n` elements; the kind says which input is a single element.
public typealias BinaryRow =
  @Sendable (
    UnsafeRawPointer, UnsafeRawPointer, UnsafeMutableRawPointer, Int, RowKind
  ) -> Void

/// Three inputs with element steps of 0 or 1, one output, `n` elements.
public typealias TernaryRow =
  @Sendable (
    UnsafeRawPointer, Int, UnsafeRawPointer, Int, UnsafeRawPointer, Int, UnsafeMutableRawPointer,
    Int
  ) -> Void

/// Which of two operands of a row is one element that stands for all.
public enum RowKind: Sendable {
  /// Both operands are rows.
  case both
  /// The right operand is one element.
  case scalarRight
  /// The left operand is one element.
  case scalarLeft
}

/// The loop of an elementwise kernel, which a fused program may run row by row.
public enum ElementwiseLoop: Sendable {
  /// Of one operand.
  case unary(UnaryRow)
  /// Of two operands.
  case binary(BinaryRow)
  /// Of three operands.
  case ternary(TernaryRow)
}

// Rows added, written or compared into a tensor at places that index tuples name.

public import WeftTensors

/// What a scatter does with the old and the new element.
public enum ScatterKind: Sendable {
  case update, add, subtract, minimum, maximum
}

/// An element type that scatters combine.
public protocol ScatterElement: TensorElement {
  /// The element after `kind` with `other`; integers wrap, NaN stays.
  func scattered(_ kind: ScatterKind, _ other: Self) -> Self
}

extension ScatterElement where Self: FixedWidthInteger {
  /// Wrapping arithmetic.
  @inline(__always)
  public func scattered(_ kind: ScatterKind, _ other: Self) -> Self {
    switch kind {
    case .update: other
    case .add: self &+ other
    case .subtract: self &- other
    case .minimum: Swift.min(self, other)
    case .maximum: Swift.max(self, other)
    }
  }
}

extension ScatterElement where Self: BinaryFloatingPoint {
  /// IEEE arithmetic.
  @inline(__always)
  public func scattered(_ kind: ScatterKind, _ other: Self) -> Self {
    switch kind {
    case .update: other
    case .add: self + other
    case .subtract: self - other
    case .minimum: other < self || other.isNaN ? other : self
    case .maximum: other > self || other.isNaN ? other : self
    }
  }
}

extension Int8: ScatterElement {}
extension Int16: ScatterElement {}
extension Int32: ScatterElement {}
extension Int64: ScatterElement {}
extension UInt8: ScatterElement {}
extension UInt16: ScatterElement {}
extension UInt32: ScatterElement {}
extension UInt64: ScatterElement {}
extension Float: ScatterElement {}
extension Double: ScatterElement {}
#if !(os(macOS) && arch(x86_64))
  extension Float16: ScatterElement {}
#endif
extension BFloat16: ScatterElement {
  /// Arithmetic in `Float`, rounded back.
  public func scattered(_ kind: ScatterKind, _ other: BFloat16) -> BFloat16 {
    BFloat16(float.scattered(kind, other.float))
  }
}
extension Bool: ScatterElement {
  /// Adding is "or", subtracting "and not".
  public func scattered(_ kind: ScatterKind, _ other: Bool) -> Bool {
    switch kind {
    case .update: other
    case .add, .maximum: self || other
    case .subtract: self && !other
    case .minimum: self && other
    }
  }
}
extension ComplexValue: ScatterElement where Part: ScatterElement {
  /// Part by part.
  public func scattered(_ kind: ScatterKind, _ other: ComplexValue) -> ComplexValue {
    ComplexValue(
      real.scattered(kind, other.real), imaginary.scattered(kind, other.imaginary))
  }
}

/// `target[indices[i]] = target[indices[i]] kind updates[i]` for rows of `row` elements, in order.
/// Returns the first tuple out of range, having stopped there; out-of-range tuples are skipped when
/// `ignoresBad`.
public func scatterRows<Element: ScatterElement, Index: IndexElement>(
  _ kind: ScatterKind, _ target: UnsafeMutablePointer<Element>,
  _ indices: UnsafePointer<Index>, _ updates: UnsafePointer<Element>, count: Int, sizes: [Int],
  strides: [Int], row: Int, ignoresBad: Bool
) -> Int? {
  let depth = sizes.count
  for i in 0..<count {
    guard let at = flatRow(indices + i &* depth, sizes: sizes, strides: strides) else {
      if ignoresBad { continue }
      return i
    }
    let to = target + at &* row
    let from = updates + i &* row
    switch kind {
    case .update: to.update(from: from, count: row)
    case .add: for k in 0..<row { to[k] = to[k].scattered(.add, from[k]) }
    case .subtract: for k in 0..<row { to[k] = to[k].scattered(.subtract, from[k]) }
    case .minimum: for k in 0..<row { to[k] = to[k].scattered(.minimum, from[k]) }
    case .maximum: for k in 0..<row { to[k] = to[k].scattered(.maximum, from[k]) }
    }
  }
  return nil
}

/// `output[map[i]] += input[i]`, in order, over `count` elements; `output` starts at zero.
public func foldElements<Element: ScatterElement>(
  _ input: UnsafePointer<Element>, _ output: UnsafeMutablePointer<Element>, map: [Int]
) {
  for i in map.indices { output[map[i]] = output[map[i]].scattered(.add, input[i]) }
}

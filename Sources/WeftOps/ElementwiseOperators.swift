// Operators on symbolic tensors.

public import WeftGraph
internal import WeftTensors

/// x + y, elementwise with broadcasting.
public func + (x: Output, y: Output) throws -> Output {
  try addRow.node([x, y], nil, #fileID, #line)
}
/// x - y, elementwise with broadcasting.
public func - (x: Output, y: Output) throws -> Output {
  try subtractRow.node([x, y], nil, #fileID, #line)
}
/// x * y, elementwise with broadcasting.
public func * (x: Output, y: Output) throws -> Output {
  try multiplyRow.node([x, y], nil, #fileID, #line)
}
/// x / y, elementwise with broadcasting; integers are divided towards zero.
public func / (x: Output, y: Output) throws -> Output {
  try realDivideRow.node([x, y], nil, #fileID, #line)
}
/// -x.
public prefix func - (x: Output) throws -> Output { try negateRow.node([x], nil, #fileID, #line) }

/// x plus a scalar of x's element type.
public func + (x: Output, y: Double) throws -> Output {
  try x + x.graph.constant(y, dtype: x.dtype)
}
/// A scalar of y's element type plus y.
public func + (x: Double, y: Output) throws -> Output {
  try y.graph.constant(x, dtype: y.dtype) + y
}
/// x minus a scalar of x's element type.
public func - (x: Output, y: Double) throws -> Output {
  try x - x.graph.constant(y, dtype: x.dtype)
}
/// A scalar of y's element type minus y.
public func - (x: Double, y: Output) throws -> Output {
  try y.graph.constant(x, dtype: y.dtype) - y
}
/// x times a scalar of x's element type.
public func * (x: Output, y: Double) throws -> Output {
  try x * x.graph.constant(y, dtype: x.dtype)
}
/// A scalar of y's element type times y.
public func * (x: Double, y: Output) throws -> Output {
  try y.graph.constant(x, dtype: y.dtype) * y
}
/// x divided by a scalar of x's element type.
public func / (x: Output, y: Double) throws -> Output {
  try x / x.graph.constant(y, dtype: x.dtype)
}
/// A scalar of y's element type divided by y.
public func / (x: Double, y: Output) throws -> Output {
  try y.graph.constant(x, dtype: y.dtype) / y
}
/// x plus a scalar of x's element type.
public func + (x: Output, y: Float) throws -> Output {
  try x + x.graph.constant(Double(y), dtype: x.dtype)
}
/// A scalar of y's element type plus y.
public func + (x: Float, y: Output) throws -> Output {
  try y.graph.constant(Double(x), dtype: y.dtype) + y
}
/// x minus a scalar of x's element type.
public func - (x: Output, y: Float) throws -> Output {
  try x - x.graph.constant(Double(y), dtype: x.dtype)
}
/// A scalar of y's element type minus y.
public func - (x: Float, y: Output) throws -> Output {
  try y.graph.constant(Double(x), dtype: y.dtype) - y
}
/// x times a scalar of x's element type.
public func * (x: Output, y: Float) throws -> Output {
  try x * x.graph.constant(Double(y), dtype: x.dtype)
}
/// A scalar of y's element type times y.
public func * (x: Float, y: Output) throws -> Output {
  try y.graph.constant(Double(x), dtype: y.dtype) * y
}
/// x divided by a scalar of x's element type.
public func / (x: Output, y: Float) throws -> Output {
  try x / x.graph.constant(Double(y), dtype: x.dtype)
}
/// A scalar of y's element type divided by y.
public func / (x: Float, y: Output) throws -> Output {
  try y.graph.constant(Double(x), dtype: y.dtype) / y
}
/// x plus a scalar of x's element type.
public func + (x: Output, y: Int) throws -> Output {
  try x + x.graph.constant(Double(y), dtype: x.dtype)
}
/// A scalar of y's element type plus y.
public func + (x: Int, y: Output) throws -> Output {
  try y.graph.constant(Double(x), dtype: y.dtype) + y
}
/// x minus a scalar of x's element type.
public func - (x: Output, y: Int) throws -> Output {
  try x - x.graph.constant(Double(y), dtype: x.dtype)
}
/// A scalar of y's element type minus y.
public func - (x: Int, y: Output) throws -> Output {
  try y.graph.constant(Double(x), dtype: y.dtype) - y
}
/// x times a scalar of x's element type.
public func * (x: Output, y: Int) throws -> Output {
  try x * x.graph.constant(Double(y), dtype: x.dtype)
}
/// A scalar of y's element type times y.
public func * (x: Int, y: Output) throws -> Output {
  try y.graph.constant(Double(x), dtype: y.dtype) * y
}
/// x divided by a scalar of x's element type.
public func / (x: Output, y: Int) throws -> Output {
  try x / x.graph.constant(Double(y), dtype: x.dtype)
}
/// A scalar of y's element type divided by y.
public func / (x: Int, y: Output) throws -> Output {
  try y.graph.constant(Double(x), dtype: y.dtype) / y
}

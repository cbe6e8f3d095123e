// Stand-ins until the math family lands: gradients that need it say so.
internal import WeftGraph

@_disfavoredOverload func * <T>(x: Output, y: T) throws -> Output { try pendingMath(x) }
@_disfavoredOverload func + <T>(x: Output, y: T) throws -> Output { try pendingMath(x) }
@_disfavoredOverload func - <T>(x: Output, y: T) throws -> Output { try pendingMath(x) }
@_disfavoredOverload func sum(_ x: Output, axes: [Int], keepDims: Bool) throws -> Output {
  try pendingMath(x)
}
@_disfavoredOverload func prod(_ x: Output, axes: [Int]) throws -> Output { try pendingMath(x) }
@_disfavoredOverload func exp(_ x: Output) throws -> Output { try pendingMath(x) }
@_disfavoredOverload func sigmoid(_ x: Output) throws -> Output { try pendingMath(x) }
@_disfavoredOverload func less(_ x: Output, _ y: Output) throws -> Output { try pendingMath(x) }
@_disfavoredOverload func select(_ c: Output, _ x: Output, _ y: Output) throws -> Output {
  try pendingMath(c)
}

// Stand-ins until the math family lands: gradients that need it say so.
internal import WeftGraph
internal import WeftTensors

func pendingMath(_ operands: Output...) throws -> Output {
  throw WeftError(.unimplemented, "this gradient needs ops that are not there yet")
}
@_disfavoredOverload func sum(_ x: Output, axes: [Int]? = nil) throws -> Output {
  try pendingMath(x)
}
@_disfavoredOverload func prod(_ x: Output) throws -> Output { try pendingMath(x) }
@_disfavoredOverload func unsortedSegmentSum(
  _ data: Output, _ ids: Output, count: Output
) throws -> Output { try pendingMath(data) }
@_disfavoredOverload func broadcastGradientAxes(
  _ a: Output, _ b: Output
) throws -> (Output, Output) { (try pendingMath(a), b) }
extension Output {
  @_disfavoredOverload func cast(to: DType) throws -> Output { try pendingMath(self) }
}
@_disfavoredOverload func sum(_ x: Output, axes: Output) throws -> Output { try pendingMath(x) }

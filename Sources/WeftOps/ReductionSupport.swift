// What reductions share: axes, shapes, and spreading a gradient back over the reduced axes.

internal import WeftGraph
internal import WeftKernels
internal import WeftTensors

extension InferContext {
  /// The shape after reducing input 0 over the axes in input 1.
  func reducedShape(keepDims: Bool) throws -> Shape {
    guard let dims = shape(0).dims else { return .unknown }
    if let rank = shape(1).rank, rank > 1 {
      throw error("needs axes that are a scalar or vector, got shape \(shape(1))")
    }
    guard let axes = integers(1) else {
      return keepDims ? Shape(unknownOfRank: dims.count) : .unknown
    }
    let reduced = try reducedAxes(axes, rank: dims.count)
    if keepDims {
      return Shape(dims: dims.indices.map { reduced[$0] ? .known(1) : dims[$0] })
    }
    return Shape(dims: dims.indices.filter { !reduced[$0] }.map { dims[$0] })
  }

  private func reducedAxes(_ axes: [Int], rank: Int) throws -> [Bool] {
    var reduced = [Bool](repeating: false, count: rank)
    for axis in axes {
      let place = try axisIndex(axis, rank: rank, "reduction axis")
      guard !reduced[place] else { throw error("names axis \(place) twice") }
      reduced[place] = true
    }
    return reduced
  }
}

extension LowerContext {
  /// The plan to reduce input 0 over the axes in input 1.
  func reducePlan() throws -> ReducePlan {
    let rank = shape(0).count
    let axes = try integers(1, "its axes").map { try checkedAxis($0, rank: rank) }
    return ReducePlan(shape: shape(0), axes: axes)
  }

  /// The kernel of a reduction.
  func reduction(_ reduction: Reduction) throws -> Kernel {
    let plan = try reducePlan()
    let dtype = dtype(0)
    // Over nothing, or over axes of size one only: the input itself.
    if plan.foldCount == 1 && plan.inputCount > 0 && reduction != .euclideanNorm { return .alias() }
    guard let kernel = ReduceKernel(reduction, dtype: dtype, plan: plan) else {
      throw unsupported(dtype)
    }
    return Kernel(
      kernelName("\(reduction)", dtype), scratchBytes: kernel.scratchBytes, flops: plan.inputCount
    ) { call in
      kernel.run(call.rawInput(0), call.rawOutput(0), call.scratch, call.pool)
    }
  }
}

/// The axes of a reduction node, counted from the front, when they and the rank are known.
func knownAxes(_ g: GradientContext) -> [Int]? {
  guard let rank = g.input(0).shape.rank, let axes = g.graph.integers(g.input(1)) else {
    return nil
  }
  return axes.map { $0 < 0 ? $0 + rank : $0 }.sorted()
}

/// How values of a reduction's output shape are brought back to its input's shape.
struct Spread {
  private let g: GradientContext
  private let axes: [Int]?
  private let keepDims: Bool

  init(_ g: GradientContext) throws {
    self.g = g
    axes = knownAxes(g)
    keepDims = try g.attrs.bool("keep_dims")
  }

  /// `value`, of the output's shape, with size-one axes where the input was reduced.
  func keepingDims(_ value: Output) throws -> Output {
    if keepDims { return value }
    let x = g.input(0)
    if let axes, let sizes = x.shape.known {
      return try value.reshaped(to: sizes.indices.map { axes.contains($0) ? 1 : sizes[$0] })
    }
    if let axes {
      return try axes.reduce(value) { try $0.expandingDims(axis: $1) }
    }
    return try value.reshaped(to: keptShape())
  }

  /// `value`, of the output's shape, repeated to the input's shape.
  func full(_ value: Output) throws -> Output {
    let kept = try keepingDims(value)
    if let sizes = g.input(0).shape.known {
      let narrow = sizes.compactMap { Int32(exactly: $0) }
      let shape =
        narrow.count == sizes.count
        ? try g.graph.constant(narrow) : try g.graph.constant(sizes.map { Int64($0) })
      return try kept.broadcast(to: shape)
    }
    return try kept.broadcast(to: g.input(0).shapeTensor())
  }

  // The input's shape with one in place of every reduced size, computed when the graph runs.
  private func keptShape() throws -> Output {
    let shape = try g.input(0).shapeTensor()
    let rank = try size(shape)
    let axes = try g.input(1).cast(to: .int32).reshaped(to: [-1])
    let places = try floorMod(axes + rank, rank)
    let hits = try unsortedSegmentSum(onesLike(places), places, count: rank)
    return try select(greater(hits, zerosLike(hits)), onesLike(shape), shape)
  }
}

extension Output {
  /// An axes constant: the given ones, or all of a known or unknown rank.
  func axesTensor(_ axes: [Int]?) throws -> Output {
    if let axes { return try graph.constant(axes.map { Int32(clamping: $0) }) }
    if let rank = shape.rank { return try graph.constant((0..<rank).map { Int32($0) }) }
    return try range(
      graph.constant(Int32(0)), WeftOps.rank(self), graph.constant(Int32(1)))
  }
}

// Repetition: Tile and BroadcastTo.

public import WeftGraph
internal import WeftKernels
internal import WeftTensors

enum TileRows {
  static let tile = OpDef(
    "Tile", "input: T, multiples: Tmultiples -> output: T",
    "T: type; Tmultiples: {int32, int64} = int32",
    summary: "Its input repeated along each dimension.",
    infer: { ctx in
      let counts = try ctx.sizes(1, "multiples")
      guard let dims = ctx.shape(0).dims else {
        return [counts.map { Shape(unknownOfRank: $0.count) } ?? .unknown]
      }
      guard let counts else { return [Shape(unknownOfRank: dims.count)] }
      guard counts.count == dims.count else {
        throw ctx.error("needs \(dims.count) multiples, got \(counts.count)")
      }
      return [
        Shape(
          dims: try zip(dims, counts).map { dim, count in
            if count == .known(1) { return dim }
            guard let n = dim.size, let m = count.size else {
              return dim == .known(1) ? count : .unknown
            }
            let (size, overflow) = n.multipliedReportingOverflow(by: m)
            guard !overflow else { throw ctx.error("size \(n) * \(m) overflows") }
            return .known(size)
          })
      ]
    },
    value: { ctx in
      guard ctx.shape(0).rank == 1, let all = ctx.value(0), let times = ctx.integers(1)?.first,
        times >= 0, times <= 1_000, all.count * times <= 1_000
      else { return nil }
      return Array(repeating: all, count: times).flatMap { $0 }
    },
    gradient: .rule { g in [.dense(try gradient(g)), nil] },
    lowering: .kernel { ctx in
      let counts = try ctx.integers(1, "its multiples")
      let shape = ctx.shape(0)
      if counts.allSatisfy({ $0 == 1 }) { return ctx.pass() }
      // [m0, d0, m1, d1, ...]: the input has stride zero along the repetitions.
      var sizes: [Int] = []
      var source: [Int] = []
      for (d, stride) in StridedCopy.strides(shape).enumerated() {
        sizes += [counts[d], shape[d]]
        source += [0, stride]
      }
      let (box, from) = (sizes, source)
      return try ctx.moves("tile") { bytes in
        [
          .box(
            StridedCopy(
              elementBytes: bytes, sizes: box, source: from, target: StridedCopy.strides(box)))
        ]
      }
    })

  // dy split into [m0, d0, m1, d1, ...] and summed over the repetitions.
  private static func gradient(_ g: GradientContext) throws -> Output {
    let dy = try g.gradient()
    let x = g.input(0)
    if let counts = g.graph.integers(g.input(1)), let shape = x.shape.known {
      let split = zip(counts, shape).flatMap { [$0, $1] }
      let axes = shape.indices.map { 2 * $0 }
      return try sum(try dy.reshaped(to: split), axes: axes).reshaped(to: shape)
    }
    let shape = try x.shapeTensor(g.input(1).dtype)
    let pairs = try stack([g.input(1), shape], axis: 1).reshaped(to: [-1])
    guard let rank = x.shape.rank ?? g.input(1).shape.dim(0).size else {
      throw WeftError(.unimplemented, "the gradient of a tile needs a known rank")
    }
    let axes = (0..<rank).map { 2 * $0 }
    return try sum(try dy.reshaped(to: pairs), axes: axes).reshaped(to: shape)
  }

  static let broadcastTo = OpDef(
    "BroadcastTo", "input: T, shape: Tidx -> output: T",
    "T: type; Tidx: {int32, int64} = int32",
    summary: "Its input repeated to fill a shape it broadcasts to.",
    infer: { ctx in
      guard let wanted = try ctx.sizes(1, "shape") else { return [.unknown] }
      guard let dims = ctx.shape(0).dims else { return [Shape(dims: wanted)] }
      guard dims.count <= wanted.count else {
        throw ctx.error("cannot broadcast \(ctx.shape(0)) to \(Shape(dims: wanted))")
      }
      var out = wanted
      for (i, dim) in dims.enumerated() {
        let at = wanted.count - dims.count + i
        guard let n = dim.size, n != 1 else { continue }
        guard wanted[at].isCompatible(with: dim) else {
          throw ctx.error("cannot broadcast \(ctx.shape(0)) to \(Shape(dims: wanted))")
        }
        out[at] = dim
      }
      return [Shape(dims: out)]
    },
    value: { ctx in
      guard let wanted = ctx.integers(1), wanted.count <= 1, let all = ctx.smallValue(),
        let count = Shape.checkedCount(wanted), count <= 1_000
      else { return nil }
      return all.count == count
        ? all : all.count == 1 ? Array(repeating: all[0], count: count) : nil
    },
    gradient: .rule { g in [.dense(try broadcastGradient(g)), nil] },
    lowering: .kernel { ctx in
      let shape = ctx.shape(0)
      let out = ctx.outputShape(0)
      if product(shape) == product(out), !out.contains(0) { return ctx.pass() }
      let own = StridedCopy.strides(shape)
      let lead = out.count - shape.count
      let from = out.indices.map { $0 < lead || shape[$0 - lead] == 1 ? 0 : own[$0 - lead] }
      return try ctx.moves("broadcast") { bytes in
        [
          .box(
            StridedCopy(
              elementBytes: bytes, sizes: out, source: from, target: StridedCopy.strides(out)))
        ]
      }
    })

  // dy summed over the dimensions that were repeated.
  private static func broadcastGradient(_ g: GradientContext) throws -> Output {
    let dy = try g.gradient()
    let x = g.input(0)
    if let from = x.shape.known, let to = dy.shape.known {
      let lead = to.count - from.count
      let axes = to.indices.filter { $0 < lead || (from[$0 - lead] == 1 && to[$0] != 1) }
      return try sum(dy, axes: axes).reshaped(to: from)
    }
    let shape = try x.shapeTensor()
    let (axes, _) = try broadcastGradientAxes(shape, try g.output().shapeTensor())
    return try sum(dy, axes: axes).reshaped(to: shape)
  }

  static let all = [tile, broadcastTo]
}

/// `x` repeated `multiples[i]` times along dimension i. TensorFlow's Tile.
///
/// Gradient: dy summed over the repetitions.
public func tile(
  _ x: Output, multiples: [Int], name: String? = nil, file: StaticString = #fileID,
  line: UInt = #line
) throws -> Output {
  try tile(
    x,
    multiples: try x.graph.constant(
      integers: multiples, name: "multiples", file: file, line: line), name: name, file: file,
    line: line)
}

/// `x` repeated as the vector `multiples` says.
public func tile(
  _ x: Output, multiples: Output, name: String? = nil, file: StaticString = #fileID,
  line: UInt = #line
) throws -> Output {
  try x.graph.output(
    TileRows.tile.name, name: name, inputs: [x, multiples], file: file, line: line)
}

extension Output {
  /// Repeated along dimensions of size 1 and new leading ones, so that it has `shape`.
  ///
  /// Gradient: dy summed over the repeated dimensions. TensorFlow's BroadcastTo.
  public func broadcast(
    to shape: Output, name: String? = nil, file: StaticString = #fileID, line: UInt = #line
  ) throws -> Output {
    try graph.output(
      TileRows.broadcastTo.name, name: name, inputs: [self, shape], file: file, line: line)
  }

  /// Repeated along dimensions of size 1 and new leading ones, so that it has `shape`.
  public func broadcast(
    to shape: [Int], name: String? = nil, file: StaticString = #fileID, line: UInt = #line
  ) throws -> Output {
    try broadcast(
      to: try graph.constant(integers: shape, name: "shape", file: file, line: line), name: name,
      file: file, line: line)
  }
}

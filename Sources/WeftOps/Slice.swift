// Boxes of tensors: Slice.

public import WeftGraph
internal import WeftKernels
internal import WeftTensors

enum SliceRows {
  static let slice = OpDef(
    "Slice", "input: T, begin: Index, size: Index -> output: T",
    "T: type; Index: {int32, int64}",
    summary: "The box of its input that starts at `begin` and has `size`.",
    infer: { ctx in
      let length = try ctx.merge(
        try ctx.shape(1, rank: 1)[0], try ctx.shape(2, rank: 1)[0], "lengths of begin and size")
      guard let dims = ctx.shape(0).dims else {
        guard let rank = length.size else { return [.unknown] }
        guard let sizes = ctx.value(2), sizes.count == rank else {
          return [Shape(unknownOfRank: rank)]
        }
        return [Shape(dims: sizes.map { $0 == .known(-1) ? .unknown : $0 })]
      }
      guard length.isCompatible(with: .known(dims.count)) else {
        throw ctx.error("needs begin and size of length \(dims.count), got \(length)")
      }
      let begins = ctx.value(1) ?? Array(repeating: .unknown, count: dims.count)
      let sizes = ctx.value(2) ?? Array(repeating: .unknown, count: dims.count)
      var out: [Dim] = []
      for (d, dim) in dims.enumerated() {
        let begin = begins[d].size
        if let begin {
          guard begin >= 0, begin <= dim.size ?? begin else {
            throw ctx.error("expected begin[\(d)] in [0, \(dim)], but got \(begin)")
          }
        }
        switch (sizes[d].size, begin, dim.size) {
        case (-1, let begin?, let n?): out.append(.known(n - begin))
        case (-1, 0, nil): out.append(dim)
        case (-1, _, _): out.append(.unknown)
        case (let size?, _, _):
          guard size >= 0, size <= dim.size.map({ $0 - (begin ?? 0) }) ?? size else {
            let most = dim.size.map { "\($0 - (begin ?? 0))" } ?? "\(dim)"
            throw ctx.error("expected size[\(d)] in [0, \(most)], but got \(size)")
          }
          out.append(.known(size))
        case (nil, _, _): out.append(sizes[d])
        }
      }
      return [Shape(dims: out)]
    },
    value: { ctx in
      guard ctx.shape(0).rank == 1, let all = ctx.value(0), let begin = ctx.integers(1)?.first,
        let size = ctx.integers(2)?.first, begin >= 0, begin <= all.count
      else { return nil }
      let count = size == -1 ? all.count - begin : size
      guard count >= 0, begin + count <= all.count else { return nil }
      return Array(all[begin..<begin + count])
    },
    gradient: .rule { g in [.dense(try gradient(g)), nil, nil] },
    lowering: .kernel { ctx in
      let begin = try ctx.integers(1, "where it begins")
      let shape = ctx.shape(0)
      let sizes = ctx.outputShape(0)
      if sizes == shape { return ctx.pass() }
      let strides = StridedCopy.strides(shape)
      let offset = zip(begin, strides).reduce(0) { $0 + $1.0 * $1.1 }
      return try ctx.moves("slice") { bytes in
        [
          .box(
            StridedCopy(
              elementBytes: bytes, sizes: sizes, source: strides,
              target: StridedCopy.strides(sizes), sourceOffset: offset))
        ]
      }
    })

  // dy with zeros around it, so that it has the shape of the input again.
  private static func gradient(_ g: GradientContext) throws -> Output {
    let dy = try g.gradient()
    let (x, y) = (g.input(0), g.output())
    if let shape = x.shape.known, let sizes = y.shape.known,
      let begin = g.graph.integers(g.input(1)),
      begin.count == shape.count
    {
      return try dy.padded(shape.indices.map { [begin[$0], shape[$0] - begin[$0] - sizes[$0]] })
    }
    let begin = g.input(1)
    let index = begin.dtype
    let behind = try x.shapeTensor(index) - y.shapeTensor(index) - begin
    return try dy.padded(try stack([begin, behind], axis: 1))
  }

  static let all = [slice]
}

extension Output {
  /// The box that starts at `begin` and has `size`; a size of -1 reaches to the end.
  ///
  /// Gradient: dy with zeros around it. TensorFlow's Slice.
  /// - Throws: InvalidArgument when the box leaves the tensor.
  public func sliced(
    begin: [Int], size: [Int], name: String? = nil, file: StaticString = #fileID,
    line: UInt = #line
  ) throws -> Output {
    try sliced(
      begin: try graph.constant(integers: begin, name: "begin", file: file, line: line),
      size: try graph.constant(integers: size, name: "size", file: file, line: line), name: name,
      file: file, line: line)
  }

  /// The box that the vectors `begin` and `size` hold.
  public func sliced(
    begin: Output, size: Output, name: String? = nil, file: StaticString = #fileID,
    line: UInt = #line
  ) throws -> Output {
    try graph.output(
      SliceRows.slice.name, name: name, inputs: [self, begin, size], file: file, line: line)
  }
}

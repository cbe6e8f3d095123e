// Orders of dimensions and elements: Transpose, InvertPermutation, ReverseV2, Roll.

public import WeftGraph
internal import WeftKernels
internal import WeftTensors

enum TransposeRows {
  private static func check(
    _ perm: [Int], rank: Int, _ fail: (String) -> WeftError
  ) throws -> [Int] {
    let axes = perm.map { $0 < 0 ? $0 + rank : $0 }
    guard axes.count == rank, axes.sorted() == Array(0..<rank) else {
      throw fail("needs a permutation of \(rank) dimensions, got \(perm)")
    }
    return axes
  }

  static let transpose = OpDef(
    "Transpose", "x: T, perm: Tperm -> y: T", "T: type; Tperm: {int32, int64} = int32",
    summary: "Its input with dimensions in another order.",
    infer: { ctx in
      let length = try ctx.shape(1, rank: 1)[0]
      guard let dims = ctx.shape(0).dims else {
        if let perm = ctx.integers(1) { _ = try check(perm, rank: perm.count) { ctx.error($0) } }
        return [try ctx.unknownShape(ofRank: length, "its permutation")]
      }
      guard length.isCompatible(with: .known(dims.count)) else {
        throw ctx.error("needs a permutation of \(dims.count) dimensions, got \(length) numbers")
      }
      guard let perm = ctx.integers(1) else { return [Shape(unknownOfRank: dims.count)] }
      let axes = try check(perm, rank: dims.count) { ctx.error($0) }
      return [Shape(dims: axes.map { dims[$0] })]
    },
    value: { ctx in ctx.smallValue() },
    gradient: .rule { g in
      if let perm = g.graph.integers(g.input(1)) {
        let axes = try check(perm, rank: perm.count) {
          WeftError(.invalidArgument, "\(g.node.op) \($0)")
        }
        var inverse = axes
        for (i, axis) in axes.enumerated() { inverse[axis] = i }
        return [.dense(try g.gradient().transposed(permutation: inverse)), nil]
      }
      let inverse = try WeftOps.invertPermutation(g.input(1))
      return [.dense(try g.gradient().transposed(permutation: inverse)), nil]
    },
    lowering: .kernel { ctx in
      let shape = ctx.shape(0)
      let perm = try check(try ctx.integers(1, "its permutation"), rank: shape.count) {
        ctx.error($0)
      }
      let moved = perm.filter { shape[$0] != 1 }
      if moved == moved.sorted() { return ctx.pass() }
      let from = StridedCopy.strides(shape)
      let sizes = perm.map { shape[$0] }
      return try ctx.moves("transpose") { bytes in
        [
          .box(
            StridedCopy(
              elementBytes: bytes, sizes: sizes, source: perm.map { from[$0] },
              target: StridedCopy.strides(sizes)))
        ]
      }
    })

  static let invertPermutation = OpDef(
    "InvertPermutation", "x: T -> y: T", "T: {int32, int64} = int32",
    summary: "The permutation that undoes its input.",
    infer: { ctx in [Shape(dims: try ctx.shape(0, rank: 1))] },
    value: { ctx in
      guard let perm = ctx.integers(0), perm.sorted() == Array(0..<perm.count) else { return nil }
      var inverse = [Dim](repeating: .known(0), count: perm.count)
      for (i, p) in perm.enumerated() { inverse[p] = .known(i) }
      return inverse
    },
    gradient: .zero,
    lowering: .kernel { ctx in
      let count = ctx.count(0)
      let name = ctx.op.name
      @Sendable func invert<Index: IndexElement>(
        _ call: borrowing KernelCall, _: Index.Type
      ) throws {
        let x = call.input(0, as: Index.self)
        let y = call.output(0, as: Index.self)
        for i in 0..<count { y[i] = -1 }
        for i in 0..<count {
          let at = Int(truncatingIfNeeded: x[i])
          guard at >= 0, at < count else {
            throw WeftError(
              .invalidArgument, "\(name) value \(at) is not in [0, \(count))", category: .run)
          }
          guard y[at] == -1 else {
            throw WeftError(
              .invalidArgument, "\(name) value \(at) appears twice", category: .run)
          }
          y[at] = Index(truncatingIfNeeded: i)
        }
      }
      let wide = ctx.dtype(0) == .int64
      return Kernel("invertPermutation") { call in
        if wide { try invert(call, Int64.self) } else { try invert(call, Int32.self) }
      }
    })

  static let reverse = OpDef(
    "ReverseV2", "tensor: T, axis: Tidx -> output: T",
    "Tidx: {int32, int64} = int32; T: {uint8, int8, uint16, int16, int32, uint32, int64, uint64, "
      + "bool, bfloat16, half, float, double, complex64, complex128, string}",
    summary: "Its input reversed along some axes.",
    infer: { ctx in
      _ = try ctx.shape(1, rank: 1)
      if let rank = ctx.shape(0).rank, let axes = ctx.integers(1) {
        let places = try axes.map { try ctx.axisIndex($0, rank: rank) }
        guard Set(places).count == places.count else {
          throw ctx.error("names an axis twice: \(axes)")
        }
      }
      return [ctx.shape(0)]
    },
    gradient: .rule { g in
      [.dense(try reversed(try g.gradient(), axes: g.input(1))), nil]
    },
    lowering: .kernel { ctx in
      let shape = ctx.shape(0)
      let axes = try ctx.integers(1, "its axes").map {
        try ctx.checkedAxis($0, rank: shape.count)
      }
      if axes.allSatisfy({ shape[$0] <= 1 }) { return ctx.pass() }
      let strides = StridedCopy.strides(shape)
      var from = strides
      var offset = 0
      for axis in axes {
        offset += (shape[axis] - 1) * strides[axis]
        from[axis] = -strides[axis]
      }
      let (source, start) = (from, offset)
      return try ctx.moves("reverse") { bytes in
        [
          .box(
            StridedCopy(
              elementBytes: bytes, sizes: shape, source: source, target: strides,
              sourceOffset: start))
        ]
      }
    })

  static let roll = OpDef(
    "Roll", "input: T, shift: Tshift, axis: Taxis -> output: T",
    "T: type; Tshift: {int32, int64}; Taxis: {int32, int64}",
    summary: "Its input with elements moved along axes, those that fall off coming back in front.",
    infer: { ctx in
      _ = try ctx.shape(0, rankAtLeast: 1)
      guard ctx.shape(1).isCompatible(with: ctx.shape(2)) else {
        throw ctx.error("needs as many shifts as axes: \(ctx.shape(1)) vs \(ctx.shape(2))")
      }
      if let rank = ctx.shape(0).rank, let axes = ctx.integers(2) {
        for axis in axes { _ = try ctx.axisIndex(axis, rank: rank) }
      }
      return [ctx.shape(0)]
    },
    gradient: .rule { g in
      let shift = g.input(1)
      let back =
        if let known = g.graph.integers(shift), let shape = shift.shape.known {
          try g.graph.constant(
            try Tensor(integers: known.map { 0 &- $0 }, shape: shape, dtype: shift.dtype))
        } else {
          try -shift
        }
      return [
        .dense(
          try g.graph.output(
            g.node.op, inputs: [try g.gradient(), back, g.input(2)])), nil, nil,
      ]
    },
    lowering: .kernel { ctx in
      let shape = ctx.shape(0)
      let shifts = try ctx.integers(1, "its shifts")
      let axes = try ctx.integers(2, "its axes")
      var total = [Int](repeating: 0, count: shape.count)
      for (shift, axis) in zip(shifts, axes) {
        let at = try ctx.checkedAxis(axis, rank: shape.count)
        if shape[at] > 0 {
          total[at] = ((total[at] + shift % shape[at]) % shape[at] + shape[at]) % shape[at]
        }
      }
      if total.allSatisfy({ $0 == 0 }) || shape.contains(0) { return ctx.pass() }
      let strides = StridedCopy.strides(shape)
      // Each rolled axis falls into two segments; a box for every combination.
      var boxes: [(sizes: [Int], from: Int, to: Int)] = [(shape, 0, 0)]
      for axis in shape.indices where total[axis] > 0 {
        boxes = boxes.flatMap { box in
          let keep = shape[axis] - total[axis]
          var head = box.sizes
          head[axis] = keep
          var tail = box.sizes
          tail[axis] = total[axis]
          return [
            (head, box.from, box.to + total[axis] * strides[axis]),
            (tail, box.from + keep * strides[axis], box.to),
          ]
        }
      }
      let all = boxes
      return try ctx.moves("roll") { bytes in
        all.map {
          .box(
            StridedCopy(
              elementBytes: bytes, sizes: $0.sizes, source: strides, target: strides,
              sourceOffset: $0.from, targetOffset: $0.to))
        }
      }
    })

  static let all = [transpose, invertPermutation, reverse, roll]
}

/// The permutation that undoes `x`. TensorFlow's InvertPermutation.
public func invertPermutation(
  _ x: Output, name: String? = nil, file: StaticString = #fileID, line: UInt = #line
) throws -> Output {
  try x.graph.output(
    TransposeRows.invertPermutation.name, name: name, inputs: [x], file: file, line: line)
}

/// `x` reversed along `axes`. Gradient: dy reversed. TensorFlow's ReverseV2.
public func reversed(
  _ x: Output, axes: [Int], name: String? = nil, file: StaticString = #fileID, line: UInt = #line
) throws -> Output {
  try reversed(
    x, axes: try x.graph.constant(integers: axes, name: "axis", file: file, line: line),
    name: name, file: file, line: line)
}

/// `x` reversed along the axes that the vector `axes` holds.
public func reversed(
  _ x: Output, axes: Output, name: String? = nil, file: StaticString = #fileID,
  line: UInt = #line
) throws -> Output {
  try x.graph.output(
    TransposeRows.reverse.name, name: name, inputs: [x, axes], file: file, line: line)
}

/// `y[i + shift] = x[i]` along each axis, around the end. TensorFlow's Roll.
public func roll(
  _ x: Output, shifts: [Int], axes: [Int], name: String? = nil, file: StaticString = #fileID,
  line: UInt = #line
) throws -> Output {
  let graph = x.graph
  return try graph.output(
    TransposeRows.roll.name, name: name,
    inputs: [
      x, try graph.constant(integers: shifts, name: "shift", file: file, line: line),
      try graph.constant(integers: axes, name: "axis", file: file, line: line),
    ], file: file, line: line)
}

extension Output {
  /// The dimensions in another order: `y.shape[i] = x.shape[permutation[i]]`.
  ///
  /// Gradient: dy under the inverse permutation. TensorFlow's Transpose.
  public func transposed(
    permutation: [Int], name: String? = nil, file: StaticString = #fileID, line: UInt = #line
  ) throws -> Output {
    try transposed(
      permutation: try graph.constant(integers: permutation, name: "perm", file: file, line: line),
      name: name, file: file, line: line)
  }

  /// The dimensions in the order that the vector `permutation` holds.
  public func transposed(
    permutation: Output, name: String? = nil, file: StaticString = #fileID, line: UInt = #line
  ) throws -> Output {
    try graph.output(
      TransposeRows.transpose.name, name: name ?? "transpose", inputs: [self, permutation],
      file: file, line: line)
  }
}

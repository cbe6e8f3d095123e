// Cutting tensors into parts: Split, SplitV, Unpack.

public import WeftGraph
internal import WeftKernels
internal import WeftTensors

enum SplitRows {
  // Parts of these sizes along `axis`, each copied row by row.
  private static func cut(
    _ ctx: LowerContext, input: Int, axis: Int, sizes: [Int], name: String
  ) throws -> Kernel {
    let shape = ctx.shape(input)
    if sizes.count == 1, input == 0 { return ctx.pass() }
    let outer = product(shape.prefix(axis))
    let inner = product(shape.dropFirst(axis + 1))
    let row = shape[axis] * inner
    return try ctx.moves(name) { bytes in
      var offset = 0
      var moves: [Move] = []
      for (output, size) in sizes.enumerated() {
        let part = size * inner
        if part > 0 && outer > 0 {
          moves.append(
            .rows(
              input: input, output: output,
              RowCopy(
                rows: outer, rowBytes: part * bytes, sourceStride: row * bytes,
                targetStride: part * bytes, sourceOffset: offset * bytes)))
        }
        offset += part
      }
      return moves
    }
  }

  static let split = OpDef(
    "Split", "split_dim: int32, value: T -> output: num_split * T", "num_split: int >= 1; T: type",
    summary: "Its input cut into equal parts along an axis.",
    infer: { ctx in
      let count = try ctx.attrs.int("num_split")
      let axis = try ctx.oneInteger(0, "split_dim")
      guard var dims = ctx.shape(1).dims else { return Array(repeating: .unknown, count: count) }
      guard let axis else {
        return Array(repeating: Shape(unknownOfRank: dims.count), count: count)
      }
      let at = try ctx.axisIndex(axis, rank: dims.count, "split_dim")
      if let size = dims[at].size {
        guard size % count == 0 else {
          throw ctx.error("cannot cut dimension \(at) of size \(size) into \(count) equal parts")
        }
        dims[at] = .known(size / count)
      } else if count > 1 {
        dims[at] = .unknown
      }
      return Array(repeating: Shape(dims: dims), count: count)
    },
    gradient: .rule { g in
      let parts = try g.node.outputs.indices.map { try g.gradient($0) }
      return [nil, .dense(try concat(parts, axis: g.input(0)))]
    },
    lowering: .kernel { ctx in
      let count = ctx.outputs.count
      let axis = try ctx.axis(0, rank: ctx.shape(1).count)
      let size = ctx.shape(1)[axis] / max(1, count)
      return try cut(
        ctx, input: 1, axis: axis, sizes: Array(repeating: size, count: count), name: "split")
    })

  // Sizes with a -1 replaced by what the others leave of `total`.
  private static func parts(
    _ sizes: [Int], _ total: Int, _ fail: (String) -> WeftError
  ) throws -> [Int] {
    var sizes = sizes
    let open = sizes.indices.filter { sizes[$0] == -1 }
    guard open.count <= 1 else { throw fail("has more than one -1 among its sizes \(sizes)") }
    var sum = 0
    for n in sizes where n != -1 {
      let (next, overflow) = sum.addingReportingOverflow(n)
      guard n >= 0, !overflow else { throw fail("has a negative size among \(sizes)") }
      sum = next
    }
    guard open.isEmpty ? sum == total : sum <= total else {
      throw fail("cannot cut size \(total) into parts of sizes \(sizes)")
    }
    for i in open { sizes[i] = total - sum }
    return sizes
  }

  static let splitV = OpDef(
    "SplitV", "value: T, size_splits: Tlen, split_dim: int32 -> output: num_split * T",
    "num_split: int >= 1; T: type; Tlen: {int8, int32, int64} = int64",
    summary: "Its input cut into parts of given sizes along an axis.",
    infer: { ctx in
      let count = try ctx.attrs.int("num_split")
      let length = try ctx.shape(1, rank: 1)[0]
      guard length.isCompatible(with: .known(count)) else {
        throw ctx.error("needs \(count) sizes, got \(length)")
      }
      let axis = try ctx.oneInteger(2, "split_dim")
      guard let dims = ctx.shape(0).dims else { return Array(repeating: .unknown, count: count) }
      guard let axis else {
        return Array(repeating: Shape(unknownOfRank: dims.count), count: count)
      }
      let at = try ctx.axisIndex(axis, rank: dims.count, "split_dim")
      var sizes = [Dim](repeating: .unknown, count: count)
      if let listed = ctx.integers(1), listed.count == count {
        if let total = dims[at].size {
          sizes = try parts(listed, total) { ctx.error($0) }.map { .known($0) }
        } else {
          sizes = listed.map { Dim($0) }
        }
      } else if let listed = ctx.value(1), listed.count == count {
        sizes = listed.map { $0 == .known(-1) ? .unknown : $0 }
      }
      return sizes.map { size in
        var out = dims
        out[at] = size
        return Shape(dims: out)
      }
    },
    gradient: .rule { g in
      let parts = try g.node.outputs.indices.map { try g.gradient($0) }
      return [.dense(try concat(parts, axis: g.input(2))), nil, nil]
    },
    lowering: .kernel { ctx in
      let axis = try ctx.axis(2, rank: ctx.shape(0).count)
      let sizes = try parts(try ctx.integers(1, "its sizes"), ctx.shape(0)[axis]) {
        ctx.error($0)
      }
      return try cut(ctx, input: 0, axis: axis, sizes: sizes, name: "split")
    })

  static let unpack = OpDef(
    "Unpack", "value: T -> output: num * T", "num: int >= 0; T: type; axis: int = 0",
    summary: "The slices of its input along an axis, which vanishes.",
    infer: { ctx in
      let count = try ctx.attrs.int("num")
      guard var dims = ctx.shape(0).dims else { return Array(repeating: .unknown, count: count) }
      let axis = try ctx.axisIndex(try ctx.attrs.int("axis"), rank: dims.count)
      guard dims[axis].isCompatible(with: .known(count)) else {
        throw ctx.error("attr 'num' is \(count), dimension \(axis) of its input is \(dims[axis])")
      }
      dims.remove(at: axis)
      return Array(repeating: Shape(dims: dims), count: count)
    },
    value: { ctx in
      guard ctx.shape(0).rank == 1, let all = ctx.value(0), let first = all.first else {
        return nil
      }
      return [first]
    },
    gradient: .rule { g in
      let parts = try g.node.outputs.indices.map { try g.gradient($0) }
      if parts.isEmpty { return [.dense(try zerosLike(g.input(0)))] }
      return [.dense(try stack(parts, axis: try g.attrs.int("axis")))]
    },
    lowering: .kernel { ctx in
      let axis = try ctx.checkedAxis(try ctx.attrs.int("axis"), rank: ctx.shape(0).count)
      return try cut(
        ctx, input: 0, axis: axis, sizes: Array(repeating: 1, count: ctx.outputs.count),
        name: "unpack")
    })

  static let all = [split, splitV, unpack]
}

/// Cuts `x` into `count` equal parts along `axis`. TensorFlow's Split.
///
/// Gradient: the parts' gradients joined.
/// - Throws: InvalidArgument when `count` does not divide the size of `axis`.
public func split(
  _ x: Output, count: Int, axis: Int, name: String? = nil, file: StaticString = #fileID,
  line: UInt = #line
) throws -> [Output] {
  let dim = try x.graph.constant(integer: axis, name: "split_dim", file: file, line: line)
  let node = try x.graph.add(
    SplitRows.split.name, name: name ?? "split", inputs: [dim, x],
    attrs: ["num_split": .int(Int64(count))], file: file, line: line)
  return x.graph.outputs(of: node)
}

/// Cuts `x` into parts of `sizes` along `axis`; one size may be -1. TensorFlow's SplitV.
///
/// Gradient: the parts' gradients joined.
public func split(
  _ x: Output, sizes: [Int], axis: Int, name: String? = nil, file: StaticString = #fileID,
  line: UInt = #line
) throws -> [Output] {
  let lengths = try x.graph.constant(integers: sizes, name: "sizes", file: file, line: line)
  let dim = try x.graph.constant(integer: axis, name: "split_dim", file: file, line: line)
  let node = try x.graph.add(
    SplitRows.splitV.name, name: name ?? "split", inputs: [x, lengths, dim],
    attrs: ["num_split": .int(Int64(sizes.count))], file: file, line: line)
  return x.graph.outputs(of: node)
}

/// The slices of `x` along `axis`, which vanishes. TensorFlow's Unpack.
///
/// `[N, A, B]` gives N times `[A, B]` for axis 0. Gradient: the slices' gradients stacked.
/// - Throws: InvalidArgument when `count` is nil and the size of `axis` is not known.
public func unstack(
  _ x: Output, count: Int? = nil, axis: Int = 0, name: String? = nil,
  file: StaticString = #fileID, line: UInt = #line
) throws -> [Output] {
  guard let count = count ?? x.shape.dim(axis).size else {
    throw WeftError(
      .invalidArgument, "unstack needs a count: the size of axis \(axis) of \(x.name) is unknown")
  }
  let node = try x.graph.add(
    SplitRows.unpack.name, name: name ?? "unstack", inputs: [x],
    attrs: ["num": .int(Int64(count)), "axis": .int(Int64(axis))], file: file, line: line)
  return x.graph.outputs(of: node)
}

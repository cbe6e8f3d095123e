// Sequences of different lengths and mirrored borders: ReverseSequence, MirrorPad.

public import WeftGraph
internal import WeftKernels
internal import WeftTensors

enum SequenceRows {
  static let reverseSequence = OpDef(
    "ReverseSequence", "input: T, seq_lengths: Tlen -> output: T",
    "seq_dim: int; batch_dim: int = 0; T: type; Tlen: {int32, int64} = int64",
    summary: "Each sequence of a batch with its first `seq_lengths` steps in reverse order.",
    infer: { ctx in
      let length = try ctx.shape(1, rank: 1)[0]
      guard var dims = ctx.shape(0).dims else { return [.unknown] }
      let time = try ctx.axisIndex(try ctx.attrs.int("seq_dim"), rank: dims.count, "seq_dim")
      let batch = try ctx.axisIndex(try ctx.attrs.int("batch_dim"), rank: dims.count, "batch_dim")
      guard time != batch else { throw ctx.error("needs seq_dim and batch_dim to differ") }
      dims[batch] = try ctx.merge(dims[batch], length, "batch sizes")
      return [Shape(dims: dims)]
    },
    gradient: .rule { g in
      let dx = try g.graph.output(
        g.node.op, inputs: [try g.gradient(), g.input(1)],
        attrs: g.node.attrs.filter { $0.key == "seq_dim" || $0.key == "batch_dim" })
      return [.dense(dx), nil]
    },
    lowering: .kernel { ctx in
      let kernel = try withIndexType(ctx.dtype(1)) { type in try lowerReverse(type, ctx) }
      guard let kernel else { throw ctx.unsupported(ctx.dtype(1)) }
      return kernel
    })

  private static func lowerReverse<Length: IndexElement>(
    _: Length.Type, _ ctx: LowerContext
  ) throws -> Kernel {
    let shape = ctx.shape(0)
    let dtype = ctx.dtype(0)
    guard dtype.isPlain else { throw ctx.unsupported(dtype) }
    let time = try ctx.checkedAxis(try ctx.attrs.int("seq_dim"), rank: shape.count)
    let batch = try ctx.checkedAxis(try ctx.attrs.int("batch_dim"), rank: shape.count)
    let first = min(time, batch)
    let second = max(time, batch)
    let outer = product(shape.prefix(first))
    let middle = product(shape[(first + 1)..<second])
    let rowBytes = product(shape.dropFirst(second + 1)) * dtype.byteSize
    let (steps, entries) = (shape[time], shape[batch])
    let strides = StridedCopy.strides(shape)
    let unit = dtype.byteSize
    let (timeStride, batchStride) = (strides[time] * unit, strides[batch] * unit)
    let outerStride = first == 0 ? 0 : strides[first - 1] * unit
    let middleStride = second - 1 > first ? strides[second - 1] * unit : 0
    let op = ctx.op.name
    return Kernel(ctx.kernelName("reverseSequence", dtype)) { call in
      let lengths = call.input(1, as: Length.self)
      for b in 0..<entries {
        let n = Int(truncatingIfNeeded: lengths[b])
        guard n >= 0, n <= steps else {
          throw WeftError(
            .invalidArgument, "\(op) seq_lens[\(b)] = \(n) is not in [0, \(steps)]",
            category: .run)
        }
      }
      if rowBytes == 0 { return }
      let (x, y) = (call.rawInput(0), call.rawOutput(0))
      call.pool.split(entries, grain: max(1, (1 << 18) / max(1, steps * rowBytes * outer * middle)))
      { lower, upper in
        for b in lower..<upper {
          let n = Int(truncatingIfNeeded: lengths[b])
          for o in 0..<outer {
            for m in 0..<middle {
              let base = o &* outerStride &+ m &* middleStride &+ b &* batchStride
              for t in 0..<steps {
                let from = t < n ? n - 1 - t : t
                (y + base + t &* timeStride)
                  .copyMemory(from: x + base + from &* timeStride, byteCount: rowBytes)
              }
            }
          }
        }
      }
    }
  }

  // For each element of the padded shape, in row-major order, the element it mirrors.
  private static func mirrorMap(
    _ shape: [Int], _ pads: [Int], symmetric: Bool, _ fail: (String) -> WeftError
  ) throws -> [Int] {
    let strides = StridedCopy.strides(shape)
    var map = [0]
    for d in shape.indices {
      let (before, after) = (pads[2 * d], pads[2 * d + 1])
      let most = symmetric ? shape[d] : shape[d] - 1
      guard before <= max(0, most), after <= max(0, most) else {
        throw fail(
          "paddings must be no greater than \(most) in dimension \(d): \(before) \(after)")
      }
      let n = shape[d]
      let line = (0..<(before + n + after)).map { i -> Int in
        let at = i - before
        if at < 0 { return symmetric ? -at - 1 : -at }
        if at >= n { return symmetric ? 2 * n - 1 - at : 2 * n - 2 - at }
        return at
      }
      map = map.flatMap { base in line.map { base + $0 * strides[d] } }
    }
    return map
  }

  static let mirrorPad: OpDef = OpDef(
    "MirrorPad", "input: T, paddings: Tpaddings -> output: T",
    "T: type; Tpaddings: {int32, int64} = int32; mode: {'REFLECT', 'SYMMETRIC'}",
    summary: "Its input with a mirror image of itself around it.",
    infer: { ctx in [try PadRows.infer(ctx).map { Shape(dims: $0) } ?? .unknown] },
    gradient: .rule { g in
      let dx = try g.graph.output(
        mirrorPadGrad.name, inputs: [try g.gradient(), g.input(1)],
        attrs: ["mode": .string(try g.attrs.string("mode"))])
      return [.dense(dx), nil]
    },
    lowering: .kernel { ctx in
      let dtype = ctx.dtype(0)
      guard dtype.isPlain else { throw ctx.unsupported(dtype) }
      let map = try mirrorMap(
        ctx.shape(0), try ctx.integers(1, "its paddings"),
        symmetric: try ctx.attrs.string("mode") == "SYMMETRIC"
      ) { ctx.error($0) }
      let gather = RowGather(
        batch: 1, outer: 1, axis: ctx.count(0), count: map.count, rowBytes: dtype.byteSize)
      return Kernel(ctx.kernelName("mirrorPad", dtype)) { call in
        map.withUnsafeBufferPointer { indices in
          if let first = indices.baseAddress {
            gather.run(call.rawInput(0), first, call.rawOutput(0), call.pool)
          }
        }
      }
    })

  static let mirrorPadGrad: OpDef = OpDef(
    "MirrorPadGrad", "input: T, paddings: Tpaddings -> output: T",
    "T: type; Tpaddings: {int32, int64} = int32; mode: {'REFLECT', 'SYMMETRIC'}",
    summary: "Its input with the mirrored border added to what it mirrors.",
    infer: { ctx in
      let table = try ctx.shape(1, rank: 2)
      guard let dims = ctx.shape(0).dims else {
        return [try ctx.unknownShape(ofRank: table[0], "its paddings")]
      }
      guard table[0].isCompatible(with: .known(dims.count)), table[1].isCompatible(with: 2) else {
        throw ctx.error("needs paddings of shape [\(dims.count), 2], got \(ctx.shape(1))")
      }
      guard let pads = ctx.integers(1), pads.count == 2 * dims.count else {
        return [Shape(unknownOfRank: dims.count)]
      }
      return [
        Shape(
          dims: try dims.indices.map { d in
            guard let n = dims[d].size else { return .unknown }
            let (before, after) = (pads[2 * d], pads[2 * d + 1])
            guard before >= 0, after >= 0, before <= n, after <= n - before else {
              throw ctx.error("paddings \(before) \(after) do not fit dimension \(d) of size \(n)")
            }
            return .known(n - before - after)
          })
      ]
    },
    gradient: .rule { g in
      let dx = try g.graph.output(
        mirrorPad.name, inputs: [try g.gradient(), g.input(1)],
        attrs: ["mode": .string(try g.attrs.string("mode"))])
      return [.dense(dx), nil]
    },
    lowering: .kernel { ctx in
      let shape = ctx.outputShape(0)
      let map = try mirrorMap(
        shape, try ctx.integers(1, "its paddings"),
        symmetric: try ctx.attrs.string("mode") == "SYMMETRIC"
      ) { ctx.error($0) }
      let kernel = try withScatterType(ctx.dtype(0)) { type in lowerFold(type, ctx, map) }
      guard let kernel else { throw ctx.unsupported(ctx.dtype(0)) }
      return kernel
    })

  private static func lowerFold<Element: ScatterElement>(
    _: Element.Type, _ ctx: LowerContext, _ map: [Int]
  ) -> Kernel {
    let bytes = ctx.outputCount(0) * MemoryLayout<Element>.stride
    return Kernel(ctx.kernelName("mirrorPadGrad", ctx.dtype(0))) { call in
      call.rawOutput(0).initializeMemory(as: UInt8.self, repeating: 0, count: bytes)
      foldElements(
        call.input(0, as: Element.self), call.output(0, as: Element.self), map: map)
    }
  }

  static let all = [reverseSequence, mirrorPad, mirrorPadGrad]
}

/// Each sequence of the batch with its first `lengths[b]` steps in reverse order.
///
/// `[B, T, ...]` for batch axis 0 and time axis 1. Gradient: the same of dy. TensorFlow's
/// ReverseSequence.
public func reverseSequence(
  _ x: Output, lengths: Output, timeAxis: Int = 1, batchAxis: Int = 0, name: String? = nil,
  file: StaticString = #fileID, line: UInt = #line
) throws -> Output {
  try x.graph.output(
    SequenceRows.reverseSequence.name, name: name, inputs: [x, lengths],
    attrs: ["seq_dim": .int(Int64(timeAxis)), "batch_dim": .int(Int64(batchAxis))], file: file,
    line: line)
}

// Blocks of space moved to depth or batch, and back.

public import WeftGraph
internal import WeftKernels
internal import WeftTensors

enum SpaceDepthRows {
  private static let attributes =
    "T: type; block_size: int >= 2; data_format: {'NHWC', 'NCHW', 'NCHW_VECT_C'} = 'NHWC'"

  // The places of height, width and channels in a shape of rank 4.
  private static func layout(_ attrs: Attrs) throws -> (h: Int, w: Int, c: Int) {
    switch try attrs.string("data_format") {
    case "NHWC": (1, 2, 3)
    case "NCHW": (2, 3, 1)
    default:
      throw WeftError(.unimplemented, "data_format NCHW_VECT_C is for GPUs only")
    }
  }

  private static func infer(_ ctx: InferContext, toDepth: Bool) throws -> [Shape] {
    var dims = try ctx.shape(0, rank: 4)
    let at = try layout(ctx.attrs)
    let block = try ctx.attrs.int("block_size")
    let (area, overflow) = block.multipliedReportingOverflow(by: block)
    guard !overflow else { throw ctx.error("block_size \(block) overflows") }
    func scaled(_ d: Int, _ factor: Int, divide: Bool) throws {
      guard let n = dims[d].size else { return dims[d] = .unknown }
      if divide {
        guard n % factor == 0 else {
          throw ctx.error("needs dimension \(d) divisible by \(factor), got \(n)")
        }
        dims[d] = .known(n / factor)
      } else {
        let (size, overflow) = n.multipliedReportingOverflow(by: factor)
        guard !overflow else { throw ctx.error("size \(n) * \(factor) overflows") }
        dims[d] = .known(size)
      }
    }
    try scaled(at.h, block, divide: toDepth)
    try scaled(at.w, block, divide: toDepth)
    try scaled(at.c, area, divide: !toDepth)
    return [Shape(dims: dims)]
  }

  // Both directions see the space tensor as [N, H, b, W, b, C] and the depth tensor as
  // [N, H, W, b, b, C], each in its own order of dimensions.
  private static func lower(_ ctx: LowerContext, toDepth: Bool) throws -> Kernel {
    let at = try layout(ctx.attrs)
    let b = try ctx.attrs.int("block_size")
    let space = toDepth ? ctx.shape(0) : ctx.outputShape(0)
    let depth = toDepth ? ctx.outputShape(0) : ctx.shape(0)
    let s = StridedCopy.strides(space)
    let d = StridedCopy.strides(depth)
    let channels = space[at.c]
    // The order in which the target is written: N, H, b, W, b, C of space.
    let sizes = [space[0], depth[at.h], b, depth[at.w], b, channels]
    let inSpace = [s[0], s[at.h] * b, s[at.h], s[at.w] * b, s[at.w], s[at.c]]
    let step = channels * d[at.c]
    let inDepth = [d[0], d[at.h], step * b, d[at.w], step, d[at.c]]
    return try ctx.moves(toDepth ? "spaceToDepth" : "depthToSpace") { bytes in
      [
        .box(
          StridedCopy(
            elementBytes: bytes, sizes: sizes, source: toDepth ? inSpace : inDepth,
            target: toDepth ? inDepth : inSpace))
      ]
    }
  }

  static let spaceToDepth: OpDef = OpDef(
    "SpaceToDepth", "input: T -> output: T", attributes,
    summary: "Blocks of space moved into channels.",
    infer: { ctx in try infer(ctx, toDepth: true) },
    gradient: .rule { g in
      [
        .dense(
          try g.graph.output(
            depthToSpace.name, inputs: [try g.gradient()], attrs: copied(g)))
      ]
    },
    lowering: .kernel { ctx in try lower(ctx, toDepth: true) })

  static let depthToSpace: OpDef = OpDef(
    "DepthToSpace", "input: T -> output: T", attributes,
    summary: "Channels moved into blocks of space.",
    infer: { ctx in try infer(ctx, toDepth: false) },
    gradient: .rule { g in
      [
        .dense(
          try g.graph.output(
            spaceToDepth.name, inputs: [try g.gradient()], attrs: copied(g)))
      ]
    },
    lowering: .kernel { ctx in try lower(ctx, toDepth: false) })

  private static func copied(_ g: GradientContext) -> [String: AttrValue] {
    g.node.attrs.filter { $0.key == "block_size" || $0.key == "data_format" }
  }

  // MARK: - Batch

  // Block sizes and pairs of paddings or crops, when known.
  private static func inferBatch(_ ctx: InferContext, toBatch: Bool) throws -> [Shape] {
    let count = try ctx.shape(1, rank: 1)[0]
    let table = try ctx.shape(2, rank: 2)
    guard table[1].isCompatible(with: 2), table[0].isCompatible(with: count) else {
      throw ctx.error("needs a pair for each of \(count) blocks, got \(ctx.shape(2))")
    }
    guard var dims = ctx.shape(0).dims else { return [.unknown] }
    guard let blocks = ctx.integers(1), let pads = ctx.integers(2), pads.count == 2 * blocks.count
    else { return [Shape(unknownOfRank: dims.count)] }
    guard dims.count > blocks.count else {
      throw ctx.error("needs rank > \(blocks.count), got shape \(ctx.shape(0))")
    }
    var area = 1
    for (i, block) in blocks.enumerated() {
      guard block >= 1 else { throw ctx.error("needs positive block sizes, got \(blocks)") }
      let (next, overflow) = area.multipliedReportingOverflow(by: block)
      let (before, after) = (pads[2 * i], pads[2 * i + 1])
      guard !overflow, before >= 0, after >= 0, before < 1 << 40, after < 1 << 40 else {
        throw ctx.error("has block sizes \(blocks) and borders \(pads) that are out of range")
      }
      area = next
      guard let n = dims[i + 1].size else {
        dims[i + 1] = .unknown
        continue
      }
      if toBatch {
        let (padded, over) = n.addingReportingOverflow(before + after)
        guard !over, padded % block == 0 else {
          throw ctx.error("padded dimension \(i + 1) of size \(padded) is no multiple of \(block)")
        }
        dims[i + 1] = .known(padded / block)
      } else {
        let (full, over) = n.multipliedReportingOverflow(by: block)
        guard !over, full >= before + after else {
          throw ctx.error("cannot crop \(before) and \(after) from dimension \(i + 1) of \(full)")
        }
        dims[i + 1] = .known(full - before - after)
      }
    }
    if let n = dims[0].size {
      if toBatch {
        let (size, overflow) = n.multipliedReportingOverflow(by: area)
        guard !overflow else { throw ctx.error("batch size overflows") }
        dims[0] = .known(size)
      } else {
        guard n % area == 0 else {
          throw ctx.error("batch size \(n) is no multiple of \(area)")
        }
        dims[0] = .known(n / area)
      }
    } else {
      dims[0] = .unknown
    }
    return [Shape(dims: dims)]
  }

  // One strided copy for each place within a block.
  private static func lowerBatch(_ ctx: LowerContext, toBatch: Bool) throws -> Kernel {
    let blocks = try ctx.integers(1, "its block sizes")
    let pads = try ctx.integers(2, "its borders")
    let space = toBatch ? ctx.shape(0) : ctx.outputShape(0)
    let batch = toBatch ? ctx.outputShape(0) : ctx.shape(0)
    let s = StridedCopy.strides(space)
    let b = StridedCopy.strides(batch)
    let area = product(blocks)
    guard area <= 1 << 20 else { throw ctx.error("has blocks of \(area) places, too many") }
    var boxes: [(sizes: [Int], inSpace: [Int], fromSpace: Int, fromBatch: Int)] = []
    for place in 0..<area {
      var rest = place
      var sizes = space
      var strides = s
      var fromSpace = 0
      var fromBatch = place * space[0] * b[0]
      for i in blocks.indices.reversed() {
        let (next, at) = rest.quotientAndRemainder(dividingBy: blocks[i])
        rest = next
        // batch index q holds space index q * block + at - before.
        let shift = at - pads[2 * i]
        let first = shift >= 0 ? 0 : (-shift + blocks[i] - 1) / blocks[i]
        let last = min(batch[i + 1], (space[i + 1] - shift + blocks[i] - 1) / blocks[i])
        sizes[i + 1] = max(0, last - first)
        strides[i + 1] = s[i + 1] * blocks[i]
        fromSpace += (first * blocks[i] + shift) * s[i + 1]
        fromBatch += first * b[i + 1]
      }
      if !sizes.contains(0) { boxes.append((sizes, strides, fromSpace, fromBatch)) }
    }
    let all = boxes
    return try ctx.moves(toBatch ? "spaceToBatch" : "batchToSpace", zeroed: toBatch) { bytes in
      all.map { box in
        .box(
          StridedCopy(
            elementBytes: bytes, sizes: box.sizes, source: toBatch ? box.inSpace : b,
            target: toBatch ? b : box.inSpace,
            sourceOffset: toBatch ? box.fromSpace : box.fromBatch,
            targetOffset: toBatch ? box.fromBatch : box.fromSpace))
      }
    }
  }

  static let spaceToBatch: OpDef = OpDef(
    "SpaceToBatchND", "input: T, block_shape: Tblock_shape, paddings: Tpaddings -> output: T",
    "T: type; Tblock_shape: {int32, int64} = int32; Tpaddings: {int32, int64} = int32",
    summary: "Places within blocks of space moved into the batch.",
    infer: { ctx in try inferBatch(ctx, toBatch: true) },
    gradient: .rule { g in
      let dx = try g.graph.output(
        batchToSpace.name, inputs: [try g.gradient(), g.input(1), g.input(2)])
      return [.dense(dx), nil, nil]
    },
    lowering: .kernel { ctx in try lowerBatch(ctx, toBatch: true) })

  static let batchToSpace: OpDef = OpDef(
    "BatchToSpaceND", "input: T, block_shape: Tblock_shape, crops: Tcrops -> output: T",
    "T: type; Tblock_shape: {int32, int64} = int32; Tcrops: {int32, int64} = int32",
    summary: "The batch moved into places within blocks of space.",
    infer: { ctx in try inferBatch(ctx, toBatch: false) },
    gradient: .rule { g in
      let dx = try g.graph.output(
        spaceToBatch.name, inputs: [try g.gradient(), g.input(1), g.input(2)])
      return [.dense(dx), nil, nil]
    },
    lowering: .kernel { ctx in try lowerBatch(ctx, toBatch: false) })

  static let all = [spaceToDepth, depthToSpace, spaceToBatch, batchToSpace]
}

/// Blocks of `block` x `block` pixels of `[N, H, W, C]` moved into channels:
/// `[N, H / block, W / block, C * block * block]`. TensorFlow's SpaceToDepth.
public func spaceToDepth(
  _ x: Output, block: Int, name: String? = nil, file: StaticString = #fileID, line: UInt = #line
) throws -> Output {
  try x.graph.output(
    SpaceDepthRows.spaceToDepth.name, name: name, inputs: [x],
    attrs: ["block_size": .int(Int64(block))], file: file, line: line)
}

/// The inverse of `spaceToDepth`. TensorFlow's DepthToSpace.
public func depthToSpace(
  _ x: Output, block: Int, name: String? = nil, file: StaticString = #fileID, line: UInt = #line
) throws -> Output {
  try x.graph.output(
    SpaceDepthRows.depthToSpace.name, name: name, inputs: [x],
    attrs: ["block_size": .int(Int64(block))], file: file, line: line)
}

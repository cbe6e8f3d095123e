// Images at other sizes: ResizeBilinear, ResizeNearestNeighbor and their gradients.

internal import WeftGraph
internal import WeftKernels
internal import WeftTensors

/// How pixel places of one axis of a resized image map to the original.
private struct ResizeAxis: Sendable {
  let from: Int
  let to: Int
  let scale: Float
  let halfPixels: Bool
  let alignsCorners: Bool

  init(_ attrs: Attrs, from: Int, to: Int) throws {
    self.from = from
    self.to = to
    halfPixels = try attrs.bool("half_pixel_centers")
    alignsCorners = try attrs.bool("align_corners")
    scale = alignsCorners && to > 1 ? Float(from - 1) / Float(to - 1) : Float(from) / Float(to)
  }

  /// The place in the original of pixel `i`, as a fraction.
  func place(_ i: Int) -> Float {
    halfPixels ? (Float(i) + 0.5) * scale - 0.5 : Float(i) * scale
  }

  /// The two neighbours of pixel `i` and the share of the second.
  func neighbours(_ i: Int) -> (low: Int, high: Int, share: Float) {
    let at = place(i)
    let floor = at.rounded(.down)
    let low = max(Int(floor), 0)
    let high = min(Int(at.rounded(.up)), from - 1)
    return (min(low, from - 1), max(0, high), at - floor)
  }

  /// The nearest pixel to pixel `i`.
  func nearest(_ i: Int) -> Int {
    let at = halfPixels ? (Float(i) + 0.5) * scale : Float(i) * scale
    let whole = alignsCorners ? at.rounded(.toNearestOrAwayFromZero) : at.rounded(.down)
    return max(0, min(Int(whole), from - 1))
  }
}

enum ResizeRows {
  private static let flags = "align_corners: bool = false; half_pixel_centers: bool = false"

  private static func infer(_ ctx: InferContext) throws -> [Shape] {
    let dims = try ctx.shape(0, rank: 4)
    guard try ctx.shape(1, rank: 1)[0].isCompatible(with: 2) else {
      throw ctx.error("needs a size of two numbers, got shape \(ctx.shape(1))")
    }
    if try ctx.attrs.bool("half_pixel_centers"), try ctx.attrs.bool("align_corners") {
      throw ctx.error("cannot have both align_corners and half_pixel_centers")
    }
    let size = ctx.value(1) ?? [.unknown, .unknown]
    for case .known(let n) in size where n <= 0 {
      throw ctx.error("output dimensions must be positive: \(Shape(dims: size))")
    }
    return [Shape(dims: [dims[0], size[0], size[1], dims[3]])]
  }

  private static func asFloat<Element: TensorElement>(
    _: Element.Type, _ convert: @escaping @Sendable (Element) -> Float
  ) -> @Sendable (UnsafeRawPointer, Int) -> Float {
    { base, i in convert(base.assumingMemoryBound(to: Element.self)[i]) }
  }

  private static func reader(_ dtype: DType) -> (@Sendable (UnsafeRawPointer, Int) -> Float)? {
    switch dtype {
    case .float32: return asFloat(Float.self) { $0 }
    case .float64: return asFloat(Double.self) { Float($0) }
    case .int8: return asFloat(Int8.self) { Float($0) }
    case .uint8: return asFloat(UInt8.self) { Float($0) }
    case .int16: return asFloat(Int16.self) { Float($0) }
    case .uint16: return asFloat(UInt16.self) { Float($0) }
    case .int32: return asFloat(Int32.self) { Float($0) }
    case .int64: return asFloat(Int64.self) { Float($0) }
    case .bfloat16: return asFloat(BFloat16.self) { $0.float }
    #if !(os(macOS) && arch(x86_64))
      case .float16: return asFloat(Float16.self) { Float($0) }
    #endif
    default: return nil
    }
  }

  static let bilinear: OpDef = OpDef(
    "ResizeBilinear", "images: T, size: int32 -> resized_images: float",
    "T: {int8, uint8, int16, uint16, int32, int64, bfloat16, half, float, double, bfloat16}; "
      + flags,
    summary: "Images resized by linear interpolation.", infer: { ctx in try infer(ctx) },
    gradient: .rule { g in
      let dx = try g.graph.output(
        bilinearGrad.name, inputs: [try g.gradient(), g.input(0)],
        attrs: g.node.attrs.filter {
          $0.key == "align_corners" || $0.key == "half_pixel_centers"
        })
      return [.dense(dx), nil]
    },
    lowering: .kernel { ctx in
      let shape = ctx.shape(0)
      let out = ctx.outputShape(0)
      guard let read = reader(ctx.dtype(0)) else { throw ctx.unsupported(ctx.dtype(0)) }
      let rows = try ResizeAxis(ctx.attrs, from: shape[1], to: out[1])
      let columns = try ResizeAxis(ctx.attrs, from: shape[2], to: out[2])
      if product(shape) == 0 && product(out) > 0 {
        throw ctx.error("needs an image of at least one pixel")
      }
      return Kernel("resizeBilinear") { call in
        let x = call.rawInput(0)
        let y = call.output(0, as: Float.self)
        let channels = out[3]
        for b in 0..<out[0] {
          for i in 0..<out[1] {
            let r = rows.neighbours(i)
            for j in 0..<out[2] {
              let c = columns.neighbours(j)
              let top = ((b * shape[1] + r.low) * shape[2]) * channels
              let bottom = ((b * shape[1] + r.high) * shape[2]) * channels
              for k in 0..<channels {
                let tl = read(x, top + c.low * channels + k)
                let tr = read(x, top + c.high * channels + k)
                let bl = read(x, bottom + c.low * channels + k)
                let br = read(x, bottom + c.high * channels + k)
                let above = tl + (tr - tl) * c.share
                let below = bl + (br - bl) * c.share
                y[((b * out[1] + i) * out[2] + j) * channels + k] =
                  above + (below - above) * r.share
              }
            }
          }
        }
      }
    })

  private static func lowerBilinearGrad<Element: BinaryFloatingPoint & TensorElement>(
    _: Element.Type, _ ctx: LowerContext
  ) throws -> Kernel {
    let from = ctx.shape(0)
    let shape = ctx.outputShape(0)
    let rows = try ResizeAxis(ctx.attrs, from: shape[1], to: from[1])
    let columns = try ResizeAxis(ctx.attrs, from: shape[2], to: from[2])
    let total = product(shape)
    return Kernel(ctx.kernelName("resizeBilinearGrad", Element.dtype)) { call in
      let dy = call.input(0, as: Float.self)
      let dx = call.output(0, as: Element.self)
      for i in 0..<total { dx[i] = 0 }
      if total == 0 { return }
      let channels = shape[3]
      for b in 0..<from[0] {
        for i in 0..<from[1] {
          let r = rows.neighbours(i)
          for j in 0..<from[2] {
            let c = columns.neighbours(j)
            let top = (b * shape[1] + r.low) * shape[2]
            let bottom = (b * shape[1] + r.high) * shape[2]
            for k in 0..<channels {
              let g = dy[((b * from[1] + i) * from[2] + j) * channels + k]
              let above = g * (1 - r.share)
              let below = g * r.share
              dx[(top + c.low) * channels + k] += Element(above * (1 - c.share))
              dx[(top + c.high) * channels + k] += Element(above * c.share)
              dx[(bottom + c.low) * channels + k] += Element(below * (1 - c.share))
              dx[(bottom + c.high) * channels + k] += Element(below * c.share)
            }
          }
        }
      }
    }
  }

  static let bilinearGrad: OpDef = OpDef(
    "ResizeBilinearGrad", "grads: float, original_image: T -> output: T",
    "T: {float, bfloat16, half, double}; " + flags,
    summary: "The gradient of ResizeBilinear with respect to its images.",
    infer: { ctx in
      let dy = try ctx.shape(0, rank: 4)
      let x = try ctx.shape(1, rank: 4)
      return [
        Shape(dims: [
          try ctx.merge(dy[0], x[0], "batch sizes"), x[1], x[2],
          try ctx.merge(dy[3], x[3], "channels"),
        ])
      ]
    },
    gradient: .none("it has no second derivative here"),
    lowering: .kernel { ctx in
      switch ctx.dtype(1) {
      case .float32: return try lowerBilinearGrad(Float.self, ctx)
      case .float64: return try lowerBilinearGrad(Double.self, ctx)
      #if !(os(macOS) && arch(x86_64))
        case .float16: return try lowerBilinearGrad(Float16.self, ctx)
      #endif
      default: throw ctx.unsupported(ctx.dtype(1))
      }
    })

  static let nearest: OpDef = OpDef(
    "ResizeNearestNeighbor", "images: T, size: int32 -> resized_images: T",
    "T: {int8, uint8, int16, uint16, int32, int64, half, float, double, bfloat16}; " + flags,
    summary: "Images resized by taking the nearest pixel.", infer: { ctx in try infer(ctx) },
    gradient: .rule { g in
      let x = g.input(0)
      let size =
        if let shape = x.shape.known {
          try g.graph.constant(integers: Array(shape[1..<3]))
        } else {
          try x.shapeTensor().sliced(begin: [1], size: [2])
        }
      let dx = try g.graph.output(
        nearestGrad.name, inputs: [try g.gradient(), size],
        attrs: g.node.attrs.filter {
          $0.key == "align_corners" || $0.key == "half_pixel_centers"
        })
      return [.dense(dx), nil]
    },
    lowering: .kernel { ctx in
      let shape = ctx.shape(0)
      let out = ctx.outputShape(0)
      let rows = try ResizeAxis(ctx.attrs, from: shape[1], to: out[1])
      let columns = try ResizeAxis(ctx.attrs, from: shape[2], to: out[2])
      if product(shape) == 0 && product(out) > 0 {
        throw ctx.error("needs an image of at least one pixel")
      }
      let map = product(out) == 0 ? [] : pixelMap(batch: out[0], rows, columns)
      let gather = RowGather(
        batch: 1, outer: 1, axis: shape[0] * shape[1] * shape[2], count: map.count,
        rowBytes: shape[3] * ctx.dtype(0).byteSize)
      return Kernel(ctx.kernelName("resizeNearest", ctx.dtype(0))) { call in
        map.withUnsafeBufferPointer { indices in
          if let first = indices.baseAddress {
            gather.run(call.rawInput(0), first, call.rawOutput(0), call.pool)
          }
        }
      }
    })

  // For each resized pixel, the original pixel it shows.
  private static func pixelMap(
    batch: Int, _ rows: ResizeAxis, _ columns: ResizeAxis
  ) -> [Int] {
    var map: [Int] = []
    for b in 0..<batch {
      for i in 0..<rows.to {
        let row = (b * rows.from + rows.nearest(i)) * columns.from
        for j in 0..<columns.to { map.append(row + columns.nearest(j)) }
      }
    }
    return map
  }

  private static func lowerNearestGrad<Element: ScatterElement>(
    _: Element.Type, _ ctx: LowerContext, _ map: [Int], _ channels: Int
  ) -> Kernel {
    let bytes = ctx.outputCount(0) * MemoryLayout<Element>.stride
    return Kernel(ctx.kernelName("resizeNearestGrad", ctx.dtype(0))) { call in
      call.rawOutput(0).initializeMemory(as: UInt8.self, repeating: 0, count: bytes)
      let dy = call.input(0, as: Element.self)
      let dx = call.output(0, as: Element.self)
      for (i, at) in map.enumerated() {
        for k in 0..<channels {
          dx[at * channels + k] = dx[at * channels + k].scattered(.add, dy[i * channels + k])
        }
      }
    }
  }

  static let nearestGrad: OpDef = OpDef(
    "ResizeNearestNeighborGrad", "grads: T, size: int32 -> output: T",
    "T: {uint8, int8, int32, half, float, double, bfloat16}; " + flags,
    summary: "The gradient of ResizeNearestNeighbor with respect to its images.",
    infer: { ctx in try infer(ctx) },
    gradient: .rule { g in
      let dy = g.input(0)
      let size =
        if let shape = dy.shape.known {
          try g.graph.constant(integers: Array(shape[1..<3]))
        } else {
          try dy.shapeTensor().sliced(begin: [1], size: [2])
        }
      let dx = try g.graph.output(
        nearest.name, inputs: [try g.gradient(), size],
        attrs: g.node.attrs.filter {
          $0.key == "align_corners" || $0.key == "half_pixel_centers"
        })
      return [.dense(dx), nil]
    },
    lowering: .kernel { ctx in
      let from = ctx.shape(0)
      let shape = ctx.outputShape(0)
      let rows = try ResizeAxis(ctx.attrs, from: shape[1], to: from[1])
      let columns = try ResizeAxis(ctx.attrs, from: shape[2], to: from[2])
      let map = product(shape) == 0 ? [] : pixelMap(batch: from[0], rows, columns)
      let kernel = try withScatterType(ctx.dtype(0)) { type in
        lowerNearestGrad(type, ctx, map, shape[3])
      }
      guard let kernel else { throw ctx.unsupported(ctx.dtype(0)) }
      return kernel
    })

  static let all = [bilinear, bilinearGrad, nearest, nearestGrad]
}

// Convolution and its two gradients as matrix products over patches.

package import WeftTensors

/// What a convolution kernel computes.
package enum ConvolutionPart: Sendable {
  /// Output from input and filter.
  case forward
  /// Input gradient from filter and output gradient.
  case input
  /// Filter gradient from input and output gradient.
  case filter
}

/// Convolution loops. Operands `a`, `b` and the result, by part: input, filter -> output;
/// output gradient, filter -> input gradient; input, output gradient -> filter gradient.
package enum ConvolutionKernels {
  /// Bytes of scratch memory that `run` needs.
  package static func scratchBytes(
    _ part: ConvolutionPart, _ dtype: DType, _ g: ConvolutionGeometry
  ) -> Int {
    let size = dtype == .float64 ? 8 : 4
    var count: Int
    switch part {
    case .forward: count = g.isPointwise ? 0 : g.forwardPieces * g.tileCount
    case .input: count = g.imagePieces * g.tileCount
    case .filter: count = g.filterPieces * (g.tileCount + g.filterCount)
    }
    if isNarrow(dtype) { count += g.inputCount + g.outputCount + g.filterCount + 64 }
    return count * size
  }

  private static func isNarrow(_ dtype: DType) -> Bool { dtype == .float16 || dtype == .bfloat16 }

  /// Runs one part; false for a type without such a kernel.
  package static func run(
    _ part: ConvolutionPart, _ dtype: DType, _ g: ConvolutionGeometry, _ a: UnsafeRawPointer,
    _ b: UnsafeRawPointer, _ out: UnsafeMutableRawPointer, scratch: UnsafeMutableRawPointer,
    pool: ThreadPool
  ) -> Bool {
    switch dtype {
    case .float32: run(part, g, Float.self, a, b, out, scratch, pool)
    case .float64: run(part, g, Double.self, a, b, out, scratch, pool)
    case .int32:
      if part == .filter { return false }
      integers(part, g, a, b, out, pool)
    case .bfloat16: narrow(part, g, BFloat16.self, a, b, out, scratch, pool)
    #if !(os(macOS) && arch(x86_64))
      case .float16: narrow(part, g, Float16.self, a, b, out, scratch, pool)
    #endif
    default: return false
    }
    return true
  }

  // 16-bit types: through float copies of everything.
  private static func narrow<E: RealElement>(
    _ part: ConvolutionPart, _ g: ConvolutionGeometry, _: E.Type, _ a: UnsafeRawPointer,
    _ b: UnsafeRawPointer, _ out: UnsafeMutableRawPointer, _ scratch: UnsafeMutableRawPointer,
    _ pool: ThreadPool
  ) where E.Wide == Float {
    let countA = part == .input ? g.outputCount : g.inputCount
    let countB = part == .filter ? g.outputCount : g.filterCount
    let countOut: Int
    switch part {
    case .forward: countOut = g.outputCount
    case .input: countOut = g.inputCount
    case .filter: countOut = g.filterCount
    }
    let wideA = scratch.assumingMemoryBound(to: Float.self)
    let wideB = wideA + countA
    let wideOut = wideB + countB
    let rest = wideOut + countOut
    let (x, y) = (a.assumingMemoryBound(to: E.self), b.assumingMemoryBound(to: E.self))
    for i in 0..<countA { wideA[i] = x[i].wide }
    for i in 0..<countB { wideB[i] = y[i].wide }
    run(part, g, Float.self, wideA, wideB, wideOut, rest, pool)
    let to = out.assumingMemoryBound(to: E.self)
    for i in 0..<countOut { to[i] = E(wide: wideOut[i]) }
  }

  private static func run<E: BlasElement & StateNumber>(
    _ part: ConvolutionPart, _ g: ConvolutionGeometry, _: E.Type, _ a: UnsafeRawPointer,
    _ b: UnsafeRawPointer, _ out: UnsafeMutableRawPointer, _ scratch: UnsafeMutableRawPointer,
    _ pool: ThreadPool
  ) {
    let (x, y) = (a.assumingMemoryBound(to: E.self), b.assumingMemoryBound(to: E.self))
    let to = out.assumingMemoryBound(to: E.self)
    let memory = scratch.assumingMemoryBound(to: E.self)
    switch part {
    case .forward: forward(g, x, y, to, memory, pool)
    case .input: inputGradient(g, x, y, to, memory, pool)
    case .filter: filterGradient(g, x, y, to, memory, pool)
    }
  }

  private static func forward<E: BlasElement & StateNumber>(
    _ g: ConvolutionGeometry, _ input: UnsafePointer<E>, _ filter: UnsafePointer<E>,
    _ out: UnsafeMutablePointer<E>, _ scratch: UnsafeMutablePointer<E>, _ pool: ThreadPool
  ) {
    let (m, n, k) = (g.outSpatial, g.outChannels, g.patch)
    if g.outputCount == 0 { return }
    if k == 0 {
      for i in 0..<g.outputCount { out[i] = E.zeroValue }
      return
    }
    if g.isPointwise {
      gemm(
        m: g.images * m, n: n, k: k, a: input, lda: k, b: filter, ldb: n, c: out, ldc: n,
        pool: pool)
      return
    }
    let pieces = g.forwardPieces
    pool.parallel(pieces) { piece in
      let patches = scratch + piece * g.tileCount
      for tile in (piece * g.tiles / pieces)..<((piece + 1) * g.tiles / pieces) {
        let (image, lower, upper) = g.tile(tile)
        for group in 0..<g.groups {
          g.gatherPatches(input, image: image, group: group, lower, upper, patches)
          let weights = filter + group * g.groupOut
          if g.channelsFirst {
            E.blasMultiply(
              true, true, g.groupOut, upper - lower, k, 1, weights, n, patches, k, 0,
              out + (image * n + group * g.groupOut) * m + lower, m)
          } else {
            E.blasMultiply(
              false, false, upper - lower, g.groupOut, k, 1, patches, k, weights, n, 0,
              out + (image * m + lower) * n + group * g.groupOut, n)
          }
        }
      }
    }
  }

  private static func inputGradient<E: BlasElement & StateNumber>(
    _ g: ConvolutionGeometry, _ dy: UnsafePointer<E>, _ filter: UnsafePointer<E>,
    _ dx: UnsafeMutablePointer<E>, _ scratch: UnsafeMutablePointer<E>, _ pool: ThreadPool
  ) {
    let (m, n, k) = (g.outSpatial, g.outChannels, g.patch)
    let pieces = g.imagePieces
    let perImage = g.inSpatial * g.inChannels
    pool.parallel(pieces) { piece in
      let patches = scratch + piece * g.tileCount
      for image in (piece * g.images / pieces)..<((piece + 1) * g.images / pieces) {
        for i in 0..<perImage { dx[image * perImage + i] = E.zeroValue }
        if m == 0 || n == 0 || k == 0 { continue }
        for tile in (image * g.tilesPerImage)..<((image + 1) * g.tilesPerImage) {
          let (_, lower, upper) = g.tile(tile)
          for group in 0..<g.groups {
            let weights = filter + group * g.groupOut
            if g.channelsFirst {
              E.blasMultiply(
                true, true, upper - lower, k, g.groupOut, 1,
                dy + (image * n + group * g.groupOut) * m + lower, m, weights, n, 0, patches, k)
            } else {
              E.blasMultiply(
                false, true, upper - lower, k, g.groupOut, 1,
                dy + (image * m + lower) * n + group * g.groupOut, n, weights, n, 0, patches, k)
            }
            g.scatterPatches(patches, image: image, group: group, lower, upper, dx)
          }
        }
      }
    }
  }

  private static func filterGradient<E: BlasElement & StateNumber>(
    _ g: ConvolutionGeometry, _ input: UnsafePointer<E>, _ dy: UnsafePointer<E>,
    _ df: UnsafeMutablePointer<E>, _ scratch: UnsafeMutablePointer<E>, _ pool: ThreadPool
  ) {
    let (m, n, k) = (g.outSpatial, g.outChannels, g.patch)
    let count = g.filterCount
    let pieces = g.filterPieces
    if count == 0 { return }
    // Each piece sums its tiles; the pieces are then added in order.
    let partial = scratch + pieces * g.tileCount
    pool.parallel(pieces) { piece in
      let patches = scratch + piece * g.tileCount
      let sum = partial + piece * count
      for i in 0..<count { sum[i] = E.zeroValue }
      for tile in (piece * g.tiles / pieces)..<((piece + 1) * g.tiles / pieces) {
        let (image, lower, upper) = g.tile(tile)
        for group in 0..<g.groups {
          g.gatherPatches(input, image: image, group: group, lower, upper, patches)
          if g.channelsFirst {
            E.blasMultiply(
              true, true, k, g.groupOut, upper - lower, 1, patches, k,
              dy + (image * n + group * g.groupOut) * m + lower, m, 1, sum + group * g.groupOut, n)
          } else {
            E.blasMultiply(
              true, false, k, g.groupOut, upper - lower, 1, patches, k,
              dy + (image * m + lower) * n + group * g.groupOut, n, 1, sum + group * g.groupOut, n)
          }
        }
      }
    }
    for i in 0..<count {
      var total = partial[i]
      for piece in 1..<max(1, pieces) { total += partial[piece * count + i] }
      df[i] = total
    }
  }

  // int32, which no BLAS knows: plain loops, sums wrap.
  private static func integers(
    _ part: ConvolutionPart, _ g: ConvolutionGeometry, _ a: UnsafeRawPointer,
    _ b: UnsafeRawPointer, _ out: UnsafeMutableRawPointer, _ pool: ThreadPool
  ) {
    let x = a.assumingMemoryBound(to: Int32.self)
    let f = b.assumingMemoryBound(to: Int32.self)
    let y = out.assumingMemoryBound(to: Int32.self)
    let (d, h, w) = (g.axes[0], g.axes[1], g.axes[2])
    let (m, n) = (g.outSpatial, g.outChannels)
    func inPlace(_ image: Int, _ place: Int, _ c: Int) -> Int {
      g.channelsFirst
        ? (image * g.inChannels + c) * g.inSpatial + place
        : (image * g.inSpatial + place) * g.inChannels + c
    }
    func outPlace(_ image: Int, _ position: Int, _ o: Int) -> Int {
      g.channelsFirst ? (image * n + o) * m + position : (image * m + position) * n + o
    }
    let total = part == .forward ? g.outputCount : g.inputCount
    for i in 0..<total { y[i] = 0 }
    for image in 0..<g.images {
      for position in 0..<m {
        let (px, py) = (position % w.output, position / w.output % h.output)
        let pz = position / (w.output * h.output)
        for kd in 0..<d.kernel {
          guard let sd = d.source(pz, kd) else { continue }
          for kh in 0..<h.kernel {
            guard let sh = h.source(py, kh) else { continue }
            for kw in 0..<w.kernel {
              guard let sw = w.source(px, kw) else { continue }
              let place = (sd * h.input + sh) * w.input + sw
              let tap = (kd * h.kernel + kh) * w.kernel + kw
              for o in 0..<n {
                let first = o / max(1, g.groupOut) * g.groupIn
                let at = outPlace(image, position, o)
                for c in 0..<g.groupIn {
                  let weight = f[(tap * g.groupIn + c) * n + o]
                  let from = inPlace(image, place, first + c)
                  if part == .forward {
                    y[at] &+= x[from] &* weight
                  } else {
                    y[from] &+= x[at] &* weight
                  }
                }
              }
            }
          }
        }
      }
    }
  }
}

// Bias vectors along a channel axis, and sums over all other axes.

internal import CWeftVectorMath
package import WeftTensors

/// A tensor seen as [outer, channels, inner].
package struct ChannelLayout: Sendable {
  let outer: Int
  let channels: Int
  let inner: Int
  /// `outer` times `channels` runs of `inner` elements.
  package init(outer: Int, channels: Int, inner: Int) {
    self.outer = outer
    self.channels = channels
    self.inner = inner
  }
}

/// Bias loops.
package enum BiasKernels {
  /// y = x + bias; x may be y. False for a type without arithmetic.
  package static func add(
    _ dtype: DType, _ x: UnsafeRawPointer, bias: UnsafeRawPointer, _ y: UnsafeMutableRawPointer,
    _ layout: ChannelLayout, pool: ThreadPool
  ) -> Bool {
    let (channels, inner) = (layout.channels, layout.inner)
    let perRow = channels * inner
    if perRow == 0 { return true }
    let grain = max(1, 16_384 / perRow)
    func run<E: StateNumber>(_: E.Type, _ lo: Int, _ hi: Int) {
      let b = bias.assumingMemoryBound(to: E.self)
      for row in lo..<hi {
        for c in 0..<channels {
          let from = x.assumingMemoryBound(to: E.self) + (row * channels + c) * inner
          let to = y.assumingMemoryBound(to: E.self) + (row * channels + c) * inner
          let value = b[c]
          for i in 0..<inner { to[i] = E.plus(from[i], value) }
        }
      }
    }
    switch dtype {
    case .float32:
      let from = x.assumingMemoryBound(to: Float.self)
      let to = y.assumingMemoryBound(to: Float.self)
      let b = bias.assumingMemoryBound(to: Float.self)
      pool.split(layout.outer, grain: grain) { lo, hi in
        if inner == 1 {
          weft_add_bias_f32(
            from + lo * perRow, perRow, b, to + lo * perRow, perRow, hi - lo, channels)
        } else {
          for row in (lo * channels)..<(hi * channels) {
            weft_add_scalar_f32(from + row * inner, b[row % channels], to + row * inner, inner)
          }
        }
      }
    case .float64:
      let from = x.assumingMemoryBound(to: Double.self)
      let to = y.assumingMemoryBound(to: Double.self)
      let b = bias.assumingMemoryBound(to: Double.self)
      pool.split(layout.outer, grain: grain) { lo, hi in
        if inner == 1 {
          weft_add_bias_f64(
            from + lo * perRow, perRow, b, to + lo * perRow, perRow, hi - lo, channels)
        } else {
          run(Double.self, lo, hi)
        }
      }
    default:
      guard let type = stateNumberType(dtype) else { return false }
      run(type, 0, layout.outer)
    }
    return true
  }

  // Channels that make enough tasks by themselves: each is then summed row by row, as TensorFlow
  // does. (Blocks of rows are five times more exact under thousands of rows, but differ from it.)
  private static let wideEnough = 1_024
  private static let strip = 256

  // Blocks of rows with sums of their own: as the shape alone says, so that bits do not depend on
  // threads.
  private static func blocks(_ layout: ChannelLayout) -> Int {
    guard layout.inner == 1, layout.channels > 0, layout.channels < wideEnough else { return 1 }
    return max(1, min(32, layout.outer * layout.channels / 65_536))
  }

  /// Scratch memory that `sum` needs.
  package static func scratchBytes(_ dtype: DType, _ layout: ChannelLayout) -> Int {
    blocks(layout) * layout.channels * max(4, dtype.byteSize)
  }

  /// out[c] = sum of x over outer and inner.
  package static func sum(
    _ dtype: DType, _ x: UnsafeRawPointer, _ out: UnsafeMutableRawPointer, _ layout: ChannelLayout,
    scratch: UnsafeMutableRawPointer, pool: ThreadPool
  ) -> Bool {
    let (outer, channels, inner) = (layout.outer, layout.channels, layout.inner)
    func zero<E: StateNumber>(_ to: UnsafeMutablePointer<E>, _ n: Int) {
      for i in 0..<n { to[i] = E.zeroValue }
    }
    // In strips of channels, or rows within blocks and then the blocks' sums in order.
    func byBlocks<E: StateNumber>(
      _: E.Type,
      _ addRows: (UnsafePointer<E>, Int, UnsafeMutablePointer<E>, Int, Int) -> Void
    ) {
      let from = x.assumingMemoryBound(to: E.self)
      let partial = scratch.assumingMemoryBound(to: E.self)
      let to = out.assumingMemoryBound(to: E.self)
      let count = blocks(layout)
      if count == 1 {
        zero(to, channels)
        pool.split(channels, grain: channels < wideEnough ? channels : strip) { lo, hi in
          addRows(from + lo, channels, to + lo, outer, hi - lo)
        }
        return
      }
      pool.parallel(count) { block in
        let (lo, hi) = (block * outer / count, (block + 1) * outer / count)
        zero(partial + block * channels, channels)
        addRows(from + lo * channels, channels, partial + block * channels, hi - lo, channels)
      }
      zero(to, channels)
      addRows(UnsafePointer(partial), channels, to, count, channels)
    }
    func byRuns<E: StateNumber>(
      _: E.Type, _ total: (UnsafePointer<E>, Int) -> E
    ) {
      let from = x.assumingMemoryBound(to: E.self)
      let to = out.assumingMemoryBound(to: E.self)
      pool.split(channels, grain: max(1, 16_384 / max(1, outer * inner))) { lo, hi in
        for c in lo..<hi {
          var sum = E.zeroValue
          for row in 0..<outer {
            sum = E.plus(sum, total(from + (row * channels + c) * inner, inner))
          }
          to[c] = sum
        }
      }
    }
    func narrow<E: RealElement>(_: E.Type) {
      let from = x.assumingMemoryBound(to: E.self)
      for c in 0..<channels {
        var sum: E.Wide = 0
        for row in 0..<outer {
          let run = from + (row * channels + c) * inner
          for i in 0..<inner { sum += run[i].wide }
        }
        out.assumingMemoryBound(to: E.self)[c] = E(wide: sum)
      }
    }
    func plain<E: StateNumber>(_: E.Type) {
      byRuns(E.self) { run, n in
        var sum = E.zeroValue
        for i in 0..<n { sum = E.plus(sum, run[i]) }
        return sum
      }
    }
    switch dtype {
    case .float32 where inner == 1:
      byBlocks(Float.self) { weft_add_rows_f32($0, $1, $2, $3, $4) }
    case .float64 where inner == 1:
      byBlocks(Double.self) { weft_add_rows_f64($0, $1, $2, $3, $4) }
    case .float32: byRuns(Float.self) { weft_sum_f32($0, $1) }
    case .float64: byRuns(Double.self) { weft_sum_f64($0, $1) }
    case .bfloat16: narrow(BFloat16.self)
    #if !(os(macOS) && arch(x86_64))
      case .float16: narrow(Float16.self)
    #endif
    default:
      guard let type = stateNumberType(dtype) else { return false }
      plain(type)
    }
    return true
  }
}

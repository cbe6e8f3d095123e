// Random fills from Philox streams, cut into pieces that do not change the numbers.

internal import CWeftVectorMath
package import WeftTensors

/// A point in a Philox stream: a 64-bit key and a 128-bit counter.
package struct PhiloxStream: Sendable {
  /// The key.
  package var key: UInt64
  /// The counter's lower and upper half.
  package var low: UInt64
  package var high: UInt64

  /// The stream at this key and counter.
  package init(key: UInt64, low: UInt64 = 0, high: UInt64 = 0) {
    self.key = key
    self.low = low
    self.high = high
  }

  /// The stream of a stateless op with these seeds.
  package static func stateless(_ seed0: UInt64, _ seed1: UInt64) -> PhiloxStream {
    let s = weft_philox_stateless_seed(seed0, seed1)
    func join(_ lo: UInt32, _ hi: UInt32) -> UInt64 { UInt64(hi) << 32 | UInt64(lo) }
    return PhiloxStream(
      key: join(s.key.0, s.key.1), low: join(s.counter.0, s.counter.1),
      high: join(s.counter.2, s.counter.3))
  }

  /// The stream of a node without seeds: keyed by session and name, with a counter space of its
  /// own for each run.
  package static func named(_ name: String, sessionSeed: UInt64, run: UInt64) -> PhiloxStream {
    // FNV-1a over the name, mixed with the seed by splitmix64's finalizer.
    var hash: UInt64 = 0xcbf2_9ce4_8422_2325
    for byte in name.utf8 { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01b3 }
    var z = hash &+ sessionSeed &* 0x9e37_79b9_7f4a_7c15
    z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
    z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
    return PhiloxStream(key: z ^ (z >> 31), high: run)
  }

  /// `groups` counter values further on.
  package func skipping(_ groups: UInt64) -> PhiloxStream {
    var next = self
    let (sum, carry) = low.addingReportingOverflow(groups)
    next.low = sum
    if carry { next.high = high &+ 1 }
    return next
  }

  var state: weft_philox {
    func lo(_ x: UInt64) -> UInt32 { UInt32(truncatingIfNeeded: x) }
    func hi(_ x: UInt64) -> UInt32 { UInt32(truncatingIfNeeded: x >> 32) }
    return weft_philox(
      key: (lo(key), hi(key)), counter: (lo(low), hi(low), lo(high), hi(high)))
  }
}

/// Which numbers to draw.
package enum RandomKind: Sendable {
  case uniform, normal, truncatedNormal
}

/// Fills with random numbers.
package enum RandomKernels {
  /// Fills `count` elements of a float type; false for other types.
  package static func fill(
    _ kind: RandomKind, _ dtype: DType, _ stream: PhiloxStream, _ out: UnsafeMutableRawPointer,
    count: Int, pool: ThreadPool
  ) -> Bool {
    guard dtype.isFloating else { return false }
    let each = dtype == .float64 ? 2 : 4
    let stride: UInt64 = kind == .truncatedNormal ? (dtype == .float64 ? 128 : 256) : 1
    let groups = count / each + (count % each == 0 ? 0 : 1)
    pool.split(groups, grain: 4_096) { lo, hi in
      let first = lo * each
      let n = min(count, hi * each) - first
      let here = stream.skipping(UInt64(lo) &* stride)
      switch dtype {
      case .float32:
        fillFloats(kind, here, out.assumingMemoryBound(to: Float.self) + first, n)
      case .float64:
        let to = out.assumingMemoryBound(to: Double.self) + first
        switch kind {
        case .uniform: weft_philox_uniform_f64(here.state, to, n)
        case .normal: weft_philox_normal_f64(here.state, to, n)
        case .truncatedNormal: weft_philox_truncated_normal_f64(here.state, to, n)
        }
      case .bfloat16:
        fillNarrow(
          kind, here, stride, out.assumingMemoryBound(to: BFloat16.self) + first, n,
          uniform: { BFloat16(BFloat16(bitPattern: 0x3f80 | UInt16($0 & 0x7f)).float - 1) })
      default:
        #if !(os(macOS) && arch(x86_64))
          fillNarrow(
            kind, here, stride, out.assumingMemoryBound(to: Float16.self) + first, n,
            uniform: { Float16(bitPattern: 0x3c00 | UInt16($0 & 0x3ff)) - 1 })
        #endif
      }
    }
    return true
  }

  private static func fillFloats(
    _ kind: RandomKind, _ stream: PhiloxStream, _ out: UnsafeMutablePointer<Float>, _ n: Int
  ) {
    switch kind {
    case .uniform: weft_philox_uniform_f32(stream.state, out, n)
    case .normal: weft_philox_normal_f32(stream.state, out, n)
    case .truncatedNormal: weft_philox_truncated_normal_f32(stream.state, out, n)
    }
  }

  // 16-bit types: normals are float's, rounded; uniforms take the low bits of each word.
  private static func fillNarrow<E: RealElement>(
    _ kind: RandomKind, _ stream: PhiloxStream, _ stride: UInt64, _ out: UnsafeMutablePointer<E>,
    _ n: Int, uniform: (UInt32) -> E
  ) where E.Wide == Float {
    let chunk = 1_024
    var start = 0
    while start < n {
      let size = min(chunk, n - start)
      let here = stream.skipping(UInt64(start / 4) &* stride)
      if kind == .uniform {
        withUnsafeTemporaryAllocation(of: UInt32.self, capacity: chunk) { words in
          guard let base = words.baseAddress else { return }
          weft_philox_fill_u32(here.state, base, size)
          for i in 0..<size { out[start + i] = uniform(base[i]) }
        }
      } else {
        withUnsafeTemporaryAllocation(of: Float.self, capacity: chunk) { floats in
          guard let base = floats.baseAddress else { return }
          fillFloats(kind, here, base, size)
          for i in 0..<size { out[start + i] = E(wide: base[i]) }
        }
      }
      start += size
    }
  }

  /// Fills with int32 or int64 in `low ..< high`, `low < high`.
  package static func fillIntegers(
    _ dtype: DType, low: Int64, high: Int64, _ stream: PhiloxStream,
    _ out: UnsafeMutableRawPointer, count: Int
  ) {
    if dtype == .int64 {
      weft_philox_uniform_i64(
        stream.state, low, UInt64(bitPattern: high &- low),
        out.assumingMemoryBound(to: Int64.self), count)
    } else {
      weft_philox_uniform_i32(
        stream.state, Int32(truncatingIfNeeded: low), UInt32(truncatingIfNeeded: high &- low),
        out.assumingMemoryBound(to: Int32.self), count)
    }
  }
}

/// One 32-bit word after another from a stream.
struct PhiloxWords {
  private var stream: PhiloxStream
  private var group: (UInt32, UInt32, UInt32, UInt32) = (0, 0, 0, 0)
  private var used = 4

  init(_ stream: PhiloxStream) { self.stream = stream }

  mutating func next() -> UInt32 {
    if used == 4 {
      withUnsafeMutableBytes(of: &group) { bytes in
        guard let base = bytes.baseAddress else { return }
        weft_philox_fill_u32(stream.state, base.assumingMemoryBound(to: UInt32.self), 4)
      }
      stream = stream.skipping(1)
      used = 0
    }
    defer { used += 1 }
    return switch used {
    case 0: group.0
    case 1: group.1
    case 2: group.2
    default: group.3
    }
  }

  /// Uniform in [0, 1) with 52 random bits, two words each.
  mutating func nextDouble() -> Double {
    let high = next()
    let low = next()
    let mantissa = UInt64(high & 0xf_ffff) << 32 | UInt64(low)
    return Double(bitPattern: 1_023 << 52 | mantissa) - 1
  }
}

extension RandomKernels {
  /// A permutation of `0 ..< count` by Fisher and Yates, into `out`.
  package static func permutation(
    _ stream: PhiloxStream, _ out: UnsafeMutablePointer<Int>, count: Int
  ) {
    for i in 0..<count { out[i] = i }
    if count < 2 { return }
    var words = PhiloxWords(stream)
    for i in 0..<(count - 1) {
      let left = UInt32(truncatingIfNeeded: count - i)
      let j = i + Int(words.next() % max(1, left))
      let kept = out[i]
      out[i] = out[j]
      out[j] = kept
    }
  }

  // Tasks that `multinomial` shares its rows among.
  private static func multinomialTasks(rows: Int) -> Int { max(1, min(16, rows)) }

  // Doubles that each task of `multinomial` needs: sums, and log weights made wide.
  private static func multinomialRoom(classes: Int, _ dtype: DType) -> (sums: Int, wide: Int) {
    ((classes + 15) / 16, dtype == .float32 || dtype == .float64 ? 0 : classes)
  }

  /// The bytes of scratch memory that `multinomial` uses.
  package static func multinomialScratchBytes(rows: Int, classes: Int, _ dtype: DType) -> Int {
    let room = multinomialRoom(classes: classes, dtype)
    return 8 * (room.sums + room.wide) * multinomialTasks(rows: rows)
  }

  /// Draws `samples` classes for each row of unnormalized log probabilities, as Multinomial does.
  /// - Parameter scratch: memory of `multinomialScratchBytes`.
  package static func multinomial(
    _ stream: PhiloxStream, logits: UnsafeRawPointer, _ dtype: DType, rows: Int, classes: Int,
    samples: Int, out: UnsafeMutableRawPointer, isWide: Bool, scratch: UnsafeMutableRawPointer,
    pool: ThreadPool
  ) -> Bool {
    let room = multinomialRoom(classes: classes, dtype)
    // `sum` gives a row's log weights, their largest and the sum of their weights by the doubles it
    // gets; `find` the class where the sum exceeds a number.
    func run<E>(
      _ sum: (_ row: Int, _ doubles: UnsafeMutablePointer<Double>) -> (
        x: UnsafePointer<E>, largest: E, total: Double
      ),
      _ find: (UnsafePointer<E>, Int, E, UnsafePointer<Double>, Double) -> Int
    ) {
      let tasks = multinomialTasks(rows: rows)
      pool.parallel(tasks) { task in
        let doubles =
          scratch.assumingMemoryBound(to: Double.self) + task * (room.sums + room.wide)
        for row in task * rows / tasks..<(task + 1) * rows / tasks {
          let (x, largest, total) = sum(row, doubles)
          // Draw d takes the words 2 d and 2 d + 1 of the stream, four words to a counter.
          let first = row * samples
          var words = PhiloxWords(stream.skipping(UInt64(first / 2)))
          if first % 2 == 1 { _ = words.nextDouble() }
          for index in first..<first + samples {
            let found = find(x, classes, largest, doubles, words.nextDouble() * total)
            if isWide {
              out.assumingMemoryBound(to: Int64.self)[index] = Int64(found)
            } else {
              out.assumingMemoryBound(to: Int32.self)[index] = Int32(truncatingIfNeeded: found)
            }
          }
        }
      }
    }
    func runDoubles(
      _ rows: (_ row: Int, _ doubles: UnsafeMutablePointer<Double>) -> UnsafePointer<Double>
    ) {
      run(
        { row, doubles in
          let x = rows(row, doubles)
          var largest = 0.0
          let total = weft_draw_sums_f64(x, classes, &largest, doubles)
          return (x, largest, total)
        }, weft_draw_class_f64)
    }
    func run<E: StateNumber>(_: E.Type, _ wide: (E) -> Double) {
      let x = logits.assumingMemoryBound(to: E.self)
      runDoubles { row, doubles in
        let widened = doubles + room.sums
        for k in 0..<classes { widened[k] = wide(x[row * classes + k]) }
        return UnsafePointer(widened)
      }
    }
    switch dtype {
    case .float32:
      run(
        { row, sums in
          let x = logits.assumingMemoryBound(to: Float.self) + row * classes
          var largest: Float = 0
          let total = weft_draw_sums_f32(x, classes, &largest, sums)
          return (x, largest, total)
        }, weft_draw_class_f32)
    case .float64:
      runDoubles { row, _ in logits.assumingMemoryBound(to: Double.self) + row * classes }
    case .bfloat16: run(BFloat16.self) { Double($0.float) }
    #if !(os(macOS) && arch(x86_64))
      case .float16: run(Float16.self) { Double($0) }
    #endif
    case .int32: run(Int32.self) { Double($0) }
    case .int64: run(Int64.self) { Double($0) }
    case .int8: run(Int8.self) { Double($0) }
    case .int16: run(Int16.self) { Double($0) }
    case .uint8: run(UInt8.self) { Double($0) }
    case .uint16: run(UInt16.self) { Double($0) }
    case .uint32: run(UInt32.self) { Double($0) }
    case .uint64: run(UInt64.self) { Double($0) }
    default: return false
    }
    return true
  }

  /// Gamma samples by Marsaglia and Tsang, `perAlpha` for each alpha, laid out [perAlpha, alphas].
  package static func gamma(
    _ stream: PhiloxStream, _ dtype: DType, alphas: UnsafeRawPointer, alphaCount: Int,
    perAlpha: Int, out: UnsafeMutableRawPointer, pool: ThreadPool
  ) -> Bool {
    struct Task: RealTask {
      let stream: PhiloxStream
      let alphas: UnsafeRawPointer
      let alphaCount: Int
      let perAlpha: Int
      let out: UnsafeMutableRawPointer
      let pool: ThreadPool
      func run<E: RealElement>(_: E.Type) {
        let a = alphas.assumingMemoryBound(to: E.self)
        let y = out.assumingMemoryBound(to: E.self)
        let piece = 512
        pool.split(alphaCount * perAlpha, grain: piece) { lo, hi in
          withUnsafeTemporaryAllocation(of: Double.self, capacity: 2 * piece) { buffer in
            guard let shapes = buffer.baseAddress else { return }
            let samples = shapes + piece
            for first in stride(from: lo, to: hi, by: piece) {
              let count = min(piece, hi - first)
              for i in 0..<count {
                (shapes + i).initialize(to: Double(a[(first + i) / perAlpha].wide))
              }
              let here = stream.skipping(256 &* UInt64(first))
              if E.Wide.self == Double.self {
                weft_philox_gamma_f64(here.state, shapes, samples, count)
              } else {
                weft_philox_gamma_f32(here.state, shapes, samples, count)
              }
              for i in 0..<count {
                let (which, number) = ((first + i) / perAlpha, (first + i) % perAlpha)
                y[number * alphaCount + which] = E(wide: E.Wide(samples[i]))
              }
            }
          }
        }
      }
    }
    return withRealType(
      dtype,
      Task(
        stream: stream, alphas: alphas, alphaCount: alphaCount, perAlpha: perAlpha, out: out,
        pool: pool))
  }
}

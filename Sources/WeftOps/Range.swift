// Sequences of numbers: Range and LinSpace.

public import WeftGraph
internal import WeftKernels
internal import WeftTensors

/// A number type that sequences are made of.
private protocol SequenceNumber: TensorElement {
  /// How many numbers lie in [start, limit) at distance delta; nil when there is no such sequence.
  static func count(_ start: Self, _ limit: Self, _ delta: Self) -> Int?
  /// start + index * delta
  static func item(_ start: Self, _ delta: Self, _ index: Int) -> Self
}

extension SequenceNumber where Self: FixedWidthInteger {
  static func count(_ start: Self, _ limit: Self, _ delta: Self) -> Int? {
    if delta == 0 { return nil }
    if delta > 0 ? start > limit : start < limit { return nil }
    let (span, overflow) = Int(truncatingIfNeeded: limit)
      .subtractingReportingOverflow(Int(truncatingIfNeeded: start))
    if overflow { return nil }
    let step = Int(truncatingIfNeeded: delta)
    if step == .min || span == .min { return nil }
    return abs(span) / abs(step) + (span % step == 0 ? 0 : 1)
  }
  static func item(_ start: Self, _ delta: Self, _ index: Int) -> Self {
    start &+ Self(truncatingIfNeeded: index) &* delta
  }
}

extension SequenceNumber where Self: BinaryFloatingPoint {
  static func count(_ start: Self, _ limit: Self, _ delta: Self) -> Int? {
    guard delta != 0, delta > 0 ? start <= limit : start >= limit else { return nil }
    return Int(exactly: abs((limit - start) / delta).rounded(.up))
  }
  static func item(_ start: Self, _ delta: Self, _ index: Int) -> Self {
    start + Self(index) * delta
  }
}

extension Int8: SequenceNumber {}
extension Int16: SequenceNumber {}
extension Int32: SequenceNumber {}
extension Int64: SequenceNumber {}
extension UInt16: SequenceNumber {}
extension UInt32: SequenceNumber {}
extension UInt64: SequenceNumber {}
extension Float: SequenceNumber {}
extension Double: SequenceNumber {}
extension BFloat16: SequenceNumber {
  static func count(_ start: BFloat16, _ limit: BFloat16, _ delta: BFloat16) -> Int? {
    Float.count(start.float, limit.float, delta.float)
  }
  static func item(_ start: BFloat16, _ delta: BFloat16, _ index: Int) -> BFloat16 {
    BFloat16(start.float + BFloat16(BFloat16(Float(index)).float * delta.float).float)
  }
}
#if !(os(macOS) && arch(x86_64))
  extension Float16: SequenceNumber {}
#endif

enum RangeRows {
  private static func withType<Result>(
    _ dtype: DType, _ body: (any SequenceNumber.Type) throws -> Result
  ) throws -> Result? {
    switch dtype {
    case .int8: return try body(Int8.self)
    case .int16: return try body(Int16.self)
    case .int32: return try body(Int32.self)
    case .int64: return try body(Int64.self)
    case .uint16: return try body(UInt16.self)
    case .uint32: return try body(UInt32.self)
    case .uint64: return try body(UInt64.self)
    case .float32: return try body(Float.self)
    case .float64: return try body(Double.self)
    case .bfloat16: return try body(BFloat16.self)
    #if !(os(macOS) && arch(x86_64))
      case .float16: return try body(Float16.self)
    #endif
    default: return nil
    }
  }

  // The number of elements, from three scalars of one type.
  private static func count<Number: SequenceNumber>(
    _: Number.Type, _ start: Number, _ limit: Number, _ delta: Number, _ op: String
  ) throws(WeftError) -> Int {
    guard let count = Number.count(start, limit, delta) else {
      throw WeftError(
        .invalidArgument,
        "\(op) cannot go from \(start) to \(limit) in steps of \(delta)", category: .run)
    }
    return count
  }

  private static func size<Number: SequenceNumber>(
    _: Number.Type, _ ctx: InferContext
  ) throws -> Dim {
    var scalars: [Number] = []
    for i in 0..<3 {
      if let tensor = ctx.tensor(i) {
        scalars.append(try tensor.scalar(of: Number.self))
      } else if let n = ctx.integers(i)?.first,
        let value = try Tensor(Double(n), dtype: Number.dtype).array(of: Number.self).first
      {
        scalars.append(value)
      } else {
        // From 0 in steps of 1: as many as the limit says, though its number is not known.
        if i == 1, ctx.integers(0) == [0], ctx.integers(2) == [1], Number.dtype.isInteger {
          return ctx.value(1)?.first ?? .unknown
        }
        return .unknown
      }
    }
    return .known(try count(Number.self, scalars[0], scalars[1], scalars[2], ctx.op.name))
  }

  private static func lower<Number: SequenceNumber>(
    _: Number.Type, _ ctx: LowerContext
  ) throws -> Kernel {
    let op = ctx.op.name
    let label = ctx.kernelName("range", Number.dtype)
    @Sendable func write(
      _ out: UnsafeMutablePointer<Number>, _ count: Int, _ call: borrowing KernelCall
    ) {
      let start = call.input(0, as: Number.self).pointee
      let delta = call.input(2, as: Number.self).pointee
      for i in 0..<count { out[i] = Number.item(start, delta, i) }
    }
    @Sendable func length(_ call: borrowing KernelCall) throws -> Int {
      try count(
        Number.self, call.input(0, as: Number.self).pointee,
        call.input(1, as: Number.self).pointee, call.input(2, as: Number.self).pointee, op)
    }
    if let count = ctx.outputs[0].shape.count {
      return Kernel(label) { call in
        guard try length(call) == count else {
          throw WeftError(.internal, "\(op) was planned for \(count) numbers", category: .run)
        }
        write(call.output(0, as: Number.self), count, call)
      }
    }
    return Kernel(label) { call in
      let count = try length(call)
      let bytes = try Tensor.byteCount(dtype: Number.dtype, shape: [count])
      let buffer = try Buffer(byteCount: bytes)
      write(buffer.base.assumingMemoryBound(to: Number.self), count, call)
      call.setObject(try Tensor(dtype: Number.dtype, shape: [count], buffer: buffer), output: 0)
    }
  }

  static let range = OpDef(
    "Range", "start: Tidx, limit: Tidx, delta: Tidx -> output: Tidx",
    "Tidx: {bfloat16, half, float, double, int8, int16, int32, int64, uint16, uint32, uint64} = "
      + "int32",
    summary: "The numbers from `start` up to but without `limit`, `delta` apart.",
    traits: [.neverFold],
    infer: { ctx in
      for i in 0..<3 { _ = try ctx.shape(i, rank: 0) }
      let dim = try withType(ctx.dtype(0)) { type in try size(type, ctx) }
      return [Shape(dims: [dim ?? .unknown])]
    },
    value: { ctx in
      guard ctx.dtype(0).isInteger, let start = ctx.integers(0)?.first,
        let limit = ctx.integers(1)?.first, let delta = ctx.integers(2)?.first, delta != 0,
        let count = Int.count64(start, limit, delta), count <= 1_000
      else { return nil }
      return (0..<count).map { .known(start &+ $0 &* delta) }
    },
    gradient: .zero,
    lowering: .kernel { ctx in
      guard let kernel = try withType(ctx.dtype(0), { type in try lower(type, ctx) }) else {
        throw ctx.unsupported(ctx.dtype(0))
      }
      return kernel
    })

  private static func spaced<Number: BinaryFloatingPoint & TensorElement>(
    _: Number.Type, _ ctx: LowerContext, _ count: Int
  ) -> Kernel {
    Kernel(ctx.kernelName("linSpace", Number.dtype)) { call in
      let start = call.input(0, as: Number.self).pointee
      let stop = call.input(1, as: Number.self).pointee
      let out = call.output(0, as: Number.self)
      let step = count > 1 ? (stop - start) / Number(count - 1) : 0
      for i in 0..<count { out[i] = start + step * Number(i) }
      if count > 1 { out[count - 1] = stop }
    }
  }

  static let linSpace = OpDef(
    "LinSpace", "start: T, stop: T, num: Tidx -> output: T",
    "T: {bfloat16, half, float, double}; Tidx: {int32, int64} = int32",
    summary: "`num` evenly spaced numbers from `start` to `stop`, both included.",
    infer: { ctx in
      for i in 0..<3 { _ = try ctx.shape(i, rank: 0) }
      guard let count = ctx.integers(2)?.first else { return [Shape(unknownOfRank: 1)] }
      guard count > 0 else { throw ctx.error("requires num > 0: \(count)") }
      return [[.known(count)]]
    },
    gradient: .none("TensorFlow gives it none"),
    lowering: .kernel { ctx in
      guard let count = try ctx.integers(2, "how many").first, count > 0 else {
        throw ctx.error("requires num > 0")
      }
      switch ctx.dtype(0) {
      case .float32: return spaced(Float.self, ctx, count)
      case .float64: return spaced(Double.self, ctx, count)
      #if !(os(macOS) && arch(x86_64))
        case .float16: return spaced(Float16.self, ctx, count)
      #endif
      case .bfloat16:
        return Kernel(ctx.kernelName("linSpace", .bfloat16)) { call in
          let start = call.input(0, as: BFloat16.self).pointee.float
          let stop = call.input(1, as: BFloat16.self).pointee.float
          let out = call.output(0, as: BFloat16.self)
          let step = count > 1 ? (stop - start) / Float(count - 1) : 0
          for i in 0..<count { out[i] = BFloat16(start + step * Float(i)) }
          if count > 1 { out[count - 1] = BFloat16(stop) }
        }
      default: throw ctx.unsupported(ctx.dtype(0))
      }
    })

  static let all = [range, linSpace]
}

extension Int {
  // As Int64.count, on the type that shapes use.
  fileprivate static func count64(_ start: Int, _ limit: Int, _ delta: Int) -> Int? {
    Int64.count(Int64(start), Int64(limit), Int64(delta))
  }
}

/// `start, start + delta, ...` up to but without `limit`. TensorFlow's Range.
/// - Throws: InvalidArgument for a delta of zero, or one that leads away from `limit`.
public func range(
  _ start: Output, _ limit: Output, _ delta: Output, name: String? = nil,
  file: StaticString = #fileID, line: UInt = #line
) throws -> Output {
  try start.graph.output(
    RangeRows.range.name, name: name ?? "range", inputs: [start, limit, delta], file: file,
    line: line)
}

/// `count` evenly spaced numbers from `start` to `stop`, both included. TensorFlow's LinSpace.
public func linSpace(
  _ start: Output, _ stop: Output, count: Int, name: String? = nil, file: StaticString = #fileID,
  line: UInt = #line
) throws -> Output {
  let number = try start.graph.constant(integer: count, name: "num", file: file, line: line)
  return try start.graph.output(
    RangeRows.linSpace.name, name: name, inputs: [start, stop, number], file: file, line: line)
}

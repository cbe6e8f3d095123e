// Ops whose sizes only the data decide: Unique, ListDiff, Where.

public import WeftGraph
internal import WeftKernels
public import WeftTensors

/// Calls `body` with the Swift type of `dtype`'s elements, if they can be looked up.
func withTableType<Result>(
  _ dtype: DType, _ body: (any TableElement.Type) throws -> Result
) throws -> Result? {
  switch dtype {
  case .bool: return try body(Bool.self)
  case .int8, .qint8: return try body(Int8.self)
  case .int16, .qint16: return try body(Int16.self)
  case .int32, .qint32: return try body(Int32.self)
  case .int64: return try body(Int64.self)
  case .uint8, .quint8: return try body(UInt8.self)
  case .uint16, .quint16, .bfloat16: return try body(UInt16.self)
  case .uint32: return try body(UInt32.self)
  case .uint64: return try body(UInt64.self)
  case .float32: return try body(Float.self)
  case .float64: return try body(Double.self)
  case .complex64: return try body(ComplexValue<Float>.self)
  case .complex128: return try body(ComplexValue<Double>.self)
  #if !(os(macOS) && arch(x86_64))
    case .float16: return try body(Float16.self)
  #endif
  default: return nil
  }
}

enum UniqueRows {
  // Unique along `axis` (nil: the input is a vector), with counts as output 2 when there are three.
  private static func lower(_ ctx: LowerContext, axis: Int?) throws -> Kernel {
    let wide = ctx.outputs[1].dtype == .int64
    if ctx.dtype(0) == .string {
      return wide ? strings(ctx, Int64.self) : strings(ctx, Int32.self)
    }
    let kernel = try withTableType(ctx.dtype(0)) { type in
      wide ? plain(type, ctx, axis, Int64.self) : plain(type, ctx, axis, Int32.self)
    }
    guard let kernel else { throw ctx.unsupported(ctx.dtype(0)) }
    return kernel
  }

  private static func plain<Element: TableElement, Index: IndexElement>(
    _: Element.Type, _ ctx: LowerContext, _ axis: Int?, _: Index.Type
  ) -> Kernel {
    let shape = ctx.shape(0)
    let at = axis ?? 0
    let count = shape[at]
    let outer = product(shape.prefix(at))
    let inner = product(shape.dropFirst(at + 1))
    let hasCounts = ctx.outputs.count > 2
    let capacity = PositionTable.capacity(count)
    let isVector = shape.count == 1
    var kernel = Kernel(
      ctx.kernelName("unique", ctx.dtype(0)),
      scratchBytes: capacity * 4 + (isVector ? 0 : count * 8)
    ) { call in
      let x = call.input(0, as: Element.self)
      let y = call.output(0, as: Element.self)
      let places = call.output(1, as: Index.self)
      let counts = hasCounts ? call.output(2, as: Index.self) : nil
      let found: Int
      if isVector {
        found = uniqueElements(
          x, count: count, into: y, places: places, counts: counts,
          table: PositionTable(call.scratch, capacity: capacity))
      } else {
        let order = (call.scratch + capacity * 4).bindMemory(to: Int.self, capacity: count)
        found = uniqueSlices(
          x, outer: outer, count: count, inner: inner, order: order, places: places,
          counts: counts, table: PositionTable(call.scratch, capacity: capacity))
        for o in 0..<outer {
          for k in 0..<found {
            (y + (o * found + k) * inner)
              .update(from: x + (o * count + order[k]) * inner, count: inner)
          }
        }
      }
      var result = shape
      result[at] = found
      call.setShape(result, output: 0)
      call.setShape([count], output: 1)
      if hasCounts { call.setShape([found], output: 2) }
    }
    kernel.bounds = [shape, [count]] + (hasCounts ? [[count]] : [])
    return kernel
  }

  private static func strings<Index: IndexElement>(
    _ ctx: LowerContext, _: Index.Type
  ) -> Kernel {
    let count = ctx.count(0)
    let hasCounts = ctx.outputs.count > 2
    var kernel = Kernel("uniqueString") { call in
      let x = try stringInput(call, 0).strings
      var seen: [[UInt8]: Int] = [:]
      var y: [[UInt8]] = []
      var counts: [Index] = []
      let places = call.output(1, as: Index.self)
      for (i, value) in x.enumerated() {
        let at = seen[value] ?? y.count
        if at == y.count {
          seen[value] = at
          y.append(value)
          counts.append(0)
        }
        counts[at] += 1
        places[i] = Index(truncatingIfNeeded: at)
      }
      call.setObject(try Tensor(strings: y, shape: [y.count]), output: 0)
      call.setShape([count], output: 1)
      if hasCounts { call.setObject(try Tensor(counts), output: 2) }
    }
    kernel.bounds = [nil, [count]] + (hasCounts ? [nil] : [])
    return kernel
  }

  private static func vectorShapes(_ ctx: InferContext, counts: Bool) throws -> [Shape] {
    let dims = try ctx.shape(0, rank: 1)
    return [Shape(unknownOfRank: 1), Shape(dims: dims)] + (counts ? [Shape(unknownOfRank: 1)] : [])
  }

  private static func axisShapes(_ ctx: InferContext, counts: Bool) throws -> [Shape] {
    let tail = counts ? [Shape(unknownOfRank: 1)] : []
    guard var dims = ctx.shape(0).dims else {
      return [.unknown, Shape(unknownOfRank: 1)] + tail
    }
    guard let axes = ctx.integers(1) else {
      return [Shape(unknownOfRank: dims.count), Shape(unknownOfRank: 1)] + tail
    }
    guard axes.count <= 1 else { throw ctx.error("needs one axis or none, got \(axes)") }
    if axes.isEmpty, dims.count != 1 {
      throw ctx.error("without an axis needs a vector, got shape \(ctx.shape(0))")
    }
    let at = try ctx.axisIndex(axes.first ?? 0, rank: dims.count)
    let places = Shape(dims: [dims[at]])
    dims[at] = .unknown
    return [Shape(dims: dims), places] + tail
  }

  private static func lowerAxis(_ ctx: LowerContext) throws -> Kernel {
    guard let axis = try ctx.integers(1, "its axis").first else {
      return try lower(ctx, axis: nil)
    }
    return try lower(ctx, axis: try ctx.checkedAxis(axis, rank: ctx.shape(0).count))
  }

  static let unique = OpDef(
    "Unique", "x: T -> y: T, idx: out_idx", "T: type; out_idx: {int32, int64} = int32",
    summary: "The distinct elements of a vector, and where among them each element is.",
    traits: [.dataDependent], infer: { ctx in try vectorShapes(ctx, counts: false) },
    gradient: .none("it picks elements"), lowering: .kernel { ctx in try lower(ctx, axis: nil) })

  /// `Unique` with memory for as many elements as may be found, and how many were found. The elements
  /// beyond are the first one again. It exists in plans only.
  static let counted = OpDef(
    "UniqueRows", "x: T -> y: T, idx: out_idx, count: int32",
    "T: type; out_idx: {int32, int64} = int32",
    summary: "The distinct elements of a vector, where each element is, how many there are.",
    infer: { ctx in throw ctx.error("is made after shapes are known") },
    gradient: .none("it exists in plans only"),
    lowering: .kernel { ctx in
      let wide = ctx.outputs[1].dtype == .int64
      let kernel = try withTableType(ctx.dtype(0)) { type in
        wide ? lowerCounted(type, ctx, Int64.self) : lowerCounted(type, ctx, Int32.self)
      }
      guard let kernel else { throw ctx.unsupported(ctx.dtype(0)) }
      return kernel
    })

  private static func lowerCounted<Element: TableElement, Index: IndexElement>(
    _: Element.Type, _ ctx: LowerContext, _: Index.Type
  ) -> Kernel {
    let count = ctx.count(0)
    let capacity = PositionTable.capacity(count)
    return Kernel(ctx.kernelName("uniqueRows", ctx.dtype(0)), scratchBytes: capacity * 4) { call in
      let (x, y) = (call.input(0, as: Element.self), call.output(0, as: Element.self))
      let found = uniqueElements(
        x, count: count, into: y, places: call.output(1, as: Index.self), counts: nil,
        table: PositionTable(call.scratch, capacity: capacity))
      if found > 0 { (y + found).update(repeating: y[0], count: count - found) }
      call.output(2, as: Int32.self)[0] = Int32(truncatingIfNeeded: found)
    }
  }

  static let uniqueV2 = OpDef(
    "UniqueV2", "x: T, axis: Taxis -> y: T, idx: out_idx",
    "T: type; Taxis: {int32, int64} = int64; out_idx: {int32, int64} = int32",
    summary: "The distinct slices along an axis, and where among them each slice is.",
    traits: [.dataDependent], infer: { ctx in try axisShapes(ctx, counts: false) },
    gradient: .none("it picks elements"), lowering: .kernel { ctx in try lowerAxis(ctx) })

  static let uniqueWithCounts = OpDef(
    "UniqueWithCounts", "x: T -> y: T, idx: out_idx, count: out_idx",
    "T: type; out_idx: {int32, int64} = int32",
    summary: "The distinct elements of a vector, where each element is, how often each occurs.",
    traits: [.dataDependent], infer: { ctx in try vectorShapes(ctx, counts: true) },
    gradient: .none("it picks elements"), lowering: .kernel { ctx in try lower(ctx, axis: nil) })

  static let uniqueWithCountsV2 = OpDef(
    "UniqueWithCountsV2", "x: T, axis: Taxis -> y: T, idx: out_idx, count: out_idx",
    "T: type; Taxis: {int32, int64} = int64; out_idx: {int32, int64} = int32",
    summary: "The distinct slices along an axis, where each slice is, how often each occurs.",
    traits: [.dataDependent], infer: { ctx in try axisShapes(ctx, counts: true) },
    gradient: .none("it picks elements"), lowering: .kernel { ctx in try lowerAxis(ctx) })

  private static func difference<Element: TableElement, Index: IndexElement>(
    _: Element.Type, _ ctx: LowerContext, _: Index.Type
  ) -> Kernel {
    let count = ctx.count(0)
    let others = ctx.count(1)
    let capacity = PositionTable.capacity(others)
    var kernel = Kernel(
      ctx.kernelName("listDiff", ctx.dtype(0)), scratchBytes: capacity * 4
    ) { call in
      let x = call.input(0, as: Element.self)
      let y = call.input(1, as: Element.self)
      let out = call.output(0, as: Element.self)
      let places = call.output(1, as: Index.self)
      let table = PositionTable(call.scratch, capacity: capacity)
      for i in 0..<others {
        _ = table.find(hash: y[i].tableHash, storing: i) { y[$0] == y[i] }
      }
      var found = 0
      for i in 0..<count
      where table.find(hash: x[i].tableHash, storing: -1, { y[$0] == x[i] }) == nil {
        out[found] = x[i]
        places[found] = Index(truncatingIfNeeded: i)
        found += 1
      }
      call.setShape([found], output: 0)
      call.setShape([found], output: 1)
    }
    kernel.bounds = [[count], [count]]
    return kernel
  }

  private static func stringDifference<Index: IndexElement>(_: Index.Type) -> Kernel {
    Kernel("listDiffString") { call in
      let x = try stringInput(call, 0).strings
      let y = Set(try stringInput(call, 1).strings)
      let kept = x.indices.filter { !y.contains(x[$0]) }
      call.setObject(
        try Tensor(strings: kept.map { x[$0] }, shape: [kept.count]), output: 0)
      call.setObject(try Tensor(kept.map { Index(truncatingIfNeeded: $0) }), output: 1)
    }
  }

  static let listDiff = OpDef(
    "ListDiff", "x: T, y: T -> out: T, idx: out_idx", "T: type; out_idx: {int32, int64} = int32",
    summary: "The elements of one vector that another lacks, and their places.",
    traits: [.dataDependent],
    infer: { ctx in
      _ = try ctx.shape(0, rank: 1)
      _ = try ctx.shape(1, rank: 1)
      return [Shape(unknownOfRank: 1), Shape(unknownOfRank: 1)]
    },
    gradient: .none("it picks elements"),
    lowering: .kernel { ctx in
      let wide = ctx.outputs[1].dtype == .int64
      if ctx.dtype(0) == .string {
        return wide ? stringDifference(Int64.self) : stringDifference(Int32.self)
      }
      let kernel = try withTableType(ctx.dtype(0)) { type in
        wide ? difference(type, ctx, Int64.self) : difference(type, ctx, Int32.self)
      }
      guard let kernel else { throw ctx.unsupported(ctx.dtype(0)) }
      return kernel
    })

  private static func places<Element: TableElement>(
    _: Element.Type, _ ctx: LowerContext
  ) -> Kernel {
    let shape = ctx.shape(0)
    let rank = shape.count
    let count = product(shape)
    let strides = StridedCopy.strides(shape)
    // bfloat16 comes as its bits: a negative zero is a zero.
    let ignored: UInt64 = ctx.dtype(0) == .bfloat16 ? 0x7fff : .max
    var kernel = Kernel(ctx.kernelName("where", ctx.dtype(0))) { call in
      let x = call.input(0, as: Element.self)
      let out = call.output(0, as: Int64.self)
      var found = 0
      for i in 0..<count where x[i].tableHash & ignored != 0 {
        var rest = i
        for d in 0..<rank {
          let (at, next) = rest.quotientAndRemainder(dividingBy: strides[d])
          out[found * rank + d] = Int64(at)
          rest = next
        }
        found += 1
      }
      call.setShape([found, rank], output: 0)
    }
    kernel.bounds = [[count, rank]]
    return kernel
  }

  static let whereNonzero = OpDef(
    "Where", "input: T -> index: int64",
    "T: {float, double, int32, uint8, int16, int8, complex64, int64, bfloat16, uint16, complex128, "
      + "half, uint32, uint64, bool} = bool",
    summary: "The places of its nonzero elements, in row-major order.", traits: [.dataDependent],
    infer: { ctx in
      [Shape(dims: [.unknown, ctx.shape(0).rank.map { .known($0) } ?? .unknown])]
    },
    gradient: .none("places do not change with values"),
    lowering: .kernel { ctx in
      let kernel = try withTableType(ctx.dtype(0)) { type in places(type, ctx) }
      guard let kernel else { throw ctx.unsupported(ctx.dtype(0)) }
      return kernel
    })

  static let all = [
    unique, uniqueV2, uniqueWithCounts, uniqueWithCountsV2, listDiff, whereNonzero,
  ]
}

/// The distinct elements of the vector `x` in the order first seen, and for each element of `x` its
/// place among them (of type `index`). TensorFlow's Unique.
public func unique(
  _ x: Output, index: DType = .int32, name: String? = nil, file: StaticString = #fileID,
  line: UInt = #line
) throws -> (values: Output, places: Output) {
  let node = try x.graph.add(
    UniqueRows.unique.name, name: name, inputs: [x], attrs: ["out_idx": .type(index)], file: file,
    line: line)
  let outputs = x.graph.outputs(of: node)
  return (outputs[0], outputs[1])
}

/// The elements of the vector `x` that the vector `y` does not hold, in order, and their places in
/// `x`. TensorFlow's ListDiff.
public func listDiff(
  _ x: Output, _ y: Output, name: String? = nil, file: StaticString = #fileID, line: UInt = #line
) throws -> (values: Output, places: Output) {
  let node = try x.graph.add(
    UniqueRows.listDiff.name, name: name, inputs: [x, y], file: file, line: line)
  let outputs = x.graph.outputs(of: node)
  return (outputs[0], outputs[1])
}

/// The places `[n, rank]` of the nonzero elements of `x`, row-major. TensorFlow's Where.
public func nonzeroPlaces(
  _ x: Output, name: String? = nil, file: StaticString = #fileID, line: UInt = #line
) throws -> Output {
  try x.graph.output(
    UniqueRows.whereNonzero.name, name: name, inputs: [x], file: file, line: line)
}

// Python-like slices: StridedSlice, its gradient, and assignment to a slice of a variable.

public import WeftGraph
internal import WeftKernels
internal import WeftTensors

/// Which entries of a slice specification mean something else than a range: bit i is entry i.
public struct SliceMasks: Sendable, Hashable {
  /// Entries whose begin is the first possible one.
  public var begin = 0
  /// Entries whose end is the last possible one.
  public var end = 0
  /// The entry that stands for all dimensions not named.
  public var ellipsis = 0
  /// Entries that insert a dimension of size 1.
  public var newAxis = 0
  /// Entries that pick one index, whose dimension vanishes.
  public var shrinkAxis = 0

  /// No special entries, or those given.
  public init(
    begin: Int = 0, end: Int = 0, ellipsis: Int = 0, newAxis: Int = 0, shrinkAxis: Int = 0
  ) {
    self.begin = begin
    self.end = end
    self.ellipsis = ellipsis
    self.newAxis = newAxis
    self.shrinkAxis = shrinkAxis
  }

  init(_ attrs: Attrs) throws {
    begin = try attrs.int("begin_mask")
    end = try attrs.int("end_mask")
    ellipsis = try attrs.int("ellipsis_mask")
    newAxis = try attrs.int("new_axis_mask")
    shrinkAxis = try attrs.int("shrink_axis_mask")
  }

  var attrs: [String: AttrValue] {
    [
      "begin_mask": .int(Int64(begin)), "end_mask": .int(Int64(end)),
      "ellipsis_mask": .int(Int64(ellipsis)), "new_axis_mask": .int(Int64(newAxis)),
      "shrink_axis_mask": .int(Int64(shrinkAxis)),
    ]
  }
}

/// A slice specification resolved against a shape.
struct SliceBox {
  /// For each dimension of the input: where the slice begins, its stride, its size.
  var begins: [Int] = []
  var strides: [Int] = []
  var sizes: [Dim] = []
  /// The shape of the result, without shrunk dimensions and with new ones.
  var shape: [Dim] = []

  /// Resolves `count` entries; what is not known of them, or of the dimensions, stays unknown.
  init(
    dims: [Dim], begin: [Dim]?, end: [Dim]?, stride: [Dim]?, count: Int, masks: SliceMasks,
    fail: (String) -> WeftError
  ) throws {
    func bit(_ mask: Int, _ i: Int) -> Bool { i < 64 && (mask >> i) & 1 == 1 }
    let dots = (0..<count).filter { bit(masks.ellipsis, $0) }
    guard dots.count <= 1 else { throw fail("has more than one ellipsis") }
    var named = 0
    for i in 0..<count where !bit(masks.ellipsis, i) && !bit(masks.newAxis, i) { named += 1 }
    guard named <= dims.count else {
      throw fail("names \(named) dimensions, its input has only \(dims.count)")
    }
    var at = 0
    func whole() {
      begins.append(0)
      strides.append(1)
      sizes.append(dims[at])
      shape.append(dims[at])
      at += 1
    }
    for i in 0..<count {
      if bit(masks.ellipsis, i) {
        for _ in 0..<(dims.count - named) { whole() }
      } else if bit(masks.newAxis, i) {
        shape.append(1)
      } else {
        // One index counts even where the mask for begins is set.
        let shrink = bit(masks.shrinkAxis, i)
        let isFromStart = bit(masks.begin, i) && !shrink
        try entry(
          at, dims[at], begin: isFromStart ? nil : .some(begin?[i] ?? .unknown),
          end: bit(masks.end, i) ? nil : .some(end?[i] ?? .unknown),
          stride: stride?[i] ?? .unknown, shrink: shrink, fail)
        at += 1
      }
    }
    while at < dims.count { whole() }
  }

  // One range; a masked begin or end is nil.
  private mutating func entry(
    _ place: Int, _ dim: Dim, begin: Dim?, end: Dim?, stride: Dim, shrink: Bool,
    _ fail: (String) -> WeftError
  ) throws {
    func add(_ begin: Int, _ stride: Int, _ size: Dim) {
      begins.append(begin)
      strides.append(stride)
      sizes.append(size)
      if !shrink { shape.append(size) }
    }
    if stride == .known(0) { throw fail("strides[\(place)] must be non-zero") }
    if shrink, let s = stride.size, s <= 0 {
      throw fail("only stride 1 allowed on non-range indexing")
    }
    if shrink {
      guard let n = dim.size, let b = begin?.size else { return add(0, 1, 1) }
      let index = b < 0 ? b + n : b
      guard index >= 0, index < n else {
        throw fail("slice index \(b) of dimension \(place) out of bounds.")
      }
      return add(index, 1, 1)
    }
    if begin == nil, end == nil, dim.size == nil, stride == .known(1) || stride == .known(-1) {
      return add(0, 1, dim)
    }
    guard let s = stride.size else { return add(0, 1, .unknown) }
    guard let n = dim.size else {
      return add(0, 1, SliceBox.sizeOfUnknown(begin: begin, end: end, stride: s))
    }
    let low = s > 0 ? 0 : -1
    let high = s > 0 ? n : n - 1
    func canonical(_ value: Dim?, masked: Int) -> Int? {
      guard let value else { return masked }
      guard let x = value.size else { return nil }
      return Swift.min(high, Swift.max(low, x < 0 ? x &+ n : x))
    }
    guard let b = canonical(begin, masked: s > 0 ? low : high),
      let e = canonical(end, masked: s > 0 ? high : low)
    else { return add(0, 1, .unknown) }
    let interval = e - b
    if interval == 0 || (interval < 0) != (s < 0) { return add(Swift.max(0, b), s, 0) }
    add(b, s, .known(interval / s + (interval % s == 0 ? 0 : 1)))
  }

  // What is known of a range's size when the dimension is unknown: [a:b] could be cut short, so
  // only an empty range is certain.
  private static func sizeOfUnknown(begin: Dim?, end: Dim?, stride: Int) -> Dim {
    guard let e = end?.size, let b = begin.map({ $0.size }) ?? 0 else { return .unknown }
    if (b < 0) == (e < 0), stride > 0 ? b >= e : b <= e, begin != nil { return 0 }
    return .unknown
  }

  /// The box resolved from an op's inputs `first`, `first + 1`, `first + 2`; nil when the number of
  /// entries is unknown.
  static func infer(_ ctx: InferContext, _ dims: [Dim], first: Int) throws -> SliceBox? {
    var count = Dim.unknown
    for i in first..<first + 3 {
      count = try ctx.merge(count, try ctx.shape(i, rank: 1)[0], "lengths of begin, end, strides")
    }
    guard let count = count.size else { return nil }
    guard count < 64 else { throw ctx.error("has \(count) entries, at most 63 are possible") }
    return try SliceBox(
      dims: dims, begin: ctx.value(first), end: ctx.value(first + 1), stride: ctx.value(first + 2),
      count: count, masks: try SliceMasks(ctx.attrs)
    ) { ctx.error($0) }
  }

  static func lower(_ ctx: LowerContext, _ shape: [Int], first: Int) throws -> SliceBox {
    let entries = try (first..<first + 3).map { try ctx.integers($0, "its ranges") }
    return try SliceBox(
      dims: shape.map { .known($0) }, begin: entries[0].map { .known($0) },
      end: entries[1].map { .known($0) }, stride: entries[2].map { .known($0) },
      count: entries[0].count, masks: try SliceMasks(ctx.attrs)
    ) { ctx.error($0) }
  }

  /// The copy between a tensor of `shape` and the slice, in one direction or the other.
  func copy(shape: [Int], elementBytes: Int, toSlice: Bool) -> StridedCopy {
    let row = StridedCopy.strides(shape)
    let counts = sizes.map { $0.size ?? 0 }
    let wide = zip(strides, row).map { $0 &* $1 }
    let offset = zip(begins, row).reduce(0) { $0 &+ $1.0 &* $1.1 }
    let dense = StridedCopy.strides(counts)
    return StridedCopy(
      elementBytes: elementBytes, sizes: counts, source: toSlice ? wide : dense,
      target: toSlice ? dense : wide, sourceOffset: toSlice ? offset : 0,
      targetOffset: toSlice ? 0 : offset)
  }
}

enum StridedSliceRows {
  private static let masks =
    "begin_mask: int = 0; end_mask: int = 0; ellipsis_mask: int = 0; new_axis_mask: int = 0; "
    + "shrink_axis_mask: int = 0"

  static let stridedSlice: OpDef = OpDef(
    "StridedSlice", "input: T, begin: Index, end: Index, strides: Index -> output: T",
    "T: type; Index: {int16, int32, int64}; " + masks,
    summary: "A slice as Python writes it: x[begin:end:stride, ...].",
    infer: { ctx in
      guard let dims = ctx.shape(0).dims else { return [.unknown] }
      return [try SliceBox.infer(ctx, dims, first: 1).map { Shape(dims: $0.shape) } ?? .unknown]
    },
    value: { ctx in
      guard ctx.shape(0).rank == 1, let all = ctx.value(0),
        let box = try? SliceBox.infer(ctx, [.known(all.count)], first: 1), box.shape.count <= 1,
        ctx.integers(1) != nil || box.shape.first == .known(all.count),
        let count = box.sizes[0].size
      else { return nil }
      // A begin or end that is not known leaves the size unknown, except for one index.
      if box.shape.isEmpty, ctx.integers(1) == nil { return nil }
      return (0..<count).map { all[box.begins[0] + $0 * box.strides[0]] }
    },
    gradient: .rule { g in
      let x = g.input(0)
      let shape = try x.shapeTensor(g.input(1).dtype == .int64 ? .int64 : .int32)
      let grad = try g.graph.output(
        grad.name,
        inputs: [shape] + (1...3).map { g.input($0) } + [try g.gradient()],
        attrs: try SliceMasks(g.attrs).attrs)
      return [.dense(grad), nil, nil, nil]
    },
    lowering: .kernel { ctx in
      let shape = ctx.shape(0)
      let box = try SliceBox.lower(ctx, shape, first: 1)
      let isWhole = zip(box.sizes, shape).allSatisfy { $0 == .known($1) }
      let forward = zip(box.strides, shape).allSatisfy { $0 == 1 || $1 <= 1 }
      if isWhole && forward { return ctx.pass() }
      return try ctx.moves("stridedSlice") { bytes in
        [.box(box.copy(shape: shape, elementBytes: bytes, toSlice: true))]
      }
    })

  static let grad: OpDef = OpDef(
    "StridedSliceGrad",
    "shape: Index, begin: Index, end: Index, strides: Index, dy: T -> output: T",
    "T: type; Index: {int32, int64}; " + masks,
    summary: "A tensor of zeros with `dy` in place of a slice.",
    infer: { ctx in
      guard let dims = try ctx.sizes(0, "shape") else { return [.unknown] }
      if let box = try SliceBox.infer(ctx, dims, first: 1),
        !Shape(dims: box.shape).isCompatible(with: ctx.shape(4))
      {
        throw ctx.error("needs dy of shape \(Shape(dims: box.shape)), got \(ctx.shape(4))")
      }
      return [Shape(dims: dims)]
    },
    gradient: .rule { g in
      let dy = try g.graph.output(
        stridedSlice.name, inputs: [try g.gradient()] + (1...3).map { g.input($0) },
        attrs: try SliceMasks(g.attrs).attrs)
      return [nil, nil, nil, nil, .dense(dy)]
    },
    lowering: .kernel { ctx in
      let shape = ctx.outputShape(0)
      let box = try SliceBox.lower(ctx, shape, first: 1)
      return try ctx.moves("stridedSliceGrad", zeroed: true) { bytes in
        [.box(input: 4, box.copy(shape: shape, elementBytes: bytes, toSlice: false))]
      }
    })

  // Writes the value into a slice of the variable's own buffer.
  private static func assign(_ ctx: LowerContext) throws -> Kernel {
    let cell = try ctx.variable(0)
    let begin = try ctx.integers(1, "its ranges")
    let end = try ctx.integers(2, "its ranges")
    let stride = try ctx.integers(3, "its ranges")
    let masks = try SliceMasks(ctx.attrs)
    let op = ctx.op.name
    let shape = ctx.shape(4)
    @Sendable func fail(_ message: String) -> WeftError {
      WeftError(.invalidArgument, "\(op) \(message)", category: .run)
    }
    guard cell.dtype.isPlain else { throw ctx.unsupported(cell.dtype) }
    return Kernel("assignSlice") { call in
      let value = try cell.read()
      let box = try SliceBox(
        dims: value.shape.map { .known($0) }, begin: begin.map { .known($0) },
        end: end.map { .known($0) }, stride: stride.map { .known($0) }, count: begin.count,
        masks: masks, fail: fail)
      let wanted = box.shape.map { $0.size ?? 0 }
      guard wanted == shape else {
        throw fail("needs a value of shape \(wanted), got \(shape)")
      }
      box.copy(shape: value.shape, elementBytes: value.dtype.byteSize, toSlice: false)
        .run(call.rawInput(4), value.buffer.base, call.pool)
    }
  }

  private static func checkAssign(_ ctx: InferContext) throws {
    guard let dims = ctx.handle(0)?.shape.dims else { return }
    if let box = try SliceBox.infer(ctx, dims, first: 1),
      !Shape(dims: box.shape).isCompatible(with: ctx.shape(4))
    {
      throw ctx.error("needs a value of shape \(Shape(dims: box.shape)), got \(ctx.shape(4))")
    }
  }

  static let assignRef = OpDef(
    "StridedSliceAssign",
    "ref: Ref(T), begin: Index, end: Index, strides: Index, value: T -> output_ref: Ref(T)",
    "T: type; Index: {int32, int64}; " + masks,
    summary: "The variable, with a slice of it set to a value.", traits: [.writesVariable],
    infer: { ctx in
      try checkAssign(ctx)
      return [ctx.shape(0)]
    },
    handles: { ctx in [ctx.handle(0)] },
    gradient: .none("assignment has no gradient"), lowering: .kernel { ctx in try assign(ctx) })

  static let assignResource = OpDef(
    "ResourceStridedSliceAssign",
    "ref: resource, begin: Index, end: Index, strides: Index, value: T -> ",
    "T: type; Index: {int32, int64}; " + masks,
    summary: "Sets a slice of a variable to a value.", traits: [.stateful, .writesVariable],
    infer: { ctx in
      try checkAssign(ctx)
      return []
    },
    gradient: .none("assignment has no gradient"), lowering: .kernel { ctx in try assign(ctx) })

  static let all = [stridedSlice, grad, assignRef, assignResource]
}

extension Output {
  /// A slice as Python writes it: `x[begin[i]:end[i]:strides[i]]` in dimension i.
  ///
  /// Negative begins and ends count from the end and are clamped; strides may be negative; masks
  /// give entries other meanings. Gradient: zeros with dy in place. TensorFlow's StridedSlice.
  public func stridedSlice(
    begin: [Int], end: [Int], strides: [Int]? = nil, masks: SliceMasks = SliceMasks(),
    name: String? = nil, file: StaticString = #fileID, line: UInt = #line
  ) throws -> Output {
    let steps = strides ?? Array(repeating: 1, count: begin.count)
    return try stridedSlice(
      begin: try graph.constant(integers: begin, name: "begin", file: file, line: line),
      end: try graph.constant(integers: end, name: "end", file: file, line: line),
      strides: try graph.constant(integers: steps, name: "strides", file: file, line: line),
      masks: masks, name: name, file: file, line: line)
  }

  /// A slice whose ranges are tensors.
  public func stridedSlice(
    begin: Output, end: Output, strides: Output, masks: SliceMasks = SliceMasks(),
    name: String? = nil, file: StaticString = #fileID, line: UInt = #line
  ) throws -> Output {
    try graph.output(
      StridedSliceRows.stridedSlice.name, name: name, inputs: [self, begin, end, strides],
      attrs: masks.attrs, file: file, line: line)
  }

  /// Element `index` along the first axis, which vanishes.
  public func element(
    at index: Int, name: String? = nil, file: StaticString = #fileID, line: UInt = #line
  ) throws -> Output {
    // -1 ends at the end of the axis, not at 0.
    try stridedSlice(
      begin: [index], end: [index == -1 ? 0 : index + 1],
      masks: SliceMasks(end: index == -1 ? 1 : 0, shrinkAxis: 1), name: name, file: file,
      line: line)
  }
}

// Tensor shapes: known, unknown and symbolic dimensions, or unknown rank.

/// One dimension of a shape.
public enum Dim: Sendable, Hashable {
  /// A size that is known.
  case known(Int)
  /// A size that is not known before a run.
  case unknown
  /// A size that is not known before a run, but equal wherever the name stands.
  case symbolic(String)

  /// The size, when it is known.
  public var size: Int? {
    if case .known(let n) = self { n } else { nil }
  }

  /// Whether two sizes can be equal in a run.
  public func isCompatible(with other: Dim) -> Bool {
    guard let a = size, let b = other.size else { return true }
    return a == b
  }

  /// The more precise of two compatible dimensions: known before symbolic before unknown.
  public func merged(with other: Dim) -> Dim {
    switch (self, other) {
    case (.known, _): self
    case (_, .known): other
    case (.symbolic, _): self
    default: other
    }
  }
}

extension Dim: ExpressibleByIntegerLiteral, ExpressibleByStringLiteral, CustomStringConvertible {
  /// A known size, or an unknown one for a negative number.
  public init(integerLiteral value: Int) { self.init(value) }
  /// A symbolic size.
  public init(stringLiteral value: String) { self = .symbolic(value) }
  /// A known size, or an unknown one for a negative number, as TensorFlow writes it.
  public init(_ size: Int) { self = size < 0 ? .unknown : .known(size) }

  /// `3`, `?` or the symbol.
  public var description: String {
    switch self {
    case .known(let n): "\(n)"
    case .unknown: "?"
    case .symbolic(let name): name
    }
  }
}

/// The shape of a symbolic tensor: a list of dimensions, or unknown rank.
public struct Shape: Sendable, Hashable {
  /// The dimensions; nil when not even the rank is known.
  public var dims: [Dim]?

  /// A shape of these dimensions; nil means unknown rank.
  public init(dims: [Dim]?) { self.dims = dims }
  /// A shape of known sizes; a negative one is unknown.
  public init(_ sizes: [Int]) { dims = sizes.map { Dim($0) } }
  /// A shape of `rank` unknown dimensions; of unknown rank where no tensor has that many.
  public init(unknownOfRank rank: Int) {
    dims = (0...Shape.rankLimit).contains(rank) ? Array(repeating: .unknown, count: rank) : nil
  }

  /// No tensor has more dimensions, as in TensorFlow.
  public static let rankLimit = 254
  /// More elements are not counted: below it, sizes in bytes and sums of a few stay within Int.
  public static let countLimit = 1 << 56
  /// The same for the other sizes of a tensor without elements: loops over its empty rows end.
  public static let emptyLimit = 1 << 30

  /// The shape of a scalar.
  public static let scalar = Shape(dims: [])
  /// A shape of unknown rank.
  public static let unknown = Shape(dims: nil)

  /// The number of dimensions, when known.
  public var rank: Int? { dims?.count }

  /// All sizes, when every dimension is known.
  public var known: [Int]? {
    guard let dims else { return nil }
    var sizes: [Int] = []
    sizes.reserveCapacity(dims.count)
    for dim in dims {
      guard let n = dim.size else { return nil }
      sizes.append(n)
    }
    return sizes
  }

  /// Whether every dimension is known.
  public var isFullyKnown: Bool { known != nil }

  /// The number of elements, when every dimension is known and the product fits.
  public var count: Int? { known.flatMap { Shape.checkedCount($0) } }

  /// The dimension at `axis` (negative from the end); unknown when the rank is unknown.
  public func dim(_ axis: Int) -> Dim {
    guard let dims else { return .unknown }
    let index = axis < 0 ? axis + dims.count : axis
    return dims.indices.contains(index) ? dims[index] : .unknown
  }

  /// The product of sizes, or nil when it is beyond `countLimit` or a size is negative.
  ///
  /// Sizes beside a zero count too, so that the product of any part of the sizes fits.
  public static func checkedCount(_ sizes: [Int]) -> Int? {
    var product = 1
    var isEmpty = false
    for n in sizes {
      guard n >= 0 else { return nil }
      if n == 0 {
        isEmpty = true
        continue
      }
      let (next, overflow) = product.multipliedReportingOverflow(by: n)
      guard !overflow, next <= countLimit else { return nil }
      product = next
    }
    if isEmpty { return product <= emptyLimit ? 0 : nil }
    return product
  }

  /// Whether both can be the shape of one tensor.
  public func isCompatible(with other: Shape) -> Bool {
    guard let a = dims, let b = other.dims else { return true }
    return a.count == b.count && zip(a, b).allSatisfy { $0.isCompatible(with: $1) }
  }

  /// The more precise combination of two compatible shapes; nil when they contradict.
  public func merged(with other: Shape) -> Shape? {
    guard let a = dims else { return other }
    guard let b = other.dims else { return self }
    guard isCompatible(with: other) else { return nil }
    return Shape(dims: zip(a, b).map { $0.merged(with: $1) })
  }

  /// What is known of a tensor that has one shape or the other.
  public func joined(with other: Shape) -> Shape {
    guard let a = dims, let b = other.dims, a.count == b.count else { return .unknown }
    return Shape(dims: zip(a, b).map { $0 == $1 ? $0 : .unknown })
  }

  /// The shape with more dimensions behind.
  public func appending(_ other: Shape) -> Shape {
    guard let a = dims, let b = other.dims else { return .unknown }
    return Shape(dims: a + b)
  }

  /// NumPy broadcasting of two shapes; nil when they cannot be broadcast.
  public static func broadcast(_ a: Shape, _ b: Shape) -> Shape? {
    guard let x = a.dims, let y = b.dims else { return .unknown }
    let rank = max(x.count, y.count)
    var out: [Dim] = []
    out.reserveCapacity(rank)
    for i in 0..<rank {
      let p = i - (rank - x.count) < 0 ? Dim.known(1) : x[i - (rank - x.count)]
      let q = i - (rank - y.count) < 0 ? Dim.known(1) : y[i - (rank - y.count)]
      switch (p, q) {
      case (.known(let m), .known(let n)):
        if m == n {
          out.append(p)
        } else if m == 1 {
          out.append(q)
        } else if n == 1 {
          out.append(p)
        } else {
          return nil
        }
      case (.known(1), _): out.append(q)
      case (_, .known(1)): out.append(p)
      case (.known, _): out.append(p)
      case (_, .known): out.append(q)
      default: out.append(p == q ? p : .unknown)
      }
    }
    return Shape(dims: out)
  }
}

extension Shape: ExpressibleByArrayLiteral, CustomStringConvertible {
  /// `[2, "B", -1]`: known, symbolic and unknown dimensions.
  public init(arrayLiteral elements: Dim...) { dims = elements }

  /// `[2, B, ?]`, or `<unknown>` when the rank is unknown.
  public var description: String {
    guard let dims else { return "<unknown>" }
    return "[" + dims.map(\.description).joined(separator: ", ") + "]"
  }
}

/// The type of one output of a node.
public struct TensorType: Sendable, Hashable, CustomStringConvertible {
  /// The element type.
  public var dtype: DType
  /// The shape, as far as it is known.
  public var shape: Shape
  /// Whether the output is a reference to a variable's own buffer, as VariableV2's is.
  public var isReference: Bool

  /// A tensor type.
  public init(_ dtype: DType, _ shape: Shape, isReference: Bool = false) {
    self.dtype = dtype
    self.shape = shape
    self.isReference = isReference
  }

  /// `float32 [2, 3]`.
  public var description: String {
    "\(dtype.name)\(isReference ? "&" : "") \(shape)"
  }

  /// Refuses, as output of `owner`, a shape that no tensor can have.
  /// - Throws: InvalidArgument for too many dimensions, or known sizes that cannot be counted.
  public func checkShape(_ owner: String) throws(WeftError) {
    guard let dims = shape.dims else { return }
    guard dims.count <= Shape.rankLimit else {
      throw WeftError(
        .invalidArgument,
        "\(owner) output has \(dims.count) dimensions, at most \(Shape.rankLimit) are possible")
    }
    guard Shape.checkedCount(dims.compactMap(\.size)) != nil else {
      throw WeftError(
        .invalidArgument, "\(owner) output shape \(shape) overflows: it cannot be counted")
    }
  }

  /// Refuses what would not fit in `memory` bytes, before kernels make tables of that size for it.
  /// - Throws: what `checkShape` does; ResourceExhausted for a value beyond the memory.
  public func checkMemory(_ owner: String, within memory: Int) throws(WeftError) {
    try checkShape(owner)
    guard let sizes = shape.known, let count = Shape.checkedCount(sizes) else { return }
    // Strings are objects: each costs far more than its bytes.
    let limit = min(
      memory / max(dtype == .string ? 64 : 1, dtype.byteSize), dtype == .string ? 1 << 24 : .max)
    guard count <= limit else {
      throw WeftError(
        .resourceExhausted,
        "\(owner) output \(self) is too large for the memory limit of \(memory) bytes",
        category: .run)
    }
  }
}

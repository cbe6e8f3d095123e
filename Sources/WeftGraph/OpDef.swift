// What an op is: signature, traits, shape rule, gradient and lowering in one value.

internal import Synchronization
public import WeftTensors

/// Facts about an op that passes ask for.
public struct OpTraits: OptionSet, Sendable {
  /// The bits.
  public let rawValue: UInt32
  /// A set from its bits.
  public init(rawValue: UInt32) { self.rawValue = rawValue }

  /// Output element i depends only on input elements that broadcast to i.
  public static let elementwise = OpTraits(rawValue: 1 << 0)
  /// The first two inputs may be exchanged without changing a bit.
  public static let commutative = OpTraits(rawValue: 1 << 1)
  /// Has an effect or a hidden input: never folded, merged or dropped when it is asked for.
  public static let stateful = OpTraits(rawValue: 1 << 2)
  /// Output 0 has the bytes of input 0.
  public static let view = OpTraits(rawValue: 1 << 3)
  /// Draws random numbers.
  public static let random = OpTraits(rawValue: 1 << 4)
  /// Reads a variable.
  public static let readsVariable = OpTraits(rawValue: 1 << 5)
  /// Writes a variable.
  public static let writesVariable = OpTraits(rawValue: 1 << 6)
  /// Must not be computed before a run (large or cheap outputs such as Fill).
  public static let neverFold = OpTraits(rawValue: 1 << 7)
  /// Output sizes depend on the data, so they are known only while running.
  public static let dataDependent = OpTraits(rawValue: 1 << 8)
  /// Its resource outputs are objects made in the run, not variables.
  public static let makesObject = OpTraits(rawValue: 1 << 20)
  /// Runs plans of its own: a loop or a conditional.
  public static let nested = OpTraits(rawValue: 1 << 21)
  /// A call of a library function by its name.
  public static let call = OpTraits(rawValue: 1 << 22)
  /// Runs plans of its own that draw random numbers.
  public static let drawsWithin = OpTraits(rawValue: 1 << 23)
}

/// How an op becomes something that runs.
public enum Lowering: Sendable {
  /// A kernel for concrete input types.
  case kernel(@Sendable (LowerContext) throws -> Kernel)
  /// A value given from outside: it must be fed.
  case placeholder
  /// The tensor in the attr `value`.
  case constant
  /// A variable's handle or reference; it has no bytes of its own.
  case variable
  /// Loads and is kept in files, but running it is an error with this hint.
  case refused(String)
}

/// How an op is differentiated.
public enum GradientRule: Sendable {
  /// One gradient for each input; nil where none flows.
  case rule(@Sendable (GradientContext) throws -> [Gradient?])
  /// Outputs do not change with inputs where a derivative exists (Shape, ArgMax, Floor).
  case zero
  /// There is no gradient, for this reason; asking for one through this op is an error.
  case none(String)
}

/// What is known of one tensor that a variable handle stands for.
public struct HandleType: Sendable, Hashable {
  /// The variable's element type.
  public var dtype: DType
  /// The variable's shape, or the shape of a list's elements.
  public var shape: Shape
  /// Whether it is a list in which no element is set yet: `shape` is only what may be set.
  public var isFresh: Bool
  /// The type behind a handle.
  public init(_ dtype: DType, _ shape: Shape, isFresh: Bool = false) {
    self.dtype = dtype
    self.shape = shape
    self.isFresh = isFresh
  }
}

extension HandleType {
  /// What is known when elements of shape `item` come in.
  public func adding(_ item: Shape) -> HandleType {
    guard isFresh else { return HandleType(dtype, shape.joined(with: item)) }
    return HandleType(dtype, shape.merged(with: item) ?? .unknown)
  }
}

/// One op: the row in which all that is known of it stands.
public final class OpDef: Sendable {
  /// TensorFlow's op name: the key in files.
  public let name: String
  /// One line that says what it returns.
  public let summary: String
  /// Facts for passes.
  public let traits: OpTraits
  /// Output shapes from input types and attributes, in output order. The only place where shapes
  /// are checked. Element types follow from the signature.
  public let infer: @Sendable (InferContext) throws -> [Shape]
  /// The integers an output 0 of rank 0 or 1 holds, as far as they are known without running.
  public let value: (@Sendable (InferContext) -> [Dim]?)?
  /// Types behind resource outputs.
  public let handles: (@Sendable (InferContext) throws -> [HandleType?])?
  /// What running it tells of the handles among its inputs, by input: what it puts behind them.
  public let refines: (@Sendable (InferContext) -> [Int: HandleType])?
  /// The derivative.
  public let gradient: GradientRule
  /// What runs.
  public let lowering: Lowering

  /// The inputs that hold rows for a variable and their indices; nil when it writes no such rows, or
  /// has no kernel that may be told how many of them count.
  public let rowPlaces: (rows: Int, indices: Int)?

  private let arguments: String
  private let attributes: String
  private let parsed = Mutex<OpSignature?>(nil)

  /// An op row.
  /// - Parameters:
  ///   - name: TensorFlow's op name.
  ///   - arguments: inputs and outputs, `"a: T, b: T -> product: T"`.
  ///   - attributes: `"transpose_a: bool = false; T: {float, double}"`.
  ///   - summary: one line that says what it returns.
  public init(
    _ name: String, _ arguments: String, _ attributes: String = "", summary: String,
    traits: OpTraits = [],
    infer: @escaping @Sendable (InferContext) throws -> [Shape],
    value: (@Sendable (InferContext) -> [Dim]?)? = nil,
    handles: (@Sendable (InferContext) throws -> [HandleType?])? = nil,
    refines: (@Sendable (InferContext) -> [Int: HandleType])? = nil,
    rowPlaces: (rows: Int, indices: Int)? = nil, gradient: GradientRule, lowering: Lowering
  ) {
    self.rowPlaces = rowPlaces
    self.name = name
    self.arguments = arguments
    self.attributes = attributes
    self.summary = summary
    self.traits = traits
    self.infer = infer
    self.value = value
    self.handles = handles
    self.refines = refines
    self.gradient = gradient
    self.lowering = lowering
  }

  /// The same op with one more input, an int32: how many of the rows that it is given count.
  public func countingRows() -> OpDef {
    guard let arrow = arguments.firstRange(of: " ->"), case .kernel(let lower) = lowering else {
      return self
    }
    return OpDef(
      name,
      arguments[..<arrow.lowerBound] + ", row_count: int32" + arguments[arrow.lowerBound...],
      attributes, summary: summary, traits: traits,
      infer: { ctx in throw ctx.error("is made after shapes are known") },
      handles: handles, gradient: gradient,
      lowering: .kernel { ctx in
        var ctx = ctx
        ctx.rowCount = ctx.inputs.count - 1
        return try lower(ctx)
      })
  }

  /// Inputs, outputs and attributes.
  public var signature: OpSignature {
    parsed.withLock { cached in
      if let cached { return cached }
      guard let fresh = OpSignature(arguments: arguments, attributes: attributes) else {
        // A row with a typo is a bug of this library; a test walks every row.
        preconditionFailure("malformed signature of op \(name)")
      }
      cached = fresh
      return fresh
    }
  }
}

/// All ops that a graph may use, by name.
public struct OpRegistry: Sendable {
  private let table: [String: OpDef]
  /// Every op, in the order given.
  public let all: [OpDef]

  /// A registry of `ops`; of two rows with one name, the first counts.
  public init(_ ops: [OpDef]) {
    all = ops
    table = Dictionary(ops.map { ($0.name, $0) }, uniquingKeysWith: { first, _ in first })
  }

  /// The op called `name`.
  public subscript(name: String) -> OpDef? { table[name] }
}

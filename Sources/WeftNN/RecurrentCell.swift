// What a recurrent cell is, and several of them in layers.

public import WeftGraph
internal import WeftOps
public import WeftTensors

/// What a recurrent cell carries from one step to the next.
///
/// The parts are in TensorFlow's order: an LSTM has `c`, then `h`; other cells have `h`. Layers
/// follow each other.
public struct RecurrentState {
  /// The parts, each `[N, width]`.
  public var parts: [Output]

  /// A state of these parts.
  public init(_ parts: [Output]) { self.parts = parts }
}

/// One step of a recurrent network.
public protocol RecurrentCell {
  /// The width of the output.
  var outputSize: Int { get }
  /// The widths of the state's parts.
  var stateSizes: [Int] { get }
  /// The cells one above the other that it consists of; itself when it is one.
  var layers: [any RecurrentCell] { get }

  /// Whether `projecting` does part of a step's work.
  var hasInputProjection: Bool { get }

  /// The part of a step that needs the input alone, for one step `[N, E]` or all `[T, N, E]`.
  ///
  /// Where it is a product with a matrix of its own, one large product serves all steps. Cells that
  /// need input and state together return the input.
  func projecting(_ input: Output) throws -> Output

  /// One step, from what `projecting` gave.
  func step(
    _ projected: Output, _ state: RecurrentState
  ) throws -> (output: Output, state: RecurrentState)
}

extension RecurrentCell {
  /// The cell itself.
  public var layers: [any RecurrentCell] { [self] }

  /// It does not.
  public var hasInputProjection: Bool { false }

  /// The input.
  public func projecting(_ input: Output) throws -> Output { input }

  /// One step from an input `[N, E]` and a state: the output `[N, outputSize]` and the next state.
  public func callAsFunction(
    _ input: Output, _ state: RecurrentState
  ) throws -> (output: Output, state: RecurrentState) {
    try step(try projecting(input), state)
  }

  /// A state of zeros for `batch` (an int32 scalar) rows.
  public func zeroState(batch: Output, dtype: DType) throws -> RecurrentState {
    let graph = batch.graph
    let zero = try graph.constant(0, dtype: dtype)
    return RecurrentState(
      try stateSizes.map { width in
        let dims = try stack([batch, try graph.constant(Int32(clamping: width))])
        return try fill(dims: dims, value: zero)
      })
  }
}

/// Cells one above the other: TensorFlow's `MultiRNNCell`.
public struct MultiCell: RecurrentCell {
  /// From the lowest, which gets the input, to the highest, which gives the output.
  public let layers: [any RecurrentCell]

  /// Layers of one cell or more.
  public init(_ layers: [any RecurrentCell]) throws {
    guard !layers.isEmpty else { throw WeftError(.invalidArgument, "a MultiCell needs a cell") }
    self.layers = layers.flatMap { $0.layers }
  }

  /// The highest layer's output width.
  public var outputSize: Int { layers.last?.outputSize ?? 0 }
  /// The widths of all layers' parts.
  public var stateSizes: [Int] { layers.flatMap { $0.stateSizes } }

  /// The lowest layer's.
  public var hasInputProjection: Bool { layers.first?.hasInputProjection ?? false }

  /// The lowest layer's.
  public func projecting(_ input: Output) throws -> Output {
    try layers.first?.projecting(input) ?? input
  }

  /// One step of each layer.
  public func step(
    _ projected: Output, _ state: RecurrentState
  ) throws -> (output: Output, state: RecurrentState) {
    guard state.parts.count == stateSizes.count else {
      throw WeftError(
        .invalidArgument,
        "a state of \(stateSizes.count) parts is needed, \(state.parts.count) are given")
    }
    var next = RecurrentState([])
    var output = projected
    var from = 0
    for (index, layer) in layers.enumerated() {
      let own = RecurrentState(Array(state.parts[from..<from + layer.stateSizes.count]))
      from += layer.stateSizes.count
      let input = index == 0 ? output : try layer.projecting(output)
      let result = try layer.step(input, own)
      output = result.output
      next.parts += result.state.parts
    }
    return (output, next)
  }
}

/// Checks that a state has `count` parts.
func requireParts(_ state: RecurrentState, _ count: Int, _ cell: String) throws {
  guard state.parts.count == count else {
    throw WeftError(
      .invalidArgument, "\(cell) needs a state of \(count) parts, got \(state.parts.count)")
  }
}

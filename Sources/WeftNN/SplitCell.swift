// The cells of Keras and PyTorch: one kernel for the input, one for the state.

public import WeftGraph
public import WeftOps
internal import WeftTensors

/// The kinds of recurrent cells that models choose from.
public enum CellKind: String, Sendable, Hashable, CaseIterable {
  /// `tanh` of a sum: the simple recurrent network.
  case rnn
  /// Long short-term memory.
  case lstm
  /// Gated recurrent unit.
  case gru

  var gateCount: Int {
    switch self {
    case .rnn: 1
    case .lstm: 4
    case .gru: 3
    }
  }
}

/// A cell with a kernel for the input and another for the state, as Keras and PyTorch have them,
/// with these frameworks' own layouts, so that their weights load as they are.
///
/// With `p = x K + b` and `s = h R` (for a GRU `h R + b'`):
/// - rnn: `h' = tanh(p + s)`
/// - lstm: `i, f, g, o = p + s`, `c' = σ(f) c + σ(i) tanh(g)`, `h' = σ(o) tanh(c')`
/// - gru: `n = tanh(p_n + σ(p_r + s_r) s_n)`, `z = σ(p_z + s_z)`, `h' = z h + (1 - z) n`
///
/// `p` is one product for all steps.
public struct SplitCell: RecurrentCell {
  /// Which cell it is.
  public let kind: CellKind
  /// For the input: `[E, gH]`, or `[gH, E]` in PyTorch's layout.
  public let kernel: Variable
  /// For the state: `[H, gH]`, or `[gH, H]` in PyTorch's layout.
  public let recurrentKernel: Variable
  /// The width of the output.
  public let outputSize: Int

  private let isTransposed: Bool
  private let inputBias: Output
  private let stateBias: Output?
  // Where the reset gate stands among a GRU's r and z.
  private let resetIndex: Int

  /// Keras's SimpleRNN, LSTM or GRU (reset after): `kernel` `[E, gH]` (glorot uniform),
  /// `recurrent_kernel` `[H, gH]` (orthogonal), `bias` `[gH]` (zero; one for an LSTM's forget gate),
  /// for a GRU `[2, 3H]`. Gates in the order i f c o, or z r h.
  public static func keras(
    _ kind: CellKind, _ scope: VariableScope, inputSize: Int, units: Int
  ) throws -> SplitCell {
    let width = kind.gateCount * units
    let kernel = try scope.variable(
      "kernel", shape: [inputSize, width], initializer: .glorotUniform())
    let recurrent = try scope.variable(
      "recurrent_kernel", shape: [units, width], initializer: .orthogonal())
    let inputBias: Output
    var stateBias: Output?
    switch kind {
    case .rnn:
      inputBias = try scope.variable("bias", shape: [width], initializer: .zeros).value
    case .lstm:
      inputBias = try scope.variable(
        "bias", shape: [width], initializer: forgetOnes(units: units)
      ).value
    case .gru:
      let both = try scope.variable("bias", shape: [2, width], initializer: .zeros)
      let rows = try unstack(both.value)
      (inputBias, stateBias) = (rows[0], rows[1])
    }
    return SplitCell(
      kind: kind, kernel: kernel, recurrentKernel: recurrent, outputSize: units,
      isTransposed: false, inputBias: inputBias, stateBias: stateBias, resetIndex: 1)
  }

  /// Layer `layer` of PyTorch's `nn.RNN`, `nn.LSTM` or `nn.GRU`: `weight_ih_l0` `[gH, E]`,
  /// `weight_hh_l0` `[gH, H]`, `bias_ih_l0` and `bias_hh_l0` `[gH]`, all uniform in `±1 / sqrt(H)`.
  /// Gates in the order i f g o, or r z n; nothing is added to the forget gate.
  public static func pytorch(
    _ kind: CellKind, _ scope: VariableScope, layer: Int = 0, inputSize: Int, units: Int
  ) throws -> SplitCell {
    let width = kind.gateCount * units
    let bound = 1 / Double(max(1, units)).squareRoot()
    func variable(_ name: String, _ shape: [Int]) throws -> Variable {
      try scope.variable(
        "\(kind.rawValue).\(name)_l\(layer)", shape: shape,
        initializer: .uniform(min: -bound, max: bound))
    }
    let kernel = try variable("weight_ih", [width, inputSize])
    let recurrent = try variable("weight_hh", [width, units])
    let first = try variable("bias_ih", [width]).value
    let second = try variable("bias_hh", [width]).value
    let inputBias = try kind == .gru ? first : first + second
    return SplitCell(
      kind: kind, kernel: kernel, recurrentKernel: recurrent, outputSize: units,
      isTransposed: true, inputBias: inputBias,
      stateBias: kind == .gru ? second : nil, resetIndex: 0)
  }

  /// One part `h`, or for an LSTM `c` and `h`.
  public var stateSizes: [Int] { kind == .lstm ? [outputSize, outputSize] : [outputSize] }

  /// Whether `projecting` does part of the work: it does.
  public var hasInputProjection: Bool { true }

  /// `x K + b`, over all steps at once for a `[T, N, E]` input.
  public func projecting(_ input: Output) throws -> Output {
    guard input.shape.rank == 3 else {
      return try biasAdd(
        try matmul(input, kernel.value, transposeB: isTransposed), inputBias)
    }
    let flat = try input.reshaped(to: [-1, inputSize])
    let rows = try biasAdd(
      try matmul(flat, kernel.value, transposeB: isTransposed), inputBias)
    return try rows.reshaped(to: try leadingDims(of: input, then: kind.gateCount * outputSize))
  }

  private var inputSize: Int { kernel.shape.dim(isTransposed ? 1 : 0).size ?? -1 }

  /// One step.
  public func step(
    _ projected: Output, _ state: RecurrentState
  ) throws -> (output: Output, state: RecurrentState) {
    try requireParts(state, stateSizes.count, "a \(kind.rawValue) cell")
    let h = state.parts[state.parts.count - 1]
    let inner = try matmul(h, recurrentKernel.value, transposeB: isTransposed)
    switch kind {
    case .rnn:
      let newH = try tanh(try projected + inner)
      return (newH, RecurrentState([newH]))
    case .lstm:
      let gates = try split(try projected + inner, count: 4, axis: 1)
      let kept = try sigmoid(gates[1]) * state.parts[0]
      let added = try sigmoid(gates[0]) * (try tanh(gates[2]))
      let newC = try kept + added
      let newH = try sigmoid(gates[3]) * (try tanh(newC))
      return (newH, RecurrentState([newC, newH]))
    case .gru:
      let biased = try stateBias.map { try biasAdd(inner, $0) } ?? inner
      let p = try split(projected, count: 3, axis: 1)
      let s = try split(biased, count: 3, axis: 1)
      let reset = try sigmoid(try p[resetIndex] + s[resetIndex])
      let update = try sigmoid(try p[1 - resetIndex] + s[1 - resetIndex])
      let fresh = try tanh(try p[2] + (try reset * s[2]))
      let one = try h.graph.constant(1, dtype: h.dtype)
      let newH = try update * h + (try (try one - update) * fresh)
      return (newH, RecurrentState([newH]))
    }
  }

  private static func forgetOnes(units: Int) -> Initializer {
    Initializer { graph, shape, dtype, _ in
      let dims = try graph.shapeConstant([units])
      let zeros = try fill(dims: dims, value: try graph.constant(0, dtype: dtype))
      let ones = try fill(dims: dims, value: try graph.constant(1, dtype: dtype))
      return try concat([zeros, ones, zeros, zeros], axis: 0)
    }
  }
}

/// The first two sizes of `x` `[T, N, ...]`, then `width`, as a shape tensor.
///
/// Sizes that are known only by name stay known by it, which -1 would lose.
func leadingDims(of x: Output, then width: Int) throws -> Output {
  let graph = x.graph
  let dims = try x.shapeTensor()
  let lead = try dims.stridedSlice(begin: [0], end: [2], strides: [1])
  return try concat([lead, try graph.shapeConstant([width])], axis: 0)
}

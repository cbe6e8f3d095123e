// TensorFlow 1's recurrent cells: input and state side by side, times one kernel.

public import WeftGraph
public import WeftOps
internal import WeftTensors

/// `h' = tanh([x, h] W + b)`: TensorFlow's `BasicRNNCell`.
public struct BasicRNNCell: RecurrentCell {
  /// `[E + H, H]`, `basic_rnn_cell/kernel`.
  public let kernel: Variable
  /// `[H]`, `basic_rnn_cell/bias`.
  public let bias: Variable
  /// The width of output and state.
  public let outputSize: Int

  /// A cell for inputs of width `inputSize`, its variables in `scope`.
  public init(
    _ scope: VariableScope, inputSize: Int, units: Int,
    kernelInitializer: Initializer = .glorotUniform()
  ) throws {
    let own = scope.scope("basic_rnn_cell")
    kernel = try own.variable(
      "kernel", shape: [inputSize + units, units], initializer: kernelInitializer)
    bias = try own.variable("bias", shape: [units], initializer: .zeros)
    outputSize = units
  }

  /// One part: `h`.
  public var stateSizes: [Int] { [outputSize] }

  /// One step.
  public func step(
    _ input: Output, _ state: RecurrentState
  ) throws -> (output: Output, state: RecurrentState) {
    try requireParts(state, 1, "BasicRNNCell")
    let joined = try concat([input, state.parts[0]], axis: 1)
    let h = try tanh(try biasAdd(try matmul(joined, kernel.value), bias.value))
    return (h, RecurrentState([h]))
  }
}

/// `i, j, f, o = [x, h] W + b`, `c' = c σ(f + forgetBias) + σ(i) tanh(j)`, `h' = σ(o) tanh(c')`:
/// TensorFlow's `BasicLSTMCell`.
public struct BasicLSTMCell: RecurrentCell {
  /// `[E + H, 4H]`, gates in the order i j f o, `basic_lstm_cell/kernel`.
  public let kernel: Variable
  /// `[4H]`, `basic_lstm_cell/bias`.
  public let bias: Variable
  /// The width of the output.
  public let outputSize: Int
  /// What is added to the forget gate before its sigmoid.
  public let forgetBias: Double

  /// A cell for inputs of width `inputSize`, its variables in `scope`.
  public init(
    _ scope: VariableScope, inputSize: Int, units: Int, forgetBias: Double = 1,
    kernelInitializer: Initializer = .glorotUniform()
  ) throws {
    let own = scope.scope("basic_lstm_cell")
    kernel = try own.variable(
      "kernel", shape: [inputSize + units, 4 * units], initializer: kernelInitializer)
    bias = try own.variable("bias", shape: [4 * units], initializer: .zeros)
    outputSize = units
    self.forgetBias = forgetBias
  }

  /// Two parts: `c` and `h`.
  public var stateSizes: [Int] { [outputSize, outputSize] }

  /// One step.
  public func step(
    _ input: Output, _ state: RecurrentState
  ) throws -> (output: Output, state: RecurrentState) {
    try requireParts(state, 2, "BasicLSTMCell")
    let (c, h) = (state.parts[0], state.parts[1])
    let joined = try concat([input, h], axis: 1)
    let gates = try split(
      try biasAdd(try matmul(joined, kernel.value), bias.value), count: 4, axis: 1)
    var forget = gates[2]
    if forgetBias != 0 {
      forget = try forget + (try input.graph.constant(forgetBias, dtype: forget.dtype))
    }
    let kept = try c * (try sigmoid(forget))
    let added = try sigmoid(gates[0]) * (try tanh(gates[1]))
    let newC = try kept + added
    let newH = try tanh(newC) * (try sigmoid(gates[3]))
    return (newH, RecurrentState([newC, newH]))
  }
}

/// `r, u = σ([x, h] Wg + bg)`, `c = tanh([x, r h] Wc + bc)`, `h' = u h + (1 - u) c`: TensorFlow's
/// `GRUCell`.
public struct GRUCell: RecurrentCell {
  /// `[E + H, 2H]`, gates in the order r u, `gru_cell/gates/kernel`.
  public let gatesKernel: Variable
  /// `[2H]`, one at the start, `gru_cell/gates/bias`.
  public let gatesBias: Variable
  /// `[E + H, H]`, `gru_cell/candidate/kernel`.
  public let candidateKernel: Variable
  /// `[H]`, `gru_cell/candidate/bias`.
  public let candidateBias: Variable
  /// The width of output and state.
  public let outputSize: Int

  /// A cell for inputs of width `inputSize`, its variables in `scope`.
  public init(
    _ scope: VariableScope, inputSize: Int, units: Int,
    kernelInitializer: Initializer = .glorotUniform()
  ) throws {
    let own = scope.scope("gru_cell")
    let gates = own.scope("gates")
    let candidate = own.scope("candidate")
    gatesKernel = try gates.variable(
      "kernel", shape: [inputSize + units, 2 * units], initializer: kernelInitializer)
    gatesBias = try gates.variable("bias", shape: [2 * units], initializer: .ones)
    candidateKernel = try candidate.variable(
      "kernel", shape: [inputSize + units, units], initializer: kernelInitializer)
    candidateBias = try candidate.variable("bias", shape: [units], initializer: .zeros)
    outputSize = units
  }

  /// One part: `h`.
  public var stateSizes: [Int] { [outputSize] }

  /// One step.
  public func step(
    _ input: Output, _ state: RecurrentState
  ) throws -> (output: Output, state: RecurrentState) {
    try requireParts(state, 1, "GRUCell")
    let h = state.parts[0]
    let joined = try concat([input, h], axis: 1)
    let gates = try sigmoid(
      try biasAdd(try matmul(joined, gatesKernel.value), gatesBias.value))
    let halves = try split(gates, count: 2, axis: 1)
    let (reset, update) = (halves[0], halves[1])
    let resetJoined = try concat([input, try reset * h], axis: 1)
    let candidate = try tanh(
      try biasAdd(try matmul(resetJoined, candidateKernel.value), candidateBias.value))
    let one = try input.graph.constant(1, dtype: h.dtype)
    let newH = try update * h + (try (try one - update) * candidate)
    return (newH, RecurrentState([newH]))
  }
}

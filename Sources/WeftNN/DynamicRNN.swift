// A recurrent cell over sequences whose length only a run decides: TensorFlow's `dynamic_rnn`.

public import WeftGraph
internal import WeftOps
internal import WeftTensors

/// What a dynamic network gives.
public struct DynamicResult {
  /// The highest layer's outputs, `[T, N, H]`, or `[N, T, H]` for batch-major input.
  public let outputs: Output
  /// The state after the last step, or with lengths after each row's own last step.
  public let state: RecurrentState
}

/// Runs `cell` over all steps of `sequence` in a loop; T need not be known.
///
/// TensorFlow: `dynamic_rnn`. What depends on the input alone is one product for all steps, outside
/// of the loop. Gradients flow to the cell's variables, the sequence and the initial state.
/// - Parameters:
///   - sequence: `[T, N, E]`, or `[N, T, E]` unless `isTimeMajor`.
///   - initialState: the state before the first step, such as another run's; zero when nil.
///   - lengths: integers `[N]`: past a row's length outputs are zero and its state stays as it was.
///   - isReversed: whether it goes from the last step to the first. With lengths each row begins at
///     its own last step.
public func dynamicRNN(
  _ cell: any RecurrentCell, over sequence: Output, initialState: RecurrentState? = nil,
  lengths: Output? = nil, isTimeMajor: Bool = true, isReversed: Bool = false,
  name: String = "rnn"
) throws -> DynamicResult {
  guard sequence.shape.rank == 3 else {
    throw WeftError(
      .invalidArgument,
      "a recurrent network needs a sequence of three dimensions, got \(sequence.shape)")
  }
  let graph = sequence.graph
  return try graph.withScope(name) {
    var input = isTimeMajor ? sequence : try sequence.transposed(permutation: [1, 0, 2])
    if isReversed, let lengths {
      input = try reverseSequence(input, lengths: lengths, timeAxis: 0, batchAxis: 1)
    }
    let batch = try input.shapeTensor().stridedSlice(
      begin: [1], end: [2], strides: [1], masks: SliceMasks(shrinkAxis: 1))
    let start = try initialState ?? cell.zeroState(batch: batch, dtype: sequence.dtype)
    try requireParts(start, cell.stateSizes.count, "this cell")
    let projected = try cell.projecting(input)
    var sequences = [projected]
    // Whether a row is still within its length, for each step: `[T, N, 1]`.
    if let lengths {
      let steps = try input.shapeTensor().stridedSlice(
        begin: [0], end: [1], strides: [1], masks: SliceMasks(shrinkAxis: 1))
      let numbers = try range(
        graph.constant(Int32(0)), steps, graph.constant(Int32(1))
      )
      .cast(to: lengths.dtype).expandingDims(axis: 1)
      sequences.append(
        try less(numbers, lengths.expandingDims(axis: 0)).expandingDims(axis: 2))
    }
    let result = try scan(
      sequences, state: start.parts, isReversed: isReversed && lengths == nil, name: "steps"
    ) { state, rows in
      let next = try cell.step(rows[0], RecurrentState(state))
      guard rows.count > 1 else { return (next.state.parts, [next.output]) }
      let active = rows[1]
      let parts = try zip(next.state.parts, state).map { fresh, kept in
        try select(active, fresh, kept)
      }
      return (parts, [try select(active, next.output, zerosLike(next.output))])
    }
    var outputs = result.values[0]
    if isReversed, let lengths {
      outputs = try reverseSequence(outputs, lengths: lengths, timeAxis: 0, batchAxis: 1)
    }
    return DynamicResult(
      outputs: isTimeMajor ? outputs : try outputs.transposed(permutation: [1, 0, 2]),
      state: RecurrentState(result.state))
  }
}

/// Runs one cell forward and another backward over a sequence.
///
/// TensorFlow: `bidirectional_dynamic_rnn`. The results are not joined.
public func bidirectionalRNN(
  forward: any RecurrentCell, backward: any RecurrentCell, over sequence: Output,
  initialStates: (forward: RecurrentState?, backward: RecurrentState?) = (nil, nil),
  lengths: Output? = nil, isTimeMajor: Bool = true, name: String = "bidirectional_rnn"
) throws -> (forward: DynamicResult, backward: DynamicResult) {
  try sequence.graph.withScope(name) {
    (
      try dynamicRNN(
        forward, over: sequence, initialState: initialStates.forward, lengths: lengths,
        isTimeMajor: isTimeMajor, name: "fw"),
      try dynamicRNN(
        backward, over: sequence, initialState: initialStates.backward, lengths: lengths,
        isTimeMajor: isTimeMajor, isReversed: true, name: "bw")
    )
  }
}

// Unrolling a recurrent cell over a fixed number of steps.

public import WeftGraph
internal import WeftOps
internal import WeftTensors

/// What an unrolled network gives.
public struct Unrolled {
  /// The highest layer's output of each step, `[N, H]`.
  public let outputs: [Output]
  /// The state after the last step, or with lengths after each row's own last step.
  public let state: RecurrentState

  /// The outputs as one tensor `[T, N, H]`.
  public func stacked() throws -> Output { try stack(outputs) }
}

/// Unrolls `cell` over the steps of `sequence`, `[T, N, E]` with a known T.
///
/// TensorFlow: `static_rnn`. A layer at a time is unrolled over all steps, so that what depends on a
/// layer's input alone is one product. Nodes stand under `name/`.
/// - Parameters:
///   - initialState: the state before the first step; zero when nil.
///   - lengths: int32 `[N]`: past a row's length outputs are zero and its state stays as it was.
public func unroll(
  _ cell: any RecurrentCell, over sequence: Output, initialState: RecurrentState? = nil,
  lengths: Output? = nil, name: String = "rnn"
) throws -> Unrolled {
  guard sequence.shape.rank == 3, let count = sequence.shape.dim(0).size, count > 0 else {
    throw WeftError(
      .invalidArgument,
      "unrolling needs a sequence [T, N, E] with a known T, got \(sequence.shape)")
  }
  let graph = sequence.graph
  return try graph.withScope(name) {
    let batch = try sequence.shapeTensor().stridedSlice(
      begin: [1], end: [2], strides: [1], masks: SliceMasks(shrinkAxis: 1))
    var unroller = try Unroller(
      cell: cell, scope: graph.currentScope, batch: batch, dtype: sequence.dtype,
      initialState: initialState, lengths: lengths, count: count)
    return try unroller.run(sequence: sequence, inputs: nil)
  }
}

/// Unrolls `cell` over `inputs`, one `[N, E]` for each step, as `static_rnn` takes them.
public func unroll(
  _ cell: any RecurrentCell, over inputs: [Output], initialState: RecurrentState? = nil,
  lengths: Output? = nil, name: String = "rnn"
) throws -> Unrolled {
  guard let first = inputs.first else {
    throw WeftError(.invalidArgument, "unrolling needs one step or more")
  }
  let graph = first.graph
  return try graph.withScope(name) {
    let batch = try first.shapeTensor().stridedSlice(
      begin: [0], end: [1], strides: [1], masks: SliceMasks(shrinkAxis: 1))
    var unroller = try Unroller(
      cell: cell, scope: graph.currentScope, batch: batch, dtype: first.dtype,
      initialState: initialState, lengths: lengths, count: inputs.count)
    return try unroller.run(sequence: nil, inputs: inputs)
  }
}

private struct Unroller {
  let cell: any RecurrentCell
  let scope: String
  let batch: Output
  let dtype: DType
  let initial: RecurrentState
  // For each step, `[N, 1]`: whether a row is still within its length.
  let active: [Output]
  private var zeros: [Int: Output] = [:]

  init(
    cell: any RecurrentCell, scope: String, batch: Output, dtype: DType,
    initialState: RecurrentState?, lengths: Output?, count: Int
  ) throws {
    self.cell = cell
    self.scope = scope
    self.batch = batch
    self.dtype = dtype
    let first = try initialState ?? cell.zeroState(batch: batch, dtype: dtype)
    try requireParts(first, cell.stateSizes.count, "this cell")
    initial = first
    guard let lengths else {
      active = []
      return
    }
    let column = try lengths.expandingDims(axis: 1)
    active = try (0..<count).map { step in
      try less(try lengths.graph.constant(Double(step), dtype: lengths.dtype), column)
    }
  }

  mutating func run(sequence: Output?, inputs: [Output]?) throws -> Unrolled {
    var steps = inputs ?? []
    var whole = sequence
    var final = RecurrentState([])
    var from = 0
    for (index, layer) in cell.layers.enumerated() {
      let width = layer.stateSizes.count
      var state = RecurrentState(Array(initial.parts[from..<from + width]))
      from += width
      // Nodes of step after step go to one scope: MatMul, MatMul_1, ...
      (steps, state) = try batch.graph.withAbsoluteScope("\(scope)cell_\(index)") {
        () throws -> ([Output], RecurrentState) in
        if layer.hasInputProjection {
          let all = try whole ?? stack(steps)
          steps = try unstack(try layer.projecting(all))
        } else if let all = whole {
          steps = try unstack(all)
        }
        return try unrollLayer(layer, steps, state)
      }
      whole = nil
      final.parts += state.parts
    }
    return Unrolled(outputs: steps, state: final)
  }

  private mutating func unrollLayer(
    _ layer: any RecurrentCell, _ inputs: [Output], _ start: RecurrentState
  ) throws -> ([Output], RecurrentState) {
    var state = start
    var outputs: [Output] = []
    outputs.reserveCapacity(inputs.count)
    for (index, input) in inputs.enumerated() {
      let next = try layer.step(input, state)
      guard !active.isEmpty else {
        state = next.state
        outputs.append(next.output)
        continue
      }
      let old = state.parts
      state.parts = try zip(next.state.parts, old).map { fresh, kept in
        try select(active[index], fresh, kept)
      }
      outputs.append(try select(active[index], next.output, try zero(layer.outputSize)))
    }
    return (outputs, state)
  }

  private mutating func zero(_ width: Int) throws -> Output {
    if let made = zeros[width] { return made }
    let graph = batch.graph
    let dims = try stack([batch, try graph.constant(Int32(clamping: width))])
    let fresh = try fill(dims: dims, value: try graph.constant(0, dtype: dtype))
    zeros[width] = fresh
    return fresh
  }
}

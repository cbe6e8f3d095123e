// Whole texts in one run: a loop in the graph draws each next id from the model's logits.

public import WeftGraph
internal import WeftOps
internal import WeftTensors

/// How a loop in the graph chooses ids.
public struct LoopSampling: Sendable, Hashable {
  /// What logits are divided by; 0 takes the best id.
  public var temperature: Double
  /// Only the best so many ids; nil for all.
  public var topK: Int?
  /// Only the best ids that together have this probability; nil for all.
  public var topP: Double?
  /// Ids that are never chosen.
  public var banned: [Int]
  /// Seeds of the draws; zeros leave them to the session's seed.
  public var seed: (Int, Int) { (seed1, seed2) }
  private let seed1: Int
  private let seed2: Int

  /// A way of choosing.
  public init(
    temperature: Double = 1, topK: Int? = nil, topP: Double? = nil, banned: [Int] = [],
    seed: (Int, Int) = (0, 0)
  ) {
    self.temperature = temperature
    self.topK = topK
    self.topP = topP
    self.banned = banned
    seed1 = seed.0
    seed2 = seed.1
  }

  func validate() throws(WeftError) {
    guard temperature >= 0, temperature.isFinite else {
      throw WeftError(.invalidArgument, "the temperature must be 0 or more, not \(temperature)")
    }
    if let topK, topK < 1 {
      throw WeftError(.invalidArgument, "top-k must be 1 or more, not \(topK)")
    }
    if let topP, !(topP > 0 && topP <= 1) {
      throw WeftError(.invalidArgument, "top-p must lie in (0, 1], not \(topP)")
    }
  }
}

/// What a generation loop gives.
public struct GeneratedIDs {
  /// The ids of each text, int32 `[N, maximum]`; `end` fills what comes after a text.
  public let ids: Output
  /// How many ids each text has, its end left out: int32 `[N]`.
  public let lengths: Output
  /// The state after the last step.
  public let state: RecurrentState
}

/// N texts at once, each until its `end` or `maximum` ids, in one run.
///
/// The loop ends when every text has. TensorFlow: a while loop of `step`, with `Multinomial` or
/// `ArgMax` for the choice.
/// - Parameters:
///   - first: the first ids, int32 `[N]`; they are not part of the result.
///   - state: the state before them.
///   - end: the id that ends a text.
///   - step: one step of the model: logits `[N, V]` with a known V, and the next state.
public func generationLoop(
  first: Output, state: RecurrentState, maximum: Int, end: Int,
  sampling: LoopSampling = LoopSampling(), name: String = "generate",
  step: (_ ids: Output, _ state: RecurrentState) throws -> (logits: Output, state: RecurrentState)
) throws -> GeneratedIDs {
  try sampling.validate()
  guard maximum >= 1, maximum <= 1 << 20, first.dtype == .int32, first.shape.rank == 1 else {
    throw WeftError(
      .invalidArgument,
      "generating needs first ids int32 [N] and a maximum of 1 or more, got \(first.type) and "
        + "\(maximum)")
  }
  let graph = first.graph
  return try graph.withScope(name) {
    let stop = try graph.constant(Int32(clamping: end), name: "end")
    let column = try first.expandingDims(axis: 1)
    let width = try fill(dims: [1, maximum], value: graph.constant(Int32(0)))
    let ids = try zerosLike(column) + width + stop
    let finished = try notEqual(first, first)
    let lengths = try zerosLike(first)
    let numbers = try graph.constant((0..<maximum).map { Int32(clamping: $0) }, name: "numbers")
    let results = try whileLoop(
      [try graph.constant(Int32(0)), first, ids, finished, lengths] + state.parts,
      maximumIterations: maximum, name: "loop",
      condition: { try logicalNot(all($0[3])) },
      body: { v in
        let result = try step(v[1], RecurrentState(Array(v.dropFirst(5))))
        let chosen = try choose(result.logits, sampling)
        let done = try logicalOr(v[3], equal(chosen, stop))
        let next = try select(done, zerosLike(chosen) + stop, chosen)
        let here = try equal(v[0], numbers)
        let written = try select(here, next.expandingDims(axis: 1), v[2])
        let counted = try v[4] + logicalNot(done).cast(to: .int32)
        return [try v[0] + v[0].graph.constant(Int32(1)), next, written, done, counted]
          + result.state.parts
      })
    return GeneratedIDs(
      ids: results[2], lengths: results[4], state: RecurrentState(Array(results.dropFirst(5))))
  }
}

/// One id for each row of `logits`, `[N, V]` with a known V: int32 `[N]`.
public func choose(_ logits: Output, _ sampling: LoopSampling) throws -> Output {
  try sampling.validate()
  guard logits.shape.rank == 2, let width = logits.shape.dim(1).size, width > 0 else {
    throw WeftError(
      .invalidArgument, "choosing needs logits [N, V] with a known V, got \(logits.shape)")
  }
  let graph = logits.graph
  var scores = logits
  let never = -1e30
  if !sampling.banned.isEmpty {
    var mask = [Float](repeating: 0, count: width)
    for id in sampling.banned {
      guard mask.indices.contains(id) else {
        throw WeftError(.invalidArgument, "the banned id \(id) is not one of \(width)")
      }
      mask[id] = Float(never)
    }
    scores = try scores + graph.constant(mask, name: "banned").cast(to: scores.dtype)
  }
  if sampling.temperature == 0 { return try argmax(scores, axis: 1, outputType: .int32) }
  scores = try scores / sampling.temperature
  let low = try graph.constant(never, dtype: scores.dtype)
  if let topK = sampling.topK, topK < width {
    let best = try WeftOps.topK(scores, k: topK).values
    let least = try best.sliced(begin: [0, topK - 1], size: [-1, 1])
    scores = try select(less(scores, least), low, scores)
  }
  if let topP = sampling.topP, topP < 1 {
    // The least score that is kept: the last one before which the better ones have less than topP.
    let best = try WeftOps.topK(scores, k: width).values
    let before = try cumulativeSum(softmax(best), axis: 1, exclusive: true)
    let kept = try select(
      less(before, graph.constant(topP, dtype: scores.dtype)), best, -low)
    scores = try select(less(scores, min(kept, axes: [1], keepDims: true)), low, scores)
  }
  let drawn = try multinomial(scores, count: graph.constant(Int32(1)), seed: sampling.seed)
  return try drawn.reshaped(to: [-1]).cast(to: .int32)
}

// Choosing the next id from logits: the best one, or a draw.

public import WeftTensors

/// How the next id is chosen.
public struct SamplingOptions: Sendable, Hashable {
  /// What logits are divided by; 0 takes the best id.
  public var temperature: Double
  /// Only the best so many ids; nil for all.
  public var topK: Int?
  /// Only the best ids that together have this probability; nil for all.
  public var topP: Double?

  /// Options.
  public init(temperature: Double = 1, topK: Int? = nil, topP: Double? = nil) {
    self.temperature = temperature
    self.topK = topK
    self.topP = topP
  }

  /// The best id.
  public static let best = SamplingOptions(temperature: 0)

  /// Throws (usage) for numbers that make no sense.
  public func validate() throws(WeftError) {
    guard temperature >= 0, temperature.isFinite else {
      throw WeftError(
        .invalidArgument, "the temperature must be 0 or more, not \(temperature)", category: .usage)
    }
    if let topK, topK < 1 {
      throw WeftError(.invalidArgument, "top-k must be 1 or more, not \(topK)", category: .usage)
    }
    if let topP, !(topP > 0 && topP <= 1) {
      throw WeftError(
        .invalidArgument, "top-p must lie in (0, 1], not \(topP)", category: .usage)
    }
  }
}

/// Draws ids from logits; the numbers depend on seed and stream alone.
public struct Sampler: Sendable {
  /// How ids are chosen.
  public let options: SamplingOptions
  private var random: SplitMix64

  /// A sampler before its first draw.
  /// - Parameter stream: which of several independent sequences of one seed.
  public init(_ options: SamplingOptions, seed: UInt64 = 0, stream: Int = 0) {
    self.options = options
    random = SplitMix64(seed: seed, stream: UInt64(truncatingIfNeeded: stream))
  }

  /// The next id.
  /// - Parameter banned: ids that are never chosen, by draw or as the best.
  /// - Throws: InvalidArgument for NaN, or when nothing is left to draw.
  public mutating func next(_ logits: [Double], banned: [Int] = []) throws(WeftError) -> Int {
    if let at = logits.firstIndex(where: { $0.isNaN }) {
      throw WeftError(.invalidArgument, "logit \(at) is not a number", category: .run)
    }
    var candidates = Array(logits.indices)
    if !banned.isEmpty {
      let out = Set(banned)
      candidates.removeAll { out.contains($0) }
    }
    guard options.temperature > 0 else { return try Sampler.best(logits, of: candidates) }
    candidates.removeAll { logits[$0] == -.infinity }
    guard !candidates.isEmpty else {
      throw WeftError(.invalidArgument, "no id is left to draw", category: .run)
    }
    // Best first; equal ones by id, so that the choice is the same everywhere.
    let isCut = options.topK.map { $0 < candidates.count } ?? false
    if isCut || options.topP != nil {
      candidates.sort { logits[$0] > logits[$1] || (logits[$0] == logits[$1] && $0 < $1) }
      if let k = options.topK { candidates = Array(candidates.prefix(k)) }
    }
    let top = candidates.reduce(-Double.infinity) { max($0, logits[$1]) }
    var weights = candidates.map { id -> Double in
      top == .infinity
        ? (logits[id] == .infinity ? 1 : 0)
        : ((logits[id] - top) / options.temperature).exponential
    }
    if let topP = options.topP, topP < 1 {
      let limit = topP * weights.reduce(0, +)
      var sum = 0.0
      var kept = 0
      while kept < weights.count, sum < limit {
        sum += weights[kept]
        kept += 1
      }
      weights.removeLast(weights.count - max(1, kept))
    }
    let total = weights.reduce(0, +)
    var point = Double(random.next() >> 11) * 0x1p-53 * total
    for (index, weight) in weights.enumerated() {
      point -= weight
      if point < 0 { return candidates[index] }
    }
    // Rounding may leave the point just past the last weight.
    return candidates[weights.lastIndex { $0 > 0 } ?? 0]
  }

  private static func best(_ logits: [Double], of ids: [Int]) throws(WeftError) -> Int {
    guard var best = ids.first else {
      throw WeftError(.invalidArgument, "no id is left to choose", category: .run)
    }
    for id in ids where logits[id] > logits[best] { best = id }
    return best
  }
}

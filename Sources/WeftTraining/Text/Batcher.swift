// Batches epoch after epoch, deterministic by seed and resumable at any batch.

public import WeftTensors

/// Where a batcher stands; small, and the same in every process.
public struct BatcherState: Sendable, Hashable, Codable {
  /// The seed that decides every epoch's order, together with the epoch's number.
  public var seed: UInt64
  /// The epoch the next batch belongs to, from 0.
  public var epoch: Int
  /// How many batches of that epoch have been handed out.
  public var position: Int
  /// A hash of texts and options: resuming with others would give other batches.
  public var content: String

  /// A state.
  public init(seed: UInt64, epoch: Int, position: Int, content: String) {
    self.seed = seed
    self.epoch = epoch
    self.position = position
    self.content = content
  }
}

/// Hands out batches of texts.
///
/// An epoch's batches are laid out when it begins, from the seed and the epoch's number alone; so
/// a state needs no generator inside, and a resumed run gets exactly the batches it would have got.
public struct Batcher: Sendable {
  /// The texts.
  public let texts: TokenTexts
  /// How they are put into batches.
  public let options: BatchingOptions
  /// Texts that no batch holds: too long for every width, or without a position to predict.
  public let droppedCount: Int
  /// The batches of each epoch.
  public let batchesPerEpoch: Int
  /// Where the batcher stands.
  public private(set) var state: BatcherState
  private let usable: [Int]
  private var layout: EpochLayout

  /// A batcher before its first batch.
  ///
  /// Throws for options that make no sense, and when not one batch would come.
  public init(
    _ texts: TokenTexts, options: BatchingOptions, seed: UInt64 = 0
  ) throws(WeftError) {
    try options.validate(for: texts)
    let largest = options.overlong == .drop ? options.widths.max() ?? Int.max : Int.max
    var usable: [Int] = []
    usable.reserveCapacity(texts.count)
    let order = options.order == .byLength ? texts.orderByLength() : Array(texts.indices)
    for i in order {
      let positions = options.positions(inTextOf: texts.length(of: i))
      if positions >= 1, positions <= largest { usable.append(i) }
    }
    var hash = ContentHash()
    texts.addContent(to: &hash)
    options.addContent(to: &hash)
    state = BatcherState(seed: seed, epoch: 0, position: 0, content: hash.hex)
    layout = EpochLayout(texts: texts, usable: usable, options: options, seed: seed, epoch: 0)
    guard layout.count > 0 else {
      let dropped = texts.count - usable.count
      throw WeftError(
        .failedPrecondition,
        "\(texts.count) texts make no batch of \(options.batchSize)"
          + (dropped > 0 ? ": \(dropped) of them fit no width" : ""),
        hint: options.lastBatch == .drop ? "choose a smaller batch" : nil)
    }
    self.texts = texts
    self.options = options
    self.usable = usable
    droppedCount = texts.count - usable.count
    batchesPerEpoch = layout.count
  }

  /// Goes to where another batcher of the same texts and options stood.
  ///
  /// Throws FailedPrecondition when texts or options differ, DataLoss for a position that no epoch
  /// has.
  public mutating func resume(from state: BatcherState) throws(WeftError) {
    guard state.content == self.state.content else {
      throw WeftError(
        .failedPrecondition, "the texts or batch options are not those the run began with",
        details: [.init("began with", state.content), .init("now", self.state.content)],
        hint: "resume with the same corpus, preparation and batch size")
    }
    guard (0..<1 << 40).contains(state.epoch), (0...batchesPerEpoch).contains(state.position) else {
      throw WeftError(
        .dataLoss,
        "the run stopped at batch \(state.position) of epoch \(state.epoch), but an epoch has "
          + "\(batchesPerEpoch)")
    }
    self.state = state
    layout = epochLayout()
  }

  /// The next batch of this epoch; nil at its end, and the call after that begins the next epoch.
  public mutating func next() -> TokenBatch? {
    guard state.position < batchesPerEpoch else {
      state.epoch += 1
      state.position = 0
      layout = epochLayout()
      return nil
    }
    state.position += 1
    return TokenBatch(
      unchecked: texts, rows: layout.rows(of: state.position - 1), options: options)
  }

  /// The next batch, going on from one epoch to the next.
  public mutating func nextAcrossEpochs() -> TokenBatch {
    if let batch = next() { return batch }
    state.position = 1
    return TokenBatch(unchecked: texts, rows: layout.rows(of: 0), options: options)
  }

  private func epochLayout() -> EpochLayout {
    EpochLayout(
      texts: texts, usable: usable, options: options, seed: state.seed, epoch: state.epoch)
  }
}

/// Which texts each batch of one epoch holds.
private struct EpochLayout: Sendable {
  private var order: [Int] = []
  private var ends: [Int] = []

  var count: Int { ends.count }

  func rows(of batch: Int) -> [Int] {
    Array(order[(batch == 0 ? 0 : ends[batch - 1])..<ends[batch]])
  }

  init(texts: TokenTexts, usable: [Int], options: BatchingOptions, seed: UInt64, epoch: Int) {
    var sequence = usable
    if case .shuffled(let buffer) = options.order {
      sequence = Self.shuffled(usable, buffer: buffer, seed: seed, epoch: epoch)
    }
    order.reserveCapacity(sequence.count)
    guard options.groupsByWidth, !options.widths.isEmpty else {
      order = sequence
      var end = 0
      while end < sequence.count {
        let size = min(options.batchSize, sequence.count - end)
        if size < options.batchSize, options.lastBatch == .drop { break }
        end += size
        ends.append(end)
      }
      return
    }
    let widths = Array(Set(options.widths)).sorted()
    var waiting = [[Int]](repeating: [], count: widths.count)
    for index in sequence {
      let width = options.width(
        fitting: options.positions(inTextOf: texts.length(of: index)))
      guard let bucket = widths.firstIndex(of: width) else { continue }
      waiting[bucket].append(index)
      if waiting[bucket].count == options.batchSize {
        close(waiting[bucket])
        waiting[bucket].removeAll(keepingCapacity: true)
      }
    }
    if options.lastBatch != .drop {
      for rest in waiting where !rest.isEmpty { close(rest) }
    }
  }

  private mutating func close(_ batch: [Int]) {
    order.append(contentsOf: batch)
    ends.append(order.count)
  }

  /// Draws from a buffer that the next element refills, as tf.data's shuffle does.
  private static func shuffled(
    _ indices: [Int], buffer size: Int, seed: UInt64, epoch: Int
  ) -> [Int] {
    var random = SplitMix64(seed: seed, stream: UInt64(truncatingIfNeeded: epoch))
    var buffer = Array(indices.prefix(size))
    var result: [Int] = []
    result.reserveCapacity(indices.count)
    for index in indices.dropFirst(size) {
      let slot = random.next(below: buffer.count)
      result.append(buffer[slot])
      buffer[slot] = index
    }
    while !buffer.isEmpty {
      let slot = random.next(below: buffer.count)
      result.append(buffer[slot])
      buffer[slot] = buffer[buffer.count - 1]
      buffer.removeLast()
    }
    return result
  }
}

/// A small generator whose numbers depend on a seed and a stream's number alone.
struct SplitMix64 {
  private var state: UInt64

  init(seed: UInt64, stream: UInt64) {
    state = seed
    state = Self.mixed(state &+ 0x9E37_79B9_7F4A_7C15) ^ Self.mixed(stream &+ 0xD1B5_4A32_D192_ED03)
  }

  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    return Self.mixed(state)
  }

  /// An even draw from `0 ..< bound`, by the high half of a product, unfair draws thrown away.
  mutating func next(below bound: Int) -> Int {
    let range = UInt64(bound)
    let threshold = (0 &- range) % range
    while true {
      let product = next().multipliedFullWidth(by: range)
      if product.low >= threshold { return Int(product.high) }
    }
  }

  private static func mixed(_ value: UInt64) -> UInt64 {
    var z = value
    z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
    return z ^ (z >> 31)
  }
}

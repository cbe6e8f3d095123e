// How texts are put into batches.

import WeftTensors

/// The order, the size and the widths of batches.
public struct BatchingOptions: Sendable, Hashable {
  /// The order in which an epoch takes the texts.
  public enum Order: Sendable, Hashable {
    /// As they stand.
    case asGiven
    /// Drawn at random from a buffer of this size that is refilled in order; anew each epoch.
    case shuffled(buffer: Int)
    /// By length; equal lengths as they stand.
    case byLength
  }

  /// What becomes of texts that do not make a full batch at the end of an epoch.
  public enum LastBatch: Sendable, Hashable {
    /// A smaller batch.
    case keep
    /// Left out.
    case drop
    /// A full batch whose last rows are padding of length 0.
    case fill
  }

  /// What a row's positions are to predict.
  public enum Targets: Sendable, Hashable {
    /// Inputs are all tokens but the last, targets all but the first.
    case nextToken
    /// Inputs are all tokens; targets the tokens shifted left, the last one repeated.
    case shiftedRepeatingLast
  }

  /// What becomes of a text that is longer than the largest width.
  public enum Overlong: Sendable, Hashable {
    /// It is left out.
    case drop
    /// Its first positions are taken.
    case cut
  }

  /// Texts in a batch, B.
  public var batchSize: Int
  /// The order of the texts.
  public var order: Order
  /// What becomes of the rest.
  public var lastBatch: LastBatch
  /// What is predicted.
  public var targets: Targets
  /// The widths T that batches may have; none: each batch is as wide as its longest row.
  public var widths: [Int]
  /// Whether texts wait until there is a batch of their own width; else texts that follow each
  /// other share a batch, as wide as the longest needs.
  public var groupsByWidth: Bool
  /// What becomes of texts that fit no width.
  public var overlong: Overlong
  /// The id that fills rows.
  public var padding: Int32

  /// Options; the defaults are those of the report's TensorFlow path.
  public init(
    batchSize: Int = 100, order: Order = .shuffled(buffer: 10_240), lastBatch: LastBatch = .keep,
    targets: Targets = .nextToken, widths: [Int] = [], groupsByWidth: Bool = false,
    overlong: Overlong = .drop, padding: Int32 = 0
  ) {
    self.batchSize = batchSize
    self.order = order
    self.lastBatch = lastBatch
    self.targets = targets
    self.widths = widths
    self.groupsByWidth = groupsByWidth
    self.overlong = overlong
    self.padding = padding
  }

  /// The report's TensorFlow path: shuffled, padded batches of 100.
  public static let reportTensorFlow = BatchingOptions()

  /// The report's PyTorch path: batches of 100 in order of length, a short last one dropped.
  public static let reportPyTorch = BatchingOptions(
    order: .byLength, lastBatch: .drop, targets: .shiftedRepeatingLast)

  /// Shuffled batches of texts of much the same length, each padded to one of `widths`.
  public static func bucketed(
    _ widths: [Int], batchSize: Int, lastBatch: LastBatch = .keep, overlong: Overlong = .drop
  ) -> BatchingOptions {
    BatchingOptions(
      batchSize: batchSize, lastBatch: lastBatch, widths: widths, groupsByWidth: true,
      overlong: overlong)
  }

  /// The positions that a text of this many tokens takes.
  func positions(inTextOf tokens: Int) -> Int {
    targets == .nextToken ? max(0, tokens - 1) : tokens
  }

  /// The smallest width that fits, the largest when none does, `needed` when there are none.
  func width(fitting needed: Int) -> Int {
    var best: Int?
    for width in widths where width >= needed { best = min(best ?? width, width) }
    return best ?? widths.max() ?? needed
  }

  /// Throws (usage) for options that make no sense, ResourceExhausted for a batch too large.
  func validate(for texts: TokenTexts, rows given: Int? = nil) throws(WeftError) {
    guard batchSize >= 1 else {
      throw WeftError(
        .invalidArgument, "a batch must have at least 1 text, not \(batchSize)", category: .usage)
    }
    if let width = widths.first(where: { $0 < 1 }) {
      throw WeftError(
        .invalidArgument, "a batch must have at least 1 position a row, not \(width)",
        category: .usage)
    }
    if case .shuffled(let buffer) = order, buffer < 1 {
      throw WeftError(
        .invalidArgument, "a shuffle buffer must hold at least 1 text, not \(buffer)",
        category: .usage)
    }
    let width = widths.max() ?? positions(inTextOf: texts.maximumLength)
    var rows = given ?? min(batchSize, texts.count)
    if lastBatch == .fill { rows = max(rows, batchSize) }
    let (size, overflow) = rows.multipliedReportingOverflow(by: width)
    guard !overflow, size <= Int(Int32.max) else {
      throw WeftError(
        .resourceExhausted, "a batch of \(rows) x \(width) tokens is too large",
        hint: "choose a smaller batch")
    }
  }

  /// Adds all that decides which batches come.
  func addContent(to hash: inout ContentHash) {
    hash.add(batchSize)
    switch order {
    case .asGiven: hash.add(0)
    case .shuffled(let buffer): hash.add(buffer)
    case .byLength: hash.add(-1)
    }
    hash.add(lastBatch == .keep ? 0 : lastBatch == .drop ? 1 : 2)
    hash.add(targets == .nextToken ? 0 : 1)
    hash.add(widths.count)
    for width in widths { hash.add(width) }
    hash.add(groupsByWidth ? 1 : 0)
    hash.add(overlong == .drop ? 0 : 1)
    hash.add(padding)
  }
}

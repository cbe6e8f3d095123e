// One padded batch: inputs, targets and lengths.

public import WeftTensors

/// A batch of texts as a train graph takes it, row after row in flat arrays.
public struct TokenBatch: Sendable, Hashable {
  /// The inputs, `[batchSize, width]`; past a row's length they are padding.
  public var tokens: [Int32]
  /// What each position is to predict, `[batchSize, width]`; padding past a row's length.
  public var targets: [Int32]
  /// How many positions of each row count, `[batchSize]`; 0 in a row that only fills the batch.
  public var lengths: [Int32]
  /// Rows, B.
  public var batchSize: Int
  /// Positions of each row, T.
  public var width: Int
  /// Rows that hold a text; the others only fill the batch.
  public var realCount: Int
  /// Which texts the rows hold.
  public var rows: [Int]

  /// The positions that count: characters predicted by this batch.
  public var positionCount: Int { lengths.reduce(0) { $0 + Int($1) } }

  /// The lengths as a mask of ones and zeros, `[batchSize, width]`.
  public var weights: [Float] {
    var result = [Float](repeating: 0, count: tokens.count)
    for (row, length) in lengths.enumerated() {
      for t in 0..<Int(length) { result[row * width + t] = 1 }
    }
    return result
  }

  /// The batch of the given texts, in the given order.
  ///
  /// The width is the smallest of `options.widths` that fits, or the longest row's when there are
  /// none. Throws OutOfRange for a row that is no text, and for a text that is longer than the
  /// largest width unless `options.overlong` is `cut`.
  public init(
    _ texts: TokenTexts, rows: [Int], options: BatchingOptions
  ) throws(WeftError) {
    let largest = options.widths.max()
    for row in rows {
      guard texts.indices.contains(row) else {
        throw WeftError(.outOfRange, "row \(row) of a batch is outside \(texts.count) texts")
      }
      if let largest, options.overlong == .drop {
        let length = options.positions(inTextOf: texts.length(of: row))
        guard length <= largest else {
          throw WeftError(
            .outOfRange, "text \(row) has \(length) positions; the largest width is \(largest)")
        }
      }
    }
    try options.validate(for: texts, rows: rows.count)
    self.init(unchecked: texts, rows: rows, options: options)
  }

  /// The batch of texts that are known to fit the options.
  init(unchecked texts: TokenTexts, rows: [Int], options: BatchingOptions) {
    let needed = rows.reduce(0) { max($0, options.positions(inTextOf: texts.length(of: $1))) }
    let width = options.width(fitting: needed)
    let size = options.lastBatch == .fill ? max(options.batchSize, rows.count) : rows.count
    var tokens = [Int32](repeating: options.padding, count: size * width)
    var targets = tokens
    var lengths = [Int32](repeating: 0, count: size)
    for (row, index) in rows.enumerated() {
      let text = texts[index]
      let length = min(options.positions(inTextOf: text.count), width)
      lengths[row] = Int32(truncatingIfNeeded: length)
      let base = row * width
      for t in 0..<length {
        tokens[base + t] = text[text.startIndex + t]
        targets[base + t] = text[min(text.startIndex + t + 1, text.endIndex - 1)]
      }
    }
    self.tokens = tokens
    self.targets = targets
    self.lengths = lengths
    self.rows = rows
    self.width = width
    batchSize = size
    realCount = rows.count
  }
}

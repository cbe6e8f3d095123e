// Many token sequences in two flat arrays.

public import WeftTensors

/// Texts as token ids, kept flat: 50,000 poems are two allocations instead of 50,000.
public struct TokenTexts: Sendable, Hashable, RandomAccessCollection {
  /// All tokens, text after text.
  public private(set) var tokens: [Int32]
  /// Where each text ends in `tokens`.
  public private(set) var ends: [Int]

  /// No texts.
  public init() {
    tokens = []
    ends = []
  }

  /// Texts given one by one.
  public init(_ texts: some Sequence<some Sequence<Int32>>) {
    self.init()
    for text in texts { append(text) }
  }

  /// Adds a text at the end.
  public mutating func append(_ text: some Sequence<Int32>) {
    tokens.append(contentsOf: text)
    ends.append(tokens.count)
  }

  /// The first index, 0.
  public var startIndex: Int { 0 }
  /// The number of texts.
  public var endIndex: Int { ends.count }

  /// The tokens of one text.
  public subscript(position: Int) -> ArraySlice<Int32> {
    tokens[(position == 0 ? 0 : ends[position - 1])..<ends[position]]
  }

  /// The number of tokens of one text.
  public func length(of position: Int) -> Int {
    ends[position] - (position == 0 ? 0 : ends[position - 1])
  }

  /// The tokens of the longest text.
  public var maximumLength: Int { (0..<count).reduce(0) { Swift.max($0, length(of: $1)) } }

  /// The texts left for training, and the last `fraction` of them.
  public func holdingOut(lastFraction fraction: Double) throws(WeftError) -> (
    training: TokenTexts, heldOut: TokenTexts
  ) {
    let cut = try HeldOutSplit.trainingCount(of: count, lastFraction: fraction)
    return (TokenTexts(self[..<cut]), TokenTexts(self[cut...]))
  }

  /// The texts in order of length; equal lengths keep their order.
  func sortedByLength() -> TokenTexts { TokenTexts(orderByLength().map { self[$0] }) }

  /// The positions in order of length; equal lengths keep their order.
  func orderByLength() -> [Int] {
    (0..<count).map { ($0, length(of: $0)) }.sorted { ($0.1, $0.0) < ($1.1, $1.0) }.map(\.0)
  }

  /// Says whether two sets of texts are the same, for resuming.
  func addContent(to hash: inout ContentHash) {
    hash.add(count)
    for end in ends { hash.add(end) }
    for token in tokens { hash.add(token) }
  }
}

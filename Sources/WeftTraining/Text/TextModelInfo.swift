// What a graph file says about its text: the collections `weft/text` and `weft/vocabulary`.

internal import OrderedCollections
public import WeftGraph
public import WeftTensors

#if canImport(FoundationEssentials)
  import FoundationEssentials
#else
  import Foundation
#endif

/// A model's vocabulary and preparation, as the collections of its graph file hold them.
public struct TextModelInfo: Sendable, Hashable {
  /// The collection's name of the JSON object: special ids, preparation, limits.
  public static let textCollection = "weft/text"
  /// The collection's name of the entries, one per id.
  public static let vocabularyCollection = "weft/vocabulary"

  /// The entries and special ids.
  public var vocabulary: Vocabulary
  /// The name of the preparation the training texts went through.
  public var preparationName: String
  /// The shortest text that was kept, in tokens with markers; nil when the file does not say.
  public var minimumTokens: Int?
  /// The longest text that was kept, in tokens with markers; nil when the file does not say.
  public var maximumTokens: Int?
  /// The share of unknown characters in the texts the vocabulary was made for; small vocabularies
  /// leave some out on purpose.
  public var unknownShare: Double

  /// What a file is to say about a vocabulary made by `preparation`.
  public init(
    vocabulary: Vocabulary, preparation: TextPreparation, unknownShare: Double = 0
  ) {
    self.vocabulary = vocabulary
    self.unknownShare = unknownShare
    preparationName = preparation.kind.rawValue
    minimumTokens = preparation.minimumTokens
    maximumTokens = preparation.maximumTokens
  }

  /// The preparation with the file's limits; throws for a name this version does not know.
  public func preparation() throws(WeftError) -> TextPreparation {
    try TextPreparation(
      named: preparationName, minimumTokens: minimumTokens, maximumTokens: maximumTokens)
  }

  // MARK: Collections

  /// The entry of `weft/text`: one JSON object, its keys sorted.
  public func textEntry() throws(WeftError) -> String {
    let stored = Stored(
      bos: vocabulary.bos, eos: vocabulary.eos, hash: vocabulary.contentHash,
      maxTokens: maximumTokens, minTokens: minimumTokens, pad: vocabulary.pad,
      preparation: preparationName, spareRows: vocabulary.spareRows, unk: vocabulary.unk,
      unknownShare: unknownShare > 0 ? unknownShare : nil)
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    do {
      return String(decoding: try encoder.encode(stored), as: UTF8.self)
    } catch {
      throw WeftError(.internal, "the vocabulary's description cannot be written: \(error)")
    }
  }

  /// The entries of `weft/vocabulary`, in id order; spare rows have none.
  public var vocabularyEntries: [String] { vocabulary.words }

  /// Reads both collections.
  ///
  /// Throws InvalidArgument for an entry that is not UTF-8, a text entry that is not such a JSON
  /// object, and what `Vocabulary` refuses; DataLoss when the entries do not match their hash.
  public init(
    textEntry: some Sequence<UInt8>, vocabularyEntries: some Sequence<some Sequence<UInt8>>
  ) throws(WeftError) {
    let stored: Stored
    do {
      stored = try JSONDecoder().decode(Stored.self, from: Data(Array(textEntry)))
    } catch {
      throw WeftError(
        .invalidArgument, "the collection \(Self.textCollection) holds no usable JSON object",
        details: [.init("reason", "\(error)")])
    }
    var words: [String] = []
    for entry in vocabularyEntries {
      let bytes = Array(entry)
      if let offset = TextScanning.firstInvalidUTF8(in: bytes) {
        throw WeftError(
          .invalidArgument,
          "entry \(words.count) of \(Self.vocabularyCollection) is not UTF-8 at byte \(offset)")
      }
      words.append(String(decoding: bytes, as: UTF8.self))
    }
    vocabulary = try Vocabulary(
      words: words, spareRows: stored.spareRows ?? 0, pad: stored.pad, unk: stored.unk,
      bos: stored.bos, eos: stored.eos)
    if let hash = stored.hash, hash != vocabulary.contentHash {
      throw WeftError(
        .dataLoss,
        "the vocabulary does not match its hash: \(vocabulary.contentHash), file says \(hash)",
        hint: "the entries of \(Self.vocabularyCollection) were changed or reordered")
    }
    preparationName = stored.preparation ?? TextPreparation.Kind.poems.rawValue
    minimumTokens = stored.minTokens
    maximumTokens = stored.maxTokens
    unknownShare = min(max(stored.unknownShare ?? 0, 0), 1)
  }

  // MARK: Graphs

  /// What `graph` says about its text; nil when it has no vocabulary.
  public init?(of graph: GraphSnapshot) throws(WeftError) {
    guard case .bytes(let words)? = graph.collections[Self.vocabularyCollection] else { return nil }
    guard case .bytes(let text)? = graph.collections[Self.textCollection], let entry = text.first
    else {
      throw WeftError(
        .invalidArgument, "the graph has a vocabulary, but no collection '\(Self.textCollection)'")
    }
    try self.init(textEntry: entry, vocabularyEntries: words)
  }

  /// Puts both collections into `graph`.
  public func store(in graph: Graph) throws(WeftError) {
    graph.collections[Self.textCollection] = .bytes([Array(try textEntry().utf8)])
    graph.collections[Self.vocabularyCollection] = .bytes(vocabularyEntries.map { Array($0.utf8) })
  }

  /// The hash of the graph's vocabulary, without making one of it.
  static func vocabularyHash(of graph: GraphSnapshot) -> String? {
    guard case .bytes(let words)? = graph.collections[vocabularyCollection] else { return nil }
    var hash = ContentHash()
    for word in words { hash.add(String(decoding: word, as: UTF8.self)) }
    return hash.hex
  }

  private struct Stored: Codable {
    var bos: Int32?
    var eos: Int32?
    var hash: String?
    var maxTokens: Int?
    var minTokens: Int?
    var pad: Int32?
    var preparation: String?
    var spareRows: Int?
    var unk: Int32?
    var unknownShare: Double?

    enum CodingKeys: String, CodingKey {
      case bos, eos, hash, pad, preparation, unk
      case maxTokens = "max_tokens"
      case minTokens = "min_tokens"
      case spareRows = "spare_rows"
      case unknownShare = "unknown_share"
    }
  }
}

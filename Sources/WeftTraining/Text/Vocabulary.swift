// Characters and their ids, with the special ids for padding, unknown characters and text ends.

public import WeftTensors

/// The entries of a model's vocabulary, in id order, and what its special ids are.
///
/// An entry is a character (one Unicode scalar, as Python iterates strings) or the name of a
/// special id, such as `PAD` or `bos`. Rows of the embedding past the last entry are spare.
public struct Vocabulary: Sendable, Hashable, CustomStringConvertible {
  /// The entry of each id.
  public let words: [String]
  /// Rows a model has past the last entry; the report's PyTorch path has one.
  public let spareRows: Int
  /// The id that fills batches, if the vocabulary has one.
  public let pad: Int32?
  /// The id of characters that have none, if the vocabulary has one; it may be a spare row.
  public let unk: Int32?
  /// The id of the start marker, if the vocabulary has one.
  public let bos: Int32?
  /// The id of the end marker, if the vocabulary has one.
  public let eos: Int32?
  /// A hash of the entries and their order, as 16 hexadecimal digits.
  public let contentHash: String
  private let ids: [UInt32: Int32]

  /// A vocabulary of `words` in id order.
  ///
  /// Throws InvalidArgument when there is no entry, an entry is empty or stands twice, or a special
  /// id lies outside `0 ..< words.count + spareRows`.
  public init(
    words: [String], spareRows: Int = 0, pad: Int32? = nil, unk: Int32? = nil, bos: Int32? = nil,
    eos: Int32? = nil
  ) throws(WeftError) {
    guard !words.isEmpty else {
      throw WeftError(.invalidArgument, "the vocabulary has no entry")
    }
    guard spareRows >= 0, spareRows <= 1 << 20, words.count < 1 << 30 else {
      throw WeftError(
        .invalidArgument,
        "a vocabulary of \(words.count) entries and \(spareRows) spare rows is out of bounds")
    }
    let rows = words.count + spareRows
    let specials = [("pad", pad), ("unk", unk), ("bos", bos), ("eos", eos)]
    for case (let label, let id?) in specials where id < 0 || Int(id) >= rows {
      throw WeftError(
        .invalidArgument, "the vocabulary's \(label) id is \(id), outside 0 ..< \(rows)")
    }
    var first: [String: Int] = [:]
    var ids: [UInt32: Int32] = [:]
    var hash = ContentHash()
    first.reserveCapacity(words.count)
    ids.reserveCapacity(words.count)
    for (id, word) in words.enumerated() {
      guard !word.isEmpty else {
        throw WeftError(.invalidArgument, "entry \(id) of the vocabulary is empty")
      }
      hash.add(word)
      let scalars = word.unicodeScalars
      if scalars.count == 1, let scalar = scalars.first {
        // Compared as scalars: Swift's strings would also find canonical equivalents equal.
        if let other = ids.updateValue(Int32(id), forKey: scalar.value) {
          throw Self.duplicate(word, Int(other), id)
        }
      } else if let other = first.updateValue(id, forKey: word) {
        throw Self.duplicate(word, other, id)
      }
    }
    // A marker that looks like a character, such as the report's G, is not found in a text.
    for case let id? in [pad, bos, eos] where Int(id) < words.count {
      let scalars = words[Int(id)].unicodeScalars
      if scalars.count == 1, let scalar = scalars.first { ids[scalar.value] = nil }
    }
    self.words = words
    self.spareRows = spareRows
    self.pad = pad
    self.unk = unk
    self.bos = bos
    self.eos = eos
    self.ids = ids
    contentHash = hash.hex
  }

  private static func duplicate(_ word: String, _ first: Int, _ second: Int) -> WeftError {
    WeftError(
      .invalidArgument,
      "`\(word)` stands twice in the vocabulary, as entries \(first) and \(second)"
    )
  }

  /// The rows a model needs: entries and spare rows.
  public var rowCount: Int { words.count + spareRows }

  /// One line for logs.
  public var description: String { "vocabulary of \(rowCount) (\(contentHash))" }

  /// Equal when entries and special ids are.
  public static func == (a: Vocabulary, b: Vocabulary) -> Bool {
    a.contentHash == b.contentHash && a.words == b.words && a.spareRows == b.spareRows
      && a.pad == b.pad && a.unk == b.unk && a.bos == b.bos && a.eos == b.eos
  }

  /// Hashes what identifies the vocabulary.
  public func hash(into hasher: inout Hasher) { hasher.combine(contentHash) }

  // MARK: Looking up

  /// The id of a character, or nil when the vocabulary does not have it; markers are not found.
  public func id(of character: Unicode.Scalar) -> Int32? { ids[character.value] }

  /// The entry of an id, or nil for a spare row or an id outside the vocabulary.
  public func word(of id: Int32) -> String? {
    id >= 0 && Int(id) < words.count ? words[Int(id)] : nil
  }

  /// Whether the id is one of pad, unk, bos and eos.
  public func isSpecial(_ id: Int32) -> Bool { id == pad || id == unk || id == bos || id == eos }

  // MARK: Whole texts

  /// The ids of a text's characters, without markers; unknown characters become `unk`.
  ///
  /// Throws, naming the character and what is near it, when there is no `unk`.
  public func encode(_ text: String) throws(WeftError) -> [Int32] {
    var result: [Int32] = []
    for scalar in text.unicodeScalars {
      guard let id = ids[scalar.value] ?? unk else { throw unknownCharacterError(scalar) }
      result.append(id)
    }
    return result
  }

  /// The ids of a text to go on from; throws when a character is unknown, even with an `unk`,
  /// naming it with near or simplified or traditional characters that are in the vocabulary.
  public func encodeStart(_ text: String) throws(WeftError) -> [Int32] {
    var result: [Int32] = []
    for scalar in text.unicodeScalars {
      guard let id = ids[scalar.value] else { throw unknownCharacterError(scalar) }
      result.append(id)
    }
    return result
  }

  /// The text of `tokens`: stops before `eos`, leaves out pad and bos, writes □ for unknown ones.
  public func decode(_ tokens: some Sequence<Int32>) -> String {
    var text = ""
    for token in tokens {
      if token == eos { break }
      if token == pad || token == bos { continue }
      text += token == unk ? "□" : word(of: token) ?? "□"
    }
    return text
  }

  /// The characters of `text` that the vocabulary lacks, and all its characters.
  public func unknownCount(in text: String) -> (unknown: Int, total: Int) {
    var unknown = 0
    var total = 0
    for scalar in text.unicodeScalars {
      total += 1
      if ids[scalar.value] == nil { unknown += 1 }
    }
    return (unknown, total)
  }

  // MARK: Suggestions

  /// Other forms of a character (simplified, traditional, variants) that are in the vocabulary.
  public func variants(of character: Unicode.Scalar) -> [Unicode.Scalar] {
    CharacterVariants.of(character).filter { ids[$0.value] != nil }
  }

  /// The first Chinese characters in id order: the most frequent ones of the training text.
  public func frequentCharacters(_ count: Int) -> [Unicode.Scalar] {
    var result: [Unicode.Scalar] = []
    for (id, word) in words.enumerated() where result.count < count {
      let scalars = word.unicodeScalars
      guard scalars.count == 1, let scalar = scalars.first, CharacterVariants.isHan(scalar),
        !isSpecial(Int32(id))
      else { continue }
      result.append(scalar)
    }
    return result
  }

  /// What to try instead of an unknown character: its other forms, else frequent characters.
  public func suggestions(for character: Unicode.Scalar, limit: Int = 9) -> [Unicode.Scalar] {
    let other = variants(of: character)
    return other.isEmpty ? frequentCharacters(limit) : Array(other.prefix(limit))
  }

  /// The error for a character that is not in the vocabulary.
  public func unknownCharacterError(_ character: Unicode.Scalar) -> WeftError {
    let code = String(character.value, radix: 16, uppercase: true)
    let padded = String(repeating: "0", count: max(0, 4 - code.count)) + code
    let shown = character.properties.generalCategory == .control ? "" : "\(character) "
    let list = suggestions(for: character).map { "\($0)" }.joined(separator: " ")
    let hint: String?
    if list.isEmpty {
      hint = nil
    } else if variants(of: character).isEmpty {
      hint = "frequent characters that are in it: \(list)"
    } else {
      hint = "another form of it is in the vocabulary: \(list)"
    }
    return WeftError(
      .invalidArgument,
      "the character \(shown)(U+\(padded)) is not in the vocabulary of \(words.count) entries",
      hint: hint)
  }
}

// From a corpus to token sequences and a vocabulary: the report's two ways, and the product's own.

public import WeftTensors

/// How the texts of a corpus become token sequences.
///
/// - `report-tensorflow`: bos, the body's characters without ASCII colons, eos; longer than 200
///   tokens dropped. Vocabulary: `PAD`, `UNK`, then by falling frequency (markers counted too),
///   ties as first seen. A line without a colon, or a blank one, is a text without characters.
/// - `report-pytorch`: G, the characters, E. Spaces are removed; texts that hold any of
///   `_ ( （ 《 [`, a marker, a second colon, or not 5 to 80 characters are dropped. Untitled lines
///   are each a text of their own, and lose `，` and `。` too. Sorted by length; vocabulary by falling
///   frequency, ties as first seen, then a space; one spare row, which unknown characters take.
/// - `poems`: see `PoemCleaner`: notes removed, damaged texts dropped, long texts cut at sentence
///   ends. Vocabulary: `PAD`, `UNK`, `bos`, `eos`, then by falling frequency, ties as first seen.
public struct TextPreparation: Sendable, Hashable {
  /// The preparations by the names that graph files hold.
  public enum Kind: String, Sendable, Hashable, CaseIterable {
    /// The report's TensorFlow path.
    case reportTensorFlow = "report-tensorflow"
    /// The report's PyTorch path.
    case reportPyTorch = "report-pytorch"
    /// The product's own.
    case poems
  }

  /// Which preparation it is.
  public var kind: Kind
  /// Texts of fewer tokens, markers included, are dropped.
  public var minimumTokens: Int
  /// Texts of more tokens, markers included, are dropped, or cut by `poems`.
  public var maximumTokens: Int
  /// `poems` only: characters that occur less often than this become unknown ones.
  public var minimumOccurrences = 1

  /// A preparation with its own limits where none are given: 2...200 tokens for
  /// `report-tensorflow`, 7...82 for the others. Throws (usage) for limits that contradict.
  public init(
    _ kind: Kind, minimumTokens: Int? = nil, maximumTokens: Int? = nil
  ) throws(WeftError) {
    self.init(kind)
    if let minimumTokens { self.minimumTokens = minimumTokens }
    if let maximumTokens { self.maximumTokens = maximumTokens }
    guard self.minimumTokens >= 2, self.maximumTokens >= max(3, self.minimumTokens),
      self.maximumTokens <= 1 << 24
    else {
      throw WeftError(
        .invalidArgument,
        "texts of \(self.minimumTokens) to \(self.maximumTokens) tokens cannot be prepared: "
          + "the two markers count, and the limits must be in order",
        category: .usage)
    }
  }

  /// A preparation by its name; throws (usage) with the known names for another one.
  public init(
    named name: String, minimumTokens: Int? = nil, maximumTokens: Int? = nil
  ) throws(WeftError) {
    guard let kind = Kind(rawValue: name) else {
      let known = Kind.allCases.map(\.rawValue).joined(separator: ", ")
      throw WeftError(
        .invalidArgument, "no preparation is called `\(name)`", category: .usage,
        hint: "the preparations are \(known)")
    }
    try self.init(kind, minimumTokens: minimumTokens, maximumTokens: maximumTokens)
  }

  private init(_ kind: Kind) {
    self.kind = kind
    (minimumTokens, maximumTokens) = kind == .reportTensorFlow ? (2, 200) : (7, 82)
  }

  /// The report's TensorFlow path.
  public static let reportTensorFlow = TextPreparation(.reportTensorFlow)
  /// The report's PyTorch path.
  public static let reportPyTorch = TextPreparation(.reportPyTorch)
  /// The product's own.
  public static let poems = TextPreparation(.poems)

  /// The corpus as tokens, with a vocabulary made from it.
  public func prepare(_ corpus: Corpus) throws(WeftError) -> PreparedTexts {
    let coded = try code(corpus)
    let (vocabulary, ids) = try coded.vocabulary(for: self)
    return try coded.prepared(self, vocabulary, ids)
  }

  /// The corpus as tokens of a vocabulary that is there already, such as a loaded model's.
  ///
  /// Characters it lacks become `unk`, and are counted; throws when it has no `unk`, or no markers.
  public func prepare(
    _ corpus: Corpus, with vocabulary: Vocabulary
  ) throws(WeftError) -> PreparedTexts {
    guard vocabulary.bos != nil, vocabulary.eos != nil else {
      throw WeftError(
        .failedPrecondition,
        "the preparation \(kind.rawValue) needs a vocabulary with bos and eos ids")
    }
    let coded = try code(corpus)
    return try coded.prepared(self, vocabulary, coded.ids(in: vocabulary))
  }

  private func code(_ corpus: Corpus) throws(WeftError) -> CodedTexts {
    var coded = CodedTexts(minimumTokens: minimumTokens, maximumTokens: maximumTokens)
    switch kind {
    case .reportTensorFlow:
      for text in corpus.texts {
        coded.append(text.body.unicodeScalars.lazy.filter { $0 != ":" }.map(\.value))
      }
    case .reportPyTorch:
      for text in corpus.texts {
        if corpus.format(of: text) == .untitledLines {
          for line in text.lines { appendReportPyTorch(line, isUntitled: true, to: &coded) }
        } else {
          appendReportPyTorch(text.body, isUntitled: false, to: &coded)
        }
      }
      coded.sortByLength()
    case .poems:
      var cleaner = PoemCleaner()
      for text in corpus.texts {
        guard let characters = cleaner.clean(text.body) else {
          coded.dropped.unwanted += 1
          continue
        }
        let pieces = PoemCleaner.pieces(of: characters, limit: maximumTokens - 2)
        coded.dropped.cut += pieces.count > 1 ? 1 : 0
        for piece in pieces { coded.append(piece.lazy.map(\.value)) }
        if pieces.isEmpty { coded.dropped.tooShort += 1 }
      }
    }
    guard coded.ends.isEmpty else { return coded }
    throw WeftError(
      .invalidArgument,
      "no text is left of \(corpus.texts.count) after the preparation \(kind.rawValue): "
        + coded.dropped.description,
      details: corpus.files.prefix(3).map { .init("file", "\($0.path) (\($0.format.rawValue))") },
      hint: "texts of \(minimumTokens) to \(maximumTokens) tokens are kept, markers included")
  }

  private func appendReportPyTorch(_ text: String, isUntitled: Bool, to coded: inout CodedTexts) {
    var characters: [UInt32] = []
    for scalar in text.unicodeScalars {
      switch scalar {
      case " ": continue
      case "，", "。":
        if isUntitled { continue }
      case "_", "(", "（", "《", "[", "G", "E":
        coded.dropped.unwanted += 1
        return
      case ":":
        // The report's program splits titled lines at colons and skips what is not two parts.
        if !isUntitled {
          coded.dropped.unwanted += 1
          return
        }
      default: break
      }
      characters.append(scalar.value)
    }
    coded.append(characters)
  }
}

/// How many texts a preparation left out or cut, and why.
public struct DroppedTexts: Sendable, Hashable, CustomStringConvertible {
  /// Texts with fewer tokens than the minimum.
  public var tooShort = 0
  /// Texts with more tokens than the maximum.
  public var tooLong = 0
  /// Texts that hold what the preparation refuses, such as notes or missing characters.
  public var unwanted = 0
  /// Texts that were cut into several pieces; these are kept.
  public var cut = 0

  /// No text.
  public init() {}

  /// One line for logs.
  public var description: String {
    "\(tooShort) too short, \(tooLong) too long, \(unwanted) damaged or annotated, \(cut) cut"
  }
}

/// Texts ready for batches, with their vocabulary.
public struct PreparedTexts: Sendable, Hashable {
  /// What made them.
  public var preparation: TextPreparation
  /// The vocabulary their tokens belong to.
  public var vocabulary: Vocabulary
  /// The texts with their markers; `report-pytorch` has them in order of length.
  public var texts: TokenTexts
  /// What was left out.
  public var dropped: DroppedTexts
  /// Characters in the texts, markers not counted.
  public var characterCount: Int
  /// Characters among them that the vocabulary lacks.
  public var unknownCount: Int

  /// The share of unknown characters, 0 to 1.
  public var unknownShare: Double {
    characterCount == 0 ? 0 : Double(unknownCount) / Double(characterCount)
  }

  /// What the model's graph file is to say.
  public var info: TextModelInfo {
    TextModelInfo(
      vocabulary: vocabulary, preparation: preparation, unknownShare: unknownShare)
  }

  /// Throws FailedPrecondition when more than `limit` of the characters are unknown.
  public func requireUnknownShare(atMost limit: Double) throws(WeftError) {
    guard unknownShare > limit else { return }
    func percent(_ share: Double) -> String { "\((share * 1000).rounded() / 10) %" }
    throw WeftError(
      .failedPrecondition,
      "\(unknownCount) of the corpus's \(characterCount) characters (\(percent(unknownShare))) are "
        + "not in the model's vocabulary; the limit is \(percent(limit))",
      hint: "train on the corpus the vocabulary was made from, or make a new model for this one")
  }
}

// A corpus: texts with title, author and lines, read from files told apart by their content.

public import WeftTensors

/// How a corpus file is laid out; found by looking at its content, never at its name.
public enum CorpusFormat: String, Sendable, Hashable, CaseIterable {
  /// One text a line, `title:content`.
  case titledLines = "title:content lines"
  /// Free lines without titles, blank lines between texts.
  case untitledLines = "untitled lines"
  /// A JSON array of objects with `title`, `author` and `paragraphs`, as chinese-poetry has it.
  case poetryJSON = "chinese-poetry JSON"
  /// Records separated by `%` lines, with title and author lines and terminal colours.
  case fortunes = "fortune records"
}

/// One file a corpus was read from.
public struct CorpusFile: Sendable, Hashable {
  /// The path as it was asked for, or the name given for bytes in memory.
  public var path: String
  /// The layout that was found.
  public var format: CorpusFormat

  /// A file of a corpus.
  public init(path: String, format: CorpusFormat) {
    self.path = path
    self.format = format
  }
}

/// One text of a corpus as it stands in its file; preparations decide what becomes of it.
public struct CorpusText: Sendable, Hashable {
  /// The title, when the format has one. For `title:content` lines, all before the first colon.
  public var title: String?
  /// The author, when the format has one.
  public var author: String?
  /// The body, line by line; `title:content` lines have one line, all after the first colon.
  public var lines: [String]
  /// The index in `Corpus.files` of the file the text comes from.
  public var file: Int
  /// The line of that file, from 1, where the text begins.
  public var line: Int

  /// A text of a corpus.
  public init(
    title: String? = nil, author: String? = nil, lines: [String], file: Int = 0, line: Int = 1
  ) {
    self.title = title
    self.author = author
    self.lines = lines
    self.file = file
    self.line = line
  }

  /// The lines joined without anything between them.
  public var body: String { lines.count == 1 ? lines[0] : lines.joined() }
}

/// Texts in the order of their files.
public struct Corpus: Sendable, Hashable {
  /// The texts, in file order.
  public var texts: [CorpusText]
  /// The files they come from, in the order they were read.
  public var files: [CorpusFile]

  /// A corpus of given texts.
  public init(texts: [CorpusText], files: [CorpusFile]) {
    self.texts = texts
    self.files = files
  }

  /// The corpus in `bytes`, a whole file; `name` stands for it in errors.
  ///
  /// Throws InvalidArgument for text that is not UTF-8 (with the byte offset), for JSON of another
  /// shape, and for a file without any text.
  public init(bytes: [UInt8], name: String) throws(WeftError) {
    self.init(texts: [], files: [])
    if !bytes.isEmpty { try append(bytes: bytes, name: name) }
    try requireTexts(from: name)
  }

  /// The corpus at `path`: a file, or a folder whose files are read in sorted order.
  ///
  /// Of a folder, hidden files, sub-folders, `strfile` indexes and second names of a file already
  /// read are passed over. A missing or unreadable path is NotFound of category `noInput`.
  public init(path: String) throws(WeftError) {
    self.init(texts: [], files: [])
    for (name, bytes) in try CorpusFiles.read(path) where !bytes.isEmpty {
      try append(bytes: bytes, name: name)
    }
    try requireTexts(from: path)
  }

  /// The corpus used when none is named: the file `tang300` of Debian's package `fortunes-zh`.
  public static func standard() throws(WeftError) -> Corpus {
    guard let path = CorpusFiles.standardPath() else {
      throw WeftError(
        .notFound, "no corpus was named and the standard one, tang300, is not installed",
        category: .noInput,
        details: [.init("searched", CorpusFiles.standardFolders.joined(separator: ", "))],
        hint: "apt-get install fortunes-zh, or name a corpus with --data")
    }
    return try Corpus(path: path)
  }

  /// The texts left for training, and the last `fraction` of the texts.
  ///
  /// At least one text stays on either side; throws for a fraction outside (0, 1) or one text.
  public func holdingOut(lastFraction fraction: Double) throws(WeftError) -> (
    training: Corpus, heldOut: Corpus
  ) {
    let cut = try HeldOutSplit.trainingCount(of: texts.count, lastFraction: fraction)
    return (
      Corpus(texts: Array(texts[..<cut]), files: files),
      Corpus(texts: Array(texts[cut...]), files: files)
    )
  }

  /// The format of the file a text comes from.
  public func format(of text: CorpusText) -> CorpusFormat? {
    files.indices.contains(text.file) ? files[text.file].format : nil
  }

  private mutating func append(bytes: [UInt8], name: String) throws(WeftError) {
    try TextScanning.validateUTF8(bytes, file: name)
    let (format, found) = try CorpusReaders.read(bytes, name: name)
    let file = files.count
    files.append(CorpusFile(path: name, format: format))
    texts.reserveCapacity(texts.count + found.count)
    for var text in found {
      text.file = file
      texts.append(text)
    }
  }

  private func requireTexts(from name: String) throws(WeftError) {
    for text in texts where text.lines.contains(where: { !$0.isEmpty }) { return }
    let format = files.first.map { ", read as \($0.format.rawValue)" } ?? ""
    throw WeftError(
      .invalidArgument, "the corpus \(name) holds no text\(format)",
      hint: "a corpus has `title:content` lines, plain lines with blank lines between texts, "
        + "chinese-poetry JSON, or fortune records")
  }
}

/// Where a list is cut when its last part is held out.
enum HeldOutSplit {
  static func trainingCount(
    of count: Int, lastFraction fraction: Double
  ) throws(WeftError) -> Int {
    guard fraction > 0, fraction < 1 else {
      throw WeftError(
        .invalidArgument, "the held-out fraction must lie between 0 and 1, not \(fraction)",
        category: .usage)
    }
    guard count >= 2 else {
      throw WeftError(
        .failedPrecondition, "\(count) text cannot be split into training and held-out parts")
    }
    let heldOut = Int((Double(count) * fraction).rounded())
    return count - min(max(heldOut, 1), count - 1)
  }
}

// The four corpus layouts: how each is recognised, and how each is read.

import WeftTensors

#if canImport(FoundationEssentials)
  import FoundationEssentials
#else
  import Foundation
#endif

enum CorpusReaders {
  /// Reads bytes that are known to be UTF-8.
  static func read(
    _ bytes: [UInt8], name: String
  ) throws(WeftError) -> (CorpusFormat, [CorpusText]) {
    let start = bytes.starts(with: TextScanning.byteOrderMark) ? 3 : 0
    if looksLikeJSON(bytes, from: start) {
      return (.poetryJSON, try readJSON(bytes, from: start, name: name))
    }
    let lines = TextScanning.lines(of: bytes, from: start)
    let format = lineFormat(bytes, lines)
    switch format {
    case .fortunes: return (format, readFortunes(bytes, lines))
    case .titledLines: return (format, readTitled(bytes, lines))
    default: return (.untitledLines, readUntitled(bytes, lines))
    }
  }

  // MARK: Recognition

  /// JSON opens with a brace and a quote, or with a bracket and an object; a poem that opens with
  /// a bracket goes on with a character.
  private static func looksLikeJSON(_ bytes: [UInt8], from start: Int) -> Bool {
    let visible = bytes[start...].lazy.filter { $0 != 0x20 && !(0x09...0x0D).contains($0) }
    let head = Array(visible.prefix(2))
    switch head.first {
    case UInt8(ascii: "["):
      return head.count == 1 || head[1] == UInt8(ascii: "{") || head[1] == UInt8(ascii: "]")
    case UInt8(ascii: "{"):
      return head.count == 1 || head[1] == UInt8(ascii: "\"") || head[1] == UInt8(ascii: "}")
    default: return false
    }
  }

  /// Fortune records have a line that is just `%`, or colours; titled lines mostly have a colon.
  private static func lineFormat(_ bytes: [UInt8], _ lines: [Range<Int>]) -> CorpusFormat {
    var filled = 0
    var titled = 0
    for line in lines {
      var visible = 0
      var hasColon = false
      var percents = 0
      for byte in bytes[line] {
        if byte == 0x1B { return .fortunes }
        if byte > 0x20 { visible += 1 }
        if byte == UInt8(ascii: ":") { hasColon = true }
        if byte == UInt8(ascii: "%") { percents += 1 }
      }
      if visible == 1, percents == 1 { return .fortunes }
      if visible > 0 { filled += 1 }
      if hasColon { titled += 1 }
    }
    return titled > 0 && titled * 2 >= filled ? .titledLines : .untitledLines
  }

  // MARK: Lines

  /// Keeps blank lines and lines without a colon as texts without a body: what the report's
  /// programs make of them differs, and is theirs to say.
  private static func readTitled(_ bytes: [UInt8], _ lines: [Range<Int>]) -> [CorpusText] {
    var texts: [CorpusText] = []
    texts.reserveCapacity(lines.count)
    for (number, range) in lines.enumerated() {
      let line = TextScanning.strippedLine(bytes, range)
      let utf8 = line.utf8
      if let colon = utf8.firstIndex(of: UInt8(ascii: ":")) {
        texts.append(
          CorpusText(
            title: String(line[..<colon]), lines: [String(line[utf8.index(after: colon)...])],
            line: number + 1))
      } else {
        texts.append(
          CorpusText(title: line.isEmpty ? nil : line, lines: [], line: number + 1))
      }
    }
    return texts
  }

  private static func readUntitled(_ bytes: [UInt8], _ lines: [Range<Int>]) -> [CorpusText] {
    var texts: [CorpusText] = []
    var isOpen = false
    for (number, range) in lines.enumerated() {
      let line = TextScanning.strippedLine(bytes, range)
      if line.isEmpty {
        isOpen = false
      } else if isOpen {
        texts[texts.count - 1].lines.append(line)
      } else {
        texts.append(CorpusText(lines: [line], line: number + 1))
        isOpen = true
      }
    }
    return texts
  }

  // MARK: Fortunes

  private static func readFortunes(_ bytes: [UInt8], _ lines: [Range<Int>]) -> [CorpusText] {
    var texts: [CorpusText] = []
    var text = CorpusText(lines: [])
    var isBlank = true
    func finish() {
      if !isBlank { texts.append(text) }
      text = CorpusText(lines: [])
      isBlank = true
    }
    for (number, range) in lines.enumerated() {
      let plain = TextScanning.withoutEscapes(bytes[range])
      let line = TextScanning.strippedLine(plain, 0..<plain.count)
      if line == "%" {
        finish()
        continue
      }
      if line.isEmpty { continue }
      if isBlank { text.line = number + 1 }
      isBlank = false
      if text.lines.isEmpty, text.title == nil, let title = titleLine(line) {
        text.title = title
      } else if text.lines.isEmpty, text.author == nil, let author = authorLine(line) {
        text.author = author
      } else {
        text.lines.append(line)
      }
    }
    finish()
    return texts
  }

  /// `《title》`, or a label such as `题目:` and then that; nil for any other line.
  private static func titleLine(_ line: String) -> String? {
    guard let open = line.firstIndex(of: "《"), let close = line.lastIndex(of: "》"), open < close
    else { return nil }
    let label = line[..<open]
    guard label.isEmpty || label.hasSuffix(":") || label.hasSuffix("：") else { return nil }
    return String(line[line.index(after: open)..<close])
  }

  private static func authorLine(_ line: String) -> String? {
    for label in ["作者：", "作者:"] where line.hasPrefix(label) {
      return String(TextScanning.stripped(line.dropFirst(label.count)))
    }
    return nil
  }

  // MARK: JSON

  /// An entry of chinese-poetry's files; the collections of lyrics say `rhythmic` for the title,
  /// some others `content` for the paragraphs.
  private struct Entry: Decodable {
    var title: String?
    var rhythmic: String?
    var author: String?
    var paragraphs: [String]?
    var content: [String]?
  }

  private static func readJSON(
    _ bytes: [UInt8], from start: Int, name: String
  ) throws(WeftError) -> [CorpusText] {
    let entries: [Entry]
    do {
      let data = Data(bytes[start...])
      let isArray = bytes[start...].first { $0 > 0x20 } == UInt8(ascii: "[")
      let decoder = JSONDecoder()
      entries =
        try isArray
        ? decoder.decode([Entry].self, from: data) : [decoder.decode(Entry.self, from: data)]
    } catch {
      throw jsonError(error, bytes, from: start, name: name)
    }
    let places = objects(in: bytes, from: start)
    var texts: [CorpusText] = []
    texts.reserveCapacity(entries.count)
    for (index, entry) in entries.enumerated() {
      let line = index < places.count ? places[index].line : 1
      guard let paragraphs = entry.paragraphs ?? entry.content else {
        throw WeftError(
          .invalidArgument, "\(name): object \(index) has no `paragraphs`",
          details: [.init("file", name), .init("line", "\(line)")], hint: jsonHint)
      }
      texts.append(
        CorpusText(
          title: entry.title ?? entry.rhythmic, author: entry.author,
          lines: paragraphs.map { String(TextScanning.stripped(Substring($0))) }, line: line))
    }
    return texts
  }

  private static let jsonHint =
    "a JSON corpus is an array of objects with title, author and paragraphs"

  /// What is wrong with a file that was not decoded, and the line of the object that is to blame.
  private static func jsonError(
    _ error: any Error, _ bytes: [UInt8], from start: Int, name: String
  ) -> WeftError {
    var message = "\(error)"
    var path: [any CodingKey] = []
    switch error as? DecodingError {
    case .typeMismatch(_, let context), .valueNotFound(_, let context),
      .keyNotFound(_, let context), .dataCorrupted(let context):
      message = context.debugDescription
      path = context.codingPath
    default: break
    }
    var details = [WeftError.Detail("file", name)]
    if !path.isEmpty {
      let keys = path.map { key in key.intValue.map { "[\($0)]" } ?? ".\(key.stringValue)" }
      details.append(.init("path", "$" + keys.joined()))
    }
    let places = objects(in: bytes, from: start)
    var culprit = path.first?.intValue
    if culprit == nil {
      culprit = places.firstIndex { place in
        guard let end = place.end else { return true }
        let object = Data(bytes[place.start..<end])
        return (try? JSONDecoder().decode(Entry.self, from: object)) == nil
      }
    }
    if let culprit, culprit < places.count {
      if places[culprit].end == nil { message = "the file ends inside object \(culprit)." }
      details.append(.init("line", "\(places[culprit].line)"))
    }
    return WeftError(
      .invalidArgument, "\(name) is not a JSON corpus: \(message)", details: details,
      hint: jsonHint)
  }

  /// One object of the outer array; `end` is nil when the file stops before the object does.
  private struct ObjectPlace {
    var line: Int
    var start: Int
    var end: Int?
  }

  /// Where the objects of the outer array are.
  private static func objects(in bytes: [UInt8], from start: Int) -> [ObjectPlace] {
    var result: [ObjectPlace] = []
    var line = 1
    var depth = 0
    var isQuoted = false
    var isEscaped = false
    for i in start..<bytes.count {
      let byte = bytes[i]
      if byte == 0x0A { line += 1 }
      if isQuoted {
        if isEscaped {
          isEscaped = false
        } else if byte == UInt8(ascii: "\\") {
          isEscaped = true
        } else if byte == UInt8(ascii: "\"") {
          isQuoted = false
        }
        continue
      }
      switch byte {
      case UInt8(ascii: "\""): isQuoted = true
      case UInt8(ascii: "{"), UInt8(ascii: "["):
        if depth <= 1, byte == UInt8(ascii: "{"), result.last.map({ $0.end != nil }) ?? true {
          result.append(ObjectPlace(line: line, start: i))
        }
        depth += 1
      case UInt8(ascii: "}"), UInt8(ascii: "]"):
        depth -= 1
        if depth <= 1, byte == UInt8(ascii: "}"), let last = result.indices.last,
          result[last].end == nil
        {
          result[last].end = i + 1
        }
      default: break
      }
    }
    return result
  }
}

// Finds the place of an error in protobuf text format: brackets, strings, and fields that do not fit.

internal import SwiftProtobuf

/// A walk over protobuf text. The library's own errors there have no place at all.
struct TextScan {
  /// One field: its name, the whole of it, and its content when it is a message.
  struct Field {
    var name: String
    var range: Range<Int>
    var message: Range<Int>?
  }

  let text: [UInt8]

  init(_ text: [UInt8]) { self.text = text }

  /// Whether the first bytes hold no control characters, which binary files soon have.
  static func isPrintable(_ bytes: [UInt8]) -> Bool {
    !bytes.prefix(4096).contains { $0 < 0x20 && !JSONText.isSpace($0) }
  }

  /// Whether the bytes look like text format: they start with a name and `:` or `{`.
  static func looksLikeText(_ bytes: [UInt8]) -> Bool {
    var scan = TextScan(bytes).walker()
    scan.skipSpace()
    guard scan.name() != nil else { return false }
    scan.skipSpace()
    return scan.at < bytes.count && ":{<".utf8.contains(bytes[scan.at])
  }

  /// Checks strings and brackets of the whole text.
  func check() throws(FormatError) {
    var walk = walker()
    var open: [Int] = []
    while true {
      walk.skipSpace()
      guard walk.at < text.count else { break }
      switch text[walk.at] {
      case UInt8(ascii: "\""), UInt8(ascii: "'"):
        let start = walk.at
        guard walk.string() else { throw error("the string is not closed", at: start) }
        continue
      case UInt8(ascii: "{"), UInt8(ascii: "<"), UInt8(ascii: "["): open.append(walk.at)
      case UInt8(ascii: "}"), UInt8(ascii: ">"), UInt8(ascii: "]"):
        guard let start = open.popLast(), closes(text[start], text[walk.at]) else {
          throw error("this bracket closes nothing", at: walk.at)
        }
      default: break
      }
      walk.at += 1
    }
    if let start = open.last {
      let line = JSONText.position(of: start, in: text).line
      throw error(
        "the text ends before the bracket opened in line \(line) is closed: it is truncated",
        at: text.count)
    }
  }

  /// The fields in a range, as far as they can be told apart.
  func fields(in range: Range<Int>) -> [Field] {
    var walk = walker()
    walk.at = range.lowerBound
    var fields: [Field] = []
    while true {
      walk.skipSpace()
      while walk.at < range.upperBound, ",;".utf8.contains(text[walk.at]) {
        walk.at += 1
        walk.skipSpace()
      }
      guard walk.at < range.upperBound else { return fields }
      let start = walk.at
      guard let name = walk.name() else { return fields }
      walk.skipSpace()
      if walk.at < range.upperBound, text[walk.at] == UInt8(ascii: ":") { walk.at += 1 }
      walk.skipSpace()
      guard walk.at < range.upperBound else { return fields }
      let valueStart = walk.at
      guard walk.skipValue() else { return fields }
      let isMessage = "{<".utf8.contains(text[valueStart])
      fields.append(
        Field(
          name: name, range: start..<walk.at,
          message: isMessage ? (valueStart + 1)..<max(valueStart + 1, walk.at - 1) : nil))
    }
  }

  /// The error for text whose brackets match but which does not decode as `type`.
  func blame(_ failure: any Error, decoding type: any Message.Type) -> FormatError {
    search(type, 0..<text.count, node: nil) ?? made(failure, at: 0, node: nil)
  }

  private func search(_ type: any Message.Type, _ range: Range<Int>, node: String?) -> FormatError?
  {
    let known = SchemaField.fields(of: type)
    let fields = self.fields(in: range)
    var node = node
    if type == TFNodeDef.self, let name = fields.first(where: { $0.name == "name" }) {
      node = String(decoding: text[name.range], as: UTF8.self)
        .split(separator: "\"", omittingEmptySubsequences: false).dropFirst().first.map(String.init)
    }
    var end = range.lowerBound
    for field in fields {
      end = field.range.upperBound
      guard let failure = failure(type, field.range) else { continue }
      // What is too deep for the decoder is too deep for this search.
      var isTooDeep = false
      if case TextFormatDecodingError.messageDepthLimit = failure { isTooDeep = true }
      if let content = field.message, !isTooDeep {
        switch known[SchemaField.lowerCamelCase(field.name)] {
        case .one(let child), .list(let child):
          if let found = search(child, content, node: node) { return found }
        case .map(let child):
          for entry in self.fields(in: content) where entry.name == "value" {
            if let inner = entry.message, let found = search(child, inner, node: node) {
              return found
            }
          }
        case nil: break
        }
      }
      return made(failure, at: field.range.lowerBound, node: node, field: field.name)
    }
    var walk = walker()
    walk.at = end
    walk.skipSpace()
    return walk.at < range.upperBound
      ? error("a field is expected here", at: walk.at, node: node) : nil
  }

  private func failure(_ type: any Message.Type, _ range: Range<Int>) -> (any Error)? {
    do {
      _ = try type.init(textFormatString: String(decoding: text[range], as: UTF8.self))
      return nil
    } catch {
      return error
    }
  }

  private func made(
    _ failure: any Error, at offset: Int, node: String?, field: String? = nil
  ) -> FormatError {
    let of = field.map { " \"\($0.prefix(200))\"" } ?? ""
    return switch failure as? TextFormatDecodingError {
    case .unknownField: error("unknown field\(of)", .unknownField, at: offset, node: node)
    case .messageDepthLimit:
      error("messages are nested deeper than 100 levels", .limit, at: offset, node: node)
    case .unrecognizedEnumValue:
      error("the enum has no such value (field\(of))", at: offset, node: node)
    case .conflictingOneOf:
      error("two values are given where one is to be chosen", at: offset, node: node)
    case .invalidUTF8: error("the text is not UTF-8", at: offset, node: node)
    default: error("the field\(of) cannot be read", at: offset, node: node)
    }
  }

  private func error(
    _ message: String, _ kind: FormatError.Kind = .malformed, at offset: Int, node: String? = nil
  ) -> FormatError {
    let (line, column) = JSONText.position(of: offset, in: text)
    return FormatError(kind, message, line: line, column: column, node: node)
  }

  private func closes(_ open: UInt8, _ close: UInt8) -> Bool {
    close == open + 2
  }

  private func walker() -> Walker { Walker(text: text) }

  /// A cursor over the tokens.
  private struct Walker {
    let text: [UInt8]
    var at = 0

    mutating func skipSpace() {
      while at < text.count {
        if text[at] == UInt8(ascii: "#") {
          while at < text.count, text[at] != 0x0A { at += 1 }
        } else if JSONText.isSpace(text[at]) {
          at += 1
        } else {
          return
        }
      }
    }

    mutating func name() -> String? {
      let start = at
      while at < text.count,
        text[at] == UInt8(ascii: "_") || text[at] &- 48 < 10 || (text[at] | 0x20) &- 97 < 26
      { at += 1 }
      return at > start ? String(decoding: text[start..<at], as: UTF8.self) : nil
    }

    /// Skips a quoted string; false when it has no end on its line.
    mutating func string() -> Bool {
      let quote = text[at]
      at += 1
      while at < text.count, text[at] != 0x0A {
        if text[at] == quote {
          at += 1
          return true
        }
        at += text[at] == UInt8(ascii: "\\") ? 2 : 1
      }
      return false
    }

    /// Skips a scalar (adjacent strings are one), a list or a message.
    mutating func skipValue() -> Bool {
      var depth = 0
      repeat {
        skipSpace()
        guard at < text.count else { return false }
        switch text[at] {
        case UInt8(ascii: "\""), UInt8(ascii: "'"):
          while at < text.count, "\"'".utf8.contains(text[at]) {
            guard string() else { return false }
            skipSpace()
          }
          if depth == 0 { return true }
          continue
        case UInt8(ascii: "{"), UInt8(ascii: "<"), UInt8(ascii: "["): depth += 1
        case UInt8(ascii: "}"), UInt8(ascii: ">"), UInt8(ascii: "]"): depth -= 1
        default:
          if depth == 0 {
            while at < text.count, !JSONText.isSpace(text[at]), !",;}>".utf8.contains(text[at]) {
              at += 1
            }
            return true
          }
        }
        at += 1
      } while depth > 0
      return depth == 0
    }
  }
}

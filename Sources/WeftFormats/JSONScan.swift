// Checks a JSON text before it is decoded: syntax with line and column, depth, UTF-8, repeated keys.

/// A validating walk over a JSON text. It keeps its own stack, so nesting cannot exhaust the
/// thread's, and gives every error a line, a column and a path, which the decoder behind it does not.
struct JSONScan {
  /// Deeper nesting is refused. A message takes up to two levels, and the decoder stops at 100.
  static let depthLimit = 400

  private struct Frame {
    var isObject: Bool
    /// Whether its keys are data, not names of fields.
    var isMap = false
    /// Where the container was opened.
    var start: Int
    /// Where its keys begin in `keys`.
    var firstKey: Int
    /// Elements before the present one, in an array.
    var index = 0
    /// The keys once there are too many to compare one by one.
    var seen: Set<[UInt8]>?
  }

  private enum Expected { case value, valueOrEnd, key, keyOrEnd, commaOrEnd, nothing }

  private let text: [UInt8]
  private var at = 0
  private var frames: [Frame] = []
  private var keys: [Range<Int>] = []
  /// Keys of the outermost object, decoded.
  private(set) var topKeys: [String] = []
  /// Whether a string writes printable ASCII as `\u00XX`, which base64 decoding does not expect.
  private(set) var hasNeedlessEscapes = false

  init(_ text: [UInt8]) { self.text = text }

  /// Walks the whole text.
  mutating func run() throws(FormatError) {
    if text.starts(with: [0xEF, 0xBB, 0xBF]) { at = 3 }
    var expected = Expected.value
    while true {
      skipSpace()
      guard at < text.count else {
        if expected == .nothing { return }
        throw truncated()
      }
      let byte = text[at]
      switch (expected, byte) {
      case (.nothing, _):
        throw error("there is text after the end of the JSON document")
      case (.valueOrEnd, UInt8(ascii: "]")), (.keyOrEnd, UInt8(ascii: "}")):
        expected = close()
      case (.value, _), (.valueOrEnd, _):
        expected = try value(byte)
      case (.key, UInt8(ascii: "\"")), (.keyOrEnd, UInt8(ascii: "\"")):
        try key()
        expected = .value
      case (.key, _), (.keyOrEnd, _):
        throw error("a key in double quotes is expected here, not \(shown(byte))")
      case (.commaOrEnd, UInt8(ascii: ",")):
        at += 1
        let last = frames.count - 1
        frames[last].index += 1
        expected = frames[last].isObject ? .key : .value
      case (.commaOrEnd, _):
        guard byte == (frames[frames.count - 1].isObject ? UInt8(ascii: "}") : UInt8(ascii: "]"))
        else {
          let end = frames[frames.count - 1].isObject ? "}" : "]"
          throw error("a comma or '\(end)' is expected here, not \(shown(byte))")
        }
        expected = close()
      }
    }
  }

  private mutating func close() -> Expected {
    at += 1
    if let frame = frames.popLast() { keys.removeSubrange(frame.firstKey...) }
    return frames.isEmpty ? .nothing : .commaOrEnd
  }

  private mutating func value(_ byte: UInt8) throws(FormatError) -> Expected {
    switch byte {
    case UInt8(ascii: "{"), UInt8(ascii: "["):
      guard frames.count < Self.depthLimit else {
        throw error("nested deeper than \(Self.depthLimit) levels", kind: .limit)
      }
      let isObject = byte == UInt8(ascii: "{")
      frames.append(
        Frame(isObject: isObject, isMap: isObject && opensMap, start: at, firstKey: keys.count))
      at += 1
      return isObject ? .keyOrEnd : .valueOrEnd
    case UInt8(ascii: "\""): try string()
    case UInt8(ascii: "-"), UInt8(ascii: "0")...UInt8(ascii: "9"): try number()
    case UInt8(ascii: "t"): try word("true")
    case UInt8(ascii: "f"): try word("false")
    case UInt8(ascii: "n"): try word("null")
    default: throw error("a value is expected here, not \(shown(byte))")
    }
    return frames.isEmpty ? .nothing : .commaOrEnd
  }

  /// Whether an object that starts here is the value of a map field.
  private var opensMap: Bool {
    guard let parent = frames.last, parent.isObject, !parent.isMap, let key = keys.last else {
      return false
    }
    return SchemaField.mapNames.contains(SchemaField.lowerCamelCase(JSONText.string(text[key])))
  }

  private mutating func key() throws(FormatError) {
    let start = at
    try string()
    let range = start..<at
    try checkUnique(range)
    keys.append(range)
    if frames.count == 1 { topKeys.append(JSONText.string(text[range])) }
    skipSpace()
    guard at < text.count else { throw truncated() }
    guard text[at] == UInt8(ascii: ":") else {
      throw error("a colon is expected here, not \(shown(text[at]))")
    }
    at += 1
  }

  private mutating func checkUnique(_ range: Range<Int>) throws(FormatError) {
    let last = frames.count - 1
    let others = keys[frames[last].firstKey...]
    let isMap = frames[last].isMap
    var isNew = true
    if others.count < 16, frames[last].seen == nil {
      for other in others {
        if JSONText.sameString(text[other], text[range])
          || !isMap && SchemaField.sameName(text[other], text[range])
        {
          isNew = false
        }
      }
    } else {
      func name(_ range: Range<Int>) -> [UInt8] {
        let key = JSONText.string(text[range])
        return Array((isMap ? key : SchemaField.lowerCamelCase(key)).utf8)
      }
      var seen = frames[last].seen.take() ?? Set(others.map(name))
      isNew = seen.insert(name(range)).inserted
      frames[last].seen = seen
    }
    guard isNew else {
      // The path of the error ends in this key.
      keys.append(range)
      throw error(
        "the key \"\(JSONText.string(text[range]))\" occurs twice in one object",
        kind: .duplicate, at: range.lowerBound)
    }
  }

  // MARK: - Scalars

  private mutating func skipSpace() {
    while at < text.count, JSONText.isSpace(text[at]) { at += 1 }
  }

  private mutating func word(_ word: StaticString) throws(FormatError) {
    let start = at
    for offset in 0..<word.utf8CodeUnitCount {
      guard at < text.count else { throw truncated() }
      guard text[at] == word.utf8Start[offset] else {
        throw error("a value is expected here", at: start)
      }
      at += 1
    }
  }

  private mutating func digits() throws(FormatError) {
    let start = at
    while at < text.count, text[at] &- 48 < 10 { at += 1 }
    guard at > start else {
      if at == text.count { throw truncated() }
      throw error("a digit is expected here, not \(shown(text[at]))")
    }
  }

  private mutating func number() throws(FormatError) {
    if text[at] == UInt8(ascii: "-") { at += 1 }
    let start = at
    try digits()
    if text[start] == UInt8(ascii: "0"), at > start + 1 {
      throw error("a number cannot start with a zero", at: start)
    }
    if at < text.count, text[at] == UInt8(ascii: ".") {
      at += 1
      try digits()
    }
    if at < text.count, text[at] | 0x20 == UInt8(ascii: "e") {
      at += 1
      if at < text.count, text[at] == UInt8(ascii: "+") || text[at] == UInt8(ascii: "-") { at += 1 }
      try digits()
    }
  }

  private mutating func string() throws(FormatError) {
    let start = at
    at += 1
    while at < text.count {
      let byte = text[at]
      switch byte {
      case UInt8(ascii: "\""):
        at += 1
        return
      case UInt8(ascii: "\\"): try escape()
      case 0..<0x20: throw error("a control character in a string must be escaped")
      case 0x20..<0x80: at += 1
      default:
        let length = JSONText.utf8Length(text, at)
        guard length > 0 else { throw error("the text is not UTF-8 (byte offset \(at))") }
        at += length
      }
    }
    throw truncated(openString: start)
  }

  private mutating func escape() throws(FormatError) {
    let start = at
    at += 1
    guard at < text.count else { throw truncated() }
    switch text[at] {
    case UInt8(ascii: "u"):
      at += 1
      let unit = try hexUnit(start)
      if unit >= 0x20, unit < 0x7F, unit != 0x22, unit != 0x5C { hasNeedlessEscapes = true }
      if unit & 0xF800 == 0xD800 {
        guard unit < 0xDC00, at + 1 < text.count, text[at] == UInt8(ascii: "\\"),
          text[at + 1] == UInt8(ascii: "u")
        else { throw error("half of a surrogate pair in a string", at: start) }
        at += 2
        guard try hexUnit(start) & 0xFC00 == 0xDC00 else {
          throw error("half of a surrogate pair in a string", at: start)
        }
      }
    case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"), UInt8(ascii: "b"),
      UInt8(ascii: "f"), UInt8(ascii: "n"), UInt8(ascii: "r"), UInt8(ascii: "t"):
      at += 1
    default: throw error("JSON knows no escape \\\(shown(text[at]))", at: start)
    }
  }

  private mutating func hexUnit(_ start: Int) throws(FormatError) -> Int {
    var unit = 0
    for _ in 0..<4 {
      guard at < text.count else { throw truncated() }
      guard let digit = JSONText.hexValue(text[at]) else {
        throw error("\\u takes four hexadecimal digits", at: start)
      }
      unit = unit << 4 | digit
      at += 1
    }
    return unit
  }

  // MARK: - Errors

  private func shown(_ byte: UInt8) -> String {
    byte >= 0x20 && byte < 0x7F ? "'\(Character(UnicodeScalar(byte)))'" : "byte \(byte)"
  }

  private func truncated(openString: Int? = nil) -> FormatError {
    let what =
      if let openString {
        "the string that starts in line \(JSONText.position(of: openString, in: text).line)"
      } else if let frame = frames.last {
        (frame.isObject ? "the object" : "the array")
          + " that starts in line \(JSONText.position(of: frame.start, in: text).line)"
      } else { "the document" }
    return error("the JSON text ends before \(what) does: it is truncated", at: text.count)
  }

  private func error(
    _ message: String, kind: FormatError.Kind = .malformed, at offset: Int? = nil
  ) -> FormatError {
    let (line, column) = JSONText.position(of: offset ?? at, in: text)
    return FormatError(kind, message, line: line, column: column, jsonPath: path)
  }

  /// Where the walk is; cut when it is very deep.
  private var path: String {
    var path = "$"
    for (depth, frame) in frames.prefix(24).enumerated() {
      if frame.isObject {
        let end = depth + 1 < frames.count ? frames[depth + 1].firstKey : keys.count
        guard end > frame.firstKey else { break }
        path += JSONText.step(JSONText.string(text[keys[end - 1]]))
      } else {
        path += "[\(frame.index)]"
      }
    }
    return frames.count > 24 ? path + "..." : path
  }
}

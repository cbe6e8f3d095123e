// Small tools for JSON text that is known to be valid: positions, strings, members, elements.

/// Reading parts of a JSON text without building a tree.
enum JSONText {
  static func isSpace(_ byte: UInt8) -> Bool {
    byte == 0x20 || byte == 0x0A || byte == 0x0D || byte == 0x09
  }

  static func hexValue(_ byte: UInt8) -> Int? {
    switch byte {
    case UInt8(ascii: "0")...UInt8(ascii: "9"): Int(byte) - 48
    case UInt8(ascii: "a")...UInt8(ascii: "f"): Int(byte) - 87
    case UInt8(ascii: "A")...UInt8(ascii: "F"): Int(byte) - 55
    default: nil
    }
  }

  /// Length of the UTF-8 sequence at `at`, zero when it is not one.
  static func utf8Length(_ text: [UInt8], _ at: Int) -> Int {
    let first = text[at]
    let length: Int
    var low: UInt8 = 0x80
    var high: UInt8 = 0xBF
    switch first {
    case 0..<0x80: return 1
    case 0xC2...0xDF: length = 2
    case 0xE0...0xEF:
      length = 3
      if first == 0xE0 { low = 0xA0 }
      if first == 0xED { high = 0x9F }
    case 0xF0...0xF4:
      length = 4
      if first == 0xF0 { low = 0x90 }
      if first == 0xF4 { high = 0x8F }
    default: return 0
    }
    guard at + length <= text.count, text[at + 1] >= low, text[at + 1] <= high else { return 0 }
    for offset in 2..<max(length, 2) where text[at + offset] & 0xC0 != 0x80 { return 0 }
    return length
  }

  /// Line and column, from 1; the column counts characters, not bytes.
  static func position(of offset: Int, in text: [UInt8]) -> (line: Int, column: Int) {
    var line = 1
    var column = 1
    for byte in text.prefix(offset) {
      if byte == 0x0A {
        line += 1
        column = 1
      } else if byte & 0xC0 != 0x80 {
        column += 1
      }
    }
    return (line, column)
  }

  /// One step of a JSON path.
  static func step(_ key: String) -> String {
    let isPlain =
      !key.isEmpty
      && key.utf8.allSatisfy {
        $0 == UInt8(ascii: "_") || $0 &- 48 < 10 || ($0 | 0x20) &- 97 < 26
      }
    return isPlain ? "." + key : "[\"\(key.prefix(200))\"]"
  }

  /// The value of a string, given with its quotes.
  static func string(_ quoted: ArraySlice<UInt8>) -> String {
    let inner = quoted.dropFirst().dropLast()
    guard inner.contains(UInt8(ascii: "\\")) else { return String(decoding: inner, as: UTF8.self) }
    var units: [UInt16] = []
    var rest = inner
    while let byte = rest.popFirst() {
      guard byte == UInt8(ascii: "\\"), let escaped = rest.popFirst() else {
        // Sequences beyond ASCII pass in one piece.
        var piece = [byte]
        while byte >= 0x80, let next = rest.first, next & 0xC0 == 0x80 {
          piece.append(next)
          rest.removeFirst()
        }
        units.append(contentsOf: String(decoding: piece, as: UTF8.self).utf16)
        continue
      }
      switch escaped {
      case UInt8(ascii: "u"):
        units.append(UInt16(rest.prefix(4).reduce(0) { $0 << 4 | (hexValue($1) ?? 0) }))
        rest = rest.dropFirst(4)
      case UInt8(ascii: "b"): units.append(8)
      case UInt8(ascii: "f"): units.append(12)
      case UInt8(ascii: "n"): units.append(10)
      case UInt8(ascii: "r"): units.append(13)
      case UInt8(ascii: "t"): units.append(9)
      default: units.append(UInt16(escaped))
      }
    }
    return String(decoding: units, as: UTF16.self)
  }

  /// Whether two quoted strings have one value.
  static func sameString(_ left: ArraySlice<UInt8>, _ right: ArraySlice<UInt8>) -> Bool {
    if left.elementsEqual(right) { return true }
    let escape = UInt8(ascii: "\\")
    guard left.contains(escape) || right.contains(escape) else { return false }
    return string(left).utf8.elementsEqual(string(right).utf8)
  }

  /// The end of the value that starts at `start`, in valid text.
  static func end(ofValueAt start: Int, in text: [UInt8]) -> Int {
    var at = start
    var depth = 0
    while at < text.count {
      switch text[at] {
      case UInt8(ascii: "\""):
        at += 1
        while at < text.count, text[at] != UInt8(ascii: "\"") {
          at += text[at] == UInt8(ascii: "\\") ? 2 : 1
        }
        at += 1
        if depth == 0 { return min(at, text.count) }
        continue
      case UInt8(ascii: "{"), UInt8(ascii: "["): depth += 1
      case UInt8(ascii: "}"), UInt8(ascii: "]"):
        if depth == 0 { return at }
        depth -= 1
        if depth == 0 { return at + 1 }
      case UInt8(ascii: ","):
        if depth == 0 { return at }
      case let byte where isSpace(byte):
        if depth == 0 { return at }
      default: break
      }
      at += 1
    }
    return text.count
  }

  /// The values of an array, or the keys (as ranges with quotes) and values of an object, in turn.
  static func items(of container: Range<Int>, in text: [UInt8]) -> [Range<Int>] {
    var items: [Range<Int>] = []
    var at = container.lowerBound + 1
    while at < container.upperBound - 1 {
      let byte = text[at]
      if isSpace(byte) || byte == UInt8(ascii: ",") || byte == UInt8(ascii: ":") {
        at += 1
        continue
      }
      let end =
        byte == UInt8(ascii: "\"") || byte == UInt8(ascii: "{") || byte == UInt8(ascii: "[")
        ? self.end(ofValueAt: at, in: text) : scalarEnd(at, in: text)
      items.append(at..<end)
      at = max(end, at + 1)
    }
    return items
  }

  private static func scalarEnd(_ start: Int, in text: [UInt8]) -> Int {
    var at = start
    while at < text.count, !isSpace(text[at]), text[at] != UInt8(ascii: ","),
      text[at] != UInt8(ascii: "}"), text[at] != UInt8(ascii: "]")
    { at += 1 }
    return at
  }

  /// The text with `\u00XX` escapes of printable ASCII written out (not quotes and backslashes).
  static func withoutNeedlessEscapes(_ text: [UInt8]) -> [UInt8] {
    var out: [UInt8] = []
    out.reserveCapacity(text.count)
    var at = 0
    while at < text.count {
      guard text[at] == UInt8(ascii: "\\"), at + 1 < text.count else {
        out.append(text[at])
        at += 1
        continue
      }
      if text[at + 1] == UInt8(ascii: "u"), at + 5 < text.count {
        let unit = text[(at + 2)...(at + 5)].reduce(0) { $0 << 4 | (hexValue($1) ?? 0) }
        if unit >= 0x20, unit < 0x7F, unit != 0x22, unit != 0x5C {
          out.append(UInt8(unit))
          at += 6
          continue
        }
      }
      out.append(text[at])
      out.append(text[at + 1])
      at += 2
    }
    return out
  }
}

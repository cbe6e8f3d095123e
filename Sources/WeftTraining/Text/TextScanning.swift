// Bytes to checked text: UTF-8 validation with offsets, line ranges, and Python's notion of space.

import WeftTensors

/// Helpers of the corpus readers; all work on whole files held in memory.
enum TextScanning {
  static let byteOrderMark: [UInt8] = [0xEF, 0xBB, 0xBF]

  /// The offset of the first byte that is not part of well-formed UTF-8, or nil.
  static func firstInvalidUTF8(in bytes: [UInt8]) -> Int? {
    var i = 0
    let count = bytes.count
    while i < count {
      let lead = bytes[i]
      if lead < 0x80 {
        i += 1
        continue
      }
      let length: Int
      var second: ClosedRange<UInt8> = 0x80...0xBF
      switch lead {
      case 0xC2...0xDF: length = 2
      case 0xE0: (length, second) = (3, 0xA0...0xBF)
      case 0xED: (length, second) = (3, 0x80...0x9F)
      case 0xE1...0xEF: length = 3
      case 0xF0: (length, second) = (4, 0x90...0xBF)
      case 0xF4: (length, second) = (4, 0x80...0x8F)
      case 0xF1...0xF3: length = 4
      default: return i
      }
      guard i + length <= count, second.contains(bytes[i + 1]) else { return i }
      for k in 2..<max(length, 2) where !(0x80...0xBF).contains(bytes[i + k]) { return i }
      i += length
    }
    return nil
  }

  /// Throws, with file, byte offset and line, when `bytes` is not UTF-8.
  static func validateUTF8(_ bytes: [UInt8], file: String) throws(WeftError) {
    guard let offset = firstInvalidUTF8(in: bytes) else { return }
    let byte = String(bytes[offset], radix: 16, uppercase: true)
    var line = 1
    for b in bytes[..<offset] where b == 0x0A { line += 1 }
    let isBinary = bytes.prefix(1 << 16).contains(0)
    let isUTF16 = bytes.starts(with: [0xFF, 0xFE]) || bytes.starts(with: [0xFE, 0xFF])
    throw WeftError(
      .invalidArgument, "\(file) is not UTF-8 text: byte 0x\(byte) at offset \(offset)",
      details: [.init("file", file), .init("offset", "\(offset)"), .init("line", "\(line)")],
      hint: isBinary && !isUTF16
        ? "it holds zero bytes: is it a text file at all?"
        : "convert it first: iconv -f \(isUTF16 ? "UTF-16" : "GB18030") -t UTF-8")
  }

  /// The lines of `bytes` without their ends; `\n`, `\r\n` and `\r` each end a line.
  static func lines(of bytes: [UInt8], from start: Int = 0) -> [Range<Int>] {
    var result: [Range<Int>] = []
    var begin = start
    var i = start
    while i < bytes.count {
      let byte = bytes[i]
      if byte == 0x0A || byte == 0x0D {
        result.append(begin..<i)
        if byte == 0x0D, i + 1 < bytes.count, bytes[i + 1] == 0x0A { i += 1 }
        begin = i + 1
      }
      i += 1
    }
    if begin < bytes.count { result.append(begin..<bytes.count) }
    return result
  }

  /// What Python's `str.isspace` says of a scalar, so that `strip` cuts the same ends.
  static func isSpace(_ scalar: Unicode.Scalar) -> Bool {
    switch scalar.value {
    case 0x09...0x0D, 0x1C...0x20, 0x85, 0xA0, 0x1680, 0x2000...0x200A, 0x2028, 0x2029, 0x202F,
      0x205F, 0x3000:
      return true
    default: return false
    }
  }

  /// Python's `str.strip()`.
  static func stripped(_ text: Substring) -> Substring {
    let scalars = text.unicodeScalars
    guard let first = scalars.firstIndex(where: { !isSpace($0) }),
      let last = scalars.lastIndex(where: { !isSpace($0) })
    else { return text[text.startIndex..<text.startIndex] }
    return Substring(scalars[first...last])
  }

  /// The stripped text of a byte range that is known to be UTF-8.
  static func strippedLine(_ bytes: [UInt8], _ range: Range<Int>) -> String {
    String(stripped(Substring(String(decoding: bytes[range], as: UTF8.self))))
  }

  /// The bytes without terminal escape sequences (`ESC [ ... letter`, or ESC and one byte).
  static func withoutEscapes(_ bytes: ArraySlice<UInt8>) -> [UInt8] {
    var result: [UInt8] = []
    result.reserveCapacity(bytes.count)
    var i = bytes.startIndex
    while i < bytes.endIndex {
      guard bytes[i] == 0x1B else {
        result.append(bytes[i])
        i += 1
        continue
      }
      i += 1
      guard i < bytes.endIndex else { break }
      if bytes[i] == 0x5B {
        i += 1
        while i < bytes.endIndex, (0x20...0x3F).contains(bytes[i]) { i += 1 }
        if i < bytes.endIndex, (0x40...0x7E).contains(bytes[i]) { i += 1 }
      } else if bytes[i] < 0x80 {
        i += 1
      }
    }
    return result
  }
}

/// FNV-1a over 64 bits: a stable content hash, against mix-ups and not against attackers.
struct ContentHash {
  private(set) var value: UInt64 = 0xCBF2_9CE4_8422_2325

  mutating func add(byte: UInt8) { value = (value ^ UInt64(byte)) &* 0x100_0000_01B3 }

  mutating func add(_ number: some FixedWidthInteger) {
    value = (value ^ UInt64(truncatingIfNeeded: number)) &* 0x100_0000_01B3
    value ^= value >> 32
  }

  /// Adds a string and its length, so that neighbours cannot run together.
  mutating func add(_ text: String) {
    for byte in text.utf8 { add(byte: byte) }
    add(text.utf8.count)
  }

  var hex: String {
    let digits = String(value, radix: 16)
    return String(repeating: "0", count: 16 - digits.count) + digits
  }
}

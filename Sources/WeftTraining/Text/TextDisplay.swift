// Showing texts: sentences, and columns on a terminal where Chinese is two wide.

/// Helpers for printing poems.
public enum TextDisplay {
  /// Whether a sentence ends with this character.
  public static func endsSentence(_ character: Unicode.Scalar) -> Bool {
    switch character {
    case "。", "！", "？", "；", "!", "?", ";", "…": return true
    default: return false
    }
  }

  /// Whether this character may follow a sentence's end and still belong to it.
  public static func closesQuotation(_ character: Unicode.Scalar) -> Bool {
    switch character {
    case "」", "』", "”", "’", "）", ")", "》", "〉", "】", "〕": return true
    default: return false
    }
  }

  /// The sentences of a text, each with its end mark and the closing marks behind it.
  ///
  /// A sentence ends after 。！？；… and their ASCII forms, at a line break, and at the end.
  public static func sentences(of text: String) -> [String] {
    var result: [String] = []
    var sentence = String.UnicodeScalarView()
    var hasEnded = false
    func finish() {
      let trimmed = TextScanning.stripped(Substring(String(sentence)))
      if !trimmed.isEmpty { result.append(String(trimmed)) }
      sentence = String.UnicodeScalarView()
      hasEnded = false
    }
    for scalar in text.unicodeScalars {
      if scalar == "\n" || scalar == "\r" {
        finish()
        continue
      }
      if hasEnded, !endsSentence(scalar), !closesQuotation(scalar) { finish() }
      sentence.append(scalar)
      if endsSentence(scalar) { hasEnded = true }
    }
    finish()
    return result
  }

  /// The columns a text takes on a terminal: Chinese characters and wide punctuation two,
  /// combining and control characters none, all others one.
  public static func columns(of text: String) -> Int {
    text.unicodeScalars.reduce(0) { $0 + columns(of: $1) }
  }

  /// `text` followed by spaces up to `width` columns; longer text is left as it is.
  public static func padded(_ text: String, to width: Int) -> String {
    text + String(repeating: " ", count: max(0, width - columns(of: text)))
  }

  static func columns(of scalar: Unicode.Scalar) -> Int {
    switch scalar.value {
    case 0x20...0x7E: return 1
    case 0..<0x20, 0x7F..<0xA0, 0x0300...0x036F, 0x200B...0x200F, 0x20D0...0x20FF,
      0xFE00...0xFE0F, 0xFE20...0xFE2F, 0xFEFF:
      return 0
    case 0x1100...0x115F, 0x2E80...0x303E, 0x3041...0xA4CF, 0xA960...0xA97F, 0xAC00...0xD7A3,
      0xF900...0xFAFF, 0xFE30...0xFE6F, 0xFF00...0xFF60, 0xFFE0...0xFFE6, 0x1F300...0x1FAFF,
      0x20000...0x3FFFD:
      return 2
    default: return 1
    }
  }
}

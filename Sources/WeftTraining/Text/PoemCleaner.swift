// The preparation `poems`: what is removed from a text, and where a long one is cut.

/// Cleans one text after another.
///
/// In this order:
/// 1. Notes in （） () 〖〗 【】 〔〕 go with what they hold; a text whose notes do not close is
///    dropped. So are 〈〉 《》 「」 『』 “” ‘’ and square brackets, but what they hold stays; a number
///    in square brackets is a footnote's, and goes.
/// 2. A text that holds a sign for a missing or composed character (□ ○ ● 囗 { } ⿰ and its like,
///    private-use or replacement characters) is dropped: the model would learn the gap.
/// 3. `, . ? ! ; :` become ，。？！；： and other signs and spaces go; within a run of ASCII they
///    stay, spaces as one. Of several marks in a row the first stays; leading marks go.
struct PoemCleaner {
  private var output: [Unicode.Scalar] = []

  /// The characters to keep, or nil for a text to drop.
  mutating func clean(_ text: String) -> [Unicode.Scalar]? {
    output.removeAll(keepingCapacity: true)
    var noteDepth = 0
    var bracketStart: Int?
    for scalar in text.unicodeScalars {
      switch scalar {
      case "（", "(", "〖", "【", "〔":
        noteDepth += 1
        continue
      case "）", ")", "〗", "】", "〕":
        noteDepth -= 1
        if noteDepth < 0 { return nil }
        continue
      default: break
      }
      if noteDepth > 0 { continue }
      switch scalar {
      case "[", "［": bracketStart = output.count
      case "]", "］":
        if let start = bracketStart, start < output.count,
          output[start...].allSatisfy(Self.isNumeral)
        {
          output.removeSubrange(start...)
        }
        bracketStart = nil
      case "《", "》", "〈", "〉", "「", "」", "『", "』", "“", "”", "‘", "’": break
      default:
        if Self.marksGap(scalar) { return nil }
        append(scalar)
      }
    }
    if noteDepth != 0 { return nil }
    if output.last == " " { output.removeLast() }
    return output
  }

  private mutating func append(_ scalar: Unicode.Scalar) {
    let followsASCII = output.last.map { $0.value < 0x80 } ?? false
    if CharacterVariants.isHan(scalar) {
      if output.last == " " { output.removeLast() }
      output.append(scalar)
    } else if TextScanning.isSpace(scalar) {
      if followsASCII, output.last != " " { output.append(" ") }
    } else if followsASCII, (0x21...0x7E).contains(scalar.value) {
      output.append(scalar)
    } else if let mark = Self.mark(scalar) {
      if let last = output.last, Self.mark(last) == nil || last.value < 0x80 { output.append(mark) }
    } else if scalar.properties.isAlphabetic || scalar.properties.numericType != nil {
      output.append(scalar)
    }
  }

  /// The Chinese form of a punctuation mark that is kept.
  private static func mark(_ scalar: Unicode.Scalar) -> Unicode.Scalar? {
    switch scalar {
    case "，", "。", "？", "！", "；", "：", "、": return scalar
    case ",": return "，"
    case ".": return "。"
    case "?": return "？"
    case "!": return "！"
    case ";": return "；"
    case ":": return "："
    default: return nil
    }
  }

  private static func isNumeral(_ scalar: Unicode.Scalar) -> Bool {
    switch scalar {
    case "0"..."9", "〇", "一", "二", "三", "四", "五", "六", "七", "八", "九", "十": return true
    default: return false
    }
  }

  private static func marksGap(_ scalar: Unicode.Scalar) -> Bool {
    switch scalar.value {
    case 0x25A1, 0x25CB, 0x25CF, 0x56D7, 0x7B, 0x7D, 0x2FF0...0x2FFF, 0xE000...0xF8FF, 0xFFFD,
      0xF0000...0x10FFFF:
      return true
    default: return false
    }
  }

  // MARK: Cutting

  /// Cuts a text of more than `limit` characters into pieces of much the same length.
  ///
  /// A piece ends with a sentence; a sentence that is too long itself is cut after ，、： and, where
  /// it has none, after `limit` characters. An empty text has no piece.
  static func pieces(of text: [Unicode.Scalar], limit: Int) -> [ArraySlice<Unicode.Scalar>] {
    guard text.count > limit else { return text.isEmpty ? [] : [text[...]] }
    let pieceCount = (text.count + limit - 1) / limit
    let target = (text.count + pieceCount - 1) / pieceCount
    var result: [ArraySlice<Unicode.Scalar>] = []
    var start = 0
    var last = 0
    for end in cuts(in: text, limit: limit) {
      if end - start > limit, last > start {
        result.append(text[start..<last])
        start = last
      }
      last = end
      if end - start >= target {
        result.append(text[start..<end])
        start = end
      }
    }
    if start < text.count { result.append(text[start...]) }
    return result
  }

  /// Where a text may be cut, in order, the text's end last; no gap is longer than `limit`.
  private static func cuts(in text: [Unicode.Scalar], limit: Int) -> [Int] {
    var sentenceEnds: [Int] = []
    for i in text.indices where TextDisplay.endsSentence(text[i]) { sentenceEnds.append(i + 1) }
    if sentenceEnds.last != text.count { sentenceEnds.append(text.count) }
    var result: [Int] = []
    var start = 0
    for end in sentenceEnds {
      if end - start > limit {
        var clause = start
        for i in start..<end {
          let isComma = text[i] == "，" || text[i] == "、" || text[i] == "："
          guard isComma || i + 1 - clause == limit else { continue }
          if i + 1 < end { result.append(i + 1) }
          clause = i + 1
        }
      }
      result.append(end)
      start = end
    }
    return result
  }
}

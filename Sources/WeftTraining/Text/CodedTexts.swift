// Texts as scalar values, on their way to a vocabulary and ids.

import WeftTensors

/// Flat scalar values with two codes past Unicode for the markers.
struct CodedTexts {
  static let bos: UInt32 = 0x11_0000
  static let eos: UInt32 = 0x11_0001
  private static let codeCount = 0x11_0002

  let minimumTokens: Int
  let maximumTokens: Int
  var codes: [UInt32] = []
  var ends: [Int] = []
  var dropped = DroppedTexts()

  init(minimumTokens: Int, maximumTokens: Int) {
    self.minimumTokens = minimumTokens
    self.maximumTokens = maximumTokens
  }

  /// Adds a text between its markers, unless it is outside the limits.
  mutating func append(_ characters: some Sequence<UInt32>) {
    let start = codes.count
    codes.append(Self.bos)
    codes.append(contentsOf: characters)
    codes.append(Self.eos)
    let count = codes.count - start
    if count < minimumTokens {
      dropped.tooShort += 1
    } else if count > maximumTokens {
      dropped.tooLong += 1
    } else {
      ends.append(codes.count)
      return
    }
    codes.removeLast(count)
  }

  mutating func sortByLength() {
    let starts = [0] + ends.dropLast()
    let order = ends.indices.sorted { (ends[$0] - starts[$0], $0) < (ends[$1] - starts[$1], $1) }
    var sorted: [UInt32] = []
    sorted.reserveCapacity(codes.count)
    var sortedEnds: [Int] = []
    sortedEnds.reserveCapacity(ends.count)
    for i in order {
      sorted.append(contentsOf: codes[starts[i]..<ends[i]])
      sortedEnds.append(sorted.count)
    }
    (codes, ends) = (sorted, sortedEnds)
  }

  /// The vocabulary these texts make, and the id of each code.
  func vocabulary(
    for preparation: TextPreparation
  ) throws(WeftError) -> (Vocabulary, [Int32]) {
    let kind = preparation.kind
    // Codes in the order they are first seen, with how often they occur.
    var slots = [Int32](repeating: -1, count: Self.codeCount)
    var seen: [(code: UInt32, count: Int)] = []
    for code in codes {
      let slot = slots[Int(code)]
      if slot < 0 {
        slots[Int(code)] = Int32(truncatingIfNeeded: seen.count)
        seen.append((code, 1))
      } else {
        seen[Int(slot)].count += 1
      }
    }
    var order = Array(seen.indices)
    order.sort { (seen[$1].count, $0) < (seen[$0].count, $1) }
    var words: [String]
    switch kind {
    case .reportTensorFlow: words = ["PAD", "UNK"]
    case .reportPyTorch: words = []
    case .poems:
      words = ["PAD", "UNK", "bos", "eos"]
      order.removeAll {
        seen[$0].code >= Self.bos || seen[$0].count < preparation.minimumOccurrences
      }
    }
    var ids = [Int32](repeating: -1, count: Self.codeCount)
    if kind == .poems {
      ids[Int(Self.bos)] = 2
      ids[Int(Self.eos)] = 3
    }
    for slot in order {
      let code = seen[slot].code
      ids[Int(code)] = Int32(truncatingIfNeeded: words.count)
      switch code {
      case Self.bos: words.append(kind == .reportPyTorch ? "G" : "bos")
      case Self.eos: words.append(kind == .reportPyTorch ? "E" : "eos")
      default: words.append(Unicode.Scalar(code).map { String(Character($0)) } ?? "\u{FFFD}")
      }
    }
    if kind == .reportPyTorch { words.append(" ") }
    let spare = kind == .reportPyTorch ? 1 : 0
    let vocabulary = try Vocabulary(
      words: words, spareRows: spare, pad: kind == .reportPyTorch ? nil : 0,
      unk: kind == .reportPyTorch ? Int32(truncatingIfNeeded: words.count) : 1,
      bos: ids[Int(Self.bos)], eos: ids[Int(Self.eos)])
    return (vocabulary, ids)
  }

  /// The id of each code in a vocabulary that is there already; -1 for those it lacks.
  func ids(in vocabulary: Vocabulary) -> [Int32] {
    var ids = [Int32](repeating: -1, count: Self.codeCount)
    for code in codes where ids[Int(code)] < 0 {
      switch code {
      case Self.bos: ids[Int(code)] = vocabulary.bos ?? -1
      case Self.eos: ids[Int(code)] = vocabulary.eos ?? -1
      default:
        if let scalar = Unicode.Scalar(code), let id = vocabulary.id(of: scalar) {
          ids[Int(code)] = id
        }
      }
    }
    return ids
  }

  /// The texts with each code replaced by its id.
  func prepared(
    _ preparation: TextPreparation, _ vocabulary: Vocabulary, _ ids: [Int32]
  ) throws(WeftError) -> PreparedTexts {
    var texts = TokenTexts()
    var unknown = 0
    var start = 0
    var row: [Int32] = []
    for end in ends {
      row.removeAll(keepingCapacity: true)
      for code in codes[start..<end] {
        var id = ids[Int(code)]
        if id < 0 {
          unknown += 1
          guard let unk = vocabulary.unk else {
            if let scalar = Unicode.Scalar(code) { throw vocabulary.unknownCharacterError(scalar) }
            throw WeftError(.failedPrecondition, "the vocabulary lacks a marker")
          }
          id = unk
        }
        row.append(id)
      }
      texts.append(row)
      start = end
    }
    return PreparedTexts(
      preparation: preparation, vocabulary: vocabulary, texts: texts, dropped: dropped,
      characterCount: codes.count - 2 * ends.count, unknownCount: unknown)
  }
}

// The texts of workloads A and B: a corpus of poems, or texts drawn at random.

import Weft

/// Texts as ids, and the number of classes.
struct WorkloadTexts {
  var texts: TokenTexts
  var vocabulary: Int

  /// Poems of exactly `length` tokens; the vocabulary is that of all poems of 7 to 82 tokens.
  static func exactly(_ length: Int, poems path: String) throws -> WorkloadTexts {
    let preparation = try TextPreparation(
      .reportTensorFlow, minimumTokens: 7, maximumTokens: 82)
    let prepared = try preparation.prepare(try Corpus(path: path))
    let rows = prepared.texts.indices.filter { prepared.texts.length(of: $0) == length }
    return WorkloadTexts(
      texts: TokenTexts(rows.map { prepared.texts[$0] }), vocabulary: prepared.vocabulary.rowCount)
  }

  /// Poems of up to 200 tokens.
  static func upTo200(poems path: String) throws -> WorkloadTexts {
    let prepared = try TextPreparation.reportTensorFlow.prepare(try Corpus(path: path))
    return WorkloadTexts(texts: prepared.texts, vocabulary: prepared.vocabulary.rowCount)
  }

  /// Texts of lengths as poems have them: most of four or eight lines, some up to 200 tokens.
  static func random(_ count: Int, vocabulary: Int) -> WorkloadTexts {
    var numbers = FixedNumbers(seed: 2)
    let usual = [26, 26, 26, 34, 34, 50, 50, 50, 66]
    let texts = (0..<count).map { _ -> [Int32] in
      let kind = Int.random(in: 0..<11, using: &numbers)
      let length = kind < usual.count ? usual[kind] : Int.random(in: 70...200, using: &numbers)
      return (0..<length).map { _ in
        Int32.random(in: 0..<Int32(clamping: vocabulary), using: &numbers)
      }
    }
    return WorkloadTexts(texts: TokenTexts(texts), vocabulary: vocabulary)
  }

  /// Full batches of texts of one length, shuffled, each as the ids of one text after the other.
  func batches(of size: Int, count: Int) throws -> [[Int32]] {
    var numbers = FixedNumbers(seed: 3)
    let rows = Array(texts.indices).shuffled(using: &numbers)
    let whole = min(count, rows.count / size)
    guard whole > 0 else {
      throw WeftError(
        .failedPrecondition, "\(rows.count) texts of that length make no batch of \(size)",
        category: .content)
    }
    return (0..<whole).map { batch in
      rows[(batch * size)..<((batch + 1) * size)].flatMap { texts[$0] }
    }
  }
}

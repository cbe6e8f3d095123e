// Preparations: the report's two, exactly, and the product's own.

import Testing
import WeftTensors
import WeftTraining

#if canImport(FoundationEssentials)
  import FoundationEssentials
#else
  import Foundation
#endif

struct TextPreparationTests {
  private struct Reference: Decodable {
    var words: [String]
    var examples: [[Int32]]
    var order: [Int]?
  }

  private func reference(_ name: String) throws -> (Reference, Corpus)? {
    guard let json = sharedFile("references/report-\(name).json"),
      let poems = sharedFile("references/poems700.txt")
    else { return nil }
    let data = try Data(contentsOf: URL(fileURLWithPath: json))
    return (try JSONDecoder().decode(Reference.self, from: data), try Corpus(path: poems))
  }

  @Test func reportTensorFlowMatchesItsReference() throws {
    guard let (expected, corpus) = try reference("tensorflow") else { return }
    let made = try TextPreparation.reportTensorFlow.prepare(corpus)
    #expect(made.vocabulary.words == expected.words)
    #expect(made.vocabulary.rowCount == expected.words.count)
    #expect(made.texts.map { Array($0) } == expected.examples)
    // The recorded batches: taken around an order, padded to the longest.
    let order = try #require(expected.order)
    for step in 0..<20 {
      let rows = (0..<100).map { order[(step * 100 + $0) % order.count] }
      let batch = try TokenBatch(made.texts, rows: rows, options: .reportTensorFlow)
      let texts = rows.map { expected.examples[$0] }
      let width = (texts.map(\.count).max() ?? 0) - 1
      #expect(batch.width == width && batch.batchSize == 100)
      #expect(batch.lengths == texts.map { Int32($0.count - 1) })
      let padded = texts.map { $0 + [Int32](repeating: 0, count: width + 1 - $0.count) }
      // Keras sees the whole padded row; positions past the length are masked.
      #expect(batch.targets == padded.flatMap { $0.dropFirst() })
      for (row, text) in texts.enumerated() {
        let start = row * width
        #expect(Array(batch.tokens[start..<start + text.count - 1]) == text.dropLast())
      }
    }
  }

  @Test func reportPyTorchMatchesItsReference() throws {
    guard let (expected, corpus) = try reference("pytorch") else { return }
    let made = try TextPreparation.reportPyTorch.prepare(corpus)
    #expect(made.vocabulary.words == expected.words)
    #expect(made.vocabulary.rowCount == expected.words.count + 1)
    #expect(made.texts.map { Array($0) } == expected.examples)
    var batcher = try Batcher(made.texts, options: .reportPyTorch)
    #expect(batcher.batchesPerEpoch == expected.examples.count / 100)
    for step in 0..<20 {
      let first = step % batcher.batchesPerEpoch * 100
      let batch = batcher.nextAcrossEpochs()
      #expect(batch.rows == Array(first..<first + 100))
      for row in 0..<100 {
        let text = expected.examples[first + row]
        let start = row * batch.width
        #expect(Int(batch.lengths[row]) == text.count)
        #expect(Array(batch.tokens[start..<start + text.count]) == text)
        #expect(
          Array(batch.targets[start..<start + text.count]) == Array(text.dropFirst())
            + text.suffix(1))
      }
    }
  }

  @Test func reportTensorFlowRules() throws {
    let long = "题:" + String(repeating: "长", count: 199)
    let made = try TextPreparation.reportTensorFlow.prepare(
      try corpus("一:月a月\n二:山:水 月\n无冒号\n\n\(long)\n三:" + String(repeating: "日", count: 198)))
    #expect(made.texts.count == 5)
    #expect(made.dropped.tooLong == 1)
    #expect(
      made.vocabulary.words == ["PAD", "UNK", "日", "bos", "eos", "月", "a", "山", "水", " "])
    #expect(made.vocabulary.pad == 0 && made.vocabulary.unk == 1)
    #expect(made.vocabulary.bos == 3 && made.vocabulary.eos == 4)
    #expect(made.vocabulary.show(made.texts[1]) == "bos 山 水   月 eos")
    #expect(made.vocabulary.show(made.texts[2]) == "bos eos")
    #expect(made.vocabulary.show(made.texts[3]) == "bos eos")
    #expect(made.characterCount == 3 + 4 + 198)
    let limits = try TextPreparation(.reportTensorFlow, minimumTokens: 5, maximumTokens: 6)
    #expect(try limits.prepare(try corpus("一:月a月\n二:山:水 月\n三:山")).texts.count == 2)
  }

  @Test func reportPyTorchTitledRules() throws {
    let kept = "一:山山山山山\n二:日日 日日日日\n三:水水水水水"
    let refused = [
      "甲_乙丙丁戊", "甲(乙丙丁戊", "甲（乙丙丁戊", "甲《乙丙丁戊", "甲[乙丙丁戊", "甲G乙丙丁戊", "甲E乙丙丁戊", "甲:乙丙丁戊", "短短短短",
    ]
    let long = String(repeating: "长", count: 81)
    let made = try TextPreparation.reportPyTorch.prepare(
      try corpus(kept + "\n" + (refused + [long]).map { "x:\($0)\n" }.joined() + "无冒号冒号冒号"))
    #expect(made.dropped.unwanted == 8 && made.dropped.tooShort == 2 && made.dropped.tooLong == 1)
    #expect(made.vocabulary.words == ["日", "山", "水", "G", "E", " "])
    #expect(made.vocabulary.rowCount == 7 && made.vocabulary.unk == 6)
    #expect(made.vocabulary.pad == nil && made.vocabulary.bos == 3 && made.vocabulary.eos == 4)
    // In order of length, equal lengths as they stand.
    #expect(
      made.texts.map { made.vocabulary.show($0) }
        == ["G 山 山 山 山 山 E", "G 水 水 水 水 水 E", "G 日 日 日 日 日 日 E"])
  }

  @Test func reportPyTorchUntitledRules() throws {
    let made = try TextPreparation.reportPyTorch.prepare(
      try corpus("山山，山 山山。\n短，短，短，短。\n\n日:日日日日！\n甲（乙）丙丁戊"))
    #expect(made.dropped.unwanted == 1 && made.dropped.tooShort == 1)
    #expect(made.texts.map { made.vocabulary.decode($0) } == ["山山山山山", "日:日日日日！"])
  }

  @Test func poemsRules() throws {
    func cleaned(_ text: String) throws -> [String] {
      let filler = "\n题:天地玄黄，宇宙洪荒。"
      let made = try TextPreparation.poems.prepare(try corpus("题:" + text + filler))
      return made.texts.dropLast().map { made.vocabulary.decode($0) }
    }
    #expect(try cleaned("逻人（一作「叉」）横鸟道，江祖出鱼梁。") == ["逻人横鸟道，江祖出鱼梁。"])
    #expect(try cleaned("岁芳坐沦歇，感此至微歌。（〖1〗按(注)此。）。") == ["岁芳坐沦歇，感此至微歌。"])
    #expect(try cleaned("[爽]节在重九[一]，「物华」新《雨》余。[12]") == ["爽节在重九，物华新雨余。"])
    #expect(try cleaned("，一去二三里, 烟村四五家. ") == ["一去二三里，烟村四五家。"])
    #expect(try cleaned("未合（括号一去二三里") == [])
    #expect(try cleaned("多）括号一去二三里") == [])
    for gap in ["□", "○", "囗", "{𥫗/戢}", "⿰", "\u{E829}"] {
      #expect(try cleaned("一去二三里\(gap)，烟村四五家。") == [], "\(gap)")
    }
    #expect(try cleaned("Weft  don't,  stop. 山") == ["Weft don't, stop.山"])
    #expect(try cleaned("短句") == [])
  }

  @Test func poemsVocabulary() throws {
    var preparation = TextPreparation.poems
    let source = try corpus("题:山山山山水水水，月日日。")
    let made = try preparation.prepare(source)
    #expect(
      made.vocabulary.words == ["PAD", "UNK", "bos", "eos", "山", "水", "日", "，", "月", "。"])
    #expect([made.vocabulary.pad, made.vocabulary.unk, made.vocabulary.bos] == [0, 1, 2])
    #expect(made.vocabulary.eos == 3 && made.unknownCount == 0)
    preparation.minimumOccurrences = 2
    let rare = try preparation.prepare(source)
    #expect(rare.vocabulary.words == ["PAD", "UNK", "bos", "eos", "山", "水", "日"])
    #expect(rare.unknownCount == 3 && rare.texts.tokens.count == made.texts.tokens.count)
    #expect(rare.vocabulary.decode(rare.texts[0]) == "山山山山水水水□□日日□")
  }

  @Test func poemsCutsLongTextsAtSentences() throws {
    let sentence = "床前明月光，疑是地上霜。"
    let preparation = try TextPreparation(.poems, maximumTokens: 38)
    func pieces(_ text: String) throws -> [String] {
      let made = try preparation.prepare(try corpus("题:" + text))
      #expect(made.texts.allSatisfy { $0.count <= 38 })
      return made.texts.map { made.vocabulary.decode($0) }
    }
    #expect(try pieces(String(repeating: sentence, count: 3)).count == 1)
    // Four sentences of twelve: two and two, not three and one.
    let two = sentence + sentence
    #expect(try pieces(two + two) == [two, two])
    #expect(try pieces(String(repeating: sentence, count: 5)).joined().count == 60)
    // A sentence longer than a piece is cut at commas, one without commas anywhere.
    let clauses = String(repeating: "明月光，", count: 12) + "。"
    #expect(try pieces(clauses).allSatisfy { $0.hasSuffix("，") || $0.hasSuffix("。") })
    let endless = String(repeating: "月", count: 100)
    #expect(try pieces(endless).map(\.count) == [36, 36, 28])
  }

  @Test func poemsLosesLittleOfTheInstalledCorpus() throws {
    guard let standard = try? Corpus.standard() else { return }
    let made = try TextPreparation.poems.prepare(standard)
    let characters = standard.texts.reduce(0) { $0 + $1.body.unicodeScalars.count }
    #expect(Double(made.characterCount) > 0.98 * Double(characters))
    #expect(made.dropped.unwanted == 0 && made.dropped.tooLong == 0)
    #expect(made.texts.allSatisfy { (7...82).contains($0.count) })
    for start in ["日", "红", "山", "夜", "湖", "海", "月", "君", "星"] {
      #expect(try made.vocabulary.encodeStart(start).count == 1)
    }
  }

  @Test func anotherCorpusWithThisVocabulary() throws {
    let made = try TextPreparation.poems.prepare(try corpus("题:山高月小，水落石出。"))
    let other = try TextPreparation.poems.prepare(
      try corpus("题:山高月大，水落石出。"), with: made.vocabulary)
    #expect(other.unknownCount == 1 && other.characterCount == 10)
    #expect(other.vocabulary.show(other.texts[0]) == "bos 山 高 月 UNK ， 水 落 石 出 。 eos")
    #expect(abs(other.unknownShare - 0.1) < 1e-12)
    try other.requireUnknownShare(atMost: 0.1)
    let refused = weftError { try other.requireUnknownShare(atMost: 0.05) }
    #expect(refused?.code == .failedPrecondition)
    #expect(refused?.message.contains("10.0 %") == true)
    let bare = try Vocabulary(words: ["山"])
    #expect(
      weftError { _ = try TextPreparation.poems.prepare(try corpus("题:山"), with: bare) }?.code
        == .failedPrecondition)
    let torch = try TextPreparation.reportPyTorch.prepare(try corpus("题:山高月小，水落石出。"))
    let spare = try TextPreparation.reportPyTorch.prepare(
      try corpus("题:山高月大，水落石出。"), with: torch.vocabulary)
    #expect(spare.texts[0].count { $0 == Int32(torch.vocabulary.words.count) } == 1)
  }

  @Test func nothingLeftAndWrongNames() throws {
    let error = weftError { _ = try TextPreparation.poems.prepare(try corpus("题:山\n题:山□山山山山")) }
    #expect(error?.code == .invalidArgument)
    #expect(error?.message.contains("1 too short") == true)
    #expect(error?.message.contains("1 damaged") == true)
    let name = weftError { _ = try TextPreparation(named: "reports") }
    #expect(name?.category == .usage && name?.hint?.contains("report-pytorch") == true)
    #expect(weftError { _ = try TextPreparation(.poems, minimumTokens: 90) }?.category == .usage)
    #expect(weftError { _ = try TextPreparation(.poems, maximumTokens: 2) } != nil)
    for kind in TextPreparation.Kind.allCases {
      #expect(try TextPreparation(named: kind.rawValue).kind == kind)
    }
  }
}

// Vocabulary, its collections in a graph file, suggestions, and showing texts.

import Testing
import WeftTensors
import WeftTraining

struct TextVocabularyTests {
  private func vocabulary() throws -> Vocabulary {
    try Vocabulary(
      words: ["PAD", "UNK", "bos", "eos", "，", "山", "龙", "里"], pad: 0, unk: 1, bos: 2, eos: 3)
  }

  @Test func encodesAndDecodes() throws {
    let words = try vocabulary()
    #expect(try words.encode("山，龍") == [5, 4, 1])
    #expect(words.decode([2, 5, 4, 1, 3, 5]) == "山，□")
    #expect(words.decode([0, 5, 99, -1]) == "山□□")
    #expect(words.unknownCount(in: "山龍x") == (2, 3))
    #expect(words.id(of: "山") == 5 && words.word(of: 5) == "山" && words.word(of: 8) == nil)
    let torch = try Vocabulary(words: ["G", "山", "E", " "], spareRows: 1, unk: 4, bos: 0, eos: 2)
    #expect(torch.rowCount == 5)
    // A marker typed in a text is not the marker.
    #expect(try torch.encode("G山 E") == [4, 1, 3, 4])
    #expect(weftError { _ = try torch.encodeStart("G") } != nil)
    let bare = try Vocabulary(words: ["山"])
    #expect(weftError { _ = try bare.encode("水") }?.code == .invalidArgument)
  }

  @Test func scalarsNotGraphemes() throws {
    // One grapheme each, two scalars: Python counts two.
    let words = try Vocabulary(words: ["e", "\u{301}", "\u{E9}", "\u{FA0C}", "\u{5140}"])
    #expect(try words.encode("e\u{301}") == [0, 1])
    #expect(try words.encode("\u{E9}") == [2])
    #expect(try words.encode("\u{FA0C}\u{5140}") == [3, 4])
  }

  @Test func refusesWrongVocabularies() throws {
    #expect(weftError { _ = try Vocabulary(words: []) }?.code == .invalidArgument)
    let twice = weftError { _ = try Vocabulary(words: ["a", "山", "b", "山"]) }
    #expect(twice?.message.contains("`山` stands twice") == true)
    #expect(twice?.message.contains("1 and 3") == true)
    #expect(weftError { _ = try Vocabulary(words: ["PAD", "PAD"]) } != nil)
    #expect(weftError { _ = try Vocabulary(words: ["a", ""]) } != nil)
    let outside = weftError { _ = try Vocabulary(words: ["a"], eos: 1) }
    #expect(outside?.message.contains("eos id is 1") == true)
    #expect(weftError { _ = try Vocabulary(words: ["a"], pad: -1) } != nil)
    #expect(weftError { _ = try Vocabulary(words: ["a"], spareRows: -1) } != nil)
  }

  @Test func contentHashFollowsOrderAndContent() throws {
    let hash = try Vocabulary(words: ["a", "b"]).contentHash
    #expect(hash == (try Vocabulary(words: ["a", "b"], pad: 0).contentHash))
    #expect(hash != (try Vocabulary(words: ["b", "a"]).contentHash))
    #expect(hash != (try Vocabulary(words: ["ab"]).contentHash))
    #expect(hash.count == 16)
  }

  @Test func collectionsRoundTrip() throws {
    let preparation = try TextPreparation(.reportTensorFlow, minimumTokens: 7, maximumTokens: 82)
    let info = TextModelInfo(vocabulary: try vocabulary(), preparation: preparation)
    let entry = try info.textEntry()
    #expect(
      entry
        == "{\"bos\":2,\"eos\":3,\"hash\":\"\(info.vocabulary.contentHash)\",\"max_tokens\":82,"
        + "\"min_tokens\":7,\"pad\":0,\"preparation\":\"report-tensorflow\",\"spare_rows\":0,"
        + "\"unk\":1}")
    #expect(info.vocabularyEntries.count == 8)
    let read = try TextModelInfo(
      textEntry: entry.utf8, vocabularyEntries: info.vocabularyEntries.map { Array($0.utf8) })
    #expect(read == info)
    #expect(read.vocabulary == info.vocabulary)
    #expect(try read.preparation() == preparation)
    let torch = try Vocabulary(words: ["G", "山", "E", " "], spareRows: 1, unk: 4, bos: 0, eos: 2)
    let other = TextModelInfo(vocabulary: torch, preparation: .reportPyTorch)
    let back = try TextModelInfo(
      textEntry: try other.textEntry().utf8,
      vocabularyEntries: other.vocabularyEntries.map { Array($0.utf8) })
    #expect(back.vocabulary == torch && back.vocabulary.pad == nil)
  }

  @Test func collectionsThatAreWrong() throws {
    let info = TextModelInfo(vocabulary: try vocabulary(), preparation: .poems)
    let entry = try info.textEntry()
    func read(_ text: String, _ words: [[UInt8]]) -> WeftError? {
      weftError { _ = try TextModelInfo(textEntry: text.utf8, vocabularyEntries: words) }
    }
    let words = info.vocabularyEntries.map { Array($0.utf8) }
    #expect(read(entry, words.dropLast())?.code == .dataLoss)
    #expect(read("{\"bos\":", words)?.code == .invalidArgument)
    #expect(read("[]", words)?.code == .invalidArgument)
    #expect(read("{\"bos\":99999999999}", words)?.code == .invalidArgument)
    #expect(read("{\"eos\":8}", words)?.message.contains("eos id is 8") == true)
    #expect(read(entry, words + [[0xFF]])?.message.contains("entry 8") == true)
    #expect(read("{}", [])?.message.contains("no entry") == true)
    let plain = try TextModelInfo(textEntry: "{}".utf8, vocabularyEntries: words)
    #expect(plain.preparationName == "poems" && plain.vocabulary.bos == nil)
    let unknown = try TextModelInfo(
      textEntry: "{\"preparation\":\"mine\"}".utf8, vocabularyEntries: words)
    #expect(weftError { _ = try unknown.preparation() }?.message.contains("mine") == true)
  }

  @Test func namesUnknownCharactersWithOtherForms() throws {
    let words = try vocabulary()
    let traditional = weftError { _ = try words.encodeStart("山龍") }
    #expect(traditional?.message.contains("龍 (U+9F8D)") == true)
    #expect(traditional?.hint?.contains("龙") == true)
    #expect(traditional?.category == .content)
    #expect(words.variants(of: "裡") == ["里"] && words.variants(of: "裏") == ["里"])
    #expect(words.variants(of: "发") == [])
    #expect(words.suggestions(for: "海") == ["山", "龙", "里"])
    #expect(words.suggestions(for: "海", limit: 1) == ["山"])
    #expect(weftError { _ = try words.encodeStart("海") }?.hint?.contains("山 龙 里") == true)
    #expect(weftError { _ = try words.encodeStart("\n") }?.message.contains("U+000A") == true)
  }

  @Test func variantsOfTheCommonestCharacters() throws {
    let simplified = "风云来无时见东归门万马长华飞书声尽游开远旧乡还花叶难处龙红孤烟杨阳阴从岁边树鸟梦愁泪发"
    let traditional = "風雲來無時見東歸門萬馬長華飛書聲盡遊開遠舊鄉還花葉難處龍紅孤煙楊陽陰從歲邊樹鳥夢愁淚髮"
    for (s, t) in zip(simplified.unicodeScalars, traditional.unicodeScalars) where s != t {
      let words = try Vocabulary(words: [String(Character(s))])
      #expect(words.variants(of: t) == [s], "\(t)")
      let back = try Vocabulary(words: [String(Character(t))])
      #expect(back.variants(of: s) == [t], "\(s)")
    }
  }

  @Test func sentences() {
    #expect(
      TextDisplay.sentences(of: "床前明月光，疑是地上霜。举头！？「低头。」思")
        == ["床前明月光，疑是地上霜。", "举头！？", "「低头。」", "思"])
    #expect(TextDisplay.sentences(of: "甲\n\n 乙；丙") == ["甲", "乙；", "丙"])
    #expect(TextDisplay.sentences(of: "") == [])
  }

  @Test func columns() {
    #expect(TextDisplay.columns(of: "a山，b") == 6)
    #expect(TextDisplay.columns(of: "e\u{301}𬭭ｱ") == 4)
    #expect(TextDisplay.columns(of: "\u{1B}") == 0)
    #expect(TextDisplay.padded("山", to: 4) == "山  ")
    #expect(TextDisplay.padded("山山", to: 3) == "山山")
  }
}

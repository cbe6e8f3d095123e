// Corpus readers: every layout, odd bytes, files and folders, and their errors.

import Testing
import WeftTensors
import WeftTraining

#if canImport(FoundationEssentials)
  import FoundationEssentials
#else
  import Foundation
#endif

struct TextCorpusTests {
  @Test func titledLines() throws {
    let found = try corpus("静夜思:床前明月光。\n二:甲:乙\n没有冒号\n\n 春晓 : 春眠不觉晓。 \n")
    #expect(found.files.map(\.format) == [.titledLines])
    #expect(
      found.texts == [
        CorpusText(title: "静夜思", lines: ["床前明月光。"], line: 1),
        CorpusText(title: "二", lines: ["甲:乙"], line: 2),
        CorpusText(title: "没有冒号", lines: [], line: 3),
        CorpusText(title: nil, lines: [], line: 4),
        CorpusText(title: "春晓 ", lines: [" 春眠不觉晓。"], line: 5),
      ])
  }

  @Test func untitledLines() throws {
    let found = try corpus("\n白日依山尽，\n黄河入海流。\n\n \u{3000}\n欲穷千里目\n")
    #expect(found.files.map(\.format) == [.untitledLines])
    #expect(
      found.texts == [
        CorpusText(lines: ["白日依山尽，", "黄河入海流。"], line: 2),
        CorpusText(lines: ["欲穷千里目"], line: 6),
      ])
  }

  @Test func linesThatMostlyLackAColonAreUntitled() throws {
    #expect(try corpus("甲\n乙\n丙:丁").files[0].format == .untitledLines)
    #expect(try corpus("甲\n丙:丁").files[0].format == .titledLines)
    #expect(try corpus("[爽]节在重九，物华新雨余。").files[0].format == .untitledLines)
  }

  @Test func poetryJSON() throws {
    let found = try corpus(
      """
      [
        {"author": "李白", "paragraphs": ["床前明月光，", " 疑是地上霜。"],
         "title": "静{夜}思", "id": "x", "tags": [{"a": "}"}]},
        {"author": "\\"甲", "content": ["乙"], "rhythmic": "丙"}
      ]
      """)
    #expect(found.files.map(\.format) == [.poetryJSON])
    #expect(
      found.texts == [
        CorpusText(title: "静{夜}思", author: "李白", lines: ["床前明月光，", "疑是地上霜。"], line: 2),
        CorpusText(title: "丙", author: "\"甲", lines: ["乙"], line: 4),
      ])
  }

  @Test func poetryJSONErrors() throws {
    let truncated = weftError { _ = try corpus("[{\"title\": \"甲\", \"paragraphs\": [\"乙\"]") }
    #expect(truncated?.code == .invalidArgument)
    #expect(truncated?.category == .content)
    #expect(truncated?.message.contains("ends inside object 0") == true)
    #expect(truncated?.details.contains(.init("line", "1")) == true)
    let comma = weftError { _ = try corpus("[{\"title\": \"甲\"},\n\n{\"title\" \"甲\"}, {}]") }
    #expect(comma?.message.contains("JSON") == true)
    #expect(comma?.details.contains(.init("line", "3")) == true)
    #expect(weftError { _ = try corpus("[") }?.message.contains("JSON") == true)
    for depth in [1, 2, 600, 100_000] {
      #expect(weftError { _ = try corpus(String(repeating: "[{\"a\":", count: depth)) } != nil)
    }
    let missing = weftError { _ = try corpus("[{\"paragraphs\": [\"乙\"]},\n{\"title\": \"甲\"}]") }
    #expect(missing?.message.contains("object 1 has no `paragraphs`") == true)
    #expect(missing?.details.contains(.init("line", "2")) == true)
    let wrong = weftError {
      _ = try corpus("[{\"paragraphs\": [\"乙\"]},\n\n{\"paragraphs\": [\"乙\", 7]}]")
    }
    #expect(wrong?.details.contains(.init("path", "$[1].paragraphs[1]")) == true)
    #expect(wrong?.details.contains(.init("line", "3")) == true)
    #expect(weftError { _ = try corpus("[]") }?.message.contains("holds no text") == true)
    #expect(weftError { _ = try corpus("[{\"paragraphs\": []}]") } != nil)
  }

  @Test func fortunes() throws {
    let escape = "\u{1B}"
    let found = try corpus(
      """
      \(escape)[32m《感遇・其一》\(escape)[m
      \(escape)[33m作者：张九龄\(escape)[m
      兰叶春葳蕤，桂华秋皎洁。
      《长恨歌》在此。
      %
      %
      \(escape)[1;32m题目:《村行》二首\(escape)[0m
      作者: 王禹偁
      马穿山径菊初黄

      信马悠悠
      """)
    #expect(found.files.map(\.format) == [.fortunes])
    #expect(
      found.texts == [
        CorpusText(
          title: "感遇・其一", author: "张九龄", lines: ["兰叶春葳蕤，桂华秋皎洁。", "《长恨歌》在此。"], line: 1),
        CorpusText(title: "村行", author: "王禹偁", lines: ["马穿山径菊初黄", "信马悠悠"], line: 7),
      ])
    #expect(try corpus("甲\n%\n乙\n").texts.map(\.lines) == [["甲"], ["乙"]])
  }

  @Test func marksAndLineEnds() throws {
    let expected = [["甲乙"], ["丙"]]
    for text in ["\u{FEFF}题:甲乙\r\n题:丙\r\n", "题:甲乙\r题:丙", "题:甲乙\n题:丙"] {
      #expect(try corpus(text).texts.map(\.lines) == expected)
    }
    #expect(try corpus("\u{FEFF} [{\"paragraphs\":[\"甲\"]}]").texts.map(\.lines) == [["甲"]])
    let long = String(repeating: "山高月小，水落石出。", count: 100_000)
    #expect(try corpus("题:" + long).texts[0].body.unicodeScalars.count == 1_000_000)
  }

  @Test func textThatIsNotUTF8() throws {
    let cases: [([UInt8], Int)] = [
      ([0xE5, 0xB1, 0xB1, 0x0A, 0xC9, 0xBD, 0xB8], 6), ([0x41, 0xC0, 0x80], 1),
      ([0xE0, 0x80, 0x80], 0),
      ([0xED, 0xA0, 0x80], 0), ([0xF4, 0x90, 0x80, 0x80], 0), ([0x41, 0xE5, 0xB1], 1),
      ([0xF0, 0x9F, 0x98], 0), ([0xFF, 0xFE, 0x41, 0x00], 0), ([0xE5, 0xB1, 0x41], 0),
    ]
    for (bytes, offset) in cases {
      let error = weftError { _ = try Corpus(bytes: bytes, name: "poems.txt") }
      #expect(error?.code == .invalidArgument)
      #expect(error?.details.contains(.init("offset", "\(offset)")) == true, "\(bytes)")
      #expect(error?.message.contains("poems.txt") == true)
    }
    let gb = weftError {
      _ = try Corpus(bytes: Array("题:山\n".utf8) + [0xC9, 0xBD, 0xB8, 0xDF], name: "gb")
    }
    #expect(gb?.details.contains(.init("offset", "10")) == true)
    #expect(gb?.details.contains(.init("line", "2")) == true)
    #expect(gb?.hint?.contains("GB18030") == true)
  }

  @Test func validTextOfAllLengthsPasses() throws {
    let text = "a:é山😀\u{10FFFF}\u{FFFF}\u{D7FF}\u{E000}\u{10000}\u{800}\u{7FF}\u{80}"
    #expect(try corpus(text).texts[0].title == "a")
  }

  @Test func emptyCorpora() throws {
    for text in ["", "\n\n \n", "\u{FEFF}", "%\n%\n", ":\n:\n"] {
      let error = weftError { _ = try corpus(text) }
      #expect(error?.code == .invalidArgument, "\(text.debugDescription)")
      #expect(error?.category == .content)
      #expect(error?.message.contains("holds no text") == true)
    }
  }

  @Test func filesAndFolders() throws {
    let folder = try TemporaryFolder()
    try folder.write("b", "甲\n\n乙\n")
    try folder.write("a", "题:丙\n")
    try folder.write(".hidden", "题:丁\n")
    try folder.write("empty", "")
    try FileManager.default.createSymbolicLink(
      atPath: folder.path + "/c", withDestinationPath: "b")
    try FileManager.default.createDirectory(
      atPath: folder.path + "/sub", withIntermediateDirectories: false)
    let found = try Corpus(path: folder.path)
    #expect(found.files.map(\.path) == ["\(folder.path)/a", "\(folder.path)/b"])
    #expect(found.files.map(\.format) == [.titledLines, .untitledLines])
    #expect(found.texts.map(\.lines) == [["丙"], ["甲"], ["乙"]])
    #expect(found.texts.map(\.file) == [0, 1, 1])
    #expect(try Corpus(path: folder.path + "/c").texts.count == 2)
  }

  @Test func unreadablePaths() throws {
    let folder = try TemporaryFolder()
    let missing = weftError { _ = try Corpus(path: folder.path + "/none") }
    #expect(missing?.code == .notFound)
    #expect(missing?.category == .noInput)
    #expect(missing?.message.contains("\(folder.path)/none") == true)
    #expect(weftError { _ = try Corpus(path: folder.path) }?.category == .noInput)
    #expect(weftError { _ = try Corpus(path: "/dev/null") }?.category == .noInput)
    try folder.write("empty", "")
    #expect(weftError { _ = try Corpus(path: folder.path + "/empty") }?.category == .content)
  }

  @Test func installedCorpus() throws {
    let standard: Corpus
    do {
      standard = try Corpus.standard()
    } catch {
      #expect(error.code == .notFound && error.category == .noInput)
      print("skipped: fortunes-zh is not installed")
      return
    }
    #expect(standard.files.map(\.format) == [.fortunes])
    #expect(standard.texts.count == 313)
    #expect(standard.texts.allSatisfy { $0.title != nil && $0.author != nil && $0.line > 0 })
    #expect(standard.texts[0].title == "感遇・其一")
    #expect(standard.texts[0].author == "张九龄")
    #expect(standard.texts[0].lines.count == 4)
    let lengths = standard.texts.map { $0.body.unicodeScalars.count }
    #expect(lengths.min() == 24 && lengths.max() == 960)
    #expect(lengths.count { $0 > 198 } == 22)
  }

  @Test func developmentCorpora() throws {
    guard let tang = sharedFile("data/tang") else { return }
    let json = try Corpus(path: tang + "/chinese-poetry.poet.tang.0.json")
    #expect(json.texts.count == 1000 && json.files[0].format == .poetryJSON)
    let free = try Corpus(path: tang + "/tangshi.txt")
    #expect(free.files[0].format == .untitledLines && free.texts[0].lines.count == 3)
  }

  @Test func holdingOut() throws {
    let ten = try corpus((0..<10).map { "题:文\($0)" }.joined(separator: "\n"))
    let (training, heldOut) = try ten.holdingOut(lastFraction: 0.1)
    #expect(training.texts.count == 9)
    #expect(heldOut.texts.map(\.lines) == [["文9"]])
    #expect(try ten.holdingOut(lastFraction: 0.99).training.texts.count == 1)
    #expect(weftError { _ = try ten.holdingOut(lastFraction: 1) }?.category == .usage)
    #expect(weftError { _ = try ten.holdingOut(lastFraction: .nan) } != nil)
    #expect(weftError { _ = try corpus("题:文").holdingOut(lastFraction: 0.5) } != nil)
  }
}

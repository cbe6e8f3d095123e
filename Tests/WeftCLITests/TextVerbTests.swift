// weft train and generate on texts.

import Foundation
import Testing
import Weft

@Suite struct TextVerbTests {
  private static let poems = [
    "春晓:春眠不觉晓，处处闻啼鸟。夜来风雨声，花落知多少。",
    "静夜思:床前明月光，疑是地上霜。举头望明月，低头思故乡。",
    "登鹳雀楼:白日依山尽，黄河入海流。欲穷千里目，更上一层楼。",
    "相思:红豆生南国，春来发几枝。愿君多采撷，此物最相思。",
    "江雪:千山鸟飞绝，万径人踪灭。孤舟蓑笠翁，独钓寒江雪。",
    "鹿柴:空山不见人，但闻人语响。返景入深林，复照青苔上。",
    "鸟鸣涧:人闲桂花落，夜静春山空。月出惊山鸟，时鸣春涧中。",
    "杂诗:君自故乡来，应知故乡事。来日绮窗前，寒梅著花未。",
    "宿建德江:移舟泊烟渚，日暮客愁新。野旷天低树，江清月近人。",
    "寻隐者不遇:松下问童子，言师采药去。只在此山中，云深不知处。",
  ]

  // A corpus and an untrained model of its vocabulary.
  private func folder(_ poems: [String] = poems, layers: Int = 1) throws -> Folder {
    let folder = try Folder()
    try folder.write(poems.joined(separator: "\n") + "\n", to: "poems.txt")
    let corpus = try Corpus(path: folder.path("poems.txt"))
    let texts = try TextPreparation.poems.prepare(corpus)
    var configuration = CharacterModelConfiguration(
      cell: .gru, vocabularySize: texts.vocabulary.rowCount, widths: [26, 40])
    configuration.embeddingSize = 8
    configuration.hiddenSize = 12
    configuration.layers = layers
    let model = try CharacterModel(
      configuration, vocabulary: texts.info.vocabularyEntries, text: texts.info.textEntry())
    try GraphFile.write(model.graph.snapshot, to: folder.path("m.json"))
    return folder
  }

  private func train(_ folder: Folder, _ extra: String...) throws -> Outcome {
    try Command.run(
      ["train", "m.json", "--data", "poems.txt", "--batch", "4", "--run-dir", "r"] + extra,
      in: folder)
  }

  @Test func trainsEvaluatesAndWrites() throws {
    let folder = try folder()
    let run = try train(folder, "--epochs", "3", "--validation-split", "0.2")
    #expect(run.code == 0, "\(run.err)")
    #expect(run.err.contains("8 texts") && run.err.contains("held out  2 texts"))
    #expect(run.err.contains("chars/s") && run.err.contains("nats/char  perplexity"))
    #expect(run.out == "")

    let best = try Command.run(
      "generate", "r", "--argmax", "--start", "春", "--max-tokens", "9", in: folder)
    #expect(best.code == 0, "\(best.err)")
    #expect(best.out.hasPrefix("春") && best.out.hasSuffix("\n") && best.err == "")
    #expect(
      try Command.run("generate", "r", "--argmax", "--start", "春", "--max-tokens", "9", in: folder)
        .out == best.out)

    let drawn = try Command.run(
      "generate", "r", "--count", "3", "--max-tokens", "12", "--top-k", "20", "--top-p", "0.9",
      in: folder)
    #expect(drawn.code == 0, "\(drawn.err)")
    #expect(drawn.out.split(separator: "\n", omittingEmptySubsequences: false).count == 4)
    #expect(drawn.err.hasPrefix("seed "))
    let seed = String(drawn.err.dropFirst(5).prefix { $0.isNumber })
    let again = try Command.run(
      "generate", "r", "--count", "3", "--max-tokens", "12", "--top-k", "20", "--top-p", "0.9",
      "--seed", seed, in: folder)
    #expect(again.out == drawn.out)
    // The largest seed is printed as it is, so that it can be used again.
    let largest = try Command.run(
      "generate", "r", "--json", "--seed", "\(UInt64.max)", "--max-tokens", "2", in: folder)
    #expect(largest.out.contains("\"seed\": \(UInt64.max), \"index\": 0"), "\(largest.out)")
    // A longer start, and the restored file instead of the run.
    let long = try Command.run(
      "generate", "m.json", "--restore", "r/checkpoint-6.safetensors", "--start", "春山", "--seed",
      "1", "--max-tokens", "4", in: folder)
    #expect(long.code == 0 && long.out.hasPrefix("春山"), "\(long.err)")
  }

  @Test func resumesTexts() throws {
    let folder = try folder()
    #expect(try train(folder, "--steps", "7", "--seed", "3").code == 0)
    let whole = try folder.data("r/checkpoint-7.safetensors")
    try FileManager.default.removeItem(atPath: folder.path("r"))
    #expect(try train(folder, "--steps", "4", "--seed", "3", "--threads", "1").code == 0)
    let rest = try Command.run(
      "train", "r", "--data", "poems.txt", "--batch", "4", "--steps", "7", "--resume", in: folder)
    #expect(rest.code == 0, "\(rest.err)")
    #expect(try folder.data("r/checkpoint-7.safetensors") == whole)
  }

  @Test func refusesToWriteUntrained() throws {
    let folder = try folder()
    let run = try Command.run("generate", "m.json", in: folder)
    #expect(run.code == 66)
    #expect(run.err.contains("weft train") && run.err.contains("--restore"))
    #expect(run.out == "")
  }

  @Test func namesACharacterThatIsNotThere() throws {
    let folder = try folder()
    #expect(try train(folder, "--steps", "1").code == 0)
    let run = try Command.run("generate", "r", "--start", "風", in: folder)
    #expect(run.code == 65)
    #expect(run.err.contains("風") && run.err.contains("风"), "\(run.err)")
    for option in [
      ["--temperature", "-1"], ["--top-p", "2"], ["--top-k", "0"], ["--count", "0"],
      ["--threads", "2000"],
    ] {
      #expect(try Command.run(["generate", "r"] + option, in: folder).code == 64)
    }
  }

  @Test func refusesACorpusThatIsNone() throws {
    let folder = try folder()
    try folder.write("", to: "empty.txt")
    try Data([0x61, 0x0A, 0xFF, 0xFE]).write(to: folder.url.appendingPathComponent("bad.txt"))
    try folder.write(
      "a:the quick brown fox jumps over the lazy dog\nb:pack my box with five dozen jugs\n",
      to: "english.txt")
    for (file, code, words) in [
      ("missing.txt", 66, "missing.txt"), ("empty.txt", 65, "empty.txt"),
      ("bad.txt", 65, "offset 2"),
      ("english.txt", 65, "vocabulary"),
    ] {
      let run = try Command.run("train", "m.json", "--data", file, "--run-dir", "r", in: folder)
      #expect(run.code == Int32(code), "\(file): \(run.err)")
      #expect(run.err.contains(words), "\(run.err)")
      #expect(!folder.files.contains { $0.hasPrefix("r/") })
    }
  }

  @Test func saysWhichCheckpointIsUsedForADamagedOne() throws {
    let folder = try folder()
    #expect(try train(folder, "--epochs", "2").code == 0)
    let newest = try #require(folder.files.filter { $0.hasPrefix("r/checkpoint-") }.max())
    try folder.write("damaged", to: newest)
    let run = try Command.run("generate", "r", "--seed", "1", "--max-tokens", "3", in: folder)
    #expect(run.code == 0 && run.out.hasSuffix("\n"))
    #expect(run.err.contains("passed over") && run.err.contains("in its place"), "\(run.err)")
  }

  @Test func warnsOfWhatACheckpointLacks() throws {
    let folder = try folder()
    #expect(try train(folder, "--steps", "1").code == 0)
    let deeper = try self.folder(layers: 2)
    let run = try Command.run(
      "train", deeper.path("m.json"), "--data", "poems.txt", "--batch", "4", "--steps", "1",
      "--run-dir", "deeper", "--restore", "r/checkpoint-1.safetensors", in: folder)
    #expect(run.code == 0, "\(run.err)")
    #expect(run.err.contains("warning: the checkpoint has no value for 8 trained variables"))
    #expect(run.err.contains("cell_1"), "\(run.err)")
  }

  @Test func reportsACheckpointOfAnotherModel() throws {
    let folder = try folder()
    #expect(try train(folder, "--steps", "1").code == 0)
    let other = try self.folder(Array(TextVerbTests.poems.prefix(6)), layers: 2)
    let run = try Command.run(
      "generate", other.path("m.json"), "--restore", "r/checkpoint-1.safetensors", in: folder)
    #expect(run.code == 65)
    #expect(run.err.contains("vocabulary") && run.err.contains("embedding"), "\(run.err)")
  }
}

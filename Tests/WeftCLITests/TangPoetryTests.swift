// The example tang-poetry: what the report's two programs show, save and write.

import Foundation
import Testing

@Suite struct TangPoetryTests {
  private static let program = Command.find("tang-poetry")

  // Texts of two five-character lines; the same ones in every run.
  private func folder(texts: Int) throws -> Folder {
    let folder = try Folder()
    let characters = Array("春眠不觉晓处闻啼鸟夜来风雨声花落知多少")
    var state: UInt32 = 1
    func line() -> String {
      String(
        (0..<5).map { _ in
          state = state &* 1_664_525 &+ 1_013_904_223
          return characters[Int(state >> 16) % characters.count]
        })
    }
    let poems = (0..<texts).map { "题\($0):\(line())，\(line())。" }
    try folder.write(poems.joined(separator: "\n") + "\n", to: "poems.txt")
    return folder
  }

  private func run(_ folder: Folder, _ arguments: String...) throws -> Outcome {
    try Command.run(
      ["--data", "poems.txt", "--run-dir", "r"] + arguments, in: folder,
      program: TangPoetryTests.program)
  }

  // Poems stand apart by empty lines, their sentences on lines of their own.
  private func poems(_ outcome: Outcome) -> [String] {
    var text = outcome.out[...]
    while text.last == "\n" { text.removeLast() }
    return text.components(separatedBy: "\n\n")
      .map { $0.replacingOccurrences(of: "\n", with: "") }
  }

  @Test func showsAndSavesAsTheReportsPyTorchProgram() throws {
    // Two batches of 100 in an epoch; the rest makes no batch.
    let folder = try folder(texts: 230)
    let outcome = try run(
      folder, "--preset", "report-pytorch", "--epochs", "11", "--start", "春鸟")
    #expect(outcome.code == 0, "\(outcome.err)")
    let lines = outcome.err.split(separator: "\n")
    for step in 1...22 {
      #expect(lines.contains { $0.contains("  step \(step)  loss ") }, "no step \(step)")
    }
    #expect(lines.count { $0.hasPrefix("  predicted ") } == 22)
    let targets = lines.filter { $0.hasPrefix("  target    ") }
    #expect(targets.count == 22)
    // A text without its start marker, up to its end marker.
    #expect(targets.allSatisfy { $0.dropFirst(12).count == 12 && $0.hasSuffix("。") })
    #expect(
      folder.files.filter { $0.hasPrefix("r/") } == [
        "r/checkpoint-20.safetensors", "r/checkpoint-22.safetensors", "r/model.json",
      ])
    let written = poems(outcome)
    #expect(written.count == 2)
    for (poem, first) in zip(written, ["春", "鸟"]) {
      #expect(poem.hasPrefix(first) && poem.count <= 30, "\(poem)")
    }
  }

  @Test func trainsByAdamInsteadWhereAsked() throws {
    let folder = try folder(texts: 100)
    let outcome = try run(
      folder, "--preset", "report-pytorch", "--optimizer", "adam", "--export-only")
    #expect(outcome.code == 0, "\(outcome.err)")
    #expect(try folder.text("r/model.json").contains("\"fc.weight/Adam_1\""))
    #expect(
      try run(folder, "--preset", "report-tensorflow", "--optimizer", "adam").code == 64)
  }

  @Test func showsAndWritesAsTheReportsTensorFlowProgram() throws {
    let folder = try folder(texts: 10)
    let outcome = try run(folder, "--preset", "report-tensorflow", "--epochs", "500")
    #expect(outcome.code == 0, "\(outcome.err)")
    let steps = outcome.err.split(separator: "\n").compactMap { line -> String? in
      guard let at = line.range(of: "  step ") else { return nil }
      return String(line[at.upperBound...].prefix { $0.isNumber })
    }
    #expect(steps == ["1", "500"])
    // From the start marker, then from those of the nine characters that the texts have.
    let written = poems(outcome)
    #expect(written.count == 2 && written.last?.hasPrefix("夜") == true, "\(outcome.out)")
    #expect(outcome.err.contains("月"))
    #expect(written.allSatisfy { $0.count <= 50 })
  }

  @Test func namesWhatIsWrong() throws {
    let folder = try folder(texts: 5)
    #expect(try run(folder, "--preset", "report-pytorch").code == 65)
    #expect(folder.files == ["poems.txt"])
    #expect(try run(folder, "--preset", "nobody").code == 64)
    #expect(try run(folder, "--epochs", "0").code == 64)
    #expect(try run(folder, "--temperature=-1").code == 64)
    let unknown = try run(folder, "--start", "春鬱")
    #expect(unknown.code == 65 && unknown.err.contains("鬱"))
    #expect(folder.files == ["poems.txt"])
    #expect(
      try Command.run(["--data", "none.txt"], in: folder, program: TangPoetryTests.program).code
        == 66)
  }
}

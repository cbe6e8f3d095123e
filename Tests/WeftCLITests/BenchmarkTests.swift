// The example benchmark: every workload runs and prints its figures.

import Foundation
import Testing

@Suite struct BenchmarkTests {
  private static let program = Command.find("benchmark")

  private func figures(_ arguments: String...) throws -> [String: Any] {
    let outcome = try Command.run(
      arguments + ["--json"], in: try Folder(), program: BenchmarkTests.program)
    #expect(outcome.code == 0, "\(outcome.err)")
    return try #require(
      try JSONSerialization.jsonObject(with: Data(outcome.out.utf8)) as? [String: Any])
  }

  private func requirePositive(_ names: String..., in figures: [String: Any]) throws {
    for name in names {
      let value = try #require(figures[name] as? Double, "no figure '\(name)'")
      #expect(value > 0, "\(name) is \(value)")
    }
  }

  @Test(arguments: ["rnn", "lstm2", "gru"])
  func timesATrainingStep(cell: String) throws {
    let step = try figures("a", "--cell", cell, "--steps", "1", "--vocabulary", "60")
    try requirePositive(
      "median_ms", "min_ms", "product_limit_ms", "share_of_limit", "characters_per_s",
      "peak_rss_mb", in: step)
    // Nothing is learnt of random ids but that they are equally likely: ln 60.
    let loss = try #require(step["first_loss"] as? Double)
    #expect(abs(loss - 4.094) < 0.1)
  }

  @Test func timesPaddedBatches() throws {
    let batches = try figures("b", "--cell", "rnn", "--steps", "1", "--vocabulary", "60")
    try requirePositive("characters_per_s", "mean_ms", "peak_rss_mb", in: batches)
    let padding = try #require(batches["padding"] as? Double)
    #expect(padding > 1)
  }

  @Test func timesACharacterAndTheOverhead() throws {
    try requirePositive(
      "character_median_us", "overhead_prepared_us", "overhead_run_us",
      in: try figures("c", "--steps", "20", "--vocabulary", "60"))
  }

  @Test func timesTheStart() throws {
    let weft = try #require(Command.path, "the command is not built")
    let start = try figures("d", "--weft", weft, "--rounds", "1", "--nodes", "500")
    try requirePositive("help_median_ms", "one_op_median_ms", "first_step_median_ms", in: start)
    let nodes = try #require(start["train_nodes"] as? Double)
    #expect(abs(nodes - 500) < 50)
  }

  @Test func refusesWhatItCannotMeasure() throws {
    let folder = try Folder()
    for (arguments, code) in [
      (["a", "--cell", "nobody"], 64), (["a", "--steps", "0"], 64),
      (["b", "--cell", "lstm2"], 64), (["e", "--unrolled", "0"], 64),
      (["d", "--weft", folder.path("none")], 66), (["a", "--poems", folder.path("none")], 66),
      (["allocations"], 64),
    ] {
      let outcome = try Command.run(arguments, in: folder, program: BenchmarkTests.program)
      #expect(outcome.code == Int32(code), "\(arguments): \(outcome.err)")
      #expect(!outcome.err.isEmpty && outcome.out.isEmpty)
    }
  }
}

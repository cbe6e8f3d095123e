// weft train on arrays: checkpoints, resuming, refusals, signals.

import Foundation
import Testing

@Suite struct TrainTests {
  private func folder() throws -> Folder {
    let folder = try Folder()
    try folder.write(Graphs.regression, to: "m.json")
    // The command itself makes the archive: two arrays fetched as fed, saved by name.
    for (name, value) in [
      ("x", "[[1,0],[0,1],[1,1],[2,1],[1,2],[3,1],[1,3]]"), ("t", "[[1],[2],[3],[4],[5],[5],[7]]"),
    ] {
      let run = try Command.run(
        "run", "m.json", "--inputs", "\(name)=\(value)", "--outputs", "\(name):0", "--outdir", ".",
        in: folder)
      #expect(run.code == 0, "\(run.err)")
    }
    try Archive.write(
      [("x", try folder.data("x_0.npy")), ("t", try folder.data("t_0.npy"))],
      to: folder.url.appendingPathComponent("d.npz"))
    return folder
  }

  private func train(_ folder: Folder, _ extra: String...) throws -> Outcome {
    try Command.run(["train", "m.json", "--data", "d.npz", "--batch", "3"] + extra, in: folder)
  }

  @Test func trainsAndShowsProgress() throws {
    let folder = try folder()
    let run = try train(
      folder, "--epochs", "5", "--run-dir", "r", "--validation", "d.npz", "--json")
    #expect(run.code == 0, "\(run.err)")
    #expect(run.err.contains("epoch 5 done  step 15"))
    #expect(run.err.contains("examples/s"))
    #expect(!run.err.contains("\r") && !run.err.contains("\u{1B}"))
    #expect(run.out.hasPrefix("{\"step\": 15, \"epoch\": 5, \"loss\": "))
    // The newest three checkpoints and the graph.
    #expect(
      folder.files.filter { $0.hasPrefix("r/") } == [
        "r/checkpoint-12.safetensors", "r/checkpoint-15.safetensors", "r/checkpoint-9.safetensors",
        "r/model.json",
      ])
    let used = try Command.run(
      "run", "r", "--signature", "evaluate", "--inputs", "x=d.npz", "--inputs", "t=d.npz",
      in: folder)
    #expect(used.code == 0 && used.out.hasPrefix("loss  float32 []"), "\(used.err)")
  }

  @Test(arguments: ["1", "2"])
  func resumesBitForBit(threads: String) throws {
    let folder = try folder()
    let whole = try train(
      folder, "--steps", "10", "--run-dir", "whole", "--shuffle", "--seed", "7")
    #expect(whole.code == 0, "\(whole.err)")
    let first = try train(
      folder, "--steps", "4", "--run-dir", "cut", "--shuffle", "--seed", "7", "--threads", threads)
    #expect(first.code == 0, "\(first.err)")
    let rest = try train(
      folder, "--steps", "10", "--run-dir", "cut", "--shuffle", "--resume", "--threads", threads)
    #expect(rest.code == 0, "\(rest.err)")
    #expect(
      try folder.data("whole/checkpoint-10.safetensors")
        == folder.data("cut/checkpoint-10.safetensors"))
    let other = try train(
      folder, "--steps", "10", "--run-dir", "other", "--shuffle", "--seed", "8")
    #expect(other.code == 0)
    #expect(
      try folder.data("whole/checkpoint-10.safetensors")
        != folder.data("other/checkpoint-10.safetensors"))
  }

  @Test func refusesWhatWouldMixRuns() throws {
    let folder = try folder()
    #expect(try train(folder, "--steps", "2", "--run-dir", "r").code == 0)
    let again = try train(folder, "--steps", "2", "--run-dir", "r")
    #expect(again.code == 73)
    #expect(again.err.contains("--resume"))
    #expect(try train(folder, "--steps", "9", "--run-dir", "none", "--resume").code == 66)
    let batch = try Command.run(
      "train", "m.json", "--data", "d.npz", "--batch", "2", "--run-dir", "r", "--resume", "--steps",
      "9", in: folder)
    #expect(batch.code == 65, "\(batch.err)")
    #expect(try train(folder, "--epochs", "0").code == 64)
    #expect(try train(folder, "--run-dir", "d.npz").code == 73)
  }

  @Test func refusesDataThatDoNotFit() throws {
    let folder = try folder()
    try Archive.write(
      [("x", try folder.data("x_0.npy"))], to: folder.url.appendingPathComponent("part.npz"))
    let part = try Command.run("train", "m.json", "--data", "part.npz", in: folder)
    #expect(part.code == 65 && part.err.contains("'t'"))
    let text = try Command.run("train", "m.json", "--data", "m.json", in: folder)
    #expect(text.code == 64 && text.err.contains("vocabulary"))
    try folder.write(Graphs.counter, to: "counter.json")
    let none = try Command.run("train", "counter.json", "--data", "d.npz", in: folder)
    #expect(none.code == 64 && none.err.contains("'train'"))
    #expect(try Command.run("train", "m.json", "--data", "no.npz", in: folder).code == 66)
    #expect(try train(folder, "--restore", "no.npz").code == 66)
    // Arrays of other names are no checkpoint of this graph.
    #expect(try train(folder, "--restore", "d.npz").code == 65)
    #expect(try train(folder, "--threads", "2000").code == 64)
    #expect(!folder.files.contains { $0.hasPrefix("runs") })
  }

  // Also with more steps than can be counted on from.
  @Test(arguments: [
    (SIGINT, 130, ["--epochs", "100000000"]), (SIGTERM, 143, ["--steps", "\(Int.max - 1)"]),
  ])
  func savesAndStopsOnASignal(signal: Int32, code: Int, length: [String]) throws {
    let folder = try folder()
    let process = try Command.process(
      [
        "train", "m.json", "--data", "d.npz", "--run-dir", "r",
        "--checkpoint-every", "1000000000",
      ] + length, in: folder)
    let log = folder.url.appendingPathComponent("log")
    try Data().write(to: log)
    process.standardError = try FileHandle(forWritingTo: log)
    try process.run()
    // Until it is at work: the graph is written, and steps are shown.
    for _ in 0..<400 {
      if try folder.text("log").contains("examples/s") { break }
      usleep(25_000)
    }
    kill(process.processIdentifier, signal)
    process.waitUntilExit()
    #expect(process.terminationReason == .exit)
    #expect(process.terminationStatus == Int32(code))
    let text = try folder.text("log")
    #expect(text.contains("stopped at step"), "\(text)")
    // What goes on is the same run, of the same data and length.
    let again = ["weft", "train", "r", "--resume", "--data", "d.npz"] + length
    #expect(text.contains("`" + again.joined(separator: " ") + "` goes on"), "\(text)")
    #expect(folder.files.count { $0.hasPrefix("r/checkpoint-") } == 1)
    #expect(!folder.files.contains { $0.hasSuffix(".tmp") })
  }
}

/// Writes stored zip archives, as .npz files are.
enum Archive {
  static func write(_ entries: [(name: String, data: Data)], to url: URL) throws {
    var body = Data()
    var directory = Data()
    func number(_ value: Int, _ size: Int) -> Data {
      Data((0..<size).map { UInt8(truncatingIfNeeded: value >> (8 * $0)) })
    }
    for (name, data) in entries {
      let file = Data((name + ".npy").utf8)
      let offset = body.count
      let common =
        number(0, 8) + number(Int(crc(data)), 4) + number(data.count, 4) + number(data.count, 4)
        + number(file.count, 2) + number(0, 2)
      body += Data("PK\u{3}\u{4}".utf8) + number(20, 2) + common + file + data
      directory +=
        Data("PK\u{1}\u{2}".utf8) + number(20, 2) + number(20, 2) + common + number(0, 10)
        + number(offset, 4) + file
    }
    let end =
      Data("PK\u{5}\u{6}".utf8) + number(0, 4) + number(entries.count, 2)
      + number(entries.count, 2) + number(directory.count, 4) + number(body.count, 4) + number(0, 2)
    try (body + directory + end).write(to: url)
  }

  private static func crc(_ data: Data) -> UInt32 {
    var value: UInt32 = 0xFFFF_FFFF
    for byte in data {
      value ^= UInt32(byte)
      for _ in 0..<8 { value = value & 1 == 1 ? (value >> 1) ^ 0xEDB8_8320 : value >> 1 }
    }
    return ~value
  }
}

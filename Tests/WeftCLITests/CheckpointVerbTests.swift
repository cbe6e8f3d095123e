// TensorFlow's checkpoints and SavedModels on the command line.

import Foundation
import Testing

@Suite struct CheckpointVerbTests {
  /// What TensorFlow 2.21 saved: `count` = 7, `w` = [1, 2, 3], and a string called `note`.
  private static let index = """
    AAAGCAEaAggBAAULY291bnQIARIAKAQ1X8+LtQAEDW5vdGUIBxIAIAQoCzWm5iHDAAERdwgBEgQSAggDIA8oDDVzW4lx
    AAAAAAEAAAAAIWUx5wAAAAABAAAAAMDyobAAAQJ4AE0AAAAAAQAAAACyBI/FUghfDgAAAAAAAAAAAAAAAAAAAAAAAAAA
    AAAAAAAAAAAAAAAAAAAAAFf7gIskdUfb
    """
  private static let data = "AADgQAYcA+5VYSBub3RlAACAPwAAAEAAAEBA"

  private func folder() throws -> Folder {
    let folder = try Folder()
    try folder.write(Graphs.counter, to: "counter.json")
    return folder
  }

  /// Writes the checkpoint under a prefix.
  private func save(_ prefix: String, in folder: Folder) throws {
    try folder.write("", to: prefix + ".index")
    for (suffix, text) in [(".index", Self.index), (".data-00000-of-00001", Self.data)] {
      let bytes = try #require(Data(base64Encoded: text, options: .ignoreUnknownCharacters))
      try bytes.write(to: URL(fileURLWithPath: folder.path(prefix + suffix)))
    }
  }

  private let restored = "peek  float32 []  7.0\nweights  float32 [3]\n[1.0, 2.0, 3.0]\n"

  @Test(arguments: ["c/model-7", "c/model-7.index", "c", "c/model-7.data-00000-of-00001"])
  func restoresACheckpoint(_ path: String) throws {
    let folder = try folder()
    try save("c/model-7", in: folder)
    try folder.write("model_checkpoint_path: \"model-7\"\n", to: "c/checkpoint")
    let run = try Command.run(
      "run", "counter.json", "--outputs", "peek", "--outputs", "weights", "--restore", path,
      "--init", "never", in: folder)
    #expect(run.out == restored, "\(run.err)")
    #expect(run.err.contains("note"))
  }

  @Test func runsASavedModel() throws {
    let folder = try folder()
    _ = try Command.run("convert", "counter.json", "counter.pbtxt", in: folder)
    try folder.write(
      "saved_model_schema_version: 1\nmeta_graphs {\n  meta_info_def { tags: \"serve\" }\n"
        + "  graph_def {\n" + folder.text("counter.pbtxt") + "  }\n}\n",
      to: "model/saved_model.pbtxt")
    // Without variables, they are initialized as ever.
    let bare = try Command.run("run", "model", "--outputs", "peek", in: folder)
    #expect(bare.out == "peek  float32 []  0.0\n", "\(bare.err)")
    try save("model/variables/variables", in: folder)
    let run = try Command.run(
      "run", "model", "--outputs", "peek", "--outputs", "weights", in: folder)
    #expect(run.out == restored, "\(run.err)")
    let other = try Command.run(
      "run", "counter.json", "--outputs", "peek", "--outputs", "weights", "--restore", "model",
      in: folder)
    #expect(other.out == restored, "\(other.err)")
    let shown = try Command.run("show", "model", in: folder)
    #expect(shown.code == 0 && shown.out.contains("count"), "\(shown.err)")
  }

  @Test func convertsCheckpoints() throws {
    let folder = try folder()
    try save("model", in: folder)
    for (source, target, warns) in [
      ("model", "a.safetensors", true), ("a.safetensors", "b.npz", false),
      ("b.npz", "c.safetensors", false),
    ] {
      let run = try Command.run("convert", source, target, in: folder)
      #expect(run.code == 0 && run.out.isEmpty, "\(run.err)")
      #expect(run.err.contains("'note'") == warns)
    }
    #expect(try folder.data("a.safetensors").count == folder.data("c.safetensors").count)
    let run = try Command.run(
      "run", "counter.json", "--outputs", "peek", "--outputs", "weights", "--restore",
      "c.safetensors", in: folder)
    #expect(run.out == restored, "\(run.err)")
  }

  @Test func refusesWhatIsNoCheckpoint() throws {
    let folder = try folder()
    try save("model", in: folder)
    try folder.write("some text", to: "text")
    try folder.write("", to: "empty/file")
    for (path, code) in [("missing", 66), ("text", 65), ("empty", 66), ("counter.json", 65)] {
      for command in [
        ["run", "counter.json", "--outputs", "peek", "--restore", path],
        ["convert", path, "out.npz"],
      ] {
        let run = try Command.run(command, in: folder)
        #expect(run.code == Int32(code), "\(run.err)")
        #expect(run.err.contains("error[") && run.err.contains("hint"))
      }
    }
    try FileManager.default.removeItem(atPath: folder.path("model.data-00000-of-00001"))
    let lacking = try Command.run("convert", "model", "out.npz", in: folder)
    #expect(lacking.code == 66 && lacking.err.contains("model.data-00000-of-00001"))
  }
}

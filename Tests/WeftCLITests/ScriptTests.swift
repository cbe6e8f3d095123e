// weft run --script: several runs of one session.

import Foundation
import Testing

@Suite struct ScriptTests {
  private func folder(_ steps: String, graph: String = Graphs.counter) throws -> Folder {
    let folder = try Folder()
    try folder.write(graph, to: "g.json")
    try folder.write(steps, to: "in/steps.json")
    _ = try Command.run(
      "run", "g.json", "--inputs", "by=2", "--outputs", "by", "--outdir", "in", in: folder)
    return folder
  }

  private static let counting = """
    {"steps": [
      {"fetches": {"peek": "before.npy"}, "may_fail": true},
      {"targets": ["init"]},
      {"feeds": {"by:0": "by.npy"}, "targets": ["add"]},
      {"feeds": {"by": "by.npy"}, "fetches": {"value:0": "sub/value.npy"}}
    ]}
    """

  @Test func runsStepsOfOneSession() throws {
    let folder = try folder(ScriptTests.counting)
    let run = try Command.run(
      "run", "g.json", "--script", "in/steps.json", "--outdir", "out", in: folder)
    #expect(run.code == 0, "\(run.err)")
    #expect(
      folder.files.filter { $0.hasPrefix("out/") } == ["out/steps.json", "out/sub/value.npy"])
    let report = try JSONSerialization.jsonObject(with: try folder.data("out/steps.json"))
    let steps = try #require(report as? [[String: Any]])
    #expect(steps.map { $0["ok"] as? Bool } == [false, true, true, true])
    #expect((steps[0]["error"] as? String)?.contains("FailedPrecondition") == true)
    #expect(steps[1]["error"] == nil)
    try folder.write(
      #"{"steps": [{"feeds": {"by": "../out/sub/value.npy"}, "fetches": {"by": "v.npy"}}]}"#,
      to: "in/read.json")
    let read = try Command.run("run", "g.json", "--script", "in/read.json", in: folder)
    #expect(read.out == "0  by  float32 []  4.0\n", "\(read.err)")
  }

  @Test func endsAtAStepThatMayNotFail() throws {
    let folder = try folder(
      #"{"steps": [{"fetches": {"peek": "p.npy"}}, {"targets": ["init"]}]}"#)
    let run = try Command.run(
      "run", "g.json", "--script", "in/steps.json", "--outdir", "out", in: folder)
    #expect(run.code == 1)
    let report = try folder.text("out/steps.json")
    #expect(report.contains("\"ok\": false") && !report.contains("true"))
  }

  static let outside = FileManager.default.temporaryDirectory
    .appendingPathComponent("weft-escape.npy").path

  @Test(arguments: [
    "../escape.npy", ScriptTests.outside, "a/../../escape.npy", "", "plain", "dir/",
  ])
  func keepsPathsInTheOutputFolder(path: String) throws {
    let folder = try folder("{\"steps\": [{\"fetches\": {\"zero\": \"\(path)\"}}]}")
    let before = folder.files
    let run = try Command.run(
      "run", "g.json", "--script", "in/steps.json", "--outdir", "out", in: folder)
    #expect(run.code == 65, "\(run.err)")
    #expect(folder.files == before)
    #expect(!FileManager.default.fileExists(atPath: Self.outside))
  }

  @Test func followsNoLinkOutOfTheOutputFolder() throws {
    let folder = try folder(#"{"steps": [{"fetches": {"zero": "link/z.npy"}}]}"#)
    try FileManager.default.createDirectory(
      atPath: folder.path("out"), withIntermediateDirectories: true)
    try FileManager.default.createDirectory(
      atPath: folder.path("elsewhere"), withIntermediateDirectories: true)
    try FileManager.default.createSymbolicLink(
      atPath: folder.path("out/link"), withDestinationPath: folder.path("elsewhere"))
    let run = try Command.run(
      "run", "g.json", "--script", "in/steps.json", "--outdir", "out", in: folder)
    #expect(run.code == 65)
    #expect(!folder.files.contains { $0.hasPrefix("elsewhere/") })
  }

  @Test(arguments: [
    "{", "[]", "{\"steps\": 3}", "{\"steps\": [{\"feds\": {}}]}", "{\"stps\": []}",
    "{\"steps\": [{\"feeds\": {\"by\": 3}}]}",
  ])
  func refusesWhatIsNoScript(script: String) throws {
    let folder = try folder(script)
    let run = try Command.run(
      "run", "g.json", "--script", "in/steps.json", "--outdir", "out", in: folder)
    #expect(run.code == 65, "\(script): \(run.err)")
  }

  @Test func feedsFilesOnly() throws {
    // Read beside the script, a literal would be the name of a file.
    let folder = try folder(#"{"steps": [{"feeds": {"by": "3"}, "fetches": {"by": "b.npy"}}]}"#)
    let run = try Command.run(
      "run", "g.json", "--script", "in/steps.json", "--outdir", "out", in: folder)
    #expect(run.code == 65 && run.err.contains(".npy"), "\(run.err)")
    try folder.write(
      #"{"steps": [{"feeds": {"by": "3"}, "fetches": {"by": "b.npy"}}]}"#, to: "steps.json")
    let beside = try Command.run(
      "run", "g.json", "--script", "steps.json", "--outdir", "out", "--overwrite", in: folder)
    #expect(beside.code == 65)
    try folder.write("{}", to: "steps.json")
    let empty = try Command.run("run", "g.json", "--script", "steps.json", in: folder)
    #expect(empty.err.contains("the key 'steps' is missing at $"), "\(empty.err)")
  }

  @Test func refusesTwoFetchesOfOneFile() throws {
    let folder = try folder(
      #"{"steps": [{"fetches": {"zero": "a.npy"}}, {"fetches": {"ones": "./a.npy"}}]}"#)
    let run = try Command.run(
      "run", "g.json", "--script", "in/steps.json", "--outdir", "out", in: folder)
    #expect(run.code == 64)
    let mixed = try Command.run(
      "run", "g.json", "--script", "in/steps.json", "--outputs", "zero", in: folder)
    #expect(mixed.code == 64)
    let missing = try Command.run("run", "g.json", "--script", "in/no.json", in: folder)
    #expect(missing.code == 66)
  }
}

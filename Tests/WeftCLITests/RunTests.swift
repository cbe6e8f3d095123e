// weft run: inputs, outputs, exit codes.

import Foundation
import Testing

@Suite struct RunTests {
  private func folder() throws -> Folder {
    let folder = try Folder()
    try folder.write(Graphs.arithmetic, to: "g.json")
    try folder.write(Graphs.counter, to: "counter.json")
    return folder
  }

  @Test func printsSmallOutputs() throws {
    let folder = try folder()
    let run = try Command.run(
      "run", "g.json", "--inputs", "x=[[1,2]]", "--outputs", "y", in: folder)
    #expect(run.code == 0)
    #expect(run.out == "y  float32 [1, 2]\n[[2.0, 4.0]]\n")
    #expect(run.err == "")
  }

  @Test(arguments: [
    ("[[1,2],[3,4]]", "[[2.0, 4.0],\n [6.0, 8.0]]"), ("zeros(1,2)", "[[0.0, 0.0]]"),
    ("ones(1, 2)", "[[2.0, 2.0]]"), ("[[1e1, -.5]]", "[[20.0, -1.0]]"),
  ])
  func parsesLiterals(literal: String, shown: String) throws {
    let folder = try folder()
    let run = try Command.run(
      "run", "g.json", "--inputs", "x=\(literal)", "--outputs", "y", in: folder)
    #expect(run.code == 0, "\(run.err)")
    #expect(run.out.hasSuffix(shown + "\n"), "\(run.out)")
  }

  @Test(arguments: [
    "[[1,2],[3]]", "[1,[2]]", "[[1,2]", "1+1", "zeros(2,", "zeros(99999999,99999999)", "__import__",
    "nosuch.npy", "range(0x10)", "",
  ])
  func refusesOtherLiterals(literal: String) throws {
    let folder = try folder()
    let run = try Command.run(
      "run", "g.json", "--inputs", "x=\(literal)", "--outputs", "y", in: folder)
    #expect(run.code == (literal.hasSuffix(".npy") ? 66 : 65), "\(literal): \(run.err)")
    #expect(run.err.hasPrefix("error["))
  }

  @Test func printsJSON() throws {
    let folder = try folder()
    let run = try Command.run(
      "run", "g.json", "--inputs", "x=[[1,2]]", "--outputs", "y", "--json", in: folder)
    #expect(
      run.out
        == #"{"outputs": {"y": {"dtype": "float32", "shape": [1, 2], "value": [[2.0, 4.0]]}}}"#
        + "\n")
  }

  @Test func writesFilesUnderSafeNames() throws {
    let folder = try folder()
    let run = try Command.run(
      "run", "g.json", "--inputs", "x=[[1,2]]", "--outputs", "scope/z:0", "--outputs", "y",
      "--outdir", "out/deep", in: folder)
    #expect(run.code == 0, "\(run.err)")
    #expect(run.out == "")
    #expect(
      folder.files.filter { $0.hasPrefix("out") } == ["out/deep/scope_z_0.npy", "out/deep/y.npy"])
    let again = try Command.run(
      "run", "g.json", "--inputs", "x=out/deep/y.npy", "--outputs", "y", in: folder)
    #expect(again.out.hasSuffix("[[4.0, 8.0]]\n"))
  }

  @Test func keepsFilesThatExist() throws {
    let folder = try folder()
    try folder.write("mine", to: "out/y.npy")
    let arguments = [
      "run", "g.json", "--inputs", "x=[[1,2]]", "--outputs", "three", "--outputs", "y", "--outdir",
      "out",
    ]
    let refused = try Command.run(arguments, in: folder)
    #expect(refused.code == 73)
    #expect(refused.err.contains("--overwrite"))
    #expect(try folder.text("out/y.npy") == "mine")
    #expect(folder.files.filter { $0.hasPrefix("out/") } == ["out/y.npy"])
    let replaced = try Command.run(arguments + ["--overwrite"], in: folder)
    #expect(replaced.code == 0)
    #expect(try folder.data("out/y.npy").starts(with: [0x93]))
  }

  @Test func refusesOutputsThatShareAFile() throws {
    let folder = try folder()
    let run = try Command.run(
      "run", "g.json", "--inputs", "x=[[1,2]]", "--outputs", "scope/z", "--outputs", "scope_z",
      "--outdir", "out", in: folder)
    #expect(run.code == 64)
    #expect(run.err.contains("scope_z.npy"))
    #expect(!folder.files.contains { $0.hasPrefix("out/") })
  }

  @Test(arguments: [
    (["run", "g.json", "--bogus"], 64), (["nosuchverb"], 64), (["run"], 64),
    (["run", "g.json"], 64), (["run", "g.json", "--outputs", "nosuch"], 64),
    (["run", "g.json", "--signature", "nosuch"], 64),
    (["run", "g.json", "--outputs", "y:7"], 64), (["run", "g.json", "--outputs", "y"], 64),
    (["run", "g.json", "--targets", "nosuch"], 64),
    (["run", "g.json", "--inputs", "x", "--outputs", "y"], 64),
    (["run", "g.json", "--outputs", "y", "--steps", "0"], 64),
    (["run", "g.json", "--inputs", "x=[1,2,3]", "--outputs", "y"], 65),
    (["run", "g.json", "--inputs", "x=[[1,2]]", "--outputs", "odder"], 65),
    (["run", "missing.json", "--outputs", "y"], 66),
    (["run", "g.json", "--inputs", "x=missing.npy", "--outputs", "y"], 66),
    (["run", "g.json", "--inputs", "x=[[1,2]]", "--outputs", "y", "--outdir", "g.json"], 73),
    (["run", "g.json", "--inputs", "x=[[1,2]]", "--outputs", "y", "--outdir", "g.json/deep"], 73),
    (["run", "g.json", "--inputs", "x=[[1,2]]", "--inputs", "i=5", "--outputs", "row"], 1),
    (["run", "counter.json", "--outputs", "peek", "--init", "never"], 1),
    (["run", "counter.json", "--outputs", "peek", "--save", "x.txt"], 64),
    (["--version"], 0), (["--help"], 0), (["run", "--help"], 0),
  ])
  func exitsWithTheCodeOf(arguments: [String], code: Int) throws {
    let folder = try folder()
    let before = folder.files
    let run = try Command.run(arguments, in: folder)
    #expect(run.code == Int32(code), "\(arguments): \(run.err)")
    if code != 0 {
      #expect(run.out == "")
      #expect(!run.err.isEmpty)
    }
    #expect(folder.files == before, "nothing half-written")
  }

  @Test func listsEveryUnknownOp() throws {
    let folder = try folder()
    let run = try Command.run(
      "run", "g.json", "--inputs", "x=[[1,2]]", "--outputs", "odder", in: folder)
    #expect(run.err.hasPrefix("error[Unimplemented]"))
    #expect(run.err.contains("NobodyKnowsThisOp") && run.err.contains("NorThisOne"))
  }

  @Test func namesNodeAndBoundOfABadIndex() throws {
    let folder = try folder()
    let run = try Command.run(
      "run", "g.json", "--inputs", "x=[[1,2]]", "--inputs", "i=5", "--outputs", "row", in: folder)
    #expect(
      run.err.contains("row") && run.err.contains("5") && run.err.contains("[0, 1)"), "\(run.err)")
  }

  @Test func stepsTakeSlicesInTurn() throws {
    let folder = try folder()
    let run = try Command.run(
      "run", "g.json", "--inputs", "x=[[[1,2]],[[3,4]]]", "--outputs", "y", "--outputs", "three",
      "--steps", "3", in: folder)
    #expect(run.code == 0, "\(run.err)")
    #expect(
      run.out == """
        y  float32 [3, 1, 2]
        [[[2.0, 4.0]],
         [[6.0, 8.0]],
         [[2.0, 4.0]]]
        three  float32 [3]
        [3.0, 3.0, 3.0]

        """)
  }

  @Test func initializesWhatHasNoValue() throws {
    let folder = try folder()
    let run = try Command.run(
      "run", "counter.json", "--inputs", "by=2", "--outputs", "value", "--steps", "3", in: folder)
    #expect(run.out == "value  float32 [3]\n[2.0, 4.0, 6.0]\n", "\(run.err)")
    let lacking = try Command.run(
      "run", "counter.json", "--outputs", "peek", "--outputs", "weights", "--init", "never",
      in: folder)
    #expect(lacking.code == 1)
    #expect(lacking.err.contains("count") && lacking.err.contains("w"))
  }

  @Test(arguments: ["c.safetensors", "c.npz"])
  func savesAndRestores(file: String) throws {
    let folder = try folder()
    let saved = try Command.run(
      "run", "counter.json", "--inputs", "by=5", "--outputs", "value", "--save", file, in: folder)
    #expect(saved.code == 0, "\(saved.err)")
    let restored = try Command.run(
      "run", "counter.json", "--outputs", "peek", "--outputs", "weights", "--restore", file,
      "--init", "never", in: folder)
    #expect(restored.out == "peek  float32 []  5.0\nweights  float32 [3]\n[1.0, 1.0, 1.0]\n")
    let always = try Command.run(
      "run", "counter.json", "--outputs", "peek", "--restore", file, "--init", "always", in: folder)
    #expect(always.out == "peek  float32 []  0.0\n")
  }

  @Test func reportsEveryMismatchOfACheckpoint() throws {
    let folder = try folder()
    try folder.write(
      Graphs.counter.replacingOccurrences(of: "\"3\"", with: "\"4\"").replacingOccurrences(
        of: "[1.0, 1.0, 1.0]", with: "[1.0]"), to: "other.json")
    _ = try Command.run("run", "counter.json", "--save", "c.safetensors", in: folder)
    let run = try Command.run(
      "run", "other.json", "--outputs", "peek", "--restore", "c.safetensors", in: folder)
    #expect(run.code == 65, "\(run.err)")
    #expect(run.err.contains("[3]") && run.err.contains("[4]"))
    try folder.write("nonsense", to: "bad.safetensors")
    let bad = try Command.run(
      "run", "counter.json", "--outputs", "peek", "--restore", "bad.safetensors", in: folder)
    #expect(bad.code == 65)
    #expect(bad.err.contains("DataLoss"))
  }

  @Test func startsFast() throws {
    // Not a timing: start-up must not need more than the libraries it is linked to.
    let folder = try folder()
    let run = try Command.run("--version", in: folder)
    #expect(run.code == 0 && !run.out.isEmpty)
  }
}

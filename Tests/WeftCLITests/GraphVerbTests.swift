// weft show, convert, gradients, plan.

import Foundation
import Testing

@Suite struct GraphVerbTests {
  private func folder() throws -> Folder {
    let folder = try Folder()
    try folder.write(Graphs.arithmetic, to: "g.json")
    try folder.write(Graphs.regression, to: "train.json")
    return folder
  }

  @Test func convertsWithoutLoss() throws {
    let folder = try folder()
    for source in ["g", "train"] {
      for step in [
        ["convert", "\(source).json", "a.json"], ["convert", "a.json", "b.pb"],
        ["convert", "b.pb", "c.pbtxt"], ["convert", "c.pbtxt", "d.json"],
        ["convert", "a.json", "e.dot"],
      ] {
        let run = try Command.run(step, in: folder)
        #expect(run.code == 0, "\(step): \(run.err)")
      }
      #expect(try folder.data("a.json") == folder.data("d.json"))
      #expect(try folder.text("e.dot").hasPrefix("digraph"))
    }
  }

  @Test(arguments: [
    ("g.json", "out.xyz", 64), ("g.json", "no/such/folder/out.json", 73),
    ("no.json", "out.json", 66),
    ("broken.json", "out.json", 65), ("cycle.json", "out.json", 65), ("twice.json", "out.json", 65),
    ("dangling.json", "out.json", 65),
  ])
  func convertFailsCleanly(source: String, target: String, code: Int) throws {
    let folder = try folder()
    try folder.write(String(Graphs.arithmetic.prefix(500)), to: "broken.json")
    try folder.write(
      Graphs.arithmetic.replacingOccurrences(of: "[\"x\", \"x\"]", with: "[\"scope/z\", \"x\"]"),
      to: "cycle.json")
    try folder.write(
      Graphs.arithmetic.replacingOccurrences(of: "\"name\": \"y\"", with: "\"name\": \"x\""),
      to: "twice.json")
    try folder.write(
      Graphs.arithmetic.replacingOccurrences(of: "[\"x\", \"x\"]", with: "[\"x\", \"gone\"]"),
      to: "dangling.json")
    let before = folder.files
    let run = try Command.run("convert", source, target, in: folder)
    #expect(run.code == Int32(code), "\(run.err)")
    #expect(run.err.hasPrefix("error["))
    #expect(folder.files == before)
    if source == "broken.json" { #expect(run.err.contains("broken.json:")) }
    if source == "cycle.json" { #expect(run.err.contains("cycle")) }
  }

  @Test func showsNodesAndSummary() throws {
    let folder = try folder()
    let all = try Command.run("show", "g.json", "--nodes", in: folder)
    #expect(all.code == 0, "\(all.err)")
    #expect(all.out.contains("scope/z = Mul(y, three) : float32 [?, 2]\n"))
    #expect(all.out.contains("unknown ops: NobodyKnowsThisOp, NorThisOne"))
    let scope = try Command.run("show", "g.json", "--scope", "scope/", in: folder)
    #expect(scope.out == "scope/z = Mul(y, three) : float32 [?, 2]\n")
    let summary = try Command.run("show", "train.json", in: folder)
    #expect(summary.out.contains("signature train"))
    #expect(summary.out.contains("1 variables, 2 elements"))
    let part = try Command.run("show", "train.json", "--signature", "evaluate", in: folder)
    #expect(!part.out.contains("train_op") && part.out.contains("loss = Mean"))
    let json = try Command.run("show", "train.json", "--json", in: folder)
    let object = try JSONSerialization.jsonObject(with: Data(json.out.utf8)) as? [String: Any]
    #expect(object?["nodes"] as? Int == 18)
  }

  @Test func addsGradients() throws {
    let folder = try folder()
    let made = try Command.run(
      "gradients", "g.json", "--ys", "scope/z", "--xs", "x", "--names", "dx", "-o", "d.json",
      in: folder)
    #expect(made.code == 0, "\(made.err)")
    let run = try Command.run(
      "run", "d.json", "--inputs", "x=[[1,2]]", "--outputs", "dx", in: folder)
    #expect(run.out == "dx  float32 [1, 2]\n[[6.0, 6.0]]\n")
    let taken = try Command.run(
      "gradients", "g.json", "--ys", "scope/z", "--xs", "x", "--names", "y", "-o", "e.json",
      in: folder)
    #expect(taken.code == 64)
    let unknown = try Command.run(
      "gradients", "g.json", "--ys", "odder", "--xs", "x", "-o", "e.json", in: folder)
    #expect(unknown.code == 65)
    #expect(unknown.err.contains("[Unimplemented]") && unknown.err.contains("NorThisOne"))
    #expect(!folder.files.contains("e.json"))
  }

  @Test func alignsChineseByColumns() throws {
    let folder = try folder()
    // The session's names of two variables, 诗歌 and w.
    try folder.write(
      Graphs.counter.replacingOccurrences(of: "Y291bnQ=", with: "6K+X5q2M"), to: "c.json")
    let shown = try Command.run("show", "c.json", in: folder)
    #expect(shown.out.contains("\n  诗歌  float32 []"), "\(shown.out)")
    #expect(shown.out.contains("\n  w     float32 [3]"), "\(shown.out)")
  }

  @Test func benchTakesNumbersOfSteps() throws {
    let folder = try folder()
    let bench = ["bench", "g.json", "--inputs", "x=[[1,2]]", "--outputs", "y"]
    let run = try Command.run(bench + ["--repeat", "2", "--warmup", "0", "--json"], in: folder)
    #expect(run.code == 0 && run.out.contains("\"repeats\": 2"), "\(run.err)")
    #expect(try Command.run(bench + ["--repeat", "0"], in: folder).code == 64)
    #expect(try Command.run(bench + ["--warmup=-1"], in: folder).code == 64)
  }

  @Test func plansASignature() throws {
    let folder = try folder()
    let plan = try Command.run(
      "plan", "train.json", "--signature", "train", "--shape", "x=5,2", "--shape", "t=5,1",
      in: folder)
    #expect(plan.code == 0, "\(plan.err)")
    #expect(plan.out.contains("MatMul") && plan.out.contains("arena"))
    let bad = try Command.run(
      "plan", "train.json", "--signature", "train", "--shape", "x=5,3", in: folder)
    #expect(bad.code == 65)
    let json = try Command.run("plan", "train.json", "--signature", "train", "--json", in: folder)
    #expect(json.code == 0)
    #expect((try? JSONSerialization.jsonObject(with: Data(json.out.utf8))) != nil)
  }

  @Test func listsOps() throws {
    let run = try Command.run("doctor", "--ops", in: try folder())
    #expect(run.code == 0)
    let rows = run.out.split(separator: "\n").map { $0.split(separator: "\t") }
    #expect(rows.allSatisfy { $0.count == 4 })
    #expect(rows.first?.first == "op")
    #expect(rows.contains { $0[0] == "MatMul" && $0[2] == "rule" && $0[3] == "yes" })
    #expect(rows.contains { $0[0] == "SaveV2" && $0[3].hasPrefix("refused: ") })
    #expect(rows.contains { $0[0] == "Shape" && $0[1] == "int32 int64" && $0[2] == "zero" })
  }
}

// weft plan, weft bench and weft run --trace: what a run compiles to, and the time it takes.

import Foundation
import Testing

@Suite struct PlanTests {
  private func folder() throws -> Folder {
    let folder = try Folder()
    try folder.write(Graphs.arithmetic, to: "g.json")
    try folder.write(Graphs.regression, to: "r.json")
    return folder
  }

  private func object(_ text: String) throws -> [String: Any] {
    try #require(try JSONSerialization.jsonObject(with: Data(text.utf8)) as? [String: Any])
  }

  private func list(_ value: Any?) throws -> [[String: Any]] {
    try #require(value as? [[String: Any]])
  }

  private func plan(_ folder: Folder, _ arguments: String...) throws -> Outcome {
    try Command.run(
      ["plan", "r.json", "--signature", "train", "--shape", "x=4,2"] + arguments, in: folder)
  }

  // MARK: - weft plan

  @Test func showsPassesAndSteps() throws {
    let outcome = try plan(try folder())
    #expect(outcome.code == 0, "\(outcome.err)")
    let lines = outcome.out.split(separator: "\n").map(String.init)
    #expect(lines.contains("passes") && lines.contains("steps"))
    for pass in ["prune", "specialize", "fold", "cse", "reroll", "elementwise"] {
      #expect(
        lines.contains { $0.hasPrefix("  \(pass) ") && $0.contains(" nodes ") }, "no \(pass)")
    }
    // The batch size given for x is that of t too.
    #expect(outcome.out.contains("float32[4, 1] feed"), "\(outcome.out)")
    #expect(outcome.out.contains("matmulFloat32") && outcome.out.contains("FLOP"))
  }

  @Test func printsThePlanAsJSON() throws {
    let outcome = try plan(try folder(), "--json")
    let plan = try object(outcome.out)
    let passes = try list(plan["passes"])
    #expect(passes.first?["name"] as? String == "prune")
    for pass in passes {
      let (before, after) = (pass["before"] as? Int, pass["after"] as? Int)
      #expect(before != nil && after != nil && (after ?? 0) <= (before ?? 0), "\(pass)")
    }
    let steps = try list(plan["steps"])
    #expect(steps.count { $0["op"] as? String == "MatMul" } == 2)
    let arena = try #require(plan["arena_bytes"] as? Int)
    for step in steps {
      for value in try list(step["inputs"]) + list(step["outputs"]) {
        #expect(value["dtype"] is String && value["shape"] is String)
        if let offset = value["offset"] as? Int { #expect((0..<arena).contains(offset)) }
      }
    }
    // x^T y over four rows of two: 2 * 4 * 2 operations, twice.
    #expect((plan["flops"] as? Int ?? 0) >= 32)
    #expect((plan["unshared_bytes"] as? Int ?? 0) > 0)
    #expect(plan["kept_bytes"] as? Int == 0)
  }

  @Test func drawsThePlan() throws {
    let outcome = try plan(try folder(), "--dot")
    #expect(outcome.out.hasPrefix("digraph plan {\n") && outcome.out.hasSuffix("}\n"))
    #expect(outcome.out.contains("MatMul") && outcome.out.contains(" -> s"))
  }

  @Test func showsTheGraphAroundAPass() throws {
    let folder = try folder()
    func listing(_ arguments: String...) throws -> [String] {
      let outcome = try Command.run(
        ["plan", "g.json", "--outputs", "scope_z", "--outputs", "scope/z", "--shape", "x=3,2"]
          + arguments, in: folder)
      #expect(outcome.code == 0, "\(outcome.err)")
      return outcome.out.split(separator: "\n").map(String.init)
    }
    let before = try listing("--before", "forward")
    #expect(before.first == "before forward")
    #expect(before.contains("  x = feed 0 -> float32 [3, 2]"))
    #expect(before.contains("  y = AddV2(x, x) -> float32 [3, 2]"))
    #expect(before.contains("  scope_z = Identity(y) -> float32 [3, 2]"), "\(before)")
    #expect(before.contains("  scope/z = Mul(y, three) -> float32 [3, 2]"))
    let after = try listing("--after", "forward")
    #expect(after.first == "after forward")
    #expect(!after.contains { $0.contains("Identity") }, "\(after)")
    #expect(after.contains("  y = AddV2(x, x) -> float32 [3, 2]"))
    #expect(try listing("--before", "forward", "--after", "forward") == before + after)
    // What one pass leaves is what the next one finds.
    let next = try listing("--before", "cse")
    #expect(next.dropFirst() == after.dropFirst())
  }

  @Test(arguments: [
    ["--before", "nosuch"], ["--after", "prune"], ["--after", "cse", "--json"],
    ["--before", "cse", "--dot"], ["--after", "cse", "--passes", "fold"],
  ])
  func refusesToShowOtherPasses(arguments: [String]) throws {
    let outcome = try Command.run(
      ["plan", "g.json", "--outputs", "y", "--shape", "x=3,2"] + arguments, in: try folder())
    #expect(outcome.code == 64 && outcome.out.isEmpty && !outcome.err.isEmpty)
  }

  @Test(arguments: [
    ([], 64), (["--outputs", "nosuch"], 64), (["--outputs", "y", "--shape", "x=2,oh"], 64),
    (["--outputs", "y", "--shape", "x=3,3"], 65), (["--outputs", "odder", "--shape", "x=3,2"], 65),
  ])
  func namesWhatIsWrong(arguments: [String], code: Int) throws {
    let outcome = try Command.run(["plan", "g.json"] + arguments, in: try folder())
    #expect(outcome.code == Int32(code) && outcome.out.isEmpty, "\(arguments): \(outcome.code)")
    #expect(outcome.err.hasPrefix("error["), "\(outcome.err)")
  }

  // MARK: - weft bench

  @Test func timesARun() throws {
    let folder = try folder()
    let arguments = [
      "bench", "r.json", "--signature", "train", "--inputs", "x=[[1,2],[3,4]]", "--inputs",
      "t=[[1],[2]]", "--repeat", "5", "--warmup", "1",
    ]
    let shown = try Command.run(arguments, in: folder)
    #expect(shown.code == 0, "\(shown.err)")
    for label in ["median", "p95", "min", "prepare", "rate", "products", "peak RSS"] {
      #expect(shown.out.contains("\(label) "), "no \(label)")
    }
    let figures = try object(try Command.run(arguments + ["--json"], in: folder).out)
    func figure(_ name: String) throws -> Double {
      try #require(figures[name] as? Double, "no \(name)")
    }
    #expect(try figure("min_ms") > 0)
    #expect(try figure("min_ms") <= figure("median_ms"))
    #expect(try figure("median_ms") <= figure("p95_ms"))
    #expect(try figure("repeats") == 5)
    #expect(try figure("product_flops") > 0 && figure("product_limit_flop_per_s") > 0)
    #expect(try figure("peak_rss_bytes") > 1e6)
    #expect(try figure("steps_in_plan") > 0)
  }

  @Test(arguments: [["--repeat", "0"], ["--warmup", "-1"], []])
  func refusesToTimeNothing(arguments: [String]) throws {
    let given = arguments.isEmpty ? [] : ["--signature", "train"]
    let outcome = try Command.run(["bench", "r.json"] + given + arguments, in: try folder())
    #expect(outcome.code == 64, "\(outcome.err)")
  }

  // MARK: - weft run --trace

  @Test func tracesTheLastStep() throws {
    let folder = try folder()
    let run = try Command.run(
      "run", "r.json", "--signature", "train", "--inputs", "x=[[1,2],[3,4]]", "--inputs",
      "t=[[1],[2]]", "--trace", "t.json", in: folder)
    #expect(run.code == 0, "\(run.err)")
    let trace = try object(try folder.text("t.json"))
    let events = try list(trace["traceEvents"])
    var kinds: [String: Int] = [:]
    var end = 0.0
    for event in events {
      // As the Trace Event Format has them: every event a phase, a process and a thread.
      let phase = try #require(event["ph"] as? String)
      kinds[phase, default: 0] += 1
      #expect(event["name"] is String && event["pid"] is Int && event["tid"] is Int, "\(event)")
      guard phase != "M" else { continue }
      let begin = try #require(event["ts"] as? Double)
      let arguments = try #require(event["args"] as? [String: Any])
      if phase == "X" {
        let length = try #require(event["dur"] as? Double)
        // Steps follow each other, to a thousandth of the unit, a microsecond.
        #expect(begin >= end - 0.01 && length >= 0)
        end = begin + length
        #expect(arguments["op"] is String && arguments["kernel"] is String)
      } else {
        #expect(phase == "C")
        #expect((arguments["bytes"] as? Int ?? -1) >= 0)
      }
    }
    #expect(kinds["M"] == 2)
    #expect((kinds["X"] ?? 0) > 3 && kinds["X"] == kinds["C"], "\(kinds)")
    let matmuls = events.filter { $0["cat"] as? String == "MatMul" }
    #expect(matmuls.count == 2)
  }
}

// weft batch: many small jobs in one process, for checking programs.

import ArgumentParser
import Weft

#if canImport(FoundationEssentials)
  import FoundationEssentials
#else
  import Foundation
#endif

struct BatchCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "batch", abstract: "Run, convert or differentiate many graphs, one a line.",
    discussion: """
      Each line of the manifest is {"id", "action": "run" | "convert" | "grad", "graph", ...}; each \
      line of the results is {"id", "status": "ok" | "error", "message", "steps"}.
      """, shouldDisplay: false)

  @Argument(help: "The manifest, one JSON object a line.")
  var manifest: String

  @Option(help: "The file to add result lines to.")
  var results: String

  @Option(help: "Refuse runs that need more memory for their values.")
  var memoryLimit: ByteCount?

  @Option(help: "End runs whose loops together make more iterations than this.")
  var iterationLimit: Int?

  func validate() throws {
    try SessionArguments.check(iterationLimit: iterationLimit)
  }

  struct Job: Decodable {
    var id: String
    var action: String?
    var graph: String
    var output_dir: String?
    var to: String?
    var steps: [Script.Step]?
    var ys: [String]?
    var grad_ys: [String]?
    var xs: [String]?
    var names: [String]?
  }

  func run() throws {
    let text = try WholeFile.read(manifest)
    let base = manifest.lastIndex(of: "/").map { String(manifest[...$0]) } ?? ""
    try WholeFile.write([], to: results)
    for line in text.split(separator: 0x0A) {
      let job: Job
      do {
        job = try JSONDecoder().decode(Job.self, from: Data(line))
      } catch {
        throw WeftError(.invalidArgument, "a line of '\(manifest)' is no job: \(error)")
      }
      var members: [(String, JSONValue)] = [("id", .string(job.id))]
      do {
        let steps = try perform(job, base: base)
        members.append(("status", .string("ok")))
        if let steps { members.append(("steps", steps)) }
      } catch {
        members.append(("status", .string("error")))
        members.append(
          ("message", .string((error as? WeftError)?.description ?? "\(error)")))
      }
      guard Platform.append(JSONValue.object(members).text + "\n", to: results) else {
        throw WeftError(
          .dataLoss, "cannot write '\(results)': \(Platform.lastError)", category: .cannotWrite)
      }
    }
  }

  private func perform(_ job: Job, base: String) throws -> JSONValue? {
    let model = try Model(job.graph)
    switch job.action ?? "run" {
    case "run":
      var steps = job.steps ?? []
      // A job of one step is that step: its failure is the job's.
      if steps.count == 1 { steps[0].mayFail = false }
      let runner = try ScriptRunner(
        Script(steps: steps), base: base, outdir: job.output_dir, overwrites: true,
        json: false)
      var options = SessionOptions()
      if let memoryLimit { options.compile.memoryLimit = memoryLimit.bytes }
      if let iterationLimit { options.compile.iterationLimit = iterationLimit }
      let (lines, failure) = try runner.steps(
        model, Session(model.graph, options: options), initMode: .never)
      if let failure { throw failure }
      return .array(lines)
    case "convert":
      try GraphFile.write(model.graph.snapshot, to: job.to ?? "")
    case "grad":
      try GradientsCommand.add(
        to: model.graph, ys: job.ys ?? [], xs: job.xs ?? [], gradYs: job.grad_ys ?? [],
        names: job.names)
      try GraphFile.write(model.graph.snapshot, to: job.to ?? "")
    default:
      throw WeftError(.invalidArgument, "there is no action '\(job.action ?? "")'")
    }
    return nil
  }
}

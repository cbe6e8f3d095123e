// Workload D: what it takes to start the command, and to get from a file to the first step.

import ArgumentParser
import Weft

#if canImport(FoundationEssentials)
  import FoundationEssentials
#else
  import Foundation
#endif

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

struct StartWorkload: Workload {
  static let configuration = CommandConfiguration(
    commandName: "d", abstract: "Start-up: --help, a one-op run, a train graph's first step.")

  @Option(help: "The weft command.")
  var weft: String

  @Option(help: "Times that each command is run.")
  var rounds = 10

  @Option(help: "About how many nodes the train graph has.")
  var nodes = 5000

  @OptionGroup var common: CommonOptions

  func validate() throws {
    if rounds < 1 { throw ValidationError("--rounds takes a number from 1") }
    if !(500...1_000_000).contains(nodes) {
      throw ValidationError("--nodes takes a number from 500 to 1000000")
    }
  }

  func measure() throws -> Report {
    let folder = FileManager.default.temporaryDirectory.path + "/weft-benchmark-\(getpid())"
    do {
      try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    } catch {
      throw WeftError(
        .failedPrecondition, "cannot create the folder '\(folder)'", category: .cannotCreate)
    }
    defer { try? FileManager.default.removeItem(atPath: folder) }
    let one = folder + "/one.json"
    let train = folder + "/train.json"
    try writeOneOp(to: one)
    let step = try trainGraph()
    try GraphFile.write(step.graph.snapshot, to: train)
    let batch = "zeros(\(step.sizes.batch),\(step.sizes.steps))"

    var report = Report("d")
    func add(_ name: String, _ arguments: [String]) throws {
      let times = try (0..<rounds).map { _ in try ChildProcess.seconds(weft, arguments) }
      report.add(milliseconds: times, name + "_")
    }
    try add("help", ["--help"])
    try add("one_op", ["run", one, "--inputs", "x=[1,2]", "--outputs", "y"])
    report.add("train_nodes", step.graph.nodes.count)
    try add(
      "first_step",
      [
        "run", train, "--signature", "train", "--inputs", "tokens=\(batch)", "--inputs",
        "targets=\(batch)",
      ])
    report.addMachine(threads: common.width)
    return report
  }

  private func writeOneOp(to path: String) throws {
    let graph = Graph()
    let x = try graph.placeholder(.float32, shape: Shape([2]), name: "x")
    _ = try negate(x, name: "y")
    try GraphFile.write(graph.snapshot, to: path)
  }

  // Nodes grow by the same number with each step: two small graphs tell how many steps to take.
  private func trainGraph() throws -> TrainStep {
    let (short, long) = (10, 20)
    let first = try TrainStep(.tiny(.rnn, steps: short)).graph.nodes.count
    let second = try TrainStep(.tiny(.rnn, steps: long)).graph.nodes.count
    let perStep = max(1, (second - first) / (long - short))
    let steps = max(2, short + (nodes - first) / perStep)
    return try TrainStep(.tiny(.rnn, steps: steps))
  }
}

/// Running a program to its end.
enum ChildProcess {
  /// Its time from start to end; its output is dropped. Its memory is not told: the system counts
  /// what this process held when it started the other.
  /// - Throws: when it cannot be started, or ends with another code than 0.
  static func seconds(_ program: String, _ arguments: [String]) throws -> Double {
    #if canImport(Darwin)
      var actions: posix_spawn_file_actions_t?
    #else
      var actions = posix_spawn_file_actions_t()
    #endif
    posix_spawn_file_actions_init(&actions)
    defer { posix_spawn_file_actions_destroy(&actions) }
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
    posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0)
    let words = ([program] + arguments).map { strdup($0) }
    let settings = ProcessInfo.processInfo.environment.map { strdup("\($0.key)=\($0.value)") }
    defer { for text in words + settings { free(text) } }
    var process: pid_t = 0
    let begin = Resources.seconds
    let failure = posix_spawn(&process, program, &actions, nil, words + [nil], settings + [nil])
    guard failure == 0 else {
      throw WeftError(
        .notFound, "cannot start '\(program)': \(String(cString: strerror(failure)))",
        category: .noInput, hint: "--weft takes the path of the command")
    }
    var status: Int32 = 0
    while waitpid(process, &status, 0) < 0 {
      guard errno == EINTR else {
        throw WeftError(.internal, "the end of '\(program)' cannot be seen", category: .run)
      }
    }
    let seconds = Resources.seconds - begin
    guard status == 0 else {
      throw WeftError(
        .failedPrecondition,
        "'\(program) \(arguments.joined(separator: " "))' failed (status \(status))",
        category: .run)
    }
    return seconds
  }
}

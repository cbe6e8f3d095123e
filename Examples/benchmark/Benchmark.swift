// The benchmark: what a step, a character, a start and a graph's growth cost on this machine.

import ArgumentParser
import Weft

@main
struct Benchmark: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "benchmark", abstract: "Measure Weft on this machine.",
    discussion: """
      Times move from machine to machine; ratios within one sitting count. So every workload that \
      multiplies matrices also measures, in the same process and between its steps, the rate at \
      which BLAS multiplies them. Build it with -c release.
      """,
    subcommands: [
      StepWorkload.self, PaddedWorkload.self, GenerationWorkload.self, StartWorkload.self,
      GrowthWorkload.self, AllocationCount.self,
    ])
}

/// The recurrent cells that workloads run.
enum BenchmarkCell: String, ExpressibleByArgument, CaseIterable {
  case rnn, lstm, lstm2, gru

  var kind: CellKind {
    switch self {
    case .rnn: .rnn
    case .lstm, .lstm2: .lstm
    case .gru: .gru
    }
  }
}

/// Options that all workloads have.
struct CommonOptions: ParsableArguments {
  @Option(help: "Threads to run on; all cores if not given.")
  var threads: Int?

  @Flag(help: "Print JSON.")
  var json = false

  func validate() throws {
    if let threads, !(1...1024).contains(threads) {
      throw ValidationError("--threads takes a number from 1 to 1024")
    }
  }

  /// The threads that a session gets.
  var width: Int { threads ?? SessionOptions.availableCores }
}

/// A subcommand that measures something and reports it.
protocol Workload: ParsableCommand {
  var common: CommonOptions { get }
  func measure() throws -> Report
}

extension Workload {
  func run() throws {
    do {
      let report = try measure()
      Report.write(common.json ? report.json : report.text, to: 1)
    } catch let error as WeftError {
      Report.write(error.description, to: 2)
      throw ExitCode(error.category.rawValue)
    }
  }
}

// The `weft` command: its verbs, and what becomes of their errors.

import ArgumentParser
import Weft

/// A positional argument; plans have arguments of another kind.
typealias Argument = ArgumentParser.Argument
typealias PlanArgument = WeftCompiler.Argument

/// The root command.
struct WeftCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "weft",
    abstract: "Run, train and inspect TensorFlow 1.x graphs.",
    discussion: """
      MODEL is a .json, .pb, .pbtxt or .meta file holding a MetaGraphDef or GraphDef, a run \
      directory made by `weft train`, or a SavedModel.
      Exit codes: 0 ok; 1 a run failed; 64 usage; 65 wrong content; 66 missing input; \
      73 cannot create; 74 cannot write; 130, 143 on signals.
      """,
    version: "0.1.0",
    subcommands: [
      ShowCommand.self, RunCommand.self, TrainCommand.self, GenerateCommand.self,
      PlanCommand.self, BenchCommand.self, ConvertCommand.self, GradientsCommand.self,
      DoctorCommand.self, BatchCommand.self,
    ])
}

@main
enum Main {
  static func main() {
    Signals.install()
    do {
      var command = try WeftCommand.parseAsRoot()
      try command.run()
      Console.flush()
    } catch let error as WeftError {
      Console.fail(error)
    } catch let error as EarlyExit {
      Console.flush()
      Platform.exit(error.code)
    } catch {
      // Usage errors exit with 64; help and the version with 0.
      WeftCommand.exit(withError: error)
    }
  }
}

/// Ends the command with an exit code of its own, everything having been said.
struct EarlyExit: Error {
  var code: Int32
}

// weft convert: a graph file in another format.

import ArgumentParser
import Weft

struct ConvertCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "convert", abstract: "Write a graph in another format.",
    discussion: "Formats go by suffix: .json .pb .meta .pbtxt .dot; .json gives canonical bytes.")

  @Argument(help: "The graph file or run directory.")
  var input: String

  @Argument(help: "The file to write.")
  var output: String

  func run() throws {
    let model = try Model(input)
    try Signals.deferredWhileWriting { try GraphFile.write(model.graph.snapshot, to: output) }
  }
}

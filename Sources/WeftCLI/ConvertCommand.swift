// weft convert: a graph file or a checkpoint in another format.

import ArgumentParser
import Weft

struct ConvertCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "convert", abstract: "Write a graph or a checkpoint in another format.",
    discussion: """
      Formats go by the suffix of OUTPUT. Graphs: .json .pb .meta .pbtxt .dot; .json gives \
      canonical bytes. Checkpoints (.safetensors, .npz, a TensorFlow checkpoint's prefix, a \
      SavedModel): .safetensors .npz.
      """)

  @Argument(help: "The graph file, run directory, SavedModel or checkpoint.")
  var input: String

  @Argument(help: "The file to write.")
  var output: String

  func run() throws {
    if output.hasSuffix(".safetensors") || output.hasSuffix(".npz") {
      return try convertCheckpoint()
    }
    let model = try Model(input)
    try Signals.deferredWhileWriting { try GraphFile.write(model.graph.snapshot, to: output) }
  }

  private func convertCheckpoint() throws {
    var checkpoint = try Checkpoint(reading: input)
    for (name, type) in checkpoint.removeTensors(notHeldBy: output) {
      Console.warn("left out: '\(name)', which is \(type)")
    }
    try Signals.deferredWhileWriting { try checkpoint.write(to: output) }
  }
}

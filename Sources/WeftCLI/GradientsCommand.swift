// weft gradients: a graph with gradient nodes added.

import ArgumentParser
import Weft

struct GradientsCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "gradients", abstract: "Add the gradients of some tensors to a graph.",
    discussion: "Each gradient becomes an Identity node with the given name.")

  @Argument(help: "The graph file, run directory or SavedModel.")
  var model: String

  @Option(help: ArgumentHelp("The tensors to differentiate.", valueName: "T,..."))
  var ys: String

  @Option(help: ArgumentHelp("With respect to these.", valueName: "T,..."))
  var xs: String

  @Option(
    help: ArgumentHelp("The gradients that arrive at ys; ones if not given.", valueName: "T,..."))
  var gradYs: String?

  @Option(help: ArgumentHelp("Names of the gradients; grad_X if not given.", valueName: "N,..."))
  var names: String?

  @Option(name: .shortAndLong, help: ArgumentHelp("The file to write.", valueName: "OUT"))
  var output: String

  func run() throws {
    let model = try Model(model)
    try GradientsCommand.add(
      to: model.graph, ys: split(ys), xs: split(xs), gradYs: split(gradYs ?? ""),
      names: names.map(split))
    try Signals.deferredWhileWriting { try GraphFile.write(model.graph.snapshot, to: output) }
  }

  private func split(_ list: String) -> [String] { list.split(separator: ",").map(String.init) }

  /// Adds the gradients of `ys` to `graph`.
  static func add(
    to graph: Graph, ys: [String], xs: [String], gradYs: [String], names: [String]?
  ) throws {
    guard !ys.isEmpty, !xs.isEmpty else {
      throw WeftError(.invalidArgument, "--ys and --xs name at least one tensor", category: .usage)
    }
    guard gradYs.isEmpty || gradYs.count == ys.count else {
      throw WeftError(
        .invalidArgument, "\(ys.count) ys and \(gradYs.count) grad-ys are given", category: .usage)
    }
    let names = names ?? xs.map { "grad_\(OutputFolder.safeName($0))" }
    guard names.count == xs.count else {
      throw WeftError(
        .invalidArgument, "\(xs.count) xs and \(names.count) names are given", category: .usage)
    }
    for name in names {
      guard Graph.isValidName(name) else {
        throw WeftError(.invalidArgument, "'\(name)' is not a valid node name", category: .usage)
      }
      guard graph.snapshot.nodeID(name) == nil else {
        throw WeftError(.alreadyExists, "the graph has a node '\(name)'", category: .usage)
      }
    }
    let given: [Output?] = try gradYs.map { try graph.output($0) }
    let results = try gradients(
      of: try ys.map { try graph.output($0) }, withRespectTo: try xs.map { try graph.output($0) },
      gradYs: given.isEmpty ? nil : given)
    for (index, gradient) in results.enumerated() {
      guard let gradient else {
        throw WeftError(
          .invalidArgument, "none of the ys depends on '\(xs[index])': it has no gradient")
      }
      _ = try identity(try dense(gradient), name: names[index])
    }
  }
}

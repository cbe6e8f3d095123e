// MODEL: a graph file, a run directory or a SavedModel, and the session that runs it.

import ArgumentParser
import Weft

/// A graph with what is known of where it came from.
struct Model {
  var path: String
  var graph: Graph
  /// The run directory, when MODEL is one.
  var run: RunDirectory?
  /// The prefix of a SavedModel's variables, when MODEL is one and has any.
  var variablesPrefix: String?

  /// Reads MODEL.
  init(_ path: String) throws {
    self.path = path
    if Platform.isFolder(path) {
      let directory = RunDirectory(path)
      if !Platform.exists(directory.graphPath), let model = SavedModelFolder(path) {
        variablesPrefix = model.variablesPrefix
        graph = try GraphFile.read(model.graphPath, registry: .standard)
        return
      }
      guard Platform.exists(directory.graphPath) else {
        throw WeftError(
          .notFound, "'\(path)' is a folder without \(RunDirectory.graphName) or saved_model.pb",
          category: .noInput,
          hint: "name a graph file, a run directory made by `weft train`, or a SavedModel")
      }
      run = directory
      graph = try GraphFile.read(directory.graphPath, registry: .standard)
    } else {
      graph = try GraphFile.read(path, registry: .standard)
    }
  }

  /// The checkpoint to start from: the one asked for, else the newest of the run directory, else
  /// the SavedModel's variables.
  func checkpoint(_ asked: String?) throws -> Checkpoint? {
    if let asked = asked ?? variablesPrefix { return try Checkpoint(reading: asked) }
    guard let newest = try run?.newestCheckpoint() else { return nil }
    for error in newest.damaged { Console.warn("passed over: \(error.message)") }
    if !newest.damaged.isEmpty { Console.warn("\(newest.path) is used in its place") }
    return newest.checkpoint
  }
}

/// Options of every verb that runs a session.
struct SessionArguments: ParsableArguments {
  @Option(
    help: """
      Restore variables from a .safetensors or .npz file, the prefix of a TensorFlow checkpoint, \
      or a folder that holds checkpoints.
      """)
  var restore: String?

  @Option(help: "Seed of random ops that have none of their own.")
  var seed: UInt64 = 0

  @Option(help: "Threads to run on; all cores if not given.")
  var threads: Int?

  @Option(help: "Refuse a run that needs more memory for its values, such as 512M or 2G.")
  var memoryLimit: ByteCount?

  @Option(help: PassList.help)
  var passes: PassList?

  @Option(help: "End a run whose loops together make more iterations than this.")
  var iterationLimit: Int?

  func validate() throws {
    try SessionArguments.check(threads)
    try SessionArguments.check(iterationLimit: iterationLimit)
  }

  /// Throws (usage) for a limit below 1.
  static func check(iterationLimit: Int?) throws {
    if let iterationLimit, iterationLimit < 1 {
      throw ValidationError("--iteration-limit takes a number from 1")
    }
  }

  /// Throws (usage) for a number of threads that no machine has.
  static func check(_ threads: Int?) throws {
    if let threads, !(1...1024).contains(threads) {
      throw ValidationError("--threads takes a number from 1 to 1024")
    }
  }

  /// A session over the model with the variables restored.
  func session(_ model: Model) throws -> Session {
    var options = SessionOptions(threads: threads, seed: seed)
    if let passes { options.compile.disabled = passes.disabled }
    if let memoryLimit { options.compile.memoryLimit = memoryLimit.bytes }
    if let iterationLimit { options.compile.iterationLimit = iterationLimit }
    let session = Session(model.graph, options: options)
    if let checkpoint = try model.checkpoint(restore) {
      let unused = try checkpoint.restore(into: session)
      if restore != nil, !unused.isEmpty {
        Console.log(
          "\(unused.count) tensors of the checkpoint are not variables of this graph: "
            + unused.prefix(5).joined(separator: ", ") + (unused.count > 5 ? ", ..." : ""))
      }
      if restore != nil {
        try Console.reportUntouched(by: checkpoint, session.graph)
      }
    }
    return session
  }
}

/// When initializers run.
enum InitMode: String, ExpressibleByArgument, CaseIterable {
  /// For variables that have no value yet.
  case auto
  /// Before the first run, whether variables have values or not.
  case always
  /// Only when a target names them.
  case never
}

extension Model {
  /// The signature to use: the one asked for, else `serving_default`, else the only one.
  func signature(_ asked: String?) throws -> SignatureCall? {
    if let asked { return try SignatureCall(asked, of: graph.snapshot) }
    let all = graph.signatures
    if all["serving_default"] != nil {
      return try SignatureCall("serving_default", of: graph.snapshot)
    }
    return all.count == 1
      ? try all.keys.first.map { try SignatureCall($0, of: graph.snapshot) } : nil
  }

  /// The edge that NAME means: a key of the signature, or a tensor name.
  func edge(_ name: String, keys: [(key: String, edge: Edge)]?) throws -> Edge {
    if let found = keys?.first(where: { $0.key == name }) { return found.edge }
    do {
      return try graph.snapshot.edge(name)
    } catch {
      guard let keys, !keys.isEmpty else { throw error }
      throw error.adding("keys", keys.map(\.key).joined(separator: ", "))
    }
  }

  /// The node that an OP names.
  func operation(_ name: String) throws -> Int {
    let (node, _) = GraphSnapshot.splitTensorName(name)
    if let id = graph.snapshot.nodeID(node) { return id }
    throw WeftError(.notFound, "there is no operation '\(name)'", category: .usage)
  }
}

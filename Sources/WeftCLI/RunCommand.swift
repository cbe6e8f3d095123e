// weft run: one signature or any tensors, once, for several steps, or by a script.

import ArgumentParser
import Weft

struct RunCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "run", abstract: "Run a signature, or fetch any tensors.",
    discussion: """
      NAME is a key of the signature or a tensor name (scope/op:0). VALUE is file.npy, \
      file.npz[key], file.npz, or a literal: 3.5, [[1,2],[3,4]], zeros(2,3), range(6).
      """)

  @Argument(help: "The graph file, run directory or SavedModel.")
  var model: String

  @OptionGroup var request: RequestArguments
  @OptionGroup var sessionOptions: SessionArguments

  @Option(help: "Run several steps of one session, as this JSON file says.")
  var script: String?

  @Option(help: "Write each output as NAME.npy into this folder.")
  var outdir: String?

  @Flag(help: "Replace files that exist.")
  var overwrite = false

  @Option(name: .customLong("init"), help: "Run initializers: auto, always or never.")
  var initMode: InitMode?

  @Option(help: "Save all variables to a .safetensors or .npz file afterwards.")
  var save: String?

  @Option(help: "Write when each part of the last step ran to FILE, as Chrome trace events.")
  var trace: String?

  @Flag(help: "Print outputs as JSON.")
  var json = false

  func validate() throws {
    if script != nil, trace != nil {
      throw ValidationError("--trace does not go with --script")
    }
    if script != nil, request.isUsed {
      throw ValidationError(
        "--script has its own feeds, fetches and targets; --signature, --inputs, --outputs, "
          + "--targets and --steps do not go with it")
    }
  }

  func run() throws {
    if let save { try Checkpoint.checkSuffix(save) }
    let model = try Model(model)
    if let script {
      let runner = try ScriptRunner(script, outdir: outdir, overwrites: overwrite, json: json)
      let session = try sessionOptions.session(model)
      if initMode == .always { try session.initialize() }
      try runner.run(model, session, initMode: initMode ?? .never)
      try saveVariables(session)
      return
    }
    let call = try request.resolve(model)
    if call.isEmpty && save == nil {
      throw WeftError(
        .invalidArgument, "there is nothing to run", category: .usage,
        hint: model.graph.signatures.isEmpty
          ? "name tensors with --outputs or operations with --targets"
          : "choose a signature with --signature: "
            + model.graph.signatures.keys.joined(separator: ", "))
    }
    var files: [String] = []
    if let outdir {
      var folder = try OutputFolder(outdir, overwrites: overwrite)
      for (name, _) in call.fetches {
        files.append(try folder.plan(OutputFolder.fileName(name), for: name))
      }
    }
    let session = try sessionOptions.session(model)
    try call.initialize(session, initMode ?? .auto)
    var recorded: RunTrace?
    let values = try call.run(session, onTrace: trace == nil ? nil : { recorded = $0 })
    if let trace, let recorded {
      try WholeFile.write(Array(TraceEvents.text(recorded).utf8), to: trace)
    }
    if outdir != nil {
      try OutputFolder.write(zip(files, values).map { (path: $0, tensor: $1) })
    }
    report(call, values, files)
    try saveVariables(session)
  }

  private func saveVariables(_ session: Session) throws {
    guard let save else { return }
    try Signals.deferredWhileWriting { try Checkpoint(of: session).write(to: save) }
  }

  private func report(_ call: ResolvedRequest, _ values: [Tensor], _ files: [String]) {
    if json {
      var outputs: [(String, JSONValue)] = []
      for (index, (name, _)) in call.fetches.enumerated() {
        let value = values[index]
        var members: [(String, JSONValue)] = [
          ("dtype", .string(value.dtype.name)), ("shape", .array(value.shape.map { .int($0) })),
        ]
        if files.indices.contains(index) {
          members.append(("file", .string(files[index])))
        } else {
          members.append(("value", JSONValue(value)))
        }
        outputs.append((name, .object(members)))
      }
      Console.print(JSONValue.object([("outputs", .object(outputs))]).text)
    } else if files.isEmpty {
      for ((name, _), value) in zip(call.fetches, values) {
        Console.print(TensorText.block(name, value))
      }
    }
  }
}

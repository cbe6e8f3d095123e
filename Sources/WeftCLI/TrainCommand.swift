// weft train: any graph with a signature `train`.

import ArgumentParser
import Weft

struct TrainCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "train", abstract: "Train a graph that has a signature `train`.",
    discussion: """
      DATA is a corpus (file or folder) for models with a vocabulary, tang300 of fortunes-zh if \
      not given; or FILE.npz, whose arrays are cut along axis 0 for the inputs of the same names.
      """)

  @Argument(help: "The graph file, or a run directory to go on in.")
  var model: String

  @Option(help: "The corpus, or an .npz file.")
  var data: String?

  @Option(help: "Epochs in all; 10 if neither --epochs nor --steps is given.")
  var epochs: Int?

  @Option(help: "Steps in all.")
  var steps: Int?

  @Option(help: "Rows of a batch; what the graph says, or 100 texts, or 32 rows.")
  var batch: Int?

  @Option(help: "Where checkpoints go; runs/NAME if not given.")
  var runDir: String?

  @Flag(help: "Go on from the newest checkpoint of the run directory.")
  var resume = false

  @Option(help: "Held-out data, evaluated after each epoch.")
  var validation: String?

  @Option(help: "Hold out this share of the texts, the last ones.")
  var validationSplit: Double?

  @Option(help: "Start from these values; the rest is initialized.")
  var restore: String?

  @Option(help: "Seed of batches and of random ops; 0 if not given.")
  var seed: UInt64?

  @Option(help: "Threads to run on; all cores if not given.")
  var threads: Int?

  @Option(help: "Save every so many steps, not at the end of each epoch.")
  var checkpointEvery: Int?

  @Option(help: "How many checkpoints stay.")
  var keep = 3

  @Option(help: ArgumentHelp("An input that is the same in every batch.", valueName: "NAME=VALUE"))
  var inputs: [String] = []

  @Flag(help: "Shuffle the rows of arrays anew in each epoch.")
  var shuffle = false

  @Option(help: "The largest share of characters outside the vocabulary, 0 to 1.")
  var unknownLimit: Double?

  @Flag(help: "Print a JSON summary at the end.")
  var json = false

  func validate() throws {
    let counts: [(String, Int?)] = [
      ("epochs", epochs), ("steps", steps), ("batch", batch), ("checkpoint-every", checkpointEvery),
      ("keep", keep),
    ]
    for (name, value) in counts {
      if let value, value < 1 { throw ValidationError("--\(name) takes a number from 1") }
    }
    try SessionArguments.check(threads)
    if validation != nil, validationSplit != nil {
      throw ValidationError("--validation and --validation-split do not go together")
    }
    if let share = validationSplit, !(share > 0 && share < 1) {
      throw ValidationError("--validation-split takes a share between 0 and 1")
    }
    if let limit = unknownLimit, !(limit >= 0 && limit <= 1) {
      throw ValidationError("--unknown-limit takes a share from 0 to 1")
    }
    if resume, restore != nil {
      throw ValidationError("--resume goes on from the run's own checkpoint; drop --restore")
    }
  }

  func run() throws {
    let model = try Model(model)
    let graph = model.graph.snapshot
    _ = try SignatureCall("train", of: graph)
    let directory = model.run.flatMap { runDir == nil ? $0 : nil } ?? RunDirectory(runPath)
    let checkpoint = try startingPoint(directory)
    let start = try (restore ?? model.variablesPrefix).map { try Checkpoint(reading: $0) }
    if let start { try Console.reportUntouched(by: start, graph) }
    let data = try TrainingData(self, model)
    var options = TrainingOptions()
    options.epochs = epochs ?? (steps == nil ? 10 : nil)
    options.steps = steps
    options.seed = seed ?? 0
    options.threads = threads
    options.checkpointEvery = checkpointEvery
    options.checkpointsKept = keep
    let loop = try TrainLoop(
      graph, source: data.source, validation: data.validation, options: options,
      directory: directory, resuming: checkpoint, startingFrom: start)
    // Only now: a checkpoint that does not fit leaves no folder behind.
    try prepare(directory, model)
    let display = TrainDisplay(unit: data.source.unitName, info: data.info)
    let end = try Signals.handledGracefully {
      try loop.run(isStopping: { Signals.isStopping }, report: display.show)
    }
    display.finish(loop, end, resumption(directory))
    if json { Console.print(summary(loop, directory).text) }
    if end == .stopped { throw EarlyExit(code: Signals.exitCode ?? 130) }
  }

  private var runPath: String {
    if let runDir { return runDir }
    let name = model.split(separator: "/").last.map(String.init) ?? "model"
    return "runs/" + (name.lastIndex(of: ".").map { String(name[..<$0]) } ?? name)
  }

  // The checkpoint to go on from; refuses to mix a new run into an old one.
  private func startingPoint(_ directory: RunDirectory) throws -> Checkpoint? {
    if resume {
      guard let newest = try directory.newestCheckpoint() else {
        throw WeftError(
          .notFound, "'\(directory.path)' has no checkpoint to go on from", category: .noInput,
          hint: "leave --resume out to begin a run")
      }
      for error in newest.damaged { Console.warn("passed over: \(error.message)") }
      Console.log("resuming from \(newest.path)")
      if let seed, let began = TrainLoop.seed(of: newest.checkpoint), began != seed {
        throw WeftError(
          .invalidArgument, "the run began with --seed \(began), not \(seed)",
          category: .usage)
      }
      return newest.checkpoint
    }
    if !directory.checkpointSteps.isEmpty {
      throw WeftError(
        .alreadyExists, "'\(directory.path)' holds the checkpoints of a run",
        category: .cannotCreate, hint: "--resume goes on; --run-dir names another folder")
    }
    return nil
  }

  // The command that goes on: with other data, batches or lengths it would be another run.
  private func resumption(_ directory: RunDirectory) -> String {
    var words = ["weft", "train", directory.path, "--resume"]
    func add(_ option: String, _ value: (some CustomStringConvertible)?) {
      if let value { words += ["--" + option, value.description] }
    }
    add("data", data)
    for input in inputs { add("inputs", input) }
    add("epochs", epochs)
    add("steps", steps)
    add("batch", batch)
    if shuffle { words.append("--shuffle") }
    add("validation", validation)
    add("validation-split", validationSplit)
    add("unknown-limit", unknownLimit)
    return words.map(Format.shellWord).joined(separator: " ")
  }

  private func prepare(_ directory: RunDirectory, _ model: Model) throws {
    try OutputFolder.make(directory.path)
    guard Platform.isWritable(directory.path) else {
      throw WeftError(
        .failedPrecondition,
        "the folder '\(directory.path)' cannot be written: \(Platform.lastError)",
        category: .cannotCreate)
    }
    if !resume {
      try Signals.deferredWhileWriting {
        try GraphFile.write(model.graph.snapshot, to: directory.graphPath)
      }
    }
  }

  private func summary(_ loop: TrainLoop, _ directory: RunDirectory) -> JSONValue {
    let progress = loop.progress
    var members: [(String, JSONValue)] = [
      ("step", .int(progress.step)), ("epoch", .int(progress.epoch)),
      ("loss", .real(progress.loss)),
    ]
    if let evaluation = loop.evaluation {
      members.append(("nats_per_character", .real(evaluation.natsPerUnit)))
      members.append(("perplexity", .real(evaluation.perplexity)))
    }
    members.append(("checkpoint", .string(directory.checkpointPath(step: progress.step))))
    return .object(members)
  }
}

/// What `--data`, `--validation` and their companions come to.
struct TrainingData {
  var source: TrainingSource
  var validation: TrainingSource?
  var info: TextModelInfo?

  init(_ command: TrainCommand, _ model: Model) throws {
    let graph = model.graph.snapshot
    let call = try SignatureCall("train", of: graph)
    if let data = command.data, data.hasSuffix(".npz") {
      self = try TrainingData(arrays: data, command, model, call)
      return
    }
    guard let info = try TextModelInfo(of: graph) else {
      throw WeftError(
        .invalidArgument, "the graph has no vocabulary: texts mean nothing to it", category: .usage,
        hint: "give arrays with --data FILE.npz")
    }
    guard command.inputs.isEmpty else {
      throw WeftError(
        .unimplemented, "--inputs goes with --data FILE.npz", category: .usage)
    }
    self.info = info
    var corpus = try command.data.map { try Corpus(path: $0) } ?? Corpus.standard()
    var heldOut: Corpus?
    if let share = command.validationSplit {
      (corpus, heldOut) = try corpus.holdingOut(lastFraction: share)
    } else if let path = command.validation {
      heldOut = try Corpus(path: path)
    }
    let preparation = try info.preparation()
    let texts = try preparation.prepare(corpus, with: info.vocabulary)
    let limit = command.unknownLimit ?? min(1, info.unknownShare + 0.1)
    try texts.requireUnknownShare(atMost: limit)
    source = try TrainingSource(
      texts, graph: graph, batchSize: command.batch, seed: command.seed ?? 0)
    let files = corpus.files.map(\.path).joined(separator: ", ")
    Console.log(
      "corpus    \(files): \(Format.grouped(texts.texts.count)) texts, "
        + "\(Format.grouped(texts.characterCount)) characters (\(texts.dropped))")
    if texts.unknownCount > 0 {
      Console.log(
        "unknown   \(Format.fixed(texts.unknownShare * 100, 2)) % of the characters are not in the "
          + "vocabulary")
    }
    if source.droppedCount > 0 {
      Console.log("dropped   \(source.droppedCount) texts fit no width of the graph")
    }
    guard let heldOut else { return }
    let heldTexts = try preparation.prepare(heldOut, with: info.vocabulary)
    try heldTexts.requireUnknownShare(atMost: command.unknownLimit ?? max(limit, 0.5))
    var options = BatchingOptions.usual(for: preparation)
    options.order = .byLength
    options.batchSize = command.batch ?? options.batchSize
    validation = try TrainingSource(
      heldTexts, graph: graph, verb: "evaluate", options: options, fillsBatches: true)
    Console.log("held out  \(Format.grouped(heldTexts.texts.count)) texts")
  }

  private init(
    arrays path: String, _ command: TrainCommand, _ model: Model, _ call: SignatureCall
  ) throws {
    let graph = model.graph.snapshot
    if command.validationSplit != nil {
      throw WeftError(
        .invalidArgument, "--validation-split is for texts", category: .usage,
        hint: "give held-out arrays with --validation FILE.npz")
    }
    var constants: [(Edge, Tensor)] = []
    for argument in command.inputs {
      let (name, text) = try InputValue.split(argument)
      let edge = try model.edge(name, keys: call.inputs)
      constants.append(
        (edge, try InputValue(text, name: name).tensor(graph.type(edge).dtype, name: name)))
    }
    source = try TrainingSource(
      arrays: try NumPyFile.readArchive(path), graph: graph, batchSize: command.batch,
      constants: constants, shuffles: command.shuffle, seed: command.seed ?? 0)
    if let held = command.validation {
      validation = try TrainingSource(
        arrays: try NumPyFile.readArchive(held), graph: graph, verb: "evaluate",
        batchSize: command.batch)
    }
  }
}

/// Progress on a terminal, and plain lines now and then elsewhere.
final class TrainDisplay {
  private let unit: String
  private let info: TextModelInfo?
  private var lastDraw = 0.0
  private var lastLine = Platform.seconds
  private var lineCount = 0

  init(unit: String, info: TextModelInfo?) {
    self.unit = unit
    self.info = info
  }

  func show(_ event: TrainingEvent) {
    switch event {
    case .step(let progress, let outputs, let batch):
      let now = Platform.seconds
      // Soon at first, then more seldom.
      if lineCount == 0 || now - lastLine > min(30, 5 * Double(lineCount)) {
        lastLine = now
        lineCount += 1
        if !Console.isInteractive { Console.log(line(progress)) }
        showPrediction(outputs, batch)
      }
      if Console.isInteractive, now - lastDraw >= 0.1 {
        lastDraw = now
        Console.progress(line(progress))
      }
    case .epoch(let progress, let evaluation):
      var text =
        "epoch \(progress.epoch + 1) done  step \(progress.step)  mean loss "
        + Format.fixed(progress.meanLoss, 4)
      if let evaluation { text += "  " + TrainDisplay.describe(evaluation) }
      Console.log(text)
    case .checkpoint(_, let path):
      Console.log("saved     \(path)")
    }
  }

  private static func describe(_ evaluation: Evaluation) -> String {
    "held out \(Format.fixed(evaluation.natsPerUnit, 4)) nats/char  perplexity "
      + Format.fixed(evaluation.perplexity, 1)
  }

  private func line(_ progress: TrainingProgress) -> String {
    // Rounded up by comparing: the largest numbers of steps leave no room for an addition.
    let (whole, rest) = progress.totalSteps.quotientAndRemainder(
      dividingBy: max(1, progress.stepsPerEpoch))
    let epochs =
      progress.totalSteps < Int.max && progress.stepsPerEpoch > 0
      ? "/\(rest == 0 ? whole : whole + 1)" : ""
    let steps = progress.totalSteps < Int.max ? "/\(progress.totalSteps)" : ""
    return "epoch \(progress.epoch + 1)\(epochs)  step \(progress.step)\(steps)  loss "
      + "\(Format.fixed(progress.loss, 4))  \(Format.grouped(Int(progress.rate))) \(unit)/s  left "
      + Format.duration(progress.secondsLeft)
  }

  // A text that the model predicts, beside what it should have been.
  private func showPrediction(_ outputs: [(key: String, value: Tensor)], _ batch: TrainingBatch) {
    guard let info, let tokens = batch.tokens, let length = tokens.lengths.first,
      let ids = outputs.first(where: { $0.key == "prediction" })?.value.integers,
      ids.count >= Int(length)
    else { return }
    func text(_ ids: some Sequence<Int>) -> String {
      info.vocabulary.decode(ids.map { Int32(truncatingIfNeeded: $0) })
    }
    Console.log("  predicted \(text(ids.prefix(Int(length))))")
    Console.log("  target    \(text(tokens.targets.prefix(Int(length)).map { Int($0) }))")
  }

  func finish(_ loop: TrainLoop, _ end: TrainingEnd, _ resumption: String) {
    let progress = loop.progress
    if end == .stopped {
      Console.log("stopped at step \(progress.step); `\(resumption)` goes on")
      return
    }
    var text = "done      step \(progress.step)"
    if progress.loss.isFinite { text += "  loss \(Format.fixed(progress.loss, 4))" }
    if let evaluation = loop.evaluation { text += "  " + TrainDisplay.describe(evaluation) }
    Console.log(text)
  }
}

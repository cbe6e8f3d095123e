// Trains a character model of Tang poetry and writes poems: the framework's first job.

import ArgumentParser
import Weft

#if canImport(FoundationEssentials)
  import FoundationEssentials
  import Glibc
#else
  import Foundation
#endif

enum Preset: String, ExpressibleByArgument, CaseIterable {
  case poems
  case reportTensorflow = "report-tensorflow"
  case reportPytorch = "report-pytorch"
}

enum Cell: String, ExpressibleByArgument, CaseIterable {
  case rnn, lstm, gru

  var kind: CellKind {
    switch self {
    case .rnn: .rnn
    case .lstm: .lstm
    case .gru: .gru
    }
  }
}

enum OptimizerChoice: String, ExpressibleByArgument, CaseIterable {
  case rmsprop, adam
}

@main
struct TangPoetry: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "tang-poetry", abstract: "Train a character model of Tang poetry; write poems.",
    discussion: """
      Builds the model as a graph, exports it (RUN-DIR/model.json), trains it, saves checkpoints, \
      and writes a poem for each first character. Without --data it reads tang300 of fortunes-zh.
      """)

  @Option(help: "The recurrent cell; what the preset has if not given.")
  var cell: Cell?

  @Option(help: "poems, or one of the report's two programs: report-tensorflow, report-pytorch.")
  var preset = Preset.poems

  @Option(help: "The corpus, a file or a folder.")
  var data: String?

  @Option(help: "Epochs; 40, or the report's number, if not given.")
  var epochs: Int?

  @Option(help: "Where the graph and the checkpoints go.")
  var runDir = "runs/tang-poetry"

  @Option(help: "Seed of initial values, batches and draws.")
  var seed: UInt64 = 1

  @Option(help: "Threads to run on; all cores if not given.")
  var threads: Int?

  @Option(help: "0 takes the best character each time.")
  var temperature = 0.6

  @Option(help: "The optimizer of report-pytorch: rmsprop at 0.01, or adam at 0.001.")
  var optimizer = OptimizerChoice.rmsprop

  @Option(
    help: """
      The first characters of the poems; 日红山夜湖海月君星 if not given, after a poem from the start \
      marker alone with report-tensorflow.
      """)
  var start: String?

  @Flag(help: "Only export the graph to RUN-DIR/model.json.")
  var exportOnly = false

  @Option(help: "Unroll to this many steps only; keep this many of the commonest characters.")
  var small: Int?

  func validate() throws {
    if let epochs, epochs < 1 { throw ValidationError("--epochs takes a number from 1") }
    if let threads, !(1...1024).contains(threads) {
      throw ValidationError("--threads takes a number from 1 to 1024")
    }
    if !(temperature >= 0 && temperature.isFinite) {
      throw ValidationError("--temperature takes a number from 0")
    }
    if let small, small < 4 { throw ValidationError("--small takes a number from 4") }
    if optimizer == .adam, preset != .reportPytorch {
      throw ValidationError("--optimizer goes with --preset report-pytorch; others train by Adam")
    }
  }

  func run() throws {
    do {
      try train()
    } catch let error as WeftError {
      log(error.description)
      throw ExitCode(error.category.rawValue)
    }
  }

  private func train() throws {
    let corpus = try data.map { try Corpus(path: $0) } ?? Corpus.standard()
    let texts = try preparation().prepare(corpus)
    log(
      "corpus    \(corpus.files.map(\.path).joined(separator: ", ")): \(texts.texts.count) texts, "
        + "\(texts.characterCount) characters, vocabulary \(texts.vocabulary.rowCount)")
    // Told now, not after the training.
    if let start { _ = try texts.vocabulary.encodeStart(start) }
    let model = try buildModel(texts)
    let graph = model.graph.snapshot
    let directory = RunDirectory(runDir)
    guard directory.checkpointSteps.isEmpty else {
      throw WeftError(
        .alreadyExists, "'\(runDir)' holds the checkpoints of a run", category: .cannotCreate,
        hint: "--run-dir names another folder; `\(resumption)` goes on")
    }
    // Before the folder: texts that make no batch leave none behind.
    let source =
      exportOnly
      ? nil
      : try TrainingSource(
        texts, graph: graph, batchSize: preset == .poems ? 32 : nil, seed: seed)
    do {
      try FileManager.default.createDirectory(
        atPath: runDir, withIntermediateDirectories: true)
    } catch {
      throw WeftError(
        .failedPrecondition, "cannot create the folder '\(runDir)'", category: .cannotCreate)
    }
    try GraphFile.write(graph, to: directory.graphPath)
    log("graph     \(directory.graphPath): \(graph.nodes.count) nodes")
    guard let source else { return }

    var options = TrainingOptions()
    options.epochs = epochs ?? defaultEpochs
    options.seed = seed
    options.threads = threads
    // The report's PyTorch program saves every 20 batches; the others at the end of each epoch.
    options.checkpointEvery = preset == .reportPytorch ? 20 : nil
    let loop = try TrainLoop(graph, source: source, options: options, directory: directory)
    let shown = TrainingLog(
      preset: preset, epochs: options.epochs ?? 0, vocabulary: texts.vocabulary)
    _ = try loop.run(report: { event in
      for line in shown.lines(for: event, lastStep: loop.progress.totalSteps) { log(line) }
    })
    try writePoems(loop.session)
  }

  // MARK: - The model

  private func preparation() throws -> TextPreparation {
    switch preset {
    case .reportTensorflow: return .reportTensorFlow
    case .reportPytorch: return .reportPyTorch
    case .poems:
      var poems = try TextPreparation(.poems, maximumTokens: small.map { $0 + 1 })
      if small != nil { poems.minimumOccurrences = 40 }
      return poems
    }
  }

  private func buildModel(_ texts: PreparedTexts) throws -> CharacterModel {
    let size = texts.vocabulary.rowCount
    var configuration: CharacterModelConfiguration
    switch preset {
    case .reportTensorflow:
      configuration = .reportTensorFlow(cell: cell?.kind ?? .rnn, vocabularySize: size)
    case .reportPytorch:
      configuration = .reportPyTorch(
        cell: cell?.kind ?? .lstm, vocabularySize: size, adam: optimizer == .adam)
    case .poems:
      let widths = small.map { [$0] } ?? [26, 50, texts.info.maximumTokens.map { $0 - 1 } ?? 81]
      configuration = CharacterModelConfiguration(
        cell: cell?.kind ?? .lstm, vocabularySize: size, widths: widths)
      configuration.learningRate = 3e-3
      if small != nil {
        configuration.embeddingSize = 16
        configuration.hiddenSize = 32
      }
    }
    configuration.seed = Int(truncatingIfNeeded: seed & 0x7fff_ffff)
    return try CharacterModel(
      configuration, vocabulary: texts.info.vocabularyEntries, text: try texts.info.textEntry())
  }

  // A run goes on with the texts and batches it began with only.
  private var resumption: String {
    "weft train \(runDir) --resume" + (data.map { " --data \($0)" } ?? "")
      + (preset == .poems ? " --batch 32" : "")
  }

  private var defaultEpochs: Int {
    switch preset {
    case .poems: 40
    case .reportTensorflow: 10
    case .reportPytorch: 30
    }
  }

  // MARK: - Poems

  private func writePoems(_ session: Session) throws {
    let generator = try TextGenerator(session)
    var options = GenerationOptions()
    options.seed = seed
    // Both reports take the best character, 50 of them and up to 30.
    options.sampling = SamplingOptions(temperature: preset == .poems ? temperature : 0)
    options.maximumTokens = preset == .reportTensorflow ? 50 : preset == .reportPytorch ? 30 : 60
    // The TensorFlow program takes 50 steps whatever comes; the PyTorch one stops at the end.
    options.endsAtMarker = preset != .reportTensorflow
    var starts = (start ?? "日红山夜湖海月君星").map { String($0) }
    // The empty start is the start marker alone, from which the TensorFlow program writes.
    if preset == .reportTensorflow, start == nil { starts.insert("", at: 0) }
    for (index, first) in starts.enumerated() {
      let poem: String
      do {
        poem = try generator.write(start: first, options: options, stream: index)
      } catch let error as WeftError where error.category != .run {
        log(error.description)
        continue
      }
      for line in [""] + TextDisplay.sentences(of: poem) {
        // Poems that a full disk swallows are no success.
        guard put(line, to: 1) else {
          throw WeftError(.dataLoss, "cannot write the poems", category: .cannotWrite)
        }
      }
    }
  }

  private func log(_ line: String) { _ = put(line, to: 2) }

  // In one write where the system allows it, so that lines stay whole.
  private func put(_ line: String, to descriptor: CInt) -> Bool {
    var rest = Array((line + "\n").utf8)[...]
    while !rest.isEmpty {
      let count = rest.withUnsafeBytes { write(descriptor, $0.baseAddress, $0.count) }
      if count > 0 {
        rest.removeFirst(count)
      } else if errno != EINTR {
        return false
      }
    }
    return true
  }
}

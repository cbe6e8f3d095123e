// weft generate: texts by a trained model.

import ArgumentParser
import Weft

struct GenerateCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "generate", abstract: "Write texts with a trained model.",
    discussion: "One text a line. --temperature 0 or --argmax takes the best character each time.")

  @Argument(help: "A run directory, a SavedModel, or a graph file with --restore.")
  var model: String

  @Option(help: "The first characters.")
  var start = ""

  @Option(help: "How many texts.")
  var count = 1

  @Option(help: "Divides logits: below 1 is safer, above 1 wilder.")
  var temperature = 1.0

  @Option(help: "Draw from the best K characters only.")
  var topK: Int?

  @Option(help: "Draw from the best characters that together have this probability.")
  var topP: Double?

  @Flag(help: "Always take the best character.")
  var argmax = false

  @Option(help: "Seed of the draws; a random one, printed, if not given.")
  var seed: UInt64?

  @Option(help: "Characters of a text at most; what the model was trained on if not given.")
  var maxTokens: Int?

  @Option(help: "A checkpoint to take weights from.")
  var restore: String?

  @Option(help: "Threads to run on; all cores if not given.")
  var threads: Int?

  @Flag(help: "A line for each sentence, and an empty one between texts.")
  var sentences = false

  @Flag(help: "Print JSON, one object a text.")
  var json = false

  func validate() throws {
    if count < 1 { throw ValidationError("--count takes a number from 1") }
    if let maxTokens, maxTokens < 1 { throw ValidationError("--max-tokens takes a number from 1") }
    try SessionArguments.check(threads)
  }

  func run() throws {
    var options = GenerationOptions()
    options.sampling = SamplingOptions(
      temperature: argmax ? 0 : temperature, topK: topK, topP: topP)
    try options.sampling.validate()
    let model = try Model(model)
    // Small enough for any program's integers.
    options.seed = seed ?? UInt64.random(in: 0..<(1 << 32))
    let session = Session(
      model.graph.snapshot, options: SessionOptions(threads: threads, seed: options.seed))
    if let checkpoint = try model.checkpoint(restore) { try checkpoint.restore(into: session) }
    let generator = try TextGenerator(session)
    options.maximumTokens =
      maxTokens ?? generator.info.maximumTokens.map { max(1, $0 - 2) } ?? 100
    // Before anything is printed: the start must be in the vocabulary.
    _ = try generator.startTokens(start, options: options)
    if options.sampling.temperature > 0 || seed != nil { Console.log("seed \(options.seed)") }
    for index in 0..<count {
      let streams = !json && !sentences
      let text = try generator.write(start: start, options: options, stream: index) { piece in
        if streams {
          Console.write(piece)
          Console.flush()
        }
        return true
      }
      if json {
        Console.print(
          JSONValue.object([
            ("text", .string(text)), ("seed", .uint(options.seed)), ("index", .int(index)),
          ]).text)
      } else if sentences {
        if index > 0 { Console.print("") }
        for sentence in TextDisplay.sentences(of: text) { Console.print(sentence) }
      } else {
        Console.print("")
      }
      Console.flush()
    }
  }
}

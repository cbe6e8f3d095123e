// Writing texts: where they end.

import Testing
import WeftGraph
import WeftNN
import WeftRuntime
import WeftTensors
import WeftTraining

@Suite struct TextGeneratorTests {
  // A model that always finds one entry of the vocabulary the best.
  private func generator(best: String) throws -> TextGenerator {
    let words = ["PAD", "UNK", "bos", "eos", "山", "水"]
    let vocabulary = try Vocabulary(words: words, pad: 0, unk: 1, bos: 2, eos: 3)
    let info = TextModelInfo(vocabulary: vocabulary, preparation: .poems)
    var configuration = CharacterModelConfiguration(
      cell: .rnn, vocabularySize: words.count, widths: [4])
    configuration.embeddingSize = 3
    configuration.hiddenSize = 4
    let model = try CharacterModel(
      configuration, vocabulary: info.vocabularyEntries, text: try info.textEntry())
    let session = Session(model.graph.snapshot)
    try session.initialize()
    let bias = words.map { $0 == best ? Float(100) : 0 }
    try session.variables.cell("dense/bias", dtype: .float32).assign(try Tensor(bias))
    return try TextGenerator(session)
  }

  private func options(endsAtMarker: Bool) -> GenerationOptions {
    var options = GenerationOptions()
    options.sampling = .best
    options.maximumTokens = 5
    options.endsAtMarker = endsAtMarker
    return options
  }

  @Test func endsAtTheMarkerOrAfterAllTokens() throws {
    let ending = try generator(best: "eos")
    #expect(try ending.write(start: "山", options: options(endsAtMarker: true)) == "山")
    #expect(try ending.write(start: "山", options: options(endsAtMarker: false)) == "山\n\n\n\n")
    let endless = try generator(best: "水")
    for ends in [true, false] {
      #expect(try endless.write(start: "山", options: options(endsAtMarker: ends)) == "山水水水水")
      #expect(try endless.write(options: options(endsAtMarker: ends)) == "水水水水水")
    }
  }
}

// Names, signatures and collections of character models.

import OrderedCollections
import Testing
import WeftGraph
import WeftNN
import WeftOps
import WeftTensors

struct ModelShapeTests {
  private func configuration(
    _ cell: CellKind, _ form: CharacterModelConfiguration.Form, layers: Int
  ) -> CharacterModelConfiguration {
    var result = CharacterModelConfiguration(
      cell: cell, form: form, vocabularySize: 11, widths: [3, 5])
    result.layers = layers
    result.embeddingSize = 4
    result.hiddenSize = 6
    return result
  }

  private func shapes(_ configuration: CharacterModelConfiguration) throws -> [String: Shape] {
    let model = try CharacterModel(configuration)
    return Dictionary(
      uniqueKeysWithValues: model.scope.variables.map { ($0.name, $0.shape) })
  }

  @Test func tensorFlowNames() throws {
    let lstm: [String: Shape] = [
      "embedding": [11, 4], "rnn/basic_lstm_cell/kernel": [10, 24],
      "rnn/basic_lstm_cell/bias": [24], "dense/kernel": [6, 11], "dense/bias": [11],
    ]
    #expect(try shapes(configuration(.lstm, .tensorflow, layers: 1)) == lstm)
    let gru: [String: Shape] = [
      "embedding": [11, 4],
      "rnn/multi_rnn_cell/cell_0/gru_cell/gates/kernel": [10, 12],
      "rnn/multi_rnn_cell/cell_0/gru_cell/gates/bias": [12],
      "rnn/multi_rnn_cell/cell_0/gru_cell/candidate/kernel": [10, 6],
      "rnn/multi_rnn_cell/cell_0/gru_cell/candidate/bias": [6],
      "rnn/multi_rnn_cell/cell_1/gru_cell/gates/kernel": [12, 12],
      "rnn/multi_rnn_cell/cell_1/gru_cell/gates/bias": [12],
      "rnn/multi_rnn_cell/cell_1/gru_cell/candidate/kernel": [12, 6],
      "rnn/multi_rnn_cell/cell_1/gru_cell/candidate/bias": [6],
      "dense/kernel": [6, 11], "dense/bias": [11],
    ]
    #expect(try shapes(configuration(.gru, .tensorflow, layers: 2)) == gru)
    let rnn = try shapes(configuration(.rnn, .tensorflow, layers: 1))
    #expect(rnn["rnn/basic_rnn_cell/kernel"] == [10, 6])
  }

  @Test func kerasAndPyTorchNames() throws {
    let gru: [String: Shape] = [
      "embedding": [11, 4], "rnn/kernel": [4, 18], "rnn/recurrent_kernel": [6, 18],
      "rnn/bias": [2, 18], "dense/kernel": [6, 11], "dense/bias": [11],
    ]
    #expect(try shapes(configuration(.gru, .keras, layers: 1)) == gru)
    let lstm: [String: Shape] = [
      "embedding.weight": [11, 4], "lstm.weight_ih_l0": [24, 4], "lstm.weight_hh_l0": [24, 6],
      "lstm.bias_ih_l0": [24], "lstm.bias_hh_l0": [24], "lstm.weight_ih_l1": [24, 6],
      "lstm.weight_hh_l1": [24, 6], "lstm.bias_ih_l1": [24], "lstm.bias_hh_l1": [24],
      "fc.weight": [11, 6], "fc.bias": [11],
    ]
    #expect(try shapes(configuration(.lstm, .pytorch, layers: 2)) == lstm)
  }

  @Test func slotsHaveTensorFlowsNames() throws {
    let model = try CharacterModel(configuration(.rnn, .tensorflow, layers: 1))
    let expected: Set<String> = [
      "beta1_power", "beta2_power", "embedding/Adam", "embedding/Adam_1",
      "rnn/basic_rnn_cell/kernel/Adam", "rnn/basic_rnn_cell/kernel/Adam_1",
      "rnn/basic_rnn_cell/bias/Adam", "rnn/basic_rnn_cell/bias/Adam_1", "dense/kernel/Adam",
      "dense/kernel/Adam_1", "dense/bias/Adam", "dense/bias/Adam_1",
    ]
    #expect(Set(model.optimizer.slotVariables.map(\.name)) == expected)
    // Both train parts use the same slots.
    #expect(model.optimizer.slotVariables.count == expected.count)
  }

  @Test func signatures() throws {
    let model = try CharacterModel(
      configuration(.lstm, .tensorflow, layers: 2), vocabulary: ["PAD", "UNK", "日"],
      text: "{}")
    #expect(
      Array(model.graph.signatures.keys) == [
        "init", "train", "evaluate", "train_3", "evaluate_3", "generate",
      ])
    let train = try #require(model.graph.signatures["train"])
    #expect(Array(train.inputs.keys) == ["tokens", "targets", "lengths"])
    #expect(train.outputs["train_op"] == "train/train_op")
    #expect(train.outputs["loss"] == "train/loss:0")
    let tokens = try model.graph.output(train.inputs["tokens"] ?? "")
    #expect(tokens.shape == ["B", 5])
    let generate = try #require(model.graph.signatures["generate"])
    #expect(
      Array(generate.inputs.keys) == ["token", "state_0", "state_1", "state_2", "state_3"])
    #expect(try model.graph.output(generate.outputs["logits"] ?? "").shape == ["N", 11])
    #expect(
      model.graph.collections["weft/vocabulary"]
        == .bytes(["PAD", "UNK", "日"].map { Array($0.utf8) }))
  }

  @Test func reportModelsHaveWhatTheyNeed() throws {
    let keras = try CharacterModel(.reportTensorFlow(vocabularySize: 9, widths: [4]))
    #expect(keras.graph.signatures["generate_init"]?.outputs.count == 1)
    let torch = try CharacterModel(.reportPyTorch(vocabularySize: 9, widths: [4]))
    #expect(torch.graph.signatures["train"]?.outputs["prediction"] != nil)
    #expect(torch.graph.signatures["generate"]?.inputs.count == 5)
  }

  @Test func wrongSizesAreRefused() throws {
    #expect(throws: WeftError.self) {
      try CharacterModel(CharacterModelConfiguration(vocabularySize: 0, widths: [3]))
    }
    #expect(throws: WeftError.self) {
      try CharacterModel(CharacterModelConfiguration(vocabularySize: 5, widths: [3, 3]))
    }
    #expect(throws: WeftError.self) {
      try CharacterModel(
        CharacterModelConfiguration(vocabularySize: 2, widths: [3]), vocabulary: ["a", "b", "c"])
    }
  }

  @Test func oneNameIsOneVariable() throws {
    let scope = VariableScope(Graph())
    let first = try scope.scope("a").variable("w", shape: [2, 3], initializer: .zeros)
    let second = try scope.scope("a").variable("w", shape: [2, 3], initializer: .ones)
    #expect(first.handle == second.handle)
    #expect(scope.variables.count == 1)
    #expect(throws: WeftError.self) {
      try scope.variable("a/w", shape: [3, 2], initializer: .zeros)
    }
  }
}

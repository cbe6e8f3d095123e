// Both presets against what Keras and PyTorch recorded of the same work.

import Testing
import WeftGraph
import WeftNN
import WeftOps
import WeftRuntime
import WeftTensors

@Suite(.serialized) struct PresetTests {
  /// A preset's model with the recorded initial values, ready to train.
  private struct Run {
    let data: ReferenceData
    let model: CharacterModel
    let session: Session
    // Gradients of the widest first part as whole tensors.
    let gradients: [(name: String, output: Output)]

    init(_ data: ReferenceData, _ dtype: DType) throws {
      self.data = data
      let widths = Array(Set(data.batches.map(\.width))).sorted()
      var configuration: CharacterModelConfiguration
      switch data.kind {
      case .tensorflow:
        configuration = .reportTensorFlow(
          vocabularySize: data.vocabularySize, widths: widths)
      case .pytorch:
        configuration = .reportPyTorch(vocabularySize: data.vocabularySize, widths: widths)
      }
      configuration.dtype = dtype
      model = try CharacterModel(configuration)
      let first = try #require(model.part(width: data.batches[0].width))
      gradients = try first.minimization.gradients.map {
        ($0.variable.name, try dense($0.gradient))
      }
      session = Session(model.graph)
      try session.run([], targets: [model.initializer])
      for name in data.names {
        let recorded = try #require(data.arrays["initial/" + name])
        let values = try #require(recorded.doubles)
        let cell = try #require(session.variables.existing(name), "no variable \(name)")
        let tensor =
          dtype == .float64
          ? try Tensor(values, shape: recorded.shape)
          : try Tensor(values.map { Float($0) }, shape: recorded.shape)
        #expect(cell.value?.shape == recorded.shape, "shape of \(name)")
        try cell.assign(tensor)
      }
    }

    /// Trains by batch `step`; returns the loss and what else is fetched.
    func train(_ step: Int, fetching more: [Output] = []) throws -> (Double, [Tensor]) {
      let batch = data.batches[step]
      let part = try #require(model.part(width: batch.width))
      let (tokens, targets, lengths) = try batch.tensors(width: part.width)
      let values = try session.run(
        [part.loss] + more,
        feeds: [part.tokens: tokens, part.targets: targets, part.lengths: lengths],
        targets: [part.trainOperation])
      return (values[0].doubles?.first ?? .nan, Array(values.dropFirst()))
    }
  }

  @Test(arguments: [ReferenceData.Kind.tensorflow, .pytorch], [DType.float64, .float32])
  func firstStep(_ kind: ReferenceData.Kind, _ dtype: DType) throws {
    guard let data = try ReferenceData.load(kind) else { return }
    let run = try Run(data, dtype)
    var fetches = run.gradients.map(\.output)
    let part = try #require(run.model.part(width: data.batches[0].width))
    if let norm = part.minimization.globalNorm { fetches.append(norm) }
    let (loss, values) = try run.train(0, fetching: fetches)
    let expected = data.doubles("losses/float64")[0]
    #expect(abs(loss - expected) <= 1e-5 * expected, "loss \(loss), recorded \(expected)")
    #expect(Set(run.gradients.map(\.name)) == Set(data.names))
    for (value, (name, _)) in zip(values, run.gradients) {
      let error = relativeError(value.doubles ?? [], data.doubles("step1/gradient/" + name))
      #expect(error <= 1e-5, "gradient of \(name): \(error)")
    }
    for name in data.names {
      let value = run.session.variables.existing(name)?.value
      let error = relativeError(value?.doubles ?? [], data.doubles("step1/updated/" + name))
      #expect(error <= 1e-5, "updated \(name): \(error)")
    }
    if let norm = data.doubles("step1/global_norm").first, let own = values.last?.doubles?.first {
      #expect(abs(own - norm) <= 1e-5 * norm, "global norm \(own), recorded \(norm)")
    }
  }

  @Test(arguments: [ReferenceData.Kind.tensorflow, .pytorch])
  func twentyStepsInFloat64(_ kind: ReferenceData.Kind) throws {
    guard let data = try ReferenceData.load(kind) else { return }
    let run = try Run(data, .float64)
    for (step, expected) in data.doubles("losses/float64").enumerated() {
      let (loss, _) = try run.train(step)
      #expect(abs(loss - expected) <= 1e-8, "step \(step): \(loss), recorded \(expected)")
    }
  }

  @Test(arguments: [ReferenceData.Kind.tensorflow, .pytorch])
  func twentyStepsInFloat32(_ kind: ReferenceData.Kind) throws {
    guard let data = try ReferenceData.load(kind) else { return }
    let run = try Run(data, .float32)
    let own = data.doubles("losses/float32")
    let other = data.doubles("losses/float32_other_kernels")
    let exact = data.doubles("losses/float64")
    // The framework's spread: between its own kernels, and between its precisions.
    var spread = 0.0
    for i in own.indices { spread = max(spread, abs(own[i] - other[i]), abs(own[i] - exact[i])) }
    for step in own.indices {
      let (loss, _) = try run.train(step)
      #expect(
        abs(loss - own[step]) <= 3 * spread,
        "step \(step): \(loss), recorded \(own[step]), spread \(spread)")
    }
  }
}

// What is shown while a preset trains: for the report's two, what their programs show.

import Weft

/// Turns the events of a training run into lines.
struct TrainingLog {
  let preset: Preset
  let epochs: Int
  let vocabulary: Vocabulary

  /// The lines to show for an event; mostly none.
  func lines(for event: TrainingEvent, lastStep: Int) -> [String] {
    switch event {
    case .step(let progress, let outputs, let batch):
      guard progress.step == 1 || progress.step % stepsBetweenLines == 0 else { return [] }
      return [line(progress)] + (preset == .reportPytorch ? prediction(outputs, batch) : [])
    case .epoch(let progress, _):
      // Many short epochs need no line each; the report's are few and long.
      guard preset != .poems || progress.epoch == 0 || progress.epoch % 5 == 4 else { return [] }
      return ["epoch \(progress.epoch + 1) done  mean loss \(rounded(progress.meanLoss))"]
    case .checkpoint(let step, let path):
      return preset == .reportPytorch || step == lastStep ? ["saved     \(path)"] : []
    }
  }

  private var stepsBetweenLines: Int {
    switch preset {
    case .poems: 100
    case .reportTensorflow: 500
    case .reportPytorch: 1
    }
  }

  private func line(_ progress: TrainingProgress) -> String {
    // Nobody knows how long a run without an end takes.
    let left = Int(exactly: progress.secondsLeft.rounded()).map { "  left \($0) s" } ?? ""
    return "epoch \(progress.epoch + 1)/\(epochs)  step \(progress.step)  loss "
      + "\(rounded(progress.loss))  \(Int(progress.rate)) characters/s\(left)"
  }

  /// What the model predicts for the batch's first text, and what it should have.
  private func prediction(
    _ outputs: [(key: String, value: Tensor)], _ batch: TrainingBatch
  ) -> [String] {
    guard let tokens = batch.tokens, let length = tokens.lengths.first,
      let ids = outputs.first(where: { $0.key == "prediction" })?.value.integers
    else { return [] }
    let predicted = ids.prefix(Int(length)).map { Int32(truncatingIfNeeded: $0) }
    return [
      "  predicted \(vocabulary.decode(predicted))",
      "  target    \(vocabulary.decode(tokens.targets.prefix(Int(length))))",
    ]
  }

  private func rounded(_ value: Double) -> String {
    value.isFinite ? "\((value * 10_000).rounded() / 10_000)" : "\(value)"
  }
}

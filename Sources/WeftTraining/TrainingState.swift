// What a checkpoint keeps besides variables, so that a resumed run is the same run.

internal import OrderedCollections
internal import WeftTensors

#if canImport(FoundationEssentials)
  import FoundationEssentials
#else
  import Foundation
#endif
#if canImport(Glibc)
  internal import Glibc
#elseif canImport(Musl)
  internal import Musl
#elseif canImport(Darwin)
  internal import Darwin
#endif

/// The state of a training run at a checkpoint.
struct TrainingState: Codable {
  /// The metadata key it is kept under.
  static let key = "weft.training"

  var step: Int
  var seed: UInt64
  /// The sum of the losses of this epoch's batches.
  var lossSum: Double
  var batches: BatcherState
  /// How often each random node has drawn.
  var draws: [String: UInt64]

  enum CodingKeys: String, CodingKey {
    case step, seed, batches, draws
    case lossSum = "loss_sum"
  }

  init(
    step: Int, seed: UInt64, lossSum: Double, batches: BatcherState, draws: [String: UInt64]
  ) {
    self.step = step
    self.seed = seed
    self.lossSum = lossSum
    self.batches = batches
    self.draws = draws
  }

  /// The state in a checkpoint's metadata.
  /// - Throws: FailedPrecondition when it has none, DataLoss when it cannot be read.
  init(reading checkpoint: Checkpoint) throws(WeftError) {
    guard let text = checkpoint.metadata[TrainingState.key] else {
      throw WeftError(
        .failedPrecondition, "the checkpoint was not written by a training run",
        hint: "--restore starts from its values instead")
    }
    do {
      self = try JSONDecoder().decode(TrainingState.self, from: Data(text.utf8))
    } catch {
      throw WeftError(.dataLoss, "the checkpoint's training state cannot be read: \(error)")
    }
    guard step >= 0 else {
      throw WeftError(.dataLoss, "the checkpoint's training state counts \(step) steps")
    }
  }

  /// The state as one line of JSON, its keys sorted.
  func text() throws(WeftError) -> String {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    do {
      return String(decoding: try encoder.encode(self), as: UTF8.self)
    } catch {
      throw WeftError(.internal, "the training state cannot be written: \(error)")
    }
  }
}

extension Double {
  /// e to this power.
  var exponential: Double { exp(self) }
}

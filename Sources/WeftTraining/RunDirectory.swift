// A run directory: the graph, and the checkpoints of a training run.

public import WeftTensors

#if canImport(FoundationEssentials)
  import FoundationEssentials
#else
  import Foundation
#endif

/// The folder of one training run: `model.json` and `checkpoint-STEP.safetensors` files.
public struct RunDirectory: Sendable {
  /// The name of the graph's file.
  public static let graphName = "model.json"
  private static let prefix = "checkpoint-"
  private static let suffix = ".safetensors"

  /// The folder.
  public let path: String

  /// The run directory at `path`, which may not exist yet.
  public init(_ path: String) {
    self.path = path.count > 1 && path.hasSuffix("/") ? String(path.dropLast()) : path
  }

  /// The graph's file.
  public var graphPath: String { path + "/" + RunDirectory.graphName }

  /// The file of the checkpoint after `step` steps.
  public func checkpointPath(step: Int) -> String {
    path + "/" + RunDirectory.prefix + "\(step)" + RunDirectory.suffix
  }

  /// The steps that there are checkpoints of, rising.
  public var checkpointSteps: [Int] {
    let names = (try? FileManager.default.contentsOfDirectory(atPath: path)) ?? []
    return names.compactMap { name in
      guard name.hasPrefix(RunDirectory.prefix), name.hasSuffix(RunDirectory.suffix) else {
        return nil
      }
      return Int(name.dropFirst(RunDirectory.prefix.count).dropLast(RunDirectory.suffix.count))
    }.filter { $0 >= 0 }.sorted()
  }

  /// The newest checkpoint that is whole; nil when there is none at all.
  ///
  /// A newer file that is damaged is passed over and named in `damaged`.
  /// - Throws: the first file's error when every one is damaged.
  public func newestCheckpoint() throws(WeftError) -> (
    step: Int, path: String, checkpoint: Checkpoint, damaged: [WeftError]
  )? {
    var damaged: [WeftError] = []
    for step in checkpointSteps.reversed() {
      let file = checkpointPath(step: step)
      do {
        return (step, file, try Checkpoint(reading: file), damaged)
      } catch {
        damaged.append(error)
      }
    }
    if let first = damaged.first { throw first }
    return nil
  }

  /// Removes all but the newest `count` checkpoints.
  public func keepNewest(_ count: Int) {
    for step in checkpointSteps.dropLast(max(1, count)) {
      try? FileManager.default.removeItem(atPath: checkpointPath(step: step))
    }
  }
}

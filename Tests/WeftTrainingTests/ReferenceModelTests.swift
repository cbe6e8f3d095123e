// The example models against what TensorFlow computed of the same graphs, batches and first values.
//
// Tests/Tools/tensorflow_check.py GRAPH WEFT --record Tests/Data/tensorflow_models.json records anew.

import Foundation
import Testing
import WeftFormats
import WeftGraph
import WeftOps
import WeftRuntime
import WeftTensors
import WeftTraining

@Suite struct ReferenceModelTests {
  private struct Recorded: Decodable {
    struct Feed: Decodable {
      var shape: [Int]
      var values: [Double]

      func tensor(_ dtype: DType) throws -> Tensor {
        dtype == .int32
          ? try Tensor(values.map { Int32($0) }, shape: shape)
          : try Tensor(values.map { Float($0) }, shape: shape)
      }
    }

    /// FNV-1a of the graph's file.
    var hash: String
    var batches: [[String: Feed]]
    var losses: [Double]
    /// Norms of the variables after the last batch.
    var norms: [String: Double]
  }

  @Test(arguments: ["rnn", "lstm", "gru"])
  func trainsAsTensorFlowDoes(_ name: String) throws {
    let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
      .deletingLastPathComponent().deletingLastPathComponent()
    let data = try WholeFile.read(
      root.appendingPathComponent("Tests/Data/tensorflow_models.json").path)
    let all = try JSONDecoder().decode([String: Recorded].self, from: Data(data))
    let recorded = try #require(all[name], "no record of '\(name)'")
    let bytes = try WholeFile.read(root.appendingPathComponent("graphs/\(name).json").path)
    let hash = bytes.reduce(UInt64(0xcbf2_9ce4_8422_2325)) {
      ($0 ^ UInt64($1)) &* 0x100_0000_01b3
    }
    #expect(
      UInt64(recorded.hash, radix: 16) == hash,
      "graphs/\(name).json has changed; record again: see the head of this file")

    let graph = try GraphFile.decode(bytes, registry: .standard)
    let session = Session(graph)
    let initial = try SignatureCall("init", of: graph.snapshot)
    let train = try SignatureCall("train", of: graph.snapshot)
    let loss = try #require(train.output("loss"))
    try session.run([], targets: initial.operations.map(\.node))
    for (step, batch) in recorded.batches.enumerated() {
      let feeds = try batch.sorted { $0.key < $1.key }.map { name, feed in
        let edge = try graph.snapshot.edge(name)
        return (edge, try feed.tensor(graph.snapshot.type(edge).dtype))
      }
      let own =
        try session.run([loss], feeds: feeds, targets: train.operations.map(\.node))[0].doubles?
        .first ?? .nan
      let theirs = recorded.losses[step]
      // Both compute in float32; the sums of a step have another order.
      #expect(abs(own - theirs) <= 1e-5 * abs(theirs), "step \(step): \(own), \(theirs)")
    }
    #expect(Set(graph.variables.map(\.name)) == Set(recorded.norms.keys))
    for (name, theirs) in recorded.norms {
      let values = try #require(session.variables.existing(name)?.value?.doubles)
      let own = values.reduce(0) { $0 + $1 * $1 }.squareRoot()
      // An optimizer's slots hold squares and means of differences: their error is larger.
      #expect(abs(own - theirs) <= 1e-4 * theirs + 1e-9, "norm of \(name): \(own), \(theirs)")
    }
  }
}

// Finding checkpoints and SavedModels by what is there; parts of partitioned variables.

import Foundation
import OrderedCollections
import SwiftProtobuf
import Testing
import WeftGraph
import WeftTensors

@testable import WeftFormats

@Suite struct CheckpointLocationTests {
  private func write(_ text: String, to path: String) throws {
    try FileManager.default.createDirectory(
      at: URL(fileURLWithPath: path).deletingLastPathComponent(),
      withIntermediateDirectories: true)
    try WholeFile.write(Array(text.utf8), to: path)
  }

  @Test func prefixes() throws {
    try withScratchFolder { folder in
      let prefix = try CheckpointFixture.objects.write(to: folder, "model.data-1.ckpt")
      let wanted = CheckpointLocation.tensorBundle(prefix: prefix)
      #expect(try CheckpointLocation(prefix) == wanted)
      #expect(try CheckpointLocation(prefix + ".index") == wanted)
      #expect(try CheckpointLocation(prefix + ".data-00000-of-00001") == wanted)
      // A folder or a file of the same name is not in the way.
      try FileManager.default.createDirectory(atPath: prefix, withIntermediateDirectories: false)
      #expect(try CheckpointLocation(prefix) == wanted)
      try FileManager.default.removeItem(atPath: prefix)
      try write("something else", to: prefix)
      #expect(try CheckpointLocation(prefix) == wanted)
      try WholeFile.write(CheckpointFixture.objects.index, to: folder + "/renamed")
      #expect(
        weftError { _ = try CheckpointLocation(folder + "/renamed") }?.code == .unimplemented)
    }
  }

  @Test func files() throws {
    try withScratchFolder { folder in
      let tensors: OrderedDictionary<String, Tensor> = ["a": try Tensor([1, 2] as [Float])]
      for name in ["a.npz", "a.safetensors", "a"] {
        let path = folder + "/" + name
        try NumPyFile.writeArchive(tensors, to: path)
        #expect(try CheckpointLocation(path) == .archive(path))
        try SafetensorsFile(tensors: tensors).write(to: path)
        #expect(try CheckpointLocation(path) == .safetensors(path))
      }
      // Damaged files are left to the reader that their names ask for.
      for text in ["", "x", "nonsense, and more of it"] {
        try write(text, to: folder + "/a.npz")
        #expect(try CheckpointLocation(folder + "/a.npz") == .archive(folder + "/a.npz"))
        try write(text, to: folder + "/a")
        #expect(weftError { _ = try CheckpointLocation(folder + "/a") }?.code == .dataLoss)
      }
      let missing = weftError { _ = try CheckpointLocation(folder + "/b.npz") }
      #expect(missing?.code == .notFound && missing?.category == .noInput)
      #expect(weftError { _ = try CheckpointLocation(folder) }?.code == .notFound)
    }
  }

  @Test func folders() throws {
    try withScratchFolder { folder in
      _ = try CheckpointFixture.objects.write(to: folder, "m-2")
      for path in ["m-2", "/no such folder/m-2", "\\155-2"] {
        try write(
          """
          # The newest.
          model_checkpoint_path: "\(path)"
          all_model_checkpoint_paths: "m-1"
          all_model_checkpoint_paths: "m-2"
          last_preserved_timestamp: 1.5

          """, to: folder + "/checkpoint")
        for name in [folder, folder + "/"] {
          #expect(try CheckpointLocation(name) == .tensorBundle(prefix: folder + "/m-2"))
        }
      }
      try write("model_checkpoint_path: \"/gone/m-3\"", to: folder + "/checkpoint")
      #expect(try CheckpointLocation(folder) == .tensorBundle(prefix: "/gone/m-3"))
      for text in [
        "", "all_model_checkpoint_paths: \"m-1\"", "model_checkpoint_path: \"\"",
        "model_checkpoint_path", "model_checkpoint_path: 3", "model_checkpoint_path: \"m",
        "model_checkpoint_path { }",
      ] {
        try write(text, to: folder + "/checkpoint")
        #expect(weftError { _ = try CheckpointLocation(folder) }?.code == .dataLoss, "\(text)")
      }
    }
  }

  @Test func savedModels() throws {
    try withScratchFolder { folder in
      #expect(SavedModelFolder(folder) == nil)
      try write("saved_model_schema_version: 1", to: folder + "/saved_model.pbtxt")
      let bare = try #require(SavedModelFolder(folder))
      #expect(bare.graphPath == folder + "/saved_model.pbtxt" && bare.variablesPrefix == nil)
      let missing = weftError {
        guard case .tensorBundle(let prefix) = try CheckpointLocation(folder) else { return }
        _ = try TensorBundle(reading: prefix)
      }
      #expect(missing?.code == .notFound)
      try write("", to: folder + "/saved_model.pb")
      try write("", to: folder + "/variables/variables.index")
      let whole = try #require(SavedModelFolder(folder + "/"))
      #expect(whole.graphPath == folder + "/saved_model.pb")
      #expect(whole.variablesPrefix == folder + "/variables/variables")
      #expect(
        try CheckpointLocation(folder) == .tensorBundle(prefix: folder + "/variables/variables"))
    }
  }

  @Test func partitions() throws {
    func record(_ name: String, _ offset: [Int64], _ size: [Int64]) throws -> String {
      let message = TFVariableDef.with {
        $0.variableName = name + ":0"
        $0.initializerName = name + "/Assign"
        $0.snapshotName = name + "/read:0"
        $0.saveSliceInfoDef.fullName = "v"
        $0.saveSliceInfoDef.fullShape = [2, 3]
        $0.saveSliceInfoDef.varOffset = offset
        $0.saveSliceInfoDef.varShape = size
      }
      return "\"" + (try message.serializedData()).base64EncodedString() + "\""
    }
    let records = try [
      record("v/part_0", [0, 0], [2, 2]), record("v/part_1", [0, 2], [2, 1]),
      record("v/outside", [1, 0], [2, 1]),
    ].joined(separator: ",")
    let graph = try load(
      """
      {"graphDef":{"node":[]},"collectionDef":{"variables":{"bytesList":{"value":[\(records)]}}}}
      """)
    let parts = VariablePartition.all(of: graph.snapshot)
    #expect(parts.map(\.handle) == ["v/part_0", "v/part_1"])
    let whole = try Tensor([0, 1, 2, 3, 4, 5] as [Float], shape: [2, 3])
    #expect(try parts[0].part(of: whole).array(of: Float.self) == [0, 1, 3, 4])
    #expect(try parts[1].part(of: whole).array(of: Float.self) == [2, 5])
    #expect(try parts[1].part(of: whole).shape == [2, 1])
    #expect(
      weftError { _ = try parts[0].part(of: whole.reshaped(to: [3, 2])) }?.code
        == .invalidArgument)
  }
}

// Graphs to files and back: nothing lost, the same bytes, every form told apart.

import Foundation
import OrderedCollections
import SwiftProtobuf
import Testing
import WeftGraph
import WeftTensors

@testable import WeftFormats

@Suite struct GraphFileTests {
  @Test func everythingSurvives() throws {
    let graph = try load(smallMetaGraph)
    #expect(graph.nodes.map(\.name) == ["x", "scope/c", "many", "many2"])
    #expect(graph.nodes[2].inputs.map(\.port) == [0, 0, 3])
    #expect(graph.nodes[2].controlInputs == [1])
    #expect(graph.nodes[2].attrs["symbol"] == .shape(["batch"]))
    #expect(graph.signatures["run"]?.inputs == ["a": "x:0"])
    #expect(graph.collections["names"] == .nodes(["x:0"]))
    #expect(graph.collections["text"] == .bytes([Array("春".utf8), Array("日".utf8)]))
    let original = try GraphDocument.decode(Array(smallMetaGraph.utf8))
    let written = try GraphWriter.document(of: graph.snapshot)
    #expect(try normalizedBytes(written) == normalizedBytes(original))
  }

  @Test func everyFormHoldsTheSame() throws {
    let json = try GraphFile.encode(load(smallMetaGraph).snapshot, as: .json)
    var bytes = json
    for encoding in [GraphEncoding.json, .binary, .text, .binary, .text, .json] {
      let graph = try GraphFile.decode(bytes, registry: testRegistry)
      bytes = try GraphFile.encode(graph.snapshot, as: encoding)
    }
    #expect(bytes == json)
  }

  @Test func aGraphDefStaysOne() throws {
    let graph = try load(nodes(#"{"name":"a","op":"X"}"#))
    for encoding in GraphEncoding.allCases {
      let bytes = try GraphFile.encode(graph.snapshot, as: encoding)
      guard case .graph(let message) = try GraphDocument.decode(bytes) else {
        Issue.record("\(encoding) became something else")
        continue
      }
      #expect(message.node.map(\.name) == ["a"])
    }
    graph.signatures["run"] = Signature(outputs: ["y": "a:0", "go": "a"])
    guard case .metaGraph(let message) = try GraphWriter.document(of: graph.snapshot) else {
      Issue.record("a signature needs a MetaGraphDef")
      return
    }
    // Operations have neither type nor rank.
    #expect(message.signatureDef["run"]?.outputs["go"]?.tensorShape.unknownRank == true)
    #expect(message.signatureDef["run"]?.outputs["go"]?.name == "a")
  }

  @Test func savedModelsLoad() throws {
    let model = try TFSavedModel.with {
      $0.savedModelSchemaVersion = 1
      var serve = TFMetaGraphDef()
      serve.metaInfoDef.tags = ["serve"]
      serve.graphDef = TFGraphDef()
      guard case .metaGraph(var train) = try GraphDocument.decode(Array(smallMetaGraph.utf8)) else {
        return
      }
      train.metaInfoDef.tags = ["train"]
      $0.metaGraphs = [serve, train]
    }
    for encoding in GraphEncoding.allCases {
      let bytes = try GraphDocument.savedModel(model).encoded(as: encoding)
      #expect(try GraphFile.decode(bytes, registry: testRegistry).nodes.count == 4)
    }
  }

  @Test func suffixesDoNotDecideWhatAFileIs() throws {
    try withScratchFolder { folder in
      let graph = try load(smallMetaGraph)
      let json = try GraphFile.encode(graph.snapshot, as: .json)
      for encoding in GraphEncoding.allCases {
        for name in ["g.json", "g.pb", "g.pbtxt", "g.meta", "g"] {
          let path = folder + "/" + name
          try WholeFile.write(GraphFile.encode(graph.snapshot, as: encoding), to: path)
          let back = try GraphFile.read(path, registry: testRegistry)
          #expect(try GraphFile.encode(back.snapshot, as: .json) == json, "\(encoding) as \(name)")
        }
      }
    }
  }

  @Test func variableRecordsRoundTrip() throws {
    let node =
      #"{"name":"v","op":"VarHandleOp","attr":{"dtype":{"type":"DT_FLOAT"},"shape":{"shape":{}}}}"#
    let graph = try load(#"{"graphDef":{"node":[\#(node)]}}"#)
    graph.variables = [
      VariableRecord(
        name: "v", handle: "v", initializer: "v/Assign", initialValue: "v/init:0",
        snapshot: "v/Read/ReadVariableOp:0"),
      VariableRecord(
        name: "step", handle: "step", initializer: "step/Assign", initialValue: "step/init:0",
        snapshot: "step/read:0", isResource: false, isTrainable: false),
    ]
    let bytes = try GraphFile.encode(graph.snapshot, as: .binary)
    let back = try GraphFile.decode(bytes, registry: testRegistry)
    #expect(back.variables == graph.variables)
    #expect(back.collections.isEmpty)
    #expect(back.passthrough["variables"] == nil)
    guard case .metaGraph(let message) = try GraphDocument.decode(bytes) else { return }
    #expect(message.collectionDef["variables"]?.bytesList.value.count == 2)
    #expect(message.collectionDef["trainable_variables"]?.bytesList.value.count == 1)
    let definition = try TFVariableDef(
      serializedBytes: #require(message.collectionDef["variables"]?.bytesList.value.first))
    #expect(definition.variableName == "v:0" && definition.trainable && definition.isResource)
  }

  @Test func variableDetailsOfAFileStay() throws {
    let definition = TFVariableDef.with {
      $0.variableName = "v:0"
      $0.initializerName = "v/Assign"
      $0.snapshotName = "v/read:0"
      $0.trainable = true
      $0.saveSliceInfoDef = TFSaveSliceInfoDef.with { $0.fullName = "whole" }
    }
    var meta = TFMetaGraphDef()
    meta.collectionDef["variables"] = TFCollectionDef.with {
      $0.bytesList = TFCollectionDef.BytesList.with {
        $0.value = [(try? definition.serializedData()) ?? Data()]
      }
    }
    let graph = try GraphReader.graph(of: .metaGraph(meta), registry: noOps)
    graph.variables.append(
      VariableRecord(name: "w", handle: "w", initializer: "", initialValue: "", snapshot: ""))
    guard case .metaGraph(let written) = try GraphWriter.document(of: graph.snapshot) else {
      return
    }
    let values = try #require(written.collectionDef["variables"]?.bytesList.value)
    #expect(values.count == 2)
    #expect(try TFVariableDef(serializedBytes: values[0]) == definition)
    // A record that was changed is written anew.
    graph.variables[0].initializer = "other"
    guard case .metaGraph(let changed) = try GraphWriter.document(of: graph.snapshot) else {
      return
    }
    let first = try TFVariableDef(
      serializedBytes: #require(changed.collectionDef["variables"]?.bytesList.value.first))
    #expect(first.initializerName == "other")
  }

  @Test func sitesAreWrittenWhenAskedFor() throws {
    let graph = Graph(registry: testRegistry)
    try graph.add("Placeholder", name: "x", attrs: ["dtype": .type(.float32)])
    let plain = String(decoding: try GraphFile.encode(graph.snapshot, as: .text), as: UTF8.self)
    #expect(!plain.contains("_weft_site"))
    let sites = try GraphFile.encode(graph.snapshot, as: .text, writesSites: true)
    #expect(String(decoding: sites, as: UTF8.self).contains("GraphFileTests.swift:"))
  }

  @Test func dotDrawsNodesAndEdges() throws {
    let text = GraphFile.dot(try load(smallMetaGraph).snapshot)
    #expect(text.contains(#"n1 [label="scope/c\nConst""#))
    #expect(text.contains(#"n0 -> n2 [label="float32 [?, 3]"]"#))
    #expect(text.contains("n1 -> n2 [style=dashed"))
  }

  // MARK: - Broken files

  @Test func everyPrefixOfAFileIsACleanError() throws {
    let graph = try load(smallMetaGraph)
    for encoding in GraphEncoding.allCases {
      let bytes = try GraphFile.encode(graph.snapshot, as: encoding)
      for length in 0..<(bytes.count - 2) {
        do {
          // A cut between two fields of a binary or text file cannot be told from a whole one.
          _ = try GraphFile.decode(Array(bytes[..<length]), registry: testRegistry)
          #expect(encoding != .json, "\(length) bytes")
        } catch {
          #expect(error.category == .content)
        }
      }
    }
  }

  @Test func everyFlippedByteIsAGraphOrAnError() throws {
    let graph = try load(smallMetaGraph)
    for encoding in GraphEncoding.allCases {
      let bytes = try GraphFile.encode(graph.snapshot, as: encoding)
      for index in bytes.indices {
        var copy = bytes
        copy[index] ^= 0x11
        if let back = try? GraphFile.decode(copy, registry: testRegistry) {
          _ = try GraphFile.encode(back.snapshot, as: .binary)
        }
      }
    }
  }

  @Test func otherFilesAreErrors() {
    let gibberish: [UInt8] = (0..<4096).map { UInt8(truncatingIfNeeded: $0 &* 7919 >> 3) }
    let files: [[UInt8]] = [
      [], gibberish, Array("hello".utf8), Array("[1, 2]".utf8), Array("null".utf8),
      [0xFF, 0xFE, 0x7B, 0], Array(repeating: 0x0A, count: 5000),
    ]
    for bytes in files {
      let error = weftError { _ = try GraphFile.decode(bytes, registry: noOps) }
      #expect(error?.category == .content)
    }
  }

  @Test func textErrorsHaveLines() {
    let cases: [(String, Int, String)] = [
      ("node {\n name: \"a\"\n", 3, "truncated"), ("node { name: \"a\n\" }", 1, "not closed"),
      ("node { name: \"a\" ] }", 1, "closes nothing"),
      ("node { name: \"a\" }\nnode {\n  nme: \"b\"\n}", 3, "unknown field"),
      ("node {\n attr {\n key: \"T\"\n value { type: DT_X }\n }\n}", 4, "enum"),
    ]
    for (text, line, words) in cases {
      let error = #expect(throws: FormatError.self) { try GraphDocument.decode(Array(text.utf8)) }
      #expect(error?.line == line, "\(text)")
      #expect(error?.message.contains(words) == true, "\(error?.message ?? "")")
    }
  }

  @Test func deepTextAndBinaryAreErrors() throws {
    let deep =
      "node { attr { key: \"a\" value { "
      + String(repeating: "list { func { attr { key: \"a\" value { ", count: 100_000)
    #expect(weftError { try load(deep) }?.category == .content)
    let closed = deep + String(repeating: "} } } }", count: 100_000) + "} } }"
    #expect(weftError { try load(closed) }?.code == .resourceExhausted)
    var bytes: [UInt8] = []
    for _ in 0..<300 {
      // FullTypeDef.args within itself.
      var outer: [UInt8] = [0x12]
      var length = bytes.count
      while length >= 0x80 {
        outer.append(UInt8(length & 0x7F) | 0x80)
        length >>= 7
      }
      outer.append(UInt8(length))
      bytes = outer + bytes
    }
    #expect(throws: (any Error).self) { try TFFullTypeDef(serializedBytes: bytes) }
  }

  @Test func missingAndUnreadableFiles() throws {
    try withScratchFolder { folder in
      #expect(
        weftError { _ = try GraphFile.read(folder + "/no.json", registry: noOps) }?.category
          == .noInput)
      #expect(weftError { _ = try GraphFile.read(folder, registry: noOps) }?.category == .noInput)
      let graph = try load(smallMetaGraph)
      #expect(
        weftError { try GraphFile.write(graph.snapshot, to: folder + "/no/g.json") }?.category
          == .cannotCreate)
      #expect(weftError { try GraphFile.write(graph.snapshot, to: folder) }?.category == .usage)
      #expect(
        weftError { try GraphFile.write(graph.snapshot, to: folder + "/g.txt") }?.category == .usage
      )
      try GraphFile.write(graph.snapshot, to: folder + "/g.json")
      let path = folder + "/g.json"
      let size = try FileManager.default.attributesOfItem(atPath: path)[.size] as? Int ?? 0
      #expect(size > 100)
      let error = #expect(throws: WeftError.self) {
        try GraphFile.read(path, registry: noOps, sizeLimit: 100)
      }
      #expect(error?.code == .resourceExhausted)
      // Nothing half-written lies around.
      #expect(try FileManager.default.contentsOfDirectory(atPath: folder) == ["g.json"])
    }
  }

  @Test func aFullDiskIsACleanError() {
    guard FileManager.default.fileExists(atPath: "/dev/full") else { return }
    #expect(
      weftError { try WholeFile.write([1, 2, 3], to: "/dev/full") }?.category == .cannotWrite)
  }
}

/// The canonical bytes of the normalized document; messages that hold a NaN are not equal.
func normalizedBytes(_ document: GraphDocument) throws -> [UInt8] {
  try normalized(document).encoded(as: .binary)
}

/// The document with tensors and inputs spelled as the writer spells them.
func normalized(_ document: GraphDocument) -> GraphDocument {
  func graph(_ message: TFGraphDef) -> TFGraphDef {
    var copy = message
    for index in copy.node.indices {
      copy.node[index].input = copy.node[index].input.map {
        $0.hasSuffix(":0") ? String($0.dropLast(2)) : $0
      }
      for (key, value) in copy.node[index].attr {
        var reader = AttrReader()
        if let (read, isExact) = try? reader.value(value, path: ""), isExact,
          let again = try? AttrWriter.message(read)
        {
          copy.node[index].attr[key] = again
        }
      }
    }
    return copy
  }
  switch document {
  case .graph(let message): return .graph(graph(message))
  case .metaGraph(var message):
    message.graphDef = graph(message.graphDef)
    return .metaGraph(message)
  case .savedModel: return document
  }
}

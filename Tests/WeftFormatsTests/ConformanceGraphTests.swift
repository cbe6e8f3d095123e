// Every graph of the conformance kit: loaded, written in each form, nothing lost.

import Foundation
import Testing
import WeftGraph
import WeftTensors

@testable import WeftFormats

@Suite struct ConformanceGraphTests {
  /// JSON, binary, text and JSON again, from one graph to the next.
  private func roundTrip(_ bytes: [UInt8], _ name: String) throws {
    let graph = try GraphFile.decode(bytes, registry: noOps)
    let json = try GraphFile.encode(graph.snapshot, as: .json)
    var current = json
    for encoding in [GraphEncoding.binary, .text, .json] {
      let next = try GraphFile.decode(current, registry: noOps)
      current = try GraphFile.encode(next.snapshot, as: encoding)
    }
    #expect(current == json, "\(name)")
    let original = try GraphDocument.decode(bytes)
    let written = try GraphWriter.document(of: graph.snapshot)
    // A GraphDef without versions is given one.
    if case .graph(let message) = original, !message.hasVersions { return }
    #expect(try normalizedBytes(written) == normalizedBytes(original), "\(name)")
  }

  @Test func models() throws {
    guard let folder = sharedFolder("conformance/models") else { return }
    for name in try FileManager.default.contentsOfDirectory(atPath: folder.path).sorted() {
      let path = folder.appendingPathComponent(name + "/graph.json").path
      try roundTrip(try WholeFile.read(path), name)
    }
  }

  @Test func opCases() throws {
    guard let folder = sharedFolder("conformance/ops") else { return }
    var count = 0
    for name in try FileManager.default.contentsOfDirectory(atPath: folder.path).sorted() {
      let bytes = try WholeFile.read(folder.appendingPathComponent(name).path)
      for line in bytes.split(separator: 0x0A) {
        let text = Array(line)
        let items = JSONText.items(of: 0..<text.count, in: text)
        var members: [String: Range<Int>] = [:]
        for index in stride(from: 0, to: items.count - 1, by: 2) {
          members[JSONText.string(text[items[index]])] = items[index + 1]
        }
        // Cases whose file is the mistake must fail to load, the others only to run.
        let id = JSONText.string(text[try #require(members["id"])])
        let tags = String(decoding: text[members["tags"] ?? 0..<0], as: UTF8.self)
        let graph: [UInt8]
        if let inner = members["graph_text"] {
          graph = Array(JSONText.string(text[inner]).utf8)
        } else {
          graph = Array(text[try #require(members["graph"])])
        }
        if tags.contains("\"error\"") {
          if let loaded = try? GraphFile.decode(graph, registry: noOps) {
            _ = try GraphFile.encode(loaded.snapshot, as: .json)
          }
        } else {
          try roundTrip(graph, id)
          count += 1
        }
      }
    }
    #expect(count > 1000)
  }
}

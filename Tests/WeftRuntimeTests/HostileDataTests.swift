// The hostile graphs of Tests/Data/hostile.jsonl: each gives a typed error that says what and where.

import Foundation
import Testing
import WeftCompiler
import WeftFormats
import WeftGraph
import WeftOps
import WeftRuntime
import WeftTensors

/// One line of the data: a graph, what is run of it, and the error that must come of it.
struct HostileCase: Decodable, Sendable, CustomTestStringConvertible {
  struct Feed: Decodable, Sendable {
    var dtype: String
    var shape: [Int]
    var values: [Int64]

    func tensor() throws -> Tensor {
      switch dtype {
      case "float32": try Tensor(values.map { Float($0) }, shape: shape)
      case "int32": try Tensor(values.map { Int32(truncatingIfNeeded: $0) }, shape: shape)
      case "int64": try Tensor(values, shape: shape)
      default: throw WeftError(.unimplemented, "the data has no feeds of type \(dtype)")
      }
    }
  }

  struct Step: Decodable, Sendable {
    var feeds: [String: Feed]?
    var fetches: [String]?
    var targets: [String]?
  }

  var name: String
  var `class`: String
  /// The graph as text, as bytes, or how to make it.
  var graph_text: String?
  var graph_base64: String?
  var graph_generator: String?
  /// Without any, loading must fail.
  var steps: [Step]?
  /// The session's memory limit.
  var memory: Int?
  /// The session's limit on iterations of loops.
  var iterations: Int?
  var code: String
  var contains: [String]

  var testDescription: String { "\(`class`): \(name)" }

  func bytes() throws -> [UInt8] {
    if let graph_text { return Array(graph_text.utf8) }
    if let graph_base64 { return Array(try #require(Data(base64Encoded: graph_base64))) }
    return try #require(graph_generator.flatMap { HostileGraphs.make($0) })
  }

  /// Loads the graph and runs the steps.
  func perform() throws {
    var options = SessionOptions()
    if let memory { options.compile.memoryLimit = memory }
    if let iterations { options.compile.iterationLimit = iterations }
    let session = Session(
      try GraphFile.decode(try bytes(), registry: .standard), options: options)
    for step in steps ?? [] {
      let fetches = try (step.fetches ?? []).map { try session.graph.edge($0) }
      let targets = try (step.targets ?? []).map { try #require(session.graph.nodeID($0)) }
      let feeds = try (step.feeds ?? [:]).sorted { $0.key < $1.key }.map {
        (try session.graph.edge($0.key), try $0.value.tensor())
      }
      try session.run(fetches, feeds: feeds, targets: targets)
    }
  }

  static func load() throws -> [HostileCase] {
    let file = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
      .deletingLastPathComponent().appendingPathComponent("Data/hostile.jsonl")
    return try Data(contentsOf: file).split(separator: 0x0A).map {
      try JSONDecoder().decode(HostileCase.self, from: $0)
    }
  }
}

/// Graphs too large to be written down.
enum HostileGraphs {
  static let levels = 1_000_000

  static func make(_ generator: String) -> [UInt8]? {
    switch generator {
    case "nested_brackets":
      return Array("{\"node\":".utf8) + Array(repeating: UInt8(ascii: "["), count: levels)
    case "nested_functions":
      return nested(
        #"{"node":[{"name":"a","op":"NoOp","attr":{"f":"#, #"{"func":{"attr":{"f":"#, "{}", "}}}",
        "}}]}")
    case "nested_text":
      return nested(
        #"node { name: "a" op: "NoOp" attr { key: "f" value { "#,
        #"func { attr { key: "f" value { "#, "", "} } } ", "} } }")
    case "nested_binary": return nestedBinary()
    default: return nil
    }
  }

  private static func nested(
    _ start: String, _ open: String, _ middle: String, _ close: String, _ end: String
  ) -> [UInt8] {
    var bytes = Array(start.utf8)
    for _ in 0..<(levels / 3) { bytes += open.utf8 }
    bytes += middle.utf8
    for _ in 0..<(levels / 3) { bytes += close.utf8 }
    return bytes + end.utf8
  }

  // A node whose attr is a function whose attr is a function ..., written from its end.
  private static func nestedBinary() -> [UInt8] {
    var reversed: [UInt8] = []
    func put(_ bytes: [UInt8]) { reversed += bytes.reversed() }
    // All that is there so far becomes the content of a field.
    func wrap(_ tag: UInt8) {
      var length = reversed.count
      var head = [tag]
      while length >= 0x80 {
        head.append(UInt8(length & 0x7F) | 0x80)
        length >>= 7
      }
      put(head + [UInt8(length)])
    }
    let key: [UInt8] = [0x0A, 1, UInt8(ascii: "f")]
    wrap(0x12)
    put(key)
    for _ in 0..<(levels / 3) {
      for tag: UInt8 in [0x12, 0x52, 0x12] { wrap(tag) }
      put(key)
    }
    wrap(0x2A)
    put([0x12, 4] + Array("NoOp".utf8))
    put([0x0A, 1, UInt8(ascii: "a")])
    wrap(0x0A)
    return reversed.reversed()
  }
}

@Suite(.serialized) struct HostileDataTests {
  static let cases = (try? HostileCase.load()) ?? []

  @Test func theDataIsThere() throws {
    let all = try HostileCase.load()
    #expect(all.count >= 60)
    #expect(Set(all.map(\.name)).count == all.count)
    for (name, members) in Dictionary(grouping: all, by: \.class) {
      #expect(members.count >= 2, "\(name)")
    }
  }

  @Test(.timeLimit(.minutes(1)), arguments: cases) func givesItsError(_ hostile: HostileCase) throws
  {
    do {
      try hostile.perform()
      Issue.record("nothing was thrown")
    } catch let error as WeftError {
      #expect(error.code.rawValue == hostile.code, "\(error)")
      let text = error.description
      for word in hostile.contains { #expect(text.contains(word), "\(text)") }
    }
  }
}

// Every builder's graph runs in TensorFlow to the same numbers, as Tests/Data/tensorflow_rows.jsonl
// has them.
//
// To record anew: WEFT_EXPORT_ROWS=FOLDER swift test ... --filter ReferenceTests, then
// Tests/Tools/tensorflow_rows.py FOLDER/rows.jsonl Tests/Data/tensorflow_rows.jsonl.

import Foundation
import TestSupport
import Testing
import WeftGraph
import WeftOps
import WeftRuntime
import WeftTensors

@Suite struct ReferenceTests {
  static let records: [String: ReferenceRecord] = {
    let folder = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
      .deletingLastPathComponent()
    let path = folder.appendingPathComponent("Data/tensorflow_rows.jsonl").path
    do { return try ReferenceRecord.read(path) } catch {
      Issue.record(error)
      return [:]
    }
  }()

  @Test(arguments: gradientRows)
  func gradientsAreTensorFlows(_ row: GradientRow) throws {
    for shapes in row.shapes { try check(row.referenceCase(shapes), row.reference) }
  }

  @Test(arguments: referenceRows)
  func resultsAreTensorFlows(_ row: ReferenceRow) throws {
    try check(row.referenceCase(), row.tolerance)
  }

  private func check(_ own: ReferenceCase, _ tolerance: Double) throws {
    let again = "record again: see the head of ReferenceTests.swift"
    let record = try #require(Self.records[own.name], "'\(own.name)' has no record; \(again)")
    let hash = try own.hash()
    #expect(record.hash == hash, "the graph of '\(own.name)' has changed; \(again)")
    #expect(
      record.refused == nil || refusedByTensorFlow[own.name] != nil,
      "TensorFlow refused '\(own.name)': \(record.refused ?? "")")
    let results = try own.run()
    try #require(results.count == record.results.count)
    for (index, (result, their)) in zip(results, record.results).enumerated() {
      guard let their else { continue }
      let found = try difference(result, their)
      #expect(
        found <= tolerance,
        """
        '\(own.name)', result \(index) (\(own.fetches[index].name)): \(found); \(result.type) \
        against \(their.dtype) \(their.shape)
        """)
    }
  }

  @Test func everyRecordHasACase() throws {
    let names = try allCases().map(\.name)
    #expect(Set(names).count == names.count)
    #expect(Set(Self.records.keys).subtracting(names) == [])
  }

  @Test func everyOpRunsInTensorFlow() throws {
    var covered = Set(unreferenced.keys)
    for own in try allCases() { covered.formUnion(own.graph.nodes.map(\.op)) }
    let missing = OpRegistry.standard.all.filter { op in
      if case .refused = op.lowering { return false }
      return !covered.contains(op.name)
    }.map(\.name)
    #expect(missing.isEmpty, "no case with \(missing.joined(separator: ", "))")
  }

  private func allCases() throws -> [ReferenceCase] {
    try gradientRows.flatMap { row in
      try row.shapes.map { try row.referenceCase($0) }
    } + referenceRows.map { try $0.referenceCase() }
  }

  @Test func exportsWhenAsked() throws {
    guard let folder = ProcessInfo.processInfo.environment["WEFT_EXPORT_ROWS"] else { return }
    var text = Data()
    for own in try allCases() {
      text += try own.exported()
      text.append(0x0A)
    }
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    try text.write(to: URL(fileURLWithPath: folder).appendingPathComponent("rows.jsonl"))
  }
}

extension GradientRow {
  /// Values, gradients and, where there are any, second gradients of the row at one point.
  func referenceCase(_ shapes: [[Int]]) throws -> ReferenceCase {
    var random = TestRandom(UInt64(shapes.count + 11))
    let point = try shapes.map { try randomTensor($0, in: domain, &random) }
    let graph = Graph()
    let probe = try GradientProbe(graph, shapes: shapes, inputs)
    var fetches = try build(graph, probe.inputs)
    var ys = fetches.filter { $0.dtype == .float64 }
    for _ in 0..<order {
      // Of other sizes than the values', what the results have in a run.
      let sizes = try probe.run(
        Session(graph, options: SessionOptions(threads: 1)), ys, at: point
      ).map(\.shape)
      let weights = try sizes.map {
        try graph.constant(try randomTensor($0, in: 0.5...1.5, &random))
      }
      ys = try gradients(of: ys, withRespectTo: probe.inputs, gradYs: weights).compactMap {
        try $0.map { try dense($0) }
      }
      fetches += ys
      if ys.isEmpty { break }
    }
    return ReferenceCase(
      "\(name) \(shapes)", graph, feeds: zip(probe.placeholders, point).map { ($0, $1) },
      steps: probe.initializers, fetches: fetches)
  }
}

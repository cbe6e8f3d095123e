// A graph with feeds and results, written for another program to run, and its record read back.

public import Foundation
internal import WeftFormats
public import WeftGraph
internal import WeftOps
internal import WeftRuntime
public import WeftTensors

/// One run of one graph that TensorFlow repeats.
public struct ReferenceCase {
  /// What it is called in exports and records.
  public let name: String
  /// The graph.
  public let graph: Graph
  /// Values of placeholders, given in every run.
  public let feeds: [(key: Output, value: Tensor)]
  /// Operations that run one after the other before anything is fetched.
  public let steps: [Node]
  /// What is fetched.
  public let fetches: [Output]

  /// A case.
  public init(
    _ name: String, _ graph: Graph, feeds: [(key: Output, value: Tensor)], steps: [Node] = [],
    fetches: [Output]
  ) {
    self.name = name
    self.graph = graph
    self.feeds = feeds
    self.steps = steps
    self.fetches = fetches
  }

  /// Weft's results.
  public func run() throws -> [Tensor] {
    let session = Session(graph, options: SessionOptions(threads: 1))
    let values = Dictionary(uniqueKeysWithValues: feeds.map { ($0.key, $0.value) })
    for step in steps { try session.run([], feeds: values, targets: [step]) }
    return try session.run(fetches, feeds: values)
  }

  private func document() throws -> [UInt8] { try GraphFile.encode(graph.snapshot, as: .json) }

  /// A number that changes with the graph, the feeds or what is run.
  public func hash() throws -> String {
    // FNV-1a: only accidents are to be seen.
    var hash: UInt64 = 0xcbf2_9ce4_8422_2325
    func add(_ bytes: some Sequence<UInt8>) {
      for byte in bytes { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01b3 }
    }
    add(try document())
    for (key, value) in feeds {
      add(key.name.utf8)
      add("\(value.shape)".utf8)
      add(value.bytes)
    }
    for step in steps { add(step.name.utf8) }
    for fetch in fetches { add(fetch.name.utf8) }
    let digits = String(hash, radix: 16)
    return String(repeating: "0", count: 16 - digits.count) + digits
  }

  /// The case as a line of JSON: graph, feeds and Weft's results.
  public func exported() throws -> Data {
    let line = Exported(
      name: name, hash: try hash(), graph: String(decoding: try document(), as: UTF8.self),
      feeds: feeds.map { Fed(name: $0.key.name, value: StoredTensor($0.value)) },
      steps: steps.map(\.name), fetches: fetches.map(\.name),
      results: try run().map { StoredTensor($0) })
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    return try encoder.encode(line)
  }

  private struct Fed: Encodable {
    var name: String
    var value: StoredTensor
  }

  private struct Exported: Encodable {
    var name: String
    var hash: String
    var graph: String
    var feeds: [Fed]
    var steps: [String]
    var fetches: [String]
    var results: [StoredTensor]
  }
}

/// A tensor in JSON: its elements as they lie in memory, in base64.
public struct StoredTensor: Codable, Sendable {
  /// The element type's name.
  public var dtype: String
  /// The shape.
  public var shape: [Int]
  /// The bytes in base64.
  public var data: String

  /// `tensor`, to be written.
  public init(_ tensor: Tensor) {
    dtype = tensor.dtype.name
    shape = tensor.shape
    data = Data(tensor.bytes).base64EncodedString()
  }

  /// The elements' bytes.
  public var bytes: [UInt8] { Array(Data(base64Encoded: data) ?? Data()) }

  /// The tensor, of the element type `dtype`.
  public func tensor(_ dtype: DType) throws -> Tensor {
    let bytes = self.bytes
    guard bytes.count == shape.reduce(dtype.byteSize, *) else {
      throw WeftError(.invalidArgument, "the record holds \(bytes.count) bytes for \(shape)")
    }
    return try Tensor(dtype: dtype, shape: shape) { $0.copyBytes(from: bytes) }
  }
}

/// What TensorFlow made of one case.
public struct ReferenceRecord: Decodable, Sendable {
  /// The case's name.
  public var name: String
  /// `ReferenceCase.hash` of what it ran.
  public var hash: String
  /// One for each fetch; nil where it refused.
  public var results: [StoredTensor?]
  /// Its first error.
  public var refused: String?

  /// Records by name, from a file of JSON lines.
  public static func read(_ path: String) throws -> [String: ReferenceRecord] {
    let bytes = try WholeFile.read(path)
    let decoder = JSONDecoder()
    var records: [String: ReferenceRecord] = [:]
    for line in bytes.split(separator: 0x0A) {
      let record = try decoder.decode(ReferenceRecord.self, from: Data(line))
      records[record.name] = record
    }
    return records
  }
}

/// The largest difference between two tensors of one type: of floating-point ones relative to the
/// largest finite element of `theirs`, else 0 or infinity.
public func difference(_ own: Tensor, _ theirs: StoredTensor) throws -> Double {
  guard own.dtype.name == theirs.dtype, own.shape == theirs.shape else { return .infinity }
  let other = try theirs.tensor(own.dtype)
  guard own.dtype.isFloating, let a = own.doubles, let b = other.doubles else {
    return own.isIdentical(to: other) ? 0 : .infinity
  }
  // Of the whole tensor: an element that is the rest of a sum has no precision of its own, and
  // where all are zero the rest of such sums counts as zero.
  let scale = b.reduce(1e-6) { $1.isFinite ? max($0, abs($1)) : $0 }
  var worst = 0.0
  for (x, y) in zip(a, b) where !(x == y || x.isNaN && y.isNaN) {
    let difference = abs(x - y) / scale
    worst = max(worst, difference.isNaN ? .infinity : difference)
  }
  return worst
}

// What the report's two programs recorded, from ../shared/references.

import OrderedCollections
import WeftFormats
import WeftTensors

#if canImport(FoundationEssentials)
  import FoundationEssentials
#else
  import Foundation
#endif

/// One recorded program: arrays, texts and batches.
struct ReferenceData {
  enum Kind: String {
    case tensorflow, pytorch
  }

  /// One batch as the program fed it.
  struct Batch {
    var width: Int
    var rows: [[Int32]]
    var targets: [[Int32]]

    /// Padded to `width` columns: tokens, targets and lengths.
    func tensors(width: Int) throws -> (tokens: Tensor, targets: Tensor, lengths: Tensor) {
      func padded(_ rows: [[Int32]]) throws -> Tensor {
        try Tensor(
          rows.flatMap { $0 + [Int32](repeating: 0, count: width - $0.count) },
          shape: [rows.count, width])
      }
      return (
        try padded(rows), try padded(targets), try Tensor(rows.map { Int32($0.count) })
      )
    }
  }

  let kind: Kind
  let arrays: [String: Tensor]
  let names: [String]
  let vocabularySize: Int
  let batches: [Batch]

  private struct Texts: Decodable {
    var words: [String]
    var examples: [[Int32]]
    var order: [Int]?
  }

  /// The recording, or nil with a message where ../shared is absent.
  static func load(_ kind: Kind, file: String = #filePath) throws -> ReferenceData? {
    let root = file.split(separator: "/", omittingEmptySubsequences: false).dropLast(4)
    let base = root.joined(separator: "/") + "/shared/references/report-\(kind.rawValue)"
    guard FileManager.default.fileExists(atPath: base + ".npz") else {
      print("skipped: \(base).npz is absent")
      return nil
    }
    return try ReferenceData(kind, base: base)
  }

  private init(_ kind: Kind, base: String) throws {
    self.kind = kind
    let archive = try NumPyFile.readArchive(base + ".npz")
    arrays = Dictionary(uniqueKeysWithValues: archive.map { ($0.key, $0.value) })
    names = archive.keys.filter { $0.hasPrefix("initial/") }.map { String($0.dropFirst(8)) }
    let bytes = try WholeFile.read(base + ".json")
    let texts = try JSONDecoder().decode(Texts.self, from: Data(bytes))
    let size = 100
    switch kind {
    case .tensorflow:
      vocabularySize = texts.words.count
      let order = texts.order ?? []
      batches = (0..<20).map { step in
        let rows = (0..<size).map { texts.examples[order[(step * size + $0) % order.count]] }
        return Batch(
          width: (rows.map(\.count).max() ?? 1) - 1, rows: rows.map { Array($0.dropLast()) },
          targets: rows.map { Array($0.dropFirst()) })
      }
    case .pytorch:
      vocabularySize = texts.words.count + 1
      let whole = texts.examples.count / size
      batches = (0..<20).map { step in
        let rows = Array(texts.examples[(step % whole) * size..<(step % whole + 1) * size])
        return Batch(
          width: rows.map(\.count).max() ?? 1, rows: rows,
          targets: rows.map { Array($0.dropFirst() + $0.suffix(1)) })
      }
    }
  }

  /// A recorded array as doubles.
  func doubles(_ key: String) -> [Double] { arrays[key]?.doubles ?? [] }
}

/// `|a - b| / |b|` over all elements; the plain norm of a where b is zero.
func relativeError(_ a: [Double], _ b: [Double]) -> Double {
  guard a.count == b.count else { return .infinity }
  var difference = 0.0
  var size = 0.0
  for (x, y) in zip(a, b) {
    difference += (x - y) * (x - y)
    size += y * y
  }
  return size == 0 ? difference.squareRoot() : (difference / size).squareRoot()
}

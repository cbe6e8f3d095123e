// Checkpoints that TensorFlow 2.21 wrote, and tables made here to be wrong.

import Foundation
import SwiftProtobuf

@testable import WeftFormats

/// An index and its one data file.
struct CheckpointFixture {
  var index: [UInt8]
  var data: [UInt8]

  init(index: String, data: String) {
    self.index = Self.bytes(index)
    self.data = Self.bytes(data)
  }

  private static func bytes(_ text: String) -> [UInt8] {
    Array(Data(base64Encoded: text, options: .ignoreUnknownCharacters) ?? Data())
  }

  /// Writes both files and gives the prefix.
  func write(to folder: String, _ name: String = "model") throws -> String {
    try WholeFile.write(index, to: "\(folder)/\(name).index")
    try WholeFile.write(data, to: "\(folder)/\(name).data-00000-of-00001")
    return "\(folder)/\(name)"
  }

  /// Reads both from files.
  func read() throws -> TensorBundle {
    var bundle: TensorBundle?
    try withScratchFolder { bundle = try TensorBundle(reading: try write(to: $0)) }
    guard let bundle else { throw FormatError(.unreadable, "not read") }
    return bundle
  }

  /// `SaveV2` of a tensor of each type, and of one in three slices.
  static let types = CheckpointFixture(
    index: typesIndex, data: typesData)
  /// `tf.train.Checkpoint.write` of three variables, two of which have the same name.
  static let objects = CheckpointFixture(index: objectsIndex, data: objectsData)
  /// The same with an index whose blocks are compressed, which TensorFlow reads too.
  static let compressed = CheckpointFixture(index: compressedIndex, data: objectsData)
}

/// Tables and indexes with valid checksums and any content.
enum TableMaker {
  static func varint(_ number: UInt64) -> [UInt8] {
    var rest = number
    var out: [UInt8] = []
    while rest > 0x7F {
      out.append(UInt8(rest & 0x7F) | 0x80)
      rest >>= 7
    }
    return out + [UInt8(rest)]
  }

  /// Entries as they are given: how much of the key before is shared, the rest, the value.
  static func block(_ entries: [(shared: UInt64, rest: [UInt8], value: [UInt8])]) -> [UInt8] {
    var out: [UInt8] = []
    for (shared, rest, value) in entries {
      out += varint(shared) + varint(UInt64(rest.count)) + varint(UInt64(value.count))
      out += rest + value
    }
    return out + [0, 0, 0, 0, 1, 0, 0, 0]
  }

  private static func append(
    _ content: [UInt8], to table: inout [UInt8], type: UInt8 = 0
  ) -> [UInt8] {
    let handle = varint(UInt64(table.count)) + varint(UInt64(content.count))
    table += content + [type]
    table.append(number: UInt64(CRC32C.masked(CRC32C.checksum(content + [type]))), 4)
    return handle
  }

  /// A table of given blocks; `handles` may point elsewhere than to them.
  static func table(
    _ blocks: [[UInt8]], type: UInt8 = 0, handles: ([[UInt8]]) -> [[UInt8]] = { $0 }
  ) -> [UInt8] {
    var out: [UInt8] = []
    let places = handles(blocks.map { append($0, to: &out, type: type) })
    let meta = append(block([]), to: &out)
    let index = append(
      block(places.enumerated().map { (0, [UInt8(truncatingIfNeeded: $0)], $1) }), to: &out)
    let footer = meta + index
    out += footer + [UInt8](repeating: 0, count: 40 - footer.count)
    out.append(number: SortedTable.magic, 8)
    return out
  }

  /// An index of these entries, whose keys must rise.
  static func index(
    _ entries: [([UInt8], TFBundleEntryProto)], header: TFBundleHeaderProto? = nil
  ) throws -> [UInt8] {
    let header = header ?? TFBundleHeaderProto.with { $0.numShards = 1 }
    var rows: [(shared: UInt64, rest: [UInt8], value: [UInt8])] = [
      (0, [], try header.serializedBytes())
    ]
    for (key, entry) in entries { rows.append((0, key, try entry.serializedBytes())) }
    return table([block(rows)])
  }

  /// The entry of a float32 tensor.
  static func entry(
    _ shape: [Int64], offset: Int64 = 0, size: Int64? = nil,
    _ change: (inout TFBundleEntryProto) -> Void = { _ in }
  ) -> TFBundleEntryProto {
    TFBundleEntryProto.with { entry in
      entry.dtype = .dtFloat
      entry.shape.dim = shape.map { size in TFTensorShapeProto.Dim.with { $0.size = size } }
      entry.offset = offset
      entry.size = size ?? shape.reduce(4) { $0 &* $1 }
      change(&entry)
    }
  }
}

private let typesIndex = """
  AAAGCAEaAggBAA0WAHBhcnQAAQECgIKAgwgBEggSAggCEgIIAyC5AigYNfFeQ1ELAhaDgQgBEggSAggCEgIIASDRAigI
  NYoJnCUJBBaCgYB/CAESCBICCAESAggEINkCKBA1kklWhgAIEWJmbG9hdDE2CA4SBBICCAIgJCgENeXhm9gBAxFvb2wI
  ChIEEgIIAyBHKAM1dVmRBgAKEWNvbXBsZXgxMjgIEhIEEgIIASBSKBA1GT3b4AcCETY0CAgSBBICCAEgSigINVk85TUA
  Bg1kb3VibGUIAhIAIBgoCDWIbS2pAAURZW1wdHkIARIGEgASAggEIGI12OqCogAFE2Zsb2F0CAESCBICCAISAggDKBg1
  nWUDPwAEEWhhbGYIExIEEgIIAiAgKAQ13mMIhQAFEWludDE2CAUSBBICCAEgKigCNbCixLgDAhEzMggDEgQSAggBICwo
  BDVbIq0uAwIRNjQICRIEEgIIASAwKAg1PxJjgAMBETgIBhIEEgIIAiAoKAI1SlLQ6QAELHBhcnQIARIIEgIIAxICCAQ6
  CAoCEAIKAhADOgoKAhACCgQIAxABOggKBAgCEAEKAAAHFnN0cmluZ3MIBxIIEgIIAhICCAIgYijXATX6yma1AAYRdWlu
  dDE2CBESBBICCAEgOSgCNTfdcEgEAhEzMggWEgQSAggBIDsoBDWD2ZxQBAIRNjQIFxIEEgIIASA/KAg1lQhntgQBETgI
  BBIEEgIIASA4KAE1KiE3/QAAAACKAQAAAgAAAAAzCT/JAAAAAAEAAAAAwPKhsAABA3YAxAQAAAAAAQAAAAC1QoyPyQQI
  1gQPAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAFf7gIskdUfb
  """

private let typesData = """
  AACAPwAAAEAAAEBAAACAQAAAoEAAANDAmpmZmZmZuT8APADAgD8gwP8C1P5wEQEAAAAAAAD////IYOoAKGvuAAAAAAAA
  AIABAAEAAIA/AAAAQAAAAAAAAAhAAAAAAAAAEMAAA8gBA8wqoQ7mmKVhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFh
  YWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFh
  YWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFh
  YWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWVuZAAAAAAAAIA/AAAAQAAAgEAAAKBAAADAQAAAQEAAAOBA
  AAAAQQAAEEEAACBBAAAwQQ==
  """

private let objectsIndex = """
  AAAGCAEaAggBABwOX0NIRUNLUE9JTlRBQkxFX09CSkVDVF9HUkFQSAgHEgAgECiKAjUMoNGWACMNbS90d2luLzAvLkFU
  VFJJQlVURVMvVkFSSUFCTEVfVkFMVUUIARIAIAgoBDXv1oLDBxwNMS8uQVRUUklCVVRFUy9WQVJJQUJMRV9WQUxVRQgB
  EgAgDCgENZfQiPsCHBN3Ly5BVFRSSUJVVEVTL1ZBUklBQkxFX1ZBTFVFCAESCBICCAESAggCKAg1WTzlNQAAAAABAAAA
  AL77gx8AAAAAAQAAAADA8qGwAAEDbgDPAQAAAAABAAAAANaSCFnUAQjhAQ8AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA
  AAAAAAAAAAAAV/uAiyR1R9s=
  """

private let objectsData = """
  AACAPwAAAEAAAEBAAACAQIQC4RYYcwoLCgUIARIBbSoCCAEKFQoFCAISAXcKCAgDEgR0d2luKgIIAQpEEj4KDlZBUklB
  QkxFX1ZBTFVFEgxkZW5zZS9rZXJuZWwaHm0vdy8uQVRUUklCVVRFUy9WQVJJQUJMRV9WQUxVRSoCCAEKEgoFCAQSATAK
  BQgFEgExKgIIAQpBEjsKDlZBUklBQkxFX1ZBTFVFEgRzYW1lGiNtL3R3aW4vMC8uQVRUUklCVVRFUy9WQVJJQUJMRV9W
  QUxVRSoCCAEKQRI7Cg5WQVJJQUJMRV9WQUxVRRIEc2FtZRojbS90d2luLzEvLkFUVFJJQlVURVMvVkFSSUFCTEVfVkFM
  VUUqAggB
  """

private let compressedIndex = """
  zwHwUQAABggBGgIIAQAcDl9DSEVDS1BPSU5UQUJMRV9PQkpFQ1RfR1JBUEgIBxIAIBAoigI1DKDRlgAjDW0vdHdpbi8w
  Ly5BVFRSSUJVVEVTL1ZBUkkTOwAAAFRWQUxVRQgBEgAgCCgENe/WgsMHHA0xfiwALAwoBDWX0Ij7AhwTd3YsAFwIEgII
  ARICCAIoCDVZPOU1AAAAAAEAAAABWmlsfAgcAAAAAAEAAAABBjSfkA8oAAEDbgCeAQAAAAAOBQABU7bNaKMBCrIBEAAA
  AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAABX+4CLJHVH2w==
  """

// What V2 checkpoints are made of: checksums, compression, tables, the keys of slices.

import SwiftProtobuf
import Testing
import WeftTensors

@testable import WeftFormats

@Suite struct SortedTableTests {
  @Test func checksums() {
    // The vectors of RFC 3720, B.4.
    #expect(CRC32C.checksum([UInt8](repeating: 0, count: 32)) == 0x8A91_36AA)
    #expect(CRC32C.checksum([UInt8](repeating: 0xFF, count: 32)) == 0x62A8_AB43)
    #expect(CRC32C.checksum(Array(0..<32) as [UInt8]) == 0x46DD_794E)
    #expect(CRC32C.checksum((Array(0..<32) as [UInt8]).reversed()) == 0x113F_DB5C)
    #expect(CRC32C.checksum("123456789".utf8) == 0xE306_9283)
    #expect(CRC32C.checksum([] as [UInt8]) == 0)
    #expect(CRC32C.masked(0) == 0xA282_EAD8)
    let bytes = (0..<1000).map { UInt8(truncatingIfNeeded: $0 * $0 >> 3) }
    for cut in [0, 1, 7, 8, 9, 500, 999, 1000] {
      let head = CRC32C.checksum(bytes[..<cut])
      #expect(CRC32C.checksum(bytes[cut...], after: head) == CRC32C.checksum(bytes))
    }
  }

  @Test func compression() throws {
    func text(_ packed: [UInt8]) throws -> String {
      String(decoding: try Snappy.decompressed(packed[...]), as: UTF8.self)
    }
    let abc = Array("abc".utf8)
    #expect(try text([0]) == "")
    #expect(try text([3, 2 << 2] + abc) == "abc")
    // Copies of all three kinds; the first reaches into what it writes.
    #expect(try text([10, 2 << 2] + abc + [1 | 3 << 2, 3]) == "abcabcabca")
    #expect(try text([5, 2 << 2] + abc + [2 | 1 << 2, 2, 0]) == "abcbc")
    #expect(try text([4, 2 << 2] + abc + [3 | 0 << 2, 1, 0, 0, 0]) == "abcc")
    for size in [60, 61, 256, 257, 70000] {
      let run = [UInt8](repeating: 0x61, count: size)
      var tag: [UInt8] = [UInt8(min(size - 1, 59) << 2)]
      if size > 60 {
        let width = size <= 256 ? 1 : size <= 65536 ? 2 : 3
        tag = [UInt8(59 + width) << 2]
        tag.append(number: UInt64(size - 1), width)
      }
      let packed = TableMaker.varint(UInt64(size)) + tag + run
      #expect(try Snappy.decompressed(packed[...]) == run)
    }
  }

  @Test func brokenCompression() {
    let abc = Array("abc".utf8)
    let broken: [[UInt8]] = [
      [], [0x80], [1], [2, 2 << 2] + abc, [4, 2 << 2] + abc, [3, 3 << 2] + abc,
      // Copies from before the start, of nothing, and beyond the end.
      [8, 2 << 2] + abc + [1, 4], [8, 2 << 2] + abc + [1, 0], [4, 2 << 2] + abc + [1, 3],
      [8, 2 << 2] + abc + [1], [8, 2 << 2] + abc + [2, 1], [8, 2 << 2] + abc + [3, 1, 0, 0],
      // Sizes that would need gigabytes.
      [0xFF, 0xFF, 0xFF, 0xFF, 0x0F, 0], TableMaker.varint(.max) + [0],
      [3, 63 << 2, 0xFF, 0xFF, 0xFF, 0xFF] + abc, [3, 62 << 2],
    ]
    for packed in broken {
      #expect(throws: FormatError.self, "\(packed)") { try Snappy.decompressed(packed[...]) }
    }
  }

  /// The first extent of keys that TensorFlow wrote: the start is the number, the length one.
  @Test(
    arguments: [
      (0, "80"), (1, "81"), (63, "bf"), (64, "c040"), (8191, "dfff"), (8192, "e02000"),
      (1_048_575, "efffff"), (1_048_576, "f0100000"), (134_217_727, "f7ffffff"),
      (134_217_728, "f808000000"), (1 << 34, "fc0400000000"), (1 << 41, "fe020000000000"),
      (1 << 48, "ff01000000000000"), (1 << 55, "ff8080000000000000"),
      (1 << 62, "ffc04000000000000000"), (-1, "7f"), (-64, "40"), (-65, "3fbf"),
    ] as [(Int64, String)])
  func orderedNumbers(_ number: Int64, _ wanted: String) {
    var key: [UInt8] = []
    BundleSlice.append(number, to: &key)
    #expect(key.map { String($0 >> 4, radix: 16) + String($0 & 15, radix: 16) }.joined() == wanted)
  }

  @Test func tables() throws {
    let one = TableMaker.block([(0, [], [1]), (0, Array("ab".utf8), [2]), (1, [0x63], [])])
    let two = TableMaker.block([(0, Array("b".utf8), [3])])
    let table = try SortedTable(TableMaker.table([one, [0, 0, 0, 0], two]))
    #expect(table.entries.map(\.key) == [[], [0x61, 0x62], [0x61, 0x63], [0x62]])
    #expect(table.value([0x61, 0x63]) == [])
    #expect(table.value([0x62]) == [3])
    #expect(table.value([0x61]) == nil)
    #expect(table.value([0x63]) == nil)
    let compressed = TableMaker.table([[5, 3 << 2, 0, 0, 0, 0, 0 << 2, 0]], type: 1)
    #expect(weftError { _ = try SortedTable(compressed) }?.code == .dataLoss)
    let other = TableMaker.table([one], type: 4)
    #expect(weftError { _ = try SortedTable(other) }?.code == .unimplemented)
  }

  @Test func brokenTables() {
    let good = TableMaker.block([(0, [1], []), (0, [2], [])])
    let size = UInt64(good.count)
    let blocks: [(String, [UInt8])] = [
      ("none", []), ("short", [0, 0, 0]), ("restarts", [2, 0, 0, 0, 3, 0, 0, 0]),
      ("many restarts", [0xFF, 0xFF, 0xFF, 0xFF]), ("shared", TableMaker.block([(1, [], [])])),
      ("shared far", TableMaker.block([(.max, [], [])])),
      ("order", TableMaker.block([(0, [2], []), (0, [1], [])])),
      ("twice", TableMaker.block([(0, [2], []), (1, [], [])])),
      ("key", [0, 9, 0, 1] + [0, 0, 0, 0, 1, 0, 0, 0]),
      ("value", [0, 1, 0xFF, 0xFF, 0x7F, 1] + [0, 0, 0, 0, 1, 0, 0, 0]),
    ]
    for (label, block) in blocks {
      #expect(throws: FormatError.self, "\(label)") { try SortedTable(TableMaker.table([block])) }
    }
    let handles: [(String, [[UInt8]])] = [
      ("outside", [TableMaker.varint(1 << 40) + TableMaker.varint(size)]),
      ("overflow", [TableMaker.varint(.max) + TableMaker.varint(.max)]),
      ("too long", [TableMaker.varint(0) + TableMaker.varint(1 << 33)]),
      ("twice", [TableMaker.varint(0) + TableMaker.varint(size)] + [[0] + TableMaker.varint(size)]),
      ("no size", [[0x80]]), ("empty", [[]]),
    ]
    for (label, places) in handles {
      #expect(throws: FormatError.self, "\(label)") {
        try SortedTable(TableMaker.table([good], handles: { _ in places }))
      }
    }
    // Each key repeats a long one, so that few bytes unfold to many.
    let long = [UInt8](repeating: 1, count: 20_000)
    let bomb = TableMaker.block(
      [(0, long, [])] + (0..<20_000).map { (20_000 + UInt64($0), [1], []) })
    #expect(weftError { _ = try SortedTable(TableMaker.table([bomb])) }?.code == .resourceExhausted)
  }
}

// TensorFlow's V2 checkpoints: what it wrote, damaged copies of it, and indexes made to be wrong.

import Foundation
import OrderedCollections
import SwiftProtobuf
import Testing
import WeftTensors

@testable import WeftFormats

@Suite struct TensorBundleTests {
  @Test func readsWhatTensorFlowWrote() throws {
    let bundle = try CheckpointFixture.types.read()
    #expect(
      Array(bundle.tensors.keys) == [
        "bfloat16", "bool", "complex128", "complex64", "double", "empty", "float", "half", "int16",
        "int32", "int64", "int8", "part", "strings", "uint16", "uint32", "uint64", "uint8",
      ])
    func expect<T: TensorElement & Equatable>(
      _ name: String, _ values: [T], _ shape: [Int]? = nil
    ) throws {
      let tensor = try #require(bundle.tensors[name])
      #expect(tensor.shape == shape ?? [values.count])
      #expect(try tensor.array(of: T.self) == values)
    }
    try expect("float", [1, 2, 3, 4, 5, -6.5] as [Float], [2, 3])
    try expect("double", [0.1] as [Double], [])
    try expect("bfloat16", [BFloat16(1), BFloat16(-2.5)])
    try expect("int8", [-1, 2] as [Int8])
    try expect("int16", [-300] as [Int16])
    try expect("int32", [70000] as [Int32])
    try expect("int64", [-1_099_511_627_776] as [Int64])
    try expect("uint8", [200] as [UInt8])
    try expect("uint16", [60000] as [UInt16])
    try expect("uint32", [4_000_000_000] as [UInt32])
    try expect("uint64", [9_223_372_036_854_775_808] as [UInt64])
    try expect("bool", [true, false, true])
    try expect("complex64", [ComplexValue<Float>(1, 2)])
    try expect("complex128", [ComplexValue<Double>(3, -4)])
    try expect("empty", [] as [Float], [0, 4])
    #expect(bundle.tensors["half"]?.dtype == .float16)
    #expect(bundle.tensors["half"]?.bytes.elementsEqual([0, 0x3C, 0, 0xC0]) == true)
    // Saved in three slices.
    try expect("part", (0..<12).map { Float($0) }, [3, 4])
    let strings = try #require(bundle.tensors["strings"])
    #expect(strings.shape == [2, 2])
    let wanted = ["", "春", String(repeating: "a", count: 200), "end"]
    #expect(strings.strings == wanted.map { Array($0.utf8) })
    #expect(bundle.omitted.isEmpty)
  }

  @Test(arguments: [CheckpointFixture.objects.index, CheckpointFixture.compressed.index])
  func namesObjectsByVariables(_ index: [UInt8]) throws {
    var fixture = CheckpointFixture.objects
    fixture.index = index
    let bundle = try fixture.read()
    // Two variables are called the same, so that the name says nothing.
    #expect(
      Array(bundle.tensors.keys) == [
        "m/twin/0/.ATTRIBUTES/VARIABLE_VALUE", "m/twin/1/.ATTRIBUTES/VARIABLE_VALUE",
        "dense/kernel",
      ])
    #expect(try bundle.tensors["dense/kernel"]?.array(of: Float.self) == [1, 2])
  }

  @Test func damagedIndex() throws {
    let whole = CheckpointFixture.types
    for length in whole.index.indices {
      #expect(throws: FormatError.self) { try BundleIndex(Array(whole.index[..<length])) }
    }
    // All but the unused part of the footer, which ends the file before the magic number.
    for at in whole.index.indices where at < whole.index.count - 48 {
      var bytes = whole.index
      bytes[at] ^= 0x10
      // The block of meta data is not read.
      guard let index = try? BundleIndex(bytes) else { continue }
      #expect(index.entries.count == (try BundleIndex(whole.index)).entries.count)
      #expect(at > 570, "byte \(at)")
    }
    for at in 1...48 {
      var bytes = whole.index
      bytes[bytes.count - at] ^= 0x81
      // An index or an error, never a trap.
      _ = try? BundleIndex(bytes)
    }
    var bytes = whole.index
    bytes[bytes.count - 1] ^= 1
    let magic = weftError { _ = try BundleIndex(bytes) }
    #expect(magic?.code == .dataLoss && magic?.category == .content)
  }

  /// Replaces a file's content without waiting for the disk.
  private func overwrite(_ path: String, _ bytes: [UInt8]) throws {
    let file = try #require(fopen(path, "wb"))
    #expect(fwrite(bytes, 1, bytes.count, file) == bytes.count)
    fclose(file)
  }

  @Test func mutatedIndexes() throws {
    // Damage that checksums do not tell: a checkpoint or an error, never a trap.
    try withScratchFolder { folder in
      let whole = CheckpointFixture.types
      let prefix = try whole.write(to: folder)
      let content = Array(whole.index[..<580])
      var state: UInt64 = 1
      func random(_ limit: Int) -> Int {
        state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
        return Int(state >> 33) % limit
      }
      var count = 0
      for _ in 0..<1000 {
        var block = content
        for _ in 0...random(3) {
          let at = random(block.count)
          switch random(4) {
          case 0: block[at] = UInt8(random(256))
          case 1: block[at] ^= 1 << UInt8(random(8))
          case 2: block.insert([0, 0x7F, 0x80, 0xFF][random(4)], at: at)
          default: block.remove(at: at)
          }
        }
        try overwrite(prefix + ".index", TableMaker.table([block]))
        do {
          _ = try TensorBundle(reading: prefix)
        } catch let error as WeftError {
          count += 1
          #expect(error.category == .content || error.category == .noInput)
        }
      }
      #expect(count > 300)
    }
  }

  @Test func damagedData() throws {
    try withScratchFolder { folder in
      let whole = CheckpointFixture.types
      let prefix = try whole.write(to: folder)
      let path = prefix + ".data-00000-of-00001"
      for at in whole.data.indices {
        var bytes = whole.data
        bytes[at] ^= 0x40
        try overwrite(path, bytes)
        let error = weftError { _ = try TensorBundle(reading: prefix) }
        #expect(error?.code == .dataLoss, "byte \(at)")
        #expect(error?.description.contains(path) == true)
        #expect(error?.message.contains("checksum") == true)
      }
      for length in 0..<whole.data.count {
        try overwrite(path, Array(whole.data[..<length]))
        let error = weftError { _ = try TensorBundle(reading: prefix) }
        #expect(error?.code == .dataLoss, "\(length) bytes")
        #expect(error?.message.contains("truncated") == true)
      }
      try FileManager.default.removeItem(atPath: path)
      let missing = weftError { _ = try TensorBundle(reading: prefix) }
      #expect(missing?.code == .notFound && missing?.category == .noInput)
      #expect(missing?.description.contains(path) == true)
    }
  }

  /// Reads an index over 1,024 bytes of data.
  private func error(
    _ entries: [(String, TFBundleEntryProto)], header: TFBundleHeaderProto? = nil
  ) throws -> WeftError? {
    var fixture = CheckpointFixture.types
    fixture.index = try TableMaker.index(entries.map { (Array($0.utf8), $1) }, header: header)
    fixture.data = [UInt8](repeating: 0, count: 1024)
    return weftError { _ = try fixture.read() }
  }

  @Test func claimsThatNoFileHolds() throws {
    typealias Make = TableMaker
    let wrong: [(String, TFBundleEntryProto)] = [
      ("outside", Make.entry([2], offset: 1020)), ("behind", Make.entry([1], offset: 1 << 40)),
      ("two gigabytes", Make.entry([1 << 29])), ("exabytes", Make.entry([1 << 59])),
      ("overflowing shape", Make.entry([1 << 40, 1 << 40], size: 4)),
      ("overflowing bytes", Make.entry([1 << 62], size: 0)),
      ("overflowing end", Make.entry([1 << 60], offset: .max)),
      ("negative offset", Make.entry([1], offset: -4)),
      ("negative size", Make.entry([1], size: -4)), ("negative dimension", Make.entry([-1])),
      ("another size", Make.entry([2], size: 4)), ("no size", Make.entry([2], size: 0)),
      ("shard", Make.entry([1]) { $0.shardID = 1 }),
      ("negative shard", Make.entry([1]) { $0.shardID = -1 }),
      ("rank", Make.entry([Int64](repeating: 1, count: 255))),
      ("unknown rank", Make.entry([]) { $0.shape.unknownRank = true }),
      ("checksum", Make.entry([1])),
      ("string", Make.entry([1 << 40], size: 8) { $0.dtype = .dtString }),
      ("strings outside", Make.entry([1 << 33], size: 1 << 34) { $0.dtype = .dtString }),
      ("strings", Make.entry([3], size: 64) { $0.dtype = .dtString }),
      ("short strings", Make.entry([3], size: 6) { $0.dtype = .dtString }),
    ]
    for (label, entry) in wrong {
      let error = try error([(label, entry)])
      #expect(error?.code == .dataLoss && error?.category == .content, "\(label)")
      #expect(error?.message.contains("'\(label)'") == true, "\(label)")
    }
    let zeros = CRC32C.masked(CRC32C.checksum([UInt8](repeating: 0, count: 8)))
    let overlap = try error([
      ("a", Make.entry([2]) { $0.crc32C = zeros }),
      ("b", Make.entry([2], offset: 4) { $0.crc32C = zeros }),
    ])
    #expect(overlap?.code == .dataLoss && overlap?.message.contains("overlap") == true)
  }

  @Test func headers() throws {
    let cases: [(WeftError.Code, TFBundleHeaderProto)] = [
      (.unimplemented, .with { ($0.numShards, $0.endianness) = (1, .big) }),
      (.unimplemented, .with { ($0.numShards, $0.version.minConsumer) = (1, 2) }),
      (.dataLoss, .with { $0.numShards = 0 }), (.dataLoss, .with { $0.numShards = -1 }),
    ]
    for (code, header) in cases {
      #expect(try error([], header: header)?.code == code)
    }
    var fixture = CheckpointFixture.types
    fixture.index = TableMaker.table([TableMaker.block([(0, [0x61], [])])])
    #expect(weftError { _ = try fixture.read() }?.code == .dataLoss)
    fixture.index = TableMaker.table([TableMaker.block([(0, [], [0xFF])])])
    #expect(weftError { _ = try fixture.read() }?.code == .dataLoss)
    fixture.index = try TableMaker.index([])
    #expect(try fixture.read().tensors.isEmpty)
    // More data files than anything could open, none of which is needed.
    let many = TFBundleHeaderProto.with { $0.numShards = .max }
    fixture.index = try TableMaker.index([], header: many)
    #expect(try fixture.read().tensors.isEmpty)
    #expect(TensorBundle.dataPath("p", 3, of: 123_456) == "p.data-00003-of-123456")
  }

  @Test func unknownTypesAreLeftOut() throws {
    var fixture = CheckpointFixture.types
    fixture.index = try TableMaker.index([
      (Array("a".utf8), TableMaker.entry([2]) { $0.dtype = .dtVariant }),
      (Array("b".utf8), TableMaker.entry([2]) { $0.dtype = .UNRECOGNIZED(99) }),
    ])
    let bundle = try fixture.read()
    #expect(bundle.tensors.isEmpty)
    #expect(bundle.omitted == ["a": "variant", "b": "type 99"])
  }

  // MARK: - Slices

  private func extent(_ start: Int64, _ length: Int64?) -> TFTensorSliceProto.Extent {
    .with {
      $0.start = start
      if let length { $0.length = length }
    }
  }

  /// A tensor "v" of shape [4] whose slices are these, and the data entries of some.
  private func sliced(
    _ slices: [(Int64, Int64?)], stored: [(Int64, Int64?)]? = nil, shape: [Int64]? = nil
  ) throws -> CheckpointFixture {
    let protos = slices.map { slice in
      TFTensorSliceProto.with { $0.extent = [extent(slice.0, slice.1)] }
    }
    let whole = TableMaker.entry([4]) { $0.slices = protos }
    var rows: [([UInt8], TFBundleEntryProto)] = []
    for (start, length) in stored ?? slices {
      var key: [UInt8] = [0, 0x76, 0, 1, 1, 1]
      BundleSlice.append(start, to: &key)
      BundleSlice.append(length ?? -1, to: &key)
      let size = length ?? 4
      let zeros = [UInt8](repeating: 0, count: 4 * Int(clamping: max(0, min(size, 16))))
      rows.append(
        (
          key,
          TableMaker.entry(shape ?? [size], offset: 64 * start) {
            $0.crc32C = CRC32C.masked(CRC32C.checksum(zeros))
          }
        ))
    }
    rows.sort { $0.0.lexicographicallyPrecedes($1.0) }
    var fixture = CheckpointFixture.types
    fixture.index = try TableMaker.index(rows + [([0x76], whole)])
    fixture.data = [UInt8](repeating: 0, count: 1024)
    return fixture
  }

  @Test func slices() throws {
    let whole: [[(Int64, Int64?)]] = [
      [(0, nil)], [(0, 4)], [(2, 2), (0, 2)], [(0, 1), (1, 0), (1, 3)],
    ]
    for good in whole {
      #expect(try sliced(good).read().tensors["v"]?.shape == [4])
    }
    let wrong: [[(Int64, Int64?)]] = [
      [(0, 3)], [(0, 2), (3, 1)], [(0, 3), (2, 2)], [(0, 5)], [(1, nil)], [(-1, 4)], [(0, -2)],
      [(.max, .max)], [(0, nil), (0, 4)],
    ]
    for slices in wrong {
      let error = weftError { _ = try sliced(slices, stored: [(0, 4)]).read() }
      #expect(error?.code == .dataLoss && error?.message.contains("'v'") == true, "\(slices)")
    }
    #expect(weftError { _ = try sliced([(0, 2), (2, 2)], stored: [(0, 2)]).read() } != nil)
    #expect(weftError { _ = try sliced([(0, 4)], shape: [2, 2]).read() }?.code == .dataLoss)
    let many = [(Int64, Int64?)](repeating: (0, 0), count: 1025) + [(0, 4)]
    #expect(
      weftError { _ = try sliced(many, stored: [(0, 0), (0, 4)]).read() }?.code
        == .resourceExhausted)
  }

  @Test func boxes() throws {
    // Every box of a small tensor: what is copied out is what was there, and copying in undoes it.
    let shape = [3, 1, 4, 2]
    let values = (0..<24).map { Int32($0) }
    for start in 0..<3 {
      for (low, high) in [(0, 4), (1, 3), (2, 2), (3, 4)] {
        for last in 1...2 {
          let box = try #require(
            TensorBox(
              starts: [start, 0, low, 0], lengths: [3 - start, 1, high - low, last], in: shape))
          var seen: [Int] = []
          box.forEachRun(in: shape, elementSize: 1) { whole, part, size in
            #expect(part == seen.count)
            seen += whole..<(whole + size)
          }
          let wanted = values.map { Int($0) }.filter {
            $0 / 8 >= start && (low..<high).contains($0 / 2 % 4) && $0 % 2 < last
          }
          #expect(seen == wanted)
        }
      }
    }
    #expect(TensorBox(starts: [0], lengths: [1], in: []) == nil)
    #expect(TensorBox(starts: [.max], lengths: [.max], in: [2]) == nil)
    let scalar = try #require(TensorBox(starts: [], lengths: [], in: []))
    scalar.forEachRun(in: [], elementSize: 4) { #expect(($0, $1, $2) == (0, 0, 4)) }
  }
}

// `.npy`, `.npz` and `.safetensors`: round trips, foreign files, broken files.

import Foundation
import OrderedCollections
import Testing
import WeftTensors

@testable import WeftFormats

private func counting(_ dtype: DType, _ shape: [Int]) throws -> Tensor {
  try Tensor(dtype: dtype, shape: shape) { memory in
    for index in memory.indices {
      memory[index] = dtype == .bool ? UInt8(index & 1) : UInt8(truncatingIfNeeded: index * 7 + 1)
    }
  }
}

private func numPy(_ header: String, _ data: [UInt8], version: UInt8 = 1) -> [UInt8] {
  var out: [UInt8] = [0x93] + Array("NUMPY".utf8) + [version, 0]
  out.append(number: UInt64(header.utf8.count), version == 1 ? 2 : 4)
  return out + Array(header.utf8) + data
}

private let numPyTypes: [DType] = [
  .float16, .float32, .float64, .bool, .int8, .uint8, .int16, .uint16, .int32, .uint32, .int64,
  .uint64, .complex64, .complex128,
]

@Suite struct NumPyTests {
  @Test(arguments: numPyTypes) func roundTrip(_ dtype: DType) throws {
    let shapes: [[Int]] = [[], [1], [0], [2, 3], [3, 0, 2], [1, 2, 3, 4]]
    for shape in shapes {
      let tensor = try counting(dtype, shape)
      let bytes = try NumPyFile.encode(tensor)
      #expect((bytes.count - tensor.byteCount).isMultiple(of: 64))
      #expect(try NumPyFile.decode(bytes).isIdentical(to: tensor))
    }
  }

  @Test func foreignSpellings() throws {
    let data: [UInt8] = [0, 0, 128, 63, 0, 0, 0, 64]
    let wanted = try Tensor([1, 2] as [Float])
    for header in [
      "{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }\n",
      "{\"shape\":(2L,),\"fortran_order\":False,\"descr\":\"<f4\"}",
      "  {'descr':'=f4','fortran_order':True,'shape':(2,)}   \n",
    ] {
      for version: UInt8 in [1, 2, 3] {
        #expect(try NumPyFile.decode(numPy(header, data, version: version)).isIdentical(to: wanted))
      }
    }
    let big = numPy(
      "{'descr': '>f4', 'fortran_order': False, 'shape': (2,), }", [63, 128, 0, 0, 64, 0, 0, 0])
    #expect(try NumPyFile.decode(big).isIdentical(to: wanted))
  }

  @Test func fortranOrder() throws {
    // Column-major [[1, 2, 3], [4, 5, 6]].
    let bytes = numPy(
      "{'descr': '|i1', 'fortran_order': True, 'shape': (2, 3), }", [1, 4, 2, 5, 3, 6])
    #expect(try NumPyFile.decode(bytes).integers == [1, 2, 3, 4, 5, 6])
    let cube = numPy(
      "{'descr': '|i1', 'fortran_order': True, 'shape': (2, 2, 2), }", [0, 4, 2, 6, 1, 5, 3, 7])
    #expect(try NumPyFile.decode(cube).integers == [0, 1, 2, 3, 4, 5, 6, 7])
  }

  @Test func brokenArrays() throws {
    let whole = try NumPyFile.encode(counting(.float32, [2, 3]))
    for length in whole.indices {
      let error = weftError { _ = try NumPyFile.decode(Array(whole[..<length])) }
      #expect(error?.category == .content)
    }
    let headers = [
      "{'descr': '<f4', 'fortran_order': False, 'shape': (9223372036854775807, 2), }",
      "{'descr': '<f4', 'fortran_order': False, 'shape': (4611686018427387904,), }",
      "{'descr': '<f4', 'fortran_order': False, 'shape': (-1,), }",
      "{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999,), }",
      "{'descr': '<f4', 'fortran_order': False, 'shape': 2}",
      "{'descr': '<f4', 'fortran_order': 0, 'shape': (1,)}",
      "{'descr': '<f4', 'shape': (1,)}", "{'descr': '<f4', 'descr': '<f4', 'shape': (1,)}",
      "{'descr': '|O', 'fortran_order': False, 'shape': (1,)}",
      "{'descr': '<U4', 'fortran_order': False, 'shape': (1,)}",
      "{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,)}",
      "{'descr': '<f3', 'fortran_order': False, 'shape': (1,)}", "", "{", "()", "{'descr': '",
    ]
    for header in headers {
      let error = weftError { _ = try NumPyFile.decode(numPy(header, [0, 0, 0, 0])) }
      #expect(error?.category == .content, "\(header)")
    }
    #expect(
      weftError { _ = try NumPyFile.encode(counting(.bfloat16, [1])) }?.code == .unimplemented)
    #expect(weftError { _ = try NumPyFile.encode(Tensor(strings: [[]], shape: [1])) } != nil)
  }

  @Test func archivesRoundTrip() throws {
    try withScratchFolder { folder in
      let tensors: OrderedDictionary<String, Tensor> = [
        "b/weights": try counting(.float32, [3, 4]), "a": try counting(.int64, []),
        "空": try counting(.bool, [0]),
      ]
      let path = folder + "/a.npz"
      try NumPyFile.writeArchive(tensors, to: path)
      let back = try NumPyFile.readArchive(path)
      #expect(Array(back.keys) == Array(tensors.keys))
      for (key, tensor) in tensors { #expect(back[key]?.isIdentical(to: tensor) == true) }
      #expect(try NumPyFile.readArchive(path, key: "a").isIdentical(to: try counting(.int64, [])))
      let missing = weftError { _ = try NumPyFile.readArchive(path, key: "c") }
      #expect(missing?.description.contains("'b/weights'") == true)
      let bytes = try WholeFile.read(path)
      try NumPyFile.writeArchive(tensors, to: path)
      #expect(try WholeFile.read(path) == bytes)
      for length in 0..<bytes.count {
        #expect(throws: FormatError.self) { try ZipArchive(Array(bytes[..<length])) }
      }
      for index in bytes.indices {
        var copy = bytes
        copy[index] ^= 0x21
        // An array or an error, never a trap.
        guard let archive = try? ZipArchive(copy) else { continue }
        for entry in archive.entries { _ = try? archive.content(entry) }
      }
    }
  }

  /// An entry deflated by zlib, as `numpy.savez_compressed` writes it.
  @Test func deflatedEntries() throws {
    // zlib.compress(bytes(1000), wbits=-15)
    let packed: [UInt8] = [0x63, 0x60, 0x18, 0x05, 0xA3, 0x60, 0x14, 0x0C, 0x77, 0, 0]
    #expect(
      try Deflate.inflated(packed[...], size: 1000, name: "z") == Array(repeating: 0, count: 1000))
    for size: UInt64 in [0, 999, 1001, 1 << 40] {
      #expect(throws: FormatError.self) { try Deflate.inflated(packed[...], size: size, name: "z") }
    }
    for length in 0..<packed.count {
      #expect(throws: FormatError.self) {
        try Deflate.inflated(packed[..<length], size: 1000, name: "z")
      }
    }
  }

  @Test func conformanceArchivesLoad() throws {
    guard let folder = sharedFolder("conformance/models") else { return }
    for name in try FileManager.default.contentsOfDirectory(atPath: folder.path).sorted() {
      let path = folder.appendingPathComponent(name + "/data.npz").path
      guard FileManager.default.fileExists(atPath: path) else { continue }
      #expect(try !NumPyFile.readArchive(path).isEmpty)
    }
  }
}

@Suite struct SafetensorsTests {
  private func bytes(_ header: String, _ data: [UInt8]) -> [UInt8] {
    var out: [UInt8] = []
    out.append(number: UInt64(header.utf8.count), 8)
    return out + Array(header.utf8) + data
  }

  private func sample() throws -> SafetensorsFile {
    SafetensorsFile(
      tensors: [
        "w": try counting(.float32, [2, 2]), "flag": try counting(.bool, [3]),
        "brain": try counting(.bfloat16, [2]), "step": try counting(.int64, []),
        "名\"\\\n": try counting(.float64, [1]), "none": try counting(.float16, [0, 4]),
      ], metadata: ["epoch": "3", "note": "tab\t\"quoted\" 诗"])
  }

  @Test func roundTrip() throws {
    try withScratchFolder { folder in
      let path = folder + "/a.safetensors"
      let file = try sample()
      try file.write(to: path)
      let back = try SafetensorsFile(reading: path)
      #expect(back.metadata == file.metadata)
      #expect(Set(back.tensors.keys) == Set(file.tensors.keys))
      for (key, tensor) in file.tensors {
        #expect(back.tensors[key]?.isIdentical(to: tensor) == true)
      }
      let written = try WholeFile.read(path)
      try back.write(to: path)
      #expect(try WholeFile.read(path) == written)
    }
  }

  @Test func everyDamagedByteIsFound() throws {
    try withScratchFolder { folder in
      let path = folder + "/a.safetensors"
      try sample().write(to: path)
      let whole = try WholeFile.read(path)
      for length in whole.indices {
        #expect(throws: FormatError.self) { try SafetensorsFile(bytes: Array(whole[..<length])) }
      }
      let key = Array(SafetensorsFile.checksumKey.utf8)
      let keyStart = try #require(
        whole.indices.first { whole[$0...].starts(with: key) })
      for index in whole.indices where !(keyStart..<(keyStart + key.count)).contains(index) {
        var copy = whole
        copy[index] ^= 1
        let damaged = copy
        #expect(throws: FormatError.self, "byte \(index)") { try SafetensorsFile(bytes: damaged) }
      }
    }
  }

  @Test func brokenHeaders() {
    let f = #""dtype":"F32","shape":[1],"data_offsets""#
    let cases: [(String, Int)] = [
      (#"{"a":{\#(f):[0,4]}}"#, 5), (#"{"a":{\#(f):[0,4]}}"#, 3), (#"{"a":{\#(f):[0,8]}}"#, 8),
      (#"{"a":{\#(f):[0,4]},"b":{\#(f):[2,6]}}"#, 6),
      (#"{"a":{\#(f):[0,4]},"b":{\#(f):[5,9]}}"#, 9), (#"{"a":{\#(f):[4,0]}}"#, 4),
      (#"{"a":{\#(f):[-4,0]}}"#, 4), (#"{"a":{\#(f):[0,4,8]}}"#, 8), (#"{"a":{\#(f):[0,4.5]}}"#, 4),
      (#"{"a":{"dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,0]}}"#, 0),
      (#"{"a":{"dtype":"F33","shape":[1],"data_offsets":[0,4]}}"#, 4),
      (#"{"a":{"dtype":7,"shape":[1],"data_offsets":[0,4]}}"#, 4),
      (#"{"a":{"shape":[1],"data_offsets":[0,4]}}"#, 4), (#"{"a":{\#(f):[0,4],"x":1}}"#, 4),
      (#"{"a":{\#(f):[0,4]},"a":{\#(f):[0,4]}}"#, 4), (#"{"a":7}"#, 0), (#"{"__metadata__":7}"#, 0),
      (#"{"__metadata__":{"k":7}}"#, 0), (#"{"__metadata__":{"weft.crc32":"xx"}}"#, 0), ("[]", 0),
      ("{", 0), ("{}{}", 0), ("{}", 4),
      (#"{"a":{"dtype":"F32","shape":[99999999999999999999],"data_offsets":[0,4]}}"#, 4),
    ]
    for (header, size) in cases {
      let file = bytes(header, Array(repeating: 0, count: size))
      #expect(throws: FormatError.self, "\(header)") { try SafetensorsFile(bytes: file) }
    }
    let others: [[UInt8]] = [
      [], [1], Array(repeating: 0xFF, count: 64), Array(repeating: 0, count: 64),
    ]
    for file in others {
      #expect(throws: FormatError.self) { try SafetensorsFile(bytes: file) }
    }
  }

  @Test func foreignFilesLoad() throws {
    let header =
      #"{"b":{"dtype":"U8","shape":[2],"data_offsets":[4,6]},"a":{"data_offsets":[0,4],"shape":[],"dtype":"F32"}}   "#
    let file = try SafetensorsFile(bytes: bytes(header, [0, 0, 128, 63, 7, 8]))
    #expect(Array(file.tensors.keys) == ["a", "b"])
    #expect(file.tensors["a"]?.doubles == [1])
    #expect(file.tensors["b"]?.integers == [7, 8])
    #expect(try SafetensorsFile(bytes: bytes("{}", [])).tensors.isEmpty)
  }

  @Test func writingFailsCleanly() throws {
    try withScratchFolder { folder in
      let file = try sample()
      #expect(
        weftError { try file.write(to: folder + "/no/a.safetensors") }?.category == .cannotCreate)
      let strings = SafetensorsFile(tensors: ["s": try Tensor(strings: [[65]], shape: [1])])
      #expect(
        weftError { try strings.write(to: folder + "/s.safetensors") }?.code == .unimplemented)
      #expect(try FileManager.default.contentsOfDirectory(atPath: folder).isEmpty)
    }
  }
}

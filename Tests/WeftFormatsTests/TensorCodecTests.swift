// Tensors in messages: every type, every spelling, the canonical one.

import Foundation
import SwiftProtobuf
import Testing
import WeftTensors

@testable import WeftFormats

private let plainTypes: [DType] = DType.allCases.filter(\.isPlain)

@Suite struct TensorCodecTests {
  private func value(_ message: TFTensorProto) throws -> Tensor {
    var reader = TensorReader()
    return try reader.tensor(message)
  }

  private func read(_ json: String) throws -> Tensor {
    try value(TFTensorProto(jsonString: json))
  }

  @Test(arguments: plainTypes) func everyTypeRoundTrips(_ dtype: DType) throws {
    let cases: [([Int], Bool)] = [([], true), ([3], true), ([2, 3], false), ([0, 2], true)]
    for (shape, isUniform) in cases {
      let tensor = try Tensor(dtype: dtype, shape: shape) { memory in
        for index in memory.indices {
          let place = isUniform ? index % dtype.byteSize : index
          memory[index] = dtype == .bool ? UInt8(place & 1) : UInt8(0x11 + place)
        }
      }
      let message = TensorWriter.message(tensor)
      #expect(message.tensorContent.isEmpty == isUniform)
      #expect(try value(message).isIdentical(to: tensor))
      #expect(try read(message.jsonString()).isIdentical(to: tensor))
    }
  }

  @Test func listsRepeatTheirLastValue() throws {
    let shape = #""tensorShape":{"dim":[{"size":"4"}]}"#
    func floats(_ values: String) throws -> [Float] {
      try read(#"{"dtype":"DT_FLOAT",\#(shape),"floatVal":[\#(values)]}"#).array()
    }
    #expect(try floats("") == [0, 0, 0, 0])
    #expect(try floats("7") == [7, 7, 7, 7])
    #expect(try floats("1,2") == [1, 2, 2, 2])
    #expect(try floats("1,2,3,4") == [1, 2, 3, 4])
    // As TensorFlow: what is too much is ignored.
    #expect(try floats("1,2,3,4,5") == [1, 2, 3, 4])
  }

  @Test func smallTypesShareTheirLists() throws {
    let half = try read(
      #"{"dtype":"DT_HALF","tensorShape":{"dim":[{"size":"2"}]},"halfVal":[15360,49152]}"#)
    #expect(half.doubles == [1, -2])
    let brain = try read(#"{"dtype":"DT_BFLOAT16","tensorShape":{},"halfVal":[16256]}"#)
    #expect(brain.doubles == [1])
    let byte = try read(#"{"dtype":"DT_UINT8","tensorShape":{},"intVal":[255]}"#)
    #expect(byte.integers == [255])
    let signed = try read(#"{"dtype":"DT_INT8","tensorShape":{},"intVal":[-3]}"#)
    #expect(signed.integers == [-3])
  }

  @Test func boolBytesBecomeZeroAndOne() throws {
    let tensor = try read(
      #"{"dtype":"DT_BOOL","tensorShape":{"dim":[{"size":"3"}]},"tensorContent":"AAJ/"}"#)
    #expect(Array(tensor.bytes) == [0, 1, 1])
  }

  @Test func stringsRoundTrip() throws {
    let cases: [([String], [Int])] = [
      (["a", "", "日本"], [3]), (["x"], []), (["x", "x"], [2]), ([], [0]),
    ]
    for (strings, shape) in cases {
      let tensor = try Tensor(strings: strings.map { Array($0.utf8) }, shape: shape)
      #expect(try value(TensorWriter.message(tensor)).isIdentical(to: tensor))
    }
    let packed = TFTensorProto.with {
      $0.dtype = .dtString
      $0.tensorShape.dim = [TFTensorShapeProto.Dim.with { $0.size = 2 }]
      $0.tensorContent = Data([2, 1] + Array("abc".utf8))
    }
    #expect(try value(packed).strings == [Array("ab".utf8), Array("c".utf8)])
    let broken: [[UInt8]] = [
      [9, 1, 97], [1, 1, 97], [1, 1, 97, 98, 99], [0x80, 0x80, 0x80, 0x80, 0x80, 1],
    ]
    for content in broken {
      var copy = packed
      copy.tensorContent = Data(content)
      let message = copy
      #expect(throws: FormatError.self) { try value(message) }
    }
  }

  @Test func unusualNaNsKeepTheirBits() throws {
    for bits: UInt32 in [0x7FC0_0000, 0x7FC0_0001, 0xFFC0_0000, 0x7F80_0001] {
      let tensor = try Tensor([Float(bitPattern: bits)], shape: [])
      let json = try TensorWriter.message(tensor).jsonString()
      #expect(try read(json).isIdentical(to: tensor))
    }
  }
}

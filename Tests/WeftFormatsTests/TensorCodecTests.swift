// Tensors in messages: every type, every spelling, the canonical one.

import Foundation
import Testing
import WeftTensors

@testable import WeftFormats

private let plainTypes: [DType] = DType.allCases.filter(\.isPlain)

@Suite struct TensorCodecTests {
  private func read(_ json: String) throws -> Tensor {
    var reader = TensorReader()
    return try reader.tensor(TFTensorProto(jsonString: json))
  }

  @Test(arguments: plainTypes) func everyTypeRoundTrips(_ dtype: DType) throws {
    for (shape, isUniform) in [([], true), ([3], true), ([2, 3], false), ([0, 2], true)] {
      let tensor = try Tensor(dtype: dtype, shape: shape) { memory in
        for index in memory.indices {
          let place = isUniform ? index % dtype.byteSize : index
          memory[index] = dtype == .bool ? UInt8(place & 1) : UInt8(0x11 + place)
        }
      }
      let message = TensorWriter.message(tensor)
      #expect(message.tensorContent.isEmpty == isUniform)
      var reader = TensorReader()
      #expect(try reader.tensor(message).isIdentical(to: tensor))
      let json = try TFTensorProto(jsonString: message.jsonString())
      #expect(try reader.tensor(json).isIdentical(to: tensor))
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
    for (strings, shape) in [(["a", "", "日本"], [3]), (["x"], []), (["x", "x"], [2]), ([], [0])] {
      let tensor = try Tensor(strings: strings.map { Array($0.utf8) }, shape: shape)
      var reader = TensorReader()
      #expect(try reader.tensor(TensorWriter.message(tensor)).isIdentical(to: tensor))
    }
    let packed = TFTensorProto.with {
      $0.dtype = .dtString
      $0.tensorShape.dim = [TFTensorShapeProto.Dim.with { $0.size = 2 }]
      $0.tensorContent = Data([2, 1] + Array("abc".utf8))
    }
    var reader = TensorReader()
    #expect(try reader.tensor(packed).strings == [Array("ab".utf8), Array("c".utf8)])
    for broken in [
      [UInt8](), [9, 1, 97], [1, 1, 97], [1, 1, 97, 98, 99], [0x80, 0x80, 0x80, 0x80, 0x80, 1],
    ] {
      var copy = packed
      copy.tensorContent = Data(broken)
      if !broken.isEmpty { #expect(throws: FormatError.self) { try reader.tensor(copy) } }
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

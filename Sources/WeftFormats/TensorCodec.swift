// TensorProto and Tensor: every typed list, repeated last values, raw content; canonical output.

internal import SwiftProtobuf
internal import WeftTensors

#if canImport(FoundationEssentials)
  internal import FoundationEssentials
#else
  internal import Foundation
#endif

/// Reads tensors out of messages, with a limit on what short messages may unfold to.
struct TensorReader {
  /// Bytes left for elements that the file does not spell out (zeros and repeated values).
  var unfoldLimit = 512 << 20
  /// Protobuf ends at this size, so TensorFlow has no larger constants.
  static let sizeLimit = Int(Int32.max)

  /// Whether the element type has a tensor here; others are carried as bytes.
  static func isSupported(_ type: TFDataType) -> Bool {
    guard let dtype = dtype(type) else { return false }
    return dtype.isPlain || dtype == .string
  }

  /// The element type of that number.
  static func dtype(_ type: TFDataType) -> DType? {
    Int32(exactly: type.rawValue).flatMap { DType(rawValue: $0) }
  }

  /// The value of a message.
  mutating func tensor(_ message: TFTensorProto) throws(FormatError) -> Tensor {
    guard let dtype = Self.dtype(message.dtype) else {
      throw FormatError(.unsupported, "tensors of type \(message.dtype) are not supported")
    }
    let shape = try sizes(message.tensorShape)
    guard let count = Shape.checkedCount(shape) else {
      throw FormatError(
        .invalid, "the tensor's shape \(shape) has more elements than can be counted")
    }
    let (bytes, overflow) = count.multipliedReportingOverflow(by: max(1, dtype.byteSize))
    guard !overflow, bytes <= Self.sizeLimit else {
      throw FormatError(
        .limit, "a \(dtype.name) tensor of shape \(shape) is larger than \(Self.sizeLimit) bytes")
    }
    if dtype == .string { return try strings(message, shape, count) }
    guard dtype.isPlain else {
      throw FormatError(.unsupported, "tensors of type \(dtype.name) are not supported")
    }
    if !message.tensorContent.isEmpty {
      guard message.tensorContent.count == bytes else {
        throw FormatError(
          .invalid,
          "tensor_content has \(message.tensorContent.count) bytes, a \(dtype.name) tensor of shape "
            + "\(shape) needs \(bytes)")
      }
      return try make(dtype, shape) { memory in
        message.tensorContent.withUnsafeBytes { memory.copyMemory(from: $0) }
      }
    }
    return try typed(message, dtype, shape, count)
  }

  private func sizes(_ shape: TFTensorShapeProto) throws(FormatError) -> [Int] {
    guard !shape.unknownRank else {
      throw FormatError(.invalid, "a tensor's shape must be known; its rank is not")
    }
    var sizes: [Int] = []
    for dim in shape.dim {
      guard let size = Int(exactly: dim.size), size >= 0 else {
        throw FormatError(.invalid, "a tensor cannot have a dimension of size \(dim.size)")
      }
      sizes.append(size)
    }
    return sizes
  }

  private mutating func typed(
    _ message: TFTensorProto, _ dtype: DType, _ shape: [Int], _ count: Int
  ) throws(FormatError) -> Tensor {
    switch dtype {
    case .float32: return try fill(message.floatVal, dtype, shape, count)
    case .float64: return try fill(message.doubleVal, dtype, shape, count)
    case .int32, .qint32: return try fill(message.intVal, dtype, shape, count)
    case .int64: return try fill(message.int64Val, dtype, shape, count)
    case .uint32: return try fill(message.uint32Val, dtype, shape, count)
    case .uint64: return try fill(message.uint64Val, dtype, shape, count)
    case .bool: return try fill(message.boolVal.map { $0 ? 1 as UInt8 : 0 }, dtype, shape, count)
    case .int8, .uint8, .qint8, .quint8:
      return try fill(message.intVal.map { UInt8(truncatingIfNeeded: $0) }, dtype, shape, count)
    case .int16, .uint16, .qint16, .quint16:
      return try fill(message.intVal.map { UInt16(truncatingIfNeeded: $0) }, dtype, shape, count)
    case .float16, .bfloat16:
      return try fill(message.halfVal.map { UInt16(truncatingIfNeeded: $0) }, dtype, shape, count)
    case .complex64:
      return try fill(Self.pairs(message.scomplexVal), dtype, shape, count)
    case .complex128:
      return try fill(Self.pairs(message.dcomplexVal), dtype, shape, count)
    case .invalid, .string, .resource, .variant:
      throw FormatError(.unsupported, "tensors of type \(dtype.name) are not supported")
    }
  }

  private static func pairs<Part: BinaryFloatingPoint & Sendable & BitwiseCopyable>(
    _ parts: [Part]
  ) throws(FormatError) -> [ComplexValue<Part>] {
    guard parts.count.isMultiple(of: 2) else {
      throw FormatError(
        .invalid, "complex values come in pairs, the tensor has \(parts.count) parts")
    }
    return stride(from: 0, to: parts.count, by: 2).map { ComplexValue(parts[$0], parts[$0 + 1]) }
  }

  /// As TensorFlow reads a list: what is too much is ignored, the last value fills what is missing.
  private mutating func fill<Element: BitwiseCopyable>(
    _ values: [Element], _ dtype: DType, _ shape: [Int], _ count: Int
  ) throws(FormatError) -> Tensor {
    try spend((count - min(count, values.count)) * dtype.byteSize)
    return try make(dtype, shape) { memory in
      guard let last = values.last else { return }
      let size = MemoryLayout<Element>.size
      values.withUnsafeBytes { source in
        memory.copyMemory(from: UnsafeRawBufferPointer(rebasing: source.prefix(count * size)))
      }
      guard values.count < count else { return }
      for index in values.count..<count {
        memory.storeBytes(of: last, toByteOffset: index * size, as: Element.self)
      }
    }
  }

  private mutating func strings(
    _ message: TFTensorProto, _ shape: [Int], _ count: Int
  ) throws(FormatError) -> Tensor {
    var values = message.stringVal.prefix(count).map { Array($0) }
    if !message.tensorContent.isEmpty { values = try packedStrings(message.tensorContent, count) }
    try spend((count - values.count) * MemoryLayout<[UInt8]>.size)
    values.append(
      contentsOf: Array(repeating: values.last ?? [], count: count - values.count))
    let all = values
    return try tensorErrors { () throws(WeftError) in try Tensor(strings: all, shape: shape) }
  }

  /// The raw form of strings: all lengths as varints, then all bytes.
  private func packedStrings(_ content: Data, _ count: Int) throws(FormatError) -> [[UInt8]] {
    let bytes = Array(content)
    let wrong = FormatError(.invalid, "tensor_content does not hold \(count) strings")
    var lengths: [Int] = []
    var at = 0
    for _ in 0..<count {
      var length = 0
      var shift = 0
      while true {
        guard at < bytes.count, shift < 35 else { throw wrong }
        length |= Int(bytes[at] & 0x7F) << shift
        at += 1
        if bytes[at - 1] < 0x80 { break }
        shift += 7
      }
      lengths.append(length)
    }
    var values: [[UInt8]] = []
    for length in lengths {
      guard length <= bytes.count - at else { throw wrong }
      values.append(Array(bytes[at..<(at + length)]))
      at += length
    }
    guard at == bytes.count else { throw wrong }
    return values
  }

  private mutating func spend(_ bytes: Int) throws(FormatError) {
    guard bytes <= unfoldLimit else {
      throw FormatError(
        .limit, "the file's constants unfold to far more memory than the file's own size")
    }
    unfoldLimit -= bytes
  }

  private func make(
    _ dtype: DType, _ shape: [Int], _ fill: (UnsafeMutableRawBufferPointer) -> Void
  ) throws(FormatError) -> Tensor {
    try tensorErrors { () throws(WeftError) in
      try Tensor(dtype: dtype, shape: shape) { memory throws(WeftError) in
        fill(memory)
        // Any other byte would not be a Bool in Swift.
        if dtype == .bool {
          for index in memory.indices where memory[index] != 0 { memory[index] = 1 }
        }
      }
    }
  }
}

/// Writes tensors as messages.
enum TensorWriter {
  /// One value of the typed list where all elements are equal, else raw little-endian content.
  static func message(_ tensor: Tensor) -> TFTensorProto {
    var message = TFTensorProto()
    message.dtype = TFDataType(rawValue: Int(tensor.dtype.rawValue)) ?? .dtInvalid
    message.tensorShape.dim = tensor.shape.map { size in
      TFTensorShapeProto.Dim.with { $0.size = Int64(size) }
    }
    if tensor.dtype == .string {
      let allEqual = tensor.strings.dropFirst().allSatisfy { $0 == tensor.strings[0] }
      message.stringVal = tensor.strings.prefix(allEqual ? 1 : Int.max).map { Data($0) }
    } else if tensor.count > 0 {
      let bytes = tensor.bytes
      if !isUniform(bytes, tensor.dtype.byteSize) || !setSingle(&message, tensor.dtype, bytes) {
        message.tensorContent = Data(bytes)
      }
    }
    return message
  }

  /// Whether the bytes repeat with the period of one element.
  private static func isUniform(_ bytes: UnsafeRawBufferPointer, _ size: Int) -> Bool {
    bytes.count == size
      || UnsafeRawBufferPointer(rebasing: bytes[size...]).elementsEqual(bytes.dropLast(size))
  }

  /// Sets the typed list to the first element; false where JSON would change the value, which are
  /// NaNs other than the usual one.
  private static func setSingle(
    _ message: inout TFTensorProto, _ dtype: DType, _ bytes: UnsafeRawBufferPointer
  ) -> Bool {
    func first<T: BitwiseCopyable>(_: T.Type, _ index: Int = 0) -> T {
      bytes.loadUnaligned(fromByteOffset: index * MemoryLayout<T>.size, as: T.self)
    }
    func survives(_ value: Float) -> Bool { !value.isNaN || value.bitPattern == 0x7FC0_0000 }
    func survives(_ value: Double) -> Bool {
      !value.isNaN || value.bitPattern == 0x7FF8_0000_0000_0000
    }
    switch dtype {
    case .float32:
      guard survives(first(Float.self)) else { return false }
      message.floatVal = [first(Float.self)]
    case .float64:
      guard survives(first(Double.self)) else { return false }
      message.doubleVal = [first(Double.self)]
    case .int32, .qint32: message.intVal = [first(Int32.self)]
    case .int64: message.int64Val = [first(Int64.self)]
    case .uint32: message.uint32Val = [first(UInt32.self)]
    case .uint64: message.uint64Val = [first(UInt64.self)]
    case .bool: message.boolVal = [first(UInt8.self) != 0]
    case .int8, .qint8: message.intVal = [Int32(first(Int8.self))]
    case .uint8, .quint8: message.intVal = [Int32(first(UInt8.self))]
    case .int16, .qint16: message.intVal = [Int32(first(Int16.self))]
    case .uint16, .quint16: message.intVal = [Int32(first(UInt16.self))]
    case .float16, .bfloat16: message.halfVal = [Int32(first(UInt16.self))]
    case .complex64:
      guard survives(first(Float.self)), survives(first(Float.self, 1)) else { return false }
      message.scomplexVal = [first(Float.self), first(Float.self, 1)]
    case .complex128:
      guard survives(first(Double.self)), survives(first(Double.self, 1)) else { return false }
      message.dcomplexVal = [first(Double.self), first(Double.self, 1)]
    case .invalid, .string, .resource, .variant: return false
    }
    return true
  }
}

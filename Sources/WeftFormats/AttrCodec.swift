// AttrValue messages and attribute values; what has no value here is carried as its own bytes.

internal import SwiftProtobuf
internal import WeftGraph
internal import WeftTensors

#if canImport(FoundationEssentials)
  internal import FoundationEssentials
#else
  internal import Foundation
#endif

extension Message {
  /// Bytes that do not depend on the order of maps in memory.
  func stableBytes() throws(FormatError) -> [UInt8] {
    do {
      var options = BinaryEncodingOptions()
      options.useDeterministicOrdering = true
      return try serializedBytes(options: options)
    } catch {
      throw FormatError(.limit, "\(Self.protoMessageName) is too large: \(error)")
    }
  }
}

/// Reads attributes.
struct AttrReader {
  var tensors = TensorReader()
  /// Cleared by a value that writing it again would not restore.
  private var isExact = true

  /// The attribute's value, and whether `AttrWriter` makes the same message of it (as far as
  /// TensorFlow can tell).
  mutating func value(
    _ message: TFAttrValue, path: String
  ) throws(FormatError) -> (value: AttrValue, isExact: Bool) {
    isExact = true
    let value = try any(message, path)
    return (value, isExact)
  }

  private mutating func any(_ message: TFAttrValue, _ path: String) throws(FormatError) -> AttrValue
  {
    switch message.value {
    case .s(let bytes): return .string(Array(bytes))
    case .i(let value): return .int(value)
    case .f(let value): return .float(value)
    case .b(let value): return .bool(value)
    case .type(let type):
      guard let dtype = TensorReader.dtype(type) else { return .opaque(try message.stableBytes()) }
      return .type(dtype)
    case .shape(let value): return .shape(try shape(value, path + ".shape"))
    case .tensor(let value):
      guard TensorReader.isSupported(value.dtype) else {
        return .opaque(try message.stableBytes())
      }
      return .tensor(try tensor(value, path + ".tensor"))
    case .func(let value): return .function(try function(value, path + ".func"))
    case .placeholder(let name): return .placeholder(name)
    case .list(let value):
      if let list = try list(value, path + ".list") { return list }
      return .opaque(try message.stableBytes())
    case nil: return .opaque([])
    }
  }

  /// Nil when the list mixes kinds, or holds what has no value here.
  private mutating func list(
    _ list: TFAttrValue.ListValue, _ path: String
  ) throws(FormatError) -> AttrValue? {
    let kinds = [
      list.s.isEmpty, list.i.isEmpty, list.f.isEmpty, list.b.isEmpty, list.type.isEmpty,
      list.shape.isEmpty, list.tensor.isEmpty, list.func.isEmpty,
    ]
    guard kinds.count(where: { !$0 }) <= 1 else { return nil }
    var items: [AttrValue] = []
    items += list.s.map { .string(Array($0)) }
    items += list.i.map { .int($0) }
    items += list.f.map { .float($0) }
    items += list.b.map { .bool($0) }
    for type in list.type {
      guard let dtype = TensorReader.dtype(type) else { return nil }
      items.append(.type(dtype))
    }
    for (index, value) in list.shape.enumerated() {
      items.append(.shape(try shape(value, "\(path).shape[\(index)]")))
    }
    for (index, value) in list.tensor.enumerated() {
      guard TensorReader.isSupported(value.dtype) else { return nil }
      items.append(.tensor(try tensor(value, "\(path).tensor[\(index)]")))
    }
    for (index, value) in list.func.enumerated() {
      items.append(.function(try function(value, "\(path).func[\(index)]")))
    }
    return .list(items)
  }

  private mutating func tensor(
    _ message: TFTensorProto, _ path: String
  ) throws(FormatError) -> Tensor {
    if message.versionNumber != 0 { isExact = false }
    do throws(FormatError) {
      return try tensors.tensor(message)
    } catch {
      var placed = error
      placed.jsonPath = path
      throw placed
    }
  }

  private mutating func function(
    _ message: TFNameAttrList, _ path: String
  ) throws(FormatError) -> FunctionRef {
    var attrs: [String: AttrValue] = [:]
    for (name, value) in message.attr.sorted(by: { $0.key < $1.key }) {
      attrs[name] = try any(value, path + ".attr" + JSONText.step(name))
    }
    return FunctionRef(message.name, attrs: attrs)
  }

  /// The shape of a message. A name on an unknown size makes it symbolic.
  mutating func shape(_ message: TFTensorShapeProto, _ path: String) throws(FormatError) -> Shape {
    if message.unknownRank {
      if !message.dim.isEmpty { isExact = false }
      return .unknown
    }
    var dims: [Dim] = []
    for (index, dim) in message.dim.enumerated() {
      guard let size = Int(exactly: dim.size), size >= -1 else {
        throw FormatError(
          .invalid, "a dimension of size \(dim.size): only -1 stands for an unknown size",
          jsonPath: "\(path).dim[\(index)]")
      }
      if size >= 0 {
        if !dim.name.isEmpty { isExact = false }
        dims.append(.known(size))
      } else {
        dims.append(dim.name.isEmpty ? .unknown : .symbolic(dim.name))
      }
    }
    let known = dims.compactMap(\.size)
    guard Shape.checkedCount(known) != nil else {
      throw FormatError(
        .invalid, "the shape \(Shape(dims: dims)) has more elements than can be counted",
        jsonPath: path)
    }
    return Shape(dims: dims)
  }
}

/// Writes attributes.
enum AttrWriter {
  /// The message of a value.
  static func message(_ value: AttrValue) throws(FormatError) -> TFAttrValue {
    var message = TFAttrValue()
    switch value {
    case .string(let bytes): message.s = Data(bytes)
    case .int(let value): message.i = value
    case .float(let value): message.f = value
    case .bool(let value): message.b = value
    case .type(let dtype): message.type = type(dtype)
    case .shape(let value): message.shape = shape(value)
    case .tensor(let value): message.tensor = TensorWriter.message(value)
    case .function(let value): message.func = try function(value)
    case .placeholder(let name): message.placeholder = name
    case .opaque(let bytes):
      do {
        message = try TFAttrValue(serializedBytes: bytes)
      } catch {
        throw FormatError(.invalid, "an attribute's carried bytes are no AttrValue")
      }
    case .list(let items): message.list = try list(items)
    }
    return message
  }

  private static func list(_ items: [AttrValue]) throws(FormatError) -> TFAttrValue.ListValue {
    var list = TFAttrValue.ListValue()
    for item in items {
      switch item {
      case .string(let bytes): list.s.append(Data(bytes))
      case .int(let value): list.i.append(value)
      case .float(let value): list.f.append(value)
      case .bool(let value): list.b.append(value)
      case .type(let dtype): list.type.append(type(dtype))
      case .shape(let value): list.shape.append(shape(value))
      case .tensor(let value): list.tensor.append(TensorWriter.message(value))
      case .function(let value): list.func.append(try function(value))
      case .placeholder, .opaque, .list:
        throw FormatError(.unsupported, "a list attribute cannot hold a \(item.kind)")
      }
    }
    return list
  }

  private static func function(_ value: FunctionRef) throws(FormatError) -> TFNameAttrList {
    var message = TFNameAttrList()
    message.name = value.name
    for (name, attr) in value.attrs.sorted(by: { $0.key < $1.key }) {
      message.attr[name] = try self.message(attr)
    }
    return message
  }

  /// The number of an element type.
  static func type(_ dtype: DType) -> TFDataType {
    TFDataType(rawValue: Int(dtype.rawValue)) ?? .dtInvalid
  }

  /// The message of a shape; a symbolic size is unknown, with its name beside.
  static func shape(_ shape: Shape) -> TFTensorShapeProto {
    var message = TFTensorShapeProto()
    guard let dims = shape.dims else {
      message.unknownRank = true
      return message
    }
    message.dim = dims.map { dim in
      TFTensorShapeProto.Dim.with {
        $0.size = dim.size.map { Int64($0) } ?? -1
        if case .symbolic(let name) = dim { $0.name = name }
      }
    }
    return message
  }
}

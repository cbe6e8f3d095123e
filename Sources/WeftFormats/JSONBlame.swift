// Finds the place of a schema error in JSON by decoding ever smaller parts.

internal import SwiftProtobuf

/// Turns the protobuf library's placeless errors into ones with a path, a line and a column.
struct JSONBlame {
  let text: [UInt8]

  /// The error for text that is valid JSON but does not decode as `type`.
  func error(for failure: any Error, decoding type: any Message.Type) -> FormatError {
    let start = text.firstIndex(of: UInt8(ascii: "{")) ?? 0
    return search(type, start..<JSONText.end(ofValueAt: start, in: text), path: "$", node: nil)
      ?? made(failure, at: start, path: "$", node: nil)
  }

  private func search(
    _ type: any Message.Type, _ object: Range<Int>, path: String, node: String?
  ) -> FormatError? {
    guard text[object.lowerBound] == UInt8(ascii: "{") else { return nil }
    let items = JSONText.items(of: object, in: text)
    let pairs = stride(from: 0, to: items.count - 1, by: 2).map { (items[$0], items[$0 + 1]) }
    let fields = SchemaField.fields(of: type)
    let node = type == TFNodeDef.self ? name(in: pairs) ?? node : node
    for (keyRange, valueRange) in pairs {
      let member = Array("{".utf8) + text[keyRange] + [UInt8(ascii: ":")] + text[valueRange] + [125]
      guard let failure = failure(type, member) else { continue }
      let key = JSONText.string(text[keyRange])
      let here = path + JSONText.step(key)
      if case JSONDecodingError.unknownField(let name) = failure, name == key {
        return unknown(key, of: type, at: keyRange.lowerBound, path: here, node: node)
      }
      switch fields[SchemaField.lowerCamelCase(key)] {
      case .one(let child):
        if let found = search(child, valueRange, path: here, node: node) { return found }
      case .map(let child):
        guard text[valueRange.lowerBound] == UInt8(ascii: "{") else { break }
        let entries = JSONText.items(of: valueRange, in: text)
        for index in stride(from: 0, to: entries.count - 1, by: 2) {
          let entryPath = here + JSONText.step(JSONText.string(text[entries[index]]))
          if let found = element(child, entries[index + 1], path: entryPath, node: node) {
            return found
          }
        }
      case .list(let child):
        guard text[valueRange.lowerBound] == UInt8(ascii: "[") else { break }
        for (index, item) in JSONText.items(of: valueRange, in: text).enumerated() {
          if let found = element(child, item, path: "\(here)[\(index)]", node: node) {
            return found
          }
        }
      case nil:
        guard text[valueRange.lowerBound] == UInt8(ascii: "[") else { break }
        for (index, item) in JSONText.items(of: valueRange, in: text).enumerated() {
          let one =
            Array("{".utf8) + text[keyRange] + Array(":[".utf8) + text[item] + Array("]}".utf8)
          if let failure = self.failure(type, one) {
            return made(failure, at: item.lowerBound, path: "\(here)[\(index)]", node: node)
          }
        }
      }
      return made(failure, at: valueRange.lowerBound, path: here, node: node)
    }
    return nil
  }

  private func element(
    _ type: any Message.Type, _ value: Range<Int>, path: String, node: String?
  ) -> FormatError? {
    guard let failure = failure(type, Array(text[value])) else { return nil }
    return search(type, value, path: path, node: node)
      ?? made(failure, at: value.lowerBound, path: path, node: node)
  }

  private func failure(_ type: any Message.Type, _ bytes: [UInt8]) -> (any Error)? {
    do {
      _ = try type.init(jsonUTF8Bytes: bytes)
      return nil
    } catch {
      return error
    }
  }

  private func name(in pairs: [(Range<Int>, Range<Int>)]) -> String? {
    pairs.first { JSONText.string(text[$0.0]) == "name" }
      .flatMap {
        text[$0.1.lowerBound] == UInt8(ascii: "\"") ? JSONText.string(text[$0.1]) : nil
      }
  }

  private func unknown(
    _ key: String, of type: any Message.Type, at offset: Int, path: String, node: String?
  ) -> FormatError {
    let (line, column) = JSONText.position(of: offset, in: text)
    return FormatError(
      .unknownField, "\(type.protoMessageName) has no field \"\(key.prefix(200))\"", line: line,
      column: column, jsonPath: path, node: node)
  }

  private func made(
    _ failure: any Error, at offset: Int, path: String, node: String?
  ) -> FormatError {
    let (line, column) = JSONText.position(of: offset, in: text)
    var (kind, message) = Self.words(failure)
    if case .unrecognizedEnumValue? = failure as? JSONDecodingError {
      let value = text[offset..<JSONText.end(ofValueAt: offset, in: text)].prefix(100)
      message = "the enum has no value \(String(decoding: value, as: UTF8.self))"
    }
    return FormatError(
      kind, message, line: line, column: column, jsonPath: path, node: node)
  }

  private static func words(_ failure: any Error) -> (FormatError.Kind, String) {
    guard let failure = failure as? JSONDecodingError else {
      return (.malformed, "the value cannot be read: \(failure)")
    }
    return switch failure {
    case .malformedNumber: (.malformed, "a number is expected here")
    case .numberRange: (.malformed, "the number is out of range, or not whole")
    case .malformedBool: (.malformed, "true or false is expected here")
    case .malformedString: (.malformed, "a string (base64 for bytes) is expected here")
    case .unrecognizedEnumValue: (.malformed, "the enum has no such value")
    case .illegalNull: (.malformed, "null cannot stand here")
    case .malformedMap: (.malformed, "an object with one value for each key is expected here")
    case .conflictingOneOf: (.malformed, "two values are given where one is to be chosen")
    case .messageDepthLimit: (.limit, "messages are nested deeper than 100 levels")
    case .unknownField(let name): (.unknownField, "unknown field \"\(name.prefix(200))\"")
    case .invalidUTF8: (.malformed, "the text is not UTF-8")
    default: (.malformed, "the value has the wrong type, or is not base64")
    }
  }
}

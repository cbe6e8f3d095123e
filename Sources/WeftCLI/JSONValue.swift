// A small JSON writer: keys keep their order, numbers their digits.

import Weft

/// A JSON value to be printed.
enum JSONValue {
  case null
  case bool(Bool)
  case int(Int)
  case uint(UInt64)
  case real(Double)
  case string(String)
  case array([JSONValue])
  case object([(String, JSONValue)])

  /// The value on one line.
  var text: String {
    var out = ""
    append(to: &out)
    return out
  }

  private func append(to out: inout String) {
    switch self {
    case .null: out += "null"
    case .bool(let value): out += value ? "true" : "false"
    case .int(let value): out += "\(value)"
    case .uint(let value): out += "\(value)"
    case .real(let value):
      // As protobuf's JSON writes what JSON has no number for.
      if value.isNaN {
        out += "\"NaN\""
      } else if value.isInfinite {
        out += value < 0 ? "\"-Infinity\"" : "\"Infinity\""
      } else {
        out += "\(value)"
      }
    case .string(let value): JSONValue.quote(value, to: &out)
    case .array(let items):
      out += "["
      for (index, item) in items.enumerated() {
        if index > 0 { out += ", " }
        item.append(to: &out)
      }
      out += "]"
    case .object(let members):
      out += "{"
      for (index, (key, value)) in members.enumerated() {
        if index > 0 { out += ", " }
        JSONValue.quote(key, to: &out)
        out += ": "
        value.append(to: &out)
      }
      out += "}"
    }
  }

  private static func quote(_ text: String, to out: inout String) {
    out += "\""
    for scalar in text.unicodeScalars {
      switch scalar {
      case "\"": out += "\\\""
      case "\\": out += "\\\\"
      case "\n": out += "\\n"
      case "\t": out += "\\t"
      case "\r": out += "\\r"
      case _ where scalar.value < 0x20:
        let digits = String(scalar.value, radix: 16)
        out += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
      default: out.unicodeScalars.append(scalar)
      }
    }
    out += "\""
  }
}

extension JSONValue {
  /// The elements of a tensor as nested arrays.
  init(_ tensor: Tensor) {
    let texts = TensorText.scalars(tensor)
    let items: [JSONValue]
    switch tensor.dtype {
    case .string: items = texts.map { .string($0) }
    case .bool: items = (tensor.integers ?? []).map { .bool($0 != 0) }
    case .uint64: items = (tensor.doubles ?? []).map { .real($0) }
    default:
      if let integers = tensor.integers {
        items = integers.map { .int($0) }
      } else if tensor.dtype == .float32, let floats = try? tensor.array(of: Float.self) {
        // Through text, so that 0.1 stays 0.1.
        items = floats.map { .real(Double($0.description) ?? Double($0)) }
      } else if let doubles = tensor.doubles {
        items = doubles.map { .real($0) }
      } else {
        items = texts.map { .string($0) }
      }
    }
    let shape = tensor.shape
    func part(_ axis: Int, _ start: Int) -> JSONValue {
      if axis == shape.count { return start < items.count ? items[start] : .null }
      let stride = shape[(axis + 1)...].reduce(1, *)
      return .array((0..<shape[axis]).map { part(axis + 1, start + $0 * stride) })
    }
    self = part(0, 0)
  }
}

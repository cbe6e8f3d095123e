// Tensors as text on stdout.

import Weft

/// Printing small tensors, and a line about large ones.
enum TensorText {
  /// Tensors of more elements are described, not printed.
  static let limit = 1_000
  /// A large tensor is described in parts of this many elements.
  private static let part = 1 << 16

  /// `NAME  float32 [2, 3]` with the elements, or their range when there are many.
  static func block(_ name: String, _ tensor: Tensor) -> String {
    let head = "\(name)  \(tensor.type)"
    if tensor.count > limit {
      guard let first = tensor.doubles(in: 0..<1)?.first else { return head }
      var low = first
      var high = first
      var sum = 0.0
      var unusual = 0
      for start in stride(from: 0, to: tensor.count, by: part) {
        for number in tensor.doubles(in: start..<Swift.min(start + part, tensor.count)) ?? [] {
          low = Swift.min(low, number)
          high = Swift.max(high, number)
          sum += number
          if !number.isFinite { unusual += 1 }
        }
      }
      var line = "\(head)  min \(low)  max \(high)  mean \(sum / Double(tensor.count))"
      if unusual > 0 { line += "  not finite \(unusual)" }
      return line + "  (--outdir writes it)"
    }
    if tensor.shape.isEmpty { return "\(head)  \(scalars(tensor).first ?? "")" }
    return "\(head)\n\(nested(scalars(tensor), tensor.shape))"
  }

  /// Each element as text.
  static func scalars(_ tensor: Tensor) -> [String] {
    switch tensor.dtype {
    case .bool: return (tensor.integers ?? []).map { $0 != 0 ? "true" : "false" }
    case .string: return tensor.strings.map { String(decoding: $0, as: UTF8.self) }
    case .float32: return ((try? tensor.array(of: Float.self)) ?? []).map(\.description)
    case .uint64: return ((try? tensor.array(of: UInt64.self)) ?? []).map(\.description)
    case .complex64:
      return ((try? tensor.array(of: ComplexValue<Float>.self)) ?? []).map {
        "\($0.real)\($0.imaginary.sign == .minus ? "" : "+")\($0.imaginary)i"
      }
    case .complex128:
      return ((try? tensor.array(of: ComplexValue<Double>.self)) ?? []).map {
        "\($0.real)\($0.imaginary.sign == .minus ? "" : "+")\($0.imaginary)i"
      }
    default:
      if let integers = tensor.integers { return integers.map(\.description) }
      return (tensor.doubles ?? []).map(\.description)
    }
  }

  private static func nested(_ items: [String], _ shape: [Int]) -> String {
    if items.isEmpty { return "[]" }
    let width = items.reduce(0) { Swift.max($0, TextDisplay.columns(of: $1)) }
    func part(_ axis: Int, _ start: Int) -> String {
      let stride = shape[(axis + 1)...].reduce(1, *)
      if axis == shape.count - 1 {
        let row = (0..<shape[axis]).map { index in
          let text = items[start + index]
          return String(repeating: " ", count: width - TextDisplay.columns(of: text)) + text
        }
        return "[" + row.joined(separator: ", ") + "]"
      }
      let rows = (0..<shape[axis]).map { part(axis + 1, start + $0 * stride) }
      return "["
        + rows.joined(separator: ",\n" + String(repeating: " ", count: axis + 1)) + "]"
    }
    return part(0, 0)
  }
}

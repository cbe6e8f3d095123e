// Literals of --inputs: parsed, never evaluated.

import Weft

/// A literal such as `3.5`, `[[1,2],[3,4]]`, `zeros(2,3)`, `ones(4)` or `range(6)`.
struct Literal {
  /// One element as it was written.
  enum Element {
    case int(Int64)
    case large(UInt64)
    case real(Double)
    case bool(Bool)
    case text(String)
  }

  /// Literals of more elements are refused: such values belong into files.
  static let limit = 1 << 24

  var elements: [Element]
  var shape: [Int]

  /// Parses `text` whole.
  init(_ text: String) throws(WeftError) {
    var parser = LiteralParser(text)
    self = try parser.parse()
  }

  init(elements: [Element], shape: [Int]) {
    self.elements = elements
    self.shape = shape
  }

  /// The element type when nothing says which: int32, float32, bool or string.
  var naturalType: DType {
    var type = DType.int32
    for element in elements {
      switch element {
      case .int(let value): if Int32(exactly: value) == nil, type == .int32 { type = .int64 }
      case .large: if type == .int32 { type = .int64 }
      case .real: type = .float32
      case .bool: return .bool
      case .text: return .string
      }
    }
    return elements.isEmpty ? .float32 : type
  }

  /// The literal as a tensor of `dtype`.
  func tensor(_ wanted: DType) throws(WeftError) -> Tensor {
    let dtype = wanted == .invalid ? naturalType : wanted
    switch dtype {
    case .float32: return try Tensor(try map(dtype) { Float(real: $0) }, shape: shape)
    case .float64: return try Tensor(try map(dtype) { Double(real: $0) }, shape: shape)
    case .bfloat16:
      return try Tensor(try map(dtype) { Float(real: $0).map { BFloat16($0) } }, shape: shape)
    #if !(os(macOS) && arch(x86_64))
      case .float16:
        return try Tensor(try map(dtype) { Double(real: $0).map { Float16($0) } }, shape: shape)
    #endif
    case .complex64:
      return try Tensor(
        try map(dtype) { Float(real: $0).map { ComplexValue($0, 0) } }, shape: shape)
    case .complex128:
      return try Tensor(
        try map(dtype) { Double(real: $0).map { ComplexValue($0, 0) } }, shape: shape)
    case .int8: return try integers(Int8.self)
    case .int16: return try integers(Int16.self)
    case .int32: return try integers(Int32.self)
    case .int64: return try integers(Int64.self)
    case .uint8: return try integers(UInt8.self)
    case .uint16: return try integers(UInt16.self)
    case .uint32: return try integers(UInt32.self)
    case .uint64: return try integers(UInt64.self)
    case .bool:
      return try Tensor(
        try map(dtype) { element -> Bool? in
          switch element {
          case .bool(let value): return value
          case .int(0): return false
          case .int(1): return true
          default: return nil
          }
        }, shape: shape)
    case .string:
      return try Tensor(
        strings: try map(dtype) { element -> [UInt8]? in
          guard case .text(let text) = element else { return nil }
          return Array(text.utf8)
        },
        shape: shape)
    default:
      throw WeftError(.unimplemented, "there are no literals of type \(dtype.name)")
    }
  }

  private func integers<Number: FixedWidthInteger & TensorElement>(
    _: Number.Type
  ) throws(WeftError) -> Tensor {
    try Tensor(
      try map(Number.dtype) { element -> Number? in
        switch element {
        case .int(let value): return Number(exactly: value)
        case .large(let value): return Number(exactly: value)
        case .real(let value): return Number(exactly: value)
        case .bool, .text: return nil
        }
      }, shape: shape)
  }

  private func map<Number>(
    _ dtype: DType, _ convert: (Element) -> Number?
  ) throws(WeftError) -> [Number] {
    var result: [Number] = []
    result.reserveCapacity(elements.count)
    for element in elements {
      guard let number = convert(element) else {
        throw WeftError(.invalidArgument, "\(element.shown) is no value of type \(dtype.name)")
      }
      result.append(number)
    }
    return result
  }
}

extension Literal.Element {
  var shown: String {
    switch self {
    case .int(let value): "\(value)"
    case .large(let value): "\(value)"
    case .real(let value): "\(value)"
    case .bool(let value): "\(value)"
    case .text(let value): "\"\(value)\""
    }
  }
}

extension BinaryFloatingPoint {
  fileprivate init?(real element: Literal.Element) {
    switch element {
    case .int(let value): self.init(value)
    case .large(let value): self.init(value)
    case .real(let value): self.init(value)
    case .bool, .text: return nil
    }
  }
}

/// Reads one literal from the bytes of a text.
private struct LiteralParser {
  private let bytes: [UInt8]
  private var at = 0
  private var elements: [Literal.Element] = []
  // Sizes of list levels, as the first list of each level has them.
  private var sizes: [Int] = []
  private var scalarDepth: Int?

  init(_ text: String) { bytes = Array(text.utf8) }

  mutating func parse() throws(WeftError) -> Literal {
    skipSpace()
    if let call = try call() {
      try end()
      return call
    }
    try value(depth: 0)
    try end()
    return Literal(elements: elements, shape: sizes)
  }

  private func failure(_ what: String) -> WeftError {
    WeftError(
      .invalidArgument,
      "'\(String(decoding: bytes.prefix(80), as: UTF8.self))' is no literal: \(what) at character "
        + "\(at + 1)",
      hint: "write 3.5, [[1,2],[3,4]], zeros(2,3), ones(2), range(6), or name a .npy or .npz file")
  }

  private mutating func skipSpace() {
    while at < bytes.count, bytes[at] == 0x20 || bytes[at] == 0x09 || bytes[at] == 0x0A { at += 1 }
  }

  private mutating func end() throws(WeftError) {
    skipSpace()
    if at < bytes.count { throw failure("there is more") }
  }

  private mutating func take(_ byte: Character) -> Bool {
    skipSpace()
    guard at < bytes.count, bytes[at] == byte.asciiValue else { return false }
    at += 1
    return true
  }

  private mutating func word() -> String {
    let start = at
    while at < bytes.count, !" \t\n,[]()\"'".utf8.contains(bytes[at]) { at += 1 }
    return String(decoding: bytes[start..<at], as: UTF8.self)
  }

  private mutating func value(depth: Int) throws(WeftError) {
    guard depth <= 32 else { throw failure("lists are nested too deep") }
    skipSpace()
    if take("[") {
      if let scalarDepth, depth >= scalarDepth { throw failure("rows differ in depth") }
      let isFirst = sizes.count == depth
      if isFirst { sizes.append(-1) }
      var count = 0
      if !take("]") {
        repeat {
          try value(depth: depth + 1)
          count += 1
        } while take(",")
        guard take("]") else { throw failure("',' or ']' is missing") }
      }
      if sizes[depth] < 0 { sizes[depth] = count }
      guard sizes[depth] == count else {
        throw failure("rows differ in length: \(sizes[depth]) and \(count)")
      }
      return
    }
    if let known = scalarDepth, known != depth { throw failure("rows differ in depth") }
    if scalarDepth == nil, depth < sizes.count { throw failure("rows differ in depth") }
    scalarDepth = depth
    guard elements.count < Literal.limit else { throw failure("it is too long") }
    elements.append(try scalar())
  }

  private mutating func scalar() throws(WeftError) -> Literal.Element {
    guard at < bytes.count else { throw failure("a value is missing") }
    if bytes[at] == UInt8(ascii: "\"") || bytes[at] == UInt8(ascii: "'") {
      let quote = bytes[at]
      let start = at + 1
      guard let close = bytes[start...].firstIndex(of: quote) else {
        throw failure("the quote is not closed")
      }
      at = close + 1
      return .text(String(decoding: bytes[start..<close], as: UTF8.self))
    }
    let start = at
    let text = word()
    switch text.lowercased() {
    case "true": return .bool(true)
    case "false": return .bool(false)
    case "nan": return .real(.nan)
    case "inf", "+inf", "infinity": return .real(.infinity)
    case "-inf", "-infinity": return .real(-.infinity)
    default: break
    }
    if let value = Int64(text) { return .int(value) }
    if let value = UInt64(text) { return .large(value) }
    // Only digits, sign, point and exponent: Swift would take hexadecimal too.
    if text.utf8.allSatisfy({ "0123456789+-.eE".utf8.contains($0) }), let value = Double(text) {
      return .real(value)
    }
    at = start
    throw failure(text.isEmpty ? "a value is missing" : "'\(text)' is no number")
  }

  // zeros(2,3), ones(2,3), range(6), range(1,7), range(1,7,2)
  private mutating func call() throws(WeftError) -> Literal? {
    let start = at
    let name = word()
    guard ["zeros", "ones", "range"].contains(name), take("(") else {
      at = start
      return nil
    }
    var arguments: [Literal.Element] = []
    if !take(")") {
      repeat {
        skipSpace()
        arguments.append(try scalar())
      } while take(",")
      guard take(")") else { throw failure("',' or ')' is missing") }
    }
    if name == "range" { return try range(arguments) }
    var shape: [Int] = []
    for argument in arguments {
      guard case .int(let size) = argument, size >= 0 else {
        throw failure("'\(argument.shown)' is no size")
      }
      shape.append(Int(size))
    }
    guard let count = Shape.checkedCount(shape), count <= Literal.limit else {
      throw failure("\(shape) is too large")
    }
    let element = Literal.Element.int(name == "ones" ? 1 : 0)
    return Literal(elements: Array(repeating: element, count: count), shape: shape)
  }

  private func range(_ arguments: [Literal.Element]) throws(WeftError) -> Literal {
    guard (1...3).contains(arguments.count) else { throw failure("range takes 1 to 3 numbers") }
    var whole: [Int64] = []
    for argument in arguments {
      guard case .int(let value) = argument, value.magnitude < 1 << 52 else {
        throw failure("range takes whole numbers")
      }
      whole.append(value)
    }
    let from = whole.count > 1 ? whole[0] : 0
    let to = whole.count > 1 ? whole[1] : whole[0]
    let step = whole.count > 2 ? whole[2] : 1
    guard step != 0 else { throw failure("range needs a step") }
    let count = max(0, (to - from + step - (step > 0 ? 1 : -1)) / step)
    guard count <= Literal.limit else { throw failure("it is too long") }
    let elements = (0..<count).map { Literal.Element.int(from + $0 * step) }
    return Literal(elements: elements, shape: [elements.count])
  }
}

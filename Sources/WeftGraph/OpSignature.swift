// An op's inputs, outputs and attributes, parsed from TensorFlow's registration notation.

public import WeftTensors

/// One input or output of an op.
public struct ArgDef: Sendable {
  /// Where the element type comes from.
  public enum ElementType: Sendable {
    /// A fixed type.
    case fixed(DType)
    /// The type attribute of this name.
    case attr(String)
    /// One tensor for each entry of the list(type) attribute of this name.
    case list(String)
  }
  /// The argument's name.
  public let name: String
  /// Where the element type comes from.
  public let type: ElementType
  /// The int attribute that says how many tensors stand here, if there are several of one type.
  public let count: String?
  /// Whether it is a reference to a variable's buffer.
  public let isReference: Bool
}

/// One attribute an op takes.
public struct AttrDef: Sendable {
  /// The attribute's name.
  public let name: String
  /// `int`, `float`, `bool`, `string`, `type`, `shape`, `tensor`, `func` or `list(...)` of one.
  public let kind: String
  /// The value when a node does not store one; nil when it must.
  public let defaultValue: AttrValue?
  /// Allowed types, for a type or list(type) attribute that restricts them.
  public let allowedTypes: [DType]?
  /// Allowed texts, for a string attribute that restricts them.
  public let allowedStrings: [String]?
  /// Least value of an int, or least length of a list.
  public let minimum: Int?
}

/// An op's inputs, outputs and attributes.
///
/// Notation: `"a: T, b: N * T -> y: T"` and `"N: int >= 1; T: {float, double}; axis: int = 0"`,
/// with the argument forms of TensorFlow's REGISTER_OP (`x: float`, `x: T`, `x: N * T`, `x: Tlist`,
/// `x: Ref(T)`). Besides explicit sets, `numbertype` and `realnumbertype` name TensorFlow's.
public struct OpSignature: Sendable {
  /// The inputs, in order.
  public let inputs: [ArgDef]
  /// The outputs, in order.
  public let outputs: [ArgDef]
  /// The attributes, in order.
  public let attrs: [AttrDef]

  /// The attribute called `name`.
  public func attr(_ name: String) -> AttrDef? { attrs.first { $0.name == name } }

  /// TensorFlow's `realnumbertype`.
  public static let realNumberTypes: [DType] = [
    .float32, .float64, .int32, .int64, .uint8, .int16, .int8, .uint16, .float16, .bfloat16,
    .uint32, .uint64,
  ]
  /// TensorFlow's `numbertype`, without the quantized types.
  public static let numberTypes: [DType] = realNumberTypes + [.complex64, .complex128]

  /// Parses the notation above; nil when it is malformed.
  init?(arguments: String, attributes: String) {
    var attrs: [AttrDef] = []
    for part in attributes.split(separator: ";") {
      let text = part.trimmingSpaces()
      if text.isEmpty { continue }
      guard let attr = OpSignature.parseAttr(text) else { return nil }
      attrs.append(attr)
    }
    self.attrs = attrs
    guard let arrow = arguments.firstRange(of: "->") else { return nil }
    func parse(_ side: Substring) -> [ArgDef]? {
      var args: [ArgDef] = []
      for part in side.split(separator: ",") {
        let text = part.trimmingSpaces()
        if text.isEmpty { continue }
        guard let arg = OpSignature.parseArg(text, attrs) else { return nil }
        args.append(arg)
      }
      return args
    }
    guard let ins = parse(arguments[..<arrow.lowerBound]),
      let outs = parse(arguments[arrow.upperBound...])
    else { return nil }
    inputs = ins
    outputs = outs
  }

  private static func parseArg(_ text: Substring, _ attrs: [AttrDef]) -> ArgDef? {
    guard let colon = text.firstIndex(of: ":") else { return nil }
    let name = String(text[..<colon].trimmingSpaces())
    var rest = text[text.index(after: colon)...].trimmingSpaces()
    var reference = false
    if rest.hasPrefix("Ref("), rest.hasSuffix(")") {
      reference = true
      rest = rest.dropFirst(4).dropLast()
    }
    var count: String?
    if let star = rest.firstIndex(of: "*") {
      count = String(rest[..<star].trimmingSpaces())
      rest = rest[rest.index(after: star)...].trimmingSpaces()
    }
    let type: ArgDef.ElementType
    if let attr = attrs.first(where: { $0.name == rest }) {
      type = attr.kind == "list(type)" ? .list(String(rest)) : .attr(String(rest))
    } else if let fixed = DType(signatureName: rest) {
      type = .fixed(fixed)
    } else {
      return nil
    }
    return ArgDef(name: name, type: type, count: count, isReference: reference)
  }

  private static func parseAttr(_ text: Substring) -> AttrDef? {
    guard let colon = text.firstIndex(of: ":") else { return nil }
    let name = String(text[..<colon].trimmingSpaces())
    var rest = text[text.index(after: colon)...].trimmingSpaces()
    var defaultText: Substring?
    // The default stands after the last " = " (a set or bound may come before it).
    if let equal = rest.firstRange(of: " = ") {
      defaultText = rest[equal.upperBound...].trimmingSpaces()
      rest = rest[..<equal.lowerBound].trimmingSpaces()
    }
    var minimum: Int?
    if let bound = rest.firstRange(of: ">=") {
      minimum = Int(rest[bound.upperBound...].trimmingSpaces())
      rest = rest[..<bound.lowerBound].trimmingSpaces()
    }
    var isList = false
    if rest.hasPrefix("list("), rest.hasSuffix(")") {
      isList = true
      rest = rest.dropFirst(5).dropLast().trimmingSpaces()
    }
    var types: [DType]?
    var strings: [String]?
    var kind = String(rest)
    switch rest {
    case "numbertype":
      types = numberTypes
      kind = "type"
    case "realnumbertype":
      types = realNumberTypes
      kind = "type"
    default:
      if rest.hasPrefix("{"), rest.hasSuffix("}") {
        let items = rest.dropFirst().dropLast().split(separator: ",").map { $0.trimmingSpaces() }
        if items.first?.hasPrefix("'") == true {
          strings = items.map { String($0.dropFirst().dropLast()) }
          kind = "string"
        } else {
          types = items.compactMap { DType(signatureName: $0) }
          guard types?.count == items.count else { return nil }
          kind = "type"
        }
      }
    }
    var value: AttrValue?
    if let defaultText {
      guard let parsed = parseValue(defaultText, isList ? "list(\(kind))" : kind) else {
        return nil
      }
      value = parsed
    }
    return AttrDef(
      name: name, kind: isList ? "list(\(kind))" : kind, defaultValue: value, allowedTypes: types,
      allowedStrings: strings, minimum: minimum)
  }

  private static func parseValue(_ text: Substring, _ kind: String) -> AttrValue? {
    switch kind {
    case "int": return Int64(text).map { .int($0) }
    case "float": return Float(text).map { .float($0) }
    case "bool": return text == "true" ? .bool(true) : text == "false" ? .bool(false) : nil
    case "type": return DType(signatureName: text).map { .type($0) }
    case "string":
      guard text.count >= 2, text.hasPrefix("'"), text.hasSuffix("'") else { return nil }
      return .string(String(text.dropFirst().dropLast()))
    case "shape":
      if text == "<unknown>" { return .shape(.unknown) }
      guard text.hasPrefix("["), text.hasSuffix("]") else { return nil }
      let sizes = text.dropFirst().dropLast().split(separator: ",").compactMap {
        Int($0.trimmingSpaces())
      }
      return .shape(Shape(sizes))
    default:
      guard kind.hasPrefix("list("), text.hasPrefix("["), text.hasSuffix("]") else { return nil }
      let inner = String(kind.dropFirst(5).dropLast())
      var items: [AttrValue] = []
      for part in text.dropFirst().dropLast().split(separator: ",") {
        guard let item = parseValue(part.trimmingSpaces(), inner) else { return nil }
        items.append(item)
      }
      return .list(items)
    }
  }
}

extension StringProtocol where SubSequence == Substring {
  // Spaces off both ends, without Foundation.
  func trimmingSpaces() -> Substring {
    var view = self[startIndex..<endIndex]
    while view.first == " " || view.first == "\n" { view = view.dropFirst() }
    while view.last == " " || view.last == "\n" { view = view.dropLast() }
    return view
  }
  // The first place `pattern` stands, without Foundation.
  func firstRange(of pattern: String) -> Range<String.Index>? {
    var start = startIndex
    while start < endIndex {
      if self[start...].hasPrefix(pattern) {
        return start..<index(start, offsetBy: pattern.count)
      }
      start = index(after: start)
    }
    return nil
  }
}

// Attribute values of nodes, and typed access to them.

public import WeftTensors

/// A function name with its own attributes: TensorFlow's `NameAttrList`.
public struct FunctionRef: Sendable {
  /// The function's name in the graph's library.
  public var name: String
  /// Attributes that instantiate it.
  public var attrs: [String: AttrValue]
  /// A function reference.
  public init(_ name: String, attrs: [String: AttrValue] = [:]) {
    self.name = name
    self.attrs = attrs
  }
}

/// One attribute of a node: TensorFlow's `AttrValue`.
public indirect enum AttrValue: Sendable {
  /// Bytes, usually UTF-8 text.
  case string([UInt8])
  case int(Int64)
  case float(Float)
  case bool(Bool)
  case type(DType)
  case shape(Shape)
  case tensor(Tensor)
  case function(FunctionRef)
  /// Homogeneous lists; `.list([])` is an empty list of any kind.
  case list([AttrValue])
  /// The name of an attribute of the enclosing function, to be substituted.
  case placeholder(String)
  /// A value that Weft does not interpret, as serialized `tensorflow.AttrValue` bytes.
  case opaque([UInt8])

  /// Text as bytes.
  public static func string(_ text: String) -> AttrValue { .string(Array(text.utf8)) }
  /// A list of integers.
  public static func ints(_ values: [Int]) -> AttrValue { .list(values.map { .int(Int64($0)) }) }

  /// The kind, as TensorFlow's signatures name it.
  public var kind: String {
    switch self {
    case .string: "string"
    case .int: "int"
    case .float: "float"
    case .bool: "bool"
    case .type: "type"
    case .shape: "shape"
    case .tensor: "tensor"
    case .function: "func"
    case .list(let items): items.first.map { "list(\($0.kind))" } ?? "list"
    case .placeholder: "placeholder"
    case .opaque: "opaque"
    }
  }

  /// The text of a string value.
  public var text: String? {
    if case .string(let bytes) = self { String(decoding: bytes, as: UTF8.self) } else { nil }
  }
}

extension AttrValue: Hashable {
  /// Structural equality; tensors compare by type, shape and bytes, floats by bits.
  public static func == (a: AttrValue, b: AttrValue) -> Bool {
    switch (a, b) {
    case (.string(let x), .string(let y)): x == y
    case (.int(let x), .int(let y)): x == y
    case (.float(let x), .float(let y)): x.bitPattern == y.bitPattern
    case (.bool(let x), .bool(let y)): x == y
    case (.type(let x), .type(let y)): x == y
    case (.shape(let x), .shape(let y)): x == y
    case (.tensor(let x), .tensor(let y)): x.isIdentical(to: y)
    case (.function(let x), .function(let y)): x.name == y.name && x.attrs == y.attrs
    case (.list(let x), .list(let y)): x == y
    case (.placeholder(let x), .placeholder(let y)): x == y
    case (.opaque(let x), .opaque(let y)): x == y
    default: false
    }
  }

  /// Hashes what `==` compares; of tensors only type, shape and the first bytes.
  public func hash(into hasher: inout Hasher) {
    switch self {
    case .string(let x): hasher.combine(x)
    case .int(let x): hasher.combine(x)
    case .float(let x): hasher.combine(x.bitPattern)
    case .bool(let x): hasher.combine(x)
    case .type(let x): hasher.combine(x)
    case .shape(let x): hasher.combine(x)
    case .tensor(let x):
      hasher.combine(x.dtype)
      hasher.combine(x.shape)
      hasher.combine(bytes: UnsafeRawBufferPointer(rebasing: x.bytes.prefix(64)))
    case .function(let x): hasher.combine(x.name)
    case .list(let x): hasher.combine(x)
    case .placeholder(let x): hasher.combine(x)
    case .opaque(let x): hasher.combine(x)
    }
  }
}

/// Typed access to a node's attributes, with the op's defaults behind what the node stores.
public struct Attrs: Sendable {
  /// What the node itself stores.
  public let stored: [String: AttrValue]
  let signature: OpSignature?

  /// Attributes as stored, with the defaults of `signature`.
  public init(_ stored: [String: AttrValue], signature: OpSignature?) {
    self.stored = stored
    self.signature = signature
  }

  /// The value of `name`, or its default.
  public subscript(name: String) -> AttrValue? {
    stored[name] ?? signature?.attr(name)?.defaultValue
  }

  private func get<T>(
    _ name: String, _ kind: String, _ convert: (AttrValue) -> T?
  ) throws(WeftError) -> T {
    guard let value = self[name] else {
      throw WeftError(.invalidArgument, "attr '\(name)' (\(kind)) is missing")
    }
    guard let result = convert(value) else {
      throw WeftError(.invalidArgument, "attr '\(name)' is a \(value.kind), expected \(kind)")
    }
    return result
  }

  /// An int attribute.
  public func int(_ name: String) throws(WeftError) -> Int {
    try get(name, "int") { if case .int(let v) = $0 { Int(v) } else { nil } }
  }
  /// A float attribute.
  public func float(_ name: String) throws(WeftError) -> Float {
    try get(name, "float") { if case .float(let v) = $0 { v } else { nil } }
  }
  /// A bool attribute.
  public func bool(_ name: String) throws(WeftError) -> Bool {
    try get(name, "bool") { if case .bool(let v) = $0 { v } else { nil } }
  }
  /// A type attribute.
  public func type(_ name: String) throws(WeftError) -> DType {
    try get(name, "type") { if case .type(let v) = $0 { v } else { nil } }
  }
  /// A string attribute as text.
  public func string(_ name: String) throws(WeftError) -> String {
    try get(name, "string") { $0.text }
  }
  /// A shape attribute.
  public func shape(_ name: String) throws(WeftError) -> Shape {
    try get(name, "shape") { if case .shape(let v) = $0 { v } else { nil } }
  }
  /// A tensor attribute.
  public func tensor(_ name: String) throws(WeftError) -> Tensor {
    try get(name, "tensor") { if case .tensor(let v) = $0 { v } else { nil } }
  }
  /// A function attribute.
  public func function(_ name: String) throws(WeftError) -> FunctionRef {
    try get(name, "func") { if case .function(let v) = $0 { v } else { nil } }
  }

  private func getList<T>(
    _ name: String, _ kind: String, _ convert: (AttrValue) -> T?
  ) throws(WeftError) -> [T] {
    try get(name, "list(\(kind))") { value in
      guard case .list(let items) = value else { return nil }
      let converted = items.compactMap(convert)
      return converted.count == items.count ? converted : nil
    }
  }

  /// A list(int) attribute.
  public func ints(_ name: String) throws(WeftError) -> [Int] {
    try getList(name, "int") { if case .int(let v) = $0 { Int(v) } else { nil } }
  }
  /// A list(float) attribute.
  public func floats(_ name: String) throws(WeftError) -> [Float] {
    try getList(name, "float") { if case .float(let v) = $0 { v } else { nil } }
  }
  /// A list(type) attribute.
  public func types(_ name: String) throws(WeftError) -> [DType] {
    try getList(name, "type") { if case .type(let v) = $0 { v } else { nil } }
  }
  /// A list(shape) attribute.
  public func shapes(_ name: String) throws(WeftError) -> [Shape] {
    try getList(name, "shape") { if case .shape(let v) = $0 { v } else { nil } }
  }
  /// A list(string) attribute as text.
  public func strings(_ name: String) throws(WeftError) -> [String] {
    try getList(name, "string") { $0.text }
  }
  /// A list(func) attribute.
  public func functions(_ name: String) throws(WeftError) -> [FunctionRef] {
    try getList(name, "func") { if case .function(let v) = $0 { v } else { nil } }
  }
}

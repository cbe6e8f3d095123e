// Element types of tensors, numbered as TensorFlow's `DataType`.

/// The element type of a tensor. Raw values are TensorFlow's `DataType` numbers.
public enum DType: Int32, Sendable, Hashable, CaseIterable {
  /// No type: the output of an op that is not registered.
  case invalid = 0
  case float32 = 1
  case float64 = 2
  case int32 = 3
  case uint8 = 4
  case int16 = 5
  case int8 = 6
  case string = 7
  case complex64 = 8
  case int64 = 9
  case bool = 10
  case qint8 = 11
  case quint8 = 12
  case qint32 = 13
  case bfloat16 = 14
  case qint16 = 15
  case quint16 = 16
  case uint16 = 17
  case complex128 = 18
  case float16 = 19
  case resource = 20
  case variant = 21
  case uint32 = 22
  case uint64 = 23

  /// Bytes per element; 0 for types without a plain memory layout (string, resource, variant).
  public var byteSize: Int {
    switch self {
    case .invalid, .string, .resource, .variant: 0
    case .bool, .int8, .uint8, .qint8, .quint8: 1
    case .int16, .uint16, .float16, .bfloat16, .qint16, .quint16: 2
    case .float32, .int32, .uint32, .qint32: 4
    case .float64, .int64, .uint64, .complex64: 8
    case .complex128: 16
    }
  }

  /// Whether elements are plain bytes that kernels may copy.
  public var isPlain: Bool { byteSize > 0 }

  /// float16, bfloat16, float32 or float64.
  public var isFloating: Bool {
    switch self {
    case .float16, .bfloat16, .float32, .float64: true
    default: false
    }
  }

  /// complex64 or complex128.
  public var isComplex: Bool { self == .complex64 || self == .complex128 }

  /// A signed or unsigned integer type (bool and quantized types excluded).
  public var isInteger: Bool {
    switch self {
    case .int8, .int16, .int32, .int64, .uint8, .uint16, .uint32, .uint64: true
    default: false
    }
  }

  /// Whether gradients flow through values of this type.
  public var isDifferentiable: Bool { isFloating || isComplex }

  /// TensorFlow's short name, such as `float32`, `int32`, `string`.
  public var name: String {
    switch self {
    case .invalid: "invalid"
    default: "\(self)"
    }
  }

  /// TensorFlow's enum name, such as `DT_FLOAT`.
  public var protoName: String {
    switch self {
    case .float32: "DT_FLOAT"
    case .float64: "DT_DOUBLE"
    case .float16: "DT_HALF"
    default: "DT_" + name.uppercased()
    }
  }

  /// The type that TensorFlow's op signatures call `text`: `float`, `double`, `half`, `int32`, ...
  public init?(signatureName text: some StringProtocol) {
    switch text {
    case "float": self = .float32
    case "double": self = .float64
    case "half": self = .float16
    default:
      guard let found = DType.allCases.first(where: { $0.name == text }) else { return nil }
      self = found
    }
  }
}

/// A 16-bit brain float: the upper half of a `Float`.
public struct BFloat16: Sendable, Hashable, BitwiseCopyable {
  /// The bit pattern.
  public var bitPattern: UInt16

  /// A value from its bit pattern.
  public init(bitPattern: UInt16) { self.bitPattern = bitPattern }

  /// The nearest bfloat16, ties to even; NaN stays NaN.
  public init(_ value: Float) {
    let bits = value.bitPattern
    if value.isNaN {
      bitPattern = UInt16(truncatingIfNeeded: bits >> 16) | 0x0040
    } else {
      let rounded = bits &+ 0x7fff &+ ((bits >> 16) & 1)
      bitPattern = UInt16(truncatingIfNeeded: rounded >> 16)
    }
  }

  /// The value as a `Float`, exact.
  public var float: Float { Float(bitPattern: UInt32(bitPattern) << 16) }
}

/// A complex number of two floating-point parts, laid out as TensorFlow lays it out.
public struct ComplexValue<Part: BinaryFloatingPoint & Sendable & BitwiseCopyable>: Sendable,
  Hashable, BitwiseCopyable
{
  /// The real part.
  public var real: Part
  /// The imaginary part.
  public var imaginary: Part
  /// A complex number from its parts.
  public init(_ real: Part, _ imaginary: Part) {
    self.real = real
    self.imaginary = imaginary
  }
}

/// A Swift type that is the element of a plain tensor.
public protocol TensorElement: Sendable, BitwiseCopyable {
  /// The tensor type with elements of this Swift type.
  static var dtype: DType { get }
}

extension Float: TensorElement {
  /// The tensor type of these elements.
  public static var dtype: DType { .float32 }
}
extension Double: TensorElement {
  /// The tensor type of these elements.
  public static var dtype: DType { .float64 }
}
extension Int8: TensorElement {
  /// The tensor type of these elements.
  public static var dtype: DType { .int8 }
}
extension Int16: TensorElement {
  /// The tensor type of these elements.
  public static var dtype: DType { .int16 }
}
extension Int32: TensorElement {
  /// The tensor type of these elements.
  public static var dtype: DType { .int32 }
}
extension Int64: TensorElement {
  /// The tensor type of these elements.
  public static var dtype: DType { .int64 }
}
extension UInt8: TensorElement {
  /// The tensor type of these elements.
  public static var dtype: DType { .uint8 }
}
extension UInt16: TensorElement {
  /// The tensor type of these elements.
  public static var dtype: DType { .uint16 }
}
extension UInt32: TensorElement {
  /// The tensor type of these elements.
  public static var dtype: DType { .uint32 }
}
extension UInt64: TensorElement {
  /// The tensor type of these elements.
  public static var dtype: DType { .uint64 }
}
extension Bool: TensorElement {
  /// The tensor type of these elements.
  public static var dtype: DType { .bool }
}
extension BFloat16: TensorElement {
  /// The tensor type of these elements.
  public static var dtype: DType { .bfloat16 }
}
#if !(os(macOS) && arch(x86_64))
  extension Float16: TensorElement {
    /// The tensor type of these elements.
    public static var dtype: DType { .float16 }
  }
#endif
extension ComplexValue: TensorElement {
  /// complex64 or complex128.
  public static var dtype: DType { Part.self == Float.self ? .complex64 : .complex128 }
}

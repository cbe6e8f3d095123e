// The `.npy` format: one array with a header in Python's notation.

internal import WeftTensors

/// Encoding and decoding of `.npy` bytes.
enum NumPyArray {
  private static let magic: [UInt8] = [0x93] + Array("NUMPY".utf8)

  /// NumPy's kind and size of each element type.
  private static let descriptions: [(DType, String)] = [
    (.float16, "f2"), (.float32, "f4"), (.float64, "f8"), (.bool, "b1"), (.int8, "i1"),
    (.uint8, "u1"), (.int16, "i2"), (.uint16, "u2"), (.int32, "i4"), (.uint32, "u4"),
    (.int64, "i8"), (.uint64, "u8"), (.complex64, "c8"), (.complex128, "c16"),
  ]

  /// Whether NumPy has this element type.
  static func holds(_ dtype: DType) -> Bool { descriptions.contains { $0.0 == dtype } }

  // MARK: - Writing

  /// The header of a tensor, padded so that the data starts at a multiple of 64 bytes.
  static func header(_ tensor: Tensor) throws(FormatError) -> [UInt8] {
    guard let kind = descriptions.first(where: { $0.0 == tensor.dtype })?.1 else {
      throw FormatError(
        .unsupported, "NumPy has no element type for \(tensor.dtype.name)",
        hint: tensor.dtype == .bfloat16 ? "cast it to float32 first" : nil)
    }
    let order = tensor.dtype.byteSize == 1 ? "|" : "<"
    let comma = tensor.shape.count == 1 ? "," : ""
    let shape = "(" + tensor.shape.map(String.init).joined(separator: ", ") + comma + ")"
    var text = Array(
      "{'descr': '\(order)\(kind)', 'fortran_order': False, 'shape': \(shape), }".utf8)
    let isLong = text.count + 1 + 63 + 10 > 0xFFFF
    let prefix = isLong ? 12 : 10
    while (prefix + text.count + 1) % 64 != 0 { text.append(0x20) }
    text.append(0x0A)
    var out = magic + (isLong ? [2, 0] : [1, 0])
    out.append(number: UInt64(text.count), isLong ? 4 : 2)
    return out + text
  }

  // MARK: - Reading

  /// The array in `bytes`; what follows it is ignored, as NumPy does.
  static func decode(_ bytes: [UInt8]) throws(FormatError) -> Tensor {
    var reader = ByteReader(bytes)
    guard bytes.starts(with: magic) else {
      throw FormatError(.malformed, "this is no .npy file")
    }
    reader.at = magic.count
    let version = try reader.number(2)
    guard [1, 2, 3].contains(version & 0xFF), version >> 8 == 0 else {
      throw FormatError(.unsupported, "the .npy file has version \(version & 0xFF).\(version >> 8)")
    }
    let length = try reader.number(version == 1 ? 2 : 4)
    let header = try parse(bytes[try reader.take(length)])
    let (dtype, isBigEndian) = try elementType(header.description)
    guard let count = Shape.checkedCount(header.shape) else {
      throw FormatError(.invalid, "the shape \(header.shape) cannot be")
    }
    let (size, overflow) = count.multipliedReportingOverflow(by: dtype.byteSize)
    guard !overflow, size <= bytes.count - reader.at else {
      throw FormatError(
        .malformed,
        "a \(dtype.name) array of shape \(header.shape) does not fit into the "
          + "\(bytes.count - reader.at) bytes that the file has after its header: it is truncated")
    }
    var data = Array(bytes[try reader.take(UInt64(size))])
    if isBigEndian { swapBytes(&data, dtype) }
    if header.isFortran { data = transposed(data, header.shape, dtype.byteSize) }
    return try tensor(dtype, header.shape, data[...])
  }

  /// A tensor over a copy of `bytes`, whose number fits.
  static func tensor(
    _ dtype: DType, _ shape: [Int], _ bytes: ArraySlice<UInt8>
  ) throws(FormatError) -> Tensor {
    try tensorErrors { () throws(WeftError) in
      try Tensor(dtype: dtype, shape: shape) { memory throws(WeftError) in
        bytes.withUnsafeBytes { memory.copyMemory(from: $0) }
        // Any other byte would not be a Bool in Swift.
        if dtype == .bool {
          for index in memory.indices where memory[index] != 0 { memory[index] = 1 }
        }
      }
    }
  }

  private static func elementType(
    _ description: String
  ) throws(FormatError) -> (DType, isBigEndian: Bool) {
    guard let order = description.first, "<>|=".contains(order),
      let found = descriptions.first(where: { $0.1 == description.dropFirst() })
    else {
      throw FormatError(
        .unsupported, "arrays of NumPy type '\(description.prefix(100))' are not supported",
        hint: "numbers and bool are; bfloat16, text, objects and records are not")
    }
    return (found.0, order == ">")
  }

  private static func swapBytes(_ data: inout [UInt8], _ dtype: DType) {
    let size = dtype.isComplex ? dtype.byteSize / 2 : dtype.byteSize
    guard size > 1 else { return }
    for start in stride(from: 0, to: data.count, by: size) {
      data[start..<(start + size)].reverse()
    }
  }

  /// Column-major to row-major.
  private static func transposed(_ data: [UInt8], _ shape: [Int], _ size: Int) -> [UInt8] {
    guard shape.count(where: { $0 > 1 }) > 1, !data.isEmpty else { return data }
    var strides = [Int](repeating: 0, count: shape.count)
    var step = size
    for axis in shape.indices {
      strides[axis] = step
      step *= shape[axis]
    }
    var out: [UInt8] = []
    out.reserveCapacity(data.count)
    var place = [Int](repeating: 0, count: shape.count)
    var source = 0
    while out.count < data.count {
      out.append(contentsOf: data[source..<(source + size)])
      var axis = shape.count - 1
      while axis >= 0 {
        place[axis] += 1
        source += strides[axis]
        if place[axis] < shape[axis] { break }
        source -= strides[axis] * shape[axis]
        place[axis] = 0
        axis -= 1
      }
    }
    return out
  }

  // MARK: - The header

  private struct Header {
    var description = ""
    var isFortran = false
    var shape: [Int] = []
  }

  /// Parses `{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }`.
  private static func parse(_ text: ArraySlice<UInt8>) throws(FormatError) -> Header {
    var words = HeaderWords(text: text)
    var header = Header()
    var seen: Set<String> = []
    try words.expect("{")
    while try !words.skip("}") {
      let key = try words.string()
      guard seen.insert(key).inserted else { throw words.error() }
      try words.expect(":")
      switch key {
      case "descr": header.description = try words.string()
      case "fortran_order": header.isFortran = try words.bool()
      case "shape": header.shape = try words.sizes()
      default: throw words.error()
      }
      if try !words.skip(",") {
        try words.expect("}")
        break
      }
    }
    guard seen.count == 3 else { throw words.error() }
    return header
  }

  private struct HeaderWords {
    var text: ArraySlice<UInt8>

    func error() -> FormatError {
      FormatError(.malformed, "the .npy header cannot be read, or is of an unsupported kind")
    }

    mutating func next() throws(FormatError) -> UInt8 {
      while let first = text.first, JSONText.isSpace(first) { text.removeFirst() }
      guard let first = text.first else { throw error() }
      return first
    }

    mutating func skip(_ mark: Character) throws(FormatError) -> Bool {
      guard try next() == mark.asciiValue else { return false }
      text.removeFirst()
      return true
    }

    mutating func expect(_ mark: Character) throws(FormatError) {
      guard try skip(mark) else { throw error() }
    }

    mutating func string() throws(FormatError) -> String {
      let quote = try next()
      guard quote == UInt8(ascii: "'") || quote == UInt8(ascii: "\"") else { throw error() }
      let inner = text.dropFirst().prefix { $0 != quote }
      guard inner.endIndex < text.endIndex, !inner.contains(UInt8(ascii: "\\")) else {
        throw error()
      }
      text = text[(inner.endIndex + 1)...]
      return String(decoding: inner, as: UTF8.self)
    }

    mutating func bool() throws(FormatError) -> Bool {
      _ = try next()
      for (word, value) in [("True", true), ("False", false)] where text.starts(with: word.utf8) {
        text = text.dropFirst(word.utf8.count)
        return value
      }
      throw error()
    }

    mutating func sizes() throws(FormatError) -> [Int] {
      try expect("(")
      var sizes: [Int] = []
      while try !skip(")") {
        _ = try next()
        let digits = text.prefix { $0 &- 48 < 10 }
        guard let size = Int(String(decoding: digits, as: UTF8.self)), sizes.count < 64 else {
          throw error()
        }
        text = text.dropFirst(digits.count)
        // Python 2 wrote long integers with a suffix.
        _ = try skip("L")
        sizes.append(size)
        if try !skip(",") {
          try expect(")")
          break
        }
      }
      return sizes
    }
  }
}

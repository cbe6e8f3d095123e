// Tensors by name in `.safetensors` files, with a checksum: the form of checkpoints.

public import OrderedCollections
public import WeftTensors

/// Named tensors with text metadata in the safetensors format.
public struct SafetensorsFile: Sendable {
  /// The tensors; after reading, in the order of their data.
  public var tensors: OrderedDictionary<String, Tensor>
  /// The `__metadata__` of the header, without the checksum.
  public var metadata: OrderedDictionary<String, String>

  /// The metadata key of the checksum: the CRC-32 of the whole file but for its first eight bytes,
  /// taken with eight zeros in its own place.
  static let checksumKey = "weft.crc32"
  private static let noChecksum = "00000000"
  private static let headerLimit: UInt64 = 100 << 20

  private static let names: [(DType, String)] = [
    (.complex64, "C64"), (.float64, "F64"), (.int64, "I64"), (.uint64, "U64"), (.float32, "F32"),
    (.int32, "I32"), (.uint32, "U32"), (.float16, "F16"), (.bfloat16, "BF16"), (.int16, "I16"),
    (.uint16, "U16"), (.int8, "I8"), (.uint8, "U8"), (.bool, "BOOL"),
  ]

  /// Whether the format has this element type.
  public static func holds(_ dtype: DType) -> Bool { names.contains { $0.0 == dtype } }

  /// Tensors to be written.
  public init(
    tensors: OrderedDictionary<String, Tensor>, metadata: OrderedDictionary<String, String> = [:]
  ) {
    self.tensors = tensors
    self.metadata = metadata
  }

  // MARK: - Writing

  /// Writes the file beside its place, flushes and renames it. Data are laid out by element size,
  /// then name, as the format's own library does, so the order of `tensors` does not matter.
  public func write(to path: String) throws(WeftError) {
    try publicErrors(file: path) { () throws(FormatError) in
      let order = try layout()
      var header = try headerText(order)
      var crc = Checksum.crc32(header.bytes)
      for (_, _, tensor) in order { crc = Checksum.crc32(tensor.bytes, after: crc) }
      let digits = String(crc, radix: 16)
      let text = String(repeating: "0", count: 8 - digits.utf8.count) + digits
      header.bytes.replaceSubrange(header.checksum, with: text.utf8)
      var length: [UInt8] = []
      length.append(number: UInt64(header.bytes.count), 8)
      let (head, tensors) = (length + header.bytes, order.map(\.tensor))
      try FileIO.write(to: path) { sink throws(FormatError) in
        try sink.put(head)
        for tensor in tensors { try sink.put(tensor.bytes) }
      }
    }
  }

  private func layout() throws(FormatError) -> [(key: String, type: String, tensor: Tensor)] {
    var rows: [(key: String, type: String, tensor: Tensor)] = []
    for (key, tensor) in tensors {
      guard let type = Self.names.first(where: { $0.0 == tensor.dtype })?.1 else {
        throw FormatError(
          .unsupported, "safetensors files have no type for '\(key)', which is \(tensor.dtype.name)"
        )
      }
      guard key != "__metadata__" else {
        throw FormatError(.invalid, "a tensor cannot be called '__metadata__'")
      }
      rows.append((key, type, tensor))
    }
    return rows.sorted {
      let (a, b) = ($0.tensor.dtype.byteSize, $1.tensor.dtype.byteSize)
      return a != b ? a > b : $0.key < $1.key
    }
  }

  private func headerText(
    _ order: [(key: String, type: String, tensor: Tensor)]
  ) throws(FormatError) -> (bytes: [UInt8], checksum: Range<Int>) {
    var text = Array("{\"__metadata__\":{".utf8)
    for (key, value) in metadata where key != Self.checksumKey {
      text += Self.quoted(key) + Array(":".utf8) + Self.quoted(value) + Array(",".utf8)
    }
    text += Self.quoted(Self.checksumKey) + Array(":\"".utf8)
    let checksum = text.count..<(text.count + 8)
    text += Array(Self.noChecksum.utf8) + Array("\"}".utf8)
    var offset = 0
    for (key, type, tensor) in order {
      let (end, overflow) = offset.addingReportingOverflow(tensor.byteCount)
      guard !overflow else { throw FormatError(.limit, "the tensors are too large for one file") }
      let shape = tensor.shape.map(String.init).joined(separator: ",")
      text += Array(",".utf8) + Self.quoted(key)
      text += Array(
        ":{\"dtype\":\"\(type)\",\"shape\":[\(shape)],\"data_offsets\":[\(offset),\(end)]}".utf8)
      offset = end
    }
    text.append(UInt8(ascii: "}"))
    while !(text.count + 8).isMultiple(of: 8) { text.append(0x20) }
    guard text.count <= Self.headerLimit else {
      throw FormatError(.limit, "the names and metadata are too large for one file")
    }
    return (text, checksum)
  }

  private static func quoted(_ text: String) -> [UInt8] {
    var out: [UInt8] = [UInt8(ascii: "\"")]
    for byte in text.utf8 {
      switch byte {
      case UInt8(ascii: "\""), UInt8(ascii: "\\"): out += [UInt8(ascii: "\\"), byte]
      case 0..<0x20:
        let digits = Array(String(byte, radix: 16).utf8)
        out += Array("\\u00".utf8) + (digits.count == 1 ? [UInt8(ascii: "0")] : []) + digits
      default: out.append(byte)
      }
    }
    return out + [UInt8(ascii: "\"")]
  }

  // MARK: - Reading

  /// Reads a file and checks all of it: sizes, bounds, gaps and overlaps, and the checksum where
  /// there is one.
  /// - Throws: NotFound (no input), DataLoss for broken content.
  public init(reading path: String) throws(WeftError) {
    self = try publicErrors(file: path) { () throws(FormatError) in
      try SafetensorsFile(bytes: try FileIO.read(path, limit: .max))
    }
  }

  init(bytes: [UInt8]) throws(FormatError) {
    var reader = ByteReader(bytes)
    let length = try reader.number(8)
    guard length <= Self.headerLimit, length >= 2 else {
      throw FormatError(.malformed, "this is no safetensors file: its header has \(length) bytes")
    }
    let headerRange = try reader.take(length)
    let header = Array(bytes[headerRange])
    guard header.first == UInt8(ascii: "{") else {
      throw FormatError(.malformed, "this is no safetensors file: it has no header")
    }
    var scan = JSONScan(header)
    try scan.run()
    tensors = [:]
    metadata = [:]
    let data = reader.at..<bytes.count
    var rows: [(key: String, dtype: DType, shape: [Int], data: Range<Int>)] = []
    var checksum: (place: Int, text: String)?
    for (key, value) in try Self.members(0..<Self.end(header), header, "the header") {
      guard key == "__metadata__" else {
        rows.append(try Self.row(key, value, header, data.count))
        continue
      }
      for (name, text) in try Self.members(value, header, "__metadata__") {
        guard header[text.lowerBound] == UInt8(ascii: "\"") else {
          throw FormatError(.malformed, "__metadata__ holds text only, '\(name)' is none")
        }
        let string = JSONText.string(header[text])
        if name == Self.checksumKey {
          guard text.count == 10 else { throw Self.damaged }
          checksum = (headerRange.lowerBound + text.lowerBound + 1, string)
        } else {
          metadata[name] = string
        }
      }
    }
    if let checksum {
      let crc = bytes.withUnsafeBytes { whole in
        let head = whole[headerRange.lowerBound..<checksum.place]
        var crc = Checksum.crc32(UnsafeRawBufferPointer(rebasing: head))
        crc = Checksum.crc32(Array(Self.noChecksum.utf8), after: crc)
        return Checksum.crc32(
          UnsafeRawBufferPointer(rebasing: whole[(checksum.place + 8)...]), after: crc)
      }
      guard UInt32(checksum.text, radix: 16) == crc else { throw Self.damaged }
    }
    rows.sort {
      ($0.data.lowerBound, $0.data.upperBound, $0.key)
        < ($1.data.lowerBound, $1.data.upperBound, $1.key)
    }
    var end = 0
    for row in rows {
      guard row.data.lowerBound == end else {
        throw FormatError(
          .malformed,
          "the data of '\(row.key)' \(row.data.lowerBound < end ? "overlap" : "leave a gap after") those before"
        )
      }
      end = row.data.upperBound
      let place = (data.lowerBound + row.data.lowerBound)..<(data.lowerBound + end)
      tensors[row.key] = try NumPyArray.tensor(row.dtype, row.shape, bytes[place])
    }
    guard end == data.count else {
      throw FormatError(.malformed, "\(data.count - end) bytes at the end belong to no tensor")
    }
  }

  private static let damaged = FormatError(
    .malformed, "the file's checksum is wrong: it is damaged",
    hint: "restore an earlier checkpoint")

  private static func end(_ text: [UInt8]) -> Int { JSONText.end(ofValueAt: 0, in: text) }

  private static func members(
    _ object: Range<Int>, _ text: [UInt8], _ what: String
  ) throws(FormatError) -> [(key: String, value: Range<Int>)] {
    guard text[object.lowerBound] == UInt8(ascii: "{") else {
      throw FormatError(.malformed, "\(what) is no JSON object")
    }
    let items = JSONText.items(of: object, in: text)
    return stride(from: 0, to: items.count - 1, by: 2).map {
      (JSONText.string(text[items[$0]]), items[$0 + 1])
    }
  }

  private static func row(
    _ key: String, _ value: Range<Int>, _ text: [UInt8], _ dataSize: Int
  ) throws(FormatError) -> (key: String, dtype: DType, shape: [Int], data: Range<Int>) {
    var type: String?
    var shape: [Int]?
    var offsets: [Int]?
    for (name, item) in try members(value, text, "'\(key)'") {
      switch name {
      case "dtype" where text[item.lowerBound] == UInt8(ascii: "\""):
        type = JSONText.string(text[item])
      case "shape": shape = numbers(item, text)
      case "data_offsets": offsets = numbers(item, text)
      default: throw FormatError(.unknownField, "'\(key)' has an unknown field '\(name)'")
      }
    }
    guard let type, let shape, let offsets, offsets.count == 2 else {
      throw FormatError(.malformed, "'\(key)' needs a dtype, a shape and two data_offsets")
    }
    guard let dtype = names.first(where: { $0.1 == type })?.0 else {
      throw FormatError(
        .unsupported, "'\(key)' has type '\(type.prefix(40))', which is not supported")
    }
    guard offsets[0] <= offsets[1], offsets[1] <= dataSize else {
      throw FormatError(
        .malformed,
        "the data of '\(key)' (\(offsets[0]) to \(offsets[1])) lie outside the \(dataSize) bytes "
          + "that the file has: it is truncated or damaged")
    }
    guard let count = Shape.checkedCount(shape),
      case let (size, overflow) = count.multipliedReportingOverflow(by: dtype.byteSize), !overflow,
      size == offsets[1] - offsets[0]
    else {
      throw FormatError(
        .malformed,
        "'\(key)' has \(offsets[1] - offsets[0]) bytes, which is not what \(type) \(shape) needs")
    }
    return (key, dtype, shape, offsets[0]..<offsets[1])
  }

  /// Whole numbers from zero; nil for anything else.
  private static func numbers(_ array: Range<Int>, _ text: [UInt8]) -> [Int]? {
    guard text[array.lowerBound] == UInt8(ascii: "[") else { return nil }
    var numbers: [Int] = []
    for item in JSONText.items(of: array, in: text) {
      guard let number = Int(String(decoding: text[item], as: UTF8.self)), number >= 0 else {
        return nil
      }
      numbers.append(number)
    }
    return numbers
  }
}

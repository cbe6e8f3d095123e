// The top-level fields of a protobuf file, by number and wire type, without decoding it.

/// What a binary message holds at its top level; a cut-off file is found here, with its offset.
struct BinaryOutline {
  private var counts: [UInt64: Int] = [:]
  private var varints: Set<UInt64> = []

  /// How many fields have this number.
  func count(_ number: UInt64) -> Int { counts[number] ?? 0 }

  /// Whether the field is written as a plain number.
  func isVarint(_ number: UInt64) -> Bool { varints.contains(number) }

  init(_ bytes: [UInt8]) throws(FormatError) {
    var at = 0
    while at < bytes.count {
      let start = at
      let tag = try Self.varint(bytes, &at)
      guard tag >> 3 > 0 else { throw Self.malformed(start) }
      counts[tag >> 3, default: 0] += 1
      var length: UInt64 = 0
      switch tag & 7 {
      case 0:
        varints.insert(tag >> 3)
        _ = try Self.varint(bytes, &at)
      case 1: length = 8
      case 2: length = try Self.varint(bytes, &at)
      case 5: length = 4
      default: throw Self.malformed(start)
      }
      guard length <= UInt64(bytes.count - at) else {
        throw FormatError(
          .malformed,
          "field \(tag >> 3) at byte \(start) needs \(length) bytes and the file has only "
            + "\(bytes.count - at) more: it is truncated, or no protobuf file")
      }
      at += Int(length)
    }
  }

  private static func varint(_ bytes: [UInt8], _ at: inout Int) throws(FormatError) -> UInt64 {
    let start = at
    var value: UInt64 = 0
    for shift in stride(from: 0, to: 70, by: 7) {
      guard at < bytes.count else {
        throw FormatError(.malformed, "the file ends within a number at byte \(start)")
      }
      let byte = bytes[at]
      at += 1
      value |= UInt64(byte & 0x7F) << UInt64(shift)
      if byte < 0x80 { return value }
    }
    throw malformed(start)
  }

  private static func malformed(_ offset: Int) -> FormatError {
    FormatError(
      .malformed, "this is no protobuf file (byte \(offset))",
      hint: "graph files are a GraphDef, MetaGraphDef or SavedModel as .json, .pb or .pbtxt")
  }
}

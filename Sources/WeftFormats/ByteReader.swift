// Bounds-checked little-endian reads, for the binary headers of array files.

/// A cursor over bytes; what lies beyond the end is an error, never a trap.
struct ByteReader {
  let bytes: [UInt8]
  var at: Int

  init(_ bytes: [UInt8], at: Int = 0) {
    self.bytes = bytes
    self.at = at
  }

  /// The next `count` bytes as a little-endian number.
  mutating func number(_ count: Int) throws(FormatError) -> UInt64 {
    let range = try take(UInt64(count))
    return bytes[range].reversed().reduce(0) { $0 << 8 | UInt64($1) }
  }

  /// A two-byte number.
  mutating func short() throws(FormatError) -> Int { Int(try number(2)) }
  /// A four-byte number.
  mutating func word() throws(FormatError) -> UInt64 { try number(4) }

  /// Where the next `count` bytes are.
  mutating func take(_ count: UInt64) throws(FormatError) -> Range<Int> {
    guard at >= 0, at <= bytes.count, count <= UInt64(bytes.count - at) else {
      throw FormatError(
        .malformed,
        "the file is truncated: \(count) bytes are needed at byte \(at), the file has "
          + "\(bytes.count)")
    }
    defer { at += Int(count) }
    return at..<(at + Int(count))
  }
}

extension Array where Element == UInt8 {
  /// Appends the low `count` bytes of a number, little-endian.
  mutating func append(number: UInt64, _ count: Int) {
    for index in 0..<count { append(UInt8(truncatingIfNeeded: number >> (8 * UInt64(index)))) }
  }
}

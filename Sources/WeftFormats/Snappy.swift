// Snappy's block format, which the tables of checkpoint indexes may be compressed with.

/// Decompression of one Snappy block.
enum Snappy {
  /// What `packed` unpacks to; every length and distance is checked.
  static func decompressed(_ packed: ArraySlice<UInt8>) throws(FormatError) -> [UInt8] {
    let broken = FormatError(.malformed, "a compressed block is damaged")
    var reader = VarintReader(packed)
    // The densest element turns 3 bytes into 64, so nothing larger is allocated.
    guard let size = reader.varint(), size <= UInt64(packed.count) * 22 else { throw broken }
    var out: [UInt8] = []
    out.reserveCapacity(Int(size))
    while let tag = reader.byte() {
      var length = Int(tag >> 2) + 1
      let room = Int(size) - out.count
      if tag & 3 == 0 {
        if length > 60 {
          guard let long = reader.number(length - 60) else { throw broken }
          length = long + 1
        }
        guard length <= room, let bytes = reader.take(UInt64(length)) else { throw broken }
        out.append(contentsOf: bytes)
        continue
      }
      let distance: Int?
      switch tag & 3 {
      case 1:
        length = Int(tag >> 2 & 7) + 4
        distance = reader.byte().map { Int(tag >> 5) << 8 | Int($0) }
      case 2: distance = reader.number(2)
      default: distance = reader.number(4)
      }
      guard let distance, distance > 0, distance <= out.count, length <= room else { throw broken }
      // One by one: a copy may reach into what it writes itself.
      for _ in 0..<length { out.append(out[out.count - distance]) }
    }
    guard out.count == size else { throw broken }
    return out
  }
}

/// A cursor over variable-length numbers and runs of bytes; nil where the bytes end first.
struct VarintReader {
  private let bytes: ArraySlice<UInt8>
  private(set) var at: Int

  init(_ bytes: ArraySlice<UInt8>) {
    self.bytes = bytes
    at = bytes.startIndex
  }

  /// How many bytes are left.
  var count: Int { bytes.endIndex - at }

  mutating func byte() -> UInt8? {
    guard at < bytes.endIndex else { return nil }
    defer { at += 1 }
    return bytes[at]
  }

  /// A number in seven bits a byte, the lowest first; nil too when it exceeds 64 bits.
  mutating func varint() -> UInt64? {
    var value: UInt64 = 0
    for shift in stride(from: 0 as UInt64, to: 70, by: 7) {
      guard let byte = byte(), shift < 63 || byte <= 1 else { return nil }
      value |= UInt64(byte & 0x7F) << shift
      if byte < 0x80 { return value }
    }
    return nil
  }

  /// A little-endian number of at most four bytes.
  mutating func number(_ count: Int) -> Int? {
    take(UInt64(count))?.reversed().reduce(0) { $0 << 8 | Int($1) }
  }

  /// The next `count` bytes.
  mutating func take(_ count: UInt64) -> ArraySlice<UInt8>? {
    guard count <= UInt64(self.count) else { return nil }
    defer { at += Int(count) }
    return bytes[at..<(at + Int(count))]
  }
}

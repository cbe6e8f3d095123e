// CRC-32C, the checksum of TensorFlow's tables and checkpoints.

/// The cyclic redundancy check with Castagnoli's polynomial, eight bytes at a time.
enum CRC32C {
  /// The checksum of `bytes` after bytes whose checksum is known.
  static func checksum(_ bytes: UnsafeRawBufferPointer, after start: UInt32 = 0) -> UInt32 {
    tables.withUnsafeBufferPointer { tables in
      var crc = ~start
      var at = 0
      while at + 8 <= bytes.count {
        let word =
          UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: at, as: UInt64.self))
          ^ UInt64(crc)
        // The first byte has seven more bytes after it, so it takes the last table.
        crc =
          tables[1792 + Int(word & 0xFF)] ^ tables[1536 + Int(word >> 8 & 0xFF)]
          ^ tables[1280 + Int(word >> 16 & 0xFF)] ^ tables[1024 + Int(word >> 24 & 0xFF)]
          ^ tables[768 + Int(word >> 32 & 0xFF)] ^ tables[512 + Int(word >> 40 & 0xFF)]
          ^ tables[256 + Int(word >> 48 & 0xFF)] ^ tables[Int(word >> 56)]
        at += 8
      }
      while at < bytes.count {
        crc = tables[Int((crc ^ UInt32(bytes[at])) & 0xFF)] ^ crc >> 8
        at += 1
      }
      return ~crc
    }
  }

  /// The checksum of `bytes` after bytes whose checksum is known.
  static func checksum(_ bytes: some Sequence<UInt8>, after start: UInt32 = 0) -> UInt32 {
    bytes.withContiguousStorageIfAvailable {
      checksum(UnsafeRawBufferPointer($0), after: start)
    } ?? Array(bytes).withUnsafeBytes { checksum($0, after: start) }
  }

  /// The form in which checksums are stored, so that data which hold checksums can be checked too.
  static func masked(_ checksum: UInt32) -> UInt32 {
    (checksum >> 15 | checksum << 17) &+ 0xA282_EAD8
  }

  // Eight tables of 256: the effect of a byte that has 0, 1, ... 7 bytes after it.
  private static let tables: [UInt32] = {
    var tables: [UInt32] = []
    tables.reserveCapacity(2048)
    for byte in 0..<256 as Range<UInt32> {
      tables.append((0..<8).reduce(byte) { crc, _ in crc >> 1 ^ (crc & 1) * 0x82F6_3B78 })
    }
    for index in 256..<2048 {
      let before = tables[index - 256]
      tables.append(tables[Int(before & 0xFF)] ^ before >> 8)
    }
    return tables
  }()
}

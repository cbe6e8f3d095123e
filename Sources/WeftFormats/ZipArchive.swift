// Zip archives as `.npz` files use them: stored or deflated entries, no encryption.

internal import CZlib

/// Reading the entries of a zip archive.
struct ZipArchive {
  /// One file in the archive.
  struct Entry {
    var name: String
    fileprivate var method: Int
    fileprivate var crc: UInt32
    fileprivate var packed: UInt64
    fileprivate var size: UInt64
    fileprivate var offset: UInt64
  }

  /// The entries, in the order of the archive's directory.
  let entries: [Entry]
  private let bytes: [UInt8]

  init(_ bytes: [UInt8]) throws(FormatError) {
    self.bytes = bytes
    entries = try Self.directory(bytes)
  }

  private static func directory(_ bytes: [UInt8]) throws(FormatError) -> [Entry] {
    let notZip = FormatError(.malformed, "this is no zip archive, or it is truncated")
    guard bytes.count >= 22 else { throw notZip }
    // The end record is the last thing but for a comment of at most 65,535 bytes.
    let lowest = max(0, bytes.count - 22 - 0xFFFF)
    guard
      let end = stride(from: bytes.count - 22, through: lowest, by: -1).first(where: {
        bytes[$0..<($0 + 4)].elementsEqual([0x50, 0x4B, 5, 6])
      })
    else { throw notZip }
    var reader = ByteReader(bytes, at: end + 10)
    var count = try reader.number(2)
    _ = try reader.word()
    var start = try reader.word()
    // Larger archives have a second end record, found by a locator before the first.
    if end >= 20, bytes[(end - 20)..<(end - 16)].elementsEqual([0x50, 0x4B, 6, 7]) {
      var locator = ByteReader(bytes, at: end - 12)
      let place = try locator.number(8)
      guard place < UInt64(bytes.count) else { throw notZip }
      var large = ByteReader(bytes, at: Int(place))
      guard try large.word() == 0x0606_4B50 else { throw notZip }
      _ = try large.take(28)
      count = try large.number(8)
      _ = try large.number(8)
      start = try large.number(8)
    }
    guard start <= UInt64(bytes.count) else { throw notZip }
    reader.at = Int(start)
    var entries: [Entry] = []
    var names: Set<String> = []
    var index: UInt64 = 0
    while index < count {
      let entry = try self.entry(&reader)
      guard names.insert(entry.name).inserted else {
        throw FormatError(.duplicate, "the archive has two files called '\(entry.name)'")
      }
      entries.append(entry)
      index += 1
    }
    return entries
  }

  private static func entry(_ reader: inout ByteReader) throws(FormatError) -> Entry {
    guard try reader.word() == 0x0201_4B50 else {
      throw FormatError(.malformed, "the archive's directory is broken")
    }
    _ = try reader.take(4)
    let flags = try reader.short()
    let method = try reader.short()
    _ = try reader.take(4)
    let crc = UInt32(truncatingIfNeeded: try reader.word())
    var packed = try reader.word()
    var size = try reader.word()
    let nameLength = try reader.number(2)
    let extraLength = try reader.number(2)
    let commentLength = try reader.number(2)
    _ = try reader.take(8)
    var offset = try reader.word()
    let name = String(decoding: reader.bytes[try reader.take(nameLength)], as: UTF8.self)
    var extra = ByteReader(Array(reader.bytes[try reader.take(extraLength)]))
    _ = try reader.take(commentLength)
    guard flags & 1 == 0 else {
      throw FormatError(.unsupported, "'\(name)' in the archive is encrypted")
    }
    while extra.bytes.count - extra.at >= 4 {
      let id = try extra.short()
      var field = ByteReader(Array(extra.bytes[try extra.take(try extra.number(2))]))
      guard id == 1 else { continue }
      if size == 0xFFFF_FFFF { size = try field.number(8) }
      if packed == 0xFFFF_FFFF { packed = try field.number(8) }
      if offset == 0xFFFF_FFFF { offset = try field.number(8) }
    }
    return Entry(
      name: name, method: method, crc: crc, packed: packed, size: size, offset: offset)
  }

  /// The content of an entry, with its checksum verified.
  func content(_ entry: Entry) throws(FormatError) -> [UInt8] {
    guard entry.offset <= UInt64(bytes.count) else {
      throw FormatError(.malformed, "'\(entry.name)' lies outside the archive")
    }
    var reader = ByteReader(bytes, at: Int(entry.offset))
    guard try reader.word() == 0x0403_4B50 else {
      throw FormatError(.malformed, "'\(entry.name)' is not where the archive's directory says")
    }
    _ = try reader.take(22)
    let nameLength = try reader.number(2)
    let extraLength = try reader.number(2)
    _ = try reader.take(nameLength)
    _ = try reader.take(extraLength)
    let packed = bytes[try reader.take(entry.packed)]
    let content: [UInt8]
    switch entry.method {
    case 0:
      guard entry.size == entry.packed else {
        throw FormatError(.malformed, "'\(entry.name)' has two sizes")
      }
      content = Array(packed)
    case 8: content = try Deflate.inflated(packed, size: entry.size, name: entry.name)
    default:
      throw FormatError(
        .unsupported, "'\(entry.name)' is compressed by method \(entry.method)",
        hint: "stored and deflated entries can be read")
    }
    guard Checksum.crc32(content) == entry.crc else {
      throw FormatError(.malformed, "'\(entry.name)' has a wrong checksum: the archive is damaged")
    }
    return content
  }
}

/// Writing stored entries, one after the other.
struct ZipWriter {
  private let sink: FileIO.Sink
  private var directory: [UInt8] = []
  private var offset: UInt64 = 0
  private var count: UInt64 = 0

  init(_ sink: FileIO.Sink) { self.sink = sink }

  /// Adds a file made of two blocks. All times are the first that the format has.
  mutating func add(
    _ name: String, _ head: [UInt8], _ body: UnsafeRawBufferPointer
  ) throws(FormatError) {
    let size = UInt64(head.count) + UInt64(body.count)
    let crc = Checksum.crc32(body, after: Checksum.crc32(head))
    let isLarge = size >= 0xFFFF_FFFF || offset >= 0xFFFF_FFFF
    let name = Array(name.utf8)
    guard name.count <= 0xFFFF else {
      throw FormatError(.limit, "a name is too long for an archive")
    }
    var local: [UInt8] = []
    local.append(number: 0x0403_4B50, 4)
    let common = Self.common(isLarge, crc, size, name.count)
    local += common
    local.append(number: isLarge ? 20 : 0, 2)
    local += name
    if isLarge { local += Self.extra([size, size]) }
    try sink.put(local)
    try sink.put(head)
    try sink.put(body)
    directory.append(number: 0x0201_4B50, 4)
    directory.append(number: isLarge ? 45 : 20, 2)
    directory += common
    directory.append(number: isLarge ? 28 : 0, 2)
    // No comment, first disk, no attributes.
    directory.append(number: 0, 10)
    directory.append(number: isLarge ? 0xFFFF_FFFF : offset, 4)
    directory += name
    if isLarge { directory += Self.extra([size, size, offset]) }
    offset += UInt64(local.count) + size
    count += 1
  }

  /// What both headers of an entry share.
  private static func common(
    _ isLarge: Bool, _ crc: UInt32, _ size: UInt64, _ nameLength: Int
  ) -> [UInt8] {
    var out: [UInt8] = []
    out.append(number: isLarge ? 45 : 20, 2)
    out.append(number: 0x0800, 2)  // names are UTF-8
    out.append(number: 0, 2)
    out.append(number: 0x0021_0000, 4)  // 1 January 1980
    out.append(number: UInt64(crc), 4)
    out.append(number: isLarge ? 0xFFFF_FFFF : size, 4)
    out.append(number: isLarge ? 0xFFFF_FFFF : size, 4)
    out.append(number: UInt64(nameLength), 2)
    return out
  }

  private static func extra(_ numbers: [UInt64]) -> [UInt8] {
    var out: [UInt8] = []
    out.append(number: 1, 2)
    out.append(number: UInt64(numbers.count * 8), 2)
    for number in numbers { out.append(number: number, 8) }
    return out
  }

  /// Writes the directory.
  mutating func finish() throws(FormatError) {
    let size = UInt64(directory.count)
    var end: [UInt8] = []
    if count >= 0xFFFF || offset >= 0xFFFF_FFFF || size >= 0xFFFF_FFFF {
      end.append(number: 0x0606_4B50, 4)
      end.append(number: 44, 8)
      end.append(number: 45, 2)
      end.append(number: 45, 2)
      end.append(number: 0, 8)
      for number in [count, count, size, offset] { end.append(number: number, 8) }
      end.append(number: 0x0706_4B50, 4)
      end.append(number: 0, 4)
      end.append(number: offset + size, 8)
      end.append(number: 1, 4)
    }
    end.append(number: 0x0605_4B50, 4)
    end.append(number: 0, 4)
    end.append(number: min(count, 0xFFFF), 2)
    end.append(number: min(count, 0xFFFF), 2)
    end.append(number: min(size, 0xFFFF_FFFF), 4)
    end.append(number: min(offset, 0xFFFF_FFFF), 4)
    end.append(number: 0, 2)
    try sink.put(directory)
    try sink.put(end)
  }
}

/// Checksums.
enum Checksum {
  /// The CRC-32 of zip, of `bytes` after bytes whose checksum is known.
  static func crc32(_ bytes: UnsafeRawBufferPointer, after start: UInt32 = 0) -> UInt32 {
    var crc = uLong(start)
    var rest = bytes
    while !rest.isEmpty {
      let count = min(rest.count, 1 << 30)
      crc = CZlib.crc32(crc, rest.assumingMemoryBound(to: Bytef.self).baseAddress, uInt(count))
      rest = UnsafeRawBufferPointer(rebasing: rest[count...])
    }
    return UInt32(truncatingIfNeeded: crc)
  }

  /// The CRC-32 of zip.
  static func crc32(_ bytes: [UInt8], after start: UInt32 = 0) -> UInt32 {
    bytes.withUnsafeBytes { crc32($0, after: start) }
  }
}

/// Raw deflate streams.
enum Deflate {
  /// The `size` bytes that a stream unpacks to.
  static func inflated(
    _ packed: ArraySlice<UInt8>, size: UInt64, name: String
  ) throws(FormatError) -> [UInt8] {
    let broken = FormatError(.malformed, "'\(name)' in the archive is damaged")
    // No stream unpacks to more than 1032 times its size, so nothing larger is allocated.
    guard size <= UInt64(packed.count) * 1032 + 64 else { throw broken }
    var out = [UInt8](repeating: 0, count: Int(size))
    var input = Array(packed)
    var stream = z_stream()
    guard
      inflateInit2_(&stream, -15, ZLIB_VERSION, Int32(MemoryLayout<z_stream>.size)) == Z_OK
    else { throw FormatError(.limit, "no memory to unpack '\(name)'") }
    defer { inflateEnd(&stream) }
    let piece = 1 << 30
    let isWhole = input.withUnsafeMutableBufferPointer { source in
      out.withUnsafeMutableBufferPointer { target in
        var read = 0
        var written = 0
        while true {
          let give = min(source.count - read, piece)
          let room = min(target.count - written, piece)
          stream.next_in = source.baseAddress.map { $0 + read }
          stream.avail_in = uInt(give)
          // A stream for nothing still has to be given a place to write to.
          var spare: UInt8 = 0
          let code = withUnsafeMutablePointer(to: &spare) { spare in
            stream.next_out = room > 0 ? target.baseAddress.map { $0 + written } : spare
            stream.avail_out = uInt(room)
            return inflate(&stream, Z_NO_FLUSH)
          }
          read += give - Int(stream.avail_in)
          written += room - Int(stream.avail_out)
          if code == Z_STREAM_END { return written == target.count }
          guard code == Z_OK, give > 0 || room > 0 else { return false }
        }
      }
    }
    guard isWhole else { throw broken }
    return out
  }
}

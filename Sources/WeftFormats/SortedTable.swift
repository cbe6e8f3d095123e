// Sorted string tables (LevelDB's file format), which the indexes of V2 checkpoints are.

/// The keys and values of a table file, all checksums verified.
struct SortedTable {
  /// Keys in strictly rising order, with their values.
  private(set) var entries: [(key: [UInt8], value: [UInt8])] = []

  /// The last eight bytes of every table.
  static let magic: UInt64 = 0xDB47_7524_8B80_FB57
  private static let footerSize = 48
  /// The type of compression, and the checksum.
  private static let trailerSize = 5

  /// Whether bytes that end a file end a table.
  static func isTail(_ bytes: ArraySlice<UInt8>) -> Bool {
    bytes.count >= 8 && bytes.suffix(8).reversed().reduce(0) { $0 << 8 | UInt64($1) } == magic
  }

  init(_ bytes: [UInt8]) throws(FormatError) {
    guard bytes.count >= Self.footerSize, Self.isTail(bytes[...]) else {
      throw FormatError(
        .malformed, "the file does not end as the index of a checkpoint: it is truncated, or none")
    }
    var footer = VarintReader(bytes.suffix(Self.footerSize))
    guard footer.varint() != nil, footer.varint() != nil, let place = footer.varint(),
      let size = footer.varint()
    else { throw Self.damaged("its footer is broken") }
    // Keys share their beginnings with the one before, so a short file could unfold to a huge one.
    // What writes tables spells out each 16th key.
    var budget = 64 * bytes.count
    var blocks: [(place: UInt64, size: UInt64)] = []
    try Self.scan(try Self.block(bytes, place, size), &budget) { _, value in
      var handle = VarintReader(value)
      guard let place = handle.varint(), let size = handle.varint() else {
        return "the place of a block is broken"
      }
      blocks.append((place, size))
      return nil
    }
    var end: UInt64 = 0
    for (place, size) in blocks {
      guard place >= end else { throw Self.damaged("its blocks overlap") }
      let content = try Self.block(bytes, place, size)
      end = place + size
      try Self.scan(content, &budget) { key, value in
        if let last = entries.last?.key, !last.lexicographicallyPrecedes(key) {
          return "its keys are not in order"
        }
        entries.append((key, Array(value)))
        return nil
      }
    }
  }

  /// The value of a key.
  func value(_ key: [UInt8]) -> [UInt8]? { index(key).map { entries[$0].value } }

  /// The place of a key among the entries.
  func index(_ key: [UInt8]) -> Int? {
    var (low, high) = (0, entries.count)
    while low < high {
      let middle = (low + high) / 2
      if entries[middle].key.lexicographicallyPrecedes(key) {
        low = middle + 1
      } else {
        high = middle
      }
    }
    return low < entries.count && entries[low].key == key ? low : nil
  }

  private static func damaged(_ what: String) -> FormatError {
    FormatError(.malformed, "the index is damaged: \(what)")
  }

  /// The content of a block, checked and decompressed.
  private static func block(
    _ bytes: [UInt8], _ place: UInt64, _ size: UInt64
  ) throws(FormatError) -> ArraySlice<UInt8> {
    let limit = UInt64(bytes.count - footerSize)
    guard place <= limit, size <= limit - place, limit - place - size >= trailerSize else {
      throw damaged("a block of \(size) bytes at byte \(place) lies outside the file")
    }
    let end = Int(place + size)
    let content = bytes[Int(place)..<end]
    var trailer = ByteReader(bytes, at: end + 1)
    guard CRC32C.masked(CRC32C.checksum(bytes[Int(place)...end])) == UInt32(try trailer.word())
    else { throw damaged("the block at byte \(place) has a wrong checksum") }
    switch bytes[end] {
    case 0: return content
    case 1: return try Snappy.decompressed(content)[...]
    default:
      throw FormatError(.unsupported, "the index has blocks of compression type \(bytes[end])")
    }
  }

  /// Hands the entries of a block to `body`, which answers what is wrong with them.
  private static func scan(
    _ block: ArraySlice<UInt8>, _ budget: inout Int,
    _ body: (_ key: [UInt8], _ value: ArraySlice<UInt8>) -> String?
  ) throws(FormatError) {
    var tail = VarintReader(block.suffix(4))
    // The places of whole keys end the block; a scan from the start does not need them.
    guard block.count >= 4, let restarts = tail.number(4), restarts <= block.count / 4 - 1 else {
      throw damaged("a block has no end")
    }
    var reader = VarintReader(block.dropLast(4 * restarts + 4))
    var key: [UInt8] = []
    while reader.count > 0 {
      guard let shared = reader.varint(), let rest = reader.varint(), let size = reader.varint(),
        shared <= UInt64(key.count), let suffix = reader.take(rest), let value = reader.take(size)
      else { throw damaged("a block is broken") }
      key.removeLast(key.count - Int(shared))
      key.append(contentsOf: suffix)
      budget -= key.count
      guard budget >= 0 else {
        throw FormatError(.limit, "the keys of the index unfold to far more than its own size")
      }
      if let problem = body(key, value) { throw damaged(problem) }
    }
  }
}

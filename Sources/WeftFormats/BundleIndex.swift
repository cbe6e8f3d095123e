// The index of a V2 checkpoint: what tensors there are, and where their bytes lie.

internal import SwiftProtobuf
internal import WeftTensors

/// The entries of an `.index` file, each checked by itself.
struct BundleIndex {
  /// A tensor, or a slice of one.
  struct Entry {
    /// The tensor's name; what it is called in messages when it is a slice.
    var name: String
    var dtype: DType
    var shape: [Int]
    var count: Int
    /// Which data file, where in it, how many bytes.
    var shard: Int
    var offset: Int
    var size: Int
    /// The masked checksum of the data.
    var checksum: UInt32
    /// The slices that make up the tensor; empty for one in one piece.
    var slices: [BundleSlice]
    /// Whether this is a slice of another entry.
    var isSlice: Bool
  }

  /// How many data files there are.
  let shardCount: Int
  /// The entries in the order of their keys.
  private(set) var entries: [Entry] = []
  /// Tensors that nothing here can hold, with their types.
  private(set) var omitted: [(name: String, type: String)] = []
  // For each entry of the table, its place in `entries`.
  private var places: [Int?] = []
  private let table: SortedTable

  init(_ bytes: [UInt8]) throws(FormatError) {
    table = try SortedTable(bytes)
    guard let first = table.entries.first, first.key.isEmpty else {
      throw FormatError(.malformed, "the index has no header: this is no V2 checkpoint")
    }
    let header: TFBundleHeaderProto = try Self.message(first.value, "the header")
    guard header.endianness == .little else {
      throw FormatError(
        .unsupported, "the checkpoint is big-endian", hint: "only little-endian ones can be read")
    }
    guard header.version.minConsumer <= 1 else {
      throw FormatError(
        .unsupported,
        "the checkpoint needs a reader of version \(header.version.minConsumer), this one is 1")
    }
    guard header.numShards > 0 else {
      throw FormatError(.malformed, "the index says that there are \(header.numShards) data files")
    }
    shardCount = Int(header.numShards)
    places = [nil]
    for (key, value) in table.entries.dropFirst() {
      let entry = try self.entry(key, value)
      places.append(entry == nil ? nil : entries.count)
      if let entry { entries.append(entry) }
    }
  }

  /// The place of an entry by its key; nil when there is none.
  func place(_ key: [UInt8]) -> Int? { table.index(key).flatMap { places[$0] } }

  private mutating func entry(_ key: [UInt8], _ value: [UInt8]) throws(FormatError) -> Entry? {
    let isSlice = BundleSlice.isKey(key)
    let label = isSlice ? BundleSlice.name(ofKey: key) : key[...]
    guard let name = String(validating: label, as: UTF8.self) else {
      throw FormatError(.malformed, "a tensor's name is not UTF-8")
    }
    let message: TFBundleEntryProto = try Self.message(value, "the entry of '\(name)'")
    func wrong(_ what: String) -> FormatError {
      FormatError(.malformed, "the entry of '\(name)' is broken: \(what)")
    }
    // A rank that TensorFlow itself does not exceed.
    guard !message.shape.unknownRank, message.shape.dim.count <= 254 else {
      throw wrong("it has no shape that a tensor can have")
    }
    var shape: [Int] = []
    for dim in message.shape.dim {
      guard let size = Int(exactly: dim.size), size >= 0 else {
        throw wrong("a dimension has size \(dim.size)")
      }
      shape.append(size)
    }
    guard let dtype = TensorReader.dtype(message.dtype), dtype.isPlain || dtype == .string,
      dtype != .string || message.slices.isEmpty
    else {
      if !isSlice { omitted.append((name, Self.typeName(message.dtype))) }
      return nil
    }
    guard let count = Shape.checkedCount(shape),
      case let (size, overflow) = count.multipliedReportingOverflow(by: max(1, dtype.byteSize)),
      !overflow, size <= Int.max / 2
    else { throw wrong("shape \(shape) has too many elements") }
    var entry = Entry(
      name: name, dtype: dtype, shape: shape, count: count, shard: 0, offset: 0, size: size,
      checksum: message.crc32C, slices: [], isSlice: isSlice)
    for slice in message.slices { entry.slices.append(try BundleSlice(slice, of: entry, key)) }
    guard entry.slices.isEmpty else { return entry }
    guard (0..<Int32(shardCount)).contains(message.shardID) else {
      throw wrong("it lies in data file \(message.shardID) of \(shardCount)")
    }
    guard let offset = Int(exactly: message.offset), let stored = Int(exactly: message.size),
      offset >= 0, stored >= 0, !offset.addingReportingOverflow(stored).overflow
    else { throw wrong("\(message.size) bytes at byte \(message.offset)") }
    // Strings have a length of at least one byte each, and a checksum of all lengths.
    guard dtype == .string ? stored >= 4 && stored - 4 >= count : stored == size else {
      throw wrong("it has \(stored) bytes, which is not what \(dtype.name) \(shape) needs")
    }
    entry.shard = Int(message.shardID)
    entry.offset = offset
    entry.size = stored
    return entry
  }

  private static func typeName(_ type: TFDataType) -> String {
    if let dtype = TensorReader.dtype(type) { return dtype.name }
    return "type \(type.rawValue)"
  }

  private static func message<M: Message>(
    _ bytes: [UInt8], _ what: String
  ) throws(FormatError) -> M {
    do {
      return try M(serializedBytes: bytes)
    } catch {
      throw FormatError(.malformed, "the index is damaged: \(what) cannot be read")
    }
  }
}

/// A box-shaped part of a tensor, stored by itself: a partition of a partitioned variable.
struct BundleSlice {
  /// The key of the slice's own entry.
  let key: [UInt8]
  /// What it covers.
  let box: TensorBox

  /// A slice of `entry`, whose key is `name`.
  init(
    _ message: TFTensorSliceProto, of entry: BundleIndex.Entry, _ name: [UInt8]
  ) throws(FormatError) {
    let wrong = FormatError(
      .malformed, "a slice of '\(entry.name)' lies outside its shape \(entry.shape)")
    guard message.extent.count == entry.shape.count else { throw wrong }
    var (starts, lengths): ([Int], [Int]) = ([], [])
    for (extent, size) in zip(message.extent, entry.shape) {
      // An extent without a length is all of the axis.
      let isWhole = extent.hasLengthHack_p == nil
      guard let start = Int(exactly: extent.start), let length = Int(exactly: extent.length),
        !isWhole || start == 0
      else { throw wrong }
      starts.append(start)
      lengths.append(isWhole ? size : length)
    }
    guard let box = TensorBox(starts: starts, lengths: lengths, in: entry.shape) else {
      throw wrong
    }
    self.box = box
    key = Self.key(name, message)
  }

  // MARK: - Keys

  // A key is a zero, the tensor's name, the rank, and start and length of each axis, all in an
  // encoding that sorts as the values do. No tensor's own key starts with a zero.

  /// Whether a key is that of a slice.
  static func isKey(_ key: [UInt8]) -> Bool { key.first == 0 }

  /// The tensor's name in the key of a slice.
  static func name(ofKey key: [UInt8]) -> ArraySlice<UInt8> { key.dropFirst().prefix { $0 != 0 } }

  private static func key(_ name: [UInt8], _ message: TFTensorSliceProto) -> [UInt8] {
    var key: [UInt8] = [0]
    for byte in name {
      switch byte {
      case 0: key += [0, 0xFF]
      case 0xFF: key += [0xFF, 0]
      default: key.append(byte)
      }
    }
    key += [0, 1]
    let rank = bigEndian(UInt64(message.extent.count)).drop { $0 == 0 }
    key += [UInt8(rank.count)] + rank
    for extent in message.extent {
      append(extent.start, to: &key)
      append(extent.hasLengthHack_p == nil ? -1 : extent.length, to: &key)
    }
    return key
  }

  /// Appends a signed number: as many leading ones as there are bytes (inverted for negative
  /// numbers), then the sign and the bits.
  static func append(_ number: Int64, to key: inout [UInt8]) {
    let magnitude = UInt64(bitPattern: number < 0 ? ~number : number)
    let length = (64 - magnitude.leadingZeroBitCount) / 7 + 1
    let sign: UInt8 = number < 0 ? 0xFF : 0
    var bytes = Array(([sign, sign] + bigEndian(UInt64(bitPattern: number))).suffix(length))
    let ones = 0xFFFF << (16 - length) & 0xFFFF
    bytes[0] ^= UInt8(ones >> 8)
    if length > 1 { bytes[1] ^= UInt8(ones & 0xFF) }
    key += bytes
  }

  private static func bigEndian(_ number: UInt64) -> [UInt8] {
    (0..<8).map { UInt8(truncatingIfNeeded: number >> (56 - 8 * UInt64($0))) }
  }
}

// The data files of a V2 checkpoint: tensors at their places, with their checksums.

internal import WeftTensors

/// One `.data-0000i-of-0000N` file, read forwards.
struct BundleData {
  private let file: FileIO.Source
  // Up to where the file has been read, and by which tensor.
  private var end = 0
  private var last = ""

  init(_ file: FileIO.Source) { self.file = file }

  /// The tensor of an entry, which must lie behind those read before.
  mutating func tensor(_ entry: BundleIndex.Entry) throws(FormatError) -> Tensor {
    let (size, offset) = (entry.size, entry.offset)
    guard offset <= file.size, size <= file.size - offset else {
      throw error(
        entry,
        "\(size) bytes lie outside the \(file.size) that the file has: it is truncated, or the "
          + "index is damaged")
    }
    if size > 0 {
      guard offset >= end else { throw error(entry, "they overlap those of '\(last)'") }
      (end, last) = (offset + size, entry.name)
    }
    if entry.dtype == .string { return try strings(entry) }
    var problem: FormatError?
    let tensor = try tensorErrors { () throws(WeftError) in
      let buffer = try Buffer(byteCount: size)
      let memory = UnsafeMutableRawBufferPointer(start: buffer.base, count: size)
      do throws(FormatError) {
        try read(entry, into: memory)
      } catch {
        problem = error
      }
      // Any other byte would not be a Bool in Swift.
      if entry.dtype == .bool {
        for index in memory.indices where memory[index] != 0 { memory[index] = 1 }
      }
      return try Tensor(dtype: entry.dtype, shape: entry.shape, buffer: buffer)
    }
    if let problem { throw problem }
    return tensor
  }

  /// Fills `memory` and verifies it, piece by piece while it is in the processor's cache.
  private func read(
    _ entry: BundleIndex.Entry, into memory: UnsafeMutableRawBufferPointer
  ) throws(FormatError) {
    var checksum: UInt32 = 0
    for start in stride(from: 0, to: memory.count, by: 1 << 20) {
      let piece = UnsafeMutableRawBufferPointer(
        rebasing: memory[start..<min(start + (1 << 20), memory.count)])
      try file.read(into: piece, at: entry.offset + start)
      checksum = CRC32C.checksum(UnsafeRawBufferPointer(piece), after: checksum)
    }
    guard CRC32C.masked(checksum) == entry.checksum else { throw damaged(entry) }
  }

  /// Strings: all lengths, the checksum of the lengths, all bytes.
  private func strings(_ entry: BundleIndex.Entry) throws(FormatError) -> Tensor {
    var bytes = [UInt8](repeating: 0, count: entry.size)
    var problem: FormatError?
    bytes.withUnsafeMutableBytes { memory in
      do throws(FormatError) {
        try file.read(into: memory, at: entry.offset)
      } catch {
        problem = error
      }
    }
    if let problem { throw problem }
    var reader = VarintReader(bytes[...])
    var lengths: [UInt64] = []
    lengths.reserveCapacity(entry.count)
    var checksum: UInt32 = 0
    for _ in 0..<entry.count {
      guard let length = reader.varint(), length <= UInt64(bytes.count) else {
        throw damaged(entry)
      }
      // The checksum is that of the lengths as fixed-size numbers, not of the bytes in the file.
      var number: [UInt8] = []
      number.append(number: length, length <= UInt64(UInt32.max) ? 4 : 8)
      checksum = CRC32C.checksum(number, after: checksum)
      lengths.append(length)
    }
    guard let stored = reader.take(4),
      stored.reversed().reduce(0, { $0 << 8 | UInt32($1) }) == CRC32C.masked(checksum)
    else { throw damaged(entry) }
    checksum = CRC32C.checksum(stored, after: checksum)
    var values: [[UInt8]] = []
    values.reserveCapacity(entry.count)
    for length in lengths {
      guard let value = reader.take(length) else { throw damaged(entry) }
      checksum = CRC32C.checksum(value, after: checksum)
      values.append(Array(value))
    }
    guard reader.count == 0, CRC32C.masked(checksum) == entry.checksum else {
      throw damaged(entry)
    }
    return try tensorErrors { () throws(WeftError) in
      try Tensor(strings: values, shape: entry.shape)
    }
  }

  private func damaged(_ entry: BundleIndex.Entry) -> FormatError {
    var wrong = error(entry, "their checksum is wrong: the file is damaged")
    wrong.hint = "restore an earlier checkpoint"
    return wrong
  }

  private func error(_ entry: BundleIndex.Entry, _ what: String) -> FormatError {
    FormatError(
      .malformed, "the data of '\(entry.name)' at byte \(entry.offset) cannot be used: \(what)",
      file: file.path)
  }
}

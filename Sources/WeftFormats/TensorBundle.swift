// TensorFlow's V2 checkpoints: the tensors behind `PREFIX.index` and its data files.

public import OrderedCollections
internal import SwiftProtobuf
public import WeftTensors

/// A checkpoint in TensorFlow's V2 format, as `Saver` and `SavedModel` write it.
///
/// Partitioned variables are joined. Variables of object-based checkpoints get the names of their
/// graphs (`full_name`) where the checkpoint knows them.
public struct TensorBundle: Sendable {
  /// The tensors in the order of their keys.
  public var tensors: OrderedDictionary<String, Tensor> = [:]
  /// Tensors of types that no `Tensor` has, with the types.
  public var omitted: OrderedDictionary<String, String> = [:]

  /// The key of the objects that an object-based checkpoint was made of.
  static let objectGraphKey = "_CHECKPOINTABLE_OBJECT_GRAPH"
  private static let indexLimit = 256 << 20
  // More partitions than any cluster has; their bounds are compared pair by pair.
  private static let sliceLimit = 1024

  /// Reads a checkpoint and checks all of it: bounds, sizes, gaps and overlaps, and checksums.
  /// - Parameter prefix: the path without `.index`.
  /// - Throws: NotFound (no input) for a missing file, DataLoss for broken content.
  public init(reading prefix: String) throws(WeftError) {
    let path = prefix + ".index"
    try publicErrors(file: path) { () throws(FormatError) in
      let index = try BundleIndex(try FileIO.read(path, limit: Self.indexLimit))
      for (name, type) in index.omitted { omitted[name] = type }
      try readTensors(index, prefix)
      try nameByVariables()
    }
  }

  /// The path of a data file.
  static func dataPath(_ prefix: String, _ shard: Int, of count: Int) -> String {
    func digits(_ number: Int) -> String {
      let text = String(number)
      return String(repeating: "0", count: max(0, 5 - text.utf8.count)) + text
    }
    return "\(prefix).data-\(digits(shard))-of-\(digits(count))"
  }

  // MARK: - Tensors

  private mutating func readTensors(_ index: BundleIndex, _ prefix: String) throws(FormatError) {
    let entries = index.entries
    for entry in entries where !entry.slices.isEmpty { try Self.checkSlices(entry, index) }
    // In the order of the files, so that each is opened once and read forwards.
    let order = entries.indices.filter { entries[$0].slices.isEmpty }.sorted {
      let (a, b) = (entries[$0], entries[$1])
      return (a.shard, a.offset, a.size, $0) < (b.shard, b.offset, b.size, $1)
    }
    var values = [Tensor?](repeating: nil, count: entries.count)
    var data: (shard: Int, reader: BundleData)?
    for place in order {
      let entry = entries[place]
      if data?.shard != entry.shard {
        data = nil
        let path = Self.dataPath(prefix, entry.shard, of: index.shardCount)
        data = (entry.shard, BundleData(try FileIO.Source(path)))
      }
      // The size of all tensors together cannot exceed that of the files, as none overlap.
      values[place] = try data?.reader.tensor(entry)
    }
    for (place, entry) in entries.enumerated() where !entry.isSlice {
      if !entry.slices.isEmpty { values[place] = try Self.joined(entry, index, values) }
      guard let value = values[place] else { continue }
      guard tensors.updateValue(value, forKey: entry.name) == nil else {
        throw FormatError(.duplicate, "the index has two tensors called '\(entry.name)'")
      }
    }
  }

  // MARK: - Partitioned variables

  /// Throws unless the slices of a tensor are all there and make up all of it.
  private static func checkSlices(
    _ entry: BundleIndex.Entry, _ index: BundleIndex
  ) throws(FormatError) {
    let slices = entry.slices
    guard slices.count <= sliceLimit else {
      throw FormatError(
        .limit, "'\(entry.name)' has \(slices.count) slices; \(sliceLimit) are the most")
    }
    var count = 0
    for (at, slice) in slices.enumerated() {
      guard let place = index.place(slice.key), index.entries[place].slices.isEmpty else {
        throw FormatError(
          .malformed,
          "the index has no data for the slice of '\(entry.name)' at \(slice.box.starts)")
      }
      let part = index.entries[place]
      guard part.dtype == entry.dtype, part.shape == slice.box.lengths else {
        throw FormatError(
          .malformed,
          "the slice of '\(entry.name)' at \(slice.box.starts) is \(part.dtype.name) \(part.shape), "
            + "not \(entry.dtype.name) \(slice.box.lengths)")
      }
      guard !slices[..<at].contains(where: { $0.box.overlaps(slice.box) }) else {
        throw FormatError(.malformed, "the slices of '\(entry.name)' overlap")
      }
      // No overflow: slices that do not overlap have no more elements than the whole.
      count += slice.box.count
    }
    guard count == entry.count else {
      throw FormatError(
        .malformed,
        "the slices of '\(entry.name)' leave gaps: they have \(count) of \(entry.count) elements")
    }
  }

  private static func joined(
    _ entry: BundleIndex.Entry, _ index: BundleIndex, _ values: [Tensor?]
  ) throws(FormatError) -> Tensor {
    try tensorErrors { () throws(WeftError) in
      let buffer = try Buffer(byteCount: entry.size)
      for slice in entry.slices {
        guard let place = index.place(slice.key), let from = values[place]?.bytes.baseAddress else {
          continue
        }
        slice.box.forEachRun(
          in: entry.shape, elementSize: entry.dtype.byteSize
        ) { whole, part, size in
          (buffer.base + whole).copyMemory(from: from + part, byteCount: size)
        }
      }
      return try Tensor(dtype: entry.dtype, shape: entry.shape, buffer: buffer)
    }
  }

  // MARK: - Object-based checkpoints

  /// Renames tensors from their place among the objects to the names of their variables. Names that
  /// several variables have say nothing: those keep their keys.
  private mutating func nameByVariables() throws(FormatError) {
    guard let graph = tensors[Self.objectGraphKey], graph.dtype == .string,
      let bytes = graph.strings.first
    else { return }
    let objects: TFTrackableObjectGraph
    do {
      objects = try TFTrackableObjectGraph(serializedBytes: bytes)
    } catch {
      throw FormatError(.malformed, "the checkpoint's \(Self.objectGraphKey) cannot be read")
    }
    tensors[Self.objectGraphKey] = nil
    var names: [String: String] = [:]
    var uses: [String: Int] = [:]
    for attribute in objects.nodes.flatMap(\.attributes) where !attribute.fullName.isEmpty {
      // Objects that share a variable list it once each.
      guard names.updateValue(attribute.fullName, forKey: attribute.checkpointKey) == nil else {
        continue
      }
      uses[attribute.fullName, default: 0] += 1
    }
    var renamed: OrderedDictionary<String, Tensor> = [:]
    for (key, value) in tensors {
      if let name = names[key], uses[name] == 1, tensors[name] == nil {
        renamed[name] = value
      } else {
        renamed[key] = value
      }
    }
    tensors = renamed
  }
}

// Arrays in NumPy's files, `.npy` and `.npz`.

public import OrderedCollections
public import WeftTensors

/// NumPy's files: `.npy` for one array, `.npz` for several by name.
///
/// float16, float32, float64, the integers, bool and the complex types pass; bfloat16 and strings
/// have no NumPy type.
public enum NumPyFile {
  /// Whether the format has this element type.
  public static func holds(_ dtype: DType) -> Bool { NumPyArray.holds(dtype) }

  /// The array in an `.npy` file.
  public static func read(_ path: String) throws(WeftError) -> Tensor {
    try publicErrors(file: path) { () throws(FormatError) in
      try NumPyArray.decode(try FileIO.read(path, limit: .max))
    }
  }

  /// The array in `.npy` bytes.
  public static func decode(_ bytes: [UInt8]) throws(WeftError) -> Tensor {
    try publicErrors { () throws(FormatError) in try NumPyArray.decode(bytes) }
  }

  /// The `.npy` bytes of a tensor.
  public static func encode(_ tensor: Tensor) throws(WeftError) -> [UInt8] {
    try publicErrors { () throws(FormatError) in
      try NumPyArray.header(tensor) + Array(tensor.bytes)
    }
  }

  /// Writes an `.npy` file, whole or not at all.
  public static func write(_ tensor: Tensor, to path: String) throws(WeftError) {
    try publicErrors(file: path) { () throws(FormatError) in
      let header = try NumPyArray.header(tensor)
      try FileIO.write(to: path) { sink throws(FormatError) in
        try sink.put(header)
        try sink.put(tensor.bytes)
      }
    }
  }

  /// The arrays of an `.npz` file, in its order; keys are without `.npy`. Files in the archive
  /// that are no arrays are left out.
  public static func readArchive(
    _ path: String
  ) throws(WeftError) -> OrderedDictionary<String, Tensor> {
    try publicErrors(file: path) { () throws(FormatError) in
      let archive = try ZipArchive(try FileIO.read(path, limit: .max))
      var tensors: OrderedDictionary<String, Tensor> = [:]
      for entry in archive.entries where entry.name.hasSuffix(".npy") {
        tensors[String(entry.name.dropLast(4))] = try array(entry, of: archive)
      }
      return tensors
    }
  }

  /// One array of an `.npz` file.
  /// - Throws: NotFound, with the keys that there are, when it has no such array.
  public static func readArchive(_ path: String, key: String) throws(WeftError) -> Tensor {
    try publicErrors(file: path) { () throws(FormatError) in
      let archive = try ZipArchive(try FileIO.read(path, limit: .max))
      guard let entry = archive.entries.first(where: { $0.name == key + ".npy" }) else {
        let keys = archive.entries.filter { $0.name.hasSuffix(".npy") }.prefix(20)
          .map { "'\($0.name.dropLast(4))'" }
        throw FormatError(
          .invalid, "the archive has no array '\(key)'",
          hint: keys.isEmpty ? nil : "it has " + keys.joined(separator: ", "))
      }
      return try array(entry, of: archive)
    }
  }

  private static func array(
    _ entry: ZipArchive.Entry, of archive: ZipArchive
  ) throws(FormatError) -> Tensor {
    do throws(FormatError) {
      return try NumPyArray.decode(try archive.content(entry))
    } catch {
      var placed = error
      if !placed.message.contains(entry.name) {
        placed.message = "'\(entry.name)': \(error.message)"
      }
      throw placed
    }
  }

  /// Writes an `.npz` file of stored arrays, whole or not at all. The same tensors in the same
  /// order give the same bytes.
  public static func writeArchive(
    _ tensors: OrderedDictionary<String, Tensor>, to path: String
  ) throws(WeftError) {
    try publicErrors(file: path) { () throws(FormatError) in
      var headers: [[UInt8]] = []
      for tensor in tensors.values { headers.append(try NumPyArray.header(tensor)) }
      try FileIO.write(to: path) { sink throws(FormatError) in
        var writer = ZipWriter(sink)
        for (header, (key, tensor)) in zip(headers, tensors) {
          try writer.add(key + ".npy", header, tensor.bytes)
        }
        try writer.finish()
      }
    }
  }
}

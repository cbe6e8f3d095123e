// The public face of graph files: read, write, encode.

public import WeftGraph
public import WeftTensors

/// Graph files: TensorFlow's GraphDef and MetaGraphDef as JSON, `.pb` and `.pbtxt`; SavedModel is
/// read too.
public enum GraphFile {
  /// Files beyond this many bytes are refused: protobuf itself ends there.
  public static let sizeLimit = GraphDocument.sizeLimit

  /// The graph in a file. What the file is (JSON, binary or text; GraphDef, MetaGraphDef or
  /// SavedModel) is told by its content, not its name.
  /// - Throws: NotFound (no input), DataLoss for broken content, InvalidArgument for content that
  ///   contradicts itself, each with the line, JSON path and node, as far as there are any.
  public static func read(
    _ path: String, registry: OpRegistry, sizeLimit: Int = sizeLimit
  ) throws(WeftError) -> Graph {
    let document = try publicErrors { () throws(FormatError) in
      try GraphDocument.read(path, sizeLimit: sizeLimit)
    }
    do {
      return try GraphReader.graph(of: document, registry: registry)
    } catch {
      throw error.adding("file", path)
    }
  }

  /// The graph in bytes of any of the encodings.
  public static func decode(_ bytes: [UInt8], registry: OpRegistry) throws(WeftError) -> Graph {
    let document = try publicErrors { () throws(FormatError) in try GraphDocument.decode(bytes) }
    return try GraphReader.graph(of: document, registry: registry)
  }

  /// The canonical bytes of a graph: the same graph gives the same bytes in every process.
  ///
  /// The result is a MetaGraphDef, or a GraphDef if the graph was read from one and has no
  /// signatures, collections or variables.
  /// - Parameter writesSites: whether nodes made in Swift say where, in the attr `_weft_site`.
  public static func encode(
    _ graph: GraphSnapshot, as encoding: GraphEncoding, writesSites: Bool = false
  ) throws(WeftError) -> [UInt8] {
    try publicErrors { () throws(FormatError) in
      try GraphWriter.document(of: graph, writesSites: writesSites).encoded(as: encoding)
    }
  }

  /// Writes a graph as its file's suffix asks: `.json`, `.pb` or `.meta`, `.pbtxt`, or `.dot` for
  /// a drawing. The file is written beside its place and then renamed, so it is whole or absent.
  public static func write(
    _ graph: GraphSnapshot, to path: String, writesSites: Bool = false
  ) throws(WeftError) {
    let bytes: [UInt8]
    if path.lowercased().hasSuffix(".dot") {
      bytes = Array(dot(graph).utf8)
    } else if let encoding = GraphEncoding(path: path) {
      bytes = try encode(graph, as: encoding, writesSites: writesSites)
    } else {
      throw WeftError(
        .unimplemented, "no graph format has the suffix of '\(path)'", category: .usage,
        hint: "write .json, .pb, .meta, .pbtxt or .dot")
    }
    try WholeFile.write(bytes, to: path)
  }
}

/// Files that are read or written in one piece.
public enum WholeFile {
  /// The bytes of a file.
  /// - Throws: NotFound (no input) when it cannot be read, ResourceExhausted beyond `limit`.
  public static func read(_ path: String, limit: Int = .max) throws(WeftError) -> [UInt8] {
    try publicErrors { () throws(FormatError) in try FileIO.read(path, limit: limit) }
  }

  /// Writes beside the target, flushes it to the disk, then renames, so that the file is whole or
  /// what it was before.
  /// - Throws: an error of category `cannotCreate` or `cannotWrite`.
  public static func write(_ bytes: [UInt8], to path: String) throws(WeftError) {
    try publicErrors { () throws(FormatError) in try FileIO.write(bytes, to: path) }
  }
}

// A graph file as the messages it holds: told apart by structure, decoded, encoded canonically.

internal import SwiftProtobuf

/// How a graph file is written.
public enum GraphEncoding: String, Sendable, CaseIterable {
  /// Canonical proto3 JSON, one node a line.
  case json
  /// Protobuf's binary form.
  case binary
  /// Protobuf's text form.
  case text

  /// The encoding that a file's suffix asks for: `.json`, `.pb` or `.meta`, `.pbtxt`.
  public init?(path: String) {
    let name = path.split(separator: "/").last ?? ""
    guard let dot = name.lastIndex(of: ".") else { return nil }
    switch name[dot...].lowercased() {
    case ".json": self = .json
    case ".pb", ".meta": self = .binary
    case ".pbtxt": self = .text
    default: return nil
    }
  }
}

/// The message that a graph file holds.
enum GraphDocument: Equatable {
  case graph(TFGraphDef)
  case metaGraph(TFMetaGraphDef)
  case savedModel(TFSavedModel)

  /// Beyond this a file is refused: protobuf itself ends at 2 GiB.
  static let sizeLimit = Int(Int32.max)

  /// Reads a file of any of the encodings.
  static func read(_ path: String, sizeLimit: Int = sizeLimit) throws(FormatError) -> GraphDocument
  {
    let bytes = try FileIO.read(path, limit: sizeLimit)
    do {
      return try decode(bytes, expecting: GraphEncoding(path: path))
    } catch {
      throw error.inFile(path)
    }
  }

  /// Decodes bytes of any of the encodings. What they are is told by what they look like;
  /// `expected` decides only which errors are given when they look like nothing.
  static func decode(
    _ bytes: [UInt8], expecting expected: GraphEncoding? = nil
  ) throws(FormatError) -> GraphDocument {
    guard !bytes.isEmpty else { throw FormatError(.malformed, "the file is empty") }
    if bytes.starts(with: [0xFF, 0xFE]) || bytes.starts(with: [0xFE, 0xFF]) {
      throw FormatError(
        .malformed, "the text is UTF-16", hint: "graph files are UTF-8: convert it first")
    }
    let start = bytes.starts(with: [0xEF, 0xBB, 0xBF]) ? 3 : 0
    let first = bytes[start...].first { !JSONText.isSpace($0) }
    // A binary file too may begin with a brace, as the length of its first field.
    let isText = TextScan.isPrintable(bytes)
    if isText, first == UInt8(ascii: "{") { return try decodeJSON(bytes) }
    if isText, TextScan.looksLikeText(bytes) { return try decodeText(bytes) }
    // Fields from end to end are no accident, whatever the suffix says.
    if !isText, (try? BinaryOutline(bytes)) != nil { return try decodeBinary(bytes) }
    switch expected {
    case .json: return try decodeJSON(bytes)
    case .text: return try decodeText(bytes)
    case .binary, nil: return try decodeBinary(bytes)
    }
  }

  // MARK: - JSON

  private static func decodeJSON(_ original: [UInt8]) throws(FormatError) -> GraphDocument {
    var scan = JSONScan(original)
    try scan.run()
    var text = original.starts(with: [0xEF, 0xBB, 0xBF]) ? Array(original[3...]) : original
    guard text.first(where: { !JSONText.isSpace($0) }) == UInt8(ascii: "{") else {
      throw FormatError(.malformed, "a graph file holds one JSON object", line: 1, column: 1)
    }
    if scan.hasNeedlessEscapes { text = JSONText.withoutNeedlessEscapes(text) }
    let type = messageType(forKeys: scan.topKeys)
    do {
      return try GraphDocument(type.init(jsonUTF8Bytes: text))
    } catch {
      throw JSONBlame(text: text).error(for: error, decoding: type)
    }
  }

  private static func messageType(forKeys keys: [String]) -> any Message.Type {
    let names = Set(keys.map(SchemaField.lowerCamelCase))
    if !names.isDisjoint(with: ["savedModelSchemaVersion", "metaGraphs"]) {
      return TFSavedModel.self
    }
    let metaNames: Set = [
      "metaInfoDef", "graphDef", "saverDef", "collectionDef", "signatureDef", "assetFileDef",
      "objectGraphDef",
    ]
    return names.isDisjoint(with: metaNames) ? TFGraphDef.self : TFMetaGraphDef.self
  }

  private init(_ message: any Message) throws {
    switch message {
    case let graph as TFGraphDef: self = .graph(graph)
    case let meta as TFMetaGraphDef: self = .metaGraph(meta)
    case let model as TFSavedModel: self = .savedModel(model)
    default: throw FormatError(.unsupported, "\(type(of: message)) is no graph")
    }
  }

  // MARK: - Text

  private static func decodeText(_ original: [UInt8]) throws(FormatError) -> GraphDocument {
    let text = original.starts(with: [0xEF, 0xBB, 0xBF]) ? Array(original[3...]) : original
    let scan = TextScan(text)
    try scan.check()
    guard let string = String(validating: text, as: UTF8.self) else {
      throw FormatError(.malformed, "the text is not UTF-8")
    }
    let type = messageType(forKeys: scan.fields(in: 0..<text.count).map(\.name))
    do {
      return try GraphDocument(type.init(textFormatString: string))
    } catch {
      throw scan.blame(error, decoding: type)
    }
  }

  // MARK: - Binary

  private static func decodeBinary(_ bytes: [UInt8]) throws(FormatError) -> GraphDocument {
    let fields = try BinaryOutline(bytes)
    if fields.isVarint(1) {
      return .savedModel(try message(bytes))
    }
    // A MetaGraphDef has one field 1 (its meta info) and one field 2 (the graph); a GraphDef has
    // nodes there, and its functions. Where both would decode, the graph is what has nodes with ops.
    if fields.count(1) <= 1, fields.count(2) <= 1,
      let meta = try? message(bytes) as TFMetaGraphDef,
      meta.hasGraphDef, meta.graphDef.node.allSatisfy({ !$0.op.isEmpty })
    {
      return .metaGraph(meta)
    }
    return .graph(try message(bytes))
  }

  /// Decodes, refusing fields that the schema does not know: no other form could carry them.
  private static func message<M: Message & Equatable>(_ bytes: [UInt8]) throws(FormatError) -> M {
    do {
      var options = BinaryDecodingOptions()
      let message = try M(serializedBytes: bytes, options: options)
      options.discardUnknownFields = true
      let known = try M(serializedBytes: bytes, options: options)
      // Bytes where the messages differ: a NaN is not equal to itself.
      guard try known == message || known.stableBytes() == message.stableBytes() else {
        throw FormatError(
          .unknownField, "the file is no \(M.protoMessageName), or one with unknown fields")
      }
      return message
    } catch let error as FormatError {
      throw error
    } catch {
      throw binaryError(error, M.protoMessageName)
    }
  }

  private static func binaryError(_ failure: any Error, _ name: String) -> FormatError {
    switch failure as? BinaryDecodingError {
    case .messageDepthLimit:
      FormatError(.limit, "messages are nested deeper than 100 levels")
    case .invalidUTF8: FormatError(.malformed, "a string of the \(name) is not UTF-8")
    case .truncated: FormatError(.malformed, "a field of the \(name) is longer than what holds it")
    default:
      FormatError(
        .malformed, "the file is no \(name) in binary form",
        hint: "graph files are a GraphDef, MetaGraphDef or SavedModel as .json, .pb or .pbtxt")
    }
  }

  // MARK: - Writing

  /// The canonical bytes: the same message gives the same bytes in every process.
  func encoded(as encoding: GraphEncoding) throws(FormatError) -> [UInt8] {
    do {
      return switch self {
      case .graph(let message): try Self.encode(message, encoding, .graph)
      case .metaGraph(let message): try Self.encode(message, encoding, .metaGraph)
      case .savedModel(let message): try Self.encode(message, encoding, .savedModel)
      }
    } catch {
      throw FormatError(
        .unsupported, "the graph cannot be written in this form: \(error)",
        hint: "an Any message of unknown type has only a binary form")
    }
  }

  private static func encode(
    _ message: any Message, _ encoding: GraphEncoding, _ layout: JSONLayout
  ) throws -> [UInt8] {
    switch encoding {
    case .json:
      var options = JSONEncodingOptions()
      options.useDeterministicOrdering = true
      return layout.applied(to: try message.jsonUTF8Bytes(options: options))
    case .binary:
      var options = BinaryEncodingOptions()
      options.useDeterministicOrdering = true
      return try message.serializedBytes(options: options)
    case .text:
      return Array(message.textFormatString().utf8)
    }
  }
}

// weft run --script: several runs of one session.

import Weft

#if canImport(FoundationEssentials)
  import FoundationEssentials
#else
  import Foundation
#endif

/// STEPS.json as it is written.
struct Script: Decodable {
  struct Step: Decodable {
    var feeds: [String: String]
    var fetches: [String: String?]
    var targets: [String]
    var mayFail: Bool

    enum CodingKeys: String, CodingKey, CaseIterable {
      case feeds, fetches, targets
      case mayFail = "may_fail"
    }

    init(from decoder: any Decoder) throws {
      try Script.refuseUnknown(decoder, CodingKeys.allCases.map(\.rawValue))
      let fields = try decoder.container(keyedBy: CodingKeys.self)
      feeds = try fields.decodeIfPresent([String: String].self, forKey: .feeds) ?? [:]
      fetches = try fields.decodeIfPresent([String: String?].self, forKey: .fetches) ?? [:]
      targets = try fields.decodeIfPresent([String].self, forKey: .targets) ?? []
      mayFail = try fields.decodeIfPresent(Bool.self, forKey: .mayFail) ?? false
    }
  }

  var steps: [Step]

  enum CodingKeys: String, CodingKey { case steps }

  init(steps: [Step]) { self.steps = steps }

  init(from decoder: any Decoder) throws {
    try Script.refuseUnknown(decoder, ["steps"])
    steps = try decoder.container(keyedBy: CodingKeys.self).decode([Step].self, forKey: .steps)
  }

  private struct AnyKey: CodingKey {
    var stringValue: String
    var intValue: Int? { nil }
    init?(stringValue: String) { self.stringValue = stringValue }
    init?(intValue: Int) { nil }
  }

  private static func refuseUnknown(_ decoder: any Decoder, _ known: [String]) throws {
    let keys = try decoder.container(keyedBy: AnyKey.self).allKeys.map(\.stringValue)
    if let unknown = keys.filter({ !known.contains($0) }).min() {
      throw DecodingError.dataCorrupted(
        .init(codingPath: decoder.codingPath, debugDescription: "unknown key '\(unknown)'"))
    }
  }

  /// Reads a script.
  static func read(_ path: String) throws(WeftError) -> Script {
    let bytes = try WholeFile.read(path, limit: 1 << 30)
    do {
      return try JSONDecoder().decode(Script.self, from: Data(bytes))
    } catch {
      var error = error
      if case .dataCorrupted(let context)? = error as? DecodingError,
        let inner = context.underlyingError, context.codingPath.isEmpty
      {
        error = inner
      }
      throw WeftError(
        .invalidArgument, "'\(path)' is no script of steps: \(describe(error))",
        hint: #"{"steps": [{"feeds": {tensor: file}, "fetches": {tensor: file}, "targets": [op]}]}"#
      )
    }
  }

  private static func describe(_ error: any Error) -> String {
    guard let error = error as? DecodingError else { return "\(error)" }
    func place(_ context: DecodingError.Context) -> String {
      let path = context.codingPath.map { key in
        key.intValue.map { "[\($0)]" } ?? ".\(key.stringValue)"
      }
      return "$" + path.joined()
    }
    func at(_ context: DecodingError.Context) -> String {
      "\(context.debugDescription) at \(place(context))"
    }
    return switch error {
    case .dataCorrupted(let context): at(context)
    case .keyNotFound(let key, let context):
      "the key '\(key.stringValue)' is missing at \(place(context))"
    case .typeMismatch(_, let context), .valueNotFound(_, let context): at(context)
    @unknown default: "\(error)"
    }
  }
}

/// A script with its files planned.
struct ScriptRunner {
  struct Fetch {
    var tensor: String
    /// nil: only printed.
    var file: String?
  }

  private let script: Script
  private let base: String
  private let folder: OutputFolder?
  private let fetches: [[Fetch]]
  private let json: Bool

  /// Reads the script and checks every path before anything runs.
  init(_ path: String, outdir: String?, overwrites: Bool, json: Bool) throws {
    try self.init(
      try Script.read(path), base: path.lastIndex(of: "/").map { String(path[...$0]) } ?? "",
      outdir: outdir, overwrites: overwrites, json: json)
  }

  init(_ script: Script, base: String, outdir: String?, overwrites: Bool, json: Bool) throws {
    self.script = script
    self.base = base
    self.json = json
    var folder = try outdir.map { try OutputFolder($0, overwrites: overwrites) }
    if let outdir, !overwrites, Platform.exists(outdir + "/steps.json") {
      throw WeftError(
        .alreadyExists, "'\(outdir)/steps.json' exists", category: .cannotCreate,
        hint: "--overwrite replaces it")
    }
    var all: [[Fetch]] = []
    for step in script.steps {
      var list: [Fetch] = []
      for (tensor, file) in step.fetches.sorted(by: { $0.key < $1.key }) {
        let planned = try file.flatMap { try folder?.planScripted($0, for: tensor) }
        list.append(Fetch(tensor: tensor, file: planned))
      }
      all.append(list)
    }
    fetches = all
    self.folder = folder
  }

  /// Runs the steps; writes steps.json also when a step ends the session.
  func run(_ model: Model, _ session: Session, initMode: InitMode) throws {
    let (lines, failure) = try steps(model, session, initMode: initMode)
    if json { Console.write(ScriptRunner.report(lines)) }
    if let failure { throw failure }
  }

  private static func report(_ lines: [JSONValue]) -> String {
    "[" + lines.map(\.text).joined(separator: ",\n ") + "]\n"
  }

  /// Runs the steps: a line of report for each that ran, and the error that ended the session.
  func steps(
    _ model: Model, _ session: Session, initMode: InitMode
  ) throws -> (lines: [JSONValue], failure: (any Error)?) {
    var failure: (any Error)?
    var lines: [JSONValue] = []
    for (index, step) in script.steps.enumerated() {
      do {
        let values = try run(step, index, model, session, initMode)
        lines.append(.object([("ok", .bool(true))]))
        for (fetch, value) in zip(fetches[index], values) where folder == nil && !json {
          Console.print(TensorText.block("\(index)  \(fetch.tensor)", value))
        }
      } catch {
        let text = (error as? WeftError)?.description ?? "\(error)"
        lines.append(.object([("ok", .bool(false)), ("error", .string(text))]))
        if !step.mayFail {
          failure = error
          if let known = error as? WeftError {
            failure = known.adding("step", "\(index) of the script")
          }
          break
        }
      }
    }
    if let folder {
      try Signals.deferredWhileWriting {
        try WholeFile.write(
          Array(ScriptRunner.report(lines).utf8), to: folder.path + "/steps.json")
      }
    }
    return (lines, failure)
  }

  private func run(
    _ step: Script.Step, _ index: Int, _ model: Model, _ session: Session, _ initMode: InitMode
  ) throws -> [Tensor] {
    let edges = try fetches[index].map { try session.graph.edge($0.tensor) }
    let targets = try step.targets.map { try model.operation($0) }
    var feeds: [(Edge, Tensor)] = []
    for (tensor, file) in step.feeds.sorted(by: { $0.key < $1.key }) {
      let edge = try session.graph.edge(tensor)
      // A literal would mean something else in every folder that a script lies in.
      guard file.hasSuffix(".npy") || file.hasSuffix(".npz") || file.contains(".npz[") else {
        throw WeftError(
          .invalidArgument, "the feed '\(tensor)' names '\(file)', which is no .npy or .npz file")
      }
      let path = file.hasPrefix("/") ? file : base + file
      feeds.append((edge, try InputValue(path, name: tensor).tensor(.invalid, name: tensor)))
    }
    if initMode == .auto {
      try session.initializeIfNeeded(
        edges, feeds: feeds.map { ($0.0, $0.1.type) }, targets: targets)
    }
    let values = try session.run(edges, feeds: feeds, targets: targets)
    var files: [(path: String, tensor: Tensor)] = []
    for (fetch, value) in zip(fetches[index], values) {
      if let file = fetch.file { files.append((path: file, tensor: value)) }
    }
    try OutputFolder.write(files)
    return values
  }
}

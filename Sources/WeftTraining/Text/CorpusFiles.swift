// Corpus paths: a file or a folder's files, read whole within a size limit.

import WeftTensors

#if canImport(FoundationEssentials)
  import FoundationEssentials
#else
  import Foundation
#endif
#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

enum CorpusFiles {
  /// Larger files are refused before memory runs out: poetry corpora are a few dozen MB.
  static let maximumBytes = 1 << 30

  static let standardFolders = [
    "/usr/share/games/fortunes", "/usr/share/fortunes", "/usr/local/share/games/fortunes",
  ]

  static func standardPath() -> String? {
    for folder in standardFolders {
      for name in ["tang300", "tang300.u8"] {
        let path = "\(folder)/\(name)"
        if access(path, R_OK) == 0 { return path }
      }
    }
    return nil
  }

  /// The files at `path` with their bytes, a folder's in sorted order.
  static func read(_ path: String) throws(WeftError) -> [(name: String, bytes: [UInt8])] {
    let file = try OpenFile(path)
    guard file.isFolder else { return [(path, try file.bytes())] }
    let names: [String]
    do {
      names = try FileManager.default.contentsOfDirectory(atPath: path).sorted()
    } catch {
      throw unreadable(path, "\(error)")
    }
    var seen: Set<FileIdentity> = []
    var result: [(name: String, bytes: [UInt8])] = []
    let prefix = path.hasSuffix("/") ? path : path + "/"
    for name in names where !name.hasPrefix(".") {
      let entry = try OpenFile(prefix + name)
      guard !entry.isFolder, seen.insert(entry.identity).inserted else { continue }
      let bytes = try entry.bytes()
      if !isStrfileIndex(bytes) { result.append((prefix + name, bytes)) }
    }
    if result.isEmpty {
      throw WeftError(.notFound, "the folder \(path) holds no corpus file", category: .noInput)
    }
    return result
  }

  /// Whether these bytes are the index that `strfile` writes beside fortune files: six words of
  /// header, then one offset a record and one more, all 32 bits, highest byte first.
  static func isStrfileIndex(_ bytes: [UInt8]) -> Bool {
    func word(_ i: Int) -> Int { (0..<4).reduce(0) { $0 << 8 | Int(bytes[4 * i + $1]) } }
    guard bytes.count >= 28, word(0) == 1 || word(0) == 2 else { return false }
    return bytes.count == 24 + 4 * (word(1) + 1)
  }

  static func unreadable(_ path: String, _ reason: String) -> WeftError {
    WeftError(.notFound, "cannot read the corpus \(path): \(reason)", category: .noInput)
  }
}

/// Which file a name leads to, to know two names of one file.
private struct FileIdentity: Hashable {
  var device: UInt64
  var number: UInt64
}

/// An open file or folder, closed when it is let go.
private struct OpenFile: ~Copyable {
  let path: String
  let descriptor: CInt
  let isFolder: Bool
  let identity: FileIdentity

  init(_ path: String) throws(WeftError) {
    // Without O_NONBLOCK, opening a pipe that nobody writes to would hang.
    let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
    guard descriptor >= 0 else { throw CorpusFiles.unreadable(path, Self.lastError()) }
    var info = stat()
    guard fstat(descriptor, &info) == 0 else {
      let reason = Self.lastError()
      _ = close(descriptor)
      throw CorpusFiles.unreadable(path, reason)
    }
    let kind = info.st_mode & S_IFMT
    guard kind == S_IFREG || kind == S_IFDIR else {
      _ = close(descriptor)
      throw CorpusFiles.unreadable(path, "it is neither a file nor a folder")
    }
    self.path = path
    self.descriptor = descriptor
    isFolder = kind == S_IFDIR
    identity = FileIdentity(
      device: UInt64(truncatingIfNeeded: info.st_dev),
      number: UInt64(truncatingIfNeeded: info.st_ino))
  }

  deinit { _ = close(descriptor) }

  func bytes() throws(WeftError) -> [UInt8] {
    var result: [UInt8] = []
    var chunk = [UInt8](repeating: 0, count: 1 << 20)
    let source = descriptor
    while true {
      let count = chunk.withUnsafeMutableBytes { read(source, $0.baseAddress, $0.count) }
      if count < 0 {
        if errno == EINTR { continue }
        throw CorpusFiles.unreadable(path, Self.lastError())
      }
      if count == 0 { return result }
      result.append(contentsOf: chunk[..<count])
      if result.count > CorpusFiles.maximumBytes {
        throw WeftError(
          .resourceExhausted, "\(path) is larger than \(CorpusFiles.maximumBytes) bytes",
          hint: "cut the corpus into several files of one folder")
      }
    }
  }

  private static func lastError() -> String { String(cString: strerror(errno)) }
}

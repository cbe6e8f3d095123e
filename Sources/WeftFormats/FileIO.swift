// Files in one piece: bounded reads, and writes that are either whole or not there.

#if canImport(Darwin)
  internal import Darwin
#elseif canImport(Musl)
  internal import Musl
#else
  internal import Glibc
#endif

/// Reading and writing whole files.
enum FileIO {
  /// Most bytes that are taken from what is no regular file.
  private static let streamLimit = 1 << 30

  /// The bytes of a file, refused beyond `limit`.
  static func read(_ path: String, limit: Int) throws(FormatError) -> [UInt8] {
    let descriptor = open(path, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { throw failure(.unreadable, "cannot open the file", path) }
    defer { close(descriptor) }
    var status = stat()
    guard fstat(descriptor, &status) == 0 else {
      throw failure(.unreadable, "cannot read the file", path)
    }
    guard status.st_mode & S_IFMT != S_IFDIR else {
      throw FormatError(.unreadable, "this is a folder, not a file", file: path)
    }
    guard Int(status.st_size) <= limit else { throw tooLarge(path, limit) }
    // Pipes and devices may never end.
    let limit = status.st_mode & S_IFMT == S_IFREG ? limit : min(limit, streamLimit)
    var bytes: [UInt8] = []
    // What stat says is a hint: pipes say zero, and files may grow.
    bytes.reserveCapacity(Int(status.st_size) + 1)
    var piece = [UInt8](repeating: 0, count: 1 << 20)
    while true {
      let count = piece.withUnsafeMutableBytes { Platform.read(descriptor, $0) }
      if count < 0 {
        if errno == EINTR { continue }
        throw failure(.unreadable, "cannot read the file", path)
      }
      if count == 0 { return bytes }
      guard bytes.count + count <= limit else { throw tooLarge(path, limit) }
      bytes.append(contentsOf: piece[..<count])
    }
  }

  /// A file of which parts are read, so that they go straight to where they are needed.
  final class Source {
    /// The file's path.
    let path: String
    /// The size of the file when it was opened.
    let size: Int
    private let descriptor: Int32

    /// Opens a regular file.
    init(_ path: String) throws(FormatError) {
      let descriptor = open(path, O_RDONLY | O_CLOEXEC)
      guard descriptor >= 0 else { throw failure(.unreadable, "cannot open the file", path) }
      var status = stat()
      guard fstat(descriptor, &status) == 0, status.st_mode & S_IFMT == S_IFREG else {
        close(descriptor)
        throw FormatError(.unreadable, "this is no regular file", file: path)
      }
      self.path = path
      size = Int(status.st_size)
      self.descriptor = descriptor
    }

    deinit { close(descriptor) }

    /// Fills `memory` with the bytes from `offset` on.
    func read(into memory: UnsafeMutableRawBufferPointer, at offset: Int) throws(FormatError) {
      var rest = memory
      while let base = rest.baseAddress, !rest.isEmpty {
        let count = pread(
          descriptor, base, min(rest.count, 1 << 30), off_t(offset + memory.count - rest.count))
        guard count != 0 else {
          throw FormatError(.malformed, "the file has become shorter while it was read", file: path)
        }
        if count > 0 {
          rest = UnsafeMutableRawBufferPointer(rebasing: rest[count...])
        } else if errno != EINTR {
          throw failure(.unreadable, "cannot read the file", path)
        }
      }
    }
  }

  /// What a path names.
  enum PathKind { case missing, file, folder, other }

  /// What is at `path`, links followed.
  static func kind(of path: String) -> PathKind {
    var status = stat()
    guard stat(path, &status) == 0 else { return .missing }
    return switch status.st_mode & S_IFMT {
    case S_IFREG: .file
    case S_IFDIR: .folder
    default: .other
    }
  }

  /// Where the bytes of a file under way go.
  struct Sink {
    fileprivate let descriptor: Int32
    fileprivate let path: String

    /// Writes all of `bytes`.
    func put(_ bytes: UnsafeRawBufferPointer) throws(FormatError) {
      var rest = bytes
      while !rest.isEmpty {
        let count = Platform.write(descriptor, rest)
        if count >= 0 {
          rest = UnsafeRawBufferPointer(rebasing: rest[count...])
        } else if errno != EINTR {
          throw failure(.cannotWrite, "cannot write the file", path)
        }
      }
    }

    /// Writes all of `bytes`.
    func put(_ bytes: [UInt8]) throws(FormatError) {
      // `withUnsafeBytes` does not pass a typed error on.
      let problem = bytes.withUnsafeBytes { buffer -> FormatError? in
        do throws(FormatError) {
          try put(buffer)
          return nil
        } catch {
          return error
        }
      }
      if let problem { throw problem }
    }
  }

  /// Writes one block of bytes; see below.
  static func write(_ bytes: [UInt8], to path: String) throws(FormatError) {
    try write(to: path) { sink throws(FormatError) in try sink.put(bytes) }
  }

  /// Writes beside the target, flushes to the disk, then renames: whoever reads `path` sees the
  /// old file or the new one. A target that is no regular file (a terminal, a pipe) is written to
  /// directly; a symbolic link is followed.
  static func write(
    to path: String, _ body: (Sink) throws(FormatError) -> Void
  ) throws(FormatError) {
    var status = stat()
    let exists = stat(path, &status) == 0
    if exists, status.st_mode & S_IFMT != S_IFREG {
      let descriptor = open(path, O_WRONLY | O_CLOEXEC)
      guard descriptor >= 0 else { throw failure(.cannotCreate, "cannot create the file", path) }
      defer { close(descriptor) }
      return try body(Sink(descriptor: descriptor, path: path))
    }
    let target = exists ? resolved(path) : path
    let beside = "\(target).\(getpid())-\(UInt32.random(in: 0...UInt32.max)).tmp"
    let descriptor = open(beside, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode_t(0o666))
    guard descriptor >= 0 else { throw failure(.cannotCreate, "cannot create the file", path) }
    do throws(FormatError) {
      defer { close(descriptor) }
      if exists { _ = fchmod(descriptor, status.st_mode & 0o777) }
      try body(Sink(descriptor: descriptor, path: path))
      guard fsync(descriptor) == 0 else {
        throw failure(.cannotWrite, "cannot write the file", path)
      }
      guard rename(beside, target) == 0 else {
        throw failure(.cannotCreate, "cannot create the file", path)
      }
    } catch {
      unlink(beside)
      throw error
    }
    // The rename itself is safe only once the folder is on the disk; where that fails, the file
    // is still whole.
    let folder = target.lastIndex(of: "/").map { $0 == target.startIndex ? "/" : target[..<$0] }
    let handle = open(folder.map(String.init) ?? ".", O_RDONLY | O_CLOEXEC)
    if handle >= 0 {
      _ = fsync(handle)
      close(handle)
    }
  }

  private static func resolved(_ path: String) -> String {
    guard let real = realpath(path, nil) else { return path }
    defer { free(real) }
    return String(cString: real)
  }

  private static func tooLarge(_ path: String, _ limit: Int) -> FormatError {
    FormatError(.limit, "the file is larger than \(limit) bytes", file: path)
  }

  private static func failure(
    _ kind: FormatError.Kind, _ what: String, _ path: String
  ) -> FormatError {
    FormatError(kind, "\(what): \(String(cString: strerror(errno)))", file: path)
  }

  /// The system calls whose names this type uses itself.
  private enum Platform {
    static func read(_ descriptor: Int32, _ buffer: UnsafeMutableRawBufferPointer) -> Int {
      #if canImport(Darwin)
        Darwin.read(descriptor, buffer.baseAddress, buffer.count)
      #elseif canImport(Musl)
        Musl.read(descriptor, buffer.baseAddress, buffer.count)
      #else
        Glibc.read(descriptor, buffer.baseAddress, buffer.count)
      #endif
    }

    static func write(_ descriptor: Int32, _ buffer: UnsafeRawBufferPointer) -> Int {
      #if canImport(Darwin)
        Darwin.write(descriptor, buffer.baseAddress, buffer.count)
      #elseif canImport(Musl)
        Musl.write(descriptor, buffer.baseAddress, buffer.count)
      #else
        Glibc.write(descriptor, buffer.baseAddress, buffer.count)
      #endif
    }
  }
}

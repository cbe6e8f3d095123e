// weft doctor: what this machine offers, and a small self-test.

import ArgumentParser
import Weft

struct DoctorCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "doctor", abstract: "Show CPU, BLAS and limits, and run a self-test.")

  @Flag(help: "List every op instead: element types, gradient, whether it runs (tab-separated).")
  var ops = false

  func run() throws {
    if ops {
      Console.print(OpListing.header)
      for line in OpListing.lines() { Console.print(line) }
      return
    }
    Console.print("weft      \(WeftCommand.configuration.version)")
    if let name = DoctorCommand.field("model name", of: "/proc/cpuinfo") {
      Console.print("cpu       \(name)")
    }
    Console.print("cores     \(SessionOptions.availableCores) available")
    let blas = BlasLibrary.current
    Console.print("blas      \(blas.configuration)")
    Console.print(
      "core      \(blas.core)"
        + (blas.core == blas.originalCore
          ? "" : " (OpenBLAS does not know this CPU and took it for \(blas.originalCore))"))
    Console.print("ops       \(OpRegistry.standard.all.count) registered")
    if let limit = try? WholeFile.read("/sys/fs/cgroup/memory.max") {
      Console.print("memory    cgroup limit \(DoctorCommand.firstLine(limit))")
    }
    if let quota = try? WholeFile.read("/sys/fs/cgroup/cpu.max") {
      Console.print("quota     cgroup cpu \(DoctorCommand.firstLine(quota))")
    }
    if let total = DoctorCommand.field("MemTotal", of: "/proc/meminfo") {
      Console.print("ram       \(total)")
    }
    try selfTest()
    Console.print("self-test ok")
  }

  // A product whose sum is known, through graph, gradient, plan and run.
  private func selfTest() throws {
    let graph = Graph()
    let size = 64
    let a = try graph.constant(
      try Tensor((0..<(size * size)).map { Float($0 % 7) - 3 }, shape: [size, size]))
    let x = try graph.placeholder(.float32, shape: Shape([size, size]), name: "x")
    let y = try sum(matmul(a, x))
    let dx = try dense(gradients(of: [y], withRespectTo: [x])[0] ?? .dense(x))
    let session = Session(graph)
    let value = try Tensor([Float](repeating: 1, count: size * size), shape: [size, size])
    let got = try session.run([y, dx], feeds: [x: value])
    var wanted: Float = 0
    for i in 0..<(size * size) { wanted += Float(i % 7) - 3 }
    let total: Float = try got[0].scalar()
    let first = try got[1].array(of: Float.self)[0]
    let column = (0..<size).reduce(Float(0)) { $0 + Float(($1 * size) % 7) - 3 }
    guard total == wanted * Float(size), first == column else {
      throw WeftError(
        .internal,
        "the self-test computed \(total) and \(first), not \(wanted * Float(size)) and "
          + "\(column)", category: .run)
    }
  }

  private static func firstLine(_ bytes: [UInt8]) -> String {
    String(decoding: bytes.prefix { $0 != 0x0A }, as: UTF8.self)
  }

  private static func field(_ name: String, of path: String) -> String? {
    guard let bytes = try? WholeFile.read(path) else { return nil }
    for line in bytes.split(separator: 0x0A) {
      let text = String(decoding: line, as: UTF8.self)
      guard text.hasPrefix(name), let colon = text.firstIndex(of: ":") else { continue }
      return String(text[text.index(after: colon)...].drop { $0 == " " || $0 == "\t" })
    }
    return nil
  }
}

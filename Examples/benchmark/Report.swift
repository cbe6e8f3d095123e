// What a workload measured, as lines for people or one JSON object; clocks and medians.

import Weft

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// Named numbers and texts, in the order they were added. Names end in their unit.
struct Report {
  private enum Value {
    case number(Double, digits: Int)
    case text(String)
  }
  private var rows: [(name: String, value: Value)] = []

  /// A report that begins with the workload's name.
  init(_ workload: String) { add("benchmark", workload) }

  /// Writes a workload's graph to a file and reports that alone.
  init(_ workload: String, writing graph: Graph, to path: String) throws {
    self.init(workload)
    try GraphFile.write(graph.snapshot, to: path)
    add("graph", path)
    add("nodes", graph.nodes.count)
  }

  mutating func add(_ name: String, _ value: Double, digits: Int = 3) {
    rows.append((name, .number(value, digits: digits)))
  }

  mutating func add(_ name: String, _ value: Int) { add(name, Double(value), digits: 0) }

  mutating func add(_ name: String, _ text: String) { rows.append((name, .text(text))) }

  /// Median and least of some seconds, in milliseconds.
  mutating func add(milliseconds seconds: [Double], _ prefix: String = "") {
    add(prefix + "median_ms", Statistics.median(seconds) * 1e3)
    add(prefix + "min_ms", (seconds.min() ?? 0) * 1e3)
  }

  /// Whose figures these are.
  mutating func addMachine(threads: Int) {
    add("threads", threads)
    add("blas_core", BlasLibrary.current.core)
    add("peak_rss_mb", Double(Resources.peakMemory) / 1e6, digits: 1)
  }

  var text: String {
    let width = rows.reduce(0) { max($0, $1.name.count) }
    return rows.map { row in
      row.name + String(repeating: " ", count: width + 2 - row.name.count) + shown(row.value)
    }.joined(separator: "\n")
  }

  var json: String {
    let members = rows.map { row -> String in
      switch row.value {
      case .number: return "\"\(row.name)\": \(shown(row.value))"
      case .text(let text): return "\"\(row.name)\": \"\(Report.escaped(text))\""
      }
    }
    return "{" + members.joined(separator: ", ") + "}"
  }

  private func shown(_ value: Value) -> String {
    switch value {
    case .text(let text): return text
    case .number(let number, let digits):
      // JSON has no number for these.
      guard number.isFinite, abs(number) < 1e15 else { return "null" }
      var scale = 1.0
      for _ in 0..<digits { scale *= 10 }
      let rounded = (number * scale).rounded() / scale
      return digits == 0 ? "\(Int(rounded))" : "\(rounded)"
    }
  }

  private static func escaped(_ text: String) -> String {
    var out = ""
    for scalar in text.unicodeScalars where scalar.value >= 0x20 {
      if scalar == "\"" || scalar == "\\" { out += "\\" }
      out.unicodeScalars.append(scalar)
    }
    return out
  }

  /// Writes a line; a closed pipe ends nothing but the line.
  static func write(_ line: String, to descriptor: Int32) {
    var rest = Array((line + "\n").utf8)[...]
    while !rest.isEmpty {
      let count = rest.withUnsafeBytes { bytes in
        #if canImport(Glibc)
          Glibc.write(descriptor, bytes.baseAddress, bytes.count)
        #elseif canImport(Musl)
          Musl.write(descriptor, bytes.baseAddress, bytes.count)
        #else
          Darwin.write(descriptor, bytes.baseAddress, bytes.count)
        #endif
      }
      if count > 0 {
        rest.removeFirst(count)
      } else if errno != EINTR {
        return
      }
    }
  }
}

/// Numbers about numbers.
enum Statistics {
  /// The median, the upper one of two; 0 of none.
  static func median(_ values: [Double]) -> Double {
    values.isEmpty ? 0 : values.sorted()[values.count / 2]
  }
}

/// Time and memory of this process.
enum Resources {
  /// Seconds of a clock that never goes back.
  static var seconds: Double {
    var time = timespec()
    clock_gettime(CLOCK_MONOTONIC, &time)
    return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
  }

  /// The seconds that `body` takes.
  static func time(_ body: () throws -> Void) rethrows -> Double {
    let begin = seconds
    try body()
    return seconds - begin
  }

  /// The largest resident size so far, in bytes.
  static var peakMemory: Int {
    var usage = rusage()
    // 0 is RUSAGE_SELF, whose Swift type differs from system to system.
    guard getrusage(0, &usage) == 0 else { return 0 }
    #if canImport(Darwin)
      return Int(usage.ru_maxrss)
    #else
      return Int(usage.ru_maxrss) * 1024
    #endif
  }
}

/// SplitMix64: the same ids in every run.
struct FixedNumbers: RandomNumberGenerator {
  private var state: UInt64

  init(seed: UInt64) { state = seed }

  mutating func next() -> UInt64 {
    state &+= 0x9e37_79b9_7f4a_7c15
    var z = state
    z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
    z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
    return z ^ (z >> 31)
  }
}

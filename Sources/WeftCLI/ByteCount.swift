// A number of bytes on the command line.

import ArgumentParser

/// `512M`, `2G`, `1000000`: K, M and G stand for powers of 1024.
struct ByteCount: ExpressibleByArgument {
  let bytes: Int

  init?(argument: String) {
    let units: [Character: Int] = ["K": 1 << 10, "M": 1 << 20, "G": 1 << 30]
    var digits = argument[...]
    var unit = 1
    if let last = argument.last, let scale = units[Character(last.uppercased())] {
      unit = scale
      digits = digits.dropLast()
    }
    guard let count = Int(digits), count > 0 else { return nil }
    let (bytes, overflow) = count.multipliedReportingOverflow(by: unit)
    guard !overflow else { return nil }
    self.bytes = bytes
  }
}

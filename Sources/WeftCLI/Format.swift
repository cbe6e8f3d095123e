// Numbers for people.

/// Numbers as progress lines and reports show them.
enum Format {
  /// `value` with `digits` decimals.
  static func fixed(_ value: Double, _ digits: Int) -> String {
    guard value.isFinite, abs(value) < 1e15 else { return "\(value)" }
    var scale = 1.0
    for _ in 0..<digits { scale *= 10 }
    let whole = Int((abs(value) * scale).rounded())
    let sign = value < 0 && whole > 0 ? "-" : ""
    if digits == 0 { return "\(sign)\(whole)" }
    let fraction = String(whole % Int(scale))
    let zeros = String(repeating: "0", count: digits - fraction.count)
    return "\(sign)\(whole / Int(scale)).\(zeros)\(fraction)"
  }

  /// `12,345`.
  static func grouped(_ value: Int) -> String {
    var digits = String(abs(value))
    var parts: [String] = []
    while digits.count > 3 {
      parts.insert(String(digits.suffix(3)), at: 0)
      digits.removeLast(3)
    }
    return (value < 0 ? "-" : "") + ([digits] + parts).joined(separator: ",")
  }

  /// `1h02m`, `3m20s` or `12s`.
  static func duration(_ seconds: Double) -> String {
    guard seconds.isFinite, seconds < 1e9 else { return "?" }
    let total = Int(seconds.rounded())
    func two(_ n: Int) -> String { n < 10 ? "0\(n)" : "\(n)" }
    if total >= 3600 { return "\(total / 3600)h\(two(total / 60 % 60))m" }
    return total >= 60 ? "\(total / 60)m\(two(total % 60))s" : "\(total)s"
  }

  /// A word that a shell reads as it is, quoted where it must be.
  static func shellWord(_ word: String) -> String {
    let isPlain = word.utf8.allSatisfy { byte in
      byte > 0x7F || (0x41...0x5A).contains(byte & 0xDF)
        || "+,-./0123456789:=@_".utf8.contains(byte)
    }
    if isPlain && !word.isEmpty { return word }
    let parts = word.split(separator: "'", omittingEmptySubsequences: false)
    return "'" + parts.joined(separator: #"'\''"#) + "'"
  }

  /// `123.4 MB`.
  static func bytes(_ count: Int) -> String { "\(fixed(Double(count) / 1e6, 1)) MB" }
}

// What the machine has.

#if canImport(Glibc)
  internal import Glibc
#elseif canImport(Musl)
  internal import Musl
#elseif canImport(Darwin)
  internal import Darwin
#endif

/// The machine that the program runs on.
public enum Machine {
  /// Bytes of physical memory, as far as the system says.
  public static let memory: Int = {
    let beyond = 1 << 44
    let pages = sysconf(Int32(_SC_PHYS_PAGES))
    let size = sysconf(Int32(_SC_PAGESIZE))
    guard pages > 0, size > 0 else { return beyond }
    let (bytes, overflow) = pages.multipliedReportingOverflow(by: size)
    return overflow ? beyond : min(bytes, beyond)
  }()

  /// Whole cores that the container's CPU quota allows; nil without a quota.
  public static let quotaCores: Int? = {
    func words(_ path: String) -> [String]? {
      guard let file = fopen(path, "r") else { return nil }
      defer { fclose(file) }
      var line = [CChar](repeating: 0, count: 128)
      guard fgets(&line, 127, file) != nil else { return nil }
      let bytes = line.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }
      return String(decoding: bytes, as: UTF8.self).split { $0 == " " || $0 == "\n" }.map(
        String.init)
    }
    func cores(_ quota: String?, _ period: String?) -> Int? {
      guard let quota = quota.flatMap({ Int($0) }), let period = period.flatMap({ Int($0) }),
        quota > 0, period > 0
      else { return nil }
      return max(1, quota / period)
    }
    if let both = words("/sys/fs/cgroup/cpu.max"), both.count == 2 {
      return cores(both[0], both[1])
    }
    let old = "/sys/fs/cgroup/cpu/cpu.cfs_"
    return cores(words(old + "quota_us")?.first, words(old + "period_us")?.first)
  }()
}

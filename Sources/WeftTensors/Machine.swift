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
}

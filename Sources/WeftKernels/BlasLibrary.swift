// Which of OpenBLAS's kernels run: what it picks, and the remedy when it does not know the CPU.

internal import COpenBLAS
internal import CWeftVectorMath

#if canImport(Glibc)
  internal import Glibc
#endif

/// The BLAS library of this process.
///
/// OpenBLAS picks kernels by CPU model. A CPU younger than the library is taken for the oldest one
/// it knows (0.3.21 runs SSE3 loops on an Emerald Rapids, a quarter of the speed of its own AVX-512
/// kernels), so where the pick lacks AVX2 and the CPU has it, Weft asks OpenBLAS to pick again by
/// what the CPU can do. Whoever sets `OPENBLAS_CORETYPE` keeps that choice. No other thread may be
/// inside OpenBLAS at that moment: it is the first run of the first session.
public struct BlasLibrary: Sendable {
  /// What the library says of itself: version, build options.
  public let configuration: String
  /// The core type whose kernels run.
  public let core: String
  /// The core type that OpenBLAS took by itself, or was told to by `OPENBLAS_CORETYPE`.
  public let originalCore: String

  /// The library as this process uses it; the first use settles the core type, once.
  public static let current = BlasLibrary()

  private init() {
    originalCore = BlasLibrary.corename()
    BlasLibrary.correctCore(originalCore)
    core = BlasLibrary.corename()
    configuration = openblas_get_config().map { String(cString: $0) } ?? "unknown"
  }

  private static func corename() -> String {
    openblas_get_corename().map { String(cString: $0) } ?? "unknown"
  }

  private static func correctCore(_ picked: String) {
    #if arch(x86_64) && canImport(Glibc)
      // Core types whose kernels use neither AVX2 nor fused multiply-add.
      let old: Set = [
        "Prescott", "Katmai", "Coppermine", "Northwood", "Banias", "Core2", "Penryn", "Dunnington",
        "Nehalem", "Atom", "Athlon", "Opteron", "Opteron_SSE3", "Barcelona", "Bobcat", "Nano",
        "Sandybridge", "Generic",
      ]
      let level = weft_cpu_level()
      guard level >= 3, old.contains(picked), getenv("OPENBLAS_CORETYPE") == nil else { return }
      // The two functions that builds with DYNAMIC_ARCH run when they are loaded; others lack them.
      typealias Function = @convention(c) () -> Void
      guard let end = dlsym(nil, "gotoblas_dynamic_quit"),
        let begin = dlsym(nil, "gotoblas_dynamic_init")
      else { return }
      setenv("OPENBLAS_CORETYPE", level >= 4 ? "SkylakeX" : "Haswell", 1)
      unsafeBitCast(end, to: Function.self)()
      unsafeBitCast(begin, to: Function.self)()
      unsetenv("OPENBLAS_CORETYPE")
    #endif
  }
}

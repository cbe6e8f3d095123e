// What the vector math tests share: ulp distances, deterministic inputs, hashes of results.
import CWeftVectorMath

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

typealias FloatMap = (UnsafePointer<Float>?, UnsafeMutablePointer<Float>?, Int) -> Void
typealias DoubleMap = (UnsafePointer<Double>?, UnsafeMutablePointer<Double>?, Int) -> Void

/// Distance of `value` from the true `reference`, in units in the last place of Float there.
func ulps(_ value: Float, _ reference: Double) -> Double {
  if reference.isNaN || value.isNaN { return reference.isNaN && value.isNaN ? 0 : .infinity }
  let rounded = Float(reference)
  if rounded.isInfinite || value.isInfinite { return rounded == value ? 0 : .infinity }
  if reference == 0 { return value == 0 && value.sign == reference.sign ? 0 : .infinity }
  return abs(Double(value) - reference) / Double(rounded.ulp)
}

/// A small generator (xorshift), so that inputs are the same on every run and machine.
struct Noise {
  var state: UInt64 = 0x9E37_79B9_7F4A_7C15

  init(_ seed: UInt64 = 1) { state ^= seed &* 0xBF58_476D_1CE4_E5B9 }

  mutating func next() -> UInt64 {
    state ^= state << 13
    state ^= state >> 7
    state ^= state << 17
    return state
  }

  mutating func uniform(_ low: Double = -2, _ high: Double = 2) -> Double {
    low + (high - low) * Double(next() >> 11) / 9_007_199_254_740_992
  }

  mutating func floats(_ count: Int, _ low: Double = -2, _ high: Double = 2) -> [Float] {
    (0..<count).map { _ in Float(uniform(low, high)) }
  }

  mutating func doubles(_ count: Int, _ low: Double = -2, _ high: Double = 2) -> [Double] {
    (0..<count).map { _ in uniform(low, high) }
  }
}

/// A hash of the results' bits; all NaNs count as one.
func fingerprint(_ values: [Float], _ start: UInt64 = 0xcbf2_9ce4_8422_2325) -> UInt64 {
  values.reduce(start) { hash, value in
    (hash ^ UInt64(value.isNaN ? 0x7fc0_0000 : value.bitPattern)) &* 0x100_0000_01b3
  }
}

func apply(_ map: FloatMap, _ x: [Float]) -> [Float] {
  var y = [Float](repeating: 99, count: x.count)
  map(x, &y, x.count)
  return y
}

func apply(_ map: DoubleMap, _ x: [Double]) -> [Double] {
  var y = [Double](repeating: 99, count: x.count)
  map(x, &y, x.count)
  return y
}

/// Whether two arrays agree bit for bit (NaN agrees with NaN).
func same(_ a: [Float], _ b: [Float]) -> Bool {
  a.count == b.count
    && zip(a, b).allSatisfy { $0.bitPattern == $1.bitPattern || ($0 != $0 && $1 != $1) }
}

func same(_ a: [Double], _ b: [Double]) -> Bool {
  a.count == b.count
    && zip(a, b).allSatisfy { $0.bitPattern == $1.bitPattern || ($0 != $0 && $1 != $1) }
}

/// The largest absolute difference.
func distance(_ a: [Float], _ b: [Double]) -> Double {
  zip(a, b).reduce(0) { max($0, abs(Double($1.0) - $1.1)) }
}

func distance(_ a: [Double], _ b: [Double]) -> Double {
  zip(a, b).reduce(0) { max($0, abs($1.0 - $1.1)) }
}

func sigmoid(_ x: Double) -> Double { x < 0 ? exp(x) / (1 + exp(x)) : 1 / (1 + exp(-x)) }

// Distinct elements in the order in which they are first seen.

public import WeftTensors

/// An element that can be looked up in a hash table: equal elements (as `==` says) have equal hashes.
public protocol TableElement: TensorElement, Equatable {
  /// Any hash of the value; the table mixes it.
  var tableHash: UInt64 { get }
}

extension TableElement where Self: FixedWidthInteger {
  /// The value itself.
  public var tableHash: UInt64 { UInt64(truncatingIfNeeded: self) }
}

extension Int8: TableElement {}
extension Int16: TableElement {}
extension Int32: TableElement {}
extension Int64: TableElement {}
extension UInt8: TableElement {}
extension UInt16: TableElement {}
extension UInt32: TableElement {}
extension UInt64: TableElement {}
extension Bool: TableElement {
  /// 0 or 1.
  public var tableHash: UInt64 { self ? 1 : 0 }
}
extension Float: TableElement {
  /// The bits; both zeros are one value.
  public var tableHash: UInt64 { self == 0 ? 0 : UInt64(bitPattern) }
}
extension Double: TableElement {
  /// The bits; both zeros are one value.
  public var tableHash: UInt64 { self == 0 ? 0 : bitPattern }
}
#if !(os(macOS) && arch(x86_64))
  extension Float16: TableElement {
    /// The bits; both zeros are one value.
    public var tableHash: UInt64 { self == 0 ? 0 : UInt64(bitPattern) }
  }
#endif
extension ComplexValue: TableElement where Part: TableElement {
  /// Both parts.
  public var tableHash: UInt64 { real.tableHash &* 31 &+ imaginary.tableHash }
}

/// An open-addressing table of positions in an array, over memory of the caller's.
public struct PositionTable {
  private let slots: UnsafeMutablePointer<Int32>
  private let mask: Int

  /// The number of slots for `count` elements: a power of two, at most half full.
  public static func capacity(_ count: Int) -> Int {
    var capacity = 16
    while capacity < 2 * count { capacity *= 2 }
    return capacity
  }

  /// An empty table over `capacity` slots.
  public init(_ memory: UnsafeMutableRawPointer, capacity: Int) {
    slots = memory.bindMemory(to: Int32.self, capacity: capacity)
    slots.update(repeating: -1, count: capacity)
    mask = capacity - 1
  }

  /// The stored position that `isSame` accepts for a value of this hash; nil when there is none, and
  /// then `position` is stored (unless it is negative).
  @inline(__always)
  public func find(
    hash: UInt64, storing position: Int, _ isSame: (Int) -> Bool
  ) -> Int? {
    var at = Int(truncatingIfNeeded: (hash &* 0x9e37_79b9_7f4a_7c15) >> 20) & mask
    while true {
      let stored = Int(slots[at])
      if stored < 0 {
        if position >= 0 { slots[at] = Int32(truncatingIfNeeded: position) }
        return nil
      }
      if isSame(stored) { return stored }
      at = (at &+ 1) & mask
    }
  }
}

/// Writes the distinct elements of `x` to `y`, for each element its place there to `places`, and how
/// often each occurs to `counts`; returns their number.
public func uniqueElements<Element: TableElement, Index: IndexElement>(
  _ x: UnsafePointer<Element>, count: Int, into y: UnsafeMutablePointer<Element>,
  places: UnsafeMutablePointer<Index>, counts: UnsafeMutablePointer<Index>?, table: PositionTable
) -> Int {
  var found = 0
  for i in 0..<count {
    let value = x[i]
    if let at = table.find(hash: value.tableHash, storing: found, { y[$0] == value }) {
      places[i] = Index(truncatingIfNeeded: at)
      if let counts { counts[at] &+= 1 }
    } else {
      y[found] = value
      places[i] = Index(truncatingIfNeeded: found)
      if let counts { counts[found] = 1 }
      found += 1
    }
  }
  return found
}

/// The same for slices: element j of `x` is all of `[outer, j, inner]`. `order` receives, for each
/// distinct slice, where it was first seen.
public func uniqueSlices<Element: TableElement, Index: IndexElement>(
  _ x: UnsafePointer<Element>, outer: Int, count: Int, inner: Int,
  order: UnsafeMutablePointer<Int>, places: UnsafeMutablePointer<Index>,
  counts: UnsafeMutablePointer<Index>?, table: PositionTable
) -> Int {
  var found = 0
  for j in 0..<count {
    var hash: UInt64 = 17
    for o in 0..<outer {
      for i in 0..<inner { hash = hash &* 31 &+ x[(o * count + j) * inner + i].tableHash }
    }
    let match = table.find(hash: hash, storing: found) { at in
      for o in 0..<outer {
        for i in 0..<inner
        where x[(o * count + j) * inner + i] != x[(o * count + order[at]) * inner + i] {
          return false
        }
      }
      return true
    }
    let at = match ?? found
    if match == nil {
      order[found] = j
      found += 1
      if let counts { counts[at] = 0 }
    }
    places[j] = Index(truncatingIfNeeded: at)
    if let counts { counts[at] &+= 1 }
  }
  return found
}

// Filling memory with one element, and sequences of numbers.

public import WeftTensors

/// Writes `count` copies of the `elementBytes` bytes at `value`.
public func fillElements(
  _ target: UnsafeMutableRawPointer, count: Int, value: UnsafeRawPointer, elementBytes: Int,
  _ pool: ThreadPool
) {
  func all<Word: BitwiseCopyable>(_: Word.Type) {
    let word = value.loadUnaligned(as: Word.self)
    let words = target.assumingMemoryBound(to: Word.self)
    pool.split(count, grain: max(1, (1 << 18) / elementBytes)) { lower, upper in
      for i in lower..<upper { words[i] = word }
    }
  }
  switch elementBytes {
  case 1: all(UInt8.self)
  case 2: all(UInt16.self)
  case 4: all(UInt32.self)
  case 8: all(UInt64.self)
  default: all(SIMD2<UInt64>.self)
  }
}

// Places of the largest and smallest float of a row, in vectors and one by one.

import Testing
import WeftKernels
import WeftTensors

@Suite struct ArgTests {
  private func place(_ row: [Float], largest: Bool, inner: Int = 1) throws -> [Int] {
    let kernel = try #require(argRow(.float32, largest: largest))
    var out = [Int](repeating: -1, count: inner)
    row.withUnsafeBytes { bytes in
      guard let base = bytes.baseAddress else { return }
      kernel(base, row.count / inner, inner, &out, inner)
    }
    return out
  }

  private static let rows: [[Float]] = [
    [1, 5, 5, -2], [-.infinity, -.infinity], [.nan, 3, 7, .nan, 7], [.nan, .nan], [0, -0.0],
    [-.infinity, -3], [4], [.infinity, .nan, .infinity], [-1, -1, -2, -2],
  ]

  @Test(arguments: rows)
  func theFirstOfEqualsAndNeverNaN(_ row: [Float]) throws {
    for length in [row.count, 37, 7_428] {
      // What follows is neither larger nor smaller than the first element that is a number.
      let filler = row.first { !$0.isNaN } ?? .nan
      let long = row + [Float](repeating: filler, count: length - min(length, row.count))
      for largest in [true, false] {
        var wanted = 0
        var best: Float = largest ? -.infinity : .infinity
        for (index, value) in long.enumerated() where largest ? value > best : value < best {
          (best, wanted) = (value, index)
        }
        #expect(try place(long, largest: largest) == [wanted], "\(row) \(length) \(largest)")
        // Two columns go one by one.
        let pairs = long.flatMap { value -> [Float] in [value, 1] }
        #expect(try place(pairs, largest: largest, inner: 2)[0] == wanted)
      }
    }
  }
}

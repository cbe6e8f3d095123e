// Offsets in one arena for values whose lifetimes are known.

/// Assigns arena offsets to values by their lifetimes: values that live at the same time get
/// disjoint bytes.
package struct MemoryPlan {
  /// Memory wanted from step `first` to step `last`, both included.
  package struct Request {
    package var bytes: Int
    package var first: Int
    package var last: Int

    package init(bytes: Int, first: Int, last: Int) {
      self.bytes = bytes
      self.first = first
      self.last = last
    }
  }

  /// The offset of each request, a multiple of 64.
  package private(set) var offsets: [Int]
  /// The arena's size.
  package private(set) var totalBytes = 0

  /// Plans `requests`; without `sharing` every value has bytes of its own.
  ///
  /// Requests are placed in order of their start, each in the smallest free block that fits.
  package init(_ requests: [Request], sharing: Bool) {
    offsets = [Int](repeating: 0, count: requests.count)
    let sizes = requests.map { max(64, ($0.bytes + 63) & ~63) }
    guard sharing else {
      for index in requests.indices {
        offsets[index] = totalBytes
        totalBytes += sizes[index]
      }
      return
    }
    let byStart = requests.indices.sorted {
      (requests[$0].first, $0) < (requests[$1].first, $1)
    }
    let byEnd = requests.indices.sorted { (requests[$0].last, $0) < (requests[$1].last, $1) }
    // Free blocks by offset; neighbours are merged.
    var free: [(offset: Int, size: Int)] = []
    var ended = 0
    for index in byStart {
      while ended < byEnd.count, requests[byEnd[ended]].last < requests[index].first {
        release(&free, offset: offsets[byEnd[ended]], size: sizes[byEnd[ended]])
        ended += 1
      }
      let size = sizes[index]
      var best = -1
      for block in free.indices where free[block].size >= size {
        if best < 0 || free[block].size < free[best].size { best = block }
      }
      if best >= 0 {
        offsets[index] = free[best].offset
        if free[best].size == size {
          free.remove(at: best)
        } else {
          free[best] = (free[best].offset + size, free[best].size - size)
        }
      } else if let last = free.last, last.offset + last.size == totalBytes {
        // Grow the block at the end rather than leave it behind.
        offsets[index] = last.offset
        totalBytes = last.offset + size
        free.removeLast()
      } else {
        offsets[index] = totalBytes
        totalBytes += size
      }
    }
  }

  private func release(_ free: inout [(offset: Int, size: Int)], offset: Int, size: Int) {
    var low = 0
    var high = free.count
    while low < high {
      let middle = (low + high) / 2
      if free[middle].offset < offset { low = middle + 1 } else { high = middle }
    }
    free.insert((offset, size), at: low)
    if low + 1 < free.count, free[low].offset + free[low].size == free[low + 1].offset {
      free[low].size += free[low + 1].size
      free.remove(at: low + 1)
    }
    if low > 0, free[low - 1].offset + free[low - 1].size == free[low].offset {
      free[low - 1].size += free[low].size
      free.remove(at: low)
    }
  }
}

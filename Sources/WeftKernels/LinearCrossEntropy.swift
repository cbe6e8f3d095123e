// A dense layer and the softmax cross-entropy on it, with all gradients, in chunks of rows: logits
// are never whole.

internal import CWeftVectorMath
package import WeftTensors

/// What one fused linear + softmax cross-entropy computes, for fixed sizes.
///
/// For rows h `[N, K]`, weights W `[K, V]` (or `[V, K]`), and a bias: z = h W + b, x = z or relu(z),
/// loss = -sum labels log softmax(x). With `scale` s `[N]`, the gradient of each row's loss, also
/// dz = s (softmax(x) - labels), dh = dz W^T, dW = h^T dz, db = sum of dz's rows.
///
/// A chunk of rows goes through tiles of columns twice: once to make its exponentials and each
/// tile's largest logit and sum, once to turn them into dz and use it at once in both products.
/// Chunks and tiles depend on sizes alone and partial sums are added in their order, so bits do not
/// depend on threads. Rows whose scale and mask are zero are left out.
package struct LinearCrossEntropy: Sendable {
  /// How labels are given.
  package enum Labels: Sendable { case int32, int64, dense }

  package var rows: Int
  package var inner: Int
  package var classes: Int
  package var transposedWeights: Bool
  package var hasReLU: Bool
  package var labels: Labels
  package var wantsGradient: Bool

  package init(
    rows: Int, inner: Int, classes: Int, transposedWeights: Bool, hasReLU: Bool, labels: Labels,
    wantsGradient: Bool
  ) {
    self.rows = rows
    self.inner = inner
    self.classes = classes
    self.transposedWeights = transposedWeights
    self.hasReLU = hasReLU
    self.labels = labels
    self.wantsGradient = wantsGradient
  }

  /// Memory of one call; the optional ones are nil when not given or not wanted.
  package struct Operands {
    package let h: UnsafeRawPointer
    package let weights: UnsafeRawPointer
    package let bias: UnsafeRawPointer?
    package let labels: UnsafeRawPointer
    package let scale: UnsafeRawPointer?
    package let mask: UnsafeRawPointer?
    package let loss: UnsafeMutableRawPointer
    package let dh: UnsafeMutableRawPointer?
    package let dWeights: UnsafeMutableRawPointer?
    package let dBias: UnsafeMutableRawPointer?

    package init(
      h: UnsafeRawPointer, weights: UnsafeRawPointer, bias: UnsafeRawPointer?,
      labels: UnsafeRawPointer, scale: UnsafeRawPointer?, mask: UnsafeRawPointer?,
      loss: UnsafeMutableRawPointer, dh: UnsafeMutableRawPointer?,
      dWeights: UnsafeMutableRawPointer?, dBias: UnsafeMutableRawPointer?
    ) {
      self.h = h
      self.weights = weights
      self.bias = bias
      self.labels = labels
      self.scale = scale
      self.mask = mask
      self.loss = loss
      self.dh = dh
      self.dWeights = dWeights
      self.dBias = dBias
    }
  }

  // Columns of a tile: its logits should stay in a core's cache between their two uses. A number of
  // tiles that small teams share evenly.
  var tileWidth: Int {
    let wanted = (classes + 511) / 512
    let tiles = wanted > 4 ? (wanted + 7) / 8 * 8 : max(1, wanted)
    return min(4_096, ((classes + tiles - 1) / tiles + 15) / 16 * 16)
  }
  var tiles: Int { max(1, (classes + tileWidth - 1) / tileWidth) }
  // Rows of a chunk: logits of some sixteen megabytes.
  var chunk: Int { max(1, min(rows, max(32, min(512, (1 << 22) / max(1, classes) / 16 * 16)))) }

  // Elements of each part of the scratch memory.
  private var parts: [Int] {
    let perTile = chunk * tiles
    return [
      chunk * tiles * tileWidth, perTile, perTile, labels == .dense ? perTile : chunk,
      labels == .dense ? perTile : 0, chunk, chunk * inner,
      wantsGradient ? perTile * inner : 0,
    ]
  }

  /// Bytes of scratch memory for elements of `elementBytes`; nil when they are more than memory
  /// can be.
  package func scratchBytes(elementBytes: Int) -> Int? {
    guard Double(chunk) * Double(tiles) * Double(tileWidth + inner + 4) < 0x1p48,
      Double(rows) < 0x1p31, classes < 1 << 31
    else { return nil }
    let floats = parts.reduce(0) { $0 + ($1 * elementBytes + 63) / 64 * 64 }
    return floats + (chunk * 4 + 63) / 64 * 64 + rows * 4 + 64
  }

  /// Multiplications and additions of the products.
  package var flops: Int {
    let one = 2 * Double(rows) * Double(inner) * Double(classes)
    return Int(min(wantsGradient ? 3 * one : one, 0x1p62))
  }

  /// How it goes, for reports.
  package var summary: [String] {
    ["chunks of \(chunk) rows, \(tiles) tiles of \(tileWidth) columns"]
  }

  /// The first row whose label is not a class, with the label.
  package func badLabel(_ operands: Operands) -> (row: Int, label: Int)? {
    guard labels != .dense else { return nil }
    let list = IndexList(operands.labels, labels == .int64 ? .int64 : .int32, count: rows)
    return list.firstOutside(classes).map { ($0, list[$0]) }
  }

  /// Computes losses and gradients. Labels have been checked.
  package func run<E: CrossEntropyElement>(
    _ operands: Operands, _: E.Type, scratch: UnsafeMutableRawPointer, pool: ThreadPool
  ) {
    var at = scratch
    func take(_ count: Int) -> UnsafeMutablePointer<E> {
      defer { at += (count * MemoryLayout<E>.stride + 63) / 64 * 64 }
      return at.assumingMemoryBound(to: E.self)
    }
    let sizes = parts
    let work = CrossEntropyWork<E>(
      z: take(sizes[0]), largest: take(sizes[1]), sum: take(sizes[2]), chosen: take(sizes[3]),
      mass: take(sizes[4]), scale: take(sizes[5]), h: take(sizes[6]), partial: take(sizes[7]),
      column: at.assumingMemoryBound(to: Int32.self),
      active: (at + (chunk * 4 + 63) / 64 * 64).assumingMemoryBound(to: Int32.self))
    let count = findActive(operands, work)
    let loss = operands.loss.assumingMemoryBound(to: E.self)
    if count < rows {
      for r in 0..<rows { loss[r] = 0 }
      if let dh = operands.dh { memclear(dh, rows * inner * MemoryLayout<E>.stride) }
    }
    if let db = operands.dBias { memclear(db, classes * MemoryLayout<E>.stride) }
    if count == 0, let dw = operands.dWeights {
      memclear(dw, inner * classes * MemoryLayout<E>.stride)
    }
    var start = 0
    while start < count {
      let length = min(chunk, count - start)
      runChunk(operands, work, first: start, length: length, isWhole: count == rows, pool: pool)
      start += length
    }
  }

  // Rows that count, in order. A row whose scale and mask are zero has no effect on the loss nor on
  // a gradient, unless it is not finite: then it stays, so that its NaN shows.
  private func findActive<E: CrossEntropyElement>(
    _ operands: Operands, _ work: CrossEntropyWork<E>
  ) -> Int {
    let scale = operands.scale?.assumingMemoryBound(to: E.self)
    guard let mask = operands.mask?.assumingMemoryBound(to: E.self) else {
      for r in 0..<rows { work.active[r] = Int32(truncatingIfNeeded: r) }
      return rows
    }
    let h = operands.h.assumingMemoryBound(to: E.self)
    var count = 0
    for r in 0..<rows {
      if mask[r] == 0 && (scale?[r] ?? 0) == 0 {
        var probe: E = 0
        for k in 0..<inner { probe += h[r * inner + k] * 0 }
        if probe == 0 { continue }
      }
      work.active[count] = Int32(truncatingIfNeeded: r)
      count += 1
    }
    return count
  }

  private func runChunk<E: CrossEntropyElement>(
    _ operands: Operands, _ work: CrossEntropyWork<E>, first: Int, length: Int, isWhole: Bool,
    pool: ThreadPool
  ) {
    let (width, tiles, inner, classes) = (tileWidth, self.tiles, self.inner, self.classes)
    let whole = operands.h.assumingMemoryBound(to: E.self)
    var h = whole + first * inner
    let active = work.active + first
    if !isWhole {
      for i in 0..<length {
        (work.h + i * inner).update(from: whole + Int(active[i]) * inner, count: inner)
      }
      h = UnsafePointer(work.h)
    }
    let scale = operands.scale?.assumingMemoryBound(to: E.self)
    for i in 0..<length {
      let r = Int(active[i])
      work.scale[i] = scale?[r] ?? 0
      switch labels {
      case .int32: work.column[i] = operands.labels.assumingMemoryBound(to: Int32.self)[r]
      case .int64:
        work.column[i] = Int32(
          truncatingIfNeeded: operands.labels.assumingMemoryBound(to: Int64.self)[r])
      case .dense: break
      }
    }
    let w = operands.weights.assumingMemoryBound(to: E.self)
    let ldw = transposedWeights ? inner : classes
    let step = tiles
    let dense =
      labels == .dense ? operands.labels.assumingMemoryBound(to: E.self) + first * classes : nil

    func tile(_ j: Int) -> (from: Int, count: Int, z: UnsafeMutablePointer<E>) {
      let from = j * width
      return (from, min(width, classes - from), work.z + j * chunk * width)
    }
    pool.parallel(tiles) { j in
      let (from, count, z) = tile(j)
      E.blasMultiply(
        false, transposedWeights, length, count, inner, 1, h, inner,
        w + (transposedWeights ? from * inner : from), ldw, 0, z, width)
      let bias = operands.bias.map { $0.assumingMemoryBound(to: E.self) + from }
      E.tile(
        work, z, width, bias, hasReLU, from, dense.map { $0 + from }, classes, j, step, length,
        count)
    }
    let loss = operands.loss.assumingMemoryBound(to: E.self)
    pool.split(length, grain: max(1, 4_096 / tiles)) { lower, upper in
      for i in lower..<upper {
        loss[Int(active[i])] = combine(work, i)
      }
    }
    guard wantsGradient else { return }
    let dw = operands.dWeights?.assumingMemoryBound(to: E.self)
    let db = operands.dBias?.assumingMemoryBound(to: E.self)
    pool.parallel(tiles) { j in
      let (from, count, z) = tile(j)
      E.tileGradient(
        work, z, width, hasReLU, from, dense.map { $0 + from }, classes, j, step, length, count)
      if let db { E.addRows(z, width, db + from, length, count) }
      if let dw {
        let beta: E = first == 0 ? 0 : 1
        if transposedWeights {
          E.blasMultiply(
            true, false, count, inner, length, 1, z, width, h, inner, beta, dw + from * inner,
            inner)
        } else {
          E.blasMultiply(
            true, false, inner, count, length, 1, h, inner, z, width, beta, dw + from, classes)
        }
      }
      if operands.dh != nil {
        E.blasMultiply(
          false, !transposedWeights, length, inner, count, 1, z, width,
          w + (transposedWeights ? from * inner : from), ldw, 0,
          work.partial + j * chunk * inner, inner)
      }
    }
    guard let dh = operands.dh?.assumingMemoryBound(to: E.self) else { return }
    pool.split(length, grain: max(1, 16_384 / max(1, tiles * inner))) { lower, upper in
      for i in lower..<upper {
        let row = dh + Int(active[i]) * inner
        row.update(from: work.partial + i * inner, count: inner)
        for j in 1..<max(1, tiles) {
          E.add(row, work.partial + (j * chunk + i) * inner, inner)
        }
      }
    }
  }

  // A row's loss from its tiles; leaves each tile's factor of the gradient in place of its largest.
  private func combine<E: CrossEntropyElement>(_ work: CrossEntropyWork<E>, _ i: Int) -> E {
    let largest = work.largest + i * tiles
    let sums = work.sum + i * tiles
    var best = -E.infinity
    for j in 0..<tiles { best = largest[j] > best || largest[j] != largest[j] ? largest[j] : best }
    var (total, mass, chosen): (E, E, E) = (0, 0, 0)
    if labels == .dense {
      for j in 0..<tiles {
        // A tile without labels adds nothing, even where its logits are -inf.
        let share = work.mass[i * tiles + j]
        mass += share
        chosen += work.chosen[i * tiles + j]
        if share != 0 { chosen += share * (largest[j] - best) }
      }
    }
    for j in 0..<tiles { largest[j] -= best }
    E.exponentials(largest, tiles)
    for j in 0..<tiles where sums[j] != 0 { total += sums[j] * largest[j] }
    // Without any finite logit there is no distribution: NaN, as e^(-inf + inf) would be.
    let factor = total == 0 ? .nan : work.scale[i] / total
    for j in 0..<tiles { largest[j] = sums[j] == 0 && total != 0 ? 0 : largest[j] * factor }
    let log = E.naturalLogarithm(total)
    return labels == .dense ? mass * log - chosen : log - (work.chosen[i] - best)
  }
}

/// The parts of the scratch memory.
package struct CrossEntropyWork<E>: @unchecked Sendable {
  let z, largest, sum, chosen, mass, scale, h, partial: UnsafeMutablePointer<E>
  let column, active: UnsafeMutablePointer<Int32>
}

@inline(__always)
private func memclear(_ base: UnsafeMutableRawPointer, _ bytes: Int) {
  if bytes > 0 { base.initializeMemory(as: UInt8.self, repeating: 0, count: bytes) }
}

/// An element type whose cross-entropy goes in tiles.
package protocol CrossEntropyElement: BlasElement {
  static func tile(
    _ work: CrossEntropyWork<Self>, _ z: UnsafeMutablePointer<Self>, _ ld: Int,
    _ bias: UnsafePointer<Self>?, _ relu: Bool, _ from: Int, _ labels: UnsafePointer<Self>?,
    _ ldl: Int, _ j: Int, _ step: Int, _ rows: Int, _ cols: Int)
  static func tileGradient(
    _ work: CrossEntropyWork<Self>, _ z: UnsafeMutablePointer<Self>, _ ld: Int, _ relu: Bool,
    _ from: Int, _ labels: UnsafePointer<Self>?, _ ldl: Int, _ j: Int, _ step: Int, _ rows: Int,
    _ cols: Int)
  static func addRows(
    _ x: UnsafePointer<Self>, _ ld: Int, _ out: UnsafeMutablePointer<Self>, _ rows: Int,
    _ cols: Int)
  static func add(_ y: UnsafeMutablePointer<Self>, _ x: UnsafePointer<Self>, _ n: Int)
  static func exponentials(_ x: UnsafeMutablePointer<Self>, _ n: Int)
  static func naturalLogarithm(_ x: Self) -> Self
}

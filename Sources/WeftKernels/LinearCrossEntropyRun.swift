// One call of the fused linear + softmax cross-entropy: chunks of rows, two of them in flight.

internal import WeftTensors

/// What one chunk of rows works in.
package struct CrossEntropyWork<E>: @unchecked Sendable {
  /// Logits, then exponentials, tile after tile, each in panels.
  let z: UnsafeMutablePointer<E>
  /// For each row and tile: its largest logit, which becomes the factor of its exponentials in the
  /// gradient; its sum; what dense labels add up to.
  let largest, sum, chosen, mass: UnsafeMutablePointer<E>
  /// For each row: the upstream gradient, the sum over all tiles, and what brings the label's tile to
  /// the row's own scale.
  let scale, total, rescale: UnsafeMutablePointer<E>
  /// Rows of h, when they do not lie together.
  let h: UnsafeMutablePointer<E>
  let column: UnsafeMutablePointer<Int32>
}

/// The chunks of one call. While a chunk's tiles give its gradients, those of the next make its
/// exponentials: one round of tasks for both, so that threads seldom wait.
struct CrossEntropyRun<E: CrossEntropyElement> {
  private let shape: LinearCrossEntropy
  private let operands: LinearCrossEntropy.Operands
  private let pool: ThreadPool
  private let works: (CrossEntropyWork<E>, CrossEntropyWork<E>)
  /// Each tile's share of dh; before that, h times the tile's factors.
  private let partial: UnsafeMutablePointer<E>
  /// Those in panels, where the weights' gradient is transposed.
  private let packedShare: UnsafeMutablePointer<E>
  private let active: UnsafeMutablePointer<Int32>
  private let weights: UnsafePointer<E>
  /// Each tile's weights in panels, as they make logits and as they make dh; its bias, filled up.
  private let panels, transposedPanels, bias: UnsafeMutablePointer<E>
  private let labels: UnsafePointer<E>?
  private let scale: UnsafePointer<E>?
  private let loss: UnsafeMutablePointer<E>

  private let tiles, width, inner: Int
  /// Elements between two panels of logits.
  private let panel: Int

  init(
    _ shape: LinearCrossEntropy, _ operands: LinearCrossEntropy.Operands,
    scratch: UnsafeMutableRawPointer, pool: ThreadPool
  ) {
    self.shape = shape
    self.operands = operands
    self.pool = pool
    (tiles, width, inner) = (shape.tiles, shape.tileWidth, shape.inner)
    panel = shape.chunk * E.panelColumns
    var at = scratch
    func take(_ count: Int) -> UnsafeMutablePointer<E> {
      defer { at += (count * MemoryLayout<E>.stride + 63) / 64 * 64 }
      return at.assumingMemoryBound(to: E.self)
    }
    func indices(_ count: Int) -> UnsafeMutablePointer<Int32> {
      defer { at += (count * 4 + 63) / 64 * 64 }
      return at.assumingMemoryBound(to: Int32.self)
    }
    let p = shape.parts
    func work() -> CrossEntropyWork<E> {
      CrossEntropyWork(
        z: take(p.logits), largest: take(p.perTile), sum: take(p.perTile), chosen: take(p.dense),
        mass: take(p.dense), scale: take(p.row), total: take(p.row), rescale: take(p.row),
        h: take(p.h), column: indices(shape.chunk))
    }
    works = (work(), work())
    partial = take(p.partial)
    packedShare = take(p.packedShare)
    panels = take(p.weights)
    transposedPanels = take(p.transposed)
    bias = take(p.bias)
    active = indices(shape.rows)
    weights = operands.weights.assumingMemoryBound(to: E.self)
    labels = shape.labels == .dense ? operands.labels.assumingMemoryBound(to: E.self) : nil
    scale = operands.scale?.assumingMemoryBound(to: E.self)
    loss = operands.loss.assumingMemoryBound(to: E.self)
  }

  // A chunk of the rows that count.
  private struct Chunk {
    let work: CrossEntropyWork<E>
    let first: Int
    let length: Int
    let h: UnsafePointer<E>
  }

  func run() {
    let count = findActive()
    clear(count)
    let chunks = (count + shape.chunk - 1) / max(1, shape.chunk)
    guard chunks > 0 else { return }
    let isWhole = count == shape.rows
    var current = gather(0, count, isWhole)
    pool.parallel(tiles) { forward(current, $0) }
    var previous: Chunk?
    for index in 0..<chunks {
      let done = previous
      // Losses of this chunk, and the last one's rows of dh: both before its tiles go on.
      splitRows(max(current.length, done?.length ?? 0)) { row in
        if row < current.length { loss[Int(active[current.first + row])] = combine(current, row) }
        if let done, row < done.length { addUp(done, row) }
      }
      let next = index + 1 < chunks ? gather(index + 1, count, isWhole) : nil
      guard shape.wantsGradient else {
        guard let next else { return }
        pool.parallel(tiles) { forward(next, $0) }
        current = next
        continue
      }
      let now = current
      pool.parallel(next == nil ? tiles : 2 * tiles) { task in
        if task < tiles {
          backward(now, task)
        } else if let next {
          forward(next, task - tiles)
        }
      }
      previous = now
      if let next { current = next }
    }
    if let done = previous { splitRows(done.length) { addUp(done, $0) } }
  }

  private func splitRows(_ count: Int, _ body: (Int) -> Void) {
    pool.split(count, grain: max(1, 32_768 / max(1, tiles * (inner + 4)))) { lower, upper in
      for row in lower..<upper { body(row) }
    }
  }

  // Rows that count, in order; others have no loss and no gradient. A row whose scale and mask are
  // zero has no effect on either, unless it is not finite: then it stays, so that its NaN shows.
  private func findActive() -> Int {
    guard let mask = operands.mask?.assumingMemoryBound(to: E.self) else {
      for r in 0..<shape.rows { active[r] = Int32(truncatingIfNeeded: r) }
      return shape.rows
    }
    let h = operands.h.assumingMemoryBound(to: E.self)
    let dh = operands.dh?.assumingMemoryBound(to: E.self)
    pool.split(shape.rows, grain: max(1, 32_768 / max(1, inner))) { lower, upper in
      for r in lower..<upper {
        let counts =
          mask[r] != 0 || (scale?[r] ?? 0) != 0 || !E.isFinite(h + r * inner, inner)
        active[r] = counts ? 1 : 0
        if counts { continue }
        loss[r] = 0
        if let dh { (dh + r * inner).update(repeating: 0, count: inner) }
      }
    }
    var count = 0
    for r in 0..<shape.rows where active[r] != 0 {
      active[count] = Int32(truncatingIfNeeded: r)
      count += 1
    }
    return count
  }

  // Sums over rows start at zero.
  private func clear(_ count: Int) {
    operands.dBias?.assumingMemoryBound(to: E.self).update(repeating: 0, count: shape.classes)
    guard count == 0 else { return }
    operands.dWeights?.assumingMemoryBound(to: E.self)
      .update(repeating: 0, count: inner * shape.classes)
  }

  private func gather(_ index: Int, _ count: Int, _ isWhole: Bool) -> Chunk {
    let work = index % 2 == 0 ? works.0 : works.1
    let first = index * shape.chunk
    let length = min(shape.chunk, count - first)
    let all = operands.h.assumingMemoryBound(to: E.self)
    for i in 0..<length {
      let r = Int(active[first + i])
      if !isWhole { (work.h + i * inner).update(from: all + r * inner, count: inner) }
      work.scale[i] = scale?[r] ?? 0
      switch shape.labels {
      case .int32: work.column[i] = operands.labels.assumingMemoryBound(to: Int32.self)[r]
      case .int64:
        work.column[i] = Int32(
          truncatingIfNeeded: operands.labels.assumingMemoryBound(to: Int64.self)[r])
      case .dense: break
      }
    }
    return Chunk(
      work: work, first: first, length: length,
      h: isWhole ? all + first * inner : UnsafePointer(work.h))
  }

  // MARK: - Tiles

  private func tile(_ chunk: Chunk, _ j: Int) -> (from: Int, count: Int, z: UnsafeMutablePointer<E>)
  {
    let from = j * width
    return (from, min(width, shape.classes - from), chunk.work.z + j * shape.chunk * width)
  }

  // Copies a tile's weights and bias to where all chunks use them.
  private func pack(_ j: Int, _ from: Int, _ count: Int) {
    let isTransposed = shape.transposedWeights
    let (toInner, toClass) = isTransposed ? (1, inner) : (shape.classes, 1)
    let first = weights + from * toClass
    E.pack(first, row: toInner, column: toClass, k: inner, n: count, into: panels + from * inner)
    if operands.dh != nil {
      E.pack(
        first, row: toClass, column: toInner, k: count, n: inner,
        into: transposedPanels + from * E.wholePanels(inner))
    }
    guard let given = operands.bias?.assumingMemoryBound(to: E.self) else { return }
    let own = bias + j * width
    own.initialize(repeating: 0, count: width)
    own.update(from: given + from, count: count)
  }

  private func tileLabels(_ chunk: Chunk, _ from: Int) -> UnsafePointer<E>? {
    labels.map { $0 + chunk.first * shape.classes + from }
  }

  private func forward(_ chunk: Chunk, _ j: Int) {
    let (from, count, z) = tile(chunk, j)
    if chunk.first == 0 { pack(j, from, count) }
    PanelProduct<E>(chunk.length, count, inner, lda: inner, ldc: 0).withPanelsOfC(apart: panel).run(
      chunk.h, panels + from * inner, start: operands.bias == nil ? nil : bias + j * width, z)
    E.tile(
      chunk.work, z, panel, shape.hasReLU, from, tileLabels(chunk, from), shape.classes, j, tiles,
      chunk.length, count)
  }

  private func backward(_ chunk: Chunk, _ j: Int) {
    let (from, count, z) = tile(chunk, j)
    let work = chunk.work
    let share = partial + j * shape.chunk * inner
    var h = chunk.h
    if shape.scalesRows {
      // z stays e^(x - largest): factors go to rows of h, and later of dh. Only the label's tile is
      // brought to the scale of the whole row, so that one is taken off where the label is.
      for i in 0..<chunk.length {
        if let place = labelPlace(work, i, from, count) {
          E.scaleRow(z + i * E.panelColumns, panel, work.rescale[i], count)
          work.rescale[i] = z[place]
          z[place] -= work.total[i]
        }
        if operands.dWeights != nil {
          E.scale(chunk.h + i * inner, work.largest[i * tiles + j], share + i * inner, inner)
        }
      }
      h = UnsafePointer(share)
    } else {
      E.tileGradient(
        work, z, panel, shape.hasReLU, from, tileLabels(chunk, from), shape.classes, j, tiles,
        chunk.length, count)
    }
    if let db = operands.dBias?.assumingMemoryBound(to: E.self) {
      E.sumRows(
        z, panel, shape.scalesRows ? work.largest + j : nil, tiles, db + from, chunk.length, count)
    }
    if let dw = operands.dWeights?.assumingMemoryBound(to: E.self) {
      weightsGradient(chunk, j, from, count, z, h, dw)
    }
    guard operands.dh != nil else { return }
    if shape.scalesRows {
      // The row of weights that the label takes off dwarfs what the others add: it comes last.
      for i in 0..<chunk.length {
        if let place = labelPlace(work, i, from, count) { z[place] = work.rescale[i] }
      }
    }
    PanelProduct<E>(chunk.length, inner, count, lda: 0, ldc: inner).withPanelsOfA(apart: panel).run(
      z, transposedPanels + from * E.wholePanels(inner), share)
  }

  // Where a row's label lies among a tile's logits.
  private func labelPlace(
    _ work: CrossEntropyWork<E>, _ i: Int, _ from: Int, _ count: Int
  ) -> Int? {
    let (at, columns) = (Int(work.column[i]) - from, E.panelColumns)
    guard at >= 0 && at < count else { return nil }
    return at / columns * panel + i * columns + at % columns
  }

  // dW += h^T z, or its transpose z^T h, for the columns of one tile.
  private func weightsGradient(
    _ chunk: Chunk, _ j: Int, _ from: Int, _ count: Int, _ z: UnsafePointer<E>,
    _ h: UnsafePointer<E>, _ dw: UnsafeMutablePointer<E>
  ) {
    let isLater = chunk.first > 0
    guard shape.transposedWeights else {
      let product = PanelProduct<E>(
        inner, count, chunk.length, lda: 0, ldc: shape.classes, accumulate: isLater)
      product.transposingA(lda: inner).withPanelsOfB(apart: panel).run(h, z, dw + from)
      return
    }
    let own = packedShare + j * shape.chunk * E.wholePanels(inner)
    let columns = E.panelColumns
    E.pack(h, row: inner, column: 1, k: chunk.length, n: inner, into: own)
    for first in stride(from: 0, to: count, by: columns) {
      let product = PanelProduct<E>(
        min(columns, count - first), inner, chunk.length, lda: 0, ldc: inner, accumulate: isLater)
      product.transposingA(lda: columns).run(
        z + first / columns * panel, own, dw + (from + first) * inner)
    }
  }

  // MARK: - Rows

  // A row of dh from its tiles' shares.
  private func addUp(_ chunk: Chunk, _ i: Int) {
    guard let dh = operands.dh?.assumingMemoryBound(to: E.self) else { return }
    let row = dh + Int(active[chunk.first + i]) * inner
    let factors = chunk.work.largest + i * tiles
    for j in 0..<tiles {
      let share = partial + (j * shape.chunk + i) * inner
      let factor = shape.scalesRows ? factors[j] : 1
      if j == 0 { E.scale(share, factor, row, inner) } else { E.add(row, factor, share, inner) }
    }
    guard shape.scalesRows else { return }
    let label = Int(chunk.work.column[i])
    let from = label / width * width
    let columns = E.panelColumns
    let rows = min(width, shape.classes - from)
    let own = transposedPanels + from * E.wholePanels(inner) + (label - from) * columns
    for k in stride(from: 0, to: inner, by: columns) {
      E.add(row + k, -chunk.work.scale[i], own + k * rows, min(columns, inner - k))
    }
  }

  // A row's loss from its tiles; leaves each tile's factor of the gradient in place of its largest.
  private func combine(_ chunk: Chunk, _ i: Int) -> E {
    let work = chunk.work
    let largest = work.largest + i * tiles
    let sums = work.sum + i * tiles
    var best = -E.infinity
    for j in 0..<tiles { best = largest[j] > best || largest[j] != largest[j] ? largest[j] : best }
    var (total, mass, chosen): (E, E, E) = (0, 0, 0)
    if labels != nil {
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
    if shape.scalesRows {
      let place = Int(work.column[i]) / width
      work.rescale[i] = sums[place] == 0 ? 0 : largest[place]
      work.total[i] = total
      largest[place] = 1
    }
    for j in 0..<tiles { largest[j] = sums[j] == 0 && total != 0 ? 0 : largest[j] * factor }
    if shape.scalesRows { largest[Int(work.column[i]) / width] = factor }
    let log = E.naturalLogarithm(total)
    return labels != nil ? mass * log - chosen : log - (work.chosen[i] - best)
  }
}

/// An element type whose cross-entropy goes in tiles.
package protocol CrossEntropyElement: PanelElement {
  static func tile(
    _ work: CrossEntropyWork<Self>, _ z: UnsafeMutablePointer<Self>, _ panel: Int, _ relu: Bool,
    _ from: Int, _ labels: UnsafePointer<Self>?, _ ldl: Int, _ j: Int, _ step: Int, _ rows: Int,
    _ cols: Int)
  static func tileGradient(
    _ work: CrossEntropyWork<Self>, _ z: UnsafeMutablePointer<Self>, _ panel: Int, _ relu: Bool,
    _ from: Int, _ labels: UnsafePointer<Self>?, _ ldl: Int, _ j: Int, _ step: Int, _ rows: Int,
    _ cols: Int)
  /// out += the sum of a tile's rows, each times its factor.
  static func sumRows(
    _ z: UnsafePointer<Self>, _ panel: Int, _ factor: UnsafePointer<Self>?, _ step: Int,
    _ out: UnsafeMutablePointer<Self>, _ rows: Int, _ cols: Int)
  /// A row of a tile times a.
  static func scaleRow(_ z: UnsafeMutablePointer<Self>, _ panel: Int, _ a: Self, _ cols: Int)
  /// y += a x
  static func add(
    _ y: UnsafeMutablePointer<Self>, _ a: Self, _ x: UnsafePointer<Self>, _ n: Int)
  /// y = a x
  static func scale(
    _ x: UnsafePointer<Self>, _ a: Self, _ y: UnsafeMutablePointer<Self>, _ n: Int)
  static func exponentials(_ x: UnsafeMutablePointer<Self>, _ n: Int)
  static func isFinite(_ x: UnsafePointer<Self>, _ n: Int) -> Bool
  static func naturalLogarithm(_ x: Self) -> Self
}

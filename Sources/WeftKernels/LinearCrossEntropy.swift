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
/// Weights are copied into panels once; logits are born in panels, and never lie otherwise.
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

  // Columns of a tile, in whole panels: its logits should stay in a core's cache between their two
  // uses. A number of tiles that small teams share evenly.
  var tileWidth: Int {
    let wanted = (classes + 511) / 512
    let tiles = wanted > 4 ? (wanted + 7) / 8 * 8 : max(1, wanted)
    return min(4_096, Self.wholePanels((classes + tiles - 1) / tiles))
  }
  var tiles: Int { max(1, (classes + tileWidth - 1) / tileWidth) }
  // Rows of a chunk: as many as make logits of some eight megabytes, evenly cut, in whole blocks of
  // the products' kernels.
  var chunk: Int {
    let most = max(48, min(256, (1 << 21) / max(1, classes)))
    let chunks = max(1, (rows + most - 1) / most)
    return max(1, min(rows, ((rows + chunks - 1) / chunks + 11) / 12 * 12))
  }
  // Columns in whole panels of any element type.
  static func wholePanels(_ n: Int) -> Int { (n + 31) / 32 * 32 }
  // Whether the gradient's factors go to the rows of h and dh rather than to the logits.
  var scalesRows: Bool { labels != .dense && !hasReLU }

  // Elements of each part of the scratch memory: what two chunks have each, then what they share.
  struct Parts {
    var logits, perTile, dense, row, h: Int
    var partial, packedShare, weights, transposed, bias: Int
  }
  var parts: Parts {
    let (perTile, columns) = (chunk * tiles, tiles * tileWidth)
    return Parts(
      logits: chunk * columns, perTile: perTile, dense: labels == .dense ? perTile : chunk,
      row: chunk, h: chunk * inner, partial: wantsGradient ? perTile * inner : 0,
      packedShare: wantsGradient && transposedWeights ? perTile * Self.wholePanels(inner) : 0,
      weights: columns * inner,
      transposed: wantsGradient ? columns * Self.wholePanels(inner) : 0, bias: columns)
  }

  /// Bytes of scratch memory for elements of `elementBytes`; nil when they are more than memory
  /// can be.
  package func scratchBytes(elementBytes: Int) -> Int? {
    let columns = Double(tiles) * Double(tileWidth)
    guard (Double(chunk) + Double(inner) + 32) * columns * 2 < 0x1p48,
      Double(chunk) * Double(tiles) * 2 * Double(inner + 40) < 0x1p48, Double(rows) < 0x1p31,
      classes < 1 << 31
    else { return nil }
    func padded(_ bytes: Int) -> Int { (bytes + 63) / 64 * 64 }
    let p = parts
    let own = [p.logits, p.perTile, p.perTile, p.dense, p.dense, p.row, p.row, p.row, p.h]
    let shared = [p.partial, p.packedShare, p.weights, p.transposed, p.bias]
    func bytes(_ counts: [Int]) -> Int { counts.reduce(0) { $0 + padded($1 * elementBytes) } }
    return 2 * (bytes(own) + padded(chunk * 4)) + bytes(shared) + padded(rows * 4)
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

  /// Computes losses and gradients in float32 or float64. Labels have been checked.
  package func run(
    _ operands: Operands, _ dtype: DType, scratch: UnsafeMutableRawPointer, pool: ThreadPool
  ) {
    // Named types: the compiler makes code for each.
    if dtype == .float32 {
      CrossEntropyRun<Float>(self, operands, scratch: scratch, pool: pool).run()
    } else {
      CrossEntropyRun<Double>(self, operands, scratch: scratch, pool: pool).run()
    }
  }
}

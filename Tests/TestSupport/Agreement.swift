// How far results may differ when sums were put together another way.

public import WeftTensors

/// One table of tolerances for all rewrites: by element type and the length of sums.
public enum Agreement {
  /// The largest difference, relative to the largest element, when sums of `length` terms are
  /// grouped another way: eight roundings that grow as a random walk does.
  public static func tolerance(_ dtype: DType, length: Int) -> Double {
    let unit = dtype == .float64 ? Double.ulpOfOne : Double(Float.ulpOfOne)
    return 8 * unit * Double(max(1, length)).squareRoot()
  }

  /// The largest difference of two tensors, relative to the largest element of the first; infinite
  /// when types differ or a NaN stands on one side only.
  public static func difference(_ a: Tensor, _ b: Tensor) throws -> Double {
    guard a.dtype == b.dtype, a.shape == b.shape else { return .infinity }
    if a.isIdentical(to: b) { return 0 }
    let x = try numbers(a)
    let y = try numbers(b)
    var worst = 0.0
    var scale = 0.0
    for (p, q) in zip(x, y) {
      if p.isNaN && q.isNaN || p == q { continue }
      guard p.isFinite, q.isFinite else { return .infinity }
      worst = max(worst, abs(p - q))
    }
    for p in x where p.isFinite { scale = max(scale, abs(p)) }
    return worst == 0 ? 0 : worst / max(scale, .leastNormalMagnitude)
  }

  private static func numbers(_ tensor: Tensor) throws -> [Double] {
    switch tensor.dtype {
    case .float64: try tensor.array(of: Double.self)
    case .float32: try tensor.array(of: Float.self).map { Double($0) }
    case .int32: try tensor.array(of: Int32.self).map { Double($0) }
    case .int64: try tensor.array(of: Int64.self).map { Double($0) }
    case .bool: try tensor.array(of: Bool.self).map { $0 ? 1 : 0 }
    default:
      throw WeftError(.unimplemented, "\(tensor.dtype.name) is not compared by number")
    }
  }
}

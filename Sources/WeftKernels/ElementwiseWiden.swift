// Rare element types: computed block by block in a wider type, then narrowed.

internal import WeftTensors

// Small enough for stack allocation: 128 elements of at most 8 bytes.
let wideBlock = 128

/// The type in which a function over `dtype` is computed: float16 and bfloat16 in float32, small
/// integers in int64 (arithmetic modulo a power of two commutes with narrowing).
func wideType(_ dtype: DType) -> DType? {
  switch dtype {
  case .float16, .bfloat16: .float32
  case .int8, .int16, .uint8, .uint16, .uint32: .int64
  case .float32, .float64, .int32, .int64, .uint64: dtype
  default: nil
  }
}

// `narrow` is false where the output type is fixed (bool).
func widened(
  _ row: @escaping UnaryRow, from dtype: DType, through wide: DType, narrow: Bool = true,
  outputSize: Int = 1
) -> UnaryRow? {
  if dtype == wide { return row }
  guard let load = castRow(from: dtype, to: wide), let store = castRow(from: wide, to: dtype)
  else { return nil }
  let small = dtype.byteSize
  let outStep = narrow ? small : outputSize
  return { x, y, n in
    withUnsafeTemporaryAllocation(byteCount: 1024, alignment: 16) { block in
      guard let block = block.baseAddress else { return }
      var done = 0
      while done < n {
        let count = Swift.min(wideBlock, n - done)
        load(x + done * small, block, count)
        if narrow {
          row(block, block, count)
          store(block, y + done * outStep, count)
        } else {
          row(block, y + done * outStep, count)
        }
        done += count
      }
    }
  }
}

func widened(
  _ row: @escaping BinaryRow, from dtype: DType, through wide: DType, narrow: Bool = true,
  outputSize: Int = 1
) -> BinaryRow? {
  if dtype == wide { return row }
  guard let load = castRow(from: dtype, to: wide), let store = castRow(from: wide, to: dtype)
  else { return nil }
  let small = dtype.byteSize
  let outStep = narrow ? small : outputSize
  return { a, b, out, n, kind in
    withUnsafeTemporaryAllocation(byteCount: 1024, alignment: 16) { left in
      withUnsafeTemporaryAllocation(byteCount: 1024, alignment: 16) { right in
        guard let left = left.baseAddress, let right = right.baseAddress else { return }
        // A single element is converted once; its block is never written.
        if kind == .scalarLeft { load(a, left, 1) }
        if kind == .scalarRight { load(b, right, 1) }
        var done = 0
        while done < n {
          let count = Swift.min(wideBlock, n - done)
          if kind != .scalarLeft { load(a + done * small, left, count) }
          if kind != .scalarRight { load(b + done * small, right, count) }
          if narrow {
            let target = kind == .scalarLeft ? right : left
            row(left, right, target, count, kind)
            store(target, out + done * outStep, count)
          } else {
            row(left, right, out + done * outStep, count, kind)
          }
          done += count
        }
      }
    }
  }
}

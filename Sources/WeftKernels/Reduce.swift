// Reductions: sums, products, extremes, logic and norms over any axes.
//
// The order of additions depends on shapes alone: rows by the C library's fixed lanes, long folds
// in slots that are combined in order.

public import WeftTensors

/// What a reduction computes.
public enum Reduction: Sendable {
  case sum, mean, product, maximum, minimum, all, any
  /// The square root of the sum of squares.
  case euclideanNorm
}

// One element type's way to fold.
struct Folder<E: Sendable>: Sendable {
  // The fold of nothing.
  var identity: E
  // The fold of a row.
  var row: @Sendable (UnsafePointer<E>, Int) -> E
  // Two folds into one.
  var combine: @Sendable (E, E) -> E
  // Folds `rows` rows at distance `ld` into a row of outputs.
  var rows: @Sendable (UnsafePointer<E>, Int, UnsafeMutablePointer<E>, Int, Int) -> Void
  // The output from the fold, given the number of folded elements.
  var finish: (@Sendable (E, Int) -> E)?
}

/// A reduction of a given type and shape, ready to run.
public struct ReduceKernel: Sendable {
  /// Bytes of scratch memory that `run` needs.
  public let scratchBytes: Int
  /// Folds input into output.
  public let run:
    @Sendable (UnsafeRawPointer, UnsafeMutableRawPointer, UnsafeMutableRawPointer, ThreadPool) ->
      Void

  /// A kernel, or nil when the reduction is not defined for `dtype`.
  public init?(_ reduction: Reduction, dtype: DType, plan: ReducePlan) {
    let stored: DType = dtype == .bool ? .uint8 : dtype
    let wide: DType = dtype == .bool ? .uint8 : wideType(dtype) ?? .invalid
    let kernel: TypedReduce?
    switch wide {
    case .uint8: kernel = logicFolder(reduction).map { typedReduce($0, plan) }
    case .float32: kernel = floatFolder(reduction).map { typedReduce($0, plan) }
    case .float64: kernel = doubleFolder(reduction).map { typedReduce($0, plan) }
    case .int32: kernel = integerFolder(reduction, Int32.self).map { typedReduce($0, plan) }
    case .int64: kernel = integerFolder(reduction, Int64.self).map { typedReduce($0, plan) }
    case .uint64: kernel = integerFolder(reduction, UInt64.self).map { typedReduce($0, plan) }
    default: kernel = nil
    }
    guard let kernel else { return nil }
    if stored == wide {
      scratchBytes = kernel.scratchBytes
      run = kernel.run
      return
    }
    // Rare types: the whole input in the wider type, then back.
    guard plan.inputCount < 1 << 48, plan.outputCount < 1 << 48,
      let load = castRow(from: dtype, to: wide), let store = castRow(from: wide, to: dtype)
    else { return nil }
    let size = wide.byteSize
    let inBytes = (plan.inputCount * size + 63) & ~63
    let outBytes = (plan.outputCount * size + 63) & ~63
    scratchBytes = inBytes + outBytes + kernel.scratchBytes
    run = { x, y, scratch, pool in
      runUnary(
        x, scratch, count: plan.inputCount, inputSize: dtype.byteSize, outputSize: size, pool: pool,
        row: load)
      kernel.run(UnsafeRawPointer(scratch), scratch + inBytes, scratch + inBytes + outBytes, pool)
      store(UnsafeRawPointer(scratch + inBytes), y, plan.outputCount)
    }
  }
}

private struct TypedReduce {
  var scratchBytes: Int
  var run:
    @Sendable (UnsafeRawPointer, UnsafeMutableRawPointer, UnsafeMutableRawPointer, ThreadPool) ->
      Void
}

private func typedReduce<E: Sendable>(_ folder: Folder<E>, _ plan: ReducePlan) -> TypedReduce {
  let bytes = MemoryLayout<E>.stride
  let fold = plan.foldCount
  // Few groups with much to fold each are cut into slots.
  let slots: Int
  if plan.foldsRows {
    // Of the single row of a full reduction.
    let long = plan.groupCount == 1 && plan.rowCount == 1
    slots = long ? Swift.max(1, Swift.min(64, plan.rowLength / elementwiseGrain)) : 1
  } else {
    // Of the rows that are folded into one row of outputs; short blocks also keep sums accurate.
    let long = plan.groupCount == 1 && plan.rowLength <= 4096
    let blocks = (plan.rowCount + 255) / 256
    slots = long ? Swift.max(1, Swift.min(64, blocks)) : 1
  }
  let scratch = slots > 1 ? slots &* bytes * (plan.foldsRows ? 1 : plan.rowLength) : 0
  return TypedReduce(scratchBytes: scratch) { x, y, scratch, pool in
    let x = x.assumingMemoryBound(to: E.self)
    let y = y.assumingMemoryBound(to: E.self)
    if plan.outputCount == 0 { return }
    if plan.inputCount == 0 {
      for i in 0..<plan.outputCount { y[i] = folder.finish?(folder.identity, 0) ?? folder.identity }
      return
    }
    let partial = scratch.assumingMemoryBound(to: E.self)
    if plan.foldsRows {
      if slots > 1 {
        pool.parallel(slots) { slot in
          let lower = slot * plan.rowLength / slots
          let upper = (slot + 1) * plan.rowLength / slots
          partial[slot] = folder.row(x + lower, upper - lower)
        }
        var total = partial[0]
        for slot in 1..<slots { total = folder.combine(total, partial[slot]) }
        y[0] = folder.finish?(total, fold) ?? total
      } else {
        pool.split(plan.groupCount, grain: elementwiseGrain / Swift.max(1, fold)) { lower, upper in
          for group in lower..<upper {
            let base = x + plan.groupOffsets[group]
            var total = folder.row(base + plan.rowOffsets[0], plan.rowLength)
            for row in 1..<Swift.max(1, plan.rowCount) {
              total = folder.combine(
                total, folder.row(base + plan.rowOffsets[row], plan.rowLength))
            }
            y[group] = folder.finish?(total, fold) ?? total
          }
        }
      }
    } else {
      foldColumns(folder, plan, x, y, partial, slots, pool)
    }
  }
}

private func foldColumns<E: Sendable>(
  _ folder: Folder<E>, _ plan: ReducePlan, _ x: UnsafePointer<E>, _ y: UnsafeMutablePointer<E>,
  _ partial: UnsafeMutablePointer<E>, _ slots: Int, _ pool: ThreadPool
) {
  let width = plan.rowLength
  // Whether the rows of a group stand at one distance.
  let distance = plan.rowCount > 1 ? plan.rowOffsets[1] - plan.rowOffsets[0] : width
  let isRegular = plan.rowOffsets[plan.rowCount - 1] == distance * (plan.rowCount - 1)
  func fold(
    _ base: UnsafePointer<E>, _ out: UnsafeMutablePointer<E>, _ n: Int, _ from: Int, _ to: Int
  ) {
    for i in 0..<n { out[i] = folder.identity }
    if isRegular {
      folder.rows(base + from * distance, distance, out, to - from, n)
    } else {
      for row in from..<to { folder.rows(base + plan.rowOffsets[row], width, out, 1, n) }
    }
  }
  func finish(_ out: UnsafeMutablePointer<E>, _ n: Int) {
    guard let finish = folder.finish else { return }
    for i in 0..<n { out[i] = finish(out[i], plan.foldCount) }
  }
  if slots > 1 {
    pool.parallel(slots) { slot in
      fold(
        x + plan.groupOffsets[0], partial + slot * width, width, slot * plan.rowCount / slots,
        (slot + 1) * plan.rowCount / slots)
    }
    for i in 0..<width { y[i] = partial[i] }
    for slot in 1..<slots {
      let part = partial + slot * width
      for i in 0..<width { y[i] = folder.combine(y[i], part[i]) }
    }
    finish(y, width)
  } else if plan.groupCount == 1 {
    // A wide row: columns are shared out.
    let grain = Swift.max(256, elementwiseGrain / Swift.max(1, plan.rowCount))
    pool.split(width, grain: grain) { lower, upper in
      fold(x + plan.groupOffsets[0] + lower, y + lower, upper - lower, 0, plan.rowCount)
      finish(y + lower, upper - lower)
    }
  } else {
    let grain = elementwiseGrain / Swift.max(1, plan.rowCount * width)
    pool.split(plan.groupCount, grain: grain) { lower, upper in
      for group in lower..<upper {
        let out = y + group * width
        fold(x + plan.groupOffsets[group], out, width, 0, plan.rowCount)
        finish(out, width)
      }
    }
  }
}

// What a plan says of itself beyond its steps: bytes moved, live memory, and the time to expect.

internal import WeftTensors

extension Plan {
  /// Bytes that a step reads and writes, as far as sizes are known before the run.
  public func bytesMoved(_ step: Step) -> Int {
    var total = 0
    for index in step.argumentBase..<(step.argumentBase + step.inputCount + step.outputCount) {
      let (next, overflow) = total.addingReportingOverflow(bytes(arguments[index]))
      total = overflow ? .max : next
    }
    return total
  }

  private func bytes(_ argument: Argument) -> Int {
    guard argument.type.dtype.isPlain, let shape = argument.type.shape.known else { return 0 }
    return (try? Tensor.byteCount(dtype: argument.type.dtype, shape: shape)) ?? 0
  }

  /// For each step, the bytes of the arena that hold values while it runs.
  public var liveBytes: [Int] {
    // A value lives from the step that writes its place to the last that reads it.
    var change = [Int](repeating: 0, count: steps.count + 1)
    var open: [Int: (from: Int, last: Int, bytes: Int)] = [:]
    func close(_ value: (from: Int, last: Int, bytes: Int)) {
      change[value.from] += value.bytes
      change[value.last + 1] -= value.bytes
    }
    // The place of the value that an argument is, or is a part of.
    func holder(_ argument: Argument) -> Int? {
      guard case .arena(let offset) = argument.place else { return nil }
      if let whole = open[offset], whole.bytes >= bytes(argument) { return offset }
      return open.filter { $0.key <= offset && offset < $0.key + $0.value.bytes }
        .max { ($0.value.from, $0.key) < ($1.value.from, $1.key) }?.key
    }
    for (index, step) in steps.enumerated() {
      let middle = step.argumentBase + step.inputCount
      for place in step.argumentBase..<middle {
        if let value = holder(arguments[place]) { open[value]?.last = index }
      }
      for place in middle..<(middle + step.outputCount) {
        guard case .arena(let offset) = arguments[place].place else { continue }
        if let old = open[offset] { close(old) }
        open[offset] = (index, index, bytes(arguments[place]))
      }
      if let kernel = step.kernel, kernel.scratchBytes > 0 {
        change[index] += kernel.scratchBytes
        change[index + 1] -= kernel.scratchBytes
      }
    }
    for fetch in fetches {
      if let value = holder(fetch) { open[value]?.last = steps.count - 1 }
    }
    for offset in open.keys.sorted() {
      if let value = open[offset] { close(value) }
    }
    var live = 0
    return change.dropLast().map { step in
      live += step
      return live
    }
  }

  /// Floating-point operations of matrix products in one run.
  public var productFlops: Int {
    steps.reduce(0) { sum, step in
      let (next, overflow) = sum.addingReportingOverflow(step.kernel?.productFlops ?? 0)
      return overflow ? .max : next
    }
  }

  /// The seconds to expect of a step: the longer of its products and its bytes, at these rates.
  public func predictedSeconds(_ step: Step, rates: MachineRates) -> Double {
    let products = Double(step.kernel?.productFlops ?? 0) / rates.productFlops
    return max(products, Double(bytesMoved(step)) / rates.bytes) + rates.stepSeconds
  }
}

/// What a machine does in a second, as measured in this process.
public struct MachineRates: Sendable {
  /// Floating-point operations of large matrix products.
  public var productFlops: Double
  /// Bytes read and written by elementwise work beyond the caches.
  public var bytes: Double
  /// The least time of a step.
  public var stepSeconds = 2e-7
  /// Rates.
  public init(productFlops: Double, bytes: Double) {
    self.productFlops = productFlops
    self.bytes = bytes
  }
}

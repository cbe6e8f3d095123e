// Sums of products by Einstein's convention.

public import WeftGraph
internal import WeftKernels
internal import WeftTensors

// An equation with one label for each axis; letters are their code points, and the axes of an
// ellipsis are numbered from the right, above all letters, so that they align as in broadcasting.
private struct EinsumEquation {
  private static let ellipsis = 1_000_000
  let inputs: [[Int]]
  let output: [Int]

  /// The texts of the operands and of the result, as written.
  static func parts(_ text: String) -> (inputs: [String], output: String)? {
    let compact = text.filter { $0 != " " }
    var sides: [String] = [""]
    var previous: Character?
    for character in compact {
      if character == ">" && previous == "-" {
        sides[sides.count - 1].removeLast()
        sides.append("")
      } else {
        sides[sides.count - 1].append(character)
      }
      previous = character
    }
    guard sides.count == 2 else { return nil }
    let inputs = sides[0].split(separator: ",", omittingEmptySubsequences: false).map(String.init)
    return (inputs: inputs, output: sides[1])
  }

  /// The equation for operands of these ranks; nil when it is malformed or does not fit them.
  init?(_ text: String, ranks: [Int]) {
    guard let (operands, result) = EinsumEquation.parts(text), operands.count == ranks.count else {
      return nil
    }
    var parsed: [[Int]] = []
    var widest = 0
    for (operand, rank) in zip(operands, ranks) {
      guard let pieces = EinsumEquation.letters(operand) else { return nil }
      let width = rank - pieces.before.count - pieces.after.count
      guard pieces.hasEllipsis ? width >= 0 : width == 0 else { return nil }
      widest = Swift.max(widest, pieces.hasEllipsis ? width : 0)
      parsed.append(pieces.before + EinsumEquation.dots(width) + pieces.after)
    }
    guard let pieces = EinsumEquation.letters(result) else { return nil }
    inputs = parsed
    output =
      pieces.before + (pieces.hasEllipsis ? EinsumEquation.dots(widest) : []) + pieces.after
    for label in output where !parsed.contains(where: { $0.contains(label) }) { return nil }
  }

  static func isBroadcast(_ label: Int) -> Bool { label >= ellipsis }

  private static func dots(_ width: Int) -> [Int] {
    (0..<Swift.max(0, width)).map { ellipsis + width - 1 - $0 }
  }

  private static func letters(
    _ text: String
  ) -> (before: [Int], hasEllipsis: Bool, after: [Int])? {
    var before: [Int] = []
    var after: [Int] = []
    var dots = 0
    for scalar in text.unicodeScalars {
      if scalar == "." {
        dots += 1
        guard dots <= 3, after.isEmpty else { return nil }
      } else {
        guard scalar.properties.isAlphabetic, scalar.value < 128, dots == 0 || dots == 3 else {
          return nil
        }
        if dots == 0 { before.append(Int(scalar.value)) } else { after.append(Int(scalar.value)) }
      }
    }
    guard dots == 0 || dots == 3 else { return nil }
    return (before: before, hasEllipsis: dots == 3, after: after)
  }
}

let einsumRow: OpDef = OpDef(
  "Einsum", "inputs: N * T -> output: T", "equation: string; N: int >= 1; T: type",
  summary: "Sums of products over the axes that an equation names.",
  infer: { ctx in
    let text = try ctx.attrs.string("equation")
    guard let parts = EinsumEquation.parts(text), parts.inputs.count == ctx.inputs.count else {
      throw ctx.error("has no equation for \(ctx.inputs.count) inputs: '\(text)'")
    }
    let ranks = ctx.inputs.compactMap(\.shape.rank)
    guard ranks.count == ctx.inputs.count else { return [.unknown] }
    guard let equation = EinsumEquation(text, ranks: ranks) else {
      throw ctx.error("equation '\(text)' does not fit inputs of ranks \(ranks)")
    }
    var sizes: [Int: Dim] = [:]
    for (index, labels) in equation.inputs.enumerated() {
      for (axis, label) in labels.enumerated() {
        let dim = ctx.shape(index).dim(axis)
        guard let known = sizes[label] else {
          sizes[label] = dim
          continue
        }
        if EinsumEquation.isBroadcast(label) {
          guard let both = Shape.broadcast(Shape(dims: [known]), Shape(dims: [dim])) else {
            throw ctx.error("cannot broadcast sizes \(known) and \(dim) of an ellipsis")
          }
          sizes[label] = both.dim(0)
        } else {
          sizes[label] = try ctx.merge(known, dim, "sizes of one label in '\(text)'")
        }
      }
    }
    return [Shape(dims: equation.output.map { sizes[$0] ?? .unknown })]
  },
  gradient: .rule { g in
    let text = try g.attrs.string("equation")
    guard let parts = EinsumEquation.parts(text), g.inputCount <= 2 else {
      throw WeftError(.unimplemented, "the gradient of einsum needs one or two inputs")
    }
    let dy = try g.gradient()
    return try (0..<g.inputCount).map { index -> Gradient? in
      let other: Int? = g.inputCount == 2 ? 1 - index : nil
      return .dense(
        try einsumGradient(
          dy, parts.output, g.input(index), parts.inputs[index],
          other.map { (g.input($0), parts.inputs[$0]) }))
    }
  },
  lowering: .kernel { ctx in try einsumKernel(ctx) })

// The gradient of operand `x` with labels `own`.
private func einsumGradient(
  _ dy: Output, _ result: String, _ x: Output, _ own: String, _ other: (Output, String)?
) throws -> Output {
  if own.contains("."), !result.contains(".") || !own.hasPrefix("...") {
    throw WeftError(
      .unimplemented, "the gradient of einsum needs an ellipsis to come first and to be kept")
  }
  let present = result + (other?.1 ?? "")
  // Axes that only this operand has were summed: their gradient is the same everywhere, which a
  // tensor of ones brings in. They cannot stand in an ellipsis.
  var missing: [Int] = []
  var letters = ""
  let ellipsisRank = (x.shape.rank ?? 0) - own.filter { $0 != "." }.count
  for (place, letter) in own.filter({ $0 != "." }).enumerated()
  where !present.contains(letter) && !letters.contains(letter) {
    missing.append(own.contains(".") ? place + ellipsisRank : place)
    letters.append(letter)
  }
  if own.contains("."), !missing.isEmpty, x.shape.rank == nil {
    throw WeftError(.unimplemented, "the gradient of einsum needs a known rank")
  }
  var grad = dy
  var labels = result
  if let (y, theirs) = other {
    // Without the missing labels first, and each label once.
    var kept = missing.isEmpty ? own : ""
    if kept.isEmpty {
      if own.contains(".") { kept = "..." }
      for letter in own where letter != "." && present.contains(letter) && !kept.contains(letter) {
        kept.append(letter)
      }
    }
    grad = try einsum("\(labels),\(theirs)->\(kept)", [grad, y])
    labels = kept
  }
  if !missing.isEmpty {
    let sizes = try gather(
      x.shapeTensor(), x.graph.constant(missing.map { Int32(clamping: $0) }))
    let ones = try fill(dims: sizes, value: x.graph.constant(1, dtype: x.dtype))
    grad = try einsum("\(labels),\(letters)->\(own)", [grad, ones])
  } else if other == nil {
    grad = try einsum("\(labels)->\(own)", [grad])
  }
  // Axes of an ellipsis may have been repeated.
  return own.contains(".") ? try BroadcastPair(x, grad).sumLeft(grad) : grad
}

private func einsumKernel(_ ctx: LowerContext) throws -> Kernel {
  let text = try ctx.attrs.string("equation")
  let shapes = ctx.inputs.indices.map { ctx.shape($0) }
  guard let equation = EinsumEquation(text, ranks: shapes.map(\.count)) else {
    throw ctx.error("equation '\(text)' does not fit inputs of shapes \(shapes)")
  }
  guard shapes.count <= 2 else { throw ctx.error("takes one or two inputs, got \(shapes.count)") }
  let dtype = ctx.outputs[0].dtype
  guard dtype.isPlain else { throw ctx.unsupported(dtype) }
  var sizes: [Int: Int] = [:]
  var order: [Int] = []
  for (shape, labels) in zip(shapes, equation.inputs) {
    for (size, label) in zip(shape, labels) {
      if sizes[label] == nil { order.append(label) }
      if sizes[label] == nil || sizes[label] == 1 { sizes[label] = size }
    }
  }
  // A repeated label walks the diagonal; an axis of size one stays where it is.
  func strides(_ shape: [Int], _ own: [Int], _ wanted: [Int]) -> [Int] {
    let steps = StridedCopy.strides(shape)
    return wanted.map { label in
      own.indices.reduce(0) { sum, axis in
        own[axis] == label && shape[axis] != 1 ? sum + steps[axis] : sum
      }
    }
  }
  let (first, second) = (equation.inputs[0], shapes.count == 2 ? equation.inputs[1] : [])
  let kept = order.filter { equation.output.contains($0) }
  let summed = order.filter { !equation.output.contains($0) }
  let batch = kept.filter { first.contains($0) && second.contains($0) }
  let rows = kept.filter { first.contains($0) && !second.contains($0) }
  let columns = kept.filter { !first.contains($0) }
  func extent(_ labels: [Int]) -> Int { labels.reduce(1) { $0 &* (sizes[$1] ?? 1) } }
  func packed(_ input: Int, _ labels: [Int]) -> StridedCopy {
    let box = labels.map { sizes[$0] ?? 1 }
    return StridedCopy(
      elementBytes: dtype.byteSize, sizes: box,
      source: strides(shapes[input], equation.inputs[input], labels),
      target: StridedCopy.strides(box))
  }
  let all = batch + rows + columns
  let box = all.map { sizes[$0] ?? 1 }
  let unpack = StridedCopy(
    elementBytes: dtype.byteSize, sizes: box, source: StridedCopy.strides(box),
    target: strides(ctx.outputShape(0), equation.output, all))
  let outBytes = ctx.outputCount(0) &* dtype.byteSize
  // A label that stands twice in the result fills only a diagonal of it.
  let isSparse = ctx.outputCount(0) != extent(all)

  let (b, m, n, k) = (extent(batch), extent(rows), extent(columns), extent(summed))
  let limit = 1 << 40
  for part in [b, m, n, k] where part < 0 || part > limit { throw ctx.error("is too large") }
  let counts = [
    Double(b) * Double(m) * Double(k), Double(b) * Double(k) * Double(n),
    Double(b) * Double(m) * Double(n),
  ]
  guard counts.allSatisfy({ $0 < Double(limit) }) else { throw ctx.error("is too large") }
  func padded(_ count: Int) -> Int { (count * dtype.byteSize + 63) & ~63 }
  let endA = padded(b * m * k)
  if shapes.count == 1 {
    let pack = packed(0, rows + batch + summed)
    let endC = endA + padded(m * b)
    guard
      let sum = ReduceKernel(
        .sum, dtype: dtype, plan: ReducePlan(shape: [m * b, k], axes: [1]))
    else { throw ctx.unsupported(dtype) }
    return Kernel(
      ctx.kernelName("einsum", dtype), scratchBytes: endC + sum.scratchBytes, flops: b * m * k
    ) { call in
      let (scratch, out) = (call.scratch, call.rawOutput(0))
      if isSparse { out.initializeMemory(as: UInt8.self, repeating: 0, count: outBytes) }
      pack.run(call.rawInput(0), scratch, call.pool)
      sum.run(UnsafeRawPointer(scratch), scratch + endA, scratch + endC, call.pool)
      unpack.run(UnsafeRawPointer(scratch + endA), out, call.pool)
    }
  }
  let (packA, packB) = (packed(0, batch + rows + summed), packed(1, batch + summed + columns))
  let endB = endA + padded(b * k * n)
  let endC = endB + padded(b * m * n)
  // Without results there is nothing to go through, however many pairs there are.
  let pairs = m * n == 0 ? 0 : b
  let places = (0..<pairs).map { (a: $0 * m * k, b: $0 * k * n) }
  guard
    let product = MatrixProduct(
      MatrixProduct.Sizes(m: m, n: n, k: k, offsets: places), a: (dtype, b * m * k),
      b: (dtype, b * k * n), output: dtype)
  else { throw ctx.unsupported(dtype) }
  return Kernel(
    ctx.kernelName("einsum", dtype), scratchBytes: endC + product.scratchBytes,
    flops: product.flops
  ) { call in
    let (scratch, out) = (call.scratch, call.rawOutput(0))
    if isSparse { out.initializeMemory(as: UInt8.self, repeating: 0, count: outBytes) }
    packA.run(call.rawInput(0), scratch, call.pool)
    packB.run(call.rawInput(1), scratch + endA, call.pool)
    product.run(
      UnsafeRawPointer(scratch), UnsafeRawPointer(scratch + endA), scratch + endB,
      scratch + endC, call.pool)
    unpack.run(UnsafeRawPointer(scratch + endB), out, call.pool)
  }
}

/// The sum of products that `equation` describes, such as `ij,jk->ik` for a matrix product.
///
/// Each letter names an axis; letters that the result lacks are summed over, a letter that stands
/// twice in one operand takes its diagonal, `...` stands for axes that broadcast. One or two
/// operands. The gradient of an operand is another such sum (TensorFlow: `Einsum`).
/// - Throws: InvalidArgument when the equation does not fit the shapes.
public func einsum(
  _ equation: String, _ xs: [Output], name: String? = nil, file: StaticString = #fileID,
  line: UInt = #line
) throws -> Output {
  try einsumRow.node(xs, attrs: ["equation": .string(equation)], name, file, line)
}

// Random graphs with all passes and without any: the same results.

import TestSupport
import Testing
import WeftCompiler
import WeftGraph
import WeftOps
import WeftRuntime
import WeftTensors

/// A generator of numbers that is the same everywhere.
private struct Dice {
  var state: UInt64
  mutating func next() -> UInt64 {
    state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
    return state >> 33
  }
  mutating func below(_ n: Int) -> Int { Int(next() % UInt64(n)) }
  mutating func real() -> Double { Double(next()) / Double(1 << 30) - 1 }
  mutating func pick<T>(_ items: [T]) -> T { items[below(items.count)] }
  mutating func tensor(_ shape: [Int]) throws -> Tensor {
    try Tensor((0..<shape.reduce(1, *)).map { _ in real() }, shape: shape)
  }
}

@Suite struct RandomGraphTests {
  private func run(
    _ graph: Graph, _ fetches: [Output], _ feeds: [Output: Tensor], without: Set<String>
  ) throws -> [Tensor] {
    var options = SessionOptions(threads: 2)
    options.compile.disabled = without
    options.compile.checksPasses = true
    return try Session(graph, options: options).run(fetches, feeds: feeds)
  }

  private func expectAgreement(
    _ graph: Graph, _ fetches: [Output], _ feeds: [Output: Tensor], length: Int, seed: Int
  ) throws {
    let all = try run(graph, fetches, feeds, without: [])
    let none = try run(graph, fetches, feeds, without: Set(optionalPasses))
    for (index, (a, b)) in zip(none, all).enumerated() {
      let difference = try Agreement.difference(a, b)
      // Length 1: no sum was put together another way, so every bit counts.
      let limit = length == 1 ? 0 : Agreement.tolerance(a.dtype, length: length)
      #expect(difference <= limit, "graph \(seed), fetch \(index): differs by \(difference)")
    }
  }

  /// Nets of elementwise ops, products and reshaping over [rows, columns].
  @Test(arguments: 0..<10) func nets(_ block: Int) throws {
    for seed in (block * 300)..<(block * 300 + 300) {
      var dice = Dice(state: UInt64(seed) &* 7_919 &+ 17)
      for _ in 0..<3 { _ = dice.next() }
      let graph = Graph()
      let (rows, columns) = (1 + dice.below(40), 1 + dice.below(40))
      var feeds: [Output: Tensor] = [:]
      var pool: [Output] = []
      for shape in [[rows, columns], [columns], [rows, 1], [], [rows, columns]] {
        let input = try graph.placeholder(.float64, shape: Shape(shape))
        feeds[input] = try dice.tensor(shape)
        pool.append(input)
      }
      for _ in 0..<(3 + dice.below(20)) {
        let (x, y) = (dice.pick(pool), dice.pick(pool))
        let made: Output
        switch dice.below(14) {
        case 0: made = try x + y
        case 1: made = try x * y
        case 2: made = try x - y
        case 3: made = try tanh(x)
        case 4: made = try sigmoid(x)
        case 5: made = try relu(x)
        case 6: made = try maximum(x, y)
        case 7: made = try select(try less(x, y), x, y)
        case 8: made = try x.reshaped(to: x.shape.known ?? [])
        case 9: made = try identity(x)
        case 10: made = try x.shape == y.shape ? addN([x, y, x]) : -x
        case 11:
          guard let sizes = x.shape.known, sizes.count == 2, sizes[1] > 1 else { continue }
          let cut = 1 + dice.below(sizes[1] - 1)
          let parts = try split(x, sizes: [cut, sizes[1] - cut], axis: 1)
          made = try concat([parts[1], parts[0]], axis: 1)
        case 12: made = try square(x) / (1.0 + square(y))
        default:
          guard x.shape.rank == 2, x.shape.dim(1).size == columns else { continue }
          made = try biasAdd(x, pool[1])
        }
        pool.append(made)
      }
      let fetches = [
        pool[pool.count - 1], dice.pick(pool), dice.pick(Array(pool.dropFirst(5)) + [pool[0]]),
      ]
      try expectAgreement(graph, fetches.filter { feeds[$0] == nil }, feeds, length: 1, seed: seed)
    }
  }

  /// Random recurrent cells, unrolled, with the loss's gradients.
  @Test(arguments: 0..<10) func cells(_ block: Int) throws {
    for seed in (block * 150)..<(block * 150 + 150) {
      var dice = Dice(state: UInt64(seed) &* 104_729 &+ 5)
      for _ in 0..<3 { _ = dice.next() }
      let net = try RandomCell(&dice)
      // Each step takes the roundings of those before it on.
      try expectAgreement(
        net.graph, net.fetches, net.feeds,
        length: 16 * net.rows * net.steps * net.steps * net.width, seed: seed)
    }
  }

  /// Dense layers with softmax cross-entropy in all its forms, with gradients.
  @Test(arguments: 0..<5) func losses(_ block: Int) throws {
    for seed in (block * 100)..<(block * 100 + 100) {
      var dice = Dice(state: UInt64(seed) &* 1_299_709 &+ 3)
      for _ in 0..<3 { _ = dice.next() }
      let net = try RandomLoss(&dice)
      try expectAgreement(net.graph, net.fetches, net.feeds, length: 64 * net.size, seed: seed)
    }
  }
}

/// A cell put together at random: gates of [x, h] W or x W + h R, its states mixed in some way.
private struct RandomCell {
  let graph = Graph()
  var feeds: [Output: Tensor] = [:]
  var fetches: [Output] = []
  let rows: Int
  let steps: Int
  let width: Int

  init(_ dice: inout Dice) throws {
    rows = dice.pick([1, 2, 3, 5, 33, 40])
    steps = 3 + dice.below(5)
    width = 1 + dice.below(6)
    let inputSize = 1 + dice.below(5)
    let gates = 1 + dice.below(4)
    let isJoined = dice.below(2) == 0
    let hasLengths = dice.below(3) == 0
    var weights: [Output] = []
    func weight(_ shape: [Int], _ dice: inout Dice) throws -> Output {
      let input = try graph.placeholder(.float64, shape: Shape(shape))
      feeds[input] = try dice.tensor(shape)
      weights.append(input)
      return input
    }
    let whole = try weight([rows, steps, inputSize], &dice)
    let joined = try weight([inputSize + width, gates * width], &dice)
    let bias = try weight([gates * width], &dice)
    let plain = try weight([inputSize, gates * width], &dice)
    let recurrent = try weight([width, gates * width], &dice)
    let peephole = try weight([width], &dice)
    let inputs = try unstack(whole, axis: 1)
    let zero = try graph.constant(try Tensor(zeros: .float64, shape: [rows, width]))
    let lengths = try graph.constant((0..<rows).map { Int32(1 + $0 % steps) })
    var (h, c) = (zero, zero)
    var outputs: [Output] = []
    let (first, second, third) = (dice.below(5), dice.below(4), dice.below(3))
    let odd = dice.below(6) == 0 ? dice.below(steps) : -1
    for (step, x) in inputs.enumerated() {
      let sums =
        try isJoined
        ? biasAdd(matmul(concat([x, h], axis: 1), joined), bias)
        : matmul(x, plain) + matmul(h, recurrent) + bias
      let parts = gates == 1 ? [sums] : try split(sums, count: gates, axis: 1)
      let a = try tanh(parts[0])
      let b = try sigmoid(parts[gates - 1])
      var fresh: Output
      switch first {
      case 0: fresh = a
      case 1: fresh = try b * h + (1.0 - b) * a
      case 2: fresh = try a * b + h
      case 3: fresh = try b * tanh(c + a)
      default: fresh = try a - 0.5 * h
      }
      switch second {
      case 0: c = try c * b + a
      case 1: c = try c + peephole * fresh
      case 2: c = fresh
      default: break
      }
      // A step that is not quite like the others must not be rolled up with them.
      if step == odd { fresh = try fresh * 0.75 }
      if hasLengths {
        let active = try less(
          try graph.constant(Int32(step)), lengths.expandingDims(axis: 1))
        h = try select(active, fresh, h)
      } else {
        h = fresh
      }
      outputs.append(third == 0 ? try h + c : h)
    }
    let all =
      third == 1 ? try concat(outputs, axis: 0) : try stack(outputs, axis: third == 2 ? 1 : 0)
    let loss = try sum(square(all)) + sum(h * c)
    let slopes = try gradients(of: [loss], withRespectTo: weights)
    fetches = [loss, all, outputs[dice.below(steps)]]
    for case .dense(let slope)? in slopes { fetches.append(slope) }
  }
}

/// Cross-entropy over a dense layer.
private struct RandomLoss {
  let graph = Graph()
  var feeds: [Output: Tensor] = [:]
  var fetches: [Output] = []
  let size: Int

  init(_ dice: inout Dice) throws {
    let rows = dice.pick([1, 2, 7, 40, 150])
    let inner = 1 + dice.below(9)
    let classes = dice.pick([1, 2, 5, 17, 600, 1_100])
    size = rows * classes
    var weights: [Output] = []
    func weight(_ shape: [Int], _ dice: inout Dice) throws -> Output {
      let input = try graph.placeholder(.float64, shape: Shape(shape))
      feeds[input] = try dice.tensor(shape)
      weights.append(input)
      return input
    }
    let isTransposed = dice.below(2) == 0
    let h = try weight([rows, inner], &dice)
    let w = try weight(isTransposed ? [classes, inner] : [inner, classes], &dice)
    var logits = try matmul(h, w, transposeB: isTransposed)
    switch dice.below(3) {
    case 0: logits = try biasAdd(logits, weight([classes], &dice))
    case 1: logits = try logits + weight([classes], &dice)
    default: break
    }
    if dice.below(2) == 0 { logits = try relu(logits) }
    let losses: Output
    if dice.below(3) == 0 {
      let labels = try graph.placeholder(.float64, shape: Shape([rows, classes]))
      feeds[labels] = try Tensor(
        (0..<rows * classes).map { _ in dice.real() * 0.5 + 0.5 }, shape: [rows, classes])
      losses = try softmaxCrossEntropy(labels: labels, logits: logits)
    } else {
      let labels = try graph.placeholder(.int64, shape: Shape([rows]))
      feeds[labels] = try Tensor((0..<rows).map { _ in Int64(dice.below(classes)) }, shape: [rows])
      losses = try sparseSoftmaxCrossEntropy(labels: labels, logits: logits)
    }
    var loss = losses
    switch dice.below(3) {
    case 0:
      // Some rows do not count.
      let mask = try graph.placeholder(.float64, shape: Shape([rows]))
      feeds[mask] = try Tensor((0..<rows).map { _ in Double(dice.below(2)) }, shape: [rows])
      loss = try sum(losses * mask)
    case 1: loss = try mean(losses)
    default: loss = try sum(square(losses))
    }
    fetches = [loss]
    if dice.below(3) == 0 { fetches.append(logits) }
    if dice.below(3) == 0 { fetches.append(losses) }
    if dice.below(4) != 0 {
      for case .dense(let slope)? in try gradients(of: [loss], withRespectTo: weights) {
        fetches.append(slope)
      }
    }
  }
}

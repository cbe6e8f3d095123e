// What a run keeps beside its arena: lists, stacks and arrays, and the memory of nested plans.

internal import WeftGraph
internal import WeftTensors

/// An upper bound for what one run of a plan keeps beside its arena. Nothing counts as freed before
/// the run ends.
struct KeptMemory: Sendable {
  /// What a list holds: so many bytes, and what the one fed in as `feed` holds.
  struct Held: Sendable {
    var bytes: Int
    var feed: Int?
  }

  /// Arenas of nested plans, and the values that loops carry.
  var fixedBytes = 0
  /// Elements put into lists, stacks and arrays; nil when only the run knows.
  var elementBytes: Int? = 0
  /// Whether as much is kept in every run.
  var isExact = true
  /// What each fetch holds, if it is a list; nil when only the run knows.
  var results: [Held?] = []
  /// Bytes that go into objects that are fed in, by feed.
  var growth: [Int: Int] = [:]

  /// All of it, when known before the run.
  var bytes: Int? {
    elementBytes.flatMap { bytes in
      let (sum, overflow) = bytes.addingReportingOverflow(fixedBytes)
      return overflow ? nil : sum
    }
  }

  mutating func add(_ bytes: Int?) { elementBytes = KeptMemory.sum(elementBytes, bytes) }

  static func sum(_ a: Int?, _ b: Int?) -> Int? {
    guard let a, let b else { return nil }
    let (sum, overflow) = a.addingReportingOverflow(b)
    return overflow ? nil : sum
  }

  mutating func addFixed(_ bytes: Int) {
    let (sum, overflow) = fixedBytes.addingReportingOverflow(bytes)
    fixedBytes = overflow ? .max : sum
  }
}

/// The plans that a kernel runs.
enum NestedParts: Sendable {
  case loop(LoopPlans)
  case branches([Plan?])
}

/// Follows the lists and objects of a plan through its steps.
struct KeptMemoryFinder {
  private let ir: IR
  private let kernels: [Int: Kernel]
  private var kept = KeptMemory()
  /// What lists and objects hold. Those that are missing: only the run knows.
  private var held: [Edge: KeptMemory.Held] = [:]
  /// Lines that say it of loops.
  private(set) var lines: [Int: String] = [:]

  init(_ ir: IR, kernels: [Int: Kernel]) {
    self.ir = ir
    self.kernels = kernels
  }

  /// What the nodes of `order` keep.
  mutating func find(_ order: [Int]) -> KeptMemory {
    for id in order {
      switch ir.nodes[id].kind {
      case .feed(let index): held[Edge(node: id, port: 0)] = .init(bytes: 0, feed: index)
      case .op: visit(id)
      case .constant, .variable: break
      }
    }
    kept.results = ir.fetches.map { held[$0] }
    return kept
  }

  private mutating func visit(_ id: Int) {
    let node = ir.nodes[id]
    guard let kernel = kernels[id] else {
      // Chosen in the run, with the lists that it makes or extends.
      if node.def.traits.contains(.nested) || isObject(id) { kept.add(nil) }
      return
    }
    switch kernel.nested {
    case .some(let parts as NestedParts):
      switch parts {
      case .loop(let plans): visit(id, loop: plans)
      case .branches(let plans): visit(id, branches: plans)
      }
      return
    default: break
    }
    switch kernel.storing {
    case .making(let bytes):
      kept.add(bytes)
      held[Edge(node: id, port: 0)] = bytes.map { .init(bytes: $0) }
    case .adding(let bytes, let list): add(bytes, to: list, id)
    case .addingList(let source, let list):
      let source = held[node.inputs[source]]
      add(source?.feed == nil ? source?.bytes : nil, to: list, id)
    case .passing(let input): pass(input, id)
    case .copying(let input):
      let source = held[node.inputs[input]]
      let bytes = source?.feed == nil ? source?.bytes : nil
      kept.add(bytes)
      held[Edge(node: id, port: 0)] = bytes.map { .init(bytes: $0) }
    case .summing:
      // Elements that only one list has are not copied: what is new is no more than all but one hold.
      let lists = node.inputs.map { held[$0] }
      let bytes = lists.reduce(0 as Int?) { KeptMemory.sum($0, $1?.bytes) }
      let feeds = lists.compactMap { $0?.feed }
      kept.add(feeds.count < 2 ? bytes : nil)
      guard feeds.count < 2, let bytes else { return }
      held[Edge(node: id, port: 0)] = .init(bytes: bytes, feed: feeds.first)
    case nil:
      if node.def.traits.contains(.view), !node.inputs.isEmpty {
        pass(0, id)
      } else if isObject(id) {
        kept.add(nil)
      }
    }
  }

  // Whether an output is no tensor.
  private func isObject(_ id: Int) -> Bool {
    ir.nodes[id].outputs.contains { $0.dtype == .variant || $0.dtype == .resource }
  }

  private mutating func pass(_ input: Int, _ id: Int) {
    for port in ir.nodes[id].outputs.indices {
      held[Edge(node: id, port: port)] = held[ir.nodes[id].inputs[input]]
    }
  }

  // A list is a value of its own with more elements; other objects change where they are.
  private mutating func add(_ bytes: Int?, to list: Int, _ id: Int) {
    let edge = ir.nodes[id].inputs[list]
    kept.add(bytes)
    if ir.type(edge).dtype == .resource {
      grow(held[edge], bytes)
    } else if let bytes, let base = held[edge] {
      held[Edge(node: id, port: 0)] = KeptMemory.sum(base.bytes, bytes).map {
        .init(bytes: $0, feed: base.feed)
      }
    }
  }

  private mutating func grow(_ object: KeptMemory.Held?, _ bytes: Int?) {
    guard let object, let bytes else { return kept.add(nil) }
    guard let feed = object.feed else { return }
    if let sum = KeptMemory.sum(kept.growth[feed] ?? 0, bytes) {
      kept.growth[feed] = sum
    } else {
      kept.add(nil)
    }
  }

  private mutating func visit(_ id: Int, loop plans: LoopPlans) {
    let inputs = ir.nodes[id].inputs
    let parts = [plans.condition.kept, plans.body.kept]
    for bytes in [plans.condition.arenaBytes, plans.body.arenaBytes, plans.carriedBytes] {
      kept.addFixed(bytes)
    }
    for part in parts {
      kept.addFixed(part.fixedBytes)
      kept.add(part.elementBytes)
      kept.isExact = kept.isExact && part.isExact
    }
    let trips = ir.mostTrips(id)
    func allTrips(_ bytes: Int) -> Int? {
      guard bytes > 0 else { return 0 }
      guard let (product, overflow) = trips.most?.multipliedReportingOverflow(by: bytes) else {
        return nil
      }
      return overflow ? nil : product
    }
    var each: Int? = 0
    func add(_ bytes: Int) -> Int? {
      let all = allTrips(bytes)
      kept.add(all)
      each = KeptMemory.sum(each, bytes)
      return all
    }
    for index in 0..<plans.carried.count where plans.carried[index].dtype == .variant {
      let before = held[inputs[index]]
      guard let before, let result = plans.body.kept.results[index],
        result.feed == nil || result.feed == index
      else {
        kept.add(nil)
        each = nil
        continue
      }
      // A list that each iteration makes anew counts as the body's own.
      let more = result.feed == nil ? result.bytes : add(result.bytes)
      held[Edge(node: id, port: index)] = KeptMemory.sum(before.bytes, more).map {
        .init(bytes: $0, feed: before.feed)
      }
    }
    for part in parts {
      for (feed, bytes) in part.growth.sorted(by: { $0.key < $1.key })
      where inputs.indices.contains(feed) {
        grow(held[inputs[feed]], add(bytes))
      }
    }
    for index in 0..<plans.carried.count where plans.carried[index].dtype == .resource {
      held[Edge(node: id, port: index)] = held[inputs[index]]
    }
    if each != 0 { kept.isExact = kept.isExact && trips.isExact }
    let count = trips.most.map { "\(trips.isExact ? "" : "at most ")\($0) iterations" }
    lines[id] =
      (count ?? "as many iterations as the run decides")
      + (each.map { $0 == 0 ? ", nothing kept of each" : ", \($0) bytes kept of each" } ?? "")
  }

  private mutating func visit(_ id: Int, branches: [Plan?]) {
    let inputs = ir.nodes[id].inputs
    func outer(_ value: KeptMemory.Held?) -> KeptMemory.Held? {
      guard let value, let feed = value.feed else { return value }
      guard inputs.indices.contains(feed + 1), let base = held[inputs[feed + 1]] else { return nil }
      return KeptMemory.sum(base.bytes, value.bytes).map { .init(bytes: $0, feed: base.feed) }
    }
    let parts = branches.compactMap { $0 }
    for plan in parts {
      kept.addFixed(plan.arenaBytes)
      kept.addFixed(plan.kept.fixedBytes)
    }
    // One of them runs.
    let all = parts.map(\.kept.elementBytes)
    kept.add(all.contains(nil) ? nil : all.compactMap { $0 }.max() ?? 0)
    if all.contains(where: { $0 != 0 }) { kept.isExact = false }
    for feed in Set(parts.flatMap(\.kept.growth.keys)).sorted()
    where inputs.indices.contains(feed + 1) {
      grow(held[inputs[feed + 1]], parts.map { $0.kept.growth[feed] ?? 0 }.max() ?? 0)
    }
    for port in ir.nodes[id].outputs.indices where ir.nodes[id].outputs[port].dtype == .variant {
      let values = parts.map {
        outer($0.kept.results.indices.contains(port) ? $0.kept.results[port] : nil)
      }
      guard let first = values.first ?? nil,
        values.allSatisfy({ $0 != nil && $0?.feed == first.feed })
      else { continue }
      held[Edge(node: id, port: port)] = .init(
        bytes: values.compactMap { $0?.bytes }.max() ?? 0, feed: first.feed)
    }
  }
}

// What a run keeps beside its arena: lists, stacks and arrays, and the memory of nested plans.

internal import WeftGraph
internal import WeftTensors

/// Bounds for what one run of a plan keeps beside its arena. Nothing counts as freed before the run
/// ends.
struct KeptMemory: Sendable {
  /// What a list holds: so many bytes, and what the one fed in as `feed` holds.
  struct Held: Sendable {
    /// Bytes of elements, at most.
    var bytes: Int
    /// Bytes of places for elements that are not set, at most.
    var places = 0
    /// Bytes that were pushed and are surely there still; nil when elements may have gone.
    var certain: Int?
    var feed: Int?

    /// All of it; nil where a part is that of a feed.
    var whole: Int? { feed == nil ? KeptMemory.sum(bytes, places) : nil }
  }

  /// Arenas of nested plans, and the values that loops carry.
  var fixedBytes = 0
  /// Elements put into lists, stacks and arrays, at most; nil when only the run knows.
  var elementBytes: Int? = 0
  /// Elements that loops surely put into lists that stay: all of them are there when the run ends.
  var certainBytes = 0
  /// What each fetch holds, if it is a list; nil when only the run knows.
  var results: [Held?] = []
  /// Bytes that go into objects that are fed in, by feed.
  var growth: [Int: Int] = [:]

  /// All of it, when known before the run.
  var bytes: Int? { KeptMemory.sum(elementBytes, fixedBytes) }

  mutating func add(_ bytes: Int?) { elementBytes = KeptMemory.sum(elementBytes, bytes) }

  static func sum(_ a: Int?, _ b: Int?) -> Int? {
    guard let a, let b else { return nil }
    let (sum, overflow) = a.addingReportingOverflow(b)
    return overflow ? nil : sum
  }

  static func product(_ a: Int?, _ b: Int?) -> Int? {
    if a == 0 || b == 0 { return 0 }
    guard let a, let b else { return nil }
    let (product, overflow) = a.multipliedReportingOverflow(by: b)
    return overflow ? nil : product
  }

  mutating func addFixed(_ bytes: Int) {
    fixedBytes = KeptMemory.sum(fixedBytes, bytes) ?? .max
  }
}

/// The plans that a kernel runs.
enum NestedParts: Sendable {
  case loop(LoopPlans)
  case branches([Plan?])
}

/// Follows the lists and objects of a plan through its steps.
struct KeptMemoryFinder {
  private typealias Held = KeptMemory.Held

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
      case .feed(let index):
        held[Edge(node: id, port: 0)] = Held(bytes: 0, certain: 0, feed: index)
      case .op: visit(id)
      case .constant, .variable: break
      }
    }
    kept.results = ir.fetches.map { held[$0] }
    return kept
  }

  private mutating func visit(_ id: Int) {
    // Most nodes have to do with tensors alone.
    if let kernel = kernels[id], kernel.storing == nil, kernel.nested == nil, !isObject(id) {
      return
    }
    let node = ir.nodes[id]
    guard let kernel = kernels[id] else {
      // Chosen in the run, with what it makes, extends or puts behind handles.
      if node.def.traits.contains(.nested) || isObject(id) || node.def.refines != nil {
        kept.add(nil)
      }
      return
    }
    if let parts = kernel.nested as? NestedParts {
      switch parts {
      case .loop(let plans): visit(id, loop: plans)
      case .branches(let plans): visit(id, branches: plans)
      }
      return
    }
    let output = Edge(node: id, port: 0)
    switch kernel.storing {
    case .making(let bytes, let places):
      guard let bytes, let places else { return kept.add(nil) }
      kept.add(KeptMemory.sum(bytes, places))
      held[output] = Held(bytes: bytes, places: places, certain: 0)
    case .adding(let bytes, let list): add(bytes, to: list, id, isPushed: false)
    case .pushing(let bytes, let list): add(bytes, to: list, id, isPushed: true)
    case .addingList(let source, let list):
      add(held[node.inputs[source]]?.whole, to: list, id, isPushed: false)
    case .resizing(let list, let places):
      kept.add(places)
      guard let places, var base = held[node.inputs[list]] else { return }
      (base.places, base.certain) = (max(base.places, places), nil)
      held[output] = base
    case .passing(let input):
      pass(input, id)
      for port in node.outputs.indices { held[Edge(node: id, port: port)]?.certain = nil }
    case .copying(let input):
      let bytes = held[node.inputs[input]]?.whole
      kept.add(bytes)
      held[output] = bytes.map { Held(bytes: $0) }
    case .summing: sum(id)
    case nil:
      if node.def.traits.contains(.view), !node.inputs.isEmpty {
        pass(0, id)
      } else {
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
  private mutating func add(_ bytes: Int?, to list: Int, _ id: Int, isPushed: Bool) {
    let edge = ir.nodes[id].inputs[list]
    kept.add(bytes)
    if ir.type(edge).dtype == .resource {
      grow(held[edge], bytes)
    } else if let bytes, var base = held[edge], let sum = KeptMemory.sum(base.bytes, bytes) {
      base.bytes = sum
      let values = max(0, bytes - Kernel.Storing.elementOverhead)
      base.certain = isPushed ? KeptMemory.sum(base.certain, values) : nil
      held[Edge(node: id, port: 0)] = base
    }
  }

  // Elements that only one list has are not copied: what is new is no more than all but one hold.
  private mutating func sum(_ id: Int) {
    let lists = ir.nodes[id].inputs.map { held[$0] }
    let bytes = lists.reduce(0 as Int?) { KeptMemory.sum($0, $1?.bytes) }
    let places = lists.compactMap { $0?.places }.max() ?? 0
    let feeds = lists.compactMap { $0?.feed }
    guard feeds.count < 2, let bytes else { return kept.add(nil) }
    kept.add(KeptMemory.sum(bytes, places))
    held[Edge(node: id, port: 0)] = Held(bytes: bytes, places: places, feed: feeds.first)
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
      // What one iteration makes, whether it stays or goes.
      kept.add(part.elementBytes)
    }
    let trips = ir.mostTrips(id)
    var each: Int? = 0
    // What all iterations put somewhere; the first one's is counted already.
    func all(_ bytes: Int) -> Int? {
      kept.add(KeptMemory.product(trips.most.map { max(0, $0 - 1) }, bytes))
      each = KeptMemory.sum(each, bytes)
      return KeptMemory.product(trips.most, bytes)
    }
    for index in 0..<plans.carried.count where plans.carried[index].dtype == .variant {
      let output = Edge(node: id, port: index)
      guard let before = held[inputs[index]],
        plans.body.kept.results.indices.contains(index),
        let result = plans.body.kept.results[index], result.feed == nil || result.feed == index
      else {
        kept.add(nil)
        each = nil
        continue
      }
      var after = before
      after.places = max(before.places, result.places)
      if result.feed == nil {
        // Made anew in each iteration, while the last one is still there.
        kept.add(result.whole)
        after.certain = nil
        guard let sum = KeptMemory.sum(before.bytes, result.bytes) else { continue }
        after.bytes = sum
      } else {
        let surely = trips.isExact ? KeptMemory.product(trips.most, result.certain) : nil
        after.certain = KeptMemory.sum(before.certain, surely)
        kept.certainBytes = KeptMemory.sum(kept.certainBytes, surely ?? 0) ?? .max
        guard let sum = KeptMemory.sum(before.bytes, all(result.bytes)) else { continue }
        after.bytes = sum
      }
      held[output] = after
    }
    for part in parts {
      for (feed, bytes) in part.growth.sorted(by: { $0.key < $1.key }) {
        // What the condition gives the body is not known here.
        grow(inputs.indices.contains(feed) ? held[inputs[feed]] : nil, all(bytes))
      }
    }
    for index in 0..<plans.carried.count where plans.carried[index].dtype == .resource {
      held[Edge(node: id, port: index)] = held[inputs[index]]
    }
    let count = trips.most.map { "\(trips.isExact ? "" : "at most ")\($0) iterations" }
    lines[id] =
      (count ?? "as many iterations as the run decides")
      + (each.map { $0 == 0 ? ", nothing kept of each" : ", \($0) bytes kept of each" } ?? "")
  }

  private mutating func visit(_ id: Int, branches: [Plan?]) {
    let inputs = ir.nodes[id].inputs
    let parts = branches.compactMap { $0 }
    for plan in parts {
      kept.addFixed(plan.arenaBytes)
      kept.addFixed(plan.kept.fixedBytes)
    }
    // One of them runs.
    let all = parts.map(\.kept.elementBytes)
    kept.add(all.contains(nil) ? nil : all.compactMap { $0 }.max() ?? 0)
    for feed in Set(parts.flatMap(\.kept.growth.keys)).sorted() {
      let most = parts.map { $0.kept.growth[feed] ?? 0 }.max() ?? 0
      grow(inputs.indices.contains(feed + 1) ? held[inputs[feed + 1]] : nil, most)
    }
    for port in ir.nodes[id].outputs.indices where ir.nodes[id].outputs[port].dtype == .variant {
      let values = parts.map { plan -> Held? in
        guard plan.kept.results.indices.contains(port), var value = plan.kept.results[port] else {
          return nil
        }
        value.certain = nil
        guard let feed = value.feed else { return value }
        guard inputs.indices.contains(feed + 1), let base = held[inputs[feed + 1]],
          let sum = KeptMemory.sum(base.bytes, value.bytes)
        else { return nil }
        return Held(bytes: sum, places: max(base.places, value.places), feed: base.feed)
      }
      guard var value = values.first ?? nil,
        values.allSatisfy({ $0 != nil && $0?.feed == value.feed })
      else { continue }
      value.bytes = values.compactMap { $0?.bytes }.max() ?? 0
      value.places = values.compactMap { $0?.places }.max() ?? 0
      held[Edge(node: id, port: port)] = value
    }
  }
}

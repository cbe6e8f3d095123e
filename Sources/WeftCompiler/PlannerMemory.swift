// How long values of a plan live, and where in the arena.

internal import WeftGraph
internal import WeftTensors

extension Planner {
  // MARK: - Lifetimes

  mutating func collectWrites() throws {
    for id in order {
      let node = ir.nodes[id]
      guard case .op = node.kind, node.def.traits.contains(.writesVariable) else { continue }
      for edge in node.inputs where ir.type(edge).dtype == .resource || ir.type(edge).isReference {
        // A nested plan may be given handles of other objects too.
        if node.def.traits.contains(.nested), (try? ir.cell(of: edge)) == nil { continue }
        let cell = try ir.cell(of: edge)
        writes[ObjectIdentifier(cell), default: []].append(position[id])
      }
    }
  }

  mutating func findLastUses() {
    for id in order {
      for edge in ir.nodes[id].inputs {
        if let group = groupOf[edge] {
          groups[group].last = max(groups[group].last, position[id])
        }
      }
    }
    for edge in ir.fetches {
      if let group = groupOf[edge] { groups[group].last = order.count }
    }
  }

  // A borrowed value is copied when its variable is written while it is still in use.
  mutating func copyBorrowedThatAreWritten() {
    for index in groups.indices {
      guard let cell = groups[index].borrowed else { continue }
      let from = groups[index].first
      let to = groups[index].last
      let isWritten = writes[ObjectIdentifier(cell)]?.contains { $0 > from && $0 <= to } ?? false
      if isWritten {
        groups[index].place = .arena(-1)
        groups[index].borrowed = nil
        copies.insert(groups[index].reader)
      } else {
        groups[index].place = .variable(cell)
      }
    }
  }

  // MARK: - Memory

  func scratchNeeds() -> [(id: Int, bytes: Int)] {
    order.compactMap { id in
      guard let kernel = kernels[id], kernel.scratchBytes > 0 else { return nil }
      return (id, kernel.scratchBytes)
    }
  }

  mutating func placeInArena(
    _ scratch: [(id: Int, bytes: Int)]
  ) throws -> (Int, Int, [Int: Int]) {
    var requests: [MemoryPlan.Request] = []
    var owner: [Int] = []
    var unshared = 0
    var scratchSum = 0
    // Offsets are sums of these: they must not overflow, whatever is shared in the end.
    func add(_ bytes: Int, to sum: inout Int, for id: Int) throws {
      let (next, overflow) = sum.addingReportingOverflow(bytes)
      guard !overflow, bytes >= 0, next < 1 << 61 else {
        throw ir.locate(
          WeftError(
            .resourceExhausted, "the values up to this one are too large for any memory",
            category: .run), at: id)
      }
      sum = next
    }
    // A group that takes over a dying input's memory joins that input's request.
    var joined: [Int: Int] = [:]
    if options.worksInPlace && options.reusesMemory { joined = inPlaceGroups() }
    func root(_ group: Int) -> Int {
      var at = group
      while let next = joined[at] { at = next }
      return at
    }
    var requestOf: [Int: Int] = [:]
    for index in groups.indices {
      guard case .arena = groups[index].place else { continue }
      try add(groups[index].bytes, to: &unshared, for: order[groups[index].first])
      let base = root(index)
      if let request = requestOf[base] {
        requests[request].last = max(requests[request].last, groups[index].last)
        requests[request].first = min(requests[request].first, groups[index].first)
      } else {
        requestOf[base] = requests.count
        requests.append(
          MemoryPlan.Request(
            bytes: groups[base].bytes, first: groups[index].first, last: groups[index].last))
        owner.append(base)
      }
    }
    var scratchRequest: [Int: Int] = [:]
    for (id, bytes) in scratch {
      try add(bytes, to: &scratchSum, for: id)
      scratchRequest[id] = requests.count
      requests.append(
        MemoryPlan.Request(bytes: bytes, first: position[id], last: position[id]))
    }
    let plan = MemoryPlan(requests, sharing: options.reusesMemory)
    for index in groups.indices {
      guard case .arena = groups[index].place, let request = requestOf[root(index)] else {
        continue
      }
      groups[index].place = .arena(plan.offsets[request])
    }
    return (plan.totalBytes, unshared, scratchRequest.mapValues { plan.offsets[$0] })
  }

  // For each group that may be written over a dying input of the same size: that input's group.
  private func inPlaceGroups() -> [Int: Int] {
    var joined: [Int: Int] = [:]
    var taken = Set<Int>()
    for id in order {
      guard let kernel = kernels[id], !kernel.inPlace.isEmpty else { continue }
      let node = ir.nodes[id]
      let at = position[id]
      for (port, candidates) in kernel.inPlace.enumerated() where port < node.outputs.count {
        guard let group = groupOf[Edge(node: id, port: port)],
          case .arena = groups[group].place, groups[group].first == at
        else { continue }
        for input in candidates where node.inputs.indices.contains(input) {
          guard let source = groupOf[node.inputs[input]], source != group,
            offsetOf[node.inputs[input]] == nil, case .arena = groups[source].place,
            groups[source].last == at,
            groups[source].bytes == groups[group].bytes, !taken.contains(source)
          else { continue }
          // Another input that shares the memory would be overwritten while it is read.
          let others = node.inputs.indices.filter {
            $0 != input && groupOf[node.inputs[$0]] == source
              && (!candidates.contains($0) || offsetOf[node.inputs[$0]] != nil)
          }
          guard others.isEmpty else { continue }
          taken.insert(source)
          joined[group] = source
          break
        }
      }
    }
    return joined
  }
}

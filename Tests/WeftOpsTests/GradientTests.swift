// Every gradient rule against finite differences in float64, first and second order.

import TestSupport
import Testing
import WeftGraph
import WeftOps
import WeftTensors

@Suite struct GradientTests {
  @Test(arguments: gradientRows)
  func gradientMatchesFiniteDifferences(_ row: GradientRow) throws {
    for (index, shapes) in row.shapes.enumerated() {
      var random = TestRandom(UInt64(index + 1))
      let point = try shapes.map { try randomTensor($0, in: row.domain, &random) }
      let report = try checkGradient(
        at: point, order: row.order, step: row.step, inputs: row.inputs, of: row.build)
      #expect(
        report.worst < row.tolerance, "\(row.name) at \(shapes): \(report.worst) \(report.place)")
    }
  }

  // A checker that cannot fail would hide everything: give it a wrong derivative.
  @Test func checkerSeesAWrongGradient() throws {
    var random = TestRandom(3)
    let point = [try randomTensor([4], in: 0.5...1.5, &random)]
    let report = try checkGradient(at: point) { _, x in
      // The value moves with x twice, the gradient sees it once.
      [try square(x[0]) + stopGradient(square(x[0]))]
    }
    #expect(report.worst > 0.1)
  }

  // The same for a rule: sin differentiated as cosine is.
  @Test(arguments: [1, 2]) func checkerSeesAWrongRule(_ order: Int) throws {
    var random = TestRandom(3)
    let point = [try randomTensor([4], in: 0.5...1.5, &random)]
    let report = try checkGradient(at: point, order: order) { graph, x in
      [try graph.output("Sin", inputs: x, attrs: ["_gradient_op_type": .string("Cos")])]
    }
    #expect(report.worst > 0.1)
  }

  @Test func everyGradientRuleHasARow() throws {
    var covered = Set<String>()
    for row in gradientRows {
      let graph = Graph()
      let probe = try GradientProbe(
        graph, shapes: row.shapes[row.shapes.count - 1], row.inputs)
      // What the row itself differentiates: its own nodes, and for order 2 those of its gradient.
      var ys = try row.build(graph, probe.inputs).filter { $0.dtype == .float64 }
      for _ in 1..<row.order {
        ys = try gradients(of: ys, withRespectTo: probe.inputs).compactMap { gradient in
          try gradient.map { try dense($0) }
        }
      }
      covered.formUnion(differentiated(graph, from: probe.inputs, to: ys))
    }
    let missing = OpRegistry.standard.all.compactMap { op -> String? in
      guard case .rule = op.gradient else { return nil }
      return covered.contains(op.name) ? nil : op.name
    }
    #expect(missing.isEmpty, "no gradient row for \(missing.joined(separator: ", "))")
  }

  // Ops whose rule is asked for: on a way of numbers from an input to a result.
  private func differentiated(_ graph: Graph, from xs: [Output], to ys: [Output]) -> [String] {
    var needed = Set(ys.map(\.edge.node))
    for node in graph.nodes.reversed() where needed.contains(node.id) {
      needed.formUnion(node.inputs.map(\.node))
    }
    var moving = Set(xs.map(\.edge))
    var ops: [String] = []
    // Nodes come after their inputs.
    for node in graph.nodes where node.inputs.contains(where: { moving.contains($0) }) {
      for (port, type) in node.outputs.enumerated()
      where type.dtype.isDifferentiable || type.dtype == .variant {
        moving.insert(Edge(node: node.id, port: port))
      }
      if needed.contains(node.id) { ops.append(node.op) }
    }
    return ops
  }
}

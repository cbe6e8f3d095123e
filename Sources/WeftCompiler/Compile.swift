// The compiler's entry: a request on a graph becomes a plan.

package import WeftGraph
package import WeftTensors

/// Compiles what `request` asks of `graph`.
/// - Parameters:
///   - variable: finds or makes the session's variable of a name.
/// - Throws: the typed error of the first node that cannot be planned, with its place.
package func compile(
  _ graph: GraphSnapshot, request: PlanRequest, options: CompileOptions, sessionSeed: UInt64,
  variable: (_ name: String, DType) -> VariableCell
) throws -> Plan {
  var ir = try IR(importing: graph, request: request, variable: variable)
  ir.memoryLimit = options.memoryLimit
  ir.iterationLimit = options.iterationLimit
  try ir.expandControlFlow(graph, options: options, sessionSeed: sessionSeed, variable: variable)
  ir.markLive()
  let imported = PassReport(
    name: "prune", purpose: "keep what fetches and targets need", before: graph.nodes.count,
    after: ir.liveCount, milliseconds: 0)
  let reports = try ir.runPasses(options)
  var planner = Planner(ir, options: options, sessionSeed: sessionSeed)
  return try planner.plan(passes: [imported] + reports)
}

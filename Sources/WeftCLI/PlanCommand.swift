// weft plan: what a signature compiles to.

import ArgumentParser
import Weft

struct PlanCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "plan", abstract: "Show the kernel plan of a signature.",
    discussion: """
      DIMS is 32,26 or [32,26] or 32x26. A size that the graph leaves open is that of another \
      input's same axis where one is given, else 1.
      """)

  @Argument(help: "The graph file, run directory or SavedModel.")
  var model: String

  @Option(help: "The signature to plan.")
  var signature: String?

  @Option(help: ArgumentHelp("Plan for a tensor instead.", valueName: "NAME"))
  var outputs: [String] = []

  @Option(help: ArgumentHelp("Plan for an operation instead.", valueName: "OP"))
  var targets: [String] = []

  @Option(help: ArgumentHelp("The shape of an input.", valueName: "NAME=DIMS"))
  var shape: [String] = []

  @Option(help: PassList.help)
  var passes: PassList?

  @Option(help: ArgumentHelp("Print the working graph before a pass instead.", valueName: "PASS"))
  var before: String?

  @Option(help: ArgumentHelp("Print the working graph after a pass instead.", valueName: "PASS"))
  var after: String?

  @Flag(help: "Print JSON.")
  var json = false

  @Flag(help: "Print a GraphViz drawing of the steps.")
  var dot = false

  func validate() throws {
    for name in [before, after].compactMap({ $0 }) {
      guard allPasses.contains(name) else {
        throw ValidationError(
          "there is no pass '\(name)'; the passes are \(allPasses.joined(separator: ", "))")
      }
      if passes?.disabled.contains(name) == true {
        throw ValidationError("--passes leaves '\(name)' out")
      }
    }
    if (before != nil || after != nil) && (json || dot) {
      throw ValidationError("--before and --after print text: without --json and --dot")
    }
  }

  func run() throws {
    let model = try Model(model)
    let graph = model.graph.snapshot
    let request = try RequestArguments.parse(
      (signature.map { ["--signature", $0] } ?? []) + outputs.flatMap { ["--outputs", $0] }
        + targets.flatMap { ["--targets", $0] }
    ).resolve(model)
    let call = try model.signature(signature)
    guard !request.isEmpty else {
      throw WeftError(
        .invalidArgument, "there is nothing to plan", category: .usage,
        hint: "choose a signature with --signature: "
          + graph.signatures.keys.joined(separator: ", "))
    }
    var feeds: [(Edge, TensorType)] = []
    var given: [Edge: [Int]] = [:]
    // Sizes given where the graph leaves them open, by axis: batches have one size everywhere.
    var batches: [Int: Int] = [:]
    for argument in shape {
      let (name, text) = try InputValue.split(argument)
      let edge = try model.edge(name, keys: call?.inputs)
      let dims = try PlanCommand.dims(text)
      given[edge] = dims
      for (axis, size) in dims.enumerated() where graph.type(edge).shape.dim(axis).size == nil {
        batches[axis] = batches[axis] ?? size
      }
      if call?.inputs.contains(where: { $0.edge == edge }) != true {
        feeds.append((edge, TensorType(graph.type(edge).dtype, Shape(dims))))
      }
    }
    for (key, edge) in call?.inputs ?? [] {
      let type = graph.type(edge)
      if let dims = given[edge] {
        feeds.append((edge, TensorType(type.dtype, Shape(dims))))
        continue
      }
      guard let dims = type.shape.dims else {
        throw WeftError(
          .invalidArgument, "the rank of '\(key)' is not known", category: .usage,
          hint: "give it with --shape \(key)=DIMS")
      }
      let sizes = dims.enumerated().map { axis, dim in dim.size ?? batches[axis] ?? 1 }
      feeds.append((edge, TensorType(type.dtype, Shape(sizes))))
    }
    var options = CompileOptions()
    if let passes { options.disabled = passes.disabled }
    options.listed = Set([before, after].compactMap { $0 })
    let session = Session(graph, options: SessionOptions(threads: 1, compile: options))
    let plan = try session.plan(request.fetches.map(\.edge), feeds: feeds, targets: request.targets)
    if before != nil || after != nil { return printListings(plan) }
    if json || dot { return Console.print(json ? PlanText.json(plan).text : PlanText.dot(plan)) }
    let pool = ThreadPool(width: SessionOptions.availableCores)
    let rates = MachineRates(
      productFlops: MachineProbe.productRate(pool), bytes: MachineProbe.memoryRate(pool))
    Console.print(plan.report(rates: rates))
  }

  private func printListings(_ plan: Plan) {
    func lines(_ name: String) -> (before: [String], after: [String]) {
      plan.passes.first { $0.name == name }?.listings ?? ([], [])
    }
    if let before {
      Console.print("before \(before)")
      for line in lines(before).before { Console.print("  " + line) }
    }
    if let after {
      Console.print("after \(after)")
      for line in lines(after).after { Console.print("  " + line) }
    }
  }

  private static func dims(_ text: String) throws(WeftError) -> [Int] {
    var body = Substring(text)
    if body.hasPrefix("["), body.hasSuffix("]") { body = body.dropFirst().dropLast() }
    if body.isEmpty { return [] }
    var dims: [Int] = []
    for part in body.split(
      omittingEmptySubsequences: false, whereSeparator: { $0 == "," || $0 == "x" })
    {
      guard let size = Int(part.filter { $0 != " " }), size >= 0 else {
        throw WeftError(
          .invalidArgument, "'\(text)' is no list of sizes", category: .usage,
          hint: "such as --shape tokens=32,26")
      }
      dims.append(size)
    }
    return dims
  }
}

/// A plan as JSON and as a drawing.
enum PlanText {
  private static func place(_ argument: PlanArgument) -> JSONValue {
    var members: [(String, JSONValue)] = [
      ("dtype", .string(argument.type.dtype.name)), ("shape", .string("\(argument.type.shape)")),
    ]
    switch argument.place {
    case .arena(let offset): members.append(("offset", .int(offset)))
    case .constant: members.append(("place", .string("constant")))
    case .feed(let index): members.append(("feed", .int(index)))
    case .variable(let cell): members.append(("variable", .string(cell.name)))
    case .slot(let index): members.append(("slot", .int(index)))
    case .none: if let cell = argument.cell { members.append(("handle", .string(cell.name))) }
    }
    return .object(members)
  }

  static func json(_ plan: Plan) -> JSONValue {
    let passes = plan.passes.map { pass -> JSONValue in
      .object([
        ("name", .string(pass.name)), ("before", .int(pass.before)), ("after", .int(pass.after)),
      ])
    }
    return .object([
      ("passes", .array(passes)), ("steps", .array(plan.steps.map { step($0, plan) })),
      ("fetches", .array(plan.fetches.map { place($0) })), ("arena_bytes", .int(plan.arenaBytes)),
      ("unshared_bytes", .int(plan.unsharedBytes)),
      ("kept_bytes", plan.keptBytes.map { .int($0) } ?? .null), ("flops", .int(plan.flops)),
    ])
  }

  private static func step(_ step: Step, _ plan: Plan) -> JSONValue {
    let middle = step.argumentBase + step.inputCount
    let inputs = plan.arguments[step.argumentBase..<middle].map { place($0) }
    let outputs = plan.arguments[middle..<(middle + step.outputCount)].map { place($0) }
    let kernel: JSONValue = step.kernel.map { .string($0.name) } ?? .null
    return .object([
      ("name", .string(step.name)), ("op", .string(step.def.name)), ("kernel", kernel),
      ("flops", .int(step.kernel?.flops ?? 0)), ("inputs", .array(inputs)),
      ("outputs", .array(outputs)),
    ])
  }

  /// The steps in their order, each with an edge from the steps whose results it reads.
  static func dot(_ plan: Plan) -> String {
    var lines = ["digraph plan {", "  node [shape=box, fontsize=10];"]
    var makers: [String: Int] = [:]
    for (index, step) in plan.steps.enumerated() {
      let name = step.name.filter { $0 != "\"" && $0 != "\\" }
      lines.append("  s\(index) [label=\"\(index) \(step.def.name)\\n\(name)\"];")
      var sources: [Int] = []
      for input in step.inputNames {
        let node = GraphSnapshot.splitTensorName(input).name
        if let source = makers[node], !sources.contains(source) { sources.append(source) }
      }
      for source in sources { lines.append("  s\(source) -> s\(index);") }
      makers[step.name] = index
    }
    lines.append("}")
    return lines.joined(separator: "\n")
  }
}

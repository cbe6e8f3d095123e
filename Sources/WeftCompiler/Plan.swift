// A plan: the steps that one set of fetches and feeds compiles to, and where every value lives.

public import WeftGraph
public import WeftTensors

/// Where a value lives while a plan runs.
public enum Place: Sendable {
  /// At this byte offset of the run's arena.
  case arena(Int)
  /// In the plan itself.
  case constant(Tensor)
  /// In the tensor given as this feed.
  case feed(Int)
  /// In the variable.
  case variable(VariableCell)
  /// In a growing buffer or object of the run: values whose size only a run decides, and strings.
  case slot(Int)
  /// Nowhere: handles and references.
  case none
}

/// One input or output of a step.
public struct Argument: Sendable {
  /// Where its value lives.
  public let place: Place
  /// Its type; dimensions are unknown only in a slot.
  public let type: TensorType
  /// The variable that a handle or reference stands for.
  public let cell: VariableCell?
}

/// One step of a plan: a kernel with its arguments.
public struct Step: Sendable {
  /// The node's name.
  public let name: String
  /// The op's row.
  public let def: OpDef
  /// The node's attributes as stored.
  public let attrs: [String: AttrValue]
  /// Where the node was made.
  public let origin: Origin
  /// The kernel; nil when it can be chosen only while running.
  public let kernel: Kernel?
  /// First argument in `Plan.arguments`: inputs, then outputs.
  public let argumentBase: Int
  /// How many arguments are inputs.
  public let inputCount: Int
  /// How many arguments are outputs.
  public let outputCount: Int
  /// Byte offset of the scratch memory in the arena.
  public let scratchOffset: Int
  /// Names of the inputs, for errors.
  public let inputNames: [String]

  /// Whether addresses and shapes are found while running rather than before.
  public let isLate: Bool
  /// Whether it draws random numbers.
  public var isRandom: Bool { def.traits.contains(.random) }

  /// The error with the step's node and operands added.
  public func locate(_ error: any Error, _ plan: Plan) -> any Error {
    guard var error = error as? WeftError else { return error }
    if error.details.contains(where: { $0.label == "node" }) { return error }
    if error.category == .content { error.category = .run }
    var place = "\(name)  (\(def.name))"
    if let text = origin.description { place += "  \(text)" }
    error.details.insert(WeftError.Detail("node", place), at: 0)
    for index in 0..<min(inputCount, 6) {
      let label =
        def.signature.inputs.indices.contains(index)
        ? def.signature.inputs[index].name : "input \(index)"
      error.details.append(
        WeftError.Detail(
          label, "\(inputNames[index])  \(plan.arguments[argumentBase + index].type)"))
    }
    return error
  }
}

/// What one set of fetches, targets and feeds compiles to.
public final class Plan: Sendable {
  /// The steps, in the order they run.
  public let steps: [Step]
  /// The arguments of all steps.
  public let arguments: [Argument]
  /// Where each fetch is found.
  public let fetches: [Argument]
  /// The types of the feeds, in the order given.
  public let feeds: [TensorType]
  /// Bytes of memory that a run needs at once for values and scratch.
  public let arenaBytes: Int
  /// Bytes of all planned values if none shared memory.
  public let unsharedBytes: Int
  /// Bytes that a run keeps beside the arena at most, in lists, stacks, arrays and nested plans; nil
  /// when only the run knows.
  public var keptBytes: Int? { kept.bytes }
  let kept: KeptMemory
  /// How many slots a run needs.
  public let slotCount: Int
  /// Variables that must have a value when a run starts.
  public let requiredVariables: [VariableCell]
  /// What the passes did.
  public let passes: [PassReport]

  init(
    steps: [Step], arguments: [Argument], fetches: [Argument], feeds: [TensorType],
    arenaBytes: Int, unsharedBytes: Int, kept: KeptMemory, slotCount: Int,
    requiredVariables: [VariableCell], passes: [PassReport]
  ) {
    self.kept = kept
    self.steps = steps
    self.arguments = arguments
    self.fetches = fetches
    self.feeds = feeds
    self.arenaBytes = arenaBytes
    self.unsharedBytes = unsharedBytes
    self.slotCount = slotCount
    self.requiredVariables = requiredVariables
    self.passes = passes
  }

  /// Bytes that every run needs at once: the arena, and what loops certainly put into lists.
  public var neededBytes: Int {
    let (sum, overflow) = arenaBytes.addingReportingOverflow(kept.certainBytes)
    return overflow ? .max : sum
  }

  /// Whether a run changes variables or counts random draws, so that no other may go on beside it.
  public var changesSession: Bool {
    steps.contains {
      !$0.def.traits.isDisjoint(with: [.writesVariable, .random, .drawsWithin])
    }
  }

  /// Floating-point operations of one run, as far as kernels state them.
  public var flops: Int {
    steps.reduce(0) { sum, step in
      let (next, overflow) = sum.addingReportingOverflow(step.kernel?.flops ?? 0)
      return overflow ? .max : next
    }
  }

  /// The error with the steps whose results take the most of the memory that it could not have.
  package func namingLargest(_ error: WeftError) -> WeftError {
    var results: [(bytes: Int, step: Step, type: TensorType)] = []
    for step in steps {
      for port in 0..<step.outputCount {
        let argument = arguments[step.argumentBase + step.inputCount + port]
        guard case .arena = argument.place, let shape = argument.type.shape.known,
          let bytes = try? Tensor.byteCount(dtype: argument.type.dtype, shape: shape)
        else { continue }
        results.append((bytes, step, argument.type))
      }
    }
    var result = error
    for entry in results.sorted(by: { $0.bytes > $1.bytes }).prefix(3) {
      var place = "\(entry.step.name)  (\(entry.step.def.name))"
      if let text = entry.step.origin.description { place += "  \(text)" }
      result.details.append(WeftError.Detail("node", "\(place)  gives \(entry.type)"))
    }
    return result
  }
}

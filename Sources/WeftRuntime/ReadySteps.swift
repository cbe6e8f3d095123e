// A plan's steps as the run loop sees them: no enums to open, no strings to copy.

internal import WeftCompiler
internal import WeftGraph
internal import WeftTensors

/// A step with its addresses.
struct ReadyStep {
  let function: KernelFunction?
  let arguments: UnsafePointer<UnsafeMutableRawPointer>
  let inputCount: Int
  let scratch: UnsafeMutableRawPointer
  let objectBase: Int
  let isLate: Bool
  let isRandom: Bool
  /// The step's arguments that are a variable's memory, in `Execution.variableArguments`.
  let variables: Range<Int>
}

/// An argument that is a variable's memory, and the state of the variable it was bound for.
struct VariableArgument {
  let argument: Int
  let cell: VariableCell
  var generation = UInt64.max
}

extension Execution {
  func makeReadySteps() throws {
    for step in plan.steps {
      let first = variableArguments.count
      for index in step.argumentBase..<(step.argumentBase + step.inputCount) {
        guard case .variable(let cell) = plan.arguments[index].place else { continue }
        // A reference that the op takes as such is not read as memory.
        let position = index - step.argumentBase
        let formal = step.def.signature.inputs
        // Nested plans read the variables behind references themselves.
        if step.def.traits.contains(.nested), plan.arguments[index].type.isReference { continue }
        if formal.indices.contains(position), formal[position].isReference { continue }
        variableArguments.append(VariableArgument(argument: index, cell: cell))
      }
      readySteps.append(
        ReadyStep(
          function: try step.kernel?.function(),
          arguments: UnsafePointer(addresses + step.argumentBase),
          inputCount: step.inputCount, scratch: arena.base + step.scratchOffset,
          objectBase: step.argumentBase, isLate: step.isLate, isRandom: step.isRandom,
          variables: first..<variableArguments.count))
    }
  }

  /// Runs every step.
  func runAllSteps() throws {
    if clock != nil { return try runTimed() }
    var at = 0
    do {
      while at < readySteps.count {
        try run(at)
        at += 1
      }
    } catch {
      throw plan.steps[at].locate(error, plan)
    }
  }

  private func runTimed() throws {
    for index in readySteps.indices {
      let begin = clock?.now() ?? 0
      do { try run(index) } catch { throw plan.steps[index].locate(error, plan) }
      clock?.add(index, from: begin)
    }
  }

  @inline(__always)
  private func run(_ index: Int) throws {
    try readySteps.withUnsafeBufferPointer { steps in
      for place in steps[index].variables { try bind(place) }
      if steps[index].isRandom { draw = store.nextDraw(plan.steps[index].name) }
      if steps[index].isLate { return try runLate(plan.steps[index], index) }
      guard let function = steps[index].function else { return }
      try function(
        KernelCall(
          arguments: steps[index].arguments, inputCount: steps[index].inputCount,
          scratch: steps[index].scratch, pool: pool, objects: self,
          objectBase: steps[index].objectBase))
    }
  }

  // A variable's memory moves only when it is given another shape, or a value for the first time.
  @inline(__always)
  private func bind(_ place: Int) throws {
    let generation = variableArguments[place].cell.generation
    if generation == variableArguments[place].generation { return }
    let argument = variableArguments[place].argument
    addresses[argument] = try memory(of: variableArguments[place].cell, plan.arguments[argument])
    variableArguments[place].generation = generation
  }
}

// The kernel calling contract: what an op lowers to, and what it is called with.

/// What runs when a kernel is called.
public typealias KernelFunction = @Sendable (borrowing KernelCall) throws -> Void

/// A lowered op: one ready-to-run piece of a plan.
///
/// `lower` makes it for concrete shapes; a plan runs it many times, always with those shapes.
public struct Kernel: Sendable {
  /// How the outputs come to be.
  public enum Action: Sendable {
    /// Output 0 is input `input` under another shape: no bytes move. All inputs but `input` are
    /// ignored (their values were used to infer the shape).
    case alias(input: Int)
    /// Nothing runs: a placeholder for ordering, such as NoOp.
    case nothing
    /// A function over raw memory.
    case call(KernelFunction)
    /// A function that keeps something between its calls. Each of the runs that go on at once has
    /// one of its own.
    case keeping(@Sendable () throws -> KernelFunction)
  }

  /// The name shown in plans, such as `addFloat32` or `gemmFloat32`.
  public var name: String
  /// What runs.
  public var action: Action
  /// Bytes of scratch memory, given 64-byte aligned as `call.scratch`.
  public var scratchBytes: Int
  /// For each output, the inputs whose buffer it may take over (same byte count, read before or
  /// exactly where it is written). The planner uses at most one, and only of a dead input.
  public var inPlace: [[Int]]
  /// For outputs whose size only the data decide: the largest shape they can have. The kernel
  /// writes into memory of that size and calls `setShape`; without a bound it calls `setObject`
  /// with a `Tensor` of its own.
  public var bounds: [[Int]?] = []
  /// Floating-point operations of one call, for reports.
  public var flops: Int
  /// Of these, operations of matrix products.
  public var productFlops = 0
  /// The loop over one row, for a kernel that is nothing but this loop over operands that broadcast
  /// to the output's shape. It reads an element before it writes the same one.
  public var loop: ElementwiseLoop?
  /// Where the outputs lie within one input, when all are parts of it as it stands: a planner that
  /// lets them share its memory need not call the kernel. Offsets are in bytes, one an output.
  public var pieces: (input: Int, offsets: [Int])?
  /// Lines that tell more of it in plans: the nested plans of a loop.
  public var details: (@Sendable () -> [String])?
  /// What it does to lists, stacks and arrays.
  public var storing: Storing?
  /// The plans that it runs, for a planner that knows them.
  package var nested: (any Sendable)?

  /// What a kernel does to lists, stacks and arrays, which a run keeps beside its arena. Bytes are
  /// those of elements, nil when only the run knows.
  public enum Storing: Sendable {
    /// What an element counts beside its values: about what objects and tables take for it.
    public static var elementOverhead: Int { 256 }
    /// Output 0 is a new one with elements of this many bytes, and places for others that take
    /// `places` bytes.
    case making(Int?, places: Int? = 0)
    /// Elements of this many bytes go into the one at input `into`; where that is a list, output 0 is
    /// the list with them.
    case adding(Int?, into: Int)
    /// The same for a copy of one element behind all others.
    case pushing(Int?, onto: Int)
    /// What the list at input `of` holds goes into the one at input `into`, likewise.
    case addingList(of: Int, into: Int)
    /// Output 0 is the list at this input with places that take `places` bytes.
    case resizing(Int, places: Int?)
    /// Outputs that are lists are the one at this input, or parts of it.
    case passing(Int)
    /// Output 0 is a new list that takes no more than the one at this input.
    case copying(Int)
    /// Output 0 is the sum of the lists at all inputs, element by element.
    case summing
  }

  /// The same kernel, which does this to lists, stacks and arrays.
  public func storing(_ storing: Storing) -> Kernel {
    var other = self
    other.storing = storing
    return other
  }

  /// A kernel that calls `function`.
  public init(
    _ name: String, scratchBytes: Int = 0, inPlace: [[Int]] = [], flops: Int = 0,
    function: @escaping KernelFunction
  ) {
    self.name = name
    self.scratchBytes = scratchBytes
    self.inPlace = inPlace
    self.flops = flops
    action = .call(function)
  }

  /// A kernel that only renames memory, or does nothing.
  public init(_ name: String, action: Action) {
    self.name = name
    self.action = action
    scratchBytes = 0
    inPlace = []
    flops = 0
  }

  /// Output 0 is input `input` under another shape.
  public static func alias(_ input: Int = 0) -> Kernel {
    Kernel("alias", action: .alias(input: input))
  }

  /// Nothing runs.
  public static let nothing = Kernel("nothing", action: .nothing)

  /// The function to call in runs of one executor; nil when there is none to call.
  public func function() throws -> KernelFunction? {
    switch action {
    case .call(let function): function
    case .keeping(let make): try make()
    case .alias, .nothing: nil
    }
  }
}

/// What one kernel call sees: raw memory in the order inputs, outputs; scratch; the thread pool.
///
/// Shapes are not here: `lower` captured them. Inputs and outputs never overlap, except where the
/// kernel offered `inPlace`.
public struct KernelCall: ~Copyable {
  /// Addresses of inputs then outputs. An output of data-dependent size has the memory of its
  /// upper bound (`Kernel.bounds`).
  public let arguments: UnsafePointer<UnsafeMutableRawPointer>
  /// How many of the arguments are inputs.
  public let inputCount: Int
  /// Scratch memory of the size the kernel asked for.
  public let scratch: UnsafeMutableRawPointer
  /// The threads to run on.
  public let pool: ThreadPool
  /// Values that are not plain memory (strings, lists) and sizes found only while running.
  public let objects: RunObjects
  /// First entry of this call in `objects`: input i is `objectBase + i`, then outputs.
  public let objectBase: Int

  /// A call over prepared arguments.
  public init(
    arguments: UnsafePointer<UnsafeMutableRawPointer>, inputCount: Int,
    scratch: UnsafeMutableRawPointer, pool: ThreadPool, objects: RunObjects, objectBase: Int
  ) {
    self.arguments = arguments
    self.inputCount = inputCount
    self.scratch = scratch
    self.pool = pool
    self.objects = objects
    self.objectBase = objectBase
  }

  /// The elements of input `index`.
  @inline(__always)
  public func input<Element>(_ index: Int, as _: Element.Type) -> UnsafePointer<Element> {
    UnsafePointer(UnsafeRawPointer(arguments[index]).assumingMemoryBound(to: Element.self))
  }

  /// The bytes of input `index`.
  @inline(__always)
  public func rawInput(_ index: Int) -> UnsafeRawPointer { UnsafeRawPointer(arguments[index]) }

  /// The elements of output `index`.
  @inline(__always)
  public func output<Element>(_ index: Int, as _: Element.Type) -> UnsafeMutablePointer<Element> {
    arguments[inputCount + index].assumingMemoryBound(to: Element.self)
  }

  /// The bytes of output `index`.
  @inline(__always)
  public func rawOutput(_ index: Int) -> UnsafeMutableRawPointer { arguments[inputCount + index] }

  /// The value of input `index` of a non-plain type (string: `Tensor`).
  public func objectInput(_ index: Int) -> (any Sendable)? { objects.inputs(objectBase + index) }

  /// Sets the value of output `index` of a non-plain type (string: `Tensor`), or the tensor of an
  /// output whose size only the data decide.
  public func setObject(_ value: any Sendable, output index: Int) {
    objects.setOutput(objectBase + inputCount + index, value)
  }

  /// Sets the shape of output `index`, whose size only the data decide. Sizes must stay within the
  /// bound that `lower` was given.
  public func setShape(_ shape: [Int], output index: Int) {
    objects.setShape(objectBase + inputCount + index, shape)
  }
}

/// Where kernels leave what is not plain memory. Owned by one run at a time.
open class RunObjects: @unchecked Sendable {
  /// An empty table.
  public init() {}
  /// The value at argument `index`.
  open func inputs(_ index: Int) -> (any Sendable)? { nil }
  /// Stores the value of argument `index`.
  open func setOutput(_ index: Int, _ value: any Sendable) {}
  /// Stores the shape of argument `index`.
  open func setShape(_ index: Int, _ shape: [Int]) {}
  /// The number of this run in its session, from 0: random ops draw anew with it.
  open var runIndex: UInt64 { 0 }
  /// The bytes that objects of a run may take.
  open var memoryLimit: Int { .max }
}

/// One variable's value in a session. Kernels capture it when they are lowered.
///
/// Access is ordered by the plan; in a session no other run goes on beside one that writes.
public final class VariableCell: @unchecked Sendable {
  /// The variable's name (container and shared_name resolved).
  public let name: String
  /// The element type.
  public let dtype: DType
  /// The value; nil until initialized. Its buffer belongs to the cell alone: `assign` copies.
  public private(set) var value: Tensor?
  /// Counts writes of a new buffer or shape, so that bound addresses can be refreshed.
  public private(set) var generation: UInt64 = 0

  /// An uninitialized variable.
  public init(name: String, dtype: DType) {
    self.name = name
    self.dtype = dtype
  }

  /// The value.
  /// - Throws: FailedPrecondition when the variable has none yet.
  public func read() throws(WeftError) -> Tensor {
    guard let value else {
      throw WeftError(
        .failedPrecondition, "variable \(name) is read before it has a value", category: .run,
        hint: "run the initializers first (`--init auto`), or restore a checkpoint")
    }
    return value
  }

  /// Sets the value from bytes, reusing the buffer when the shape stays.
  public func assign(_ source: UnsafeRawPointer, shape: [Int]) throws(WeftError) {
    if let value, value.shape == shape {
      if value.byteCount > 0 && UnsafeRawPointer(value.buffer.base) != source {
        value.buffer.base.copyMemory(from: source, byteCount: value.byteCount)
      }
      return
    }
    let bytes = try Tensor.byteCount(dtype: dtype, shape: shape)
    let buffer = try Buffer(byteCount: bytes)
    if bytes > 0 { buffer.base.copyMemory(from: source, byteCount: bytes) }
    value = try Tensor(dtype: dtype, shape: shape, buffer: buffer)
    generation &+= 1
  }

  /// Sets the value to a copy of `tensor`.
  public func assign(_ tensor: Tensor) throws(WeftError) {
    if dtype == .string {
      value = tensor
      generation &+= 1
    } else {
      try assign(tensor.buffer.base, shape: tensor.shape)
    }
  }

  /// Forgets the value.
  public func clear() {
    value = nil
    generation &+= 1
  }
}

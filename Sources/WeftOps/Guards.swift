// Ops that check or show values: Assert, Print, CheckNumerics, EnsureShape.

internal import Synchronization
public import WeftGraph
internal import WeftKernels
public import WeftTensors

#if canImport(Glibc)
  internal import Glibc
#elseif canImport(Darwin)
  internal import Darwin
#endif

/// A tensor's first elements as TensorFlow shows them: `1 2 3...`, `[1 2][3 4]`.
func summarized(_ tensor: Tensor, limit: Int) -> String {
  let total = tensor.count
  let most = limit < 0 ? total : min(limit, total)
  func short(_ number: Double) -> String {
    if number.isNaN { return "nan" }
    if number.isInfinite { return number < 0 ? "-inf" : "inf" }
    if number == number.rounded(), abs(number) < 1e15 { return "\(Int(number))" }
    return tensor.dtype == .float64 ? "\(number)" : "\(Float(number))"
  }
  let integers = tensor.dtype == .float32 || tensor.dtype == .float64 ? nil : tensor.integers
  let doubles = integers == nil ? tensor.doubles : nil
  func element(_ i: Int) -> String {
    if tensor.dtype == .string { return String(decoding: tensor.strings[i], as: UTF8.self) }
    if tensor.dtype == .bool { return integers?[i] == 0 ? "0" : "1" }
    if let integers { return "\(integers[i])" }
    if let doubles { return short(doubles[i]) }
    return "?"
  }
  var shown = 0
  func text(_ depth: Int, _ offset: Int) -> String {
    if depth == tensor.shape.count {
      shown += 1
      return element(offset)
    }
    let inner = tensor.shape[(depth + 1)...].reduce(1, *)
    var parts = ""
    for i in 0..<tensor.shape[depth] {
      if shown >= most { return parts + "..." }
      if depth == tensor.shape.count - 1 {
        parts += (i == 0 ? "" : " ") + text(depth + 1, offset + i * inner)
      } else {
        parts += "[" + text(depth + 1, offset + i * inner) + "]"
      }
    }
    return parts
  }
  return text(0, 0)
}

/// Writes text to the standard error stream.
func writeToStandardError(_ text: String) {
  var bytes = Array(text.utf8)
  bytes.withUnsafeMutableBytes { memory in
    var rest = memory[...]
    while let start = UnsafeMutableRawBufferPointer(rebasing: rest).baseAddress, !rest.isEmpty {
      let written = write(2, start, rest.count)
      if written <= 0 { return }
      rest = rest.dropFirst(written)
    }
  }
}

enum GuardRows {
  // Inputs `from...` of a call as tensors, for showing them.
  private static func values(
    _ call: borrowing KernelCall, _ types: [(dtype: DType, shape: [Int])], from: Int
  ) throws -> [Tensor] {
    var all: [Tensor] = []
    for index in from..<types.count {
      let (dtype, shape) = types[index]
      if dtype == .string {
        all.append(try stringInput(call, index))
      } else {
        let source = call.rawInput(index)
        all.append(
          try Tensor(dtype: dtype, shape: shape) { memory throws(WeftError) in
            if memory.count > 0 {
              memory.copyMemory(from: UnsafeRawBufferPointer(start: source, count: memory.count))
            }
          })
      }
    }
    return all
  }

  private static func types(_ ctx: LowerContext) throws -> [(dtype: DType, shape: [Int])] {
    for input in ctx.inputs where !input.dtype.isPlain && input.dtype != .string {
      throw ctx.unsupported(input.dtype)
    }
    return ctx.inputs.indices.map { (ctx.dtype($0), ctx.shape($0)) }
  }

  static let assert = OpDef(
    "Assert", "condition: bool, data: T -> ", "T: list(type) >= 1; summarize: int = 3",
    summary: "Nothing; an error that shows `data` when the condition is false.",
    traits: [.stateful],
    infer: { ctx in
      if let count = ctx.shape(0).count, count != 1 {
        throw ctx.error("needs one condition, got shape \(ctx.shape(0))")
      }
      return []
    },
    gradient: .zero,
    lowering: .kernel { ctx in
      let limit = try ctx.attrs.int("summarize")
      let inputs = try types(ctx)
      return Kernel("assert") { call in
        if call.input(0, as: Bool.self).pointee { return }
        let parts = try values(call, inputs, from: 1).map { "[\(summarized($0, limit: limit))]" }
        throw WeftError(
          .invalidArgument, "assertion failed: " + parts.joined(separator: " "), category: .run)
      }
    })

  static let print = OpDef(
    "Print", "input: T, data: U -> output: T",
    "T: type; U: list(type) >= 0; message: string = ''; first_n: int = -1; summarize: int = 3",
    summary: "Its input; shows `data` on the error stream.", traits: [.stateful],
    infer: { ctx in [ctx.shape(0)] },
    gradient: .rule { g in
      [g.gradients[0]] + Array(repeating: nil, count: g.inputCount - 1)
    },
    lowering: .kernel { ctx in
      let limit = try ctx.attrs.int("summarize")
      let first = try ctx.attrs.int("first_n")
      let message = try ctx.attrs.string("message")
      let inputs = try types(ctx)
      let bytes = ctx.count(0) * ctx.dtype(0).byteSize
      let isString = ctx.dtype(0) == .string
      let counter = Counter()
      return Kernel("print", inPlace: isString ? [] : [[0]]) { call in
        if isString {
          call.setObject(try stringInput(call, 0), output: 0)
        } else {
          call.rawOutput(0).copyMemory(from: call.rawInput(0), byteCount: bytes)
        }
        if first >= 0, counter.next() >= first { return }
        let parts = try values(call, inputs, from: 1).map { "[\(summarized($0, limit: limit))]" }
        writeToStandardError(message + parts.joined() + "\n")
      }
    })

  static let printV2 = OpDef(
    "PrintV2", "input: string -> ", "output_stream: string = 'stderr'; end: string = '\n'",
    summary: "Nothing; shows a text on the error stream.", traits: [.stateful],
    infer: { _ in [] }, gradient: .zero,
    lowering: .kernel { ctx in
      // Whatever stream is named: a graph writes to no file.
      let end = try ctx.attrs.string("end")
      return Kernel("print") { call in
        for text in try stringInput(call, 0).strings {
          writeToStandardError(String(decoding: text, as: UTF8.self) + end)
        }
      }
    })

  private static func check<Element: BinaryFloatingPoint & TensorElement>(
    _: Element.Type, _ ctx: LowerContext, _ message: String
  ) -> Kernel {
    let count = ctx.count(0)
    return Kernel(ctx.kernelName("checkNumerics", Element.dtype), inPlace: [[0]]) { call in
      let x = call.input(0, as: Element.self)
      let y = call.output(0, as: Element.self)
      var isBad = false
      for i in 0..<count {
        isBad = isBad || !x[i].isFinite
        y[i] = x[i]
      }
      if isBad {
        try fail(
          message, nan: (0..<count).contains { y[$0].isNaN },
          infinite: (0..<count).contains { y[$0].isInfinite })
      }
    }
  }

  private static func fail(_ message: String, nan: Bool, infinite: Bool) throws {
    let what = nan && infinite ? "Inf and NaN" : nan ? "NaN" : "Inf"
    throw WeftError(
      .invalidArgument, "\(message) : Tensor had \(what) values", category: .run)
  }

  private static func checkRow(_ name: String) -> OpDef {
    OpDef(
      name, "tensor: T -> output: T", "T: {bfloat16, half, float, double}; message: string",
      summary: "Its input; an error when it holds NaN or infinity.", traits: [.stateful],
      infer: { ctx in [ctx.shape(0)] },
      gradient: .rule { g in
        let text = "Not a number (NaN) or infinity (Inf) values detected in gradient."
        let dx = try g.graph.output(
          g.node.op, inputs: [try g.gradient()],
          attrs: ["message": .string("\(text) \(try g.attrs.string("message"))")])
        return [.dense(dx)]
      },
      lowering: .kernel { ctx in
        let message = try ctx.attrs.string("message")
        switch ctx.dtype(0) {
        case .float32: return check(Float.self, ctx, message)
        case .float64: return check(Double.self, ctx, message)
        #if !(os(macOS) && arch(x86_64))
          case .float16: return check(Float16.self, ctx, message)
        #endif
        case .bfloat16:
          let count = ctx.count(0)
          return Kernel("checkNumericsBfloat16", inPlace: [[0]]) { call in
            let x = call.input(0, as: BFloat16.self)
            let y = call.output(0, as: BFloat16.self)
            var (nan, infinite) = (false, false)
            for i in 0..<count {
              nan = nan || x[i].float.isNaN
              infinite = infinite || x[i].float.isInfinite
              y[i] = x[i]
            }
            if nan || infinite { try fail(message, nan: nan, infinite: infinite) }
          }
        default: throw ctx.unsupported(ctx.dtype(0))
        }
      })
  }
  static let checkNumerics = checkRow("CheckNumerics")
  static let checkNumericsV2 = checkRow("CheckNumericsV2")

  static let ensureShape = OpDef(
    "EnsureShape", "input: T -> output: T", "shape: shape; T: type",
    summary: "Its input; an error when its shape does not fit.", traits: [.view],
    infer: { ctx in
      let wanted = try ctx.attrs.shape("shape")
      guard let merged = ctx.shape(0).merged(with: wanted) else {
        throw ctx.error(
          "shape of tensor \(ctx.shape(0)) is not compatible with expected shape \(wanted)")
      }
      return [merged]
    },
    value: { ctx in ctx.smallValue() },
    gradient: .rule { g in [g.gradients[0]] }, lowering: .kernel { _ in .alias() })

  static let all = [assert, print, printV2, checkNumerics, checkNumericsV2, ensureShape]
}

// Counts the lines a Print has shown.
private final class Counter: Sendable {
  private let count = Atomic<Int>(0)
  func next() -> Int { count.wrappingAdd(1, ordering: .relaxed).oldValue }
}

/// A node that fails the run, showing `data`, when the scalar `condition` is false. TensorFlow's
/// Assert.
@discardableResult
public func assertTrue(
  _ condition: Output, data: [Output], summarize: Int = 3, name: String? = nil,
  file: StaticString = #fileID, line: UInt = #line
) throws -> Node {
  try condition.graph.add(
    GuardRows.assert.name, name: name, inputs: [condition] + data,
    attrs: ["summarize": .int(Int64(summarize))], file: file, line: line)
}

/// `x`; shows `data` after `message` on the error stream in each run. TensorFlow's Print.
public func printing(
  _ x: Output, data: [Output], message: String = "", summarize: Int = 3, name: String? = nil,
  file: StaticString = #fileID, line: UInt = #line
) throws -> Output {
  try x.graph.output(
    GuardRows.print.name, name: name, inputs: [x] + data,
    attrs: ["message": .string(message), "summarize": .int(Int64(summarize))], file: file,
    line: line)
}

/// `x`; fails the run when it holds NaN or infinity. TensorFlow's CheckNumerics.
public func checkNumerics(
  _ x: Output, message: String, name: String? = nil, file: StaticString = #fileID,
  line: UInt = #line
) throws -> Output {
  try x.graph.output(
    GuardRows.checkNumerics.name, name: name, inputs: [x], attrs: ["message": .string(message)],
    file: file, line: line)
}

extension Output {
  /// The same value, whose shape must be `shape`; fails the run when it is not. TensorFlow's
  /// EnsureShape.
  public func ensuringShape(
    _ shape: Shape, name: String? = nil, file: StaticString = #fileID, line: UInt = #line
  ) throws -> Output {
    try graph.output(
      GuardRows.ensureShape.name, name: name, inputs: [self], attrs: ["shape": .shape(shape)],
      file: file, line: line)
  }
}

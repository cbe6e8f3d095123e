// VALUE of --inputs NAME=VALUE: an array file or a literal.

import Weft

/// What is to be fed, before it is known to which type.
enum InputValue {
  case tensor(Tensor)
  case literal(Literal)

  /// `file.npy`, `file.npz[key]`, `file.npz` (its key is `name`), or a literal.
  init(_ text: String, name: String) throws {
    if text.hasSuffix(".npy") {
      self = .tensor(try NumPyFile.read(text))
    } else if text.hasSuffix(".npz") {
      self = .tensor(try NumPyFile.readArchive(text, key: name))
    } else if text.hasSuffix("]"), let bracket = text.range(of: ".npz[") {
      let path = String(text[..<bracket.upperBound].dropLast())
      self = .tensor(
        try NumPyFile.readArchive(path, key: String(text[bracket.upperBound...].dropLast())))
    } else {
      do {
        self = .literal(try Literal(text))
      } catch {
        throw error.adding("input", name)
      }
    }
  }

  /// The value as a tensor of `dtype`; arrays of files keep their type, which must be right.
  func tensor(_ dtype: DType, name: String) throws(WeftError) -> Tensor {
    switch self {
    case .tensor(let tensor): return tensor
    case .literal(let literal):
      do {
        return try literal.tensor(dtype)
      } catch {
        throw error.adding("input", name)
      }
    }
  }

  /// Splits `NAME=VALUE`; a name holds no `=`.
  static func split(_ argument: String) throws(WeftError) -> (name: String, value: String) {
    guard let equals = argument.firstIndex(of: "="), equals != argument.startIndex else {
      throw WeftError(
        .invalidArgument, "'\(argument)' is not NAME=VALUE", category: .usage,
        hint: "such as --inputs x=data.npy or --inputs x=[1,2,3]")
    }
    return (String(argument[..<equals]), String(argument[argument.index(after: equals)...]))
  }
}

extension String {
  // FoundationEssentials has no range(of:) on strings; this is all that is needed of it.
  fileprivate func range(of part: String) -> Range<String.Index>? {
    var start = startIndex
    while start < endIndex {
      if self[start...].hasPrefix(part) { return start..<index(start, offsetBy: part.count) }
      start = index(after: start)
    }
    return nil
  }
}

/// An array given for all steps, or one slice for each.
struct SteppedInput {
  var edge: Edge
  var tensor: Tensor
  var isSliced: Bool

  /// With `--steps`, an array with one axis more than `wanted` holds a slice for each step.
  init(_ tensor: Tensor, for edge: Edge, wanted: TensorType, hasSteps: Bool, name: String)
    throws(WeftError)
  {
    self.edge = edge
    self.tensor = tensor
    isSliced = false
    guard hasSteps, let rank = wanted.shape.rank, tensor.shape.count == rank + 1 else { return }
    guard tensor.shape[0] > 0 else {
      throw WeftError(.invalidArgument, "the array for '\(name)' holds no slice")
    }
    isSliced = true
  }

  /// The value of one step: slice `step` modulo their number.
  func value(_ step: Int) throws(WeftError) -> Tensor {
    isSliced ? try tensor.slice(step % tensor.shape[0]) : tensor
  }
}

extension Tensor {
  /// The elements at `index` of axis 0, as a tensor of one axis less.
  func slice(_ index: Int) throws(WeftError) -> Tensor {
    let inner = Array(shape.dropFirst())
    let count = inner.reduce(1, *)
    if dtype == .string {
      return try Tensor(
        strings: Array(strings[(index * count)..<((index + 1) * count)]), shape: inner)
    }
    let size = count * dtype.byteSize
    return try Tensor(dtype: dtype, shape: inner) { memory throws(WeftError) in
      memory.copyMemory(
        from: UnsafeRawBufferPointer(rebasing: bytes[(index * size)..<((index + 1) * size)]))
    }
  }

  /// Tensors of one type and shape under a new axis 0.
  static func stacked(_ parts: [Tensor]) throws(WeftError) -> Tensor {
    guard let first = parts.first else { return try Tensor(zeros: .float32, shape: [0]) }
    if let other = parts.first(where: { $0.shape != first.shape || $0.dtype != first.dtype }) {
      throw WeftError(
        .invalidArgument,
        "steps give different shapes, \(first.shape) and \(other.shape): they make no one array",
        category: .run)
    }
    let shape = [parts.count] + first.shape
    if first.dtype == .string {
      return try Tensor(strings: parts.flatMap(\.strings), shape: shape)
    }
    return try Tensor(dtype: first.dtype, shape: shape) { memory throws(WeftError) in
      var at = 0
      for part in parts where part.byteCount > 0 {
        UnsafeMutableRawBufferPointer(rebasing: memory[at..<(at + part.byteCount)])
          .copyMemory(from: part.bytes)
        at += part.byteCount
      }
    }
  }
}

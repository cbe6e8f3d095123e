// The objects behind handles that a run makes: tensor arrays and stacks of TensorFlow 1.

internal import WeftGraph
internal import WeftTensors

/// A TensorArray: slots for tensors, each written once and before it is read; its gradients by source.
///
/// Changed in place; flow edges order what reads and writes it.
final class ArrayValue: @unchecked Sendable {
  let dtype: DType
  var elementShape: Shape
  let isDynamic: Bool
  let clearsAfterRead: Bool
  let sameShapes: Bool
  /// Whether writes to one element add up.
  let isGradient: Bool
  /// Shapes of the array that a gradient belongs to, for zeros.
  private let shapes: [[Int]?]
  private var elements: [Tensor?]
  private var wasRead: [Bool]
  private var gradients: [String: ArrayValue] = [:]
  private var bytes = 0

  init(
    dtype: DType, elementShape: Shape, size: Int, isDynamic: Bool, clearsAfterRead: Bool,
    sameShapes: Bool, isGradient: Bool = false, shapes: [[Int]?] = []
  ) {
    self.dtype = dtype
    self.elementShape = elementShape
    self.isDynamic = isDynamic
    self.clearsAfterRead = clearsAfterRead
    self.sameShapes = sameShapes
    self.isGradient = isGradient
    self.shapes = shapes
    elements = Array(repeating: nil, count: size)
    wasRead = Array(repeating: false, count: size)
    wasWritten = Array(repeating: nil, count: size)
  }

  /// The shape of each element that was ever written.
  private var wasWritten: [[Int]?]

  var count: Int { elements.count }

  private func check(_ tensor: Tensor, _ failure: OpFailure) throws {
    guard tensor.dtype == dtype else {
      throw failure("takes \(dtype.name) elements, the value is \(tensor.dtype.name)")
    }
    guard let merged = elementShape.merged(with: Shape(tensor.shape)) else {
      throw failure("takes elements of shape \(elementShape), the value has \(tensor.shape)")
    }
    if sameShapes { elementShape = merged }
  }

  private func grow(to size: Int, _ failure: OpFailure) throws {
    guard size > elements.count else { return }
    guard isDynamic else {
      throw failure("index \(size - 1) is not in an array of size \(elements.count)")
    }
    guard size <= ListValue.countLimit else {
      throw failure("index \(size - 1) is beyond what an array may hold")
    }
    let more = size - elements.count
    elements += Array(repeating: nil, count: more)
    wasRead += Array(repeating: false, count: more)
    wasWritten += Array(repeating: nil, count: more)
  }

  func write(
    _ index: Int, _ tensor: Tensor, _ call: borrowing KernelCall, _ failure: OpFailure
  ) throws {
    guard index >= 0 else { throw failure("index \(index) is negative") }
    try grow(to: index + 1, failure)
    try check(tensor, failure)
    guard !wasRead[index] else { throw failure("writes index \(index), which has been read") }
    if let old = elements[index] {
      guard isGradient else { throw failure("writes index \(index), which is written already") }
      elements[index] = try ListArithmetic.add(old, tensor, call.pool, failure)
      return
    }
    bytes += storedBytes(tensor)
    try call.objects.checkRoom(bytes, failure.op)
    elements[index] = tensor
    wasWritten[index] = tensor.shape
  }

  /// The element at `index`. One that was not written is zeros when its shape is known: from the
  /// array, from what its gradient belongs to, or as the reader says in `stated`.
  func read(_ index: Int, stated: Shape = .unknown, _ failure: OpFailure) throws -> Tensor {
    guard index >= 0, index < elements.count else {
      throw failure("index \(index) is not in an array of size \(elements.count)")
    }
    if clearsAfterRead, wasRead[index] {
      throw failure(
        "reads index \(index) twice: it was cleared after the first read (clear_after_read)")
    }
    guard let tensor = elements[index] else {
      let known = shapes.indices.contains(index) ? shapes[index] : nil
      guard let sizes = known ?? elementShape.merged(with: stated)?.known else {
        throw failure(
          "reads index \(index), which was not written; it would be zeros if element_shape said "
            + "which shape they have")
      }
      let zeros = try Tensor.zeros(dtype, sizes)
      wasRead[index] = true
      return zeros
    }
    wasRead[index] = true
    if clearsAfterRead {
      elements[index] = nil
      bytes -= storedBytes(tensor)
    }
    return tensor
  }

  /// The gradient array called `source`, made when it is first asked for.
  func gradient(_ source: String) -> ArrayValue {
    if let found = gradients[source] { return found }
    let fresh = ArrayValue(
      dtype: dtype, elementShape: elementShape, size: elements.count, isDynamic: false,
      clearsAfterRead: clearsAfterRead, sameShapes: sameShapes, isGradient: true,
      shapes: wasWritten)
    gradients[source] = fresh
    return fresh
  }
}

/// A stack: what TensorFlow 1 keeps for the gradients of loops.
final class StackValue: @unchecked Sendable {
  let dtype: DType
  let limit: Int
  private var elements: [any Sendable] = []
  private var bytes = 0

  init(dtype: DType, limit: Int) {
    self.dtype = dtype
    self.limit = limit
  }

  func push(
    _ element: any Sendable, _ call: borrowing KernelCall, _ failure: OpFailure
  ) throws {
    guard limit < 0 || elements.count < limit else {
      throw failure("finds the stack full: it may hold \(limit) elements")
    }
    bytes += storedBytes(element)
    try call.objects.checkRoom(bytes, failure.op)
    elements.append(element)
  }

  func pop(_ failure: OpFailure) throws -> any Sendable {
    guard let last = elements.popLast() else { throw failure("finds the stack empty") }
    bytes -= storedBytes(last)
    return last
  }
}

// The value that a tensor list is: immutable for whoever holds it, cheap to extend at its end.

internal import WeftGraph
package import WeftTensors

/// What a place in the tables of a list takes.
private let placeBytes = 96
private let elementOverhead = Kernel.Storing.elementOverhead

/// About how much memory an element of a list or stack takes: its bytes, and those of the objects
/// and tables around them, which grow by doubling.
func storedBytes(_ element: (any Sendable)?) -> Int {
  guard let element else { return placeBytes }
  guard let tensor = element as? Tensor else { return elementOverhead }
  return tensor.dtype.isPlain
    ? tensor.byteCount + elementOverhead
    : tensor.strings.reduce(elementOverhead) { $0 + $1.count + 32 }
}

extension LowerContext {
  /// What a list takes for input `index` as its element.
  func storedBytes(_ index: Int) -> Int? {
    guard dtype(index).isPlain, let shape = inputs[index].shape.known,
      let bytes = try? Tensor.byteCount(dtype: dtype(index), shape: shape)
    else { return nil }
    return bytes + elementOverhead
  }

  /// What a list takes for `count` parts of input `index`.
  func storedBytes(partsOf index: Int, count: Int?) -> Int? {
    guard let whole = storedBytes(index), let rows = count else { return nil }
    let (bytes, overflow) = rows.multipliedReportingOverflow(by: elementOverhead)
    return overflow ? nil : whole - elementOverhead + bytes
  }

  /// Input `element` goes behind the others in the list or stack at input `list`.
  func pushing(_ element: Int, onto list: Int) -> Kernel.Storing {
    dtype(element) == .variant
      ? .addingList(of: element, into: list) : .pushing(storedBytes(element), onto: list)
  }

  /// What places of elements that are not set take, as many as input `index` says.
  func storedPlaces(_ index: Int) -> Int? {
    tensor(index)?.integers?.first.map {
      max(0, min($0, ListValue.countLimit)) * placeBytes
    }
  }

  /// What places up to the largest of the indices at input `index` take.
  func storedPlaces(upTo index: Int) -> Int? {
    guard let last = tensor(index)?.integers?.max() else { return nil }
    return (max(0, min(last, ListValue.countLimit)) + 1) * placeBytes
  }
}

/// A list of tensors of one element type: what a DT_VARIANT edge of the TensorList ops carries.
///
/// A value: setting or pushing gives another list. Lists that came from one another share their
/// elements: what is added to the newest is stamped with a version that the older do not see, so
/// a loop that fills or grows a list copies nothing.
package final class ListValue: @unchecked Sendable {
  private final class Storage {
    var elements: [(any Sendable)?]
    var stamps: [Int]
    var version = 0
    var bytes = 0

    init(elements: [(any Sendable)?]) {
      self.elements = elements
      stamps = Array(repeating: 0, count: elements.count)
    }
  }

  /// The element type.
  package let dtype: DType
  /// What every element's shape fits.
  package let elementShape: Shape
  /// The number of elements, set or not.
  package let count: Int
  private let storage: Storage
  private let version: Int

  /// More elements than this no list has.
  package static let countLimit = 1 << 24

  private init(_ dtype: DType, _ shape: Shape, _ count: Int, _ storage: Storage, _ version: Int) {
    self.dtype = dtype
    elementShape = shape
    self.count = count
    self.storage = storage
    self.version = version
  }

  /// A list of `elements`; nil is one that is not set.
  package convenience init(_ dtype: DType, _ shape: Shape, elements: [(any Sendable)?]) {
    let storage = Storage(elements: elements)
    for element in elements { storage.bytes += storedBytes(element) }
    self.init(dtype, shape, elements.count, storage, 0)
  }

  /// The element at `index`, which is in the list; nil when it is not set.
  package subscript(index: Int) -> (any Sendable)? {
    storage.stamps[index] <= version ? storage.elements[index] : nil
  }

  /// All elements.
  package var elements: [(any Sendable)?] {
    isNewest ? storage.elements : (0..<count).map { self[$0] }
  }

  /// About how much memory the elements take.
  package var bytes: Int { storage.bytes }

  private var isNewest: Bool {
    storage.version == version && storage.elements.count == count
  }

  /// The list with one more element.
  package func appending(_ element: any Sendable) -> ListValue {
    guard isNewest else {
      return ListValue(dtype, elementShape, elements: elements + [element])
    }
    storage.version += 1
    storage.elements.append(element)
    storage.stamps.append(storage.version)
    storage.bytes += storedBytes(element)
    return ListValue(dtype, elementShape, count + 1, storage, storage.version)
  }

  /// The list with another element at `index`, which is in it.
  package func setting(_ index: Int, _ element: any Sendable) -> ListValue {
    guard isNewest, storage.elements[index] == nil else {
      var all = elements
      all[index] = element
      return ListValue(dtype, elementShape, elements: all)
    }
    storage.version += 1
    storage.elements[index] = element
    storage.stamps[index] = storage.version
    storage.bytes += storedBytes(element)
    return ListValue(dtype, elementShape, count, storage, storage.version)
  }

  /// The list without its last element; it has one.
  package func droppingLast() -> ListValue {
    ListValue(dtype, elementShape, count - 1, storage, version)
  }

  /// The first elements, or with elements not set behind them.
  package func resized(to size: Int) -> ListValue {
    if size <= count { return ListValue(dtype, elementShape, size, storage, version) }
    return ListValue(
      dtype, elementShape, elements: elements + Array(repeating: nil, count: size - count))
  }

  /// The same elements under a shape that is known better.
  package func refined(_ shape: Shape) -> ListValue {
    ListValue(dtype, shape, count, storage, version)
  }
}

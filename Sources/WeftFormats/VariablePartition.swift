// Partitions: variables of a graph that are parts of what a checkpoint holds in one piece.

internal import OrderedCollections
internal import SwiftProtobuf
public import WeftGraph
public import WeftTensors

/// A variable that is one part of a partitioned variable.
public struct VariablePartition: Sendable, Hashable {
  /// The node that makes the variable.
  public var handle: String
  /// The name of the whole, which checkpoints know.
  public var fullName: String
  /// The shape of the whole.
  public var fullShape: [Int]
  private var box: TensorBox

  /// The partitions that a graph's collection of variables tells of, in its order.
  public static func all(of graph: GraphSnapshot) -> [VariablePartition] {
    guard let bytes = graph.passthrough[Carried.variables], !bytes.isEmpty,
      let collection = try? TFCollectionDef(serializedBytes: bytes),
      case .bytesList(let list) = collection.kind
    else { return [] }
    return list.value.compactMap { bytes in
      guard let message = try? TFVariableDef(serializedBytes: bytes), message.hasSaveSliceInfoDef
      else { return nil }
      let slice = message.saveSliceInfoDef
      let shape = slice.fullShape.map { Int($0) }
      guard !slice.fullName.isEmpty, shape.allSatisfy({ $0 >= 0 }),
        let box = TensorBox(
          starts: slice.varOffset.map { Int($0) }, lengths: slice.varShape.map { Int($0) },
          in: shape)
      else { return nil }
      let name = message.variableName
      return VariablePartition(
        handle: name.hasSuffix(":0") ? String(name.dropLast(2)) : name, fullName: slice.fullName,
        fullShape: shape, box: box)
    }
  }

  /// This part of the value of the whole.
  /// - Throws: InvalidArgument when the value has another shape than the whole.
  public func part(of value: Tensor) throws(WeftError) -> Tensor {
    guard value.shape == fullShape, value.dtype.isPlain else {
      throw WeftError(
        .invalidArgument,
        "'\(fullName)' is \(value.type) in the checkpoint, \(fullShape) in the graph"
      ).adding("part", handle)
    }
    let size = value.dtype.byteSize
    let source = value.bytes
    return try Tensor(dtype: value.dtype, shape: box.lengths) { memory throws(WeftError) in
      guard let to = memory.baseAddress, let from = source.baseAddress else { return }
      box.forEachRun(in: fullShape, elementSize: size) { whole, part, count in
        (to + part).copyMemory(from: from + whole, byteCount: count)
      }
    }
  }
}

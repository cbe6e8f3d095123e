// The collections of serialized VariableDefs, and the variable records of a graph.

internal import SwiftProtobuf
internal import WeftGraph

#if canImport(FoundationEssentials)
  internal import FoundationEssentials
#else
  internal import Foundation
#endif

/// Variable records as TensorFlow's `variables` and `trainable_variables` collections.
enum VariableCodec {
  /// The records of both collections; nil when they do not hold VariableDefs.
  static func records(
    variables: TFCollectionDef?, trainable: TFCollectionDef?
  ) -> [VariableRecord]? {
    guard let variables, let all = definitions(variables), !all.isEmpty else { return nil }
    var trainableNames: Set<String>?
    if let trainable {
      guard let some = definitions(trainable) else { return nil }
      trainableNames = Set(some.map(\.variableName))
    }
    return all.map { record($0, isTrainable: trainableNames?.contains($0.variableName)) }
  }

  private static func definitions(_ collection: TFCollectionDef) -> [TFVariableDef]? {
    guard case .bytesList(let list) = collection.kind else { return nil }
    var all: [TFVariableDef] = []
    for bytes in list.value {
      guard let definition = try? TFVariableDef(serializedBytes: bytes),
        !definition.variableName.isEmpty
      else { return nil }
      all.append(definition)
    }
    return all
  }

  private static func record(_ message: TFVariableDef, isTrainable: Bool?) -> VariableRecord {
    let name =
      message.variableName.hasSuffix(":0")
      ? String(message.variableName.dropLast(2)) : message.variableName
    return VariableRecord(
      name: name, handle: name, initializer: message.initializerName,
      initialValue: message.initialValueName, snapshot: message.snapshotName,
      isResource: message.isResource, isTrainable: isTrainable ?? message.trainable)
  }

  private static func definition(_ record: VariableRecord) -> TFVariableDef {
    TFVariableDef.with {
      $0.variableName = record.handle.contains(":") ? record.handle : record.handle + ":0"
      $0.initializerName = record.initializer
      $0.initialValueName = record.initialValue
      $0.snapshotName = record.snapshot
      $0.isResource = record.isResource
      $0.trainable = record.isTrainable
    }
  }

  /// The collection of all records, or of the trainable ones. Where `kept`, the file's own
  /// collection, already says the same of a variable, its bytes and its place stay.
  static func collection(
    _ records: [VariableRecord], trainable: Bool, kept: TFCollectionDef?
  ) throws(FormatError) -> TFCollectionDef {
    let wanted = trainable ? records.filter(\.isTrainable) : records
    var rest: [String: VariableRecord] = [:]
    for record in wanted { rest[record.handle] = record }
    var values: [Data] = []
    if let kept, case .bytesList(let list) = kept.kind {
      for bytes in list.value {
        guard let message = try? TFVariableDef(serializedBytes: bytes) else { continue }
        let stated = record(message, isTrainable: nil)
        guard let record = rest[stated.handle] else { continue }
        var same = stated
        same.isTrainable = record.isTrainable
        same.name = record.name
        guard same == record else { continue }
        values.append(bytes)
        rest[record.handle] = nil
      }
    }
    for record in wanted where rest[record.handle] != nil {
      values.append(Data(try definition(record).stableBytes()))
    }
    return TFCollectionDef.with { collection in
      collection.bytesList = TFCollectionDef.BytesList.with { $0.value = values }
    }
  }
}

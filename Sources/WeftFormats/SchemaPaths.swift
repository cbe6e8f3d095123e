// Which message lies under which key: enough to find where in a text the decoder lost its way.

internal import SwiftProtobuf

/// What lies under a key of a message.
enum SchemaField {
  /// A message.
  case one(any Message.Type)
  /// A list of messages.
  case list(any Message.Type)
  /// Messages by key.
  case map(any Message.Type)

  /// The messages under the keys (in lowerCamelCase) of `type`. Messages that are not listed are
  /// not looked into: an error inside them is reported at their own key.
  static func fields(of type: any Message.Type) -> [String: SchemaField] {
    switch ObjectIdentifier(type) {
    case ObjectIdentifier(TFSavedModel.self):
      ["metaGraphs": .list(TFMetaGraphDef.self)]
    case ObjectIdentifier(TFMetaGraphDef.self):
      [
        "metaInfoDef": .one(TFMetaGraphDef.MetaInfoDef.self), "graphDef": .one(TFGraphDef.self),
        "saverDef": .one(TFSaverDef.self), "collectionDef": .map(TFCollectionDef.self),
        "signatureDef": .map(TFSignatureDef.self), "assetFileDef": .list(TFAssetFileDef.self),
        "objectGraphDef": .one(TFSavedObjectGraph.self),
      ]
    case ObjectIdentifier(TFMetaGraphDef.MetaInfoDef.self):
      ["strippedOpList": .one(TFOpList.self)]
    case ObjectIdentifier(TFOpList.self):
      ["op": .list(TFOpDef.self)]
    case ObjectIdentifier(TFOpDef.self):
      [
        "inputArg": .list(TFOpDef.ArgDef.self), "outputArg": .list(TFOpDef.ArgDef.self),
        "attr": .list(TFOpDef.AttrDef.self),
      ]
    case ObjectIdentifier(TFOpDef.AttrDef.self):
      ["defaultValue": .one(TFAttrValue.self), "allowedValues": .one(TFAttrValue.self)]
    case ObjectIdentifier(TFGraphDef.self):
      [
        "node": .list(TFNodeDef.self), "library": .one(TFFunctionDefLibrary.self),
        "versions": .one(TFVersionDef.self), "debugInfo": .one(TFGraphDebugInfo.self),
      ]
    case ObjectIdentifier(TFFunctionDefLibrary.self):
      ["function": .list(TFFunctionDef.self), "gradient": .list(TFGradientDef.self)]
    case ObjectIdentifier(TFFunctionDef.self):
      [
        "signature": .one(TFOpDef.self), "attr": .map(TFAttrValue.self),
        "nodeDef": .list(TFNodeDef.self), "argAttr": .map(TFFunctionDef.ArgAttrs.self),
      ]
    case ObjectIdentifier(TFNodeDef.self), ObjectIdentifier(TFFunctionDef.ArgAttrs.self),
      ObjectIdentifier(TFNameAttrList.self):
      ["attr": .map(TFAttrValue.self)]
    case ObjectIdentifier(TFAttrValue.self):
      [
        "tensor": .one(TFTensorProto.self), "shape": .one(TFTensorShapeProto.self),
        "list": .one(TFAttrValue.ListValue.self), "func": .one(TFNameAttrList.self),
      ]
    case ObjectIdentifier(TFAttrValue.ListValue.self):
      [
        "tensor": .list(TFTensorProto.self), "shape": .list(TFTensorShapeProto.self),
        "func": .list(TFNameAttrList.self),
      ]
    case ObjectIdentifier(TFTensorProto.self):
      ["tensorShape": .one(TFTensorShapeProto.self)]
    case ObjectIdentifier(TFTensorShapeProto.self):
      ["dim": .list(TFTensorShapeProto.Dim.self)]
    case ObjectIdentifier(TFSignatureDef.self):
      [
        "inputs": .map(TFTensorInfo.self), "outputs": .map(TFTensorInfo.self),
        "defaults": .map(TFTensorProto.self),
      ]
    case ObjectIdentifier(TFTensorInfo.self):
      ["tensorShape": .one(TFTensorShapeProto.self)]
    default: [:]
    }
  }

  /// Fields, in lowerCamelCase, whose values are maps: keys there are data.
  static let mapNames: Set<String> = [
    "argAttr", "attr", "collectionDef", "concreteFunctions", "controlRet", "defaults",
    "externalValues", "fields", "framesById", "functionAliases", "inputs", "nameToTraceId",
    "outputs", "resourceArgUniqueId", "ret", "saveableObjects", "signatureDef", "traces",
    "tracesById",
  ]

  /// Whether two quoted keys name one field: JSON may spell it in either case.
  static func sameName(_ left: ArraySlice<UInt8>, _ right: ArraySlice<UInt8>) -> Bool {
    let underscore = UInt8(ascii: "_")
    guard left.contains(underscore) || right.contains(underscore) else { return false }
    return lowerCamelCase(JSONText.string(left)) == lowerCamelCase(JSONText.string(right))
  }

  /// `tensor_shape` as `tensorShape`.
  static func lowerCamelCase(_ name: String) -> String {
    guard name.contains("_") else { return name }
    var out = ""
    var raise = false
    for character in name {
      if character == "_" {
        raise = true
      } else {
        out += raise ? character.uppercased() : String(character)
        raise = false
      }
    }
    return out
  }
}

// The function library: from messages to functions, and functions made here back to messages.

internal import OrderedCollections
internal import SwiftProtobuf
internal import WeftGraph
internal import WeftTensors

/// Reads functions.
struct FunctionReader {
  /// How the nodes of a body are read.
  let spec: (TFNodeDef, String) throws(FormatError) -> NodeSpec

  /// The functions of a library, by name; of two with one name the first counts.
  func functions(
    _ library: TFFunctionDefLibrary, path: String
  ) throws(FormatError) -> OrderedDictionary<String, GraphFunction> {
    var all: OrderedDictionary<String, GraphFunction> = [:]
    for (index, message) in library.function.enumerated() {
      let function = try function(message, path: "\(path).function[\(index)]")
      if all[function.name] == nil { all[function.name] = function }
    }
    return all
  }

  private func function(
    _ message: TFFunctionDef, path: String
  ) throws(FormatError) -> GraphFunction {
    let signature = message.signature
    var nodes: [NodeSpec] = []
    nodes.reserveCapacity(message.nodeDef.count)
    for (index, node) in message.nodeDef.enumerated() {
      nodes.append(try spec(node, "\(path).nodeDef[\(index)]"))
    }
    var attrs: [String: AttrValue] = [:]
    var reader = AttrReader()
    for attr in signature.attr where attr.hasDefaultValue {
      attrs[attr.name] = try reader.value(attr.defaultValue, path: path + ".signature").value
    }
    return GraphFunction(
      name: signature.name, inputs: signature.inputArg.map(Self.argument),
      outputs: signature.outputArg.map(Self.argument),
      results: signature.outputArg.map { message.ret[$0.name] ?? $0.name },
      controls: message.controlRet.sorted { $0.key < $1.key }.map(\.value), nodes: nodes,
      isStateful: signature.isStateful, attrs: attrs, path: path, isCarried: true)
  }

  private static func argument(_ message: TFOpDef.ArgDef) -> FunctionArgument {
    FunctionArgument(
      message.name, TensorReader.dtype(message.type) ?? .invalid, typeAttr: message.typeAttr,
      isList: !message.numberAttr.isEmpty || !message.typeListAttr.isEmpty)
  }
}

/// Writes functions.
enum FunctionWriter {
  /// The file's own library with the functions that were made since.
  static func library(
    _ carried: TFFunctionDefLibrary?, adding functions: [GraphFunction]
  ) throws(FormatError) -> TFFunctionDefLibrary {
    var library = carried ?? TFFunctionDefLibrary()
    for function in functions { library.function.append(try message(function)) }
    return library
  }

  private static func message(_ function: GraphFunction) throws(FormatError) -> TFFunctionDef {
    var message = TFFunctionDef()
    message.signature.name = function.name
    message.signature.inputArg = function.inputs.map(argument)
    message.signature.outputArg = function.outputs.map(argument)
    message.signature.isStateful = function.isStateful
    message.signature.controlOutput = function.controls
    for (output, result) in zip(function.outputs, function.results) {
      message.ret[output.name] = result
    }
    for name in function.controls { message.controlRet[name] = name }
    for node in function.nodes {
      var copy = TFNodeDef()
      if !node.passthrough.isEmpty {
        do {
          copy = try TFNodeDef(serializedBytes: node.passthrough)
        } catch {
          throw FormatError(.invalid, "the node's carried bytes are no NodeDef")
        }
      }
      copy.name = node.name
      copy.op = node.op
      copy.device = node.device
      copy.input = node.inputs
      for (name, value) in node.attrs.sorted(by: { $0.key < $1.key }) {
        copy.attr[name] = try AttrWriter.message(value)
      }
      message.nodeDef.append(copy)
    }
    return message
  }

  private static func argument(_ argument: FunctionArgument) -> TFOpDef.ArgDef {
    var message = TFOpDef.ArgDef()
    message.name = argument.name
    message.type = AttrWriter.type(argument.dtype)
    return message
  }
}

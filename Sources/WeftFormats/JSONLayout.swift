// Lays out the JSON of a graph file: one node, one signature entry, one collection a line.

/// Where line breaks go. A container with a layout puts each of its items on a line of its own;
/// any other is written without spaces.
struct JSONLayout: Sendable {
  private final class Rule: Sendable {
    let byKey: [String: Rule]
    let other: Rule?
    init(_ byKey: [String: Rule] = [:], other: Rule? = nil) {
      self.byKey = byKey
      self.other = other
    }
  }

  private let root: Rule

  private static let lines = Rule()
  private static let graphRule = Rule([
    "node": lines,
    "library": Rule([
      "function": Rule(other: Rule(["nodeDef": lines])), "gradient": lines,
      "registeredGradients": lines,
    ]),
  ])
  private static let metaRule = Rule([
    "metaInfoDef": Rule(["strippedOpList": Rule(["op": lines])]),
    "graphDef": graphRule,
    "collectionDef": lines,
    "signatureDef": Rule(other: Rule(["inputs": lines, "outputs": lines])),
    "objectGraphDef": Rule(["nodes": lines, "concreteFunctions": lines]),
  ])

  /// For a GraphDef.
  static let graph = JSONLayout(root: graphRule)
  /// For a MetaGraphDef.
  static let metaGraph = JSONLayout(root: metaRule)
  /// For a SavedModel.
  static let savedModel = JSONLayout(root: Rule(["metaGraphs": Rule(other: metaRule)]))

  /// Lays out compact JSON as the protobuf library writes it (no spaces between tokens).
  ///
  /// The largest float is written with the digits of a double: TensorFlow's own reader, which goes
  /// through Python, refuses the shortest form as too large.
  func applied(to compact: [UInt8]) -> [UInt8] {
    var out: [UInt8] = []
    out.reserveCapacity(compact.count + compact.count / 16 + 64)
    var stack: [(rule: Rule?, isObject: Bool)] = []
    var key = ""
    var at = 0
    func breakLine() {
      out.append(0x0A)
      for frame in stack where frame.rule != nil { out.append(0x20) }
    }
    while at < compact.count {
      let byte = compact[at]
      switch byte {
      case UInt8(ascii: "\""):
        let end = JSONText.end(ofValueAt: at, in: compact)
        out.append(contentsOf: compact[at..<end])
        if end < compact.count, compact[end] == UInt8(ascii: ":") {
          key = JSONText.string(compact[at..<end])
          out.append(UInt8(ascii: ":"))
          if stack.last?.rule != nil { out.append(0x20) }
          at = end + 1
        } else {
          at = end
        }
        continue
      case UInt8(ascii: "{"), UInt8(ascii: "["):
        let parent = stack.last
        let rule =
          stack.isEmpty
          ? root
          : parent?.rule.flatMap { parent?.isObject == true ? $0.byKey[key] ?? $0.other : $0.other }
        let isEmpty = at + 1 < compact.count && compact[at + 1] == byte + 2
        stack.append((isEmpty ? nil : rule, byte == UInt8(ascii: "{")))
        out.append(byte)
        if stack.last?.rule != nil { breakLine() }
      case UInt8(ascii: "}"), UInt8(ascii: "]"):
        let spread = stack.popLast()?.rule != nil
        if spread { breakLine() }
        out.append(byte)
      case UInt8(ascii: ","):
        out.append(byte)
        if stack.last?.rule != nil { breakLine() }
      default:
        let end = Self.tokenEnd(at, in: compact)
        let token = compact[at..<end]
        if Self.floatMax.elementsEqual(token.drop { $0 == UInt8(ascii: "-") }),
          !Self.doubleKeys.contains(key)
        {
          out.append(contentsOf: token.prefix { $0 == UInt8(ascii: "-") })
          out.append(contentsOf: "3.4028234663852886e+38".utf8)
        } else {
          out.append(contentsOf: token)
        }
        at = end
        continue
      }
      at += 1
    }
    out.append(0x0A)
    return out
  }

  private static let floatMax = Array("\(Float.greatestFiniteMagnitude)".utf8)
  /// Fields of doubles: the same digits mean another number there.
  private static let doubleKeys: Set<String> = ["doubleVal", "dcomplexVal", "float64Value"]

  private static func tokenEnd(_ start: Int, in text: [UInt8]) -> Int {
    var at = start
    while at < text.count, text[at] != UInt8(ascii: ","), text[at] != UInt8(ascii: "}"),
      text[at] != UInt8(ascii: "]")
    { at += 1 }
    return max(at, start + 1)
  }
}

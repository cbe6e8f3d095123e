// What must hold of a working graph after every pass.

internal import WeftGraph
internal import WeftTensors

extension IR {
  /// Checks that what is live hangs together.
  /// - Throws: Internal that names the pass and the node at fault.
  func verify(after pass: String) throws {
    func fault(_ id: Int, _ message: String) -> any Error {
      locate(WeftError(.internal, "after pass '\(pass)': \(message)", category: .run), at: id)
    }
    for id in nodes.indices where live[id] {
      let node = nodes[id]
      guard node.handles.count == node.outputs.count else {
        throw fault(id, "handles and outputs differ in number")
      }
      for edge in node.inputs {
        guard nodes.indices.contains(edge.node), live[edge.node] else {
          throw fault(id, "an input comes from a node that is not there")
        }
        guard nodes[edge.node].outputs.indices.contains(edge.port) else {
          throw fault(id, "an input has no such output: \(nodes[edge.node].name):\(edge.port)")
        }
      }
      for source in node.controls where !nodes.indices.contains(source) || !live[source] {
        throw fault(id, "it waits for a node that is not there")
      }
      if case .constant(let value) = node.kind, node.outputs.first?.dtype != value.dtype {
        throw fault(id, "a constant has another type than its value")
      }
    }
    for edge in fetches where !live[edge.node] || edge.port >= nodes[edge.node].outputs.count {
      throw fault(edge.node, "a fetch is not there")
    }
    for target in targets where !live[target] { throw fault(target, "a target is not there") }
    let sequence = order()
    if sequence.count != liveCount {
      let done = Set(sequence)
      let stuck = nodes.indices.first { live[$0] && !done.contains($0) } ?? 0
      throw fault(stuck, "there is a cycle through this node")
    }
  }
}

// What a session holds stays within its memory limit.

import Testing
import WeftCompiler
import WeftFormats
import WeftGraph
import WeftOps
import WeftRuntime
import WeftTensors

struct MemoryLimitTests {
  // A million bins of however many integers are fed: 4 MB for every shape of the feed.
  private static let bins = #"""
    {"node":[
      {"name":"x","op":"Placeholder","attr":{"dtype":{"type":"DT_INT32"}}},
      {"name":"n","op":"Const","attr":{"dtype":{"type":"DT_INT32"},"value":{"tensor":{
        "dtype":"DT_INT32","tensorShape":{},"intVal":[1000000]}}}},
      {"name":"w","op":"Const","attr":{"dtype":{"type":"DT_INT32"},"value":{"tensor":{
        "dtype":"DT_INT32","tensorShape":{"dim":[{"size":"0"}]}}}}},
      {"name":"b","op":"Bincount","input":["x","n","w"],"attr":{"T":{"type":"DT_INT32"}}}]}
    """#

  @Test func plansForOtherFeedsGiveTheirMemoryBack() throws {
    let graph = try GraphFile.decode(Array(Self.bins.utf8), registry: .standard)
    var options = SessionOptions()
    options.compile.memoryLimit = 10_000_000
    let session = Session(graph, options: options)
    let (x, b) = (try session.graph.edge("x"), try session.graph.edge("b"))
    for count in [1, 2, 3, 4, 5, 1, 2] {
      let feed = try Tensor([Int32](repeating: 7, count: count), shape: [count])
      let bins = try session.run([b], feeds: [(x, feed)])
      #expect(bins[0].integers?[7] == count)
      #expect(session.heldBytes >= 4_000_000)
      #expect(session.heldBytes <= 10_000_000)
    }
  }
}

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
    let session = try session(of: Self.bins)
    let (x, b) = (try session.graph.edge("x"), try session.graph.edge("b"))
    for count in [1, 2, 3, 4, 5, 1, 2] {
      let feed = try Tensor([Int32](repeating: 7, count: count), shape: [count])
      let bins = try session.run([b], feeds: [(x, feed)])
      #expect(bins[0].integers?[7] == count)
      #expect(session.heldBytes >= 4_000_000)
      #expect(session.heldBytes <= 10_000_000)
    }
  }

  // Two counts of as many bins as are fed.
  private static let fed = #"""
    {"node":[
      {"name":"x","op":"Placeholder","attr":{"dtype":{"type":"DT_INT32"}}},
      {"name":"m","op":"Placeholder","attr":{"dtype":{"type":"DT_INT32"}}},
      {"name":"n","op":"Placeholder","attr":{"dtype":{"type":"DT_INT32"}}},
      {"name":"w","op":"Const","attr":{"dtype":{"type":"DT_INT32"},"value":{"tensor":{
        "dtype":"DT_INT32","tensorShape":{"dim":[{"size":"0"}]}}}}},
      {"name":"a","op":"Bincount","input":["x","m","w"],"attr":{"T":{"type":"DT_INT32"}}},
      {"name":"b","op":"Bincount","input":["x","n","w"],"attr":{"T":{"type":"DT_INT32"}}}]}
    """#

  private func session(of graph: String) throws -> Session {
    var options = SessionOptions()
    options.compile.memoryLimit = 10_000_000
    return Session(try GraphFile.decode(Array(graph.utf8), registry: .standard), options: options)
  }

  // Counts `ones` ones in `first` and in `second` bins.
  private func count(
    _ session: Session, ones: Int = 2, _ first: Int32, _ second: Int32
  ) throws -> [Tensor] {
    try session.run(
      ["a", "b"].map { try session.graph.edge($0) },
      feeds: [
        (session.graph.edge("x"), Tensor([Int32](repeating: 1, count: ones), shape: [ones])),
        (session.graph.edge("m"), Tensor(scalar: first)),
        (session.graph.edge("n"), Tensor(scalar: second)),
      ])
  }

  @Test func sizesThatRunsDecideCountAlso() throws {
    let session = try session(of: Self.fed)
    for ones in [1, 2, 3, 4, 5, 1, 2] {
      _ = try count(session, ones: ones, 500_000, 400_000)
      #expect(session.heldBytes >= 3_600_000)
      // The last run's own come on top: nobody knew them before.
      #expect(session.heldBytes <= 10_000_000 + 3_600_000)
    }
  }

  @Test func valuesOfAnEarlierRunLeaveRoom() throws {
    let session = try session(of: Self.fed)
    for (first, second) in [(1_000_000, 2), (2, 1_000_000), (1_000_000, 2)] as [(Int32, Int32)] {
      let bins = try count(session, first, second)
      #expect(bins.map { $0.integers?[1] } == [2, 2])
    }
    #expect(throws: WeftError.self) { try count(session, 1_000_000, 1_000_000) }
    #expect(try count(session, 2, 2).count == 2)
  }
}

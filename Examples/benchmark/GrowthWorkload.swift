// Workload E: how building and compiling grow with a graph; what a step costs beside its kernel.

import ArgumentParser
import Weft

struct GrowthWorkload: Workload {
  static let configuration = CommandConfiguration(
    commandName: "e", abstract: "Growth with the unrolled steps; cost of a kernel; threads.")

  @Option(parsing: .upToNextOption, help: "Numbers of unrolled steps.")
  var unrolled = [50, 500, 5000]

  @Option(help: "Timed training steps for the gain of threads.")
  var steps = 10

  @OptionGroup var common: CommonOptions

  func validate() throws {
    if steps < 1 { throw ValidationError("--steps takes a number from 1") }
    if unrolled.isEmpty || !unrolled.allSatisfy({ (1...100_000).contains($0) }) {
      throw ValidationError("--unrolled takes numbers from 1 to 100000")
    }
  }

  func measure() throws -> Report {
    var report = Report("e")
    // What a process does once only, such as sorting the ops, is no part of growth.
    let first = try TrainStep(.tiny(.rnn, steps: 4))
    _ = try Session(first.graph).plan(
      [first.loss.edge], feeds: first.feedTypes, targets: [first.train.id])
    var last: (count: Int, milliseconds: Double, nodes: Int)?
    for count in unrolled {
      let step = try TrainStep(.tiny(.rnn, steps: count))
      var options = SessionOptions(threads: common.width)
      let session = Session(step.graph, options: options)
      var plan = 0
      let compiling = try Resources.time {
        plan = try session.plan([step.loss.edge], feeds: step.feedTypes, targets: [step.train.id])
          .steps.count
      }
      // Without re-rolling, every unrolled step is a step of the plan.
      options.compile.disabled = ["reroll"]
      let flat = Session(step.graph, options: options)
      var flatPlan = 0
      let flatCompiling = try Resources.time {
        flatPlan = try flat.plan(
          [step.loss.edge], feeds: step.feedTypes, targets: [step.train.id]
        ).steps.count
      }
      let total = (step.forwardSeconds + step.gradientSeconds + compiling) * 1e3
      let name = "t\(count)_"
      report.add(name + "nodes", step.graph.nodes.count)
      report.add(name + "build_ms", step.forwardSeconds * 1e3)
      report.add(name + "gradients_ms", step.gradientSeconds * 1e3)
      report.add(name + "compile_ms", compiling * 1e3)
      report.add(name + "plan_steps", plan)
      report.add(name + "compile_without_reroll_ms", flatCompiling * 1e3)
      report.add(name + "plan_steps_without_reroll", flatPlan)
      if let last {
        // Twice the steps may take twice the time: 1 is linear growth.
        let factor = Double(count) / Double(last.count)
        report.add(name + "time_growth", total / last.milliseconds / factor, digits: 2)
        report.add(
          name + "node_growth", Double(step.graph.nodes.count) / Double(last.nodes) / factor,
          digits: 2)
      }
      last = (count, total, step.graph.nodes.count)
    }
    report.add("kernel_overhead_ns", try kernelOverhead() * 1e9, digits: 1)
    if common.width > 1 { try addThreads(to: &report) }
    report.addMachine(threads: common.width)
    return report
  }

  // The difference of a long and a short chain of additions of four numbers, by their difference
  // in length: what is left of the run's own cost falls out.
  private func kernelOverhead() throws -> Double {
    func chain(_ length: Int) throws -> () throws -> Double {
      let graph = Graph()
      let x = try graph.placeholder(.float32, shape: Shape([4]), name: "x")
      var value = x
      for _ in 0..<length { value = try value + x }
      var options = SessionOptions(threads: 1)
      options.compile.disabled = ["elementwise"]
      let session = Session(graph, options: options)
      let feeds = [try Tensor([Float](repeating: 1, count: 4))]
      let run = try session.prepare([value.edge], feeds: [(x.edge, feeds[0].type)])
      var results: [Tensor] = []
      try run.run(feeds, into: &results)
      return { try Resources.time { try run.run(feeds, into: &results) } }
    }
    let (short, long) = (1000, 3000)
    let (runShort, runLong) = (try chain(short), try chain(long))
    var differences: [Double] = []
    for _ in 0..<51 { differences.append(try runLong() - runShort()) }
    return Statistics.median(differences) / Double(long - short)
  }

  // One thread and all threads in turn, for the training step and for products alone.
  private func addThreads(to report: inout Report) throws {
    let step = try TrainStep(TrainSizes(.rnn, vocabulary: 7307))
    let feeds = try step.randomFeeds(1)[0]
    let runs = try [1, common.width].map { try step.prepare(threads: $0) }
    let pools = [ThreadPool(width: 1), ThreadPool(width: common.width)]
    var times: [[Double]] = [[], []]
    var rates: [[Double]] = [[], []]
    var results: [[Tensor]] = [[], []]
    for round in 0..<(steps + 1) {
      for which in 0..<2 {
        let seconds = try Resources.time { try runs[which].run(feeds, into: &results[which]) }
        if round == 0 { continue }
        times[which].append(seconds)
        rates[which].append(MachineProbe.productRate(pools[which], repeats: 1))
      }
    }
    let gain = Statistics.median(times[0]) / Statistics.median(times[1])
    let products = Statistics.median(rates[1]) / Statistics.median(rates[0])
    let losses: [Float] = try results.map { try $0[0].scalar() }
    report.add("one_thread_ms", Statistics.median(times[0]) * 1e3)
    report.add("all_threads_ms", Statistics.median(times[1]) * 1e3)
    report.add("thread_gain", gain, digits: 2)
    report.add("thread_gain_of_products", products, digits: 2)
    report.add("thread_gain_share", gain / products, digits: 2)
    report.add(
      "same_bits", losses[0].bitPattern == losses[1].bitPattern ? "yes" : "no")
  }
}

// The times of a run as Chrome trace events, for chrome://tracing and Perfetto.

import Weft

/// Writes the Trace Event Format: complete events ("X") for steps, a counter ("C") for the arena.
enum TraceEvents {
  static func text(_ trace: RunTrace) -> String {
    var events = [
      named("process_name", "weft"), named("thread_name", "run on \(trace.threads) threads"),
    ]
    let live = trace.plan.liveBytes
    for entry in trace.entries {
      let step = trace.plan.steps[entry.step]
      let micros = { (seconds: Double) in JSONValue.real((seconds * 1e9).rounded() / 1e3) }
      let outputs = (0..<step.outputCount).map { port in
        JSONValue.string(
          "\(trace.plan.arguments[step.argumentBase + step.inputCount + port].type)")
      }
      var arguments: [(String, JSONValue)] = [
        ("op", .string(step.def.name)), ("kernel", .string(step.kernel?.name ?? "late")),
        ("outputs", .array(outputs)), ("flops", .int(step.kernel?.flops ?? 0)),
        ("bytes", .int(trace.plan.bytesMoved(step))),
      ]
      if let details = step.kernel?.details?() {
        arguments.append(("details", .array(details.map { .string($0) })))
      }
      events.append(
        .object([
          ("name", .string(step.name)), ("cat", .string(step.def.name)), ("ph", .string("X")),
          ("ts", micros(entry.begin)), ("dur", micros(entry.end - entry.begin)), ("pid", .int(1)),
          ("tid", .int(1)), ("args", .object(arguments)),
        ]))
      events.append(
        .object([
          ("name", .string("arena")), ("ph", .string("C")), ("ts", micros(entry.begin)),
          ("pid", .int(1)), ("tid", .int(1)),
          ("args", .object([("bytes", .int(live[entry.step]))])),
        ]))
    }
    return JSONValue.object([
      ("displayTimeUnit", .string("ms")), ("traceEvents", .array(events)),
    ]).text + "\n"
  }

  private static func named(_ what: String, _ name: String) -> JSONValue {
    .object([
      ("name", .string(what)), ("ph", .string("M")), ("pid", .int(1)), ("tid", .int(1)),
      ("args", .object([("name", .string(name))])),
    ])
  }
}

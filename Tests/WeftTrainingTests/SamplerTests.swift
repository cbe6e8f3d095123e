// Choosing ids from logits.

import Testing
import WeftTensors
import WeftTraining

@Suite struct SamplerTests {
  private func share(
    _ options: SamplingOptions, _ logits: [Double], banned: [Int] = [], draws: Int = 20_000
  ) throws -> [Double] {
    var sampler = Sampler(options, seed: 3)
    var counts = [Double](repeating: 0, count: logits.count)
    for _ in 0..<draws { counts[try sampler.next(logits, banned: banned)] += 1 }
    return counts.map { $0 / Double(draws) }
  }

  private func isClose(_ a: [Double], _ b: [Double]) -> Bool {
    zip(a, b).allSatisfy { abs($0 - $1) < 0.015 }
  }

  @Test func takesTheBestAndTheFirstOfEquals() throws {
    var sampler = Sampler(.best)
    #expect(try sampler.next([0, 3, 1, 3]) == 1)
    #expect(try sampler.next([-.infinity, -5]) == 1)
  }

  @Test func drawsBySoftmax() throws {
    // e^0 : e^1 with temperature 1, e^0 : e^2 with temperature 1/2.
    let e = 2.718281828459045
    #expect(isClose(try share(SamplingOptions(), [0, 1]), [1 / (1 + e), e / (1 + e)]))
    #expect(
      isClose(
        try share(SamplingOptions(temperature: 0.5), [0, 1]),
        [1 / (1 + e * e), e * e / (1 + e * e)]))
    #expect(isClose(try share(SamplingOptions(), [5, 5, 5, 5]), [0.25, 0.25, 0.25, 0.25]))
  }

  @Test func cutsByRankAndByProbability() throws {
    let logits = [0.5, 0.2, 0.1, 0.2].map { value -> Double in
      // Logarithms, so that the softmax is these numbers.
      [0.5: -0.6931471805599453, 0.2: -1.6094379124341003, 0.1: -2.302585092994046][value] ?? 0
    }
    #expect(isClose(try share(SamplingOptions(topK: 1), logits), [1, 0, 0, 0]))
    // Of equal ones, the smaller id.
    #expect(isClose(try share(SamplingOptions(topK: 2), logits), [5 / 7, 2 / 7, 0, 0]))
    #expect(isClose(try share(SamplingOptions(topP: 0.4), logits), [1, 0, 0, 0]))
    #expect(isClose(try share(SamplingOptions(topP: 0.6), logits), [5 / 7, 2 / 7, 0, 0]))
    #expect(isClose(try share(SamplingOptions(topP: 1), logits), [0.5, 0.2, 0.1, 0.2]))
    #expect(isClose(try share(SamplingOptions(), logits, banned: [0]), [0, 0.4, 0.2, 0.4]))
  }

  @Test func theBestIsNeverABannedOne() throws {
    var sampler = Sampler(SamplingOptions(temperature: 0))
    #expect(try sampler.next([3, 1, 2], banned: [0]) == 2)
    #expect(throws: WeftError.self) { try sampler.next([3, 1], banned: [0, 1]) }
  }

  @Test func repeatsItselfBySeedAndStream() throws {
    func ids(_ seed: UInt64, _ stream: Int) throws -> [Int] {
      var sampler = Sampler(SamplingOptions(), seed: seed, stream: stream)
      return try (0..<50).map { _ in try sampler.next([0, 0, 0, 0, 0, 0, 0, 0]) }
    }
    #expect(try ids(1, 0) == ids(1, 0))
    #expect(try ids(1, 0) != ids(2, 0))
    #expect(try ids(1, 0) != ids(1, 1))
  }

  @Test func refusesWhatHasNoChoice() throws {
    var sampler = Sampler(SamplingOptions())
    #expect(throws: WeftError.self) { try sampler.next([0, .nan]) }
    #expect(throws: WeftError.self) { try sampler.next([]) }
    #expect(throws: WeftError.self) { try sampler.next([1], banned: [0]) }
    #expect(throws: WeftError.self) { try sampler.next([-.infinity, -.infinity]) }
    #expect(throws: WeftError.self) { try SamplingOptions(temperature: -1).validate() }
    #expect(throws: WeftError.self) { try SamplingOptions(temperature: .nan).validate() }
    #expect(throws: WeftError.self) { try SamplingOptions(topK: 0).validate() }
    #expect(throws: WeftError.self) { try SamplingOptions(topP: 0).validate() }
    #expect(throws: WeftError.self) { try SamplingOptions(topP: 1.5).validate() }
  }
}

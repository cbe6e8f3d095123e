// Batches: padding, order, widths, what resuming gives, and refused options.

import Testing
import WeftTensors
import WeftTraining

#if canImport(FoundationEssentials)
  import FoundationEssentials
#else
  import Foundation
#endif

struct TextBatchTests {
  /// Texts whose tokens tell which text they are of: text i is i+1, i+1, ...
  private func texts(_ lengths: [Int]) -> TokenTexts {
    TokenTexts(lengths.enumerated().map { [Int32](repeating: Int32($0 + 1), count: $1) })
  }

  private func epoch(_ batcher: inout Batcher) -> [TokenBatch] {
    var batches: [TokenBatch] = []
    while let batch = batcher.next() { batches.append(batch) }
    return batches
  }

  @Test func flatTexts() throws {
    let three = TokenTexts([[1, 2], [], [3]] as [[Int32]])
    #expect(three.map { Array($0) } == [[1, 2], [], [3]])
    #expect(three.maximumLength == 2 && three.tokens == [1, 2, 3] && three.ends == [2, 2, 3])
    let (training, heldOut) = try three.holdingOut(lastFraction: 0.34)
    #expect(training.count == 2 && heldOut.map { Array($0) } == [[3]])
  }

  @Test func nextTokenBatch() throws {
    let two = TokenTexts([[5, 6, 7, 8], [5, 9]] as [[Int32]])
    let batch = try TokenBatch(two, rows: [0, 1], options: BatchingOptions())
    #expect(batch.batchSize == 2 && batch.width == 3 && batch.realCount == 2)
    #expect(batch.tokens == [5, 6, 7, 5, 0, 0])
    #expect(batch.targets == [6, 7, 8, 9, 0, 0])
    #expect(batch.lengths == [3, 1] && batch.positionCount == 4)
    #expect(batch.weights == [1, 1, 1, 1, 0, 0])
  }

  @Test func shiftedBatchAtAFixedWidth() throws {
    let two = TokenTexts([[5, 6, 7], [5, 9]] as [[Int32]])
    let options = BatchingOptions(
      batchSize: 3, lastBatch: .fill, targets: .shiftedRepeatingLast, widths: [2, 4], padding: 1)
    let batch = try TokenBatch(two, rows: [0, 1], options: options)
    #expect(batch.batchSize == 3 && batch.width == 4 && batch.realCount == 2)
    #expect(batch.tokens == [5, 6, 7, 1, 5, 9, 1, 1, 1, 1, 1, 1])
    #expect(batch.targets == [6, 7, 7, 1, 9, 9, 1, 1, 1, 1, 1, 1])
    #expect(batch.lengths == [3, 2, 0])
  }

  @Test func overlongTexts() throws {
    let two = texts([3, 9])
    var options = BatchingOptions(batchSize: 2, order: .asGiven, widths: [4])
    #expect(weftError { _ = try TokenBatch(two, rows: [1], options: options) }?.code == .outOfRange)
    #expect(weftError { _ = try TokenBatch(two, rows: [2], options: options) }?.code == .outOfRange)
    var dropping = try Batcher(two, options: options)
    #expect(dropping.droppedCount == 1)
    #expect(epoch(&dropping).map(\.rows) == [[0]])
    options.overlong = .cut
    var cutting = try Batcher(two, options: options)
    #expect(epoch(&cutting).map(\.lengths) == [[2, 4]])
  }

  @Test func lastBatches() throws {
    let seven = texts([Int](repeating: 3, count: 7))
    func sizes(_ last: BatchingOptions.LastBatch) throws -> [[Int]] {
      var batcher = try Batcher(
        seven, options: BatchingOptions(batchSize: 3, order: .asGiven, lastBatch: last))
      let batches = epoch(&batcher)
      #expect(batches.count == batcher.batchesPerEpoch)
      return batches.map { [$0.batchSize, $0.realCount] }
    }
    #expect(try sizes(.keep) == [[3, 3], [3, 3], [1, 1]])
    #expect(try sizes(.drop) == [[3, 3], [3, 3]])
    #expect(try sizes(.fill) == [[3, 3], [3, 3], [3, 1]])
  }

  @Test func sortedBatches() throws {
    var batcher = try Batcher(
      texts([5, 3, 4, 3, 5]),
      options: BatchingOptions(batchSize: 2, order: .byLength, lastBatch: .drop))
    #expect(epoch(&batcher).map(\.rows) == [[1, 3], [2, 0]])
    #expect(epoch(&batcher).map(\.rows) == [[1, 3], [2, 0]])
  }

  @Test func shufflingTakesEachTextOnceAndDiffersByEpochAndSeed() throws {
    let many = texts([Int](repeating: 4, count: 100))
    func rows(seed: UInt64, buffer: Int = 10_240) throws -> [[Int]] {
      var batcher = try Batcher(
        many, options: BatchingOptions(batchSize: 8, order: .shuffled(buffer: buffer)), seed: seed)
      return [epoch(&batcher).flatMap(\.rows), epoch(&batcher).flatMap(\.rows)]
    }
    let first = try rows(seed: 1)
    #expect(first[0].sorted() == Array(0..<100) && first[1].sorted() == Array(0..<100))
    #expect(first[0] != Array(0..<100) && first[0] != first[1])
    #expect(try rows(seed: 1) == first)
    #expect(try rows(seed: 2)[0] != first[0])
    // A buffer of one keeps the order; a small one moves no text far ahead.
    #expect(try rows(seed: 1, buffer: 1)[0] == Array(0..<100))
    let small = try rows(seed: 1, buffer: 10)[0]
    #expect(small.sorted() == Array(0..<100) && small != Array(0..<100))
    #expect(small.enumerated().allSatisfy { $1 < $0 + 10 })
  }

  @Test func shuffleIsEven() throws {
    // Where text 0 of 4 lands over 2,000 epochs: 500 times each place, give or take five sigma.
    var batcher = try Batcher(texts([3, 3, 3, 3]), options: BatchingOptions(batchSize: 4), seed: 7)
    var places = [0, 0, 0, 0]
    for _ in 0..<2_000 {
      let rows = epoch(&batcher).flatMap(\.rows)
      places[try #require(rows.firstIndex(of: 0))] += 1
    }
    #expect(places.allSatisfy { abs($0 - 500) < 97 }, "\(places)")
  }

  @Test func bucketsByWidth() throws {
    let lengths = (0..<60).map { 3 + $0 * 7 % 20 }
    let some = texts(lengths)
    let options = BatchingOptions.bucketed([10, 5, 18], batchSize: 4)
    var batcher = try Batcher(some, options: options, seed: 3)
    let batches = epoch(&batcher)
    #expect(batcher.droppedCount == lengths.count { $0 - 1 > 18 })
    #expect(
      batches.flatMap(\.rows).sorted() == lengths.indices.filter { lengths[$0] - 1 <= 18 })
    for batch in batches {
      for row in batch.rows {
        let positions = lengths[row] - 1
        #expect(batch.width == (positions <= 5 ? 5 : positions <= 10 ? 10 : 18))
      }
    }
    #expect(Set(batches.map(\.width)) == [5, 10, 18])
    #expect(batches.count { $0.realCount < 4 } <= 3)
    #expect(epoch(&batcher).count == batcher.batchesPerEpoch)
    // Without grouping, neighbours share a batch as wide as the longest needs.
    var plain = try Batcher(
      texts([3, 9, 3, 3]),
      options: BatchingOptions(batchSize: 2, order: .asGiven, widths: [4, 8]))
    #expect(epoch(&plain).map(\.width) == [8, 4])
  }

  @Test func resumingGivesTheSameBatches() throws {
    let many = texts((0..<57).map { 3 + $0 % 9 })
    for options in [
      BatchingOptions(batchSize: 5, order: .shuffled(buffer: 16)),
      .bucketed([4, 12], batchSize: 5, lastBatch: .fill),
      BatchingOptions(batchSize: 5, order: .byLength, lastBatch: .drop),
    ] {
      var original = try Batcher(many, options: options, seed: 11)
      let total = original.batchesPerEpoch * 2 + 3
      for _ in 0..<total {
        let text = try JSONEncoder().encode(original.state)
        var resumed = try Batcher(many, options: options)
        try resumed.resume(from: try JSONDecoder().decode(BatcherState.self, from: text))
        #expect(resumed.state == original.state)
        var copy = original
        for _ in 0..<7 { #expect(resumed.nextAcrossEpochs() == copy.nextAcrossEpochs()) }
        // An epoch's end is met in the same place too.
        #expect(resumed.next() == copy.next())
        _ = original.nextAcrossEpochs()
      }
      #expect(original.state.epoch == 2)
    }
  }

  @Test func resumingElsewhereIsRefused() throws {
    let options = BatchingOptions(batchSize: 2)
    let state = try Batcher(texts([3, 4, 5]), options: options, seed: 1).state
    var others = [try Batcher(texts([3, 5, 4]), options: options)]
    others.append(try Batcher(texts([3, 4, 5]), options: BatchingOptions(batchSize: 3)))
    for var other in others {
      let before = other.state
      #expect(weftError { try other.resume(from: state) }?.code == .failedPrecondition)
      #expect(other.state == before)
    }
    var same = try Batcher(texts([3, 4, 5]), options: options)
    var wrong = state
    wrong.position = 3
    #expect(weftError { try same.resume(from: wrong) }?.code == .dataLoss)
    wrong.position = 0
    wrong.epoch = -1
    #expect(weftError { try same.resume(from: wrong) }?.code == .dataLoss)
    wrong.epoch = .max
    #expect(weftError { try same.resume(from: wrong) }?.code == .dataLoss)
  }

  @Test func refusedOptions() throws {
    let some = texts([3, 4])
    func refusal(_ options: BatchingOptions) -> WeftError? {
      weftError { _ = try Batcher(some, options: options) }
    }
    #expect(refusal(BatchingOptions(batchSize: 0))?.category == .usage)
    #expect(refusal(BatchingOptions(widths: [0]))?.category == .usage)
    #expect(refusal(BatchingOptions(order: .shuffled(buffer: 0)))?.category == .usage)
    #expect(
      refusal(BatchingOptions(batchSize: .max, lastBatch: .fill))?.code == .resourceExhausted)
    #expect(refusal(BatchingOptions(batchSize: 3, lastBatch: .drop))?.code == .failedPrecondition)
    #expect(refusal(BatchingOptions(widths: [1]))?.message.contains("fit no width") == true)
    #expect(weftError { _ = try Batcher(TokenTexts(), options: BatchingOptions()) } != nil)
  }
}

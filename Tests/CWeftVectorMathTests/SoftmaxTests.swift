// Softmax rows and cross-entropy against a plain double reference.
import CWeftVectorMath
import Testing

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

@Suite struct SoftmaxTests {
  let widths = Array(1...67) + [1_000, 4_096, 4_097, 9_001]

  func softmax(_ z: [Double]) -> (p: [Double], logSum: Double, largest: Double) {
    let largest = z.max() ?? 0
    let e = z.map { exp($0 - largest) }
    let sum = e.reduce(0, +)
    return (e.map { $0 / sum }, log(sum), largest)
  }

  @Test func rows() {
    var noise = Noise()
    for cols in widths {
      let rows = 3, ld = cols + 3
      let x = noise.floats(rows * ld, -9, 9)
      let wideX = x.map(Double.init)
      var y = x, l = [Float](repeating: 7, count: rows * cols), wideY = wideX, wideL = wideX
      y.withUnsafeMutableBufferPointer {
        weft_softmax_rows_f32($0.baseAddress, ld, $0.baseAddress, ld, rows, cols)
      }
      weft_log_softmax_rows_f32(x, ld, &l, cols, rows, cols)
      weft_softmax_rows_f64(wideX, ld, &wideY, ld, rows, cols)
      wideL.withUnsafeMutableBufferPointer {
        weft_log_softmax_rows_f64($0.baseAddress, ld, $0.baseAddress, ld, rows, cols)
      }
      for r in 0..<rows {
        let row = r * ld..<r * ld + cols
        let truth = softmax(Array(wideX[row]))
        let logs = wideX[row].map { $0 - truth.largest - truth.logSum }
        #expect(distance(Array(y[row]), truth.p) < 5e-7)
        #expect(distance(Array(l[r * cols..<(r + 1) * cols]), logs) < 4e-6)
        #expect(distance(Array(wideY[row]), truth.p) < 1e-15)
        #expect(distance(Array(wideL[row]), logs) < 1e-13)
        #expect(
          same(Array(y[row.upperBound..<(r + 1) * ld]), Array(x[row.upperBound..<(r + 1) * ld])))
      }
    }
  }

  @Test func extremeRows() {
    func row(_ x: [Float]) -> [Float] {
      var y = x
      weft_softmax_rows_f32(x, x.count, &y, x.count, 1, x.count)
      return y
    }
    #expect(row([1e30, -1e30, 1e30]) == [0.5, 0, 0.5])
    #expect(row([3, -.infinity, 3, -1e9]) == [0.5, 0, 0.5, 0])
    #expect(row([.nan, 1, 2]).allSatisfy { $0.isNaN })
    #expect(row([.infinity, 1]).allSatisfy { $0.isNaN })
    #expect(row([-.infinity, -.infinity]).allSatisfy { $0.isNaN })
  }

  @Test func sparse() {
    var noise = Noise()
    for cols in widths {
      let rows = 4, ld = cols + 1
      let x = noise.floats(rows * ld, -9, 9), wideX = x.map(Double.init)
      let labels = (0..<rows).map { _ in Int32(noise.next() % UInt64(cols)) }
      let longLabels = labels.map(Int64.init)
      var loss = [Float](repeating: 7, count: rows), lossOnly = loss, back = x, separate = x
      var wideLoss = loss.map(Double.init), wideBack = wideX
      // In place with int32 labels; apart with int64; the loss alone; double.
      back.withUnsafeMutableBufferPointer {
        let first = weft_softmax_xent_rows_f32_i32(
          $0.baseAddress, ld, labels, &loss, $0.baseAddress, ld, rows, cols)
        #expect(first == -1)
      }
      #expect(
        weft_softmax_xent_rows_f32_i64(x, ld, longLabels, nil, &separate, ld, rows, cols) == -1)
      #expect(
        weft_softmax_xent_rows_f32_i64(x, ld, longLabels, &lossOnly, nil, 0, rows, cols) == -1)
      #expect(
        weft_softmax_xent_rows_f64_i32(wideX, ld, labels, &wideLoss, &wideBack, ld, rows, cols)
          == -1)
      #expect(same(back, separate) && same(loss, lossOnly), "\(cols)")
      for r in 0..<rows {
        let z = Array(wideX[r * ld..<r * ld + cols])
        let truth = softmax(z), label = Int(labels[r])
        let trueLoss = truth.logSum - (z[label] - truth.largest)
        let gradient = (0..<cols).map { truth.p[$0] - ($0 == label ? 1 : 0) }
        #expect(abs(Double(loss[r]) - trueLoss) < 5e-6 && abs(wideLoss[r] - trueLoss) < 1e-13)
        #expect(distance(Array(back[r * ld..<r * ld + cols]), gradient) < 1e-6)
        #expect(distance(Array(wideBack[r * ld..<r * ld + cols]), gradient) < 1e-14)
        #expect(back[r * ld + cols] == x[r * ld + cols])
      }
    }
  }

  @Test func labelsOutOfRange() {
    let x: [Float] = [1, 2, 3, 4, 5, 6, 7, 8, 9]
    var loss = [Float](repeating: 0, count: 3), back = x
    let bad = weft_softmax_xent_rows_f32_i64(x, 3, [0, 3, -1], &loss, &back, 3, 3, 3)
    #expect(bad == 1)
    #expect(loss[0].isFinite && loss[1].isNaN && loss[2].isNaN)
    #expect(back[..<3].allSatisfy { $0.isFinite } && back[3...].allSatisfy { $0.isNaN })
  }

  @Test func dense() {
    var noise = Noise()
    for cols in widths {
      let rows = 2, ld = cols + 1
      let x = noise.floats(rows * ld, -9, 9)
      let labels = noise.floats(rows * cols, 0, 1)
      var loss = [Float](repeating: 7, count: rows), back = labels
      back.withUnsafeMutableBufferPointer {
        weft_softmax_xent_dense_rows_f32(
          x, ld, $0.baseAddress, cols, &loss, $0.baseAddress, cols, rows, cols)
      }
      var wideLoss = loss.map(Double.init), wideBack = labels.map(Double.init)
      weft_softmax_xent_dense_rows_f64(
        x.map(Double.init), ld, labels.map(Double.init), cols, &wideLoss, &wideBack, cols, rows,
        cols)
      for r in 0..<rows {
        let z = x[r * ld..<r * ld + cols].map(Double.init)
        let target = labels[r * cols..<(r + 1) * cols].map(Double.init)
        let truth = softmax(z)
        let trueLoss = zip(target, z).reduce(0) {
          $0 + $1.0 * (truth.logSum - $1.1 + truth.largest)
        }
        let gradient = zip(truth.p, target).map { $0 - $1 }
        #expect(abs(Double(loss[r]) - trueLoss) < 3e-6 * max(1, trueLoss))
        #expect(abs(wideLoss[r] - trueLoss) < 1e-13 * max(1, trueLoss))
        #expect(distance(Array(back[r * cols..<(r + 1) * cols]), gradient) < 1e-6)
        #expect(distance(Array(wideBack[r * cols..<(r + 1) * cols]), gradient) < 1e-14)
      }
    }
  }
}

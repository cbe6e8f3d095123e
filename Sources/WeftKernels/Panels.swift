// Products whose right factor lies in panels, copied once and used many times: WeftPanels.h.

internal import CWeftVectorMath
package import WeftTensors

/// A matrix product C = A B with B in panels.
package struct PanelProduct<E: PanelElement>: Sendable {
  private var shape: weft_panel_product

  /// A [m, k] and C [m, n] are row-major, `lda` and `ldc` elements between rows; B's panels lie one
  /// after the other.
  package init(_ m: Int, _ n: Int, _ k: Int, lda: Int, ldc: Int, accumulate: Bool = false) {
    let columns = E.panelColumns
    shape = weft_panel_product(
      m: m, n: n, k: k, a_row: lda, a_step: 1, a_block: columns, b_panel: k * columns, c_row: ldc,
      c_panel: columns, c_whole: 0, accumulate: accumulate ? 1 : 0)
  }

  /// A is the transpose of a row-major matrix [k, m], `lda` elements between its rows.
  package func transposingA(lda: Int) -> PanelProduct {
    var other = self
    (other.shape.a_row, other.shape.a_step, other.shape.a_block) = (1, lda, E.panelColumns * lda)
    return other
  }

  /// A lies in panels, too, this many elements apart.
  package func withPanelsOfA(apart: Int) -> PanelProduct {
    var other = self
    (other.shape.a_row, other.shape.a_step, other.shape.a_block) = (E.panelColumns, 1, apart)
    return other
  }

  /// B's panels are this many elements apart.
  package func withPanelsOfB(apart: Int) -> PanelProduct {
    var other = self
    other.shape.b_panel = apart
    return other
  }

  /// C lies in panels, too, this many elements apart; the last one is written to its full width.
  package func withPanelsOfC(apart: Int) -> PanelProduct {
    var other = self
    (other.shape.c_row, other.shape.c_panel, other.shape.c_whole) = (E.panelColumns, apart, 1)
    return other
  }

  /// On the calling thread. `start` holds what sums start at: whole panels of columns, for each row.
  package func run(
    _ a: UnsafePointer<E>, _ b: UnsafePointer<E>, start: UnsafePointer<E>? = nil,
    _ c: UnsafeMutablePointer<E>
  ) { withUnsafePointer(to: shape) { E.panelProduct($0, a, b, start, c) } }
}

/// A product with a matrix that many products share: C [m, n] = A [m, k] op(B), of as many rows as
/// each call says, on the thread that calls it.
package struct SharedProduct: Sendable {
  /// Bytes of op(B) in panels.
  package let packedBytes: Int
  /// Copies B into panels.
  package let pack: @Sendable (_ b: UnsafeRawPointer, _ packed: UnsafeMutableRawPointer) -> Void
  /// Multiplies A with the panels into C.
  package let run:
    @Sendable (
      _ a: UnsafeRawPointer, _ packed: UnsafeRawPointer, _ c: UnsafeMutableRawPointer, _ m: Int
    ) -> Void

  /// For float32 and float64; nil for other types, and for what is beyond memory.
  package init?(n: Int, k: Int, transposingB: Bool, _ dtype: DType) {
    guard n > 0, k > 0, Double(n + 32) * Double(k) < 0x1p40 else { return nil }
    func steps<E: PanelElement>(_: E.Type) -> (Int, Pack, Run) {
      (
        E.wholePanels(n) * k * MemoryLayout<E>.stride,
        { b, packed in
          E.pack(
            b.assumingMemoryBound(to: E.self), row: transposingB ? 1 : n,
            column: transposingB ? k : 1, k: k, n: n,
            into: packed.assumingMemoryBound(to: E.self))
        },
        { a, packed, c, m in
          PanelProduct<E>(m, n, k, lda: k, ldc: n).run(
            a.assumingMemoryBound(to: E.self), packed.assumingMemoryBound(to: E.self),
            c.assumingMemoryBound(to: E.self))
        }
      )
    }
    switch dtype {
    case .float32: (packedBytes, pack, run) = steps(Float.self)
    case .float64: (packedBytes, pack, run) = steps(Double.self)
    default: return nil
    }
  }

  private typealias Pack = @Sendable (UnsafeRawPointer, UnsafeMutableRawPointer) -> Void
  private typealias Run =
    @Sendable (UnsafeRawPointer, UnsafeRawPointer, UnsafeMutableRawPointer, Int) -> Void
}

/// An element type whose products go in panels.
package protocol PanelElement: BlasElement {
  /// Columns of a panel.
  static var panelColumns: Int { get }
  /// Copies b [k, n], whose elements are `row` and `column` apart, into panels.
  static func pack(
    _ b: UnsafePointer<Self>, row: Int, column: Int, k: Int, n: Int,
    into out: UnsafeMutablePointer<Self>)
  /// What `PanelProduct` runs; its shape is a weft_panel_product.
  static func panelProduct(
    _ shape: UnsafeRawPointer, _ a: UnsafePointer<Self>, _ b: UnsafePointer<Self>,
    _ start: UnsafePointer<Self>?, _ c: UnsafeMutablePointer<Self>)
}

extension PanelElement {
  /// `n` rounded up to whole panels.
  package static func wholePanels(_ n: Int) -> Int {
    (n + panelColumns - 1) / panelColumns * panelColumns
  }
}

extension Float: PanelElement {
  package static var panelColumns: Int { Int(WEFT_PANEL_F32) }

  package static func pack(
    _ b: UnsafePointer<Float>, row: Int, column: Int, k: Int, n: Int,
    into out: UnsafeMutablePointer<Float>
  ) { weft_pack_panels_f32(b, row, column, k, n, out) }

  package static func panelProduct(
    _ shape: UnsafeRawPointer, _ a: UnsafePointer<Float>, _ b: UnsafePointer<Float>,
    _ start: UnsafePointer<Float>?, _ c: UnsafeMutablePointer<Float>
  ) {
    weft_panel_product_f32(shape.assumingMemoryBound(to: weft_panel_product.self), a, b, start, c)
  }
}

extension Double: PanelElement {
  package static var panelColumns: Int { Int(WEFT_PANEL_F64) }

  package static func pack(
    _ b: UnsafePointer<Double>, row: Int, column: Int, k: Int, n: Int,
    into out: UnsafeMutablePointer<Double>
  ) { weft_pack_panels_f64(b, row, column, k, n, out) }

  package static func panelProduct(
    _ shape: UnsafeRawPointer, _ a: UnsafePointer<Double>, _ b: UnsafePointer<Double>,
    _ start: UnsafePointer<Double>?, _ c: UnsafeMutablePointer<Double>
  ) {
    weft_panel_product_f64(shape.assumingMemoryBound(to: weft_panel_product.self), a, b, start, c)
  }
}

// Matrix products whose right factor lies in panels: copied once, used many times.
//
// A panel holds 128 bytes' worth of columns (WEFT_PANEL_F32 or WEFT_PANEL_F64 of them), row after
// row; a matrix [k, n] becomes ceil(n / columns) panels of [k, columns], the last one filled up with
// zeros. A product reads a panel from front to back while it keeps a block of C in registers, so
// small products run as fast as large ones.
//
// Each element of C is summed in the order of k, whatever the block it falls in: results do not
// depend on how rows are cut. Multiply-adds are fused where the instruction set has them, so here
// results do depend on it, as those of a BLAS do.
#pragma once

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum { WEFT_PANEL_F32 = 32, WEFT_PANEL_F64 = 16 };

/// Copies a matrix b [k, n], whose elements are `row` and `column` apart (so that a transposed one
/// serves too), into panels; panel p goes to out + p * k * columns.
void weft_pack_panels_f32(
    const float *b, ptrdiff_t row, ptrdiff_t column, ptrdiff_t k, ptrdiff_t n, float *out);
void weft_pack_panels_f64(
    const double *b, ptrdiff_t row, ptrdiff_t column, ptrdiff_t k, ptrdiff_t n, double *out);

/// C [m, n] = A [m, k] B [k, n], or added to what C holds.
///   A: element (i, j) is a[i * a_row + j % columns * a_step + j / columns * a_block], where columns
///     is a panel's number: a row-major matrix has a_step 1 and a_block columns, one that is itself
///     in panels a_row columns, a_step 1 and a_block the size of a panel.
///   B: panels, `b_panel` elements apart.
///   C: element (i, j) is c[i * c_row + j % columns + j / columns * c_panel]. With `c_whole` the last
///     panel is written to its full width; else columns from n on are left alone.
///   `start`: where the sums start: n elements, rounded up to whole panels, the same for each row;
///     NULL for zero. Not with `accumulate`.
typedef struct {
  ptrdiff_t m, n, k;
  ptrdiff_t a_row, a_step, a_block;
  ptrdiff_t b_panel;
  ptrdiff_t c_row, c_panel;
  int c_whole, accumulate;
} weft_panel_product;

void weft_panel_product_f32(
    const weft_panel_product *shape, const float *a, const float *b, const float *start, float *c);
void weft_panel_product_f64(
    const weft_panel_product *shape, const double *a, const double *b, const double *start,
    double *c);

#ifdef __cplusplus
}
#endif

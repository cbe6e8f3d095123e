// Softmax cross-entropy whose columns come in tiles: logits of one tile are made, used and gone
// before the next, so that a row is never whole. A tile [rows, cols] (cols at most 4,096) lies in
// panels as WeftPanels.h has them, `panel` elements apart, its last one whole.
#pragma once

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/// The first visit of a tile of logits z:
///   x = z or relu(z);  largest[r] = max x;  z = e^(x - largest[r]);  sum[r] = sum z
/// Columns from `cols` on become zero. A tile of -inf only has sum 0. With `relu` a z that relu cut
/// off is stored as -e^(...), so that the second visit knows it.
/// Sparse labels (`column` not NULL): column[r] is a row's label, counted from the first column of
///   the tile; where it lies in the tile, chosen[r] = x[column[r]].
/// Dense labels (`labels` not NULL, leading dimension ldl):
///   chosen[r] = sum labels * (x - largest[r]);  mass[r] = sum labels.
/// `largest`, `sum`, and for dense labels `chosen` and `mass`, have one entry for each row and tile:
/// rows are `step` apart. For sparse labels `chosen` has one entry a row.
void weft_xent_tile_f32(
    float *z, ptrdiff_t panel, int relu, const int32_t *column, const float *labels, ptrdiff_t ldl,
    float *largest, float *sum, float *chosen, float *mass, ptrdiff_t step, ptrdiff_t rows,
    ptrdiff_t cols);
void weft_xent_tile_f64(
    double *z, ptrdiff_t panel, int relu, const int32_t *column, const double *labels,
    ptrdiff_t ldl, double *largest, double *sum, double *chosen, double *mass, ptrdiff_t step,
    ptrdiff_t rows, ptrdiff_t cols);
/// The second visit: from z as the first left it to the gradient of the logits,
///   z = z * factor[r] - scale[r] * (one at the label, or labels[r]), and 0 where relu cut off.
/// factor[r] = scale[r] / (sum over all tiles), brought to the tile's own largest.
void weft_xent_tile_grad_f32(
    float *z, ptrdiff_t panel, int relu, const int32_t *column, const float *labels, ptrdiff_t ldl,
    const float *factor, ptrdiff_t step, const float *scale, ptrdiff_t rows, ptrdiff_t cols);
void weft_xent_tile_grad_f64(
    double *z, ptrdiff_t panel, int relu, const int32_t *column, const double *labels,
    ptrdiff_t ldl, const double *factor, ptrdiff_t step, const double *scale, ptrdiff_t rows,
    ptrdiff_t cols);
/// out[c] += sum over rows of factor[r * step] * z[r, c]; without `factor` (NULL) of z alone.
void weft_panel_sum_f32(
    const float *z, ptrdiff_t panel, const float *factor, ptrdiff_t step, float *out,
    ptrdiff_t rows, ptrdiff_t cols);
void weft_panel_sum_f64(
    const double *z, ptrdiff_t panel, const double *factor, ptrdiff_t step, double *out,
    ptrdiff_t rows, ptrdiff_t cols);
/// A row of whole panels times a factor; z points to its first element.
void weft_panel_scale_row_f32(float *z, ptrdiff_t panel, float factor, ptrdiff_t cols);
void weft_panel_scale_row_f64(double *z, ptrdiff_t panel, double factor, ptrdiff_t cols);

#ifdef __cplusplus
}
#endif

// Pointwise parts of recurrent cells: what remains of a step when its matrix products are done.
#pragma once

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

// All take `rows` rows (the batch) of `hidden` units. Arrays of one vector per row are contiguous
// [rows, hidden] unless a leading dimension is given. Gates lie side by side in a row.

/// LSTM step from preactivations, gates in TensorFlow's order i, j, f, o:
///   p = pre + bias;  i = sigmoid(p_i), j = tanh(p_j), f = sigmoid(p_f + forget_bias),
///   o = sigmoid(p_o);  c = c_prev * f + i * j;  h = tanh(c) * o
/// `act` [rows, 4 * hidden] receives i, j, f, o, and `tanh_c` [rows, hidden] tanh(c), both for the
/// backward pass; `act` may be `pre` (same leading dimension), `c` may be `c_prev`, `bias` may be
/// NULL. `tanh_c` may be `h` when nothing is kept (then `h` needs ldh = hidden).
void weft_lstm_f32(
    const float *pre, ptrdiff_t ldp, const float *bias, const float *c_prev, float forget_bias,
    float *act, ptrdiff_t lda, float *c, float *tanh_c, float *h, ptrdiff_t ldh, ptrdiff_t rows,
    ptrdiff_t hidden);
void weft_lstm_f64(
    const double *pre, ptrdiff_t ldp, const double *bias, const double *c_prev, double forget_bias,
    double *act, ptrdiff_t lda, double *c, double *tanh_c, double *h, ptrdiff_t ldh, ptrdiff_t rows,
    ptrdiff_t hidden);
/// Gradient of the step: from dh and dc (of the new state), to the preactivations' gradient `dpre`
/// [rows, 4 * hidden] and `dc_prev`. `dpre` may be `act` (same leading dimension), `dc_prev` may be
/// `dc`; `dc` may be NULL (zero).
void weft_lstm_grad_f32(
    const float *act, ptrdiff_t lda, const float *tanh_c, const float *c_prev, const float *dh,
    ptrdiff_t lddh, const float *dc, float *dpre, ptrdiff_t ldp, float *dc_prev, ptrdiff_t rows,
    ptrdiff_t hidden);
void weft_lstm_grad_f64(
    const double *act, ptrdiff_t lda, const double *tanh_c, const double *c_prev, const double *dh,
    ptrdiff_t lddh, const double *dc, double *dpre, ptrdiff_t ldp, double *dc_prev, ptrdiff_t rows,
    ptrdiff_t hidden);

/// GRU, first half (TensorFlow's GRUCell, gates in the order r, u):
///   act = sigmoid(pre + bias) [rows, 2 * hidden];  rh = r * h_prev
/// `act` may be `pre`; `bias` may be NULL.
void weft_gru_gates_f32(
    const float *pre, ptrdiff_t ldp, const float *bias, const float *h_prev, ptrdiff_t ldhp,
    float *act, ptrdiff_t lda, float *rh, ptrdiff_t ldrh, ptrdiff_t rows, ptrdiff_t hidden);
void weft_gru_gates_f64(
    const double *pre, ptrdiff_t ldp, const double *bias, const double *h_prev, ptrdiff_t ldhp,
    double *act, ptrdiff_t lda, double *rh, ptrdiff_t ldrh, ptrdiff_t rows, ptrdiff_t hidden);
/// GRU, second half: c = tanh(pre + bias) [rows, hidden];  h = u * h_prev + (1 - u) * c
/// `act` is the first half's; `c` may be `pre`, `h` may be `h_prev`; `bias` may be NULL.
void weft_gru_output_f32(
    const float *pre, ptrdiff_t ldp, const float *bias, const float *act, ptrdiff_t lda,
    const float *h_prev, ptrdiff_t ldhp, float *c, ptrdiff_t ldc, float *h, ptrdiff_t ldh,
    ptrdiff_t rows, ptrdiff_t hidden);
void weft_gru_output_f64(
    const double *pre, ptrdiff_t ldp, const double *bias, const double *act, ptrdiff_t lda,
    const double *h_prev, ptrdiff_t ldhp, double *c, ptrdiff_t ldc, double *h, ptrdiff_t ldh,
    ptrdiff_t rows, ptrdiff_t hidden);
/// Gradient of the second half:
///   dpre = dh * (1 - u) * (1 - c * c)  (of c's preactivation; may be `c`)
///   dgates[r][hidden...] = dh * (h_prev - c) * u * (1 - u)  (u's half only)
///   dh_prev = dh * u  (may be `dh`)
void weft_gru_output_grad_f32(
    const float *act, ptrdiff_t lda, const float *h_prev, ptrdiff_t ldhp, const float *c,
    ptrdiff_t ldc, const float *dh, ptrdiff_t lddh, float *dpre, ptrdiff_t ldp, float *dgates,
    ptrdiff_t ldg, float *dh_prev, ptrdiff_t lddhp, ptrdiff_t rows, ptrdiff_t hidden);
void weft_gru_output_grad_f64(
    const double *act, ptrdiff_t lda, const double *h_prev, ptrdiff_t ldhp, const double *c,
    ptrdiff_t ldc, const double *dh, ptrdiff_t lddh, double *dpre, ptrdiff_t ldp, double *dgates,
    ptrdiff_t ldg, double *dh_prev, ptrdiff_t lddhp, ptrdiff_t rows, ptrdiff_t hidden);
/// Gradient of the first half, from drh, the gradient of r * h_prev:
///   dgates[r][0..<hidden] = drh * h_prev * r * (1 - r)  (r's half only)
///   dh_prev += drh * r
void weft_gru_gates_grad_f32(
    const float *act, ptrdiff_t lda, const float *h_prev, ptrdiff_t ldhp, const float *drh,
    ptrdiff_t lddrh, float *dgates, ptrdiff_t ldg, float *dh_prev, ptrdiff_t lddhp, ptrdiff_t rows,
    ptrdiff_t hidden);
void weft_gru_gates_grad_f64(
    const double *act, ptrdiff_t lda, const double *h_prev, ptrdiff_t ldhp, const double *drh,
    ptrdiff_t lddrh, double *dgates, ptrdiff_t ldg, double *dh_prev, ptrdiff_t lddhp,
    ptrdiff_t rows, ptrdiff_t hidden);

#ifdef __cplusplus
}
#endif

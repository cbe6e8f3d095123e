// Vector math on plain pointers: elementwise functions, rows, reductions, cell gates, optimizer
// updates and counter-based random numbers, each dispatched at run time to the CPU's best loop.
//
// Conventions, unless a function says otherwise:
// - Arguments come as inputs, scalars, outputs, sizes. `n`, `rows`, `cols` are element counts; zero
//   (or less) does nothing. `ld` is the distance in elements between the starts of two rows.
// - An output may be the very same pointer as an input of its type ("in place"); otherwise arrays
//   must not overlap.
// - No function allocates, locks, or keeps state. All may be called from several threads at once.
// - Results do not depend on the instruction set, on alignment, nor on how an elementwise range is
//   cut: every clone gives the same bits (multiply-adds are never fused, reductions keep a fixed
//   number of lanes). Only `_f64` functions that call libm follow the platform's libm.
// - Errors are stated in ulp of the result against the true value, over the whole range of the
//   type, subnormal results included. NaN gives NaN; infinities and signed zeros follow C's Annex F.
#pragma once

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

// MARK: - CPU

/// The instruction-set level the loops run at: 4 and 3 for x86-64-v4 and -v3, 0 for the baseline of
/// any other CPU or platform.
int weft_cpu_level(void);
/// The same as text: "x86-64-v4", "x86-64-v3", "arm64" or "baseline".
const char *weft_cpu_name(void);

// MARK: - Elementwise functions (y[i] = f(x[i]); in place allowed)
// float: own branch-free polynomials. double: the platform's libm, element by element.

/// e^x; at most 1 ulp. Overflows to infinity, underflows gradually.
void weft_exp_f32(const float *x, float *y, ptrdiff_t n);
void weft_exp_f64(const double *x, double *y, ptrdiff_t n);
/// e^x - 1, exact near zero; at most 2 ulp.
void weft_expm1_f32(const float *x, float *y, ptrdiff_t n);
void weft_expm1_f64(const double *x, double *y, ptrdiff_t n);
/// Natural logarithm; at most 1 ulp. log(0) = -inf, log of a negative number is NaN.
void weft_log_f32(const float *x, float *y, ptrdiff_t n);
void weft_log_f64(const double *x, double *y, ptrdiff_t n);
/// log(1 + x), exact near zero; at most 2 ulp.
void weft_log1p_f32(const float *x, float *y, ptrdiff_t n);
void weft_log1p_f64(const double *x, double *y, ptrdiff_t n);
/// Hyperbolic tangent; at most 2 ulp. tanh(-0) = -0.
void weft_tanh_f32(const float *x, float *y, ptrdiff_t n);
void weft_tanh_f64(const double *x, double *y, ptrdiff_t n);
/// 1 / (1 + e^-x), without overflow; at most 2 ulp, also where the result is subnormal.
void weft_sigmoid_f32(const float *x, float *y, ptrdiff_t n);
void weft_sigmoid_f64(const double *x, double *y, ptrdiff_t n);
/// log(1 + e^x) = max(x, 0) + log1p(e^-|x|); at most 2 ulp.
void weft_softplus_f32(const float *x, float *y, ptrdiff_t n);
void weft_softplus_f64(const double *x, double *y, ptrdiff_t n);
/// The error function; at most 2 ulp.
void weft_erf_f32(const float *x, float *y, ptrdiff_t n);
void weft_erf_f64(const double *x, double *y, ptrdiff_t n);
/// Square root, correctly rounded.
void weft_sqrt_f32(const float *x, float *y, ptrdiff_t n);
void weft_sqrt_f64(const double *x, double *y, ptrdiff_t n);
/// 1 / sqrt(x), by a square root and a division; at most 2 ulp. rsqrt(0) = inf.
void weft_rsqrt_f32(const float *x, float *y, ptrdiff_t n);
void weft_rsqrt_f64(const double *x, double *y, ptrdiff_t n);
/// Sine; at most 1 ulp. Arguments of 2^20 and more go to libm one by one.
void weft_sin_f32(const float *x, float *y, ptrdiff_t n);
void weft_sin_f64(const double *x, double *y, ptrdiff_t n);
/// Cosine; at most 1 ulp. Arguments of 2^20 and more go to libm one by one.
void weft_cos_f32(const float *x, float *y, ptrdiff_t n);
void weft_cos_f64(const double *x, double *y, ptrdiff_t n);
/// z[i] = x[i]^y[i], with C's special cases; at most 1 ulp. Zero, negative, infinite and NaN
/// operands go to libm one by one.
void weft_pow_f32(const float *x, const float *y, float *z, ptrdiff_t n);
void weft_pow_f64(const double *x, const double *y, double *z, ptrdiff_t n);

// MARK: - Arithmetic (correctly rounded; in place allowed)

/// z = x + y, x - y, x * y, x / y
void weft_add_f32(const float *x, const float *y, float *z, ptrdiff_t n);
void weft_add_f64(const double *x, const double *y, double *z, ptrdiff_t n);
void weft_sub_f32(const float *x, const float *y, float *z, ptrdiff_t n);
void weft_sub_f64(const double *x, const double *y, double *z, ptrdiff_t n);
void weft_mul_f32(const float *x, const float *y, float *z, ptrdiff_t n);
void weft_mul_f64(const double *x, const double *y, double *z, ptrdiff_t n);
void weft_div_f32(const float *x, const float *y, float *z, ptrdiff_t n);
void weft_div_f64(const double *x, const double *y, double *z, ptrdiff_t n);
/// z = max(x, y) and min(x, y); NaN when either is.
void weft_maximum_f32(const float *x, const float *y, float *z, ptrdiff_t n);
void weft_maximum_f64(const double *x, const double *y, double *z, ptrdiff_t n);
void weft_minimum_f32(const float *x, const float *y, float *z, ptrdiff_t n);
void weft_minimum_f64(const double *x, const double *y, double *z, ptrdiff_t n);
/// z = (x - y)^2
void weft_squared_difference_f32(const float *x, const float *y, float *z, ptrdiff_t n);
void weft_squared_difference_f64(const double *x, const double *y, double *z, ptrdiff_t n);

/// y = x + s, x - s, x * s, x / s: array with scalar.
void weft_add_scalar_f32(const float *x, float s, float *y, ptrdiff_t n);
void weft_add_scalar_f64(const double *x, double s, double *y, ptrdiff_t n);
void weft_sub_scalar_f32(const float *x, float s, float *y, ptrdiff_t n);
void weft_sub_scalar_f64(const double *x, double s, double *y, ptrdiff_t n);
void weft_scale_f32(const float *x, float s, float *y, ptrdiff_t n);
void weft_scale_f64(const double *x, double s, double *y, ptrdiff_t n);
void weft_div_scalar_f32(const float *x, float s, float *y, ptrdiff_t n);
void weft_div_scalar_f64(const double *x, double s, double *y, ptrdiff_t n);
/// y = s - x and s / x: scalar with array.
void weft_scalar_sub_f32(const float *x, float s, float *y, ptrdiff_t n);
void weft_scalar_sub_f64(const double *x, double s, double *y, ptrdiff_t n);
void weft_scalar_div_f32(const float *x, float s, float *y, ptrdiff_t n);
void weft_scalar_div_f64(const double *x, double s, double *y, ptrdiff_t n);
/// y += a * x (the product is rounded before it is added)
void weft_axpy_f32(const float *x, float a, float *y, ptrdiff_t n);
void weft_axpy_f64(const double *x, double a, double *y, ptrdiff_t n);
/// 1 when no element is infinite or NaN, else 0.
int weft_is_finite_f32(const float *x, ptrdiff_t n);
int weft_is_finite_f64(const double *x, ptrdiff_t n);

/// y = -x, |x|, x * x, max(x, 0) (NaN stays NaN)
void weft_neg_f32(const float *x, float *y, ptrdiff_t n);
void weft_neg_f64(const double *x, double *y, ptrdiff_t n);
void weft_abs_f32(const float *x, float *y, ptrdiff_t n);
void weft_abs_f64(const double *x, double *y, ptrdiff_t n);
void weft_square_f32(const float *x, float *y, ptrdiff_t n);
void weft_square_f64(const double *x, double *y, ptrdiff_t n);
void weft_relu_f32(const float *x, float *y, ptrdiff_t n);
void weft_relu_f64(const double *x, double *y, ptrdiff_t n);

/// dx = dy * (1 - y * y), from tanh's output y.
void weft_tanh_grad_f32(const float *y, const float *dy, float *dx, ptrdiff_t n);
void weft_tanh_grad_f64(const double *y, const double *dy, double *dx, ptrdiff_t n);
/// dx = dy * y * (1 - y), from the sigmoid's output y.
void weft_sigmoid_grad_f32(const float *y, const float *dy, float *dx, ptrdiff_t n);
void weft_sigmoid_grad_f64(const double *y, const double *dy, double *dx, ptrdiff_t n);
/// dx = y > 0 ? dy : 0, from relu's output (or input) y.
void weft_relu_grad_f32(const float *y, const float *dy, float *dx, ptrdiff_t n);
void weft_relu_grad_f64(const double *y, const double *dy, double *dx, ptrdiff_t n);

// MARK: - Reductions
// Four times eight lanes within blocks of 8,192 elements, halves beyond a block: the order (Eigen's,
// see Reductions.c) depends on n alone, and the error grows with log(n) beyond a block.

/// Sum, sum of squares and dot product; zero for n = 0.
float weft_sum_f32(const float *x, ptrdiff_t n);
double weft_sum_f64(const double *x, ptrdiff_t n);
float weft_sum_squares_f32(const float *x, ptrdiff_t n);
double weft_sum_squares_f64(const double *x, ptrdiff_t n);
float weft_dot_f32(const float *x, const float *y, ptrdiff_t n);
double weft_dot_f64(const double *x, const double *y, ptrdiff_t n);
/// The same on floats, in double from the first product or addition on.
double weft_sum_wide_f32(const float *x, ptrdiff_t n);
double weft_sum_squares_wide_f32(const float *x, ptrdiff_t n);
double weft_dot_wide_f32(const float *x, const float *y, ptrdiff_t n);
/// Largest and smallest element; NaN when there is one; -inf and inf for n = 0.
float weft_max_f32(const float *x, ptrdiff_t n);
double weft_max_f64(const double *x, ptrdiff_t n);
float weft_min_f32(const float *x, ptrdiff_t n);
double weft_min_f64(const double *x, ptrdiff_t n);

/// out[c] += x[0][c], then x[1][c], ...: column sums, rows strictly in order. `out` must not
/// overlap `x`; the caller clears it (or chains blocks of rows).
void weft_add_rows_f32(const float *x, ptrdiff_t ld, float *out, ptrdiff_t rows, ptrdiff_t cols);
void weft_add_rows_f64(const double *x, ptrdiff_t ld, double *out, ptrdiff_t rows, ptrdiff_t cols);
/// y[r][c] = x[r][c] + bias[c]
void weft_add_bias_f32(
    const float *x, ptrdiff_t ldx, const float *bias, float *y, ptrdiff_t ldy, ptrdiff_t rows,
    ptrdiff_t cols);
void weft_add_bias_f64(
    const double *x, ptrdiff_t ldx, const double *bias, double *y, ptrdiff_t ldy, ptrdiff_t rows,
    ptrdiff_t cols);

// MARK: - Softmax over rows (in place allowed when the leading dimensions agree)
// The row's maximum is subtracted first. A row with NaN or +inf gives NaN, as does one of -inf only.

/// y[r] = e^(x[r] - max) / sum; a row's sum is that of blocks of 4,096, pairwise.
void weft_softmax_rows_f32(
    const float *x, ptrdiff_t ldx, float *y, ptrdiff_t ldy, ptrdiff_t rows, ptrdiff_t cols);
void weft_softmax_rows_f64(
    const double *x, ptrdiff_t ldx, double *y, ptrdiff_t ldy, ptrdiff_t rows, ptrdiff_t cols);
/// y[r] = (x[r] - max) - log(sum)
void weft_log_softmax_rows_f32(
    const float *x, ptrdiff_t ldx, float *y, ptrdiff_t ldy, ptrdiff_t rows, ptrdiff_t cols);
void weft_log_softmax_rows_f64(
    const double *x, ptrdiff_t ldx, double *y, ptrdiff_t ldy, ptrdiff_t rows, ptrdiff_t cols);

/// Sparse softmax cross-entropy with its gradient, in one visit of each row:
///   loss[r] = log(sum e^(logits[r] - max)) - (logits[r][label] - max)
///   backprop[r] = softmax(logits[r]) - onehot(label)
/// `loss` and `backprop` may be NULL when not wanted. `backprop` may be `logits` itself with the same
/// leading dimension. Returns the first row whose label is outside 0..<cols, or -1; such a row's
/// loss and backprop are NaN, the others are computed as usual.
ptrdiff_t weft_softmax_xent_rows_f32_i32(
    const float *logits, ptrdiff_t ldx, const int32_t *labels, float *loss, float *backprop,
    ptrdiff_t ldb, ptrdiff_t rows, ptrdiff_t cols);
ptrdiff_t weft_softmax_xent_rows_f32_i64(
    const float *logits, ptrdiff_t ldx, const int64_t *labels, float *loss, float *backprop,
    ptrdiff_t ldb, ptrdiff_t rows, ptrdiff_t cols);
ptrdiff_t weft_softmax_xent_rows_f64_i32(
    const double *logits, ptrdiff_t ldx, const int32_t *labels, double *loss, double *backprop,
    ptrdiff_t ldb, ptrdiff_t rows, ptrdiff_t cols);
ptrdiff_t weft_softmax_xent_rows_f64_i64(
    const double *logits, ptrdiff_t ldx, const int64_t *labels, double *loss, double *backprop,
    ptrdiff_t ldb, ptrdiff_t rows, ptrdiff_t cols);
/// Dense labels [rows, cols] (leading dimension ldl), each row a distribution:
///   loss[r] = sum labels * (log(sum e^(x - max)) - (x - max));  backprop[r] = softmax - labels
/// `backprop` may be `logits` or `labels`, with the same leading dimension.
void weft_softmax_xent_dense_rows_f32(
    const float *logits, ptrdiff_t ldx, const float *labels, ptrdiff_t ldl, float *loss,
    float *backprop, ptrdiff_t ldb, ptrdiff_t rows, ptrdiff_t cols);
void weft_softmax_xent_dense_rows_f64(
    const double *logits, ptrdiff_t ldx, const double *labels, ptrdiff_t ldl, double *loss,
    double *backprop, ptrdiff_t ldb, ptrdiff_t rows, ptrdiff_t cols);

#ifdef __cplusplus
}
#endif

#include "WeftCrossEntropy.h"
#include "WeftOptimizers.h"
#include "WeftPanels.h"
#include "WeftRandom.h"

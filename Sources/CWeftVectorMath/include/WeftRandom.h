// Philox4x32-10, a counter-based random generator, with TensorFlow's stream conventions.
#pragma once

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

// State: a 64-bit key (two words, low first) and a 128-bit counter (four words, low first). One
// counter value gives a group of four 32-bit words; the counter then steps by one.
// - Stateful ops with attrs seed, seed2: key = seed (low, high word), counter = {0, 0, seed2 low,
//   seed2 high}. A run that made n elements moves the counter on by n * 256 (see
//   weft_philox_skip), whatever it consumed.
// - Stateless ops with seed = {a, b}: weft_philox_stateless_seed makes key and counter.
// The counter is only read: fills of n elements start at it. To start in the middle, skip whole
// groups: elements 4 * g and up of 32-bit outputs (and float), 2 * g and up of 64-bit outputs.

/// A generator's state.
typedef struct weft_philox {
  uint32_t key[2];
  uint32_t counter[4];
} weft_philox;

/// The state of a stateful op with these seeds, before its first run.
weft_philox weft_philox_seed(uint64_t seed, uint64_t seed2);
/// The state of a stateless op with these two seeds (they are scrambled by Philox itself).
weft_philox weft_philox_stateless_seed(uint64_t seed0, uint64_t seed1);
/// The state `groups` counter values further on.
weft_philox weft_philox_skip(weft_philox state, uint64_t groups);

/// The raw stream: n words.
void weft_philox_fill_u32(weft_philox state, uint32_t *out, ptrdiff_t n);
/// Uniform in [0, 1): 23 random bits as the mantissa of a number in [1, 2), minus one.
void weft_philox_uniform_f32(weft_philox state, float *out, ptrdiff_t n);
/// Uniform in [0, 1) with 52 random bits; two words an element, the first one high.
void weft_philox_uniform_f64(weft_philox state, double *out, ptrdiff_t n);
/// Uniform integers low + word % range, as RandomUniformInt; range = high - low, not zero.
void weft_philox_uniform_i32(
    weft_philox state, int32_t low, uint32_t range, int32_t *out, ptrdiff_t n);
/// The same with 64-bit words (the first word low).
void weft_philox_uniform_i64(
    weft_philox state, int64_t low, uint64_t range, int64_t *out, ptrdiff_t n);
/// Standard normal by Box and Muller, two from two words: sqrt(-2 log u) * (sin, cos)(2 pi v).
void weft_philox_normal_f32(weft_philox state, float *out, ptrdiff_t n);
/// The same in double, two from four words.
void weft_philox_normal_f64(weft_philox state, double *out, ptrdiff_t n);
/// Standard normal, values of magnitude 2 and more drawn again. Each group of 4 elements has 256
/// counter values to itself: element 4 * g starts at counter + 256 * g.
void weft_philox_truncated_normal_f32(weft_philox state, float *out, ptrdiff_t n);
/// The same in double; groups of 2 elements, each with 128 counter values.
void weft_philox_truncated_normal_f64(weft_philox state, double *out, ptrdiff_t n);
/// Running sums of weights e^(x - largest), one for each 16 elements begun: sums[b] is that of all
/// up to element 16 b + 15. `largest` is the largest finite element; weights are correct to about
/// 2^-34, those that are not finite, or below e^-700 beside the largest, are zero. Returns the last
/// sum.
double weft_draw_sums_f32(const float *x, ptrdiff_t n, float *largest, double *sums);
double weft_draw_sums_f64(const double *x, ptrdiff_t n, double *largest, double *sums);
/// The first element up to which weights come to more than `wanted`, by `largest` and `sums` as made
/// of x above; n when all together do not. An element without weight is never found.
ptrdiff_t weft_draw_class_f32(
    const float *x, ptrdiff_t n, float largest, const double *sums, double wanted);
ptrdiff_t weft_draw_class_f64(
    const double *x, ptrdiff_t n, double largest, const double *sums, double wanted);
/// Gamma samples by Marsaglia and Tsang (ACM TOMS 26(3), 2000), element i of shape alphas[i] > 0
/// and from counter + 256 * i; NaN for other alphas. Results are correct to a few ulp of double.
void weft_philox_gamma_f64(
    weft_philox state, const double *alphas, double *out, ptrdiff_t n);
/// The same, faster, and correct to less than half an ulp of float beside the rounding to come.
void weft_philox_gamma_f32(
    weft_philox state, const double *alphas, double *out, ptrdiff_t n);

#ifdef __cplusplus
}
#endif

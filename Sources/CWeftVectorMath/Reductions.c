// Reductions in an order that depends on the length alone, column sums and the bias.
#include "Internal.h"

// Sixteen lanes as one value: one register at v4, two at v3, four in the baseline.
typedef float v16f __attribute__((vector_size(64), aligned(4)));
typedef double v16d __attribute__((vector_size(128), aligned(8)));
typedef int32_t v16i __attribute__((vector_size(64)));
typedef int64_t v16l __attribute__((vector_size(128)));

// Sums go in the order of Eigen's vectorized reduction with registers of eight, so that a float32
// loss has TensorFlow's rounding: four registers side by side, added up in pairs; what is left of
// whole registers into the first; the lanes as a tree; the tail by itself. Beyond a block, halves.
enum { SUM_LANES = 8, SUM_BLOCK = 1024 * SUM_LANES };
typedef float v32f __attribute__((vector_size(128), aligned(4)));
typedef double v32d __attribute__((vector_size(256), aligned(8)));

// A block of at most SUM_BLOCK elements; TERM is lane-wise in a (and b).
#define SUM_OF_BLOCK(NAME, T, V, WT, WV, TERM) \
  static WEFT_CLONES WT NAME##_block(const T *x, const T *y, ptrdiff_t n) { \
    WV acc = {0}; \
    ptrdiff_t i = 0; \
    for (; i + 4 * SUM_LANES <= n; i += 4 * SUM_LANES) { \
      const WV a = __builtin_convertvector(*(const V *)(x + i), WV); \
      const WV b = __builtin_convertvector(*(const V *)(y + i), WV); \
      (void)b; \
      acc += (TERM); \
    } \
    WT lanes[4 * SUM_LANES]; \
    memcpy(lanes, &acc, sizeof lanes); \
    for (int j = 0; j < SUM_LANES; j++) { \
      lanes[j] = (lanes[j] + lanes[j + SUM_LANES]) \
          + (lanes[j + 2 * SUM_LANES] + lanes[j + 3 * SUM_LANES]); \
    } \
    for (; i + SUM_LANES <= n; i += SUM_LANES) { \
      for (int j = 0; j < SUM_LANES; j++) { \
        const WT a = (WT)x[i + j], b = (WT)y[i + j]; \
        (void)b; \
        lanes[j] += (TERM); \
      } \
    } \
    WT tail = 0; \
    for (; i < n; i++) { \
      const WT a = (WT)x[i], b = (WT)y[i]; \
      (void)b; \
      tail += (TERM); \
    } \
    for (int width = SUM_LANES / 2; width > 0; width /= 2) { \
      for (int j = 0; j < width; j++) lanes[j] += lanes[j + width]; \
    } \
    return tail + lanes[0]; \
  } \
  static WT NAME##_tree(const T *x, const T *y, ptrdiff_t n) { \
    if (n <= SUM_BLOCK) return NAME##_block(x, y, n); \
    const ptrdiff_t half = (n / 2 + n % 2 + SUM_LANES - 1) / SUM_LANES * SUM_LANES; \
    const WT left = NAME##_tree(x, y, half); \
    return left + NAME##_tree(x + half, y + half, n - half); \
  }

#define SUMS(WIDE, S, T, V, WT, WV) \
  SUM_OF_BLOCK(sum##WIDE##S, T, V, WT, WV, a) \
  SUM_OF_BLOCK(sum_squares##WIDE##S, T, V, WT, WV, a *a) \
  SUM_OF_BLOCK(dot##WIDE##S, T, V, WT, WV, a *b) \
  WT weft_sum##WIDE##S(const T *x, ptrdiff_t n) { \
    return n > 0 ? sum##WIDE##S##_tree(x, x, n) : 0; \
  } \
  WT weft_sum_squares##WIDE##S(const T *x, ptrdiff_t n) { \
    return n > 0 ? sum_squares##WIDE##S##_tree(x, x, n) : 0; \
  } \
  WT weft_dot##WIDE##S(const T *x, const T *y, ptrdiff_t n) { \
    return n > 0 ? dot##WIDE##S##_tree(x, y, n) : 0; \
  }

SUMS(, _f32, float, v32f, float, v32f)
SUMS(, _f64, double, v32d, double, v32d)
SUMS(_wide, _f32, float, v32f, double, v32d)

// The extreme itself does not depend on the order, so two sets of lanes hide the latency. NaN is
// remembered aside. Zeros of both signs compare equal: which one is returned follows the lanes.
#define EXTREME(NAME, T, V, M, START, BETTER) \
  WEFT_CLONES T NAME(const T *x, ptrdiff_t n) { \
    V best[2], start; \
    for (int j = 0; j < WEFT_WIDTH; j++) start[j] = START; \
    best[0] = best[1] = start; \
    M nans = {0}; \
    ptrdiff_t i = 0; \
    for (; i + 2 * WEFT_WIDTH <= n; i += 2 * WEFT_WIDTH) { \
      const V a = *(const V *)(x + i), b = *(const V *)(x + i + WEFT_WIDTH); \
      const M ma = a BETTER best[0], mb = b BETTER best[1]; \
      best[0] = (V)((ma & (M)a) | (~ma & (M)best[0])); \
      best[1] = (V)((mb & (M)b) | (~mb & (M)best[1])); \
      nans |= (a != a) | (b != b); \
    } \
    T lanes[2 * WEFT_WIDTH]; \
    memcpy(lanes, best, sizeof lanes); \
    int nan = 0; \
    for (int j = 0; j < WEFT_WIDTH; j++) nan |= nans[j] != 0; \
    for (int j = 0; i < n; i++, j++) { \
      lanes[j] = x[i] BETTER lanes[j] ? x[i] : lanes[j]; \
      nan |= x[i] != x[i]; \
    } \
    T result = lanes[0]; \
    for (int j = 1; j < 2 * WEFT_WIDTH; j++) result = lanes[j] BETTER result ? lanes[j] : result; \
    return nan ? (T)NAN : result; \
  }

EXTREME(weft_max_f32, float, v16f, v16i, -INFINITY, >)
EXTREME(weft_max_f64, double, v16d, v16l, -INFINITY, >)
EXTREME(weft_min_f32, float, v16f, v16i, INFINITY, <)
EXTREME(weft_min_f64, double, v16d, v16l, INFINITY, <)

// Four rows at a time, added one after the other, so that `out` is visited four times less.
#define ROWS(S, T) \
  WEFT_CLONES void weft_add_rows##S( \
      const T *x, ptrdiff_t ld, T *out, ptrdiff_t rows, ptrdiff_t cols) { \
    ptrdiff_t r = 0; \
    for (; r + 4 <= rows; r += 4) { \
      const T *a = x + r * ld, *b = a + ld, *c = b + ld, *d = c + ld; \
      WEFT_LOOP for (ptrdiff_t i = 0; i < cols; i++) { \
        out[i] = (((out[i] + a[i]) + b[i]) + c[i]) + d[i]; \
      } \
    } \
    for (; r < rows; r++) { \
      const T *a = x + r * ld; \
      WEFT_LOOP for (ptrdiff_t i = 0; i < cols; i++) out[i] += a[i]; \
    } \
  } \
  WEFT_CLONES void weft_add_bias##S( \
      const T *x, ptrdiff_t ldx, const T *bias, T *y, ptrdiff_t ldy, ptrdiff_t rows, \
      ptrdiff_t cols) { \
    for (ptrdiff_t r = 0; r < rows; r++) { \
      const T *a = x + r * ldx; \
      T *b = y + r * ldy; \
      WEFT_LOOP for (ptrdiff_t i = 0; i < cols; i++) b[i] = a[i] + bias[i]; \
    } \
  }

ROWS(_f32, float)
ROWS(_f64, double)

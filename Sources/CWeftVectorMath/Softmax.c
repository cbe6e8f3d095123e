// Softmax, log-softmax and cross-entropy over rows, for both types.
#include "FloatMath.h"

static WEFT_CLONES void exp_shifted_blocks_f32(
    const float *x, float shift, float *y, ptrdiff_t n) {
  WEFT_LANES for (ptrdiff_t i = 0; i < n; i++) y[i] = weft_expf(x[i] - shift);
}

static void exp_shifted_blocks_f64(const double *x, double shift, double *y, ptrdiff_t n) {
  for (ptrdiff_t i = 0; i < n; i++) y[i] = exp(x[i] - shift);
}

// e^x for x <= 0, to 1.3e-7 (1 - x) of it, for what is added to e^0: 2^k 2^f for x log2(e) = k + f.
// Zero below every normal float, by k = -127.
WEFT_INLINE float expf_below(float x) {
  const float t = x * 1.44269504f;
  const float c = t < -127.0f ? -127.0f : t;
  const float biased = c + (WEFT_ROUND_F32 + 127.0f);
  const float f = c - (biased - (WEFT_ROUND_F32 + 127.0f));
  float p = 0.0013269534f;
  p = p * f + 0.009671292f;
  p = p * f + 0.05550711f;
  p = p * f + 0.24022247f;
  p = p * f + 0.693147f;
  p = p * f + 1.0f;
  return p * weft_float(weft_bits32(biased) << 23);
}

#define T float
#define PANEL WEFT_PANEL_F32
#define WIDE_LANES _Pragma("clang loop vectorize(assume_safety) vectorize_width(16)")
#define NAME(name) name##_f32
#define FN(name) weft_##name##_f32
#define XENT(label) weft_softmax_xent_rows_f32_##label
#define LOG weft_logf
#define CUT(e) (weft_bits32(e) >> 31)
#define EXP_BELOW expf_below
#define EXP_CLONES WEFT_CLONES
#define EXP_LANES WIDE_LANES
#include "SoftmaxRows.h"
#include "SoftmaxTiles.h"
#undef T
#undef PANEL
#undef WIDE_LANES
#undef NAME
#undef FN
#undef XENT
#undef LOG
#undef CUT
#undef EXP_BELOW
#undef EXP_CLONES
#undef EXP_LANES

#define T double
#define PANEL WEFT_PANEL_F64
#define WIDE_LANES _Pragma("clang loop vectorize(assume_safety) vectorize_width(8)")
#define NAME(name) name##_f64
#define FN(name) weft_##name##_f64
#define XENT(label) weft_softmax_xent_rows_f64_##label
#define LOG log
#define CUT(e) (weft_bits64(e) >> 63)
// libm's function, element by element: no clone would change anything.
#define EXP_BELOW exp
#define EXP_CLONES
#define EXP_LANES
#include "SoftmaxRows.h"
#include "SoftmaxTiles.h"

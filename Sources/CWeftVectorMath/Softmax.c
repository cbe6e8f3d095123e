// Softmax, log-softmax and cross-entropy over rows, for both types.
#include "FloatMath.h"

static WEFT_CLONES void exp_shifted_blocks_f32(
    const float *x, float shift, float *y, ptrdiff_t n) {
  WEFT_LANES for (ptrdiff_t i = 0; i < n; i++) y[i] = weft_expf(x[i] - shift);
}

static void exp_shifted_blocks_f64(const double *x, double shift, double *y, ptrdiff_t n) {
  for (ptrdiff_t i = 0; i < n; i++) y[i] = exp(x[i] - shift);
}

// e^x for x <= 0; zero where that is below every normal float.
WEFT_INLINE float expf_below(float x) { return x < -87.0f ? 0.0f : weft_expf_fast(x); }

#define T float
#define NAME(name) name##_f32
#define FN(name) weft_##name##_f32
#define XENT(label) weft_softmax_xent_rows_f32_##label
#define LOG weft_logf
#define CUT(e) (weft_bits32(e) >> 31)
#define EXP_BELOW expf_below
#define EXP_CLONES WEFT_CLONES
#define EXP_LANES WEFT_LANES
#include "SoftmaxRows.h"
#include "SoftmaxTiles.h"
#undef T
#undef NAME
#undef FN
#undef XENT
#undef LOG
#undef CUT
#undef EXP_BELOW
#undef EXP_CLONES
#undef EXP_LANES

#define T double
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

// Elementwise double functions: libm, element by element. Double serves gradient checks, where
// accuracy comes first.
#include "DoubleMath.h"

#define WEFT_LIBM(NAME, EXPR) \
  void NAME(const double *x, double *y, ptrdiff_t n) { \
    for (ptrdiff_t i = 0; i < n; i++) { \
      const double v = x[i]; \
      y[i] = (EXPR); \
    } \
  }

WEFT_LIBM(weft_exp_f64, exp(v))
WEFT_LIBM(weft_expm1_f64, expm1(v))
WEFT_LIBM(weft_log_f64, log(v))
WEFT_LIBM(weft_log1p_f64, log1p(v))
WEFT_LIBM(weft_tanh_f64, tanh(v))
WEFT_LIBM(weft_sigmoid_f64, weft_sigmoid(v))
WEFT_LIBM(weft_softplus_f64, (v < 0.0 ? 0.0 : v) + log1p(exp(-fabs(v))))
WEFT_LIBM(weft_erf_f64, erf(v))
WEFT_LIBM(weft_sin_f64, sin(v))
WEFT_LIBM(weft_cos_f64, cos(v))

WEFT_MAP(weft_sqrt_f64, double, __builtin_elementwise_sqrt(v))
WEFT_MAP(weft_rsqrt_f64, double, 1.0 / __builtin_elementwise_sqrt(v))

void weft_pow_f64(const double *x, const double *y, double *z, ptrdiff_t n) {
  for (ptrdiff_t i = 0; i < n; i++) z[i] = pow(x[i], y[i]);
}

// Elementwise arithmetic: one short loop each, for both types.
#include "Internal.h"

#define UNARY(NAME, T, EXPR) \
  WEFT_CLONES void NAME(const T *x, T *y, ptrdiff_t n) { \
    WEFT_LOOP for (ptrdiff_t i = 0; i < n; i++) { \
      const T a = x[i]; \
      y[i] = (EXPR); \
    } \
  }
#define BINARY(NAME, T, EXPR) \
  WEFT_CLONES void NAME(const T *x, const T *y, T *z, ptrdiff_t n) { \
    WEFT_LOOP for (ptrdiff_t i = 0; i < n; i++) { \
      const T a = x[i], b = y[i]; \
      z[i] = (EXPR); \
    } \
  }
#define SCALAR(NAME, T, EXPR) \
  WEFT_CLONES void NAME(const T *x, T s, T *y, ptrdiff_t n) { \
    WEFT_LOOP for (ptrdiff_t i = 0; i < n; i++) { \
      const T a = x[i]; \
      y[i] = (EXPR); \
    } \
  }
#define BOTH(KIND, NAME, EXPR) \
  KIND(weft_##NAME##_f32, float, EXPR) \
  KIND(weft_##NAME##_f64, double, EXPR)

BOTH(BINARY, add, a + b)
BOTH(BINARY, sub, a - b)
BOTH(BINARY, mul, a *b)
BOTH(BINARY, div, a / b)
BOTH(BINARY, maximum, ((a > b) | (a != a)) ? a : b)
BOTH(BINARY, minimum, ((a < b) | (a != a)) ? a : b)
BOTH(BINARY, squared_difference, (a - b) * (a - b))

BOTH(SCALAR, add_scalar, a + s)
BOTH(SCALAR, sub_scalar, a - s)
BOTH(SCALAR, scale, a *s)
BOTH(SCALAR, div_scalar, a / s)
BOTH(SCALAR, scalar_sub, s - a)
BOTH(SCALAR, scalar_div, s / a)
BOTH(SCALAR, axpy, y[i] + a * s)

BOTH(UNARY, neg, -a)
BOTH(UNARY, square, a *a)
UNARY(weft_abs_f32, float, __builtin_fabsf(a))
UNARY(weft_abs_f64, double, __builtin_fabs(a))
// Written so that NaN passes.
BOTH(UNARY, relu, a <= 0 ? 0 : a)

// a is the activation's output, b the gradient above it.
BOTH(BINARY, tanh_grad, b *(1 - a * a))
BOTH(BINARY, sigmoid_grad, b *a *(1 - a))
BOTH(BINARY, relu_grad, a > 0 ? b : 0)

// What is finite times zero is zero; anything else is NaN, which differs from itself.
#define IS_FINITE(SUFFIX, T, I) \
  WEFT_CLONES int weft_is_finite_##SUFFIX(const T *x, ptrdiff_t n) { \
    I bad = 0; \
    for (ptrdiff_t i = 0; i < n; i++) { \
      const T zero = x[i] * 0; \
      bad |= zero != zero; \
    } \
    return bad == 0; \
  }

IS_FINITE(f32, float, int32_t)
IS_FINITE(f64, double, int64_t)

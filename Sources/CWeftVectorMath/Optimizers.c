// Optimizer updates in TensorFlow's order of operations, for both types.
#include "Internal.h"

#define SQRT(x) __builtin_elementwise_sqrt(x)

// The loop over one update; a flag that changes the formula gets a loop of its own each way.
#define EACH(BODY) \
  WEFT_LOOP for (ptrdiff_t i = 0; i < n; i++) { \
    const T g = grad[i]; \
    BODY \
  }

#define OPTIMIZERS(S, TYPE) \
  WEFT_CLONES void weft_apply_gradient_descent##S( \
      const TYPE *grad, TYPE lr, TYPE *var, ptrdiff_t n) { \
    typedef TYPE T; \
    EACH(var[i] -= g * lr;) \
  } \
  WEFT_CLONES void weft_apply_momentum##S( \
      const TYPE *grad, TYPE lr, TYPE momentum, int nesterov, TYPE *var, TYPE *accum, \
      ptrdiff_t n) { \
    typedef TYPE T; \
    if (nesterov) { \
      EACH(const T a = accum[i] * momentum + g; accum[i] = a; \
           var[i] -= g * lr + a * momentum * lr;) \
    } else { \
      EACH(const T a = accum[i] * momentum + g; accum[i] = a; var[i] -= a * lr;) \
    } \
  } \
  WEFT_CLONES void weft_apply_adam##S( \
      const TYPE *grad, TYPE lr_t, TYPE beta1, TYPE beta2, TYPE epsilon, int nesterov, TYPE *var, \
      TYPE *m, TYPE *v, ptrdiff_t n) { \
    typedef TYPE T; \
    const T rest1 = 1 - beta1, rest2 = 1 - beta2; \
    if (nesterov) { \
      EACH(const T a = m[i] + (g - m[i]) * rest1; const T b = v[i] + (g * g - v[i]) * rest2; \
           m[i] = a; v[i] = b; \
           var[i] -= ((g * rest1 + beta1 * a) * lr_t) / (SQRT(b) + epsilon);) \
    } else { \
      EACH(const T a = m[i] + (g - m[i]) * rest1; const T b = v[i] + (g * g - v[i]) * rest2; \
           m[i] = a; v[i] = b; var[i] -= (a * lr_t) / (SQRT(b) + epsilon);) \
    } \
  } \
  WEFT_CLONES void weft_apply_rms_prop##S( \
      const TYPE *grad, TYPE lr, TYPE rho, TYPE momentum, TYPE epsilon, TYPE *var, TYPE *ms, \
      TYPE *mom, ptrdiff_t n) { \
    typedef TYPE T; \
    const T rest = 1 - rho; \
    EACH(const T s = ms[i] + (g * g - ms[i]) * rest; ms[i] = s; \
         const T a = mom[i] * momentum + (g * lr) / SQRT(s + epsilon); mom[i] = a; var[i] -= a;) \
  } \
  WEFT_CLONES void weft_sparse_apply_rms_prop##S( \
      const TYPE *grad, TYPE lr, TYPE rho, TYPE momentum, TYPE epsilon, TYPE *var, TYPE *ms, \
      TYPE *mom, ptrdiff_t n) { \
    typedef TYPE T; \
    const T rest = 1 - rho; \
    EACH(const T s = ms[i] * rho + g * g * rest; ms[i] = s; \
         const T a = mom[i] * momentum + 1 / SQRT(s + epsilon) * lr * g; mom[i] = a; var[i] -= a;) \
  } \
  WEFT_CLONES void weft_apply_centered_rms_prop##S( \
      const TYPE *grad, TYPE lr, TYPE rho, TYPE momentum, TYPE epsilon, TYPE *var, TYPE *mg, \
      TYPE *ms, TYPE *mom, ptrdiff_t n) { \
    typedef TYPE T; \
    const T rest = 1 - rho; \
    EACH(const T s = ms[i] + (g * g - ms[i]) * rest; const T c = mg[i] + (g - mg[i]) * rest; \
         ms[i] = s; mg[i] = c; const T divisor = (s - c * c) + epsilon; \
         const T a = mom[i] * momentum + (g * lr) / SQRT(divisor); mom[i] = a; var[i] -= a;) \
  } \
  WEFT_CLONES void weft_apply_adagrad##S( \
      const TYPE *grad, TYPE lr, int update_slots, TYPE *var, TYPE *accum, ptrdiff_t n) { \
    typedef TYPE T; \
    if (update_slots) { \
      EACH(const T a = accum[i] + g * g; accum[i] = a; var[i] -= g * lr * (1 / SQRT(a));) \
    } else { \
      EACH(var[i] -= g * lr * (1 / SQRT(accum[i]));) \
    } \
  } \
  WEFT_CLONES void weft_apply_adadelta##S( \
      const TYPE *grad, TYPE lr, TYPE rho, TYPE epsilon, TYPE *var, TYPE *accum, \
      TYPE *accum_update, ptrdiff_t n) { \
    typedef TYPE T; \
    const T rest = 1 - rho; \
    EACH(const T a = accum[i] * rho + g * g * rest; accum[i] = a; \
         const T update = SQRT(accum_update[i] + epsilon) * (1 / SQRT(a + epsilon)) * g; \
         var[i] -= update * lr; \
         accum_update[i] = accum_update[i] * rho + update * update * rest;) \
  }

OPTIMIZERS(_f32, float)
OPTIMIZERS(_f64, double)

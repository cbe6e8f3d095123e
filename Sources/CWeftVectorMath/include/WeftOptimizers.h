// Optimizer updates, each in TensorFlow's formula and order of operations (its training ops).
#pragma once

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

// `n` contiguous elements. `var` and the slots are updated; `grad` is only read. No overlaps.

/// ApplyGradientDescent: var -= grad * lr
void weft_apply_gradient_descent_f32(const float *grad, float lr, float *var, ptrdiff_t n);
void weft_apply_gradient_descent_f64(const double *grad, double lr, double *var, ptrdiff_t n);
/// ApplyMomentum: accum = accum * momentum + grad;
///   nesterov: var -= grad * lr + accum * momentum * lr; else var -= accum * lr
void weft_apply_momentum_f32(
    const float *grad, float lr, float momentum, int nesterov, float *var, float *accum,
    ptrdiff_t n);
void weft_apply_momentum_f64(
    const double *grad, double lr, double momentum, int nesterov, double *var, double *accum,
    ptrdiff_t n);
/// ApplyAdam, where the caller gives lr_t = lr * sqrt(1 - beta2^t) / (1 - beta1^t):
///   m += (grad - m) * (1 - beta1);  v += (grad * grad - v) * (1 - beta2)
///   nesterov: var -= ((grad * (1 - beta1) + beta1 * m) * lr_t) / (sqrt(v) + epsilon)
///   else var -= (m * lr_t) / (sqrt(v) + epsilon)
void weft_apply_adam_f32(
    const float *grad, float lr_t, float beta1, float beta2, float epsilon, int nesterov,
    float *var, float *m, float *v, ptrdiff_t n);
void weft_apply_adam_f64(
    const double *grad, double lr_t, double beta1, double beta2, double epsilon, int nesterov,
    double *var, double *m, double *v, ptrdiff_t n);
/// ApplyRMSProp: ms += (grad * grad - ms) * (1 - rho);
///   mom = mom * momentum + (grad * lr) / sqrt(ms + epsilon);  var -= mom
void weft_apply_rms_prop_f32(
    const float *grad, float lr, float rho, float momentum, float epsilon, float *var, float *ms,
    float *mom, ptrdiff_t n);
void weft_apply_rms_prop_f64(
    const double *grad, double lr, double rho, double momentum, double epsilon, double *var,
    double *ms, double *mom, ptrdiff_t n);
/// SparseApplyRMSProp, which rounds in another order: ms = ms * rho + grad * grad * (1 - rho);
///   mom = mom * momentum + 1 / sqrt(ms + epsilon) * lr * grad;  var -= mom
void weft_sparse_apply_rms_prop_f32(
    const float *grad, float lr, float rho, float momentum, float epsilon, float *var, float *ms,
    float *mom, ptrdiff_t n);
void weft_sparse_apply_rms_prop_f64(
    const double *grad, double lr, double rho, double momentum, double epsilon, double *var,
    double *ms, double *mom, ptrdiff_t n);
/// ApplyCenteredRMSProp: also mg += (grad - mg) * (1 - rho), and the divisor is
///   sqrt(ms - mg * mg + epsilon)
void weft_apply_centered_rms_prop_f32(
    const float *grad, float lr, float rho, float momentum, float epsilon, float *var, float *mg,
    float *ms, float *mom, ptrdiff_t n);
void weft_apply_centered_rms_prop_f64(
    const double *grad, double lr, double rho, double momentum, double epsilon, double *var,
    double *mg, double *ms, double *mom, ptrdiff_t n);
/// ApplyAdagrad: accum += grad * grad (when update_slots);  var -= grad * lr * (1 / sqrt(accum))
void weft_apply_adagrad_f32(
    const float *grad, float lr, int update_slots, float *var, float *accum, ptrdiff_t n);
void weft_apply_adagrad_f64(
    const double *grad, double lr, int update_slots, double *var, double *accum, ptrdiff_t n);
/// ApplyAdadelta: accum = accum * rho + grad * grad * (1 - rho);
///   update = sqrt(accum_update + epsilon) * (1 / sqrt(accum + epsilon)) * grad;
///   var -= update * lr;  accum_update = accum_update * rho + update * update * (1 - rho)
void weft_apply_adadelta_f32(
    const float *grad, float lr, float rho, float epsilon, float *var, float *accum,
    float *accum_update, ptrdiff_t n);
void weft_apply_adadelta_f64(
    const double *grad, double lr, double rho, double epsilon, double *var, double *accum,
    double *accum_update, ptrdiff_t n);

#ifdef __cplusplus
}
#endif

// Elementwise float functions.
#include "FloatMath.h"

WEFT_MAP(weft_exp_f32, float, weft_expf(v))
WEFT_MAP(weft_expm1_f32, float, weft_expm1f(v))
WEFT_MAP(weft_log_f32, float, weft_logf(v))
WEFT_MAP(weft_log1p_f32, float, weft_log1pf(v))
WEFT_MAP(weft_tanh_f32, float, weft_tanhf(v))
WEFT_MAP(weft_sigmoid_f32, float, weft_sigmoidf(v))
WEFT_MAP(weft_softplus_f32, float, weft_softplusf(v))
WEFT_MAP(weft_erf_f32, float, weft_erff(v))
// The intrinsic has no errno to set, unlike sqrtf, and so vectorizes.
WEFT_MAP(weft_sqrt_f32, float, __builtin_elementwise_sqrt(v))
WEFT_MAP(weft_rsqrt_f32, float, 1.0f / __builtin_elementwise_sqrt(v))

// Recurrent cells' pointwise parts, for both types.
#include "DoubleMath.h"
#include "FloatMath.h"

#define T float
#define ACTIVATION_CLONES WEFT_CLONES
#define ACTIVATION_LOOP WEFT_LANES
#define NAME(name) name##_f32
#define FN(name) weft_##name##_f32
#define SIGMOID weft_sigmoidf
#define TANH weft_tanhf
#include "CellLoops.h"
#undef T
#undef ACTIVATION_CLONES
#undef ACTIVATION_LOOP
#undef NAME
#undef FN
#undef SIGMOID
#undef TANH

// These call libm: there is nothing to vectorize.
#define T double
#define ACTIVATION_CLONES
#define ACTIVATION_LOOP
#define NAME(name) name##_f64
#define FN(name) weft_##name##_f64
#define SIGMOID weft_sigmoid
#define TANH tanh
#include "CellLoops.h"

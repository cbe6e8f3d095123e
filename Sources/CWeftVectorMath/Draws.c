// Classes drawn by log weights.
#include <float.h>

#include "DoubleMath.h"
#include "WeftRandom.h"

#define T float
#define LOWEST -FLT_MAX
#define FN(name) weft_##name##_f32
#define LOCAL(name) name##_f32
#include "DrawSums.h"
#undef T
#undef LOWEST
#undef FN
#undef LOCAL

#define T double
#define LOWEST -DBL_MAX
#define FN(name) weft_##name##_f64
#define LOCAL(name) name##_f64
#include "DrawSums.h"

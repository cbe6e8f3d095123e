// Products with factors in panels, for both types: one set of kernels for each instruction set, all
// from one text, chosen at each call.
#include "Internal.h"
#include "WeftPanels.h"

// Sums of products are what fused multiply-adds are for, and no two levels need agree here.
#pragma clang fp contract(fast)

#define UNROLL _Pragma("clang loop unroll(full)")

#if defined(__x86_64__) && defined(__ELF__) && defined(__gnu_linux__) && !defined(WEFT_NO_CLONES)
#define PANEL_LEVELS 1
#endif

// Vectors beside one another in a block.
#define VECTORS 2

#define T float
#define COLUMNS WEFT_PANEL_F32
#define FN(name) weft_##name##_f32
#define V4(name) name##_f32_v4
#define V3(name) name##_f32_v3
#define BASE(name) name##_f32_base
#include "PanelLevels.h"
#include "PanelProduct.h"
#undef T
#undef COLUMNS
#undef FN
#undef V4
#undef V3
#undef BASE
#undef CHOOSE

#define T double
#define COLUMNS WEFT_PANEL_F64
#define FN(name) weft_##name##_f64
#define V4(name) name##_f64_v4
#define V3(name) name##_f64_v3
#define BASE(name) name##_f64_base
#include "PanelLevels.h"
#include "PanelProduct.h"

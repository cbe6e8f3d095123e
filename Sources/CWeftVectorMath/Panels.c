// Products with factors in panels, for both types: one set of kernels for each instruction set, all
// from one text, chosen at each call.
#include "Internal.h"
#include "WeftPanels.h"

// Sums of products are what fused multiply-adds are for, and no two clones need agree here.
#pragma clang fp contract(fast)

#define UNROLL _Pragma("clang loop unroll(full)")

#if defined(__x86_64__) && defined(__ELF__) && defined(__gnu_linux__) && !defined(WEFT_NO_CLONES)
#define PANEL_LEVELS 1
// Wide vectors are legal only where a function asks for them.
#define LEVEL_4 __attribute__((target("arch=x86-64-v4"), min_vector_width(512)))
#define LEVEL_3 __attribute__((target("arch=x86-64-v3")))
#endif

// MARK: - float

#define T float
#define COLUMNS WEFT_PANEL_F32
#define FN(name) weft_##name##_f32
#define VECTORS 2

#ifdef PANEL_LEVELS
#define NAME(name) name##_f32_v4
#define ATTRIBUTES LEVEL_4
#define LANES 16
#define ROWS 12
#include "PanelKernels.h"
#undef NAME
#undef ATTRIBUTES
#undef LANES
#undef ROWS

#define NAME(name) name##_f32_v3
#define ATTRIBUTES LEVEL_3
#define LANES 8
#define ROWS 6
#include "PanelKernels.h"
#undef NAME
#undef ATTRIBUTES
#undef LANES
#undef ROWS
#define CHOOSE \
  (weft_cpu_level() == 4 ? rows_f32_v4 : weft_cpu_level() == 3 ? rows_f32_v3 : rows_f32_base)
#else
#define CHOOSE rows_f32_base
#endif

// Sixteen registers of SSE, thirty-two of NEON.
#if defined(__aarch64__) || defined(__arm64__)
#define BASE_ROWS 12
#else
#define BASE_ROWS 6
#endif

#define NAME(name) name##_f32_base
#define ATTRIBUTES
#define LANES 4
#define ROWS BASE_ROWS
#include "PanelKernels.h"
#include "PanelProduct.h"
#undef NAME
#undef ATTRIBUTES
#undef LANES
#undef ROWS
#undef CHOOSE
#undef T
#undef COLUMNS
#undef FN

// MARK: - double

#define T double
#define COLUMNS WEFT_PANEL_F64
#define FN(name) weft_##name##_f64

#ifdef PANEL_LEVELS
#define NAME(name) name##_f64_v4
#define ATTRIBUTES LEVEL_4
#define LANES 8
#define ROWS 12
#include "PanelKernels.h"
#undef NAME
#undef ATTRIBUTES
#undef LANES
#undef ROWS

#define NAME(name) name##_f64_v3
#define ATTRIBUTES LEVEL_3
#define LANES 4
#define ROWS 6
#include "PanelKernels.h"
#undef NAME
#undef ATTRIBUTES
#undef LANES
#undef ROWS
#define CHOOSE \
  (weft_cpu_level() == 4 ? rows_f64_v4 : weft_cpu_level() == 3 ? rows_f64_v3 : rows_f64_base)
#else
#define CHOOSE rows_f64_base
#endif

#define NAME(name) name##_f64_base
#define ATTRIBUTES
#define LANES 2
#define ROWS BASE_ROWS
#include "PanelKernels.h"
#include "PanelProduct.h"

// The kernels of each level for the type T, and CHOOSE, those that run here. Included once for each
// type by Panels.c, which names them: V4, V3 and BASE.

#ifdef PANEL_LEVELS
// Wide vectors are legal only where a function asks for them.
#define NAME V4
#define ATTRIBUTES __attribute__((target("arch=x86-64-v4"), min_vector_width(512)))
#define LANES (64 / (int)sizeof(T))
#define ROWS 12
#include "PanelKernels.h"
#undef NAME
#undef ATTRIBUTES
#undef LANES
#undef ROWS

#define NAME V3
#define ATTRIBUTES __attribute__((target("arch=x86-64-v3")))
#define LANES (32 / (int)sizeof(T))
#define ROWS 6
#include "PanelKernels.h"
#undef NAME
#undef ATTRIBUTES
#undef LANES
#undef ROWS

#define CHOOSE (weft_cpu_level() == 4 ? V4(rows) : weft_cpu_level() == 3 ? V3(rows) : BASE(rows))
#else
#define CHOOSE BASE(rows)
#endif

// Sixteen registers of SSE, thirty-two of NEON.
#define NAME BASE
#define ATTRIBUTES
#define LANES (16 / (int)sizeof(T))
#if defined(__aarch64__) || defined(__arm64__)
#define ROWS 12
#else
#define ROWS 6
#endif
#include "PanelKernels.h"
#undef NAME
#undef ATTRIBUTES
#undef LANES
#undef ROWS

// The part of OpenBLAS that Weft calls.
#pragma once
#include <cblas.h>
#if defined(OPENBLAS_VERSION) || defined(OPENBLAS_CONFIG_H)
#include <openblas_config.h>
#endif

// Shared by the loops: run-time dispatch, loop hints, bit casts, and the policy for tails.
#pragma once

#include <math.h>
#include <stdint.h>
#include <string.h>

#include "CWeftVectorMath.h"

// Clones must agree bit for bit, and the baseline has no fused multiply-add.
#pragma clang fp contract(off)

// One clone of a function per level, chosen when the program is loaded. Needs ELF's indirect
// functions, which glibc has; elsewhere the baseline runs (NEON on arm64). "avx512f" stands for
// x86-64-v4, at which the compiler would keep to vectors of 32 bytes.
#if defined(__x86_64__) && defined(__ELF__) && defined(__gnu_linux__) && !defined(WEFT_NO_CLONES)
#define WEFT_CLONES __attribute__((target_clones("avx512f", "arch=x86-64-v3", "default")))
#else
#define WEFT_CLONES
#endif

// Vector arguments cannot cross clones by value: helpers are inlined and take them by pointer.
#define WEFT_INLINE static inline __attribute__((always_inline, unused))

// Arrays are equal or disjoint, so iterations are independent. Loops over whole blocks of sixteen
// have no remainder at any vector width when they are not interleaved.
#define WEFT_LANES _Pragma("clang loop vectorize(assume_safety) interleave(disable)")
#define WEFT_LOOP _Pragma("clang loop vectorize(assume_safety)")

enum { WEFT_WIDTH = 16 };

// Rows go in blocks of this length, and sums pairwise beyond: where to cut n > WEFT_SUM_BLOCK elements.
enum { WEFT_SUM_BLOCK = 4096 };

WEFT_INLINE ptrdiff_t weft_sum_half(ptrdiff_t n) {
  return (n / WEFT_SUM_BLOCK + 1) / 2 * WEFT_SUM_BLOCK;
}

WEFT_INLINE uint32_t weft_bits32(float x) {
  uint32_t u;
  memcpy(&u, &x, sizeof u);
  return u;
}

WEFT_INLINE float weft_float(uint32_t u) {
  float x;
  memcpy(&x, &u, sizeof x);
  return x;
}

WEFT_INLINE uint64_t weft_bits64(double x) {
  uint64_t u;
  memcpy(&u, &x, sizeof u);
  return u;
}

WEFT_INLINE double weft_double(uint64_t u) {
  double x;
  memcpy(&x, &u, sizeof x);
  return x;
}

// Defines NAME(x, y, n) from EXPR in `v`, for functions too long for a scalar remainder: whole
// blocks of sixteen run in place, the rest through a padded copy.
#define WEFT_MAP(NAME, T, EXPR) \
  static WEFT_CLONES void NAME##_blocks(const T *x, T *y, ptrdiff_t n) { \
    WEFT_LANES for (ptrdiff_t i = 0; i < n; i++) { \
      const T v = x[i]; \
      y[i] = (EXPR); \
    } \
  } \
  void NAME(const T *x, T *y, ptrdiff_t n) { \
    if (n <= 0) return; \
    const ptrdiff_t body = n - n % WEFT_WIDTH; \
    if (body > 0) NAME##_blocks(x, y, body); \
    if (body == n) return; \
    T tail[WEFT_WIDTH] = {0}; \
    memcpy(tail, x + body, (size_t)(n - body) * sizeof(T)); \
    NAME##_blocks(tail, tail, WEFT_WIDTH); \
    memcpy(y + body, tail, (size_t)(n - body) * sizeof(T)); \
  }

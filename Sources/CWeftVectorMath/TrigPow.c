// Sine, cosine and power of floats: double loops over small blocks, and libm for the few elements
// out of their range.
#include "DoubleMath.h"

enum { BLOCK = 64 };

// Returns nonzero when an element is out of range (its result is then not meant).
static WEFT_CLONES int sin_block(const float *x, float *y, ptrdiff_t n, uint64_t quarters) {
  int bad = 0;
  WEFT_LANES for (ptrdiff_t i = 0; i < n; i++) {
    const float v = x[i];
    const float r = (float)weft_sin_turned((double)v, quarters);
    y[i] = v == 0.0f && quarters == 0 ? v : r;  // keeps -0
    bad |= !(__builtin_fabsf(v) < WEFT_TRIG_LIMIT);
  }
  return bad;
}

WEFT_INLINE ptrdiff_t whole(ptrdiff_t n) { return (n + WEFT_WIDTH - 1) / WEFT_WIDTH * WEFT_WIDTH; }

static void trig(const float *x, float *y, ptrdiff_t n, uint64_t quarters) {
  float in[BLOCK] = {0}, out[BLOCK];
  for (ptrdiff_t start = 0; start < n; start += BLOCK) {
    const ptrdiff_t count = n - start < BLOCK ? n - start : BLOCK;
    memcpy(in, x + start, (size_t)count * sizeof(float));
    if (sin_block(in, out, whole(count), quarters)) {
      for (ptrdiff_t i = 0; i < count; i++) {
        if (__builtin_fabsf(in[i]) < WEFT_TRIG_LIMIT) continue;
        out[i] = quarters ? cosf(in[i]) : sinf(in[i]);
      }
    }
    memcpy(y + start, out, (size_t)count * sizeof(float));
  }
}

void weft_sin_f32(const float *x, float *y, ptrdiff_t n) { trig(x, y, n, 0); }
void weft_cos_f32(const float *x, float *y, ptrdiff_t n) { trig(x, y, n, 1); }

WEFT_INLINE int ordinary(float x, float y) {
  return (x > 0.0f) & (x < INFINITY) & (__builtin_fabsf(y) < INFINITY);
}

static WEFT_CLONES int pow_block(const float *x, const float *y, float *z, ptrdiff_t n) {
  int bad = 0;
  WEFT_LANES for (ptrdiff_t i = 0; i < n; i++) {
    double p = (double)y[i] * weft_log_double((double)x[i]);
    // Beyond these the float result is infinity or zero.
    p = p > 120.0 ? 120.0 : p;
    p = p < -120.0 ? -120.0 : p;
    z[i] = (float)weft_exp_double(p);
    bad |= !ordinary(x[i], y[i]);
  }
  return bad;
}

void weft_pow_f32(const float *x, const float *y, float *z, ptrdiff_t n) {
  float base[BLOCK] = {0}, power[BLOCK] = {0}, out[BLOCK];
  for (ptrdiff_t start = 0; start < n; start += BLOCK) {
    const ptrdiff_t count = n - start < BLOCK ? n - start : BLOCK;
    memcpy(base, x + start, (size_t)count * sizeof(float));
    memcpy(power, y + start, (size_t)count * sizeof(float));
    if (pow_block(base, power, out, whole(count))) {
      for (ptrdiff_t i = 0; i < count; i++) {
        if (!ordinary(base[i], power[i])) out[i] = powf(base[i], power[i]);
      }
    }
    memcpy(z + start, out, (size_t)count * sizeof(float));
  }
}

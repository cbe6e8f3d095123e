// Branch-free float functions that vectorize: plain IEEE operations, so every clone agrees.
#pragma once

#include "Internal.h"

// Coefficients are minimax fits of the relative error, rounded to float one after the other.

// Adding and subtracting this rounds to the nearest integer; its low bits then hold the integer.
#define WEFT_ROUND_F32 12582912.0f
// ln 2 in two parts, the first short enough that its product with an exponent is exact.
#define WEFT_LN2_HIGH 0.693359375f
#define WEFT_LN2_LOW (-2.12194440e-4f)

// 2^k for k in -126...127, given k in the low bits.
WEFT_INLINE float weft_exp2i(uint32_t k) { return weft_float((k + 127u) << 23); }

// e^c = returned value * 2^k, for c clamped so that k fits. `precise` also carries the rounding
// error of the reduced argument (three operations for a quarter of an ulp).
WEFT_INLINE float weft_exp_core(float c, uint32_t *k, int precise) {
  const float t = c * 1.44269504f + WEFT_ROUND_F32;
  const float n = t - WEFT_ROUND_F32;
  *k = weft_bits32(t) - weft_bits32(WEFT_ROUND_F32);
  const float high = c - n * WEFT_LN2_HIGH, low = n * WEFT_LN2_LOW;
  const float r = high - low;
  float p = 0.0013818939f;
  p = p * r + 0.008368704f;
  p = p * r + 0.04166829f;
  p = p * r + 0.16666521f;
  p = p * r + 0.49999994f;
  p = p * r * r;
  if (precise) p = p + ((high - r) - low);
  return (p + r) + 1.0f;
}

// Beyond the bounds the result is infinity or zero either way; NaN passes. Two factors reach the
// subnormal results and the last binade with one rounding.
WEFT_INLINE float weft_exp_any(float x, int precise) {
  float c = x > 89.0f ? 89.0f : x;
  c = c < -104.0f ? -104.0f : c;
  uint32_t k;
  const float p = weft_exp_core(c, &k, precise);
  const uint32_t half = (uint32_t)((int32_t)k >> 1);
  return p * weft_exp2i(half) * weft_exp2i(k - half);
}

WEFT_INLINE float weft_expf(float x) { return weft_exp_any(x, 0); }

// e^x for x <= 0 where a result below 2^-125 only ever meets a much larger one.
WEFT_INLINE float weft_expf_fast(float x) {
  const float c = x < -87.0f ? -87.0f : x;
  uint32_t k;
  const float p = weft_exp_core(c, &k, 0);
  return p * weft_exp2i(k);
}

WEFT_INLINE float weft_expm1f(float x) {
  float c = x > 89.0f ? 89.0f : x;
  c = c < -18.0f ? -18.0f : c;
  const float t = c * 1.44269504f + WEFT_ROUND_F32;
  const float n = t - WEFT_ROUND_F32;
  const uint32_t k = weft_bits32(t) - weft_bits32(WEFT_ROUND_F32);
  const float r = (c - n * WEFT_LN2_HIGH) - n * WEFT_LN2_LOW;
  float p = 0.0013868435f;
  p = p * r + 0.008366432f;
  p = p * r + 0.04166746f;
  p = p * r + 0.16666545f;
  p = p * r + 0.49999997f;
  const float q = p * r * r + r;
  // 2^k (q + 1) - 1, at half scale so that 2^128 is never formed.
  const float s = weft_exp2i(k - 1u);
  const float y = (s * q + (s - 0.5f)) * 2.0f;
  return k == 0 ? (x == 0.0f ? x : q) : y;
}

// log(m * 2^e) + extra, for m in [sqrt(1/2), sqrt(2)) given as f = m - 1.
WEFT_INLINE float weft_log_core(float f, float e, float extra) {
  float p = -0.07636395f;
  p = p * f + 0.12762198f;
  p = p * f - 0.13159613f;
  p = p * f + 0.14201581f;
  p = p * f - 0.16623409f;
  p = p * f + 0.20001242f;
  p = p * f - 0.2500082f;
  p = p * f + 0.3333333f;
  const float z = f * f;
  float y = p * z * f;
  y = y + (e * WEFT_LN2_LOW + extra);
  y = y - 0.5f * z;
  return (f + y) + e * WEFT_LN2_HIGH;
}

// Splits a positive normal number: the exponent, and the mantissa in [sqrt(1/2), sqrt(2)).
WEFT_INLINE float weft_split(float x, float *mantissa) {
  // 0x3f3504f3 is sqrt(1/2): the bias makes the exponent field change there.
  const uint32_t u = weft_bits32(x) - 0x3f3504f3u;
  *mantissa = weft_float((u & 0x007fffffu) + 0x3f3504f3u);
  return (float)((int32_t)u >> 23);
}

WEFT_INLINE float weft_logf(float x) {
  const int tiny = x < 0x1p-126f;
  float m;
  const float e = weft_split(tiny ? x * 0x1p23f : x, &m);
  float y = weft_log_core(m - 1.0f, tiny ? e - 23.0f : e, 0.0f);
  y = x < INFINITY ? y : x;  // infinity and NaN
  y = x == 0.0f ? -INFINITY : y;
  return x < 0.0f ? NAN : y;
}

WEFT_INLINE float weft_log1pf(float x) {
  const float u = x + 1.0f;
  // What the addition lost, relative to u: log(1 + x) = log(u) + lost / u.
  const float lost = u >= 2.0f ? 1.0f - (u - x) : x - (u - 1.0f);
  float m;
  const float e = weft_split(u, &m);
  float y = weft_log_core(m - 1.0f, e, lost / u);
  y = x < INFINITY ? y : x;
  y = u == 1.0f ? x : y;
  y = x == -1.0f ? -INFINITY : y;
  return x < -1.0f ? NAN : y;
}

WEFT_INLINE float weft_tanhf(float x) {
  const float a = __builtin_fabsf(x);
  const float z = a * a;
  float p = -0.0056948652f;
  p = p * z + 0.020630071f;
  p = p * z - 0.05373695f;
  p = p * z + 0.13331409f;
  p = p * z - 0.3333328f;
  const float small = a + p * z * a;
  // e^-2a needs no clamp from above; from 9.02 on the result is 1.
  const float w = weft_expf_fast(-2.0f * a);
  const float large = 1.0f - 2.0f * w / (1.0f + w);
  return __builtin_copysignf(a < 0.625f ? small : large, x);
}

WEFT_INLINE float weft_sigmoidf(float x) {
  const float z = weft_exp_any(-__builtin_fabsf(x), 1);
  // What 1 + z loses is given back to first order, with a line for 1 / u on [1, 2].
  const float u = 1.0f + z;
  const float lost = (z - (u - 1.0f)) * (1.5f - 0.5f * u);
  const float q = (x < 0.0f ? z : 1.0f) / u;
  return q - q * lost;
}

WEFT_INLINE float weft_softplusf(float x) {
  // log1p(z) for z in [0, 1]: as weft_log1pf, with a line for 1 / u on [1, 2].
  const float z = weft_expf(-__builtin_fabsf(x));
  const float u = 1.0f + z;
  const float lost = (z - (u - 1.0f)) * (1.5f - 0.5f * u);
  const int upper = u > 1.41421356f;
  const float m = upper ? 0.5f * u : u;
  const float y = weft_log_core(m - 1.0f, upper ? 1.0f : 0.0f, lost);
  return (x < 0.0f ? 0.0f : x) + y;
}

WEFT_INLINE float weft_erff(float x) {
  const float a = __builtin_fabsf(x);
  const float z = a * a;
  float p = 7.806904e-05f;
  p = p * z - 0.0007997853f;
  p = p * z + 0.005187162f;
  p = p * z - 0.026853347f;
  p = p * z + 0.11283579f;
  p = p * z - 0.37612626f;
  p = p * z + 0.12837917f;
  const float small = a + p * a;
  // log(erfc(a)) is smooth; from 4 on the result is 1.
  const float b = a > 4.0f ? 4.0f : a;
  float q = -2.169362e-05f;
  q = q * b + 0.00044139693f;
  q = q * b - 0.004204783f;
  q = q * b + 0.025208678f;
  q = q * b - 0.108419016f;
  q = q * b - 0.63321966f;
  q = q * b - 1.1295785f;
  q = q * b + 0.00018803818f;
  const float large = 1.0f - weft_expf_fast(q);
  return __builtin_copysignf(a < 1.0f ? small : large, x);
}

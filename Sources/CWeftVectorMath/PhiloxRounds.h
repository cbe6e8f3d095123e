// One Philox round and group, and the numbers TensorFlow makes from its words.
#pragma once

#include "DoubleMath.h"

#define WEFT_PHILOX_W0 0x9E3779B9u
#define WEFT_PHILOX_W1 0xBB67AE85u

WEFT_INLINE void weft_philox_round(
    uint32_t *c0, uint32_t *c1, uint32_t *c2, uint32_t *c3, uint32_t k0, uint32_t k1) {
  const uint64_t p0 = (uint64_t)0xD2511F53u * *c0, p1 = (uint64_t)0xCD9E8D57u * *c2;
  const uint32_t d0 = (uint32_t)(p1 >> 32) ^ *c1 ^ k0, d2 = (uint32_t)(p0 >> 32) ^ *c3 ^ k1;
  *c0 = d0;
  *c1 = (uint32_t)p1;
  *c2 = d2;
  *c3 = (uint32_t)p0;
}

// The four words at the state's counter.
WEFT_INLINE void weft_philox_group(const weft_philox *state, uint32_t *out) {
  uint32_t k0 = state->key[0], k1 = state->key[1];
  memcpy(out, state->counter, 4 * sizeof(uint32_t));
  for (int round = 0; round < 10; round++) {
    weft_philox_round(&out[0], &out[1], &out[2], &out[3], k0, k1);
    k0 += WEFT_PHILOX_W0;
    k1 += WEFT_PHILOX_W1;
  }
}

WEFT_INLINE float weft_unit_float(uint32_t word) {
  return weft_float((word & 0x7fffffu) | 0x3f800000u) - 1.0f;
}

WEFT_INLINE double weft_unit_double(uint32_t high, uint32_t low) {
  const uint64_t mantissa = (uint64_t)(high & 0xfffffu) << 32 | low;
  return weft_double(mantissa | 0x3ff0000000000000u) - 1.0;
}

// TensorFlow computes these in float with libm: logarithm, sine and cosine are each rounded to
// float here as there, so that all but the last bit nearly always agree.
WEFT_INLINE void weft_box_muller(uint32_t word0, uint32_t word1, float *first, float *second) {
  const float u = weft_unit_float(word0);
  const float floored = u < 1.0e-7f ? 1.0e-7f : u;
  const float angle = (float)(6.2831853071795865 * (double)weft_unit_float(word1));
  const float log_u = (float)weft_log_double((double)floored);
  const float radius = __builtin_elementwise_sqrt(-2.0f * log_u);
  *first = (float)weft_sin_turned((double)angle, 0) * radius;
  *second = (float)weft_sin_turned((double)angle, 1) * radius;
}

WEFT_INLINE void weft_box_muller_double(const uint32_t *words, double *first, double *second) {
  const double u = weft_unit_double(words[0], words[1]);
  const double angle = 6.2831853071795865 * weft_unit_double(words[2], words[3]);
  const double radius = sqrt(-2.0 * log(u < 1.0e-7 ? 1.0e-7 : u));
  *first = sin(angle) * radius;
  *second = cos(angle) * radius;
}

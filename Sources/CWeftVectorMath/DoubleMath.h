// Branch-free double functions behind float results: sine, cosine, logarithm and power of floats
// computed in double are correct to little more than half an ulp.
#pragma once

#include "Internal.h"

WEFT_INLINE double weft_sigmoid(double x) {
  const double z = exp(-fabs(x));
  return (x < 0.0 ? z : 1.0) / (1.0 + z);
}

// As WEFT_ROUND_F32.
#define WEFT_ROUND_F64 6755399441055744.0

// Arguments of this magnitude and more are beyond the two-part reduction below.
#define WEFT_TRIG_LIMIT 0x1p20f

// sin(x + quarter turns), for |x| < 2^20 or so: to about 2^-40.
WEFT_INLINE double weft_sin_turned(double x, uint64_t quarters) {
  const double t = x * 0.63661977236758138 + WEFT_ROUND_F64;
  const double n = t - WEFT_ROUND_F64;
  const uint64_t k = weft_bits64(t) + quarters;
  // pi/2 in two parts, the first of 33 bits: its products with n are exact.
  const double r = (x - n * 0x1.921fb544p+0) - n * 0x1.0b4611a626331p-34;
  const double z = r * r;
  double s = 2.718046571355681e-06;
  s = s * z - 0.00019839304427654125;
  s = s * z + 0.008333329280569683;
  s = s * z - 0.16666666640588687;
  s = s * z * r + r;
  double c = -2.717401846805755e-07;
  c = c * z + 2.4798950092120014e-05;
  c = c * z - 0.0013888880609220628;
  c = c * z + 0.041666666552502625;
  c = c * z - 0.49999999999484146;
  c = c * z + 1.0;
  const double y = (k & 1) ? c : s;
  return weft_double(weft_bits64(y) ^ ((k & 2) << 62));
}

// log(x) to about 2^-43, for a positive normal number.
WEFT_INLINE double weft_log_double(double x) {
  // The high word of sqrt(1/2): the bias makes the exponent field change there.
  const uint64_t u = weft_bits64(x) - 0x3fe6a09e00000000u;
  const double m = weft_double((u & 0x000fffffffffffffu) + 0x3fe6a09e00000000u);
  // The exponent as a double without a 64-bit conversion: through a mantissa, biased to be positive.
  const double e = weft_double(((u + 0x4000000000000000u) >> 52) | 0x4330000000000000u)
      - (0x1p52 + 1024.0);
  const double s = (m - 1.0) / (m + 1.0);
  const double z = s * s;
  double p = 0.1958405116489704;
  p = p * z + 0.22176194641018662;
  p = p * z + 0.2857210904350203;
  p = p * z + 0.3999999562262572;
  p = p * z + 0.6666666667579964;
  return (p * z * s + 2.0 * s) + e * 0.69314718055994531;
}

// e^x to about 2^-34, for |x| < 700.
WEFT_INLINE double weft_exp_double(double x) {
  const double t = x * 1.4426950408889634 + WEFT_ROUND_F64;
  const double n = t - WEFT_ROUND_F64;
  const double r = x - n * 0.69314718055994531;
  double p = 0.00019767375349761035;
  p = p * r + 0.0013946125317861233;
  p = p * r + 0.008333570790772264;
  p = p * r + 0.04166626940377748;
  p = p * r + 0.16666665145669562;
  p = p * r + 0.5000000078070834;
  p = p * r + 1.0000000002119558;
  p = p * r + 1.0;
  return p * weft_double((weft_bits64(t) + 1023u) << 52);
}

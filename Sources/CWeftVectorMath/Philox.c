// The Philox4x32-10 stream and what TensorFlow draws from it without rejection.
#include "PhiloxRounds.h"

weft_philox weft_philox_seed(uint64_t seed, uint64_t seed2) {
  return (weft_philox){
      {(uint32_t)seed, (uint32_t)(seed >> 32)},
      {0, 0, (uint32_t)seed2, (uint32_t)(seed2 >> 32)}};
}

weft_philox weft_philox_stateless_seed(uint64_t seed0, uint64_t seed1) {
  // A fixed key, and the seeds as the counter.
  const weft_philox plain = {
      {0x3ec8f720u, 0x02461e29u},
      {(uint32_t)seed0, (uint32_t)(seed0 >> 32), (uint32_t)seed1, (uint32_t)(seed1 >> 32)}};
  uint32_t mixed[4];
  weft_philox_group(&plain, mixed);
  return (weft_philox){{mixed[0], mixed[1]}, {0, 0, mixed[2], mixed[3]}};
}

weft_philox weft_philox_skip(weft_philox state, uint64_t groups) {
  const uint64_t low = state.counter[0] | (uint64_t)state.counter[1] << 32;
  const uint64_t high = state.counter[2] | (uint64_t)state.counter[3] << 32;
  const uint64_t sum = low + groups, carried = high + (sum < low);
  state.counter[0] = (uint32_t)sum;
  state.counter[1] = (uint32_t)(sum >> 32);
  state.counter[2] = (uint32_t)carried;
  state.counter[3] = (uint32_t)(carried >> 32);
  return state;
}

// Sixteen groups in lanes. The lowest counter word must not wrap among them.
static WEFT_CLONES void sixteen_groups(const weft_philox *state, uint32_t *out) {
  uint32_t c0[WEFT_WIDTH], c1[WEFT_WIDTH], c2[WEFT_WIDTH], c3[WEFT_WIDTH];
  for (int j = 0; j < WEFT_WIDTH; j++) {
    c0[j] = state->counter[0] + (uint32_t)j;
    c1[j] = state->counter[1];
    c2[j] = state->counter[2];
    c3[j] = state->counter[3];
  }
  uint32_t k0 = state->key[0], k1 = state->key[1];
  for (int round = 0; round < 10; round++) {
    WEFT_LANES for (int j = 0; j < WEFT_WIDTH; j++) {
      weft_philox_round(&c0[j], &c1[j], &c2[j], &c3[j], k0, k1);
    }
    k0 += WEFT_PHILOX_W0;
    k1 += WEFT_PHILOX_W1;
  }
  for (int j = 0; j < WEFT_WIDTH; j++) {
    out[4 * j] = c0[j];
    out[4 * j + 1] = c1[j];
    out[4 * j + 2] = c2[j];
    out[4 * j + 3] = c3[j];
  }
}

enum { BLOCK = 4 * WEFT_WIDTH };

// The next BLOCK words; moves the state on.
static void next_block(weft_philox *state, uint32_t *words) {
  if (state->counter[0] <= UINT32_MAX - (WEFT_WIDTH - 1)) {
    sixteen_groups(state, words);
    *state = weft_philox_skip(*state, WEFT_WIDTH);
    return;
  }
  for (int j = 0; j < WEFT_WIDTH; j++) {
    weft_philox_group(state, words + 4 * j);
    *state = weft_philox_skip(*state, 1);
  }
}

// Defines NAME: blocks of words become TYPE elements, PER_WORDS words to one, by `convert`.
#define FILL(NAME, TYPE, PER_WORDS, PARAMETERS, CONVERT) \
  void NAME(weft_philox state, PARAMETERS TYPE *out, ptrdiff_t n) { \
    enum { ELEMENTS = BLOCK / PER_WORDS }; \
    uint32_t words[BLOCK]; \
    TYPE block[ELEMENTS]; \
    for (ptrdiff_t start = 0; start < n; start += ELEMENTS) { \
      const ptrdiff_t count = n - start < ELEMENTS ? n - start : ELEMENTS; \
      next_block(&state, words); \
      CONVERT; \
      memcpy(out + start, block, (size_t)count * sizeof(TYPE)); \
    } \
  }
#define COMMA ,

static void as_integers32(const uint32_t *words, int32_t low, uint32_t range, int32_t *out) {
  // Unsigned addition wraps where the signed one would overflow.
  for (int j = 0; j < BLOCK; j++) out[j] = (int32_t)((uint32_t)low + words[j] % range);
}

static void as_integers64(const uint32_t *words, int64_t low, uint64_t range, int64_t *out) {
  for (int j = 0; j < BLOCK / 2; j++) {
    const uint64_t word = words[2 * j] | (uint64_t)words[2 * j + 1] << 32;
    out[j] = (int64_t)((uint64_t)low + word % range);
  }
}

static WEFT_CLONES void as_floats(const uint32_t *words, float *out) {
  WEFT_LANES for (int j = 0; j < BLOCK; j++) out[j] = weft_unit_float(words[j]);
}

static WEFT_CLONES void as_doubles(const uint32_t *words, double *out) {
  WEFT_LANES for (int j = 0; j < BLOCK / 2; j++) {
    out[j] = weft_unit_double(words[2 * j], words[2 * j + 1]);
  }
}

static WEFT_CLONES void as_normals(const uint32_t *words, float *out) {
  WEFT_LANES for (int j = 0; j < BLOCK / 2; j++) {
    weft_box_muller(words[2 * j], words[2 * j + 1], &out[2 * j], &out[2 * j + 1]);
  }
}

static void as_normals_double(const uint32_t *words, double *out) {
  for (int j = 0; j < BLOCK / 4; j++) {
    weft_box_muller_double(words + 4 * j, &out[2 * j], &out[2 * j + 1]);
  }
}

FILL(weft_philox_fill_u32, uint32_t, 1, , memcpy(block, words, sizeof block))
FILL(weft_philox_uniform_f32, float, 1, , as_floats(words, block))
FILL(weft_philox_uniform_f64, double, 2, , as_doubles(words, block))
FILL(
    weft_philox_uniform_i32, int32_t, 1, int32_t low COMMA uint32_t range COMMA,
    as_integers32(words, low, range, block))
FILL(
    weft_philox_uniform_i64, int64_t, 2, int64_t low COMMA uint64_t range COMMA,
    as_integers64(words, low, range, block))
FILL(weft_philox_normal_f32, float, 1, , as_normals(words, block))
FILL(weft_philox_normal_f64, double, 2, , as_normals_double(words, block))

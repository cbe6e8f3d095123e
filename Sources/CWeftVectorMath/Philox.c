// The Philox4x32-10 stream and what TensorFlow draws from it.
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

// Sixteen groups in lanes, `stride` counter values apart. The lowest counter word must not wrap.
static WEFT_CLONES void sixteen_groups(
    const weft_philox *state, uint32_t stride, uint32_t *out) {
  uint32_t c0[WEFT_WIDTH], c1[WEFT_WIDTH], c2[WEFT_WIDTH], c3[WEFT_WIDTH];
  for (int j = 0; j < WEFT_WIDTH; j++) {
    c0[j] = state->counter[0] + stride * (uint32_t)j;
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

WEFT_INLINE int wraps(const weft_philox *state, uint32_t stride) {
  return state->counter[0] > UINT32_MAX - (WEFT_WIDTH - 1) * stride;
}

// The next BLOCK words; moves the state on.
static void next_block(weft_philox *state, uint32_t *words) {
  if (!wraps(state, 1)) {
    sixteen_groups(state, 1, words);
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

// Truncated normals: each group of results comes from a stretch of the stream of its own, one word
// at a time, until enough of them lie within two standard deviations. For each result 256 words
// are set aside.
enum { RESERVED = 256 };

typedef struct {
  weft_philox state;
  uint32_t words[4];
  int used;
} word_stream;

static uint32_t next_word(word_stream *stream) {
  if (stream->used == 4) {
    weft_philox_group(&stream->state, stream->words);
    stream->state = weft_philox_skip(stream->state, 1);
    stream->used = 0;
  }
  return stream->words[stream->used++];
}

static void pair_f32(word_stream *stream, float *pair) {
  const uint32_t word0 = next_word(stream), word1 = next_word(stream);
  weft_box_muller(word0, word1, &pair[0], &pair[1]);
}

static void pair_f64(word_stream *stream, double *pair) {
  uint32_t words[4];
  for (int j = 0; j < 4; j++) words[j] = next_word(stream);
  weft_box_muller_double(words, &pair[0], &pair[1]);
}

WEFT_INLINE int within(double x) { return x < 2 && x > -2; }

// One group of `wanted` results (a group cut off at the end draws as if whole).
#define TRUNCATED_GROUP(S, T) \
  static void truncated_group##S(weft_philox state, T *out, ptrdiff_t wanted) { \
    word_stream stream = {state, {0}, 4}; \
    for (ptrdiff_t have = 0; have < wanted;) { \
      T pair[2]; \
      pair##S(&stream, pair); \
      for (int j = 0; j < 2; j++) { \
        if (within(pair[j]) && have < wanted) out[have++] = pair[j]; \
      } \
    } \
  }

TRUNCATED_GROUP(_f32, float)
TRUNCATED_GROUP(_f64, double)

// Sixteen groups' first eight candidates each, in lanes; a group they do not fill is drawn alone.
static void truncated_block(const weft_philox *state, float *out) {
  uint32_t words[BLOCK];
  float candidates[2][BLOCK];
  for (int half = 0; half < 2; half++) {
    const weft_philox at = weft_philox_skip(*state, (uint64_t)half);
    sixteen_groups(&at, RESERVED, words);
    as_normals(words, candidates[half]);
  }
  for (int group = 0; group < WEFT_WIDTH; group++) {
    int have = 0;
    for (int j = 0; j < 8 && have < 4; j++) {
      const float x = candidates[j / 4][4 * group + j % 4];
      out[4 * group + have] = x;
      have += within(x);
    }
    if (have < 4) {
      truncated_group_f32(
          weft_philox_skip(*state, (uint64_t)group * RESERVED), out + 4 * group, 4);
    }
  }
}

void weft_philox_truncated_normal_f32(weft_philox state, float *out, ptrdiff_t n) {
  ptrdiff_t start = 0;
  for (; start + BLOCK <= n; start += BLOCK) {
    // The second half's counter is one further on.
    if (wraps(&state, RESERVED + 1)) break;
    truncated_block(&state, out + start);
    state = weft_philox_skip(state, WEFT_WIDTH * RESERVED);
  }
  for (; start < n; start += 4) {
    truncated_group_f32(state, out + start, n - start < 4 ? n - start : 4);
    state = weft_philox_skip(state, RESERVED);
  }
}

void weft_philox_truncated_normal_f64(weft_philox state, double *out, ptrdiff_t n) {
  for (ptrdiff_t start = 0; start < n; start += 2) {
    truncated_group_f64(state, out + start, n - start < 2 ? n - start : 2);
    state = weft_philox_skip(state, RESERVED / 2);
  }
}

// Gamma samples. Uniform and normal distributions fill from whole groups of the one stream and
// hand out their last value first, as TensorFlow's kernel does.
typedef struct {
  weft_philox state;
  double uniforms[2], normals[2];
  int uniforms_left, normals_left;
} gamma_stream;

static double gamma_uniform(gamma_stream *stream) {
  if (stream->uniforms_left == 0) {
    uint32_t words[4];
    weft_philox_group(&stream->state, words);
    stream->state = weft_philox_skip(stream->state, 1);
    for (int j = 0; j < 2; j++) {
      stream->uniforms[j] = weft_unit_double(words[2 * j], words[2 * j + 1]);
    }
    stream->uniforms_left = 2;
  }
  return stream->uniforms[--stream->uniforms_left];
}

static double gamma_normal(gamma_stream *stream) {
  if (stream->normals_left == 0) {
    uint32_t words[4];
    weft_philox_group(&stream->state, words);
    stream->state = weft_philox_skip(stream->state, 1);
    weft_box_muller_double(words, &stream->normals[0], &stream->normals[1]);
    stream->normals_left = 2;
  }
  return stream->normals[--stream->normals_left];
}

// The sample of alpha < 1 is that of alpha + 1 with a factor.
WEFT_INLINE double gamma_shape(double alpha) {
  return alpha + (alpha < 1 ? 2.0 / 3 : -1.0 / 3);
}

static double gamma_sample(weft_philox state, double alpha) {
  gamma_stream stream = {.state = state};
  if (alpha == 1) return -log(1 - gamma_uniform(&stream));
  if (!(alpha > 0 && alpha < INFINITY)) return NAN;
  const double d = gamma_shape(alpha), c = 1.0 / 3 / sqrt(d);
  for (;;) {
    const double x = gamma_normal(&stream);
    double v = 1 + c * x;
    if (v <= 0) continue;
    v = v * v * v;
    const double u = gamma_uniform(&stream);
    if (u < 1 - 0.0331 * (x * x) * (x * x) || log(u) < 0.5 * x * x + d * (1 - v + log(v))) {
      return alpha < 1 ? d * v * pow(gamma_uniform(&stream), 1 / alpha) : d * v;
    }
  }
}

void weft_philox_gamma_f64(
    weft_philox state, const double *alphas, double *out, ptrdiff_t n) {
  for (ptrdiff_t i = 0; i < n; i++) {
    out[i] = gamma_sample(weft_philox_skip(state, RESERVED * (uint64_t)i), alphas[i]);
  }
}

// The first candidates of sixteen samples, from their first group of normals and of uniforms, zero
// where the candidate is refused; and the uniforms that come next.
static WEFT_CLONES void gamma_candidates(
    const uint32_t *normals, const uint32_t *uniforms, const double *alphas, double *out,
    double *next) {
  WEFT_LANES for (int j = 0; j < WEFT_WIDTH; j++) {
    const double floored = weft_unit_double(normals[4 * j], normals[4 * j + 1]);
    const double angle =
        6.2831853071795865 * weft_unit_double(normals[4 * j + 2], normals[4 * j + 3]);
    const double radius =
        __builtin_elementwise_sqrt(-2.0 * weft_log_double(floored < 1.0e-7 ? 1.0e-7 : floored));
    const double x = weft_sin_turned(angle, 1) * radius;
    const double d = gamma_shape(alphas[j]), c = 1.0 / 3 / __builtin_elementwise_sqrt(d);
    const double base = 1 + c * x, v = base * base * base;
    const double u = weft_unit_double(uniforms[4 * j + 2], uniforms[4 * j + 3]);
    const double log_u = weft_log_double(u < 1e-300 ? 1e-300 : u);
    const double log_v = weft_log_double(v < 1e-300 ? 1e-300 : v);
    const double squared = x * x;
    const int accepted = (u < 1 - 0.0331 * squared * squared)
        | (log_u < 0.5 * squared + d * (1 - v + log_v));
    out[j] = (base > 0) & accepted ? d * v : 0;
    next[j] = weft_unit_double(uniforms[4 * j], uniforms[4 * j + 1]);
  }
}

static void groups_apart(weft_philox state, uint32_t *words) {
  if (!wraps(&state, RESERVED)) {
    sixteen_groups(&state, RESERVED, words);
    return;
  }
  for (int j = 0; j < WEFT_WIDTH; j++) {
    weft_philox_group(&state, words + 4 * j);
    state = weft_philox_skip(state, RESERVED);
  }
}

void weft_philox_gamma_f32(
    weft_philox state, const double *alphas, double *out, ptrdiff_t n) {
  for (ptrdiff_t start = 0; start < n; start += WEFT_WIDTH) {
    const ptrdiff_t count = n - start < WEFT_WIDTH ? n - start : WEFT_WIDTH;
    uint32_t normals[BLOCK], uniforms[BLOCK];
    double shapes[WEFT_WIDTH], candidates[WEFT_WIDTH], next[WEFT_WIDTH];
    for (int j = 0; j < WEFT_WIDTH; j++) shapes[j] = j < count ? alphas[start + j] : 2;
    groups_apart(state, normals);
    groups_apart(weft_philox_skip(state, 1), uniforms);
    gamma_candidates(normals, uniforms, shapes, candidates, next);
    for (int j = 0; j < count; j++) {
      const double alpha = shapes[j];
      double value = candidates[j];
      if (!(value > 0 && alpha > 0 && alpha != 1 && alpha < INFINITY)) {
        value = gamma_sample(weft_philox_skip(state, RESERVED * (uint64_t)j), alpha);
      } else if (alpha < 1) {
        value *= pow(next[j], 1 / alpha);
      }
      out[start + j] = value;
    }
    state = weft_philox_skip(state, WEFT_WIDTH * RESERVED);
  }
}

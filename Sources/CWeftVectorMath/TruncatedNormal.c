// Truncated normals: TensorFlow draws each group of results from a stretch of the stream of its
// own, one word at a time, until enough of them lie within two standard deviations.
#include "PhiloxRounds.h"

// Counter values reserved for each result, in words: 256.
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

// Groups of GROUP results; a group that is cut off at n has still drawn as if whole.
#define TRUNCATED(S, T, GROUP) \
  void weft_philox_truncated_normal##S(weft_philox state, T *out, ptrdiff_t n) { \
    for (ptrdiff_t start = 0; start < n; start += GROUP) { \
      const uint64_t group = (uint64_t)(start / GROUP); \
      word_stream stream = { \
          weft_philox_skip(state, group * (GROUP * RESERVED / 4)), {0}, 4}; \
      const ptrdiff_t wanted = n - start < GROUP ? n - start : GROUP; \
      for (ptrdiff_t have = 0; have < wanted;) { \
        T pair[2]; \
        pair##S(&stream, pair); \
        for (int j = 0; j < 2; j++) { \
          if (pair[j] < 2 && pair[j] > -2 && have < wanted) out[start + have++] = pair[j]; \
        } \
      } \
    } \
  }

TRUNCATED(_f32, float, 4)
TRUNCATED(_f64, double, 2)

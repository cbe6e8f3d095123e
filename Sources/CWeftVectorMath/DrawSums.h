// Sums of weights e^(x - largest) and what is found by them, for the type T of log weights with the
// suffix in FN(function) and LOCAL(function). Included once for each type by Draws.c.

// The largest of whole blocks, and `largest` itself; infinities and NaN do not count.
static WEFT_CLONES T LOCAL(largest)(const T *x, ptrdiff_t n, T largest) {
  T best[WEFT_WIDTH];
  for (int j = 0; j < WEFT_WIDTH; j++) best[j] = largest;
  for (ptrdiff_t start = 0; start < n; start += WEFT_WIDTH) {
    WEFT_LANES for (int j = 0; j < WEFT_WIDTH; j++) {
      const T v = x[start + j];
      // The difference of an infinity or NaN and itself is no number.
      best[j] = (v - v == 0) & (v > best[j]) ? v : best[j];
    }
  }
  for (int j = 0; j < WEFT_WIDTH; j++) largest = best[j] > largest ? best[j] : largest;
  return largest;
}

WEFT_INLINE void LOCAL(weights)(const T *x, double largest, double *weights) {
  WEFT_LANES for (int j = 0; j < WEFT_WIDTH; j++) {
    const double v = (double)x[j] - largest, e = weft_exp_double(v > -700 ? v : -700);
    weights[j] = (v > -700) & (x[j] - x[j] == 0) ? e : 0;
  }
}

// The sum of each of n / 16 blocks, by halves.
static WEFT_CLONES void LOCAL(block_sums)(const T *x, ptrdiff_t n, double largest, double *sums) {
  for (ptrdiff_t start = 0; start < n; start += WEFT_WIDTH) {
    double weights[WEFT_WIDTH];
    LOCAL(weights)(x + start, largest, weights);
    for (int half = WEFT_WIDTH / 2; half > 0; half /= 2)
      for (int j = 0; j < half; j++) weights[j] += weights[j + half];
    sums[start / WEFT_WIDTH] = weights[0];
  }
}

// Sixteen elements from `start` on; those beyond the end weigh nothing.
static void LOCAL(block)(const T *x, ptrdiff_t n, ptrdiff_t start, T *block) {
  for (int j = 0; j < WEFT_WIDTH; j++) block[j] = start + j < n ? x[start + j] : -(T)INFINITY;
}

double FN(draw_sums)(const T *x, ptrdiff_t n, T *largest, double *sums) {
  const ptrdiff_t body = n - n % WEFT_WIDTH;
  T tail[WEFT_WIDTH];
  LOCAL(block)(x, n, body, tail);
  *largest = LOCAL(largest)(tail, WEFT_WIDTH, LOCAL(largest)(x, body, LOWEST));
  LOCAL(block_sums)(x, body, *largest, sums);
  if (body < n) LOCAL(block_sums)(tail, WEFT_WIDTH, *largest, sums + body / WEFT_WIDTH);
  double sum = 0;
  for (ptrdiff_t b = 0; b * WEFT_WIDTH < n; b++) sums[b] = sum += sums[b];
  return sum;
}

ptrdiff_t FN(draw_class)(const T *x, ptrdiff_t n, T largest, const double *sums, double wanted) {
  ptrdiff_t low = 0, high = (n + WEFT_WIDTH - 1) / WEFT_WIDTH;
  while (low < high) {
    const ptrdiff_t middle = low + (high - low) / 2;
    if (wanted < sums[middle]) high = middle;
    else low = middle + 1;
  }
  const ptrdiff_t start = low * WEFT_WIDTH;
  if (start >= n) return n;
  T block[WEFT_WIDTH];
  double weights[WEFT_WIDTH], sum = low > 0 ? sums[low - 1] : 0;
  LOCAL(block)(x, n, start, block);
  LOCAL(weights)(block, largest, weights);
  // One after the other they may come to a little less than by halves: then it is the last that
  // weighs anything.
  ptrdiff_t last = start;
  for (int j = 0; j < WEFT_WIDTH; j++) {
    sum += weights[j];
    if (weights[j] > 0) last = start + j;
    if (wanted < sum) break;
  }
  return last;
}

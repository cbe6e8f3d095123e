// Cross-entropy over tiles of columns, for the type T with the suffix in NAME and FN(function).
// Included once for each type by Softmax.c, after SoftmaxRows.h.

// Marks what relu cut off by the sign of its exponential.
static WEFT_CLONES void NAME(mark_cut)(const T *before, T *e, ptrdiff_t n) {
  WEFT_LOOP for (ptrdiff_t i = 0; i < n; i++) e[i] = before[i] > 0 ? e[i] : -e[i];
}

static WEFT_CLONES void NAME(cut_scaled)(T *e, T factor, ptrdiff_t n) {
  WEFT_LOOP for (ptrdiff_t i = 0; i < n; i++) e[i] = CUT(e[i]) ? 0 : e[i] * factor;
}

static WEFT_CLONES void NAME(dense_grad)(
    T *e, const T *label, T factor, T scale, int relu, ptrdiff_t n) {
  if (relu) {
    WEFT_LOOP for (ptrdiff_t i = 0; i < n; i++)
      e[i] = CUT(e[i]) ? 0 : e[i] * factor - scale * label[i];
  } else {
    WEFT_LOOP for (ptrdiff_t i = 0; i < n; i++) e[i] = e[i] * factor - scale * label[i];
  }
}

// x += bias (unless NULL), and the largest of x: sixteen lanes, NaN when there is one.
static WEFT_CLONES T NAME(bias_max)(T *x, const T *bias, ptrdiff_t n) {
  T lane[WEFT_WIDTH];
  for (int k = 0; k < WEFT_WIDTH; k++) lane[k] = -INFINITY;
  const ptrdiff_t body = n - n % WEFT_WIDTH;
  for (ptrdiff_t i = 0; i < body; i += WEFT_WIDTH) {
    WEFT_LANES for (int k = 0; k < WEFT_WIDTH; k++) {
      const T v = bias ? x[i + k] + bias[i + k] : x[i + k];
      x[i + k] = v;
      lane[k] = v > lane[k] || v != v ? v : lane[k];
    }
  }
  for (ptrdiff_t i = body; i < n; i++) {
    const T v = bias ? x[i] + bias[i] : x[i];
    x[i] = v;
    lane[i - body] = v > lane[i - body] || v != v ? v : lane[i - body];
  }
  T best = lane[0];
  for (int k = 1; k < WEFT_WIDTH; k++) best = lane[k] > best || lane[k] != lane[k] ? lane[k] : best;
  return best;
}

// x = e^(x - largest), and its sum: sixteen lanes, added pairwise.
static EXP_CLONES T NAME(exp_sum)(T *x, T largest, ptrdiff_t n) {
  T lane[WEFT_WIDTH] = {0};
  const ptrdiff_t body = n - n % WEFT_WIDTH;
  for (ptrdiff_t i = 0; i < body; i += WEFT_WIDTH) {
    EXP_LANES for (int k = 0; k < WEFT_WIDTH; k++) {
      const T e = EXP_BELOW(x[i + k] - largest);
      x[i + k] = e;
      lane[k] += e;
    }
  }
  if (body < n) {
    T tail[WEFT_WIDTH];
    for (int k = 0; k < WEFT_WIDTH; k++) tail[k] = body + k < n ? x[body + k] - largest : -INFINITY;
    EXP_LANES for (int k = 0; k < WEFT_WIDTH; k++) {
      tail[k] = EXP_BELOW(tail[k]);
      lane[k] += body + k < n ? tail[k] : 0;
    }
    memcpy(x + body, tail, (size_t)(n - body) * sizeof(T));
  }
  for (int width = WEFT_WIDTH / 2; width > 0; width /= 2) {
    for (int k = 0; k < width; k++) lane[k] += lane[k + width];
  }
  return lane[0];
}

void FN(xent_tile)(
    T *z, ptrdiff_t ld, const T *bias, int relu, const int32_t *column, const T *labels,
    ptrdiff_t ldl, T *largest, T *sum, T *chosen, T *mass, ptrdiff_t step, ptrdiff_t rows,
    ptrdiff_t cols) {
  T before[WEFT_SUM_BLOCK], terms[WEFT_SUM_BLOCK];
  if (cols <= 0 || cols > WEFT_SUM_BLOCK) return;
  for (ptrdiff_t r = 0; r < rows; r++) {
    T *x = z + r * ld;
    T best;
    if (relu) {
      if (bias) FN(add)(x, bias, x, cols);
      memcpy(before, x, (size_t)cols * sizeof(T));
      FN(relu)(x, x, cols);
      best = FN(max)(x, cols);
    } else {
      best = NAME(bias_max)(x, bias, cols);
    }
    largest[r * step] = best;
    if (column && column[r] >= 0 && column[r] < cols) chosen[r] = x[column[r]];
    if (labels) {
      const T *label = labels + r * ldl;
      NAME(dense_terms)(x, label, best, 0, terms, cols);
      chosen[r * step] = -FN(sum)(terms, cols);
      mass[r * step] = FN(sum)(label, cols);
    }
    if (best == -INFINITY) {
      memset(x, 0, (size_t)cols * sizeof(T));
      sum[r * step] = 0;
      continue;
    }
    sum[r * step] = NAME(exp_sum)(x, best, cols);
    if (relu) NAME(mark_cut)(before, x, cols);
  }
}

void FN(xent_tile_grad)(
    T *z, ptrdiff_t ld, int relu, const int32_t *column, const T *labels, ptrdiff_t ldl,
    const T *factor, ptrdiff_t step, const T *scale, ptrdiff_t rows, ptrdiff_t cols) {
  for (ptrdiff_t r = 0; r < rows; r++) {
    T *e = z + r * ld;
    if (labels) {
      NAME(dense_grad)(e, labels + r * ldl, factor[r * step], scale[r], relu, cols);
      continue;
    }
    const int32_t at = column ? column[r] : -1;
    const int inside = at >= 0 && at < cols && !(relu && CUT(e[at]));
    if (relu) {
      NAME(cut_scaled)(e, factor[r * step], cols);
    } else {
      FN(scale)(e, factor[r * step], e, cols);
    }
    if (inside) e[at] -= scale[r];
  }
}

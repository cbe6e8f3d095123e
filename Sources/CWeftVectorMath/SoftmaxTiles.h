// Cross-entropy over tiles of columns in panels, for the type T with the suffix in NAME and
// FN(function). Included once for each type by Softmax.c, after SoftmaxRows.h.

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

// A row's piece of each panel, from the first on, into a row and back.
static void NAME(gather)(const T *z, ptrdiff_t panel, T *row, ptrdiff_t cols) {
  for (ptrdiff_t c = 0; c < cols; c += PANEL, z += panel)
    memcpy(row + c, z, (size_t)(cols - c < PANEL ? cols - c : PANEL) * sizeof(T));
}

static void NAME(scatter)(const T *row, T *z, ptrdiff_t panel, ptrdiff_t cols) {
  for (ptrdiff_t c = 0; c < cols; c += PANEL, z += panel)
    memcpy(z, row + c, (size_t)(cols - c < PANEL ? cols - c : PANEL) * sizeof(T));
}

// The largest of a row in whole panels; NaN does not count.
static WEFT_CLONES T NAME(largest)(const T *z, ptrdiff_t panel, ptrdiff_t panels) {
  T lane[PANEL];
  for (int k = 0; k < PANEL; k++) lane[k] = -INFINITY;
  for (ptrdiff_t p = 0; p < panels; p++, z += panel) {
    WIDE_LANES for (int k = 0; k < PANEL; k++) lane[k] = z[k] > lane[k] ? z[k] : lane[k];
  }
  T best = lane[0];
  for (int k = 1; k < PANEL; k++) best = lane[k] > best ? lane[k] : best;
  return best;
}

// z = e^(z - largest) for a row in whole panels, and its sum: sixteen lanes, added pairwise.
static EXP_CLONES T NAME(exp_sum)(T *z, ptrdiff_t panel, T largest, ptrdiff_t panels) {
  T lane[WEFT_WIDTH] = {0};
  for (ptrdiff_t p = 0; p < panels; p++, z += panel) {
    for (int half = 0; half < PANEL; half += WEFT_WIDTH) {
      EXP_LANES for (int k = 0; k < WEFT_WIDTH; k++) {
        const T e = EXP_BELOW(z[half + k] - largest);
        z[half + k] = e;
        lane[k] += e;
      }
    }
  }
  for (int width = WEFT_WIDTH / 2; width > 0; width /= 2) {
    for (int k = 0; k < width; k++) lane[k] += lane[k + width];
  }
  return lane[0];
}

// Columns beyond the last take no part: e^-inf is zero.
static void NAME(close)(T *z, ptrdiff_t panel, ptrdiff_t rows, ptrdiff_t cols) {
  if (cols % PANEL == 0) return;
  T *last = z + cols / PANEL * panel;
  for (ptrdiff_t r = 0; r < rows; r++)
    for (ptrdiff_t k = cols % PANEL; k < PANEL; k++) last[r * PANEL + k] = -INFINITY;
}

// One row by way of a plain one, for what is not worth loops of its own.
static void NAME(tile_row)(
    T *z, ptrdiff_t panel, int relu, const T *label, T *largest, T *sum, T *chosen, T *mass,
    int32_t column, ptrdiff_t cols) {
  T x[WEFT_SUM_BLOCK], before[WEFT_SUM_BLOCK], terms[WEFT_SUM_BLOCK];
  NAME(gather)(z, panel, x, cols);
  if (relu) {
    memcpy(before, x, (size_t)cols * sizeof(T));
    FN(relu)(x, x, cols);
  }
  const T best = FN(max)(x, cols);
  *largest = best;
  if (column >= 0 && column < cols) *chosen = x[column];
  if (label) {
    NAME(dense_terms)(x, label, best, 0, terms, cols);
    *chosen = -FN(sum)(terms, cols);
    *mass = FN(sum)(label, cols);
  }
  if (best == -INFINITY) {
    memset(x, 0, (size_t)cols * sizeof(T));
    *sum = 0;
  } else {
    NAME(exp_shifted)(x, best, x, cols);
    *sum = FN(sum)(x, cols);
    if (relu) NAME(mark_cut)(before, x, cols);
  }
  NAME(scatter)(x, z, panel, cols);
}

void FN(xent_tile)(
    T *z, ptrdiff_t panel, int relu, const int32_t *column, const T *labels, ptrdiff_t ldl,
    T *largest, T *sum, T *chosen, T *mass, ptrdiff_t step, ptrdiff_t rows, ptrdiff_t cols) {
  if (cols <= 0 || cols > WEFT_SUM_BLOCK) return;
  NAME(close)(z, panel, rows, cols);
  const ptrdiff_t panels = (cols + PANEL - 1) / PANEL;
  for (ptrdiff_t r = 0; r < rows; r++) {
    T *x = z + r * PANEL;
    const int32_t at = column ? column[r] : -1;
    const T best = relu || labels ? 0 : NAME(largest)(x, panel, panels);
    // Without any finite logit there may be NaN, which the plain row sees.
    if (relu || labels || best == -INFINITY) {
      NAME(tile_row)(
          x, panel, relu, labels ? labels + r * ldl : NULL, largest + r * step, sum + r * step,
          labels ? chosen + r * step : chosen + r, mass + r * step, at, cols);
      continue;
    }
    largest[r * step] = best;
    if (at >= 0 && at < cols) chosen[r] = x[at / PANEL * panel + at % PANEL];
    sum[r * step] = NAME(exp_sum)(x, panel, best, panels);
  }
}

void FN(xent_tile_grad)(
    T *z, ptrdiff_t panel, int relu, const int32_t *column, const T *labels, ptrdiff_t ldl,
    const T *factor, ptrdiff_t step, const T *scale, ptrdiff_t rows, ptrdiff_t cols) {
  T e[WEFT_SUM_BLOCK];
  if (cols <= 0 || cols > WEFT_SUM_BLOCK) return;
  for (ptrdiff_t r = 0; r < rows; r++) {
    NAME(gather)(z + r * PANEL, panel, e, cols);
    if (labels) {
      NAME(dense_grad)(e, labels + r * ldl, factor[r * step], scale[r], relu, cols);
    } else {
      const int32_t at = column ? column[r] : -1;
      const int inside = at >= 0 && at < cols && !(relu && CUT(e[at]));
      if (relu) {
        NAME(cut_scaled)(e, factor[r * step], cols);
      } else {
        FN(scale)(e, factor[r * step], e, cols);
      }
      if (inside) e[at] -= scale[r];
    }
    NAME(scatter)(e, z + r * PANEL, panel, cols);
  }
}

// The sum over all rows of one panel, each times its factor.
static WEFT_CLONES void NAME(add_panel)(
    const T *z, const T *factor, ptrdiff_t step, T *out, ptrdiff_t rows) {
  T lane[PANEL];
  memcpy(lane, out, sizeof lane);
  for (ptrdiff_t r = 0; r < rows; r++, z += PANEL) {
    const T f = factor ? factor[r * step] : 1;
    WIDE_LANES for (int k = 0; k < PANEL; k++) lane[k] += f * z[k];
  }
  memcpy(out, lane, sizeof lane);
}

void FN(panel_sum)(
    const T *z, ptrdiff_t panel, const T *factor, ptrdiff_t step, T *out, ptrdiff_t rows,
    ptrdiff_t cols) {
  for (ptrdiff_t c = 0; c < cols; c += PANEL, z += panel) {
    if (cols - c >= PANEL) {
      NAME(add_panel)(z, factor, step, out + c, rows);
      continue;
    }
    T last[PANEL] = {0};
    memcpy(last, out + c, (size_t)(cols - c) * sizeof(T));
    NAME(add_panel)(z, factor, step, last, rows);
    memcpy(out + c, last, (size_t)(cols - c) * sizeof(T));
  }
}

void FN(panel_scale_row)(T *z, ptrdiff_t panel, T factor, ptrdiff_t cols) {
  for (ptrdiff_t c = 0; c < cols; c += PANEL, z += panel) FN(scale)(z, factor, z, PANEL);
}

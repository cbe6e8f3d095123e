// Recurrent cells' pointwise loops, for the type T with FN(function), SIGMOID and TANH.
// ACTIVATION_CLONES and ACTIVATION_LOOP dress the loops that call these. Included once for each
// type by Cells.c.

// A row's preactivations with the bias, ready for in-place activation.
static WEFT_CLONES void NAME(biased)(const T *pre, const T *bias, T *act, ptrdiff_t n) {
  if (bias) {
    WEFT_LOOP for (ptrdiff_t i = 0; i < n; i++) act[i] = pre[i] + bias[i];
  } else if (act != pre) {
    memcpy(act, pre, (size_t)n * sizeof(T));
  }
}

static ACTIVATION_CLONES void NAME(lstm_row)(
    T *act, const T *c_prev, T forget_bias, T *c, T *tanh_c, T *h, ptrdiff_t hidden) {
  T *gi = act, *gj = gi + hidden, *gf = gj + hidden, *go = gf + hidden;
  ACTIVATION_LOOP for (ptrdiff_t k = 0; k < hidden; k++) {
    const T i = SIGMOID(gi[k]), j = TANH(gj[k]), f = SIGMOID(gf[k] + forget_bias);
    const T o = SIGMOID(go[k]);
    gi[k] = i;
    gj[k] = j;
    gf[k] = f;
    go[k] = o;
    const T state = c_prev[k] * f + i * j, t = TANH(state);
    c[k] = state;
    tanh_c[k] = t;
    h[k] = t * o;
  }
}

void FN(lstm)(
    const T *pre, ptrdiff_t ldp, const T *bias, const T *c_prev, T forget_bias, T *act,
    ptrdiff_t lda, T *c, T *tanh_c, T *h, ptrdiff_t ldh, ptrdiff_t rows, ptrdiff_t hidden) {
  if (hidden <= 0) return;
  for (ptrdiff_t r = 0; r < rows; r++) {
    T *a = act + r * lda;
    const ptrdiff_t at = r * hidden;
    NAME(biased)(pre + r * ldp, bias, a, 4 * hidden);
    NAME(lstm_row)(a, c_prev + at, forget_bias, c + at, tanh_c + at, h + r * ldh, hidden);
  }
}

WEFT_CLONES void FN(lstm_grad)(
    const T *act, ptrdiff_t lda, const T *tanh_c, const T *c_prev, const T *dh, ptrdiff_t lddh,
    const T *dc, T *dpre, ptrdiff_t ldp, T *dc_prev, ptrdiff_t rows, ptrdiff_t hidden) {
  for (ptrdiff_t r = 0; r < rows; r++) {
    const T *gi = act + r * lda, *gj = gi + hidden, *gf = gj + hidden, *go = gf + hidden;
    T *di = dpre + r * ldp, *dj = di + hidden, *df = dj + hidden, *d_o = df + hidden;
    const T *t_row = tanh_c + r * hidden, *prev = c_prev + r * hidden, *dh_row = dh + r * lddh;
    const T *dc_row = dc ? dc + r * hidden : NULL;
    T *out = dc_prev + r * hidden;
    WEFT_LOOP for (ptrdiff_t k = 0; k < hidden; k++) {
      const T i = gi[k], j = gj[k], f = gf[k], o = go[k], t = t_row[k], p = prev[k];
      const T up = dh_row[k];
      // The state's gradient: through h, and from the step after.
      const T through = up * o * (1 - t * t);
      const T d = dc_row ? dc_row[k] + through : through;
      di[k] = d * j * (i * (1 - i));
      dj[k] = d * i * (1 - j * j);
      df[k] = d * p * (f * (1 - f));
      d_o[k] = up * t * (o * (1 - o));
      out[k] = d * f;
    }
  }
}

static ACTIVATION_CLONES void NAME(gru_gates_row)(
    T *act, const T *h_prev, T *rh, ptrdiff_t hidden) {
  T *gr = act, *gu = act + hidden;
  ACTIVATION_LOOP for (ptrdiff_t k = 0; k < hidden; k++) {
    const T r = SIGMOID(gr[k]), u = SIGMOID(gu[k]);
    gr[k] = r;
    gu[k] = u;
    rh[k] = r * h_prev[k];
  }
}

void FN(gru_gates)(
    const T *pre, ptrdiff_t ldp, const T *bias, const T *h_prev, ptrdiff_t ldhp, T *act,
    ptrdiff_t lda, T *rh, ptrdiff_t ldrh, ptrdiff_t rows, ptrdiff_t hidden) {
  if (hidden <= 0) return;
  for (ptrdiff_t r = 0; r < rows; r++) {
    T *a = act + r * lda;
    NAME(biased)(pre + r * ldp, bias, a, 2 * hidden);
    NAME(gru_gates_row)(a, h_prev + r * ldhp, rh + r * ldrh, hidden);
  }
}

static ACTIVATION_CLONES void NAME(gru_output_row)(
    const T *update, const T *h_prev, T *c, T *h, ptrdiff_t hidden) {
  ACTIVATION_LOOP for (ptrdiff_t k = 0; k < hidden; k++) {
    const T v = TANH(c[k]), u = update[k];
    c[k] = v;
    h[k] = u * h_prev[k] + (1 - u) * v;
  }
}

void FN(gru_output)(
    const T *pre, ptrdiff_t ldp, const T *bias, const T *act, ptrdiff_t lda, const T *h_prev,
    ptrdiff_t ldhp, T *c, ptrdiff_t ldc, T *h, ptrdiff_t ldh, ptrdiff_t rows, ptrdiff_t hidden) {
  if (hidden <= 0) return;
  for (ptrdiff_t r = 0; r < rows; r++) {
    T *out = c + r * ldc;
    NAME(biased)(pre + r * ldp, bias, out, hidden);
    NAME(gru_output_row)(act + r * lda + hidden, h_prev + r * ldhp, out, h + r * ldh, hidden);
  }
}

WEFT_CLONES void FN(gru_output_grad)(
    const T *act, ptrdiff_t lda, const T *h_prev, ptrdiff_t ldhp, const T *c, ptrdiff_t ldc,
    const T *dh, ptrdiff_t lddh, T *dpre, ptrdiff_t ldp, T *dgates, ptrdiff_t ldg, T *dh_prev,
    ptrdiff_t lddhp, ptrdiff_t rows, ptrdiff_t hidden) {
  for (ptrdiff_t r = 0; r < rows; r++) {
    const T *update = act + r * lda + hidden, *prev = h_prev + r * ldhp, *value = c + r * ldc;
    const T *up = dh + r * lddh;
    T *dc = dpre + r * ldp, *du = dgates + r * ldg + hidden, *out = dh_prev + r * lddhp;
    WEFT_LOOP for (ptrdiff_t k = 0; k < hidden; k++) {
      const T u = update[k], v = value[k], d = up[k], p = prev[k];
      dc[k] = d * (1 - u) * (1 - v * v);
      du[k] = d * (p - v) * (u * (1 - u));
      out[k] = d * u;
    }
  }
}

WEFT_CLONES void FN(gru_gates_grad)(
    const T *act, ptrdiff_t lda, const T *h_prev, ptrdiff_t ldhp, const T *drh, ptrdiff_t lddrh,
    T *dgates, ptrdiff_t ldg, T *dh_prev, ptrdiff_t lddhp, ptrdiff_t rows, ptrdiff_t hidden) {
  for (ptrdiff_t row = 0; row < rows; row++) {
    const T *reset = act + row * lda, *prev = h_prev + row * ldhp, *up = drh + row * lddrh;
    T *dr = dgates + row * ldg, *out = dh_prev + row * lddhp;
    WEFT_LOOP for (ptrdiff_t k = 0; k < hidden; k++) {
      const T r = reset[k], d = up[k], p = prev[k], before = out[k];
      dr[k] = d * p * (r * (1 - r));
      out[k] = before + d * r;
    }
  }
}

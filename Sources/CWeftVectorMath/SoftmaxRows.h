// Softmax and cross-entropy over rows, for the type T with the suffix in NAME and FN(function).
// Included once for each type by Softmax.c.

// y = e^(x - shift); x and y may be the same.
static void NAME(exp_shifted)(const T *x, T shift, T *y, ptrdiff_t n) {
  const ptrdiff_t body = n - n % WEFT_WIDTH;
  if (body > 0) NAME(exp_shifted_blocks)(x, shift, y, body);
  if (body == n) return;
  T tail[WEFT_WIDTH] = {0};
  memcpy(tail, x + body, (size_t)(n - body) * sizeof(T));
  NAME(exp_shifted_blocks)(tail, shift, tail, WEFT_WIDTH);
  memcpy(y + body, tail, (size_t)(n - body) * sizeof(T));
}

// What one row needs: sum e^(x - largest). With y the exponentials stay there; without, a block's
// worth of stack serves.
typedef struct {
  const T *x;
  T *y, largest;
} NAME(row);

// Kept out of the recursion below, whose frames must not each hold a buffer.
static __attribute__((noinline)) T NAME(row_sum_block)(
    const NAME(row) * row, ptrdiff_t start, ptrdiff_t n) {
  T buffer[WEFT_SUM_BLOCK];
  T *e = row->y ? row->y + start : buffer;
  NAME(exp_shifted)(row->x + start, row->largest, e, n);
  return FN(sum)(e, n);
}

static T NAME(row_sum)(const NAME(row) * row, ptrdiff_t start, ptrdiff_t n) {
  if (n <= WEFT_SUM_BLOCK) return NAME(row_sum_block)(row, start, n);
  const ptrdiff_t half = weft_sum_half(n);
  const T left = NAME(row_sum)(row, start, half);
  return left + NAME(row_sum)(row, start + half, n - half);
}

void FN(softmax_rows)(
    const T *x, ptrdiff_t ldx, T *y, ptrdiff_t ldy, ptrdiff_t rows, ptrdiff_t cols) {
  if (cols <= 0) return;
  for (ptrdiff_t r = 0; r < rows; r++) {
    NAME(row) row = {x + r * ldx, y + r * ldy, FN(max)(x + r * ldx, cols)};
    FN(scale)(row.y, (T)1 / NAME(row_sum)(&row, 0, cols), row.y, cols);
  }
}

static WEFT_CLONES void NAME(subtract_twice)(const T *x, T a, T b, T *y, ptrdiff_t n) {
  WEFT_LOOP for (ptrdiff_t i = 0; i < n; i++) y[i] = (x[i] - a) - b;
}

void FN(log_softmax_rows)(
    const T *x, ptrdiff_t ldx, T *y, ptrdiff_t ldy, ptrdiff_t rows, ptrdiff_t cols) {
  if (cols <= 0) return;
  for (ptrdiff_t r = 0; r < rows; r++) {
    NAME(row) row = {x + r * ldx, NULL, FN(max)(x + r * ldx, cols)};
    const T sum = NAME(row_sum)(&row, 0, cols);
    NAME(subtract_twice)(row.x, row.largest, LOG(sum), y + r * ldy, cols);
  }
}

// One row of the sparse cross-entropy; whether the label is valid.
static int NAME(xent_row)(
    const T *logits, int64_t label, T *loss, T *backprop, ptrdiff_t cols) {
  if (label < 0 || label >= cols) {
    if (loss) *loss = (T)NAN;
    for (ptrdiff_t i = 0; backprop && i < cols; i++) backprop[i] = (T)NAN;
    return 0;
  }
  // Read before an in-place row is overwritten.
  const T chosen = logits[label];
  NAME(row) row = {logits, backprop, FN(max)(logits, cols)};
  const T sum = NAME(row_sum)(&row, 0, cols);
  if (loss) *loss = LOG(sum) - (chosen - row.largest);
  if (backprop) {
    FN(scale)(backprop, (T)1 / sum, backprop, cols);
    backprop[label] -= 1;
  }
  return 1;
}

#define XENT_ROWS(LABEL, LABEL_SUFFIX) \
  ptrdiff_t XENT(LABEL_SUFFIX)( \
      const T *logits, ptrdiff_t ldx, const LABEL *labels, T *loss, T *backprop, \
      ptrdiff_t ldb, ptrdiff_t rows, ptrdiff_t cols) { \
    ptrdiff_t bad = -1; \
    for (ptrdiff_t r = 0; r < rows; r++) { \
      const int valid = NAME(xent_row)( \
          logits + r * ldx, (int64_t)labels[r], loss ? loss + r : NULL, \
          backprop ? backprop + r * ldb : NULL, cols); \
      if (!valid && bad < 0) bad = r; \
    } \
    return bad; \
  }

XENT_ROWS(int32_t, i32)
XENT_ROWS(int64_t, i64)
#undef XENT_ROWS

static WEFT_CLONES void NAME(dense_terms)(
    const T *x, const T *label, T largest, T log_sum, T *term, ptrdiff_t n) {
  WEFT_LOOP for (ptrdiff_t i = 0; i < n; i++) term[i] = label[i] * (log_sum - (x[i] - largest));
}

static WEFT_CLONES void NAME(dense_backprop)(
    const T *e, const T *label, T inverse, T *backprop, ptrdiff_t n) {
  WEFT_LOOP for (ptrdiff_t i = 0; i < n; i++) backprop[i] = e[i] * inverse - label[i];
}

void FN(softmax_xent_dense_rows)(
    const T *logits, ptrdiff_t ldx, const T *labels, ptrdiff_t ldl, T *loss, T *backprop,
    ptrdiff_t ldb, ptrdiff_t rows, ptrdiff_t cols) {
  T buffer[WEFT_SUM_BLOCK];
  for (ptrdiff_t r = 0; r < rows; r++) {
    NAME(row) row = {logits + r * ldx, NULL, FN(max)(logits + r * ldx, cols)};
    const T sum = cols > 0 ? NAME(row_sum)(&row, 0, cols) : 1, log_sum = LOG(sum);
    T total = 0;
    for (ptrdiff_t start = 0; start < cols; start += WEFT_SUM_BLOCK) {
      const ptrdiff_t count = cols - start < WEFT_SUM_BLOCK ? cols - start : WEFT_SUM_BLOCK;
      const T *x = row.x + start, *label = labels + r * ldl + start;
      NAME(dense_terms)(x, label, row.largest, log_sum, buffer, count);
      total += FN(sum)(buffer, count);
      if (!backprop) continue;
      // The exponentials once more: the first ones had no place to stay (backprop may be labels).
      NAME(exp_shifted)(x, row.largest, buffer, count);
      NAME(dense_backprop)(buffer, label, (T)1 / sum, backprop + r * ldb + start, count);
    }
    if (loss) loss[r] = total;
  }
}

// Panels and products with them, for the type T with the suffix in NAME and FN(function). Included
// once for each type by Panels.c.

void FN(pack_panels)(
    const T *b, ptrdiff_t row, ptrdiff_t column, ptrdiff_t k, ptrdiff_t n, T *out) {
  for (ptrdiff_t p = 0; p * COLUMNS < n; p++) {
    const ptrdiff_t left = n - p * COLUMNS, width = left < COLUMNS ? left : COLUMNS;
    const T *from = b + p * COLUMNS * column;
    T *to = out + p * k * COLUMNS;
    if (width < COLUMNS) memset(to, 0, (size_t)(k * COLUMNS) * sizeof(T));
    if (column == 1) {
      for (ptrdiff_t i = 0; i < k; i++)
        memcpy(to + i * COLUMNS, from + i * row, (size_t)width * sizeof(T));
      continue;
    }
    // Sixteen rows of the panel at a time: what is read of a column is then a cache line.
    for (ptrdiff_t i0 = 0; i0 < k; i0 += 16) {
      const ptrdiff_t i1 = i0 + 16 < k ? i0 + 16 : k;
      for (ptrdiff_t j = 0; j < width; j++)
        for (ptrdiff_t i = i0; i < i1; i++) to[i * COLUMNS + j] = from[i * row + j * column];
    }
  }
}

void FN(panel_product)(
    const weft_panel_product *s, const T *a, const T *b, const T *start, T *c) {
  if (s->m <= 0 || s->n <= 0) return;
  void (*const rows)(
      const weft_panel_product *, const T *, const T *, const T *, T *, ptrdiff_t) = CHOOSE;
  for (ptrdiff_t p = 0; p * COLUMNS < s->n; p++) {
    const T *panel = b + p * s->b_panel, *first = start ? start + p * COLUMNS : NULL;
    T *to = c + p * s->c_panel;
    const ptrdiff_t width = s->n - p * COLUMNS;
    if (width >= COLUMNS || s->c_whole) {
      rows(s, a, panel, first, to, s->c_row);
      continue;
    }
    // The last panel is narrower: by way of a block of its own.
    weft_panel_product some = *s;
    T block[32 * COLUMNS];
    for (ptrdiff_t r = 0; r < s->m; r += 32) {
      some.m = s->m - r < 32 ? s->m - r : 32;
      for (ptrdiff_t i = 0; i < some.m && s->accumulate; i++)
        memcpy(block + i * COLUMNS, to + (r + i) * s->c_row, (size_t)width * sizeof(T));
      rows(&some, a + r * s->a_row, panel, first, block, COLUMNS);
      for (ptrdiff_t i = 0; i < some.m; i++)
        memcpy(to + (r + i) * s->c_row, block + i * COLUMNS, (size_t)width * sizeof(T));
    }
  }
}

// Blocks of C = A B in registers, for the element type T and one instruction set: up to ROWS rows by
// VECTORS vectors of LANES elements. Included once for each by PanelLevels.h.

typedef T NAME(vector) __attribute__((vector_size(LANES * sizeof(T)), aligned(sizeof(T)), may_alias));

// R rows of C over the columns of one panel, VECTORS * LANES columns at a time.
#define BLOCK_OF(R) \
  static ATTRIBUTES void NAME(block_##R)( \
      const weft_panel_product *s, const T *a_block, const T *panel, const T *start, T *c_block, \
      ptrdiff_t ldc) { \
    for (int part = 0; part < COLUMNS; part += VECTORS * LANES) { \
      T *c = c_block + part; \
      NAME(vector) sum[R][VECTORS]; \
      UNROLL for (int r = 0; r < R; r++) { \
        UNROLL for (int v = 0; v < VECTORS; v++) { \
          sum[r][v] = s->accumulate ? *(const NAME(vector) *)(c + r * ldc + v * LANES) \
              : start               ? *(const NAME(vector) *)(start + part + v * LANES) \
                                    : (NAME(vector)){0}; \
        } \
      } \
      const T *b = panel + part; \
      for (ptrdiff_t from = 0; from < s->k; from += COLUMNS) { \
        const ptrdiff_t count = s->k - from < COLUMNS ? s->k - from : COLUMNS; \
        const T *a = a_block + from / COLUMNS * s->a_block; \
        for (ptrdiff_t i = 0; i < count; i++) { \
          NAME(vector) factor[VECTORS]; \
          UNROLL for (int v = 0; v < VECTORS; v++) \
            factor[v] = *(const NAME(vector) *)(b + v * LANES); \
          UNROLL for (int r = 0; r < R; r++) { \
            const T x = a[r * s->a_row]; \
            UNROLL for (int v = 0; v < VECTORS; v++) sum[r][v] += x * factor[v]; \
          } \
          a += s->a_step; \
          b += COLUMNS; \
        } \
      } \
      UNROLL for (int r = 0; r < R; r++) { \
        UNROLL for (int v = 0; v < VECTORS; v++) \
          *(NAME(vector) *)(c + r * ldc + v * LANES) = sum[r][v]; \
      } \
    } \
  }
#define BLOCK(R) BLOCK_OF(R)
#define RUN_OF(R) \
  for (; r + R <= s->m; r += R) \
    NAME(block_##R)(s, a + r * s->a_row, panel, start, c + r * ldc, ldc);
#define RUN(R) RUN_OF(R)

BLOCK(ROWS)
BLOCK(4)
BLOCK(2)
BLOCK(1)

// All rows over one panel.
static void NAME(rows)(
    const weft_panel_product *s, const T *a, const T *panel, const T *start, T *c, ptrdiff_t ldc) {
  ptrdiff_t r = 0;
  RUN(ROWS)
  RUN(4)
  RUN(2)
  RUN(1)
}

#undef BLOCK_OF
#undef BLOCK
#undef RUN_OF
#undef RUN

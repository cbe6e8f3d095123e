// Counts heap allocations of a process: preloaded, it stands before the C library's own functions.
//
//   cc -O2 -shared -fPIC -o allocation_counter.so allocation_counter.c -ldl
//   LD_PRELOAD=./allocation_counter.so PROGRAM
//
// PROGRAM finds `weft_allocation_count` and `weft_allocation_mark` by dlsym. With
// WEFT_ALLOCATION_TRACE=N the first N allocations between two marks show where they come from.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <execinfo.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static _Atomic uint64_t allocations;
static _Atomic int shown_left;
static _Atomic int is_marked;
static _Thread_local int is_inside;

static void *(*next_malloc)(size_t);
static void *(*next_calloc)(size_t, size_t);
static void *(*next_realloc)(void *, size_t);
static void *(*next_aligned_alloc)(size_t, size_t);
static void *(*next_memalign)(size_t, size_t);
static int (*next_posix_memalign)(void **, size_t, size_t);

// dlsym itself may ask for memory before the functions are known.
static char early[1 << 16] __attribute__((aligned(64)));
static _Atomic size_t early_used;

static void *early_memory(size_t size) {
  size_t rounded = (size + 63) & ~(size_t)63;
  size_t at = atomic_fetch_add(&early_used, rounded);
  return at + rounded <= sizeof early ? early + at : NULL;
}

static int is_early(const void *memory) {
  return (const char *)memory >= early && (const char *)memory < early + sizeof early;
}

static void find_functions(void) {
  if (next_malloc || is_inside) return;
  is_inside = 1;
  next_calloc = (void *(*)(size_t, size_t))dlsym(RTLD_NEXT, "calloc");
  next_realloc = (void *(*)(void *, size_t))dlsym(RTLD_NEXT, "realloc");
  next_aligned_alloc = (void *(*)(size_t, size_t))dlsym(RTLD_NEXT, "aligned_alloc");
  next_memalign = (void *(*)(size_t, size_t))dlsym(RTLD_NEXT, "memalign");
  next_posix_memalign = (int (*)(void **, size_t, size_t))dlsym(RTLD_NEXT, "posix_memalign");
  next_malloc = (void *(*)(size_t))dlsym(RTLD_NEXT, "malloc");
  is_inside = 0;
}

__attribute__((constructor)) static void begin(void) {
  find_functions();
  const char *count = getenv("WEFT_ALLOCATION_TRACE");
  if (count) {
    shown_left = atoi(count);
    // The first backtrace loads a library, which allocates.
    void *frames[2];
    is_inside = 1;
    backtrace(frames, 2);
    is_inside = 0;
  }
}

static void count(void) {
  find_functions();
  if (is_inside) return;
  atomic_fetch_add_explicit(&allocations, 1, memory_order_relaxed);
  if (is_marked && shown_left > 0 && atomic_fetch_sub(&shown_left, 1) > 0) {
    void *frames[24];
    is_inside = 1;
    int depth = backtrace(frames, 24);
    backtrace_symbols_fd(frames, depth, 2);
    if (write(2, "\n", 1) < 0) errno = 0;
    is_inside = 0;
  }
}

uint64_t weft_allocation_count(void) { return allocations; }
void weft_allocation_mark(void) { is_marked = !is_marked; }

void *malloc(size_t size) {
  count();
  return next_malloc ? next_malloc(size) : early_memory(size);
}

void *calloc(size_t number, size_t size) {
  count();
  if (next_calloc) return next_calloc(number, size);
  // Early memory is zero: it is never given twice.
  return size && number > SIZE_MAX / size ? NULL : early_memory(number * size);
}

void *realloc(void *memory, size_t size) {
  count();
  if (!next_realloc) return memory ? NULL : early_memory(size);
  if (!is_early(memory)) return next_realloc(memory, size);
  void *fresh = next_malloc(size);
  size_t rest = (size_t)(early + sizeof early - (char *)memory);
  if (fresh) memcpy(fresh, memory, size < rest ? size : rest);
  return fresh;
}

void *aligned_alloc(size_t alignment, size_t size) {
  count();
  return next_aligned_alloc ? next_aligned_alloc(alignment, size) : NULL;
}

void *memalign(size_t alignment, size_t size) {
  count();
  return next_memalign ? next_memalign(alignment, size) : NULL;
}

int posix_memalign(void **memory, size_t alignment, size_t size) {
  count();
  return next_posix_memalign ? next_posix_memalign(memory, alignment, size) : ENOMEM;
}

void free(void *memory) {
  static void (*next_free)(void *);
  if (!memory || is_early(memory)) return;
  if (!next_free) next_free = (void (*)(void *))dlsym(RTLD_NEXT, "free");
  next_free(memory);
}

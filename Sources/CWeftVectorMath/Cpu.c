// Which clone of the loops runs here.
#include "Internal.h"

int weft_cpu_level(void) {
#if defined(__x86_64__) && defined(__ELF__) && defined(__gnu_linux__) && !defined(WEFT_NO_CLONES)
  __builtin_cpu_init();
  if (__builtin_cpu_supports("x86-64-v4")) return 4;
  if (__builtin_cpu_supports("x86-64-v3")) return 3;
#endif
  return 0;
}

const char *weft_cpu_name(void) {
  switch (weft_cpu_level()) {
  case 4: return "x86-64-v4";
  case 3: return "x86-64-v3";
  default: break;
  }
#if defined(__aarch64__) || defined(__arm64__)
  return "arm64";
#else
  return "baseline";
#endif
}

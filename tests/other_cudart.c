/* A program with a CUDA runtime of its own beside dropkit's static library: what it calls must be its own. */
#include <stdio.h>

#include "dropkit/dropkit_c.h"

/* Of a runtime that is older than the library's and says so. */
int cudaRuntimeGetVersion(int* version) {
  *version = 9000;
  return 0;
}
/* And one that has a name more: a linker that took objects of both runtimes would find two of all the others. */
int cudaOfAnotherRelease(void) { return 9000; }

int cudaMalloc(void** memory, unsigned long bytes) {
  *memory = NULL;
  return bytes == 64 ? 77 : 1;
}

int main(void) {
  int version = 0;
  void* memory;
  cudaRuntimeGetVersion(&version);
  printf("%d %d %d %s\n", version, cudaMalloc(&memory, 64), cudaOfAnotherRelease(), dropkit_build_info());
  return 0;
}

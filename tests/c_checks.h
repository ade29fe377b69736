// Checks for test programs in C, and masks with memory of their own. A failed check prints its line and is counted;
// Finish() makes the count the program's exit code.
#ifndef DROPKIT_TESTS_C_CHECKS_H_
#define DROPKIT_TESTS_C_CHECKS_H_

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dropkit/dropkit_c.h"

static int checks, failures;

static void Check(int holds, const char* what, const char* file, int line) {
  ++checks;
  if (holds) return;
  if (++failures <= 20) fprintf(stderr, "%s:%d: failed: %s (last error: %s)\n", file, line, what, dropkit_last_error());
}

#define CHECK(condition) Check((condition) != 0, #condition, __FILE__, __LINE__)
#define CHECK_OK(call) Check((call) == DROPKIT_OK, #call, __FILE__, __LINE__)

static int Finish(const char* program) {
  printf("%s: %d checks, %d failed\n", program, checks, failures);
  return failures > 0;
}

static void* Memory(size_t bytes) {
  void* memory = calloc(bytes > 0 ? bytes : 1, 1);
  if (!memory) exit(2);
  return memory;
}

// Describes a mask and gives it memory, all of it zeros.
static void MakeMask(const char* spec, const dropkit_view* x, dropkit_mask* mask) {
  memset(mask, 0, sizeof(*mask));
  CHECK_OK(dropkit_describe(spec, x, mask));
  mask->bits = (uint64_t*)Memory((size_t)mask->num_words * sizeof(uint64_t));
  mask->kept = (int64_t*)Memory((size_t)mask->num_kept * sizeof(int64_t));
  mask->threshold = (uint64_t*)Memory(sizeof(uint64_t));
}

static void FreeMask(dropkit_mask* mask) {
  free(mask->bits);
  free(mask->kept);
  free(mask->threshold);
}

#endif  // DROPKIT_TESTS_C_CHECKS_H_

// What dropkit_c.h says to bad arguments: every null pointer by its name, numbers outside their enums, lines and sizes
// that are wrong, buffers that are short. Each refusal has its code and sentence, and has written nothing. Then the
// parts that cannot fail: version, backends, threads.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "c_checks.h"
#include "dropkit/dropkit_c.h"

// A sound call, of which each check spoils one argument.
static float in[120], out[120];
static uint64_t key[2] = {1, 2};
static dropkit_view x, y;
static dropkit_mask mask;
static dropkit_exec exec;
static const char* spec = "dropblock:block=3";

static void Reset(void) {
  const int64_t sizes[2] = {4, 5};
  memset(&exec, 0, sizeof(exec));
  CHECK_OK(dropkit_dense_view(in, DROPKIT_F32, 2, 3, sizes, 2, DROPKIT_CHANNELS_FIRST, &x));
  y = x;
  y.data = out;
  if (!mask.bits) MakeMask(spec, &x, &mask);
  CHECK_OK(dropkit_describe(spec, &x, &mask));
  mask.bits[0] = 0xC0FFEE;
  mask.kept[0] = -77;
  *mask.threshold = 0xC0FFEE;
  out[0] = -5.0f;
}

// The call was refused with the code, its sentence has the words, and nothing was written.
static void CheckRefused(int32_t code, int32_t expected, const char* words, int line) {
  Check(code == expected, "the code", __FILE__, line);
  Check(strstr(dropkit_last_error(), words) != NULL, words, __FILE__, line);
  Check(mask.bits[0] == 0xC0FFEE && mask.kept[0] == -77 && *mask.threshold == 0xC0FFEE, "mask untouched", __FILE__,
        line);
  Check(out[0] == -5.0f, "y untouched", __FILE__, line);
  Reset();
}

#define INVALID(call, words) CheckRefused(call, DROPKIT_INVALID, words, __LINE__)

static int32_t Drop(void) { return dropkit_drop(spec, 0.1f, NULL, key, DROPKIT_FORWARD, &x, &y, &exec, &mask); }

static void TestNullPointers(void) {
  char text[DROPKIT_SPEC_BYTES];
  float p;
  uint8_t bytes[120];
  size_t size;
  dropkit_rate_info rates;
  dropkit_gain gain;
  dropkit_view view;
  INVALID(dropkit_parse_case(NULL, 0, text, sizeof(text), &p), "line = null");
  INVALID(dropkit_parse_case("dropout", 0, NULL, 0, &p), "spec = null");
  INVALID(dropkit_parse_case("dropout", 0, text, sizeof(text), NULL), "p = null");
  INVALID(dropkit_dense_view(in, 0, 1, 1, NULL, 2, 0, &view), "sizes = null");
  INVALID(dropkit_dense_view(in, 0, 1, 1, NULL, 0, 0, NULL), "view = null");
  INVALID(dropkit_describe(NULL, &x, &mask), "spec = null");
  INVALID(dropkit_describe(spec, NULL, &mask), "x = null");
  INVALID(dropkit_describe(spec, &x, NULL), "mask = null");
  INVALID(dropkit_scratch_bytes(NULL, &x, &exec, &size), "spec = null");
  INVALID(dropkit_scratch_bytes(spec, NULL, &exec, &size), "x = null");
  INVALID(dropkit_scratch_bytes(spec, &x, &exec, NULL), "bytes = null");
  INVALID(dropkit_rates(NULL, 0.1f, &x, &rates), "spec = null");
  INVALID(dropkit_rates(spec, 0.1f, NULL, &rates), "x = null");
  INVALID(dropkit_rates(spec, 0.1f, &x, NULL), "info = null");
  INVALID(dropkit_sample(NULL, 0.1f, NULL, key, &x, NULL, &mask), "spec = null");
  INVALID(dropkit_sample(spec, 0.1f, NULL, NULL, &x, NULL, &mask), "key = null");
  INVALID(dropkit_sample(spec, 0.1f, NULL, key, NULL, NULL, &mask), "x = null");
  INVALID(dropkit_sample(spec, 0.1f, NULL, key, &x, NULL, NULL), "mask = null");
  INVALID(dropkit_apply(NULL, 0, &x, &y, NULL), "mask = null");
  INVALID(dropkit_apply(&mask, 0, NULL, &y, NULL), "x = null");
  INVALID(dropkit_apply(&mask, 0, &x, NULL, NULL), "y = null");
  INVALID(dropkit_drop(NULL, 0.1f, NULL, key, 0, &x, &y, NULL, &mask), "spec = null");
  INVALID(dropkit_drop(spec, 0.1f, NULL, NULL, 0, &x, &y, NULL, &mask), "key = null");
  INVALID(dropkit_drop(spec, 0.1f, NULL, key, 0, NULL, &y, NULL, &mask), "x = null");
  INVALID(dropkit_drop(spec, 0.1f, NULL, key, 0, &x, NULL, NULL, &mask), "y = null");
  INVALID(dropkit_drop(spec, 0.1f, NULL, key, 0, &x, &y, NULL, NULL), "mask = null");
  INVALID(dropkit_spread(NULL, 0.1f, NULL, bytes, &x, NULL, &mask), "spec = null");
  INVALID(dropkit_spread(spec, 0.1f, NULL, NULL, &x, NULL, &mask), "seeds = null");
  INVALID(dropkit_spread(spec, 0.1f, NULL, bytes, NULL, NULL, &mask), "x = null");
  INVALID(dropkit_spread(spec, 0.1f, NULL, bytes, &x, NULL, NULL), "mask = null");
  INVALID(dropkit_pack(NULL, 0.1f, NULL, bytes, &x, NULL, &mask), "spec = null");
  INVALID(dropkit_pack("dropout", 0.1f, NULL, NULL, &x, NULL, &mask), "keep = null");
  INVALID(dropkit_pack("dropout", 0.1f, NULL, bytes, NULL, NULL, &mask), "x = null");
  INVALID(dropkit_pack("dropout", 0.1f, NULL, bytes, &x, NULL, NULL), "mask = null");
  INVALID(dropkit_unpack(NULL, bytes), "mask = null");
  INVALID(dropkit_unpack(&mask, NULL), "keep = null");
  mask.total = 0;  // a count of the caller's, which says nothing of the shape
  INVALID(dropkit_unpack(&mask, NULL), "keep = null");
  INVALID(dropkit_gain_of(NULL, 0, 0, 0, 0, &gain), "mask = null");
  INVALID(dropkit_gain_of(&mask, 0, 0, 0, 0, NULL), "gain = null");
}

static void TestNullPlacesOfAStruct(void) {
  uint64_t *bits = mask.bits, *threshold = mask.threshold;
  int64_t* kept = mask.kept;
  int32_t code[3];
  mask.bits = NULL;
  code[0] = Drop();
  mask.bits = bits;
  INVALID(code[0], "mask.bits = null; allowed: 2 words");
  mask.threshold = NULL;
  code[1] = Drop();
  mask.threshold = threshold;
  INVALID(code[1], "mask.threshold = null");
  mask.kept = NULL;
  code[2] = Drop();
  mask.kept = kept;
  INVALID(code[2], "mask.kept = null");
  x.data = NULL;
  INVALID(Drop(), "x.data = null");
  y.data = NULL;
  INVALID(Drop(), "y.data = null");
}

static void TestNumbersOutsideTheirEnums(void) {
  char text[DROPKIT_SPEC_BYTES];
  float p;
  dropkit_gain gain;
  dropkit_view view;
  x.dtype = 256;  // a byte would take it for f32
  INVALID(Drop(), "x.dtype = 256; allowed: 0 (f32), 1 (f16), 2 (bf16), 3 (f64)");
  y.dtype = -1;
  INVALID(Drop(), "y.dtype = -1");
  INVALID(dropkit_apply(&mask, 2, &x, &y, NULL), "pass = 2; allowed: 0 (forward), 1 (backward)");
  INVALID(dropkit_drop(spec, 0.1f, NULL, key, -256, &x, &y, NULL, &mask), "pass = -256");
  INVALID(dropkit_gain_of(&mask, 7, 0, 0, 0, &gain), "pass = 7");
  INVALID(dropkit_gain_of(&mask, 0, 0, 0, 4, &gain), "dtype = 4");
  INVALID(dropkit_parse_case("dropout", 2, text, sizeof(text), &p), "form = 2; allowed: 0 (short), 1 (full)");
  INVALID(dropkit_dense_view(in, 0, 1, 1, &x.size[0], 1, 2, &view), "layout = 2; allowed: 0 (channels first)");
  INVALID(dropkit_dense_view(in, 9, 1, 1, &x.size[0], 1, 0, &view), "dtype = 9");
}

static void TestLines(void) {
  char text[DROPKIT_SPEC_BYTES];
  float p = -1.0f;
  INVALID(dropkit_describe("dropblok", &x, &mask), "did you mean");
  INVALID(dropkit_sample("dropblock:block=0", 0.1f, NULL, key, &x, NULL, &mask), "block=0");
  INVALID(dropkit_parse_case("dropout@1.5", 0, text, sizeof(text), &p), "p = '1.5'");
  INVALID(dropkit_parse_case("", 0, text, sizeof(text), &p), "unknown method or preset ''");
  CHECK(p == -1.0f);
  CHECK_OK(dropkit_parse_case("dropblock:block=3x5@0.25", DROPKIT_SHORT, text, sizeof(text), &p));
  CHECK(strcmp(text, "dropblock:block=3x5") == 0 && p == 0.25f);
  CHECK_OK(dropkit_parse_case("drop_path", DROPKIT_FULL, text, sizeof(text), &p));
  CHECK(strcmp(text, "drop_path:share=none,normalize=expected,over=tensor,fill=0,draw=1") == 0 && p == 0.1f);
}

static void TestShortBuffers(void) {
  char text[8] = "before";
  float p = -1.0f;
  INVALID(dropkit_parse_case("dropout", 0, text, 7, &p), "spec_bytes = 7; allowed: at least 8 for this line, 256");
  INVALID(dropkit_parse_case("dropout", 0, text, 0, &p), "spec_bytes = 0");
  CHECK(strcmp(text, "before") == 0 && p == -1.0f);
  CHECK_OK(dropkit_parse_case("dropout", 0, text, 8, &p));
  CHECK(strcmp(text, "dropout") == 0);
  exec.scratch = (char*)key + 1;
  INVALID(dropkit_sample("dropblock:block=3", 0.1f, NULL, key, &x, &exec, &mask), "exec.scratch is not aligned");
}

// A line longer than a mask's field is kept there in its full form.
static void TestLongLines(void) {
  char line[600];
  uint8_t keep[120];
  snprintf(line, sizeof(line), "dropblock:block=1048576x1048576,gamma_scale=1.2345678901234567e-300,fill=%0400d", 7);
  CHECK(strlen(line) > DROPKIT_SPEC_BYTES);
  CHECK_OK(dropkit_sample(line, 0.5f, NULL, key, &x, NULL, &mask));
  CHECK(strstr(mask.spec, ",fill=7,draw=1") != NULL);
  CHECK_OK(dropkit_unpack(&mask, keep));
  CHECK_OK(dropkit_apply(&mask, DROPKIT_FORWARD, &x, &y, NULL));
  for (int length = 255; length <= 256; ++length) {
    snprintf(line, sizeof(line), "dropout:fill=%0*d", length - (int)strlen("dropout:fill="), 7);
    CHECK((int)strlen(line) == length);
    CHECK_OK(dropkit_describe(line, &x, &mask));
    CHECK(strcmp(mask.spec, length == 255 ? line : "dropout:share=none,normalize=expected,over=tensor,fill=7,draw=1") ==
          0);
  }
  Reset();
  memset(mask.spec, 'x', sizeof(mask.spec));
  INVALID(dropkit_unpack(&mask, keep), "mask.spec has no end");
  mask.spec[0] = 0;
  INVALID(dropkit_apply(&mask, 0, &x, &y, NULL), "mask.spec: spec '': unknown method");
}

static void TestSizes(void) {
  const int64_t sizes[2] = {-1, 4}, huge[2] = {INT64_C(1) << 40, INT64_C(1) << 40};
  dropkit_view view;
  dropkit_gain gain;
  memset(&view, 7, sizeof(view));
  INVALID(dropkit_dense_view(in, 0, 2, 3, sizes, 2, 0, &view), "view.size[0] = -1; allowed: 0 or more");
  INVALID(dropkit_dense_view(in, 0, 2, 3, huge, 2, 0, &view), "at most 2^38");
  INVALID(dropkit_dense_view(in, 0, 2, 3, sizes, 4, 0, &view), "spatial_dims = 4; allowed: 0 to 3");
  INVALID(dropkit_dense_view(in, 0, 2, 3, sizes, -1, 0, &view), "spatial_dims = -1");
  CHECK(view.samples == INT64_C(0x0707070707070707));
  x.channels = -3;
  INVALID(Drop(), "x.channels = -3");
  x.spatial_dims = 4;
  INVALID(Drop(), "x.spatial_dims = 4");
  y.size[0] = 3;
  INVALID(Drop(), "y's shape = 2,3,3,5; allowed: x's, 2,3,4,5");
  INVALID(dropkit_drop(spec, 1.5f, NULL, key, 0, &x, &y, NULL, &mask), "p = 1.5");
  INVALID(dropkit_gain_of(&mask, 0, 2, 0, 0, &gain), "n = 2; allowed: 0 to samples - 1");
  INVALID(dropkit_gain_of(&mask, 0, 0, 3, 0, &gain), "c = 3; allowed: 0 to channels - 1");
  mask.num_bits = 119;
  INVALID(dropkit_apply(&mask, 0, &x, &y, NULL), "mask.num_bits = 119");
}

static void TestExec(void) {
  exec.reserved = 1;
  INVALID(Drop(), "exec.reserved = 1; allowed: 0");
  exec.backend = "cpi";
  INVALID(Drop(), "exec.backend 'cpi' is not a backend");
  mask.reserved = 5;
  INVALID(dropkit_apply(&mask, 0, &x, &y, NULL), "mask.reserved = 5; allowed: 0");
  INVALID(dropkit_set_threads(-1), "threads = -1");
  INVALID(dropkit_set_threads(100000), "threads = 100000");
  CHECK_OK(dropkit_set_threads(2));
  CHECK_OK(dropkit_set_threads(0));
}

// Sentences are cut at the end of the thread's buffer, and a call that succeeds leaves the last one.
static void TestSentences(void) {
  char line[5000];
  memset(line, 'a', sizeof(line) - 1);
  line[sizeof(line) - 1] = 0;
  CHECK(dropkit_describe(line, &x, &mask) == DROPKIT_INVALID);
  CHECK(strlen(dropkit_last_error()) == 2047);
  CHECK(dropkit_set_threads(-2) == DROPKIT_INVALID);
  CHECK_OK(dropkit_set_threads(0));
  CHECK(strstr(dropkit_last_error(), "threads = -2") == dropkit_last_error());
}

static void TestWhatThisLibraryIs(void) {
  int cpu = 0, count = 0;
  CHECK(dropkit_abi() == DROPKIT_ABI);
  CHECK(dropkit_draw_version() == 1);
  CHECK(strchr(dropkit_version(), '.') != NULL);
  CHECK(strstr(dropkit_build_info(), dropkit_version()) != NULL);
  CHECK(strstr(dropkit_build_info(), "backends: cpu") != NULL);
  for (; dropkit_backend_name(count); ++count) cpu += strcmp(dropkit_backend_name(count), "cpu") == 0;
  CHECK(cpu == 1 && count >= 2);
  CHECK(dropkit_backend_unavailable(0) == NULL);
  CHECK(dropkit_backend_name(-1) == NULL);
  CHECK(dropkit_backend_unavailable(-1) != NULL && dropkit_backend_unavailable(count) != NULL);
}

int main(void) {
  Reset();
  TestNullPointers();
  TestNullPlacesOfAStruct();
  TestNumbersOutsideTheirEnums();
  TestLines();
  TestShortBuffers();
  TestLongLines();
  TestSizes();
  TestExec();
  TestSentences();
  TestWhatThisLibraryIs();
  CHECK_OK(Drop());  // the sound call is one
  CHECK(mask.bits[0] != 0xC0FFEE && out[0] != -5.0f);
  FreeMask(&mask);
  return Finish("c_errors_test");
}

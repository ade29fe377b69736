// dropkit_c.h used as a C program uses it: C99, the header first and alone, no framework. Exits 1 and names the lines
// of the checks that failed.
//
// Masks are compared with tests/golden/masks.txt (its forms: tests/golden/README.md), outputs with arithmetic done
// here. Bad arguments are c_errors_test.c's matter; equality with the C++ functions c_agreement_test.cc's.
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "c_checks.h"
#include "dropkit/dropkit_c.h"

static const uint64_t kKey[2] = {2026, 3};

static int64_t ElementsOf(const dropkit_view* x) {
  return x->samples * x->channels * x->size[0] * x->size[1] * x->size[2];
}

// ---------------------------------------------------------------- golden masks

// The value of `name=` in a line, up to the next blank; "" if the line has none.
static const char* Value(const char* line, const char* name) {
  static char value[16384];
  const size_t length = strlen(name);
  const char* at = line;
  value[0] = 0;
  while ((at = strchr(at, ' ')) != NULL) {
    ++at;
    if (strncmp(at, name, length) == 0 && at[length] == '=') {
      sscanf(at + length + 1, "%16383s", value);
      break;
    }
  }
  return value;
}

static int CountNumbers(const char* text, int64_t* numbers, int most) {
  int count = 0;
  char* end;
  while (count < most) {
    numbers[count++] = strtoll(text, &end, 10);
    if (*end != ',') break;
    text = end + 1;
  }
  return count;
}

static double DoubleOfBits(uint64_t bits) {
  double value;
  memcpy(&value, &bits, sizeof(value));
  return value;
}

static void CheckBits(const char* line, const uint8_t* keep, int64_t count) {
  const char* hex = Value(line, "bits");
  int64_t wrong = 0;
  CHECK((int64_t)strlen(hex) == (count + 7) / 8 * 2);
  for (int64_t i = 0; i < count; ++i) {
    const char byte[3] = {hex[i / 8 * 2], hex[i / 8 * 2 + 1], 0};
    wrong += keep[i] != ((strtol(byte, NULL, 16) >> (i % 8)) & 1);
  }
  CHECK(wrong == 0);
}

static void CheckCounts(const char* line, const dropkit_mask* mask) {
  int64_t kept[4096];
  const int count = CountNumbers(Value(line, "kept"), kept, 4096);
  CHECK(*mask->threshold == strtoull(Value(line, "T"), NULL, 10));
  CHECK(mask->num_kept == count);
  for (int i = 0; i < count; ++i) CHECK(mask->kept[i] == kept[i]);
}

// The first gain of the line, which is that of sample 0, channel 0.
static void CheckGain(const char* line, const dropkit_mask* mask) {
  dropkit_gain gain;
  CHECK_OK(dropkit_gain_of(mask, DROPKIT_FORWARD, 0, 0, DROPKIT_F64, &gain));
  CHECK(gain.a == DoubleOfBits(strtoull(Value(line, "gain"), NULL, 16)));
}

static void CheckGoldenLine(const char* line, int32_t layout) {
  char spec[DROPKIT_SPEC_BYTES];
  float p;
  int64_t shape[5];
  const int dims = CountNumbers(Value(line, "shape"), shape, 5);
  const uint64_t key[2] = {strtoull(Value(line, "seed"), NULL, 10), strtoull(Value(line, "offset"), NULL, 10)};
  dropkit_view x;
  dropkit_mask mask;
  dropkit_rate_info rates;
  uint8_t* keep;
  CHECK_OK(dropkit_parse_case(Value(line, "case"), DROPKIT_FULL, spec, sizeof(spec), &p));
  CHECK_OK(dropkit_dense_view(NULL, DROPKIT_F32, shape[0], shape[1], shape + 2, dims - 2, layout, &x));
  x.first_sample = strtoll(Value(line, "first"), NULL, 10);
  MakeMask(spec, &x, &mask);
  CHECK_OK(dropkit_sample(spec, p, NULL, key, &x, NULL, &mask));
  keep = Memory((size_t)ElementsOf(&x));
  CHECK_OK(dropkit_unpack(&mask, keep));
  CheckBits(line, keep, ElementsOf(&x));
  CheckCounts(line, &mask);
  CheckGain(line, &mask);
  CHECK_OK(dropkit_rates(spec, p, &x, &rates));
  CHECK(rates.threshold == *mask.threshold && rates.lane_threshold == strtoull(Value(line, "Q"), NULL, 10));
  free(keep);
  FreeMask(&mask);
}

static void TestGoldenMasks(void) {
  static char line[16384];
  int lines = 0;
  FILE* file = fopen(DROPKIT_SOURCE_DIR "/tests/golden/masks.txt", "r");
  CHECK(file != NULL);
  while (file && fgets(line, sizeof(line), file)) {
    if (Value(line, "bits")[0] == 0) continue;  // large masks, as a checksum
    CheckGoldenLine(line, DROPKIT_CHANNELS_FIRST);
    CheckGoldenLine(line, DROPKIT_CHANNELS_LAST);
    ++lines;
  }
  if (file) fclose(file);
  CHECK(lines >= 800);
}

// ---------------------------------------------------------------- the verbs

enum { kSamples = 5, kChannels = 6, kCells = 9 * 11, kElements = kSamples * kChannels * kCells };

// A dense view of 5 x 6 x 9 x 11 elements of any dtype.
static dropkit_view ViewOf(void* data, int32_t dtype, int32_t layout) {
  const int64_t sizes[2] = {9, 11};
  dropkit_view view;
  CHECK_OK(dropkit_dense_view(data, dtype, kSamples, kChannels, sizes, 2, layout, &view));
  return view;
}

static void TestDropIsSampleAndApply(void) {
  const char* specs[] = {"dropout", "dropblock:block=3,over=plane", "cutout:size=4,fill=noise",
                         "spatial_dropout:fill=2"};
  for (int32_t i = 0; i < 4 * 4 * 2 * 2; ++i) {
    const char* spec = specs[i / 16];
    const int32_t dtype = i / 4 % 4, layout = i / 2 % 2, pass = i % 2;
    static double in[kElements], once[kElements], twice[kElements];  // room for every dtype
    dropkit_view x = ViewOf(in, dtype, layout), y = ViewOf(once, dtype, layout);
    const size_t bytes = (size_t)kElements * (dtype == DROPKIT_F64 ? 8 : dtype == DROPKIT_F32 ? 4 : 2);
    dropkit_mask mask;
    for (size_t j = 0; j < bytes; ++j) ((uint8_t*)in)[j] = (uint8_t)(j * 37 % 61);
    memset(once, 1, sizeof(once));
    memset(twice, 2, sizeof(twice));
    MakeMask(spec, &x, &mask);
    CHECK_OK(dropkit_drop(spec, 0.3f, NULL, kKey, pass, &x, &y, NULL, &mask));
    memset(mask.bits, 0, (size_t)mask.num_words * 8);
    y.data = twice;
    CHECK_OK(dropkit_sample(spec, 0.3f, NULL, kKey, &x, NULL, &mask));
    CHECK_OK(dropkit_apply(&mask, pass, &x, &y, NULL));
    CHECK(memcmp(once, twice, bytes) == 0);
    FreeMask(&mask);
  }
}

// y = kept * (a x + b) by arithmetic done here, in both passes, also in place.
static void TestOutputs(void) {
  static float in[kElements], out[kElements];
  static uint8_t keep[kElements];
  dropkit_view x = ViewOf(in, DROPKIT_F32, DROPKIT_CHANNELS_FIRST),
               y = ViewOf(out, DROPKIT_F32, DROPKIT_CHANNELS_FIRST);
  dropkit_mask mask;
  dropkit_gain gain;
  int64_t kept = 0;
  int wrong = 0;
  for (int i = 0; i < kElements; ++i) in[i] = (float)i / 7;
  MakeMask("dropblock:block=3,fill=-4", &x, &mask);
  CHECK_OK(dropkit_drop("dropblock:block=3,fill=-4", 0.2f, NULL, kKey, DROPKIT_FORWARD, &x, &y, NULL, &mask));
  CHECK_OK(dropkit_unpack(&mask, keep));
  for (int i = 0; i < kElements; ++i) kept += keep[i];
  CHECK(kept > kElements / 2 && kept < kElements);
  CHECK_OK(dropkit_gain_of(&mask, DROPKIT_FORWARD, 0, 0, DROPKIT_F32, &gain));
  CHECK(gain.a == (float)((double)kElements / (double)kept) && gain.b == 0 && gain.c == 0 && gain.d == -4);
  for (int i = 0; i < kElements; ++i) wrong += out[i] != (keep[i] ? in[i] * (float)gain.a : -4.0f);
  CHECK(wrong == 0);
  CHECK_OK(dropkit_apply(&mask, DROPKIT_BACKWARD, &x, &x, NULL));
  for (int i = 0; i < kElements; ++i) wrong += in[i] != (keep[i] ? (float)i / 7 * (float)gain.a : 0.0f);
  CHECK(wrong == 0);
  FreeMask(&mask);
}

// One seed at (2, 3) of a 9 x 11 map with valid positions drops rows 2-4, columns 3-5 of its plane.
static void TestSpread(void) {
  static uint8_t seeds[kSamples * kChannels * 7 * 9], keep[kElements];
  dropkit_view x = ViewOf(NULL, DROPKIT_F32, DROPKIT_CHANNELS_LAST);
  dropkit_mask mask;
  int wrong = 0;
  seeds[(4 * kChannels + 1) * 63 + 2 * 9 + 3] = 1;
  MakeMask("dropblock:block=3", &x, &mask);
  CHECK_OK(dropkit_spread("dropblock:block=3", 0.1f, NULL, seeds, &x, NULL, &mask));
  CHECK_OK(dropkit_unpack(&mask, keep));
  for (int i = 0; i < kElements; ++i) {
    const int plane = i / kCells, row = i % kCells / 11, column = i % 11;
    const int dropped = plane == 4 * kChannels + 1 && row >= 2 && row <= 4 && column >= 3 && column <= 5;
    wrong += keep[i] != !dropped;
  }
  CHECK(wrong == 0);
  CHECK(mask.kept[4] == kChannels * kCells - 9 && mask.kept[0] == kChannels * kCells);
  FreeMask(&mask);
}

static void TestPackAndUnpack(void) {
  static uint8_t given[kElements], back[kElements];
  for (int32_t layout = 0; layout < 2; ++layout) {
    dropkit_view x = ViewOf(NULL, DROPKIT_F32, layout);
    dropkit_mask mask;
    for (int i = 0; i < kElements; ++i) given[i] = (uint8_t)(i % 3 != 0);
    MakeMask("dropout:normalize=kept", &x, &mask);
    CHECK_OK(dropkit_pack("dropout:normalize=kept", 0.5f, NULL, given, &x, NULL, &mask));
    CHECK_OK(dropkit_unpack(&mask, back));
    CHECK(memcmp(given, back, sizeof(given)) == 0);
    CHECK(mask.kept[2] == kChannels * kCells / 3 * 2);
    FreeMask(&mask);
  }
}

// Noise comes from the key and the element's place: where everything is dropped, a packed mask whose key the caller set
// gives what a drawn one gives.
static void TestNoiseOfAPackedMask(void) {
  static uint8_t nothing[kElements];
  static float in[kElements], drawn[kElements], packed[kElements];
  dropkit_view x = ViewOf(in, DROPKIT_F32, DROPKIT_CHANNELS_FIRST), y = x;
  dropkit_mask mask;
  MakeMask("dropout:fill=noise", &x, &mask);
  y.data = drawn;
  CHECK_OK(dropkit_drop("dropout:fill=noise", 1.0f, NULL, kKey, DROPKIT_FORWARD, &x, &y, NULL, &mask));
  CHECK(mask.key == kKey && drawn[0] != drawn[1]);
  mask.key = NULL;
  CHECK_OK(dropkit_pack("dropout:fill=noise", 1.0f, NULL, nothing, &x, NULL, &mask));
  CHECK(mask.key == NULL);
  mask.key = kKey;
  y.data = packed;
  CHECK_OK(dropkit_apply(&mask, DROPKIT_FORWARD, &x, &y, NULL));
  CHECK(memcmp(drawn, packed, sizeof(drawn)) == 0);
  FreeMask(&mask);
}

// ---------------------------------------------------------------- where and how to run

struct Pool {
  int calls;
  int64_t tasks;
};

// Backwards, to show that the order does not matter.
static void RunBackwards(void* context, int64_t count, dropkit_task task, void* argument) {
  struct Pool* pool = context;
  ++pool->calls;
  pool->tasks += count;
  for (int64_t i = count - 1; i >= 0; --i) task(argument, i);
}

static void TestParallelForAndScratch(void) {
  enum { kMany = 8 * 16 * 64 * 64 };
  const int64_t sizes[2] = {64, 64};
  const char* spec = "dropblock:block=5,rate=calibrated";
  float *in = Memory(kMany * sizeof(float)), *plain = Memory(kMany * sizeof(float)),
        *own = Memory(kMany * sizeof(float));
  struct Pool pool = {0, 0};
  dropkit_exec exec;
  dropkit_view x, y;
  dropkit_mask mask;
  char* scratch;
  memset(&exec, 0, sizeof(exec));
  for (int i = 0; i < kMany; ++i) in[i] = (float)(i % 1000);
  CHECK_OK(dropkit_dense_view(in, DROPKIT_F32, 8, 16, sizes, 2, DROPKIT_CHANNELS_FIRST, &x));
  y = x;
  y.data = plain;
  MakeMask(spec, &x, &mask);
  CHECK_OK(dropkit_drop(spec, 0.1f, NULL, kKey, DROPKIT_FORWARD, &x, &y, NULL, &mask));
  exec.parallel_for = RunBackwards;
  exec.context = &pool;
  exec.max_threads = 4;
  CHECK_OK(dropkit_scratch_bytes(spec, &x, &exec, &exec.scratch_bytes));
  scratch = Memory(exec.scratch_bytes + 64);
  exec.scratch = scratch + (64 - (uintptr_t)scratch % 64) % 64;
  y.data = own;
  CHECK_OK(dropkit_drop(spec, 0.1f, NULL, kKey, DROPKIT_FORWARD, &x, &y, &exec, &mask));
  CHECK(pool.calls > 0 && pool.tasks > pool.calls);
  CHECK(memcmp(plain, own, kMany * sizeof(float)) == 0);
  exec.backend = "reference";
  memset(own, 0, kMany * sizeof(float));
  CHECK_OK(dropkit_scratch_bytes(spec, &x, &exec, &exec.scratch_bytes));
  CHECK_OK(dropkit_drop(spec, 0.1f, NULL, kKey, DROPKIT_FORWARD, &x, &y, &exec, &mask));
  CHECK(memcmp(plain, own, kMany * sizeof(float)) == 0);
  free(in);
  free(plain);
  free(own);
  free(scratch);
  FreeMask(&mask);
}

// Two halves of a batch, their counts summed, give what the whole gives.
static void TestSplitBatch(void) {
  static float in[kElements], whole[kElements], parts[kElements];
  dropkit_view x = ViewOf(in, DROPKIT_F32, DROPKIT_CHANNELS_FIRST),
               y = ViewOf(whole, DROPKIT_F32, DROPKIT_CHANNELS_FIRST);
  dropkit_mask mask, part[2];
  int64_t sum = 0;
  for (int i = 0; i < kElements; ++i) in[i] = (float)(i + 1);
  MakeMask("dropblock:block=3", &x, &mask);
  CHECK_OK(dropkit_drop("dropblock:block=3", 0.2f, NULL, kKey, DROPKIT_FORWARD, &x, &y, NULL, &mask));
  for (int i = 0; i < 2; ++i) {
    x.first_sample = i * 2;
    x.samples = i == 0 ? 2 : 3;
    MakeMask("dropblock:block=3", &x, &part[i]);
    CHECK_OK(dropkit_sample("dropblock:block=3", 0.2f, NULL, kKey, &x, NULL, &part[i]));
    for (int64_t n = 0; n < part[i].num_kept; ++n) sum += part[i].kept[n];
  }
  for (int i = 0; i < 2; ++i) {
    part[i].kept[0] = sum;
    part[i].num_kept = 1;
    part[i].total = kElements;
    x.samples = y.samples = part[i].samples;
    x.data = in + i * 2 * kChannels * kCells;
    y.data = parts + i * 2 * kChannels * kCells;
    CHECK_OK(dropkit_apply(&part[i], DROPKIT_FORWARD, &x, &y, NULL));
    FreeMask(&part[i]);
  }
  CHECK(memcmp(whole, parts, sizeof(whole)) == 0);
  FreeMask(&mask);
}

// A p in memory decides, whatever the number says; a bad one there makes every output NaN.
static void TestPInMemory(void) {
  static float in[kElements], out[kElements];
  const float good = 0.3f, bad = -1.0f;
  dropkit_view x = ViewOf(in, DROPKIT_F32, DROPKIT_CHANNELS_FIRST),
               y = ViewOf(out, DROPKIT_F32, DROPKIT_CHANNELS_FIRST);
  dropkit_mask mask, same;
  int numbers = 0;
  MakeMask("dropout", &x, &mask);
  MakeMask("dropout", &x, &same);
  CHECK_OK(dropkit_sample("dropout", 7.0f, &good, kKey, &x, NULL, &mask));
  CHECK_OK(dropkit_sample("dropout", good, NULL, kKey, &x, NULL, &same));
  CHECK(memcmp(mask.bits, same.bits, (size_t)mask.num_words * 8) == 0);
  CHECK_OK(dropkit_drop("dropout", 0.3f, &bad, kKey, DROPKIT_FORWARD, &x, &y, NULL, &mask));
  CHECK(*mask.threshold == UINT64_MAX);
  for (int i = 0; i < kElements; ++i) numbers += !isnan(out[i]);
  CHECK(numbers == 0);
  FreeMask(&mask);
  FreeMask(&same);
}

static void TestEmptyTensor(void) {
  const int64_t sizes[1] = {0};
  dropkit_view x;
  dropkit_mask mask;
  CHECK_OK(dropkit_dense_view(NULL, DROPKIT_F32, 2, 3, sizes, 1, DROPKIT_CHANNELS_FIRST, &x));
  MakeMask("dropblock", &x, &mask);
  CHECK(mask.num_words == 0 && mask.num_kept == 2 && mask.total == 0);
  CHECK_OK(dropkit_drop("dropblock", 0.5f, NULL, kKey, DROPKIT_FORWARD, &x, &x, NULL, &mask));
  CHECK(mask.kept[0] == 0 && mask.kept[1] == 0);
  FreeMask(&mask);
}

int main(void) {
  CHECK(dropkit_last_error()[0] == 0);
  TestGoldenMasks();
  TestDropIsSampleAndApply();
  TestOutputs();
  TestSpread();
  TestPackAndUnpack();
  TestNoiseOfAPackedMask();
  TestParallelForAndScratch();
  TestSplitBatch();
  TestPInMemory();
  TestEmptyTensor();
  return Finish("c_api_test");
}

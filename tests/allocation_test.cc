// The hot path does not allocate: a counting operator new reads 0 over steady calls, with scratch given and without.
#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <new>

#include "dropkit/dropkit.h"
#include "dropkit/dropkit_c.h"

namespace {
std::atomic<int64_t> allocations{0};
}

// The sanitizers' build inlines these and takes malloc and free for a mismatched pair.
#pragma GCC diagnostic ignored "-Wmismatched-new-delete"

void* operator new(size_t bytes) {
  ++allocations;
  if (void* memory = std::malloc(bytes)) return memory;
  throw std::bad_alloc();
}
void* operator new(size_t bytes, const std::nothrow_t&) noexcept {
  ++allocations;
  return std::malloc(bytes);
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, size_t) noexcept { std::free(memory); }

namespace dropkit {
namespace {

TEST(AllocationTest, SteadyCallsAllocateNothing) {
  const uint64_t key[2] = {1, 2};
  std::vector<float> in(8 * 16 * 28 * 28, 1.0f), out(in.size());
  for (const int threads : {1, 2}) {
    ASSERT_TRUE(SetThreads(threads).ok());
    for (const char* line : {"dropblock:block=7@0.1", "dropblock:rate=calibrated,normalize=expected@0.1", "dropout@0.3",
                             "dropout:fill=noise,over=plane@0.3", "spatial_dropout@0.2", "drop_path@0.2",
                             "cutout:normalize=expected", "drop_connect@0.5"}) {
      for (const Layout layout : {Layout::kChannelsFirst, Layout::kChannelsLast}) {
        const View x = DenseView(in.data(), DType::kF32, 8, 16, {28, 28}, layout);
        View y = x;
        y.data = out.data();
        Spec spec;
        float p;
        ASSERT_TRUE(ParseCase(line, &spec, &p).ok());
        MaskStorage storage;
        ASSERT_TRUE(storage.Reserve(spec, x).ok());
        ASSERT_TRUE(Drop(spec, p, key, Pass::kForward, x, y, Exec(), &storage.mask).ok());  // scratch and pool are made
        const int64_t before = allocations;
        for (int i = 0; i < 100; ++i) {
          Spec again;
          float moved;
          if (!ParseCase(line, &again, &moved).ok()) FAIL();
          if (!Sample(again, moved * (100 - i) / 100, key, x, Exec(), &storage.mask).ok()) FAIL();
          if (!Apply(storage.mask, Pass::kForward, x, y, Exec()).ok()) FAIL();
          if (!Apply(storage.mask, Pass::kBackward, x, y, Exec()).ok()) FAIL();
        }
        EXPECT_EQ(allocations - before, 0) << line << ", threads " << threads;
      }
    }
  }
  ASSERT_TRUE(SetThreads(0).ok());
}

// The C functions read their spec from text and write it into the mask, and that is free too.
TEST(AllocationTest, SteadyCallsFromCAllocateNothing) {
  const uint64_t key[2] = {1, 2};
  const int64_t sizes[2] = {28, 28};
  const char* spec = "dropblock:block=7,rate=calibrated,normalize=expected,fill=noise";
  std::vector<float> in(8 * 16 * 28 * 28, 1.0f);
  std::vector<uint64_t> bits(in.size() / 64);
  std::vector<int64_t> kept(8);
  uint64_t threshold = 0;
  dropkit_view x;
  dropkit_mask mask = {};
  mask.bits = bits.data();
  mask.kept = kept.data();
  mask.threshold = &threshold;
  ASSERT_EQ(dropkit_dense_view(in.data(), DROPKIT_F32, 8, 16, sizes, 2, DROPKIT_CHANNELS_FIRST, &x), DROPKIT_OK);
  int64_t before = 0;
  for (int i = 0; i < 100; ++i) {
    if (i == 1) before = allocations;  // scratch and pool are made
    if (dropkit_drop(spec, 0.1f, nullptr, key, DROPKIT_FORWARD, &x, &x, nullptr, &mask) != DROPKIT_OK) FAIL();
    if (dropkit_apply(&mask, DROPKIT_BACKWARD, &x, &x, nullptr) != DROPKIT_OK) FAIL();
  }
  EXPECT_EQ(allocations - before, 0);
}

}  // namespace
}  // namespace dropkit

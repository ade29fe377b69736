// Which calls ask for more threads than the caller's: those above the sizes that docs/bench.md gives, and no others.
#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

#include "dropkit/dropkit.h"

namespace dropkit {
namespace {

constexpr int64_t kMostApplied = 1 << 15;  // elements that the caller applies alone
constexpr int64_t kMostDrawn = 1 << 14;    // bits that it draws alone

// A parallel-for that counts how often it is asked, and for less than two tasks never should be.
struct Asked {
  Exec Run() {
    Exec exec;
    exec.parallel_for = {4, Count, this};
    return exec;
  }
  static void Count(void* context, int64_t count, void (*task)(void*, int64_t), void* argument) {
    ++static_cast<Asked*>(context)->times;
    EXPECT_GE(count, 2);
    for (int64_t i = 0; i < count; ++i) task(argument, i);
  }
  int times = 0;
};

struct Times {
  int drawing, applying, bits;
};

Times TimesAsked(const std::string& line, Probability p, const std::vector<int64_t>& shape, Layout layout) {
  const uint64_t key[2] = {1, 2};
  Spec spec;
  EXPECT_TRUE(ParseSpec(line, &spec).ok());
  View x = DenseView(nullptr, DType::kF32, shape[0], shape[1], {shape.begin() + 2, shape.end()}, layout);
  std::vector<float> values(x.samples * x.channels * x.size[0] * x.size[1] * x.size[2]);
  x.data = values.data();
  MaskStorage storage;
  EXPECT_TRUE(storage.Reserve(spec, x).ok());
  Asked drawing, applying;
  EXPECT_TRUE(Sample(spec, p, key, x, drawing.Run(), &storage.mask).ok());
  EXPECT_TRUE(Apply(storage.mask, Pass::kForward, x, x, applying.Run()).ok());
  return {drawing.times, applying.times, static_cast<int>(storage.mask.num_bits)};
}

TEST(ThreadsTest, SmallCallsAreTheCallersAlone) {
  const std::vector<std::vector<int64_t>> shapes = {{1, 1, 16384},    {4, 16, 16, 16},    {2, 167, 7, 7},
                                                    {334, 1, 7, 7},   {2, 3, 13, 14, 15}, {16384, 1, 1, 1},
                                                    {32768, 1, 1, 1}, {8, 16, 16, 16},    {3, 217, 7, 7}};
  const float nan = std::nanf("");
  for (const std::string line :
       {"dropblock:block=3", "dropblock:block=3,share=channels,over=plane", "dropout", "dropout:fill=noise,over=sample",
        "spatial_dropout:over=plane,normalize=kept", "drop_path", "cutout:size=3", "drop_connect:share=none"}) {
    for (const std::vector<int64_t>& shape : shapes) {
      for (const Layout layout : {Layout::kChannelsFirst, Layout::kChannelsLast}) {
        SCOPED_TRACE(line + ", " + std::to_string(shape[0]) + " samples of " + std::to_string(shape[1]) + " channels");
        const Times times = TimesAsked(line, 0.3f, shape, layout);
        EXPECT_EQ(times.applying, 0);
        EXPECT_EQ(TimesAsked(line, Probability(&nan), shape, layout).applying, 0);
        if (times.bits <= kMostDrawn) {
          EXPECT_EQ(times.drawing, 0);
        }
      }
    }
  }
}

TEST(ThreadsTest, LargerOnesAreShared) {
  for (const std::string line : {"dropblock:block=3", "dropout", "cutout:size=3"}) {
    for (const Layout layout : {Layout::kChannelsFirst, Layout::kChannelsLast}) {
      SCOPED_TRACE(line);
      const Times times = TimesAsked(line, 0.3f, {kMostApplied / 256 + 1, 1, 16, 16}, layout);
      EXPECT_EQ(times.drawing, 1);
      EXPECT_EQ(times.applying, 1);
      EXPECT_EQ(TimesAsked(line, 0.3f, {kMostDrawn / 256 + 1, 1, 16, 16}, layout).drawing, 1);
    }
  }
  EXPECT_EQ(TimesAsked("spatial_dropout", 0.3f, {kMostApplied / 256 + 1, 1, 16, 16}, Layout::kChannelsFirst).applying,
            1);
  EXPECT_EQ(TimesAsked("spatial_dropout", 0.3f, {kMostDrawn / 64 + 1, 64, 1, 1}, Layout::kChannelsFirst).drawing, 1);
}

}  // namespace
}  // namespace dropkit

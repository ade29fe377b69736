// A caller whose thread flushes subnormals or rounds upwards gets the outputs that everybody gets, and keeps its rules.
#include "arithmetic.h"

#include <gtest/gtest.h>

#include <cfenv>
#include <cstring>
#include <vector>

#include "dropkit/dropkit.h"

namespace dropkit {
namespace {

constexpr int64_t kElements = 1 << 18;  // several tasks

std::vector<uint32_t> Dropped(const char* line, DType dtype) {
  Spec spec;
  float p = 0;
  EXPECT_TRUE(ParseCase(line, &spec, &p).ok());
  std::vector<uint32_t> x(kElements), y(kElements);
  for (int64_t i = 0; i < kElements; ++i) x[i] = static_cast<uint32_t>(i % 5000 + (i % 3 << 30));  // most are subnormal
  View in = DenseView(x.data(), dtype, 16, 64, {16, 16}), out = in;
  out.data = y.data();
  MaskStorage storage;
  EXPECT_TRUE(storage.Reserve(spec, in).ok());
  const uint64_t key[2] = {5, 6};
  EXPECT_TRUE(Drop(spec, p, key, Pass::kForward, in, out, Exec(), &storage.mask).ok());
  return y;
}

struct Case {
  const char* line;
  DType dtype;
};
constexpr Case kCases[] = {{"dropout:normalize=none@0.1", DType::kF32},
                           {"dropout@0.1", DType::kBF16},
                           {"dropout@0.3", DType::kF16},
                           {"dropblock:block=3,rate=calibrated,normalize=expected@0.1", DType::kF32},
                           {"dropblock:block=3@0.1", DType::kF32}};

TEST(ArithmeticTest, RoundingOfTheCallerStaysOutside) {
  for (const int threads : {1, 2}) {
    ASSERT_TRUE(SetThreads(threads).ok());
    for (const Case& c : kCases) {
      const auto expected = Dropped(c.line, c.dtype);
      ASSERT_EQ(std::fesetround(FE_UPWARD), 0);
      const auto found = Dropped(c.line, c.dtype);
      const int rule = std::fegetround();
      std::fesetround(FE_TONEAREST);
      EXPECT_EQ(rule, FE_UPWARD);
      EXPECT_EQ(expected, found) << c.line << " threads " << threads;
    }
  }
  ASSERT_TRUE(SetThreads(0).ok());
}

#if defined(__SSE2__)
TEST(ArithmeticTest, FlushingOfTheCallerStaysOutside) {
  constexpr unsigned kFlush = 0x8040;
  for (const int threads : {1, 2}) {
    ASSERT_TRUE(SetThreads(threads).ok());
    for (const Case& c : kCases) {
      const auto expected = Dropped(c.line, c.dtype);
      const unsigned before = _mm_getcsr();
      _mm_setcsr(before | kFlush);
      const auto found = Dropped(c.line, c.dtype);
      const unsigned after = _mm_getcsr();
      _mm_setcsr(before);
      EXPECT_EQ(after & kFlush, kFlush);
      EXPECT_EQ(expected, found) << c.line << " threads " << threads;
    }
  }
  ASSERT_TRUE(SetThreads(0).ok());
}
#endif

}  // namespace
}  // namespace dropkit

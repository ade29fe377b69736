// `dropkit check` of the backend cuda on the emulated grid: pinned random cases, mirrored to memory of their own. Runs
// cuda_test.cc there too.
#include <gtest/gtest.h>

#include "cli/check/check.h"

namespace dropkit::check {
namespace {

// Instrumented it takes six times as long.
#if defined(__SANITIZE_ADDRESS__)
constexpr int64_t kCases = 2000, kLarge = 8;
#else
constexpr int64_t kCases = 6000, kLarge = 20;
#endif

const Target& Emulated() {
  static const auto* target = new Target{.backend = "cuda", .device = cli::MakeHostDevice().release()};
  return *target;
}

TEST(EmulatedCheckTest, RandomCases) {
  const Report report = Check(Emulated(), 20181030, {.seconds = 300, .cases = kCases});
  EXPECT_FALSE(report.mismatch) << report.mismatch->what << "\n" << report.mismatch->reproducer;
  const Tally& tally = report.tally;
  EXPECT_EQ(tally.cases, kCases);
  EXPECT_GT(tally.trusted, kCases / 2);
  EXPECT_GT(tally.exact, 50);
  EXPECT_GT(tally.refused, 50);
  EXPECT_EQ(tally.methods.size(), Methods().size());
  EXPECT_EQ(tally.dtypes.size(), 4u);
  EXPECT_EQ(tally.verbs.size(), 5u);
  EXPECT_EQ(tally.passes.size(), 2u);
}

TEST(EmulatedCheckTest, LargeCases) {
  const Report report = Check(Emulated(), 7, {.seconds = 300, .cases = kLarge, .large = true});
  EXPECT_FALSE(report.mismatch) << report.mismatch->what << "\n" << report.mismatch->reproducer;
}

}  // namespace
}  // namespace dropkit::check

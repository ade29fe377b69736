// What `dropkit explain` shows is held against the library's own mask, gains and output: these tests change one step
// and expect to be told which. What the steps are is checked by test_explain.py.

#include <gtest/gtest.h>

#include <cmath>

#include "cli/explain_numbers.h"

namespace dropkit::cli {
namespace {

Numbers Steps(const char* line, const std::vector<int64_t>& shape) {
  Spec spec;
  float p = 0;
  EXPECT_TRUE(ParseCase(line, &spec, &p).ok());
  const uint64_t key[2] = {1, 0};
  return ComputeNumbers(spec, p, key, shape);
}

Numbers Example() { return Steps("dropblock:block=3@0.1", {2, 2, 5, 5}); }

TEST(Explain, AgreesWithTheLibrary) {
  ASSERT_FALSE(Example().fired.empty());
  EXPECT_EQ(Contradiction(Example()), "");
  EXPECT_EQ(Contradiction(Steps("cutout:size=2,holes=3,fill=noise", {2, 3, 6})), "");
}

TEST(Explain, AMaskThatIsAnotherIsFound) {
  Numbers numbers = Example();
  numbers.keep[57] ^= 1;
  EXPECT_NE(Contradiction(numbers).find("Spread's mask differs at sample 1, channel 0, cell 7"), std::string::npos)
      << Contradiction(numbers);
}

// Spread of other units differs from the explained mask; with that mask changed too, Sample's differs.
TEST(Explain, SeedsThatAreOthersAreFound) {
  Numbers numbers = Example();
  numbers.fired.pop_back();
  EXPECT_NE(Contradiction(numbers).find("Spread's mask differs"), std::string::npos) << Contradiction(numbers);
  numbers.fired.clear();
  numbers.keep.assign(numbers.keep.size(), 1);
  EXPECT_NE(Contradiction(numbers).find("Sample's mask differs"), std::string::npos) << Contradiction(numbers);
}

TEST(Explain, AGainThatIsAnotherIsFound) {
  Numbers numbers = Example();
  numbers.gains[0] *= 1.0001;
  EXPECT_NE(Contradiction(numbers).find("GainOf has a ="), std::string::npos) << Contradiction(numbers);
}

TEST(Explain, AnOutputThatIsAnotherInItsLastBitIsFound) {
  Numbers numbers = Example();
  numbers.y[99] = std::nextafter(numbers.y[99], 100.0f);
  EXPECT_NE(Contradiction(numbers).find("Apply's output differs at sample 1, channel 1, cell 24"), std::string::npos)
      << Contradiction(numbers);
}

TEST(Explain, RatesThatAreOthersAreFound) {
  Numbers numbers = Example();
  numbers.rates.lane_threshold += 1;
  EXPECT_NE(Contradiction(numbers).find("Rates has Q ="), std::string::npos) << Contradiction(numbers);
  numbers = Example();
  numbers.rates.gamma *= 1.01;
  EXPECT_NE(Contradiction(numbers).find("the formula gives gamma ="), std::string::npos) << Contradiction(numbers);
  numbers = Example();
  numbers.rates.expected_drop += 1e-6;
  EXPECT_NE(Contradiction(numbers).find("the coverage gives"), std::string::npos) << Contradiction(numbers);
}

}  // namespace
}  // namespace dropkit::cli

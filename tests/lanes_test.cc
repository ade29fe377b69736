// The field of lanes: every lane fires with Q / 2^32 and alone, wherever it lies in its tile and whatever path draws
// it.
//
// Dropout shows lanes one to one: lane i of a sample is its element i. Samples of 600 lanes hold a whole tile of 512
// and a part of one. The probabilities lie on both sides of every switch of docs/draws.md, section 5: the digit part
// begins at 2^27, lanes are inverted above 2^31, and the overlay has a second round above a mean of 8 marks a tile.
// That the same lanes come out on every backend is the golden tests' matter.
#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <vector>

#include "drawn_mask.h"

namespace dropkit::statistics {
namespace {

constexpr int64_t kTile = 512, kLanes = 600, kSamples = 1 << 15;

// 1 - exp(-8 / 512) rounded to f32: a mean of 8, but for the rounding.
constexpr float kMeanOfEight = 0.015503564f;

std::vector<float> Probabilities() {
  std::vector<float> all = {0.001f,  0.1f,    0.17f,        0.93f,     0.5f,
                            0x1p-5f, 0x1p-6f, kMeanOfEight, 0x1.1p-5f, 1.0f - 0x1p-5f};
  for (float p : {0.5f, 0x1p-5f, kMeanOfEight}) {
    all.push_back(std::nextafter(p, 0.0f));
    all.push_back(std::nextafter(p, 1.0f));
  }
  return all;
}

DrawnMask Draw(float p, uint64_t seed) { return DrawnMask("dropout", p, {seed, 7}, ShapeOf(kSamples, 1, {kLanes})); }

// How often each lane of a sample was dropped.
std::vector<double> CountsOfLanes(const DrawnMask& drawn) {
  std::vector<int64_t> kept(kLanes, 0);
  for (int64_t sample = 0; sample < kSamples; ++sample) {
    for (int64_t lane = 0; lane < kLanes; lane += 64) {
      const uint64_t word = drawn.Word(sample * kLanes + lane);
      for (int64_t i = lane; i < std::min(kLanes, lane + 64); ++i) kept[i] += (word >> (i - lane)) & 1;
    }
  }
  std::vector<double> dropped;
  for (int64_t count : kept) dropped.push_back(static_cast<double>(kSamples - count));
  return dropped;
}

TEST(Lanes, AllLanesOfASampleFireAlike) {
  uint64_t seed = 0;
  for (float p : Probabilities()) {
    SCOPED_TRACE(testing::Message() << "p " << p);
    const DrawnMask drawn = Draw(p, ++seed);
    const double q = drawn.rates().gamma;
    double chi_square = 0.0;
    const std::vector<double> counts = CountsOfLanes(drawn);
    for (double count : counts) chi_square += std::pow(BinomialScore(count, kSamples, q), 2);
    EXPECT_LT(std::fabs(ChiSquareScore(chi_square, kLanes)), kSigmas);
    for (int64_t lane : std::vector<int64_t>{0, 31, 32, 63, 64, 127, 128, 383, 384, 510, 511, 512, 513, kLanes - 1}) {
      EXPECT_LT(std::fabs(BinomialScore(counts[lane], kSamples, q)), kSigmas) << "lane " << lane;
    }
  }
}

// Probability of each count from 0 to n, by logarithms: 2^-512 is within f64, its factors may not be.
std::vector<double> Binomial(int64_t n, double q) {
  std::vector<double> law;
  for (int64_t k = 0; k <= n; ++k) {
    const double ways = std::lgamma(n + 1.0) - std::lgamma(k + 1.0) - std::lgamma(n - k + 1.0);
    law.push_back(std::exp(ways + k * std::log(q) + (n - k) * std::log1p(-q)));
  }
  return law;
}

// Score of the distances between observed and expected counts; neighbours join until 10 are expected.
double FitScore(const std::vector<double>& observed, const std::vector<double>& law) {
  double chi_square = 0.0, seen = 0.0, expected = 0.0, left = kSamples;
  int classes = 0;
  for (size_t k = 0; k < law.size(); ++k) {
    seen += observed[k];
    expected += kSamples * law[k];
    left -= kSamples * law[k];
    if (expected < 10.0 || (left < 10.0 && k + 1 < law.size())) continue;
    chi_square += (seen - expected) * (seen - expected) / expected;
    ++classes;
    seen = expected = 0.0;
  }
  return ChiSquareScore(chi_square, classes - 1);
}

// Marks of the overlay repeat positions: drawn without repetition, or with the mean of a table without it, the number
// of lanes that fire would not be binomial.
TEST(Lanes, NumberFiredInATileIsBinomial) {
  uint64_t seed = 100;
  for (float p : Probabilities()) {
    const DrawnMask drawn = Draw(p, ++seed);
    const int64_t begins[] = {0, kTile}, ends[] = {kTile, kLanes};
    for (int part : {0, 1}) {
      SCOPED_TRACE(testing::Message() << "p " << p << " lanes " << begins[part] << " to " << ends[part]);
      const int64_t lanes = ends[part] - begins[part];
      std::vector<double> observed(lanes + 1, 0.0);
      for (int64_t sample = 0; sample < kSamples; ++sample) {
        const int64_t first = sample * kLanes;
        ++observed[drawn.CountDropped(first + begins[part], first + ends[part])];
      }
      const double score = FitScore(observed, Binomial(lanes, drawn.rates().gamma));
      EXPECT_LT(std::fabs(score), kSigmas);
    }
  }
}

const std::vector<int64_t> kDistances = {1,   2,   31,  32,  33,  63,  64,  65,  96,
                                         127, 128, 129, 256, 384, 511, 512, 513, kLanes};

// Pairs of lanes at a distance: the words, groups and tiles of the draw, their neighbours, and lanes of the next
// sample.
TEST(Lanes, LanesAtADistanceFireIndependently) {
  uint64_t seed = 200;
  for (float p : Probabilities()) {
    const DrawnMask drawn = Draw(p, ++seed);
    const double keep = 1.0 - drawn.rates().gamma;
    for (int64_t distance : kDistances) {
      const int64_t pairs = (drawn.size() - distance) / 64 * 64;
      int64_t both = 0, single = 0;
      for (int64_t i = 0; i < pairs; i += 64) {
        const uint64_t x = drawn.Word(i), y = drawn.Word(i + distance);
        both += std::popcount(x & y);
        single += std::popcount(x) + std::popcount(y);
      }
      const double ones = static_cast<double>(single);
      // Sum of (x - keep)(y - keep): its terms share lanes but are uncorrelated.
      const double sum = static_cast<double>(both) - keep * ones + static_cast<double>(pairs) * keep * keep;
      const double score = sum / (std::sqrt(static_cast<double>(pairs)) * keep * (1.0 - keep));
      EXPECT_LT(std::fabs(score), kSigmas) << "p " << p << " distance " << distance;
    }
  }
}

TEST(Lanes, ProbabilitiesLieOnBothSidesOfTheSwitches) {
  const View x = ShapeOf(1, 1, {kLanes});
  const auto lane_threshold = [&x](float p) {
    RateInfo info;
    Require(Rates(SpecOf("dropout"), p, x, &info));
    return info.lane_threshold;
  };
  const uint64_t digits_begin = uint64_t{1} << 27, inverted_above = uint64_t{1} << 31;
  EXPECT_LT(lane_threshold(std::nextafter(0x1p-5f, 0.0f)), digits_begin);
  EXPECT_EQ(lane_threshold(0x1p-5f), digits_begin);
  EXPECT_EQ(lane_threshold(0.5f), inverted_above);
  EXPECT_GT(lane_threshold(std::nextafter(0.5f, 1.0f)), inverted_above);
  const auto mean = [](float p) { return -512.0 * std::log1p(-static_cast<double>(p)); };
  EXPECT_LT(mean(std::nextafter(kMeanOfEight, 0.0f)), 8.0);
  EXPECT_GT(mean(std::nextafter(kMeanOfEight, 1.0f)), 8.0);
}

}  // namespace
}  // namespace dropkit::statistics

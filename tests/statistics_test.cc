// Dropped fractions of the methods whose units are elements, channels or samples; independence of seeds, offsets,
// samples and channels; and the normal values of fill=noise.
//
// Fractions are of so many lanes that a p held in 8 bits would show for every p but 1/2, and one held in 16 bits for
// the least. Seeds are pinned. DropBlock's and cutout's fractions are in coverage_test.cc, lanes within a tile in
// lanes_test.cc.
#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <string>
#include <vector>

#include "block_coverage.h"
#include "drawn_mask.h"

namespace dropkit::statistics {
namespace {

const std::vector<float> kProbabilities = {0.001f, 0.1f, 0.17f, 0.5f, 0.93f};

// ---- dropped fractions

// One bit of the mask is one unit; p itself, not the library's account of it, is what is expected.
void ExpectFraction(const std::string& line, float p, uint64_t seed, const View& shape, int64_t units) {
  const DrawnMask drawn(line, p, {seed, 0}, shape);
  ASSERT_EQ(drawn.size(), units);
  const double dropped = static_cast<double>(drawn.CountDropped(0, units));
  EXPECT_LT(std::fabs(BinomialScore(dropped, static_cast<double>(units), p)), kSigmas) << line << "@" << p;
}

TEST(Fraction, DropoutDropsPOfTheElements) {
  uint64_t seed = 10;
  for (float p : kProbabilities) ExpectFraction("dropout", p, ++seed, ShapeOf(25, 64, {250, 250}), 100'000'000);
  ExpectFraction("dropout", 1e-5f, ++seed, ShapeOf(25, 64, {250, 250}), 100'000'000);
}

TEST(Fraction, SpatialDropoutDropsPOfTheChannels) {
  uint64_t seed = 20;
  for (float p : kProbabilities) ExpectFraction("spatial_dropout", p, ++seed, ShapeOf(500, 20'000, {3, 3}), 10'000'000);
}

TEST(Fraction, DropPathDropsPOfTheSamples) {
  uint64_t seed = 30;
  for (float p : kProbabilities) ExpectFraction("drop_path", p, ++seed, ShapeOf(500'000, 3, {2, 2}), 500'000);
}

// ---- independence

constexpr uint64_t kSeed = 0x123456789, kOffset = 40;
constexpr SeedAndOffset kKey = {kSeed, kOffset};

// Keys that differ from kKey in one place.
struct OtherKey {
  const char* what;
  SeedAndOffset key;
};
const std::vector<OtherKey> kOtherKeys = {
    {"next seed", {kSeed + 1, kOffset}},
    {"seed, bit 31", {kSeed ^ (uint64_t{1} << 31), kOffset}},
    {"seed, bit 32", {kSeed ^ (uint64_t{1} << 32), kOffset}},
    {"seed, bit 63", {kSeed ^ (uint64_t{1} << 63), kOffset}},
    {"next offset", {kSeed, kOffset + 1}},
    {"offset, four on", {kSeed, kOffset + 4}},
    {"offset, bit 32", {kSeed, kOffset ^ (uint64_t{1} << 32)}},
    {"offset, bit 63", {kSeed, kOffset ^ (uint64_t{1} << 63)}},
    {"seed and offset exchanged", {kOffset, kSeed}},
};

// A batch of planes, each as its cells' excess over the probability to be kept.
class Planes {
 public:
  Planes(const DrawnMask& drawn, const std::vector<double>& keep) : cells_(keep.size()) {
    std::vector<uint8_t> kept(drawn.size());
    Require(Unpack(drawn.mask(), kept.data()));
    for (size_t i = 0; i < kept.size(); ++i) excess_.push_back(static_cast<float>(kept[i] - keep[i % cells_]));
  }

  // Score of the agreement of planes i with planes i + distance of the other: 0 in the mean if they are independent.
  // The cells of a plane are not, so the error comes from the spread over planes.
  double Agreement(const Planes& other, int64_t distance) const {
    std::vector<double> products;
    for (size_t i = 0, j = distance * cells_; j < other.excess_.size(); i += cells_, j += cells_) {
      double product = 0.0;
      for (size_t cell = 0; cell < cells_; ++cell) product += excess_[i + cell] * other.excess_[j + cell];
      products.push_back(product);
    }
    const MeanAndError mean = MeanOf(products);
    return mean.mean / mean.error;
  }

 private:
  size_t cells_;
  std::vector<float> excess_;
};

struct IndependenceCase {
  const char* line;
  float p;
  std::vector<BlockAxis> axes;  // a unit of one cell is a block of one cell
};
const std::vector<IndependenceCase> kIndependence = {
    {"dropout", 0.02f, {ValidAxis(6, 1), ValidAxis(8, 1)}},
    {"dropout", 0.17f, {ValidAxis(7, 1), ValidAxis(9, 1)}},
    {"dropout", 0.5f, {ValidAxis(8, 1), ValidAxis(8, 1)}},
    {"dropblock:block=3,rate=calibrated", 0.1f, {ValidAxis(7, 3), ValidAxis(7, 3)}},
    {"dropblock:block=7,rate=calibrated", 0.1f, {ValidAxis(14, 7), ValidAxis(14, 7)}},
};
constexpr int64_t kSamples = 64, kChannels = 128;

class Drawer {
 public:
  explicit Drawer(const IndependenceCase& c) : case_(c), coverage_(c.axes) {}
  Planes Draw(const SeedAndOffset& key, int64_t first_sample = 0) const {
    const View shape = ShapeOf(kSamples, kChannels, {case_.axes[0].size, case_.axes[1].size}, first_sample);
    const DrawnMask drawn(case_.line, case_.p, key, shape);
    std::vector<double> keep;
    for (int64_t cell = 0; cell < coverage_.cells(); ++cell) {
      keep.push_back(std::pow(1.0 - drawn.rates().gamma, coverage_.Coverage(cell)));
    }
    return Planes(drawn, keep);
  }

 private:
  const IndependenceCase& case_;
  BlockCoverage coverage_;
};

TEST(Independence, KeysThatDifferInOnePlaceGiveUnrelatedMasks) {
  for (const IndependenceCase& c : kIndependence) {
    const Drawer drawer(c);
    const Planes planes = drawer.Draw(kKey);
    EXPECT_GT(planes.Agreement(planes, 0), 20.0) << "a mask agrees with itself";
    for (const OtherKey& other : kOtherKeys) {
      EXPECT_LT(std::fabs(planes.Agreement(drawer.Draw(other.key), 0)), kSigmas)
          << c.line << "@" << c.p << ": " << other.what;
    }
  }
}

TEST(Independence, ChannelsAndSamplesAreUnrelated) {
  for (const IndependenceCase& c : kIndependence) {
    const Planes planes = Drawer(c).Draw({kSeed, 1000});
    for (int64_t distance : std::vector<int64_t>{1, 2, 8, 64, kChannels, kChannels + 1, 2 * kChannels}) {
      EXPECT_LT(std::fabs(planes.Agreement(planes, distance)), kSigmas)
          << c.line << "@" << c.p << ": planes " << distance << " apart";
    }
  }
}

TEST(Independence, SamplesFarApartInTheGlobalBatchAreUnrelated) {
  for (const IndependenceCase& c : kIndependence) {
    const Drawer drawer(c);
    const Planes planes = drawer.Draw({kSeed, 2000});
    for (int bit : {16, 31, 32, 33, 40}) {
      const Planes far = drawer.Draw({kSeed, 2000}, int64_t{1} << bit);
      EXPECT_LT(std::fabs(planes.Agreement(far, 0)), kSigmas) << c.line << "@" << c.p << ": sample bit " << bit;
    }
  }
}

// ---- fill=noise

constexpr uint64_t kNoiseOffset = 5;

// What the dropped elements of `dropout:fill=noise` become, in their order.
std::vector<double> NoiseOf(float p, uint64_t seed, const View& shape) {
  const Spec spec = SpecOf("dropout:fill=noise,normalize=none");
  const int64_t elements = shape.samples * shape.sample_stride;
  std::vector<float> ones(elements, 1.0f), filled(elements);
  View x = shape, y = shape;
  x.data = ones.data();
  y.data = filled.data();
  const SeedAndOffset key = {seed, kNoiseOffset};
  MaskStorage storage;
  Require(storage.Reserve(spec, x));
  Require(Drop(spec, p, key.data(), Pass::kForward, x, y, Exec(), &storage.mask));
  std::vector<uint8_t> kept(elements);
  Require(Unpack(storage.mask, kept.data()));
  std::vector<double> noise;
  for (int64_t i = 0; i < elements; ++i) {
    if (!kept[i]) noise.push_back(filled[i]);
  }
  return noise;
}

// Standard normal values have moments 0, 1, 0, 3, and the errors used here.
void ExpectNormalMoments(const std::vector<double>& values) {
  const double n = static_cast<double>(values.size());
  double power[5] = {};
  for (double value : values) {
    for (int k = 1; k <= 4; ++k) power[k] += std::pow(value, k) / n;
  }
  EXPECT_LT(std::fabs(power[1]), kSigmas * std::sqrt(1.0 / n)) << "mean";
  EXPECT_LT(std::fabs(power[2] - 1.0), kSigmas * std::sqrt(2.0 / n)) << "variance";
  EXPECT_LT(std::fabs(power[3]), kSigmas * std::sqrt(15.0 / n)) << "third moment";
  EXPECT_LT(std::fabs(power[4] - 3.0), kSigmas * std::sqrt(96.0 / n)) << "fourth moment";
}

// Kolmogorov's and Smirnov's distance to the normal law, times the root of the number of values.
double KolmogorovDistance(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const double n = static_cast<double>(values.size());
  double distance = 0.0;
  for (size_t i = 0; i < values.size(); ++i) {
    const double law = std::erfc(-values[i] / std::sqrt(2.0)) / 2.0;
    distance = std::max({distance, law - static_cast<double>(i) / n, static_cast<double>(i + 1) / n - law});
  }
  return distance * std::sqrt(n);
}

TEST(Noise, AMillionValuesAreStandardNormal) {
  const std::vector<double> noise = NoiseOf(1.0f, 50, ShapeOf(10, 10, {100, 100}));
  ASSERT_EQ(noise.size(), 1'000'000u);
  ExpectNormalMoments(noise);
  // Exceeded by one sample in 10,000; far below that only if the values were spread too evenly.
  EXPECT_LT(KolmogorovDistance(noise), 2.23);
  EXPECT_GT(KolmogorovDistance(noise), 0.3);
  const auto [least, most] = std::minmax_element(noise.begin(), noise.end());
  EXPECT_LT(*least, -4.0);
  EXPECT_GT(*most, 4.0);
}

TEST(Noise, ValuesDoNotDependOnWhichElementsAreDropped) {
  for (float p : {0.02f, 0.17f, 0.5f}) {
    SCOPED_TRACE(testing::Message() << "p " << p);
    const std::vector<double> noise = NoiseOf(p, 51, ShapeOf(10, 10, {100, 100}));
    ExpectNormalMoments(noise);
    EXPECT_LT(KolmogorovDistance(noise), 2.23);
  }
}

TEST(Noise, NeighboursPlanesAndSamplesAreUncorrelated) {
  const std::vector<double> noise = NoiseOf(1.0f, 52, ShapeOf(10, 10, {100, 100}));
  for (size_t distance : {1, 2, 3, 4, 5, 8, 100, 10'000, 100'000}) {
    double sum = 0.0;
    for (size_t i = distance; i < noise.size(); ++i) sum += noise[i] * noise[i - distance];
    EXPECT_LT(std::fabs(sum) / std::sqrt(static_cast<double>(noise.size() - distance)), kSigmas)
        << distance << " apart";
  }
}

// At p = 1/2 a lane fires by one bit of a word of the digits, lane 32 i + 31 of a sample by the highest of word i. The
// sign of a value is the highest bit of the noise's word of the same number: under one key and counter they would be
// equal.
TEST(Noise, WordsAreNotThoseOfTheMask) {
  constexpr uint64_t kNoiseSeed = 53;
  constexpr int64_t kLanes = 1 << 13;
  const View shape = ShapeOf(128, 1, {kLanes});
  const std::vector<double> noise = NoiseOf(1.0f, kNoiseSeed, shape);
  const DrawnMask drawn("dropout", 0.5f, {kNoiseSeed, kNoiseOffset}, shape);
  double trials = 0.0, alike = 0.0;
  for (int64_t sample = 0; sample < shape.samples; ++sample) {
    for (int64_t word = 0; word < kLanes / 32; ++word, ++trials) {
      const bool dropped = (drawn.Word(sample * kLanes + 32 * word + 31) & 1) == 0;
      alike += dropped == (noise[sample * kLanes + word] > 0.0);
    }
  }
  EXPECT_LT(std::fabs(BinomialScore(alike, trials, 0.5)), kSigmas);
}

}  // namespace
}  // namespace dropkit::statistics

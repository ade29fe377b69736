// The methods beside DropBlock, each against the definition in its paper: given units go in through Spread or Pack, and
// the output is compared with plain loops. Also the keys that every method has: share, normalize, over, fill.
//
// Which units a key draws is the business of the draw's own tests; nothing here is random but the data.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "inject.h"

namespace dropkit {
namespace {

using inject::ExpectScaled;
using inject::Inject;
using inject::Parse;
using inject::Result;
using inject::Shape;

constexpr int64_t kN = 3, kC = 4, kH = 5, kW = 6;
const Shape kShape{kN, kC, {kH, kW}};

// Fires about one unit in `one_in`.
std::vector<uint8_t> Units(int64_t count, uint64_t one_in, uint64_t seed = 1) {
  std::mt19937_64 engine(seed);
  std::vector<uint8_t> units(count);
  for (uint8_t& unit : units) unit = engine() % one_in == 0;
  return units;
}

// keep[n][c][cell] from a rule (n, c, row, column) -> dropped.
template <typename Dropped>
std::vector<uint8_t> KeepWhereNot(Dropped dropped) {
  std::vector<uint8_t> keep;
  for (int64_t n = 0; n < kN; ++n)
    for (int64_t c = 0; c < kC; ++c)
      for (int64_t i = 0; i < kH; ++i)
        for (int64_t j = 0; j < kW; ++j) keep.push_back(!dropped(n, c, i, j));
  return keep;
}

// Inverted scaling: kept values are divided by the probability to keep, so that the expectation is x.
void ExpectInverted(const std::string& line, const std::vector<uint8_t>& units, const std::vector<uint8_t>& keep) {
  for (float p : {0.125f, 0.3f, 0.5f, 0.9f}) {
    for (Layout layout : {Layout::kChannelsFirst, Layout::kChannelsLast}) {
      SCOPED_TRACE(line + " p " + std::to_string(p));
      const Shape shape{kN, kC, {kH, kW}, layout};
      ExpectScaled(
          Inject(Spread, Parse(line), p, units, shape), keep, [&](size_t) { return 1.0 / (1.0 - p); }, 2e-7);
    }
  }
}

// ---- definitions

TEST(Family, DropoutDropsElements) {
  const std::vector<uint8_t> units = Units(kN * kC * kH * kW, 3);
  ExpectInverted("dropout", units, KeepWhereNot([&](int64_t n, int64_t c, int64_t i, int64_t j) {
                   return units[((n * kC + c) * kH + i) * kW + j];
                 }));
}

TEST(Family, SpatialDropoutDropsChannels) {
  const std::vector<uint8_t> units = Units(kN * kC, 3);
  ExpectInverted("spatial_dropout", units,
                 KeepWhereNot([&](int64_t n, int64_t c, int64_t, int64_t) { return units[n * kC + c]; }));
}

TEST(Family, DropPathDropsSamples) {
  const std::vector<uint8_t> units = {1, 0, 1};
  ExpectInverted("drop_path", units, KeepWhereNot([&](int64_t n, int64_t, int64_t, int64_t) { return units[n]; }));
}

// y = x + f(x) with the branch dropped is x; kept, the branch is scaled by 1 / keep.
TEST(Family, DropPathLeavesTheShortcutOfADroppedSample) {
  const std::vector<float> shortcut = inject::Values(kShape.Elements(), 1),
                           branch = inject::Values(kShape.Elements(), 2);
  const Result result = Inject(Spread, Parse("drop_path"), 0.25f, {0, 1, 0}, kShape, branch, branch);
  for (int64_t i = 0; i < kShape.Elements(); ++i) {
    const bool dropped = i / (kC * kH * kW) == 1;
    EXPECT_NEAR(shortcut[i] + result.y[i], dropped ? shortcut[i] : shortcut[i] + branch[i] / 0.75, 1e-6);
  }
}

// A square of the given size around each centre, cut at the border, in every channel; nothing is rescaled.
TEST(Family, CutoutDropsASquareAroundItsCentre) {
  for (int64_t size : {2, 4, 6}) {
    std::vector<uint8_t> centres(kN * kH * kW, 0);
    const int64_t centre[kN][2] = {{0, 0}, {2, 3}, {kH - 1, kW - 1}};
    for (int64_t n = 0; n < kN; ++n) centres[(n * kH + centre[n][0]) * kW + centre[n][1]] = 1;
    const std::vector<uint8_t> keep = KeepWhereNot([&](int64_t n, int64_t, int64_t i, int64_t j) {
      const int64_t y = centre[n][0], x = centre[n][1];
      return i >= std::max<int64_t>(0, y - size / 2) && i < std::min(kH, y + size / 2) &&
             j >= std::max<int64_t>(0, x - size / 2) && j < std::min(kW, x + size / 2);
    });
    const Spec spec = Parse("cutout:size=" + std::to_string(size));
    ExpectScaled(
        Inject(Spread, spec, 1.0f, centres, kShape), keep, [](size_t) { return 1.0; }, 0.0);
  }
}

TEST(Family, CutoutsHolesAndMean) {
  std::vector<uint8_t> centres(kN * kH * kW, 0);
  centres[0] = centres[3 * kW + 4] = 1;  // two holes in sample 0
  const Result result = Inject(Spread, Parse("cutout:size=3,holes=2,fill=0.5"), 1.0f, centres, kShape);
  int64_t dropped = 0;
  for (int64_t i = 0; i < kShape.Elements(); ++i) {
    if (result.keep[i]) continue;
    ++dropped;
    EXPECT_EQ(result.y[i], 0.5f);
    EXPECT_EQ(result.dx[i], 0.0f);
  }
  EXPECT_EQ(dropped, kC * (2 * 2 + 3 * 3));
}

// Connections are dropped, not neurons: the masked weight goes through the layer, as (M * W) x.
TEST(Family, DropConnectDropsWeightsOfALinearLayer) {
  constexpr int64_t kOut = 7, kIn = 11;
  const Shape weight{1, kOut, {kIn}};
  const std::vector<uint8_t> units = Units(kOut * kIn, 2);
  const std::vector<float> w = inject::Values(kOut * kIn, 1), input = inject::Values(kIn, 3);
  const Result result = Inject(Spread, Parse("drop_connect"), 0.5f, units, weight);
  for (int64_t o = 0; o < kOut; ++o) {
    double got = 0, expected = 0;
    for (int64_t i = 0; i < kIn; ++i) {
      got += static_cast<double>(result.y[o * kIn + i]) * input[i];
      expected += units[o * kIn + i] ? 0.0 : w[o * kIn + i] / (1.0 - 0.5) * input[i];
    }
    EXPECT_NEAR(got, expected, 1e-5) << "output " << o;
  }
}

TEST(Family, DropConnectHasAMaskASampleWhenWeightsHaveOne) {
  const Shape weights{2, 3, {4}};
  const std::vector<uint8_t> units = Units(2 * 3 * 4, 3);
  std::vector<uint8_t> keep;
  for (uint8_t unit : units) keep.push_back(!unit);
  ExpectScaled(
      Inject(Spread, Parse("drop_connect:share=none"), 0.25f, units, weights), keep, [](size_t) { return 1 / 0.75; },
      2e-7);
  const std::vector<uint8_t> one(units.begin(), units.begin() + 12);
  std::vector<uint8_t> twice(keep.begin(), keep.begin() + 12);
  twice.insert(twice.end(), keep.begin(), keep.begin() + 12);
  ExpectScaled(
      Inject(Spread, Parse("drop_connect"), 0.25f, one, weights), twice, [](size_t) { return 1 / 0.75; }, 2e-7);
}

// ---- share

TEST(Family, UnitsAreSharedAsAsked) {
  const std::vector<uint8_t> map = Units(kH * kW, 3), batch = Units(kC * kH * kW, 3), channels = Units(kN * kH * kW, 3);
  const std::vector<uint8_t> by_channel = Units(kC, 2);
  ExpectInverted("dropout:share=all", map,
                 KeepWhereNot([&](int64_t, int64_t, int64_t i, int64_t j) { return map[i * kW + j]; }));
  ExpectInverted("dropout:share=batch", batch,
                 KeepWhereNot([&](int64_t, int64_t c, int64_t i, int64_t j) { return batch[(c * kH + i) * kW + j]; }));
  ExpectInverted("dropout:share=channels", channels, KeepWhereNot([&](int64_t n, int64_t, int64_t i, int64_t j) {
                   return channels[(n * kH + i) * kW + j];
                 }));
  ExpectInverted("spatial_dropout:share=batch", by_channel,
                 KeepWhereNot([&](int64_t, int64_t c, int64_t, int64_t) { return by_channel[c]; }));
  ExpectInverted("drop_path:share=batch", {1}, KeepWhereNot([](int64_t, int64_t, int64_t, int64_t) { return true; }));
}

// ---- Pack, normalize, over

// The kept fraction of the group that element i belongs to, inverted; 0 for a group that is dropped altogether.
std::vector<double> GainsOver(const std::vector<uint8_t>& keep, int64_t group) {
  std::vector<double> gains;
  for (size_t first = 0; first < keep.size(); first += group) {
    double kept = 0;
    for (int64_t i = 0; i < group; ++i) kept += keep[first + i];
    gains.insert(gains.end(), group, kept > 0 ? static_cast<double>(group) / kept : 0.0);
  }
  return gains;
}

TEST(Family, AMaskOfOnesOwnIsNormalisedOverTensorSampleOrPlane) {
  std::vector<uint8_t> keep = Units(kShape.Elements(), 2);
  std::fill_n(keep.begin() + 2 * kH * kW, kH * kW, uint8_t{0});  // a plane without a kept element
  const struct {
    const char* over;
    int64_t group;
  } kOvers[] = {{"tensor", kN * kC * kH * kW}, {"sample", kC * kH * kW}, {"plane", kH * kW}};
  for (const auto& [over, group] : kOvers) {
    for (Layout layout : {Layout::kChannelsFirst, Layout::kChannelsLast}) {
      SCOPED_TRACE(over);
      const std::vector<double> gains = GainsOver(keep, group);
      const Spec spec = Parse(std::string("dropout:normalize=kept,over=") + over);
      const Result result = Inject(Pack, spec, 0.5f, keep, {kN, kC, {kH, kW}, layout});
      ExpectScaled(
          result, keep, [&](size_t i) { return gains[i]; }, 2e-7);
    }
  }
}

TEST(Family, AMaskOfOnesOwnTakesTheOtherLaws) {
  const std::vector<uint8_t> keep = Units(kShape.Elements(), 2);
  const auto run = [&](const std::string& law, float p) {
    return Inject(Pack, Parse("dropout:normalize=" + law), p, keep, kShape);
  };
  ExpectScaled(
      run("none", 0.3f), keep, [](size_t) { return 1.0; }, 0.0);
  ExpectScaled(
      run("asked", 0.3f), keep, [](size_t) { return 1.0 / 0.7; }, 2e-7);
  ExpectScaled(
      run("expected", 0.2f), keep, [](size_t) { return 1.0 / 0.8; }, 2e-7);
  ExpectScaled(
      run("asked", 1.0f), keep, [](size_t) { return 0.0; }, 0.0);
}

TEST(Family, ExpectedAndAskedDifferForDropBlock) {
  const std::vector<uint8_t> seeds(kN * kC * 3 * 4, 0), keep(kShape.Elements(), 1);
  const Spec expected = Parse("dropblock:block=3,normalize=expected");
  const double dropped = inject::RatesOf(expected, 0.4f, kShape).expected_drop;
  EXPECT_LT(dropped, 0.36);  // blocks overlap: rate=paper drops less than asked
  ExpectScaled(
      Inject(Spread, expected, 0.4f, seeds, kShape), keep, [&](size_t) { return 1.0 / (1.0 - dropped); }, 2e-7);
  ExpectScaled(
      Inject(Spread, Parse("dropblock:block=3,normalize=asked"), 0.4f, seeds, kShape), keep,
      [](size_t) { return 1.0 / 0.6; }, 2e-7);
}

TEST(Family, PackRefusesUnitsThatAreNotElements) {
  const std::vector<uint8_t> keep(kShape.Elements(), 1);
  for (const char* line : {"dropblock:block=3", "dropout:share=batch", "spatial_dropout"}) {
    MaskStorage storage;
    ASSERT_TRUE(storage.Reserve(Parse(line), kShape.ViewOf(nullptr)).ok());
    const Status status = Pack(Parse(line), 0.5f, keep.data(), kShape.ViewOf(nullptr), Exec(), &storage.mask);
    EXPECT_EQ(status.code(), Status::Code::kInvalid) << line;
  }
}

// ---- fill

TEST(Family, DroppedElementsHoldTheFillValueWhateverTheyWere) {
  std::vector<float> x = inject::Values(kShape.Elements(), 1);
  const std::vector<uint8_t> keep = Units(kShape.Elements(), 2);
  for (size_t i = 0; i < x.size(); ++i) {
    if (!keep[i]) x[i] = i % 2 ? std::numeric_limits<float>::infinity() : NAN;
  }
  const Result result = Inject(Pack, Parse("dropout:fill=-1.5,normalize=none"), 0.5f, keep, kShape, x, x);
  for (size_t i = 0; i < x.size(); ++i) {
    EXPECT_EQ(result.y[i], keep[i] ? x[i] : -1.5f) << i;
    EXPECT_EQ(result.dx[i], keep[i] ? x[i] : 0.0f) << i;
  }
}

TEST(Family, NoiseDependsOnTheKeyAndPlaceNotOnX) {
  const std::vector<uint8_t> none(kShape.Elements(), 0);
  const std::vector<float> zeros(kShape.Elements(), 0.0f), nans(kShape.Elements(), NAN);
  const Result first = Inject(Pack, Parse("dropout:fill=noise"), 0.5f, none, kShape, zeros, zeros);
  const Result second = Inject(Pack, Parse("dropout:fill=noise"), 0.5f, none, kShape, nans, nans);
  EXPECT_TRUE(inject::SameBits(first.y, second.y));
  EXPECT_EQ(second.dx, zeros);
  double sum = 0, squares = 0;
  for (float value : first.y) sum += value, squares += value * value;
  EXPECT_NEAR(sum / first.y.size(), 0.0, 4 / std::sqrt(360.0));
  EXPECT_NEAR(squares / first.y.size(), 1.0, 4 * std::sqrt(2 / 360.0));
}

}  // namespace
}  // namespace dropkit

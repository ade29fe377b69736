// Where another implementation of DropBlock fails or is silent, what the preset of its name does instead.
//
// Also the dropped fraction of each rule, exact, from the coverage of every cell. The rules themselves, where they
// work, are compared in peers_test.cc.
#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "inject.h"
#include "reference/reference.h"

namespace dropkit {
namespace {

using inject::Shape;

constexpr float kInf = std::numeric_limits<float>::infinity();

std::vector<std::string> PresetNames() {
  std::vector<std::string> names;
  for (const PresetInfo& preset : Presets()) names.push_back(preset.name);
  return names;
}

std::vector<uint8_t> AllSeeds(const Spec& spec, float p, const Shape& shape) {
  const int64_t lanes = inject::RatesOf(spec, p, shape).lanes;
  const bool shared = spec.share == Share::kBatch || spec.share == Share::kAll;
  return std::vector<uint8_t>((shared ? 1 : shape.samples) * lanes, 1);
}

// ---- everything dropped; Inf and NaN

TEST(PeerLimits, AllDroppedGivesZerosWhateverXHolds) {
  const Shape shape{2, 3, {9, 8}};
  for (const std::string& preset : PresetNames()) {
    SCOPED_TRACE(preset);
    const Spec spec = inject::Parse(preset + ":block=3");
    std::vector<float> x = inject::Values(shape.Elements(), 1), dy = inject::Values(shape.Elements(), 2);
    x[0] = dy[5] = kInf, x[7] = dy[9] = NAN, x[100] = -kInf;
    const inject::Result result = inject::Inject(Spread, spec, 0.5f, AllSeeds(spec, 0.5f, shape), shape, x, dy);
    const std::vector<float> zeros(shape.Elements(), 0.0f);
    EXPECT_EQ(result.y, zeros);
    EXPECT_EQ(result.dx, zeros);
  }
}

TEST(PeerLimits, CertainDropGivesZerosAndZeroGivesX) {
  const Shape shape{2, 3, {9, 8}};
  for (const std::string& preset : PresetNames()) {
    SCOPED_TRACE(preset);
    std::vector<float> x = inject::Values(shape.Elements(), 1), y(x.size(), 5.0f);
    x[3] = kInf, x[4] = NAN, x[5] = -0.0f;
    const Spec spec = inject::Parse(preset + ":block=3");
    const uint64_t key[2] = {1, 2};
    MaskStorage storage;
    ASSERT_TRUE(storage.Reserve(spec, shape.ViewOf(nullptr)).ok());
    ASSERT_TRUE(
        Drop(spec, 0.0f, key, Pass::kForward, shape.ViewOf(x.data()), shape.ViewOf(y.data()), Exec(), &storage.mask)
            .ok());
    EXPECT_TRUE(inject::SameBits(x, y));
    // Seeds fire with probability 1 by every rate's law, so region=whole and region=valid drop everything.
    ASSERT_TRUE(
        Drop(spec, 1.0f, key, Pass::kForward, shape.ViewOf(x.data()), shape.ViewOf(y.data()), Exec(), &storage.mask)
            .ok());
    EXPECT_EQ(y, std::vector<float>(x.size(), 0.0f));
  }
}

TEST(PeerLimits, ADroppedInfOrNanBecomesZeroAndAKeptOneStays) {
  const Shape shape{1, 1, {5, 5}};
  std::vector<uint8_t> seeds(9, 0);
  seeds[0] = 1;  // drops rows 0-2, columns 0-2
  std::vector<float> x(25, 1.0f);
  x[0] = kInf, x[6] = NAN, x[12] = -kInf, x[24] = kInf, x[23] = NAN;
  const inject::Result result = inject::Inject(Spread, inject::Parse("torchvision:block=3"), 0.5f, seeds, shape, x, x);
  for (int i : {0, 6, 12}) EXPECT_EQ(result.y[i], 0.0f) << i;
  EXPECT_EQ(result.y[24], kInf);
  EXPECT_TRUE(std::isnan(result.y[23]));
  EXPECT_FLOAT_EQ(result.y[4], 25.0f / 16.0f);
}

// ---- blocks that do not fit

struct Fitted {
  const char* line;
  std::vector<int64_t> sizes, block, positions;
};

TEST(PeerLimits, BlocksLargerThanTheMapAreClippedAsThePresetSays) {
  const std::vector<Fitted> all = {
      {"torchvision:block=7", {4, 4}, {4, 4}, {1, 1}},  // the peer clips to 4 and then refuses it for being even
      {"torchvision:block=7", {6, 6}, {6, 6}, {1, 1}},
      {"torchvision:block=7", {6, 9}, {6, 6}, {1, 4}},
      {"torchvision:block=7", {4, 6, 9}, {4, 4, 4}, {1, 3, 6}},
      {"tpu:block=7", {5, 5}, {5, 5}, {1, 1}},
      {"timm:block=7", {5, 9}, {5, 7}, {5, 9}},
      {"timm:block=7", {4, 13}, {4, 7}, {4, 13}},
      {"miguelvr:block=7", {5, 9}, {7, 7}, {5, 9}},
      {"recipe-a:block=7", {5, 9}, {5, 7}, {5, 9}},
      {"recipe-b:block=7", {5, 9}, {5, 7}, {1, 3}},
      {"paper:block=7", {5, 9}, {5, 7}, {1, 3}},
  };
  for (const Fitted& fitted : all) {
    SCOPED_TRACE(fitted.line);
    const RateInfo info = inject::RatesOf(inject::Parse(fitted.line), 0.25f, {1, 1, fitted.sizes});
    for (size_t axis = 0; axis < fitted.sizes.size(); ++axis) {
      EXPECT_EQ(info.block[axis], fitted.block[axis]) << "axis " << axis;
      EXPECT_EQ(info.positions[axis], fitted.positions[axis]) << "axis " << axis;
    }
  }
}

TEST(PeerLimits, ABlockAsLargeAsTheMapDropsItWithTheProbabilityAsked) {
  for (const char* line : {"torchvision:block=7", "tpu:block=7", "paper:block=7", "recipe-b:block=7"}) {
    const RateInfo info = inject::RatesOf(inject::Parse(line), 0.25f, {1, 1, {4, 4}});
    EXPECT_EQ(info.gamma, 0.25) << line;
    EXPECT_EQ(info.expected_drop, 0.25) << line;
  }
}

TEST(PeerLimits, PresetsOfPeersThatRefuseALargerBlockRefuseItInWords) {
  for (const char* preset : {"mmdet", "keras-cv", "paddle", "dragon"}) {
    RateInfo info;
    const Status status =
        Rates(inject::Parse(std::string(preset) + ":block=7"), 0.1f, Shape{1, 1, {6, 9}}.ViewOf(nullptr), &info);
    EXPECT_EQ(status.code(), Status::Code::kInvalid) << preset;
    EXPECT_NE(status.message().find("block=7"), std::string::npos) << status.message();
    EXPECT_NE(status.message().find("6x9"), std::string::npos) << status.message();
    EXPECT_NE(status.message().find("allowed"), std::string::npos) << status.message();
  }
}

// keras-cv tests rows against the width: on a tall map no block starts in the last rows, on a wide one blocks stick
// out.
TEST(PeerLimits, KerasCvReachesEveryRowOfTallAndWideMaps) {
  for (const std::vector<int64_t>& sizes : {std::vector<int64_t>{12, 5}, std::vector<int64_t>{5, 12}}) {
    const Shape shape{1, 1, sizes};
    const Spec spec = inject::Parse("keras-cv:block=3x2");
    const int64_t rows = sizes[0] - 2, columns = sizes[1] - 1;
    for (int64_t seed : {int64_t{0}, rows * columns - 1}) {
      std::vector<uint8_t> seeds(rows * columns, 0), keep(shape.Elements(), 1);
      seeds[seed] = 1;
      const int64_t top = seed ? sizes[0] - 3 : 0, left = seed ? sizes[1] - 2 : 0;
      for (int64_t i = top; i < top + 3; ++i)
        for (int64_t j = left; j < left + 2; ++j) keep[i * sizes[1] + j] = 0;
      EXPECT_EQ(inject::Inject(Spread, spec, 0.1f, seeds, shape).keep, keep);
    }
  }
}

// ---- 16-bit floats: 401,408 elements overflow an f16 sum, and a scale kept in bf16 is off by up to 0.4 %

TEST(PeerLimits, SixteenBitTensorsHaveTheRightScale) {
  const Shape shape{8, 64, {28, 28}};
  const Spec spec = inject::Parse("torchvision:block=7");
  const uint64_t key[2] = {5, 6};
  for (const auto& [dtype, format] :
       {std::pair{DType::kF16, reference::kF16}, std::pair{DType::kBF16, reference::kBF16}}) {
    SCOPED_TRACE(Name(dtype));
    std::vector<uint16_t> x(shape.Elements()), y(x.size());
    std::vector<uint8_t> keep(x.size());
    for (size_t i = 0; i < x.size(); ++i) x[i] = reference::Encode(1.0f + static_cast<float>(i % 64) / 64, format);
    MaskStorage storage;
    ASSERT_TRUE(storage.Reserve(spec, shape.ViewOf(nullptr, dtype)).ok());
    ASSERT_TRUE(Drop(spec, 0.1f, key, Pass::kForward, shape.ViewOf(x.data(), dtype), shape.ViewOf(y.data(), dtype),
                     Exec(), &storage.mask)
                    .ok());
    ASSERT_TRUE(Unpack(storage.mask, keep.data()).ok());
    double sum_x = 0, sum_y = 0, kept = 0;
    for (size_t i = 0; i < x.size(); ++i) {
      if (!keep[i]) {
        ASSERT_EQ(y[i], 0) << i;
        continue;
      }
      ++kept, sum_x += reference::Decode(x[i], format), sum_y += reference::Decode(y[i], format);
    }
    EXPECT_NEAR(kept / static_cast<double>(x.size()), 0.906, 0.01);
    EXPECT_NEAR(sum_y / sum_x, static_cast<double>(x.size()) / kept, 3e-4);
  }
}

// ---- the dropped fraction

// 1 - the mean over cells of (1 - gamma)^coverage; a cell is covered by every position whose block holds it.
double DroppedFraction(const RateInfo& info, int64_t h, int64_t w) {
  double kept = 0;
  for (int64_t i = 0; i < h; ++i) {
    for (int64_t j = 0; j < w; ++j) {
      int covered = 0;
      for (int64_t a = 0; a < info.positions[0]; ++a)
        for (int64_t b = 0; b < info.positions[1]; ++b)
          covered += i >= a - info.before[0] && i < a - info.before[0] + info.block[0] && j >= b - info.before[1] &&
                     j < b - info.before[1] + info.block[1];
      kept += std::pow(1.0 - info.gamma, covered);
    }
  }
  return 1.0 - kept / static_cast<double>(h * w);
}

TEST(PeerLimits, ExpectedDropIsThatOfTheCoverageOfEveryCell) {
  for (const std::string& preset : PresetNames()) {
    for (const auto& [h, w, k] : {std::array<int64_t, 3>{7, 7, 7}, {14, 14, 7}, {9, 6, 4}, {5, 11, 3}}) {
      for (float p : {0.1f, 0.25f}) {
        const RateInfo info = inject::RatesOf(inject::Parse(preset + ":block=" + std::to_string(k)), p, {2, 3, {h, w}});
        EXPECT_NEAR(info.expected_drop, DroppedFraction(info, h, w), 1e-12) << preset << " " << h << "x" << w;
      }
    }
  }
}

struct Fraction {
  const char* line;
  int64_t side;
  float p;
  double dropped;
};

// What each rule really drops when p is asked: less for valid centres, because blocks overlap; far more for timm's and
// PaddleDetection's gamma of valid centres used on the whole map; less again for p / block^2.
TEST(PeerLimits, RulesDropWhatTheirGammaImplies) {
  const std::vector<Fraction> all = {
      {"torchvision:block=7", 14, 0.1f, 0.0929}, {"torchvision:block=7", 28, 0.1f, 0.0939},
      {"paper:block=7", 14, 0.5f, 0.3582},       {"mmdet:block=3", 7, 0.5f, 0.3851},
      {"timm:block=7", 7, 0.1f, 0.9300},         {"timm:block=7", 14, 0.1f, 0.2092},
      {"timm:block=7", 28, 0.1f, 0.1329},        {"timm:block=7", 14, 0.25f, 0.4413},
      {"paddle:block=3", 7, 0.1f, 0.1491},       {"recipe-a:block=7", 56, 0.1f, 0.1112},
      {"miguelvr:block=7", 28, 0.1f, 0.0843},    {"miguelvr:block=7", 7, 0.1f, 0.0554},
  };
  for (const Fraction& f : all) {
    const RateInfo info = inject::RatesOf(inject::Parse(f.line), f.p, {1, 1, {f.side, f.side}});
    EXPECT_NEAR(info.expected_drop, f.dropped, 0.00005) << f.line << " on " << f.side;
    const Spec calibrated = inject::Parse(std::string(f.line) + ",rate=calibrated");
    EXPECT_NEAR(inject::RatesOf(calibrated, f.p, {1, 1, {f.side, f.side}}).expected_drop, f.p, 1e-6) << f.line;
  }
  // Asked a quarter on 7x7 with block 7, timm's rule leaves less than two cells in a thousand.
  const RateInfo info = inject::RatesOf(inject::Parse("timm:block=7"), 0.25f, {1, 1, {7, 7}});
  EXPECT_GT(info.expected_drop, 0.998);
  EXPECT_LT(info.expected_drop, 1.0);
}

// ---- what timm's other arguments are here

TEST(PeerLimits, TimmsArgumentsAreKeys) {
  const Shape shape{2, 3, {8, 8}};
  EXPECT_NEAR(inject::RatesOf(inject::Parse("timm:block=3,gamma_scale=0.25"), 0.1f, shape).gamma,
              0.25 * inject::RatesOf(inject::Parse("timm:block=3"), 0.1f, shape).gamma, 0x1p-32);
  EXPECT_EQ(inject::RatesOf(inject::Parse("timm:block=3,share=none"), 0.1f, shape).lanes, 3 * 64);  // couple_channels
  std::vector<uint8_t> seeds(2 * 64, 0);
  seeds[27] = 1;
  const inject::Result unscaled =
      inject::Inject(Spread, inject::Parse("timm:block=3,normalize=none"), 0.1f, seeds, shape);
  inject::ExpectScaled(
      unscaled, unscaled.keep, [](size_t) { return 1.0; }, 0.0);  // scale_by_keep=False
  EXPECT_EQ(unscaled.kept, (std::vector<int64_t>{3 * 55, 3 * 64}));
  // with_noise: dropped cells hold noise, kept ones are not scaled, and no gradient passes the noise.
  const inject::Result noise =
      inject::Inject(Spread, inject::Parse("timm:block=3,normalize=none,fill=noise"), 0.1f, seeds, shape);
  const std::vector<float> x = inject::Values(shape.Elements(), 1);
  for (int64_t i = 0; i < shape.Elements(); ++i) {
    EXPECT_EQ(noise.y[i] == x[i], noise.keep[i] == 1) << i;
    EXPECT_EQ(noise.dx[i] == 0.0f, noise.keep[i] == 0) << i;
    EXPECT_LT(std::abs(noise.y[i]), 6.0f) << i;
  }
}

}  // namespace
}  // namespace dropkit

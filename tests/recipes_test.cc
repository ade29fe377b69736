// Recipes A and B: two published texts that explain DropBlock, one a PyTorch module (NCHW), one a TensorFlow function
// (NHWC). The same Bernoulli field goes into the text's own steps and into Spread, and the outputs are compared.
//
// The steps are written as plain loops over pooling.h. Where a text breaks (even blocks and other than square maps in
// A) this library's own rule is asserted.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <string>
#include <vector>

#include "inject.h"
#include "pooling.h"

namespace dropkit {
namespace {

using inject::Shape;
using pooling::Map;

std::string With(const std::string& preset, int64_t block, const std::string& more = "") {
  return preset + ":block=" + std::to_string(block) + more;
}

// y = x and dx = dy, to the last bit.
void ExpectIdentity(const std::string& line, const Shape& shape) {
  const Spec spec = inject::Parse(line);
  std::vector<float> x = inject::Values(shape.Elements(), 1);
  x[1] = -0.0f, x[2] = std::numeric_limits<float>::infinity(), x[3] = NAN, x[4] = 1e-42f;
  const uint64_t key[2] = {1, 2};
  MaskStorage storage;
  ASSERT_TRUE(storage.Reserve(spec, shape.ViewOf(nullptr)).ok());
  const float zero = 0.0f;
  for (Probability p : {Probability(0.0f), Probability(&zero)}) {  // a number, and one read when the work runs
    ASSERT_TRUE(Sample(spec, p, key, shape.ViewOf(nullptr), Exec(), &storage.mask).ok());
    for (Pass pass : {Pass::kForward, Pass::kBackward}) {
      EXPECT_TRUE(inject::SameBits(inject::ApplyTo(storage.mask, pass, shape, x, Exec()), x));
    }
  }
}

// ---------------------------------------------------------------- A

// It takes the last dimension for both sides.
double GammaA(double keep_prob, double w, double b) {
  return (1 - keep_prob) * w * w / (b * b * (w - b + 1) * (w - b + 1));
}

Map MaskA(const Map& bernoulli, int64_t b) {
  return pooling::OneMinus(pooling::MaxPoolPadded(bernoulli, b, b, b / 2, b / 2));
}

TEST(RecipeA, HasItsDefaults) {
  Spec spec;
  float p = 0;
  ASSERT_TRUE(ParseCase("recipe-a", &spec, &p).ok());
  EXPECT_EQ(spec.extent[0], 3);
  EXPECT_EQ(p, 0.1f);  // keep_prob 0.9
}

// The text's own walk: input, gamma, seeds, mask, output on a 1x1x5x5 map. One seed inside, one at the border, where
// its block is clipped.
TEST(RecipeA, WalksThroughTheFiveByFiveMap) {
  const Shape shape{1, 1, {5, 5}};
  const Spec spec = inject::Parse("recipe-a");
  EXPECT_NEAR(inject::RatesOf(spec, 0.1f, shape).gamma, 0.1 * 25 / 81, 1e-9);
  const std::vector<uint8_t> seeds = {0, 0, 0, 0, 0,  //
                                      0, 1, 0, 0, 0,  //
                                      0, 0, 0, 0, 0,  //
                                      0, 0, 0, 0, 0,  //
                                      0, 0, 0, 0, 1};
  const std::vector<uint8_t> keep = {0, 0, 0, 1, 1,  //
                                     0, 0, 0, 1, 1,  //
                                     0, 0, 0, 1, 1,  //
                                     1, 1, 1, 0, 0,  //
                                     1, 1, 1, 0, 0};
  const inject::Result result = inject::Inject(Spread, spec, 0.1f, seeds, shape);
  EXPECT_EQ(result.kept, std::vector<int64_t>{12});
  inject::ExpectScaled(result, keep, [](size_t) { return 25.0 / 12.0; });
}

TEST(RecipeA, TheSameFieldGivesTheSameOutput) {
  int dropping = 0;
  for (const Shape& shape : {Shape{1, 1, {5, 5}}, Shape{2, 3, {5, 5}}, Shape{4, 2, {7, 7}}, Shape{3, 5, {14, 14}},
                             Shape{2, 8, {28, 28}, Layout::kChannelsLast}}) {
    for (int64_t b : {1, 3, 5}) {
      for (float keep_prob : {0.5f, 0.75f, 0.9f}) {
        SCOPED_TRACE("map " + std::to_string(shape.sizes[0]) + " block " + std::to_string(b));
        const int64_t w = shape.sizes[1];
        const float p = 1.0f - keep_prob;
        const double gamma = GammaA(1.0 - static_cast<double>(p), w, b);
        EXPECT_NEAR(inject::RatesOf(inject::Parse(With("recipe-a", b)), p, shape).gamma, gamma, 0x1p-33 + 1e-15);
        const Map bernoulli = pooling::Bernoulli(shape.samples, shape.channels, w, w, gamma, 10 * w + b);
        const Map mask = MaskA(bernoulli, b);
        if (mask.Sum() == 0.0) continue;  // the text divides by zero
        const inject::Result result = inject::Inject(Spread, inject::Parse(With("recipe-a", b)), p,
                                                     {bernoulli.values.begin(), bernoulli.values.end()}, shape);
        const double gain = mask.Size() / mask.Sum();
        inject::ExpectScaled(result, {mask.values.begin(), mask.values.end()}, [&](size_t) { return gain; });
        dropping += mask.Sum() < mask.Size();
      }
    }
  }
  EXPECT_GT(dropping, 30);
}

// The text remembers gamma from its first input and takes W for H; here gamma is that of each input.
TEST(RecipeA, GammaIsThatOfTheInputAtHand) {
  const Spec spec = inject::Parse("recipe-a");
  EXPECT_NEAR(inject::RatesOf(spec, 0.1f, {1, 1, {14, 14}}).gamma, 0.1 * 196 / (9 * 144), 1e-9);
  EXPECT_NEAR(inject::RatesOf(spec, 0.1f, {1, 1, {7, 7}}).gamma, 0.1 * 49 / (9 * 25), 1e-9);
  EXPECT_NEAR(inject::RatesOf(spec, 0.1f, {1, 1, {14, 7}}).gamma, 0.1 * 98 / (9 * 12 * 5), 1e-9);
}

// The text's pool makes the mask a row and a column too large; here the longer side lies before the seed.
TEST(RecipeA, EvenBlocksFit) {
  std::vector<uint8_t> seeds(25, 0), keep(25, 1);
  seeds[2 * 5 + 2] = 1;
  for (int i = 0; i < 4; ++i)
    for (int j = 0; j < 4; ++j) keep[i * 5 + j] = 0;
  EXPECT_EQ(inject::Inject(Spread, inject::Parse("recipe-a:block=4"), 0.1f, seeds, {1, 1, {5, 5}}).keep, keep);
}

TEST(RecipeA, KeepProbabilityOneIsTheInput) { ExpectIdentity("recipe-a", {2, 3, {5, 5}}); }

// ---------------------------------------------------------------- B

// One field for the batch, one per channel, [1, H-b+1, W-b+1, C]; element (i, j, c) at (i * width + j) * channels + c.
struct FieldB {
  int64_t h, w, c;
  std::vector<uint8_t> values;
  uint8_t At(int64_t i, int64_t j, int64_t ch) const { return values[(i * w + j) * c + ch]; }
};

// The NHWC field in the order that Spread takes: [channels][positions].
std::vector<uint8_t> ChannelsFirst(const FieldB& field) {
  std::vector<uint8_t> seeds;
  for (int64_t ch = 0; ch < field.c; ++ch)
    for (int64_t i = 0; i < field.h; ++i)
      for (int64_t j = 0; j < field.w; ++j) seeds.push_back(field.At(i, j, ch));
  return seeds;
}

// Pads by tl before and br after, then takes the maximum of every b x b window with SAME padding. [1, H, W, C].
FieldB MaskB(const FieldB& field, int64_t h, int64_t w, int64_t b) {
  const int64_t br = (b - 1) / 2, tl = (b - 1) - br;
  FieldB padded{h, w, field.c, std::vector<uint8_t>(h * w * field.c, 0)};
  EXPECT_EQ(tl + field.h + br, h);
  for (int64_t i = 0; i < field.h; ++i)
    for (int64_t j = 0; j < field.w; ++j)
      for (int64_t ch = 0; ch < field.c; ++ch)
        padded.values[((i + tl) * w + j + tl) * field.c + ch] = field.At(i, j, ch);
  FieldB mask{h, w, field.c, std::vector<uint8_t>(h * w * field.c, 1)};
  const int64_t before = (b - 1) / 2, after = b / 2;  // of SAME padding with stride 1
  for (int64_t i = 0; i < h; ++i)
    for (int64_t j = 0; j < w; ++j)
      for (int64_t y = std::max<int64_t>(0, i - before); y <= std::min(h - 1, i + after); ++y)
        for (int64_t x = std::max<int64_t>(0, j - before); x <= std::min(w - 1, j + after); ++x)
          for (int64_t ch = 0; ch < field.c; ++ch) {
            if (padded.At(y, x, ch)) mask.values[(i * w + j) * field.c + ch] = 0;
          }
  return mask;
}

void CompareB(int64_t h, int64_t w, int64_t b, float p, bool scale, Layout layout) {
  const Shape shape{3, 4, {h, w}, layout};
  const Spec spec = inject::Parse(With("recipe-b", b, scale ? "" : ",normalize=none"));
  // Equation 1, with H and W of their own.
  const double gamma = static_cast<double>(p) / static_cast<double>(b * b) * static_cast<double>(h * w) /
                       static_cast<double>((h - b + 1) * (w - b + 1));
  EXPECT_NEAR(inject::RatesOf(spec, p, shape).gamma, gamma, 0x1p-33 + 1e-15);
  const Map draw = pooling::Bernoulli(1, 1, h - b + 1, (w - b + 1) * 4, gamma, h * 100 + w * 10 + b);
  const FieldB field{h - b + 1, w - b + 1, 4, {draw.values.begin(), draw.values.end()}};
  const FieldB mask = MaskB(field, h, w, b);
  const double ones = std::accumulate(mask.values.begin(), mask.values.end(), 0.0);
  ASSERT_GT(ones, 0.0);
  const double gain = scale ? static_cast<double>(mask.values.size()) / ones : 1.0;
  std::vector<uint8_t> keep;  // as x is: [n][c][h][w], the same for every sample
  for (int n = 0; n < 3; ++n) {
    for (uint8_t k : ChannelsFirst(mask)) keep.push_back(k);
  }
  const inject::Result result = inject::Inject(Spread, spec, p, ChannelsFirst(field), shape);
  inject::ExpectScaled(
      result, keep, [&](size_t) { return gain; }, scale ? 1e-6 : 0.0);
}

TEST(RecipeB, TheSameFieldGivesTheSameOutput) {
  for (const auto& [h, w] : {std::pair{8, 8}, std::pair{7, 12}, std::pair{15, 6}, std::pair{5, 5}}) {
    for (int b : {1, 2, 3, 4, 5}) {
      for (bool scale : {true, false}) {
        for (Layout layout : {Layout::kChannelsLast, Layout::kChannelsFirst}) {
          SCOPED_TRACE(std::to_string(h) + "x" + std::to_string(w) + " block " + std::to_string(b));
          CompareB(h, w, b, 0.1f, scale, layout);
          CompareB(h, w, b, 0.3f, scale, layout);
        }
      }
    }
  }
}

// An even block on a map that is not square, seed by seed: every block lies inside the map.
TEST(RecipeB, EverySeedDropsOneWholeBlock) {
  const int64_t h = 6, w = 9, b = 4;
  for (int64_t seed = 0; seed < 3 * 6; ++seed) {
    std::vector<uint8_t> seeds(18, 0), keep(h * w, 1);
    seeds[seed] = 1;
    for (int64_t i = seed / 6; i < seed / 6 + b; ++i)
      for (int64_t j = seed % 6; j < seed % 6 + b; ++j) keep[i * w + j] = 0;
    const inject::Result result =
        inject::Inject(Spread, inject::Parse(With("recipe-b", b)), 0.1f, seeds, {1, 1, {h, w}});
    EXPECT_EQ(result.keep, keep) << "seed " << seed;
    EXPECT_EQ(result.kept[0], h * w - b * b);
  }
}

// Drawn, not injected: one mask for the batch and one per channel.
TEST(RecipeB, SamplesShareAMaskAndChannelsDoNot) {
  const Shape shape{3, 2, {12, 12}, Layout::kChannelsLast};
  const Spec spec = inject::Parse("recipe-b:block=3");
  const uint64_t key[2] = {7, 8};
  std::vector<uint8_t> keep(shape.Elements());
  MaskStorage storage;
  ASSERT_TRUE(storage.Reserve(spec, shape.ViewOf(nullptr)).ok());
  ASSERT_TRUE(Sample(spec, 0.3f, key, shape.ViewOf(nullptr), Exec(), &storage.mask).ok());
  ASSERT_TRUE(Unpack(storage.mask, keep.data()).ok());
  const std::vector<uint8_t> first(keep.begin(), keep.begin() + 288);
  EXPECT_EQ(first, std::vector<uint8_t>(keep.begin() + 288, keep.begin() + 576));
  EXPECT_EQ(first, std::vector<uint8_t>(keep.begin() + 576, keep.end()));
  EXPECT_NE(std::vector<uint8_t>(keep.begin(), keep.begin() + 144),
            std::vector<uint8_t>(keep.begin() + 144, keep.begin() + 288));
}

TEST(RecipeB, KeepProbabilityOneIsTheInput) {
  ExpectIdentity("recipe-b:block=3", {2, 3, {5, 8}, Layout::kChannelsLast});
  ExpectIdentity("recipe-b:block=3,normalize=none", {2, 3, {5, 8}});
}

}  // namespace
}  // namespace dropkit

// Every preset that is named after another implementation, against that implementation's rule written as plain loops:
// the seeds' probability, the mask that a given field of seeds becomes, and the gain of both passes.
//
// The rules were read from the sources of the releases that `dropkit methods` names. Where an implementation fails
// (NaN, all zeros, an error) there is nothing to equal: peer_limits_test.cc asserts what this library does there.
#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <string>
#include <vector>

#include "inject.h"
#include "pooling.h"

namespace dropkit {
namespace {

using inject::Shape;
using pooling::Map;

struct Block {
  int64_t h, w;
};

enum class Drawn { kWhole, kWholeButValid, kValid };  // the field that the peer draws: whole map, filtered or not

struct Peer {
  const char* preset;
  int64_t samples, channels;  // of the peer's field: 1 where shared, 0 for as many as x has
  Drawn drawn;
  double (*gamma)(double p, double h, double w, double kh, double kw);
  Map (*keep)(const Map& field, int64_t h, int64_t w, Block k);
  double (*gain)(const Map& keep, double p);
  Block (*clip)(int64_t h, int64_t w, int64_t k);  // the block after the peer's own clipping; h = 0: refused
  bool even;                                       // the peer takes even blocks
  bool square;                                     // the peer's maps are square, or its rule assumes so
};

// ---- seeds

double PaperGamma(double p, double h, double w, double kh, double kw) {
  return p * h * w / (kh * kw * (h - kh + 1) * (w - kw + 1));
}
double SquareGamma(double p, double, double w, double, double k) {
  return p * w * w / (k * k) / ((w - k + 1) * (w - k + 1));
}
double PlainGamma(double p, double, double, double kh, double kw) { return p / (kh * kw); }

// ---- masks

// Algorithm 1: a square of zeros around every seed of the central region.
Map SquaresAround(const Map& field, int64_t h, int64_t w, Block k) {
  Map keep = pooling::OneMinus(Map(field.n, field.c, h, w));
  pooling::ForEach(field, [&](int64_t n, int64_t c, int64_t i, int64_t j) {
    if (field.At(n, c, i, j) == 0.0) return;
    const int64_t y = i + (k.h - 1) / 2, x = j + (k.w - 1) / 2;  // where the central region starts
    for (int64_t a = y - (k.h - 1) / 2; a <= y + (k.h - 1) / 2; ++a)
      for (int64_t b = x - (k.w - 1) / 2; b <= x + (k.w - 1) / 2; ++b) keep.At(n, c, a, b) = 0.0;
  });
  return keep;
}
// Valid seeds padded by k / 2 on both sides, then max_pool2d with the same padding (torchvision, mmdetection).
Map PadBothSides(const Map& field, int64_t, int64_t, Block k) {
  const Map padded = pooling::Window(field, -(k.h / 2), -(k.w / 2), field.h + k.h / 2 * 2, field.w + k.w / 2 * 2);
  return pooling::OneMinus(pooling::MaxPoolPadded(padded, k.h, k.w, k.h / 2, k.w / 2));
}
// Valid seeds padded so that the sizes are right for even blocks too, then a pool with SAME padding.
Map PadUnevenly(const Map& field, int64_t h, int64_t w, Block k) {
  const Map padded = pooling::Window(field, -((k.h - 1) - (k.h - 1) / 2), -((k.w - 1) - (k.w - 1) / 2), h, w);
  return pooling::OneMinus(pooling::MaxPoolSame(padded, k.h, k.w));
}
// Seeds of the whole map, but those outside [k / 2, size - (k - 1) / 2) do not count (tensorflow/tpu, keras-cv).
Map FilterThenPoolSame(const Map& field, int64_t h, int64_t w, Block k) {
  Map valid = field;
  pooling::ForEach(field, [&](int64_t n, int64_t c, int64_t i, int64_t j) {
    const bool inside = i >= k.h / 2 && i < h - (k.h - 1) / 2 && j >= k.w / 2 && j < w - (k.w - 1) / 2;
    if (!inside) valid.At(n, c, i, j) = 0.0;
  });
  return pooling::OneMinus(pooling::MaxPoolSame(valid, k.h, k.w));
}
// max_pool2d with padding k / 2; of an even block's extra row and column, the first is dropped.
Map PoolCropFirst(const Map& field, int64_t h, int64_t w, Block k) {
  const Map pooled = pooling::MaxPoolPadded(field, k.h, k.w, k.h / 2, k.w / 2);
  return pooling::OneMinus(pooling::Window(pooled, (k.h + 1) % 2, (k.w + 1) % 2, h, w));
}
// The same, but the last is dropped.
Map PoolCropLast(const Map& field, int64_t h, int64_t w, Block k) {
  const Map pooled = pooling::MaxPoolPadded(field, k.h, k.w, k.h / 2, k.w / 2);
  return pooling::OneMinus(pooling::Window(pooled, 0, 0, h, w));
}
// A loop over the block right and below of each seed (dragon).
Map ZeroFromCorner(const Map& field, int64_t h, int64_t w, Block k) {
  Map keep = pooling::OneMinus(Map(field.n, field.c, h, w));
  pooling::ForEach(field, [&](int64_t n, int64_t c, int64_t i, int64_t j) {
    for (int64_t a = 0; a < k.h && field.At(n, c, i, j) > 0; ++a)
      for (int64_t b = 0; b < k.w; ++b) keep.At(n, c, i + a, j + b) = 0.0;
  });
  return keep;
}

// ---- gains

double SizeOverSum(const Map& keep, double) { return keep.Size() / keep.Sum(); }
double SizeOverSumPlus1e6(const Map& keep, double) { return keep.Size() / (1e-6 + keep.Sum()); }
double SizeOverSumPlus1e7(const Map& keep, double) { return keep.Size() / (keep.Sum() + 1e-7); }
double OneOverMean(const Map& keep, double) { return 1.0 / (keep.Sum() / keep.Size()); }
double OneOverKeep(const Map&, double p) { return 1.0 / (1.0 - p); }

// ---- blocks

Block Refused(int64_t h, int64_t w, int64_t k) { return k > std::min(h, w) ? Block{0, 0} : Block{k, k}; }
Block ToWidth(int64_t, int64_t w, int64_t k) { return {std::min(k, w), std::min(k, w)}; }
Block ToSmaller(int64_t h, int64_t w, int64_t k) { return {std::min({k, h, w}), std::min({k, h, w})}; }
Block ToEachAxis(int64_t h, int64_t w, int64_t k) { return {std::min(k, h), std::min(k, w)}; }
Block Never(int64_t, int64_t, int64_t k) { return {k, k}; }

const Peer kPeers[] = {
    {"paper", 0, 0, Drawn::kValid, PaperGamma, SquaresAround, SizeOverSum, Refused, false, false},
    {"recipe-a", 0, 0, Drawn::kWhole, SquareGamma, PoolCropFirst, SizeOverSum, Refused, false, true},
    {"recipe-b", 1, 0, Drawn::kValid, PaperGamma, PadUnevenly, SizeOverSum, Refused, true, false},
    {"tpu", 0, 0, Drawn::kWholeButValid, SquareGamma, FilterThenPoolSame, OneOverMean, ToWidth, true, true},
    {"torchvision", 0, 0, Drawn::kValid, PaperGamma, PadBothSides, SizeOverSumPlus1e6, ToSmaller, false, false},
    {"timm", 0, 1, Drawn::kWhole, PaperGamma, PoolCropFirst, SizeOverSumPlus1e7, ToEachAxis, true, false},
    {"miguelvr", 0, 1, Drawn::kWhole, PlainGamma, PoolCropLast, SizeOverSum, Never, true, false},
    {"mmdet", 0, 0, Drawn::kValid, PaperGamma, PadBothSides, SizeOverSumPlus1e6, Refused, false, false},
    {"keras-cv", 0, 0, Drawn::kWholeButValid, PaperGamma, FilterThenPoolSame, OneOverMean, Refused, true, true},
    {"paddle", 0, 0, Drawn::kWhole, PaperGamma, PoolCropFirst, SizeOverSum, Refused, false, false},
    {"dragon", 0, 1, Drawn::kValid, PaperGamma, ZeroFromCorner, OneOverKeep, Refused, true, false},
};

struct Case {
  int64_t h, w, k;
  Block block;  // as the peer clips it
};

// The cases that the peer can run.
std::vector<Case> CasesOf(const Peer& peer) {
  static constexpr int64_t kSizes[][2] = {{3, 3}, {5, 5}, {7, 7}, {9, 6}, {6, 11}, {14, 14}, {4, 13}, {5, 8}};
  std::vector<Case> cases;
  for (const auto& [h, w] : kSizes) {
    for (int64_t k : {1, 2, 3, 4, 5, 7}) {
      const Block block = peer.clip(h, w, k);
      const bool odd = block.h % 2 == 1 && block.w % 2 == 1;
      if (block.h > 0 && (odd || peer.even) && (h == w || !peer.square)) cases.push_back({h, w, k, block});
    }
  }
  return cases;
}

std::string LineOf(const Peer& peer, int64_t k) { return std::string(peer.preset) + ":block=" + std::to_string(k); }

// The peer's field as Spread takes it: the valid region's positions are the blocks' first corners.
std::vector<uint8_t> SeedsOf(const Peer& peer, const Map& field, const Case& c) {
  const Map seeds = peer.drawn != Drawn::kWholeButValid ? field
                                                        : pooling::Window(field, c.block.h / 2, c.block.w / 2,
                                                                          c.h - c.block.h + 1, c.w - c.block.w + 1);
  return {seeds.values.begin(), seeds.values.end()};
}

class PeerTest : public testing::TestWithParam<Peer> {};

TEST_P(PeerTest, SeedsFireWithThePeersProbability) {
  const Peer& peer = GetParam();
  const std::vector<Case> cases = CasesOf(peer);
  ASSERT_GT(cases.size(), 5u);
  for (const Case& c : cases) {
    for (float p : {0.05f, 0.1f, 0.25f, 0.5f}) {
      SCOPED_TRACE(LineOf(peer, c.k) + " on " + std::to_string(c.h) + "x" + std::to_string(c.w));
      const RateInfo info = inject::RatesOf(inject::Parse(LineOf(peer, c.k)), p, {2, 3, {c.h, c.w}});
      // p is exact in 2^-32 from 2^-8 up, so half a step of the lane threshold is the whole error.
      EXPECT_NEAR(info.gamma, peer.gamma(p, c.h, c.w, c.block.h, c.block.w), 0x1p-33 + 1e-15);
      EXPECT_EQ(info.lanes, (peer.channels == 1 ? 1 : 3) * info.positions[0] * info.positions[1]);
    }
  }
}

TEST_P(PeerTest, TheSameFieldGivesTheSameMaskOutputAndGradient) {
  const Peer& peer = GetParam();
  constexpr int64_t kSamples = 3, kChannels = 4;
  int compared = 0;
  for (const Case& c : CasesOf(peer)) {
    for (uint64_t round : {1, 2, 3}) {
      SCOPED_TRACE(LineOf(peer, c.k) + " on " + std::to_string(c.h) + "x" + std::to_string(c.w));
      const float p = 0.1f * static_cast<float>(round);
      const bool valid = peer.drawn == Drawn::kValid;
      const Map field =
          pooling::Bernoulli(peer.samples ? peer.samples : kSamples, peer.channels ? peer.channels : kChannels,
                             valid ? c.h - c.block.h + 1 : c.h, valid ? c.w - c.block.w + 1 : c.w,
                             peer.gamma(p, c.h, c.w, c.block.h, c.block.w), round * 1000 + compared);
      const Map rule = peer.keep(field, c.h, c.w, c.block);
      ASSERT_EQ(rule.h, c.h);
      ASSERT_EQ(rule.w, c.w);
      if (rule.Sum() == 0.0) continue;  // the peer divides by zero
      std::vector<uint8_t> keep;
      pooling::ForEach(Map(kSamples, kChannels, c.h, c.w), [&](int64_t n, int64_t ch, int64_t i, int64_t j) {
        keep.push_back(rule.Broadcast(n, ch, i, j) > 0);
      });
      const Spec spec = inject::Parse(LineOf(peer, c.k));
      const inject::Result result =
          inject::Inject(Spread, spec, p, SeedsOf(peer, field, c), {kSamples, kChannels, {c.h, c.w}});
      const double gain = peer.gain(rule, p);
      inject::ExpectScaled(result, keep, [&](size_t) { return gain; });
      compared += rule.Sum() < rule.Size();
    }
  }
  EXPECT_GT(compared, 12) << "fields that drop something";
}

std::string NameOf(const testing::TestParamInfo<Peer>& info) {
  std::string name = info.param.preset;
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
}
INSTANTIATE_TEST_SUITE_P(Presets, PeerTest, testing::ValuesIn(kPeers), NameOf);

// torchvision's and miguelvr's 3-D forms. One axis more changes the powers in gamma; the mask is a box around each
// seed.
TEST(Peers, VolumesDropBoxes) {
  constexpr int64_t kD = 5, kH = 6, kW = 7, kBlock = 3;
  const inject::Shape shape{1, 1, {kD, kH, kW}};
  const struct {
    const char* line;
    double gamma;
    int64_t before;   // of a seed
    int64_t d, h, w;  // positions
    int64_t at[3];    // of the seed
  } kVolumes[] = {
      {"torchvision:block=3", 0.25 * kD * kH * kW / (27.0 * 3 * 4 * 5), 0, 3, 4, 5, {1, 3, 2}},
      {"miguelvr:block=3", 0.25 / 27.0, 1, kD, kH, kW, {0, 3, 6}},
  };
  for (const auto& v : kVolumes) {
    SCOPED_TRACE(v.line);
    EXPECT_NEAR(inject::RatesOf(inject::Parse(v.line), 0.25f, shape).gamma, v.gamma, 0x1p-33 + 1e-15);
    std::vector<uint8_t> seeds(v.d * v.h * v.w, 0), keep;
    seeds[(v.at[0] * v.h + v.at[1]) * v.w + v.at[2]] = 1;
    const auto inside = [&](int axis, int64_t cell) {
      return cell >= v.at[axis] - v.before && cell < v.at[axis] - v.before + kBlock;
    };
    for (int64_t i = 0; i < kD; ++i)
      for (int64_t j = 0; j < kH; ++j)
        for (int64_t k = 0; k < kW; ++k) keep.push_back(!(inside(0, i) && inside(1, j) && inside(2, k)));
    const double gain = static_cast<double>(keep.size()) / std::accumulate(keep.begin(), keep.end(), 0.0);
    inject::ExpectScaled(inject::Inject(Spread, inject::Parse(v.line), 0.25f, seeds, shape), keep,
                         [&](size_t) { return gain; });
  }
}

TEST(Peers, EveryPresetIsCompared) {
  std::vector<std::string> presets, compared;
  for (const PresetInfo& preset : Presets()) presets.push_back(preset.name);
  for (const Peer& peer : kPeers) compared.push_back(peer.preset);
  std::sort(presets.begin(), presets.end());
  std::sort(compared.begin(), compared.end());
  EXPECT_EQ(presets, compared);
}

}  // namespace
}  // namespace dropkit

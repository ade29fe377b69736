// The reference backend against the golden files and against the definitions of dropkit.h.
//
// Its functions are called directly, so that what drop.cc checks and chooses is not in the way; parsing and the shape
// of masks are the library's own.
#include "reference/reference.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

#include "backend.h"
#include "golden_reader.h"

namespace dropkit {
namespace {

using golden::DrawLines;
using golden::Line;
using golden::MaskCase;

struct Case {
  Spec spec;
  float p = 0;
};
Case Parse(const std::string& text) {
  Case c;
  const Status status = ParseCase(text, &c.spec, &c.p);
  EXPECT_TRUE(status.ok()) << text << ": " << status.message();
  return c;
}

// A mask in memory of its own, drawn.
struct Drawn {
  Drawn(const Case& c, Key key, const View& x) {
    EXPECT_TRUE(storage.Reserve(c.spec, x).ok());
    EXPECT_TRUE(kReferenceBackend.sample(c.spec, c.p, key, x, Exec(), &storage.mask).ok());
  }
  MaskStorage storage;
  Mask& mask = storage.mask;
};

// ---- draws.txt

TEST(ReferenceDraw, PhiloxGivesTheTenThousandthWordOfTheStandard) {
  EXPECT_EQ(reference::Philox({2499, 0, 0, 0}, {20111115, 0})[3], 1955073260u);
}

TEST(ReferenceDraw, PhiloxAndCallKeysAreGolden) {
  for (const Line& line : DrawLines("philox")) {
    SCOPED_TRACE(line.where());
    reference::Words counter, words;
    for (int i = 0; i < 4; ++i) {
      counter[i] = static_cast<uint32_t>(line.Numbers("counter").at(i));
      words[i] = static_cast<uint32_t>(line.Numbers("words").at(i));
    }
    const std::vector<uint64_t> key = line.Numbers("key");
    EXPECT_EQ(reference::Philox(counter, {static_cast<uint32_t>(key.at(0)), static_cast<uint32_t>(key.at(1))}), words);
  }
  for (const Line& line : DrawLines("call_key")) {
    SCOPED_TRACE(line.where());
    const uint64_t key[2] = {line.Number("seed"), line.Number("offset")};
    const auto call_key = reference::CallKey(key, static_cast<reference::Tag>(line.Number("tag")));
    EXPECT_EQ((std::vector<uint64_t>{call_key[0], call_key[1]}), line.Numbers("key"));
  }
}

TEST(ReferenceDraw, ThresholdsAreGolden) {
  for (const Line& line : DrawLines("threshold")) {
    SCOPED_TRACE(line.where());
    EXPECT_EQ(reference::ThresholdOf(line.HexFloat("p")), line.Number("T"));
  }
}

TEST(ReferenceDraw, ThresholdsOutsideTheRangeAreBad) {
  for (float p : {-1e-30f, std::nextafter(1.0f, 2.0f), INFINITY, -INFINITY, NAN}) {
    EXPECT_EQ(reference::ThresholdOf(p), kBadThreshold) << p;
  }
  EXPECT_EQ(reference::ThresholdOf(-0.0f), 0u);
}

TEST(ReferenceDraw, PoissonTablesAreGolden) {
  for (const Line& line : DrawLines("table")) {
    SCOPED_TRACE(line.where());
    const reference::LanePlan plan = reference::PlanLanes(line.Number("Q"));
    EXPECT_EQ(plan.inverted, line.Number("inverted") == 1);
    EXPECT_EQ(plan.digits, line.Number("D"));
    EXPECT_EQ(plan.rest, line.Number("E"));
    EXPECT_EQ(plan.rounds, static_cast<int>(line.Number("rounds")));
    EXPECT_EQ(std::vector<uint64_t>(plan.thresholds.begin(), plan.thresholds.end()), line.Numbers("thresholds"));
  }
}

TEST(ReferenceDraw, NormalsAndNoiseAreGolden) {
  for (const Line& line : DrawLines("normal")) {
    SCOPED_TRACE(line.where());
    EXPECT_EQ(reference::Normal(static_cast<uint32_t>(line.Number("word"))), line.Double("z"));
  }
  for (const Line& line : DrawLines("noise")) {
    SCOPED_TRACE(line.where());
    const uint64_t key[2] = {line.Number("seed"), line.Number("offset")};
    EXPECT_EQ(reference::Noise(key, line.Number("s"), line.Number("element")), line.Double("z"));
  }
}

TEST(ReferenceDraw, RatesAreGolden) {
  for (const Line& line : DrawLines("rates")) {
    SCOPED_TRACE(line.where());
    const Case c = Parse(line.Text("case"));
    const View x = golden::ShapeOf(line);
    const reference::Axes axes = reference::AxesOf(c.spec, x.spatial_dims, x.size);
    EXPECT_EQ(reference::ThresholdOf(c.p), line.Number("T"));
    EXPECT_EQ(reference::LaneThreshold(c.spec, axes, line.Number("T")), line.Number("Q"));
    EXPECT_EQ(reference::ExpectedKept(c.spec, axes, line.Number("Q")), line.Double("expected_kept"));
  }
}

// ---- masks.txt

void ExpectGolden(const MaskCase& golden, const Mask& mask) {
  EXPECT_EQ(golden.Difference(golden::DenseKeep(mask)), "");
  EXPECT_EQ(*mask.threshold, golden.threshold);
  EXPECT_EQ(std::vector<int64_t>(mask.kept, mask.kept + mask.num_kept), golden.kept);
  if (mask.num_bits % 64 != 0) {
    EXPECT_EQ(mask.bits[mask.num_words() - 1] >> (mask.num_bits % 64), 0u) << "bits past the end";
  }
}

TEST(ReferenceMask, MasksAreGoldenInEveryLayout) {
  for (const MaskCase& golden : golden::ReadMasks()) {
    SCOPED_TRACE(golden.line.where() + " " + golden.text);
    const Case c = Parse(golden.text);
    ExpectGolden(golden, Drawn(c, golden.key, golden.shape).mask);
    ExpectGolden(golden, Drawn(c, golden.key, golden.Shape(Layout::kChannelsLast)).mask);
  }
}

TEST(ReferenceMask, GainsAreGolden) {
  for (const MaskCase& golden : golden::ReadMasks()) {
    SCOPED_TRACE(golden.line.where() + " " + golden.text);
    const Drawn drawn(Parse(golden.text), golden.key, golden.shape);
    const Mask& mask = drawn.mask;
    for (size_t i = 0; i < golden.gains.size(); ++i) {
      const int64_t group = static_cast<int64_t>(i);
      const bool plane = mask.spec.over == Over::kPlane && golden.gains.size() > 1;
      const int64_t n = plane ? group / mask.channels : group, c = plane ? group % mask.channels : 0;
      EXPECT_EQ(reference::GainAt(mask, Pass::kForward, n, c).a, golden.gains[i]);
    }
  }
}

TEST(ReferenceMask, SplitsOfTheBatchJoinToTheWhole) {
  int split = 0;
  for (const MaskCase& golden : golden::ReadMasks()) {
    if (golden.shape.samples < 3) continue;
    SCOPED_TRACE(golden.line.where() + " " + golden.text);
    const Case c = Parse(golden.text);
    const Drawn first(c, golden.key, golden.Part(0, 1));
    const Drawn rest(c, golden.key, golden.Part(1, golden.shape.samples - 1, Layout::kChannelsLast));
    std::vector<uint8_t> keep = golden::DenseKeep(first.mask);
    for (uint8_t k : golden::DenseKeep(rest.mask)) keep.push_back(k);
    EXPECT_EQ(golden.Difference(keep), "");
    ++split;
  }
  EXPECT_GT(split, 100);
}

TEST(ReferenceMask, AProbabilityInMemoryDrawsAsAHostNumber) {
  const Case c = Parse("dropblock:block=3@0.3");
  const uint64_t key[2] = {3, 4};
  const View x = DenseView(nullptr, DType::kF32, 2, 3, {9, 7});
  MaskStorage from_memory;
  ASSERT_TRUE(from_memory.Reserve(c.spec, x).ok());
  const float p = 0.3f;
  ASSERT_TRUE(kReferenceBackend.sample(c.spec, Probability(&p), key, x, Exec(), &from_memory.mask).ok());
  EXPECT_EQ(golden::DenseKeep(from_memory.mask), golden::DenseKeep(Drawn(c, key, x).mask));
  EXPECT_EQ(*from_memory.mask.threshold, reference::ThresholdOf(p));
}

// ---- Spread and Pack

TEST(ReferenceSpread, BlocksGrowFromTheirSeeds) {
  const Case c = Parse("dropblock:block=2x3,region=whole@0.1");
  const View x = DenseView(nullptr, DType::kF32, 1, 2, {4, 5});
  MaskStorage storage;
  ASSERT_TRUE(storage.Reserve(c.spec, x).ok());
  std::vector<uint8_t> seeds(40, 0);
  seeds[20 + 1 * 5 + 4] = 7;  // channel 1, row 1, the last column: rows 0-1, columns 3-4
  ASSERT_TRUE(kReferenceBackend.spread(c.spec, c.p, seeds.data(), x, Exec(), &storage.mask).ok());
  std::vector<uint8_t> keep(40, 1);
  for (int cell : {3, 4, 8, 9}) keep[20 + cell] = 0;
  EXPECT_EQ(golden::DenseKeep(storage.mask), keep);
  EXPECT_EQ(*storage.mask.kept, 36);
}

TEST(ReferenceSpread, ACutoutSeedIsACentreSharedByChannels) {
  const Case c = Parse("cutout:size=3");
  const View x = DenseView(nullptr, DType::kF32, 2, 2, {5});
  MaskStorage storage;
  ASSERT_TRUE(storage.Reserve(c.spec, x).ok());
  const std::vector<uint8_t> seeds = {1, 0, 0, 0, 0, 0, 0, 1, 0, 0};
  ASSERT_TRUE(kReferenceBackend.spread(c.spec, c.p, seeds.data(), x, Exec(), &storage.mask).ok());
  EXPECT_EQ(golden::DenseKeep(storage.mask),
            (std::vector<uint8_t>{0, 0, 1, 1, 1, 0, 0, 1, 1, 1, 1, 0, 0, 0, 1, 1, 0, 0, 0, 1}));
}

TEST(ReferenceSpread, OneSampleOfSeedsServesASharedBatch) {
  const Case c = Parse("spatial_dropout:share=batch@0.1");
  const View x = DenseView(nullptr, DType::kF32, 3, 2, {2});
  MaskStorage storage;
  ASSERT_TRUE(storage.Reserve(c.spec, x).ok());
  const std::vector<uint8_t> seeds = {0, 1};
  ASSERT_TRUE(kReferenceBackend.spread(c.spec, c.p, seeds.data(), x, Exec(), &storage.mask).ok());
  EXPECT_EQ(golden::DenseKeep(storage.mask), (std::vector<uint8_t>{1, 1, 0, 0, 1, 1, 0, 0, 1, 1, 0, 0}));
  EXPECT_EQ(std::vector<int64_t>(storage.mask.kept, storage.mask.kept + 3), (std::vector<int64_t>{2, 2, 2}));
}

TEST(ReferencePack, KeepsWhatIsGivenInEveryLayout) {
  const Case c = Parse("dropout:normalize=kept,over=plane@0.25");
  std::vector<uint8_t> keep(2 * 3 * 5);
  for (size_t i = 0; i < keep.size(); ++i) keep[i] = i * i % 7 < 3;
  for (Layout layout : {Layout::kChannelsFirst, Layout::kChannelsLast}) {
    const View x = DenseView(nullptr, DType::kF32, 2, 3, {5}, layout);
    MaskStorage storage;
    ASSERT_TRUE(storage.Reserve(c.spec, x).ok());
    ASSERT_TRUE(kReferenceBackend.pack(c.spec, c.p, keep.data(), x, Exec(), &storage.mask).ok());
    EXPECT_EQ(golden::DenseKeep(storage.mask), keep);
    for (int plane = 0; plane < 6; ++plane) {
      int count = 0;
      for (int i = 0; i < 5; ++i) count += keep[plane * 5 + i];
      EXPECT_EQ(storage.mask.kept[plane], count);
    }
  }
}

// ---- 16-bit floats

// All numbers of the format in ascending order of their bits; halfway cases go to even bits, all others to the nearer.
void ExpectNearestEven(reference::HalfFormat format, uint16_t infinity) {
  for (uint16_t bits = 0; bits < infinity; ++bits) {
    const float low = reference::Decode(bits, format);
    ASSERT_EQ(reference::Encode(low, format), bits);
    ASSERT_EQ(reference::Encode(-low, format), bits | 0x8000);
    const uint16_t next = static_cast<uint16_t>(bits + 1);
    if (next == infinity) break;
    const float high = reference::Decode(next, format);
    ASSERT_LT(low, high);
    const float half = low + (high - low) / 2;
    ASSERT_EQ(reference::Encode(half, format), bits % 2 == 0 ? bits : next);
    ASSERT_EQ(reference::Encode(std::nextafter(half, low), format), bits);
    ASSERT_EQ(reference::Encode(std::nextafter(half, high), format), next);
  }
  const float inf = std::numeric_limits<float>::infinity();
  EXPECT_EQ(reference::Encode(inf, format), infinity);
  EXPECT_EQ(reference::Encode(-inf, format), infinity | 0x8000);
  EXPECT_EQ(reference::Decode(infinity, format), inf);
  EXPECT_TRUE(std::isnan(reference::Decode(reference::Encode(NAN, format), format)));
}

TEST(ReferenceHalf, EveryF16RoundsToNearestEven) {
  ExpectNearestEven(reference::kF16, 0x7C00);
  EXPECT_EQ(reference::Encode(1.0f, reference::kF16), 0x3C00);
  EXPECT_EQ(reference::Encode(65519.996f, reference::kF16), 0x7BFF);
  EXPECT_EQ(reference::Encode(65520.0f, reference::kF16), 0x7C00);
  EXPECT_EQ(reference::Encode(1e38f, reference::kF16), 0x7C00);
  EXPECT_EQ(reference::Encode(0x1p-25f, reference::kF16), 0);
  EXPECT_EQ(reference::Encode(0x1.000002p-25f, reference::kF16), 1);
}

TEST(ReferenceHalf, EveryBf16RoundsToNearestEven) {
  ExpectNearestEven(reference::kBF16, 0x7F80);
  EXPECT_EQ(reference::Encode(1.0f, reference::kBF16), 0x3F80);
  EXPECT_EQ(reference::Encode(std::numeric_limits<float>::max(), reference::kBF16), 0x7F80);
}

// ---- Apply

struct Tensor {
  View view;
  std::vector<char> bytes;
  Tensor(const View& shape)
      : view(shape),
        bytes(SizeOf(shape.dtype) * shape.samples * shape.channels * shape.size[0] * shape.size[1] * shape.size[2]) {
    view.data = bytes.data();
  }
  Tensor(const Tensor&) = delete;
  double Get(int64_t i) const {
    if (view.dtype == DType::kF64) return Element<double>(i);
    if (view.dtype == DType::kF32) return Element<float>(i);
    return reference::Decode(Element<uint16_t>(i), Format());
  }
  void Set(int64_t i, double value) {
    if (view.dtype == DType::kF64) return Put(i, value);
    if (view.dtype == DType::kF32) return Put(i, static_cast<float>(value));
    Put(i, reference::Encode(static_cast<float>(value), Format()));
  }
  template <typename T>
  T Element(int64_t i) const {
    T value;
    std::memcpy(&value, &bytes[i * sizeof(T)], sizeof(T));
    return value;
  }

 private:
  template <typename T>
  void Put(int64_t i, T value) {
    std::memcpy(&bytes[i * sizeof(T)], &value, sizeof(T));
  }
  reference::HalfFormat Format() const { return view.dtype == DType::kF16 ? reference::kF16 : reference::kBF16; }
};

// The value that contract 5 of dropkit.h gives, element by element, for gains without b and c.
double Rounded(double value, DType dtype) {
  if (dtype == DType::kF64) return value;
  const float narrow = static_cast<float>(value);
  if (dtype == DType::kF32) return narrow;
  const reference::HalfFormat format = dtype == DType::kF16 ? reference::kF16 : reference::kBF16;
  return reference::Decode(reference::Encode(narrow, format), format);
}
double Scaled(double x, double a, DType dtype) {
  if (dtype == DType::kF64) return x * a;
  return Rounded(static_cast<float>(x) * static_cast<float>(a), dtype);
}

constexpr DType kDTypes[] = {DType::kF32, DType::kF16, DType::kBF16, DType::kF64};

TEST(ReferenceApply, KeptAreScaledAndDroppedAreFilledInEveryDType) {
  const uint64_t key[2] = {5, 6};
  for (DType dtype : kDTypes) {
    for (const char* text :
         {"dropout@0.3", "dropout:fill=0.1@0.3", "dropout:fill=noise@0.3", "dropblock:block=2,over=plane@0.3"}) {
      SCOPED_TRACE(std::string(Name(dtype)) + " " + text);
      const Case c = Parse(text);
      Tensor x(DenseView(nullptr, dtype, 2, 3, {5, 4}, Layout::kChannelsFirst, 9)), y(x.view);
      for (int i = 0; i < 120; ++i) x.Set(i, i % 11 == 3 ? NAN : 0.37 * (i - 50));
      const Drawn drawn(c, key, x.view);
      ASSERT_TRUE(kReferenceBackend.apply(drawn.mask, Pass::kForward, x.view, y.view, Exec()).ok());
      const std::vector<uint8_t> keep = golden::DenseKeep(drawn.mask);
      for (int i = 0; i < 120; ++i) {
        const double a = reference::GainAt(drawn.mask, Pass::kForward, i / 60, i / 20 % 3).a;
        const double noise = reference::Noise(key, 9 + i / 60, i % 60);
        const double fill = c.spec.fill == Fill::kNoise ? noise : c.spec.fill_value;
        const double expected = keep[i] ? Scaled(x.Get(i), a, dtype) : Rounded(fill, dtype);
        if (std::isnan(expected)) {
          EXPECT_TRUE(std::isnan(y.Get(i))) << i;
        } else {
          EXPECT_EQ(y.Get(i), expected) << i;
        }
      }
    }
  }
}

TEST(ReferenceApply, TheBackwardPassScalesKeptAndZeroesDropped) {
  const uint64_t key[2] = {1, 2};
  for (const char* text : {"dropout:fill=noise@0.5", "dropout:fill=4@0.5"}) {
    const Case c = Parse(text);
    Tensor g(DenseView(nullptr, DType::kF32, 1, 64, {})), dx(g.view);
    for (int i = 0; i < 64; ++i) g.Set(i, i % 5 == 0 ? INFINITY : i);
    const Drawn drawn(c, key, g.view);
    ASSERT_TRUE(kReferenceBackend.apply(drawn.mask, Pass::kBackward, g.view, dx.view, Exec()).ok());
    const std::vector<uint8_t> keep = golden::DenseKeep(drawn.mask);
    for (int i = 0; i < 64; ++i) EXPECT_EQ(dx.Get(i), keep[i] ? 2 * g.Get(i) : 0.0) << i;
  }
}

TEST(ReferenceApply, NoiseIsSharedOverTheBatchAsTheMaskIs) {
  const uint64_t key[2] = {1, 2};
  const Case c = Parse("dropout:share=batch,fill=noise@1");
  Tensor x(DenseView(nullptr, DType::kF64, 2, 3, {2}, Layout::kChannelsFirst, 5)), y(x.view);
  const Drawn drawn(c, key, x.view);
  ASSERT_TRUE(kReferenceBackend.apply(drawn.mask, Pass::kForward, x.view, y.view, Exec()).ok());
  for (int i = 0; i < 12; ++i) EXPECT_EQ(y.Get(i), reference::Noise(key, 0, i % 6)) << i;
}

TEST(ReferenceApply, StridesAndInPlaceDoNotChangeValues) {
  const uint64_t key[2] = {1, 2};
  const Case c = Parse("dropblock:block=3@0.2");
  Tensor x(DenseView(nullptr, DType::kF32, 2, 3, {6, 5})), y(x.view);
  for (int i = 0; i < 180; ++i) x.Set(i, i + 1);
  const Drawn drawn(c, key, x.view);
  ASSERT_TRUE(kReferenceBackend.apply(drawn.mask, Pass::kForward, x.view, y.view, Exec()).ok());

  Tensor last(DenseView(nullptr, DType::kF32, 2, 3, {6, 5}, Layout::kChannelsLast));
  ASSERT_TRUE(kReferenceBackend.apply(drawn.mask, Pass::kForward, x.view, last.view, Exec()).ok());
  for (int i = 0; i < 180; ++i) EXPECT_EQ(last.Get((i / 90 * 30 + i % 30) * 3 + i / 30 % 3), y.Get(i)) << i;

  // x read backwards along the rows.
  View mirrored = x.view;
  mirrored.data = x.bytes.data() + 4 * sizeof(float);
  mirrored.stride[1] = -1;
  ASSERT_TRUE(kReferenceBackend.apply(drawn.mask, Pass::kForward, mirrored, last.view, Exec()).ok());
  const Gain gain = reference::GainAt(drawn.mask, Pass::kForward, 0, 0);
  const std::vector<uint8_t> keep = golden::DenseKeep(drawn.mask);
  for (int i = 0; i < 180; ++i) {
    const double from = x.Get(i / 5 * 5 + 4 - i % 5);
    EXPECT_EQ(last.Get((i / 90 * 30 + i % 30) * 3 + i / 30 % 3), keep[i] ? Scaled(from, gain.a, DType::kF32) : 0.0)
        << i;
  }

  // A gradient expanded from one number.
  View expanded = x.view;
  expanded.sample_stride = expanded.channel_stride = expanded.stride[0] = expanded.stride[1] = 0;
  ASSERT_TRUE(kReferenceBackend.apply(drawn.mask, Pass::kBackward, expanded, last.view, Exec()).ok());
  for (int i = 0; i < 180; ++i) {
    EXPECT_EQ(last.Get((i / 90 * 30 + i % 30) * 3 + i / 30 % 3), keep[i] ? Scaled(1.0, gain.a, DType::kF32) : 0.0) << i;
  }

  ASSERT_TRUE(kReferenceBackend.apply(drawn.mask, Pass::kForward, x.view, x.view, Exec()).ok());
  EXPECT_EQ(x.bytes, y.bytes);
}

TEST(ReferenceApply, NothingDroppedReturnsXAndAllDroppedTheFill) {
  const uint64_t key[2] = {1, 2};
  for (const char* law : {"kept", "expected", "asked", "none"}) {
    for (DType dtype : kDTypes) {
      SCOPED_TRACE(std::string(law) + " " + Name(dtype));
      Case c = Parse(std::string("dropblock:block=2,fill=-3,normalize=") + law);
      Tensor x(DenseView(nullptr, dtype, 2, 3, {4, 4})), y(x.view);
      for (int i = 0; i < 96; ++i) x.Set(i, i == 40 ? -INFINITY : i == 41 ? -0.0 : std::exp(0.2 * i) / 997);
      c.p = 0;
      const Drawn none(c, key, x.view);
      ASSERT_TRUE(kReferenceBackend.apply(none.mask, Pass::kForward, x.view, y.view, Exec()).ok());
      EXPECT_EQ(y.bytes, x.bytes);
      c.p = 1;
      const Drawn all(c, key, x.view);
      ASSERT_TRUE(kReferenceBackend.apply(all.mask, Pass::kForward, x.view, y.view, Exec()).ok());
      for (int i = 0; i < 96; ++i) EXPECT_EQ(y.Get(i), -3.0) << i;
    }
  }
}

TEST(ReferenceApply, ABadProbabilityInMemoryMakesEveryOutputNaN) {
  const uint64_t key[2] = {1, 2};
  for (float p : {NAN, -0.1f, 1.5f}) {
    for (const char* text :
         {"dropblock:block=2,fill=noise", "drop_path:normalize=none", "dropout:over=plane,normalize=kept"}) {
      SCOPED_TRACE(text);
      const Case c = Parse(text);
      Tensor x(DenseView(nullptr, DType::kBF16, 2, 3, {4, 4})), y(x.view);
      MaskStorage storage;
      ASSERT_TRUE(storage.Reserve(c.spec, x.view).ok());
      ASSERT_TRUE(kReferenceBackend.sample(c.spec, Probability(&p), key, x.view, Exec(), &storage.mask).ok());
      EXPECT_EQ(*storage.mask.threshold, kBadThreshold);
      EXPECT_EQ(golden::DenseKeep(storage.mask), std::vector<uint8_t>(96, 1));
      for (int64_t i = 0; i < storage.mask.num_kept; ++i) EXPECT_EQ(storage.mask.kept[i], 96 / storage.mask.num_kept);
      for (Pass pass : {Pass::kForward, Pass::kBackward}) {
        ASSERT_TRUE(kReferenceBackend.apply(storage.mask, pass, x.view, y.view, Exec()).ok());
        for (int i = 0; i < 96; ++i) EXPECT_TRUE(std::isnan(y.Get(i))) << i;
      }
    }
  }
}

TEST(ReferenceApply, CountsSummedOverRanksGiveTheGainOfTheWholeBatch) {
  const Case c = Parse("dropout:normalize=kept@0.5");
  const uint64_t key[2] = {1, 2};
  const View x = DenseView(nullptr, DType::kF32, 2, 50, {});
  const Drawn drawn(c, key, x);
  int64_t summed = 150;
  drawn.mask.kept = &summed;
  drawn.mask.num_kept = 1;
  drawn.mask.total = 300;
  EXPECT_EQ(reference::GainAt(drawn.mask, Pass::kForward, 1, 7).a, 2.0);
}

}  // namespace
}  // namespace dropkit

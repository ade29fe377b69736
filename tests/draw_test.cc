// The library's own inline draws against the golden known answers, piece by piece.
#include "draw.h"

#include <gtest/gtest.h>

#include <bit>

#include "golden_reader.h"

namespace dropkit {
namespace {

using golden::DrawLines;
using golden::Line;

CallKey KeyOf(const std::vector<uint64_t>& words) {
  return {{static_cast<uint32_t>(words.at(0)), static_cast<uint32_t>(words.at(1))}};
}

TEST(DrawTest, PhiloxMeetsTheStandardsCheckValue) {
  EXPECT_EQ(Philox({{2499, 0, 0, 0}}, {{20111115, 0}}).word[3], 1955073260u);
}

TEST(DrawTest, Philox) {
  for (const Line& line : DrawLines("philox")) {
    SCOPED_TRACE(line.where());
    Words4 counter;
    for (int i = 0; i < 4; ++i) counter.word[i] = static_cast<uint32_t>(line.Numbers("counter").at(i));
    const Words4 words = Philox(counter, KeyOf(line.Numbers("key")));
    for (int i = 0; i < 4; ++i) EXPECT_EQ(words.word[i], line.Numbers("words").at(i));
  }
}

TEST(DrawTest, CallKeys) {
  for (const Line& line : DrawLines("call_key")) {
    SCOPED_TRACE(line.where());
    const CallKey key = MakeCallKey(line.Number("seed"), line.Number("offset"), static_cast<Tag>(line.Number("tag")));
    EXPECT_EQ((std::vector<uint64_t>{key.word[0], key.word[1]}), line.Numbers("key"));
  }
}

TEST(DrawTest, Thresholds) {
  for (const Line& line : DrawLines("threshold"))
    EXPECT_EQ(ThresholdOf(line.HexFloat("p")), line.Number("T")) << line.where();
  for (float p : {-1e-30f, 1.0000001f, -INFINITY, INFINITY, NAN}) EXPECT_EQ(ThresholdOf(p), kBadThreshold) << p;
}

TEST(DrawTest, PoissonTables) {
  for (const Line& line : DrawLines("table")) {
    SCOPED_TRACE(line.where());
    const LaneLaw law = MakeLaneLaw(line.Number("Q"));
    EXPECT_EQ(law.inverted, line.Number("inverted") != 0);
    EXPECT_EQ(law.digits, line.Number("D"));
    EXPECT_EQ(law.rest, line.Number("E"));
    EXPECT_EQ(static_cast<uint64_t>(law.rounds), line.Number("rounds"));
    const std::vector<uint64_t> thresholds =
        line.Has("thresholds") ? line.Numbers("thresholds") : std::vector<uint64_t>();
    ASSERT_EQ(static_cast<size_t>(law.num_thresholds), thresholds.size());
    for (size_t i = 0; i < thresholds.size(); ++i) EXPECT_EQ(law.threshold[i], thresholds[i]) << i;
  }
}

TEST(DrawTest, NormalsAndNoise) {
  for (const Line& line : DrawLines("normal")) {
    EXPECT_EQ(std::bit_cast<uint64_t>(NormalOf(static_cast<uint32_t>(line.Number("word")))),
              std::bit_cast<uint64_t>(line.Double("z")))
        << line.where();
  }
  for (const Line& line : DrawLines("noise")) {
    const CallKey key = MakeCallKey(line.Number("seed"), line.Number("offset"), Tag::kNoise);
    EXPECT_EQ(NoiseOf(key, line.Number("element"), line.Number("s")), line.Double("z")) << line.where();
  }
}

TEST(DrawTest, RatesOfEveryGoldenCase) {
  for (const Line& line : DrawLines("rates")) {
    SCOPED_TRACE(line.where());
    Spec spec;
    float p;
    ASSERT_TRUE(ParseCase(line.Text("case"), &spec, &p).ok());
    RateInfo info;
    const Status status = Rates(spec, p, golden::ShapeOf(line), &info);
    ASSERT_TRUE(status.ok()) << status.message();
    EXPECT_EQ(info.threshold, line.Number("T"));
    EXPECT_EQ(info.lane_threshold, line.Number("Q"));
    EXPECT_EQ(info.expected_drop, 1.0 - line.Double("expected_kept"));
  }
}

}  // namespace
}  // namespace dropkit

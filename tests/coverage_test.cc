// DropBlock and cutout against exact coverage: expected fractions, drawn fractions, single cells and pairs of cells.
//
// A cell is kept when none of the positions that cover it fires, so its probability is (1 - gamma)^coverage, and that
// of a pair (1 - gamma)^|union|. Dropped fractions of planes are independent, the cells of a plane are not: the
// standard error of a mean is taken over planes. Seeds are pinned. Independence of planes is in statistics_test.cc.
#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdio>
#include <string>
#include <vector>

#include "block_coverage.h"
#include "drawn_mask.h"

namespace dropkit::statistics {
namespace {

const std::vector<float> kProbabilities = {0.001f, 0.1f, 0.17f, 0.5f, 0.93f};
constexpr double kRounding = 4e-7;     // of Q / 2^32, times the largest coverage here and a margin
constexpr double kLeastCount = 100.0;  // below this a count is too skewed for a normal score

BlockCoverage SquareCoverage(const std::string& region, int64_t map, int64_t block) {
  const BlockAxis axis = region == "valid" ? ValidAxis(map, block) : WholeAxis(map, block);
  return BlockCoverage({axis, axis});
}

double PaperGamma(double p, int64_t map, int64_t block) {
  const double valid = static_cast<double>(map - block + 1), k = static_cast<double>(block);
  return p * static_cast<double>(map * map) / (k * k * valid * valid);
}

RateInfo RatesOf(const std::string& line, float p, int64_t map) {
  RateInfo info;
  Require(Rates(SpecOf(line), p, ShapeOf(1, 1, {map, map}), &info));
  return info;
}

// ---- expected fractions

// The dropped fractions that published rules of gamma give, as they are printed where the rules are compared.
struct PrintedRow {
  int64_t map, block;
  float p;
  const char *valid_paper, *whole_paper, *whole_plain, *calibrated_gamma;
};
constexpr PrintedRow kPrinted[] = {
    {7, 3, 0.10f, "0.0947", "0.1491", "0.0788", "0.02308"},  {7, 5, 0.10f, "0.0947", "0.3107", "0.0663", "0.02308"},
    {7, 7, 0.10f, "0.1000", "0.9300", "0.0554", "0.10000"},  {14, 5, 0.10f, "0.0938", "0.1511", "0.0802", "0.00840"},
    {14, 7, 0.10f, "0.0929", "0.2092", "0.0740", "0.00676"}, {28, 7, 0.10f, "0.0939", "0.1329", "0.0843", "0.00353"},
    {56, 7, 0.10f, "0.0946", "0.1112", "0.0897", "0.00271"}, {14, 7, 0.25f, "0.2095", "0.4413", "0.1745", "0.01940"},
    {7, 3, 0.50f, "0.3851", "0.5634", "0.3404", "0.15708"},  {14, 7, 0.50f, "0.3582", "0.6828", "0.3174", "0.05264"},
};

std::string Digits(double value, int digits) {
  char text[32];
  std::snprintf(text, sizeof(text), "%.*f", digits, value);
  return text;
}

TEST(Coverage, ExpectedFractionsAreThePrintedOnes) {
  for (const PrintedRow& row : kPrinted) {
    SCOPED_TRACE(testing::Message() << row.map << " " << row.block << " " << row.p);
    const BlockCoverage valid = SquareCoverage("valid", row.map, row.block);
    const BlockCoverage whole = SquareCoverage("whole", row.map, row.block);
    const std::string line = "dropblock:block=" + std::to_string(row.block);
    const double paper = PaperGamma(row.p, row.map, row.block),
                 plain = row.p / static_cast<double>(row.block * row.block);
    EXPECT_EQ(Digits(valid.ExpectedDrop(paper), 4), row.valid_paper);
    EXPECT_EQ(Digits(whole.ExpectedDrop(paper), 4), row.whole_paper);
    EXPECT_EQ(Digits(whole.ExpectedDrop(plain), 4), row.whole_plain);
    EXPECT_EQ(Digits(valid.GammaFor(row.p), 5), row.calibrated_gamma);
    EXPECT_EQ(Digits(RatesOf(line, row.p, row.map).expected_drop, 4), row.valid_paper);
    EXPECT_EQ(Digits(RatesOf(line + ",region=whole", row.p, row.map).expected_drop, 4), row.whole_paper);
    EXPECT_EQ(Digits(RatesOf(line + ",region=whole,rate=plain", row.p, row.map).expected_drop, 4), row.whole_plain);
    EXPECT_EQ(Digits(RatesOf(line + ",rate=calibrated", row.p, row.map).gamma, 5), row.calibrated_gamma);
  }
}

// ---- drawn fractions

struct SquareCase {
  std::string region;
  int64_t map, block;
  std::string Line(const std::string& rate) const {
    return "dropblock:block=" + std::to_string(block) + ",region=" + region + ",rate=" + rate;
  }
};

std::vector<SquareCase> SquareCases() {
  std::vector<SquareCase> cases;
  for (const char* region : {"valid", "whole"}) {
    for (int64_t map : {7, 14, 28, 56}) {
      for (int64_t block : {2, 3, 5, 7}) cases.push_back({region, map, block});
    }
  }
  return cases;
}

std::vector<double> FractionsOfPlanes(const DrawnMask& drawn, int64_t cells) {
  std::vector<double> fractions;
  for (int64_t bit = 0; bit < drawn.size(); bit += cells) {
    fractions.push_back(static_cast<double>(drawn.CountDropped(bit, bit + cells)) / static_cast<double>(cells));
  }
  return fractions;
}

void ExpectDrawnFraction(const std::string& line, float p, int64_t map, double expected, uint64_t seed) {
  SCOPED_TRACE(testing::Message() << line << "@" << p << " on " << map);
  constexpr int64_t kElements = 3 << 20;
  const int64_t cells = map * map, channels = 32;
  const DrawnMask drawn(line, p, {seed, 1}, ShapeOf(kElements / (cells * channels), channels, {map, map}));
  EXPECT_NEAR(drawn.rates().expected_drop, expected, kRounding);
  const MeanAndError drop = MeanOf(FractionsOfPlanes(drawn, cells));
  EXPECT_LT(std::fabs(drop.mean - expected), kSigmas * drop.error + kRounding);
}

TEST(Coverage, CalibratedDropsTheFractionAskedFor) {
  uint64_t seed = 100;
  for (const SquareCase& square : SquareCases()) {
    for (float p : kProbabilities) ExpectDrawnFraction(square.Line("calibrated"), p, square.map, p, ++seed);
  }
}

TEST(Coverage, PaperDropsWhatCoverageGives) {
  uint64_t seed = 1000;
  for (const SquareCase& square : SquareCases()) {
    const BlockCoverage coverage = SquareCoverage(square.region, square.map, square.block);
    for (float p : kProbabilities) {
      const double expected = coverage.ExpectedDrop(PaperGamma(p, square.map, square.block));
      ExpectDrawnFraction(square.Line("paper"), p, square.map, expected, ++seed);
    }
  }
}

// ---- cells and pairs of cells

// For every cell a bit per plane: whether the plane keeps it.
class CellColumns {
 public:
  CellColumns(const DrawnMask& drawn, int64_t cells) : planes_(drawn.size() / cells) {
    columns_.assign(cells, std::vector<uint64_t>((planes_ + 63) / 64, 0));
    for (int64_t plane = 0; plane < planes_; ++plane) {
      for (int64_t cell = 0; cell < cells; cell += 64) {
        uint64_t kept = drawn.Word(plane * cells + cell);
        for (int64_t i = cell; i < std::min(cells, cell + 64); ++i, kept >>= 1) {
          columns_[i][plane / 64] |= (kept & 1) << (plane % 64);
        }
      }
    }
  }
  double planes() const { return static_cast<double>(planes_); }
  double BothKept(int64_t cell, int64_t other) const {
    int64_t count = 0;
    for (size_t i = 0; i < columns_[cell].size(); ++i) {
      count += std::popcount(columns_[cell][i] & columns_[other][i]);
    }
    return static_cast<double>(count);
  }

 private:
  int64_t planes_;
  std::vector<std::vector<uint64_t>> columns_;
};

struct PairCase {
  const char* line;
  float p;
  std::vector<BlockAxis> axes;
};
std::vector<PairCase> PairCases() {
  return {
      {"dropblock:block=3,rate=calibrated", 0.1f, {ValidAxis(7, 3), ValidAxis(7, 3)}},
      {"dropblock:block=7,rate=calibrated", 0.5f, {ValidAxis(14, 7), ValidAxis(14, 7)}},
      {"dropblock:block=5,region=whole", 0.1f, {WholeAxis(9, 5), WholeAxis(9, 5)}},
      {"dropblock:block=2,region=whole", 0.17f, {WholeAxis(7, 2), WholeAxis(7, 2)}},
      {"dropblock:block=4,region=whole,anchor=after", 0.3f, {WholeAxis(7, 4, true), WholeAxis(7, 4, true)}},
      {"dropblock:block=3x5,region=whole", 0.2f, {WholeAxis(9, 3), WholeAxis(6, 5)}},
      {"dropblock:block=2x3,rate=calibrated", 0.93f, {ValidAxis(5, 2), ValidAxis(8, 3)}},
      {"dropblock:block=7,rate=calibrated", 0.2f, {ValidAxis(40, 7)}},
      {"dropblock:block=2x3x2,region=whole", 0.2f, {WholeAxis(3, 2), WholeAxis(4, 3), WholeAxis(5, 2)}},
  };
}

View PairShape(const PairCase& c) {
  std::vector<int64_t> sizes;
  for (const BlockAxis& axis : c.axes) sizes.push_back(axis.size);
  return ShapeOf(64, 1024, sizes);
}

TEST(Coverage, CellsAndPairsAreKeptAsTheirCoverageSays) {
  uint64_t seed = 2000;
  for (const PairCase& c : PairCases()) {
    SCOPED_TRACE(testing::Message() << c.line << "@" << c.p);
    const BlockCoverage coverage(c.axes);
    const DrawnMask drawn(c.line, c.p, {++seed, 0}, PairShape(c));
    const CellColumns columns(drawn, coverage.cells());
    const double keep = 1.0 - drawn.rates().gamma;
    int judged = 0;
    EXPECT_EQ(drawn.rates().lanes, 1024 * coverage.positions());
    for (int64_t cell = 0; cell < coverage.cells(); ++cell) {
      for (int64_t other = 0; other <= cell; ++other) {
        const double both = std::pow(keep, coverage.Union(cell, other));
        if (columns.planes() * std::min(both, 1.0 - both) < kLeastCount) continue;
        ++judged;
        const double score = BinomialScore(columns.BothKept(cell, other), columns.planes(), both);
        EXPECT_LT(std::fabs(score), kMaxSigmas) << "cells " << cell << " and " << other;
      }
    }
    EXPECT_GT(judged, 3 * coverage.cells());
  }
}

// x' C^-1 x for a positive definite C, by Cholesky's factor.
double Mahalanobis(std::vector<std::vector<double>> c, std::vector<double> x) {
  double sum = 0.0;
  for (size_t i = 0; i < x.size(); ++i) {
    for (size_t j = 0; j <= i; ++j) {
      for (size_t k = 0; k < j; ++k) c[i][j] -= c[i][k] * c[j][k];
      c[i][j] = i == j ? std::sqrt(c[i][i]) : c[i][j] / c[j][j];
    }
    for (size_t j = 0; j < i; ++j) x[i] -= c[i][j] * x[j];
    x[i] /= c[i][i];
    sum += x[i] * x[i];
  }
  return sum;
}

// All cells at once: their counts are correlated, with covariances known exactly.
TEST(Coverage, AllCellsTogetherAreChiSquare) {
  uint64_t seed = 3000;
  for (const PairCase& c : PairCases()) {
    SCOPED_TRACE(testing::Message() << c.line << "@" << c.p);
    const BlockCoverage coverage(c.axes);
    const DrawnMask drawn(c.line, c.p, {++seed, 0}, PairShape(c));
    const CellColumns columns(drawn, coverage.cells());
    const double keep = 1.0 - drawn.rates().gamma;
    std::vector<std::vector<double>> covariance(coverage.cells(), std::vector<double>(coverage.cells()));
    std::vector<double> excess(coverage.cells());
    for (int64_t i = 0; i < coverage.cells(); ++i) {
      excess[i] = columns.BothKept(i, i) - columns.planes() * std::pow(keep, coverage.Coverage(i));
      for (int64_t j = 0; j < coverage.cells(); ++j) {
        const double apart = std::pow(keep, coverage.Coverage(i) + coverage.Coverage(j));
        covariance[i][j] = columns.planes() * (std::pow(keep, coverage.Union(i, j)) - apart);
      }
    }
    const double score = ChiSquareScore(Mahalanobis(covariance, excess), static_cast<double>(coverage.cells()));
    EXPECT_LT(std::fabs(score), kSigmas);
  }
}

// ---- cutout

struct CutoutCase {
  int64_t size, holes;
  bool valid;
  float p;
};

TEST(Coverage, CutoutDropsEveryCellAsItsCoverageSays) {
  uint64_t seed = 4000;
  for (const CutoutCase& c : std::vector<CutoutCase>{{5, 1, false, 1.0f},
                                                     {5, 3, false, 1.0f},
                                                     {5, 1, true, 1.0f},
                                                     {5, 3, true, 1.0f},
                                                     {4, 1, false, 0.5f},
                                                     {4, 3, false, 0.3f},
                                                     {4, 3, true, 0.5f},
                                                     {20, 1, false, 0.3f}}) {
    SCOPED_TRACE(testing::Message() << "size " << c.size << " holes " << c.holes << " valid " << c.valid << " p "
                                    << c.p);
    const std::string line = "cutout:size=" + std::to_string(c.size) + ",holes=" + std::to_string(c.holes) +
                             ",region=" + (c.valid ? "valid" : "whole");
    const BlockCoverage coverage(c.valid ? std::vector<BlockAxis>{ValidAxis(11, c.size), ValidAxis(8, c.size)}
                                         : std::vector<BlockAxis>{CutoutAxis(11, c.size), CutoutAxis(8, c.size)});
    const DrawnMask drawn(line, c.p, {++seed, 0}, ShapeOf(1 << 16, 1, {11, 8}));
    const CellColumns columns(drawn, coverage.cells());
    double expected = 0.0;
    for (int64_t cell = 0; cell < coverage.cells(); ++cell) {
      const double hit = drawn.rates().gamma * coverage.Coverage(cell) / static_cast<double>(coverage.positions());
      const double kept = std::pow(1.0 - hit, static_cast<double>(c.holes));
      expected += (1.0 - kept) / static_cast<double>(coverage.cells());
      const double score = BinomialScore(columns.BothKept(cell, cell), columns.planes(), kept);
      EXPECT_LT(std::fabs(score), kMaxSigmas) << "cell " << cell;
    }
    EXPECT_NEAR(drawn.rates().expected_drop, expected, kRounding);
    const MeanAndError drop = MeanOf(FractionsOfPlanes(drawn, coverage.cells()));
    // With one hole that always lies inside, every sample drops as much.
    EXPECT_LE(std::fabs(drop.mean - expected), kSigmas * drop.error + 1e-12);
  }
}

}  // namespace
}  // namespace dropkit::statistics

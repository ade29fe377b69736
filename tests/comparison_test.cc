// The rows behind the table and the report, against figures worked out by hand.
#include "cli/train/comparison.h"

#include <gtest/gtest.h>

#include <cmath>

namespace dropkit::cli {
namespace {

RunResult MakeRun(const std::string& method, uint64_t seed, double clean) {
  RunResult run;
  run.method = method;
  run.spec = method.starts_with("none") ? "" : method;
  run.seed = seed;
  run.train = clean + 1;
  run.clean = clean;
  run.erased = {{6, clean - 10}, {14, clean - 20}};
  run.sec_per_epoch = 2;
  return run;
}

// The rows as "method|base|count|clean".
std::vector<std::string> CleanRows(const Comparison& comparison) {
  std::vector<std::string> rows;
  for (const ComparisonRow& row : comparison.rows)
    rows.push_back(row.method + "|" + row.base + "|" + std::to_string(row.count) + "|" + CellText(row, 1));
  return rows;
}

TEST(Comparison, PairsBySeedAndSkipsTheOthers) {
  // Seed 2 of dropout has no partner; the order of the seeds differs.
  const std::vector<RunResult> results = {MakeRun("none", 0, 80),    MakeRun("none", 1, 82),
                                          MakeRun("dropout", 1, 83), MakeRun("dropout", 0, 84),
                                          MakeRun("dropout", 2, 97), MakeRun("none-5", 1, 70)};
  EXPECT_EQ(CleanRows(Compare(results)),
            (std::vector<std::string>{"none||2|81.00+-1.41", "dropout||3|88.00+-7.81", "dropout|none|2|+2.50+-2.12",
                                      "dropout|none-5|1|+13.00", "none-5||1|70.00", "none-5|none|1|-12.00"}));
}

TEST(Comparison, ComparesAccuraciesOnly) {
  const Comparison comparison = Compare({MakeRun("none", 0, 80), MakeRun("dropout", 0, 84)});
  EXPECT_EQ(comparison.columns, (std::vector<std::string>{"train", "clean", "erased 6", "erased 14", "s/epoch"}));
  ASSERT_EQ(comparison.rows.size(), 3u);
  std::vector<std::string> cells;
  for (size_t i = 0; i < comparison.columns.size(); ++i) cells.push_back(CellText(comparison.rows[2], i));
  EXPECT_EQ(cells, (std::vector<std::string>{"", "+4.00", "+4.00", "+4.00", ""}));
}

TEST(Comparison, NoSeedInCommonComparesNothing) {
  const Comparison comparison = Compare({MakeRun("none", 0, 80), MakeRun("dropout", 1, 84)});
  ASSERT_EQ(comparison.rows.size(), 3u);
  EXPECT_EQ(comparison.rows[2].count, 0u);
  for (const auto& cell : comparison.rows[2].cells) EXPECT_FALSE(cell);
}

TEST(Comparison, TextTableIsItsRows) {
  const std::vector<RunResult> results = {MakeRun("none", 0, 80), MakeRun("none", 1, 82), MakeRun("dropout", 1, 83)};
  EXPECT_EQ(Table(results),
            "method        n        train        clean     erased 6    erased 14     s/epoch\n"
            "none          2  82.00+-1.41  81.00+-1.41  71.00+-1.41  61.00+-1.41  2.00+-0.00\n"
            "dropout       1        84.00        83.00        73.00        63.00        2.00\n"
            "  minus none  1                     +1.00        +1.00        +1.00\n");
  EXPECT_EQ(Table({}), "");
  EXPECT_TRUE(Compare({}).rows.empty());
}

TEST(Statistics, OfTheSample) {
  const Statistics three({1, 2, 6});
  EXPECT_DOUBLE_EQ(three.mean, 3);
  EXPECT_DOUBLE_EQ(*three.deviation, std::sqrt(7.0));
  EXPECT_EQ(three.low, 1);
  EXPECT_EQ(three.high, 6);
  EXPECT_FALSE(Statistics({4}).deviation);
}

}  // namespace
}  // namespace dropkit::cli

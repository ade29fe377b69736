// What a job's results say, method by method: means, deviations, and differences paired by seed.
// The one source of the text table (results.cc), of the report's table and of its plots; nothing else averages.
#ifndef DROPKIT_CLI_TRAIN_COMPARISON_H_
#define DROPKIT_CLI_TRAIN_COMPARISON_H_

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "cli/train/results.h"

namespace dropkit::cli {

using Runs = std::vector<const RunResult*>;

// Runs by method, in the order in which the methods first appear; of `results`, which must outlive them.
std::vector<Runs> ByMethod(const std::vector<RunResult>& results);

// At least one value. One alone has no deviation.
struct Statistics {
  explicit Statistics(std::vector<double> values);
  std::vector<double> values;  // one a seed
  double mean, low, high;
  std::optional<double> deviation;  // of the sample
};

struct ComparisonRow {
  std::string method, base;                      // base empty: the method's own figures; else its differences to base
  size_t count;                                  // of runs; for differences, of the seeds that both have
  std::vector<std::optional<Statistics>> cells;  // one a column; nothing where there is nothing to compare
};

// A row a method and below it the differences to `none`, and to none-N where there is one.
struct Comparison {
  std::vector<std::string> columns;
  std::vector<ComparisonRow> rows;
};

Comparison Compare(const std::vector<RunResult>& results);

// "86.50+-0.31", "-0.42+-0.20" in a row of differences, and without the deviation for one value; empty for no value.
std::string CellText(const ComparisonRow& row, size_t column);

}  // namespace dropkit::cli

#endif  // DROPKIT_CLI_TRAIN_COMPARISON_H_

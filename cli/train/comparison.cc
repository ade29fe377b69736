// Plain two-pass means and deviations; a column is a title and a function of a run.
#include "cli/train/comparison.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <functional>
#include <utility>

namespace dropkit::cli {
namespace {

struct Column {
  std::string title;
  std::function<double(const RunResult&)> value;
  bool compared;  // has a difference to `none`
};

std::vector<Column> Columns(const RunResult& any) {
  std::vector<Column> columns = {{"train", [](const RunResult& r) { return r.train; }, false},
                                 {"clean", [](const RunResult& r) { return r.clean; }, true}};
  for (const auto& [side, unused] : any.erased) {
    columns.push_back(
        {"erased " + std::to_string(side), [side = side](const RunResult& r) { return r.erased.at(side); }, true});
  }
  if (any.locmax) columns.push_back({"locmax", [](const RunResult& r) { return r.locmax.value_or(NAN); }, true});
  columns.push_back({"s/epoch", [](const RunResult& r) { return r.sec_per_epoch; }, false});
  return columns;
}

std::string Format(const char* format, double value) {
  char text[64];
  std::snprintf(text, sizeof text, format, value);
  return text;
}

bool IsNone(const Runs& runs) { return runs[0]->spec.empty(); }

ComparisonRow OwnRow(const Runs& runs, const std::vector<Column>& columns) {
  ComparisonRow row{runs[0]->method, "", runs.size(), {}};
  for (const Column& column : columns) {
    std::vector<double> values;
    for (const RunResult* run : runs) values.push_back(column.value(*run));
    row.cells.emplace_back(Statistics(std::move(values)));
  }
  return row;
}

// Differences over the seeds that both have.
std::vector<double> Paired(const Runs& runs, const Runs& base, const Column& column) {
  std::vector<double> differences;
  for (const RunResult* run : runs) {
    for (const RunResult* other : base) {
      if (run->seed == other->seed) differences.push_back(column.value(*run) - column.value(*other));
    }
  }
  return differences;
}

ComparisonRow DifferenceRow(const Runs& runs, const Runs& base, const std::vector<Column>& columns) {
  ComparisonRow row{runs[0]->method, base[0]->method, 0, {}};
  for (const Column& column : columns) {
    std::vector<double> differences = Paired(runs, base, column);
    row.count = differences.size();
    row.cells.emplace_back();
    if (column.compared && !differences.empty()) row.cells.back().emplace(std::move(differences));
  }
  return row;
}

}  // namespace

std::vector<Runs> ByMethod(const std::vector<RunResult>& results) {
  std::vector<Runs> groups;
  for (const RunResult& result : results) {
    const auto group =
        std::find_if(groups.begin(), groups.end(), [&](const Runs& runs) { return runs[0]->method == result.method; });
    if (group == groups.end()) {
      groups.push_back({&result});
    } else {
      group->push_back(&result);
    }
  }
  return groups;
}

Statistics::Statistics(std::vector<double> given) : values(std::move(given)), mean(0) {
  double squares = 0;
  for (const double value : values) mean += value / static_cast<double>(values.size());
  for (const double value : values) squares += (value - mean) * (value - mean);
  low = *std::min_element(values.begin(), values.end());
  high = *std::max_element(values.begin(), values.end());
  if (values.size() > 1) deviation = std::sqrt(squares / static_cast<double>(values.size() - 1));
}

Comparison Compare(const std::vector<RunResult>& results) {
  Comparison comparison;
  if (results.empty()) return comparison;
  const std::vector<Column> columns = Columns(results[0]);
  for (const Column& column : columns) comparison.columns.push_back(column.title);
  const std::vector<Runs> groups = ByMethod(results);
  for (const Runs& runs : groups) {
    comparison.rows.push_back(OwnRow(runs, columns));
    for (const Runs& base : groups) {
      const bool itself = &base == &runs || (IsNone(runs) && base[0]->method != "none");
      if (IsNone(base) && !itself) comparison.rows.push_back(DifferenceRow(runs, base, columns));
    }
  }
  return comparison;
}

std::string CellText(const ComparisonRow& row, size_t column) {
  const std::optional<Statistics>& cell = row.cells[column];
  if (!cell) return "";
  const std::string mean = Format(row.base.empty() ? "%.2f" : "%+.2f", cell->mean);
  return cell->deviation ? mean + "+-" + Format("%.2f", *cell->deviation) : mean;
}

}  // namespace dropkit::cli

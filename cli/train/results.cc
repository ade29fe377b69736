// Result files and the table. DROPKIT_COMMIT is defined by the build where it knows the commit.
#include "cli/train/results.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <functional>
#include <nlohmann/json.hpp>
#include <sstream>

#include "cli/file.h"

#ifndef DROPKIT_COMMIT
#define DROPKIT_COMMIT "unknown"
#endif

namespace dropkit::cli {
namespace {

using nlohmann::json;

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

using Runs = std::vector<const RunResult*>;

// Runs by method, in the order in which the methods first appear.
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

std::string Format(const char* format, double value) {
  char text[64];
  std::snprintf(text, sizeof text, format, value);
  return text;
}

// "mean+-sd"; one value has no sd.
std::string Summary(const std::vector<double>& values, const char* format) {
  double mean = 0, squares = 0;
  for (const double value : values) mean += value / values.size();
  for (const double value : values) squares += (value - mean) * (value - mean);
  if (values.size() < 2) return Format(format, mean);
  return Format(format, mean) + "+-" + Format("%.2f", std::sqrt(squares / (values.size() - 1)));
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

std::vector<std::string> Row(const Runs& runs, const std::vector<Column>& columns) {
  std::vector<std::string> cells = {runs[0]->method, std::to_string(runs.size())};
  for (const Column& column : columns) {
    std::vector<double> values;
    for (const RunResult* run : runs) values.push_back(column.value(*run));
    cells.push_back(Summary(values, "%.2f"));
  }
  return cells;
}

std::vector<std::string> DifferenceRow(const Runs& runs, const Runs& base, const std::vector<Column>& columns) {
  std::vector<std::string> cells = {"  minus " + base[0]->method, ""};
  for (const Column& column : columns) {
    const std::vector<double> differences = Paired(runs, base, column);
    cells[1] = std::to_string(differences.size());
    cells.push_back(column.compared && !differences.empty() ? Summary(differences, "%+.2f") : "");
  }
  return cells;
}

// The first column is set left, the others right.
std::string Layout(const std::vector<std::vector<std::string>>& rows) {
  std::vector<size_t> widths(rows[0].size(), 0);
  for (const auto& row : rows) {
    for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  std::string text;
  for (const auto& row : rows) {
    std::string line = row[0] + std::string(widths[0] - row[0].size(), ' ');
    for (size_t i = 1; i < row.size(); ++i) line += "  " + std::string(widths[i] - row[i].size(), ' ') + row[i];
    text += line.substr(0, line.find_last_not_of(' ') + 1) + "\n";
  }
  return text;
}

bool IsNone(const Runs& runs) { return runs[0]->spec.empty(); }

std::string Csv(const std::vector<RunResult>& results) {
  std::ostringstream csv;
  csv << "task,method,p,seed,epochs,train,clean";
  if (!results.empty()) {
    for (const auto& [side, unused] : results[0].erased) csv << ",erased_" << side;
    if (results[0].locmax) csv << ",locmax";
  }
  csv << ",sec_per_epoch,weights,commit,spec\n";
  csv.precision(10);
  for (const RunResult& r : results) {
    // Spec lines hold commas but no quotes.
    csv << r.task << ",\"" << r.method << "\"," << r.p << ',' << r.seed << ',' << r.epochs << ',' << r.train << ','
        << r.clean;
    for (const auto& [side, accuracy] : r.erased) csv << ',' << accuracy;
    if (r.locmax) csv << ',' << *r.locmax;
    csv << ',' << r.sec_per_epoch << ',' << r.weights << ',' << r.commit << ",\"" << r.spec << "\"\n";
  }
  return csv.str();
}

void WriteText(const std::string& path, const std::string& text) {
  ReplaceFile(path, [&](std::FILE* file) { std::fwrite(text.data(), 1, text.size(), file); });
}

}  // namespace

json ToJson(const std::vector<EpochPoint>& curve) {
  json list = json::array();
  for (const EpochPoint& point : curve) list.push_back({{"train", point.train}, {"clean", point.clean}});
  return list;
}

std::vector<EpochPoint> CurveFromJson(const json& list) {
  std::vector<EpochPoint> curve;
  for (const json& point : list) curve.push_back({point.at("train"), point.at("clean")});
  return curve;
}

json ToJson(const RunResult& result) {
  json erased = json::object();
  for (const auto& [side, accuracy] : result.erased) erased[std::to_string(side)] = accuracy;
  json object = {{"task", result.task},
                 {"method", result.method},
                 {"spec", result.spec},
                 {"p", result.p},
                 {"seed", result.seed},
                 {"epochs", result.epochs},
                 {"train", result.train},
                 {"clean", result.clean},
                 {"erased", erased},
                 {"commit", result.commit},
                 {"weights", result.weights},
                 {"sec_per_epoch", result.sec_per_epoch},
                 {"curve", ToJson(result.curve)}};
  if (result.locmax) object["locmax"] = *result.locmax;
  return object;
}

RunResult FromJson(const json& object) {
  RunResult result;
  result.task = object.at("task");
  result.method = object.at("method");
  result.spec = object.at("spec");
  result.p = object.at("p");
  result.seed = object.at("seed");
  result.epochs = object.at("epochs");
  result.train = object.at("train");
  result.clean = object.at("clean");
  for (const auto& [side, accuracy] : object.at("erased").items()) result.erased[std::stoi(side)] = accuracy;
  if (object.contains("locmax")) result.locmax = object.at("locmax").get<double>();
  result.sec_per_epoch = object.at("sec_per_epoch");
  if (object.contains("curve")) result.curve = CurveFromJson(object.at("curve"));
  result.weights = object.at("weights");
  result.commit = object.at("commit");
  return result;
}

void WriteResults(const std::string& directory, const std::vector<RunResult>& results) {
  json list = json::array();
  for (const RunResult& result : results) list.push_back(ToJson(result));
  WriteText(directory + "/results.json", list.dump(1) + "\n");
  WriteText(directory + "/results.csv", Csv(results));
}

void RemoveResults(const std::string& directory) {
  for (const char* name : {"/results.json", "/results.csv", "/report.html"}) std::remove((directory + name).c_str());
}

std::string Table(const std::vector<RunResult>& results) {
  if (results.empty()) return "";
  const std::vector<Column> columns = Columns(results[0]);
  const std::vector<Runs> groups = ByMethod(results);
  std::vector<std::vector<std::string>> rows = {{"method", "n"}};
  for (const Column& column : columns) rows[0].push_back(column.title);
  for (const Runs& runs : groups) {
    rows.push_back(Row(runs, columns));
    for (const Runs& base : groups) {
      const bool itself = &base == &runs || (IsNone(runs) && base[0]->method != "none");
      if (IsNone(base) && !itself) rows.push_back(DifferenceRow(runs, base, columns));
    }
  }
  return Layout(rows);
}

}  // namespace dropkit::cli

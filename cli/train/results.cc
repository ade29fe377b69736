// Result files, each replaced at once, and the table for people.
#include "cli/train/results.h"

#include <algorithm>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <sstream>

#include "cli/file.h"
#include "cli/train/comparison.h"

namespace dropkit::cli {
namespace {

using nlohmann::json;

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
  ReplaceFile(directory + "/results.json", list.dump(1) + "\n");
  ReplaceFile(directory + "/results.csv", Csv(results));
}

void RemoveResults(const std::string& directory) {
  for (const char* name : {"/results.json", "/results.csv", "/report.html"}) std::remove((directory + name).c_str());
}

std::string Table(const std::vector<RunResult>& results) {
  if (results.empty()) return "";
  const Comparison comparison = Compare(results);
  std::vector<std::vector<std::string>> rows = {{"method", "n"}};
  rows[0].insert(rows[0].end(), comparison.columns.begin(), comparison.columns.end());
  for (const ComparisonRow& row : comparison.rows) {
    rows.push_back({row.base.empty() ? row.method : "  minus " + row.base, std::to_string(row.count)});
    for (size_t i = 0; i < row.cells.size(); ++i) rows.back().push_back(CellText(row, i));
  }
  return Layout(rows);
}

}  // namespace dropkit::cli

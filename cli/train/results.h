// What a run gave, its three forms (JSON, CSV, a table for people), and the comparisons paired by seed.
// Accuracies are in per cent. Assumes nothing about how runs are made.
#ifndef DROPKIT_CLI_TRAIN_RESULTS_H_
#define DROPKIT_CLI_TRAIN_RESULTS_H_

#include <cstdint>
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

namespace dropkit::cli {

// The curves' clean accuracy is measured after every epoch, so on the first of the test images only.
inline constexpr int64_t kCurveImages = 1000;

struct EpochPoint {
  double train = 0;  // running accuracy of the epoch, drops on
  double clean = 0;  // of the first min(kCurveImages, test size) clean test images after it
};

struct RunResult {
  std::string task;
  std::string method;  // as asked for on the command line
  std::string spec;    // the full spec line; empty for none
  double p = 0;
  uint64_t seed = 0;
  int epochs = 0;
  double train = 0;  // running accuracy of the last epoch, drops on
  double clean = 0;
  std::map<int, double> erased;  // by side of the square
  std::optional<double> locmax;  // scenes: share of items that the class activation map finds
  double sec_per_epoch = 0;
  std::vector<EpochPoint> curve;  // a point an epoch; empty where not all were kept
  std::string weights;            // hash of the final weights
  std::string commit;
};

nlohmann::json ToJson(const RunResult& result);
nlohmann::json ToJson(const std::vector<EpochPoint>& curve);
// Both throw what nlohmann::json throws. A result without a curve is of a version that kept none.
RunResult FromJson(const nlohmann::json& object);
std::vector<EpochPoint> CurveFromJson(const nlohmann::json& list);

// results.json (a list) and results.csv in `directory`; throws std::runtime_error.
void WriteResults(const std::string& directory, const std::vector<RunResult>& results);

// Takes both files and the page made of them (report.h) away, where they are.
void RemoveResults(const std::string& directory);

// A row a method with mean +- sample standard deviation over seeds, and below it the difference to `none`, and to
// none-N where there is one, over the seeds that both have.
std::string Table(const std::vector<RunResult>& results);

}  // namespace dropkit::cli

#endif  // DROPKIT_CLI_TRAIN_RESULTS_H_

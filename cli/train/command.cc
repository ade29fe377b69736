// `dropkit train`: options, the list of runs, and the report. Free of torch; trainer.h does the work of one run.
// Everything that can be wrong with the command line or the data is found before the first run starts. Runs go seed by
// seed, so that a job that is stopped early leaves paired results.
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <optional>
#include <set>
#include <stdexcept>

#include "cli/commands.h"
#include "cli/number.h"
#include "cli/train/results.h"
#include "cli/train/task.h"
#include "cli/train/trainer.h"
#include "src/nearest.h"

namespace dropkit::cli {
namespace {

constexpr int kFailed = 1;
constexpr uint64_t kMaxEpochs = 1000000;
constexpr uint64_t kMaxThreads = 1024;
constexpr double kChance = 100.0 / kClasses;

struct Options {
  std::string task = "scenes", data = kDefaultData, out, device = "cpu";
  std::vector<std::string> methods;
  std::string seeds = "0,1,2", epochs, train_size, test_size, threads;  // empty: the task's, or torch's, own
  bool resume = false;
};

const Task& FindTask(const std::string& name) {
  std::vector<std::string> names;
  for (const Task& task : Tasks()) {
    if (task.name == name) return task;
    names.push_back(task.name);
  }
  throw CLI::ValidationError("--task", "'" + name + "'" + DidYouMean(name, names) + " scenes and fashion are allowed");
}

int64_t NumberOr(const char* option, const std::string& text, int64_t otherwise, uint64_t largest) {
  return text.empty() ? otherwise : static_cast<int64_t>(ReadNumber(option, text, largest));
}

std::vector<uint64_t> ParseSeeds(const std::string& text) {
  std::vector<uint64_t> seeds;
  for (size_t start = 0, end = 0; end != std::string::npos; start = end + 1) {
    end = text.find(',', start);
    seeds.push_back(
        ReadNumber("--seeds", text.substr(start, end == std::string::npos ? end : end - start), UINT64_MAX));
    if (std::count(seeds.begin(), seeds.end(), seeds.back()) > 1) {
      throw CLI::ValidationError("--seeds", std::to_string(seeds.back()) + " is given twice");
    }
  }
  return seeds;
}

// none, none-N (none with N epochs), or a case line.
MethodCase ParseMethod(const std::string& text) {
  MethodCase method;
  method.name = text;
  if (text == "none") return method;
  if (text.starts_with("none-")) {
    method.epochs = static_cast<int>(ReadNumber("--methods none-N", text.substr(5), kMaxEpochs));
    if (method.epochs == 0) throw CLI::ValidationError("--methods", "'none-0': none-N trains N epochs, N at least 1");
    return method;
  }
  method.none = false;
  const Status status = ParseCase(text, &method.spec, &method.p);
  if (!status.ok()) throw CLI::ValidationError("--methods", status.message() + "; none and none-N are allowed too");
  return method;
}

std::vector<MethodCase> ParseMethods(const Options& options, const Task& task, int epochs) {
  std::vector<MethodCase> methods;
  for (const std::string& text : options.methods.empty() ? task.methods : options.methods) {
    const MethodCase method = ParseMethod(text);
    // Among the defaults, none-N stands for stopping early.
    if (options.methods.empty() && method.epochs > 0 && method.epochs >= epochs) continue;
    if (std::any_of(methods.begin(), methods.end(), [&](const MethodCase& other) { return other.name == text; })) {
      throw CLI::ValidationError("--methods", "'" + text + "' is given twice");
    }
    methods.push_back(method);
  }
  return methods;
}

std::string CheckpointPath(const Options& options, const Task& task, const MethodCase& method, uint64_t seed) {
  if (options.out.empty()) return "";
  std::string name = task.name + "-" + method.name + "-seed" + std::to_string(seed) + ".safetensors";
  // ':' and ',' are not welcome in file names everywhere.
  std::replace_if(
      name.begin(), name.end(), [](char c) { return c == ':' || c == ',' || c == '/' || c == ' '; }, '-');
  return (std::filesystem::path(options.out) / name).string();
}

struct TrainJob {
  const Task* task;
  std::vector<MethodCase> methods;
  std::vector<uint64_t> seeds;
  RunSettings common;  // what all runs share
  Dataset dataset;
};

void CheckDevice(const std::string& device) {
  if (device == "cpu") return;
  const bool cuda = device.starts_with("cuda");
  throw CLI::ValidationError(
      "--device", "'" + device + "': " + (cuda ? "training on CUDA does not exist yet; " : "") + "cpu is allowed");
}

void MakeDirectory(const std::string& path) {
  std::error_code error;
  std::filesystem::create_directories(path, error);
  if (!std::filesystem::is_directory(path))
    throw std::runtime_error("--out " + path + ": cannot be made: " + error.message());
  if (access(path.c_str(), W_OK) != 0) throw std::runtime_error("--out " + path + ": cannot be written");
}

TrainJob Prepare(const Options& options) {
  CheckDevice(options.device);
  if (options.resume && options.out.empty())
    throw CLI::ValidationError("--resume", "needs --out, where the checkpoints are");
  const Task& task = FindTask(options.task);
  RunSettings common{};
  common.task = &task;
  common.epochs = static_cast<int>(NumberOr("--epochs", options.epochs, task.epochs, kMaxEpochs));
  common.train_size = NumberOr("--train-size", options.train_size, task.train_size, INT32_MAX);
  common.test_size = NumberOr("--test-size", options.test_size, task.test_size, INT32_MAX);
  common.resume = options.resume;
  const auto threads = static_cast<int>(NumberOr("--threads", options.threads, 0, kMaxThreads));
  TrainJob job{&task, ParseMethods(options, task, common.epochs), ParseSeeds(options.seeds), common,
               LoadDataset(options.data)};
  CheckSizes(job.dataset, common.train_size, common.test_size);
  job.common.threads = UseThreads(threads);
  job.common.data_checksum = Checksum(job.dataset);
  if (!options.out.empty()) {
    MakeDirectory(options.out);
    // What an earlier job left would read as this one's until its first run ends.
    if (!options.resume) RemoveResults(options.out);
  }
  return job;
}

RunSettings SettingsOf(const TrainJob& job, const Options& options, const MethodCase& method, uint64_t seed) {
  RunSettings run = job.common;
  run.method = method;
  run.seed = seed;
  if (method.epochs > 0) run.epochs = method.epochs;
  run.checkpoint = CheckpointPath(options, *job.task, method, seed);
  return run;
}

// A run that learnt nothing is a failure although it has figures. One that was not to learn (no epochs) is not.
std::string Complaint(const RunResult& result) {
  if (result.epochs == 0 || result.clean >= 2 * kChance) return "";
  char text[96];
  std::snprintf(text, sizeof text, "at chance: %.1f%% of the clean test images, and guessing gives %.0f%%",
                result.clean, kChance);
  return text;
}

void Report(const TrainJob& job, const std::vector<RunResult>& results) {
  for (const RunResult& result : results) {
    std::printf("weights %s  %s seed %llu\n", result.weights.c_str(), result.method.c_str(),
                static_cast<unsigned long long>(result.seed));
  }
  std::printf("%stask %s: %lld training and %lld test images, %d epochs, %zu seed(s), %d thread(s)\n",
              results.empty() ? "" : "\n", job.task->name.c_str(), static_cast<long long>(job.common.train_size),
              static_cast<long long>(job.common.test_size), job.common.epochs, job.seeds.size(), job.common.threads);
  std::printf(
      "accuracy in per cent; 'erased K': a KxK square of the item set to grey; mean+-sample sd over seeds\n\n%s",
      Table(results).c_str());
  if (std::fflush(stdout) != 0 || std::ferror(stdout)) throw std::runtime_error("standard output: cannot be written");
}

int TrainAll(const Options& options) {
  const TrainJob job = Prepare(options);
  int64_t total_epochs = 0;
  for (const MethodCase& method : job.methods)
    total_epochs += SettingsOf(job, options, method, 0).epochs * job.seeds.size();
  std::vector<RunResult> results;
  bool failed = false;
  Progress progress(total_epochs);
  for (const uint64_t seed : job.seeds) {
    const Examples examples = MakeExamples(*job.task, job.dataset, seed, job.common.train_size, job.common.test_size);
    for (const MethodCase& method : job.methods) {
      std::string complaint;
      try {
        results.push_back(Train(SettingsOf(job, options, method, seed), examples, progress));
        complaint = Complaint(results.back());
      } catch (const std::exception& error) {
        complaint = error.what();
      }
      try {
        if (!options.out.empty()) WriteResults(options.out, results);
      } catch (const std::exception& error) {  // the other runs still have their checkpoints and the table
        complaint += (complaint.empty() ? "" : "; ") + std::string(error.what());
      }
      if (complaint.empty()) continue;
      failed = true;
      progress.Say("dropkit train: " + method.name + " seed " + std::to_string(seed) + ": " + complaint);
    }
  }
  progress.Finish();
  Report(job, results);
  return failed ? kFailed : 0;
}

int RunTrain(const Options& options) {
  try {
    return TrainAll(options);
  } catch (const std::invalid_argument& error) {  // a number that the data do not allow
    throw CLI::ValidationError(error.what());
  }
}

void AddOptions(CLI::App& train, Options& options) {
  train.add_option("--task", options.task, "scenes: cluttered 56x56 scenes; fashion: plain 28x28 images")
      ->type_name("NAME")
      ->capture_default_str();
  train
      .add_option("--methods", options.methods,
                  "none, none-N (N epochs) or a case such as dropblock:block=7@0.1; repeat the option for more "
                  "(default: the whole family with the task's settings)")
      ->type_name("CASE")
      ->allow_extra_args(false);
  train.add_option("--seeds", options.seeds, "numbers: one run for each method and seed")
      ->type_name("N,N,...")
      ->capture_default_str();
  train.add_option("--epochs", options.epochs, "default: scenes 20, fashion 30")->type_name("N");
  train.add_option("--train-size", options.train_size, "training images; default: scenes 3000, fashion 2000")
      ->type_name("N");
  train.add_option("--test-size", options.test_size, "test images; default: scenes 3000, fashion 10000")
      ->type_name("N");
  train.add_option("--data", options.data, "directory of IDX files, plain or .gz")
      ->type_name("DIR")
      ->capture_default_str();
  train
      .add_option("--out", options.out, "directory for results.json, results.csv and checkpoints; replaces those there")
      ->type_name("DIR");
  train.add_flag("--resume", options.resume, "go on from the checkpoints in --out, to the same weights bit for bit");
  train.add_option("--threads", options.threads, "default: torch's own choice")->type_name("N");
  train.add_option("--device", options.device, "cpu")->type_name("NAME")->capture_default_str();
}

}  // namespace

void AddTrain(CLI::App& app, Job& job) {
  CLI::App* train =
      app.add_subcommand("train", "train a small network on real images, once per method and seed, and compare");
  const auto options = std::make_shared<Options>();
  AddOptions(*train, *options);
  train->callback([options, &job] { job = [options] { return RunTrain(*options); }; });
}

}  // namespace dropkit::cli

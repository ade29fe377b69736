// `dropkit train`: options, the list of runs, and the report. Free of torch; trainer.h does the work of one run.
// Everything that can be wrong with the command line or the data is found before the first run starts. Runs go seed by
// seed, so that a job that is stopped early leaves paired results.
#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <optional>
#include <set>
#include <stdexcept>

#include "cli/commands.h"
#include "cli/results.h"
#include "cli/suggest.h"
#include "cli/task.h"
#include "cli/trainer.h"

namespace dropkit::cli {
namespace {

constexpr int kFailed = 1, kWrongCommandLine = 2;
constexpr double kChance = 100.0 / kClasses;

struct Options {
  std::string task = "scenes", data = kDefaultData, out, device = "cpu";
  std::vector<std::string> methods;
  std::vector<uint64_t> seeds = {0};
  std::optional<int> epochs;
  std::optional<int64_t> train_size, test_size;
  int threads = 0;
  bool resume = false;
};

const Task& FindTask(const std::string& name) {
  std::vector<std::string> names;
  for (const Task& task : Tasks()) {
    if (task.name == name) return task;
    names.push_back(task.name);
  }
  throw std::invalid_argument("--task '" + name + "': scenes or fashion is allowed" + DidYouMean(name, names));
}

// none, none-N (none with N epochs), or a case line.
MethodCase ParseMethod(const std::string& text) {
  MethodCase method;
  method.name = text;
  if (text == "none") return method;
  if (text.starts_with("none-")) {
    const std::string digits = text.substr(5);
    const bool number = !digits.empty() && digits.size() < 7 && digits.find_first_not_of("0123456789") == std::string::npos;
    method.epochs = number ? std::stoi(digits) : 0;
    if (method.epochs < 1) throw std::invalid_argument("--methods '" + text + "': none-N trains N epochs, N from 1 to 999999");
    return method;
  }
  method.none = false;
  const Status status = ParseCase(text, &method.spec, &method.p);
  if (!status.ok()) {
    throw std::invalid_argument("--methods '" + text + "': " + status.message() + DidYouMean(text, {"none"}));
  }
  return method;
}

std::vector<MethodCase> ParseMethods(const Options& options, const Task& task, int epochs) {
  std::vector<MethodCase> methods;
  for (const std::string& text : options.methods.empty() ? task.methods : options.methods) {
    methods.push_back(ParseMethod(text));
    // Among the defaults, none-N stands for stopping early.
    if (options.methods.empty() && methods.back().epochs >= epochs) methods.pop_back();
  }
  return methods;
}

template <class T, class Name>
void RefuseRepeats(const char* option, const std::vector<T>& values, Name name) {
  std::set<std::string> seen;
  for (const T& value : values) {
    if (!seen.insert(name(value)).second) {
      throw std::invalid_argument(std::string(option) + " '" + name(value) + "' is given twice");
    }
  }
}

std::string CheckpointPath(const Options& options, const Task& task, const MethodCase& method, uint64_t seed) {
  if (options.out.empty()) return "";
  std::string name = task.name + "-" + method.name + "-seed" + std::to_string(seed) + ".safetensors";
  // ':' and ',' are not welcome in file names everywhere.
  std::replace_if(name.begin(), name.end(), [](char c) { return c == ':' || c == ',' || c == '/' || c == ' '; }, '-');
  return (std::filesystem::path(options.out) / name).string();
}

struct Job {
  const Task* task;
  Dataset dataset;
  std::vector<MethodCase> methods;
  RunSettings common;   // what all runs share
};

Job Prepare(const Options& options) {
  if (options.device == "cuda" || options.device.starts_with("cuda:")) {
    throw std::invalid_argument("--device " + options.device + ": training on CUDA is not built yet; cpu is allowed");
  }
  if (options.device != "cpu") throw std::invalid_argument("--device " + options.device + ": cpu is allowed");
  if (options.resume && options.out.empty()) throw std::invalid_argument("--resume needs --out, where the checkpoints are");
  const Task& task = FindTask(options.task);
  Job job{&task, {}, ParseMethods(options, task, options.epochs.value_or(task.epochs)), {}};
  RefuseRepeats("--methods", job.methods, [](const MethodCase& method) { return method.name; });
  RefuseRepeats("--seeds", options.seeds, [](uint64_t seed) { return std::to_string(seed); });
  job.dataset = LoadDataset(options.data);
  RunSettings& common = job.common;
  common.task = &task;
  common.epochs = options.epochs.value_or(task.epochs);
  common.train_size = options.train_size.value_or(task.train_size);
  common.test_size = options.test_size.value_or(task.test_size);
  CheckSizes(job.dataset, common.train_size, common.test_size);
  common.threads = UseThreads(options.threads);
  common.data_checksum = Checksum(job.dataset);
  common.resume = options.resume;
  if (!options.out.empty()) std::filesystem::create_directories(options.out);
  return job;
}

RunSettings SettingsOf(const Job& job, const Options& options, const MethodCase& method, uint64_t seed) {
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
  std::snprintf(text, sizeof text, "at chance: %.1f%% of the clean test images, and guessing gives %.0f%%", result.clean, kChance);
  return text;
}

void Report(const Job& job, const Options& options, const std::vector<RunResult>& results) {
  std::printf("task %s: %lld training and %lld test images, %d epochs, %zu seed(s), %d thread(s)\n", job.task->name.c_str(),
              static_cast<long long>(job.common.train_size), static_cast<long long>(job.common.test_size), job.common.epochs,
              options.seeds.size(), job.common.threads);
  std::printf("accuracy in per cent; 'erased K': a KxK square of the item set to grey; mean+-sample sd over seeds\n\n%s",
              Table(results).c_str());
  for (const RunResult& result : results) {
    std::printf("%sweights %s  %s seed %llu\n", &result == &results[0] ? "\n" : "", result.weights.c_str(),
                result.method.c_str(), static_cast<unsigned long long>(result.seed));
  }
  std::fflush(stdout);
}

int TrainAll(const Options& options) {
  const Job job = Prepare(options);
  int64_t total_epochs = 0;
  for (const MethodCase& method : job.methods) total_epochs += SettingsOf(job, options, method, 0).epochs * options.seeds.size();
  std::vector<RunResult> results;
  bool failed = false;
  Progress progress(total_epochs);
  for (const uint64_t seed : options.seeds) {
    const Examples examples = MakeExamples(*job.task, job.dataset, seed, job.common.train_size, job.common.test_size);
    for (const MethodCase& method : job.methods) {
      std::string complaint;
      try {
        results.push_back(Train(SettingsOf(job, options, method, seed), examples, progress));
        complaint = Complaint(results.back());
        if (!options.out.empty()) WriteResults(options.out, results);
      } catch (const std::exception& error) {
        complaint = error.what();
      }
      if (complaint.empty()) continue;
      failed = true;
      progress.Say("dropkit train: " + method.name + " seed " + std::to_string(seed) + ": " + complaint);
    }
  }
  progress.Finish();
  Report(job, options, results);
  return failed ? kFailed : 0;
}

int RunTrain(const Options& options) {
  try {
    return TrainAll(options);
  } catch (const std::invalid_argument& error) {
    std::fprintf(stderr, "dropkit train: %s\n", error.what());
    return kWrongCommandLine;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "dropkit train: %s\n", error.what());
    return kFailed;
  }
}

void AddOptions(CLI::App& train, Options& options) {
  train.add_option("--task", options.task, "scenes: cluttered 56x56 scenes; fashion: plain 28x28 images")->capture_default_str();
  train.add_option("--methods", options.methods,
                   "none, none-N (N epochs) or a case such as dropblock:block=7@0.1; repeat the option for more "
                   "(default: the whole family with the task's settings)")
      ->type_name("CASE")
      ->allow_extra_args(false);
  train.add_option("--seeds", options.seeds, "one run a method and seed: 0,1,2")->delimiter(',')->capture_default_str();
  train.add_option("--epochs", options.epochs, "default: scenes 20, fashion 30")->check(CLI::Range(0, 1000000));
  train.add_option("--train-size", options.train_size, "training images; default: scenes 3000, fashion 2000");
  train.add_option("--test-size", options.test_size, "test images; default: scenes 3000, fashion 10000");
  train.add_option("--data", options.data, "directory of IDX files, plain or .gz")->type_name("DIR")->capture_default_str();
  train.add_option("--out", options.out, "directory for results.json, results.csv and checkpoints; replaces those there")
      ->type_name("DIR");
  train.add_flag("--resume", options.resume, "go on from the checkpoints in --out, to the same weights bit for bit");
  train.add_option("--threads", options.threads, "default: torch's own choice")->check(CLI::Range(1, 1024));
  train.add_option("--device", options.device, "cpu")->capture_default_str();
}

}  // namespace

void AddTrain(CLI::App& app, std::function<int()>& job) {
  CLI::App* train = app.add_subcommand("train", "train a small network on real images, once per method and seed, and compare");
  const auto options = std::make_shared<Options>();
  AddOptions(*train, *options);
  train->callback([options, &job] { job = [options] { return RunTrain(*options); }; });
}

}  // namespace dropkit::cli

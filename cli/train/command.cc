// `dropkit train`: the list of runs and what they leave: table, result files and report. Free of torch; trainer.h does
// the work of one run, options.h reads the command line.
// Everything that can be wrong with the command line or the data is found before the first run starts. Runs go seed by
// seed, so that a job that is stopped early leaves paired results.
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <functional>
#include <memory>
#include <stdexcept>

#include "cli/commands.h"
#include "cli/train/options.h"
#include "cli/train/report.h"
#include "cli/train/results.h"
#include "cli/train/task.h"
#include "cli/train/trainer.h"

namespace dropkit::cli {
namespace {

constexpr int kFailed = 1;

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
  const RunSettings common = CommonSettings(options, task);
  const int threads = ParseThreads(options);
  TrainJob job{&task, ParseMethods(options, task, common.epochs), ParseSeeds(options.seeds), common,
               LoadDataset(DataDirectory(options, task))};
  CheckData(task, job.dataset, common.train_size, common.test_size);
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

// A run that learnt nothing is a failure although it has figures. One that was not to learn (no epochs) is not. Twice
// as good as guessing is much to ask where there are few classes: then 10 points above it will do.
std::string Complaint(const RunResult& result, int classes) {
  const double chance = 100.0 / classes;
  if (result.epochs == 0 || result.clean >= std::min(2 * chance, chance + 10)) return "";
  char text[96];
  std::snprintf(text, sizeof text, "at chance: it names %.1f%% of the clean test images, and guessing gives %.0f%%",
                result.clean, chance);
  return text;
}

// What a job has so far.
struct Outcome {
  std::vector<RunResult> results;
  std::vector<RunSamples> samples;  // of the first seed
  std::vector<std::string> complaints;
  bool reported = false;  // report.html shows all of this
};

ReportInfo InfoOf(const TrainJob& job, const Options& options, const std::vector<std::string>& complaints) {
  const Images &train = job.dataset.train, &test = job.dataset.test;
  ReportInfo info;
  info.task = job.task->name;
  info.data = DataDirectory(options, *job.task) + ": " + std::to_string(train.count) + " training and " +
              std::to_string(test.count) + " test images, " + Kind(train.channels, train.rows, train.cols) + ", " +
              std::to_string(job.dataset.classes) + " classes";
  info.command = CommandLine(options);
  info.train_size = job.common.train_size;
  info.test_size = job.common.test_size;
  info.threads = job.common.threads;
  info.complaints = complaints;
  info.erased = ErasedWords(*job.task);
  const std::vector<Pixels> pixels = PixelsOf(job.task->channels);
  for (size_t i = 0; i < info.erased_colour.size(); ++i)
    info.erased_colour[i] = static_cast<uint8_t>(std::lround(255 * pixels[i % pixels.size()].mean));
  return info;
}

std::string ReportPath(const Options& options) { return (std::filesystem::path(options.out) / "report.html").string(); }

void PrintTable(const TrainJob& job, const std::vector<RunResult>& results) {
  for (const RunResult& result : results) {
    std::printf("weights %s  %s seed %llu\n", result.weights.c_str(), result.method.c_str(),
                static_cast<unsigned long long>(result.seed));
  }
  std::printf("%stask %s: %lld training and %lld test images, %d epochs, %zu seed(s), %d thread(s)\n",
              results.empty() ? "" : "\n", job.task->name.c_str(), static_cast<long long>(job.common.train_size),
              static_cast<long long>(job.common.test_size), job.common.epochs, job.seeds.size(), job.common.threads);
  std::printf("accuracy in per cent; 'erased K': %s; mean+-sample sd over seeds\n\n%s", ErasedWords(*job.task).c_str(),
              Table(results).c_str());
}

// Does `work`; what it throws, or complains of, is said and kept.
void Attempt(const RunSettings& run, const std::function<std::string()>& work, Progress& progress, Outcome* outcome) {
  std::string complaint;
  try {
    complaint = work();
  } catch (const std::exception& error) {
    complaint = error.what();
  }
  if (complaint.empty()) return;
  const std::string text = run.method.name + " seed " + std::to_string(run.seed) + ": " + complaint;
  outcome->complaints.push_back(text);
  progress.Say("dropkit train: " + text);
}

// Each of the three may fail without the others: there are still the checkpoints and the table.
void RunOne(const TrainJob& job, const Options& options, const RunSettings& run, const Examples& examples,
            Progress& progress, Outcome* outcome) {
  const auto train = [&] {
    const bool sampled = !options.out.empty() && run.seed == job.seeds[0];
    TrainedRun trained = Train(run, examples, sampled ? &job.dataset.class_names : nullptr, progress);
    outcome->results.push_back(trained.result);
    if (trained.samples) outcome->samples.push_back(std::move(*trained.samples));
    return Complaint(trained.result, job.dataset.classes);
  };
  const auto write = [&] {
    WriteResults(options.out, outcome->results);
    return "";
  };
  const auto report = [&] {
    outcome->reported = false;
    WriteReport(options.out, InfoOf(job, options, outcome->complaints), outcome->results, outcome->samples);
    outcome->reported = true;
    return "";
  };
  Attempt(run, train, progress, outcome);
  if (options.out.empty() || outcome->results.empty()) return;  // an earlier job's results stay where this has none
  Attempt(run, write, progress, outcome);
  Attempt(run, report, progress, outcome);
}

int TrainAll(const Options& options) {
  const TrainJob job = Prepare(options);
  int64_t total_epochs = 0;
  for (const MethodCase& method : job.methods) {
    for (const uint64_t seed : job.seeds) {
      const RunSettings run = SettingsOf(job, options, method, seed);
      CheckCheckpoint(run);
      total_epochs += run.epochs;
    }
  }
  Outcome outcome;
  Progress progress(total_epochs);
  for (const uint64_t seed : job.seeds) {
    const Examples examples = MakeExamples(*job.task, job.dataset, seed, job.common.train_size, job.common.test_size);
    for (const MethodCase& method : job.methods) {
      RunOne(job, options, SettingsOf(job, options, method, seed), examples, progress, &outcome);
    }
  }
  progress.Finish();
  PrintTable(job, outcome.results);
  if (outcome.reported) std::printf("\nreport %s\n", ReportPath(options).c_str());
  if (std::fflush(stdout) != 0 || std::ferror(stdout)) throw std::runtime_error("standard output: cannot be written");
  return outcome.complaints.empty() ? 0 : kFailed;
}

int RunTrain(const Options& options) {
  try {
    return TrainAll(options);
  } catch (const std::invalid_argument& error) {  // a number that the data do not allow
    throw CLI::ValidationError(error.what());
  }
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

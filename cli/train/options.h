// What `dropkit train` is told on its command line, checked as far as that goes without the data.
// Assumes CLI11 has read the words; each number stays text until the task gives its default. What is done with it is in
// command.cc.
#ifndef DROPKIT_CLI_TRAIN_OPTIONS_H_
#define DROPKIT_CLI_TRAIN_OPTIONS_H_

#include <CLI/CLI.hpp>
#include <cstdint>
#include <string>
#include <vector>

#include "cli/train/task.h"
#include "cli/train/trainer.h"

namespace dropkit::cli {

struct Options {
  std::string task = "scenes", data, out, device = "cpu";
  std::vector<std::string> methods;
  std::string seeds = "0,1,2", epochs, train_size, test_size, threads;  // empty: the task's, or torch's, own
  bool resume = false;
};

void AddOptions(CLI::App& train, Options& options);

// These throw CLI::ValidationError, which names the option, its value and what is allowed.
const Task& FindTask(const std::string& name);
std::string DataDirectory(const Options& options, const Task& task);
std::vector<uint64_t> ParseSeeds(const std::string& text);
// The methods asked for, or the task's own. A method is none, none-N (none with N epochs) or a case line.
std::vector<MethodCase> ParseMethods(const Options& options, const Task& task, int epochs);
// task, epochs, train_size, test_size and resume; the rest is left for the data and for each run.
RunSettings CommonSettings(const Options& options, const Task& task);
int ParseThreads(const Options& options);  // 0: torch's own choice
void CheckDevice(const std::string& device);

// The command line that asks for the same job, as a shell reads it.
std::string CommandLine(const Options& options);

}  // namespace dropkit::cli

#endif  // DROPKIT_CLI_TRAIN_OPTIONS_H_

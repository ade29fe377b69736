// Trains one network with one method and one seed, and measures it.
// Free of torch, so that the command line compiles without it; network.h holds the network, task.h the recipe's data.
#ifndef DROPKIT_CLI_TRAIN_TRAINER_H_
#define DROPKIT_CLI_TRAIN_TRAINER_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "cli/train/progress.h"
#include "cli/train/report.h"
#include "cli/train/results.h"
#include "cli/train/task.h"
#include "dropkit/dropkit.h"

namespace dropkit::cli {

struct MethodCase {
  std::string name;  // as on the command line
  bool none = true;
  Spec spec;  // of a method other than none, with its p
  float p = 0;
  int epochs = 0;  // of none-N; 0: the task's
};

struct RunSettings {
  const Task* task;
  MethodCase method;
  uint64_t seed;
  int epochs;
  int64_t train_size, test_size;
  int threads;
  uint32_t data_checksum;
  std::string checkpoint;  // path; empty: none is written
  bool resume;             // go on from the checkpoint when it is there
};

// Sets torch's threads, 0 for its own choice; returns their number.
int UseThreads(int threads);

// Throws std::runtime_error where Train would go on from a checkpoint that is damaged, or another run's.
void CheckCheckpoint(const RunSettings& run);

struct TrainedRun {
  RunResult result;
  std::optional<RunSamples> samples;
};

// Samples for the report, with these names of classes (none: numbers), are made where `class_names` is not null; a
// method that does not fit the network's maps, which an untrained run does not find, has none, and says so. Throws
// std::runtime_error: a loss that is not finite, or a checkpoint that cannot be used.
TrainedRun Train(const RunSettings& run, const Examples& examples, const std::vector<std::string>* class_names,
                 Progress& progress);

}  // namespace dropkit::cli

#endif  // DROPKIT_CLI_TRAIN_TRAINER_H_

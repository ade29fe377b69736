// A training job that never ran: results, curves and sample images of any number of methods and seeds, the same in
// every process. Figures have the sizes of real ones; sample images are a square item before stripes.
#ifndef DROPKIT_TESTS_SYNTHETIC_JOB_H_
#define DROPKIT_TESTS_SYNTHETIC_JOB_H_

#include <string>
#include <vector>

#include "cli/train/report.h"

namespace dropkit::cli {

struct SyntheticJob {
  ReportInfo info;
  std::vector<RunResult> results;
  std::vector<RunSamples> samples;
};

// `methods` are names as on the command line; none-N trains N epochs. Scenes have boxes and activations.
SyntheticJob MakeJob(const std::string& task, const std::vector<std::string>& methods, int seeds, int epochs,
                     int sample_images);

}  // namespace dropkit::cli

#endif  // DROPKIT_TESTS_SYNTHETIC_JOB_H_

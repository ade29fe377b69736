// Sample images for the report: a few test images as one trained network sees them.
// The images are the first of different classes, so no result chooses them; masks are drawn by a key of their own, so
// torch's generator and the run stay as they are. What the page makes of it is report.h's.
#ifndef DROPKIT_CLI_TRAIN_SAMPLES_H_
#define DROPKIT_CLI_TRAIN_SAMPLES_H_

#include <string>
#include <vector>

#include "cli/train/network.h"
#include "cli/train/report.h"
#include "cli/train/trainer.h"

namespace dropkit::cli {

inline constexpr size_t kSampleImages = 5;

// `network` has been trained by `run` and is left in eval mode. `class_names` may be empty: numbers stand for names
// then. Throws std::runtime_error where the method does not fit the network's maps.
RunSamples MakeSamples(const RunSettings& run, const Examples& examples, const std::vector<std::string>& class_names,
                       Network& network);

}  // namespace dropkit::cli

#endif  // DROPKIT_CLI_TRAIN_SAMPLES_H_

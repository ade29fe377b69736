// report.html: what a training job gave, for reading in a browser. One self-contained file: the table, accuracy curves,
// and what the methods do to sample images. Nothing is loaded from elsewhere, and it needs no script.
// Free of torch; trainer.cc makes the samples. Plots are gnuplot's (SVG); without it the page says so in their place.
#ifndef DROPKIT_CLI_TRAIN_REPORT_H_
#define DROPKIT_CLI_TRAIN_REPORT_H_

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "cli/train/results.h"
#include "cli/train/task.h"

namespace dropkit::cli {

struct Picture {
  int height = 0, width = 0, channels = 1;  // 1: grey, 3: red, green, blue
  std::vector<uint8_t> pixels;              // row-major, channels innermost
};

// A map that a method acts on in training, and the mask of one draw for it.
struct MaskedMap {
  std::string title;  // where and how large: "stage 1, 14x14, channel 3"; "input, 56x56"; "last layer's weights, 10x32"
  int height = 0, width = 0;
  std::vector<float> values;  // before dropping
  std::vector<uint8_t> keep;  // 1 = kept; empty: the method drops nothing here (none)
};

// One test image as a trained network sees it.
struct SampleImage {
  Picture image;
  std::string label, predicted;  // class names or numbers; predicted on the clean image
  std::optional<Box> erased;     // a square of the test, and what is predicted with it
  std::string predicted_erased;
  std::vector<MaskedMap> maps;
  // Scenes: the labelled item's box, the class activation map scaled to [0, 1] at the image's size, and the box around
  // what of it exceeds `level`.
  std::optional<Box> item, found;
  std::vector<float> activation;
  float level = 0;
};

struct RunSamples {
  std::string method;
  uint64_t seed = 0;
  std::vector<SampleImage> images;  // the same test images for every method
};

// What the page says about the job besides the results.
struct ReportInfo {
  std::string task, data, command;  // the command line that repeats the job
  int64_t train_size = 0, test_size = 0;
  int threads = 0;
  std::vector<std::string> complaints;  // runs that failed or learnt nothing, in the program's words
  std::string erased;                   // what "erased K" is, in words (task.h), and in which colour
  std::array<uint8_t, 3> erased_colour{};
};

// The whole page. `samples` are of one seed, a run each, and may be empty.
std::string ReportPage(const ReportInfo& info, const std::vector<RunResult>& results,
                       const std::vector<RunSamples>& samples);
// report.html in `directory`, replaced at once or not at all; throws std::runtime_error.
void WriteReport(const std::string& directory, const ReportInfo& info, const std::vector<RunResult>& results,
                 const std::vector<RunSamples>& samples);

}  // namespace dropkit::cli

#endif  // DROPKIT_CLI_TRAIN_REPORT_H_

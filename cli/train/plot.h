// The plots of a report: accuracy over epochs, and differences to none, as scripts for gnuplot (gnuplot.h).
// Methods differ by colour, dash and marker together, and carry their labels beside them, so that grey paper loses
// nothing. Assumes at most some twelve methods; more stay told apart by their labels.
#ifndef DROPKIT_CLI_TRAIN_PLOT_H_
#define DROPKIT_CLI_TRAIN_PLOT_H_

#include <cstddef>
#include <string>
#include <vector>

#include "cli/train/comparison.h"

namespace dropkit::cli {

struct Plot {
  int width = 0, height = 0;
  std::string commands;  // for gnuplot
};

// One method's accuracy after every epoch; `look` picks colour, dash and marker: its place in the list of methods.
struct MethodCurve {
  size_t look = 0;
  std::string label;
  std::vector<Statistics> epochs;  // over the seeds
};

// Mean lines with bars from the lowest to the highest seed at some epochs. At least one curve must have a point.
Plot PlotCurves(const std::string& accuracy_name, const std::vector<MethodCurve>& curves);

struct DifferencePanel {
  std::string title;
  std::vector<const Statistics*> methods;  // one a label; null: no seed in common
};

// Panels side by side: means with bars of a deviation to each side, and the single seeds below.
Plot PlotDifferences(const std::vector<std::string>& labels, const std::vector<DifferencePanel>& panels);

// Fits into `longest` characters: the middle of a longer one becomes "..".
std::string Shorten(const std::string& text, size_t longest);

}  // namespace dropkit::cli

#endif  // DROPKIT_CLI_TRAIN_PLOT_H_

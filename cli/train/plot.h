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
  bool cut = false;      // some values lie below the axes
};

// One method's accuracy after every epoch.
struct MethodCurve {
  size_t place = 0;  // in the list of methods, which gives the curve its look
  std::string label;
  std::vector<Statistics> epochs;  // over the seeds
};

// All methods in one, side by side within an epoch: mean lines, with bars from the lowest to the highest seed at some
// epochs. Every curve must have a point.
Plot PlotCurves(const std::string& accuracy_name, const std::vector<MethodCurve>& curves);

// A panel a method: its mean line, a band from the lowest to the highest seed, and `reference`, if any,
// dashed: one of the curves, or null. The
// first third of the epochs may lie below the panels, which show what is left between methods after it.
Plot PlotPanels(const std::vector<MethodCurve>& curves, const MethodCurve* reference);

struct DifferencePanel {
  std::string title;
  std::vector<const Statistics*> methods;  // one a label; null: no seed in common
};

// Panels side by side: means with bars of a deviation to each side, and the single seeds below.
Plot PlotDifferences(const std::vector<std::string>& labels, const std::vector<DifferencePanel>& panels);

}  // namespace dropkit::cli

#endif  // DROPKIT_CLI_TRAIN_PLOT_H_

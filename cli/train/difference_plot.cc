// Differences to none: a row a method, a panel a measure. Panels of accuracy share a scale, so that lengths compare.
#include "cli/train/gnuplot.h"
#include "cli/train/plot.h"
#include "cli/train/plot_axes.h"

namespace dropkit::cli {
namespace {

constexpr int kRowHeight = 40, kAbove = 44, kBelow = 66;
constexpr double kLabelShare = 0.315, kGapShare = 0.05;  // of the width; numbers reach into the gaps

// Shares of found items are of another kind than accuracies.
bool SharesScale(const DifferencePanel& panel) { return panel.title != "locmax"; }

std::string PanelData(const DifferencePanel& panel, size_t index) {
  std::string means = Line("$means%zu << EOD", index), seeds = Line("$seeds%zu << EOD", index);
  for (size_t row = 0; row < panel.methods.size(); ++row) {
    if (panel.methods[row] == nullptr) continue;
    const Statistics& found = *panel.methods[row];
    means += Line("%.6g %zu %.6g", found.mean, row + 1, found.deviation.value_or(0));
    if (!found.deviation) continue;  // the only seed is the mean
    for (const double value : found.values) seeds += Line("%.6g %.3f", value, static_cast<double>(row) + 1.3);
  }
  return means + "EOD\n" + seeds + "EOD\n";
}

void Cover(const DifferencePanel& panel, Range* range) {
  for (const Statistics* found : panel.methods) {
    if (found == nullptr) continue;
    for (const double value : found->values) range->Take(value);
    range->Take(found->mean - found->deviation.value_or(0));
    range->Take(found->mean + found->deviation.value_or(0));
  }
}

Range ScaleOf(const DifferencePanel& panel, const std::vector<DifferencePanel>& panels) {
  Range range{0, 0};
  Cover(panel, &range);
  for (const DifferencePanel& other : panels) {
    if (SharesScale(panel) && SharesScale(other)) Cover(other, &range);
  }
  range.Widen();
  return range;
}

// Rings are left out where no method of the panel has two seeds: gnuplot refuses a plot of nothing.
std::string DrawPanel(const DifferencePanel& panel, size_t index, size_t count, const Range& range) {
  const double share = (1 - kLabelShare - 0.01) / static_cast<double>(count);
  const double left = kLabelShare + share * static_cast<double>(index);
  bool rings = false;
  for (const Statistics* found : panel.methods) rings = rings || (found != nullptr && found->deviation);
  std::string commands =
      Line("set lmargin at screen %.4f", left) + Line("set rmargin at screen %.4f", left + share - kGapShare) +
      Line("set xrange [%.6g:%.6g]", range.low, range.high) + SignedTics(range, (share - kGapShare) * kPlotWidth) +
      "set title " + QuoteForGnuplot(panel.title) + " offset 0,-0.4\n";
  if (index == 1) commands += "unset label\n";  // the methods stand at the left, once
  commands += "plot ";
  if (rings) commands += Line("$seeds%zu using 1:2 with points pt 6 ps 0.8 lw 2 lc rgb '#1b1b1b', \\", index);
  return commands + Line("  $means%zu using 1:2:3 with xerrorbars pt 7 ps 0.95 lw 2 lc rgb '#0072B2'", index);
}

}  // namespace

Plot PlotDifferences(const std::vector<std::string>& labels, const std::vector<DifferencePanel>& panels) {
  const auto rows = static_cast<int>(labels.size());
  Plot plot{kPlotWidth, kAbove + kRowHeight * rows + kBelow, ""};
  for (size_t i = 0; i < panels.size(); ++i) plot.commands += PanelData(panels[i], i);
  plot.commands += QuietAxes() + "set border 1\nset grid xtics noytics\nunset ytics\n";
  plot.commands += Line("set bmargin at screen %.4f", 1. * kBelow / plot.height);
  plot.commands += Line("set tmargin at screen %.4f", 1 - 1. * kAbove / plot.height);
  plot.commands += Line("set yrange [%.1f:0.5]", rows + 0.5) + "set xlabel 'points' offset 0,0.5\n";
  plot.commands += "set arrow from 0, graph 0 to 0, graph 1 nohead lw 1.5 lc rgb 'black'\n";
  for (int row = 1; row <= rows; ++row) {
    plot.commands +=
        "set label " + QuoteForGnuplot(Shorten(labels[row - 1])) + Line(" at graph -0.06, first %d right", row);
    plot.commands +=
        Line("set arrow from graph 0, first %d to graph 1, first %d nohead back lw 1 lc rgb '#e4e4e4'", row, row);
  }
  plot.commands += Line("set label 'method' at graph -0.06, screen %.4f right", 1 - 0.42 * kAbove / plot.height);
  plot.commands += "set multiplot\n";
  for (size_t i = 0; i < panels.size(); ++i)
    plot.commands += DrawPanel(panels[i], i, panels.size(), ScaleOf(panels[i], panels));
  plot.commands += "unset multiplot\n";
  return plot;
}

}  // namespace dropkit::cli

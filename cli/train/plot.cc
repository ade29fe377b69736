// Every number and position is decided here, so gnuplot only draws: labels must not run into one another, and panels
// that are compared share a scale.
#include "cli/train/plot.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <numeric>

#include "cli/train/gnuplot.h"

namespace dropkit::cli {
namespace {

// Okabe and Ito's colours for the colour-blind, without yellow, which white paper swallows; `none` comes first: black.
constexpr std::array<const char*, 8> kColours = {"#000000", "#0072B2", "#D55E00", "#009E73",
                                                 "#AA4499", "#B8860B", "#56B4E9", "#666666"};
constexpr std::array<const char*, 5> kDashes = {"1", "(14,5)", "(3,4)", "(14,4,3,4)", "(8,3)"};
// gnuplot's numbers of markers: filled ones, then hollow ones, then lines.
constexpr std::array<int, 14> kMarkers = {7, 5, 9, 11, 13, 6, 4, 8, 10, 12, 2, 1, 3, 15};
constexpr int kWidth = 1000;
constexpr size_t kLongestLabel = 30;

template <typename... Values>
std::string Line(const char* format, Values... values) {
  char text[512];
  std::snprintf(text, sizeof text, format, values...);
  return std::string(text) + "\n";
}

struct Range {
  double low = INFINITY, high = -INFINITY;
  void Take(double value) {
    if (!std::isfinite(value)) return;
    low = std::min(low, value);
    high = std::max(high, value);
  }
  double span() const { return high - low; }
  // A little room on both sides, and something to show where all values are one.
  void Widen() {
    if (!(low <= high)) *this = {0, 1};
    const double room = span() > 0 ? 0.06 * span() : 1;
    low -= room;
    high += room;
  }
};

// 1, 2 or 5 times a power of ten, so that at most `most` steps fit.
double TicStep(const Range& range, int most) {
  const double least = range.span() / most, power = std::pow(10, std::floor(std::log10(least)));
  for (const double factor : {1., 2., 5.}) {
    if (factor * power >= least) return factor * power;
  }
  return 10 * power;
}

std::string Style(size_t look) {
  return std::string("lc rgb '") + kColours[look % kColours.size()] + "' dt " + kDashes[look % kDashes.size()];
}

std::string Marker(size_t look) {
  return std::string("lc rgb '") + kColours[look % kColours.size()] + "' dt 1 pt " +
         std::to_string(kMarkers[look % kMarkers.size()]);
}

// Heights for labels that want to be at `wanted`, in the same order, at least `apart` from one another and in [0, top].
std::vector<double> Spread(const std::vector<double>& wanted, double apart, double top) {
  std::vector<size_t> order(wanted.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return wanted[a] < wanted[b]; });
  std::vector<double> placed(wanted);
  double lowest = 0;
  for (const size_t i : order) {
    placed[i] = std::max(placed[i], lowest);
    lowest = placed[i] + apart;
  }
  double highest = top;
  for (auto i = order.rbegin(); i != order.rend(); ++i) {
    placed[*i] = std::min(placed[*i], highest);
    highest = placed[*i] - apart;
  }
  return placed;
}

std::string Axes() {
  return "set border 3 lc rgb '#444444'\nset tics nomirror out scale 0.6\n"
         "set grid ytics lt 1 lc rgb '#e4e4e4'\nset bars 0.5\nunset key\n";
}

// Whether bars stand at this epoch: some eight a method, each method's beside the others', and the last.
bool HasBar(const MethodCurve& curve, size_t index, size_t count, size_t epoch, size_t longest) {
  const size_t every = std::max<size_t>(1, longest / 8);
  return epoch + 1 == curve.epochs.size() || epoch % every == index * every / count;
}

std::string CurveData(const std::vector<MethodCurve>& curves, size_t longest) {
  std::string data;
  for (size_t i = 0; i < curves.size(); ++i) {
    std::string line = Line("$line%zu << EOD", i), bars = Line("$bars%zu << EOD", i);
    for (size_t epoch = 0; epoch < curves[i].epochs.size(); ++epoch) {
      const Statistics& at = curves[i].epochs[epoch];
      const std::string point = Line("%zu %.6g %.6g %.6g", epoch + 1, at.mean, at.low, at.high);
      line += point;
      if (HasBar(curves[i], i, curves.size(), epoch, longest)) bars += point;
    }
    data += line + "EOD\n" + bars + "EOD\n";
  }
  return data;
}

// A label to the right of the plot for each curve, as high as the curve ends where there is room, and a line to it.
std::string CurveLabels(const std::vector<MethodCurve>& curves, const Range& range, double pixels) {
  std::vector<double> wanted;
  for (const MethodCurve& curve : curves) wanted.push_back((curve.epochs.back().mean - range.low) / range.span());
  const std::vector<double> placed = Spread(wanted, 19 / pixels, 1);
  std::string commands;
  for (size_t i = 0; i < curves.size(); ++i) {
    const std::string style = Style(curves[i].look);
    commands += Line("set arrow from first %zu,%.6g to graph 1.05,%.4f nohead lw 1 %s", curves[i].epochs.size(),
                     curves[i].epochs.back().mean, placed[i], style.c_str());
    commands +=
        "set label " + QuoteForGnuplot(Shorten(curves[i].label, kLongestLabel)) +
        Line(" at graph 1.075,%.4f left point %s ps 0.9 offset char 1,0", placed[i], Marker(curves[i].look).c_str());
  }
  return commands;
}

std::string DrawCurves(const std::vector<MethodCurve>& curves) {
  std::string commands = "plot ";
  for (size_t i = 0; i < curves.size(); ++i) {
    const size_t look = curves[i].look;
    commands += (i > 0 ? ", \\\n  " : "") + ("$line" + std::to_string(i)) + " using 1:2 with lines lw " +
                (look == 0 ? "2.6 " : "1.7 ") + Style(look) + ", $bars" + std::to_string(i) +
                " using 1:2:3:4 with yerrorbars lw 1.1 ps 0.75 " + Marker(look);
  }
  return commands + "\n";
}

}  // namespace

std::string Shorten(const std::string& text, size_t longest) {
  if (text.size() <= longest) return text;
  const size_t end = (longest - 2) / 3, start = longest - 2 - end;
  return text.substr(0, start) + ".." + text.substr(text.size() - end);
}

Plot PlotCurves(const std::string& accuracy_name, const std::vector<MethodCurve>& curves) {
  Range range;
  size_t longest = 0;
  for (const MethodCurve& curve : curves) {
    longest = std::max(longest, curve.epochs.size());
    for (const Statistics& at : curve.epochs) {
      range.Take(at.low);
      range.Take(at.high);
    }
  }
  range.Widen();
  Plot plot{kWidth, std::max(520, 90 + 21 * static_cast<int>(curves.size())), ""};
  const double bottom = 62.0 / plot.height, top = 1 - 18.0 / plot.height;
  plot.commands = CurveData(curves, longest) + Axes();
  plot.commands += Line("set lmargin at screen 0.075\nset rmargin at screen 0.685\nset bmargin at screen %.4f", bottom);
  plot.commands += Line("set tmargin at screen %.4f", top);
  plot.commands += Line("set xrange [0.5:%.1f]\nset xtics %g", static_cast<double>(longest) + 0.5,
                        std::max(1., TicStep({0, static_cast<double>(longest)}, 10)));
  plot.commands += Line("set yrange [%.6g:%.6g]\nset ytics %g", range.low, range.high, TicStep(range, 10));
  plot.commands += "set xlabel 'epoch'\nset ylabel " + QuoteForGnuplot(accuracy_name + ", %") + "\n";
  plot.commands += CurveLabels(curves, range, plot.height * (top - bottom)) + DrawCurves(curves);
  return plot;
}

namespace {

constexpr int kRowHeight = 34, kAbove = 34, kBelow = 58;
constexpr double kLabelShare = 0.255;  // of the width

std::string DifferenceData(const DifferencePanel& panel, size_t index) {
  std::string means = Line("$means%zu << EOD", index), seeds = Line("$seeds%zu << EOD", index);
  for (size_t row = 0; row < panel.methods.size(); ++row) {
    if (panel.methods[row] == nullptr) continue;
    const Statistics& found = *panel.methods[row];
    means += Line("%.6g %zu %.6g", found.mean, row + 1, found.deviation.value_or(0));
    for (const double value : found.values) seeds += Line("%.6g %.3f", value, static_cast<double>(row) + 1.27);
  }
  return means + "EOD\n" + seeds + "EOD\n";
}

Range DifferenceRange(const DifferencePanel& panel) {
  Range range{0, 0};
  for (const Statistics* found : panel.methods) {
    if (found == nullptr) continue;
    for (const double value : found->values) range.Take(value);
    range.Take(found->mean - found->deviation.value_or(0));
    range.Take(found->mean + found->deviation.value_or(0));
  }
  return range;
}

std::string DrawPanel(const DifferencePanel& panel, size_t index, size_t count, const Range& range) {
  const double share = (1 - kLabelShare - 0.01) / static_cast<double>(count);
  const double left = kLabelShare + share * static_cast<double>(index);
  std::string commands = Line("set lmargin at screen %.4f\nset rmargin at screen %.4f", left, left + share - 0.02);
  commands += Line("set xrange [%.6g:%.6g]\nset xtics %g\nset format x '%%+g'", range.low, range.high,
                   TicStep(range, count > 3 ? 4 : 6));
  commands += "set title " + QuoteForGnuplot(panel.title) + " offset 0,-0.4\n";
  if (index > 0) commands += "unset label\n";
  return commands + Line("plot $seeds%zu using 1:2 with points pt 6 ps 0.55 lw 1 lc rgb '#555555', \\", index) +
         Line("  $means%zu using 1:2:3 with xerrorbars pt 7 ps 0.95 lw 2 lc rgb '#0072B2'", index);
}

}  // namespace

Plot PlotDifferences(const std::vector<std::string>& labels, const std::vector<DifferencePanel>& panels) {
  const auto rows = static_cast<int>(labels.size());
  Plot plot{kWidth, kAbove + kRowHeight * rows + kBelow, ""};
  for (size_t i = 0; i < panels.size(); ++i) plot.commands += DifferenceData(panels[i], i);
  plot.commands += Axes() + "set border 1\nset grid xtics noytics\nunset ytics\n";
  plot.commands += Line("set bmargin at screen %.4f\nset tmargin at screen %.4f", 1. * kBelow / plot.height,
                        1 - 1. * kAbove / plot.height);
  plot.commands += Line("set yrange [%.1f:0.5]\nset xlabel 'points'", rows + 0.5);
  plot.commands += "set arrow from 0, graph 0 to 0, graph 1 nohead lw 1.5 lc rgb 'black'\n";
  for (int row = 0; row < rows; ++row) {
    plot.commands += "set label " + QuoteForGnuplot(Shorten(labels[row], kLongestLabel)) +
                     Line(" at graph -0.06, first %d right", row + 1);
    plot.commands += Line("set arrow from graph 0, first %d to graph 1, first %d nohead back lw 1 lc rgb '#e4e4e4'",
                          row + 1, row + 1);
  }
  plot.commands += "set multiplot\n";
  // Accuracies share a scale; shares of found items are of another kind.
  Range shared{0, 0};
  for (const DifferencePanel& panel : panels) {
    if (panel.title == "locmax") continue;
    const Range own = DifferenceRange(panel);
    shared.Take(own.low);
    shared.Take(own.high);
  }
  for (size_t i = 0; i < panels.size(); ++i) {
    Range range = panels[i].title == "locmax" ? DifferenceRange(panels[i]) : shared;
    range.Widen();
    plot.commands += DrawPanel(panels[i], i, panels.size(), range);
  }
  plot.commands += "unset multiplot\n";
  return plot;
}

}  // namespace dropkit::cli

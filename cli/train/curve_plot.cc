// Accuracy over epochs. Every position is decided here, not by gnuplot: labels must not run into one another.
#include <algorithm>
#include <numeric>

#include "cli/train/gnuplot.h"
#include "cli/train/plot.h"
#include "cli/train/plot_axes.h"

namespace dropkit::cli {
namespace {

size_t LongestOf(const std::vector<MethodCurve>& curves) {
  size_t longest = 0;
  for (const MethodCurve& curve : curves) longest = std::max(longest, curve.epochs.size());
  return longest;
}

// Of all seeds, from one epoch on; of methods that end before it, the last epoch.
Range RangeFrom(const std::vector<MethodCurve>& curves, size_t first) {
  Range range;
  for (const MethodCurve& curve : curves) {
    for (size_t epoch = std::min(first, curve.epochs.size() - 1); epoch < curve.epochs.size(); ++epoch) {
      range.Take(curve.epochs[epoch].low);
      range.Take(curve.epochs[epoch].high);
    }
  }
  range.Widen();
  return range;
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

// Whether bars stand at this epoch: some eight a method, each method's beside the others', and the last.
bool HasBar(const MethodCurve& curve, size_t index, size_t count, size_t epoch, size_t longest) {
  const size_t every = std::max<size_t>(1, longest / 8);
  return epoch + 1 == curve.epochs.size() || epoch % every == index * every / count;
}

// How far beside its epoch a method's point stands, in epochs: bars of methods with like results hide one another. A
// few units of the plot are enough.
double Beside(size_t index, const std::vector<MethodCurve>& curves) {
  const auto count = static_cast<double>(curves.size());
  const double step = std::min(0.6 / count, 0.015 * static_cast<double>(LongestOf(curves)));
  return (static_cast<double>(index) - (count - 1) / 2) * step;
}

// The data blocks $lineI, all epochs, and $barsI, those with a bar: the epoch, mean, lowest and highest, and the place
// beside the epoch.
std::string CurveData(const std::vector<MethodCurve>& curves) {
  const size_t longest = LongestOf(curves);
  std::string data;
  for (size_t i = 0; i < curves.size(); ++i) {
    std::string line = Line("$line%zu << EOD", i), bars = Line("$bars%zu << EOD", i);
    for (size_t epoch = 0; epoch < curves[i].epochs.size(); ++epoch) {
      const Statistics& at = curves[i].epochs[epoch];
      const std::string point = Line("%zu %.6g %.6g %.6g %.4f", epoch + 1, at.mean, at.low, at.high,
                                     static_cast<double>(epoch + 1) + Beside(i, curves));
      line += point;
      if (HasBar(curves[i], i, curves.size(), epoch, longest)) bars += point;
    }
    data += line + "EOD\n" + bars + "EOD\n";
  }
  return data;
}

// Where the y axis stands: there is room for its numbers and its name.
double LeftOf(const Range& range, int most) {
  return 1.9 * kFontSize + TicWidth(range, TicStep(range, most)) + 0.8 * kFontSize;
}

std::string Scales(size_t longest, const Range& range, int most_x, int most_y) {
  const double epochs = static_cast<double>(longest), step = std::max(1., TicStep({0, epochs}, most_x));
  return Line("set xrange [0.5:%.1f]", epochs + 0.5) + Line("set xtics %g,%g", step, step) +
         Line("set yrange [%.6g:%.6g]", range.low, range.high) + Line("set ytics %g", TicStep(range, most_y));
}

// A label to the right of the plot for each curve, as high as the curve ends where there is room, and a line to it.
std::string CurveLabels(const std::vector<MethodCurve>& curves, const Range& range, double pixels) {
  std::vector<double> wanted;
  for (const MethodCurve& curve : curves) wanted.push_back((curve.epochs.back().mean - range.low) / range.span());
  const std::vector<double> placed = Spread(wanted, 1.35 * kFontSize / pixels, 1);
  std::string commands;
  for (size_t i = 0; i < curves.size(); ++i) {
    const double last = static_cast<double>(curves[i].epochs.size()) + Beside(i, curves);
    commands += Line("set arrow from first %.4f,%.6g to graph 1.05,%.4f nohead lw 1 %s", last,
                     curves[i].epochs.back().mean, placed[i], LineLook(curves[i].place).c_str());
    commands += "set label " + QuoteForGnuplot(Shorten(curves[i].label)) +
                Line(" at graph 1.07,%.4f left point %s ps 0.9 offset char 1.2,-0.28", placed[i],
                     MarkerLook(curves[i].place).c_str());
  }
  return commands;
}

std::string DrawCurves(const std::vector<MethodCurve>& curves) {
  std::string commands = "plot ";
  for (size_t i = 0; i < curves.size(); ++i) {
    const size_t place = curves[i].place;
    commands += (i > 0 ? ", \\\n  " : "") + ("$line" + std::to_string(i)) + " using 5:2 with lines lw " +
                (place == 0 ? "2.6 " : "1.7 ") + LineLook(place) + ", $bars" + std::to_string(i) +
                " using 5:2:3:4 with yerrorbars lw 1.1 ps 0.75 " + MarkerLook(place);
  }
  return commands + "\n";
}

constexpr size_t kPanelsAcross = 3;
constexpr int kPanelHeight = 150, kPanelTop = 34, kPanelGap = 48, kPanelBottom = 70;

// The place of a panel's axes; those at the left and the lowest of a column carry the numbers.
std::string PanelFrame(size_t index, size_t count, double axis, int height) {
  const size_t row = index / kPanelsAcross, column = index % kPanelsAcross;
  const double width = (1. - axis / kPlotWidth) / kPanelsAcross;
  const double left = axis / kPlotWidth + width * static_cast<double>(column);
  const double top = kPanelTop + static_cast<double>(row) * (kPanelHeight + kPanelGap);
  const bool lowest = index + kPanelsAcross >= count;
  return Line("set lmargin at screen %.4f", left) + Line("set rmargin at screen %.4f", left + width - 0.018) +
         Line("set tmargin at screen %.4f", 1 - top / height) +
         Line("set bmargin at screen %.4f", 1 - (top + kPanelHeight) / height) +
         Line("set format y '%s'", column == 0 ? "%g" : "") + Line("set format x '%s'", lowest ? "%g" : "") +
         NameOfY(column == 0 ? "accuracy, %" : "", "graph 0.5") +
         Line("set xlabel '%s' offset 0,0.6", lowest ? "epoch" : "");
}

}  // namespace

Plot PlotCurves(const std::string& accuracy_name, const std::vector<MethodCurve>& curves) {
  const Range range = RangeFrom(curves, 0);
  Plot plot{kPlotWidth, std::max(520, 110 + 23 * static_cast<int>(curves.size())), ""};
  const double bottom = 70.0 / plot.height, top = 1 - 18.0 / plot.height;
  plot.commands = CurveData(curves) + QuietAxes() + Scales(LongestOf(curves), range, 10, 10);
  plot.commands += Line("set lmargin at screen %.4f\nset rmargin at screen 0.63", LeftOf(range, 10) / kPlotWidth);
  plot.commands += Line("set bmargin at screen %.4f", bottom) + Line("set tmargin at screen %.4f", top);
  plot.commands += "set xlabel 'epoch' offset 0,0.5\n" + NameOfY(accuracy_name + ", %", "graph 0.5");
  plot.commands += CurveLabels(curves, range, plot.height * (top - bottom)) + DrawCurves(curves);
  return plot;
}

Plot PlotPanels(const std::vector<MethodCurve>& curves, const MethodCurve* reference) {
  const auto rows = static_cast<int>((curves.size() + kPanelsAcross - 1) / kPanelsAcross);
  Plot plot{kPlotWidth, kPanelTop + rows * (kPanelHeight + kPanelGap) - kPanelGap + kPanelBottom, ""};
  const size_t longest = LongestOf(curves);
  const Range range = RangeFrom(curves, longest / 3);
  plot.cut = RangeFrom(curves, 0).low < range.low;
  plot.commands = CurveData(curves) + QuietAxes() + Scales(longest, range, 4, 4);
  plot.commands += "set multiplot\n";
  for (size_t i = 0; i < curves.size(); ++i) {
    const std::string line = "$line" + std::to_string(i);
    plot.commands += PanelFrame(i, curves.size(), LeftOf(range, 4), plot.height) + "set title " +
                     QuoteForGnuplot(Shorten(curves[i].label)) + " offset 0,-0.6\n" + "plot " + line +
                     " using 1:3:4 with filledcurves fc rgb '#a9cfe8' fs solid 1 noborder, " + line +
                     " using 1:2 with lines lw 2 lc rgb '#003a5c'";
    if (reference != nullptr && reference != &curves[i]) {
      plot.commands +=
          Line(", $line%td using 1:2 with lines lw 1.6 dt (7,4) lc rgb '#D55E00'", reference - curves.data());
    }
    plot.commands += "\n";
  }
  plot.commands += "unset multiplot\n";
  return plot;
}

}  // namespace dropkit::cli

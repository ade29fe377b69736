// Colours, dashes and markers have lists of different lengths, so that methods which share one differ in the others.
#include "cli/train/plot_axes.h"

#include <algorithm>
#include <array>

#include "cli/train/gnuplot.h"

namespace dropkit::cli {
namespace {

// After Okabe and Ito's for the colour-blind, the light ones darker: white paper swallows yellow. `none` mostly comes
// first: black.
constexpr std::array<const char*, 8> kColours = {"#000000", "#0072B2", "#D55E00", "#009E73",
                                                 "#AA4499", "#B8860B", "#4AA3DF", "#666666"};
constexpr std::array<const char*, 5> kDashes = {"1", "(14,5)", "(3,4)", "(14,4,3,4)", "(8,3)"};
// gnuplot's numbers: filled markers, then hollow ones, then lines.
constexpr std::array<int, 14> kMarkers = {7, 5, 9, 11, 13, 6, 4, 8, 10, 12, 2, 1, 3, 15};

constexpr double kDigitWidth = 0.65 * kFontSize;
constexpr const char* kNameTag = "1000";  // of a label, past those of the curves

// The smallest step whose numbers do not touch, among whole multiples of powers of ten: with 1, 2 and 5 alone a narrow
// panel may be left with its 0. Two numbers are needed to read a scale, even if they come close.
double SignedStep(const Range& range, double width) {
  double step = std::pow(10, std::floor(std::log10(range.span() / 6)));
  for (double best = step;; step *= 10) {
    for (const double factor : {1., 2., 3., 4., 5.}) {
      const double wider = factor * step;
      if (std::floor(range.high / wider) - std::ceil(range.low / wider) < 1) return best;
      best = wider;
      // A sign is wider than a digit, and there is a blank between.
      if (1.3 * kFontSize + TicWidth(range, wider) < width * wider / range.span()) return wider;
    }
  }
}

}  // namespace

void Range::Take(double value) {
  if (!std::isfinite(value)) return;
  low = std::min(low, value);
  high = std::max(high, value);
}

void Range::Widen() {
  if (!(low <= high)) *this = {0, 1};
  const double room = span() > 0 ? 0.06 * span() : 1;
  low -= room;
  high += room;
}

double TicStep(const Range& range, int most) {
  const double least = range.span() / most, power = std::pow(10, std::floor(std::log10(least)));
  for (const double factor : {1., 2., 5.}) {
    if (factor * power >= least) return factor * power;
  }
  return 10 * power;
}

std::string SignedTics(const Range& range, double width) {
  const double step = SignedStep(range, width);
  std::string tics;
  for (double i = std::ceil(range.low / step); i * step <= range.high; ++i) {
    const double value = i == 0 ? 0 : i * step;  // 0 may come as -0
    char text[80];
    std::snprintf(text, sizeof text, i == 0 ? "'%g' %g" : "'%+g' %g", value, value);
    tics += (tics.empty() ? "" : ", ") + std::string(text);
  }
  return "set xtics (" + tics + ")\n";
}

double TicWidth(const Range& range, double step) {
  int widest = 1;
  for (double i = std::ceil(range.low / step); i * step <= range.high; ++i)
    widest = std::max(widest, std::snprintf(nullptr, 0, "%g", i == 0 ? 0 : i * step));
  return kDigitWidth * widest;
}

std::string NameOfY(const std::string& name, const std::string& middle) {
  return std::string("set label ") + kNameTag + " " + QuoteForGnuplot(name) +
         Line(" at screen %.4f, %s center rotate", 0.8 * kFontSize / kPlotWidth, middle.c_str());
}

std::string QuietAxes() {
  return "set border 3 lc rgb '#444444'\nset tics nomirror out scale 0.6\nset xtics offset 0,0.3\n"
         "set grid ytics lt 1 lc rgb '#e4e4e4'\nset bars 0.5\nunset key\n";
}

std::string LineLook(size_t place) {
  return std::string("lc rgb '") + kColours[place % kColours.size()] + "' dt " + kDashes[place % kDashes.size()];
}

std::string MarkerLook(size_t place) {
  return std::string("lc rgb '") + kColours[place % kColours.size()] + "' dt 1 pt " +
         std::to_string(kMarkers[place % kMarkers.size()]);
}

std::string Shorten(const std::string& text, size_t longest) {
  if (text.size() <= longest) return text;
  const size_t end = (longest - 2) / 3, start = longest - 2 - end;
  return text.substr(0, start) + ".." + text.substr(text.size() - end);
}

}  // namespace dropkit::cli

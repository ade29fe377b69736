// What the plots share: ranges and steps of axes, and the looks by which methods are told apart.
#ifndef DROPKIT_CLI_TRAIN_PLOT_AXES_H_
#define DROPKIT_CLI_TRAIN_PLOT_AXES_H_

#include <cmath>
#include <cstddef>
#include <cstdio>
#include <string>

namespace dropkit::cli {

inline constexpr int kPlotWidth = 1000;      // units of every plot; the page scales them
inline constexpr int kFontSize = 16;         // in the same units
inline constexpr size_t kLongestLabel = 32;  // characters; every plot of a page cuts its labels alike

// A line of gnuplot's commands or data, as printf prints it. Not for names: those have any length.
template <typename... Values>
std::string Line(const char* format, Values... values) {
  char text[256];
  std::snprintf(text, sizeof text, format, values...);
  return std::string(text) + "\n";
}

struct Range {
  double low = INFINITY, high = -INFINITY;
  void Take(double value);  // grows to hold a finite value
  void Widen();             // a little room on both sides, and something to show where all values are one
  double span() const { return high - low; }
};

// 1, 2 or 5 times a power of ten, so that at most `most` steps fit.
double TicStep(const Range& range, int most);
// `set xtics` at such steps, with signs before all but 0: as many of at most six as fit side by side into `width`
// units.
std::string SignedTics(const Range& range, double width);
// The width in units of the widest number beside a y axis with that step.
double TicWidth(const Range& range, double step);
// The name of a y axis, upright in the plot's left edge: gnuplot's own `ylabel` moves out of the picture where numbers
// are wide. `middle` is a position in gnuplot's words: "graph 0.5".
std::string NameOfY(const std::string& name, const std::string& middle);

// Border, tics and grid lines that stay behind the data; labels instead of a key.
std::string QuietAxes();

// Colour and dash of a line, colour and shape of a marker, for the method in that place.
std::string LineLook(size_t place);
std::string MarkerLook(size_t place);

// Fits into `longest` characters: the middle of a longer one becomes "..".
std::string Shorten(const std::string& text, size_t longest = kLongestLabel);

}  // namespace dropkit::cli

#endif  // DROPKIT_CLI_TRAIN_PLOT_AXES_H_

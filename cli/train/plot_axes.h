// What the plots share: ranges and steps of axes, and the looks by which methods are told apart.
#ifndef DROPKIT_CLI_TRAIN_PLOT_AXES_H_
#define DROPKIT_CLI_TRAIN_PLOT_AXES_H_

#include <cmath>
#include <cstddef>
#include <cstdio>
#include <string>

namespace dropkit::cli {

inline constexpr int kPlotWidth = 1000;      // units of every plot; the page scales them
inline constexpr size_t kLongestLabel = 30;  // characters

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
// `set xtics` at those steps, with signs before all but 0.
std::string SignedTics(const Range& range, int most);

// Border, tics and grid lines that stay behind the data; labels instead of a key.
std::string QuietAxes();

// Colour and dash of a line, colour and shape of a marker, for the method in that place.
std::string LineLook(size_t place);
std::string MarkerLook(size_t place);

// Fits into `longest` characters: the middle of a longer one becomes "..".
std::string Shorten(const std::string& text, size_t longest);

}  // namespace dropkit::cli

#endif  // DROPKIT_CLI_TRAIN_PLOT_AXES_H_

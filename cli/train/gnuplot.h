// Runs gnuplot, the program, on a script and gives back the picture.
// Assumes POSIX. No shell is asked, gnuplot reads no settings of the user's, and whatever goes wrong is a message.
#ifndef DROPKIT_CLI_TRAIN_GNUPLOT_H_
#define DROPKIT_CLI_TRAIN_GNUPLOT_H_

#include <chrono>
#include <string>

namespace dropkit::cli {

struct GnuplotPicture {
  std::string svg;      // an <svg> element for an HTML page, whose ids all start with the picture's name
  std::string problem;  // empty, or what was wrong, and then there is no picture
};

// `commands` without the terminal, which is SVG of `width` x `height` units, scaled to the space the page gives it.
// `name` is an identifier, the only one of its page. gnuplot is stopped when it takes longer than `limit`.
GnuplotPicture RunGnuplot(const std::string& name, int width, int height, const std::string& commands,
                          std::chrono::milliseconds limit = std::chrono::seconds(20));

// `text` as a string of gnuplot's language that stands for itself; control characters become '?'.
std::string QuoteForGnuplot(const std::string& text);

}  // namespace dropkit::cli

#endif  // DROPKIT_CLI_TRAIN_GNUPLOT_H_

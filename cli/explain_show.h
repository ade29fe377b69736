// The ways to show a page of `dropkit explain`: text for a terminal, a PNG picture, one HTML file, and the numbers as
// JSON.

#ifndef DROPKIT_CLI_EXPLAIN_SHOW_H_
#define DROPKIT_CLI_EXPLAIN_SHOW_H_

#include <ostream>
#include <string>

#include "cli/explain_steps.h"

namespace dropkit::cli {

// `colour`: dropped cells red, fired ones bold, by the escapes of ANSI terminals; the marks of kLegend say the
// same without.
void PrintPage(const Page& page, bool colour, std::ostream& out);

// Both replace the file as a whole, and throw std::runtime_error if they cannot.
// Returns "1380 x 900 pixels".
std::string WritePagePng(const Page& page, const std::string& path);
// The file refers to nothing outside itself and needs no script.
void WritePageHtml(const Page& page, const std::string& path);

void PrintNumbersJson(const Numbers& numbers, std::ostream& out);

// Breaks at blanks into lines of which `fits` says yes, if a line has a blank to break at.
template <typename Fits>
std::vector<std::string> BreakLines(const std::string& text, Fits fits) {
  std::vector<std::string> lines(1);
  for (size_t start = 0; start < text.size();) {
    const size_t end = std::min(text.find(' ', start), text.size());
    const std::string word = text.substr(start, end - start);
    const std::string longer = lines.back().empty() ? word : lines.back() + " " + word;
    if (lines.back().empty() || fits(longer))
      lines.back() = longer;
    else
      lines.push_back(word);
    start = end + 1;
  }
  return lines;
}

}  // namespace dropkit::cli

#endif  // DROPKIT_CLI_EXPLAIN_SHOW_H_

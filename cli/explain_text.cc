// Text at most 100 columns wide, where cells are not wider: grids stand side by side while they fit.

#include <algorithm>

#include "cli/explain_show.h"

namespace dropkit::cli {
namespace {

constexpr size_t kWidth = 100, kIndent = 3, kGap = 4;

std::string Padded(const std::string& text, size_t width) {
  return text + std::string(width > text.size() ? width - text.size() : 0, ' ');
}

// A grid as lines of equal length, coloured ones longer by their escapes.
struct Drawn {
  size_t width = 0;
  std::vector<std::string> lines;
};

// " 3 ", "[0]", " 1*".
std::string CellText(const GridCell& cell, size_t width, bool colour) {
  const std::string text = std::string(width - cell.text.size(), ' ') + cell.text;
  const size_t first = text.find_first_not_of(' ');
  std::string marked = " " + text + " ";
  if (cell.dropped && first != std::string::npos) {
    marked[first] = '[';
    marked.back() = ']';
  }
  if (!colour || !(cell.dropped || cell.fired)) return marked;
  const char* escape = cell.fired ? (cell.dropped ? "\033[1;31m" : "\033[1m") : "\033[31m";
  return escape + marked + "\033[0m";
}

Drawn DrawGrid(const Grid& grid, bool colour) {
  size_t cell_width = 1;
  for (const GridCell& cell : grid.cells) cell_width = std::max(cell_width, cell.text.size());
  Drawn drawn;
  const auto columns = static_cast<size_t>(grid.columns);
  drawn.width = std::max(columns * (cell_width + 2), grid.title.size());
  drawn.lines.push_back(Padded(grid.title, drawn.width));
  for (size_t i = 0; i < grid.cells.size(); i += columns) {
    std::string line;
    for (size_t j = i; j < i + columns; ++j) line += CellText(grid.cells[j], cell_width, colour);
    drawn.lines.push_back(line + std::string(drawn.width - columns * (cell_width + 2), ' '));
  }
  return drawn;
}

std::string Trimmed(const std::string& line) { return line.substr(0, line.find_last_not_of(' ') + 1); }

// Grids of one step have as many lines each: they are planes of one tensor.
void PrintGrids(const std::vector<Grid>& grids, bool colour, std::ostream& out) {
  std::vector<std::string> lines;
  size_t used = 0;
  const auto flush = [&] {
    for (const std::string& line : lines) out << Trimmed(std::string(kIndent, ' ') + line) << "\n";
    lines.clear();
    used = 0;
  };
  for (const Grid& grid : grids) {
    const Drawn drawn = DrawGrid(grid, colour);
    if (!lines.empty() && kIndent + used + kGap + drawn.width > kWidth) {
      flush();
      out << "\n";
    }
    const std::string gap(lines.empty() ? 0 : kGap, ' ');
    lines.resize(drawn.lines.size());
    for (size_t i = 0; i < lines.size(); ++i) lines[i] += gap + drawn.lines[i];
    used += gap.size() + drawn.width;
  }
  flush();
}

void PrintWrapped(const std::string& head, const std::string& text, std::ostream& out) {
  const auto fits = [&](const std::string& line) { return head.size() + line.size() <= kWidth; };
  bool first = true;
  for (const std::string& line : BreakLines(text, fits)) {
    out << (first ? head : std::string(head.size(), ' ')) << line << "\n";
    first = false;
  }
}

}  // namespace

void PrintPage(const Page& page, bool colour, std::ostream& out) {
  const char* bold = colour ? "\033[1m" : "";
  const char* plain = colour ? "\033[0m" : "";
  for (const Setting& setting : page.setting) PrintWrapped(Padded(setting.name, 8), setting.Text(), out);
  PrintWrapped("marks   ", kLegend, out);
  int number = 0;
  for (const Step& step : page.steps) {
    out << "\n" << bold << ++number << "  " << step.title << plain << "\n";
    for (const std::string& sentence : step.sentences) PrintWrapped(std::string(kIndent, ' '), sentence, out);
    if (!step.formulas.empty()) out << "\n";
    for (const std::string& line : step.formulas) out << Trimmed(std::string(2 * kIndent, ' ') + line) << "\n";
    if (!step.grids.empty()) out << "\n";
    PrintGrids(step.grids, colour, out);
  }
}

}  // namespace dropkit::cli

// The steps as panels, from left to right and down, drawn by cairo. Dropped cells are hatched and fired ones dark or
// framed, so that the picture says the same in black and white. Everything is measured before it is drawn: the picture
// grows with what it shows and clips nothing.

#include <cairo.h>

#include <algorithm>
#include <cstdio>
#include <functional>
#include <memory>
#include <stdexcept>

#include "cli/explain_show.h"
#include "cli/file.h"

namespace dropkit::cli {
namespace {

constexpr double kMargin = 24, kPanelGap = 24, kPanelPad = 14, kGridGap = 20;
constexpr double kLeastPanel = 300, kWordsPanel = 660;  // wide enough for sentences; for a panel of words alone
constexpr double kPictureWidth = 1700;  // panels start a new row beyond; one that is wider widens the picture
constexpr double kLine = 20, kTitleLine = 28;
constexpr double kCell = 32, kSmallCell = 26;  // small: on a map of more than kFewColumns
constexpr int64_t kFewColumns = 10;
constexpr double kTextSize = 13.5, kTitleSize = 16, kHeadSize = 20;

struct Colour {
  double r, g, b;
};
constexpr Colour kInk{0.1, 0.1, 0.1}, kSoft{0.35, 0.35, 0.35}, kLineColour{0.55, 0.55, 0.55}, kWhite{1, 1, 1},
    kPanel{0.965, 0.965, 0.955}, kDrop{0.97, 0.83, 0.81}, kHatch{0.72, 0.45, 0.42}, kFire{0.12, 0.23, 0.42};

enum class Face { kPlain, kBold, kMono, kMonoBold };

class Canvas {
 public:
  explicit Canvas(cairo_t* context) : cr_(context) {}

  void Font(Face face, double size) const {
    const bool mono = face == Face::kMono || face == Face::kMonoBold;
    const bool bold = face == Face::kBold || face == Face::kMonoBold;
    cairo_select_font_face(cr_, mono ? "DejaVu Sans Mono" : "DejaVu Sans", CAIRO_FONT_SLANT_NORMAL,
                           bold ? CAIRO_FONT_WEIGHT_BOLD : CAIRO_FONT_WEIGHT_NORMAL);
    cairo_set_font_size(cr_, size);
  }
  double Width(const std::string& text) const {
    cairo_text_extents_t extents;
    cairo_text_extents(cr_, text.c_str(), &extents);
    return extents.x_advance;
  }
  void Text(double x, double baseline, const std::string& text, Colour colour) const {
    Use(colour);
    cairo_move_to(cr_, x, baseline);
    cairo_show_text(cr_, text.c_str());
  }
  void Fill(double x, double y, double width, double height, Colour colour) const {
    Use(colour);
    cairo_rectangle(cr_, x, y, width, height);
    cairo_fill(cr_);
  }
  void Frame(double x, double y, double width, double height, Colour colour, double line) const {
    Use(colour);
    cairo_set_line_width(cr_, line);
    cairo_rectangle(cr_, x + line / 2, y + line / 2, width - line, height - line);
    cairo_stroke(cr_);
  }
  void Hatch(double x, double y, double width, double height) const {
    cairo_save(cr_);
    cairo_rectangle(cr_, x, y, width, height);
    cairo_clip(cr_);
    Use(kHatch);
    cairo_set_line_width(cr_, 1);
    for (double along = -height; along < width; along += 7) {
      cairo_move_to(cr_, x + along, y + height);
      cairo_line_to(cr_, x + along + height, y);
    }
    cairo_stroke(cr_);
    cairo_restore(cr_);
  }

 private:
  void Use(Colour colour) const { cairo_set_source_rgb(cr_, colour.r, colour.g, colour.b); }
  cairo_t* cr_;
};

// ---------------------------------------------------------------- Layout

struct Size {
  double width = 0, height = 0;
};

// All cells of a step are alike.
struct CellSize {
  double width, height, text;
};
CellSize CellSizeOf(const Canvas& canvas, const Step& step) {
  const bool few = step.grids.empty() || step.grids[0].columns <= kFewColumns;
  CellSize size{few ? kCell : kSmallCell, few ? kCell : kSmallCell, few ? 14.0 : 12.0};
  canvas.Font(Face::kMonoBold, size.text);
  for (const Grid& grid : step.grids) {
    for (const GridCell& cell : grid.cells) size.width = std::max(size.width, canvas.Width(cell.text) + size.text - 2);
  }
  return size;
}

Size GridSize(const Canvas& canvas, const Grid& grid, const CellSize& cell) {
  canvas.Font(Face::kPlain, kTextSize);
  const auto columns = static_cast<double>(grid.columns);
  const double rows = static_cast<double>(grid.cells.size()) / columns;
  return {std::max(columns * cell.width, canvas.Width(grid.title)), kLine + rows * cell.height};
}

struct Panel {
  const Step* step;
  int number;
  CellSize cell;
  Size size;
};

double InnerWidth(const Panel& panel) { return panel.size.width - 2 * kPanelPad; }

std::vector<std::string> Broken(const Canvas& canvas, Face face, const std::string& text, double width) {
  canvas.Font(face, kTextSize);
  std::vector<std::string> lines =
      BreakLines(text, [&](const std::string& line) { return canvas.Width(line) <= width; });
  return lines;
}

// A formula's lines keep their indent when they break.
std::vector<std::string> BrokenFormula(const Canvas& canvas, const std::string& text, double width) {
  canvas.Font(Face::kMono, kTextSize);
  if (canvas.Width(text) <= width) return {text};
  const size_t indent = text.find_first_not_of(' ');
  std::vector<std::string> lines =
      Broken(canvas, Face::kMono, text.substr(indent), width - canvas.Width(std::string(indent + 4, ' ')));
  for (size_t i = 0; i < lines.size(); ++i) lines[i] = std::string(i == 0 ? indent : indent + 4, ' ') + lines[i];
  return lines;
}

// Draws the panel with its top left corner at (x, y), or, without `draw`, only measures; returns its height.
double ShowPanel(const Canvas& canvas, const Panel& panel, double x, double y, bool draw);

double WidestGrid(const Canvas& canvas, const Step& step, const CellSize& cell) {
  double width = 0;
  for (const Grid& grid : step.grids) width = std::max(width, GridSize(canvas, grid, cell).width);
  return width;
}

std::string TitleOf(const Panel& panel) { return std::to_string(panel.number) + ". " + panel.step->title; }

// A panel of words grows with its formulas.
double WordsWidth(const Canvas& canvas, const Panel& panel) {
  canvas.Font(Face::kBold, kTitleSize);
  double width = canvas.Width(TitleOf(panel)) + 2 * kPanelPad;
  canvas.Font(Face::kMono, kTextSize);
  for (const std::string& line : panel.step->formulas)
    width = std::max(width, std::min(canvas.Width(line) + 2 * kPanelPad, kWordsPanel));
  return std::max(width, kLeastPanel);
}

// Wide enough for its title and its widest grid, and for several grids side by side up to the picture's width.
Panel MeasurePanel(const Canvas& canvas, const Step& step, int number) {
  Panel panel{&step, number, CellSizeOf(canvas, step), {}};
  const double widest = WidestGrid(canvas, step, panel.cell);
  double all = -kGridGap;
  for (const Grid& grid : step.grids) all += GridSize(canvas, grid, panel.cell).width + kGridGap;
  const double most = std::max(widest, kPictureWidth - 2 * kMargin - 2 * kPanelPad);
  panel.size.width = std::max(WordsWidth(canvas, panel), std::min(all, most) + 2 * kPanelPad);
  panel.size.height = ShowPanel(canvas, panel, 0, 0, false);
  return panel;
}

// ---------------------------------------------------------------- Drawing

void DrawCell(const Canvas& canvas, const GridCell& cell, double x, double y, const CellSize& size) {
  if (cell.outside) return;
  const bool dark = cell.fired && !cell.dropped;
  canvas.Fill(x, y, size.width, size.height, dark ? kFire : cell.dropped ? kDrop : kWhite);
  canvas.Font(cell.fired ? Face::kMonoBold : Face::kMono, size.text);
  const double text = canvas.Width(cell.text), middle = y + size.height / 2;
  if (cell.dropped) {
    canvas.Hatch(x, y, size.width, size.height);
    canvas.Fill(x + (size.width - text) / 2 - 2, middle - 0.6 * size.text, text + 4, 1.2 * size.text, kDrop);
  }
  canvas.Frame(x, y, size.width + 1, size.height + 1, kLineColour, 1);
  if (cell.fired && cell.dropped) canvas.Frame(x + 1, y + 1, size.width - 1, size.height - 1, kFire, 3);
  canvas.Text(x + (size.width - text) / 2, middle + 0.36 * size.text, cell.text, dark ? kWhite : kInk);
}

void DrawGrid(const Canvas& canvas, const Grid& grid, const CellSize& size, double x, double y) {
  canvas.Font(Face::kPlain, kTextSize);
  canvas.Text(x, y + 13, grid.title, kSoft);
  const auto columns = static_cast<size_t>(grid.columns);
  for (size_t i = 0; i < grid.cells.size(); ++i)
    DrawCell(canvas, grid.cells[i], x + static_cast<double>(i % columns) * size.width,
             y + kLine + static_cast<double>(i / columns) * size.height, size);
}

// Returns where the next thing goes.
double ShowLines(const Canvas& canvas, const std::vector<std::string>& lines, Face face, double x, double y,
                 bool draw) {
  for (const std::string& line : lines) {
    canvas.Font(face, kTextSize);
    if (draw) canvas.Text(x, y + 14, line, kInk);
    y += kLine;
  }
  return y;
}

double ShowGrids(const Canvas& canvas, const Panel& panel, double x, double y, bool draw) {
  double at = 0, bottom = y;
  for (const Grid& grid : panel.step->grids) {
    const Size size = GridSize(canvas, grid, panel.cell);
    if (at > 0 && at + size.width > InnerWidth(panel) + 0.5) {
      at = 0;
      y = bottom + kGridGap / 2;
    }
    if (draw) DrawGrid(canvas, grid, panel.cell, x + at, y);
    at += size.width + kGridGap;
    bottom = std::max(bottom, y + size.height);
  }
  return bottom;
}

double ShowPanel(const Canvas& canvas, const Panel& panel, double x, double y, bool draw) {
  const double top = y, inner = InnerWidth(panel), left = x + kPanelPad;
  if (draw) {
    canvas.Fill(x, y, panel.size.width, panel.size.height, kPanel);
    canvas.Frame(x, y, panel.size.width, panel.size.height, kLineColour, 1);
    canvas.Font(Face::kBold, kTitleSize);
    canvas.Text(left, y + kPanelPad + 14, TitleOf(panel), kInk);
  }
  y += kPanelPad + kTitleLine;
  for (const std::string& sentence : panel.step->sentences)
    y = ShowLines(canvas, Broken(canvas, Face::kPlain, sentence, inner), Face::kPlain, left, y, draw);
  if (!panel.step->formulas.empty()) y += kLine / 2;
  for (const std::string& formula : panel.step->formulas)
    y = ShowLines(canvas, BrokenFormula(canvas, formula, inner), Face::kMono, left, y, draw);
  if (!panel.step->grids.empty()) y = ShowGrids(canvas, panel, left, y + kLine / 2, draw);
  return y + kPanelPad - top;
}

std::vector<std::string> HeadLines(const Canvas& canvas, const Page& page, double width) {
  std::vector<std::string> lines;
  for (const Setting& setting : page.setting) {
    for (const std::string& line : Broken(canvas, Face::kPlain, setting.name + ": " + setting.Text(), width))
      lines.push_back(line);
  }
  lines.push_back(kPictureLegend);
  return lines;
}

// Places the panels in rows and calls show(panel, x, y) for each; returns the size that they take.
Size PlacePanels(std::vector<Panel>* panels, double width, double top,
                 const std::function<void(Panel&, double, double)>& show) {
  double y = top;
  Size taken;
  for (size_t first = 0; first < panels->size();) {
    double x = kMargin, height = 0;
    size_t last = first;
    for (; last < panels->size() && (last == first || x + (*panels)[last].size.width <= width - kMargin + 0.5);
         ++last) {
      height = std::max(height, (*panels)[last].size.height);
      x += (*panels)[last].size.width + kPanelGap;
    }
    x = kMargin;
    for (; first < last; ++first) {
      Panel& panel = (*panels)[first];
      panel.size.height = height;  // panels of a row are equally high
      show(panel, x, y);
      x += panel.size.width + kPanelGap;
      taken.width = std::max(taken.width, x - kPanelGap);
    }
    y += height + kPanelGap;
  }
  return {taken.width, y - kPanelGap};
}

// Draws all, or only measures; returns the picture's size.
Size ShowPage(const Canvas& canvas, const Page& page, bool draw) {
  std::vector<Panel> panels;
  for (const Step& step : page.steps) panels.push_back(MeasurePanel(canvas, step, static_cast<int>(panels.size()) + 1));
  double width = kPictureWidth;
  for (const Panel& panel : panels) width = std::max(width, panel.size.width + 2 * kMargin);
  const std::vector<std::string> head = HeadLines(canvas, page, width - 2 * kMargin);
  if (draw) {
    canvas.Font(Face::kBold, kHeadSize);
    canvas.Text(kMargin, kMargin + 18, page.title, kInk);
  }
  const double top = ShowLines(canvas, head, Face::kPlain, kMargin, kMargin + 32, draw) + kPanelGap / 2;
  const Size taken = PlacePanels(&panels, width, top, [&](Panel& panel, double x, double y) {
    if (draw) ShowPanel(canvas, panel, x, y, true);
  });
  canvas.Font(Face::kBold, kHeadSize);
  const double title = canvas.Width(page.title) + kMargin;
  double right = std::max(taken.width, title);
  canvas.Font(Face::kPlain, kTextSize);
  for (const std::string& line : head) right = std::max(right, kMargin + canvas.Width(line));
  return {right + kMargin, taken.height + kMargin};
}

// ---------------------------------------------------------------- File

struct Destroy {
  void operator()(cairo_surface_t* surface) const { cairo_surface_destroy(surface); }
  void operator()(cairo_t* context) const { cairo_destroy(context); }
};
using Surface = std::unique_ptr<cairo_surface_t, Destroy>;
using Context = std::unique_ptr<cairo_t, Destroy>;

void CheckCairo(cairo_status_t status) {
  if (status != CAIRO_STATUS_SUCCESS) throw std::runtime_error(std::string("cairo: ") + cairo_status_to_string(status));
}

cairo_status_t WriteBytes(void* file, const unsigned char* bytes, unsigned int count) {
  std::fwrite(bytes, 1, count, static_cast<std::FILE*>(file));  // ReplaceFile finds what stdio could not write
  return CAIRO_STATUS_SUCCESS;
}

}  // namespace

std::string WritePagePng(const Page& page, const std::string& path) {
  const Surface probe(cairo_image_surface_create(CAIRO_FORMAT_RGB24, 1, 1));
  const Context measuring(cairo_create(probe.get()));
  const Size size = ShowPage(Canvas(measuring.get()), page, false);
  const int width = static_cast<int>(size.width + 0.999), height = static_cast<int>(size.height + 0.999);
  const Surface surface(cairo_image_surface_create(CAIRO_FORMAT_RGB24, width, height));
  const Context context(cairo_create(surface.get()));
  CheckCairo(cairo_status(context.get()));
  const Canvas canvas(context.get());
  canvas.Fill(0, 0, width, height, kWhite);
  ShowPage(canvas, page, true);
  CheckCairo(cairo_status(context.get()));
  ReplaceFile(path,
              [&](std::FILE* file) { CheckCairo(cairo_surface_write_to_png_stream(surface.get(), WriteBytes, file)); });
  return std::to_string(width) + " x " + std::to_string(height) + " pixels";
}

}  // namespace dropkit::cli

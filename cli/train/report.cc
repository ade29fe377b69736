// The order of the page and its words. Figures come from comparison.h, plots from plot.h, sample images from
// sample_pictures.h, the page's frame and styles from page.h.
#include "cli/train/report.h"

#include <algorithm>
#include <ctime>

#include "cli/file.h"
#include "cli/train/comparison.h"
#include "cli/train/gnuplot.h"
#include "cli/train/page.h"
#include "cli/train/plot.h"
#include "cli/train/sample_pictures.h"

namespace dropkit::cli {
namespace {

// The methods in their order on the page; a method's place is its number in table and plots, and its look in plots.
class Methods {
 public:
  explicit Methods(const std::vector<RunResult>& results, const std::vector<RunSamples>& samples) {
    for (const RunResult& result : results) Add(result.method);
    for (const RunSamples& run : samples) Add(run.method);
  }
  size_t Place(const std::string& method) const {
    return static_cast<size_t>(std::find(names_.begin(), names_.end(), method) - names_.begin());
  }
  std::string Name(const std::string& method) const { return std::to_string(Place(method) + 1) + "  " + method; }
  size_t size() const { return names_.size(); }

 private:
  void Add(const std::string& method) {
    if (Place(method) == names_.size()) names_.push_back(method);
  }
  std::vector<std::string> names_;
};

std::string Today() {
  const std::time_t now = std::time(nullptr);
  std::tm parts{};
  gmtime_r(&now, &parts);
  char text[64];
  std::strftime(text, sizeof text, "%Y-%m-%d %H:%M UTC", &parts);
  return text;
}

// What the runs have, each once, in their order: "0, 1, 2".
template <typename Text>
std::string Distinct(const std::vector<RunResult>& results, Text text) {
  std::vector<std::string> seen;
  for (const RunResult& result : results) {
    if (std::find(seen.begin(), seen.end(), text(result)) == seen.end()) seen.push_back(text(result));
  }
  std::string list;
  for (const std::string& one : seen) list += (list.empty() ? "" : ", ") + one;
  return list.empty() ? "none" : list;
}

size_t CountSeeds(const std::vector<RunResult>& results) {
  size_t most = 0;
  for (const Runs& runs : ByMethod(results)) most = std::max(most, runs.size());
  return most;
}

std::string Facts(const ReportInfo& info, const std::vector<RunResult>& results, const Methods& methods) {
  const auto fact = [](const std::string& name, const std::string& value) {
    return Element("dt", name) + Element("dd", value);
  };
  return "<dl class=\"facts\">\n" + Element("dt", "command") + "<dd><code>" + Words(info.command) + "</code></dd>\n" +
         fact("data", info.data) +
         fact("images",
              std::to_string(info.train_size) + " for training, " + std::to_string(info.test_size) + " for testing") +
         fact("methods", std::to_string(methods.size())) +
         fact("seeds", Distinct(results, [](const RunResult& r) { return std::to_string(r.seed); })) +
         fact("epochs", Distinct(results, [](const RunResult& r) { return std::to_string(r.epochs); })) +
         fact("threads", std::to_string(info.threads)) +
         fact("commit", Distinct(results, [](const RunResult& r) { return r.commit; })) + fact("page made", Today()) +
         "</dl>\n";
}

std::string Complaints(const std::vector<std::string>& complaints) {
  if (complaints.empty()) return "";
  std::string html = "<div class=\"problem\">Not every run went well:<ul>\n";
  for (const std::string& complaint : complaints) html += Element("li", complaint);
  return html + "</ul></div>\n";
}

// "+-" as the sign for it.
std::string Figures(std::string text) {
  const size_t sign = text.find("+-");
  return sign == std::string::npos
             ? EscapeHtml(text)
             : EscapeHtml(text.substr(0, sign)) + "&#8239;&plusmn;&#8239;" + EscapeHtml(text.substr(sign + 2));
}

std::string TableRow(const ComparisonRow& row, const Methods& methods) {
  const bool own = row.base.empty();
  std::string html = std::string("<tr class=\"") + (own ? "own" : "minus") + "\"><td>" +
                     (own ? std::to_string(methods.Place(row.method) + 1) : "") + "</td><td class=\"name\">" +
                     Breakable(own ? row.method : "minus " + row.base) + "</td><td>" + std::to_string(row.count) +
                     "</td>";
  for (size_t i = 0; i < row.cells.size(); ++i) html += "<td>" + Figures(CellText(row, i)) + "</td>";
  return html + "</tr>\n";
}

std::string ComparisonTable(const Comparison& comparison, const Methods& methods) {
  std::string html = "<div class=\"scroll\"><table>\n<thead><tr><th>#</th><th class=\"name\">method</th><th>n</th>";
  for (const std::string& column : comparison.columns) html += "<th>" + EscapeHtml(column) + "</th>";
  html += "</tr></thead>\n<tbody>\n";
  for (const ComparisonRow& row : comparison.rows) html += TableRow(row, methods);
  return html + "</tbody></table></div>\n";
}

// What the spread means, said once for the table and the plots.
std::string SpreadNote(size_t seeds) {
  if (seeds < 2) return "One seed: there is no spread, and a difference may well be chance.";
  return "The spread is over " + std::to_string(seeds) +
         " seeds at most, and a standard deviation of so few is itself uncertain: read it as an order of size.";
}

std::string TableSection(const ReportInfo& info, const Comparison& comparison, const Methods& methods, size_t seeds) {
  std::string html = "<h2>Results</h2>\n";
  if (comparison.rows.empty()) return html + Element("p", "No run ended with results.", "problem");
  const bool found =
      std::find(comparison.columns.begin(), comparison.columns.end(), "locmax") != comparison.columns.end();
  html += ComparisonTable(comparison, methods);
  html += Element(
      "p",
      std::string(
          "Accuracy in per cent; n: runs. train: the last epoch's running accuracy, with drops on. clean: all ") +
          "test images. erased K: " + info.erased +
          ". Mean and, after the sign, the sample "
          "standard deviation over seeds; below a method its differences to none, in points, paired by seed.",
      "note");
  if (found) {
    html += Element(
        "p",
        "locmax: share of test scenes whose item the class activation map finds. The level that an activation must "
        "exceed is the best of six for these very scenes, chosen in each run, so the figure flatters every "
        "method.",
        "note");
  }
  return html + Element("p", SpreadNote(seeds), "note");
}

std::string PlotFigure(const std::string& name, const Plot& plot, const std::string& caption) {
  const GnuplotPicture picture = RunGnuplot(name, plot.width, plot.height, plot.commands);
  std::string html = "<figure class=\"plot\" id=\"" + name + "\">\n";
  if (picture.problem.empty()) {
    html += "<div class=\"scroll\">" + picture.svg + "</div>\n";
  } else {
    html += Element("p", "No plot here: " + picture.problem + ".", "problem");
  }
  return html + Element("figcaption", caption) + "</figure>\n";
}

using Accuracy = double EpochPoint::*;

std::vector<MethodCurve> Curves(const std::vector<RunResult>& results, const Methods& methods, Accuracy accuracy) {
  std::vector<MethodCurve> curves;
  for (const Runs& runs : ByMethod(results)) {
    MethodCurve curve{methods.Place(runs[0]->method), methods.Name(runs[0]->method), {}};
    for (size_t epoch = 0;; ++epoch) {
      std::vector<double> values;
      for (const RunResult* run : runs) {
        if (epoch < run->curve.size()) values.push_back(run->curve[epoch].*accuracy);
      }
      if (values.empty()) break;
      curve.epochs.emplace_back(std::move(values));
    }
    if (!curve.epochs.empty()) curves.push_back(std::move(curve));
  }
  return curves;
}

const MethodCurve* Find(const std::vector<MethodCurve>& curves, size_t place) {
  const auto found =
      std::find_if(curves.begin(), curves.end(), [&](const MethodCurve& curve) { return curve.place == place; });
  return found == curves.end() ? nullptr : &*found;
}

// Where all curves in one plot hide one another, each against none can still be seen.
std::string PanelFigure(const std::vector<MethodCurve>& curves, const MethodCurve* none, size_t seeds) {
  const Plot plot = PlotPanels(curves, none);
  std::string caption = "The same curves one by one";
  caption += plot.cut ? ", without the low start of most." : ".";
  caption +=
      seeds > 1 ? " Line: the mean over seeds; band: from the lowest to the highest seed" : " Line: the one seed";
  if (none != nullptr) caption += "; dashed: " + none->label + ", for comparison";
  return PlotFigure("method_curves", plot, caption + ".");
}

// Checkpoints of older programs hold finished runs without their curves.
std::string Incomplete(const std::vector<RunResult>& results) {
  const auto without = std::count_if(results.begin(), results.end(), [](const RunResult& run) {
    return run.curve.size() < static_cast<size_t>(std::max(run.epochs, 0));
  });
  if (without == 0) return "";
  return Element("p", "Without a whole curve, and left out after its end: " + std::to_string(without) + " of " +
                          std::to_string(results.size()) + " runs.");
}

std::string CurveSection(const ReportInfo& info, const std::vector<RunResult>& results, const Methods& methods,
                         size_t seeds) {
  const std::vector<MethodCurve> clean = Curves(results, methods, &EpochPoint::clean);
  size_t longest = 0;
  for (const MethodCurve& curve : clean) longest = std::max(longest, curve.epochs.size());
  std::string html = "<h2>Accuracy over epochs</h2>\n" + Incomplete(results);
  if (longest < 2) {
    return html + Element("p", longest == 0 ? "No epoch was recorded, so there is no curve."
                                            : "One epoch was trained: a point is no curve, and the table has it.");
  }
  std::string bars = seeds > 1
                         ? " Lines: the mean over seeds; bars: from the lowest to the highest seed, at some epochs."
                         : " One seed: no spread to show.";
  if (clean.size() > 1) bars += " Within an epoch the methods stand side by side, a little to its left or right.";
  html +=
      PlotFigure("clean_curves", PlotCurves("accuracy on clean test images", clean),
                 "Clean test images after each epoch, nothing dropped: the first " +
                     std::to_string(std::min(kCurveImages, info.test_size)) + " of " + std::to_string(info.test_size) +
                     "." + bars + " Labels stand in the order in which the curves end, with the table's numbers.");
  if (clean.size() > 1) html += PanelFigure(clean, Find(clean, methods.Place("none")), seeds);
  html += PlotFigure("train_curves", PlotCurves("accuracy in training", Curves(results, methods, &EpochPoint::train)),
                     "Training images during each epoch, with drops on: a method that drops much is low here, which "
                     "says nothing against it." +
                         bars);
  return html;
}

// The rows that the plot of differences shows: those to `none`, or else to the first none-N.
std::vector<const ComparisonRow*> DifferenceRows(const Comparison& comparison) {
  std::vector<const ComparisonRow*> rows;
  std::string base;
  for (const ComparisonRow& row : comparison.rows) {
    if (!row.base.empty() && (base.empty() || row.base == "none")) base = row.base;
  }
  for (const ComparisonRow& row : comparison.rows) {
    if (!row.base.empty() && row.base == base && row.count > 0) rows.push_back(&row);
  }
  return rows;
}

std::string DifferenceSection(const Comparison& comparison, const Methods& methods, size_t seeds) {
  std::string html = "<h2>Differences to none</h2>\n";
  const std::vector<const ComparisonRow*> rows = DifferenceRows(comparison);
  if (rows.empty())
    return html + Element("p", "No method has a seed in common with a run of none: nothing to compare.");
  std::vector<std::string> labels;
  for (const ComparisonRow* row : rows) labels.push_back(methods.Name(row->method));
  std::vector<DifferencePanel> panels;
  for (size_t i = 0; i < comparison.columns.size(); ++i) {
    DifferencePanel panel{comparison.columns[i], {}};
    for (const ComparisonRow* row : rows) panel.methods.push_back(row->cells[i] ? &*row->cells[i] : nullptr);
    if (std::any_of(panel.methods.begin(), panel.methods.end(), [](const auto* cell) { return cell != nullptr; }))
      panels.push_back(std::move(panel));
  }
  const std::string spread = seeds > 1 ? "; bars: a sample standard deviation to each side; rings: the single seeds. A "
                                         "method with rings on both sides of the line is not told apart from " +
                                             rows[0]->base + "."
                                       : ". One seed: no spread to show.";
  return html + PlotFigure("differences", PlotDifferences(labels, panels),
                           "Accuracy minus that of " + rows[0]->base +
                               " with the same seed, in percentage points; right of the line is better than " +
                               rows[0]->base + ". Dots: means over seeds" + spread);
}

std::string SampleSection(const ReportInfo& info, const std::vector<RunSamples>& samples, const Methods& methods) {
  if (samples.empty()) return "";
  std::vector<std::string> names;
  for (const RunSamples& run : samples) names.push_back(methods.Name(run.method));
  std::string words =
      "Test images as the networks of seed " + std::to_string(samples[0].seed) +
      " see them. Predictions are made with nothing dropped. The maps are those that a method acts on in training, "
      "with one draw of its mask: lighter cells have larger values, each map on its own scale, and cells that are "
      "paler and hatched are dropped.";
  const bool boxes = std::any_of(samples.begin(), samples.end(), [](const RunSamples& run) {
    return !run.images.empty() && !run.images[0].activation.empty();
  });
  if (boxes) {
    words +=
        " Class activation: where the evidence for the image's true class lies, lighter for more; solid: the "
        "item's box, dashed: the box around all that exceeds the level that found most items in these very test "
        "scenes. An item counts as found when the boxes overlap by half of their union.";
  }
  words += " A few images show how a method works; which method is better, the table says.";
  return "<h2>Sample images</h2>\n" + Element("p", words) + SamplePictures(samples, names, info.erased_colour);
}

}  // namespace

std::string ReportPage(const ReportInfo& info, const std::vector<RunResult>& results,
                       const std::vector<RunSamples>& samples) {
  const Methods methods(results, samples);
  const Comparison comparison = Compare(results);
  const size_t seeds = CountSeeds(results);
  const std::string title = "dropkit train: task " + info.task;
  return PageStart(title) + Element("h1", title) + Complaints(info.complaints) + Facts(info, results, methods) +
         TableSection(info, comparison, methods, seeds) + CurveSection(info, results, methods, seeds) +
         DifferenceSection(comparison, methods, seeds) + SampleSection(info, samples, methods) + PageEnd();
}

void WriteReport(const std::string& directory, const ReportInfo& info, const std::vector<RunResult>& results,
                 const std::vector<RunSamples>& samples) {
  ReplaceFile(directory + "/report.html", ReportPage(info, results, samples));
}

}  // namespace dropkit::cli

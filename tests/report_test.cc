// The report's page as text: what it holds, what it escapes, and what it says when gnuplot does not do its part. How it
// looks in a browser is test_report.py's concern.
#include "cli/train/report.h"

#include <gtest/gtest.h>
#include <png.h>

#include <cctype>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <limits>
#include <regex>
#include <set>
#include <sstream>
#include <stdexcept>
#include <thread>

#include "cli/train/comparison.h"
#include "cli/train/data_uri.h"
#include "cli/train/gnuplot.h"
#include "cli/train/page.h"
#include "cli/train/plot.h"
#include "cli/train/plot_axes.h"
#include "cli/train/sample_pictures.h"
#include "synthetic_job.h"

namespace dropkit::cli {
namespace {

namespace fs = std::filesystem;

// A folder of the test's own, gone afterwards.
class Folder {
 public:
  Folder() {
    std::string name = (fs::temp_directory_path() / "reportXXXXXX").string();
    if (mkdtemp(name.data()) == nullptr) throw std::runtime_error("no temporary folder");
    path_ = name;
  }
  ~Folder() { fs::remove_all(path_); }
  std::string operator/(const std::string& name) const { return (path_ / name).string(); }
  std::string path() const { return path_.string(); }

 private:
  fs::path path_;
};

// PATH for as long as this lives.
class Path {
 public:
  explicit Path(const std::string& path) : before_(getenv("PATH")) { setenv("PATH", path.c_str(), 1); }
  ~Path() { setenv("PATH", before_.c_str(), 1); }
  const std::string& before() const { return before_; }

 private:
  std::string before_;
};

#define SKIP_WITHOUT_GNUPLOT()                            \
  if (std::system("command -v gnuplot > /dev/null") != 0) \
  GTEST_SKIP() << "gnuplot is not installed; ./setup.sh installs it"

// A program called gnuplot that does what the lines of shell say.
void MakeGnuplot(const Folder& folder, const std::string& lines) {
  std::ofstream(folder / "gnuplot") << "#!/bin/sh\n" << lines << "\n";
  fs::permissions(folder / "gnuplot", fs::perms::owner_all);
}

std::string PageOf(const SyntheticJob& job) { return ReportPage(job.info, job.results, job.samples); }

size_t Count(const std::string& text, const std::string& part) {
  size_t count = 0;
  for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++count;
  return count;
}

bool Has(const std::string& text, const std::string& part) { return Count(text, part) > 0; }

std::string ReadFile(const std::string& path) {
  std::ostringstream text;
  text << std::ifstream(path).rdbuf();
  return text.str();
}

const std::vector<std::string> kMethods = {"none", "dropblock:block=7@0.1", "cutout:size=20,region=valid@1", "none-4"};

TEST(Report, HoldsEveryMethodSeedAndFigure) {
  SKIP_WITHOUT_GNUPLOT();
  const SyntheticJob job = MakeJob("scenes", kMethods, 3, 6, 2);
  const std::string page = PageOf(job);
  for (const std::string& method : kMethods) EXPECT_TRUE(Has(page, Breakable(method))) << method;
  EXPECT_TRUE(Has(page, "<dt>seeds</dt>\n<dd>0, 1, 2</dd>"));
  EXPECT_TRUE(Has(page, Words(job.info.command)));
  EXPECT_TRUE(Has(page, "<dd>0123456789ab</dd>"));
  size_t figures = 0;
  for (const ComparisonRow& row : Compare(job.results).rows) {
    for (size_t i = 0; i < row.cells.size(); ++i) {
      std::string text = CellText(row, i);
      if (text.empty()) continue;
      ++figures;
      text.replace(text.find("+-"), 2, "&#8239;&plusmn;&#8239;");
      EXPECT_TRUE(Has(page, "<td>" + text + "</td>")) << text;
    }
  }
  EXPECT_EQ(figures, 4u * 6 + 5 * 4);
  EXPECT_TRUE(Has(page, "erased K: a KxK square of the item set to the mean grey."));
  EXPECT_EQ(Count(page, "one by one, without the low start of most."), 1u);
  // Four plots; two images, each twice as the networks get it, and for each method an activation and its maps.
  EXPECT_EQ(Count(page, "_gnuplot_canvas\""), 4u);
  EXPECT_EQ(Count(page, "<img "), 2u * (2 + 4 + 3 + 3 + 1 + 3));
  EXPECT_FALSE(Has(page, "problem\""));
}

TEST(Report, NeedsNothingButItself) {
  SKIP_WITHOUT_GNUPLOT();
  std::string page = PageOf(MakeJob("scenes", kMethods, 2, 3, 1));
  EXPECT_FALSE(Has(page, "<script"));
  EXPECT_TRUE(Has(page, "default-src 'none'"));
  const std::regex reference("(src|href)=[\"']([^\"']{0,6})|url\\(([^)]{0,6})|@import");
  size_t references = 0;
  for (std::sregex_iterator at(page.begin(), page.end(), reference), end; at != end; ++at, ++references) {
    const std::string target = (*at)[2].str() + (*at)[3].str();
    EXPECT_TRUE(target.starts_with("data:") || target.starts_with("#")) << at->str();
  }
  EXPECT_GT(references, 20u);
  page = std::regex_replace(page, std::regex("xmlns(:xlink)?=\"http://www.w3.org/[a-z0-9/]*\""), "");
  EXPECT_FALSE(Has(page, "http:") || Has(page, "https:"));
}

TEST(Report, GivesNoIdTwice) {
  SKIP_WITHOUT_GNUPLOT();
  const std::string page = PageOf(MakeJob("fashion", kMethods, 2, 3, 1));
  std::set<std::string> ids;
  const std::regex id(" id=[\"']([^\"']*)[\"']"), use("href=[\"']#([^\"']*)[\"']");
  for (std::sregex_iterator at(page.begin(), page.end(), id), end; at != end; ++at)
    EXPECT_TRUE(ids.insert((*at)[1]).second) << at->str();
  EXPECT_GT(ids.size(), 40u);
  for (std::sregex_iterator at(page.begin(), page.end(), use), end; at != end; ++at)
    EXPECT_TRUE(ids.contains((*at)[1])) << at->str();
}

TEST(Report, NamesThatAreSpecialToHtmlAndGnuplotStandForThemselves) {
  SKIP_WITHOUT_GNUPLOT();
  const Folder folder;
  const std::string trap = folder / "trap";
  const std::string name = "a'b\"<i>&`touch " + trap + "`$0 @x {/=40 y}_2^3 %s\\n\n\x01#;!";
  SyntheticJob job = MakeJob("fashion", {"none", name}, 2, 3, 1);
  job.info.task = "<u>task</u>";
  job.info.data = "<u>data</u>";
  job.info.complaints = {"<u>complaint</u>"};
  for (RunSamples& run : job.samples) {
    run.images[0].label = run.images[0].predicted = "<u>label</u>";
    run.images[0].maps[0].title = "<u>\"title\"</u>";
  }
  const std::string page = PageOf(job);
  EXPECT_FALSE(Has(page, "problem\">No plot")) << page.substr(page.find("No plot"), 200);
  EXPECT_FALSE(Has(page, "<u>") || Has(page, "<i>"));
  for (const char* word : {"task", "data", "complaint", "label"})
    EXPECT_TRUE(Has(page, "&lt;u&gt;" + std::string(word) + "&lt;/u&gt;")) << word;
  EXPECT_TRUE(Has(page, "&lt;u&gt;&quot;title&quot;&lt;/u&gt;"));
  EXPECT_FALSE(fs::exists(trap));
  // In a plot, shortened; gnuplot's own escapes.
  EXPECT_TRUE(Has(page, "2  a'b\"&lt;i>&amp;`touch"));
  EXPECT_TRUE(Has(page, "%s\\n??#;!</text>"));
}

TEST(Report, SaysThatGnuplotIsNotOnPath) {
  const Folder folder;
  const SyntheticJob job = MakeJob("scenes", kMethods, 2, 3, 1);
  const Path path(folder.path());
  WriteReport(folder.path(), job.info, job.results, job.samples);
  const std::string page = ReadFile(folder / "report.html");
  EXPECT_EQ(Count(page, "No plot here: gnuplot is not on PATH."), 4u);
  EXPECT_TRUE(Has(page, "<table>") && Has(page, "<img ") && page.ends_with("</html>\n"));
}

TEST(Report, OneSeedHasNoSpreadAndOneEpochNoCurve) {
  SKIP_WITHOUT_GNUPLOT();
  std::string page = PageOf(MakeJob("fashion", {"none", "dropout@0.1"}, 1, 4, 0));
  EXPECT_TRUE(Has(page, "One seed: there is no spread"));
  EXPECT_FALSE(Has(page, "&plusmn;") || Has(page, "problem\"") || Has(page, "Sample images"));
  page = PageOf(MakeJob("fashion", {"none", "dropout@0.1"}, 2, 1, 0));
  EXPECT_TRUE(Has(page, "One epoch was trained"));
  EXPECT_FALSE(Has(page, "id=\"clean_curves\""));
  page = PageOf(MakeJob("fashion", {"none", "dropout@0.1"}, 2, 0, 0));
  EXPECT_TRUE(Has(page, "No epoch was recorded"));
  page = PageOf(MakeJob("fashion", {"dropout@0.1"}, 2, 3, 0));
  EXPECT_TRUE(Has(page, "nothing to compare") && Has(page, "id=\"clean_curves\""));
  EXPECT_FALSE(Has(page, "id=\"method_curves\""));  // one method is seen well in the plot of all
  page = PageOf(MakeJob("fashion", {}, 0, 0, 0));
  EXPECT_TRUE(Has(page, "No run ended with results") && page.ends_with("</html>\n"));
}

TEST(Report, ReplacesTheOldPageOrLeavesIt) {
  const Folder folder;
  std::ofstream(folder / "report.html") << "old";
  SyntheticJob job = MakeJob("fashion", {"none"}, 1, 1, 1);
  job.samples[0].images[0].maps[0].values.pop_back();
  EXPECT_THROW(WriteReport(folder.path(), job.info, job.results, job.samples), std::runtime_error);
  EXPECT_EQ(ReadFile(folder / "report.html"), "old");
  WriteReport(folder.path(), job.info, job.results, {});
  EXPECT_TRUE(ReadFile(folder / "report.html").starts_with("<!DOCTYPE html>"));
  EXPECT_THROW(WriteReport(folder / "nowhere", job.info, job.results, {}), std::runtime_error);
}

TEST(Report, CountsRunsWithoutTheirCurve) {
  SyntheticJob job = MakeJob("fashion", {"none", "dropout@0.1"}, 2, 4, 0);
  EXPECT_FALSE(Has(PageOf(job), "Without a whole curve"));
  job.results[1].curve.clear();
  job.results[2].curve.pop_back();
  EXPECT_TRUE(Has(PageOf(job), "Without a whole curve, and left out after its end: 2 of 4 runs."));
}

TEST(Report, PlotsEachAccuracyUnderItsName) {
  SKIP_WITHOUT_GNUPLOT();
  SyntheticJob job = MakeJob("fashion", {"none", "dropout@0.1"}, 1, 3, 0);
  for (RunResult& run : job.results) run.curve.assign(3, EpochPoint{90, 50});
  const std::string page = PageOf(job);
  const auto shows = [&](const std::string& figure, const std::string& number) {
    const size_t start = page.find("id=\"" + figure + "\"");
    const std::string plot = page.substr(start, page.find("</figure>", start) - start);
    return std::regex_search(plot, std::regex("<text> *" + number + "</text>"));
  };
  EXPECT_TRUE(shows("clean_curves", "50") && shows("method_curves", "50") && shows("train_curves", "90"));
  EXPECT_FALSE(shows("clean_curves", "90") || shows("method_curves", "90") || shows("train_curves", "50"));
}

TEST(Report, DrawsBoxesWhereTheyAre) {
  SyntheticJob job = MakeJob("scenes", {"none"}, 1, 1, 1);
  SampleImage& sample = job.samples[0].images[0];
  sample.item = Box{0, 5, 10, 25};
  sample.found = Box{0, 15, 10, 45};
  sample.erased = Box{2, 6, 8, 13};
  sample.level = 0.65f;
  job.info.erased_colour = {125, 10, 255};
  std::string page = PageOf(job);
  EXPECT_EQ(Count(page, "<rect x=\"6\" y=\"2\" width=\"7\" height=\"6\" fill=\"#7d0aff\"/>"), 1u);
  EXPECT_EQ(Count(page, "<rect x=\"5\" y=\"0\" width=\"20\" height=\"10\" "), 4u);  // light around dark, twice
  EXPECT_EQ(Count(page, "<rect x=\"15\" y=\"0\" width=\"30\" height=\"10\" "), 2u);
  EXPECT_EQ(Count(page, "<rect x=\"6\" y=\"2\" width=\"7\" height=\"6\" "), 3u);
  EXPECT_TRUE(Has(page, "dashed: the box above 0.65, overlap 25%"));
  sample.found = Box{20, 30, 25, 35};
  EXPECT_TRUE(Has(PageOf(job), "overlap 0%"));
  sample.found.reset();
  EXPECT_TRUE(Has(PageOf(job), "class activation; no box found"));
  sample.activation.pop_back();
  EXPECT_THROW(PageOf(job), std::runtime_error);
}

TEST(Report, IsTakenAwayWithTheResultsItShows) {
  const Folder folder;
  const SyntheticJob job = MakeJob("fashion", {"none"}, 1, 0, 0);
  WriteResults(folder.path(), job.results);
  WriteReport(folder.path(), job.info, job.results, {});
  std::ofstream(folder / "other") << "stays";
  RemoveResults(folder.path());
  std::vector<std::string> left;
  for (const auto& entry : fs::directory_iterator(folder.path())) left.push_back(entry.path().filename());
  EXPECT_EQ(left, std::vector<std::string>{"other"});
}

TEST(Report, BlackAndWhiteMaps) {
  const MaskedMap map{"m", 1, 3, {-1, 0, 3}, {1, 0, 1}};
  const Picture picture = DrawMap(map, 8);
  ASSERT_EQ(picture.width, 24);
  ASSERT_EQ(picture.height, 8);
  for (int y = 0; y < 8; ++y) {
    for (int x = 0; x < 24; ++x) {
      const int shade = picture.pixels[y * 24 + x];
      if (x < 8) {
        EXPECT_EQ(shade, 30);  // the least value
      } else if (x >= 16) {
        EXPECT_EQ(shade, 215);  // the largest, darker than blank
      } else {
        EXPECT_EQ(shade, (x + y) % 6 == 0 ? 60 : 184);  // the value's shade, 76, and much nearer to white
      }
    }
  }
  const float infinity = std::numeric_limits<float>::infinity();
  // A map that is dropped whole still shows its values.
  const Picture whole = DrawMap({"all", 2, 2, {0, 1, 2, 3}, {0, 0, 0, 0}}, 20);
  EXPECT_EQ(std::set<uint8_t>(whole.pixels.begin(), whole.pixels.end()).size(), 5u);
  EXPECT_EQ(DrawMap({"odd", 1, 4, {NAN, infinity, 0, 1}, {}}, 1).pixels, (std::vector<uint8_t>{30, 215, 30, 215}));
  EXPECT_EQ(DrawMap({"flat", 1, 2, {7, 7}, {}}, 1).pixels, (std::vector<uint8_t>{123, 123}));
}

std::vector<uint8_t> DecodeBase64(const std::string& text) {
  std::vector<uint8_t> bytes;
  uint32_t bits = 0, held = 0;
  for (const char c : text) {
    const char* digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const char* found = c == '=' ? nullptr : std::strchr(digits, c);
    if (found == nullptr) break;
    bits = bits << 6 | static_cast<uint32_t>(found - digits);
    if ((held += 6) >= 8) bytes.push_back(static_cast<uint8_t>(bits >> (held -= 8)));
  }
  return bytes;
}

TEST(DataUri, HoldsTheVeryPixels) {
  std::set<size_t> remainders;
  for (int width = 1; width < 12; ++width) {
    for (const int channels : {1, 3}) {
      Picture picture{2, width, channels, {}};
      for (int i = 0; i < 2 * width * channels; ++i) picture.pixels.push_back(static_cast<uint8_t>(37 * i + 5));
      const std::string uri = PngDataUri(picture), start = "data:image/png;base64,";
      ASSERT_TRUE(uri.starts_with(start));
      EXPECT_EQ((uri.size() - start.size()) % 4, 0u);
      const std::vector<uint8_t> bytes = DecodeBase64(uri.substr(start.size()));
      remainders.insert(bytes.size() % 3);
      png_image image{};
      image.version = PNG_IMAGE_VERSION;
      ASSERT_TRUE(png_image_begin_read_from_memory(&image, bytes.data(), bytes.size()));
      image.format = channels == 1 ? PNG_FORMAT_GRAY : PNG_FORMAT_RGB;
      std::vector<uint8_t> pixels(PNG_IMAGE_SIZE(image));
      ASSERT_TRUE(png_image_finish_read(&image, nullptr, pixels.data(), 0, nullptr));
      EXPECT_EQ(pixels, picture.pixels);
    }
  }
  EXPECT_EQ(remainders.size(), 3u);  // every kind of padding was met
  EXPECT_THROW(PngDataUri({2, 2, 1, {1, 2, 3}}), std::runtime_error);
  EXPECT_THROW(PngDataUri({0, 2, 1, {}}), std::runtime_error);
  EXPECT_THROW(PngDataUri({1, 1, 2, {1, 2}}), std::runtime_error);
}

TEST(Gnuplot, TellsWhatWentWrong) {
  const Folder folder;
  Path path("");
  setenv("PATH", (folder.path() + ":" + path.before()).c_str(), 1);
  const auto problem = [&](const std::string& lines, std::chrono::milliseconds limit = std::chrono::seconds(60)) {
    MakeGnuplot(folder, lines);
    const GnuplotPicture picture = RunGnuplot("x", 100, 100, "plot x\n" + std::string(1 << 20, '#'), limit);
    EXPECT_EQ(picture.svg, "");
    return picture.problem;
  };
  EXPECT_EQ(problem("echo \"  line 3: undefined\" >&2; echo >&2; exit 3"),
            "gnuplot failed: exit code 3: line 3: undefined");
  EXPECT_EQ(problem("kill -9 $$"), "gnuplot failed: ended by signal 9");
  EXPECT_EQ(problem("exec <&-; exit 0"), "gnuplot gave no whole picture");
  EXPECT_EQ(problem("echo '<svg>'"), "gnuplot gave no whole picture");
  // What it started is stopped with it.
  int child = 0;
  for (int limit = 1000; child == 0 && limit < 60000; limit *= 2) {  // a busy machine may not have come to the sleep
    EXPECT_EQ(problem("sleep 600 & echo $! > " + folder.path() + "/pid; wait", std::chrono::milliseconds(limit)),
              "gnuplot did not end within " + std::to_string(limit) + " ms and was stopped");
    child = std::atoi(ReadFile(folder / "pid").c_str());
  }
  ASSERT_GT(child, 0);
  std::string state;
  for (int tries = 0; tries < 500; ++tries) {
    state = ReadFile("/proc/" + std::to_string(child) + "/stat");
    if (state.empty() || Has(state, ") Z")) break;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  EXPECT_TRUE(state.empty() || Has(state, ") Z")) << state;
  fs::permissions(folder / "gnuplot", fs::perms::none);
  setenv("PATH", folder.path().c_str(), 1);
  EXPECT_TRUE(Has(RunGnuplot("x", 100, 100, "").problem, "gnuplot cannot be started: "));
}

TEST(Gnuplot, RefusesAScriptThatIsWrong) {
  SKIP_WITHOUT_GNUPLOT();
  const GnuplotPicture picture = RunGnuplot("x", 100, 100, "plot nonsense nonsense\n");
  EXPECT_TRUE(picture.problem.starts_with("gnuplot failed: exit code 1: line ")) << picture.problem;
}

TEST(Plot, LabelsOfCurvesThatEndTogetherStayApart) {
  std::vector<MethodCurve> curves;
  for (size_t i = 0; i < 12; ++i) {
    MethodCurve curve{i, std::to_string(i), {}};
    curve.epochs.emplace_back(std::vector<double>{10});
    curve.epochs.emplace_back(std::vector<double>{80 + 0.01 * static_cast<double>(i)});
    curves.push_back(curve);
  }
  const Plot plot = PlotCurves("accuracy", curves);
  const std::regex label("set label '(\\d+)' at graph [0-9.]+,([-0-9.]+)");
  std::vector<double> heights;
  for (std::sregex_iterator at(plot.commands.begin(), plot.commands.end(), label), end; at != end; ++at) {
    EXPECT_EQ((*at)[1], std::to_string(heights.size()));
    heights.push_back(std::stod((*at)[2]));
  }
  ASSERT_EQ(heights.size(), 12u);
  EXPECT_GE(heights.front(), 0);
  EXPECT_LE(heights.back(), 1);
  // As a share of the axis, which is a little shorter than the plot; letters are 14 high.
  for (size_t i = 1; i < heights.size(); ++i) EXPECT_GE((heights[i] - heights[i - 1]) * plot.height, 18);
}

// The places beside epochs at which bars stand, of each method.
std::vector<std::vector<double>> PlacesOfBars(const std::string& commands) {
  std::vector<std::vector<double>> places;
  std::istringstream lines(commands);
  bool bars = false;
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with("$")) bars = line.starts_with("$bars");
    if (line.starts_with("$bars")) places.emplace_back();
    if (bars && std::isdigit(static_cast<unsigned char>(line[0])))
      places.back().push_back(std::stod(line.substr(line.rfind(' '))));
  }
  return places;
}

TEST(Plot, NoTwoBarsStandOnEachOther) {
  for (const size_t methods : {1, 2, 12}) {
    for (const size_t epochs : {2, 15, 30}) {
      std::vector<MethodCurve> curves;
      for (size_t i = 0; i < methods; ++i)
        curves.push_back({i, "m", std::vector<Statistics>(epochs, Statistics({80, 81}))});
      std::set<double> seen;
      size_t count = 0;
      for (const std::vector<double>& places : PlacesOfBars(PlotCurves("accuracy", curves).commands)) {
        count += places.size();
        seen.insert(places.begin(), places.end());
        EXPECT_NEAR(places.back(), static_cast<double>(epochs), 0.3);  // and not at the next epoch's
      }
      EXPECT_GE(count, methods * 2);
      EXPECT_EQ(seen.size(), count) << methods << " methods, " << epochs << " epochs";
    }
  }
}

TEST(Plot, PanelsSayWhatTheyCut) {
  const auto cut = [](std::vector<double> means) {
    MethodCurve curve{0, "m", {}};
    for (const double mean : means) curve.epochs.emplace_back(std::vector<double>{mean});
    return PlotPanels({curve}, nullptr).cut;
  };
  EXPECT_TRUE(cut({10, 80, 81, 82}));
  EXPECT_FALSE(cut({80, 82}));
  EXPECT_FALSE(cut({80, 81, 79, 82}));
}

TEST(Plot, SignedTicsFitSideBySide) {
  const std::regex number("'([^']*)'");
  for (const double span : {0.0012, 0.3, 7., 1000.}) {
    for (const double width : {80., 93., 300.}) {
      const std::string tics = SignedTics({-span / 3, span}, width);
      const double pixels = width / (span * 4 / 3);
      double end = -INFINITY;
      size_t count = 0;
      for (std::sregex_iterator at(tics.begin(), tics.end(), number), stop; at != stop; ++at, ++count) {
        const std::string text = (*at)[1];
        const double middle = std::stod(text) * pixels, half = 0.32 * kFontSize * static_cast<double>(text.size() + 1);
        EXPECT_GT(middle - half, end) << tics;
        end = middle + half;
      }
      EXPECT_GE(count, 2u) << tics << ": one number is no scale";
    }
  }
}

TEST(Plot, NoTwoOfFourteenMethodsLookAlike) {
  std::set<std::string> markers, lines;
  for (size_t i = 0; i < 14; ++i) {
    markers.insert(MarkerLook(i).substr(MarkerLook(i).find("pt")));
    lines.insert(LineLook(i));
  }
  EXPECT_EQ(markers.size(), 14u);
  EXPECT_EQ(lines.size(), 14u);
}

TEST(Plot, LongNamesKeepTheirEnds) {
  EXPECT_EQ(Shorten("short", 30), "short");
  EXPECT_EQ(Shorten("dropblock:block=7,rate=calibrated@0.1", 20), "dropblock:bl..ed@0.1");
}

}  // namespace
}  // namespace dropkit::cli

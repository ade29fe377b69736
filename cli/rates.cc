// `dropkit rates`: what is dropped when p is asked, for maps and blocks: the exact expectation, and the fraction really
// drawn as a check of it. Rows are the cases given, each also with rate=calibrated, and every preset, so that a case
// can be held against other implementations. Maps and blocks that a row refuses are told with the library's reason.

#include "cli/rates.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cli/commands.h"
#include "cli/field.h"
#include "cli/number.h"
#include "cli/status.h"
#include "dropkit/dropkit.h"
#include "src/methods.h"

namespace dropkit::cli {
namespace {

struct RatesOptions {
  std::vector<std::string> lines;
  std::string maps = "7,14,28,56", seed = "0", draws = "20000";
  std::optional<std::string> blocks, p;
  bool json = false, csv = false;
};

// What one row of the table is about, before a map and a block are chosen.
struct Subject {
  std::string name;
  Spec spec;
  float p = 0;  // of a case on the command line
};

// ---------------------------------------------------------------- The command line

std::vector<std::string> Split(const std::string& text) {
  std::vector<std::string> parts;
  for (size_t start = 0; start <= text.size();) {
    const size_t comma = std::min(text.find(',', start), text.size());
    parts.push_back(text.substr(start, comma - start));
    start = comma + 1;
  }
  return parts;
}

int64_t CellsOf(const std::vector<int64_t>& map) {
  int64_t cells = 1;
  for (const int64_t size : map) cells *= size;
  return cells;
}

// "14" is 14x14; "5x7" and "4x5x7" are a size an axis.
std::vector<int64_t> ReadMap(const std::string& text) {
  constexpr int64_t kMostCells = int64_t{1} << 24, kSide = 4096;
  std::vector<int64_t> sizes;
  for (size_t start = 0; start <= text.size();) {
    const size_t cross = std::min(text.find('x', start), text.size());
    sizes.push_back(static_cast<int64_t>(ReadNumber("--maps", text.substr(start, cross - start), kSide, 1)));
    start = cross + 1;
  }
  if (sizes.size() == 1) sizes.push_back(sizes[0]);
  if (sizes.size() > 3 || CellsOf(sizes) > kMostCells)
    throw CLI::ValidationError("--maps", "'" + text + "' is not a map; allowed: a side, or two or three sides joined " +
                                             "by x, 1 to " + std::to_string(kSide) + " each and 2^24 cells in all");
  return sizes;
}

// block= takes what a spec line takes.
void SetBlock(const std::string& text, Spec* spec) {
  Spec block;
  if (text.find(',') != std::string::npos || !ParseSpec("dropblock:block=" + text, &block).ok())
    throw CLI::ValidationError(
        "--blocks",
        "'" + text +
            "' is not a block; allowed: a whole number from 1 to 2^20, or one an axis joined by x, such as 3x5");
  spec->extent_dims = block.extent_dims;
  std::copy(block.extent, block.extent + 3, spec->extent);
}

float ReadP(const std::string& text) {
  Spec spec;
  float p = 0;
  if (text.empty() || !ParseCase("dropblock@" + text, &spec, &p).ok())
    throw CLI::ValidationError("--p", "'" + text + "' is not a number from 0 to 1");
  return p;
}

// ---------------------------------------------------------------- What is told

// The short line without the block, which is the table's.
std::string NameOf(Spec spec) {
  const Spec& defaults = RowOf(spec.method).defaults;
  spec.extent_dims = defaults.extent_dims;
  std::copy(defaults.extent, defaults.extent + 3, spec.extent);
  return PrintSpec(spec);
}

// A row that is there already, of a case that differed in its block alone, is not added again.
void AddRow(const Spec& spec, std::vector<Subject>* subjects) {
  const std::string line = PrintSpec(spec, SpecForm::kFull);
  const bool there = std::any_of(subjects->begin(), subjects->end(), [&](const Subject& subject) {
    return PrintSpec(subject.spec, SpecForm::kFull) == line;
  });
  if (!there) subjects->push_back({NameOf(spec), spec, 0});
}

// The case with this block, and with the gamma that drops exactly p.
void AddCase(Spec spec, const std::string& block, std::vector<Subject>* subjects) {
  if (HasBlock(spec)) SetBlock(block, &spec);
  AddRow(spec, subjects);
  if (spec.method != Method::kDropBlock || spec.rate == Rate::kCalibrated) return;
  Spec calibrated = spec;
  calibrated.rate = Rate::kCalibrated;
  calibrated.gamma_scale = 1.0;
  AddRow(calibrated, subjects);
}

void AddPresets(std::vector<Subject>* subjects) {
  for (const PresetInfo& preset : Presets()) {
    Spec spec;
    Check(ParseSpec(preset.name, &spec), "preset");
    subjects->push_back({preset.name, spec, 0});
  }
}

// Independent maps that one key gives: samples where they differ, else channels, else one.
struct Maps {
  int64_t samples, channels;
};
Maps MapsOfKey(const Spec& spec, int64_t cells, int64_t count) {
  constexpr int64_t kMostCells = int64_t{1} << 26;  // 8 MB of bits at a time
  const int64_t maps = std::clamp(kMostCells / cells, int64_t{1}, count);
  if (!SharesBatch(spec)) return {maps, 1};
  return {1, SharesChannels(spec) ? 1 : maps};
}

// Mean and standard error of the dropped fraction over `count` independent maps.
void DrawRate(Spec spec, const std::vector<int64_t>& map, uint64_t seed, int64_t count, RateRow* row) {
  spec.over = Over::kPlane;  // a count a map; the pattern does not depend on it
  const int64_t cells = CellsOf(map);
  const Maps maps = MapsOfKey(spec, cells, count);
  const View view = DenseView(nullptr, DType::kF32, maps.samples, maps.channels, map);
  MaskStorage storage;
  Check(storage.Reserve(spec, view), "CASE");
  double sum = 0, squares = 0;
  int64_t drawn = 0;
  for (uint64_t offset = 0; drawn < count; ++offset) {
    const uint64_t key[2] = {seed, offset};
    Check(Sample(spec, Probability(row->p), key, view, Exec{}, &storage.mask), "CASE");
    for (int64_t i = 0; i < storage.mask.num_kept && drawn < count; ++i, ++drawn) {
      const double dropped = 1.0 - static_cast<double>(storage.mask.kept[i]) / static_cast<double>(cells);
      sum += dropped;
      squares += dropped * dropped;
    }
  }
  const auto n = static_cast<double>(count);
  row->drawn = sum / n;
  const double variance = std::max(0.0, squares / n - row->drawn * row->drawn) * n / (n - 1);
  row->error = std::sqrt(variance / n);
}

std::string MapText(const std::vector<int64_t>& map) {
  std::string text;
  for (const int64_t size : map) text += (text.empty() ? "" : "x") + std::to_string(size);
  return text;
}

RateRow MakeRow(const Subject& subject, float p, const std::vector<int64_t>& map, uint64_t seed, int64_t draws) {
  RateRow row;
  row.p = p;
  row.map = MapText(map);
  row.block = HasBlock(subject.spec) ? ExtentText(subject.spec) : "";
  row.name = subject.name;
  row.spec = PrintSpec(subject.spec, SpecForm::kFull);
  RateInfo info;
  const Status status = Rates(subject.spec, p, DenseView(nullptr, DType::kF32, 1, 1, map), &info);
  if (!status.ok()) {
    row.refused = status.message();
    return row;
  }
  row.gamma = info.gamma;
  row.expected = info.expected_drop;
  DrawRate(subject.spec, map, seed, draws, &row);
  return row;
}

// ---------------------------------------------------------------- Tables

struct RatesJob {
  std::vector<Subject> subjects;  // cases as given, their block yet to be set
  std::vector<float> ps;          // of the cases, or of --p
  std::vector<std::vector<int64_t>> maps;
  std::vector<std::string> blocks;
  bool any_p = false;  // --p: every case at every p; else each at its own
  uint64_t seed = 0;
  int64_t draws = 0;
};

template <typename T>
void AddOnce(const T& value, std::vector<T>* values) {
  if (std::find(values->begin(), values->end(), value) == values->end()) values->push_back(value);
}

// Blocks of rows are read in MakeTable; here only those that no row could have are refused.
void RefuseBlocks(const RatesOptions& options, const RatesJob& job) {
  const char* argument = options.blocks ? "--blocks" : "CASE";
  for (const std::string& block : job.blocks) {
    Spec spec;
    SetBlock(block, &spec);
    for (const std::vector<int64_t>& map : job.maps) {
      if (spec.extent_dims > 1 && spec.extent_dims != static_cast<int>(map.size()))
        throw CLI::ValidationError(argument, "block '" + block + "' has " + std::to_string(spec.extent_dims) +
                                                 " sides and map " + MapText(map) + " has " +
                                                 std::to_string(map.size()) + "; allowed: one side, or as many");
    }
  }
  const bool any = std::any_of(job.subjects.begin(), job.subjects.end(),
                               [](const Subject& subject) { return HasBlock(subject.spec); });
  if (options.blocks && !any)
    throw CLI::ValidationError("--blocks", "'" + *options.blocks +
                                               "' is for no CASE: none has a block; allowed: a "
                                               "dropblock or cutout among the cases, or no --blocks");
}

// The cases, and what is asked of all rows where no option says so.
void ReadCases(const RatesOptions& options, RatesJob* job) {
  for (const std::string& line : options.lines) {
    Subject subject;
    Check(ParseCase(line, &subject.spec, &subject.p), "CASE");
    if (!job->any_p) AddOnce(subject.p, &job->ps);
    if (!options.blocks && HasBlock(subject.spec)) AddOnce(ExtentText(subject.spec), &job->blocks);
    job->subjects.push_back(subject);
  }
  if (job->blocks.empty()) job->blocks = {ExtentText(Spec())};
}

RatesJob ReadOptions(const RatesOptions& options) {
  constexpr uint64_t kAnySeed = std::numeric_limits<uint64_t>::max(), kMostDraws = 1000000;
  RatesJob job;
  if (options.json && options.csv) throw CLI::ValidationError("--csv", "contradicts --json; allowed: one of them");
  for (const std::string& map : Split(options.maps)) AddOnce(ReadMap(map), &job.maps);
  if (options.p) {
    job.any_p = true;
    for (const std::string& p : Split(*options.p)) AddOnce(ReadP(p), &job.ps);
  }
  if (options.blocks) {
    for (const std::string& block : Split(*options.blocks)) AddOnce(block, &job.blocks);
  }
  ReadCases(options, &job);
  RefuseBlocks(options, job);
  job.seed = ReadNumber("--seed", options.seed, kAnySeed);
  job.draws = static_cast<int64_t>(ReadNumber("--draws", options.draws, kMostDraws, 2));  // one has no spread
  return job;
}

RateTable MakeTable(const RatesJob& job, float p, const std::vector<int64_t>& map, const std::string& block) {
  std::vector<Subject> subjects;
  for (const Subject& subject : job.subjects) {
    if (job.any_p || subject.p == p) AddCase(subject.spec, block, &subjects);
  }
  const auto is_dropblock = [](const Subject& s) { return s.spec.method == Method::kDropBlock; };
  if (std::any_of(subjects.begin(), subjects.end(), is_dropblock)) AddPresets(&subjects);
  const bool blocks = std::any_of(subjects.begin(), subjects.end(), [](const Subject& s) { return HasBlock(s.spec); });
  RateTable table{"p " + Print(p) + ", map " + MapText(map) + (blocks ? ", block " + block : ""), {}};
  for (Subject& subject : subjects) {
    if (HasBlock(subject.spec)) SetBlock(block, &subject.spec);
    table.rows.push_back(MakeRow(subject, p, map, job.seed, job.draws));
  }
  return table;
}

int RunRates(const RatesOptions& options) {
  const RatesJob job = ReadOptions(options);
  CheckChosenBackend();
  std::vector<RateTable> tables;
  for (const float p : job.ps) {
    for (const std::vector<int64_t>& map : job.maps) {
      for (const std::string& block : job.blocks) {
        tables.push_back(MakeTable(job, p, map, block));
        const std::vector<RateRow>& rows = tables.back().rows;
        if (std::all_of(rows.begin(), rows.end(), [](const RateRow& row) { return row.block.empty(); })) break;
      }
    }
  }
  options.json ? PrintRatesJson(tables) : options.csv ? PrintRatesCsv(tables) : PrintRateTables(tables, job.draws);
  return 0;
}

}  // namespace

void AddRates(CLI::App& app, Job& job) {
  CLI::App* rates = app.add_subcommand("rates", "tell what is dropped when p is asked, for cases and for every preset");
  auto options = std::make_shared<RatesOptions>();
  rates->add_option("CASE", options->lines, "what to drop, SPEC[@P]; several are rows of one table")
      ->required()
      ->type_name("")
      ->expected(-1);
  rates->add_option("--maps", options->maps, "sides of square maps, or maps such as 8x14")
      ->capture_default_str()
      ->type_name("MAP,MAP,...");
  rates->add_option("--blocks", options->blocks, "blocks of every row; the cases' own unless given")
      ->type_name("BLOCK,BLOCK,...");
  rates->add_option("--p", options->p, "probabilities asked of every row; the cases' own unless given")
      ->type_name("P,P,...");
  rates->add_option("--draws", options->draws, "independent maps drawn for each row")
      ->capture_default_str()
      ->type_name("NUMBER");
  rates->add_option("--seed", options->seed, "key of the draws, 0 to 2^64-1")
      ->capture_default_str()
      ->type_name("NUMBER");
  rates->add_flag("--json", options->json, "print a list of rows as JSON");
  rates->add_flag("--csv", options->csv, "print a line a row");
  rates->callback([options, &job] { job = [options] { return RunRates(*options); }; });
}

}  // namespace dropkit::cli

// `dropkit explain`: one small tensor through one method, step by step. This file reads the command line and chooses
// what is not given: a shape on which the method can be seen, and a seed whose mask has both kinds of elements. The
// numbers are in explain_numbers.h, the words in explain_steps.h, terminal, picture and page in explain_show.h.

#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdlib>
#include <iostream>
#include <limits>
#include <memory>
#include <numeric>
#include <optional>
#include <stdexcept>

#include "cli/commands.h"
#include "cli/explain_numbers.h"
#include "cli/explain_show.h"
#include "cli/explain_steps.h"
#include "cli/number.h"
#include "cli/outputs.h"
#include "cli/shape.h"
#include "cli/status.h"

namespace dropkit::cli {
namespace {

constexpr int64_t kMostSide = 24, kMostMaps = 32, kMostElements = 1024;

struct ExplainOptions {
  std::string line;
  std::optional<std::string> shape, seed, png, html;
  bool json = false;
};

// A side on which a block of this size can be seen whole, with a border.
int64_t SideFor(int64_t block) { return std::clamp(block < 5 ? int64_t{5} : block + 3, int64_t{5}, int64_t{20}); }

std::vector<int64_t> MapFor(const Spec& spec) {
  if (!HasBlock(spec)) return spec.method == Method::kDropout ? std::vector<int64_t>{5, 5} : std::vector<int64_t>{3, 3};
  if (spec.extent_dims == 1) return {SideFor(spec.extent[0]), SideFor(spec.extent[0])};
  std::vector<int64_t> sizes;
  for (int a = 0; a < spec.extent_dims; ++a) sizes.push_back(SideFor(spec.extent[a]));
  return sizes;
}

// One map, and more samples or channels where the spec makes them differ.
std::vector<int64_t> DefaultShape(const Spec& spec) {
  if (spec.method == Method::kDropConnect) return {1, 5, 6};
  int64_t samples = 1, channels = 1;
  if (spec.share == Share::kBatch || spec.share == Share::kAll || spec.over == Over::kSample) samples = 2;
  if (spec.share == Share::kChannels || spec.share == Share::kAll || spec.over == Over::kPlane) channels = 2;
  if (spec.method == Method::kSpatialDropout) channels = 4;
  if (spec.method == Method::kDropPath) samples = 4;
  std::vector<int64_t> shape = {samples, channels};
  for (const int64_t size : MapFor(spec)) shape.push_back(size);
  return shape;
}

[[noreturn]] void RefuseShape(const std::vector<int64_t>& shape, const std::string& what) {
  throw CLI::ValidationError("--shape", "'" + ShapeText(shape) + "' has " + what + "; allowed: 1 to " +
                                            std::to_string(kMostSide) + " rows and columns, " +
                                            std::to_string(kMostMaps) + " maps and " + std::to_string(kMostElements) +
                                            " elements in all");
}

// Rows and columns are the last two sizes, whatever they are of; the product of the others is the number of grids.
void RefuseWhatCannotBeShown(const std::vector<int64_t>& shape) {
  const size_t rank = shape.size();
  for (const int64_t size : shape) {
    if (size == 0) RefuseShape(shape, "no elements to show");
    if (size > kMostElements) RefuseShape(shape, "a size of " + std::to_string(size));
  }
  int64_t maps = 1;
  for (size_t i = 0; i + 2 < rank; ++i) maps *= shape[i];
  if (shape[rank - 2] > kMostSide) RefuseShape(shape, std::to_string(shape[rank - 2]) + " rows a map");
  if (shape[rank - 1] > kMostSide) RefuseShape(shape, std::to_string(shape[rank - 1]) + " columns a map");
  if (maps > kMostMaps) RefuseShape(shape, std::to_string(maps) + " maps");
  const int64_t elements = maps * shape[rank - 2] * shape[rank - 1];
  if (elements > kMostElements) RefuseShape(shape, std::to_string(elements) + " elements");
}

bool Keeps(const Numbers& numbers) { return std::count(numbers.keep.begin(), numbers.keep.end(), 1) > 0; }
bool Drops(const Numbers& numbers) { return std::count(numbers.keep.begin(), numbers.keep.end(), 0) > 0; }

// Where the block leaves no cell of the map: what to try instead.
std::string BlockHint(const Numbers& numbers) {
  if (!HasBlock(numbers.spec)) return "";
  int64_t least = std::numeric_limits<int64_t>::max();
  for (int a = 0; a < numbers.spatial_dims(); ++a) {
    if (numbers.axes[a].block < numbers.axes[a].size) return "";
    least = std::min(least, numbers.axes[a].size);
  }
  if (least < 2 || numbers.spatial_dims() == 0) return "; the block fills the map; try a larger --shape";
  const char* key = numbers.spec.method == Method::kCutout ? "size" : "block";
  return std::string("; the block fills the map; try ") + key + "=" + std::to_string((least + 1) / 2);
}

struct Chosen {
  Numbers numbers;
  std::string seed_note;
};

// A seed that teaches: the first from 0 that drops something and keeps something, else the first that drops something.
// Only cutout may have so many units that fewer than 1000 seeds are tried.
Chosen ChooseSeed(const Spec& spec, float p, const std::vector<int64_t>& shape) {
  constexpr int64_t kMostSeeds = 1000, kMostWork = 50000000;
  uint64_t key[2] = {0, 0};
  const Numbers first = ComputeNumbers(spec, p, key, shape);
  const int64_t work = std::accumulate(first.covering.begin(), first.covering.end(), first.rates.lanes);
  const auto seeds = static_cast<uint64_t>(std::clamp(kMostWork / work, int64_t{1}, kMostSeeds));
  std::optional<Numbers> all_dropped;
  for (; key[0] < seeds; ++key[0]) {
    Numbers numbers = ComputeNumbers(spec, p, key, shape);
    if (Drops(numbers) && Keeps(numbers))
      return {std::move(numbers), ", the first from 0 that drops something and keeps something"};
    if (!all_dropped && Drops(numbers)) all_dropped = std::move(numbers);
  }
  const std::string none = "none below " + std::to_string(seeds);
  if (!all_dropped) return {first, ", as " + none + " drops something" + BlockHint(first)};
  const std::string hint = BlockHint(*all_dropped);
  return {std::move(*all_dropped), ", the first from 0 that drops something; " + none + " keeps something too" + hint};
}

Chosen Compute(const ExplainOptions& options) {
  Spec spec;
  float p = 0;
  Check(ParseCase(options.line, &spec, &p), "CASE");
  const std::vector<int64_t> shape = options.shape ? ReadShape(*options.shape) : DefaultShape(spec);
  RefuseWhatCannotBeShown(shape);
  if (!options.seed) return ChooseSeed(spec, p, shape);
  const uint64_t key[2] = {ReadNumber("--seed", *options.seed, std::numeric_limits<uint64_t>::max()), 0};
  return {ComputeNumbers(spec, p, key, shape), ""};
}

// https://no-color.org: set and not empty means no colour.
bool WantsColour() {
  const char* no_colour = std::getenv("NO_COLOR");
  const char* terminal = std::getenv("TERM");
  const bool dumb = terminal != nullptr && std::string(terminal) == "dumb";
  return isatty(STDOUT_FILENO) && !dumb && (no_colour == nullptr || *no_colour == '\0');
}

void Tell(const ExplainOptions& options, const char* name, const std::string& text) {
  if (!options.json) std::cout << "\n" << name << ": " << text << "\n";
}

int RunExplain(const ExplainOptions& options) {
  RefuseOutputs({{"--png", options.png}, {"--html", options.html}});
  CheckChosenBackend();
  const auto [numbers, seed_note] = Compute(options);
  const std::string differs = Contradiction(numbers);
  if (!differs.empty()) throw std::runtime_error("the steps contradict the library: " + differs);
  const Page page = MakePage(numbers, seed_note);
  // Files first: one that cannot be written is told before pages of text.
  const std::string pixels = options.png ? WritePagePng(page, *options.png) : "";
  if (options.html) WritePageHtml(page, *options.html);
  if (options.json)
    PrintNumbersJson(numbers, std::cout);
  else
    PrintPage(page, WantsColour(), std::cout);
  if (options.png) Tell(options, "png", *options.png + ", " + pixels);
  if (options.html) Tell(options, "html", *options.html);
  return 0;
}

}  // namespace

void AddExplain(CLI::App& app, Job& job) {
  CLI::App* explain = app.add_subcommand("explain", "show what a method does to a small tensor, step by step");
  auto options = std::make_shared<ExplainOptions>();
  explain->add_option("CASE", options->line, "what to drop, SPEC[@P], such as dropblock:block=3@0.1")
      ->required()
      ->type_name("");
  explain
      ->add_option("--shape", options->shape,
                   "sizes of the tensor: N,C  N,C,W  N,C,H,W or N,C,D,H,W; one that suits CASE unless given")
      ->type_name("SIZES");
  explain
      ->add_option("--seed", options->seed,
                   "key of the draw, 0 to 2^64-1; unless given the first that drops and keeps something")
      ->type_name("NUMBER");
  explain->add_option("--png", options->png, "write the steps to this file as a picture")->type_name("FILE");
  explain->add_option("--html", options->html, "write the steps to this file as a page for a browser")
      ->type_name("FILE");
  explain->add_flag("--json", options->json, "print the numbers of all steps as JSON instead of text");
  explain->callback([options, &job] { job = [options] { return RunExplain(*options); }; });
}

}  // namespace dropkit::cli

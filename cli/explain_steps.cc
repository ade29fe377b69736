// Written for someone who never saw the method: every sentence says what is done and why, in words that the formulas
// then use. What a step needs of the spec's options is said only where an option differs from the plain case.

#include "cli/explain_steps.h"

#include <algorithm>
#include <functional>

#include "cli/explain_formula.h"
#include "cli/number.h"
#include "cli/shape.h"
#include "src/methods.h"

namespace dropkit::cli {
namespace {

using CellAt = std::function<GridCell(int64_t n, int64_t c, int64_t cell)>;

std::string Count(int64_t count, const std::string& what, const std::string& ending = "s") {
  return std::to_string(count) + " " + what + (count == 1 ? "" : ending);
}

std::string UnitName(const Numbers& numbers) { return RowOf(numbers.spec.method).unit_text; }

// ---------------------------------------------------------------- Grids

// "sample 0" or, where one stands for several, "every sample".
std::string Name(const char* what, int64_t index, int64_t shown, int64_t all) {
  return shown < all ? std::string("every ") + what : std::string(what) + " " + std::to_string(index);
}

// The planes of a tensor of `samples` and `channels`, which are 1 where one stands for all: with no spatial dimension
// one grid of samples by channels, with one a grid a sample of channels by positions, else a grid a map or slice.
std::vector<Grid> MapGrids(const Numbers& numbers, int64_t samples, int64_t channels, const CellAt& cell_at) {
  const int dims = numbers.spatial_dims();
  const int64_t columns = dims == 0 ? channels : numbers.axes[dims - 1].size;
  const int64_t slices = dims == 3 ? numbers.axes[0].size : 1;
  std::vector<Grid> grids;
  for (int64_t n = 0; n < samples; ++n) {
    const std::string sample = Name("sample", n, samples, numbers.samples);
    for (int64_t c = 0; c < channels; ++c) {
      const std::string map = sample + ", " + Name("channel", c, channels, numbers.channels);
      for (int64_t s = 0; s < slices; ++s) {
        const bool starts = dims >= 2 || (c == 0 && (dims == 1 || n == 0));
        if (starts) {
          const char* rows = dims == 0 ? "samples down, channels across" : ", channels down";
          grids.push_back({dims == 0 ? rows : dims == 1 ? sample + rows : map, columns, {}});
          if (dims == 3) grids.back().title += ", slice " + std::to_string(s);
        }
        for (int64_t i = 0; i < numbers.cells / slices; ++i)
          grids.back().cells.push_back(cell_at(n, c, s * (numbers.cells / slices) + i));
      }
    }
  }
  return grids;
}

std::vector<Grid> AllMaps(const Numbers& numbers, const CellAt& cell_at) {
  return MapGrids(numbers, numbers.samples, numbers.channels, cell_at);
}

// The cell at which a unit is marked: a block's or square's centre (of an even side the cell after the middle).
int64_t MarkedCell(const Numbers& numbers, int64_t position) {
  const std::array<int64_t, 3> at = IndexOnAxes(numbers.axes, position);
  int64_t cell = 0;
  for (int a = 0; a < 3; ++a) {
    const reference::Axis& axis = numbers.axes[a];
    const bool corner = HasBlock(numbers.spec) && numbers.spec.region == Region::kValid;
    cell = cell * axis.size + at[a] + (corner ? axis.block / 2 : 0);
  }
  return cell;
}

// Row-major [unit samples][unit channels][cells]: how many units fired at the cell, -1 where none can be.
std::vector<int64_t> MarksOf(const Numbers& numbers) {
  const int64_t planes = numbers.unit_samples * numbers.unit_channels;
  std::vector<int64_t> marks(static_cast<size_t>(planes * numbers.cells), -1);
  for (int64_t plane = 0; plane < planes; ++plane) {
    for (int64_t position = 0; position < numbers.positions(); ++position)
      marks[static_cast<size_t>(plane * numbers.cells + MarkedCell(numbers, position))] = 0;
  }
  for (const FiredUnit& unit : numbers.fired) {
    const int64_t plane = unit.sample * numbers.unit_channels + unit.channel;
    ++marks[static_cast<size_t>(plane * numbers.cells + MarkedCell(numbers, unit.position))];
  }
  return marks;
}

GridCell MarkCell(int64_t mark) {
  if (mark < 0) return {"", false, false, true};
  if (mark == 0) return {".", false, false, false};
  return {mark == 1 ? "*" : std::to_string(mark) + "*", true, false, false};
}

// A channel or a sample is one unit, without a place on the map: one grid of samples by channels.
Grid WholeMapUnits(const Numbers& numbers) {
  std::vector<bool> fired(static_cast<size_t>(numbers.unit_samples * numbers.unit_channels), false);
  for (const FiredUnit& unit : numbers.fired) fired[unit.sample * numbers.unit_channels + unit.channel] = true;
  const bool by_channel = numbers.spec.method == Method::kSpatialDropout;
  const std::string rows = numbers.unit_samples < numbers.samples ? "one row for every sample" : "samples down";
  Grid grid{rows + (by_channel ? ", channels across" : ""), numbers.unit_channels, {}};
  for (const bool fires : fired) grid.cells.push_back(MarkCell(fires));
  return grid;
}

bool DropsWholeMaps(const Spec& spec) {
  return spec.method == Method::kSpatialDropout || spec.method == Method::kDropPath;
}

std::vector<Grid> FiredGrids(const Numbers& numbers) {
  if (DropsWholeMaps(numbers.spec)) return {WholeMapUnits(numbers)};
  const std::vector<int64_t> marks = MarksOf(numbers);
  return MapGrids(numbers, numbers.unit_samples, numbers.unit_channels, [&](int64_t n, int64_t c, int64_t cell) {
    return MarkCell(marks[static_cast<size_t>((n * numbers.unit_channels + c) * numbers.cells + cell)]);
  });
}

std::vector<Grid> CoveringGrids(const Numbers& numbers) {
  const std::vector<int64_t> marks = MarksOf(numbers);
  const bool marked = HasBlock(numbers.spec);
  return MapGrids(numbers, numbers.unit_samples, numbers.unit_channels, [&](int64_t n, int64_t c, int64_t cell) {
    const int64_t covering = numbers.covering[static_cast<size_t>(numbers.Index(n, c, cell))];
    const bool fired = marked && marks[static_cast<size_t>((n * numbers.unit_channels + c) * numbers.cells + cell)] > 0;
    return GridCell{std::to_string(covering) + (fired ? "*" : ""), fired, covering > 0, false};
  });
}

// ---------------------------------------------------------------- Steps

Step InputStep(const Numbers& numbers) {
  Step step{"Input", {}, {}, {}};
  if (DropsWeights(numbers.spec))
    step.sentences.push_back(
        "x: the weight of a layer; its first dimension goes as channels, a batch of weights as samples.");
  else
    step.sentences.push_back(numbers.spec.method == Method::kCutout ? "x: an image."
                                                                    : "x: the activations that a layer hands on.");
  step.sentences.push_back(Count(numbers.samples, "sample") + " of " + Count(numbers.channels, "channel") + " of " +
                           MapText(numbers) + (numbers.cells == 1 ? " cell" : " cells") +
                           ". The values are made up from the seed: whole numbers from 1 to 9.");
  step.grids = AllMaps(numbers, [&](int64_t n, int64_t c, int64_t cell) {
    return GridCell{Print(numbers.x[static_cast<size_t>(numbers.Index(n, c, cell))])};
  });
  return step;
}

std::string ClipSentence(const Numbers& numbers) {
  const Spec& spec = numbers.spec;
  std::string asked;
  for (int a = 0; a < numbers.spatial_dims(); ++a)
    asked += (a == 0 ? "" : "x") + std::to_string(spec.extent[spec.extent_dims > 1 ? a : 0]);
  if (asked.empty() || asked == BlockText(numbers)) return "";
  return "A block of " + asked + " does not fit on a map of " + MapText(numbers) + "; it is clipped to " +
         BlockText(numbers) + (spec.clip == Clip::kSquare ? " (clip=square)." : ".");
}

// Why gamma is what it is.
std::string RateSentence(const Numbers& numbers) {
  switch (numbers.spec.rate) {
    case Rate::kPaper:
      return "rate=paper, the formula of the DropBlock paper: p spread over the cells of a block and over the "
             "positions "
             "where a block fits. It counts as if blocks never overlapped.";
    case Rate::kCalibrated:
      return "rate=calibrated: the gamma with which exactly p is dropped on average, overlaps and borders counted.";
    case Rate::kPlain:
      return "rate=plain: p divided by the cells of a block. It counts as if blocks never overlapped and never met the "
             "border.";
    case Rate::kRaw:
      break;
  }
  return "rate=raw: p is used as gamma as it is.";
}

// Elements that the blocks of all positions hold, beside those that the formula counts: more, as many or fewer.
enum class Held { kFewer, kAsMany, kMore };
Held HeldBeside(const Numbers& numbers) {
  int64_t held = 1, counted = 1;
  for (const reference::Axis& axis : numbers.axes) {
    int64_t on_axis = 0;
    for (int64_t position = 0; position < axis.positions; ++position)
      on_axis += axis.End(position) - axis.First(position);
    held *= on_axis;
    counted *= axis.block * (numbers.spec.rate == Rate::kPaper ? axis.size - axis.block + 1 : axis.size);
  }
  return held < counted ? Held::kFewer : held > counted ? Held::kMore : Held::kAsMany;
}

bool BlocksOverlap(const Numbers& numbers) {
  return std::any_of(numbers.axes.begin(), numbers.axes.end(),
                     [](const reference::Axis& axis) { return axis.block > 1 && axis.positions > 1; });
}

// Why less, or more, is expected to be dropped than was asked, of rate=paper and rate=plain: what works that way.
Lines Causes(const Numbers& numbers, bool less) {
  const double scale = numbers.spec.gamma_scale;
  const bool valid = numbers.spec.region == Region::kValid;
  Lines causes;
  if (less ? scale < 1 : scale > 1)
    causes.push_back("gamma_scale=" + Six(scale) + " makes seeds " + (less ? "rarer" : "more frequent"));
  const Held held = HeldBeside(numbers);
  if (less && held == Held::kFewer)
    causes.push_back(valid ? "the formula counts every cell as a position, but no seed is near the border"
                           : "blocks that hang over the border drop fewer cells than the formula counts");
  if (!less && held == Held::kMore)
    causes.push_back("the formula counts only positions where a block fits, but with region=whole any cell is one");
  if (less && BlocksOverlap(numbers)) causes.push_back("blocks overlap");
  return causes;
}

std::string ExpectedSentence(const Numbers& numbers) {
  const double expected = numbers.rates.expected_drop, asked = static_cast<double>(numbers.p);
  if (numbers.spec.method == Method::kCutout || numbers.spec.rate == Rate::kRaw)
    return "So on average " + Six(expected) + " of the elements are dropped.";
  const std::string so =
      "So on average " + Six(expected) + " of the elements are dropped, and " + Print(numbers.p) + " was asked";
  if (std::abs(expected - asked) < 1e-6) return so + ".";
  std::string why;
  for (const std::string& cause : Causes(numbers, expected < asked)) why += (why.empty() ? ": " : "; ") + cause;
  return so + why + ". rate=calibrated " + (numbers.spec.gamma_scale == 1 ? "" : "without gamma_scale ") +
         "drops exactly p.";
}

Step ProbabilityStep(const Numbers& numbers) {
  const Spec& spec = numbers.spec;
  const bool seeds = spec.method == Method::kDropBlock;
  Step step{
      seeds ? "Gamma: how often a seed fires" : "Probability: how often a " + UnitName(numbers) + " fires", {}, {}, {}};
  if (UnitName(numbers)[0] == 'e') step.title = "Probability: how often an element fires";
  if (seeds) {
    step.sentences.push_back(
        "p = " + Print(numbers.p) +
        " is asked: about this part of the map shall be dropped. One seed drops a whole block of " +
        BlockText(numbers) + ", so seeds must be rarer: a position is a seed with probability gamma.");
    if (const std::string clipped = ClipSentence(numbers); !clipped.empty()) step.sentences.push_back(clipped);
    step.sentences.push_back(RateSentence(numbers));
  } else {
    step.sentences.push_back("Every " + UnitName(numbers) + " fires with probability p = " + Print(numbers.p) +
                             ", each on its own; what fires drops " + RowOf(spec.method).spread_text + ".");
    if (const std::string clipped = HasBlock(spec) ? ClipSentence(numbers) : ""; !clipped.empty())
      step.sentences.push_back(clipped);
  }
  step.formulas = GammaLines(numbers);
  for (const Lines& lines : {RoundingLines(numbers), ExpectedLines(numbers)}) {
    step.formulas.push_back("");
    step.formulas.insert(step.formulas.end(), lines.begin(), lines.end());
  }
  if (HasBlock(spec)) step.sentences.push_back(ExpectedSentence(numbers));
  return step;
}

// Which units there are, and where.
std::string UnitsSentence(const Numbers& numbers) {
  const Spec& spec = numbers.spec;
  if (spec.method == Method::kCutout)
    return "A hole that fires gets its centre at random, every position alike" +
           std::string(spec.region == Region::kValid ? "; the square lies inside the map (region=valid)."
                                                     : "; the square may hang over the edge (region=whole).");
  if (spec.method != Method::kDropBlock) return "Every " + UnitName(numbers) + " is drawn on its own.";
  if (spec.region == Region::kValid)
    return "A seed is the centre of its block. Blocks lie inside the map (region=valid), so cells near the edge are no "
           "seeds.";
  return "A seed is the centre of its block. Any cell may be one (region=whole); a block may hang over the edge.";
}

std::string ShareSentence(const Numbers& numbers) {
  if (numbers.spec.method != Method::kDropPath && numbers.unit_channels < numbers.channels)
    return numbers.unit_samples < numbers.samples ? "One draw serves every sample and every channel."
                                                  : "One draw serves every channel of a sample.";
  return numbers.unit_samples < numbers.samples ? "One draw serves every sample." : "";
}

Step FiredStep(const Numbers& numbers) {
  const bool seeds = numbers.spec.method == Method::kDropBlock, holes = numbers.spec.method == Method::kCutout;
  Step step{seeds ? "Seeds: which positions fire" : "Fired: which " + UnitName(numbers) + "s fire", {}, {}, {}};
  step.sentences.push_back(UnitsSentence(numbers));
  if (const std::string share = ShareSentence(numbers); !share.empty()) step.sentences.push_back(share);
  const int64_t drawn =
      holes ? numbers.holes_drawn : numbers.unit_samples * numbers.unit_channels * numbers.positions();
  step.sentences.push_back(std::to_string(numbers.fired.size()) + " of " +
                           Count(drawn, seeds ? "position" : UnitName(numbers)) +
                           (numbers.fired.size() == 1 || drawn == 1 ? " fires." : " fire."));
  step.grids = FiredGrids(numbers);
  return step;
}

Step SpreadStep(const Numbers& numbers) {
  const Spec& spec = numbers.spec;
  const bool blocks = HasBlock(spec);
  Step step{blocks ? (spec.method == Method::kCutout ? "Squares" : "Blocks") + std::string(": how seeds spread")
                   : "Spread: what the fired " + UnitName(numbers) + "s reach",
            {},
            {},
            {}};
  if (spec.method == Method::kCutout) step.title = "Squares: how holes spread";
  if (blocks) {
    step.sentences.push_back("Each that fired drops the " + BlockText(numbers) +
                             " cells around it. The number in a cell says how many of them hold it; a cell that "
                             "several hold is dropped once.");
    bool even = false;
    for (int a = 0; a < numbers.spatial_dims(); ++a) even |= numbers.axes[a].block % 2 == 0;
    if (even)
      step.sentences.push_back(spec.anchor == Anchor::kAfter
                                   ? "An even block has one cell more after its seed (anchor=after)."
                                   : "An even side has one cell more before the marked cell.");
  } else {
    step.sentences.push_back("Each that fired drops " + std::string(RowOf(spec.method).spread_text) +
                             ". The number in a cell says how many of them hold it.");
  }
  step.grids = CoveringGrids(numbers);
  return step;
}

Step MaskStep(const Numbers& numbers) {
  Step step{"Mask", {"1 is kept, 0 is dropped: a cell is kept if nothing that fired holds it."}, {}, {}};
  step.grids = AllMaps(numbers, [&](int64_t n, int64_t c, int64_t cell) {
    const bool kept = numbers.keep[static_cast<size_t>(numbers.Index(n, c, cell))] != 0;
    return GridCell{kept ? "1" : "0", false, !kept, false};
  });
  return step;
}

const char* NormalizeText(const Spec& spec) {
  if (spec.normalize == Normalize::kExpected) return "normalize=expected";
  return spec.normalize == Normalize::kAsked ? "normalize=asked" : "normalize=none";
}

Step KeptStep(const Numbers& numbers) {
  const char* over = numbers.spec.over == Over::kTensor   ? "the whole tensor"
                     : numbers.spec.over == Over::kSample ? "each sample (over=sample)"
                                                          : "each sample's channel (over=plane)";
  Step step{"Kept fraction", {std::string("Kept elements are counted over ") + over + "."}, KeptLines(numbers), {}};
  if (numbers.spec.normalize != Normalize::kKept)
    step.sentences.push_back(std::string("The gain does not use this count: ") + NormalizeText(numbers.spec) + ".");
  return step;
}

Step GainStep(const Numbers& numbers) {
  Step step{"Gain: the factor a", {}, GainLines(numbers), {}};
  switch (numbers.spec.normalize) {
    case Normalize::kKept:
      step.sentences.push_back(
          "normalize=kept: what is left is scaled up by what was really dropped, so that the values "
          "keep their sum on average.");
      break;
    case Normalize::kExpected:
      step.sentences.push_back(
          "normalize=expected: what is left is scaled up by what is dropped on average, so that the "
          "values keep their sum on average.");
      break;
    case Normalize::kAsked:
      step.sentences.push_back("normalize=asked: what is left is scaled up by 1/(1-p), whatever was really dropped.");
      break;
    case Normalize::kNone:
      step.sentences.push_back("normalize=none: what is kept stays as it is.");
      break;
  }
  return step;
}

// Two digits after the point where there are any: 10.8, 7.03, 9.
std::string Rounded(float value) {
  char text[64];
  std::snprintf(text, sizeof(text), "%.2f", static_cast<double>(value));
  std::string digits = text;
  digits.erase(digits.find_last_not_of('0') + 1);
  if (digits.back() == '.') digits.pop_back();
  if (digits == "-0") digits = "0";
  return digits.size() > 8 || std::abs(value) > 1e6f ? Print(static_cast<double>(value), 3) : digits;
}

Step OutputStep(const Numbers& numbers) {
  Step step{"Output", {}, {}, {}};
  const bool noise = numbers.spec.fill == Fill::kNoise;
  const std::string fill = noise ? "a standard normal number (fill=noise)" : Print(numbers.spec.fill_value);
  step.formulas = {"kept:    y = x * a", "dropped: y = " + fill};
  step.sentences.push_back("Rounded here to two digits after the point.");
  step.grids = AllMaps(numbers, [&](int64_t n, int64_t c, int64_t cell) {
    const auto i = static_cast<size_t>(numbers.Index(n, c, cell));
    return GridCell{Rounded(numbers.y[i]), false, numbers.keep[i] == 0, false};
  });
  return step;
}

const char* IdeaOf(Method method) {
  switch (method) {
    case Method::kDropout:
      return "Dropout sets single elements to zero while a network trains, so that it does not rely on any one of "
             "them.";
    case Method::kSpatialDropout:
      return "SpatialDropout sets whole channels to zero while a network trains: neighbours in a channel tell nearly "
             "the "
             "same, so dropping single elements would hide little.";
    case Method::kDropPath:
      return "Stochastic depth sets the output of a residual branch to zero for whole samples, so that a network "
             "trains "
             "at many depths at once.";
    case Method::kDropBlock:
      return "DropBlock sets square blocks of a feature map to zero while a network trains: a single dropped cell "
             "could "
             "be guessed from its neighbours, a block cannot.";
    case Method::kCutout:
      return "Cutout erases squares of the training images, so that a network looks at the whole object.";
    case Method::kDropConnect:
      break;
  }
  return "DropConnect sets weights of a layer, instead of its activations, to zero while a network trains.";
}

}  // namespace

Page MakePage(const Numbers& numbers, const std::string& seed_note) {
  Page page;
  page.title = "dropkit explain " + PrintSpec(numbers.spec) + "@" + Print(numbers.p);
  page.setting = {{"idea", "", IdeaOf(numbers.spec.method)},
                  {"spec", PrintSpec(numbers.spec, SpecForm::kFull), ""},
                  {"from", "", RowOf(numbers.spec.method).paper},
                  {"shape", ShapeText(numbers.shape), ""},
                  {"seed", std::to_string(numbers.key[0]), seed_note}};
  page.steps = {InputStep(numbers), ProbabilityStep(numbers), FiredStep(numbers), SpreadStep(numbers),
                MaskStep(numbers),  KeptStep(numbers),        GainStep(numbers),  OutputStep(numbers)};
  return page;
}

}  // namespace dropkit::cli

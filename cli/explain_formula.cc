// Every formula is written three times on three lines: with letters, with numbers, as the result. D, H, W are the map's
// sizes, k the block's; kD, kH, kW where the block's sides differ.

#include "cli/explain_formula.h"

#include <cmath>
#include <map>

#include "cli/number.h"

namespace dropkit::cli {
namespace {

constexpr uint64_t kOne = uint64_t{1} << 32;
constexpr size_t kMostTerms = 6;  // of a sum written out

double Used(const Numbers& numbers) { return static_cast<double>(numbers.rates.threshold) / 4294967296.0; }

// p, or where steps of 2^-32 are coarse for it, what is used.
std::string UsedText(const Numbers& numbers) {
  const double asked = static_cast<double>(numbers.p), used = Used(numbers);
  return std::abs(used - asked) <= 1e-6 * asked ? Print(numbers.p) : Six(used);
}

// "a * b" from the parts; "1" from none.
std::string Product(const Lines& factors) {
  std::string text;
  for (const std::string& factor : factors) text += (text.empty() ? "" : "*") + factor;
  return text.empty() ? "1" : text;
}

std::string InParentheses(const std::string& text) {
  return text.find('*') == std::string::npos ? text : "(" + text + ")";
}

// The spatial axes in order, with their letters.
struct LetteredAxis {
  std::string size, block;  // letters
  const reference::Axis* axis;
};
std::vector<LetteredAxis> Lettered(const Numbers& numbers) {
  static constexpr const char* kLetters[] = {"D", "H", "W"};
  const int dims = numbers.spatial_dims();
  bool cube = true;
  for (int a = 1; a < dims; ++a) cube &= numbers.axes[a].block == numbers.axes[0].block;
  std::vector<LetteredAxis> axes;
  for (int a = 0; a < dims; ++a) {
    const std::string letter = kLetters[3 - dims + a];
    axes.push_back({letter, cube ? "k" : "k" + letter, &numbers.axes[a]});
  }
  return axes;
}

// The factors of the formulas, with letters and with numbers.
struct Written {
  std::string letters, numbers;
};
Written Map(const Numbers& numbers) {
  Lines letters, values;
  for (const LetteredAxis& a : Lettered(numbers)) {
    letters.push_back(a.size);
    values.push_back(std::to_string(a.axis->size));
  }
  return {Product(letters), Product(values)};
}
Written Block(const Numbers& numbers) {
  const std::vector<LetteredAxis> axes = Lettered(numbers);
  if (axes.size() > 1 && axes[0].block == "k") {
    const std::string power = "^" + std::to_string(axes.size());
    return {"k" + power, std::to_string(axes[0].axis->block) + power};
  }
  Lines letters, values;
  for (const LetteredAxis& a : axes) {
    letters.push_back(a.block);
    values.push_back(std::to_string(a.axis->block));
  }
  return {Product(letters), Product(values)};
}
Written Fitting(const Numbers& numbers) {
  Lines letters, values;
  for (const LetteredAxis& a : Lettered(numbers)) {
    letters.push_back("(" + a.size + "-" + a.block + "+1)");
    values.push_back(std::to_string(a.axis->size - a.axis->block + 1));
  }
  return {Product(letters), Product(values)};
}

double BlockCells(const Numbers& numbers) {
  double cells = 1;
  for (const reference::Axis& axis : numbers.axes) cells *= static_cast<double>(axis.block);
  return cells;
}
double FittingPositions(const Numbers& numbers) {
  double positions = 1;
  for (const reference::Axis& axis : numbers.axes) positions *= static_cast<double>(axis.size - axis.block + 1);
  return positions;
}

// How many cells are covered by so many positions' blocks.
std::map<int64_t, int64_t> CoverageOf(const Numbers& numbers) {
  std::vector<int64_t> on_axis[3];
  for (int a = 0; a < 3; ++a) {
    const reference::Axis& axis = numbers.axes[a];
    on_axis[a].assign(static_cast<size_t>(axis.size), 0);
    for (int64_t position = 0; position < axis.positions; ++position) {
      for (int64_t cell = axis.First(position); cell < axis.End(position); ++cell) ++on_axis[a][cell];
    }
  }
  std::map<int64_t, int64_t> coverage;
  for (const int64_t i : on_axis[0]) {
    for (const int64_t j : on_axis[1]) {
      for (const int64_t k : on_axis[2]) ++coverage[i * j * k];
    }
  }
  return coverage;
}

// "4*m + 8*m^2 + 4*m^3"; empty when that is too long to read.
std::string SumOfCoverage(const Numbers& numbers) {
  const std::map<int64_t, int64_t> coverage = CoverageOf(numbers);
  std::string sum;
  for (const auto& [covering, cells] : coverage)
    sum += (sum.empty() ? "" : " + ") + std::to_string(cells) + (covering == 0 ? "" : "*m") +
           (covering < 2 ? "" : "^" + std::to_string(covering));
  return coverage.size() > kMostTerms ? "" : sum;
}

// The mean over the map's cells of what `sum` sums.
std::string MeanOver(const std::string& sum, const std::string& cells) {
  return "(" + sum + ") / " + InParentheses(cells);
}

Lines Calibrated(const Numbers& numbers) {
  Lines lines = {"gamma = the number with which the expected dropped fraction is p"};
  lines.push_back("      = " + Six(numbers.rates.gamma));
  return lines;
}

// The lines of rate=paper, plain and raw: a fraction of p, and gamma_scale where it is not 1.
Lines Fraction(const Numbers& numbers) {
  const Spec& spec = numbers.spec;
  Written top{"p", UsedText(numbers)}, bottom;
  const Written block = Block(numbers), map = Map(numbers), fitting = Fitting(numbers);
  if (spec.rate == Rate::kPaper) {
    top = {top.letters + " * " + map.letters, top.numbers + " * " + map.numbers};
    bottom = {" / (" + block.letters + " * " + fitting.letters + ")",
              " / (" + block.numbers + " * " + fitting.numbers + ")"};
  } else if (spec.rate == Rate::kPlain) {
    bottom = {" / " + InParentheses(block.letters), " / " + InParentheses(block.numbers)};
  }
  Written scale;
  if (spec.gamma_scale != 1.0) scale = {" * gamma_scale", " * " + Six(spec.gamma_scale)};
  const std::string letters = top.letters + bottom.letters + scale.letters;
  const std::string values = top.numbers + bottom.numbers + scale.numbers, result = Six(GammaOf(numbers));
  Lines lines = {"gamma = " + letters};
  if (values != result) lines.push_back("      = " + values);
  lines.push_back("      = " + result);
  return lines;
}

std::string OneOver(const std::string& what) { return "1 / (1 - " + what + ")"; }

double CutoutExpected(const Numbers& numbers) {
  double kept = 0;
  for (const auto& [covering, cells] : CoverageOf(numbers)) {
    const double missed =
        1.0 - numbers.rates.gamma * static_cast<double>(covering) / static_cast<double>(numbers.positions());
    kept += static_cast<double>(cells) * std::pow(missed, static_cast<double>(numbers.spec.holes));
  }
  return 1.0 - kept / static_cast<double>(numbers.cells);
}

std::string KeptOf(const KeptGroup& group) { return std::to_string(group.kept) + " / " + std::to_string(group.total); }

Lines KeptGainLines(const Numbers& numbers) {
  Lines lines = {"a = elements / kept elements"};
  for (size_t g = 0; g < numbers.groups.size(); ++g) {
    const KeptGroup& group = numbers.groups[g];
    const std::string name = GroupName(numbers, g), head = name.empty() ? "  = " : name + ": a = ";
    const std::string division = std::to_string(group.total) + " / " + std::to_string(group.kept) + " = ";
    lines.push_back(head + (group.kept == 0 ? "0, as nothing was kept" : division + Six(numbers.gains[g])));
  }
  return lines;
}

// The law with letters, with numbers, and its result; or why it is 0.
Lines DividedLines(const Numbers& numbers, const std::string& letters, const std::string& number, const char* none) {
  const std::string law = "a = " + OneOver(letters);
  if (numbers.gains[0] == 0.0) return {law, std::string("  = 0, as ") + none};
  return {law, "  = " + OneOver(number), "  = " + Six(numbers.gains[0])};
}

}  // namespace

std::string Six(double value) { return Print(value, 6); }

std::string BlockText(const Numbers& numbers) {
  std::string text;
  for (int a = 0; a < numbers.spatial_dims(); ++a) text += (a == 0 ? "" : "x") + std::to_string(numbers.axes[a].block);
  return text.empty() ? "1" : text;
}

std::string MapText(const Numbers& numbers) {
  std::string text;
  for (int a = 0; a < numbers.spatial_dims(); ++a) text += (a == 0 ? "" : "x") + std::to_string(numbers.axes[a].size);
  return text.empty() ? "1" : text;
}

std::string GroupName(const Numbers& numbers, size_t group) {
  const auto g = static_cast<int64_t>(group);
  if (numbers.spec.over == Over::kTensor) return "";
  if (numbers.spec.over == Over::kSample) return "sample " + std::to_string(g);
  return "sample " + std::to_string(g / numbers.channels) + ", channel " + std::to_string(g % numbers.channels);
}

double GammaOf(const Numbers& numbers) {
  const Spec& spec = numbers.spec;
  const double t = Used(numbers);
  const uint64_t threshold = numbers.rates.threshold;
  if (spec.method != Method::kDropBlock || threshold == 0 || threshold == kOne) return t;
  const double cells = static_cast<double>(numbers.cells), block = BlockCells(numbers);
  switch (spec.rate) {
    case Rate::kPaper:
      return t * cells / (block * FittingPositions(numbers)) * spec.gamma_scale;
    case Rate::kPlain:
      return t / block * spec.gamma_scale;
    case Rate::kRaw:
      return t * spec.gamma_scale;
    case Rate::kCalibrated:
      break;
  }
  return numbers.rates.gamma;
}

double ExpectedDropOf(const Numbers& numbers) {
  if (numbers.spec.method == Method::kCutout) return CutoutExpected(numbers);
  if (numbers.spec.method != Method::kDropBlock) return numbers.rates.gamma;
  double kept = 0;
  for (const auto& [covering, cells] : CoverageOf(numbers))
    kept += static_cast<double>(cells) * std::pow(1.0 - numbers.rates.gamma, static_cast<double>(covering));
  return 1.0 - kept / static_cast<double>(numbers.cells);
}

std::vector<double> GainsOf(const Numbers& numbers) {
  const uint64_t threshold = numbers.rates.threshold;
  std::vector<double> gains;
  switch (numbers.spec.normalize) {
    case Normalize::kKept:
      for (const KeptGroup& group : numbers.groups)
        gains.push_back(group.kept == 0 ? 0.0 : static_cast<double>(group.total) / static_cast<double>(group.kept));
      return gains;
    case Normalize::kExpected: {
      const double kept = reference::ExpectedKept(numbers.spec, numbers.axes, numbers.rates.lane_threshold);
      return {kept == 0.0 ? 0.0 : 1.0 / kept};
    }
    case Normalize::kAsked:
      return {threshold == kOne ? 0.0 : 1.0 / (1.0 - Used(numbers))};
    case Normalize::kNone:
      break;
  }
  return {1.0};
}

Lines GammaLines(const Numbers& numbers) {
  const Spec& spec = numbers.spec;
  const uint64_t threshold = numbers.rates.threshold;
  if (spec.method != Method::kDropBlock) return {"probability to fire = p = " + Print(numbers.p)};
  if (threshold == 0) return {"gamma = 0, as p is 0"};
  if (threshold == kOne) return {"gamma = 1, as p is 1"};
  if (spec.rate == Rate::kCalibrated) return Calibrated(numbers);
  Lines lines = Fraction(numbers);
  if (GammaOf(numbers) >= 1.0) lines.push_back("above 1, so every position fires");
  return lines;
}

Lines RoundingLines(const Numbers& numbers) {
  const RateInfo& rates = numbers.rates;
  Lines lines = {"T = round(p * 2^32) = " + std::to_string(rates.threshold)};
  if (numbers.spec.method == Method::kDropBlock)
    lines.push_back("Q = round(gamma * 2^32) = " + std::to_string(rates.lane_threshold));
  else
    lines.push_back("Q = T");
  lines.push_back("a unit fires with Q / 2^32 = " + Print(rates.gamma));
  return lines;
}

Lines ExpectedLines(const Numbers& numbers) {
  const std::string head = "expected dropped = ", next(head.size() - 2, ' ');
  const std::string result = next + "= " + Six(ExpectedDropOf(numbers));
  const Written map = Map(numbers);
  if (numbers.spec.method == Method::kCutout) {
    return {"c: of the P = " + std::to_string(numbers.positions()) + " centres, those whose square holds a cell",
            head + "1 - " + MeanOver("sum over cells of (1-p*c/P)^holes", map.letters), result};
  }
  if (numbers.spec.method != Method::kDropBlock) return {head + "p = " + Six(ExpectedDropOf(numbers))};
  Lines lines = {"c: how many positions' blocks hold a cell",
                 "m = 1 - gamma = " + Six(1.0 - numbers.rates.gamma) + ", the chance that a position does not fire",
                 head + "1 - " + MeanOver("sum over cells of m^c", map.letters)};
  const std::string sum = SumOfCoverage(numbers);
  if (!sum.empty()) lines.push_back(next + "= 1 - " + MeanOver(sum, map.numbers));
  lines.push_back(result);
  return lines;
}

Lines KeptLines(const Numbers& numbers) {
  Lines lines;
  for (size_t g = 0; g < numbers.groups.size(); ++g) {
    const KeptGroup& group = numbers.groups[g];
    const std::string name = GroupName(numbers, g);
    lines.push_back((name.empty() ? "" : name + ": ") + "kept fraction = " + KeptOf(group) + " = " +
                    Six(static_cast<double>(group.kept) / static_cast<double>(group.total)));
  }
  return lines;
}

Lines GainLines(const Numbers& numbers) {
  switch (numbers.spec.normalize) {
    case Normalize::kKept:
      return KeptGainLines(numbers);
    case Normalize::kExpected:
      return DividedLines(numbers, "expected dropped fraction", Six(numbers.rates.expected_drop),
                          "all is expected to be dropped");
    case Normalize::kAsked:
      return DividedLines(numbers, "p", UsedText(numbers), "p is 1");
    case Normalize::kNone:
      break;
  }
  return {"a = 1"};
}

}  // namespace dropkit::cli

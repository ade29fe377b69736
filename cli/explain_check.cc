// Contradiction: the library's own results beside the steps. What the page shows is then what the library does, and not
// a second opinion.

#include <cmath>
#include <cstring>

#include "cli/explain_formula.h"
#include "cli/explain_numbers.h"
#include "cli/shape.h"
#include "cli/status.h"

namespace dropkit::cli {
namespace {

constexpr const char* kWhere = "CASE and --shape";

// A byte a unit as Spread takes them.
std::vector<uint8_t> SeedsOf(const Numbers& numbers) {
  const int64_t positions = numbers.positions();
  std::vector<uint8_t> seeds(static_cast<size_t>(numbers.unit_samples * numbers.unit_channels * positions), 0);
  for (const FiredUnit& unit : numbers.fired)
    seeds[static_cast<size_t>((unit.sample * numbers.unit_channels + unit.channel) * positions + unit.position)] = 1;
  return seeds;
}

std::string PlaceOf(const Numbers& numbers, size_t i) {
  const auto element = static_cast<int64_t>(i);
  const int64_t plane = element / numbers.cells;
  return " at sample " + std::to_string(plane / numbers.channels) + ", channel " +
         std::to_string(plane % numbers.channels) + ", cell " + std::to_string(element % numbers.cells);
}

std::string MaskDiffers(const Numbers& numbers, const Mask& mask, const char* verb) {
  std::vector<uint8_t> keep(numbers.keep.size());
  Check(Unpack(mask, keep.data()), kWhere);
  for (size_t i = 0; i < keep.size(); ++i) {
    if ((keep[i] != 0) != (numbers.keep[i] != 0))
      return std::string(verb) + "'s mask differs" + PlaceOf(numbers, i) + ": " + std::to_string(keep[i]) +
             ", explained " + std::to_string(numbers.keep[i]);
  }
  return "";
}

std::string RatesDiffer(const Numbers& numbers) {
  const uint64_t lanes = reference::LaneThreshold(numbers.spec, numbers.axes, numbers.rates.threshold);
  if (lanes != numbers.rates.lane_threshold)
    return "Rates has Q = " + std::to_string(numbers.rates.lane_threshold) + ", the reference " + std::to_string(lanes);
  const double gamma = std::fmin(1.0, GammaOf(numbers)), off = std::fabs(gamma - numbers.rates.gamma);
  if (!(off <= 1e-9)) return "the formula gives gamma = " + std::to_string(gamma) + ", Rates another";
  if (!(std::fabs(ExpectedDropOf(numbers) - numbers.rates.expected_drop) <= 1e-9))
    return "the coverage gives an expected dropped fraction of " + std::to_string(ExpectedDropOf(numbers)) +
           ", Rates " + std::to_string(numbers.rates.expected_drop);
  return "";
}

std::string GainsDiffer(const Numbers& numbers, const Mask& mask) {
  for (int64_t n = 0; n < numbers.samples; ++n) {
    for (int64_t c = 0; c < numbers.channels; ++c) {
      Gain gain;
      Check(GainOf(mask, Pass::kForward, n, c, DType::kF32, &gain), kWhere);
      const double explained = static_cast<float>(numbers.GainAt(n, c));
      if (gain.a != explained)
        return "GainOf has a = " + std::to_string(gain.a) + " at sample " + std::to_string(n) + ", channel " +
               std::to_string(c) + ", explained " + std::to_string(explained);
    }
  }
  return "";
}

std::string OutputDiffers(const Numbers& numbers, const Mask& mask) {
  std::vector<float> x = numbers.x, y(x.size());
  View in = ViewOf(numbers.shape), out = in;
  in.data = x.data();
  out.data = y.data();
  Check(Apply(mask, Pass::kForward, in, out, Exec{}), kWhere);
  for (size_t i = 0; i < y.size(); ++i) {
    if (std::memcmp(&y[i], &numbers.y[i], sizeof(float)) != 0)
      return "Apply's output differs" + PlaceOf(numbers, i) + ": " + std::to_string(y[i]) + ", explained " +
             std::to_string(numbers.y[i]);
  }
  return "";
}

}  // namespace

std::string Contradiction(const Numbers& numbers) {
  const View view = ViewOf(numbers.shape);
  const std::vector<uint8_t> seeds = SeedsOf(numbers);
  MaskStorage spread, sampled;
  Check(spread.Reserve(numbers.spec, view), kWhere);
  Check(sampled.Reserve(numbers.spec, view), kWhere);
  Check(Spread(numbers.spec, Probability(numbers.p), seeds.data(), view, Exec{}, &spread.mask), kWhere);
  Check(Sample(numbers.spec, Probability(numbers.p), numbers.key, view, Exec{}, &sampled.mask), kWhere);
  std::string differs = RatesDiffer(numbers);
  if (differs.empty()) differs = MaskDiffers(numbers, spread.mask, "Spread");
  if (differs.empty()) differs = MaskDiffers(numbers, sampled.mask, "Sample");
  if (differs.empty()) differs = GainsDiffer(numbers, sampled.mask);
  if (differs.empty()) differs = OutputDiffers(numbers, sampled.mask);
  return differs;
}

}  // namespace dropkit::cli

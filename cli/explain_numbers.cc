// The steps, one function each in the order of the page. Nothing here asks the library for a mask: Contradiction, in
// explain_check.cc, compares with it afterwards.

#include "cli/explain_numbers.h"

#include "cli/explain_formula.h"
#include "cli/field.h"
#include "cli/shape.h"
#include "cli/status.h"

namespace dropkit::cli {
namespace {

// Whole numbers from 1 to 9. The counter's last word is one that no draw of the library has.
std::vector<float> MakeInput(const uint64_t key[2], int64_t elements) {
  const reference::KeyWords seed = {static_cast<uint32_t>(key[0]), static_cast<uint32_t>(key[0] >> 32)};
  std::vector<float> x;
  for (int64_t i = 0; i < elements; ++i)
    x.push_back(static_cast<float>(1 + reference::Philox({static_cast<uint32_t>(i), 0, 0, 1}, seed)[0] % 9));
  return x;
}

// docs/draws.md, section 8.
int64_t CentreOfHole(const reference::Axes& axes, const uint64_t* key, int64_t hole, uint64_t sample) {
  const reference::Words words =
      reference::Draw(reference::CallKey(key, reference::Tag::kCentres), 0, static_cast<uint32_t>(hole), sample);
  int64_t position = 0;
  for (int a = 0; a < 3; ++a) {
    const auto positions = static_cast<uint64_t>(axes[a].positions);
    position = position * axes[a].positions + static_cast<int64_t>((words[a] * positions) >> 32);
  }
  return position;
}

void FindFiredUnits(Numbers* numbers) {
  const bool cutout = numbers->spec.method == Method::kCutout;
  const int64_t lanes_a_channel = cutout ? numbers->spec.holes : numbers->positions();
  const int64_t lanes = numbers->unit_channels * lanes_a_channel;
  if (cutout) numbers->holes_drawn = numbers->unit_samples * lanes;
  for (int64_t n = 0; n < numbers->unit_samples; ++n) {
    const auto sample = static_cast<uint64_t>(n);
    const std::vector<bool> fired = reference::FiredLanes(numbers->rates.lane_threshold, lanes, numbers->key, sample);
    for (int64_t lane = 0; lane < lanes; ++lane) {
      if (!fired[static_cast<size_t>(lane)]) continue;
      const int64_t position =
          cutout ? CentreOfHole(numbers->axes, numbers->key, lane, sample) : lane % lanes_a_channel;
      numbers->fired.push_back({n, lane / lanes_a_channel, position});
    }
  }
}

// Counts one more covering unit on every cell of the box in one channel of one sample.
void CoverBox(const FiredUnit& unit, int64_t n, int64_t c, Numbers* numbers) {
  const reference::Axes& axes = numbers->axes;
  const std::array<int64_t, 3> at = IndexOnAxes(axes, unit.position);
  for (int64_t i = axes[0].First(at[0]); i < axes[0].End(at[0]); ++i) {
    for (int64_t j = axes[1].First(at[1]); j < axes[1].End(at[1]); ++j) {
      for (int64_t k = axes[2].First(at[2]); k < axes[2].End(at[2]); ++k)
        ++numbers->covering[numbers->Index(n, c, (i * axes[1].size + j) * axes[2].size + k)];
    }
  }
}

void CoverCells(Numbers* numbers) {
  numbers->covering.assign(numbers->x.size(), 0);
  for (const FiredUnit& unit : numbers->fired) {
    for (int64_t n = 0; n < numbers->samples; ++n) {
      for (int64_t c = 0; c < numbers->channels; ++c) {
        const bool here =
            (numbers->unit_samples == 1 || unit.sample == n) && (numbers->unit_channels == 1 || unit.channel == c);
        if (here) CoverBox(unit, n, c, numbers);
      }
    }
  }
  for (const int64_t covering : numbers->covering) numbers->keep.push_back(covering == 0);
}

void CountKept(Numbers* numbers) {
  numbers->groups.resize(numbers->Group(numbers->samples - 1, numbers->channels - 1) + 1);
  for (int64_t n = 0; n < numbers->samples; ++n) {
    for (int64_t c = 0; c < numbers->channels; ++c) {
      KeptGroup& group = numbers->groups[numbers->Group(n, c)];
      group.total += numbers->cells;
      for (int64_t cell = 0; cell < numbers->cells; ++cell) group.kept += numbers->keep[numbers->Index(n, c, cell)];
    }
  }
}

float FillAt(const Numbers& numbers, int64_t n, int64_t c, int64_t cell) {
  if (numbers.spec.fill == Fill::kNumber) return static_cast<float>(numbers.spec.fill_value);
  const auto sample = static_cast<uint64_t>(numbers.unit_samples == 1 ? 0 : n);
  const auto element = static_cast<uint64_t>(c * numbers.cells + cell);
  return static_cast<float>(reference::Noise(numbers.key, sample, element));
}

void MakeOutput(Numbers* numbers) {
  for (int64_t n = 0; n < numbers->samples; ++n) {
    for (int64_t c = 0; c < numbers->channels; ++c) {
      const float a = static_cast<float>(numbers->GainAt(n, c));
      for (int64_t cell = 0; cell < numbers->cells; ++cell) {
        const int64_t i = numbers->Index(n, c, cell);
        numbers->y.push_back(numbers->keep[i] ? numbers->x[i] * a : FillAt(*numbers, n, c, cell));
      }
    }
  }
}

}  // namespace

size_t Numbers::Group(int64_t n, int64_t c) const {
  if (spec.over == Over::kTensor) return 0;
  return static_cast<size_t>(spec.over == Over::kSample ? n : n * channels + c);
}

std::array<int64_t, 3> IndexOnAxes(const reference::Axes& axes, int64_t position) {
  const int64_t rows = position / axes[2].positions;
  return {rows / axes[1].positions, rows % axes[1].positions, position % axes[2].positions};
}

Numbers ComputeNumbers(const Spec& spec, float p, const uint64_t key[2], const std::vector<int64_t>& shape) {
  Numbers numbers;
  numbers.spec = spec;
  numbers.p = p;
  numbers.key[0] = key[0];
  numbers.key[1] = key[1];
  numbers.shape = shape;
  const View view = ViewOf(shape);
  Check(Rates(spec, p, view, &numbers.rates), "CASE and --shape");
  numbers.axes = reference::AxesOf(spec, view.spatial_dims, view.size);
  numbers.samples = shape[0];
  numbers.channels = shape[1];
  numbers.cells = reference::Cells(numbers.axes);
  numbers.unit_samples = SharesBatch(spec) ? 1 : shape[0];
  numbers.unit_channels = SharesChannels(spec) ? 1 : shape[1];
  numbers.x = MakeInput(key, numbers.samples * numbers.channels * numbers.cells);
  FindFiredUnits(&numbers);
  CoverCells(&numbers);
  CountKept(&numbers);
  numbers.gains = GainsOf(numbers);
  MakeOutput(&numbers);
  return numbers;
}

}  // namespace dropkit::cli

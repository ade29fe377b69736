// Sample, Spread and Pack: from lanes to dropped elements to bits (sections 4 and 8 of docs/draws.md).
//
// Every sample is drawn on its own, as bools for all its elements, also where a mask is shared: then all samples are
// drawn alike and agree on the bit. Validation is in drop.cc; how x is multiplied is in apply.cc.
#include <algorithm>

#include "reference/reference.h"

namespace dropkit::reference {
namespace {

// A unit that fired: the box at `position` (row-major over the positions of the axes) of a channel.
struct Unit {
  int64_t channel, position;
};

struct Units {
  bool one_sample, one_channel;  // shared over the batch, over channels
  int64_t channels;              // that draw of their own
  Axes axes;
};

Units UnitsOf(const Spec& spec, const View& x) {
  Units units;
  units.one_sample = spec.share == Share::kBatch || spec.share == Share::kAll;
  units.one_channel = spec.share == Share::kChannels || spec.share == Share::kAll || spec.method == Method::kDropPath;
  units.channels = units.one_channel ? 1 : x.channels;
  units.axes = AxesOf(spec, x.spatial_dims, x.size);
  return units;
}

std::array<int64_t, 3> Unravel(const Axes& axes, int64_t position) {
  const int64_t last = position % axes[2].positions;
  const int64_t rows = position / axes[2].positions;
  return {rows / axes[1].positions, rows % axes[1].positions, last};
}

int64_t CentreOf(const Axes& axes, KeyWords call_key, int64_t hole, uint64_t sample) {
  const Words words = Draw(call_key, 0, static_cast<uint32_t>(hole), sample);
  int64_t position = 0;
  for (int a = 0; a < 3; ++a) {
    const uint64_t where = (uint64_t{words[a]} * static_cast<uint64_t>(axes[a].positions)) >> 32;
    position = position * axes[a].positions + static_cast<int64_t>(where);
  }
  return position;
}

std::vector<Unit> DrawUnits(const Spec& spec, const Units& units, uint64_t lane_threshold, Key key, uint64_t sample) {
  const bool cutout = spec.method == Method::kCutout;
  const int64_t lanes_a_channel = cutout ? spec.holes : Positions(units.axes);
  const std::vector<bool> fired = FiredLanes(lane_threshold, units.channels * lanes_a_channel, key, sample);
  const KeyWords centres = CallKey(key, Tag::kCentres);
  std::vector<Unit> drawn;
  for (int64_t lane = 0; lane < static_cast<int64_t>(fired.size()); ++lane) {
    if (!fired[lane]) continue;
    const int64_t position = cutout ? CentreOf(units.axes, centres, lane, sample) : lane % lanes_a_channel;
    drawn.push_back({lane / lanes_a_channel, position});
  }
  return drawn;
}

// Spread's seeds of one sample.
std::vector<Unit> GivenUnits(const Units& units, const uint8_t* seeds) {
  const int64_t positions = Positions(units.axes);
  std::vector<Unit> given;
  for (int64_t lane = 0; lane < units.channels * positions; ++lane) {
    if (seeds[lane] != 0) given.push_back({lane / positions, lane % positions});
  }
  return given;
}

void DropBox(const Axes& axes, int64_t position, int64_t first_element, std::vector<bool>* keep) {
  const std::array<int64_t, 3> at = Unravel(axes, position);
  for (int64_t i = axes[0].First(at[0]); i < axes[0].End(at[0]); ++i) {
    for (int64_t j = axes[1].First(at[1]); j < axes[1].End(at[1]); ++j) {
      for (int64_t k = axes[2].First(at[2]); k < axes[2].End(at[2]); ++k) {
        (*keep)[first_element + (i * axes[1].size + j) * axes[2].size + k] = false;
      }
    }
  }
}

// Keep flags [channels][cells] of one sample.
std::vector<bool> KeepAllBut(const Units& units, const std::vector<Unit>& fired, int64_t channels) {
  const int64_t cells = Cells(units.axes);
  std::vector<bool> keep(static_cast<size_t>(channels * cells), true);
  for (const Unit& unit : fired) {
    const int64_t first = units.one_channel ? 0 : unit.channel, end = units.one_channel ? channels : unit.channel + 1;
    for (int64_t c = first; c < end; ++c) DropBox(units.axes, unit.position, c * cells, &keep);
  }
  return keep;
}

// Sets the threshold, and bits and counts to nothing kept; StoreSample adds to them. A bad p leaves given bits as they
// are given and drawn ones all kept; either way Apply makes NaN of them.
uint64_t StartMask(Probability p, Mask* mask) {
  *mask->threshold = ThresholdOf(p.device ? *p.device : p.value);
  std::fill(mask->bits, mask->bits + mask->num_words(), uint64_t{0});
  std::fill(mask->kept, mask->kept + mask->num_kept, int64_t{0});
  return *mask->threshold;
}

// Which of the counts an element of sample n, channel c belongs to.
int64_t CountOf(const Mask& mask, int64_t n, int64_t c) {
  if (mask.spec.over == Over::kPlane) return n * mask.channels + c;
  return mask.spec.over == Over::kTensor && mask.one_count ? 0 : n;
}

void StoreSample(const std::vector<bool>& keep, int64_t n, Mask* mask) {
  size_t element = 0;
  for (int64_t c = 0; c < mask->channels; ++c) {
    for (int64_t i = 0; i < mask->size[0]; ++i) {
      for (int64_t j = 0; j < mask->size[1]; ++j) {
        for (int64_t k = 0; k < mask->size[2]; ++k) {
          if (!keep[element++]) continue;
          const int64_t bit = n * mask->sample_stride + c * mask->channel_stride + i * mask->stride[0] +
                              j * mask->stride[1] + k * mask->stride[2];
          mask->bits[bit / 64] |= uint64_t{1} << (bit % 64);
          ++mask->kept[CountOf(*mask, n, c)];
        }
      }
    }
  }
}

void StoreAllKept(const View& x, Mask* mask) {
  const size_t elements = static_cast<size_t>(x.channels * x.size[0] * x.size[1] * x.size[2]);
  for (int64_t n = 0; n < x.samples; ++n) StoreSample(std::vector<bool>(elements, true), n, mask);
}

}  // namespace

Status Sample(const Spec& spec, Probability p, Key key, const View& x, const Exec&, Mask* mask) {
  mask->key = key;
  const uint64_t threshold = StartMask(p, mask);
  if (threshold == kBadThreshold) {
    StoreAllKept(x, mask);
    return {};
  }
  const Units units = UnitsOf(spec, x);
  const uint64_t lane_threshold = LaneThreshold(spec, units.axes, threshold);
  for (int64_t n = 0; n < x.samples; ++n) {
    const uint64_t sample = units.one_sample ? 0 : static_cast<uint64_t>(x.first_sample + n);
    const std::vector<Unit> fired = DrawUnits(spec, units, lane_threshold, key, sample);
    StoreSample(KeepAllBut(units, fired, x.channels), n, mask);
  }
  return {};
}

Status Spread(const Spec& spec, Probability p, const uint8_t* seeds, const View& x, const Exec&, Mask* mask) {
  StartMask(p, mask);
  const Units units = UnitsOf(spec, x);
  const int64_t seeds_a_sample = units.channels * Positions(units.axes);
  for (int64_t n = 0; n < x.samples; ++n) {
    const std::vector<Unit> fired = GivenUnits(units, seeds + (units.one_sample ? 0 : n) * seeds_a_sample);
    StoreSample(KeepAllBut(units, fired, x.channels), n, mask);
  }
  return {};
}

Status Pack(const Spec&, Probability p, const uint8_t* keep, const View& x, const Exec&, Mask* mask) {
  StartMask(p, mask);
  const int64_t elements = x.channels * x.size[0] * x.size[1] * x.size[2];
  for (int64_t n = 0; n < x.samples; ++n) {
    StoreSample(std::vector<bool>(keep + n * elements, keep + (n + 1) * elements), n, mask);
  }
  return {};
}

}  // namespace dropkit::reference

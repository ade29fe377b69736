// Sample, Spread and Pack on the CPU. Memory plan: the mask's words are cut into tasks at word boundaries (whole
// planes; whole samples when channels are last), so no two tasks share a word. A task sets its words, draws the tiles
// of 512 lanes that touch its planes (a tile that two tasks touch is drawn by both: the draw is a function of its
// place), and clears what fired. A second pass counts.
#include <bit>
#include <numeric>

#include "cpu/cpu.h"

namespace dropkit::cpu {
namespace {

constexpr int64_t kLeastBitsOfTask = 1 << 14;  // below this much work a task costs more than it saves

// Where fired lanes come from: the draw, or bytes that the caller gave.
struct LaneSource {
  LaneLaw law;
  CallKey digits_key, overlay_key, centres_key;
  const uint8_t* given = nullptr;
  bool given_marks_kept = false;  // Pack: a zero byte fires
  int64_t lanes = 0;
  uint64_t first_sample = 0;
  bool shares_batch = false;

  uint64_t GlobalSample(int64_t n) const { return shares_batch ? 0 : first_sample + n; }

  // The fired lanes of a tile, clipped to lanes [begin, end).
  void Tile(int64_t n, int64_t tile, int64_t begin, int64_t end, uint64_t bits[kTileWords]) const {
    if (given) {
      TileOfBytes(given + n * lanes, tile, end, bits);
    } else {
      const int tile_lanes = static_cast<int>(std::min<int64_t>(kTileLanes, lanes - tile * kTileLanes));
      DrawTile(law, digits_key, overlay_key, static_cast<uint32_t>(tile), GlobalSample(n), tile_lanes, bits);
    }
    for (int i = 0; i < kTileWords; ++i) {
      const int64_t first = tile * kTileLanes + 64 * i;
      const int64_t from = std::clamp<int64_t>(begin - first, 0, 64), to = std::clamp<int64_t>(end - first, 0, 64);
      bits[i] &= LowMask(to) & ~LowMask(from);
    }
  }

  void TileOfBytes(const uint8_t* bytes, int64_t tile, int64_t end, uint64_t bits[kTileWords]) const {
    std::fill_n(bits, kTileWords, uint64_t{0});
    for (int64_t lane = tile * kTileLanes, i = 0; i < kTileLanes && lane < end; ++lane, ++i) {
      bits[i >> 6] |= uint64_t{(bytes[lane] != 0) != given_marks_kept} << (i & 63);
    }
  }
};

// Clears the elements that fired lanes drop.
class Spreader {
 public:
  Spreader(const Plan& plan, const LaneSource& source, const Mask& mask)
      : plan_(plan),
        source_(source),
        mask_(mask),
        centres_are_drawn_(mask.spec.method == Method::kCutout && !source.given) {
    // Missing axes first, so that the last axis is the one whose cells follow each other.
    const int missing = 3 - mask.spatial_dims;
    for (int i = 0; i < mask.spatial_dims; ++i) {
      axis_[missing + i] = plan.axis[i];
      stride_[missing + i] = mask.stride[i];
    }
  }

  // Lanes of samples x channels [c0, c1) of one sample.
  void SpreadLanes(int64_t n, int64_t c0, int64_t c1) const {
    const int64_t begin = c0 * plan_.lanes_per_channel, end = c1 * plan_.lanes_per_channel;
    const int64_t map_bits = plan_.has_map ? plan_.cells : 1;
    const bool in_lane_order = !plan_.has_blocks && (mask_.channel_stride == map_bits || plan_.lane_channels == 1 ||
                                                     plan_.lanes_per_channel == 1);
    uint64_t bits[kTileWords];
    for (int64_t tile = begin / kTileLanes; tile * kTileLanes < end; ++tile) {
      source_.Tile(n, tile, begin, end, bits);
      for (int i = 0; i < kTileWords; ++i) {
        const int64_t lane = tile * kTileLanes + 64 * i;
        if (bits[i] == 0) continue;
        if (in_lane_order) {
          ClearMarked(mask_.bits, n * mask_.sample_stride + lane, bits[i]);
        } else {
          SpreadWord(n, lane, bits[i]);
        }
      }
    }
  }

 private:
  // The fired lanes among 64 from `first` on. One division a word: with 64 positions or more a word holds at most one
  // change of channel.
  void SpreadWord(int64_t n, int64_t first, uint64_t fired) const {
    const int64_t positions = plan_.lanes_per_channel;
    const int64_t first_channel = first / positions, first_position = first % positions;
    for (; fired != 0; fired &= fired - 1) {
      int64_t position = first_position + std::countr_zero(fired);
      int64_t channel = first_channel;
      if (position >= positions) {
        channel += positions >= 64 ? 1 : position / positions;
        position = positions >= 64 ? position - positions : position % positions;
      }
      const int64_t plane = n * mask_.sample_stride + channel * mask_.channel_stride;
      if (plan_.has_blocks) {
        SpreadBlock(n, channel * positions + position, plane, position);
      } else {
        ClearBit(mask_.bits,
                 plane + position * stride_[2]);  // a mask's map is dense: row-major in steps of its last axis
      }
    }
  }

  void SpreadBlock(int64_t n, int64_t lane, int64_t plane, int64_t position) const {
    int64_t at[3];
    if (centres_are_drawn_) {
      const Words4 words = Draw(source_.centres_key, 0, static_cast<uint32_t>(lane), source_.GlobalSample(n));
      const int missing = 3 - mask_.spatial_dims;
      for (int i = 0; i < 3; ++i) at[i] = i < missing ? 0 : UniformBelow(words.word[i - missing], axis_[i].positions);
    } else {
      for (int i = 2; i >= 0; --i) {
        at[i] = position % axis_[i].positions;
        position /= axis_[i].positions;
      }
    }
    ClearBlock(plane, at);
  }

  void ClearBlock(int64_t plane, const int64_t at[3]) const {
    int64_t first[3], last[3];
    for (int i = 0; i < 3; ++i) {
      first[i] = std::max<int64_t>(0, at[i] - axis_[i].before);
      last[i] = std::min(axis_[i].size, at[i] - axis_[i].before + axis_[i].block);
    }
    for (int64_t i = first[0]; i < last[0]; ++i) {
      for (int64_t j = first[1]; j < last[1]; ++j) {
        const int64_t row = plane + i * stride_[0] + j * stride_[1];
        if (stride_[2] <= 1) {
          ClearRange(mask_.bits, row + first[2], row + last[2]);
        } else {
          for (int64_t k = first[2]; k < last[2]; ++k) ClearBit(mask_.bits, row + k * stride_[2]);
        }
      }
    }
  }

  const Plan& plan_;
  const LaneSource& source_;
  const Mask& mask_;
  const bool centres_are_drawn_;
  Axis axis_[3];
  int64_t stride_[3] = {0, 0, 0};
};

// How the planes of the mask (its own: shared axes count once) are cut into tasks.
struct Cut {
  int64_t planes, channels, plane_bits, planes_of_task, tasks;
};

Cut CutIntoTasks(const Plan& plan, const Mask& mask, const Exec& exec) {
  Cut cut;
  cut.channels = plan.lane_channels;
  cut.plane_bits = plan.has_map ? plan.cells : 1;
  cut.planes = mask.num_bits / cut.plane_bits;
  const bool planes_interleave = cut.channels > 1 && mask.channel_stride != cut.plane_bits;
  const int64_t unit = planes_interleave ? cut.channels : 1;  // planes that must stay together
  const int64_t aligned = unit * (64 / std::gcd<int64_t>(64, unit * cut.plane_bits));
  const int64_t wanted = std::max(cut.planes / (int64_t{4} * MaxThreads(exec)), kLeastBitsOfTask / cut.plane_bits);
  cut.planes_of_task = std::max<int64_t>(1, wanted / aligned) * aligned;
  cut.tasks = (cut.planes + cut.planes_of_task - 1) / cut.planes_of_task;
  return cut;
}

void SetWords(const Mask& mask, int64_t begin, int64_t end) {
  std::fill(mask.bits + begin / 64, mask.bits + (end + 63) / 64, ~uint64_t{0});
  if (end % 64 != 0) mask.bits[end / 64] = LowMask(end % 64);  // only the mask's last word is not whole
}

void RunTask(const Cut& cut, const Spreader& spreader, const Mask& mask, int64_t task) {
  int64_t plane = task * cut.planes_of_task;
  const int64_t end = std::min(plane + cut.planes_of_task, cut.planes);
  SetWords(mask, plane * cut.plane_bits, end * cut.plane_bits);
  while (plane < end) {
    const int64_t n = plane / cut.channels, c0 = plane % cut.channels;
    const int64_t c1 = std::min(cut.channels, c0 + end - plane);
    spreader.SpreadLanes(n, c0, c1);
    plane += c1 - c0;
  }
}

int64_t CountPlane(const Mask& mask, const Cut& cut, int64_t n, int64_t c) {
  const int64_t first = n * mask.sample_stride + c * mask.channel_stride;
  if (cut.channels == 1 || mask.channel_stride == cut.plane_bits)
    return CountRange(mask.bits, first, first + cut.plane_bits);
  int64_t count = 0;
  for (int64_t i = 0; i < cut.plane_bits; ++i) count += GetBit(mask.bits, first + i * cut.channels);
  return count;
}

// Counts are of the tensor's elements: a bit stands for as many as share it.
void CountKept(const Plan& plan, const Cut& cut, const Exec& exec, const Mask& mask) {
  const int64_t cells_of_bit = plan.has_map ? 1 : plan.cells;
  const int64_t channels_of_plane = mask.channels / cut.channels;
  const int64_t counted = plan.shares_batch ? 1 : mask.samples;
  const bool per_plane = mask.spec.over == Over::kPlane;
  const int64_t width = per_plane ? mask.channels : 1;
  RunTasks(exec, counted, [&](int64_t n) {
    if (!per_plane) {
      const int64_t first = n * mask.sample_stride;
      mask.kept[n] =
          CountRange(mask.bits, first, first + cut.channels * cut.plane_bits) * cells_of_bit * channels_of_plane;
      return;
    }
    for (int64_t c = 0; c < mask.channels; ++c) {
      mask.kept[n * width + c] = c < cut.channels ? CountPlane(mask, cut, n, c) * cells_of_bit : mask.kept[n * width];
    }
  });
  for (int64_t n = counted; n < mask.samples; ++n) std::copy_n(mask.kept, width, mask.kept + n * width);
}

void FillMask(const Plan& plan, const LaneSource& source, const Exec& exec, const Mask& mask) {
  const Spreader spreader(plan, source, mask);
  const Cut cut = CutIntoTasks(plan, mask, exec);
  RunTasks(exec, cut.tasks, [&](int64_t task) { RunTask(cut, spreader, mask, task); });
  CountKept(plan, cut, exec, mask);
}

LaneSource SourceOf(const Plan& plan, const Mask& mask) {
  LaneSource source;
  source.lanes = plan.lanes;
  source.first_sample = static_cast<uint64_t>(mask.first_sample);
  source.shares_batch = plan.shares_batch;
  return source;
}

// A mask from the caller's bytes: seeds that fire, or (Pack) elements that are kept.
Status FromBytes(const Spec& spec, Probability p, const uint8_t* bytes, bool marks_kept, const View& x,
                 const Exec& exec, Mask* mask) {
  Plan plan;
  if (Status status = MakePlan(spec, x, &plan); !status.ok()) return status;
  if (spec.method == Method::kCutout) {  // a given seed is a centre's position, not a hole
    plan.lanes_per_channel = plan.positions;
    plan.lanes = plan.lane_channels * plan.lanes_per_channel;
  }
  LaneSource source = SourceOf(plan, *mask);
  source.given = bytes;
  source.given_marks_kept = marks_kept;
  FillMask(plan, source, exec, *mask);
  *mask->threshold = HostThreshold(p);
  return Status();
}

}  // namespace

Status Sample(const Spec& spec, Probability p, Key key, const View& x, const Exec& exec, Mask* mask) {
  Plan plan;
  if (Status status = MakePlan(spec, x, &plan); !status.ok()) return status;
  const uint64_t threshold = HostThreshold(p);
  const Coverage coverage = CoverageIn(spec, plan, exec);
  LaneSource source = SourceOf(plan, *mask);
  source.law = MakeLaneLaw(threshold > kOne ? 0 : LaneThreshold(spec, plan, coverage, threshold));
  source.digits_key = MakeCallKey(key[0], key[1], Tag::kDigits);
  source.overlay_key = MakeCallKey(key[0], key[1], Tag::kOverlay);
  source.centres_key = MakeCallKey(key[0], key[1], Tag::kCentres);
  FillMask(plan, source, exec, *mask);
  *mask->threshold = threshold;
  return Status();
}

Status Spread(const Spec& spec, Probability p, const uint8_t* seeds, const View& x, const Exec& exec, Mask* mask) {
  return FromBytes(spec, p, seeds, false, x, exec, mask);
}

Status Pack(const Spec& spec, Probability p, const uint8_t* keep, const View& x, const Exec& exec, Mask* mask) {
  return FromBytes(spec, p, keep, true, x, exec, mask);
}

}  // namespace dropkit::cpu

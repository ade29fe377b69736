// Sample, Spread and Pack on the CPU. Memory plan: the mask's words are cut into tasks at word boundaries (whole
// planes; whole samples when channels are last), so no two tasks share a word. A task sets its words, clears what fired
// lanes drop (a tile of 512 lanes that two tasks touch is drawn by both: the draw is a function of its place), and
// counts what is left while it is in the cache.
#include <atomic>
#include <numeric>

#include "cpu/cpu.h"
#include "cpu/spread.h"
#include "validate.h"

namespace dropkit::cpu {
namespace {

constexpr int64_t kLeastBitsOfTask = 1 << 14;  // below this much work a task costs more than it saves
constexpr int64_t kMostBitsOfTask = 1 << 18;   // a first cache: a task passes over its words three times

// How the planes of the mask (its own: shared axes count once) are cut into tasks.
struct Cut {
  int64_t planes, channels, plane_bits, planes_of_task, tasks;
};

Cut CutIntoTasks(const Plan& plan, const Mask& mask, bool interleaved, const Exec& exec) {
  Cut cut;
  cut.channels = plan.lane_channels;
  cut.plane_bits = plan.has_map ? plan.cells : 1;
  cut.planes = mask.num_bits / cut.plane_bits;
  const int64_t unit = interleaved ? cut.channels : 1;  // planes that must stay together
  const int64_t aligned = unit * (64 / std::gcd<int64_t>(64, unit * cut.plane_bits));
  const int64_t even = cut.planes / (int64_t{4} * MaxThreads(exec));
  const int64_t wanted = std::clamp(even, kLeastBitsOfTask / cut.plane_bits, kMostBitsOfTask / cut.plane_bits);
  cut.planes_of_task = std::max<int64_t>(1, wanted / aligned) * aligned;
  if (mask.num_bits <= kLeastBitsOfTask) cut.planes_of_task = cut.planes;  // which `aligned` need not divide
  cut.tasks = (cut.planes + cut.planes_of_task - 1) / cut.planes_of_task;
  return cut;
}

void SetWords(const Mask& mask, int64_t begin, int64_t end) {
  std::fill(mask.bits + begin / 64, mask.bits + (end + 63) / 64, ~uint64_t{0});
  if (end % 64 != 0) mask.bits[end / 64] = LowMask(end % 64);  // only the mask's last word is not whole
}

// ---------------------------------------------------------------- counts

// Counts are of the tensor's elements: a bit stands for as many as share it. Samples that share a mask are counted once
// and copied; one count for the whole tensor has no samples.
class Counter {
 public:
  Counter(const Plan& plan, const Kernels& kernels, const Cut& cut, bool interleaved, const Mask& mask)
      : kernels_(kernels),
        cut_(cut),
        interleaved_(interleaved),
        mask_(mask),
        cells_of_bit_(plan.has_map ? 1 : plan.cells),
        channels_of_bit_(mask.channels / cut.channels),
        samples_of_bit_(plan.shares_batch ? mask.samples : 1),
        one_count_(HasOneCount(mask)),
        per_plane_(mask.spec.over == Over::kPlane),
        width_(per_plane_ ? mask.channels : 1),
        counted_(plan.shares_batch || one_count_ ? 1 : mask.samples) {}

  void Clear() const {
    if (!per_plane_) std::fill_n(mask_.kept, counted_, 0);
  }

  // Planes [plane, end), which one task has.
  void Add(int64_t plane, int64_t end) const {
    if (one_count_) return AddTo(0, plane * cut_.plane_bits, end * cut_.plane_bits, samples_of_bit_);
    while (plane < end) {
      const int64_t n = plane / cut_.channels, c0 = plane % cut_.channels;
      const int64_t c1 = std::min(cut_.channels, c0 + end - plane);
      AddChannels(n, c0, c1);
      plane += c1 - c0;
    }
  }

  void Finish() const {
    for (int64_t n = 0; per_plane_ && cut_.channels < mask_.channels && n < counted_; ++n) {
      std::fill_n(mask_.kept + n * width_, width_, mask_.kept[n * width_]);  // one mask for all channels
    }
    if (one_count_) return;
    for (int64_t n = counted_; n < mask_.samples; ++n) std::copy_n(mask_.kept, width_, mask_.kept + n * width_);
  }

 private:
  // Tasks that share a count add up to it in any order.
  void AddTo(int64_t count, int64_t first, int64_t end, int64_t samples) const {
    const int64_t kept = CountRange(first, end) * cells_of_bit_ * channels_of_bit_ * samples;
    std::atomic_ref(mask_.kept[count]).fetch_add(kept, std::memory_order_relaxed);
  }

  // Channels [c0, c1) of sample n, of whose sum over=tensor and over=sample get their share.
  void AddChannels(int64_t n, int64_t c0, int64_t c1) const {
    if (!per_plane_) {
      const int64_t first = n * mask_.sample_stride + c0 * cut_.plane_bits;
      AddTo(n, first, first + (c1 - c0) * cut_.plane_bits, 1);
    } else if (interleaved_) {
      for (int64_t c = c0; c < c1; c += 64) CountGroup(n, c, std::min<int64_t>(64, c1 - c));
    } else {
      for (int64_t c = c0; c < c1; ++c) {
        const int64_t first = n * mask_.sample_stride + c * cut_.plane_bits;
        mask_.kept[n * width_ + c] = CountRange(first, first + cut_.plane_bits) * cells_of_bit_;
      }
    }
  }

  int64_t CountRange(int64_t begin, int64_t end) const {
    const int64_t first_whole = (begin + 63) / 64, end_whole = end / 64;
    if (first_whole >= end_whole) return dropkit::CountRange(mask_.bits, begin, end);
    return dropkit::CountRange(mask_.bits, begin, 64 * first_whole) +
           kernels_.popcount(mask_.bits + first_whole, end_whole - first_whole) +
           dropkit::CountRange(mask_.bits, 64 * end_whole, end);
  }

  // Channels are innermost: 64 of them are transposed, so that each counts its own word.
  void CountGroup(int64_t n, int64_t c, int64_t group) const {
    int64_t* kept = mask_.kept + n * width_ + c;
    std::fill_n(kept, group, 0);
    for (int64_t position = 0; position < cut_.plane_bits; position += 64) {
      uint64_t square[64] = {};
      const int64_t some = std::min<int64_t>(64, cut_.plane_bits - position);
      const int64_t first = n * mask_.sample_stride + position * cut_.channels + c;
      for (int64_t i = 0; i < some; ++i) square[i] = LoadBits(mask_.bits, first + i * cut_.channels, group);
      kernels_.transpose(square);
      for (int64_t i = 0; i < group; ++i) kept[i] += std::popcount(square[i]);
    }
  }

  const Kernels& kernels_;
  const Cut& cut_;
  const bool interleaved_;
  const Mask& mask_;
  const int64_t cells_of_bit_, channels_of_bit_, samples_of_bit_;
  const bool one_count_, per_plane_;
  const int64_t width_, counted_;
};

// ---------------------------------------------------------------- tasks

void RunTask(const Cut& cut, const Spreader& spreader, const Counter& counter, const Mask& mask, int64_t task) {
  const int64_t plane = task * cut.planes_of_task;
  const int64_t end = std::min(plane + cut.planes_of_task, cut.planes);
  SetWords(mask, plane * cut.plane_bits, end * cut.plane_bits);
  spreader.SpreadPlanes(plane, end);
  counter.Add(plane, end);
}

void FillMask(const Plan& plan, const Field& field, CallKey centres_key, const Exec& exec, const Mask& mask) {
  const Spreader spreader(plan, field, centres_key, mask);
  const Cut cut = CutIntoTasks(plan, mask, spreader.interleaved(), exec);
  const Counter counter(plan, *field.kernels, cut, spreader.interleaved(), mask);
  counter.Clear();
  RunTasks(exec, cut.tasks, [&](int64_t task) { RunTask(cut, spreader, counter, mask, task); });
  counter.Finish();
}

Field FieldOf(const Plan& plan, const Mask& mask) {
  Field field;
  field.kernels = &ChosenKernels();
  field.lanes = plan.lanes;
  field.first_sample = static_cast<uint64_t>(mask.first_sample);
  field.shares_batch = plan.shares_batch;
  return field;
}

// A mask from the caller's bytes: seeds that fire, or (Pack) elements that are kept.
Status FromBytes(const Spec& spec, Probability p, const uint8_t* bytes, bool marks_kept, const View& x,
                 const Exec& exec, Mask* mask) {
  Plan plan;
  if (Status status = CheckKernels(); !status.ok()) return status;
  if (Status status = MakePlan(spec, x, &plan); !status.ok()) return status;
  if (spec.method == Method::kCutout) {  // a given seed is a centre's position, not a hole
    plan.lanes_per_channel = plan.positions;
    plan.lanes = plan.lane_channels * plan.lanes_per_channel;
  }
  Field field = FieldOf(plan, *mask);
  field.given = bytes;
  field.given_marks_kept = marks_kept;
  FillMask(plan, field, CallKey{}, exec, *mask);
  *mask->threshold = HostThreshold(p);
  return Status();
}

}  // namespace

Status Sample(const Spec& spec, Probability p, Key key, const View& x, const Exec& exec, Mask* mask) {
  Plan plan;
  if (Status status = CheckKernels(); !status.ok()) return status;
  if (Status status = MakePlan(spec, x, &plan); !status.ok()) return status;
  const uint64_t threshold = HostThreshold(p);
  const Coverage coverage = MakeCoverage(plan);
  Field field = FieldOf(plan, *mask);
  field.law = MakeLaneLaw(threshold > kOne ? 0 : LaneThreshold(spec, plan, coverage, threshold));
  field.digits_key = MakeCallKey(key[0], key[1], Tag::kDigits);
  field.overlay_key = MakeCallKey(key[0], key[1], Tag::kOverlay);
  FillMask(plan, field, MakeCallKey(key[0], key[1], Tag::kCentres), exec, *mask);
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

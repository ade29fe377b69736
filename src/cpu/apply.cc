// Apply on the CPU. Memory plan: rows, as long as x, y and the mask allow (walk.h), are cut into segments, one read and
// one write an element, the mask's bits read 64 at a time.
#include <atomic>
#include <bit>
#include <cmath>
#include <cstdio>
#include <limits>

#include "cpu/cpu.h"
#include "cpu/element.h"
#include "cpu/kernels.h"
#include "cpu/walk.h"
#include "validate.h"

namespace dropkit::cpu {
namespace {

constexpr int64_t kSegment = 1 << 15;  // elements of a task: some 10 microseconds

// What every row of a call shares.
struct Job {
  const Mask& mask;
  const View& x;
  const View& y;
  Loop loop;
  const Kernels& kernels;
  bool past_cache = false;    // y is stored around the cache
  double gain = 1.0;          // when it is the same for all rows
  bool gain_moves = false;    // it also changes along the innermost axis: channels last with over=plane
  bool gain_per_row = false;  // normalize=kept over sample or plane
  bool noise = false;
  CallKey noise_key = {};
  double fill = 0.0;
};

template <typename T>
struct Row {
  const T* x;
  T* y;
  int64_t count, x_step, y_step, bit, bit_step;
  typename Arithmetic<T>::Wide gain;
  T fill;
};

template <typename T>
void ApplyDense(const Job& job, const Row<T>& row, const uint64_t* bits) {
  job.kernels.apply[static_cast<int>(job.x.dtype)](
      {row.x, row.y, row.count, bits, row.bit, row.gain, job.fill, job.past_cache});
}

// The row starts at element `first` of one whose bits start at `bit`.
template <typename T>
void ApplyGathered(const Job& job, Row<T> row, int64_t bit, int64_t first) {
  constexpr int64_t kAtOnce = 4096;
  uint64_t gathered[kAtOnce / 64];
  const int64_t end = first + row.count;
  row.bit = 0;
  for (; first < end; first += row.count, row.x += row.count, row.y += row.count) {
    row.count = std::min(kAtOnce, end - first);
    GatherBits(job.loop, job.mask.bits, bit, first, row.count, gathered);
    ApplyDense(job, row, gathered);
  }
}

template <typename T>
T Map(const Row<T>& row, bool keep, T value) {
  return keep ? Arithmetic<T>::Store(Arithmetic<T>::Load(value) * row.gain) : row.fill;
}

// One bit for the whole row. What is dropped is not read.
template <typename T>
void ApplyUniform(const Job& job, const Row<T>& row, bool keep) {
  if (keep && row.x_step == 1 && row.y_step == 1) return ApplyDense(job, row, nullptr);
  if (keep) {
    for (int64_t i = 0; i < row.count; ++i) row.y[i * row.y_step] = Map(row, true, row.x[i * row.x_step]);
  } else if (row.y_step == 1) {
    std::fill_n(row.y, row.count, row.fill);
  } else {
    for (int64_t i = 0; i < row.count; ++i) row.y[i * row.y_step] = row.fill;
  }
}

template <typename T>
void ApplyStrided(const Row<T>& row, const uint64_t* bits) {
  for (int64_t i = 0; i < row.count; ++i) {
    row.y[i * row.y_step] = Map(row, GetBit(bits, row.bit + i * row.bit_step), row.x[i * row.x_step]);
  }
}

// Kept elements were written by the caller; a dropped one gets its own normal value.
template <typename T>
void FillNoise(const Job& job, const Row<T>& row, const Place& place, const Step& step) {
  using Wide = typename Arithmetic<T>::Wide;
  const bool shared = job.mask.spec.share == Share::kBatch || job.mask.spec.share == Share::kAll;
  for (int64_t i = 0; i < row.count; ++i) {
    if (GetBit(job.mask.bits, row.bit + i * row.bit_step)) continue;
    const uint64_t sample = shared ? 0 : job.mask.first_sample + place.sample + i * step.sample;
    const double value = NoiseOf(job.noise_key, place.element + i * step.element, sample);
    row.y[i * row.y_step] = Arithmetic<T>::Store(static_cast<Wide>(value));
  }
}

template <typename T>
void ApplyMovingGain(const Job& job, Row<T> row, const Place& place, const Step& step) {
  for (int64_t i = 0; i < row.count; ++i) {
    row.gain = static_cast<typename Arithmetic<T>::Wide>(
        KeptGain(KeptFor(job.mask, place.sample + i * step.sample, place.channel + i * step.channel)));
    row.y[i * row.y_step] = Map(row, GetBit(job.mask.bits, row.bit + i * row.bit_step), row.x[i * row.x_step]);
  }
}

template <typename T>
void ApplySegment(const Job& job, Place place, int64_t first, int64_t count) {
  using Wide = typename Arithmetic<T>::Wide;
  const Step& step = job.loop.inner();
  const int64_t row_bit = place.bit;
  place.Move(step, first);
  const double gain = job.gain_per_row ? KeptGain(KeptFor(job.mask, place.sample, place.channel)) : job.gain;
  const Row<T> row = {static_cast<const T*>(job.x.data) + place.x,
                      static_cast<T*>(job.y.data) + place.y,
                      count,
                      step.x,
                      step.y,
                      place.bit,
                      step.bit,
                      static_cast<Wide>(gain),
                      Arithmetic<T>::Store(static_cast<Wide>(job.fill))};
  if (job.loop.part_size > 0) {
    ApplyGathered(job, row, row_bit, first);
  } else if (job.gain_moves) {
    ApplyMovingGain(job, row, place, step);
  } else if (row.bit_step == 0) {
    ApplyUniform(job, row, GetBit(job.mask.bits, row.bit));
  } else if (row.x_step == 1 && row.y_step == 1 && row.bit_step == 1) {
    ApplyDense(job, row, job.mask.bits);
  } else {
    ApplyStrided(row, job.mask.bits);
  }
  if (job.noise) FillNoise(job, row, place, step);
}

// body(where its row starts, first, count) for the segments of all rows, in groups of about kSegment elements a task.
template <typename Body>
void ForEachSegment(const Loop& loop, const Exec& exec, Body body) {
  const Step& inner = loop.inner();
  const int64_t segments = (inner.size + kSegment - 1) / kSegment;
  const int64_t units = loop.rows() * segments;
  const int64_t units_of_task = std::max<int64_t>(1, kSegment / std::min(kSegment, inner.size));
  RunTasks(exec, (units + units_of_task - 1) / units_of_task, [&](int64_t task) {
    const int64_t end = std::min(units, (task + 1) * units_of_task);
    int64_t unit = task * units_of_task, segment = unit % segments;
    for (Walk walk(loop, unit / segments); unit < end; ++unit) {
      const int64_t first = segment * kSegment;
      body(walk.place(), first, std::min(kSegment, inner.size - first));
      if (++segment < segments) continue;
      segment = 0;
      walk.Next();
    }
  });
}

// Of the last-level cache, or a usual size where Linux does not tell. (sysconf adds up all of a socket's, which one
// core cannot use.)
int64_t CacheBytes() {
  static std::atomic<int64_t> known{0};  // found twice if two ask at once: a guard could be shut in a forked child
  int64_t bytes = known.load(std::memory_order_relaxed);
  if (bytes != 0) return bytes;
  long kilobytes = 0;
  if (std::FILE* file = std::fopen("/sys/devices/system/cpu/cpu0/cache/index3/size", "r")) {
    if (std::fscanf(file, "%ldK", &kilobytes) != 1) kilobytes = 0;
    std::fclose(file);
  }
  bytes = kilobytes > 0 ? int64_t{kilobytes} << 10 : int64_t{32} << 20;
  known.store(bytes, std::memory_order_relaxed);
  return bytes;
}

template <typename T>
void Run(const Job& job, const Exec& exec) {
  if (*job.mask.threshold <= kOne) {
    ForEachSegment(job.loop, exec, [&](const Place& place, int64_t first, int64_t count) {
      ApplySegment<T>(job, place, first, count);
    });
    return;
  }
  // Every output is NaN: p was NaN or outside [0, 1] where no Status could say so.
  const int64_t step = job.loop.inner().y;
  const T nan = Arithmetic<T>::Store(std::numeric_limits<typename Arithmetic<T>::Wide>::quiet_NaN());
  ForEachSegment(job.loop, exec, [&](const Place& place, int64_t first, int64_t count) {
    T* y = static_cast<T*>(job.y.data) + place.y;
    for (int64_t i = first; i < first + count; ++i) y[i * step] = nan;
  });
}

}  // namespace

Status Apply(const Mask& mask, Pass pass, const View& x, const View& y, const Exec& exec) {
  const Spec& spec = mask.spec;
  Plan plan;
  if (Status status = CheckKernels(); !status.ok()) return status;
  if (Status status = MakePlan(spec, x, &plan); !status.ok()) return status;
  const bool noise = spec.fill == Fill::kNoise && pass == Pass::kForward;
  Job job{mask, x, y, MakeLoop(mask, x, y, noise), ChosenKernels()};
  // Fresh memory comes with its old contents from outside the cache, line by line, unless it is stored around it.
  const int64_t bytes = 2 * ElementsOf(x) * static_cast<int64_t>(SizeOf(x.dtype));
  job.past_cache = x.data != y.data && bytes > CacheBytes() / (exec.fresh_output ? 2 : 1);
  job.gain_per_row = spec.normalize == Normalize::kKept && spec.over != Over::kTensor;
  const Step& inner = job.loop.inner();
  job.gain_moves = job.gain_per_row && (inner.sample != 0 || inner.channel != 0);
  if (!job.gain_per_row && *mask.threshold <= kOne) {
    const KeptCount kept = spec.normalize == Normalize::kKept ? KeptFor(mask, 0, 0) : KeptCount{1, 1};
    job.gain = GainFactor(spec, plan, MakeCoverage(plan), *mask.threshold, kept);
  }
  job.noise = noise;
  if (noise) job.noise_key = MakeCallKey(mask.key[0], mask.key[1], Tag::kNoise);
  job.fill = FillOf(spec, pass);
  switch (x.dtype) {
    case DType::kF32:
      Run<float>(job, exec);
      break;
    case DType::kF64:
      Run<double>(job, exec);
      break;
    case DType::kF16:
      Run<Float16>(job, exec);
      break;
    case DType::kBF16:
      Run<BFloat16>(job, exec);
      break;
  }
  return Status();
}

}  // namespace dropkit::cpu

// Apply on the CPU. Memory plan: the five axes of x, y and the mask are ordered by y's strides and merged where they
// follow each other, so dense tensors become one long row (one a sample or plane, when gains differ by them); rows are
// cut into segments, one read and one write an element, the mask's bits read 64 at a time.
#include <array>
#include <bit>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <limits>

#include "cpu/cpu.h"
#include "cpu/element.h"
#include "cpu/kernels.h"

namespace dropkit::cpu {
namespace {

constexpr int64_t kSegment = 1 << 15;  // elements of a task: some 10 microseconds

// ---------------------------------------------------------------- rows

// One axis of the loop: how far a step moves in x, y, the mask, the gains and (for noise) the element's number.
struct Step {
  int64_t size, x, y, bit, sample, channel, element;
};

struct Loop {
  std::array<Step, 5> step;  // outermost first
  int dims = 0;
};

bool Follows(const Step& outer, const Step& inner) {
  return outer.x == inner.x * inner.size && outer.y == inner.y * inner.size && outer.bit == inner.bit * inner.size &&
         outer.sample == inner.sample * inner.size && outer.channel == inner.channel * inner.size &&
         outer.element == inner.element * inner.size;
}

// Gains by sample or plane, and noise, keep those axes apart from the others; otherwise only memory matters.
Loop MakeLoop(const Mask& mask, const View& x, const View& y, bool needs_place) {
  const bool per_sample = mask.spec.over != Over::kTensor && mask.spec.normalize == Normalize::kKept;
  const int64_t sample = per_sample || needs_place ? 1 : 0;
  const int64_t channel = per_sample && mask.spec.over == Over::kPlane ? 1 : 0;
  std::array<Step, 5> all;
  all[0] = {x.samples, x.sample_stride, y.sample_stride, mask.sample_stride, sample, 0, 0};
  int64_t cells = 1;
  for (int i = 2; i >= 0; --i) {
    all[2 + i] = {x.size[i], x.stride[i], y.stride[i], mask.stride[i], 0, 0, needs_place ? cells : 0};
    cells *= x.size[i];
  }
  all[1] = {x.channels, x.channel_stride, y.channel_stride, mask.channel_stride, 0, channel, needs_place ? cells : 0};
  for (int i = 1; i < 5; ++i) {  // by insertion: std::stable_sort allocates
    for (int j = i; j > 0 && std::llabs(all[j - 1].y) < std::llabs(all[j].y); --j) std::swap(all[j - 1], all[j]);
  }
  Loop loop;
  for (const Step& step : all) {
    if (step.size == 1) continue;
    if (loop.dims > 0 && Follows(loop.step[loop.dims - 1], step)) {
      const int64_t size = loop.step[loop.dims - 1].size;
      loop.step[loop.dims - 1] = step;
      loop.step[loop.dims - 1].size *= size;
    } else {
      loop.step[loop.dims++] = step;
    }
  }
  if (loop.dims == 0) loop.step[loop.dims++] = {1, 1, 1, 1, 0, 0, 0};
  return loop;
}

struct Place {
  int64_t x = 0, y = 0, bit = 0, sample = 0, channel = 0, element = 0;
  void Move(const Step& step, int64_t times) {
    x += times * step.x;
    y += times * step.y;
    bit += times * step.bit;
    sample += times * step.sample;
    channel += times * step.channel;
    element += times * step.element;
  }
};

int64_t RowsOf(const Loop& loop) {
  int64_t rows = 1;
  for (int i = 0; i + 1 < loop.dims; ++i) rows *= loop.step[i].size;
  return rows;
}

// From row to row without a division each: short rows cost little else.
class Walk {
 public:
  Walk(const Loop& loop, int64_t row) : loop_(loop) {
    for (int i = loop.dims - 2; i >= 0; --i) {
      at_[i] = row % loop.step[i].size;
      place_.Move(loop.step[i], at_[i]);
      row /= loop.step[i].size;
    }
  }
  const Place& place() const { return place_; }
  void Next() {
    for (int i = loop_.dims - 2; i >= 0; --i) {
      place_.Move(loop_.step[i], 1);
      if (++at_[i] < loop_.step[i].size) return;
      place_.Move(loop_.step[i], -at_[i]);
      at_[i] = 0;
    }
  }

 private:
  const Loop& loop_;
  Place place_;
  std::array<int64_t, 5> at_{};
};

// ---------------------------------------------------------------- kernels

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
  const Step& step = job.loop.step[job.loop.dims - 1];
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
  if (job.gain_moves) {
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
  const Step& inner = loop.step[loop.dims - 1];
  const int64_t segments = (inner.size + kSegment - 1) / kSegment;
  const int64_t units = RowsOf(loop) * segments;
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
  static const int64_t bytes = [] {
    long kilobytes = 0;
    if (std::FILE* file = std::fopen("/sys/devices/system/cpu/cpu0/cache/index3/size", "r")) {
      if (std::fscanf(file, "%ldK", &kilobytes) != 1) kilobytes = 0;
      std::fclose(file);
    }
    return kilobytes > 0 ? int64_t{kilobytes} << 10 : int64_t{32} << 20;
  }();
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
  const int64_t step = job.loop.step[job.loop.dims - 1].y;
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
  job.past_cache = x.data != y.data && 2 * mask.total * static_cast<int64_t>(SizeOf(x.dtype)) > CacheBytes();
  job.gain_per_row = spec.normalize == Normalize::kKept && spec.over != Over::kTensor;
  const Step& inner = job.loop.step[job.loop.dims - 1];
  job.gain_moves = job.gain_per_row && (inner.sample != 0 || inner.channel != 0);
  if (!job.gain_per_row && *mask.threshold <= kOne) {
    const Coverage coverage = CoverageIn(spec, plan, exec);
    const KeptCount kept = spec.normalize == Normalize::kKept ? KeptFor(mask, 0, 0) : KeptCount{1, 1};
    job.gain = GainFactor(spec, plan, coverage, *mask.threshold, kept);
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

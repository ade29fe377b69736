// Sample and Apply in one launch, where no gain waits for a count: x is read and y written while the bits that decide
// are still in shared memory.
//
// Memory plan: where every element has a bit of its own, a block draws a piece of the mask and applies it at once; of a
// box (pieces.h) run by run.
// Where elements share bits (a channel's map, a batch), some blocks write the mask, and others draw for each range of
// elements the few bits that it needs once more, which is cheaper than to wait for one another. Other cases (a gain
// from counts, fill=noise, strided x or y) are two launches: sample.cu's and apply.cu's.
#include <algorithm>

#include "cuda/apply_dense.h"
#include "cuda/cuda.h"
#include "cuda/mask_bits.h"
#include "cuda/mask_writer.h"
#include "cuda/runtime.h"
#include "loop.h"
#include "validate.h"

namespace dropkit::cuda {
namespace {

// Elements of x and y, numbered in their memory order, cut into ranges whose bits a block can draw at once: `group`
// steps of an axis, which are group * inner elements; or parts of one step.
struct Ranges {
  int64_t axis_size = 1, inner = 1, group = 1, part = 1;
  int64_t parts_of_group = 1, groups_of_axis = 1, count = 0;
};

struct Elements {
  const void* x = nullptr;
  void* y = nullptr;
  double gain = 1.0, fill = 0.0;  // the gain of a host p
  bool has_own_bits = false;
  Quotient run;  // by a box's channels; else by more than there are elements
  Loop loop;     // the axes that elements are numbered along
  BitMap map;    // along these, from elements to bits
  Ranges ranges;
};

// Bits of the mask in shared memory, from bit `begin` on.
struct SharedBits {
  int64_t begin;
  int first_word = 0;  // of the block's memory
  DROPKIT_DEVICE uint32_t Load(int64_t bit, int count, bool) const {
    const int64_t at = bit - begin;
    const int shift = static_cast<int>(at & 31);
    const uint32_t* words = Memory().bits + first_word + (at >> 5);
    uint64_t wide = words[0];
    if (shift + count > 32) wide |= uint64_t{words[1]} << 32;
    return static_cast<uint32_t>(wide >> shift) & ((1u << count) - 1);
  }
  DROPKIT_DEVICE uint32_t Keep(int64_t e, int count) const { return Load(e, count, false); }  // element e has bit e
};

struct BitRange {
  int64_t begin, end;
};

// What holds the bits of elements [begin, end): axes within the first on which they differ count in full.
DROPKIT_DEVICE BitRange BitsOf(const Loop& loop, int64_t begin, int64_t end) {
  int64_t inner = 1, first = begin, last = end - 1;
  for (int i = 0; i < loop.dims; ++i) inner *= loop.step[i].size;
  BitRange range = {0, 1};
  bool differ = false;
  for (int i = 0; i < loop.dims; ++i) {
    const Step& step = loop.step[i];
    inner /= step.size;
    const int64_t a = first / inner, b = last / inner;
    first -= a * inner;
    last -= b * inner;
    range.begin += differ ? 0 : a * step.bit;
    range.end += (differ ? step.size - 1 : b) * step.bit;
    differ = differ || a != b;
  }
  return range;
}

DROPKIT_DEVICE void RangeAt(const Ranges& ranges, int64_t i, int64_t* begin, int64_t* end) {
  const int64_t part = i % ranges.parts_of_group, groups = i / ranges.parts_of_group;
  const int64_t group = groups % ranges.groups_of_axis, outer = groups / ranges.groups_of_axis;
  const int64_t first = group * ranges.group, last = Least(ranges.axis_size, first + ranges.group);
  *begin = (outer * ranges.axis_size + first) * ranges.inner + part * ranges.part;
  *end = Least(*begin + ranges.part, (outer * ranges.axis_size + last) * ranges.inner);
}

// The factor of this pass. The whole block.
DROPKIT_DEVICE_CALL double GainFor(const Field& field, const Drawn& drawn, const Elements& elements) {
  if (!field.p || drawn.threshold > kOne) return elements.gain;
  if (field.spec.normalize != Normalize::kExpected) {
    return GainFactor(field.spec, field.plan, field.coverage, drawn.threshold, KeptCount{1, 1});
  }
  return ExpectedGain(field.spec, field.plan, field.coverage, drawn.lane_threshold, SumsBeforeDrawing());
}

// A bit for each of elements [begin, end), where rows are, from those of the mask that the range shares.
template <typename Number>
DROPKIT_DEVICE void SpreadOverElements(const Mapped<SharedBits, Number>& shared, int64_t begin, int64_t end) {
  for (int64_t word = threadIdx.x; word * 32 < end - begin; word += blockDim.x) {
    uint32_t keeps = 0;
    for (int i = 0; i < 4; ++i) {
      const int64_t first = begin + word * 32 + i * 8;
      if (first < end) keeps |= shared.Keep(first, static_cast<int>(Least(8, end - first))) << i * 8;
    }
    Memory().bits[kOutWords + word] = keeps;
  }
}

// The keep bits of elements [begin, end) where rows are. The whole block; ready when it returns.
DROPKIT_DEVICE_CALL void DrawForElements(const MaskWriter& writer, const Drawn& drawn, const Elements& elements,
                                         int64_t begin, int64_t end) {
  const BitRange range = BitsOf(elements.loop, begin, end);
  DrawBits(writer.field, drawn, writer.pieces, range.begin, range.end);
  const SharedBits bits = {range.begin};
  if (elements.map.narrow) {
    SpreadOverElements(Mapped<SharedBits, uint32_t>(bits, elements.map), begin, end);
  } else {
    SpreadOverElements(Mapped<SharedBits, int64_t>(bits, elements.map), begin, end);
  }
  __syncthreads();
}

// The elements that a block maps for a task: `count` of them, none where it only writes a piece of a mask that elements
// share.
struct Task {
  int64_t count;
  Runs order;
};

DROPKIT_DEVICE Task TaskAt(const MaskWriter& writer, const Elements& elements, int64_t i) {
  const Pieces& pieces = writer.pieces;
  int64_t begin = i * pieces.piece_bits, end = Least(begin + pieces.piece_bits, pieces.num_bits);
  if (i >= pieces.count) {
    RangeAt(elements.ranges, i - pieces.count, &begin, &end);
  } else if (!elements.has_own_bits) {
    end = begin;
  } else if (pieces.are_boxes()) {
    const Part box = BoxAt(pieces, i);
    const int64_t first = (box.n * pieces.map_bits + box.q0) * pieces.channels + box.c0;
    return {(box.q1 - box.q0) * pieces.box_channels, {first, pieces.channels, elements.run}};
  }
  return {end - begin, {begin, 0, elements.run}};
}

// Draws the mask's piece number `i`, or, past those, the bits of the task's elements where rows are.
DROPKIT_DEVICE_CALL void DrawTask(const MaskWriter& writer, const Drawn& drawn, const Elements& elements,
                                  uint64_t stamp, int64_t i, const Task& task) {
  if (i < writer.pieces.count) {
    WritePiece(writer, drawn, stamp, i);
  } else if (task.count > 0) {
    DrawForElements(writer, drawn, elements, task.order.first, task.order.first + task.count);
  }
}

template <typename T>
__global__ void __launch_bounds__(kBlockThreads, kDrawingBlocks)
    DropKernel(const __grid_constant__ MaskWriter writer, const __grid_constant__ Elements elements) {
  __shared__ Drawn drawn;
  const T* x = static_cast<const T*>(elements.x);
  const int64_t tasks = writer.pieces.count + elements.ranges.count;
  Task task = TaskAt(writer, elements, blockIdx.x);
  Prefetch(x, 0, task.count, task.order);  // x arrives while bits are drawn
  PrepareDrawn(writer.field, &drawn);
  StoreThreshold(writer, drawn);
  const uint64_t stamp = StampOf(writer.counting, drawn, true);
  const Maps<T> maps = MakeMaps<T>(GainFor(writer.field, drawn, elements), elements.fill, drawn.threshold);
  for (int64_t i = blockIdx.x; i < tasks; i += gridDim.x) {
    DrawTask(writer, drawn, elements, stamp, i, task);
    const SharedBits bits = {0, i < writer.pieces.count ? 0 : kOutWords};
    const Task now = task;
    if (i + gridDim.x < tasks) {
      task = TaskAt(writer, elements, i + gridDim.x);
      Prefetch(x, 0, task.count, task.order);
    }
    ApplyRange(x, static_cast<T*>(elements.y), 0, now.count, maps, bits, now.order);
    __syncthreads();
  }
}

// ---------------------------------------------------------------- on the host

// Elements that a block takes at once, where the tensor has them for eight blocks a multiprocessor.
constexpr int64_t kLeastRange = 1 << 12, kMostRange = 1 << 16;
static_assert(kMostRange <= kMostRowWords * 32);

Ranges RangesOf(const Loop& loop, int64_t elements, int64_t most_bits) {
  const int64_t wanted = std::clamp(elements / (int64_t{8} * Multiprocessors()), kLeastRange, kMostRange);
  int axis = loop.dims - 1;
  int64_t inner = 1, inner_bits = 1;  // elements of a step of `axis`, and what holds their bits
  while (axis > 0 && inner_bits + (loop.step[axis].size - 1) * loop.step[axis].bit <= most_bits) {
    inner *= loop.step[axis].size;
    inner_bits += (loop.step[axis].size - 1) * loop.step[axis].bit;
    --axis;
  }
  const Step& step = loop.step[axis];
  Ranges ranges;
  ranges.axis_size = step.size;
  ranges.inner = inner;
  const int64_t fit = step.bit == 0 ? step.size : 1 + (most_bits - inner_bits) / step.bit;
  ranges.group = std::clamp<int64_t>(std::min(fit, wanted / inner), 1, step.size);
  ranges.part = std::min(ranges.group * inner, RoundUp(wanted, 64));
  ranges.parts_of_group = (ranges.group * inner + ranges.part - 1) / ranges.part;
  ranges.groups_of_axis = (step.size + ranges.group - 1) / ranges.group;
  ranges.count = elements / (step.size * inner) * ranges.groups_of_axis * ranges.parts_of_group;
  return ranges;
}

Status DropInOneLaunch(const Spec& spec, Probability p, Key key, Pass pass, const View& x, const View& y,
                       const Loop& loop, const Exec& exec, const Mask& mask) {
  MaskWriter writer;
  if (Status status = MakeMaskWriter(spec, p, key, x, exec, mask, Cut::kFine, &writer); !status.ok()) return status;
  Elements elements;
  elements.x = x.data;
  elements.y = y.data;
  elements.fill = FillOf(spec, pass);
  const Field& field = writer.field;
  if (!p.device) elements.gain = GainFactor(spec, field.plan, field.coverage, field.threshold, KeptCount{1, 1});
  elements.has_own_bits = BitsFollowElements(loop);
  const bool in_boxes = elements.has_own_bits && writer.pieces.are_boxes();
  elements.run = Quotient::By(in_boxes ? writer.pieces.box_channels : INT64_MAX);
  elements.loop = loop;
  elements.map = BitMapOf(loop);
  if (!elements.has_own_bits) elements.ranges = RangesOf(loop, ElementsOf(x), writer.pieces.most_bits);
  const int blocks = Blocks(writer.pieces.count + elements.ranges.count);
  switch (x.dtype) {
    case DType::kF32:
      return Launch(DropKernel<float>, blocks, kBlockThreads, exec.stream, writer, elements);
    case DType::kF64:
      return Launch(DropKernel<double>, blocks, kBlockThreads, exec.stream, writer, elements);
    case DType::kF16:
      return Launch(DropKernel<Float16>, blocks, kBlockThreads, exec.stream, writer, elements);
    case DType::kBF16:
      return Launch(DropKernel<BFloat16>, blocks, kBlockThreads, exec.stream, writer, elements);
  }
  return Status::Internal("a dtype without a kernel");
}

// A third of the cache: what is fetched must still be there when it is read, beside as much of y.
Ahead AheadOf(const View& x) {
  const int64_t bytes = ElementsOf(x) * static_cast<int64_t>(SizeOf(x.dtype));
  return {x.data, std::min(bytes, CacheBytes() / 3)};
}

Status DropInTwoLaunches(const Spec& spec, Probability p, Key key, Pass pass, const View& x, const View& y,
                         const Loop& loop, const Exec& exec, const Mask& mask) {
  MaskWriter writer;
  if (Status status = MakeMaskWriter(spec, p, key, x, exec, mask, Cut::kCoarse, &writer); !status.ok()) return status;
  if (IsDense(loop)) writer.ahead = AheadOf(x);
  if (Status status = LaunchSample(writer, exec); !status.ok()) return status;
  return cuda::Apply(mask, pass, x, y, exec);
}

}  // namespace

Status Drop(const Spec& spec, Probability p, Key key, Pass pass, const View& x, const View& y, const Exec& exec,
            Mask* mask) {
  if (Status status = ValidateAlignment(x, y); !status.ok()) return status;
  const bool gain_waits = spec.normalize == Normalize::kKept;
  const bool fills_noise = spec.fill == Fill::kNoise && pass == Pass::kForward;
  const Loop loop = MergedAxes(*mask, x, y, false);
  const bool in_one = !gain_waits && !fills_noise && IsDense(loop);
  return (in_one ? DropInOneLaunch : DropInTwoLaunches)(spec, p, key, pass, x, y, loop, exec, *mask);
}

}  // namespace dropkit::cuda

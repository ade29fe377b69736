// Sample and Apply in one launch, where no gain waits for a count: x is read and y written while the bits that decide
// are still in shared memory.
//
// Memory plan: where every element has a bit of its own, a block draws a piece of the mask and applies it at once.
// Where elements share bits (a channel's map, a batch), blocks first write the mask, each its pieces, and then draw for
// each range of elements the few bits that it needs once more, which is cheaper than to wait for other blocks. Other
// cases (a gain from counts, fill=noise, strided x or y) are two launches: sample.cu's and apply.cu's.
#include <algorithm>

#include "cuda/apply_range.h"
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
  Loop loop;   // the axes that elements are numbered along
  BitMap map;  // along these, from elements to bits
  Ranges ranges;
};

// Bits of the mask in shared memory, from bit `begin` on.
struct SharedBits {
  const uint32_t* bits;
  int64_t begin;
  DROPKIT_DEVICE uint32_t Load(int64_t bit, int count, bool) const {
    const int64_t at = bit - begin;
    const int shift = static_cast<int>(at & 31);
    const uint32_t here = bits[at >> 5];
    if (shift + count <= 32) return here >> shift;
    return static_cast<uint32_t>((here | uint64_t{bits[(at >> 5) + 1]} << 32) >> shift);
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

// The maps of this pass, by the first thread for all. NaN everywhere after a bad p.
template <typename T>
DROPKIT_DEVICE Maps<T> MapsFor(const Field& field, const Drawn& drawn, const Elements& elements, double* gain) {
  if (threadIdx.x == 0) {
    *gain =
        field.p ? GainFactor(field.spec, field.plan, field.coverage, drawn.threshold, KeptCount{1, 1}) : elements.gain;
  }
  __syncthreads();
  return MakeMaps<T>(*gain, elements.fill, drawn.threshold);
}

template <typename T>
__global__ void __launch_bounds__(kBlockThreads) DropKernel(const MaskWriter writer, const Elements elements) {
  __shared__ DrawMemory memory;
  __shared__ Drawn drawn;
  __shared__ double gain;
  PrepareDrawn(writer.field, &drawn);
  const Maps<T> maps = MapsFor<T>(writer.field, drawn, elements, &gain);
  const T* x = static_cast<const T*>(elements.x);
  T* y = static_cast<T*>(elements.y);
  WriteMask(writer, drawn, &memory, [&](int64_t begin, int64_t end, const uint32_t* bits) {
    if (elements.has_own_bits) ApplyRange(x, y, begin, end, maps, SharedBits{bits, begin});
  });
  for (int64_t i = blockIdx.x; i < elements.ranges.count; i += gridDim.x) {
    int64_t begin, end;
    RangeAt(elements.ranges, i, &begin, &end);
    if (begin >= end) continue;  // for the whole block: the last group of an axis may have fewer parts
    const BitRange range = BitsOf(elements.loop, begin, end);
    DrawBits(writer.field, drawn, writer.pieces, range.begin, range.end, &memory);
    ApplyRange(x, y, begin, end, maps, Mapped<SharedBits>({memory.out, range.begin}, elements.map));
    __syncthreads();
  }
}

// ---------------------------------------------------------------- on the host

// Elements that a block takes at once: some tens of microseconds' worth for all blocks is split evenly.
constexpr int64_t kLeastRange = 1 << 12, kMostRange = 1 << 16;

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

// Whether y, and x as y, lie without gaps in the order that elements are numbered in.
bool IsDense(const Loop& loop) {
  int64_t inner = 1;
  for (int i = loop.dims - 1; i >= 0; --i) {
    if (loop.step[i].x != inner || loop.step[i].y != inner) return false;
    inner *= loop.step[i].size;
  }
  return true;
}

Status DropInOneLaunch(const Spec& spec, Probability p, Key key, Pass pass, const View& x, const View& y,
                       const Loop& loop, const Exec& exec, const Mask& mask) {
  MaskWriter writer;
  if (Status status = MakeMaskWriter(spec, p, key, x, exec, mask, &writer); !status.ok()) return status;
  Elements elements;
  elements.x = x.data;
  elements.y = y.data;
  elements.fill = FillOf(spec, pass);
  const Field& field = writer.field;
  if (!p.device) elements.gain = GainFactor(spec, field.plan, field.coverage, field.threshold, KeptCount{1, 1});
  elements.has_own_bits = loop.dims == 1 && loop.step[0].bit == 1;
  elements.loop = loop;
  elements.map = BitMapOf(loop);
  if (!elements.has_own_bits) elements.ranges = RangesOf(loop, ElementsOf(x), writer.pieces.most_bits);
  const int blocks = Blocks(std::max(writer.pieces.count, elements.ranges.count));
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

}  // namespace

Status Drop(const Spec& spec, Probability p, Key key, Pass pass, const View& x, const View& y, const Exec& exec,
            Mask* mask) {
  const bool gain_waits = spec.normalize == Normalize::kKept;
  const bool fills_noise = spec.fill == Fill::kNoise && pass == Pass::kForward;
  if (!gain_waits && !fills_noise) {
    const Loop loop = MergedAxes(*mask, x, y, false);
    if (IsDense(loop)) return DropInOneLaunch(spec, p, key, pass, x, y, loop, exec, *mask);
  }
  if (Status status = Sample(spec, p, key, x, exec, mask); !status.ok()) return status;
  return Apply(*mask, pass, x, y, exec);
}

}  // namespace dropkit::cuda

// The shape and memory order of masks and views. Everything on the host, from sizes alone.
#include <algorithm>

#include "bits.h"
#include "guarded.h"
#include "methods.h"
#include "plan.h"
#include "validate.h"

namespace dropkit {
namespace {

// Strides of a dense tensor whose axes, outermost first, are order[0..4] of {n, c, 0, 1, 2}; an axis whose size is
// given as 0 is shared and gets stride 0. Returns the number of elements.
int64_t FillStrides(const FiveAxes& sizes, bool channels_last, FiveAxes* strides) {
  static constexpr int kFirst[5] = {0, 1, 2, 3, 4};
  static constexpr int kLast[5] = {0, 2, 3, 4, 1};
  const int* order = channels_last ? kLast : kFirst;
  int64_t step = 1;
  for (int i = 4; i >= 0; --i) {
    const int axis = order[i];
    (*strides)[axis] = sizes[axis] == 0 ? 0 : step;
    if (sizes[axis] != 0) step *= sizes[axis];
  }
  return step;
}

bool IsDenseChannelsLast(const View& x) {
  if (x.channels <= 1 || CellsOf(x) <= 1) return false;
  const FiveAxes sizes = SizesOf(x), strides = StridesOf(x);
  FiveAxes dense;
  FillStrides(sizes, true, &dense);
  for (int i = 0; i < 5; ++i) {
    if (sizes[i] > 1 && strides[i] != dense[i]) return false;
  }
  return true;
}

Status DescribeMask(const Spec& spec, const View& x, Mask* mask) {
  if (!mask) return Status::Invalid("mask = null; allowed: a mask to fill");
  if (Status status = ValidateSpec(spec); !status.ok()) return status;
  if (Status status = ValidateView("x", x, false); !status.ok()) return status;
  Plan plan;
  if (Status status = MakePlan(spec, x, &plan); !status.ok()) return status;
  mask->spec = spec;
  mask->spatial_dims = x.spatial_dims;
  mask->samples = x.samples;
  mask->channels = x.channels;
  mask->first_sample = x.first_sample;
  std::copy(x.size, x.size + 3, mask->size);
  FiveAxes sizes = SizesOf(x);
  for (int64_t& size : sizes) size = std::max<int64_t>(1, size);
  if (plan.shares_batch) sizes[0] = 0;
  if (plan.shares_channels) sizes[1] = 0;
  if (!plan.has_map) sizes[2] = sizes[3] = sizes[4] = 0;
  FiveAxes strides;
  const int64_t bits = FillStrides(sizes, IsDenseChannelsLast(x), &strides);
  mask->sample_stride = strides[0];
  mask->channel_stride = strides[1];
  std::copy(strides.begin() + 2, strides.end(), mask->stride);
  mask->total = ElementsOf(x);
  mask->num_bits = mask->total == 0 ? 0 : bits;
  mask->num_kept = HasOneCount(*mask) ? 1 : spec.over == Over::kPlane ? x.samples * x.channels : x.samples;
  return Status();
}

// Places for the words and counts of `described`, in vectors that replace the old ones only when both were had.
Status Grow(const Mask& described, std::vector<uint64_t>* words, std::vector<int64_t>* kept) {
  const auto num_words = static_cast<size_t>(described.num_words()), num_kept = static_cast<size_t>(described.num_kept);
  try {
    std::vector<uint64_t> more_words(words->size() < num_words ? num_words : 0);
    std::vector<int64_t> more_kept(kept->size() < num_kept ? num_kept : 0);
    if (!more_words.empty()) words->swap(more_words);
    if (!more_kept.empty()) kept->swap(more_kept);
  } catch (const std::exception&) {
    return Status::Unavailable("out of memory: a mask of " + std::to_string((num_words + num_kept) * 8) + " bytes");
  }
  return Status();
}

}  // namespace

size_t SizeOf(DType dtype) {
  switch (dtype) {
    case DType::kF64:
      return 8;
    case DType::kF32:
      return 4;
    default:
      return 2;
  }
}

const char* Name(DType dtype) {
  static constexpr const char* kNames[] = {"f32", "f16", "bf16", "f64"};
  return dtype <= DType::kF64 ? kNames[static_cast<int>(dtype)] : "(unknown dtype)";
}

View DenseView(void* data, DType dtype, int64_t samples, int64_t channels, const std::vector<int64_t>& sizes,
               Layout layout, int64_t first_sample) {
  View view;
  view.data = data;
  view.dtype = dtype;
  view.samples = samples;
  view.channels = channels;
  view.spatial_dims = static_cast<int>(sizes.size());
  view.first_sample = first_sample;
  for (size_t i = 0; i < std::min<size_t>(3, sizes.size()); ++i) view.size[i] = sizes[i];
  if (!Guarded([&] { return ValidateView("view", view, false); }).ok())
    return view;  // strides of unsound sizes would overflow; the caller is told later
  // Sizes of 0 must not read as shared axes.
  FiveAxes dims = SizesOf(view);
  for (int64_t& size : dims) size = std::max<int64_t>(1, size);
  FiveAxes strides;
  FillStrides(dims, layout == Layout::kChannelsLast, &strides);
  view.sample_stride = strides[0];
  view.channel_stride = strides[1];
  std::copy(strides.begin() + 2, strides.end(), view.stride);
  return view;
}

Status Describe(const Spec& spec, const View& x, Mask* mask) {
  return Guarded([&] { return DescribeMask(spec, x, mask); });
}

Status MaskStorage::Reserve(const Spec& spec, const View& x) {
  Mask described = mask;
  if (Status status = Describe(spec, x, &described); !status.ok()) return status;
  if (Status status = Guarded([&] { return Grow(described, &words_, &kept_); }); !status.ok()) return status;
  mask = described;
  mask.bits = words_.data();
  mask.kept = kept_.data();
  mask.threshold = &threshold_;
  return Status();
}

Status Unpack(const Mask& mask, uint8_t* keep) {
  if (Status status = Guarded([&] { return ValidateMask(mask, ShapeOf(mask)); }); !status.ok()) return status;
  // Not mask.total, which may be a sum over ranks and is the caller's word.
  if (ElementsOf(ShapeOf(mask)) == 0) return Status();
  if (!keep) return Guarded([] { return Status::Invalid("keep = null; allowed: one byte an element"); });
  int64_t index = 0;
  for (int64_t n = 0; n < mask.samples; ++n) {
    for (int64_t c = 0; c < mask.channels; ++c) {
      const int64_t plane = n * mask.sample_stride + c * mask.channel_stride;
      for (int64_t i = 0; i < mask.size[0]; ++i) {
        for (int64_t j = 0; j < mask.size[1]; ++j) {
          for (int64_t k = 0; k < mask.size[2]; ++k) {
            keep[index++] = GetBit(mask.bits, plane + i * mask.stride[0] + j * mask.stride[1] + k * mask.stride[2]);
          }
        }
      }
    }
  }
  return Status();
}

}  // namespace dropkit

#include "validate.h"

#include <algorithm>
#include <cstdlib>

#include "methods.h"
#include "number.h"

namespace dropkit {
namespace {

Status Bad(const std::string& name, const std::string& value, const std::string& allowed) {
  return Status::Invalid(name + " = " + value + "; allowed: " + allowed);
}

// false on overflow
bool Multiply(int64_t* product, int64_t factor) { return !__builtin_mul_overflow(*product, factor, product); }

std::string ShapeText(const View& x) {
  std::string text = std::to_string(x.samples) + "," + std::to_string(x.channels);
  for (int i = 0; i < std::min(x.spatial_dims, 3); ++i) text += "," + std::to_string(x.size[i]);
  return text;
}

Status ValidateSizes(const std::string& name, const View& x) {
  if (x.samples < 0) return Bad(name + ".samples", std::to_string(x.samples), "0 or more");
  if (x.channels < 0) return Bad(name + ".channels", std::to_string(x.channels), "0 or more");
  for (int i = 0; i < 3; ++i) {
    if (x.size[i] < 0) return Bad(name + ".size[" + std::to_string(i) + "]", std::to_string(x.size[i]), "0 or more");
    if (i >= x.spatial_dims && x.size[i] != 1) {
      return Bad(name + ".size[" + std::to_string(i) + "]", std::to_string(x.size[i]),
                 "1, because spatial_dims = " + std::to_string(x.spatial_dims));
    }
  }
  // A zero anywhere makes the tensor empty, but the other sizes must still be sound.
  int64_t sample = std::max<int64_t>(1, x.channels);
  bool fits = true;
  for (int i = 0; i < x.spatial_dims; ++i) fits = fits && Multiply(&sample, std::max<int64_t>(1, x.size[i]));
  if (!fits || sample > kMostElementsOfSample) {
    return Bad(name + "'s elements in a sample (shape " + ShapeText(x) + ")",
               fits ? std::to_string(sample) : "more than 2^63", "at most 2^38");
  }
  int64_t bytes = sample;
  if (!Multiply(&bytes, std::max<int64_t>(1, x.samples)) || !Multiply(&bytes, 8)) {
    return Bad(name + "'s size (shape " + ShapeText(x) + ")", "an overflow of 2^63 bytes", "fewer elements");
  }
  return Status();
}

// The farthest element, in bytes either way, must be addressable.
Status ValidateStrides(const std::string& name, const View& x) {
  const FiveAxes sizes = SizesOf(x);
  const FiveAxes strides = StridesOf(x);
  int64_t reach = 0;
  for (int i = 0; i < 5; ++i) {
    int64_t span = std::max<int64_t>(0, sizes[i] - 1);
    if (strides[i] == INT64_MIN || !Multiply(&span, std::llabs(strides[i])) || !Multiply(&span, 8) ||
        __builtin_add_overflow(reach, span, &reach)) {
      return Bad(name + "'s strides", std::to_string(strides[i]),
                 "strides whose farthest element is within 2^63 bytes");
    }
  }
  return Status();
}

// First byte, and the byte after the last.
struct Range {
  uintptr_t begin, end;
};

Range RangeOf(const View& x) {
  const FiveAxes sizes = SizesOf(x), strides = StridesOf(x);
  int64_t lowest = 0, highest = 0;
  for (int i = 0; i < 5; ++i) (strides[i] < 0 ? lowest : highest) += (sizes[i] - 1) * strides[i];
  const auto width = static_cast<int64_t>(SizeOf(x.dtype));
  const auto data = reinterpret_cast<uintptr_t>(x.data);
  return {data + static_cast<uintptr_t>(lowest * width), data + static_cast<uintptr_t>((highest + 1) * width)};
}

// Both without gaps, so that a common byte is a common element.
bool DenseRangesMeet(const View& x, const View& y) {
  const Range a = RangeOf(x), b = RangeOf(y);
  const auto bytes = static_cast<uintptr_t>(ElementsOf(x)) * SizeOf(x.dtype);
  return a.end - a.begin == bytes && b.end - b.begin == bytes && a.begin < b.end && b.begin < a.end;
}

bool SameShape(const View& a, const View& b) { return a.spatial_dims == b.spatial_dims && SizesOf(a) == SizesOf(b); }

}  // namespace

FiveAxes SizesOf(const View& x) { return {x.samples, x.channels, x.size[0], x.size[1], x.size[2]}; }
FiveAxes StridesOf(const View& x) { return {x.sample_stride, x.channel_stride, x.stride[0], x.stride[1], x.stride[2]}; }
FiveAxes StridesOf(const Mask& mask) {
  return {mask.sample_stride, mask.channel_stride, mask.stride[0], mask.stride[1], mask.stride[2]};
}

int64_t CellsOf(const View& x) {
  int64_t cells = 1;
  for (int i = 0; i < x.spatial_dims; ++i) cells *= x.size[i];
  return cells;
}

int64_t ElementsOf(const View& x) { return x.samples * x.channels * CellsOf(x); }

Status ValidateView(const char* name, const View& x, bool data_is_used) {
  if (x.dtype > DType::kF64) {
    return Bad(std::string(name) + ".dtype", std::to_string(static_cast<int>(x.dtype)), "f32, f16, bf16, f64");
  }
  if (x.spatial_dims < 0 || x.spatial_dims > 3) {
    return Bad(std::string(name) + ".spatial_dims", std::to_string(x.spatial_dims),
               "0 to 3 (samples, channels and up to three spatial sizes)");
  }
  if (Status status = ValidateSizes(name, x); !status.ok()) return status;
  if (Status status = ValidateStrides(name, x); !status.ok()) return status;
  if (x.first_sample < 0 || x.first_sample > INT64_MAX - x.samples) {
    return Bad(std::string(name) + ".first_sample", std::to_string(x.first_sample), "0 to 2^63 - 1 - samples");
  }
  if (data_is_used && !x.data && ElementsOf(x) > 0) {
    return Bad(std::string(name) + ".data", "null", "memory of " + std::to_string(ElementsOf(x)) + " elements");
  }
  return Status();
}

Status ValidateOutput(const View& x, const View& y) {
  if (Status status = ValidateView("y", y, true); !status.ok()) return status;
  if (!SameShape(x, y)) return Bad("y's shape", ShapeText(y), "x's, " + ShapeText(x));
  if (x.dtype != y.dtype) return Bad("y.dtype", Name(y.dtype), std::string("x's, ") + Name(x.dtype));
  if (ElementsOf(y) == 0) return Status();  // no memory, so no order of it
  const FiveAxes sizes = SizesOf(y), strides = StridesOf(y), x_strides = StridesOf(x);
  for (int i = 0; i < 5; ++i) {
    if (sizes[i] <= 1) continue;
    if (strides[i] == 0)
      return Bad("y's strides", "0 on an axis of " + std::to_string(sizes[i]), "a place for every element");
    if (y.data == x.data && strides[i] != x_strides[i]) {
      return Bad("y's strides", std::to_string(strides[i]),
                 "x's, " + std::to_string(x_strides[i]) + ", when y.data is x.data");
    }
  }
  if (y.data != x.data && DenseRangesMeet(x, y))
    return Bad("y.data", "overlaps x", "x itself, or memory apart from it");
  return Status();
}

Status ValidateProbability(Probability p) {
  if (p.device || (p.value >= 0.0f && p.value <= 1.0f)) return Status();
  return Bad("p", PrintNumber(p.value), "a number from 0 to 1");
}

Status ValidatePass(Pass pass) {
  if (pass == Pass::kForward || pass == Pass::kBackward) return Status();
  return Bad("pass", std::to_string(static_cast<int>(pass)), "kForward (0), kBackward (1)");
}

Status ValidateMaskPointers(const Mask& mask) {
  if (!mask.bits && mask.num_bits > 0)
    return Bad("mask.bits", "null", std::to_string(mask.num_words()) + " words of 64 bits");
  if (!mask.kept && mask.num_kept > 0)
    return Bad("mask.kept", "null", std::to_string(mask.num_kept) + " counts of 64 bits");
  if (!mask.threshold && mask.num_bits > 0) return Bad("mask.threshold", "null", "one word of 64 bits");
  return Status();
}

View ShapeOf(const Mask& mask) {
  View shape;
  shape.samples = mask.samples;
  shape.channels = mask.channels;
  shape.spatial_dims = mask.spatial_dims;
  std::copy(mask.size, mask.size + 3, shape.size);
  return shape;
}

Status ValidateMask(const Mask& mask, const View& x) {
  if (Status status = ValidateSpec(mask.spec); !status.ok()) return status;
  if (Status status = ValidateView("mask", ShapeOf(mask), false); !status.ok()) return status;
  if (Status status = ValidateMaskPointers(mask); !status.ok()) return status;
  if (!SameShape(ShapeOf(mask), x)) {
    return Bad("x's shape", ShapeText(x), "the mask's, " + ShapeText(ShapeOf(mask)));
  }
  const FiveAxes sizes = SizesOf(x);
  const FiveAxes strides = StridesOf(mask);
  __int128 last = 0;
  for (int i = 0; i < 5; ++i) {
    if (strides[i] < 0) return Bad("mask's strides", std::to_string(strides[i]), "0 or more");
    last += static_cast<__int128>(std::max<int64_t>(0, sizes[i] - 1)) * strides[i];
  }
  if (ElementsOf(x) > 0 && last >= mask.num_bits) {
    return Bad("mask.num_bits", std::to_string(mask.num_bits), "more than the farthest bit of the mask's strides");
  }
  if (HasOneCount(mask) && mask.num_kept != 1) {
    return Bad("mask.num_kept", std::to_string(mask.num_kept), "1 for over=tensor with one_count");
  }
  const int64_t per_sample = mask.spec.over == Over::kPlane ? x.samples * x.channels : x.samples;
  if (mask.num_kept != per_sample && !(mask.spec.over == Over::kTensor && mask.num_kept == 1)) {
    return Bad("mask.num_kept", std::to_string(mask.num_kept), std::to_string(per_sample) + ", or 1 for over=tensor");
  }
  return Status();
}

}  // namespace dropkit

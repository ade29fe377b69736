// Random tensors, specs and values for tests that hold a backend to the reference: odd sizes, any strides, and among
// the values NaNs, infinities and subnormals. The generator is the test's, with a pinned seed.
#ifndef DROPKIT_TESTS_RANDOM_CASES_H_
#define DROPKIT_TESTS_RANDOM_CASES_H_

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "bits.h"
#include "dropkit/dropkit.h"

namespace dropkit {

using Random = std::mt19937_64;

inline int64_t Pick(Random& random, int64_t low, int64_t high) {
  return std::uniform_int_distribution<int64_t>(low, high)(random);
}

// Sizes with 1s and word boundaries among them.
inline View RandomView(Random& random, DType dtype) {
  static constexpr int64_t kSizes[] = {1, 2, 3, 5, 7, 8, 13, 16, 31, 64, 65};
  View view;
  view.dtype = dtype;
  view.spatial_dims = static_cast<int>(Pick(random, 0, 3));
  view.samples = Pick(random, 1, 4);
  view.channels = kSizes[Pick(random, 0, view.spatial_dims < 3 ? 10 : 5)];
  for (int i = 0; i < view.spatial_dims; ++i) view.size[i] = kSizes[Pick(random, 0, view.spatial_dims < 3 ? 8 : 4)];
  view.first_sample = Pick(random, 0, 5);
  return view;
}

// Random order of axes and gaps between them; returns the number of elements that the memory needs.
inline int64_t RandomStrides(Random& random, View* view, bool dense) {
  int64_t* strides[5] = {&view->sample_stride, &view->channel_stride, &view->stride[0], &view->stride[1],
                         &view->stride[2]};
  const int64_t sizes[5] = {view->samples, view->channels, view->size[0], view->size[1], view->size[2]};
  int order[5] = {0, 1, 2, 3, 4};
  if (Pick(random, 0, 1)) {
    const int channels_last[5] = {0, 2, 3, 4, 1};
    std::copy(channels_last, channels_last + 5, order);
  }
  if (!dense) std::shuffle(order, order + 5, random);
  int64_t step = dense ? 1 : Pick(random, 1, 3);
  for (int i = 4; i >= 0; --i) {
    *strides[order[i]] = step;
    step *= sizes[order[i]];
    if (!dense) step += Pick(random, 0, 2);
  }
  return step + 8;
}

inline void FillRandom(Random& random, DType dtype, std::vector<uint8_t>* memory) {
  for (uint8_t& byte : *memory)
    byte = static_cast<uint8_t>(random());  // any bits: NaNs, infinities and subnormals among them
  const size_t width = SizeOf(dtype);
  for (size_t i = 0; i + width <= memory->size(); i += width) {
    if (random() % 4) continue;
    const double ordinary = static_cast<double>(static_cast<int64_t>(random() % 2001) - 1000) / 64.0;
    const float single = static_cast<float>(ordinary);
    const Float16 half = ToFloat16(single);
    const BFloat16 brain = ToBFloat16(single);
    const void* source = dtype == DType::kF64   ? static_cast<const void*>(&ordinary)
                         : dtype == DType::kF32 ? static_cast<const void*>(&single)
                         : dtype == DType::kF16 ? static_cast<const void*>(&half)
                                                : static_cast<const void*>(&brain);
    std::memcpy(memory->data() + i, source, width);
  }
}

inline bool IsNan(DType dtype, const uint8_t* at) {
  uint64_t bits = 0;
  std::memcpy(&bits, at, SizeOf(dtype));
  switch (dtype) {
    case DType::kF64:
      return (bits & ~(uint64_t{1} << 63)) > 0x7FF0000000000000u;
    case DType::kF32:
      return (bits & 0x7FFFFFFFu) > 0x7F800000u;
    case DType::kF16:
      return (bits & 0x7FFFu) > 0x7C00u;
    case DType::kBF16:
      return (bits & 0x7FFFu) > 0x7F80u;
  }
  return false;
}

// Equal bits but for a NaN's payload.
inline testing::AssertionResult SameMemory(DType dtype, const std::vector<uint8_t>& a, const std::vector<uint8_t>& b) {
  const size_t width = SizeOf(dtype);
  for (size_t i = 0; i + width <= a.size(); i += width) {
    if (std::memcmp(&a[i], &b[i], width) == 0 || (IsNan(dtype, &a[i]) && IsNan(dtype, &b[i]))) continue;
    return testing::AssertionFailure() << "element " << i / width << " differs";
  }
  return testing::AssertionSuccess();
}

inline std::string RandomCase(Random& random) {
  static const char* kBases[] = {"dropout",
                                 "spatial_dropout",
                                 "drop_path",
                                 "dropblock:block=3",
                                 "dropblock:block=2,region=whole",
                                 "cutout:size=3,holes=2",
                                 "drop_connect",
                                 "dropblock:block=4,rate=calibrated,region=whole,anchor=after"};
  static const char* kShares[] = {"none", "batch", "channels", "all"};
  static const char* kNormalizes[] = {"kept", "expected", "asked", "none"};
  static const char* kOvers[] = {"tensor", "sample", "plane"};
  static const char* kFills[] = {"0", "1.7", "-1e-40", "noise"};
  const int base = static_cast<int>(Pick(random, 0, 7));
  const bool channel_shares = base == 0 || base == 3 || base == 4 || base == 5 || base == 7;
  std::string line = kBases[base];
  line += (line.find(':') == std::string::npos ? ":" : ",");
  line += std::string("share=") + kShares[Pick(random, 0, channel_shares ? 3 : 1)];
  line += std::string(",normalize=") + kNormalizes[Pick(random, 0, 3)] + ",over=" + kOvers[Pick(random, 0, 2)];
  line += std::string(",fill=") + kFills[Pick(random, 0, 3)];
  static const char* kPs[] = {"@0.001", "@0.1", "@0.3", "@0.5", "@0.9", "@1", "@0"};
  return line + kPs[Pick(random, 0, 6)];
}

}  // namespace dropkit

#endif  // DROPKIT_TESTS_RANDOM_CASES_H_

// Division by numbers that the host knows, for kernels: a multiplication where numbers are below 2^31.
#ifndef DROPKIT_SRC_CUDA_QUOTIENT_H_
#define DROPKIT_SRC_CUDA_QUOTIENT_H_

#include <cstdint>

#include "draw.h"

namespace dropkit::cuda {

// n / divisor; of numbers below 2^31 by Granlund and Montgomery's multiplication. 1 or more.
struct Quotient {
  int64_t divisor = 1;
  uint32_t factor = 1, shift = 0;

  static Quotient By(int64_t divisor) {
    Quotient quotient;
    quotient.divisor = divisor;
    if (divisor > kMostNarrow) {  // then a narrow number's quotient is 0
      quotient.factor = 0;
      quotient.shift = 31;
      return quotient;
    }
    while ((int64_t{1} << quotient.shift) < divisor) ++quotient.shift;
    const uint64_t excess = (uint64_t{1} << quotient.shift) - static_cast<uint64_t>(divisor);
    quotient.factor = static_cast<uint32_t>((excess << 32) / static_cast<uint64_t>(divisor) + 1);
    return quotient;
  }
  DROPKIT_HOST_DEVICE uint32_t Of(uint32_t n) const { return (High32(uint64_t{n} * factor) + n) >> shift; }
  DROPKIT_HOST_DEVICE int64_t Of(int64_t n) const { return n / divisor; }

  static constexpr int64_t kMostNarrow = INT32_MAX;
};

// Of numbers that are mostly narrow: the 64-bit division is a subroutine.
DROPKIT_HOST_DEVICE int64_t Divide(int64_t number, const Quotient& by) {
  return number <= Quotient::kMostNarrow ? by.Of(static_cast<uint32_t>(number)) : by.Of(number);
}

// By the device's 32-bit division where that holds the numbers: the 64-bit one is a subroutine.
DROPKIT_HOST_DEVICE int64_t Divide(int64_t number, int64_t divisor) {
  if (((number | divisor) >> 32) == 0) return static_cast<uint32_t>(number) / static_cast<uint32_t>(divisor);
  return number / divisor;
}

}  // namespace dropkit::cuda

#endif  // DROPKIT_SRC_CUDA_QUOTIENT_H_

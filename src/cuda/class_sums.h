// rate.h's sums over a map's classes of coverage, by a block: powers side by side, a thread a class, and each of the
// two sums by one thread in the written order, so they are the host's to the bit.
//
// A p in the device's memory needs them at the start of a launch (rate=calibrated some ten times, a Newton step each),
// and one thread alone would take a microsecond for 49 classes. Maps with more classes than there is room for are left
// to that one thread. All threads of a block must come here together.
#ifndef DROPKIT_SRC_CUDA_CLASS_SUMS_H_
#define DROPKIT_SRC_CUDA_CLASS_SUMS_H_

#include <cstdint>

#include "cuda/block.h"
#include "rate.h"

namespace dropkit::cuda {

inline constexpr int kMostClasses = 384;

// The power of class i of an axis: the products of ForEachClass, one after another.
DROPKIT_DEVICE double PowerOfClass(const CoverageAxis& axis, double y, int64_t i) {
  double power = 1.0;
  int64_t last = 0;
  for (int64_t k = 0; k <= i; ++k) {
    const int64_t coverage = axis[k].coverage;
    power = power * Power(y, coverage - last);
    last = coverage;
  }
  return power;
}

struct BlockSums {
  template <typename Terms>
  DROPKIT_DEVICE void operator()(const Coverage& coverage, double y, Terms terms, double sum[2]) const {
    __shared__ double term[2][kMostClasses];
    __shared__ double shared_sum[2];
    const int64_t count_b = coverage.axis[1].count, count_c = coverage.axis[2].count;
    const int64_t classes = coverage.axis[0].count * count_b * count_c;
    const unsigned of_second = blockDim.x > 32 ? 32 : 1;  // another warp: they do not wait for each other
    if (classes > kMostClasses) {
      if (threadIdx.x == 0) SerialSums()(coverage, y, terms, shared_sum);
    } else {
      for (int k = static_cast<int>(threadIdx.x); k < static_cast<int>(classes); k += static_cast<int>(blockDim.x)) {
        const int ij = k / static_cast<int>(count_c), i = ij / static_cast<int>(count_b);
        const CoverageClass a = coverage.axis[0][i], b = coverage.axis[1][ij - i * count_b];
        const CoverageClass c = coverage.axis[2][k - ij * count_c];
        const double power_a = PowerOfClass(coverage.axis[0], y, i);
        const double power_b = PowerOfClass(coverage.axis[1], power_a, ij - i * count_b);
        double both[2];
        terms(a.number * b.number * c.number, a.coverage * b.coverage * c.coverage,
              PowerOfClass(coverage.axis[2], power_b, k - ij * count_c), both);
        term[0][k] = both[0];
        term[1][k] = both[1];
      }
      __syncthreads();
      if (threadIdx.x == 0 || threadIdx.x == of_second) {
        const int which = threadIdx.x == 0 ? 0 : 1;
        double total = 0.0;
        for (int k = 0; k < static_cast<int>(classes); ++k) total = total + term[which][k];
        shared_sum[which] = total;
      }
    }
    __syncthreads();
    sum[0] = shared_sum[0];
    sum[1] = shared_sum[1];
    __syncthreads();  // all have read them
  }
};

}  // namespace dropkit::cuda

#endif  // DROPKIT_SRC_CUDA_CLASS_SUMS_H_

// rate.h's sums over a map's classes of coverage, by a block: powers side by side, a thread a class, and each of the
// two sums by one thread in the written order, so they are the host's to the bit.
//
// A p in the device's memory needs them at the start of a launch, with rate=calibrated once for each step of Newton's
// method, and one thread alone would do thousands of operations in turn. Maps with more classes than there is room for
// are left to one thread all the same. All threads of a block must come here together.
#ifndef DROPKIT_SRC_CUDA_CLASS_SUMS_H_
#define DROPKIT_SRC_CUDA_CLASS_SUMS_H_

#include <cstdint>

#include "cuda/block.h"
#include "rate.h"

namespace dropkit::cuda {

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

// Two numbers for each class are left in the block's shared memory.
class BlockSums {
 public:
  DROPKIT_DEVICE BlockSums(void* memory, int64_t bytes)
      : term_(static_cast<double*>(memory)), room_(bytes / static_cast<int64_t>(2 * sizeof(double))) {}

  template <typename Terms>
  DROPKIT_DEVICE void operator()(const Coverage& coverage, double y, Terms terms, double sum[2]) const {
    const int64_t count_b = coverage.axis[1].count, count_c = coverage.axis[2].count;
    const int64_t classes = coverage.axis[0].count * count_b * count_c;
    const bool fits = classes <= room_;
    for (int k = static_cast<int>(threadIdx.x); fits && k < classes; k += static_cast<int>(blockDim.x)) {
      const int ij = k / static_cast<int>(count_c), i = ij / static_cast<int>(count_b);
      const CoverageClass a = coverage.axis[0][i], b = coverage.axis[1][ij - i * count_b];
      const CoverageClass c = coverage.axis[2][k - ij * count_c];
      const double power_a = PowerOfClass(coverage.axis[0], y, i);
      const double power_b = PowerOfClass(coverage.axis[1], power_a, ij - i * count_b);
      double both[2];
      terms(a.number * b.number * c.number, a.coverage * b.coverage * c.coverage,
            PowerOfClass(coverage.axis[2], power_b, k - ij * count_c), both);
      term_[k] = both[0];
      term_[room_ + k] = both[1];
    }
    __syncthreads();
    double* shared = SharedSum();
    const unsigned of_second = blockDim.x > 32 ? 32 : 1;  // another warp: they do not wait for each other
    if (!fits && threadIdx.x == 0) SerialSums()(coverage, y, terms, shared);
    if (fits && (threadIdx.x == 0 || threadIdx.x == of_second)) {
      const double* term = threadIdx.x == 0 ? term_ : term_ + room_;
      double total = 0.0;
      for (int k = 0; k < classes; ++k) total = total + term[k];
      shared[threadIdx.x == 0 ? 0 : 1] = total;
    }
    __syncthreads();
    sum[0] = shared[0];
    sum[1] = shared[1];
    __syncthreads();  // all have read them
  }

 private:
  DROPKIT_DEVICE static double* SharedSum() {
    __shared__ double sum[2];
    return sum;
  }

  double* term_;
  int64_t room_;  // for classes
};

}  // namespace dropkit::cuda

#endif  // DROPKIT_SRC_CUDA_CLASS_SUMS_H_

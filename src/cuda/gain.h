// The gain of a call or of one of its rows, from what lies in the device's memory: T, and the counts of kept elements.
//
// The law itself is rate.h's, the host's to the bit. One thread a block computes it and the others wait at a barrier,
// so every thread of the block must come here; the sum over samples is a warp's work.
#ifndef DROPKIT_SRC_CUDA_GAIN_H_
#define DROPKIT_SRC_CUDA_GAIN_H_

#include <cstdint>

#include "cuda/block.h"
#include "cuda/pack.h"
#include "plan.h"
#include "rate.h"

namespace dropkit::cuda {

// What gains come from, as a kernel's argument.
struct GainLaw {
  Mask mask;
  Plan plan;
  Coverage coverage;
  double fill;

  // Whether samples or planes have gains of their own.
  DROPKIT_HOST_DEVICE bool has_rows() const {
    return mask.spec.normalize == Normalize::kKept && mask.spec.over != Over::kTensor;
  }
};

// By threads 0 to 31; all get the sum.
DROPKIT_DEVICE int64_t SumInWarp(const int64_t* numbers, int64_t count) {
  int64_t sum = 0;
  for (int64_t i = threadIdx.x; i < count; i += 32) sum += numbers[i];
  return WarpSum(sum);
}

// The maps of sample n, channel c (which count only where gains have rows), for the whole block.
template <typename T>
DROPKIT_DEVICE Maps<T> MapsOfBlock(const GainLaw& law, int64_t n, int64_t c) {
  __shared__ Wide<T> shared[2];
  if (threadIdx.x < 32) {
    const uint64_t threshold = *law.mask.threshold;  // on its way while the counts are summed
    KeptCount kept = {1, 1};
    if (law.has_rows()) {
      kept = KeptFor(law.mask, n, c);
    } else if (law.mask.spec.normalize == Normalize::kKept) {
      kept = {SumInWarp(law.mask.kept, law.mask.num_kept), law.mask.total};
    }
    if (threadIdx.x == 0) {
      const double gain = threshold > kOne ? 0.0 : GainFactor(law.mask.spec, law.plan, law.coverage, threshold, kept);
      const Maps<T> maps = MakeMaps<T>(gain, law.fill, threshold);
      shared[0] = maps.gain;
      shared[1] = maps.fill;
    }
  }
  __syncthreads();
  return {shared[0], shared[1]};
}

}  // namespace dropkit::cuda

#endif  // DROPKIT_SRC_CUDA_GAIN_H_

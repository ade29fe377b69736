// The gain of a call or of one of its rows, from what lies in the device's memory: T, and the counts of kept elements.
//
// The law itself is rate.h's, the host's to the bit. Every thread of the block must come here: sums over samples and
// over classes of coverage are shared work.
#ifndef DROPKIT_SRC_CUDA_GAIN_H_
#define DROPKIT_SRC_CUDA_GAIN_H_

#include <cstdint>

#include "cuda/block.h"
#include "cuda/class_sums.h"
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

// The sum of a tensor's counts, for thread 0: by its warp, and where there are many by the whole block. That many cost
// every block as many reads: one_count (dropkit.h) is for them.
DROPKIT_DEVICE int64_t SumOfCounts(const int64_t* counts, int64_t number) {
  constexpr int64_t kMany = 1024;
  __shared__ int64_t of_warp[32];
  const bool many = number > kMany;
  if (!many && threadIdx.x >= 32) return 0;
  int64_t sum = 0;
  const unsigned threads = many ? blockDim.x : 32;
  for (int64_t i = threadIdx.x; i < number; i += threads) sum += counts[i];
  sum = WarpSum(sum);
  if (!many) return sum;
  if (threadIdx.x % 32 == 0) of_warp[threadIdx.x / 32] = sum;
  __syncthreads();
  sum = 0;
  for (unsigned warp = 0; warp < blockDim.x / 32; ++warp) sum += of_warp[warp];
  return sum;
}

// The gain of sample n, channel c (which count only where gains have rows), for the whole block.
DROPKIT_DEVICE_CALL double GainOfBlock(const GainLaw& law, uint64_t threshold, int64_t n, int64_t c) {
  const Mask& mask = law.mask;
  if (mask.spec.normalize != Normalize::kKept) {
    constexpr int kRoom = 2 * 352;  // 7 x 7 x 7 classes, of a block of that size in three dimensions
    __shared__ double memory[kRoom];
    return GainFactor(mask.spec, law.plan, law.coverage, threshold, KeptCount{1, 1}, BlockSums(memory, sizeof(memory)));
  }
  __shared__ double gain;
  KeptCount kept = {1, 1};
  if (!law.has_rows()) {
    kept = {SumOfCounts(mask.kept, mask.num_kept), mask.total};
  } else if (threadIdx.x == 0) {
    kept = KeptFor(mask, n, c);
  }
  if (threadIdx.x == 0) gain = KeptGain(kept);
  __syncthreads();
  return gain;
}

// The maps likewise.
template <typename T>
DROPKIT_DEVICE Maps<T> MapsOfBlock(const GainLaw& law, int64_t n, int64_t c) {
  const uint64_t threshold = *law.mask.threshold;
  return MakeMaps<T>(threshold > kOne ? 0.0 : GainOfBlock(law, threshold, n, c), law.fill, threshold);
}

}  // namespace dropkit::cuda

#endif  // DROPKIT_SRC_CUDA_GAIN_H_

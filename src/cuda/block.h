// What kernels of both halves share: how large a block is, and a sum over a warp.
#ifndef DROPKIT_SRC_CUDA_BLOCK_H_
#define DROPKIT_SRC_CUDA_BLOCK_H_

#include <cstdint>

#include "cuda/grid.h"

namespace dropkit::cuda {

inline constexpr int kBlockThreads = 256;
inline constexpr int kLineBytes = 128;  // of the caches

// Of all 32 lanes, for each of them.
template <typename T>
DROPKIT_DEVICE T WarpSum(T value) {
  for (int step = 16; step > 0; step >>= 1) value += __shfl_xor_sync(0xFFFFFFFFu, value, step);
  return value;
}

}  // namespace dropkit::cuda

#endif  // DROPKIT_SRC_CUDA_BLOCK_H_

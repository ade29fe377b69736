// What kernels of both halves share: how large a block is, and a sum over a warp.
#ifndef DROPKIT_SRC_CUDA_BLOCK_H_
#define DROPKIT_SRC_CUDA_BLOCK_H_

#include <cstdint>

#include "cuda/grid.h"

namespace dropkit::cuda {

inline constexpr int kBlockThreads = 256;

// Of all 32 lanes, for each of them.
template <typename T>
DROPKIT_DEVICE T WarpSum(T value) {
  for (int step = 16; step > 0; step >>= 1) value += __shfl_xor_sync(0xFFFFFFFFu, value, step);
  return value;
}

// Has a range of valid memory fetched into the second-level cache: the requests of thread number `thread` of `threads`.
DROPKIT_DEVICE void FetchRange(const void* from, int64_t bytes, unsigned thread, unsigned threads) {
  const int64_t step = DROPKIT_FETCH_BYTES;
  for (int64_t at = thread * step; at < bytes; at += threads * step) {
    Fetch(static_cast<const char*>(from) + at, bytes - at < step ? bytes - at : step);
  }
}
DROPKIT_DEVICE void FetchByBlock(const void* from, int64_t bytes) { FetchRange(from, bytes, threadIdx.x, blockDim.x); }

}  // namespace dropkit::cuda

#endif  // DROPKIT_SRC_CUDA_BLOCK_H_

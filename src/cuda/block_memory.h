// A drawing block's shared memory: the bits of what it draws, and what waits to be cleared from them.
#ifndef DROPKIT_SRC_CUDA_BLOCK_MEMORY_H_
#define DROPKIT_SRC_CUDA_BLOCK_MEMORY_H_

#include <cstdint>

#include "cuda/grid.h"
#include "cuda/pieces.h"
#include "draw.h"

namespace dropkit::cuda {

inline constexpr int kTilesAtOnce = 32;
inline constexpr int kTileWords32 = kTileLanes / 32;
inline constexpr int kOutWords = kMostPieceBits / 32;
inline constexpr int kMostMarks = 512;  // marks of a block that wait at once

struct DrawMemory {
  uint32_t bits[kOutWords + kMostRowWords];  // of the range; then those of rows
  uint32_t fired[kTilesAtOnce * kTileWords32];
  int64_t mark[kMostMarks];  // numbers of fired lanes (spread.h)
  int marks;                 // that were found: more than there is room for are cleared at once
};

// The block's. Every function names it itself: of a pointer that it is given nvcc does not know that it is to shared
// memory, and takes the slower accesses that serve any kind.
DROPKIT_DEVICE DrawMemory& Memory() {
  __shared__ DrawMemory memory;
  return memory;
}

DROPKIT_DEVICE int64_t Least(int64_t a, int64_t b) { return a < b ? a : b; }
DROPKIT_DEVICE int64_t Most(int64_t a, int64_t b) { return a < b ? b : a; }

DROPKIT_DEVICE void FillWords(uint32_t* words, int64_t count, uint32_t value) {
  for (int64_t i = threadIdx.x; i < count; i += blockDim.x) words[i] = value;
}

}  // namespace dropkit::cuda

#endif  // DROPKIT_SRC_CUDA_BLOCK_MEMORY_H_

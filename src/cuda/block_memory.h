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
inline constexpr int kFewUnits = 8;     // of counts in a piece

struct alignas(16) DrawMemory {
  uint32_t bits[kOutWords + kMostRowWords];  // of the piece; then those of rows
  uint32_t fired[kTilesAtOnce * kTileWords32];
  int64_t mark[kMostMarks];  // numbers of fired lanes (spread.h)
  int marks;                 // that were found: more than there is room for are cleared at once
  int kept[kFewUnits];       // of each unit's bits in the piece (count.h)
};

// The block's. Every function names it itself: of a pointer that it is given nvcc does not know that it is to shared
// memory, and takes the slower accesses that serve any kind.
DROPKIT_DEVICE DrawMemory& Memory() {
  __shared__ DrawMemory memory;
  return memory;
}

DROPKIT_DEVICE int64_t Least(int64_t a, int64_t b) { return a < b ? a : b; }
DROPKIT_DEVICE int64_t Most(int64_t a, int64_t b) { return a < b ? b : a; }

// `count` words of the memory, and up to three more; the first one's number is a multiple of 4.
DROPKIT_DEVICE void FillWords(uint32_t* words, int count, uint32_t value) {
  uint4* vectors = reinterpret_cast<uint4*>(words);
  for (int i = static_cast<int>(threadIdx.x); i * 4 < count; i += static_cast<int>(blockDim.x)) {
    vectors[i] = {value, value, value, value};
  }
}

// Nothing found and nothing counted yet, after the next barrier.
DROPKIT_DEVICE void StartPiece() {
  if (threadIdx.x < kFewUnits) Memory().kept[threadIdx.x] = 0;
  if (threadIdx.x == 0) Memory().marks = 0;
}

}  // namespace dropkit::cuda

#endif  // DROPKIT_SRC_CUDA_BLOCK_MEMORY_H_

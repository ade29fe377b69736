// Apply where x and y are dense alike: one read and one write an element in 16-byte vectors, and the mask's bits.
//
// Memory plan: a block takes one chunk of one row. A row is a sample or plane with a gain of its own (normalize=kept
// over those), else the whole tensor; so a block knows its gain before its first element. What is not dense, or has a
// draw for each dropped element, is apply_elements.h's.
#ifndef DROPKIT_SRC_CUDA_APPLY_DENSE_H_
#define DROPKIT_SRC_CUDA_APPLY_DENSE_H_

#include "cuda/apply_range.h"
#include "cuda/block.h"
#include "cuda/gain.h"
#include "cuda/mask_bits.h"
#include "loop.h"

namespace dropkit::cuda {

// Row number -> sample and channel, by the one or two outermost axes.
struct Rows {
  int64_t count = 1, elements = 1;
  int64_t inner_size = 1;
  int64_t outer_sample = 0, outer_channel = 0, inner_sample = 0, inner_channel = 0;
};

struct DenseJob {
  const void* x;
  void* y;
  Rows rows;
  int64_t chunk = 0;   // elements of a block
  int64_t chunks = 0;  // blocks of a row
  BitMap map;
  GainLaw law;
};

template <typename T, class Bits>
__global__ void __launch_bounds__(kBlockThreads, Bits::kBlocksAtOnce) ApplyDense(const __grid_constant__ DenseJob job) {
  const int64_t row = blockIdx.x / job.chunks;
  const int64_t row_end = (row + 1) * job.rows.elements;
  const int64_t begin = row * job.rows.elements + (blockIdx.x - row * job.chunks) * job.chunk;
  const int64_t end = begin + job.chunk < row_end ? begin + job.chunk : row_end;
  Prefetch(static_cast<const T*>(job.x), begin, end, Whole{});
  const int64_t outer = row / job.rows.inner_size, inner = row - outer * job.rows.inner_size;
  const Maps<T> maps = MapsOfBlock<T>(job.law, outer * job.rows.outer_sample + inner * job.rows.inner_sample,
                                      outer * job.rows.outer_channel + inner * job.rows.inner_channel);
  const MaskVectors mask(job.law.mask.bits, (job.law.mask.num_bits + 63) / 64);
  ApplyRange(static_cast<const T*>(job.x), static_cast<T*>(job.y), begin, end, maps, Bits(mask, job.map), Whole{});
}

// ---------------------------------------------------------------- on the host

// Whether x and y are one dense run in the order of the loop's axes.
inline bool IsDense(const Loop& loop) {
  int64_t inside = 1;
  for (int i = loop.dims - 1; i >= 0; --i) {
    if (loop.step[i].x != inside || loop.step[i].y != inside) return false;
    inside *= loop.step[i].size;
  }
  return true;
}

inline bool BitsFollowElements(const Loop& loop) {
  int64_t inside = 1;
  for (int i = loop.dims - 1; i >= 0; --i) {
    if (loop.step[i].bit != inside) return false;
    inside *= loop.step[i].size;
  }
  return true;
}

// False if an axis that moves the gain is inside one that does not: then a row is no run of memory.
inline bool MakeRows(const Loop& loop, Rows* rows) {
  *rows = Rows();
  bool inside = false;
  for (int i = 0; i < loop.dims; ++i) {
    const Step& step = loop.step[i];
    if (step.sample == 0 && step.channel == 0) {
      inside = true;
      rows->elements *= step.size;
      continue;
    }
    if (inside) return false;
    rows->count *= step.size;
    rows->inner_size = step.size;
    rows->outer_sample = rows->inner_sample;
    rows->outer_channel = rows->inner_channel;
    rows->inner_sample = step.sample;
    rows->inner_channel = step.channel;
  }
  return true;
}

// Elements of a chunk: eight vectors a thread, fewer where that would leave multiprocessors without work. A gain that
// takes long to compute is computed by as few blocks as fill the card.
inline int64_t ChunkOf(int64_t elements, int lanes, int multiprocessors, bool gain_is_long) {
  const int64_t vectors = (elements + lanes - 1) / lanes;
  const int64_t group = int64_t{kBlockThreads} * kInFlight;
  int64_t chunk = 2 * group;
  if (vectors < 4 * multiprocessors * chunk) chunk = group;
  if (vectors < 2 * multiprocessors * chunk) chunk = kBlockThreads;
  if (gain_is_long) {
    const int64_t share = (vectors + 4 * multiprocessors - 1) / (4 * multiprocessors);
    chunk = share <= chunk ? chunk : (share + group - 1) / group * group;
  }
  return chunk * lanes;
}

}  // namespace dropkit::cuda

#endif  // DROPKIT_SRC_CUDA_APPLY_DENSE_H_

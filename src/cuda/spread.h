// From fired lanes to the bits that they drop, cleared in the block's memory.
//
// A lane without a block drops its own bit, at once. Blocks are cleared later: how many lanes of a tile fire differs
// from tile to tile, so whoever finds a fired lane only writes its number down, and all threads then share the blocks
// alike. Only a mark for which there is no room is cleared by who found it.
#ifndef DROPKIT_SRC_CUDA_SPREAD_H_
#define DROPKIT_SRC_CUDA_SPREAD_H_

#include "bits.h"
#include "cuda/part.h"

namespace dropkit::cuda {

// Bits [begin, end) of the memory.
DROPKIT_DEVICE void ClearRun(int begin, int end) {
  while (begin < end) {
    const int to_word_end = (begin | 31) + 1, stop = end < to_word_end ? end : to_word_end;
    const uint32_t bits = (~0u >> (32 - (stop - begin))) << (begin & 31);
    atomicAnd(Memory().bits + (begin >> 5), ~bits);
    begin = stop;
  }
}

// Clears bit base + i for each bit i of `drops` in [lo, hi), of which no other is set.
DROPKIT_DEVICE void ClearWord(int64_t base, uint32_t drops, int64_t lo, int64_t hi) {
  if (lo > 0) drops = lo < 32 ? drops >> lo << lo : 0;
  if (hi < 32) drops = hi > 0 ? drops & static_cast<uint32_t>(LowMask(hi)) : 0;
  if (drops == 0) return;
  const int shift = static_cast<int>(base & 31);
  const uint32_t here = drops << shift, carried = shift == 0 ? 0 : drops >> (32 - shift);
  if (here != 0) atomicAnd(Memory().bits + (base >> 5), ~here);
  if (carried != 0) atomicAnd(Memory().bits + (base >> 5) + 1, ~carried);
}

// ---------------------------------------------------------------- blocks

// The centre of a lane's block on each axis, drawn or counted.
DROPKIT_DEVICE void CentreOf(const Field& field, const Drawn& drawn, int64_t n, int64_t lane, int64_t position,
                             int64_t at[3]) {
  if (field.draws_centres) {
    const Words4 words = Draw(drawn.centres_key(), 0, static_cast<uint32_t>(lane), GlobalSample(field, n));
    for (int i = 0; i < 3; ++i) {
      const int k = i - field.missing_axes;
      at[i] = k < 0 ? 0 : UniformBelow(words.word[k], field.axis[i].positions);
    }
    return;
  }
  for (int i = 2; i >= 0; --i) {
    const int64_t rest = Divide(position, field.positions[i]);
    at[i] = position - rest * field.axis[i].positions;
    position = rest;
  }
}

// A thread's share of a block: rows `first`, `first` + `step`, ...
struct Share {
  int first, step;
};

// What there is of a lane's block in this part.
DROPKIT_DEVICE_CALL void ClearBlock(const Field& field, const Drawn& drawn, const Pieces& pieces, const Part& part,
                                    int64_t n, int64_t lane, Share share) {
  const int64_t channel = Divide(lane, field.lanes_of_channel);
  const Window window = WindowOf(pieces, part, n, channel);
  if (window.lo >= window.hi) return;
  int64_t at[3], first[3], last[3];
  CentreOf(field, drawn, n, lane, lane - channel * field.plan.lanes_per_channel, at);
  DROPKIT_UNROLL
  for (int i = 0; i < 3; ++i) {
    const Axis axis = field.axis[i];
    first[i] = Most(0, at[i] - axis.before);
    last[i] = Least(axis.size, at[i] - axis.before + axis.block);
  }
  // From here on in bits of the memory, and nothing of `field` is read: after each store nvcc would read it anew.
  const int64_t lo = window.base + window.lo, hi = window.base + window.hi, width = last[2] - first[2];
  const int64_t row_bits = field.axis[2].size, plane_bits = field.axis[1].size * row_bits;
  int64_t plane = window.base + first[0] * plane_bits + (first[1] + share.first) * row_bits + first[2];
  for (int64_t i = first[0]; i < last[0]; ++i, plane += plane_bits) {
    int64_t row = plane;
    for (int64_t j = first[1] + share.first; j < last[1]; j += share.step, row += share.step * row_bits) {
      const int64_t begin = Most(lo, row), end = Least(hi, row + width);
      if (begin < end) ClearRun(static_cast<int>(begin), static_cast<int>(end));
    }
  }
}

// A mark's number counts the lanes of whole tiles.
DROPKIT_DEVICE void AddMark(const Field& field, const Drawn& drawn, const Pieces& pieces, const Part& part, int64_t n,
                            int64_t lane) {
  const int at = atomicAdd(&Memory().marks, 1);
  if (at >= kMostMarks) return ClearBlock(field, drawn, pieces, part, n, lane, {0, 1});
  Memory().mark[at] = n * field.tiles_of_sample.divisor * kTileLanes + lane;
}

// How many threads clear each of `marks` blocks: where a block has more of them, each takes some rows.
DROPKIT_DEVICE int ThreadsOfMark(int marks) {
  int threads = 1;
  while (threads < 8 && marks * 2 * threads <= static_cast<int>(blockDim.x)) threads *= 2;
  return threads;
}

// The blocks of all marks. The whole block; ready when it returns, and new marks may be added.
DROPKIT_DEVICE void ClearMarks(const Field& field, const Drawn& drawn, const Pieces& pieces, const Part& part) {
  __syncthreads();
  const int marks = static_cast<int>(Least(Memory().marks, kMostMarks)), threads = ThreadsOfMark(marks);
  const Share share = {static_cast<int>(threadIdx.x) % threads, threads};
  for (int i = static_cast<int>(threadIdx.x) / threads; i < marks; i += static_cast<int>(blockDim.x) / threads) {
    const int64_t mark = Memory().mark[i], n = Divide(mark / kTileLanes, field.tiles_of_sample);
    ClearBlock(field, drawn, pieces, part, n, mark - n * field.tiles_of_sample.divisor * kTileLanes, share);
  }
  __syncthreads();
  if (threadIdx.x == 0) Memory().marks = 0;
  __syncthreads();
}

// ---------------------------------------------------------------- lanes

// Fired lanes of a group that are bits (LanesAreBits), those of `fired`.
DROPKIT_DEVICE void ClearGroup(const Tile& group, const uint32_t fired[4]) {
  const int64_t base = group.base + group.lane, lo = group.begin - group.lane, hi = group.end - group.lane;
  if (lo > 0 || hi < kGroupLanes) {
    DROPKIT_UNROLL
    for (int k = 0; k < 4; ++k) ClearWord(base + 32 * k, fired[k], lo - 32 * k, hi - 32 * k);
    return;
  }
  uint32_t* word = Memory().bits + static_cast<int>(base) / 32;
  const int shift = static_cast<int>(base) % 32;
  uint64_t pair = 0;  // a word and what it hands on to the next
  DROPKIT_UNROLL
  for (int k = 0; k < 4; ++k) {
    pair |= uint64_t{fired[k]} << shift;
    atomicAnd(word + k, ~Low32(pair));
    pair >>= 32;
  }
  if (pair != 0) atomicAnd(word + 4, ~Low32(pair));
}

// Fired lanes [lane, lane + 32) of sample n, those of `fired`; the sample has them all. Blocks wait for ClearMarks.
DROPKIT_DEVICE_CALL void SpreadWord(const Field& field, const Drawn& drawn, const Pieces& pieces, const Part& part,
                                    int64_t n, int64_t lane, uint32_t fired) {
  if (field.plan.has_blocks) {
    for (; fired != 0; fired &= fired - 1) AddMark(field, drawn, pieces, part, n, lane + __ffs(fired) - 1);
    return;
  }
  if (!pieces.interleaved) {
    const int64_t base = n * pieces.sample_bits + lane - part.begin;
    return ClearWord(base, fired, -base, part.end - part.begin - base);
  }
  while (fired != 0) {  // a run of lanes of one channel after the other
    const int64_t channel = Divide(lane, field.lanes_of_channel);
    const int64_t position = lane - channel * field.plan.lanes_per_channel;
    const int64_t run = Least(32, field.plan.lanes_per_channel - position);
    const Window window = WindowOf(pieces, part, n, channel);
    ClearWord(window.base + position, fired, window.lo - position, Least(run, window.hi - position));
    fired = run < 32 ? fired >> run : 0;
    lane += run;
  }
}

// Fired lanes of a group that are wanted of it.
struct GroupWords {
  uint32_t word[4];
};
DROPKIT_DEVICE_CALL void SpreadGroup(const Field& field, const Drawn& drawn, const Pieces& pieces, const Part& part,
                                     const Tile& group, GroupWords fired) {
  for (int k = 0; k < 4; ++k) {
    const int64_t lane = group.lane + 32 * k, left = Least(32, field.plan.lanes - lane);
    if (lane >= group.end || lane + 32 <= group.begin) continue;
    const uint32_t word = k == 0 ? fired.word[0] : k == 1 ? fired.word[1] : k == 2 ? fired.word[2] : fired.word[3];
    SpreadWord(field, drawn, pieces, part, group.n, lane, word & static_cast<uint32_t>(LowMask(left)));
  }
}

}  // namespace dropkit::cuda

#endif  // DROPKIT_SRC_CUDA_SPREAD_H_

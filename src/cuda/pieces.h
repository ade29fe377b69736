// How a mask's bits are cut for blocks: pieces of whole 128-bit vectors, each drawn by one block in its shared memory.
//
// A piece is a range of bits in the mask's order. Where channels are innermost (channels last, more than one cell and
// one channel) it is drawn as rows, a channel each, and transposed; see draw_bits.h.
#ifndef DROPKIT_SRC_CUDA_PIECES_H_
#define DROPKIT_SRC_CUDA_PIECES_H_

#include <algorithm>
#include <cstdint>

#include "dropkit/dropkit.h"
#include "plan.h"

namespace dropkit::cuda {

inline constexpr int kMostPieceBits = 1 << 16;  // 8 KiB of shared memory
inline constexpr int kMostRowWords = 4096;      // of 32 bits: 16 KiB for the rows of an interleaved piece
inline constexpr int kVectorBits = 128;

struct Pieces {
  int64_t num_bits = 0, samples = 1, channels = 1;  // of the mask itself: shared axes count once
  int64_t map_bits = 1, sample_bits = 1;            // a map without cells of its own is one bit
  bool interleaved = false;
  int64_t most_bits = kMostPieceBits;  // that a block can draw at once
  int64_t piece_bits = kMostPieceBits, count = 0;
};

DROPKIT_HOST_DEVICE int64_t RoundUp(int64_t value, int64_t multiple) { return (value + multiple - 1) / multiple * multiple; }

// Enough pieces for `wanted` blocks where the mask has the bits for them.
inline Pieces MakePieces(const Plan& plan, const Mask& mask, int64_t wanted) {
  Pieces pieces;
  pieces.num_bits = mask.num_bits;
  pieces.channels = plan.lane_channels;
  pieces.map_bits = plan.has_map ? plan.cells : 1;
  pieces.sample_bits = pieces.channels * pieces.map_bits;
  pieces.samples = mask.num_bits / pieces.sample_bits;
  pieces.interleaved = pieces.channels > 1 && pieces.map_bits > 1 && mask.channel_stride != pieces.map_bits;
  if (pieces.interleaved) {
    // Rows of positions, of an odd number of words against bank conflicts; a range of bits has one position more than
    // it has whole ones. Where there are more channels than rows, a position's channels are drawn some at a time.
    const int64_t words = (kMostRowWords / pieces.channels + 1) / 2 * 2 - 1;
    pieces.most_bits = words > 0 ? (32 * words - 1) * pieces.channels : kMostRowWords;
    pieces.most_bits = std::min<int64_t>(pieces.most_bits, kMostPieceBits) / kVectorBits * kVectorBits;
    pieces.most_bits = std::max<int64_t>(pieces.most_bits, kVectorBits);
    // Samples of a piece are drawn one after the other, so small ones make small pieces.
    const int64_t sample = std::max<int64_t>(kVectorBits, pieces.sample_bits / kVectorBits * kVectorBits);
    pieces.most_bits = std::min(pieces.most_bits, sample);
  }
  const int64_t even = RoundUp((pieces.num_bits + wanted - 1) / wanted, kVectorBits);
  pieces.piece_bits = std::clamp<int64_t>(even, std::min<int64_t>(2048, pieces.most_bits), pieces.most_bits);
  pieces.count = (pieces.num_bits + pieces.piece_bits - 1) / pieces.piece_bits;
  return pieces;
}

}  // namespace dropkit::cuda

#endif  // DROPKIT_SRC_CUDA_PIECES_H_

// How a mask's bits are cut for blocks: pieces, each drawn by one block in its shared memory.
//
// A piece is a range of bits in the mask's order, of whole 128-bit vectors. Where channels are innermost (channels
// last, more than one cell and one channel), lanes that follow each other lie far apart, so a range would be drawn from
// many tiles for a few lanes of each. There a piece is a box: some channels (whole 32-bit words of them) by many
// positions of one sample. Only where channels fill no whole words it is a range still, of many positions where the map
// has them. Either is drawn as rows, a channel each, and transposed; see draw_bits.h.
#ifndef DROPKIT_SRC_CUDA_PIECES_H_
#define DROPKIT_SRC_CUDA_PIECES_H_

#include <algorithm>
#include <cstdint>

#include "cuda/quotient.h"
#include "dropkit/dropkit.h"
#include "plan.h"

namespace dropkit::cuda {

inline constexpr int kMostPieceBits = 1 << 16;  // 8 KiB of shared memory
inline constexpr int kMostRowWords = 4096;      // of 32 bits: 16 KiB for the rows of an interleaved piece
inline constexpr int kVectorBits = 128;
inline constexpr int64_t kManyPositions = 256;  // of a channel: what makes up for tiles that are drawn for a part

struct Pieces {
  int64_t num_bits = 0, samples = 1, channels = 1;  // of the mask itself: shared axes count once
  int64_t map_bits = 1, sample_bits = 1;            // a map without cells of its own is one bit
  Quotient by_sample, by_map;                       // of those bits
  bool interleaved = false;
  int64_t most_bits = kMostPieceBits;  // that a block can draw at once as a range
  int64_t piece_bits = kMostPieceBits, count = 0;
  // Boxes: `box_channels` divides channels; the last of a sample's may have fewer positions. 0: ranges.
  int64_t box_channels = 0, box_positions = 0;
  Quotient channel_parts, position_parts;  // of a sample; pieces count channels first, then positions
  Quotient box_words;                      // of 32 bits, for a position of a box

  DROPKIT_HOST_DEVICE bool are_boxes() const { return box_channels != 0; }
};

DROPKIT_HOST_DEVICE int64_t RoundUp(int64_t value, int64_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

// Words of 32 bits for a row of positions: an odd number, against bank conflicts.
DROPKIT_HOST_DEVICE int64_t RowWords(int64_t positions) { return (positions + 31) / 32 | 1; }

// The most positions of a box. Its rows fit then too: an odd number of words each, they are 3360 at most.
inline int64_t MostPositions(int64_t map_bits, int64_t box_channels) {
  return std::min(map_bits, kMostPieceBits / box_channels);
}

// The narrowest boxes that are no more than `wanted` blocks (64 channels of 16-bit x are a line of the cache), of as
// many positions as that allows; or else the fewest.
inline void CutBoxes(int64_t wanted, Pieces* pieces) {
  constexpr int64_t kMostWidth = 1024;
  const int64_t channels = pieces->channels, map = pieces->map_bits;
  const int64_t wanted_of_sample = wanted / pieces->samples;
  int64_t fewest = INT64_MAX, parts = 0;
  for (int64_t width = channels % 64 == 0 ? 64 : 32; width <= std::min(channels, kMostWidth); width += 32) {
    if (channels % width != 0) continue;
    const int64_t most = MostPositions(map, width), needed = (map + most - 1) / most;
    if (channels / width * needed >= fewest) continue;
    fewest = channels / width * needed;
    pieces->box_channels = width;
    parts = needed;
    if (fewest <= wanted_of_sample) break;
  }
  const int64_t channel_parts = channels / pieces->box_channels;
  parts = std::max(parts, std::min(wanted_of_sample / channel_parts, map / kManyPositions));
  pieces->box_positions = (map + parts - 1) / parts;
  pieces->channel_parts = Quotient::By(channel_parts);
  pieces->position_parts = Quotient::By((map + pieces->box_positions - 1) / pieces->box_positions);
  pieces->box_words = Quotient::By(pieces->box_channels / 32);
  pieces->count = pieces->samples * channel_parts * pieces->position_parts.divisor;
}

// Enough pieces for `wanted` blocks where the mask has the bits for them. Ranges are whole multiples of `step` bits, if
// they are as large as that.
inline Pieces MakePieces(const Plan& plan, const Mask& mask, int64_t wanted, int64_t step = kVectorBits) {
  Pieces pieces;
  pieces.num_bits = mask.num_bits;
  pieces.channels = plan.lane_channels;
  pieces.map_bits = plan.has_map ? plan.cells : 1;
  pieces.sample_bits = pieces.channels * pieces.map_bits;
  pieces.samples = mask.num_bits / pieces.sample_bits;
  pieces.by_sample = Quotient::By(pieces.sample_bits);
  pieces.by_map = Quotient::By(pieces.map_bits);
  pieces.interleaved = pieces.channels > 1 && pieces.map_bits > 1 && mask.channel_stride != pieces.map_bits;
  int64_t least = 2048;
  if (pieces.interleaved) {
    // Rows of positions; a range of bits has one position more than it has whole ones. Where there are more channels
    // than rows, a position's channels are drawn some at a time.
    const int64_t words = (kMostRowWords / pieces.channels + 1) / 2 * 2 - 1;
    pieces.most_bits = words > 0 ? (32 * words - 1) * pieces.channels : kMostRowWords;
    pieces.most_bits = std::min<int64_t>(pieces.most_bits, kMostPieceBits) / kVectorBits * kVectorBits;
    pieces.most_bits = std::max<int64_t>(pieces.most_bits, kVectorBits);
    // Samples of a piece are drawn one after the other, so small ones make small pieces.
    const int64_t sample = std::max<int64_t>(kVectorBits, pieces.sample_bits / kVectorBits * kVectorBits);
    pieces.most_bits = std::min(pieces.most_bits, sample);
    const int64_t positions = std::min(kManyPositions, pieces.map_bits / 4);  // a small map is not for one block
    least = std::max(least, positions * pieces.channels / kVectorBits * kVectorBits);
  }
  const int64_t share = (pieces.num_bits + wanted - 1) / wanted;
  const int64_t even = RoundUp(share, share < step ? kVectorBits : step);
  pieces.piece_bits = std::clamp<int64_t>(even, std::min(least, pieces.most_bits), pieces.most_bits);
  pieces.count = (pieces.num_bits + pieces.piece_bits - 1) / pieces.piece_bits;
  if (pieces.interleaved && pieces.channels % 32 == 0) CutBoxes(wanted, &pieces);
  return pieces;
}

}  // namespace dropkit::cuda

#endif  // DROPKIT_SRC_CUDA_PIECES_H_

// What a block draws at once of a mask, a part, and which lanes can drop bits of it: those of a few tiles.
//
// Host-free: everything here is arithmetic on sizes, for one thread.
#ifndef DROPKIT_SRC_CUDA_PART_H_
#define DROPKIT_SRC_CUDA_PART_H_

#include "cuda/block_memory.h"
#include "cuda/field.h"
#include "cuda/pieces.h"

namespace dropkit::cuda {

// What is drawn at once: bits [begin, end) of the mask from the memory's first bit on, or (rows) channels [c0, c1) x
// positions [q0, q1) of sample n.
struct Part {
  int64_t begin, end;
  int64_t n, c0, c1, q0, q1;
  int row_words;
};

// Position q of a plane is bit base + q of the memory's bits, for q in [lo, hi).
struct Window {
  int64_t base, lo, hi;
};

DROPKIT_DEVICE Window WindowOf(const Pieces& pieces, const Part& part, int64_t n, int64_t c) {
  if (pieces.interleaved) {
    if (c < part.c0 || c >= part.c1) return {0, 0, 0};
    return {32 * (kOutWords + (c - part.c0) * part.row_words) - part.q0, part.q0, part.q1};
  }
  const int64_t base = n * pieces.sample_bits + c * pieces.map_bits - part.begin;
  return {base, Most(0, -base), Least(pieces.map_bits, part.end - part.begin - base)};
}

// ---------------------------------------------------------------- which lanes reach a part

struct LaneRange {
  int64_t begin, end;
};

// Of a channel's lanes, those that can drop cells [q0, q1) of its map, by the outermost axis.
DROPKIT_DEVICE LaneRange LanesThatReach(const Field& field, int64_t q0, int64_t q1) {
  if (field.draws_centres) return {0, field.plan.lanes_per_channel};
  if (!field.plan.has_blocks) return {q0, q1};
  const Axis& axis = field.axis[field.outer_axis];
  const int64_t cells = field.plan.cells / axis.size, lanes = field.plan.lanes_per_channel / axis.positions;
  const int64_t first = Divide(q0, cells) + axis.before - axis.block + 1, last = Divide(q1 - 1, cells) + axis.before;
  return {Most(0, first) * lanes, Least(axis.positions, last + 1) * lanes};
}

// The tiles that a part needs: `count` of them, in order of samples; or, where a part has a piece of each channel's
// map, `tiles_of_channel` for each channel.
struct Tiles {
  int64_t first, count, of_sample;  // numbered sample * of_sample + tile
  LaneRange channel_lanes;
  int64_t of_channel;  // 0: not by channel
};

DROPKIT_DEVICE Tiles TilesFor(const Field& field, const Pieces& pieces, const Part& part) {
  const int64_t lanes = field.plan.lanes_per_channel, of_sample = (field.plan.lanes + kTileLanes - 1) / kTileLanes;
  Tiles tiles = {0, 0, of_sample, {0, 0}, 0};
  int64_t n0 = part.n, n1 = part.n, first, last;
  if (pieces.interleaved) {
    const LaneRange range = LanesThatReach(field, part.q0, part.q1);
    const int64_t width = range.end - range.begin;
    if (width < lanes - kTileLanes && part.c1 - part.c0 > 1) {
      tiles.channel_lanes = range;
      tiles.of_channel = (width + kTileLanes - 1) / kTileLanes + 1;
      tiles.count = (part.c1 - part.c0) * tiles.of_channel;
      return tiles;
    }
    first = part.c0 * lanes + range.begin;
    last = (part.c1 - 1) * lanes + range.end - 1;
  } else {
    n0 = Divide(part.begin, pieces.sample_bits);
    n1 = Divide(part.end - 1, pieces.sample_bits);
    const int64_t bit0 = part.begin - n0 * pieces.sample_bits, bit1 = part.end - 1 - n1 * pieces.sample_bits;
    const int64_t c0 = Divide(bit0, pieces.map_bits), c1 = Divide(bit1, pieces.map_bits);
    first = c0 * lanes + LanesThatReach(field, bit0 - c0 * pieces.map_bits, pieces.map_bits).begin;
    last = c1 * lanes + LanesThatReach(field, 0, bit1 - c1 * pieces.map_bits + 1).end - 1;
  }
  tiles.first = n0 * of_sample + first / kTileLanes;
  tiles.count = n1 * of_sample + last / kTileLanes + 1 - tiles.first;
  return tiles;
}

struct Tile {
  int64_t n, tile;  // tile < 0: there is none
};

DROPKIT_DEVICE Tile TileAt(const Field& field, const Part& part, const Tiles& tiles, int64_t i) {
  if (tiles.of_channel == 0) {
    const int64_t number = tiles.first + i, n = Divide(number, tiles.of_sample);
    return {n, number - n * tiles.of_sample};
  }
  const int64_t channel = Divide(i, tiles.of_channel);
  const int64_t lane = (part.c0 + channel) * field.plan.lanes_per_channel;
  const int64_t tile = (lane + tiles.channel_lanes.begin) / kTileLanes + (i - channel * tiles.of_channel);
  return {part.n, tile * kTileLanes < lane + tiles.channel_lanes.end ? tile : -1};
}

}  // namespace dropkit::cuda

#endif  // DROPKIT_SRC_CUDA_PART_H_

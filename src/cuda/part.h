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
  const int64_t lanes = field.lanes_of_outer_step;
  const int64_t first = Divide(q0, field.cells_of_outer_step) + axis.before - axis.block + 1;
  const int64_t last = Divide(q1 - 1, field.cells_of_outer_step) + axis.before;
  return {Most(0, first) * lanes, Least(axis.positions, last + 1) * lanes};
}

// The tiles or groups (kLanes) that a part needs: `count` of them, in order of samples; or, where a part has a piece of
// each channel's map, `of_channel` for each channel.
struct Tiles {
  int64_t first, count;  // numbered sample * those of a sample + tile
  int64_t of_channel;    // 0: not by channel
};

// The lanes that a part needs: from one of sample n0 to one of sample n1; or some of each channel.
struct Reach {
  int64_t n0, first, n1, last;
  bool by_channel;
  LaneRange of_channel;
};

DROPKIT_DEVICE Reach ReachOf(const Field& field, const Pieces& pieces, const Part& part) {
  const int64_t lanes = field.plan.lanes_per_channel;
  Reach reach = {part.n, 0, part.n, 0, false, {0, 0}};
  if (pieces.interleaved) {
    reach.of_channel = LanesThatReach(field, part.q0, part.q1);
    const int64_t width = reach.of_channel.end - reach.of_channel.begin;
    reach.by_channel = width < lanes - kTileLanes && part.c1 - part.c0 > 1;
    reach.first = part.c0 * lanes + reach.of_channel.begin;
    reach.last = (part.c1 - 1) * lanes + reach.of_channel.end - 1;
    return reach;
  }
  reach.n0 = Divide(part.begin, pieces.by_sample);
  reach.n1 = Divide(part.end - 1, pieces.by_sample);
  const int64_t bit0 = part.begin - reach.n0 * pieces.sample_bits;
  const int64_t bit1 = part.end - 1 - reach.n1 * pieces.sample_bits;
  const int64_t c0 = Divide(bit0, pieces.by_map), c1 = Divide(bit1, pieces.by_map);
  reach.first = c0 * lanes + LanesThatReach(field, bit0 - c0 * pieces.map_bits, pieces.map_bits).begin;
  reach.last = c1 * lanes + LanesThatReach(field, 0, bit1 - c1 * pieces.map_bits + 1).end - 1;
  return reach;
}

template <int kLanes>
DROPKIT_DEVICE const Quotient& TilesOfSample(const Field& field) {
  return kLanes == kTileLanes ? field.tiles_of_sample : field.groups_of_sample;
}

template <int kLanes>
DROPKIT_DEVICE Tiles TilesFor(const Field& field, const Part& part, const Reach& reach) {
  if (reach.by_channel) {
    const int64_t width = reach.of_channel.end - reach.of_channel.begin, of_channel = (width + kLanes - 1) / kLanes + 1;
    return {0, (part.c1 - part.c0) * of_channel, of_channel};
  }
  const int64_t of_sample = TilesOfSample<kLanes>(field).divisor;
  const int64_t first = reach.n0 * of_sample + reach.first / kLanes;
  return {first, reach.n1 * of_sample + reach.last / kLanes + 1 - first, 0};
}

struct Tile {
  int64_t n, lane;     // its first; less than 0: there is none
  int64_t begin, end;  // the lanes of the sample that are wanted of it; others need not be drawn
  int64_t base;  // where each lane drops a bit of its own: the memory's of lane 0, if those of [begin, end) follow
};

// Whether the lanes that are wanted of a tile drop bits that follow each other.
DROPKIT_DEVICE bool LanesAreBits(const Field& field, const Pieces& pieces, const Reach& reach) {
  return !field.plan.has_blocks && (!pieces.interleaved || reach.by_channel);
}

template <int kLanes>
DROPKIT_DEVICE Tile TileAt(const Field& field, const Pieces& pieces, const Part& part, const Reach& reach,
                           const Tiles& tiles, int64_t i) {
  if (!reach.by_channel) {
    const Quotient& of_sample = TilesOfSample<kLanes>(field);
    const int64_t number = tiles.first + i, n = Divide(number, of_sample);
    Tile tile = {n, (number - n * of_sample.divisor) * kLanes, 0, field.plan.lanes,
                 n * pieces.sample_bits - part.begin};
    if (LanesAreBits(field, pieces, reach)) {
      tile.begin = Most(0, -tile.base);
      tile.end = Least(tile.end, part.end - part.begin - tile.base);
    }
    return tile;
  }
  const int64_t channel = Divide(i, tiles.of_channel);
  const int64_t lane = (part.c0 + channel) * field.plan.lanes_per_channel;
  const int64_t begin = lane + reach.of_channel.begin, end = lane + reach.of_channel.end;
  const int64_t first = (begin / kLanes + (i - channel * tiles.of_channel)) * kLanes;
  const int64_t base = 32 * (kOutWords + channel * part.row_words) - part.q0 - lane;
  return {part.n, first < end ? first : -1, begin, end, base};
}

}  // namespace dropkit::cuda

#endif  // DROPKIT_SRC_CUDA_PART_H_

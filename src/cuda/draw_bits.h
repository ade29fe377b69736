// A range of a mask's bits, drawn by one block into its shared memory. Nothing random depends on the range: a tile of
// 512 lanes that two ranges touch is drawn for both.
//
// Memory plan: bits of the range in shared memory, one read-modify-write there a run of dropped cells. Few marks (the
// law has an overlay alone) are spread as they are drawn; else some tiles' lanes are drawn as words first. Where
// channels are innermost, a sample's part of the range is drawn behind those bits as a row of positions a channel, and
// rows are transposed 32 by 32 to their place.
#ifndef DROPKIT_SRC_CUDA_DRAW_BITS_H_
#define DROPKIT_SRC_CUDA_DRAW_BITS_H_

#include "bits.h"
#include "cuda/field.h"
#include "cuda/pieces.h"

namespace dropkit::cuda {

inline constexpr int kTilesAtOnce = 32;
inline constexpr int kTileWords32 = kTileLanes / 32;

inline constexpr int kOutWords = kMostPieceBits / 32;

struct DrawMemory {
  uint32_t bits[kOutWords + kMostRowWords];  // of the range; then those of rows
  uint32_t fired[kTilesAtOnce * kTileWords32];
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

// ---------------------------------------------------------------- from fired lanes to cleared bits

DROPKIT_DEVICE void ClearRun(int64_t begin, int64_t end) {
  while (begin < end) {
    const int64_t stop = Least(end, (begin | 31) + 1);
    const uint32_t bits = static_cast<uint32_t>(LowMask(stop - begin)) << (begin & 31);
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

// The place of a lane's block: its centre, drawn or counted, on each axis.
DROPKIT_DEVICE void PlaceOf(const Field& field, const Drawn& drawn, int64_t n, int64_t lane, int64_t position,
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
    const int64_t rest = Divide(position, field.axis[i].positions);
    at[i] = position - rest * field.axis[i].positions;
    position = rest;
  }
}

// A thread's share of what is done for one lane or word: rows `first`, `first` + `step`, ... of a block.
struct Share {
  int first, step;
};

DROPKIT_DEVICE_CALL void ClearBlock(const Field& field, const Drawn& drawn, const Pieces& pieces, const Part& part,
                                    int64_t n, int64_t lane, Share share) {
  const int64_t channel = Divide(lane, field.plan.lanes_per_channel);
  const Window window = WindowOf(pieces, part, n, channel);
  if (window.lo >= window.hi) return;
  int64_t at[3], first[3], last[3];
  PlaceOf(field, drawn, n, lane, lane - channel * field.plan.lanes_per_channel, at);
  for (int i = 0; i < 3; ++i) {
    first[i] = Most(0, at[i] - field.axis[i].before);
    last[i] = Least(field.axis[i].size, at[i] - field.axis[i].before + field.axis[i].block);
  }
  for (int64_t i = first[0]; i < last[0]; ++i) {
    for (int64_t j = first[1] + share.first; j < last[1]; j += share.step) {
      const int64_t row = (i * field.axis[1].size + j) * field.axis[2].size;
      const int64_t begin = Most(window.lo, row + first[2]), end = Least(window.hi, row + last[2]);
      ClearRun(window.base + begin, window.base + end);
    }
  }
}

// Fired lanes [lane, lane + 32) of sample n, those of `fired`; the sample has them all. Without blocks the share is
// all.
DROPKIT_DEVICE void SpreadWord(const Field& field, const Drawn& drawn, const Pieces& pieces, const Part& part,
                               int64_t n, int64_t lane, uint32_t fired, Share share) {
  if (field.plan.has_blocks) {
    for (; fired != 0; fired &= fired - 1) ClearBlock(field, drawn, pieces, part, n, lane + __ffs(fired) - 1, share);
  } else if (!pieces.interleaved) {
    const int64_t base = n * pieces.sample_bits + lane - part.begin;
    ClearWord(base, fired, -base, part.end - part.begin - base);
  } else {
    while (fired != 0) {  // a run of lanes of one channel after the other
      const int64_t channel = Divide(lane, field.plan.lanes_per_channel);
      const int64_t position = lane - channel * field.plan.lanes_per_channel;
      const int64_t run = Least(32, field.plan.lanes_per_channel - position);
      const Window window = WindowOf(pieces, part, n, channel);
      ClearWord(window.base + position, fired, window.lo - position, Least(run, window.hi - position));
      fired = run < 32 ? fired >> run : 0;
      lane += run;
    }
  }
}

// ---------------------------------------------------------------- a part

// How many threads work on each of `tasks`: where a block has more of them, a task is waiting for one thread's rows.
DROPKIT_DEVICE int ThreadsOfTask(const Field& field, int64_t tasks) {
  int threads = 1;
  while (field.plan.has_blocks && threads < 8 && tasks * 2 * threads <= blockDim.x) threads *= 2;
  return threads;
}

// Few lanes fire, and the draw names them one by one: no lane is visited that does not fire. Threads that share a tile
// all draw it.
DROPKIT_DEVICE void SpreadMarks(const Field& field, const Drawn& drawn, const Pieces& pieces, const Part& part,
                                const Tiles& tiles) {
  const int threads = ThreadsOfTask(field, tiles.count);
  const Share share = {static_cast<int>(threadIdx.x % threads), threads};
  for (int64_t i = threadIdx.x / threads; i < tiles.count; i += blockDim.x / threads) {
    const Tile tile = TileAt(field, part, tiles, i);
    if (tile.tile < 0) continue;
    ForEachMark(drawn.law(), drawn.overlay_key(), static_cast<uint32_t>(tile.tile), GlobalSample(field, tile.n),
                [&](uint32_t mark) {
                  const int64_t lane = tile.tile * kTileLanes + mark;
                  if (lane >= field.plan.lanes) return;
                  SpreadWord(field, drawn, pieces, part, tile.n, lane, 1, share);
                });
  }
}

// 32 lanes of the caller's bytes.
DROPKIT_DEVICE uint32_t GivenWord(const Field& field, int64_t n, int64_t lane) {
  const uint8_t* bytes = field.given + n * field.plan.lanes + lane;
  const int count = static_cast<int>(Least(32, field.plan.lanes - lane));
  uint32_t fired = 0;
  for (int i = 0; i < count; ++i) fired |= static_cast<uint32_t>((bytes[i] != 0) != field.given_marks_kept) << i;
  return fired;
}

// The marked lanes of `count` tiles from `first` on, as words: some threads draw groups of the digit part, others tiles
// of the overlay. The whole block; ready when it returns.
DROPKIT_DEVICE void DrawWords(const Field& field, const Drawn& drawn, const Part& part, const Tiles& tiles,
                              int64_t first, int count) {
  uint32_t* words = Memory().fired;
  const LaneLaw& law = drawn.law();
  constexpr int kGroups = kTileLanes / 128;
  FillWords(words, count * kTileWords32, 0);
  __syncthreads();
  const int groups = law.digits != 0 ? count * kGroups : 0, overlays = law.rounds > 0 ? count : 0;
  for (int i = threadIdx.x; i < groups + overlays; i += blockDim.x) {
    const int which = i < groups ? i / kGroups : i - groups;
    const Tile tile = TileAt(field, part, tiles, first + which);
    if (tile.tile < 0) continue;
    uint32_t* of_tile = words + which * kTileWords32;
    if (i < groups) {
      const int64_t group = tile.tile * kGroups + i % kGroups;
      if (group * 128 >= field.plan.lanes) continue;
      uint64_t bits[2];
      DrawDigitGroup(law, drawn.digits_key(), static_cast<uint32_t>(group), GlobalSample(field, tile.n), bits);
      for (int k = 0; k < 4; ++k) {
        atomicOr(of_tile + i % kGroups * 4 + k, static_cast<uint32_t>(bits[k / 2] >> (k % 2 * 32)));
      }
    } else {
      ForEachMark(law, drawn.overlay_key(), static_cast<uint32_t>(tile.tile), GlobalSample(field, tile.n),
                  [&](uint32_t lane) { atomicOr(of_tile + lane / 32, 1u << (lane % 32)); });
    }
  }
  __syncthreads();
}

DROPKIT_DEVICE void SpreadWords(const Field& field, const Drawn& drawn, const Pieces& pieces, const Part& part,
                                const Tiles& tiles, int64_t first, int count) {
  const uint32_t* words = Memory().fired;
  const LaneLaw& law = drawn.law();
  const int threads = ThreadsOfTask(field, count * kTileWords32);
  const Share share = {static_cast<int>(threadIdx.x % threads), threads};
  for (int i = threadIdx.x / threads; i < count * kTileWords32; i += blockDim.x / threads) {
    const Tile tile = TileAt(field, part, tiles, first + i / kTileWords32);
    const int64_t lane = tile.tile * kTileLanes + i % kTileWords32 * 32;
    if (tile.tile < 0 || lane >= field.plan.lanes) continue;
    uint32_t fired;
    if (field.given) {
      fired = GivenWord(field, tile.n, lane);
    } else {
      fired = law.all ? ~0u : law.inverted ? ~words[i] : words[i];
      fired &= static_cast<uint32_t>(LowMask(Least(32, field.plan.lanes - lane)));
    }
    SpreadWord(field, drawn, pieces, part, tile.n, lane, fired, share);
  }
}

// The part's bits, which are all set. The whole block; ready when it returns.
DROPKIT_DEVICE_CALL void DropInPart(const Field& field, const Drawn& drawn, const Pieces& pieces, const Part& part) {
  const LaneLaw& law = drawn.law();
  const Tiles tiles = TilesFor(field, pieces, part);
  if (!field.given && law.none) return;
  if (!field.given && !law.all && !law.inverted && law.digits == 0) {
    SpreadMarks(field, drawn, pieces, part, tiles);
    __syncthreads();
    return;
  }
  const bool draws = !field.given && !law.all;
  for (int64_t first = 0; first < tiles.count; first += kTilesAtOnce) {
    const int count = static_cast<int>(Least(kTilesAtOnce, tiles.count - first));
    if (draws) DrawWords(field, drawn, part, tiles, first, count);
    SpreadWords(field, drawn, pieces, part, tiles, first, count);
    __syncthreads();
  }
}

// ---------------------------------------------------------------- rows to interleaved bits

// Thread `lane` of a warp has row `lane`; afterwards column `lane`.
DROPKIT_DEVICE uint32_t Transpose(uint32_t row, unsigned lane) {
  uint32_t low = 0x0000FFFFu;
  for (unsigned step = 16; step != 0; step >>= 1, low ^= low << step) {
    const uint32_t other = __shfl_xor_sync(0xFFFFFFFFu, row, static_cast<int>(step));
    row = (lane & step) != 0 ? (row & ~low) | ((other & ~low) >> step) : (row & low) | ((other & low) << step);
  }
  return row;
}

// Sets bit base + i of `out`, of `length` bits, for each bit i of `keeps` that lies in it.
DROPKIT_DEVICE void SetWord(uint32_t* out, int64_t length, int64_t base, uint32_t keeps) {
  if (base < 0) {
    keeps = base > -32 ? keeps >> -base : 0;
    base = 0;
  }
  if (base + 32 > length) keeps = base < length ? keeps & static_cast<uint32_t>(LowMask(length - base)) : 0;
  const int shift = static_cast<int>(base & 31);
  const uint32_t here = keeps << shift, carried = shift == 0 ? 0 : keeps >> (32 - shift);
  if (here != 0) atomicOr(out + (base >> 5), here);
  if (carried != 0) atomicOr(out + (base >> 5) + 1, carried);
}

// The rows of `part` into the bits [begin, end) of the mask, which are all clear.
DROPKIT_DEVICE void Interleave(const Pieces& pieces, const Part& part, int64_t begin, int64_t end) {
  const int channels = static_cast<int>(part.c1 - part.c0), positions = static_cast<int>(part.q1 - part.q0);
  const int groups = (channels + 31) / 32, columns = (positions + 31) / 32;
  const unsigned lane = threadIdx.x % 32;
  for (int square = threadIdx.x / 32; square < groups * columns; square += blockDim.x / 32) {
    const int column = square / groups, channel = square % groups * 32;
    const int row = channel + static_cast<int>(lane), position = column * 32 + static_cast<int>(lane);
    uint32_t keeps = row < channels ? Memory().bits[kOutWords + row * part.row_words + column] : 0;
    keeps = Transpose(keeps, lane);
    if (position >= positions) continue;  // after the shuffles, which all lanes need
    const int64_t bit = part.n * pieces.sample_bits + (part.q0 + position) * pieces.channels + part.c0 + channel;
    SetWord(Memory().bits, end - begin, bit - begin, keeps);
  }
}

// Channels [c0, c1) x positions [q0, q1) of sample n, as rows and then into the memory's first bits.
DROPKIT_DEVICE_CALL void DrawRows(const Field& field, const Drawn& drawn, const Pieces& pieces, Part part,
                                  int64_t begin, int64_t end) {
  part.row_words = static_cast<int>((part.q1 - part.q0 + 31) / 32) | 1;
  FillWords(Memory().bits + kOutWords, (part.c1 - part.c0) * part.row_words, ~0u);
  __syncthreads();
  DropInPart(field, drawn, pieces, part);
  Interleave(pieces, part, begin, end);
  __syncthreads();
}

// Bits [begin, end) of sample n, which the range [from, to) of the memory holds: whole rows, or where there are more
// channels than rows, one position's channels after another's.
DROPKIT_DEVICE void DrawInterleaved(const Field& field, const Drawn& drawn, const Pieces& pieces, int64_t n,
                                    int64_t begin, int64_t end, int64_t from, int64_t to) {
  const int64_t first = begin - n * pieces.sample_bits, last = end - 1 - n * pieces.sample_bits;
  const int64_t q0 = Divide(first, pieces.channels), q1 = Divide(last, pieces.channels) + 1;
  const Part part = {0, 0, n, 0, pieces.channels, q0, q1, 0};
  if (pieces.channels <= kMostRowWords) return DrawRows(field, drawn, pieces, part, from, to);
  for (int64_t q = q0; q < q1; ++q) {
    Part piece = part;
    piece.c0 = Most(0, first - q * pieces.channels);
    piece.c1 = Least(pieces.channels, last + 1 - q * pieces.channels);
    piece.q0 = q;
    piece.q1 = q + 1;
    DrawRows(field, drawn, pieces, piece, from, to);
  }
}

// Bits [begin, end) of the mask, at most pieces.most_bits, into the memory's bits from the first on; bits past them in
// the last word are unspecified. The whole block; ready when it returns.
DROPKIT_DEVICE_CALL void DrawBits(const Field& field, const Drawn& drawn, const Pieces& pieces, int64_t begin,
                                  int64_t end) {
  FillWords(Memory().bits, (end - begin + 31) / 32, pieces.interleaved ? 0 : ~0u);
  __syncthreads();
  if (!pieces.interleaved) {
    const Part part = {begin, end, 0, 0, 0, 0, 0, 0};
    return DropInPart(field, drawn, pieces, part);
  }
  const int64_t n1 = Divide(end - 1, pieces.sample_bits);
  for (int64_t n = Divide(begin, pieces.sample_bits); n <= n1; ++n) {
    const int64_t sample = n * pieces.sample_bits;
    DrawInterleaved(field, drawn, pieces, n, Most(begin, sample), Least(end, sample + pieces.sample_bits), begin, end);
  }
}

}  // namespace dropkit::cuda

#endif  // DROPKIT_SRC_CUDA_DRAW_BITS_H_

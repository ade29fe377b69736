// A range or a box of a mask's bits (pieces.h), drawn by one block into its shared memory. Nothing random depends on
// it: a tile of 512 lanes that two of them touch is drawn for both.
//
// Memory plan: the bits in shared memory, one read-modify-write there a run of dropped cells. Where channels are
// innermost, a box, or a sample's part of a range, is drawn behind those bits as a row of positions a channel, and rows
// are transposed 32 by 32 to their place.
#ifndef DROPKIT_SRC_CUDA_DRAW_BITS_H_
#define DROPKIT_SRC_CUDA_DRAW_BITS_H_

#include "bits.h"
#include "cuda/spread.h"

namespace dropkit::cuda {

// ---------------------------------------------------------------- a part

// What a part needs is drawn by a thread for a group's digits, or for a tile's overlay: calls to_group(i, tile, words)
// and to_mark(i, tile, lane in the tile) for tiles group_at(i) and tile_at(i). `after()` comes after each round, for
// the whole block.
template <class GroupAt, class TileAt, class ToGroup, class ToMark, class After>
DROPKIT_DEVICE void ForEachDrawn(const Field& field, const Drawn& drawn, int64_t groups, int64_t tiles,
                                 GroupAt group_at, TileAt tile_at, ToGroup to_group, ToMark to_mark, After after) {
  const LaneLaw& law = drawn.law();
  if (law.digits == 0) groups = 0;
  if (law.rounds == 0) tiles = 0;
  const int64_t first_tile = RoundUp(groups, 32);  // of another warp: one that draws both takes as long as two
  for (int64_t round = 0; round < first_tile + tiles; round += blockDim.x) {
    const int64_t task = round + threadIdx.x, i = task - first_tile;
    if (task < groups) {
      const Tile group = group_at(task);
      if (group.lane >= 0 && group.lane < group.end && group.lane + kGroupLanes > group.begin) {
        uint64_t bits[2];
        DrawDigitGroup(law, drawn.digits_key(), static_cast<uint32_t>(group.lane / kGroupLanes),
                       GlobalSample(field, group.n), bits);
        const uint32_t words[4] = {Low32(bits[0]), High32(bits[0]), Low32(bits[1]), High32(bits[1])};
        to_group(task, group, words);
      }
    } else if (i >= 0 && i < tiles) {
      const Tile tile = tile_at(i);
      if (tile.lane >= 0) {
        ForEachMark(law, drawn.overlay_key(), static_cast<uint32_t>(tile.lane / kTileLanes),
                    GlobalSample(field, tile.n), [&](uint32_t mark) { to_mark(i, tile, mark); });
      }
    }
    after();
  }
}

// Lanes fire that are drawn, so each is spread as it is drawn. Ready when it returns.
DROPKIT_DEVICE void SpreadDrawn(const Field& field, const Drawn& drawn, const Pieces& pieces, const Part& part,
                                const Reach& reach) {
  const bool has_blocks = field.plan.has_blocks, lanes_are_bits = LanesAreBits(field, pieces, reach);
  const Tiles groups = TilesFor<kGroupLanes>(field, part, reach), tiles = TilesFor<kTileLanes>(field, part, reach);
  ForEachDrawn(
      field, drawn, groups.count, tiles.count,
      [&](int64_t i) { return TileAt<kGroupLanes>(field, pieces, part, reach, groups, i); },
      [&](int64_t i) { return TileAt<kTileLanes>(field, pieces, part, reach, tiles, i); },
      [&](int64_t, const Tile& group, const uint32_t words[4]) {
        if (lanes_are_bits) return ClearGroup(group, words);
        SpreadGroup(field, drawn, pieces, part, group, {words[0], words[1], words[2], words[3]});
      },
      [&](int64_t, const Tile& tile, uint32_t mark) {
        const int64_t lane = tile.lane + mark;
        if (lane < tile.begin || lane >= tile.end) return;
        if (has_blocks) return AddMark(field, drawn, pieces, part, tile.n, lane);
        if (lanes_are_bits) return ClearRun(static_cast<int>(tile.base + lane), static_cast<int>(tile.base + lane + 1));
        SpreadWord(field, drawn, pieces, part, tile.n, lane, 1);
      },
      [&] {
        if (has_blocks) ClearMarks(field, drawn, pieces, part);
      });
  if (!has_blocks) __syncthreads();
}

// Lanes fire that are not drawn, so some tiles' marks are drawn as words first. Ready when it returns.
DROPKIT_DEVICE void DrawWords(const Field& field, const Drawn& drawn, const Pieces& pieces, const Part& part,
                              const Reach& reach, const Tiles& tiles, int64_t first, int count) {
  constexpr int kGroups = kTileLanes / kGroupLanes;
  FillWords(Memory().fired, count * kTileWords32, 0);
  __syncthreads();
  const auto tile_at = [&](int64_t i) { return TileAt<kTileLanes>(field, pieces, part, reach, tiles, first + i); };
  ForEachDrawn(
      field, drawn, count * kGroups, count,
      [&](int64_t i) {
        Tile group = tile_at(i / kGroups);
        if (group.lane >= 0) group.lane += i % kGroups * kGroupLanes;
        return group;
      },
      tile_at,
      [&](int64_t i, const Tile&, const uint32_t words[4]) {
        for (int k = 0; k < 4; ++k) atomicOr(Memory().fired + i * 4 + k, words[k]);
      },
      [&](int64_t i, const Tile&, uint32_t mark) {
        atomicOr(Memory().fired + i * kTileWords32 + mark / 32, 1u << mark % 32);
      },
      [] {});
  __syncthreads();
}

// 32 lanes of the caller's bytes.
DROPKIT_DEVICE uint32_t GivenWord(const Field& field, int64_t n, int64_t lane) {
  const uint8_t* bytes = field.given + n * field.plan.lanes + lane;
  const int count = static_cast<int>(Least(32, field.plan.lanes - lane));
  uint32_t fired = 0;
  for (int i = 0; i < count; ++i) fired |= static_cast<uint32_t>((bytes[i] != 0) != field.given_marks_kept) << i;
  return fired;
}

// The words of DrawWords inverted, or the caller's bytes, or all. Ready when it returns.
DROPKIT_DEVICE void SpreadWords(const Field& field, const Drawn& drawn, const Pieces& pieces, const Part& part,
                                const Reach& reach, const Tiles& tiles, int64_t first, int count) {
  const LaneLaw& law = drawn.law();
  for (int i = static_cast<int>(threadIdx.x); i < count * kTileWords32; i += static_cast<int>(blockDim.x)) {
    const Tile tile = TileAt<kTileLanes>(field, pieces, part, reach, tiles, first + i / kTileWords32);
    const int64_t lane = tile.lane + i % kTileWords32 * 32;
    if (tile.lane < 0 || lane >= tile.end || lane + 32 <= tile.begin) continue;
    uint32_t fired;
    if (field.given) {
      fired = GivenWord(field, tile.n, lane);
    } else {
      fired = law.all ? ~0u : ~Memory().fired[i];
      fired &= static_cast<uint32_t>(LowMask(Least(32, field.plan.lanes - lane)));
    }
    SpreadWord(field, drawn, pieces, part, tile.n, lane, fired);
  }
  if (field.plan.has_blocks) return ClearMarks(field, drawn, pieces, part);
  __syncthreads();
}

// The part's bits, which are all set. The whole block; ready when it returns.
DROPKIT_DEVICE_CALL void DropInPart(const Field& field, const Drawn& drawn, const Pieces& pieces, const Part& part) {
  __shared__ Reach shared;  // every thread would take as long for it as one
  const LaneLaw& law = drawn.law();
  if (!field.given && law.none) return;
  if (threadIdx.x == 0) shared = ReachOf(field, pieces, part);
  __syncthreads();
  const Reach reach = shared;
  if (!field.given && !law.all && !law.inverted) return SpreadDrawn(field, drawn, pieces, part, reach);
  const Tiles tiles = TilesFor<kTileLanes>(field, part, reach);
  for (int64_t first = 0; first < tiles.count; first += kTilesAtOnce) {
    const int count = static_cast<int>(Least(kTilesAtOnce, tiles.count - first));
    if (!field.given && !law.all) DrawWords(field, drawn, pieces, part, reach, tiles, first, count);
    SpreadWords(field, drawn, pieces, part, reach, tiles, first, count);
  }
}

// ---------------------------------------------------------------- rows to interleaved bits

// Thread `lane` of a warp has row `lane`; afterwards column `lane`.
DROPKIT_DEVICE uint32_t Transpose(uint32_t row, unsigned lane) {
  uint32_t low = 0x0000FFFFu;
  DROPKIT_UNROLL
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

// Calls to(position, channel, keeps) for each position of a part whose rows are drawn and each 32 of its channels, both
// counted from its first; `keeps` has a bit a channel, lowest first. by_groups(n) is n / the part's words of 32
// channels. The whole block.
template <class By, class To>
DROPKIT_DEVICE void ForEachColumn(const Part& part, By by_groups, To to) {
  const int channels = static_cast<int>(part.c1 - part.c0), positions = static_cast<int>(part.q1 - part.q0);
  const int groups = (channels + 31) / 32, columns = (positions + 31) / 32;
  const int lane = static_cast<int>(threadIdx.x) % 32;
  for (int square = static_cast<int>(threadIdx.x) / 32; square < groups * columns; square += blockDim.x / 32) {
    const int column = by_groups(square), channel = (square - column * groups) * 32;
    const int row = channel + lane, position = column * 32 + lane;
    uint32_t keeps = row < channels ? Memory().bits[kOutWords + row * part.row_words + column] : 0;
    keeps = Transpose(keeps, static_cast<unsigned>(lane));
    if (position < positions) to(position, channel, keeps);  // after the shuffles, which all lanes need
  }
}

// Channels [c0, c1) x positions [q0, q1) of sample n, as rows of positions. The whole block; ready when it returns.
DROPKIT_DEVICE_CALL void DrawRows(const Field& field, const Drawn& drawn, const Pieces& pieces, const Part& part) {
  FillWords(Memory().bits + kOutWords, static_cast<int>((part.c1 - part.c0) * part.row_words), ~0u);
  __syncthreads();
  DropInPart(field, drawn, pieces, part);
}

// The same, and then into the memory's first bits, which are those of the mask from `begin` to `end` and clear.
DROPKIT_DEVICE void DrawRowsOfRange(const Field& field, const Drawn& drawn, const Pieces& pieces, Part part,
                                    int64_t begin, int64_t end) {
  part.row_words = static_cast<int>(RowWords(part.q1 - part.q0));
  DrawRows(field, drawn, pieces, part);
  const int64_t first = part.n * pieces.sample_bits + part.q0 * pieces.channels + part.c0 - begin;
  const int groups = static_cast<int>(part.c1 - part.c0 + 31) / 32;
  const auto by_groups = [=](int square) { return square / groups; };
  ForEachColumn(part, by_groups, [&](int position, int channel, uint32_t keeps) {
    SetWord(Memory().bits, end - begin, first + position * pieces.channels + channel, keeps);
  });
  __syncthreads();
}

// Bits [begin, end) of sample n, which the range [from, to) of the memory holds: whole rows, or where there are more
// channels than rows, one position's channels after another's.
DROPKIT_DEVICE void DrawInterleaved(const Field& field, const Drawn& drawn, const Pieces& pieces, int64_t n,
                                    int64_t begin, int64_t end, int64_t from, int64_t to) {
  const int64_t first = begin - n * pieces.sample_bits, last = end - 1 - n * pieces.sample_bits;
  const int64_t q0 = Divide(first, pieces.channels), q1 = Divide(last, pieces.channels) + 1;
  const Part part = {0, 0, n, 0, pieces.channels, q0, q1, 0};
  if (pieces.channels <= kMostRowWords) return DrawRowsOfRange(field, drawn, pieces, part, from, to);
  for (int64_t q = q0; q < q1; ++q) {
    Part piece = part;
    piece.c0 = Most(0, first - q * pieces.channels);
    piece.c1 = Least(pieces.channels, last + 1 - q * pieces.channels);
    piece.q0 = q;
    piece.q1 = q + 1;
    DrawRowsOfRange(field, drawn, pieces, piece, from, to);
  }
}

// Bits [begin, end) of the mask, at most pieces.most_bits, into the memory's bits from the first on; bits past them in
// the last word are unspecified. The whole block; ready when it returns.
DROPKIT_DEVICE_CALL void DrawBits(const Field& field, const Drawn& drawn, const Pieces& pieces, int64_t begin,
                                  int64_t end) {
  FillWords(Memory().bits, static_cast<int>((end - begin + 31) / 32), pieces.interleaved ? 0 : ~0u);
  StartPiece();
  __syncthreads();
  if (!pieces.interleaved) {
    const Part part = {begin, end, 0, 0, 0, 0, 0, 0};
    return DropInPart(field, drawn, pieces, part);
  }
  const int64_t n1 = Divide(end - 1, pieces.by_sample);
  for (int64_t n = Divide(begin, pieces.by_sample); n <= n1; ++n) {
    const int64_t sample = n * pieces.sample_bits;
    DrawInterleaved(field, drawn, pieces, n, Most(begin, sample), Least(end, sample + pieces.sample_bits), begin, end);
  }
}

// The channels and positions of box number `piece`.
DROPKIT_DEVICE Part BoxAt(const Pieces& pieces, int64_t piece) {
  const int64_t places = Divide(piece, pieces.channel_parts), n = Divide(places, pieces.position_parts);
  Part box = {0, 0, n, 0, 0, 0, 0, 0};
  box.c0 = (piece - places * pieces.channel_parts.divisor) * pieces.box_channels;
  box.c1 = box.c0 + pieces.box_channels;
  box.q0 = (places - n * pieces.position_parts.divisor) * pieces.box_positions;
  box.q1 = Least(pieces.map_bits, box.q0 + pieces.box_positions);
  box.row_words = static_cast<int>(RowWords(box.q1 - box.q0));
  return box;
}

// A box into the memory's words: for each of its positions a bit a channel; and as rows behind them. The whole block;
// ready when it returns.
DROPKIT_DEVICE_CALL void DrawBox(const Field& field, const Drawn& drawn, const Pieces& pieces, const Part& box) {
  StartPiece();
  DrawRows(field, drawn, pieces, box);
  const int words = static_cast<int>(pieces.box_words.divisor);
  const auto by_words = [&](int square) {
    return static_cast<int>(pieces.box_words.Of(static_cast<uint32_t>(square)));
  };
  ForEachColumn(box, by_words, [&](int position, int channel, uint32_t keeps) {
    Memory().bits[position * words + channel / 32] = keeps;
  });
  __syncthreads();
}

}  // namespace dropkit::cuda

#endif  // DROPKIT_SRC_CUDA_DRAW_BITS_H_

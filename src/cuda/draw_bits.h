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
#include "cuda/spread.h"

namespace dropkit::cuda {

// ---------------------------------------------------------------- a part

// Few lanes fire, and the draw names them one by one: no lane is visited that does not fire. Ready when it returns.
DROPKIT_DEVICE void SpreadMarks(const Field& field, const Drawn& drawn, const Pieces& pieces, const Part& part,
                                const Tiles& tiles) {
  for (int64_t first = 0; first < tiles.count; first += blockDim.x) {
    const int64_t i = first + threadIdx.x;
    const Tile tile = i < tiles.count ? TileAt(field, part, tiles, i) : Tile{0, -1};
    if (tile.tile >= 0) {
      ForEachMark(drawn.law(), drawn.overlay_key(), static_cast<uint32_t>(tile.tile), GlobalSample(field, tile.n),
                  [&](uint32_t mark) {
                    const int64_t lane = tile.tile * kTileLanes + mark;
                    if (lane < field.plan.lanes) SpreadWord(field, drawn, pieces, part, tile.n, lane, 1);
                  });
    }
    if (field.plan.has_blocks) ClearMarks(field, drawn, pieces, part);
  }
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

// The words of DrawWords, or the caller's bytes. Ready when it returns.
DROPKIT_DEVICE void SpreadWords(const Field& field, const Drawn& drawn, const Pieces& pieces, const Part& part,
                                const Tiles& tiles, int64_t first, int count) {
  const uint32_t* words = Memory().fired;
  const LaneLaw& law = drawn.law();
  for (int i = threadIdx.x; i < count * kTileWords32; i += blockDim.x) {
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
    SpreadWord(field, drawn, pieces, part, tile.n, lane, fired);
  }
  if (field.plan.has_blocks) ClearMarks(field, drawn, pieces, part);
  __syncthreads();
}

// The part's bits, which are all set. The whole block; ready when it returns.
DROPKIT_DEVICE_CALL void DropInPart(const Field& field, const Drawn& drawn, const Pieces& pieces, const Part& part) {
  const LaneLaw& law = drawn.law();
  const Tiles tiles = TilesFor(field, pieces, part);
  if (!field.given && law.none) return;
  if (!field.given && !law.all && !law.inverted && law.digits == 0) {
    SpreadMarks(field, drawn, pieces, part, tiles);
    return;
  }
  const bool draws = !field.given && !law.all;
  for (int64_t first = 0; first < tiles.count; first += kTilesAtOnce) {
    const int count = static_cast<int>(Least(kTilesAtOnce, tiles.count - first));
    if (draws) DrawWords(field, drawn, part, tiles, first, count);
    SpreadWords(field, drawn, pieces, part, tiles, first, count);
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
  if (threadIdx.x == 0) Memory().marks = 0;
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

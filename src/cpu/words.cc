// Loops over the words of a mask. The plain code is the vector code: the compiler makes the vectors, for each target,
// the portable one included.
#include <algorithm>
#include <bit>

#include "cpu/kernels.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "cpu/words.cc"
#include "cpu/instruction_sets.h"
// After it: foreach_target compiles the rest once for each target.
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace dropkit::cpu::HWY_NAMESPACE {

// From the last word down, so that what is read has its old value: it lies below, or is the word itself.
void AndShifted(uint64_t* bits, int64_t words, int64_t shift) {
  const int64_t whole = shift / 64;
  const int rest = static_cast<int>(shift % 64);
  int64_t i = words;
#if HWY_TARGET != HWY_SCALAR
  namespace hn = hwy::HWY_NAMESPACE;
  const hn::ScalableTag<uint64_t> d;
  constexpr auto kLanes = static_cast<int64_t>(hn::MaxLanes(hn::ScalableTag<uint64_t>()));
  for (; i - kLanes > whole; i -= kLanes) {
    uint64_t* to = bits + i - kLanes;
    auto moved = hn::LoadU(d, to - whole);
    if (rest != 0) {
      const auto below = hn::LoadU(d, to - whole - 1);
      moved = hn::Or(hn::ShiftLeftSame(moved, rest), hn::ShiftRightSame(below, 64 - rest));
    }
    hn::StoreU(hn::And(hn::LoadU(d, to), moved), d, to);
  }
#endif
  for (--i; i >= whole; --i) {
    const uint64_t high = bits[i - whole] << rest;
    const uint64_t low = i > whole ? (bits[i - whole - 1] >> 1) >> (63 - rest) : LowMask(rest);
    bits[i] &= high | low;
  }
}

// Hacker's Delight, 7-3: exchange the off-diagonal blocks of halves, quarters, ... down to single bits.
void Transpose(uint64_t words[64]) {
  uint64_t mask = 0x00000000FFFFFFFFu;
  for (int width = 32; width != 0; width >>= 1, mask ^= mask << width) {
    for (int start = 0; start < 64; start += 2 * width) {
      uint64_t* a = words + start;
      uint64_t* b = a + width;
      for (int j = 0; j < width; ++j) {
        const uint64_t swapped = ((a[j] >> width) ^ b[j]) & mask;
        a[j] ^= swapped << width;
        b[j] ^= swapped;
      }
    }
  }
}

// Four sums: they do not wait for each other. (Vectors of AVX2 and plain AVX-512 have no count of bits; its substitute
// by tables is slower than a word's own instruction.)
int64_t PopCount(const uint64_t* words, int64_t count) {
  int64_t ones[4] = {}, i = 0;
  for (; i + 4 <= count; i += 4) {
    for (int j = 0; j < 4; ++j) ones[j] += std::popcount(words[i + j]);
  }
  for (; i < count; ++i) ones[0] += std::popcount(words[i]);
  return ones[0] + ones[1] + ones[2] + ones[3];
}

// Where the blocks of `count` lanes start, in bits from that of lane `first`; less than 2^31 away, so sums may wrap. A
// lane is below 2^13, and a quotient of whole numbers below 2^21 is that of floats: half a divisor's part away from the
// next whole number, it is exact.
void FindBits(const BlockPlaces& places, int32_t first_column, int32_t first_row, const uint32_t* lanes, int64_t count,
              int32_t* bits) {
  const float by_columns = 1.0f / static_cast<float>(places.columns), by_rows = 1.0f / static_cast<float>(places.rows);
  const auto lane_gap = static_cast<uint32_t>(places.lane_gap), row_gap = static_cast<uint32_t>(places.row_gap),
             channel_gap = static_cast<uint32_t>(places.channel_gap);
  for (int64_t i = 0; i < count; ++i) {
    const auto lane = static_cast<int32_t>(lanes[i]);
    const auto row = static_cast<int32_t>((static_cast<float>(first_column + lane) + 0.5f) * by_columns);
    const auto channel = static_cast<int32_t>((static_cast<float>(first_row + row) + 0.5f) * by_rows);
    bits[i] = static_cast<int32_t>(lanes[i] * lane_gap + static_cast<uint32_t>(row) * row_gap +
                                   static_cast<uint32_t>(channel) * channel_gap);
  }
}

// body(i, bit) for the blocks of the lanes first_lane + lanes[i].
template <typename Body>
void ForEachBlock(const BlockPlaces& places, int64_t first_lane, const uint32_t* lanes, int64_t count, Body body) {
  const int64_t first_row = first_lane / places.columns, first_channel = first_row / places.rows;
  const int64_t first_bit =
      places.base + first_lane * places.lane_gap + first_row * places.row_gap + first_channel * places.channel_gap;
  const auto column = static_cast<int32_t>(first_lane - first_row * places.columns);
  const auto row = static_cast<int32_t>(first_row - first_channel * places.rows);
  constexpr int64_t kAtOnce = 64;
  int32_t found[kAtOnce];
  for (int64_t start = 0; start < count; start += kAtOnce) {
    const int64_t some = std::min(kAtOnce, count - start);
    FindBits(places, column, row, lanes + start, some, found);
    for (int64_t i = 0; i < some; ++i) body(start + i, first_bit + found[i]);
  }
}

template <int kWords>
int64_t ClearBlocksOf(uint64_t* bits, const Pattern& pattern, const BlockPlaces& places, int64_t first_lane,
                      const uint32_t* lanes, int64_t count, uint32_t* left) {
  int64_t num_left = 0;
  ForEachBlock(places, first_lane, lanes, count, [&](int64_t i, int64_t bit) {
    if ((bit >> 6) + kWords > places.end_word) {
      left[num_left++] = lanes[i];
      return;
    }
    uint64_t* words = bits + (bit >> 6);
    const uint64_t* kept = pattern.kept + (bit & 63) * kWords;
    uint64_t block[kWords];
    for (int j = 0; j < kWords; ++j) block[j] = words[j] & kept[j];
    for (int j = 0; j < kWords; ++j) words[j] = block[j];
  });
  return num_left;
}

void ClearFirstCells(uint64_t* bits, const BlockPlaces& places, int64_t first_lane, const uint32_t* lanes,
                     int64_t count) {
  ForEachBlock(places, first_lane, lanes, count, [&](int64_t, int64_t bit) { ClearBit(bits, bit); });
}

int64_t ClearBlocks(uint64_t* bits, const Pattern& pattern, const BlockPlaces& places, int64_t first,
                    const uint32_t* lanes, int64_t count, uint32_t* left) {
  const auto clear = pattern.words == 2 ? ClearBlocksOf<2> : pattern.words == 4 ? ClearBlocksOf<4> : ClearBlocksOf<8>;
  return clear(bits, pattern, places, first, lanes, count, left);
}

void AddWords(Kernels* kernels) {
  kernels->clear_blocks = ClearBlocks;
  kernels->clear_first_cells = ClearFirstCells;
  kernels->and_shifted = AndShifted;
  kernels->transpose = Transpose;
  kernels->popcount = PopCount;
}

}  // namespace dropkit::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace dropkit::cpu {

void AddWords(Isa isa, Kernels* kernels) {
  if (isa == Isa::kPortable) {
    HWY_STATIC_DISPATCH(AddWords)(kernels);
  } else {
    DROPKIT_CALL_FOR(isa, AddWords, kernels);
  }
}
}  // namespace dropkit::cpu
#endif

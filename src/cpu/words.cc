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

// From the last word down, so that what is read has its old value: it lies below, or is the word itself. In blocks that
// are read before they are written, since a compiler cannot see that.
void AndShifted(uint64_t* bits, int64_t words, int64_t shift) {
  constexpr int64_t kBlock = 8;
  const int64_t whole = shift / 64;
  const int rest = static_cast<int>(shift % 64);
  const auto moved = [&](int64_t i) {
    const uint64_t high = bits[i - whole] << rest;
    const uint64_t low = i > whole ? (bits[i - whole - 1] >> 1) >> (63 - rest) : LowMask(rest);
    return high | low;
  };
  int64_t i = words;
  for (; i - kBlock > whole; i -= kBlock) {
    uint64_t block[kBlock];
    const uint64_t* from = bits + i - kBlock - whole;
    if (rest == 0) {
      for (int64_t j = 0; j < kBlock; ++j) block[j] = from[j];
    } else {
      for (int64_t j = 0; j < kBlock; ++j) block[j] = from[j] << rest | from[j - 1] >> (64 - rest);
    }
    for (int64_t j = 0; j < kBlock; ++j) bits[i - kBlock + j] &= block[j];
  }
  for (--i; i >= whole; --i) bits[i] &= moved(i);
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

// Where the blocks of `count` lanes start, in bits from that of lane `first`. A lane is below 2^13, and a quotient of
// whole numbers below 2^21 is that of floats: half a divisor's part away from the next whole number, it is exact.
void FindBits(const BlockPlaces& places, int32_t first_column, int32_t first_row, const uint32_t* lanes, int64_t count,
              int32_t* bits) {
  const float by_columns = 1.0f / static_cast<float>(places.columns), by_rows = 1.0f / static_cast<float>(places.rows);
  const auto row_gap = static_cast<int32_t>(places.row_gap), channel_gap = static_cast<int32_t>(places.channel_gap);
  for (int64_t i = 0; i < count; ++i) {
    const auto lane = static_cast<int32_t>(lanes[i]);
    const auto row = static_cast<int32_t>((static_cast<float>(first_column + lane) + 0.5f) * by_columns);
    const auto channel = static_cast<int32_t>((static_cast<float>(first_row + row) + 0.5f) * by_rows);
    bits[i] = lane + row * row_gap + channel * channel_gap;
  }
}

template <int kWords>
int64_t ClearBlocksOf(uint64_t* bits, const Pattern& pattern, const BlockPlaces& places, int64_t first_lane,
                      const uint32_t* lanes, int64_t count, uint32_t* left) {
  const int64_t first_row = first_lane / places.columns, first_channel = first_row / places.rows;
  const int64_t first_bit = places.base + first_lane + first_row * places.row_gap + first_channel * places.channel_gap;
  const auto column = static_cast<int32_t>(first_lane - first_row * places.columns);
  const auto row = static_cast<int32_t>(first_row - first_channel * places.rows);
  constexpr int64_t kAtOnce = 64;
  int32_t found[kAtOnce];
  int64_t num_left = 0;
  for (int64_t start = 0; start < count; start += kAtOnce) {
    const int64_t some = std::min(kAtOnce, count - start);
    FindBits(places, column, row, lanes + start, some, found);
    for (int64_t i = 0; i < some; ++i) {
      const int64_t bit = first_bit + found[i];
      if ((bit >> 6) + kWords > places.end_word) {
        left[num_left++] = lanes[start + i];
        continue;
      }
      uint64_t* words = bits + (bit >> 6);
      const uint64_t* kept = pattern.kept + (bit & 63) * kWords;
      uint64_t block[kWords];
      for (int j = 0; j < kWords; ++j) block[j] = words[j] & kept[j];
      for (int j = 0; j < kWords; ++j) words[j] = block[j];
    }
  }
  return num_left;
}

int64_t ClearBlocks(uint64_t* bits, const Pattern& pattern, const BlockPlaces& places, int64_t first,
                    const uint32_t* lanes, int64_t count, uint32_t* left) {
  const auto clear = pattern.words == 2 ? ClearBlocksOf<2> : pattern.words == 4 ? ClearBlocksOf<4> : ClearBlocksOf<8>;
  return clear(bits, pattern, places, first, lanes, count, left);
}

void AddWords(Kernels* kernels) {
  kernels->clear_blocks = ClearBlocks;
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

// Loops over the words of a mask. The plain code is the vector code: the compiler makes the vectors, for each target,
// the portable one included.
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

template <int kWords>
int64_t ClearBlocksOf(uint64_t* bits, const Pattern& pattern, const BlockPlaces& places, uint64_t first,
                      const uint32_t* lanes, int64_t count, uint32_t* left) {
  int64_t num_left = 0;
  for (int64_t i = 0; i < count; ++i) {
    const uint64_t lane = first + lanes[i];
    const uint64_t row = Quotient(lane, places.row_magic), channel = Quotient(row, places.channel_magic);
    const int64_t bit = places.base + static_cast<int64_t>(lane) + static_cast<int64_t>(row) * places.row_gap +
                        static_cast<int64_t>(channel) * places.channel_gap;
    if ((bit >> 6) + kWords > places.end_word) {
      left[num_left++] = lanes[i];
      continue;
    }
    uint64_t* words = bits + (bit >> 6);
    const uint64_t* kept = pattern.kept + (bit & 63) * kWords;
    for (int j = 0; j < kWords; ++j) words[j] &= kept[j];
  }
  return num_left;
}

int64_t ClearBlocks(uint64_t* bits, const Pattern& pattern, const BlockPlaces& places, uint64_t first,
                    const uint32_t* lanes, int64_t count, uint32_t* left) {
  return (pattern.words == 4 ? ClearBlocksOf<4> : ClearBlocksOf<8>)(bits, pattern, places, first, lanes, count, left);
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

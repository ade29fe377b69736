// Loops over the words of a mask. But for the count, the plain code is the vector code: the compiler makes the vectors,
// for each target, the portable one included.
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

int64_t PopCount(const uint64_t* words, int64_t count) {
  int64_t ones = 0, i = 0;
#if HWY_TARGET != HWY_SCALAR
  namespace hn = hwy::HWY_NAMESPACE;
  const hn::ScalableTag<uint64_t> d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  auto sums = hn::Zero(d);
  for (; i + lanes <= count; i += lanes) sums = hn::Add(sums, hn::PopulationCount(hn::LoadU(d, words + i)));
  ones = static_cast<int64_t>(hn::GetLane(hn::SumOfLanes(d, sums)));
#endif
  for (; i < count; ++i) ones += std::popcount(words[i]);
  return ones;
}

template <int kWords>
int64_t ClearBlocksOf(uint64_t* bits, const Pattern& pattern, const BlockPlaces& places, const uint64_t* lanes,
                      int64_t count, uint64_t* left) {
  int64_t num_left = 0;
  for (int64_t i = 0; i < count; ++i) {
    const uint64_t row = Quotient(lanes[i], places.row_magic), channel = Quotient(row, places.channel_magic);
    const int64_t bit = places.base + static_cast<int64_t>(lanes[i]) + static_cast<int64_t>(row) * places.row_gap +
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

int64_t ClearBlocks(uint64_t* bits, const Pattern& pattern, const BlockPlaces& places, const uint64_t* lanes,
                    int64_t count, uint64_t* left) {
  return (pattern.words == 4 ? ClearBlocksOf<4> : ClearBlocksOf<8>)(bits, pattern, places, lanes, count, left);
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

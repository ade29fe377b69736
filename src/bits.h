// Words of a bit mask and the 16-bit floating-point formats. Bit i of a mask is bit i % 64 of word i / 64; ranges are
// half-open. Host and device inline; nothing here draws.
#ifndef DROPKIT_SRC_BITS_H_
#define DROPKIT_SRC_BITS_H_

#include <bit>
#include <cstdint>

#include "draw.h"

namespace dropkit {

DROPKIT_HOST_DEVICE bool GetBit(const uint64_t* bits, int64_t index) { return (bits[index >> 6] >> (index & 63)) & 1; }
DROPKIT_HOST_DEVICE void ClearBit(uint64_t* bits, int64_t index) { bits[index >> 6] &= ~(uint64_t{1} << (index & 63)); }

// The low `count` bits set, count in [0, 64].
DROPKIT_HOST_DEVICE uint64_t LowMask(int64_t count) { return count >= 64 ? ~uint64_t{0} : (uint64_t{1} << count) - 1; }

// Up to 64 bits from `index`, in the low bits of the result. Reads the next word only when the range reaches into it.
DROPKIT_HOST_DEVICE uint64_t LoadBits(const uint64_t* bits, int64_t index, int64_t count) {
  const int shift = static_cast<int>(index & 63);
  uint64_t value = bits[index >> 6] >> shift;
  if (shift + count > 64) value |= bits[(index >> 6) + 1] << (64 - shift);
  return value & LowMask(count);
}

// Clears, from bit `index` on, those of the next 64 bits that are set in `drops`.
DROPKIT_HOST_DEVICE void ClearMarked(uint64_t* bits, int64_t index, uint64_t drops) {
  const int shift = static_cast<int>(index & 63);
  // A word without a drop is not touched: it may belong to another task.
  const uint64_t here = drops << shift;
  if (here != 0) bits[index >> 6] &= ~here;
  const uint64_t carried = shift == 0 ? 0 : drops >> (64 - shift);
  if (carried != 0) bits[(index >> 6) + 1] &= ~carried;
}

// The same for `count` words of drops that follow each other.
DROPKIT_HOST_DEVICE void ClearMarkedWords(uint64_t* bits, int64_t index, const uint64_t* drops, int64_t count) {
  const int shift = static_cast<int>(index & 63);
  uint64_t* words = bits + (index >> 6);
  uint64_t carried = 0;
  for (int64_t i = 0; i < count; ++i) {
    const uint64_t here = drops[i] << shift | carried;
    if (here != 0) words[i] &= ~here;
    carried = (drops[i] >> 1) >> (63 - shift);
  }
  if (carried != 0) words[count] &= ~carried;
}

// Calls body(word, mask) for each word that [begin, end) touches, mask being its bits inside the range.
template <typename Body>
DROPKIT_HOST_DEVICE void ForEachWord(int64_t begin, int64_t end, Body body) {
  while (begin < end) {
    const int64_t word_end = (begin | 63) + 1;
    const int64_t stop = word_end < end ? word_end : end;
    body(begin >> 6, LowMask(stop - begin) << (begin & 63));
    begin = stop;
  }
}

DROPKIT_HOST_DEVICE void ClearRange(uint64_t* bits, int64_t begin, int64_t end) {
  ForEachWord(begin, end, [bits](int64_t word, uint64_t mask) { bits[word] &= ~mask; });
}

inline int64_t CountRange(const uint64_t* bits, int64_t begin, int64_t end) {
  int64_t count = 0;
  ForEachWord(begin, end, [&](int64_t word, uint64_t mask) { count += std::popcount(bits[word] & mask); });
  return count;
}

// ---------------------------------------------------------------- f16 and bf16, round to nearest even, subnormals kept

DROPKIT_HOST_DEVICE float FloatOfBits(uint32_t bits) { return std::bit_cast<float>(bits); }
DROPKIT_HOST_DEVICE uint32_t BitsOfFloat(float value) { return std::bit_cast<uint32_t>(value); }

struct BFloat16 {
  uint16_t bits;
};
struct Float16 {
  uint16_t bits;
};

DROPKIT_HOST_DEVICE float ToFloat(BFloat16 value) { return FloatOfBits(uint32_t{value.bits} << 16); }

DROPKIT_HOST_DEVICE BFloat16 ToBFloat16(float value) {
  const uint32_t bits = BitsOfFloat(value);
  if ((bits & 0x7FFFFFFFu) > 0x7F800000u) return {static_cast<uint16_t>((bits >> 16) | 0x40)};  // a quiet NaN
  return {static_cast<uint16_t>((bits + 0x7FFFu + ((bits >> 16) & 1)) >> 16)};
}

DROPKIT_HOST_DEVICE float ToFloat(Float16 value) {
  const uint32_t sign = uint32_t{value.bits & 0x8000u} << 16;
  const uint32_t magnitude = value.bits & 0x7FFFu;
  if (magnitude >= 0x7C00u) return FloatOfBits(sign | 0x7F800000u | (magnitude & 0x3FFu) << 13);
  // Exponent moved by scaling with 2^112, which also normalises subnormals, exactly.
  return FloatOfBits(sign | BitsOfFloat(FloatOfBits(magnitude << 13) * 5.192296858534828e33f));
}

DROPKIT_HOST_DEVICE Float16 ToFloat16(float value) {
  const uint32_t bits = BitsOfFloat(value);
  const uint32_t sign = (bits >> 16) & 0x8000u;
  const uint32_t magnitude = bits & 0x7FFFFFFFu;
  if (magnitude > 0x7F800000u) return {static_cast<uint16_t>(sign | 0x7E00u)};
  if (magnitude >= 0x477FF000u) return {static_cast<uint16_t>(sign | 0x7C00u)};  // 65520 and more round to infinity
  if (magnitude < 0x38800000u) {
    // Below 2^-14: adding 2^-1 makes the f32 adder round to a multiple of 2^-24, the subnormal step of f16.
    const uint32_t rounded = BitsOfFloat(FloatOfBits(magnitude) + 0.5f);
    return {static_cast<uint16_t>(sign | (rounded - 0x3F000000u))};
  }
  const uint32_t rebiased = magnitude - 0x38000000u;  // exponent bias 127 -> 15
  return {static_cast<uint16_t>(sign | ((rebiased + 0xFFFu + ((rebiased >> 13) & 1)) >> 13))};
}

}  // namespace dropkit

#endif  // DROPKIT_SRC_BITS_H_

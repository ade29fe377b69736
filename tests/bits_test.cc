// The 16-bit formats, exhaustively, and ranges of bits around every word boundary.
#include "bits.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

namespace dropkit {
namespace {

// f16's value by its definition: sign, 5 bits of exponent, 10 of fraction.
double ValueOfFloat16(uint16_t bits) {
  const int exponent = (bits >> 10) & 31, fraction = bits & 1023;
  const double sign = bits & 0x8000 ? -1.0 : 1.0;
  if (exponent == 31) return fraction ? std::nan("") : sign * std::numeric_limits<double>::infinity();
  return sign * (exponent ? std::ldexp(1024 + fraction, exponent - 25) : std::ldexp(fraction, -24));
}

TEST(BitsTest, EveryFloat16WidensExactly) {
  for (uint32_t bits = 0; bits < 65536; ++bits) {
    const float wide = ToFloat(Float16{static_cast<uint16_t>(bits)});
    const double value = ValueOfFloat16(static_cast<uint16_t>(bits));
    if (std::isnan(value)) {
      ASSERT_TRUE(std::isnan(wide)) << bits;
      ASSERT_TRUE(std::isnan(ToFloat(ToFloat16(wide)))) << bits;
    } else {
      ASSERT_EQ(static_cast<double>(wide), value) << bits;
      ASSERT_EQ(std::signbit(wide), std::signbit(value)) << bits;
      ASSERT_EQ(ToFloat16(wide).bits, bits);
    }
  }
}

// Between neighbours: below the midpoint rounds down, the midpoint to even, above it up.
TEST(BitsTest, Float16RoundsToNearestEven) {
  for (uint32_t bits = 0; bits < 0x7C00; ++bits) {
    const double low = ValueOfFloat16(static_cast<uint16_t>(bits));
    const double high = bits == 0x7BFF ? 65536.0 : ValueOfFloat16(static_cast<uint16_t>(bits + 1));
    const float middle = static_cast<float>((low + high) / 2);  // exact: one bit more than f16 has
    ASSERT_EQ(ToFloat16(middle).bits, bits & 1 ? bits + 1 : bits) << bits;
    ASSERT_EQ(ToFloat16(std::nextafter(middle, 0.0f)).bits, bits) << bits;
    ASSERT_EQ(ToFloat16(std::nextafter(middle, 1e9f)).bits, bits + 1) << bits;
    ASSERT_EQ(ToFloat16(-std::nextafter(middle, 1e9f)).bits, (bits + 1) | 0x8000u) << bits;
  }
}

TEST(BitsTest, BFloat16RoundsToNearestEvenAndKeepsSubnormals) {
  for (uint32_t bits = 0; bits < 0x7F80; ++bits) {
    ASSERT_EQ(ToBFloat16(FloatOfBits(bits << 16)).bits, bits);
    ASSERT_EQ(ToBFloat16(FloatOfBits((bits << 16) | 0x8000)).bits, bits & 1 ? bits + 1 : bits) << bits;
    ASSERT_EQ(ToBFloat16(FloatOfBits((bits << 16) | 0x7FFF)).bits, bits);
    ASSERT_EQ(ToBFloat16(FloatOfBits((bits << 16) | 0x8001)).bits, bits + 1);
  }
  EXPECT_TRUE(std::isnan(ToFloat(ToBFloat16(FloatOfBits(0x7F800001)))));
  EXPECT_EQ(ToBFloat16(1.95f).bits, 0x3ffa);
}

TEST(BitsTest, RangesAroundWordBoundaries) {
  for (int64_t begin : {0, 1, 63, 64, 65, 127, 128}) {
    for (int64_t end : {0, 1, 63, 64, 65, 127, 128, 129, 191, 192}) {
      std::vector<uint64_t> bits(3, ~uint64_t{0});
      ClearRange(bits.data(), begin, end);
      for (int64_t i = 0; i < 192; ++i)
        ASSERT_EQ(GetBit(bits.data(), i), !(i >= begin && i < end)) << begin << " " << end;
      ASSERT_EQ(CountRange(bits.data(), 0, 192), 192 - std::max<int64_t>(0, end - begin));
    }
  }
}

TEST(BitsTest, LoadAndClearAcrossWords) {
  const std::vector<uint64_t> bits = {0x8000000000000001u, 0x123456789ABCDEF0u};
  for (int64_t index = 0; index < 128; ++index) {
    for (int64_t count : {0, 1, 7, 63, 64}) {
      if (index + count > 128 || count == 0) continue;
      const uint64_t word = LoadBits(bits.data(), index, count);
      for (int64_t i = 0; i < 64; ++i) ASSERT_EQ((word >> i) & 1, i < count && GetBit(bits.data(), index + i)) << index;
    }
    if (index + 64 > 128) continue;
    std::vector<uint64_t> all(2, ~uint64_t{0});
    ClearMarked(all.data(), index, 0x8000000000000005u);
    for (int64_t i = 0; i < 128; ++i) {
      ASSERT_EQ(GetBit(all.data(), i), !(i == index || i == index + 2 || i == index + 63)) << index;
    }
  }
}

}  // namespace
}  // namespace dropkit

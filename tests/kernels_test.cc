// Every table of kernels that this machine can run against plain code, bit for bit: sizes and offsets around every
// boundary, all values of the 16-bit types, guard elements on both sides.
#include "cpu/kernels.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <random>

namespace dropkit::cpu {
namespace {

using Random = std::mt19937_64;

const Kernels& Portable() { return RunnableKernels().back(); }

TEST(KernelsTest, ThePortableTableIsLastAndEveryTableIsWhole) {
  EXPECT_STREQ(Portable().isa, "portable");
  for (const Kernels& kernels : RunnableKernels()) {
    EXPECT_TRUE(kernels.draw_digits && kernels.draw_marks && kernels.and_shifted && kernels.transpose);
    for (const auto apply : kernels.apply) EXPECT_TRUE(apply);
  }
  EXPECT_TRUE(CheckKernels().ok());
}

std::vector<uint64_t> ProbabilitiesToTry() {
  std::vector<uint64_t> all = {1, 1000, uint64_t{1} << 20, (uint64_t{1} << 27) - 1, uint64_t{1} << 27, kOne / 2};
  for (const double p : {.001, .0026, .0194, .03, .1, .17, .25, .3, .4999}) all.push_back(Quantise(p));
  return all;
}

TEST(KernelsTest, DigitsAreThoseOfTheDraw) {
  const CallKey key = MakeCallKey(7, 8, Tag::kDigits);
  for (const uint64_t q : ProbabilitiesToTry()) {
    const LaneLaw law = MakeLaneLaw(q);
    if (law.digits == 0) continue;
    for (const int64_t count : {1, 3, 4, 7, 8, 9, 17}) {
      std::vector<uint64_t> expected(2 * count);
      for (int64_t i = 0; i < count; ++i) DrawDigitGroup(law, key, 5 + i, 1234567890123, &expected[2 * i]);
      for (const Kernels& kernels : RunnableKernels()) {
        std::vector<uint64_t> found(2 * (count + kMoreGroups));
        kernels.draw_digits(law, key, 5, count, 1234567890123, found.data());
        EXPECT_TRUE(std::equal(expected.begin(), expected.end(), found.begin())) << kernels.isa << " " << q;
      }
    }
  }
}

TEST(KernelsTest, MarksAreThoseOfTheDraw) {
  const CallKey key = MakeCallKey(9, 10, Tag::kOverlay);
  for (const uint64_t q : ProbabilitiesToTry()) {
    const LaneLaw law = MakeLaneLaw(q);
    for (int64_t count = 1; count <= kTilesAtOnce; ++count) {
      std::vector<uint32_t> expected;
      for (uint32_t i = 0; i < count; ++i) {
        ForEachMark(law, key, 1000 + i, 3, [&](uint32_t lane) { expected.push_back(512 * i + lane); });
      }
      std::sort(expected.begin(), expected.end());
      for (const Kernels& kernels : RunnableKernels()) {
        std::vector<uint32_t> found(kMarksAtOnce + 1, 77);
        const int64_t number = kernels.draw_marks(law, key, 1000, count, 3, found.data());
        EXPECT_EQ(found.back(), 77u) << kernels.isa;
        found.resize(number);
        std::sort(found.begin(), found.end());
        EXPECT_EQ(expected, found) << kernels.isa << " " << q << " " << count;
      }
    }
  }
}

size_t WidthOf(int dtype) { return SizeOf(static_cast<DType>(dtype)); }

bool IsNan(int dtype, const uint8_t* at) {
  uint64_t bits = 0;
  std::memcpy(&bits, at, WidthOf(dtype));
  const uint64_t magnitudes[] = {0x7FFFFFFFu, 0x7FFFu, 0x7FFFu, ~uint64_t{0} >> 1};
  const uint64_t infinities[] = {0x7F800000u, 0x7C00u, 0x7F80u, 0x7FF0000000000000u};
  return (bits & magnitudes[dtype]) > infinities[dtype];
}

testing::AssertionResult Same(int dtype, const std::vector<uint8_t>& a, const std::vector<uint8_t>& b) {
  for (size_t i = 0; i < a.size(); i += WidthOf(dtype)) {
    if (std::memcmp(&a[i], &b[i], WidthOf(dtype)) == 0 || (IsNan(dtype, &a[i]) && IsNan(dtype, &b[i]))) continue;
    return testing::AssertionFailure() << "element " << i / WidthOf(dtype);
  }
  return testing::AssertionSuccess();
}

// `pad` elements before the row are guards, and make it start off alignment.
std::vector<uint8_t> Applied(const Kernels& kernels, int dtype, std::vector<uint8_t> x, bool in_place, int64_t pad,
                             DenseRow row) {
  std::vector<uint8_t> y(in_place ? 0 : x.size(), 0xA5);
  std::vector<uint8_t>& target = in_place ? x : y;
  row.x = x.data() + pad * WidthOf(dtype);
  row.y = target.data() + pad * WidthOf(dtype);
  kernels.apply[dtype](row);
  return target;
}

TEST(KernelsTest, AppliesAlikeEverywhere) {
  Random random(1);
  std::vector<uint64_t> bits(64);
  for (uint64_t& word : bits) word = random();
  for (int dtype = 0; dtype < 4; ++dtype) {
    for (int64_t count = 0; count < 300; count += count < 140 ? 1 : 13) {
      const int64_t pad = static_cast<int64_t>(random() % 5);
      std::vector<uint8_t> x((count + pad + 3) * WidthOf(dtype));
      for (uint8_t& byte : x) byte = static_cast<uint8_t>(random());
      DenseRow row{nullptr, nullptr, count, bits.data(), static_cast<int64_t>(random() % 200), 1.1, 0.0, false};
      row.fill = random() % 2 ? 0.0 : -2.7;
      for (const bool in_place : {false, true}) {
        row.past_cache = !in_place && random() % 2;
        const auto expected = Applied(Portable(), dtype, x, in_place, pad, row);
        for (const Kernels& kernels : RunnableKernels()) {
          EXPECT_TRUE(Same(dtype, expected, Applied(kernels, dtype, x, in_place, pad, row)))
              << kernels.isa << " dtype " << dtype << " count " << count;
        }
      }
    }
  }
}

TEST(KernelsTest, SixteenBitTypesRoundAlikeForEveryValue) {
  const std::vector<uint64_t> bits(1025, ~uint64_t{0});
  std::vector<uint8_t> x(65536 * 2);
  for (int i = 0; i < 65536; ++i) {
    const auto value = static_cast<uint16_t>(i);
    std::memcpy(&x[2 * i], &value, 2);
  }
  for (const int dtype : {1, 2}) {
    for (const double gain : {1.0, 1.0 / 0.9, 1.00390625, 0.3, 1e-4, 6e-8, 70000.0}) {
      const DenseRow row{nullptr, nullptr, 65536, bits.data(), 0, gain, 0.0, false};
      const auto expected = Applied(Portable(), dtype, x, false, 0, row);
      for (const Kernels& kernels : RunnableKernels()) {
        EXPECT_TRUE(Same(dtype, expected, Applied(kernels, dtype, x, false, 0, row))) << kernels.isa << " " << gain;
      }
    }
  }
}

TEST(KernelsTest, AndShifted) {
  Random random(2);
  for (int trial = 0; trial < 400; ++trial) {
    const auto words = static_cast<int64_t>(1 + random() % 40);
    const auto shift = static_cast<int64_t>(1 + random() % (64 * words));
    std::vector<uint64_t> start(words);
    for (uint64_t& word : start) word = random() | random();
    std::vector<uint64_t> expected = start;
    for (int64_t i = shift; i < 64 * words; ++i) {
      if (!GetBit(start.data(), i - shift)) ClearBit(expected.data(), i);
    }
    for (const Kernels& kernels : RunnableKernels()) {
      std::vector<uint64_t> found = start;
      kernels.and_shifted(found.data(), words, shift);
      EXPECT_EQ(expected, found) << kernels.isa << " words " << words << " shift " << shift;
    }
  }
}

TEST(KernelsTest, TransposeAndCount) {
  Random random(3);
  uint64_t start[64];
  for (uint64_t& word : start) word = random();
  for (const Kernels& kernels : RunnableKernels()) {
    uint64_t found[64];
    std::copy(start, start + 64, found);
    kernels.transpose(found);
    int64_t ones = 0;
    for (int i = 0; i < 64; ++i) {
      for (int j = 0; j < 64; ++j) ASSERT_EQ(GetBit(found, 64 * i + j), GetBit(start, 64 * j + i)) << kernels.isa;
      for (int j = 0; j < 64; ++j) ones += GetBit(start, 64 * i + j);
      ASSERT_EQ(kernels.popcount(start, i + 1), ones);
    }
  }
}

}  // namespace
}  // namespace dropkit::cpu

// Every table of kernels that this machine can run against plain code, bit for bit: sizes and offsets around every
// boundary, all values of the 16-bit types, guard elements on both sides.
#include "cpu/kernels.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
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
    EXPECT_TRUE(kernels.clear_blocks && kernels.clear_first_cells && kernels.popcount && kernels.copy);
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

TEST(KernelsTest, CopyCopiesAndNothingElse) {
  Random random(4);
  for (const int64_t count : {0, 1, 63, 64, 65, 300, 1000}) {
    for (const int64_t pad : {0, 1, 8, 64}) {
      std::vector<uint8_t> x(count + 200);
      for (uint8_t& byte : x) byte = static_cast<uint8_t>(random());
      std::vector<uint8_t> expected(count + 200, 9);
      std::copy_n(x.begin() + pad, count, expected.begin() + pad);
      for (const Kernels& kernels : RunnableKernels()) {
        for (const bool past_cache : {false, true}) {
          std::vector<uint8_t> y(count + 200, 9);
          kernels.copy(x.data() + pad, y.data() + pad, count, past_cache);
          EXPECT_EQ(y, expected) << kernels.isa << " " << count << " from " << pad;
        }
      }
    }
  }
}

// Every lane of a draw_marks call, where quotients are hardest: around multiples of the divisors, the largest divisors.
TEST(KernelsTest, FirstCellsAreWhereTheLanesSay) {
  const int64_t most = BlockPlaces::kMostPositions;
  for (const auto& [columns, rows] : {std::pair<int64_t, int64_t>{1, 1},
                                      {1, 9},
                                      {22, 22},
                                      {7, 1},
                                      {510, 3},
                                      {8191, 2},
                                      {8192, 8192},
                                      {most, 1},
                                      {most - 1, most}}) {
    for (const int64_t first : {int64_t{0}, 512 * columns, 8192 * (columns * rows / 3 / 8192 + 7)}) {
      const BlockPlaces places = {64 - first, columns, rows, 1, 0, 0, 0};  // lane i of the call is bit 64 + i
      std::vector<uint32_t> lanes(512 * kTilesAtOnce);
      for (size_t i = 0; i < lanes.size(); ++i) lanes[i] = static_cast<uint32_t>(i);
      BlockPlaces by_row = places, by_channel = places;
      by_row.lane_gap = by_channel.lane_gap = 0;
      by_row.row_gap = by_channel.channel_gap = 1;
      by_row.base = 64 - first / columns;
      by_channel.base = 64 - first / columns / rows;
      for (const Kernels& kernels : RunnableKernels()) {
        for (uint32_t lane : lanes) {
          const int64_t row = (first + lane) / columns;
          const std::pair<BlockPlaces, int64_t> wanted[] = {
              {places, lane}, {by_row, row - first / columns}, {by_channel, row / rows - first / columns / rows}};
          for (const auto& [where, bit] : wanted) {
            uint64_t words[130];
            std::fill_n(words, 130, ~uint64_t{0});
            kernels.clear_first_cells(words, where, first, &lane, 1);
            ASSERT_FALSE(GetBit(words, 64 + bit))
                << kernels.isa << " lane " << first << " + " << lane << " columns " << columns << " rows " << rows;
          }
        }
      }
    }
  }
}

// Words from end_word on are another task's: zeros there show what touches them, and a write of the same bytes is made
// visible by what lies there.
TEST(KernelsTest, BlocksAreClearedAndThoseAtTheEndLeft) {
  Random random(5);
  int64_t all_left = 0;
  for (const auto& [rows, columns, height, width] : {std::array<int64_t, 4>{7, 7, 28, 28},
                                                     {7, 7, 56, 56},
                                                     {7, 7, 7, 7},
                                                     {3, 3, 9, 14},
                                                     {1, 31, 1, 77},
                                                     {2, 2, 3, 200}}) {
    const int words = Pattern::WordsFor(rows, columns, width);
    ASSERT_NE(words, 0);
    Pattern pattern;
    pattern.words = words;
    for (int shift = 0; shift < 64; ++shift) {
      uint64_t* kept = pattern.kept + shift * words;
      std::fill_n(kept, words, ~uint64_t{0});
      for (int64_t i = 0; i < rows; ++i) ClearRange(kept, shift + i * width, shift + i * width + columns);
    }
    const int64_t down = height - rows + 1, across = width - columns + 1, channels = 5;
    const int64_t bits = channels * height * width, end_word = (bits + 63) / 64;
    const BlockPlaces places = {0, across, down, 1, width - across, height * width - down * width, end_word};
    std::vector<uint32_t> lanes;
    for (int64_t lane = 0; lane < channels * down * across; ++lane) {
      if (random() % 3 == 0 || lane + 2 > channels * down * across) lanes.push_back(static_cast<uint32_t>(lane));
    }
    const auto first_bit = [&](int64_t lane) {
      const int64_t row = lane / across, channel = row / down;
      return channel * height * width + (row - channel * down) * width + lane - row * across;
    };
    for (const Kernels& kernels : RunnableKernels()) {
      std::vector<uint64_t> found(end_word + 16, ~uint64_t{0}), wanted = found;
      std::fill(found.begin() + end_word, found.end(), 0x5555555555555555u);
      std::fill(wanted.begin() + end_word, wanted.end(), 0x5555555555555555u);
      std::vector<uint32_t> left = lanes;  // which may be the lanes themselves
      const int64_t number = kernels.clear_blocks(found.data(), pattern, places, 0, left.data(),
                                                  static_cast<int64_t>(lanes.size()), left.data());
      left.resize(number);
      for (const uint32_t lane : lanes) {
        const bool too_near = (first_bit(lane) >> 6) + words > end_word;
        EXPECT_EQ(std::count(left.begin(), left.end(), lane), too_near) << kernels.isa << " lane " << lane;
        for (int64_t i = 0; i < rows && !too_near; ++i) {
          const int64_t bit = first_bit(lane) + i * width;
          ClearRange(wanted.data(), bit, bit + columns);
        }
      }
      all_left += number;
      EXPECT_EQ(found, wanted) << kernels.isa << " block " << rows << " x " << columns;
    }
  }
  EXPECT_GT(all_left, 0);
}

// No alignment is asked of y, not even to elements, whatever way it is stored.
TEST(KernelsTest, AppliesToAnyAddress) {
  Random random(6);
  const std::vector<uint64_t> bits = {random(), random(), random(), random(), random()};
  for (int dtype = 0; dtype < 4; ++dtype) {
    std::vector<uint8_t> x(256 * WidthOf(dtype));
    for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<uint8_t>(i % 60);
    for (const int64_t offset : {1, 3, 64}) {
      const auto apply = [&](const Kernels& kernels, bool past_cache) {
        std::vector<uint8_t> y(x.size() + 64 + offset, 0);
        kernels.apply[dtype]({x.data(), y.data() + offset, 256, bits.data(), 7, 1.1, 0.0, past_cache});
        return std::vector<uint8_t>(y.begin() + offset, y.end());
      };
      const auto expected = apply(RunnableKernels().front(), false);
      for (const Kernels& kernels : RunnableKernels()) {
        if (&kernels == &Portable()) continue;  // its elements are aligned, as the language asks
        auto found = apply(kernels, true);
        EXPECT_EQ(expected, found) << kernels.isa << " dtype " << dtype << " offset " << offset;
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

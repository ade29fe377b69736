// Memory order, in numbers written out here: strides of dense views in both layouts, and the order of a mask's bits,
// which is x's. Other tests make both sides of a comparison with DenseView, and would not see it give one layout for
// the other.
#include <gtest/gtest.h>

#include "dropkit/dropkit.h"

namespace dropkit {
namespace {

using Strides = std::vector<int64_t>;

Strides StridesOf(const View& x) { return {x.sample_stride, x.channel_stride, x.stride[0], x.stride[1], x.stride[2]}; }
Strides StridesOf(const Mask& mask) {
  return {mask.sample_stride, mask.channel_stride, mask.stride[0], mask.stride[1], mask.stride[2]};
}

View Dense(const std::vector<int64_t>& map, Layout layout) {
  return DenseView(nullptr, DType::kF32, 2, 3, map, layout);
}

TEST(LayoutTest, StridesOfDenseViews) {
  EXPECT_EQ(StridesOf(Dense({4, 5}, Layout::kChannelsFirst)), (Strides{60, 20, 5, 1, 1}));
  EXPECT_EQ(StridesOf(Dense({4, 5}, Layout::kChannelsLast)), (Strides{60, 1, 15, 3, 3}));
  EXPECT_EQ(StridesOf(Dense({7, 4, 5}, Layout::kChannelsFirst)), (Strides{420, 140, 20, 5, 1}));
  EXPECT_EQ(StridesOf(Dense({7, 4, 5}, Layout::kChannelsLast)), (Strides{420, 1, 60, 15, 3}));
  EXPECT_EQ(StridesOf(Dense({5}, Layout::kChannelsLast)), (Strides{15, 1, 3, 3, 3}));
}

TEST(LayoutTest, BitsOfAMaskAreInTheOrderOfX) {
  Spec spec;
  ASSERT_TRUE(ParseSpec("dropblock:block=3", &spec).ok());
  View last = Dense({4, 5}, Layout::kChannelsFirst);
  last.channel_stride = 1;  // by hand: rows, columns, channels
  last.stride[0] = 15;
  last.stride[1] = last.stride[2] = 3;
  Mask mask;
  ASSERT_TRUE(Describe(spec, last, &mask).ok());
  EXPECT_EQ(StridesOf(mask), (Strides{60, 1, 15, 3, 3}));
  ASSERT_TRUE(Describe(spec, Dense({4, 5}, Layout::kChannelsFirst), &mask).ok());
  EXPECT_EQ(StridesOf(mask), (Strides{60, 20, 5, 1, 1}));
}

// x holds its own row-major number in [n][c][h][w], stored channels last by hand; what Apply keeps and drops of it is
// told by Unpack, which knows no memory order but its own.
TEST(LayoutTest, AnElementMeetsItsOwnBit) {
  constexpr int64_t kSamples = 2, kChannels = 3, kRows = 4, kColumns = 5;
  Spec spec;
  ASSERT_TRUE(ParseSpec("dropblock:block=2,normalize=none", &spec).ok());
  std::vector<float> x(120), y(120);
  const auto place = [](int64_t n, int64_t c, int64_t i, int64_t j) {
    return ((n * kRows + i) * kColumns + j) * kChannels + c;
  };
  std::vector<int64_t> place_of;
  for (int64_t n = 0; n < kSamples; ++n) {
    for (int64_t c = 0; c < kChannels; ++c) {
      for (int64_t i = 0; i < kRows; ++i) {
        for (int64_t j = 0; j < kColumns; ++j) place_of.push_back(place(n, c, i, j));
      }
    }
  }
  for (size_t number = 0; number < x.size(); ++number) x[place_of[number]] = static_cast<float>(number + 1);
  const View first = Dense({kRows, kColumns}, Layout::kChannelsFirst);
  View in = Dense({kRows, kColumns}, Layout::kChannelsLast), out = in;
  in.data = x.data();
  out.data = y.data();
  const uint64_t key[2] = {3, 1};
  std::vector<uint8_t> keep(120), keep_first(120);
  MaskStorage last_storage, first_storage;
  ASSERT_TRUE(first_storage.Reserve(spec, first).ok() && last_storage.Reserve(spec, in).ok());
  ASSERT_TRUE(Sample(spec, 0.3f, key, first, Exec(), &first_storage.mask).ok());
  ASSERT_TRUE(Drop(spec, 0.3f, key, Pass::kForward, in, out, Exec(), &last_storage.mask).ok());
  ASSERT_TRUE(Unpack(first_storage.mask, keep_first.data()).ok() && Unpack(last_storage.mask, keep.data()).ok());
  EXPECT_EQ(keep, keep_first);
  for (size_t number = 0; number < x.size(); ++number) {
    EXPECT_EQ(y[place_of[number]], keep_first[number] ? static_cast<float>(number + 1) : 0.0f) << number;
  }
}

}  // namespace
}  // namespace dropkit

// Sizes and places past 2^31 and 2^32: an f16 tensor of 2^31 + 4099 elements, dropped in place, forward and backward;
// masks of more than 2^32 bits; strides of more than 2^32 elements. Ends are compared with small calls and with the
// draw itself. Needs 6 GB of memory; with less than 12 GB free, a test says so and is skipped. Slow under sanitizers,
// so only the plain build has it.
#include <gtest/gtest.h>
#include <sys/mman.h>

#include <cstring>
#include <functional>
#include <memory>

#include "bits.h"
#include "cli/memory.h"
#include "dropkit/dropkit.h"

namespace dropkit {
namespace {

constexpr uint64_t kKey[2] = {20181030, 7};
constexpr uint64_t kNeeded = uint64_t{12} << 30;
constexpr int64_t kElements = (int64_t{1} << 31) + 4099;

#define SKIP_WITHOUT_MEMORY()                        \
  if (cli::FreeMemory().value_or(kNeeded) < kNeeded) \
  GTEST_SKIP() << "needs 12 GB of free memory; " << *cli::FreeMemory() << " bytes are free"

void Require(const Status& status) { ASSERT_TRUE(status.ok()) << status.message(); }

Spec Parsed(const char* line) {
  Spec spec;
  Require(ParseSpec(line, &spec));
  return spec;
}

// Zero pages that appear when they are touched, without a promise of memory for the whole.
class Pages {
 public:
  explicit Pages(int64_t bytes)
      : bytes_(bytes),
        data_(mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)) {}
  Pages(const Pages&) = delete;
  ~Pages() {
    if (ok()) munmap(data_, bytes_);
  }
  bool ok() const { return data_ != MAP_FAILED; }
  uint16_t* f16() const { return static_cast<uint16_t*>(data_); }

 private:
  const int64_t bytes_;
  void* const data_;
};

// An f16 from 1 to under 2 that differs between neighbours and between multiples of any power of two.
uint16_t InputAt(int64_t i) {
  return static_cast<uint16_t>(0x3C00 | ((static_cast<uint64_t>(i) * 0x9E3779B97F4A7C15u) >> 54));
}

void Fill(uint16_t* x, int64_t count) {
  for (int64_t i = 0; i < count; ++i) x[i] = InputAt(i);
}

uint16_t Scaled(uint16_t value, double gain) {
  return ToFloat16(ToFloat(Float16{value}) * static_cast<float>(gain)).bits;
}

// Forward and then backward in place over `x`: kept elements are scaled twice, dropped ones are 0. Checked for the last
// `count` of the elements that `mask` has from element `first` on.
void ExpectScaledTwice(const uint16_t* x, int64_t first, int64_t count, const Mask& mask, double gain) {
  int64_t wrong = 0;
  for (int64_t i = mask.num_bits - count; i < mask.num_bits; ++i) {
    const uint16_t once = Scaled(InputAt(first + i), gain);
    const uint16_t expected = GetBit(mask.bits, i) ? Scaled(once, gain) : 0;
    wrong += x[first + i] != expected;
  }
  EXPECT_EQ(wrong, 0) << "of the last " << count << " elements";
}

void DropThereAndBack(const Spec& spec, const View& x, MaskStorage* storage) {
  Require(storage->Reserve(spec, x));
  Require(Drop(spec, 0.1f, kKey, Pass::kForward, x, x, Exec(), &storage->mask));
  Require(Apply(storage->mask, Pass::kBackward, x, x, Exec()));
}

// 2^31 + 4099 = 3 x 715829249: three samples of one row each, which Apply takes as one row of them all.
TEST(LargeTest, ThreeSamplesOfExactlyThatSizeInPlace) {
  SKIP_WITHOUT_MEMORY();
  const int64_t row = kElements / 3;
  ASSERT_EQ(3 * row, kElements);
  const Pages memory(2 * kElements);
  ASSERT_TRUE(memory.ok());
  Fill(memory.f16(), kElements);
  const Spec spec = Parsed("dropblock:block=7");
  MaskStorage whole, last;
  DropThereAndBack(spec, DenseView(memory.f16(), DType::kF16, 3, 1, {row}), &whole);
  const View alone = DenseView(nullptr, DType::kF16, 1, 1, {row}, Layout::kChannelsFirst, 2);
  Require(last.Reserve(spec, alone));
  Require(Sample(spec, 0.1f, kKey, alone, Exec(), &last.mask));
  EXPECT_EQ(whole.mask.kept[2], last.mask.kept[0]);
  Gain gain;
  Require(GainOf(whole.mask, Pass::kForward, 0, 0, DType::kF16, &gain));
  EXPECT_GT(gain.a, 1.0);
  ExpectScaledTwice(memory.f16(), 2 * row, int64_t{1} << 26, last.mask, gain.a);
}

// The same memory as maps of 64 x 64, all but its last three elements: those must stay, and the last planes equal a
// small call.
TEST(LargeTest, LastPlanesEqualASmallCall) {
  SKIP_WITHOUT_MEMORY();
  const int64_t cells = 64 * 64, planes = kElements / cells, tail = 3;
  ASSERT_EQ(planes * cells + 3, kElements);
  const Pages memory(2 * kElements);
  ASSERT_TRUE(memory.ok());
  Fill(memory.f16(), kElements);
  const Spec spec = Parsed("dropblock:block=7,over=sample");
  MaskStorage storage, small_storage;
  DropThereAndBack(spec, DenseView(memory.f16(), DType::kF16, planes, 1, {64, 64}), &storage);
  std::vector<uint16_t> small(tail * cells);
  for (int64_t i = 0; i < tail * cells; ++i) small[i] = InputAt((planes - tail) * cells + i);
  const View x = DenseView(small.data(), DType::kF16, tail, 1, {64, 64}, Layout::kChannelsFirst, planes - tail);
  DropThereAndBack(spec, x, &small_storage);
  EXPECT_EQ(std::memcmp(small.data(), memory.f16() + (planes - tail) * cells, 2 * small.size()), 0);
  EXPECT_NE(std::count(small.begin(), small.end(), 0), 0);
  for (int64_t i = kElements - 3; i < kElements; ++i) EXPECT_EQ(memory.f16()[i], InputAt(i)) << i;
}

// Lanes past 2^32 in one sample: the last tiles of the mask are the draw's, tile numbers and all.
TEST(LargeTest, LanesPast32BitsAreTheDraws) {
  SKIP_WITHOUT_MEMORY();
  const int64_t lanes = (int64_t{1} << 32) + 4099;
  const Spec spec = Parsed("dropout");
  const View x = DenseView(nullptr, DType::kF16, 1, 1, {lanes}, Layout::kChannelsFirst, 5);
  MaskStorage storage;
  Require(storage.Reserve(spec, x));
  Require(Sample(spec, 0.1f, kKey, x, Exec(), &storage.mask));
  const LaneLaw law = MakeLaneLaw(ThresholdOf(0.1f));
  const CallKey digits = MakeCallKey(kKey[0], kKey[1], Tag::kDigits),
                overlay = MakeCallKey(kKey[0], kKey[1], Tag::kOverlay);
  for (int64_t tile = lanes / kTileLanes - 7; tile * kTileLanes < lanes; ++tile) {
    const int64_t first = tile * kTileLanes, count = std::min<int64_t>(kTileLanes, lanes - first);
    uint64_t fired[kTileWords];
    DrawTile(law, digits, overlay, static_cast<uint32_t>(tile), 5, static_cast<int>(count), fired);
    for (int64_t i = 0; i < count; ++i) {
      ASSERT_NE(GetBit(storage.mask.bits, first + i), GetBit(fired, i)) << "lane " << first + i;
    }
  }
  EXPECT_NEAR(static_cast<double>(storage.mask.kept[0]) / static_cast<double>(lanes), 0.9, 1e-4);
}

// Strides of 2^33 elements on two axes: the few elements that exist are those of the dense call.
TEST(LargeTest, StridesPast32Bits) {
  constexpr int64_t kFar = (int64_t{1} << 33) + 3;
  const Pages memory(2 * 8 * kFar);  // 128 GiB of addresses, some pages of memory
  if (!memory.ok()) GTEST_SKIP() << "the system does not grant 128 GiB of addresses";
  const Spec spec = Parsed("dropblock:block=3");
  std::vector<uint16_t> dense(2 * 4 * 6 * 5);
  const View y = DenseView(dense.data(), DType::kF16, 2, 4, {6, 5});
  View x = y;
  x.data = memory.f16();
  x.channel_stride = 2 * kFar;
  x.sample_stride = kFar;
  for (int64_t i = 0; i < static_cast<int64_t>(dense.size()); ++i) {
    dense[i] = InputAt(i);
    memory.f16()[i / 120 * x.sample_stride + i / 30 % 4 * x.channel_stride + i % 30] = InputAt(i);
  }
  MaskStorage far, near;
  DropThereAndBack(spec, x, &far);
  DropThereAndBack(spec, y, &near);
  for (int64_t i = 0; i < static_cast<int64_t>(dense.size()); ++i) {
    ASSERT_EQ(memory.f16()[i / 120 * x.sample_stride + i / 30 % 4 * x.channel_stride + i % 30], dense[i]) << i;
  }
  EXPECT_NE(std::count(dense.begin(), dense.end(), 0), 0);
}

}  // namespace
}  // namespace dropkit

// A mask's one count: with over=tensor its caller may ask for the sum over samples alone, of every verb, on both
// backends, whatever units are shared and however the tensor lies. Counts a sample, which the golden files hold, are
// the measure.
#include <gtest/gtest.h>

#include <numeric>
#include <string>
#include <vector>

#include "dropkit/dropkit.h"

namespace dropkit {
namespace {

constexpr uint64_t kKey[2] = {7, 8};
constexpr int64_t kUntouched = -77;

Spec Parsed(const std::string& line) {
  Spec spec;
  const Status status = ParseSpec(line, &spec);
  EXPECT_TRUE(status.ok()) << status.message();
  return spec;
}

Exec On(const char* backend) {
  Exec exec;
  exec.backend = backend;
  return exec;
}

void Reserve(const Spec& spec, const View& x, bool one_count, MaskStorage* storage) {
  storage->mask.one_count = one_count;
  const Status status = storage->Reserve(spec, x);
  ASSERT_TRUE(status.ok()) << status.message();
  std::fill_n(storage->mask.kept, storage->mask.num_kept, kUntouched);
}

int64_t SumOf(const Mask& mask) { return std::accumulate(mask.kept, mask.kept + mask.num_kept, int64_t{0}); }

// Both masks by the same verb, and y by both.
class Counts : public testing::TestWithParam<const char*> {
 protected:
  template <typename Write>
  void Compare(const Spec& spec, const View& x, Write write) {
    MaskStorage each, one;
    Reserve(spec, x, false, &each);
    Reserve(spec, x, true, &one);
    ASSERT_TRUE(write(&each.mask).ok());
    ASSERT_TRUE(write(&one.mask).ok());
    ASSERT_TRUE(one.mask.one_count);
    ASSERT_EQ(one.mask.num_kept, 1);
    EXPECT_EQ(*one.mask.kept, SumOf(each.mask));
    EXPECT_TRUE(std::equal(each.mask.bits, each.mask.bits + each.mask.num_words(), one.mask.bits));
    const size_t elements = static_cast<size_t>(x.samples * x.channels * x.size[0] * x.size[1] * x.size[2]);
    std::vector<float> in(elements, 1.5f), y(elements), from_one(elements);
    for (auto [mask, out] : {std::pair(&each.mask, &y), std::pair(&one.mask, &from_one)}) {
      View from = x, to = x;
      from.data = in.data();
      to.data = out->data();
      ASSERT_TRUE(Apply(*mask, Pass::kForward, from, to, exec_).ok());
    }
    EXPECT_EQ(y, from_one);
  }

  void CompareSample(const std::string& line, const View& x) {
    SCOPED_TRACE(line + " on " + std::to_string(x.samples) + " x " + std::to_string(x.channels));
    const Spec spec = Parsed(line);
    Compare(spec, x, [&](Mask* mask) { return Sample(spec, 0.3f, kKey, x, exec_, mask); });
  }

  Exec exec_ = On(GetParam());
};
INSTANTIATE_TEST_SUITE_P(Backends, Counts, testing::Values("cpu", "reference"));

// Some have a task each for several samples, some several a sample; 70 channels of 5 x 5 end within a word.
std::vector<View> Shapes() {
  std::vector<View> shapes;
  for (const Layout layout : {Layout::kChannelsFirst, Layout::kChannelsLast}) {
    shapes.push_back(DenseView(nullptr, DType::kF32, 5, 3, {5, 7}, layout));
    shapes.push_back(DenseView(nullptr, DType::kF32, 40, 70, {5, 5}, layout, 3));
    shapes.push_back(DenseView(nullptr, DType::kF32, 1, 2, {9, 200}, layout));
    shapes.push_back(DenseView(nullptr, DType::kF32, 3000, 9, {}, layout));
  }
  return shapes;
}

TEST_P(Counts, AreSummedForEveryMethodAndShare) {
  for (const View& x : Shapes()) {
    for (const std::string share : {"none", "batch", "channels", "all"}) {
      for (const std::string method :
           {"dropout:", "spatial_dropout:", "drop_path:", "dropblock:block=3,", "cutout:size=2,"}) {
        const bool of_channels = share == "channels" || share == "all";
        if (of_channels && (method == "spatial_dropout:" || method == "drop_path:")) continue;
        CompareSample(method + "normalize=kept,share=" + share, x);
      }
    }
  }
}

TEST_P(Counts, AreSummedOfGivenUnitsAndElements) {
  const View x = DenseView(nullptr, DType::kF32, 6, 3, {4, 11});
  std::vector<uint8_t> bytes(6 * 3 * 4 * 11);
  for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = i * i % 7 < 2;
  const Spec dropout = Parsed("dropout:normalize=kept"), channels = Parsed("spatial_dropout:normalize=kept");
  Compare(dropout, x, [&](Mask* mask) { return Pack(dropout, 0.5f, bytes.data(), x, exec_, mask); });
  Compare(channels, x, [&](Mask* mask) { return Spread(channels, 0.5f, bytes.data(), x, exec_, mask); });
}

TEST_P(Counts, OfDropIsThatOfSample) {
  const Spec spec = Parsed("dropblock:block=3");
  std::vector<float> in(4 * 3 * 8 * 8, 1.0f), out(in.size());
  const View x = DenseView(in.data(), DType::kF32, 4, 3, {8, 8});
  View y = x;
  y.data = out.data();
  Compare(spec, x, [&](Mask* mask) { return Drop(spec, 0.3f, kKey, Pass::kForward, x, y, exec_, mask); });
}

TEST_P(Counts, OfAnEmptyTensorIsZero) {
  for (const auto& [samples, channels, side] : {std::tuple(0, 3, 5), std::tuple(4, 0, 5), std::tuple(4, 3, 0)}) {
    const View x = DenseView(nullptr, DType::kF32, samples, channels, {side, side});
    const Spec spec = Parsed("dropout");
    MaskStorage storage;
    Reserve(spec, x, true, &storage);
    ASSERT_TRUE(Sample(spec, 0.3f, kKey, x, exec_, &storage.mask).ok());
    ASSERT_EQ(storage.mask.num_kept, 1);
    EXPECT_EQ(*storage.mask.kept, 0);
  }
}

TEST_P(Counts, OfSamplesAndPlanesStay) {
  const View x = DenseView(nullptr, DType::kF32, 4, 3, {8, 8});
  for (const std::string over : {"sample", "plane"}) {
    const Spec spec = Parsed("dropout:normalize=kept,over=" + over);
    MaskStorage storage;
    Reserve(spec, x, true, &storage);
    EXPECT_EQ(storage.mask.num_kept, over == "plane" ? 12 : 4);
    ASSERT_TRUE(Sample(spec, 0.3f, kKey, x, exec_, &storage.mask).ok());
    EXPECT_EQ(std::count(storage.mask.kept, storage.mask.kept + storage.mask.num_kept, kUntouched), 0);
  }
}

TEST_P(Counts, OneIsAllThatSuchAMaskHas) {
  std::vector<float> in(4 * 3 * 8 * 8, 1.0f);
  const View x = DenseView(in.data(), DType::kF32, 4, 3, {8, 8});
  const Spec spec = Parsed("dropout:normalize=kept");
  MaskStorage storage;
  Reserve(spec, x, true, &storage);
  ASSERT_TRUE(Sample(spec, 0.3f, kKey, x, exec_, &storage.mask).ok());
  storage.mask.num_kept = 4;
  const Status status = Apply(storage.mask, Pass::kForward, x, x, exec_);
  EXPECT_EQ(status.message(), "mask.num_kept = 4; allowed: 1 for over=tensor with one_count");
}

}  // namespace
}  // namespace dropkit

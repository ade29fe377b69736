// Apply on the fast backends against the reference, bit for bit: random shapes, strides, dtypes, values (NaN,
// infinities, subnormals), passes, gains and fills. Pinned seed; a failure prints the case.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <random>

#include "bits.h"
#include "dropkit/dropkit.h"

namespace dropkit {
namespace {

using Random = std::mt19937_64;

int64_t Pick(Random& random, int64_t low, int64_t high) {
  return std::uniform_int_distribution<int64_t>(low, high)(random);
}

// Sizes with 1s and word boundaries among them.
View RandomView(Random& random, DType dtype) {
  static constexpr int64_t kSizes[] = {1, 2, 3, 5, 7, 8, 13, 16, 31, 64, 65};
  View view;
  view.dtype = dtype;
  view.spatial_dims = static_cast<int>(Pick(random, 0, 3));
  view.samples = Pick(random, 1, 4);
  view.channels = kSizes[Pick(random, 0, view.spatial_dims < 3 ? 10 : 5)];
  for (int i = 0; i < view.spatial_dims; ++i) view.size[i] = kSizes[Pick(random, 0, view.spatial_dims < 3 ? 8 : 4)];
  view.first_sample = Pick(random, 0, 5);
  return view;
}

// Random order of axes and gaps between them; returns the number of elements that the memory needs.
int64_t RandomStrides(Random& random, View* view, bool dense) {
  int64_t* strides[5] = {&view->sample_stride, &view->channel_stride, &view->stride[0], &view->stride[1],
                         &view->stride[2]};
  const int64_t sizes[5] = {view->samples, view->channels, view->size[0], view->size[1], view->size[2]};
  int order[5] = {0, 1, 2, 3, 4};
  if (Pick(random, 0, 1)) {
    const int channels_last[5] = {0, 2, 3, 4, 1};
    std::copy(channels_last, channels_last + 5, order);
  }
  if (!dense) std::shuffle(order, order + 5, random);
  int64_t step = dense ? 1 : Pick(random, 1, 3);
  for (int i = 4; i >= 0; --i) {
    *strides[order[i]] = step;
    step *= sizes[order[i]];
    if (!dense) step += Pick(random, 0, 2);
  }
  return step + 8;
}

void FillRandom(Random& random, DType dtype, std::vector<uint8_t>* memory) {
  for (uint8_t& byte : *memory)
    byte = static_cast<uint8_t>(random());  // any bits: NaNs, infinities and subnormals among them
  const size_t width = SizeOf(dtype);
  for (size_t i = 0; i + width <= memory->size(); i += width) {
    if (random() % 4) continue;
    const double ordinary = static_cast<double>(static_cast<int64_t>(random() % 2001) - 1000) / 64.0;
    const float single = static_cast<float>(ordinary);
    const Float16 half = ToFloat16(single);
    const BFloat16 brain = ToBFloat16(single);
    const void* source = dtype == DType::kF64   ? static_cast<const void*>(&ordinary)
                         : dtype == DType::kF32 ? static_cast<const void*>(&single)
                         : dtype == DType::kF16 ? static_cast<const void*>(&half)
                                                : static_cast<const void*>(&brain);
    std::memcpy(memory->data() + i, source, width);
  }
}

bool IsNan(DType dtype, const uint8_t* at) {
  uint64_t bits = 0;
  std::memcpy(&bits, at, SizeOf(dtype));
  switch (dtype) {
    case DType::kF64:
      return (bits & ~(uint64_t{1} << 63)) > 0x7FF0000000000000u;
    case DType::kF32:
      return (bits & 0x7FFFFFFFu) > 0x7F800000u;
    case DType::kF16:
      return (bits & 0x7FFFu) > 0x7C00u;
    case DType::kBF16:
      return (bits & 0x7FFFu) > 0x7F80u;
  }
  return false;
}

// Equal bits but for a NaN's payload.
testing::AssertionResult SameMemory(DType dtype, const std::vector<uint8_t>& a, const std::vector<uint8_t>& b) {
  const size_t width = SizeOf(dtype);
  for (size_t i = 0; i + width <= a.size(); i += width) {
    if (std::memcmp(&a[i], &b[i], width) == 0 || (IsNan(dtype, &a[i]) && IsNan(dtype, &b[i]))) continue;
    return testing::AssertionFailure() << "element " << i / width << " differs";
  }
  return testing::AssertionSuccess();
}

std::string RandomCase(Random& random, int spatial_dims) {
  static const char* kBases[] = {"dropout",
                                 "spatial_dropout",
                                 "drop_path",
                                 "dropblock:block=3",
                                 "dropblock:block=2,region=whole",
                                 "cutout:size=3,holes=2",
                                 "drop_connect",
                                 "dropblock:block=4,rate=calibrated,region=whole,anchor=after"};
  static const char* kShares[] = {"none", "batch", "channels", "all"};
  static const char* kNormalizes[] = {"kept", "expected", "asked", "none"};
  static const char* kOvers[] = {"tensor", "sample", "plane"};
  static const char* kFills[] = {"0", "1.7", "-1e-40", "noise"};
  const int base = static_cast<int>(Pick(random, 0, 7));
  const bool channel_shares = base == 0 || base == 3 || base == 4 || base == 5 || base == 7;
  std::string line = kBases[base];
  (void)spatial_dims;
  line += (line.find(':') == std::string::npos ? ":" : ",");
  line += std::string("share=") + kShares[Pick(random, 0, channel_shares ? 3 : 1)];
  line += std::string(",normalize=") + kNormalizes[Pick(random, 0, 3)] + ",over=" + kOvers[Pick(random, 0, 2)];
  line += std::string(",fill=") + kFills[Pick(random, 0, 3)];
  static const char* kPs[] = {"@0.001", "@0.1", "@0.3", "@0.5", "@0.9", "@1", "@0"};
  return line + kPs[Pick(random, 0, 6)];
}

TEST(ApplyTest, AgreesWithTheReference) {
  Random random(20181030);
  for (int i = 0; i < 3000; ++i) {
    const DType dtype = static_cast<DType>(Pick(random, 0, 3));
    View x = RandomView(random, dtype);
    const std::string line = RandomCase(random, x.spatial_dims);
    SCOPED_TRACE("case " + std::to_string(i) + ": " + line + " shape " + std::to_string(x.samples) + "," +
                 std::to_string(x.channels) + "," + std::to_string(x.size[0]) + "," + std::to_string(x.size[1]) + "," +
                 std::to_string(x.size[2]) + " " + Name(dtype));
    View y = x;
    const bool dense = Pick(random, 0, 2) > 0;
    std::vector<uint8_t> in(SizeOf(dtype) * RandomStrides(random, &x, dense));
    const bool in_place = Pick(random, 0, 3) == 0;
    std::vector<uint8_t> out(SizeOf(dtype) * (in_place ? 0 : RandomStrides(random, &y, dense)));
    FillRandom(random, dtype, &in);
    FillRandom(random, dtype, &out);
    Spec spec;
    float p;
    ASSERT_TRUE(ParseCase(line, &spec, &p).ok());
    const uint64_t key[2] = {random(), random()};
    const Pass pass = Pick(random, 0, 1) ? Pass::kForward : Pass::kBackward;
    ASSERT_TRUE(SetThreads(static_cast<int>(Pick(random, 1, 3))).ok());
    MaskStorage storage[2];
    std::vector<uint8_t> inputs[2] = {in, in}, outputs[2] = {out, out};
    for (const int which : {0, 1}) {
      Exec exec;
      exec.backend = which ? "reference" : "cpu";
      x.data = inputs[which].data();
      y.data = in_place ? x.data : outputs[which].data();
      const View target = in_place ? x : y;
      ASSERT_TRUE(storage[which].Reserve(spec, x).ok());
      Status status = Sample(spec, p, key, x, exec, &storage[which].mask);
      ASSERT_TRUE(status.ok()) << status.message();
      status = Apply(storage[which].mask, pass, x, target, exec);
      ASSERT_TRUE(status.ok()) << status.message();
    }
    ASSERT_TRUE(
        std::equal(storage[0].mask.bits, storage[0].mask.bits + storage[0].mask.num_words(), storage[1].mask.bits));
    ASSERT_TRUE(SameMemory(dtype, inputs[0], inputs[1]));  // also: nothing beside y was written
    ASSERT_TRUE(SameMemory(dtype, outputs[0], outputs[1]));
  }
  ASSERT_TRUE(SetThreads(0).ok());
}

// A stride of 0 in x: an expanded gradient.
TEST(ApplyTest, ExpandedInput) {
  Spec spec;
  ASSERT_TRUE(ParseSpec("dropout", &spec).ok());
  const uint64_t key[2] = {1, 2};
  std::vector<float> out(2 * 3 * 20);
  View y = DenseView(out.data(), DType::kF32, 2, 3, {4, 5});
  MaskStorage storage;
  ASSERT_TRUE(storage.Reserve(spec, y).ok() && Sample(spec, 0.5f, key, y, Exec(), &storage.mask).ok());
  const float one = 1.0f;
  View x = y;
  x.data = const_cast<float*>(&one);
  x.sample_stride = x.channel_stride = x.stride[0] = x.stride[1] = x.stride[2] = 0;
  ASSERT_TRUE(Apply(storage.mask, Pass::kBackward, x, y, Exec()).ok());
  for (size_t i = 0; i < out.size(); ++i) ASSERT_EQ(out[i], GetBit(storage.mask.bits, i) ? 2.0f : 0.0f);
}

// Counts summed over ranks between Sample and Apply give every rank the whole batch's gain.
TEST(ApplyTest, CountsSummedOverRanks) {
  Spec spec;
  ASSERT_TRUE(ParseSpec("dropblock:block=3", &spec).ok());
  const uint64_t key[2] = {5, 6};
  std::vector<float> in(8 * 4 * 64, 3.0f), whole(in.size()), parts(in.size());
  const View x = DenseView(in.data(), DType::kF32, 8, 4, {8, 8});
  View y = x;
  y.data = whole.data();
  MaskStorage all, rank[2];
  ASSERT_TRUE(all.Reserve(spec, x).ok() && Drop(spec, 0.2f, key, Pass::kForward, x, y, Exec(), &all.mask).ok());
  int64_t kept = 0;
  for (const int i : {0, 1}) {
    const View part = DenseView(nullptr, DType::kF32, i ? 3 : 5, 4, {8, 8}, Layout::kChannelsFirst, i ? 5 : 0);
    ASSERT_TRUE(rank[i].Reserve(spec, part).ok() && Sample(spec, 0.2f, key, part, Exec(), &rank[i].mask).ok());
    for (int64_t n = 0; n < rank[i].mask.num_kept; ++n) kept += rank[i].mask.kept[n];
  }
  for (const int i : {0, 1}) {
    Mask mask = rank[i].mask;
    mask.kept = &kept;
    mask.num_kept = 1;
    mask.total = all.mask.total;
    const int64_t offset = i ? 5 * 4 * 64 : 0;
    const View part = DenseView(in.data() + offset, DType::kF32, i ? 3 : 5, 4, {8, 8});
    View out = part;
    out.data = parts.data() + offset;
    ASSERT_TRUE(Apply(mask, Pass::kForward, part, out, Exec()).ok());
  }
  EXPECT_EQ(whole, parts);
}

}  // namespace
}  // namespace dropkit

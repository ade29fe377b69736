// Apply on the fast backends against the reference, bit for bit: random shapes, strides, dtypes, values (NaN,
// infinities, subnormals), passes, gains and fills. Pinned seed; a failure prints the case.
#include <gtest/gtest.h>

#include "bits.h"
#include "dropkit/dropkit.h"
#include "random_cases.h"

namespace dropkit {
namespace {

TEST(ApplyTest, AgreesWithTheReference) {
  Random random(20181030);
  for (int i = 0; i < 3000; ++i) {
    const DType dtype = static_cast<DType>(Pick(random, 0, 3));
    View x = RandomView(random, dtype);
    const std::string line = RandomCase(random);
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

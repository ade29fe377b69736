// Bad input: every argument that can be wrong gets a Status with its name, its value and what is allowed, and nothing
// is written. Then the edges that are not wrong: empty tensors, p = 0 and 1, a p in memory, sizes past 2^31.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>

#include "dropkit/dropkit.h"

namespace dropkit {
namespace {

#define EXPECT_OK(expression)                       \
  do {                                              \
    const Status status_ = (expression);            \
    EXPECT_TRUE(status_.ok()) << status_.message(); \
  } while (false)

Spec Parsed(const std::string& line) {
  Spec spec;
  EXPECT_OK(ParseSpec(line, &spec));
  return spec;
}

// A sound call, of which each test spoils one thing.
class DropTest : public ::testing::Test {
 protected:
  DropTest() {
    x_ = DenseView(in_.data(), DType::kF32, 2, 3, {4, 5});
    y_ = x_;
    y_.data = out_.data();
    EXPECT_OK(storage_.Reserve(spec_, x_));
    bits_ = storage_.mask.bits;
    kept_ = storage_.mask.kept;
    threshold_ = storage_.mask.threshold;
    std::fill_n(bits_, storage_.mask.num_words(), kCanary);
    std::fill_n(kept_, storage_.mask.num_kept, -77);
    *storage_.mask.threshold = kCanary;
  }

  Status Call(Probability p = 0.1f) { return Drop(spec_, p, key_, Pass::kForward, x_, y_, exec_, &storage_.mask); }

  // The call is refused, its message has all of `words`, and neither y nor the mask was touched.
  void ExpectRefused(const Status& status, const std::vector<std::string>& words) {
    ASSERT_FALSE(status.ok());
    for (const std::string& word : words) EXPECT_NE(status.message().find(word), std::string::npos) << status.message();
    for (const float value : out_) ASSERT_EQ(value, -5.0f);
    ASSERT_EQ(bits_[0], kCanary);
    ASSERT_EQ(bits_[1], kCanary);
    ASSERT_EQ(kept_[0], -77);
    ASSERT_EQ(threshold_[0], kCanary);
  }

  static constexpr uint64_t kCanary = 0xC0FFEE;
  std::vector<float> in_ = std::vector<float>(120, 1.0f), out_ = std::vector<float>(120, -5.0f);
  Spec spec_ = Parsed("dropblock:block=3");
  uint64_t words_[2] = {1, 2};
  Key key_ = words_;
  View x_, y_;
  Exec exec_;
  MaskStorage storage_;
  uint64_t* bits_ = nullptr;
  int64_t* kept_ = nullptr;
  uint64_t* threshold_ = nullptr;
};

TEST_F(DropTest, SoundCallIsAccepted) { EXPECT_OK(Call()); }

TEST_F(DropTest, PIsAProbability) {
  ExpectRefused(Call(1.5f), {"p = 1.5", "allowed: a number from 0 to 1"});
  ExpectRefused(Call(-0.25f), {"p = -0.25"});
  ExpectRefused(Call(std::nextafter(1.0f, 2.0f)), {"p = 1.0"});
  ExpectRefused(Call(NAN), {"p = ", "nan"});
  ExpectRefused(Call(INFINITY), {"p = inf"});
}

TEST_F(DropTest, HugeBlocksAndSizesAreRefused) {
  spec_.extent[0] = spec_.extent[1] = spec_.extent[2] = int64_t{1} << 32;
  ExpectRefused(Call(), {"4294967296", "allowed: 1 to 2^20"});
  spec_ = Parsed("dropblock:block=1048576,region=whole,rate=calibrated,clip=none");
  const View wide = DenseView(nullptr, DType::kF32, 1, 1, {1 << 19, 1 << 19});
  MaskStorage storage;
  const Status status = storage.Reserve(spec_, wide);
  ASSERT_FALSE(status.ok());
  EXPECT_NE(status.message().find("below 2^63"), std::string::npos) << status.message();
  EXPECT_FALSE(storage.Reserve(Parsed("cutout"), DenseView(nullptr, DType::kF32, 1, 1, {int64_t{1} << 33})).ok());
}

TEST_F(DropTest, FieldsOutsideTheirEnums) {
  spec_.share = static_cast<Share>(9);
  ExpectRefused(Call(), {"none of its enum's values"});
  spec_ = Parsed("dropblock:block=3");
  spec_.extent[1] = 5;  // one size, so all three must be it
  ExpectRefused(Call(), {"extent[1] = 5", "the last size, 3"});
  spec_ = Parsed("dropout");
  spec_.fill_value = NAN;
  ExpectRefused(Call(), {"fill=nan"});
}

TEST_F(DropTest, NullPlacesForResults) {
  Spec spec;
  float p;
  size_t bytes;
  EXPECT_FALSE(ParseSpec("dropout", nullptr).ok());
  EXPECT_FALSE(ParseCase("dropout", nullptr, &p).ok());
  EXPECT_FALSE(ParseCase("dropout", &spec, nullptr).ok());
  EXPECT_FALSE(Describe(spec_, x_, nullptr).ok());
  EXPECT_FALSE(Rates(spec_, 0.1f, x_, nullptr).ok());
  EXPECT_FALSE(GainOf(storage_.mask, Pass::kForward, 0, 0, DType::kF32, nullptr).ok());
  EXPECT_FALSE(ScratchBytes(spec_, x_, exec_, nullptr).ok());
  EXPECT_OK(ScratchBytes(spec_, x_, exec_, &bytes));
}

TEST_F(DropTest, SpoiledMasksAreRefused) {
  EXPECT_OK(Call());
  Gain gain;
  std::vector<uint8_t> keep(120);
  Mask bad = storage_.mask;
  bad.spatial_dims = 900000;
  EXPECT_FALSE(GainOf(bad, Pass::kForward, 0, 0, DType::kF32, &gain).ok());
  EXPECT_FALSE(Unpack(bad, keep.data()).ok());
  bad = storage_.mask;
  bad.channel_stride = 1 << 20;
  EXPECT_FALSE(Unpack(bad, keep.data()).ok());
  bad = storage_.mask;
  bad.total = 0;
  EXPECT_FALSE(Unpack(bad, nullptr).ok());
  EXPECT_OK(Unpack(bad, keep.data()));
  bad = storage_.mask;
  bad.spec.over = Over::kSample;
  bad.num_kept = 1;
  EXPECT_FALSE(GainOf(bad, Pass::kForward, 1, 0, DType::kF32, &gain).ok());
  bad = storage_.mask;
  bad.samples = 0;
  View none = x_;
  none.samples = 0;
  bad.num_kept = 0;
  EXPECT_OK(Apply(bad, Pass::kForward, none, none, exec_));
}

TEST_F(DropTest, AbsurdThreadCounts) {
  exec_.parallel_for.max_threads = 1 << 30;
  exec_.parallel_for.run = [](void*, int64_t count, void (*task)(void*, int64_t), void* argument) {
    for (int64_t i = 0; i < count; ++i) task(argument, i);
  };
  EXPECT_OK(Call());
}

TEST_F(DropTest, BlockIsPositive) {
  spec_.extent[0] = 0;
  ExpectRefused(Call(), {"block", "0", "allowed: 1 to 2^20"});
}

TEST_F(DropTest, SpecFieldsAreInRange) {
  spec_.holes = 0;
  ExpectRefused(Call(), {"holes=0"});
  spec_ = Parsed("dropblock");
  spec_.gamma_scale = NAN;
  ExpectRefused(Call(), {"gamma_scale"});
  spec_ = Parsed("dropblock");
  spec_.method = static_cast<Method>(42);
  ExpectRefused(Call(), {"method", "42"});
}

TEST_F(DropTest, RankIsTwoToFive) {
  x_.spatial_dims = 4;
  ExpectRefused(Call(), {"x.spatial_dims = 4", "allowed: 0 to 3"});
  x_.spatial_dims = -1;
  ExpectRefused(Call(), {"x.spatial_dims = -1"});
}

TEST_F(DropTest, BlockHasOneSizePerDimension) {
  spec_ = Parsed("dropblock:block=3x5x7");
  ExpectRefused(Call(), {"3x5x7", "3 numbers", "allowed for this tensor: 1, or 2"});
}

TEST_F(DropTest, BlockLargerThanTheMap) {
  spec_ = Parsed("dropblock:block=5,clip=error");
  ExpectRefused(Call(), {"block=5", "4x5", "clip=error"});
  spec_ = Parsed("dropblock:block=9,clip=none");
  ExpectRefused(Call(), {"block=9", "no valid position", "4x5"});
  spec_ = Parsed("dropblock:block=9,clip=none,region=whole,rate=plain");
  EXPECT_OK(Call());
}

TEST_F(DropTest, SizesAreNotNegative) {
  x_.size[1] = -5;
  ExpectRefused(Call(), {"x.size[1] = -5"});
  x_.size[1] = 5;
  x_.channels = -1;
  ExpectRefused(Call(), {"x.channels = -1"});
  x_.channels = 3;
  x_.samples = -2;
  ExpectRefused(Call(), {"x.samples = -2"});
}

TEST_F(DropTest, SizesDoNotOverflow) {
  x_.size[0] = x_.size[1] = int64_t{1} << 40;
  ExpectRefused(Call(), {"elements in a sample", "at most 2^38"});
  x_.size[0] = int64_t{1} << 37;
  x_.size[1] = 1;
  ExpectRefused(Call(), {"3,137438953472,1", std::to_string(3 * (int64_t{1} << 37)), "at most 2^38"});
  x_ = y_;
  x_.samples = int64_t{1} << 60;
  ExpectRefused(Call(), {"overflow"});
  x_ = y_;
  x_.stride[0] = int64_t{1} << 61;
  ExpectRefused(Call(), {"strides"});
  x_ = y_;
  x_.first_sample = INT64_MAX;
  ExpectRefused(Call(), {"x.first_sample = 9223372036854775807"});
  x_.first_sample = -1;
  ExpectRefused(Call(), {"x.first_sample = -1"});
}

TEST_F(DropTest, DTypesAreTheFourAndEqual) {
  x_.dtype = static_cast<DType>(9);
  ExpectRefused(Call(), {"x.dtype = 9", "f32, f16, bf16, f64"});
  x_.dtype = DType::kF16;
  ExpectRefused(Call(), {"y.dtype = f32", "x's, f16"});
}

TEST_F(DropTest, PointersAreSet) {
  View null = x_;
  null.data = nullptr;
  std::swap(null, x_);
  ExpectRefused(Call(), {"x.data = null", "120 elements"});
  std::swap(null, x_);
  y_.data = nullptr;
  ExpectRefused(Call(), {"y.data = null"});
  y_.data = out_.data();
  key_ = nullptr;
  ExpectRefused(Call(), {"key = null"});
  key_ = words_;
  ExpectRefused(Drop(spec_, 0.1f, key_, Pass::kForward, x_, y_, exec_, nullptr), {"mask = null"});
  storage_.mask.bits = nullptr;
  ExpectRefused(Call(), {"mask.bits = null", "2 words"});
  storage_.mask.bits = bits_;
  storage_.mask.kept = nullptr;
  ExpectRefused(Call(), {"mask.kept = null", "2 counts"});
  storage_.mask.kept = kept_;
  storage_.mask.threshold = nullptr;
  ExpectRefused(Call(), {"mask.threshold = null"});
}

TEST_F(DropTest, GivenSeedsAndBooleansAreSet) {
  ExpectRefused(Spread(spec_, 0.1f, nullptr, x_, exec_, &storage_.mask), {"seeds = null"});
  ExpectRefused(Pack(Parsed("dropout"), 0.1f, nullptr, x_, exec_, &storage_.mask), {"keep = null"});
  const std::vector<uint8_t> keep(120, 1);
  ExpectRefused(Pack(spec_, 0.1f, keep.data(), x_, exec_, &storage_.mask), {"dropblock", "allowed for Pack: dropout"});
}

TEST_F(DropTest, OutputHasXsShapeAndPlaces) {
  y_.size[1] = 4;
  ExpectRefused(Call(), {"y's shape = 2,3,4,4", "2,3,4,5"});
  y_ = x_;
  y_.data = out_.data();
  y_.stride[1] = 0;
  ExpectRefused(Call(), {"y's strides = 0"});
  y_ = x_;
  std::swap(y_.sample_stride, y_.channel_stride);
  ExpectRefused(Call(), {"when y.data is x.data"});
}

TEST_F(DropTest, PassIsOneOfTwo) {
  const Pass pass = static_cast<Pass>(7);
  ExpectRefused(Drop(spec_, 0.1f, key_, pass, x_, y_, exec_, &storage_.mask), {"pass = 7", "kForward (0)"});
}

TEST_F(DropTest, OutputIsXOrApartFromIt) {
  for (const int64_t distance : {-1, 1, 119}) {  // elements between the starts of two views of 120
    std::vector<float> both(360, -5.0f);
    x_.data = both.data() + 120;
    y_.data = both.data() + 120 + distance;
    ExpectRefused(Call(), {"y.data = overlaps x", "memory apart from it"});
    for (const float value : both) ASSERT_EQ(value, -5.0f);
  }
}

// Two channels of one memory that holds them turn by turn: one range, no common element.
TEST_F(DropTest, OutputMayInterleaveWithX) {
  std::vector<float> both(240, 1.0f);
  for (View* view : {&x_, &y_}) {
    view->sample_stride *= 2, view->channel_stride *= 2;
    for (int64_t& stride : view->stride) stride *= 2;
  }
  x_.data = both.data();
  y_.data = both.data() + 1;
  EXPECT_OK(Call());
  for (size_t i = 0; i < both.size(); i += 2) ASSERT_EQ(both[i], 1.0f);
}

// On host memory none is needed, and what is given must still be sound.
TEST_F(DropTest, ScratchIsAligned) {
  spec_ = Parsed("dropblock:block=3,rate=calibrated");
  size_t bytes = 1;
  EXPECT_OK(ScratchBytes(spec_, x_, exec_, &bytes));
  EXPECT_EQ(bytes, 0u);
  alignas(64) char scratch[64];
  exec_.scratch = scratch + 1;
  ExpectRefused(Call(), {"exec.scratch is not aligned; allowed: an address that 64 divides"});
  exec_.scratch = scratch;
  EXPECT_OK(Call());
}

TEST_F(DropTest, BackendIsKnown) {
  exec_.backend = "cpuu";
  ExpectRefused(Call(), {"'cpuu' is not a backend", "did you mean 'cpu'?", "known: cpu, reference"});
  exec_.backend = nullptr;
  ASSERT_EQ(setenv("DROPKIT_BACKEND", "gpu9000", 1), 0);
  const Status status = Call();
  unsetenv("DROPKIT_BACKEND");
  ExpectRefused(status, {"environment variable DROPKIT_BACKEND", "gpu9000"});
}

TEST_F(DropTest, BackendThatCannotRunHereSaysWhy) {
  const std::vector<BackendInfo> infos = Backends();
  const auto cuda = std::find_if(infos.begin(), infos.end(), [](const auto& info) { return info.name == "cuda"; });
  ASSERT_NE(cuda, infos.end());
  EXPECT_FALSE(cuda->host_memory);
  if (cuda->available) GTEST_SKIP() << "cuda can run here";
  exec_.backend = "cuda";
  const Status status = Call();
  EXPECT_EQ(status.code(), Status::Code::kUnavailable);
  EXPECT_NE(status.message().find("exec.backend 'cuda' cannot run here: " + cuda->why), std::string::npos)
      << status.message();
  EXPECT_NE(BuildInfo().find("cuda (off: " + cuda->why + ")"), std::string::npos);
}

TEST_F(DropTest, BackendOnDeviceMemoryIsNamedByTheCallAlone) {
  ASSERT_EQ(setenv("DROPKIT_BACKEND", "cuda", 1), 0);
  const Status status = Call();
  unsetenv("DROPKIT_BACKEND");
  ExpectRefused(status, {"DROPKIT_BACKEND 'cuda' works on device memory", "allowed: cpu, reference"});
}

TEST_F(DropTest, MaskBelongsToTheTensor) {
  EXPECT_OK(Sample(spec_, 0.1f, key_, x_, exec_, &storage_.mask));
  const View other = DenseView(in_.data(), DType::kF32, 2, 3, {5, 4});
  View out = other;
  out.data = out_.data();
  Status status = Apply(storage_.mask, Pass::kForward, other, out, exec_);
  ASSERT_FALSE(status.ok());
  EXPECT_NE(status.message().find("x's shape = 2,3,5,4"), std::string::npos) << status.message();
  Mask wrong = storage_.mask;
  wrong.num_bits = 100;
  status = Apply(wrong, Pass::kForward, x_, y_, exec_);
  ASSERT_FALSE(status.ok());
  wrong = storage_.mask;
  wrong.num_kept = 1;
  EXPECT_OK(Apply(wrong, Pass::kForward, x_, y_, exec_));  // over=tensor takes a sum
  wrong.spec.over = Over::kSample;
  EXPECT_FALSE(Apply(wrong, Pass::kForward, x_, y_, exec_).ok());
}

TEST_F(DropTest, ThreadsAreInRange) {
  EXPECT_FALSE(SetThreads(-1).ok());
  EXPECT_FALSE(SetThreads(100000).ok());
  EXPECT_OK(SetThreads(0));
}

// ---------------------------------------------------------------- edges that are sound

TEST_F(DropTest, EmptyTensors) {
  for (const std::vector<int64_t>& shape :
       {std::vector<int64_t>{0, 3, 4, 5}, {2, 0, 4, 5}, {2, 3, 0, 5}, {2, 3, 4, 0}, {0, 0}}) {
    for (const char* line : {"dropout", "spatial_dropout", "drop_path", "dropblock", "cutout", "drop_connect",
                             "dropblock:rate=calibrated", "dropout:fill=noise"}) {
      const View x = DenseView(nullptr, DType::kF32, shape[0], shape[1], {shape.begin() + 2, shape.end()});
      MaskStorage storage;
      EXPECT_OK(storage.Reserve(Parsed(line), x));
      View y = x;
      y.sample_stride = 16;  // strides of no elements do not matter
      EXPECT_OK(Drop(Parsed(line), 0.5f, key_, Pass::kForward, x, y, exec_, &storage.mask));
      EXPECT_EQ(storage.mask.num_bits, 0);
      EXPECT_EQ(storage.mask.total, 0);
      for (int64_t i = 0; i < storage.mask.num_kept; ++i) EXPECT_EQ(storage.mask.kept[i], 0);
    }
  }
}

TEST_F(DropTest, PZeroKeepsEveryBitOfX) {
  for (size_t i = 0; i < in_.size(); ++i) in_[i] = static_cast<float>(i) - 60.0f;
  in_[3] = -0.0f;
  in_[5] = INFINITY;
  in_[7] = std::numeric_limits<float>::denorm_min();
  for (const char* line : {"dropout", "spatial_dropout", "drop_path", "dropblock", "cutout:size=2", "drop_connect"}) {
    MaskStorage storage;
    EXPECT_OK(storage.Reserve(Parsed(line), x_));
    EXPECT_OK(Drop(Parsed(line), 0.0f, key_, Pass::kForward, x_, y_, exec_, &storage.mask));
    EXPECT_EQ(std::memcmp(in_.data(), out_.data(), sizeof(float) * in_.size()), 0) << line;
  }
}

TEST_F(DropTest, AllDroppedGivesZerosAndTheFill) {
  std::fill(in_.begin(), in_.end(), NAN);
  for (const char* line : {"dropout", "dropout:normalize=kept", "spatial_dropout", "drop_path", "dropblock",
                           "dropblock:normalize=asked,over=plane", "drop_connect",
                           "dropblock:rate=calibrated,normalize=expected", "dropout:fill=2.5"}) {
    MaskStorage storage;
    EXPECT_OK(storage.Reserve(Parsed(line), x_));
    EXPECT_OK(Drop(Parsed(line), 1.0f, key_, Pass::kForward, x_, y_, exec_, &storage.mask));
    const float fill = std::string(line).find("fill") != std::string::npos ? 2.5f : 0.0f;
    for (const float value : out_) ASSERT_EQ(value, fill) << line;
    EXPECT_OK(Apply(storage.mask, Pass::kBackward, x_, y_, exec_));
    for (const float value : out_) ASSERT_EQ(value, 0.0f) << line;
  }
}

TEST_F(DropTest, PFromMemory) {
  float p = 0.3f;
  MaskStorage host, memory;
  const Spec spec = Parsed("dropblock:block=2,rate=calibrated");
  EXPECT_OK(host.Reserve(spec, x_));
  EXPECT_OK(memory.Reserve(spec, x_));
  EXPECT_OK(Sample(spec, p, key_, x_, exec_, &host.mask));
  EXPECT_OK(Sample(spec, Probability(&p), key_, x_, exec_, &memory.mask));
  EXPECT_TRUE(std::equal(host.mask.bits, host.mask.bits + host.mask.num_words(), memory.mask.bits));
  EXPECT_EQ(*host.mask.threshold, *memory.mask.threshold);
}

TEST_F(DropTest, BadPFromMemoryPoisonsEveryOutput) {
  for (float p : {NAN, -0.5f, 1.5f}) {
    for (const char* backend : {"cpu", "reference"}) {
      exec_.backend = backend;
      EXPECT_OK(Drop(spec_, Probability(&p), key_, Pass::kForward, x_, y_, exec_, &storage_.mask));
      EXPECT_EQ(*storage_.mask.threshold, kBadThreshold);
      Gain gain;
      EXPECT_OK(GainOf(storage_.mask, Pass::kForward, 0, 0, DType::kF32, &gain));
      EXPECT_TRUE(std::isnan(gain.a) && std::isnan(gain.d));
      for (const float value : out_) ASSERT_TRUE(std::isnan(value)) << backend;
      EXPECT_OK(Apply(storage_.mask, Pass::kBackward, x_, y_, exec_));
      for (const float value : out_) ASSERT_TRUE(std::isnan(value)) << backend;
    }
  }
}

TEST_F(DropTest, RatesOfAnEmptyMap) {
  RateInfo info;
  for (const char* line : {"dropblock:block=3,clip=error", "dropblock:block=3,clip=none", "dropblock"}) {
    EXPECT_OK(Rates(Parsed(line), 0.1f, DenseView(nullptr, DType::kF32, 2, 3, {4, 0}), &info));
    EXPECT_GE(info.lanes, 0) << line;
    EXPECT_GE(info.positions[1], 0) << line;
  }
}

// The backward pass from the key and p alone.
TEST_F(DropTest, BackwardRecomputesTheMask) {
  EXPECT_OK(Call());
  std::vector<float> again(120);
  View dx = y_;
  dx.data = again.data();
  MaskStorage fresh;
  EXPECT_OK(fresh.Reserve(spec_, x_));
  EXPECT_OK(Drop(spec_, 0.1f, key_, Pass::kBackward, x_, dx, exec_, &fresh.mask));
  EXPECT_EQ(again, out_);
}

// 2^31 + 4099 elements: too many for f32 here, so the mask alone (256 MiB of bits), its end compared with a small call.
TEST_F(DropTest, MoreElementsThanInt32) {
  const int64_t cells = 4099, planes = 524288;  // 2,149,056,512 elements
  const Spec spec = Parsed("dropblock:block=7");
  const View x = DenseView(nullptr, DType::kF16, planes, 1, {cells});
  MaskStorage large, small;
  EXPECT_OK(large.Reserve(spec, x));
  EXPECT_OK(Sample(spec, 0.1f, key_, x, exec_, &large.mask));
  const View tail = DenseView(nullptr, DType::kF16, 3, 1, {cells}, Layout::kChannelsFirst, planes - 3);
  EXPECT_OK(small.Reserve(spec, tail));
  EXPECT_OK(Sample(spec, 0.1f, key_, tail, exec_, &small.mask));
  for (int64_t i = 0; i < 3 * cells; ++i) {
    const int64_t j = (planes - 3) * cells + i;
    ASSERT_EQ((large.mask.bits[j / 64] >> (j % 64)) & 1, (small.mask.bits[i / 64] >> (i % 64)) & 1) << i;
  }
  EXPECT_EQ(large.mask.kept[planes - 1], small.mask.kept[2]);
}

}  // namespace
}  // namespace dropkit

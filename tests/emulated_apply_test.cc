// The device's Apply on an emulated grid against the reference, bit for bit but for a NaN's payload. Masks are the
// reference's own, so a failure here is of src/cuda/apply.cu and what it includes; what draws masks is tested
// elsewhere.
//
// Blocks have 32 to 256 threads and run in shuffled orders; every call is one launch. Buffers end where the tensor
// does, so that a build with AddressSanitizer sees a step too far.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "cuda/apply_dense.h"
#include "cuda/apply_elements.h"
#include "cuda/cuda.h"
#include "cuda/pieces.h"
#include "emulated_grid.h"
#include "random_cases.h"

namespace dropkit {
namespace {

// Memory whose address has the given rest modulo 16.
class Buffer {
 public:
  Buffer(std::vector<uint8_t> contents, int64_t shift) : memory_(contents.size() + shift), shift_(shift) {
    std::copy(contents.begin(), contents.end(), memory_.begin() + shift);
  }
  void* data() { return memory_.data() + shift_; }
  std::vector<uint8_t> Contents() const { return {memory_.begin() + shift_, memory_.end()}; }

 private:
  std::vector<uint8_t> memory_;
  int64_t shift_;
};

struct Case {
  std::string line;  // with p
  Pass pass = Pass::kForward;
  int64_t x_shift = 0, y_shift = 0;  // bytes from a 16-byte boundary
  bool in_place = false, bad_p = false;
  int threads = 0;
};

constexpr uint64_t kKey[2] = {0x0123456789ABCDEFu, 42};

Exec OnReference() {
  Exec exec;
  exec.backend = "reference";
  return exec;
}

// Draws a mask, applies it twice, compares all memory. Strides of x and y as given; their data is made here.
void Compare(const Case& test, Random& random, View x, View y, int64_t x_elements, int64_t y_elements) {
  SCOPED_TRACE(test.line + " " + Name(x.dtype) + " shape " + std::to_string(x.samples) + "," +
               std::to_string(x.channels) + "," + std::to_string(x.size[0]) + "," + std::to_string(x.size[1]) + "," +
               std::to_string(x.size[2]) + " shifts " + std::to_string(test.x_shift) + "," +
               std::to_string(test.y_shift) + (test.in_place ? " in place" : "") + " threads " +
               std::to_string(test.threads));
  Spec spec;
  float p;
  ASSERT_TRUE(ParseCase(test.line, &spec, &p).ok());
  MaskStorage storage;
  ASSERT_TRUE(storage.Reserve(spec, x).ok());
  ASSERT_TRUE(Sample(spec, p, kKey, x, OnReference(), &storage.mask).ok());
  if (test.bad_p) *storage.mask.threshold = kBadThreshold;
  std::vector<uint8_t> in(SizeOf(x.dtype) * x_elements), out(SizeOf(x.dtype) * y_elements);
  FillRandom(random, x.dtype, &in);
  FillRandom(random, x.dtype, &out);
  cuda::emulated::SetThreads(test.threads);
  cuda::emulated::SetSeed(random());
  std::vector<uint8_t> results[2];
  for (const bool on_device : {false, true}) {
    Buffer from(in, test.x_shift), to(out, test.y_shift);
    x.data = from.data();
    y.data = test.in_place ? x.data : to.data();
    const View target = test.in_place ? x : y;
    cuda::emulated::ForgetLaunches();
    const Status status = on_device ? cuda::Apply(storage.mask, test.pass, x, target, Exec())
                                    : Apply(storage.mask, test.pass, x, target, OnReference());
    ASSERT_TRUE(status.ok()) << status.message();
    ASSERT_EQ(cuda::emulated::Launches().size(), on_device ? 1u : 0u);
    ASSERT_EQ(cuda::emulated::Zeroings(), 0);
    results[on_device] = test.in_place ? from.Contents() : to.Contents();
    if (!test.in_place) {
      ASSERT_EQ(from.Contents(), in);
    }
  }
  ASSERT_TRUE(SameMemory(x.dtype, results[0], results[1]));
  cuda::emulated::SetThreads(0);
}

void CompareDense(const Case& test, Random& random, const View& shape) {
  const int64_t elements = shape.samples * shape.channels * shape.size[0] * shape.size[1] * shape.size[2];
  Compare(test, random, shape, shape, elements, elements);
}

int SomeThreads(Random& random) { return static_cast<int>(32 * Pick(random, 1, 8)); }

class EmulatedApplyTest : public testing::TestWithParam<DType> {};

// Heads and tails of every length, odd numbers of mask words, x and y aligned alike and differently.
TEST_P(EmulatedApplyTest, SizesAndAlignments) {
  std::vector<int64_t> sizes = {127, 128, 129, 1023, 1024, 1025, 4999};
  for (int64_t size = 1; size <= 40; ++size) sizes.push_back(size);
  Random random(1);
  const int64_t width = static_cast<int64_t>(SizeOf(GetParam()));
  for (const int64_t size : sizes) {
    const View shape = DenseView(nullptr, GetParam(), 1, size, {});
    for (int64_t x_shift = 0; x_shift < 16; x_shift += width) {
      for (int64_t y_shift = 0; y_shift < 16; y_shift += width) {
        Case test{"dropout@0.4", Pass::kForward, x_shift, y_shift};
        test.in_place = x_shift == y_shift && random() % 2 == 0;
        test.threads = SomeThreads(random);
        ASSERT_NO_FATAL_FAILURE(CompareDense(test, random, shape));
      }
    }
  }
}

// Every spec that has a spread, law or gain of its own, in both memory orders; sizes with carries inside a vector, and
// enough elements for the main loop.
TEST_P(EmulatedApplyTest, KindsOfSpecs) {
  static const char* kKinds[] = {"dropout:",
                                 "dropout:share=channels,",
                                 "dropout:share=batch,",
                                 "spatial_dropout:",
                                 "spatial_dropout:share=batch,",
                                 "drop_path:",
                                 "dropblock:block=3,",
                                 "dropblock:block=3,share=channels,",
                                 "dropblock:block=2,share=batch,rate=calibrated,",
                                 "dropblock:block=3,share=all,",
                                 "cutout:size=3,holes=2,",
                                 "drop_connect:"};
  static const char* kLaws[] = {"normalize=kept,over=tensor",
                                "normalize=kept,over=sample",
                                "normalize=kept,over=plane",
                                "normalize=expected",
                                "normalize=asked",
                                "normalize=none"};
  static const char* kFills[] = {"", ",fill=1.7", ",fill=noise"};
  Random random(2);
  for (const std::string kind : kKinds) {
    for (const std::string law : kLaws) {
      for (const Layout layout : {Layout::kChannelsFirst, Layout::kChannelsLast}) {
        Case test{kind + law + kFills[random() % 3] + "@0.3"};
        test.pass = random() % 3 == 0 ? Pass::kBackward : Pass::kForward;
        test.x_shift = test.y_shift = random() % 2 == 0 ? 0 : 8;
        test.in_place = random() % 2 == 0;
        test.threads = SomeThreads(random);
        const View odd = DenseView(nullptr, GetParam(), 3, 5, {7, 9}, layout, 2);
        const View even = DenseView(nullptr, GetParam(), 2, 16, {8, 16}, layout);
        ASSERT_NO_FATAL_FAILURE(CompareDense(test, random, odd));
        ASSERT_NO_FATAL_FAILURE(CompareDense(test, random, even));
      }
    }
  }
}

// The whole-block groups of the main loop, several of them, and chunks that share a tensor of many blocks.
TEST_P(EmulatedApplyTest, ManyChunks) {
  Random random(3);
  for (const int threads : {32, 256}) {
    for (const int multiprocessors : {1, 2, 40}) {
      cuda::emulated::SetMultiprocessors(multiprocessors);
      for (const int64_t width : {63, 64}) {
        for (const std::string line :
             {"dropout@0.2", "spatial_dropout@0.2", "dropblock:block=5,share=channels@0.2",
              "dropblock:block=5,normalize=expected@0.2", "dropblock:block=5,normalize=kept,over=sample@0.2"}) {
          Case test{line};
          test.threads = threads;
          test.x_shift = test.y_shift = width == 63 ? 8 : 0;
          ASSERT_NO_FATAL_FAILURE(CompareDense(test, random, DenseView(nullptr, GetParam(), 3, 8, {64, width})));
        }
      }
    }
  }
  cuda::emulated::SetMultiprocessors(4);
}

TEST_P(EmulatedApplyTest, BadProbabilityAndAllDropped) {
  Random random(4);
  const View shape = DenseView(nullptr, GetParam(), 2, 8, {9, 9});
  for (const char* line : {"dropout@0.2", "dropout:fill=noise@0.2", "dropblock:block=3,over=plane@0.2",
                           "dropblock:block=3,over=sample,fill=noise@0.2", "dropout:normalize=none,fill=2@0.2"}) {
    Case test{line};
    test.bad_p = true;
    ASSERT_NO_FATAL_FAILURE(CompareDense(test, random, shape));
  }
  for (const char* line : {"dropout@1", "dropout:normalize=asked,fill=-3@1", "spatial_dropout:over=sample@1",
                           "dropblock:block=9,over=plane,fill=0.1@1", "dropout@0"}) {
    ASSERT_NO_FATAL_FAILURE(CompareDense(Case{line}, random, shape));
  }
}

// A gradient with strides of 0, and one in the other memory order.
TEST_P(EmulatedApplyTest, ExpandedAndTransposedGradients) {
  Random random(5);
  const View y = DenseView(nullptr, GetParam(), 2, 6, {5, 7}, Layout::kChannelsLast);
  View expanded = y;
  expanded.sample_stride = expanded.channel_stride = expanded.stride[0] = expanded.stride[1] = 0;
  const View transposed = DenseView(nullptr, GetParam(), 2, 6, {5, 7});
  for (const char* line : {"dropout@0.5", "dropblock:block=3,over=plane@0.2", "dropblock:block=2,over=sample@0.2"}) {
    ASSERT_NO_FATAL_FAILURE(Compare(Case{line, Pass::kBackward}, random, expanded, y, 1, 420));
    ASSERT_NO_FATAL_FAILURE(Compare(Case{line, Pass::kBackward}, random, transposed, y, 420, 420));
  }
}

INSTANTIATE_TEST_SUITE_P(EveryType, EmulatedApplyTest,
                         testing::Values(DType::kF32, DType::kF16, DType::kBF16, DType::kF64),
                         [](const auto& info) { return std::string(Name(info.param)); });

TEST(EmulatedApplyCases, Random) {
  Random random(20260101);
  for (int i = 0; i < 1500; ++i) {
    SCOPED_TRACE("case " + std::to_string(i));
    const DType dtype = static_cast<DType>(Pick(random, 0, 3));
    View x = RandomView(random, dtype), y = x;
    const bool dense = random() % 3 != 0;
    const int64_t x_elements = RandomStrides(random, &x, dense), y_elements = RandomStrides(random, &y, dense);
    Case test{RandomCase(random), random() % 2 == 0 ? Pass::kForward : Pass::kBackward};
    const int64_t width = static_cast<int64_t>(SizeOf(dtype));
    test.x_shift = random() % 2 == 0 ? 0 : Pick(random, 0, 15) / width * width;
    test.y_shift = random() % 2 == 0 ? test.x_shift : Pick(random, 0, 15) / width * width;
    test.in_place = random() % 4 == 0;
    test.threads = SomeThreads(random);
    ASSERT_NO_FATAL_FAILURE(Compare(test, random, x, y, x_elements, y_elements));
  }
}

// Dense, but in an order of axes that is neither channels first nor last: the mask's bits are then in another order
// than the elements, and gains may move along an axis that is not the outermost.
TEST(EmulatedApplyCases, AnyOrderOfAxes) {
  Random random(7);
  for (int i = 0; i < 600; ++i) {
    SCOPED_TRACE("case " + std::to_string(i));
    View x = RandomView(random, static_cast<DType>(Pick(random, 0, 3)));
    int64_t* strides[5] = {&x.sample_stride, &x.channel_stride, &x.stride[0], &x.stride[1], &x.stride[2]};
    const int64_t sizes[5] = {x.samples, x.channels, x.size[0], x.size[1], x.size[2]};
    int order[5] = {0, 1, 2, 3, 4};
    std::shuffle(order, order + 5, random);
    int64_t elements = 1;
    for (const int axis : order) {
      *strides[axis] = elements;
      elements *= sizes[axis];
    }
    Case test{RandomCase(random)};
    test.threads = SomeThreads(random);
    ASSERT_NO_FATAL_FAILURE(Compare(test, random, x, x, elements, elements));
  }
}

// Planes whose channel is the outer axis and whose sample is the inner one, each a row long enough for vectors.
TEST(EmulatedApplyCases, ChannelsOutsideOfSamples) {
  Random random(9);
  View x = DenseView(nullptr, DType::kF32, 5, 3, {9, 9});
  x.channel_stride = 5 * 81;
  x.sample_stride = 81;
  for (const char* over : {"plane", "sample", "tensor"}) {
    Case test{std::string("dropblock:block=3,normalize=kept,over=") + over + "@0.3"};
    ASSERT_NO_FATAL_FAILURE(Compare(test, random, x, x, 5 * 3 * 81, 5 * 3 * 81));
  }
}

// More counts than a warp has threads.
TEST(EmulatedApplyCases, ManySamples) {
  Random random(8);
  for (const int64_t samples : {31, 32, 33, 100}) {
    ASSERT_NO_FATAL_FAILURE(
        CompareDense(Case{"dropout:normalize=kept@0.3"}, random, DenseView(nullptr, DType::kF32, samples, 3, {5})));
  }
}

// A caller's own mask may start in the middle of a vector.
TEST(EmulatedApplyCases, MisalignedMask) {
  Spec spec;
  ASSERT_TRUE(ParseSpec("dropout:normalize=none", &spec).ok());
  std::vector<float> in(999, 3.0f), out(in.size());
  const View x = DenseView(in.data(), DType::kF32, 3, 333, {});
  const View y = DenseView(out.data(), DType::kF32, 3, 333, {});
  MaskStorage storage;
  ASSERT_TRUE(storage.Reserve(spec, x).ok() && Sample(spec, 0.5f, kKey, x, OnReference(), &storage.mask).ok());
  Mask mask = storage.mask;
  std::vector<uint64_t> words(mask.num_words() + 1);
  std::copy_n(mask.bits, mask.num_words(), words.begin() + 1);
  mask.bits = words.data() + 1;
  ASSERT_TRUE(cuda::Apply(mask, Pass::kForward, x, y, Exec()).ok());
  for (size_t i = 0; i < out.size(); ++i) ASSERT_EQ(out[i], GetBit(mask.bits, i) ? 3.0f : 0.0f) << i;
}

// So many counts that the whole block sums them.
TEST(EmulatedApplyCases, CountsOfManySamples) {
  Spec spec;
  ASSERT_TRUE(ParseSpec("dropout:normalize=kept", &spec).ok());
  std::vector<float> in(3001 * 3), out(in.size()), expected(in.size());
  for (size_t i = 0; i < in.size(); ++i) in[i] = static_cast<float>(i + 1);
  const View x = DenseView(in.data(), DType::kF32, 3001, 3, {});
  MaskStorage storage;
  ASSERT_TRUE(storage.Reserve(spec, x).ok() && Sample(spec, 0.3f, kKey, x, OnReference(), &storage.mask).ok());
  for (const int threads : {32, 96, 256}) {
    cuda::emulated::SetThreads(threads);
    const View y = DenseView(out.data(), DType::kF32, 3001, 3, {});
    ASSERT_TRUE(cuda::Apply(storage.mask, Pass::kForward, x, y, Exec()).ok());
    const View z = DenseView(expected.data(), DType::kF32, 3001, 3, {});
    ASSERT_TRUE(Apply(storage.mask, Pass::kForward, x, z, OnReference()).ok());
    EXPECT_EQ(out, expected);
  }
  cuda::emulated::SetThreads(0);
}

// A device cannot read an element that lies across its own boundary.
TEST(EmulatedApplyCases, ElementsOffTheirBoundaryAreRefused) {
  Spec spec;
  ASSERT_TRUE(ParseSpec("dropout", &spec).ok());
  std::vector<uint8_t> in(64), out(64);
  View x = DenseView(in.data() + 2, DType::kF32, 1, 8, {}), y = DenseView(out.data(), DType::kF32, 1, 8, {});
  MaskStorage storage;
  ASSERT_TRUE(storage.Reserve(spec, x).ok() && Sample(spec, 0.5f, kKey, x, OnReference(), &storage.mask).ok());
  Status status = cuda::Apply(storage.mask, Pass::kForward, x, y, Exec());
  EXPECT_EQ(status.code(), Status::Code::kInvalid);
  EXPECT_NE(status.message().find("x.data"), std::string::npos) << status.message();
  status = cuda::Apply(storage.mask, Pass::kForward, y, x, Exec());
  EXPECT_NE(status.message().find("y.data"), std::string::npos) << status.message();
  EXPECT_EQ(out, std::vector<uint8_t>(64));
}

// ---------------------------------------------------------------- numbers that no test's memory has room for

TEST(EmulatedApplyNumbers, Quotients) {
  std::vector<int64_t> numbers;
  for (int64_t i = 0; i < 70; ++i) numbers.push_back(i);
  for (int shift = 7; shift <= 31; ++shift) {
    for (const int64_t near : {-2, -1, 0, 1, 2}) numbers.push_back((int64_t{1} << shift) + near);
  }
  Random random(6);
  for (int i = 0; i < 2000; ++i) numbers.push_back(Pick(random, 0, INT32_MAX));
  for (const int64_t divisor : numbers) {
    if (divisor < 1 || divisor > INT32_MAX) continue;
    const cuda::Quotient quotient = cuda::Quotient::By(divisor);
    for (const int64_t n : numbers) {
      if (n > INT32_MAX) continue;
      ASSERT_EQ(quotient.Of(static_cast<uint32_t>(n)), n / divisor) << n << " / " << divisor;
    }
  }
  EXPECT_EQ(cuda::Quotient::By(3).Of(int64_t{10'000'000'000}), 3'333'333'333);
}

// Sizes up to 2^42 elements: the launch that they make is one that a card takes, and covers them.
TEST(EmulatedApplyNumbers, ChunksOfHugeTensors) {
  for (const int64_t elements : {int64_t{1} << 31, (int64_t{1} << 32) + 1, int64_t{5'000'000'007}, int64_t{1} << 42}) {
    for (const int lanes : {2, 4, 8}) {
      for (const bool gain_is_long : {false, true}) {
        const int64_t chunk = cuda::ChunkOf(elements, lanes, 132, gain_is_long);
        const int64_t chunks = (elements + chunk - 1) / chunk;
        EXPECT_EQ(chunk % lanes, 0);
        EXPECT_GE(chunk, 8 * cuda::kBlockThreads * lanes);  // eight vectors a thread
        EXPECT_GE(chunks, 4 * 132 - 1);
        EXPECT_LE(chunks, INT32_MAX);
      }
    }
  }
}

TEST(EmulatedApplyNumbers, PiecesOfHugeMasks) {
  Spec spec;
  ASSERT_TRUE(ParseSpec("dropblock:block=7", &spec).ok());
  for (const Layout layout : {Layout::kChannelsFirst, Layout::kChannelsLast}) {
    for (const int64_t channels : {3, 256, 2016, 5000, 64 * 1009, 100'003}) {
      for (const int64_t side : {7, 56, 301}) {
        const int64_t samples = (int64_t{1} << 34) / (channels * side * side) + 2;
        const View x = DenseView(nullptr, DType::kBF16, samples, channels, {side, side}, layout);
        Mask mask;
        Plan plan;
        ASSERT_TRUE(Describe(spec, x, &mask).ok());
        ASSERT_TRUE(MakePlan(spec, x, &plan).ok());
        const cuda::Pieces pieces = cuda::MakePieces(plan, mask, 24 * 132);
        EXPECT_EQ(pieces.samples, samples);
        if (pieces.are_boxes()) {
          EXPECT_EQ(channels % pieces.box_channels, 0);
          EXPECT_EQ(pieces.box_channels % 32, 0);
          EXPECT_LE(pieces.box_channels * pieces.box_positions, cuda::kMostPieceBits);
          EXPECT_LE(pieces.box_channels * cuda::RowWords(pieces.box_positions), cuda::kMostRowWords);
          EXPECT_EQ(pieces.count, samples * (channels / pieces.box_channels) * pieces.position_parts.divisor);
          EXPECT_GE(pieces.box_positions * pieces.position_parts.divisor, side * side);
          EXPECT_LT(pieces.box_positions * (pieces.position_parts.divisor - 1), side * side);
          continue;
        }
        EXPECT_EQ(pieces.piece_bits % cuda::kVectorBits, 0);
        EXPECT_LE(pieces.piece_bits, pieces.most_bits);
        EXPECT_LE(pieces.most_bits, cuda::kMostPieceBits);
        EXPECT_GE(pieces.count * pieces.piece_bits, mask.num_bits);
        EXPECT_LT((pieces.count - 1) * pieces.piece_bits, mask.num_bits);
        if (!pieces.interleaved) continue;
        // What DrawInterleaved takes of the rows for a range that starts anywhere.
        const int64_t positions = (pieces.most_bits + channels - 2) / channels + 1;
        const int64_t row_words = (positions + 31) / 32 | 1;
        EXPECT_LE(row_words * std::min(channels, pieces.most_bits), cuda::kMostRowWords);
      }
    }
  }
}

// A tensor of [5][3][2^31 + 3] whose bits move along the two outer axes alone.
TEST(EmulatedApplyNumbers, BitsBeyond32BitElements) {
  constexpr int64_t kInner = (int64_t{1} << 31) + 3;
  Loop loop;
  loop.dims = 3;
  loop.step[0] = {5, 0, 0, 3, 0, 0, 0};
  loop.step[1] = {3, 0, 0, 1, 0, 0, 0};
  loop.step[2] = {kInner, 1, 1, 0, 0, 0, 0};
  const cuda::BitMap map = cuda::BitMapOf(loop);
  EXPECT_FALSE(map.narrow);
  std::vector<uint64_t> bits(8);
  bits[0] = 0b010'110'001'101'011;
  const cuda::GlobalMapped<int64_t> mapped(cuda::MaskVectors(bits.data(), 1), map);
  cuda::ElementsJob job{};
  job.loop = loop;
  for (int i = 0; i < loop.dims; ++i) job.size[i] = cuda::Quotient::By(loop.step[i].size);
  for (int64_t row = 0; row < 15; ++row) {
    const uint32_t here = (bits[0] >> row) & 1, next = (bits[0] >> (row + 1)) & 1;
    EXPECT_EQ(mapped.Keep(row * kInner, 8), here * 0xFF) << row;
    EXPECT_EQ(cuda::PlaceOf(job, row * kInner + 7).bit, row);
    if (row < 14) {
      EXPECT_EQ(mapped.Keep((row + 1) * kInner - 3, 8), here * 0x07 | next * 0xF8) << row;
    }
  }
}

// ApplyRange on elements numbered from 2^33 on.
__global__ void RangeFrom(const float* x, float* y, int64_t begin, int64_t end, const uint64_t* bits) {
  struct Shifted {
    const uint64_t* bits;
    int64_t begin;
    uint32_t Keep(int64_t e, int count) const { return static_cast<uint32_t>(LoadBits(bits, e - begin, count)); }
  };
  cuda::ApplyRange(x, y, begin, end, cuda::Maps<float>{2.0f, -1.0f}, Shifted{bits, begin}, cuda::Whole{});
}
TEST(EmulatedApplyNumbers, RangeBeyond32BitElements) {
  constexpr int64_t kBegin = (int64_t{1} << 33) + 5;
  std::vector<float> in(3000, 1.5f), out(in.size());
  std::vector<uint64_t> bits(47, 0x9249249249249249u);
  const auto before = [](std::vector<float>& memory) {
    return reinterpret_cast<float*>(reinterpret_cast<uintptr_t>(memory.data()) - kBegin * sizeof(float));
  };
  const Status status =
      cuda::Launch(RangeFrom, 1, 64, nullptr, before(in), before(out), kBegin, kBegin + 3000, bits.data());
  ASSERT_TRUE(status.ok());
  for (int64_t i = 0; i < 3000; ++i) ASSERT_EQ(out[i], GetBit(bits.data(), i) ? 3.0f : -1.0f) << i;
}

// The conversions that a vector uses, on every bit pattern of 16 bits.
template <typename T>
void ExpectPairs() {
  for (uint32_t i = 0; i < 0x10000; ++i) {
    const T one{static_cast<uint16_t>(i)}, other{static_cast<uint16_t>(0xFFFF - i)};
    const cuda::Maps<T> maps = {0.7f, 3.0f};
    const uint32_t word = one.bits | uint32_t{other.bits} << 16;
    const uint32_t low = cuda::MapElement<T>(one, true, maps).bits, high = cuda::MapElement<T>(other, true, maps).bits;
    const uint32_t fill = cuda::Narrow<T>(3.0f).bits;
    ASSERT_EQ(cuda::MapWord<T>(word, 3, maps), low | high << 16);
    ASSERT_EQ(cuda::MapWord<T>(word, 1, maps), low | fill << 16);
    ASSERT_EQ(cuda::MapWord<T>(word, 2, maps), fill | high << 16);
  }
}
TEST(EmulatedApplyNumbers, PairsOf16Bits) {
  ExpectPairs<Float16>();
  ExpectPairs<BFloat16>();
}

}  // namespace
}  // namespace dropkit

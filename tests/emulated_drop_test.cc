// Drop in one launch, run on the host: equal to the reference's Sample and Apply in mask, counts and outputs, for every
// way that elements share bits, and one launch wherever no gain waits for a count.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "dropkit/dropkit.h"
#include "emulated_grid.h"

namespace dropkit {
namespace {

namespace emulated = cuda::emulated;

struct Case {
  std::string line;
  float p;
  DType dtype;
  View shape;
  Pass pass = Pass::kForward;
  bool device_p = false, in_place = false, one_count = false;
  size_t shift = 0;  // of x and y, in elements
};

// Bytes that are all the same before, so that what is written outside is seen.
struct Run {
  std::vector<uint8_t> x, y;
  MaskStorage storage;
  Status status;
};

void Start(const Case& c, const std::vector<uint8_t>& data, const std::string& backend, std::vector<uint64_t>* scratch,
           Run* run) {
  Spec spec;
  ASSERT_TRUE(ParseSpec(c.line, &spec).ok());
  const size_t width = SizeOf(c.dtype);
  run->x = data;
  run->y.assign(data.size(), 0xEE);
  View x = c.shape, y = c.shape;
  x.dtype = y.dtype = c.dtype;
  x.data = run->x.data() + c.shift * width;
  y.data = c.in_place ? x.data : run->y.data() + c.shift * width;
  Exec exec;
  exec.backend = backend.c_str();
  run->storage.mask.one_count = c.one_count;
  ASSERT_TRUE(run->storage.Reserve(spec, x).ok());
  ASSERT_TRUE(ScratchBytes(spec, x, exec, &exec.scratch_bytes).ok());
  scratch->resize(std::max(scratch->size(), exec.scratch_bytes / 8 + 16), 0x5A5A5A5A5A5A5A5Au);
  void* start = scratch->data();
  size_t room = scratch->size() * 8;
  exec.scratch = std::align(64, exec.scratch_bytes, start, room);
  static const uint64_t key[2] = {99, 5};
  const Probability p = c.device_p ? Probability(&c.p) : Probability(c.p);
  run->status = Drop(spec, p, key, c.pass, x, y, exec, &run->storage.mask);
}

// Equal bytes, or both a NaN.
void ExpectSame(DType dtype, const std::vector<uint8_t>& found, const std::vector<uint8_t>& expected) {
  const size_t width = SizeOf(dtype);
  const auto is_nan = [&](const std::vector<uint8_t>& bytes, size_t i) {
    uint64_t bits = 0;
    std::memcpy(&bits, bytes.data() + i * width, width);
    if (dtype == DType::kF32) return (bits & 0x7FFFFFFFu) > 0x7F800000u;
    if (dtype == DType::kF64) return (bits & 0x7FFFFFFFFFFFFFFFu) > 0x7FF0000000000000u;
    return (bits & 0x7FFFu) > (dtype == DType::kF16 ? 0x7C00u : 0x7F80u);
  };
  ASSERT_EQ(found.size(), expected.size());
  for (size_t i = 0; i < found.size() / width; ++i) {
    if (std::memcmp(found.data() + i * width, expected.data() + i * width, width) == 0) continue;
    ASSERT_TRUE(is_nan(found, i) && is_nan(expected, i)) << "element " << i;
  }
}

int Launched(const Case& c) {
  const bool two = c.line.find("normalize=kept") != std::string::npos ||
                   (c.line.find("fill=noise") != std::string::npos && c.pass == Pass::kForward);
  return two ? 2 : 1;
}

void Compare(const Case& c, std::mt19937_64* random, std::vector<uint64_t>* scratch) {
  SCOPED_TRACE(c.line + "@" + std::to_string(c.p) + " " + Name(c.dtype) + " " + std::to_string(c.shape.samples) + "," +
               std::to_string(c.shape.channels) + "," + std::to_string(c.shape.size[0]) + "," +
               std::to_string(c.shape.size[1]) + "," + std::to_string(c.shape.size[2]) +
               (c.shape.channel_stride == 1 ? " last" : "") + (c.device_p ? " p in memory" : "") +
               (c.in_place ? " in place" : "") + " shift " + std::to_string(c.shift));
  const int64_t cells = c.shape.size[0] * c.shape.size[1] * c.shape.size[2];
  const size_t count = static_cast<size_t>(c.shape.samples * c.shape.channels * cells) + c.shift + 8;
  std::vector<uint8_t> data(count * SizeOf(c.dtype));
  for (uint8_t& byte : data) byte = static_cast<uint8_t>((*random)());
  Run expected, found;
  Start(c, data, "reference", scratch, &expected);
  ASSERT_TRUE(expected.status.ok()) << expected.status.message();
  emulated::ForgetLaunches();
  Start(c, data, "cuda", scratch, &found);
  ASSERT_TRUE(found.status.ok()) << found.status.message();
  EXPECT_EQ(emulated::Launches().size(), static_cast<size_t>(Launched(c)));
  EXPECT_EQ(emulated::Zeroings(), 0);
  const Mask &a = found.storage.mask, &b = expected.storage.mask;
  EXPECT_EQ(std::vector<uint64_t>(a.bits, a.bits + a.num_words()),
            std::vector<uint64_t>(b.bits, b.bits + b.num_words()));
  EXPECT_EQ(std::vector<int64_t>(a.kept, a.kept + a.num_kept), std::vector<int64_t>(b.kept, b.kept + b.num_kept));
  EXPECT_EQ(*a.threshold, *b.threshold);
  ExpectSame(c.dtype, found.x, expected.x);
  ExpectSame(c.dtype, found.y, expected.y);
}

const char* const kLines[] = {
    "dropblock:block=3,normalize=expected",
    "dropblock:block=5,normalize=asked,rate=calibrated",
    "dropblock:block=3,normalize=kept",
    "dropblock:block=3,normalize=kept,over=sample",
    "dropblock:block=3,normalize=none,share=batch",
    "dropblock:block=3,normalize=expected,share=channels,rate=calibrated",
    "dropblock:block=3,normalize=none,share=all,fill=2.5",
    "dropout",
    "dropout:share=channels,over=plane",
    "dropout:share=batch",
    "dropout:share=all,normalize=asked",
    "dropout:normalize=asked,fill=noise",
    "spatial_dropout",
    "spatial_dropout:share=batch",
    "drop_path",
    "drop_path:share=batch",
    "cutout:size=5",
    "cutout:size=3,share=none,normalize=expected,holes=3",
    "drop_connect:share=none",
};
constexpr float kProbabilities[] = {0.0f, 0.01f, 0.1f, 0.5f, 0.8f, 1.0f};

// ThreadSanitizer is that much slower, and needs a case of each kind alone.
#if defined(__SANITIZE_THREAD__)
constexpr int kSlower = 5;
#else
constexpr int kSlower = 1;
#endif

void RunCases(unsigned seed, int count) {
  count /= kSlower;
  std::mt19937_64 random(seed);
  const auto below = [&](int64_t number) { return static_cast<int64_t>(random() % static_cast<uint64_t>(number)); };
  std::vector<uint64_t> scratch;
  for (int done = 0; done < count;) {
    Case c;
    c.line = kLines[below(std::size(kLines))];
    c.p = kProbabilities[below(std::size(kProbabilities))];
    c.dtype = static_cast<DType>(below(4));
    std::vector<int64_t> sizes;
    const int dims = static_cast<int>(below(10) < 7 ? 2 : below(4));
    for (int i = 0; i < dims; ++i) sizes.push_back(1 + below(dims == 1 ? 400 : dims == 2 ? 40 : 12));
    const Layout layout = below(2) == 0 ? Layout::kChannelsFirst : Layout::kChannelsLast;
    const int64_t samples = 1 + below(below(3) == 0 ? 40 : 4);
    // Channels last of whole words are drawn in boxes.
    const int64_t channels = below(4) == 0 ? 32 * (1 + below(4)) : 1 + below(below(3) == 0 ? 100 : 8);
    c.shape = DenseView(nullptr, c.dtype, samples, channels, sizes, layout, below(1000));
    c.pass = below(4) == 0 ? Pass::kBackward : Pass::kForward;
    c.device_p = below(2) == 0;
    c.in_place = below(3) == 0;
    c.one_count = c.line.find("over=") == std::string::npos && below(3) == 0;
    c.shift = below(2) == 0 ? 0 : static_cast<size_t>(below(9));
    Spec spec;
    RateInfo info;
    if (!ParseSpec(c.line, &spec).ok() || !Rates(spec, c.p, c.shape, &info).ok()) continue;
    constexpr int kThreads[] = {32, 64, 128, 256};
    emulated::SetThreads(kThreads[below(4)]);
    emulated::SetSeed(random());
    emulated::SetMultiprocessors(static_cast<int>(1 + below(5)));
    Compare(c, &random, &scratch);
    if (testing::Test::HasFailure()) return;
    ++done;
  }
  emulated::SetThreads(0);
}

TEST(EmulatedDropTest, EqualsTheReference) { RunCases(3, 500); }

// Ranges that are a part of a step of an axis (a long sample with one bit), some steps of it, and all of a mask.
TEST(EmulatedDropTest, RangesOfEveryKind) {
  std::mt19937_64 random(5);
  std::vector<uint64_t> scratch;
  emulated::SetThreads(64);
  emulated::SetMultiprocessors(1);
  const std::vector<int64_t> map = {70, 71};
  for (const Layout layout : {Layout::kChannelsFirst, Layout::kChannelsLast}) {
    for (const char* line : {"drop_path", "spatial_dropout", "dropout:share=channels", "dropout:share=batch",
                             "dropblock:block=7,share=all,normalize=none"}) {
      Case c{line, 0.3f, DType::kBF16, DenseView(nullptr, DType::kBF16, 3, 9, map, layout)};
      Compare(c, &random, &scratch);
      c.shape =
          DenseView(nullptr, DType::kBF16, 2, 2, {300, 301}, layout);  // a shared map larger than a block's memory
      Compare(c, &random, &scratch);
    }
  }
  emulated::SetThreads(0);
}

// With a workspace for what the tests below call themselves.
Exec With(const char* backend) {
  alignas(64) static uint64_t scratch[512];
  Exec exec;
  exec.backend = backend;
  exec.scratch = scratch;
  exec.scratch_bytes = sizeof(scratch);
  return exec;
}

// Channels last in boxes: in vectors, by elements where x is off their boundary, more than one step of the main loop.
TEST(EmulatedDropTest, Boxes) {
  std::mt19937_64 random(8);
  std::vector<uint64_t> scratch;
  emulated::SetMultiprocessors(1);
  for (const char* line : {"dropout", "dropblock:block=3,normalize=expected", "dropblock:block=3,normalize=kept",
                           "dropout:share=batch", "dropout:over=plane"}) {
    for (const DType dtype : {DType::kF32, DType::kF16, DType::kBF16, DType::kF64}) {
      for (const size_t shift : {0, 1, 8}) {
        for (const int64_t channels : {32, 96, 128}) {
          Case c{line, 0.2f, dtype, DenseView(nullptr, dtype, 2, channels, {23, 25}, Layout::kChannelsLast)};
          c.shift = shift;
          c.in_place = shift == 8;
          emulated::SetThreads(shift == 0 ? 256 : 32);
          Compare(c, &random, &scratch);
          if (HasFailure()) return;
        }
      }
    }
  }
  emulated::SetThreads(0);
  emulated::SetMultiprocessors(4);
}

// While a mask is drawn for another launch, the start of a dense x is fetched: every byte once, none beyond.
TEST(EmulatedDropTest, XIsFetchedAhead) {
  Spec spec;
  ASSERT_TRUE(ParseSpec("dropblock:block=3", &spec).ok());
  const uint64_t key[2] = {1, 2};
  for (const int64_t samples : {1, 40}) {  // less than a third of the emulated cache, and more
    static float x[40 * 100], y[40 * 100];
    const View from = DenseView(x, DType::kF32, samples, 1, {10, 10});
    const View to = DenseView(y, DType::kF32, samples, 1, {10, 10});
    const Exec exec = With("cuda");
    MaskStorage storage;
    ASSERT_TRUE(storage.Reserve(spec, from).ok());
    emulated::ForgetLaunches();
    ASSERT_TRUE(Sample(spec, 0.1f, key, from, exec, &storage.mask).ok());
    EXPECT_TRUE(emulated::AllFetched().empty());
    ASSERT_TRUE(Apply(storage.mask, Pass::kForward, from, to, exec).ok());
    const size_t by_apply = emulated::AllFetched().size();
    emulated::ForgetLaunches();
    ASSERT_TRUE(Drop(spec, 0.1f, key, Pass::kForward, from, to, exec, &storage.mask).ok());
    std::vector<emulated::Fetched> ahead = emulated::AllFetched();
    ASSERT_GE(ahead.size(), by_apply);
    ahead.resize(ahead.size() - by_apply);  // the second launch's come last
    std::sort(ahead.begin(), ahead.end(), [](const auto& a, const auto& b) { return a.address < b.address; });
    const char* next = reinterpret_cast<const char*>(x);
    for (const emulated::Fetched& fetched : ahead) {
      EXPECT_EQ(fetched.address, next);
      next += fetched.bytes;
    }
    EXPECT_EQ(next - reinterpret_cast<const char*>(x), std::min<int64_t>(samples * 400, 4096 / 3));
  }
}

// Neither launch is made, so the mask stays what it was.
TEST(EmulatedDropTest, ElementsOffTheirBoundaryAreRefused) {
  std::vector<uint8_t> in(64), out(64);
  const uint64_t key[2] = {1, 2};
  for (const char* line : {"dropout", "dropblock:block=3"}) {
    Spec spec;
    ASSERT_TRUE(ParseSpec(line, &spec).ok());
    const View x = DenseView(in.data() + 2, DType::kF32, 1, 1, {3, 3}),
               y = DenseView(out.data(), DType::kF32, 1, 1, {3, 3});
    const Exec exec = With("cuda");
    MaskStorage storage;
    ASSERT_TRUE(storage.Reserve(spec, x).ok());
    storage.mask.bits[0] = 0x1234;
    emulated::ForgetLaunches();
    const Status status = Drop(spec, 0.5f, key, Pass::kForward, x, y, exec, &storage.mask);
    EXPECT_EQ(status.code(), Status::Code::kInvalid);
    EXPECT_NE(status.message().find("x.data"), std::string::npos) << status.message();
    EXPECT_TRUE(emulated::Launches().empty());
    EXPECT_EQ(storage.mask.bits[0], 0x1234u);
  }
}

TEST(EmulatedDropTest, ABadPInMemoryGivesNaN) {
  std::mt19937_64 random(6);
  std::vector<uint64_t> scratch;
  for (const char* line : {"dropout", "dropblock:block=3,normalize=kept", "spatial_dropout"}) {
    Case c{line, 1.5f, DType::kF32, DenseView(nullptr, DType::kF32, 2, 3, {9, 9})};
    c.device_p = true;
    Compare(c, &random, &scratch);
  }
}

// Two passes over a strided x: the vector kernels do not take it, so they are two launches, and right.
TEST(EmulatedDropTest, StridedX) {
  Spec spec;
  ASSERT_TRUE(ParseSpec("dropout", &spec).ok());
  std::vector<float> memory(2 * 3 * 10 * 10), y(2 * 3 * 5 * 10), expected(y.size());
  for (size_t i = 0; i < memory.size(); ++i) memory[i] = static_cast<float>(i + 1);
  View from = DenseView(memory.data(), DType::kF32, 2, 3, {10, 10});
  from.size[0] = 5;
  from.stride[0] = 20;
  const uint64_t key[2] = {1, 2};
  for (const char* backend : {"reference", "cuda"}) {
    const Exec exec = With(backend);
    MaskStorage storage;
    ASSERT_TRUE(storage.Reserve(spec, from).ok());
    const bool device = std::string(backend) == "cuda";
    const View to = DenseView(device ? y.data() : expected.data(), DType::kF32, 2, 3, {5, 10});
    emulated::ForgetLaunches();
    const Status status = Drop(spec, 0.4f, key, Pass::kForward, from, to, exec, &storage.mask);
    ASSERT_TRUE(status.ok()) << status.message();
    EXPECT_EQ(emulated::Launches().size(), device ? 2u : 0u);
  }
  EXPECT_EQ(y, expected);
}

}  // namespace
}  // namespace dropkit

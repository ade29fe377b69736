// The sampling kernels, run on the host over whole grids, against the reference backend: bits, counts and T to the bit,
// whatever the order of blocks, their threads and number, and whatever an earlier launch left in the workspace.
#include <gtest/gtest.h>

#include <random>
#include <string>
#include <vector>

#include "dropkit/dropkit.h"
#include "emulated_grid.h"

namespace dropkit {
namespace {

namespace emulated = cuda::emulated;

struct Memory {  // of a mask, on what the emulation takes for a device; every word is spoilt before
  Mask mask;
  std::vector<uint64_t> bits, threshold;
  std::vector<int64_t> kept;
  Memory(const Spec& spec, const View& x, bool one_count) {
    mask.one_count = one_count;
    EXPECT_TRUE(Describe(spec, x, &mask).ok());
    bits.assign(static_cast<size_t>(mask.num_words()) + 1, 0xA5A5A5A5A5A5A5A5u);
    kept.assign(static_cast<size_t>(mask.num_kept) + 1, -77);
    threshold.assign(1, 3);
    mask.bits = bits.data();
    mask.kept = kept.data();
    mask.threshold = threshold.data();
  }
};

struct Given {  // how a case draws
  std::string line;
  float p = 0.1f;
  View x;
  bool device_p = false, one_count = false;
  uint64_t key[2] = {7, 11};
  std::vector<uint8_t> seeds;  // not empty: Spread, or Pack for dropout
};

std::string Text(const Given& given) {
  std::string text = given.line + "@" + std::to_string(given.p) + " " + std::to_string(given.x.samples) + "," +
                     std::to_string(given.x.channels);
  for (int i = 0; i < given.x.spatial_dims; ++i) text += "," + std::to_string(given.x.size[i]);
  if (given.x.channel_stride == 1) text += " last";
  if (given.device_p) text += " p in memory";
  if (given.one_count) text += " one count";
  return text + " first sample " + std::to_string(given.x.first_sample);
}

Status Write(const Given& given, const Spec& spec, const Exec& exec, Mask* mask) {
  const Probability p = given.device_p ? Probability(&given.p) : Probability(given.p);
  if (given.seeds.empty()) return Sample(spec, p, given.key, given.x, exec, mask);
  const bool packs = spec.method == Method::kDropout && spec.share == Share::kNone;
  return packs ? Pack(spec, p, given.seeds.data(), given.x, exec, mask)
               : Spread(spec, p, given.seeds.data(), given.x, exec, mask);
}

// `scratch` is what an earlier launch left.
void Compare(const Given& given, std::vector<uint64_t>* scratch) {
  SCOPED_TRACE(Text(given));
  Spec spec;
  ASSERT_TRUE(ParseSpec(given.line, &spec).ok());
  Memory expected(spec, given.x, given.one_count), found(spec, given.x, given.one_count);
  Exec reference, device;
  reference.backend = "reference";
  ASSERT_TRUE(Write(given, spec, reference, &expected.mask).ok());
  device.backend = "cuda";
  ASSERT_TRUE(ScratchBytes(spec, given.x, device, &device.scratch_bytes).ok());
  scratch->resize(std::max(scratch->size(), device.scratch_bytes / 8 + 16), 0x123456789ABCDEFu);
  void* start = scratch->data();
  size_t room = scratch->size() * 8;
  device.scratch = std::align(64, device.scratch_bytes, start, room);
  emulated::ForgetLaunches();
  const Status status = Write(given, spec, device, &found.mask);
  ASSERT_TRUE(status.ok()) << status.message();
  EXPECT_EQ(emulated::Launches().size(), 1u);
  EXPECT_EQ(emulated::Zeroings(), given.seeds.empty() ? 0 : 1);
  EXPECT_EQ(found.bits, expected.bits);
  EXPECT_EQ(found.kept, expected.kept);
  EXPECT_EQ(found.threshold, expected.threshold);
}

const char* const kLines[] = {
    "dropblock:block=7",
    "dropblock:block=3,region=whole",
    "dropblock:block=4,region=whole,anchor=after,rate=plain,clip=none",
    "dropblock:block=3,rate=raw",
    "dropblock:block=5,rate=calibrated,normalize=expected",
    "dropblock:block=2,share=batch",
    "dropblock:block=3,share=channels",
    "dropblock:block=3,share=all,over=plane",
    "dropblock:block=3,over=plane",
    "dropblock:block=3,over=sample",
    "dropout",
    "dropout:share=channels",
    "dropout:share=batch,over=plane",
    "dropout:over=plane",
    "dropout:share=all",
    "spatial_dropout",
    "spatial_dropout:share=batch,over=plane",
    "drop_path",
    "drop_path:share=batch",
    "drop_path:over=plane",
    "cutout:size=5,holes=2",
    "cutout:size=4,share=none,region=valid",
    "drop_connect:share=none",
};
constexpr float kProbabilities[] = {0.0f, 0.001f, 0.03f, 0.1f, 0.3f, 0.5f, 0.77f, 0.999f, 1.0f};

class Cases {
 public:
  explicit Cases(unsigned seed) : random_(seed) {}
  int64_t Below(int64_t count) { return static_cast<int64_t>(random_() % static_cast<uint64_t>(count)); }
  template <typename T, size_t kCount>
  T Of(const T (&values)[kCount]) {
    return values[Below(kCount)];
  }
  Given Next() {
    Given given;
    given.line = Of(kLines);
    given.p = Of(kProbabilities);
    const int dims = static_cast<int>(Below(10) < 7 ? 2 : Below(4));
    std::vector<int64_t> sizes;
    for (int i = 0; i < dims; ++i) sizes.push_back(1 + Below(dims == 1 ? 300 : dims == 2 ? 40 : 12));
    // Channels last of whole words are drawn in boxes.
    const int64_t channels = Below(4) == 0 ? 32 * (1 + Below(6)) : 1 + Below(Below(3) == 0 ? 130 : 9);
    const int64_t samples = 1 + Below(Below(4) == 0 ? 70 : 4);
    const Layout layout = Below(2) == 0 ? Layout::kChannelsFirst : Layout::kChannelsLast;
    given.x = DenseView(nullptr, DType::kF32, samples, channels, sizes, layout, Below(2) * Below(int64_t{1} << 40));
    given.device_p = Below(2) == 0;
    given.one_count = given.line.find("over=") == std::string::npos && Below(3) == 0;
    given.key[0] = random_();
    given.key[1] = random_();
    return given;
  }
  bool Fits(const Given& given) {
    Spec spec;
    Mask mask;
    RateInfo info;
    return ParseSpec(given.line, &spec).ok() && Rates(spec, given.p, given.x, &info).ok() &&
           Describe(spec, given.x, &mask).ok();
  }

 private:
  std::mt19937_64 random_;
};

// ThreadSanitizer is that much slower, and needs a case of each kind alone.
#if defined(__SANITIZE_THREAD__)
constexpr int kSlower = 5;
#else
constexpr int kSlower = 1;
#endif

void RunCases(unsigned seed, int count, bool spread) {
  count /= kSlower;
  Cases cases(seed);
  std::vector<uint64_t> scratch;
  for (int done = 0; done < count;) {
    Given given = cases.Next();
    if (!cases.Fits(given)) continue;
    Spec spec;
    RateInfo info;
    ASSERT_TRUE(ParseSpec(given.line, &spec).ok());
    ASSERT_TRUE(Rates(spec, given.p, given.x, &info).ok());
    if (spread) {
      int64_t lanes = info.lanes;
      if (spec.method == Method::kCutout) {
        lanes = (spec.share == Share::kNone ? given.x.channels : 1) * info.positions[0] * info.positions[1] *
                info.positions[2];
      }
      const bool shared = spec.share == Share::kBatch || spec.share == Share::kAll;
      given.seeds.resize(static_cast<size_t>(lanes * (shared ? 1 : given.x.samples)) + 1);
      for (uint8_t& seed_byte : given.seeds) seed_byte = cases.Below(20) == 0 ? 1 + cases.Below(255) : 0;
    }
    constexpr int kThreads[] = {32, 64, 96, 256};
    emulated::SetThreads(cases.Of(kThreads));
    emulated::SetSeed(seed + static_cast<unsigned>(done));
    emulated::SetMultiprocessors(static_cast<int>(1 + cases.Below(6)));
    Compare(given, &scratch);
    if (testing::Test::HasFailure()) return;
    ++done;
  }
  emulated::SetThreads(0);
}

TEST(EmulatedSampleTest, DrawsWhatTheReferenceDraws) { RunCases(1, 500, false); }
TEST(EmulatedSampleTest, SpreadsAndPacksGivenBytes) { RunCases(2, 150, true); }

// Sizes around a tile, a word, a vector and a piece; few of the random ones are there.
TEST(EmulatedSampleTest, SizesAroundEveryBoundary) {
  std::vector<uint64_t> scratch;
  emulated::SetThreads(64);
  for (const char* line : {"dropout", "dropout:share=batch", "dropblock:block=3", "spatial_dropout", "drop_path"}) {
    for (const int64_t size : {31, 32, 33, 63, 64, 65, 127, 128, 129, 511, 512, 513, 2047, 2048, 2049, 4097}) {
      for (const bool rows : {false, true}) {
        Given given;
        given.line = line;
        given.p = 0.2f;
        given.x = rows ? DenseView(nullptr, DType::kF32, 3, size, {3}, Layout::kChannelsLast)
                       : DenseView(nullptr, DType::kF32, 3, 2, {size});
        Compare(given, &scratch);
        if (HasFailure()) return;
      }
    }
  }
  emulated::SetThreads(0);
}

// Boxes of channels last: maps around a word of positions and around what a box can hold, widths that divide the
// channels or do not, a mask that ends in half a word.
TEST(EmulatedSampleTest, BoxesAroundEveryBoundary) {
  std::vector<uint64_t> scratch;
  for (const char* line :
       {"dropout", "dropout:over=plane", "dropblock:block=3,rate=raw", "dropout:share=batch,over=plane",
        "dropblock:block=3,rate=raw,share=batch", "cutout:size=5,holes=3,share=none"}) {
    for (const int64_t size : {2, 31, 32, 33, 255, 256, 257, 511, 512, 513, 1023, 1025, 2047, 2049}) {
      for (const int64_t channels : {32, 64, 96, 160}) {
        if (size > 600 && channels > 64) continue;
        Given given;
        given.line = line;
        given.p = size % 2 == 0 ? 0.02f : 0.3f;
        given.one_count = size % 3 == 0 && given.line.find("over") == std::string::npos;
        given.device_p = size % 5 == 0;
        given.x = DenseView(nullptr, DType::kF32, size > 600 ? 1 : 3, channels, {size}, Layout::kChannelsLast);
        emulated::SetThreads(size % 2 == 0 ? 64 : 256);
        emulated::SetMultiprocessors(size % 7 == 0 ? 20 : 1);
        Compare(given, &scratch);
        if (HasFailure()) return;
      }
    }
  }
  emulated::SetThreads(0);
  emulated::SetMultiprocessors(4);
}

// More marks than a block has room for, and maps whose classes of coverage are more than a block sums side by side.
TEST(EmulatedSampleTest, ManyMarksAndManyClasses) {
  std::vector<uint64_t> scratch;
  emulated::SetMultiprocessors(1);
  for (const Layout layout : {Layout::kChannelsFirst, Layout::kChannelsLast}) {
    for (const bool device_p : {false, true}) {
      for (const char* line : {"dropblock:block=3,rate=raw", "dropblock:block=31,rate=calibrated",
                               "dropblock:block=20x19,rate=calibrated,region=whole"}) {
        Given given;
        given.line = line;
        given.p = 0.03f;
        given.device_p = device_p;
        given.x = DenseView(nullptr, DType::kF32, 1, 32, {70, 75}, layout);
        Compare(given, &scratch);
      }
      Given given;
      given.line = "dropblock:block=8,rate=calibrated";
      given.device_p = device_p;
      given.x = DenseView(nullptr, DType::kF32, 1, 2, {20, 21, 22}, layout);
      Compare(given, &scratch);
    }
  }
  emulated::SetMultiprocessors(4);
}

// More channels than a block has rows for; a map of several pieces; a sample of many.
TEST(EmulatedSampleTest, LargeMasks) {
  std::vector<uint64_t> scratch;
  emulated::SetMultiprocessors(1);
  const auto compare = [&](const char* line, float p, const View& x) {
    Given given;
    given.line = line;
    given.p = p;
    given.x = x;
    Compare(given, &scratch);
  };
  for (const Layout layout : {Layout::kChannelsFirst, Layout::kChannelsLast}) {
    compare("dropout", 0.3f, DenseView(nullptr, DType::kF32, 2, 5001, {3, 2}, layout));
    compare("dropblock:block=3,rate=raw", 0.02f, DenseView(nullptr, DType::kF32, 1, 4200, {4, 5}, layout));
    compare("dropblock:block=2,rate=raw", 0.01f, DenseView(nullptr, DType::kF32, 1, 2000, {9, 8}, layout));
    compare("dropblock:block=31", 0.1f, DenseView(nullptr, DType::kF32, 1, 3, {300, 311}, layout));
    compare("dropblock:block=7", 0.1f, DenseView(nullptr, DType::kF32, 3, 64, {56, 56}, layout));
    compare("dropblock:block=5,over=plane", 0.1f, DenseView(nullptr, DType::kF32, 2, 40, {60, 70}, layout));
    compare("drop_connect:share=none", 0.3f, DenseView(nullptr, DType::kF32, 1, 7, {200, 300}, layout));
    compare("dropblock:block=3x5x7,clip=none,region=whole,rate=raw", 0.01f,
            DenseView(nullptr, DType::kF32, 2, 3, {20, 21, 22}, layout));
  }
  emulated::SetMultiprocessors(4);
}

// A count of more pieces than a warp, or a block, reads the slots of at once.
TEST(EmulatedSampleTest, CountsOfManyPieces) {
  std::vector<uint64_t> scratch;
  Given given;
  given.line = "dropout";
  given.p = 0.3f;
  given.one_count = true;
  given.x = DenseView(nullptr, DType::kF32, 1, 3, {800, 700});
  emulated::SetMultiprocessors(200);
  Compare(given, &scratch);  // by warps
  EXPECT_GT(emulated::Launches().back().blocks, 2 * 256);
  emulated::SetMultiprocessors(1);
  emulated::SetThreads(32);
  given.x = DenseView(nullptr, DType::kF32, 1, 7, {2000, 1300});
  Compare(given, &scratch);  // by blocks, of 32 threads
  EXPECT_GT(scratch.size(), 2 * 256u);
  emulated::SetThreads(0);
  emulated::SetMultiprocessors(4);
}

// The slots of an earlier launch with another key are not counted, nor is what was in the memory before.
TEST(EmulatedSampleTest, CountsDoNotDependOnTheWorkspace) {
  std::vector<uint64_t> scratch;
  Given given;
  given.line = "dropout";
  given.p = 0.4f;
  given.x = DenseView(nullptr, DType::kF32, 1, 3, {64, 64});
  for (uint64_t round = 0; round < 20; ++round) {
    given.key[1] = round / 2;  // each twice: what the first left is then right
    given.one_count = round % 3 == 0;
    emulated::SetSeed(round);
    Compare(given, &scratch);
  }
}

// A block that writes a count before all of its parts are there would be right in the end here, where blocks run one
// after another, and wrong on a card, where a later one may be overtaken.
TEST(EmulatedSampleTest, ACountIsWrittenOnceItIsWhole) {
  struct Watch {
    const std::vector<int64_t>* kept;
    int incomplete = 0, early = 0;
    std::vector<int64_t> expected;
  };
  Spec spec;
  ASSERT_TRUE(ParseSpec("dropout", &spec).ok());
  for (int round = 0; round < 4; ++round) {
    const bool one_count = round % 2 == 0, by_blocks = round >= 2;  // else by warps
    emulated::SetMultiprocessors(by_blocks ? 1 : 4);
    const View x = DenseView(nullptr, DType::kF32, 2, 3, {by_blocks ? 200 : 64, 64});
    Memory whole(spec, x, one_count), memory(spec, x, one_count);
    const uint64_t key[2] = {3, 4};
    Exec exec;
    exec.backend = "reference";
    ASSERT_TRUE(Sample(spec, 0.3f, key, x, exec, &whole.mask).ok());
    Watch watch{&memory.kept, 0, 0, whole.kept};
    alignas(64) static uint64_t scratch[1024];
    exec.backend = "cuda";
    exec.scratch = scratch;
    exec.scratch_bytes = sizeof(scratch);
    emulated::SetAfterBlock(
        [](void* context, int64_t left) {
          Watch& watch = *static_cast<Watch*>(context);
          for (size_t i = 0; i + 1 < watch.kept->size(); ++i) {
            const int64_t found = (*watch.kept)[i];
            if (found != -77 && found != watch.expected[i]) ++watch.incomplete;
            if (left > 0 && found == -77) ++watch.early;
          }
        },
        &watch);
    const Status status = Sample(spec, 0.3f, key, x, exec, &memory.mask);
    emulated::SetAfterBlock(nullptr, nullptr);
    ASSERT_TRUE(status.ok());
    EXPECT_EQ(watch.incomplete, 0);
    EXPECT_GT(watch.early, 0);  // else there were no parts to wait for
    EXPECT_EQ(memory.kept, whole.kept);
  }
  emulated::SetMultiprocessors(4);
}

// The same draw again with a workspace that overlaps the first one's: slots that were moved bear numbers of other
// pieces.
TEST(EmulatedSampleTest, SlotsThatWereMovedAreNotCounted) {
  struct Watch {
    const std::vector<int64_t>* kept;
    std::vector<int64_t> expected;
    int wrong = 0;
  };
  Spec spec;
  ASSERT_TRUE(ParseSpec("dropout", &spec).ok());
  for (const Layout layout : {Layout::kChannelsFirst, Layout::kChannelsLast}) {
    const View x = DenseView(nullptr, DType::kF32, 2, 64, {56, 56}, layout);
    const uint64_t key[2] = {3, 4};
    alignas(64) static uint64_t scratch[4096];
    Memory whole(spec, x, false);
    Exec exec;
    exec.backend = "reference";
    ASSERT_TRUE(Sample(spec, 0.3f, key, x, exec, &whole.mask).ok());
    for (const size_t moved : {0, 8, 16, 64}) {
      Memory memory(spec, x, false);
      Watch watch{&memory.kept, whole.kept, 0};
      exec.backend = "cuda";
      exec.scratch = scratch + moved;
      exec.scratch_bytes = sizeof(scratch) - moved * sizeof(uint64_t);
      emulated::SetAfterBlock(
          [](void* context, int64_t) {
            Watch& watch = *static_cast<Watch*>(context);
            for (size_t i = 0; i < 2; ++i) {
              const int64_t found = (*watch.kept)[i];
              watch.wrong += found != -77 && found != watch.expected[i];
            }
          },
          &watch);
      const Status status = Sample(spec, 0.3f, key, x, exec, &memory.mask);
      emulated::SetAfterBlock(nullptr, nullptr);
      ASSERT_TRUE(status.ok()) << status.message();
      EXPECT_GT(emulated::Launches().back().blocks, 2);
      EXPECT_EQ(watch.wrong, 0) << moved;
      EXPECT_EQ(memory.kept, whole.kept);
    }
  }
}

// Another shape whose lanes, pieces and blocks are the same, but not the words that a centre is drawn from, must not be
// counted either, though the last block would put that right here.
TEST(EmulatedSampleTest, SlotsOfAnotherShapeAreNotCounted) {
  struct Watch {
    const std::vector<int64_t>* kept;
    int64_t expected = 0;
    int wrong = 0;
  };
  const View flat = DenseView(nullptr, DType::kF32, 1, 1, {10000}),
             row = DenseView(nullptr, DType::kF32, 1, 1, {1, 10000});
  const uint64_t key[2] = {3, 4};
  alignas(64) static uint64_t scratch[1024];
  Watch watch{};
  for (const View& x : {flat, row}) {
    Spec spec;
    ASSERT_TRUE(ParseSpec(x.spatial_dims == 1 ? "cutout:size=50,holes=60" : "cutout:size=1x50,holes=60", &spec).ok());
    Memory whole(spec, x, false), memory(spec, x, false);
    Exec exec;
    exec.backend = "reference";
    ASSERT_TRUE(Sample(spec, 0.7f, key, x, exec, &whole.mask).ok());
    ASSERT_NE(whole.kept[0], watch.expected);  // else the shapes draw the same
    watch = {&memory.kept, whole.kept[0], 0};
    exec.backend = "cuda";
    exec.scratch = scratch;
    exec.scratch_bytes = sizeof(scratch);
    emulated::SetAfterBlock(
        [](void* context, int64_t) {
          Watch& watch = *static_cast<Watch*>(context);
          watch.wrong += (*watch.kept)[0] != -77 && (*watch.kept)[0] != watch.expected;
        },
        &watch);
    const Status status = Sample(spec, 0.7f, key, x, exec, &memory.mask);
    emulated::SetAfterBlock(nullptr, nullptr);
    ASSERT_TRUE(status.ok()) << status.message();
    EXPECT_GT(emulated::Launches().back().blocks, 1);
    EXPECT_EQ(watch.wrong, 0);
    EXPECT_EQ(memory.kept, whole.kept);
  }
}

TEST(EmulatedSampleTest, ABadPInMemoryKeepsAllAndSaysSo) {
  std::vector<uint64_t> scratch;
  for (const float p : {-0.1f, 1.5f, __builtin_nanf("")}) {
    Given given;
    given.line = "dropblock:block=3";
    given.p = p;
    given.device_p = true;
    given.x = DenseView(nullptr, DType::kF32, 2, 3, {8, 8});
    Compare(given, &scratch);
  }
}

TEST(EmulatedSampleTest, WorkspaceIsAsked) {
  Given given;
  Spec spec;
  ASSERT_TRUE(ParseSpec("dropout", &spec).ok());
  given.x = DenseView(nullptr, DType::kF32, 1, 3, {64, 64});
  Memory memory(spec, given.x, false);
  Exec exec;
  exec.backend = "cuda";
  size_t bytes = 0;
  ASSERT_TRUE(ScratchBytes(spec, given.x, exec, &bytes).ok());
  EXPECT_GT(bytes, 0u);
  Status status = Sample(spec, 0.5f, given.key, given.x, exec, &memory.mask);
  EXPECT_FALSE(status.ok());
  EXPECT_NE(status.message().find("exec.scratch = null"), std::string::npos) << status.message();
  alignas(64) static uint64_t scratch[1024];
  ASSERT_LE(bytes, sizeof(scratch));
  exec.scratch = scratch;
  exec.scratch_bytes = bytes - 1;
  status = Sample(spec, 0.5f, given.key, given.x, exec, &memory.mask);
  EXPECT_FALSE(status.ok());
  EXPECT_NE(status.message().find("exec.scratch_bytes = " + std::to_string(bytes - 1)), std::string::npos);
  EXPECT_EQ(memory.threshold[0], 3u);  // nothing was written
}

// What a training step of a large network may spend on it.
TEST(EmulatedSampleTest, WorkspaceIsSmall) {
  emulated::SetMultiprocessors(132);
  for (const char* line : {"dropblock:block=7", "dropout", "dropblock:block=7,over=plane", "dropout:over=plane"}) {
    for (const Layout layout : {Layout::kChannelsFirst, Layout::kChannelsLast}) {
      for (const View& x : {DenseView(nullptr, DType::kF32, 32, 256, {56, 56}, layout),
                            DenseView(nullptr, DType::kF32, 32, 2048, {7, 7}, layout)}) {
        Spec spec;
        ASSERT_TRUE(ParseSpec(line, &spec).ok());
        Exec exec;
        exec.backend = "cuda";
        size_t bytes = 0;
        ASSERT_TRUE(ScratchBytes(spec, x, exec, &bytes).ok());
        EXPECT_LE(bytes, size_t{4} << 20) << line << " " << x.size[0] << " " << x.channel_stride;
      }
    }
  }
  emulated::SetMultiprocessors(4);
}

TEST(EmulatedSampleTest, EmptyTensors) {
  Spec spec;
  ASSERT_TRUE(ParseSpec("dropblock:block=3", &spec).ok());
  const View x = DenseView(nullptr, DType::kF32, 2, 0, {8, 8});
  Memory memory(spec, x, false);
  Exec exec;
  exec.backend = "cuda";
  const uint64_t key[2] = {1, 2};
  ASSERT_TRUE(Sample(spec, 0.5f, key, x, exec, &memory.mask).ok());
  EXPECT_EQ(memory.kept, (std::vector<int64_t>{0, 0, -77}));
  EXPECT_EQ(memory.threshold[0], uint64_t{1} << 31);
}

}  // namespace
}  // namespace dropkit

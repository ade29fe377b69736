// The hot path does not allocate: a counter of malloc, in every thread, reads 0 over 100 calls of each verb, with
// scratch given and without. The first calls may make scratch and threads; the caller's masks exist.
//
// Assumes glibc, whose malloc family a program may define and reach by other names; no sanitizer, which does that too.
#include <gtest/gtest.h>

#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <memory>
#include <thread>
#include <vector>

#include "dropkit/dropkit.h"
#include "dropkit/dropkit_c.h"

namespace {
std::atomic<int64_t> allocations{0};
}

extern "C" {
void* __libc_malloc(size_t bytes);
void* __libc_calloc(size_t count, size_t bytes);
void* __libc_realloc(void* memory, size_t bytes);
void* __libc_memalign(size_t alignment, size_t bytes);

void* malloc(size_t bytes) noexcept {
  ++allocations;
  return __libc_malloc(bytes);
}
void* calloc(size_t count, size_t bytes) noexcept {
  ++allocations;
  return __libc_calloc(count, bytes);
}
void* realloc(void* memory, size_t bytes) noexcept {
  ++allocations;
  return __libc_realloc(memory, bytes);
}
void* memalign(size_t alignment, size_t bytes) noexcept {
  ++allocations;
  return __libc_memalign(alignment, bytes);
}
void* aligned_alloc(size_t alignment, size_t bytes) noexcept { return memalign(alignment, bytes); }
int posix_memalign(void** memory, size_t alignment, size_t bytes) noexcept {
  *memory = memalign(alignment, bytes);
  return *memory ? 0 : ENOMEM;
}
}

namespace dropkit {
namespace {

const uint64_t kKey[2] = {1, 2};

// Allocations in 100 calls of call(i), a Status, after two that are not counted.
template <typename Call>
int64_t SteadyAllocations(Call call) {
  int64_t before = 0;
  for (int i = 0; i < 102; ++i) {
    if (i == 2) before = allocations;
    if (const Status status = call(i); !status.ok()) {
      ADD_FAILURE() << status.message();
      return -1;
    }
  }
  return allocations - before;
}

TEST(AllocationTest, TheCounterSeesEveryKindAndThread) {
  std::unique_ptr<std::vector<int>> kept;  // what is not used may be left out by the compiler
  EXPECT_EQ(SteadyAllocations([&](int) {
              kept = std::make_unique<std::vector<int>>(10);
              return Status();
            }),
            200);
  std::atomic<bool> go{false}, done{false};
  std::thread other([&] {
    while (!go) std::this_thread::yield();
    for (const size_t alignment : {8, 4096}) ::operator delete(::operator new(100, std::align_val_t(alignment)));
    std::free(std::realloc(std::calloc(3, 5), 5000));
    done = true;
  });
  const int64_t before = allocations;
  go = true;
  while (!done) std::this_thread::yield();
  EXPECT_EQ(allocations - before, 4);
  other.join();
}

// From 0 to 1 and back: a schedule, past the half where the lanes that do not fire are drawn.
float Moving(int i) { return static_cast<float>(i % 51) / 50; }

// A case's memory and the verbs on it.
struct Steady {
  Steady(const std::string& line, DType dtype, int64_t samples, int64_t channels, const std::vector<int64_t>& sizes,
         Layout layout, const Exec& run)
      : exec(run), in(8 * samples * channels * sizes[0] * sizes[1] * (sizes.size() > 2 ? sizes[2] : 1)), out(in) {
    EXPECT_TRUE(ParseSpec(line, &spec).ok());
    x = DenseView(in.data(), dtype, samples, channels, sizes, layout);
    y = x;
    y.data = out.data();
    EXPECT_TRUE(storage.Reserve(spec, x).ok());
  }

  Status Draw(int i) { return Sample(spec, Moving(i), kKey, x, exec, &storage.mask); }
  Status Forward(int) { return Apply(storage.mask, Pass::kForward, x, y, exec); }
  Status Backward(int) { return Apply(storage.mask, Pass::kBackward, x, y, exec); }
  Status Both(int i) {
    if (Status status = storage.Reserve(spec, x); !status.ok()) return status;
    return Drop(spec, Moving(i), kKey, Pass::kForward, x, y, exec, &storage.mask);
  }
  Status InPlace(int i) { return Drop(spec, Moving(i), kKey, Pass::kForward, y, y, exec, &storage.mask); }
  Status Recompute(int i) { return Drop(spec, Moving(i), kKey, Pass::kBackward, x, y, exec, &storage.mask); }

  Exec exec;
  std::vector<std::byte> in, out;
  Spec spec;
  View x, y;
  MaskStorage storage;
};

void ExpectNone(Steady* steady) {
  const std::pair<const char*, Status (Steady::*)(int)> verbs[] = {
      {"Sample", &Steady::Draw}, {"Apply", &Steady::Forward},         {"Apply backward", &Steady::Backward},
      {"Drop", &Steady::Both},   {"Drop in place", &Steady::InPlace}, {"Drop backward", &Steady::Recompute}};
  for (const auto& [name, verb] : verbs) {
    EXPECT_EQ(SteadyAllocations([&, verb = verb](int i) { return (steady->*verb)(i); }), 0) << name;
  }
}

const char* const kLines[] = {"dropblock:block=7",
                              "dropblock:rate=calibrated,normalize=expected",
                              "dropblock:region=whole,share=channels,over=sample",
                              "dropblock:block=4,rate=calibrated,share=batch,over=plane",
                              "dropout",
                              "dropout:fill=noise,normalize=kept,over=plane",
                              "dropout:normalize=expected,share=all",
                              "spatial_dropout:normalize=expected",
                              "drop_path",
                              "cutout:normalize=expected,holes=3",
                              "cutout:normalize=kept,size=5",
                              "drop_connect",
                              "drop_connect:share=none"};

// The first is drawn and applied by the calling thread alone, the others by two (drop_path, a bit a sample, applied).
std::vector<std::vector<int64_t>> ShapesFor(const std::string& line) {
  if (line == "drop_path" || line.starts_with("spatial_dropout")) return {{2, 3, 6, 5}, {300, 64, 2, 2}};
  if (line == "drop_connect") return {{1, 6, 6, 5}, {1, 48, 28, 28}};
  return {{2, 3, 6, 5}, {4, 12, 28, 28}, {2, 3, 6, 30, 40}};
}

TEST(AllocationTest, SteadyCallsAllocateNothing) {
  for (const int threads : {1, 2}) {
    ASSERT_TRUE(SetThreads(threads).ok());
    for (const std::string line : kLines) {
      for (const std::vector<int64_t>& shape : ShapesFor(line)) {
        for (const Layout layout : {Layout::kChannelsFirst, Layout::kChannelsLast}) {
          SCOPED_TRACE(line + ", threads " + std::to_string(threads) + ", channels " + std::to_string(shape[1]) +
                       (layout == Layout::kChannelsLast ? " last" : " first"));
          Steady steady(line, DType::kF32, shape[0], shape[1], {shape.begin() + 2, shape.end()}, layout, Exec());
          ExpectNone(&steady);
        }
      }
    }
  }
  ASSERT_TRUE(SetThreads(0).ok());
}

TEST(AllocationTest, NorDoOtherDTypesStridesAndScratchOfTheCaller) {
  for (const DType dtype : {DType::kF32, DType::kF16, DType::kBF16, DType::kF64}) {
    SCOPED_TRACE(Name(dtype));
    Steady steady("dropblock:block=5,rate=calibrated,normalize=expected", dtype, 8, 16, {28, 28},
                  Layout::kChannelsFirst, Exec());
    ExpectNone(&steady);
    steady.x.stride[0] = 1;
    steady.x.stride[1] = 28;
    ExpectNone(&steady);
    alignas(64) static std::byte scratch[4096];
    steady.exec.scratch = scratch;
    steady.exec.scratch_bytes = sizeof(scratch);
    steady.exec.parallel_for.max_threads = 4;
    steady.exec.parallel_for.run = [](void*, int64_t count, void (*task)(void*, int64_t), void* argument) {
      for (int64_t i = 0; i < count; ++i) task(argument, i);
    };
    ExpectNone(&steady);
  }
}

// The layers of a network in turn, each with its mask; the lines are read again each time.
TEST(AllocationTest, NorDoLayersInTurn) {
  ASSERT_TRUE(SetThreads(2).ok());
  std::vector<std::unique_ptr<Steady>> layers;
  for (const int64_t side : {28, 5, 56}) {
    layers.push_back(std::make_unique<Steady>(kLines[1], DType::kF32, 2, 16, std::vector<int64_t>{side, side},
                                              Layout::kChannelsFirst, Exec()));
  }
  const int64_t count = SteadyAllocations([&](int i) {
    for (const std::unique_ptr<Steady>& layer : layers) {
      if (Status status = ParseSpec(kLines[1], &layer->spec); !status.ok()) return status;
      if (Status status = layer->Both(i); !status.ok()) return status;
    }
    return Status();
  });
  EXPECT_EQ(count, 0);
  ASSERT_TRUE(SetThreads(0).ok());
}

TEST(AllocationTest, NorDoGivenSeedsAndMasks) {
  ASSERT_TRUE(SetThreads(2).ok());
  const std::vector<uint8_t> bytes(8 * 16 * 28 * 28, 1);
  for (const Layout layout : {Layout::kChannelsFirst, Layout::kChannelsLast}) {
    Steady block("dropblock:block=7", DType::kF32, 8, 16, {28, 28}, layout, Exec());
    EXPECT_EQ(SteadyAllocations([&](int i) {
                return Spread(block.spec, Moving(i), bytes.data(), block.x, Exec(), &block.storage.mask);
              }),
              0);
    Steady own("dropout", DType::kF32, 8, 16, {28, 28}, layout, Exec());
    EXPECT_EQ(SteadyAllocations(
                  [&](int i) { return Pack(own.spec, Moving(i), bytes.data(), own.x, Exec(), &own.storage.mask); }),
              0);
  }
  ASSERT_TRUE(SetThreads(0).ok());
}

// The C functions read their spec from text and write it into the mask, and that is free too.
TEST(AllocationTest, NorDoCallsFromC) {
  const int64_t sizes[2] = {28, 28};
  const char* spec = "dropblock:block=7,rate=calibrated,normalize=expected,fill=noise";
  std::vector<float> in(8 * 16 * 28 * 28, 1.0f);
  std::vector<uint64_t> bits(in.size() / 64);
  std::vector<int64_t> kept(8);
  uint64_t threshold = 0;
  dropkit_view x;
  dropkit_mask mask = {};
  mask.bits = bits.data();
  mask.kept = kept.data();
  mask.threshold = &threshold;
  ASSERT_EQ(dropkit_dense_view(in.data(), DROPKIT_F32, 8, 16, sizes, 2, DROPKIT_CHANNELS_FIRST, &x), DROPKIT_OK);
  const int64_t count = SteadyAllocations([&](int i) {
    const bool ok =
        dropkit_drop(spec, Moving(i), nullptr, kKey, DROPKIT_FORWARD, &x, &x, nullptr, &mask) == DROPKIT_OK &&
        dropkit_apply(&mask, DROPKIT_BACKWARD, &x, &x, nullptr) == DROPKIT_OK;
    return ok ? Status() : Status::Internal(dropkit_last_error());
  });
  EXPECT_EQ(count, 0);
}

}  // namespace
}  // namespace dropkit

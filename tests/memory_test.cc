// Out of memory in the core: for every allocation that a call makes, that one alone or all from it on fail. The call
// then succeeds without it or gives a Status; it never throws, writes no output, and the next call is as good as ever.
// The program under limits of the system is tests/test_limits.py's matter.
#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <functional>
#include <new>
#include <optional>
#include <thread>

#include "dropkit/dropkit.h"
#include "exec.h"

namespace {

std::atomic<bool> armed{false};
std::atomic<int64_t> before_failure{0};  // allocations that still succeed
std::atomic<bool> only_one{false};       // and after the failing one all do again

bool Fails() {
  if (!armed) return false;
  const int64_t left = before_failure--;
  return only_one ? left == 0 : left <= 0;
}

}  // namespace

// The sanitizers' build inlines these and takes malloc and free for a mismatched pair.
#pragma GCC diagnostic ignored "-Wmismatched-new-delete"

void* operator new(size_t bytes) {
  if (void* memory = Fails() ? nullptr : std::malloc(bytes)) return memory;
  throw std::bad_alloc();
}
void* operator new(size_t bytes, const std::nothrow_t&) noexcept { return Fails() ? nullptr : std::malloc(bytes); }
void* operator new[](size_t bytes) { return operator new(bytes); }
void* operator new[](size_t bytes, const std::nothrow_t& tag) noexcept { return operator new(bytes, tag); }
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, size_t) noexcept { std::free(memory); }
void operator delete[](void* memory) noexcept { std::free(memory); }
void operator delete[](void* memory, size_t) noexcept { std::free(memory); }

namespace dropkit {
namespace {

constexpr uint64_t kKey[2] = {4, 2};

struct Outcome {
  Status status;
  bool threw = false;
  bool failed_one = false;  // an allocation was refused
};

// In a thread of its own, with the allocation number `succeeding` (and, unless `one`, all later
// ones) refused while `call` runs.
Outcome RunShortOfMemory(int64_t succeeding, bool one, const std::function<Status()>& call) {
  Outcome outcome;
  std::thread caller([&] {
    before_failure = succeeding;
    only_one = one;
    armed = true;
    try {
      outcome.status = call();
    } catch (...) {
      outcome.threw = true;
    }
    armed = false;
    outcome.failed_one = before_failure < 0;
  });
  caller.join();
  return outcome;
}

// Fails every allocation of `call` in turn. `unwritten` is asked after a refusal, `written` after a success.
// Returns how many runs were refused.
int FailEach(const std::function<Status()>& call, const std::function<void()>& unwritten,
             const std::function<void()>& written) {
  int refused = 0;
  for (const bool one : {true, false}) {
    for (int64_t succeeding = 0;; ++succeeding) {
      SCOPED_TRACE("allocation " + std::to_string(succeeding) + (one ? " fails" : " and all later ones fail"));
      const Outcome outcome = RunShortOfMemory(succeeding, one, call);
      EXPECT_FALSE(outcome.threw);
      if (outcome.threw || succeeding > 1000) return -1;
      if (outcome.status.ok()) {
        written();
      } else {
        ++refused;
        EXPECT_EQ(outcome.status.code(), Status::Code::kUnavailable) << outcome.status.message();
        EXPECT_EQ(outcome.status.message().find("out of memory"), 0u) << outcome.status.message();
        unwritten();
      }
      if (!outcome.failed_one) {
        EXPECT_TRUE(outcome.status.ok()) << outcome.status.message();
        break;
      }
    }
  }
  return refused;
}

struct Parsed {
  explicit Parsed(const std::string& line) { EXPECT_TRUE(ParseCase(line, &spec, &p).ok()) << line; }
  Spec spec;
  float p = 0;
};

class MemoryTest : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    exec_.backend = GetParam();
    ASSERT_TRUE(SetThreads(3).ok());
  }
  void TearDown() override { ASSERT_TRUE(SetThreads(0).ok()); }
  Exec exec_;
};

constexpr const char* kCases[] = {"dropblock:block=5,rate=calibrated,normalize=expected@0.2",
                                  "dropout:fill=noise,over=plane@0.3", "cutout:normalize=expected,share=batch",
                                  "dropblock:block=3,share=channels@0.4"};

TEST_P(MemoryTest, DropGivesItsResultOrAStatus) {
  std::vector<float> in(4 * 6 * 90, 1.5f), out(in.size()), expected(in.size());
  const View x = DenseView(in.data(), DType::kF32, 4, 6, {9, 10});
  View y = x;
  for (const char* line : kCases) {
    SCOPED_TRACE(line);
    const Parsed parsed(line);
    MaskStorage storage;
    ASSERT_TRUE(storage.Reserve(parsed.spec, x).ok());
    y.data = expected.data();
    ASSERT_TRUE(Drop(parsed.spec, parsed.p, kKey, Pass::kForward, x, y, exec_, &storage.mask).ok());
    y.data = out.data();
    std::fill(out.begin(), out.end(), -7.0f);
    const std::vector<float> untouched = out;
    int threads = 3;
    const auto drop = [&] {
      if (Status status = SetThreads(threads = 5 - threads); !status.ok()) return status;  // so that a pool is made
      return Drop(parsed.spec, parsed.p, kKey, Pass::kForward, x, y, exec_, &storage.mask);
    };
    FailEach(
        drop, [&] { EXPECT_EQ(out, untouched); },
        [&] {
          EXPECT_EQ(out, expected);
          out = untouched;
        });
    EXPECT_TRUE(drop().ok());
    EXPECT_EQ(out, expected);
  }
}

INSTANTIATE_TEST_SUITE_P(Backends, MemoryTest, testing::Values("cpu", "reference"),
                         [](const auto& info) { return std::string(info.param); });

TEST(MemoryTest, PoolWithoutThreadsDoesTheWork) {
  int64_t sum = 0;
  int threads = 2;
  const auto count = [&] {
    std::atomic<int64_t> counted{0};
    if (Status status = SetThreads(threads = 9 - threads); !status.ok()) return status;
    RunTasks(Exec(), 100, [&](int64_t i) { counted += i; });
    sum = counted;
    return Status();
  };
  FailEach(
      count, [] { ADD_FAILURE() << "refused"; },
      [&] {
        EXPECT_EQ(sum, 4950);
        sum = 0;
      });
  ASSERT_TRUE(SetThreads(0).ok());
}

TEST(MemoryTest, StorageKeepsItsOldMaskWhenItCannotGrow) {
  const Parsed parsed("dropblock:block=3@0.2");
  const View small = DenseView(nullptr, DType::kF32, 2, 3, {8, 8}),
             large = DenseView(nullptr, DType::kF32, 9, 7, {64, 64});
  std::optional<MaskStorage> storage;
  std::vector<uint64_t> bits;
  const auto start = [&] {
    storage.emplace();
    ASSERT_TRUE(storage->Reserve(parsed.spec, small).ok());
    ASSERT_TRUE(Sample(parsed.spec, parsed.p, kKey, small, Exec(), &storage->mask).ok());
    bits.assign(storage->mask.bits, storage->mask.bits + storage->mask.num_words());
  };
  start();
  const int refused = FailEach([&] { return storage->Reserve(parsed.spec, large); },
                               [&] {
                                 EXPECT_EQ(storage->mask.samples, 2);
                                 EXPECT_TRUE(std::equal(bits.begin(), bits.end(), storage->mask.bits));
                                 EXPECT_LE(storage->mask.kept[0], storage->mask.total);
                               },
                               [&] {
                                 EXPECT_EQ(storage->mask.samples, 9);
                                 start();
                               });
  EXPECT_GE(refused, 4);
}

TEST(MemoryTest, LinesAreParsedOrLeftAlone) {
  int number = 0;
  Spec spec;
  float p = -1;
  const int refused = FailEach(
      [&] {
        // Short enough to make without memory, and new, so that the memo must grow.
        char line[] = "dropout:fill=0000";
        for (int i = 0, rest = ++number; i < 4; ++i, rest /= 10) line[16 - i] = static_cast<char>('0' + rest % 10);
        return ParseCase({line, sizeof(line) - 1}, &spec, &p);
      },
      [&] {
        EXPECT_EQ(spec, Spec());
        EXPECT_EQ(p, -1);
      },
      [&] {
        EXPECT_EQ(spec.fill_value, number);
        spec = Spec();
        p = -1;
      });
  EXPECT_GE(refused, 2);
}

// What is wrong may have to be said in fewer words, but the call is refused all the same.
TEST(MemoryTest, WrongCallsAreRefusedWithoutMemoryToo) {
  const Parsed parsed("dropblock:block=3");
  MaskStorage storage;
  const View bad = DenseView(nullptr, DType::kF32, -1, 3, {8, 8});
  Mask mask;
  size_t bytes;
  uint8_t keep;
  RateInfo rates;
  Spec spec;
  float p;
  const std::function<Status()> calls[] = {
      [&] { return Describe(parsed.spec, bad, &mask); },
      [&] { return storage.Reserve(parsed.spec, bad); },
      [&] { return ScratchBytes(parsed.spec, bad, Exec(), &bytes); },
      [&] { return Sample(parsed.spec, 0.1f, kKey, bad, Exec(), &mask); },
      [&] { return Spread(parsed.spec, 0.1f, &keep, bad, Exec(), &mask); },
      [&] { return Pack(parsed.spec, 0.1f, &keep, bad, Exec(), &mask); },
      [&] { return Apply(mask, Pass::kForward, bad, bad, Exec()); },
      [&] { return Drop(parsed.spec, 2.0f, kKey, Pass::kForward, bad, bad, Exec(), &mask); },
      [&] { return Unpack(mask, nullptr); },
      [&] { return Rates(parsed.spec, 2.0f, bad, &rates); },
      [&] { return ParseCase("dropblok:block=3@0.1", &spec, &p); },
      [&] { return ParseCase("dropblock:block=3@1.5", &spec, &p); },
      [&] { return SetThreads(-1); },
  };
  mask.num_bits = -3;
  mask.samples = -3;
  int index = 0;
  for (const std::function<Status()>& call : calls) {
    SCOPED_TRACE("call " + std::to_string(index++));
    ASSERT_FALSE(call().ok());
    for (int64_t succeeding = 0; succeeding < 50; ++succeeding) {
      const Outcome outcome = RunShortOfMemory(succeeding, false, call);
      EXPECT_FALSE(outcome.threw) << "allocation " << succeeding;
      EXPECT_FALSE(!outcome.threw && outcome.status.ok()) << "allocation " << succeeding;
    }
  }
}

}  // namespace
}  // namespace dropkit

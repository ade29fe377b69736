// The library's pool: every index runs once, from many callers at once, from inside a task, in a forked child, and
// after the number of threads changed; a caller's own parallel-for is obeyed.
#include "exec.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <random>
#include <set>
#include <thread>
#include <vector>

#include "pool.h"

namespace dropkit {
namespace {

void ExpectEachOnce(int64_t count) {
  std::vector<std::atomic<int>> times(count);
  RunTasks(Exec(), count, [&](int64_t i) { ++times[i]; });
  for (int64_t i = 0; i < count; ++i) ASSERT_EQ(times[i], 1) << i;
}

TEST(ExecTest, EveryIndexOnce) {
  for (const int threads : {1, 2, 3, 8}) {
    ASSERT_TRUE(SetThreads(threads).ok());
    for (const int64_t count : {0, 1, 2, 7, 1000}) ExpectEachOnce(count);
  }
  ASSERT_TRUE(SetThreads(0).ok());
}

TEST(ExecTest, ManyCallersAtOnce) {
  ASSERT_TRUE(SetThreads(3).ok());
  std::vector<std::thread> callers;
  for (int i = 0; i < 4; ++i) {
    callers.emplace_back([] {
      for (int j = 0; j < 200; ++j) ExpectEachOnce(17);
    });
  }
  for (std::thread& caller : callers) caller.join();
  ASSERT_TRUE(SetThreads(0).ok());
}

TEST(ExecTest, TasksMayCallAgain) {
  ASSERT_TRUE(SetThreads(2).ok());
  std::atomic<int> inner{0};
  RunTasks(Exec(), 8, [&](int64_t) { RunTasks(Exec(), 5, [&](int64_t) { ++inner; }); });
  EXPECT_EQ(inner, 40);
  ASSERT_TRUE(SetThreads(0).ok());
}

// Waits until `done`, for some seconds at most.
bool Comes(const std::atomic<int>& value, int wanted) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  while (value < wanted && std::chrono::steady_clock::now() < end) std::this_thread::yield();
  return value >= wanted;
}

TEST(ExecTest, TwoTasksRunAtOnce) {
  ASSERT_TRUE(SetThreads(2).ok());
  for (int round = 0; round < 20; ++round) {
    std::atomic<int> started{0}, together{0};
    RunTasks(Exec(), 2, [&](int64_t) {
      ++started;
      together += Comes(started, 2);
    });
    ASSERT_EQ(together, 2);
  }
  ASSERT_TRUE(SetThreads(0).ok());
}

// The caller's own part is over long before: it sleeps, and must be woken.
TEST(ExecTest, TheCallerWaitsForAWorker) {
  ASSERT_TRUE(SetThreads(2).ok());
  const std::thread::id caller = std::this_thread::get_id();
  alarm(60);  // a hang is a failure
  for (int round = 0; round < 20; ++round) {
    std::atomic<int> started{0}, done{0};
    RunTasks(Exec(), 2, [&](int64_t) {
      ++started;
      Comes(started, 2);
      if (std::this_thread::get_id() != caller) std::this_thread::sleep_for(std::chrono::milliseconds(2));
      ++done;
    });
    ASSERT_EQ(done, 2);
  }
  alarm(0);
  ASSERT_TRUE(SetThreads(0).ok());
}

// What a call needs lies on the caller's stack and dies with the call: a worker that comes too late must not enter.
TEST(ExecTest, NobodyEntersAClosedCall) {
  constexpr uint64_t kAlive = 0xC0FFEE;
  std::minstd_rand random(1);
  alarm(120);
  for (int round = 0; round < 12; ++round) {
    Pool pool(2 + round % 4);
    for (int call = 0; call < 300; ++call) {
      struct Context {
        uint64_t alive = kAlive;
        std::atomic<int> dead{0}, ran{0};
        int pause = 0;
      } context;
      context.pause = static_cast<int>(random() % 200);
      const int64_t count = 1 + random() % 9;
      pool.Run(
          count,
          [](void* c, int64_t) {
            auto* own = static_cast<Context*>(c);
            for (int i = 0; i < own->pause; ++i) own->dead += own->alive != kAlive;
            ++own->ran;
          },
          &context);
      ASSERT_EQ(context.ran, count);
      ASSERT_EQ(context.dead, 0);
      context.alive = 0;
      if (call % 13 == 0) std::this_thread::sleep_for(std::chrono::microseconds(random() % 80));
    }
  }
  alarm(0);
}

TEST(ExecTest, ForkedChildHasAPoolOfItsOwn) {
  ASSERT_TRUE(SetThreads(3).ok());
  ExpectEachOnce(100);
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    alarm(20);  // a hang is a failure
    std::atomic<int> sum{0};
    for (int i = 0; i < 50; ++i) RunTasks(Exec(), 100, [&](int64_t) { ++sum; });
    _exit(sum == 5000 ? 0 : 1);
  }
  int status = -1;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
  ExpectEachOnce(100);
  ASSERT_TRUE(SetThreads(0).ok());
}

// A child that draws with the library's own pool; its exit code says whether every mask is `expected`.
pid_t ForkToDraw(const Spec& spec, const View& x, const std::vector<uint64_t>& expected) {
  const pid_t child = fork();
  if (child != 0) return child;
  alarm(60);  // a hang is a failure
  const uint64_t key[2] = {3, 4};
  bool equal = true;
  for (const int threads : {3, 2, 3}) {
    MaskStorage storage;
    equal = equal && SetThreads(threads).ok() && storage.Reserve(spec, x).ok();
    for (int i = 0; i < 20 && equal; ++i) {
      equal = Sample(spec, 0.1f, key, x, Exec(), &storage.mask).ok() &&
              std::equal(expected.begin(), expected.end(), storage.mask.bits);
    }
  }
  _exit(equal ? 0 : 1);
}

// The workers of a data loader: two at once, forked after the pool was used, and while other threads are using it, so
// that its locks may be held in the copy.
TEST(ExecTest, TwoForkedChildrenDrawAtOnce) {
  ASSERT_TRUE(SetThreads(3).ok());
  Spec spec;
  ASSERT_TRUE(ParseSpec("dropblock", &spec).ok());
  const uint64_t key[2] = {3, 4};
  const View x = DenseView(nullptr, DType::kF32, 8, 32, {28, 28});
  MaskStorage storage;
  ASSERT_TRUE(storage.Reserve(spec, x).ok() && Sample(spec, 0.1f, key, x, Exec(), &storage.mask).ok());
  const std::vector<uint64_t> expected(storage.mask.bits, storage.mask.bits + storage.mask.num_words());
  for (const bool busy : {false, true}) {
    std::atomic<bool> stop{false};
    std::atomic<int> running{0};
    std::vector<std::thread> users;
    for (int i = 0; i < (busy ? 2 : 0); ++i) {
      users.emplace_back([&] {
        // Nothing is allocated, no thread starts: a sanitizer's own locks do not survive a fork inside them.
        std::atomic<int64_t> sum{0};
        for (++running; !stop;) RunTasks(Exec(), 64, [&](int64_t i) { sum += i; });
      });
    }
    ASSERT_TRUE(Comes(running, busy ? 2 : 0));
    for (int round = 0; round < 5; ++round) {
      const pid_t children[2] = {ForkToDraw(spec, x, expected), ForkToDraw(spec, x, expected)};
      ExpectEachOnce(100);
      for (const pid_t child : children) {
        int status = -1;
        ASSERT_EQ(waitpid(child, &status, 0), child);
        EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status << (busy ? ", pool busy" : "");
      }
    }
    stop = true;
    for (std::thread& user : users) user.join();
  }
  ASSERT_TRUE(SetThreads(0).ok());
}

TEST(ExecTest, CallersParallelForIsUsed) {
  struct Context {
    int calls = 0;
    std::set<int64_t> seen;
  } context;
  Exec exec;
  exec.parallel_for.max_threads = 4;
  exec.parallel_for.context = &context;
  exec.parallel_for.run = [](void* c, int64_t count, void (*task)(void*, int64_t), void* argument) {
    auto* own = static_cast<Context*>(c);
    ++own->calls;
    for (int64_t i = count - 1; i >= 0; --i) {  // another order
      own->seen.insert(i);
      task(argument, i);
    }
  };
  Spec spec;
  ASSERT_TRUE(ParseSpec("dropblock", &spec).ok());
  const uint64_t key[2] = {3, 4};
  const View x = DenseView(nullptr, DType::kF32, 8, 16, {28, 28});
  MaskStorage ours, theirs;
  ASSERT_TRUE(ours.Reserve(spec, x).ok() && theirs.Reserve(spec, x).ok());
  ASSERT_TRUE(Sample(spec, 0.1f, key, x, Exec(), &ours.mask).ok());
  ASSERT_TRUE(Sample(spec, 0.1f, key, x, exec, &theirs.mask).ok());
  EXPECT_GT(context.calls, 0);
  EXPECT_GT(context.seen.size(), 1u);
  EXPECT_TRUE(std::equal(ours.mask.bits, ours.mask.bits + ours.mask.num_words(), theirs.mask.bits));
}

}  // namespace
}  // namespace dropkit

// The scheduler: threads that are ready, drawn at random; threads that wait for their warp or block; and what a barrier
// that cannot be met says.
#include "emulated_grid.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <numeric>
#include <utility>

#include "fiber.h"
#include "races.h"

EmulatedIndex threadIdx, blockIdx, blockDim, gridDim;

namespace dropkit::cuda::emulated {
namespace {

constexpr int kWarp = 32;
constexpr int kMostThreads = 1024;

enum class State : uint8_t { kReady, kInBlockMeeting, kInWarpMeeting, kLeft };

struct Thread {
  Fiber fiber;
  State state = State::kLeft;
  Where where;                               // of its meeting
  WarpMeeting meeting = WarpMeeting::kNone;  // and, for a warp's:
  uint32_t lanes = 0;
  uint64_t value = 0;  // what it gives; then what it gets
  int source = 0;
};

uint64_t random_state = 0;
int forced_threads = 0;
int multiprocessors = 4;
std::vector<LaunchRecord> launches;
// Requests of threads that nothing orders: each takes a place of its own.
std::array<Fetched, 1 << 16> fetched;
size_t num_fetched = 0;
int zeroings = 0;
void (*after_block)(void*, int64_t) = nullptr;
void* after_block_context = nullptr;
std::mutex one_launch;

// The block that runs.
std::vector<std::unique_ptr<Thread>> threads;
std::vector<int> ready;
int num_threads = 0, waiting_in_block = 0;
void (*kernel_body)(const void*) = nullptr;
const void* kernel_context = nullptr;
// What orders threads for ThreadSanitizer. Two for __syncthreads, in turn: a thread may come to the next one before
// another has left the last.
Meeting block_begin, block_end, block_meetings[2], warp_meetings[kMostThreads / kWarp];
int meetings_of_block = 0;

// splitmix64; orders need no better.
uint64_t Random() {
  if (random_state == 0) {
    const char* seed = std::getenv("DROPKIT_EMULATED_SEED");
    SetSeed(seed ? std::strtoull(seed, nullptr, 10) : 1);
  }
  uint64_t z = random_state += 0x9e3779b97f4a7c15;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
  z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
  return z ^ (z >> 31);
}
int RandomBelow(size_t bound) { return static_cast<int>(Random() % bound); }

const char* Name(State state, WarpMeeting meeting) {
  if (state == State::kReady) return "goes on";
  if (state == State::kLeft) return "has left the kernel";
  if (state == State::kInBlockMeeting) return "waits in __syncthreads";
  if (meeting == WarpMeeting::kShuffle) return "waits in a shuffle";
  return meeting == WarpMeeting::kBallot ? "waits in a ballot" : "waits in __syncwarp";
}

void PrintThread(int index) {
  const Thread& thread = *threads[index];
  std::fprintf(stderr, "  thread %d of %d %s", index, num_threads, Name(thread.state, thread.meeting));
  if (thread.state != State::kLeft && thread.state != State::kReady) {
    std::fprintf(stderr, " at %s:%u, %s", thread.where.file_name(), static_cast<unsigned>(thread.where.line()),
                 thread.where.function_name());
    if (thread.state == State::kInWarpMeeting) std::fprintf(stderr, ", lanes 0x%08x", thread.lanes);
  }
  std::fprintf(stderr, "\n");
}

[[noreturn]] void Fail(const char* what, int thread, int other) {
  std::fprintf(stderr, "emulated grid: %s in block %u of %u:\n", what, blockIdx.x, gridDim.x);
  PrintThread(thread);
  if (other >= 0) PrintThread(other);
  std::abort();
}

bool SamePlace(const Where& a, const Where& b) {
  return a.line() == b.line() && std::strcmp(a.file_name(), b.file_name()) == 0;
}

void Release(int index) {
  threads[index]->state = State::kReady;
  ready.push_back(index);
}

// Suspends the thread that runs until it is released, by all that came to `meeting`.
void Wait(Meeting* meeting) {
  ArriveAt(meeting);
  threads[threadIdx.x]->fiber.Suspend();
  LeaveFrom(meeting);
}

void RunKernel() {
  LeaveFrom(&block_begin);
  kernel_body(kernel_context);
  ArriveAt(&block_end);
}

// Whether every lane that the group of thread `self` names has come, having named the same group.
bool GroupIsComplete(int self) {
  const Thread& own = *threads[self];
  const int first = self / kWarp * kWarp;
  for (int lane = 0; lane < kWarp; ++lane) {
    if (!(own.lanes >> lane & 1)) continue;
    const Thread& thread = *threads[first + lane];
    if (thread.state != State::kInWarpMeeting) return false;
    if (thread.lanes != own.lanes || thread.meeting != own.meeting || !SamePlace(thread.where, own.where))
      Fail("divergent meeting of a warp", self, first + lane);
  }
  return true;
}

// Gives each of a complete group its value.
void Exchange(int self) {
  const Thread& own = *threads[self];
  const int first = self / kWarp * kWarp;
  uint64_t given[kWarp] = {}, ballot = 0;
  for (int lane = 0; lane < kWarp; ++lane) {
    given[lane] = threads[first + lane]->value;
    if (own.lanes >> lane & 1 && given[lane] != 0) ballot |= uint64_t{1} << lane;
  }
  for (int lane = 0; lane < kWarp; ++lane) {
    if (!(own.lanes >> lane & 1)) continue;
    Thread& thread = *threads[first + lane];
    if (own.meeting == WarpMeeting::kShuffle) {
      if (thread.source < 0 || thread.source >= kWarp || !(own.lanes >> thread.source & 1))
        Fail("a shuffle reads a lane that takes no part", first + lane, -1);
      thread.value = given[thread.source];
    } else {
      thread.value = ballot;
    }
  }
}

// The first thread that waits cannot be the only one to blame: it is shown beside one that is elsewhere.
[[noreturn]] void FailStuck() {
  int waits = 0;
  while (threads[waits]->state == State::kLeft) ++waits;
  int other = 0;
  const auto same = [&](int index) {
    const Thread &a = *threads[waits], &b = *threads[index];
    return a.state == b.state && SamePlace(a.where, b.where);
  };
  while (other < num_threads && same(other)) ++other;
  Fail("a barrier that not all threads reach", waits, other < num_threads ? other : -1);
}

void RunThread(int index) {
  threadIdx.x = static_cast<unsigned>(index);
  if (!threads[index]->fiber.Resume()) threads[index]->state = State::kLeft;
}

void RunBlock() {
  ready.resize(num_threads);
  std::iota(ready.begin(), ready.end(), 0);
  waiting_in_block = 0;
  for (int i = 0; i < num_threads; ++i) {
    threads[i]->state = State::kReady;
    threads[i]->fiber.Start(RunKernel);
  }
  ArriveAt(&block_begin);
  while (!ready.empty()) {
    std::swap(ready[RandomBelow(ready.size())], ready.back());
    const int index = ready.back();
    ready.pop_back();
    RunThread(index);
  }
  for (int i = 0; i < num_threads; ++i) {
    if (threads[i]->state != State::kLeft) FailStuck();
  }
  LeaveFrom(&block_end);
}

std::vector<int64_t> ShuffledOrder(int64_t number) {
  std::vector<int64_t> order(number);
  std::iota(order.begin(), order.end(), int64_t{0});
  for (int64_t i = number - 1; i > 0; --i) std::swap(order[i], order[RandomBelow(i + 1)]);
  return order;
}

}  // namespace

void SetSeed(uint64_t seed) { random_state = seed * 2 + 1; }  // 0 is "not set yet"
void SetThreads(int number) { forced_threads = number; }
void SetMultiprocessors(int number) { multiprocessors = number; }
int GetMultiprocessors() { return multiprocessors; }
const std::vector<LaunchRecord>& Launches() { return launches; }
int Zeroings() { return zeroings; }
std::vector<Fetched> AllFetched() {
  return {fetched.begin(), fetched.begin() + static_cast<std::ptrdiff_t>(std::min(num_fetched, fetched.size()))};
}

// To ThreadSanitizer no read: on a card it waits for nobody and nobody sees it.
__attribute__((no_sanitize("thread"))) void RecordFetch(const char* address, int64_t bytes) {
  for (int64_t i = 0; i < bytes; ++i) static_cast<void>(static_cast<const volatile char*>(address)[i]);
  const size_t at = __atomic_fetch_add(&num_fetched, 1, __ATOMIC_RELAXED);
  if (at < fetched.size()) fetched[at] = {address, bytes};
}

void RecordZeroing() { ++zeroings; }
void ForgetLaunches() {
  launches.clear();
  num_fetched = 0;
  zeroings = 0;
}

void SetAfterBlock(void (*call)(void*, int64_t), void* context) {
  after_block = call;
  after_block_context = context;
}

Status RunGrid(int64_t blocks, int asked_threads, void* stream, void (*body)(const void*), const void* context) {
  const std::lock_guard<std::mutex> lock(one_launch);
  if (blocks == 0) return Status();
  num_threads = forced_threads ? forced_threads : asked_threads;
  if (num_threads <= 0 || num_threads > kMostThreads || num_threads % kWarp != 0 || blocks < 0 || blocks > INT32_MAX) {
    return Status::Internal("a grid of " + std::to_string(blocks) + " blocks of " + std::to_string(num_threads) +
                            " threads; allowed: 2^31 - 1 blocks, a multiple of 32 up to 1024 threads");
  }
  launches.push_back({blocks, num_threads, stream});
  while (static_cast<int>(threads.size()) < num_threads) threads.push_back(std::make_unique<Thread>());
  kernel_body = body;
  kernel_context = context;
  gridDim.x = static_cast<unsigned>(blocks);
  blockDim.x = static_cast<unsigned>(num_threads);
  int64_t left = blocks;
  for (const int64_t block : ShuffledOrder(blocks)) {
    blockIdx.x = static_cast<unsigned>(block);
    RunBlock();
    if (after_block) after_block(after_block_context, --left);
  }
  return Status();
}

void MeetBlock(const Where& where) {
  Thread& own = *threads[threadIdx.x];
  own.state = State::kInBlockMeeting;
  own.where = where;
  Meeting* meeting = &block_meetings[meetings_of_block % 2];
  if (++waiting_in_block == num_threads) {
    for (int i = 0; i < num_threads; ++i) {
      if (!SamePlace(threads[i]->where, where)) Fail("divergent barrier", static_cast<int>(threadIdx.x), i);
    }
    waiting_in_block = 0;
    ++meetings_of_block;
    for (int i = 0; i < num_threads; ++i) Release(i);
  }
  Wait(meeting);
}

uint64_t MeetWarp(WarpMeeting meeting, uint32_t lanes, uint64_t value, int source, const Where& where) {
  const int self = static_cast<int>(threadIdx.x);
  Thread& own = *threads[self];
  own.state = State::kInWarpMeeting;
  own.where = where;
  own.meeting = meeting;
  own.lanes = lanes;
  own.value = value;
  own.source = source;
  if (!(lanes >> self % kWarp & 1)) Fail("a thread meets lanes that leave itself out", self, -1);
  if (GroupIsComplete(self)) {
    Exchange(self);
    for (int lane = 0; lane < kWarp; ++lane) {
      if (lanes >> lane & 1) Release(self / kWarp * kWarp + lane);
    }
  }
  Wait(&warp_meetings[self / kWarp]);
  return own.value;
}

}  // namespace dropkit::cuda::emulated

#if defined(__SANITIZE_ADDRESS__)
// AddressSanitizer calls it before its report, which knows nothing of blocks and threads.
extern "C" void __asan_on_error() {
  if (gridDim.x != 0)
    std::fprintf(stderr, "emulated grid: block %u of %u, thread %u of %u\n", blockIdx.x, gridDim.x, threadIdx.x,
                 blockDim.x);
}
#endif

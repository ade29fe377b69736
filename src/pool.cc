// See pool.h.
#include "pool.h"

#include <algorithm>
#include <chrono>

namespace dropkit {
namespace {

// Long enough for calls that follow each other, as a sample and its apply do; short beside what a thread that the
// program needs elsewhere would wait.
constexpr std::chrono::microseconds kLookFor{30};

thread_local bool inside_task = false;  // this thread runs tasks, so a call from one of them runs its own

void Pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// Whether `done` became true soon.
template <typename Done>
bool Soon(Done done) {
  const auto end = std::chrono::steady_clock::now() + kLookFor;
  do {
    for (int i = 0; i < 32; ++i) {
      if (done()) return true;
      Pause();
    }
  } while (std::chrono::steady_clock::now() < end);
  return false;
}

}  // namespace

Pool::Pool(int threads) : threads_(threads), shares_(static_cast<size_t>(threads)) {
  try {
    for (int i = 1; i < threads; ++i) workers_.emplace_back([this, i] { Work(i); });
  } catch (...) {
  }
  for (int started = 0; started < static_cast<int>(workers_.size()); started = started_.load()) started_.wait(started);
}

Pool::~Pool() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_all();
  for (std::thread& worker : workers_) worker.join();
}

void Pool::Run(int64_t count, void (*task)(void*, int64_t), void* argument) {
  std::unique_lock taken(caller_, std::defer_lock);
  if (inside_task || !taken.try_lock()) {
    for (int64_t i = 0; i < count; ++i) task(argument, i);
    return;
  }
  task_ = task;
  argument_ = argument;
  const auto sharing = static_cast<int>(std::min<int64_t>(count, threads_));
  for (int i = 0; i < threads_; ++i) {
    shares_[i].next.store(i < sharing ? count * i / sharing : 0, std::memory_order_relaxed);
    shares_[i].end = i < sharing ? count * (i + 1) / sharing : 0;
  }
  call_.fetch_add(1);
  if (sleepers_.load() > 0) {
    { const std::lock_guard lock(mutex_); }  // whoever is about to sleep either saw the call or is asleep now
    if (count > 2) {
      wake_.notify_all();
    } else {
      wake_.notify_one();
    }
  }
  TakeTasks(0);
  call_.fetch_add(1);
  AwaitWorkers();
}

void Pool::TakeTasks(int thread) noexcept {
  inside_task = true;
  for (int i = 0; i < threads_; ++i) {
    Share& share = shares_[(thread + i) % threads_];
    while (share.next.load(std::memory_order_relaxed) < share.end) {  // an exhausted share is only read
      const int64_t j = share.next.fetch_add(1, std::memory_order_relaxed);
      if (j < share.end) task_(argument_, j);
    }
  }
  inside_task = false;
}

void Pool::AwaitWorkers() {
  const auto nobody = [this] { return inside_.load() == 0; };
  if (Soon(nobody)) return;
  std::unique_lock lock(mutex_);
  caller_sleeps_ = true;
  left_.wait(lock, nobody);
  caller_sleeps_ = false;
}

// Waits for a call or the pool's end. The call may be over by then.
uint64_t Pool::AwaitCall(uint64_t seen) {
  const auto called = [&] { return IsNew(call_.load(), seen) || stopping_.load(); };
  if (!Soon(called)) {
    // Woken too late for a call, it looks for the next one: to sleep again at once would be too late for that one too.
    const uint64_t before = call_.load();
    std::unique_lock lock(mutex_);
    sleepers_.fetch_add(1);
    wake_.wait(lock, [&] { return call_.load() != before || called(); });
    sleepers_.fetch_sub(1);
  }
  return call_.load();
}

void Pool::Work(int thread) {
  started_.fetch_add(1);
  started_.notify_one();
  uint64_t seen = 0;
  while (true) {
    const uint64_t call = AwaitCall(seen);
    if (stopping_.load()) return;
    if (!IsNew(call, seen)) continue;  // closed meanwhile
    inside_.fetch_add(1);
    if (call_.load() == call) TakeTasks(thread);
    seen = call;
    inside_.fetch_sub(1);
    if (caller_sleeps_.load()) {
      { const std::lock_guard lock(mutex_); }
      left_.notify_one();
    }
  }
}

}  // namespace dropkit

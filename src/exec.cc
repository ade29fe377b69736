// A small pool of std::threads: made on first use, sleeping between calls, taken by one caller at a time (a second
// caller, or a task that calls again, runs its work itself). A forked child has no copies of the threads, so the first
// call there makes a new pool; the parent's is left alone, because its locks may be held.
#include "exec.h"

#include <unistd.h>

#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <new>
#include <thread>
#include <vector>

#include "guarded.h"

namespace dropkit {
namespace {

constexpr int kMostThreads = 1024;

thread_local bool inside_task = false;  // this thread runs tasks, so a call from one of them runs its own

class Pool {
 public:
  explicit Pool(int threads) : owner_(getpid()), threads_(threads) {
    try {
      for (int i = 1; i < threads; ++i) workers_.emplace_back([this] { Work(); });
    } catch (...) {  // fewer threads than asked for: the work is the same, only slower
    }
  }

  ~Pool() {
    {
      std::lock_guard lock(mutex_);
      stopping_ = true;
    }
    wake_.notify_all();
    for (std::thread& worker : workers_) worker.join();
  }

  pid_t owner() const { return owner_; }
  int threads() const { return threads_; }

  void Run(int64_t count, void (*task)(void*, int64_t), void* argument) {
    std::unique_lock caller(caller_, std::defer_lock);
    if (inside_task || !caller.try_lock()) {
      for (int64_t i = 0; i < count; ++i) task(argument, i);
      return;
    }
    {
      std::lock_guard lock(mutex_);
      task_ = task;
      argument_ = argument;
      count_ = count;
      next_.store(0, std::memory_order_relaxed);
      working_ = static_cast<int>(workers_.size());
      ++generation_;
    }
    wake_.notify_all();
    TakeTasks();
    std::unique_lock lock(mutex_);
    done_.wait(lock, [this] { return working_ == 0; });
  }

 private:
  void TakeTasks() {
    inside_task = true;
    TakeAll();
    inside_task = false;
  }

  void TakeAll() {
    while (true) {
      const int64_t index = next_.fetch_add(1, std::memory_order_relaxed);
      if (index >= count_) return;
      task_(argument_, index);
    }
  }

  void Work() {
    uint64_t seen = 0;
    while (true) {
      std::unique_lock lock(mutex_);
      wake_.wait(lock, [&] { return stopping_ || generation_ != seen; });
      if (stopping_) return;
      seen = generation_;
      lock.unlock();
      TakeTasks();
      lock.lock();
      if (--working_ == 0) done_.notify_one();
    }
  }

  const pid_t owner_;
  const int threads_;
  std::mutex caller_;  // held by the caller whose tasks run
  std::mutex mutex_;   // guards what follows, but for next_
  std::condition_variable wake_, done_;
  bool stopping_ = false;
  uint64_t generation_ = 0;
  int working_ = 0;
  void (*task_)(void*, int64_t) = nullptr;
  void* argument_ = nullptr;
  int64_t count_ = 0;
  std::atomic<int64_t> next_{0};
  std::vector<std::thread> workers_;  // last: the threads use all of the above
};

std::atomic<int> asked_threads{0};

int PoolThreads() {
  const int asked = asked_threads.load(std::memory_order_relaxed);
  if (asked > 0) return asked;
  static const int cores = std::max(1u, std::min<unsigned>(kMostThreads, std::thread::hardware_concurrency()));
  return cores;
}

// The pool for this process and thread count. Shared, so that a change of SetThreads leaves running calls their pool.
// Never destroyed at exit: other static destructors may still call the library. A child replaces mutex and pool: the
// parent's may have been locked at the fork.
struct PoolPlace {
  std::mutex mutex;
  std::shared_ptr<Pool> pool;
  pid_t owner = getpid();
};
std::atomic<PoolPlace*> place{nullptr};

PoolPlace* PlaceOfThisProcess() {
  PoolPlace* current = place.load(std::memory_order_acquire);
  while (!current || current->owner != getpid()) {
    auto* fresh = new PoolPlace;
    if (place.compare_exchange_strong(current, fresh, std::memory_order_acq_rel)) return fresh;
    delete fresh;
  }
  return current;
}

std::shared_ptr<Pool> CurrentPool() {
  PoolPlace* here = PlaceOfThisProcess();
  std::lock_guard lock(here->mutex);
  if (!here->pool || here->pool->threads() != PoolThreads()) here->pool = std::make_shared<Pool>(PoolThreads());
  return here->pool;
}

void RunOnPool(void*, int64_t count, void (*task)(void*, int64_t), void* argument) {
  std::shared_ptr<Pool> pool;
  try {
    pool = CurrentPool();
  } catch (...) {  // no thread or memory to be had: the caller's own thread does the work
    for (int64_t i = 0; i < count; ++i) task(argument, i);
    return;
  }
  pool->Run(count, task, argument);
}

}  // namespace

ParallelFor PoolParallelFor() { return {PoolThreads(), RunOnPool, nullptr}; }

Status SetThreads(int threads) {
  if (threads < 0 || threads > kMostThreads) {
    return Guarded([&] {
      return Status::Invalid("threads = " + std::to_string(threads) + "; allowed: 0 (one per core) to " +
                             std::to_string(kMostThreads));
    });
  }
  asked_threads.store(threads, std::memory_order_relaxed);
  return Status();
}

void* ThreadScratch(size_t bytes) {
  struct Buffer {
    std::unique_ptr<std::byte[]> memory;
    size_t bytes = 0;
  };
  thread_local Buffer buffer;
  if (buffer.bytes < bytes) {
    buffer.memory.reset(new (std::nothrow) std::byte[bytes]);
    buffer.bytes = buffer.memory ? bytes : 0;
  }
  return buffer.memory.get();
}

}  // namespace dropkit

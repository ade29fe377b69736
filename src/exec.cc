// The process's pool: made on first use. A forked child has no copies of the threads, so the first call there makes a
// new one; the parent's is left alone, because its locks may be held.
#include "exec.h"

#include <unistd.h>

#include <atomic>
#include <memory>
#include <mutex>
#include <new>
#include <thread>

#include "guarded.h"
#include "pool.h"

namespace dropkit {
namespace {

constexpr int kMostThreads = 1024;

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

}  // namespace dropkit

// A small pool of std::threads, taken by one caller at a time.
//
// What a call costs is the time until a second thread is at work. A worker that has just finished therefore looks for
// the next call for some microseconds before it sleeps, and a caller that has run out of tasks waits only for workers
// that are inside the call: one that wakes too late finds it closed and was not missed.
//
// Each thread starts with a share of the tasks of its own, the same part of the work in every call, and then helps the
// others: what a small tensor's last call left in a core's cache is found there by the next.
#ifndef DROPKIT_SRC_POOL_H_
#define DROPKIT_SRC_POOL_H_

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <thread>
#include <vector>

namespace dropkit {

class Pool {
 public:
  // `threads` counts the caller. Starts fewer if the system gives no more: the work is the same, only slower. Returns
  // when all of them run: a thread that starts may hold locks of its run-time library, which a fork would keep shut.
  explicit Pool(int threads);
  ~Pool();
  int threads() const { return threads_; }
  // Runs task(argument, i), which throws nothing, for i in [0, count). A second caller, or a task that calls again,
  // runs its work itself.
  void Run(int64_t count, void (*task)(void*, int64_t), void* argument);

 private:
  // Of one thread: the tasks of its share that nobody took yet. On a cache line of its own.
  struct alignas(64) Share {
    std::atomic<int64_t> next{0};
    int64_t end = 0;
  };

  void TakeTasks(int thread) noexcept;
  void Work(int thread);
  uint64_t AwaitCall(uint64_t seen);
  void AwaitWorkers();
  bool IsNew(uint64_t call, uint64_t seen) const { return (call & 1) != 0 && call != seen; }

  const int threads_;
  std::mutex caller_;  // held by the caller whose tasks run
  // Odd while a call is open. A worker counts itself inside and then looks whether the call that it saw is still open;
  // a caller closes the call and then looks whether somebody is inside. Both orders are total (seq_cst), so one sees
  // the other.
  std::atomic<uint64_t> call_{0};
  std::atomic<int> inside_{0}, started_{0};
  // Of the open call.
  std::vector<Share> shares_;
  void (*task_)(void*, int64_t) = nullptr;
  void* argument_ = nullptr;

  std::mutex mutex_;  // for sleeping only
  std::condition_variable wake_, left_;
  std::atomic<int> sleepers_{0};
  std::atomic<bool> caller_sleeps_{false}, stopping_{false};
  std::vector<std::thread> workers_;  // last: the threads use all of the above
};

}  // namespace dropkit

#endif  // DROPKIT_SRC_POOL_H_

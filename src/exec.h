// How host work runs: the caller's parallel-for or the library's own pool.
#ifndef DROPKIT_SRC_EXEC_H_
#define DROPKIT_SRC_EXEC_H_

#include <algorithm>
#include <cstdint>

#include "arithmetic.h"
#include "dropkit/dropkit.h"

namespace dropkit {

// The library's own pool as a ParallelFor.
ParallelFor PoolParallelFor();

// Runs body(i) for i in [0, count) under exec. Without a second task or thread nothing is woken.
template <typename Body>
void RunTasks(const Exec& exec, int64_t count, Body body) {
  const ParallelFor parallel = exec.parallel_for.run ? exec.parallel_for : PoolParallelFor();
  if (count <= 1 || parallel.max_threads <= 1) {
    for (int64_t i = 0; i < count; ++i) body(i);
    return;
  }
  const auto task = [](void* argument, int64_t index) {
    const PlainArithmetic plain;  // of a thread that is not the caller's
    (*static_cast<Body*>(argument))(index);
  };
  parallel.run(parallel.context, count, task, &body);
}

inline int MaxThreads(const Exec& exec) {
  return std::max(1, (exec.parallel_for.run ? exec.parallel_for : PoolParallelFor()).max_threads);
}

}  // namespace dropkit

#endif  // DROPKIT_SRC_EXEC_H_

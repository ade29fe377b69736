// The names of src/cuda/grid.h for kernels that run on the host, under a C++ compiler.
//
// Blocks run one after another in a shuffled order. Every thread of a block is a fiber; the fibers run in a shuffled
// order too, each until it needs the others: the threads of a warp meet in the *_sync functions, those of a block in
// __syncthreads. So a kernel that relies on an order without asking for it gives another result with another seed. A
// barrier that some threads miss, or reach at different places in the source, aborts with the kernel, block and thread.
//
// Device memory is host memory. Shared memory is not cleared between blocks, and is zero before the first. What a card
// may reorder in global memory without __threadfence is not emulated. One launch runs at a time, on the thread that
// launches.
#ifndef DROPKIT_TESTS_EMULATED_EMULATED_GRID_H_
#define DROPKIT_TESTS_EMULATED_EMULATED_GRID_H_

#include <cstdint>
#include <cstring>
#include <source_location>
#include <string>
#include <tuple>
#include <type_traits>
#include <vector>

#include "dropkit/dropkit.h"

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __shared__ static
#define DROPKIT_DEVICE inline
#define DROPKIT_DEVICE_CALL inline
#define __grid_constant__
#define DROPKIT_UNROLL
#define DROPKIT_FETCH_BYTES 128
#define DROPKIT_MAIN_LOOP_BEGIN static_cast<void>(0)
#define DROPKIT_MAIN_LOOP_END static_cast<void>(0)

// Of the thread that runs; the scheduler sets them on every switch.
struct EmulatedIndex {
  unsigned x = 0;
};
extern EmulatedIndex threadIdx, blockIdx, blockDim, gridDim;

// Kernels read and write any type through it.
struct __attribute__((may_alias, aligned(16))) uint4 {
  unsigned x, y, z, w;
};

namespace dropkit::cuda::emulated {

using Where = std::source_location;

// ---- for tests
// Decides the orders from here on. At the start DROPKIT_EMULATED_SEED, or 1.
void SetSeed(uint64_t seed);
// Threads of every block from here on, a multiple of 32, whatever a launch asks for; 0 = as asked.
void SetThreads(int threads);
// What Multiprocessors() says; at the start 4.
void SetMultiprocessors(int number);
int GetMultiprocessors();

// Called after every block from here on, with how many of the launch are still to come; null: nothing.
void SetAfterBlock(void (*call)(void* context, int64_t left), void* context);

struct LaunchRecord {
  int64_t blocks;
  int threads;
  void* stream;
};
// Every launch since the start or ForgetLaunches, and how often memory was zeroed.
const std::vector<LaunchRecord>& Launches();
int Zeroings();
// What was asked for ahead of its use.
struct Fetched {
  const char* address;
  int64_t bytes;
};
std::vector<Fetched> AllFetched();  // the first 65536
void ForgetLaunches();

// ---- for what is below and runtime.cc
void RecordZeroing();
// Reads all of it, so that memory that is none is seen.
void RecordFetch(const char* address, int64_t bytes);
// Calls body(context) in every thread of the grid.
Status RunGrid(int64_t blocks, int threads, void* stream, void (*body)(const void*), const void* context);
void MeetBlock(const Where& where);
enum class WarpMeeting : uint8_t { kNone, kSync, kShuffle, kBallot };
// Meets the lanes of `lanes`; gives the value of lane `source` (kShuffle) or the lanes whose value is not 0 (kBallot).
uint64_t MeetWarp(WarpMeeting meeting, uint32_t lanes, uint64_t value, int source, const Where& where);

template <typename T>
T Shuffle(uint32_t lanes, T value, int source, const Where& where) {
  static_assert(std::is_arithmetic_v<T> && sizeof(T) <= sizeof(uint64_t));
  uint64_t word = 0;
  std::memcpy(&word, &value, sizeof(T));
  word = MeetWarp(WarpMeeting::kShuffle, lanes, word, source, where);
  std::memcpy(&value, &word, sizeof(T));
  return value;
}

}  // namespace dropkit::cuda::emulated

namespace dropkit::cuda {

inline void Fetch(const char* address, int64_t bytes) { emulated::RecordFetch(address, bytes); }

template <typename... Parameters, typename... Arguments>
Status Launch(void (*kernel)(Parameters...), int64_t blocks, int threads, void* stream, Arguments&&... arguments) {
  static_assert((sizeof(Parameters) + ... + 0) <= 4096 && (std::is_trivially_copyable_v<Parameters> && ...));
  struct Call {
    void (*kernel)(Parameters...);
    std::tuple<Parameters...> arguments;
  };
  const Call call = {kernel, std::tuple<Parameters...>(static_cast<Parameters>(arguments)...)};
  const auto body = [](const void* context) {
    const Call& call = *static_cast<const Call*>(context);
    std::apply(call.kernel, call.arguments);
  };
  return emulated::RunGrid(blocks, threads, stream, body, &call);
}

}  // namespace dropkit::cuda

// ---- what the card has, by its own names
inline void __syncthreads(const std::source_location& where = std::source_location::current()) {
  dropkit::cuda::emulated::MeetBlock(where);
}
inline void __syncwarp(unsigned lanes = ~0u, const std::source_location& where = std::source_location::current()) {
  dropkit::cuda::emulated::MeetWarp(dropkit::cuda::emulated::WarpMeeting::kSync, lanes, 0, 0, where);
}
inline unsigned __ballot_sync(unsigned lanes, int predicate,
                              const std::source_location& where = std::source_location::current()) {
  using dropkit::cuda::emulated::WarpMeeting;
  return static_cast<unsigned>(
      dropkit::cuda::emulated::MeetWarp(WarpMeeting::kBallot, lanes, predicate != 0, 0, where));
}
template <typename T>
T __shfl_sync(unsigned lanes, T value, int source,
              const std::source_location& where = std::source_location::current()) {
  return dropkit::cuda::emulated::Shuffle(lanes, value, source & 31, where);
}
template <typename T>
T __shfl_xor_sync(unsigned lanes, T value, int mask,
                  const std::source_location& where = std::source_location::current()) {
  return dropkit::cuda::emulated::Shuffle(lanes, value, static_cast<int>(threadIdx.x % 32) ^ mask, where);
}
// A lane past the last keeps its own value.
template <typename T>
T __shfl_down_sync(unsigned lanes, T value, unsigned delta,
                   const std::source_location& where = std::source_location::current()) {
  const unsigned lane = threadIdx.x % 32;
  return dropkit::cuda::emulated::Shuffle(lanes, value, static_cast<int>(lane + delta < 32 ? lane + delta : lane),
                                          where);
}

// Atomic to ThreadSanitizer too.
template <typename T>
T atomicAdd(T* address, std::type_identity_t<T> value) {
  return __atomic_fetch_add(address, value, __ATOMIC_RELAXED);
}
inline unsigned atomicAnd(unsigned* address, unsigned value) {
  return __atomic_fetch_and(address, value, __ATOMIC_RELAXED);
}
inline unsigned atomicOr(unsigned* address, unsigned value) {
  return __atomic_fetch_or(address, value, __ATOMIC_RELAXED);
}
inline void __threadfence() {}
inline int __popc(unsigned value) { return __builtin_popcount(value); }
inline int __popcll(unsigned long long value) { return __builtin_popcountll(value); }
inline int __ffs(int value) { return __builtin_ffs(value); }
inline int __ffsll(long long value) { return __builtin_ffsll(value); }

#endif  // DROPKIT_TESTS_EMULATED_EMULATED_GRID_H_

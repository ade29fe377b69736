// y = keep ? gain * x : fill over a range of dense x and y, by one block: the piece that Apply and the fused Drop
// share.
//
// Memory plan: each thread has kInFlight 16-byte vectors in flight: it loads all of them, then their mask bits, then
// computes and stores; so y may be x (hence no __restrict__ and no read-only loads). The few elements before the first
// aligned vector and after the last one go one by one, as all do where x and y are aligned differently.
//
// Bits says which elements are kept: `uint32_t Keep(int64_t e, int count) const` gives elements [e, e + count), count
// at most 8, lowest first; above them is anything. In the main loop e is a vector's first element and count a whole
// vector's; its accesses to global memory must be 128 bits wide (mask_bits.h has those for a mask in global memory). No
// barrier is used here: what Bits reads in shared memory must be complete before.
//
// Order says where element e of the range lies in x and y: `int64_t At(int64_t e) const`, and whether that is one run
// of memory. Runs of several are whole vectors long and apart.
#ifndef DROPKIT_SRC_CUDA_APPLY_RANGE_H_
#define DROPKIT_SRC_CUDA_APPLY_RANGE_H_

#include "cuda/block.h"
#include "cuda/grid.h"
#include "cuda/pack.h"
#include "cuda/quotient.h"

namespace dropkit::cuda {

inline constexpr int kInFlight = 4;

// Elements are numbered from x and y.
struct Whole {
  DROPKIT_DEVICE int64_t At(int64_t e) const { return e; }
  DROPKIT_DEVICE bool is_one_run() const { return true; }
};

// Runs of `length` elements, numbered from the first one's; fewer than 2^31 in all. No length: one run.
struct Runs {
  int64_t first, step;
  Quotient length;
  DROPKIT_DEVICE int64_t At(int64_t e) const {
    const int64_t run = length.Of(static_cast<uint32_t>(e));
    return first + e + run * (step - length.divisor);
  }
  DROPKIT_DEVICE bool is_one_run() const { return length.divisor > Quotient::kMostNarrow; }
};

// The vectors of this thread that start at element `first` and come blockDim.x vectors apart; guarded: those before
// `end`.
template <typename T, bool kGuarded, class Bits, class Order>
DROPKIT_DEVICE void ApplyVectors(const T* x, T* y, int64_t first, int64_t end, const Maps<T>& maps, const Bits& bits,
                                 const Order& order) {
  const int64_t step = static_cast<int64_t>(blockDim.x) * kLanes<T>;
  uint4 vector[kInFlight] = {};
  DROPKIT_UNROLL
  for (int i = 0; i < kInFlight; ++i) {
    if (!kGuarded || first + i * step < end) {
      vector[i] = *reinterpret_cast<const uint4*>(x + order.At(first + i * step));
    }
  }
  uint32_t keep = 0;  // 8 bits a vector; the compiler unrolls this where Keep is short
  for (int i = 0; i < kInFlight; ++i) {
    if (kGuarded && first + i * step >= end) continue;
    keep |= (bits.Keep(first + i * step, kLanes<T>) & ((1u << kLanes<T>)-1)) << 8 * i;
  }
  DROPKIT_UNROLL
  for (int i = 0; i < kInFlight; ++i) {
    if (kGuarded && first + i * step >= end) continue;
    StoreVector(y + order.At(first + i * step), MapVector<T>(vector[i], keep >> 8 * i, maps));
  }
}

// Elements from x to the next 16-byte boundary.
template <typename T>
DROPKIT_DEVICE int64_t ElementsToBoundary(const T* x) {
  const uintptr_t past = reinterpret_cast<uintptr_t>(x) % kVectorBytes;
  return past == 0 ? 0 : static_cast<int64_t>((kVectorBytes - past) / sizeof(T));
}

// Has x fetched while the block finds out what to do with it.
template <typename T>
DROPKIT_DEVICE void Prefetch(const T* x, int64_t begin, int64_t end, const Whole&) {
  FetchByBlock(x + begin, (end - begin) * static_cast<int64_t>(sizeof(T)));
}
template <typename T>
DROPKIT_DEVICE void Prefetch(const T* x, int64_t begin, int64_t end, const Runs& order) {
  if (order.is_one_run()) return FetchByBlock(x + order.At(begin), (end - begin) * static_cast<int64_t>(sizeof(T)));
  const int64_t run = order.length.divisor;
  for (int64_t e = begin + threadIdx.x * run; e < end; e += blockDim.x * run) {
    FetchRange(x + order.At(e), run * static_cast<int64_t>(sizeof(T)), 0, 1);
  }
}

// The whole block does elements [begin, end).
template <typename T, class Bits, class Order>
DROPKIT_DEVICE void ApplyRange(const T* x, T* y, int64_t begin, int64_t end, const Maps<T>& maps, const Bits& bits,
                               const Order& order) {
  const bool alike = (reinterpret_cast<uintptr_t>(x) - reinterpret_cast<uintptr_t>(y)) % kVectorBytes == 0;
  const int64_t boundary = begin + ElementsToBoundary(x + order.At(begin));
  const bool in_vectors = alike && boundary < end && (boundary == begin || order.is_one_run());
  const int64_t head_end = in_vectors ? boundary : end;
  const int64_t vectors_end = end - (end - head_end) % kLanes<T>;
  const int64_t group = static_cast<int64_t>(blockDim.x) * kInFlight * kLanes<T>;
  const int64_t lane = static_cast<int64_t>(threadIdx.x) * kLanes<T>;
  int64_t first = head_end;
  DROPKIT_MAIN_LOOP_BEGIN;
  for (; first + group <= vectors_end; first += group) {
    ApplyVectors<T, false>(x, y, first + lane, vectors_end, maps, bits, order);
  }
  DROPKIT_MAIN_LOOP_END;
  if (first < vectors_end) ApplyVectors<T, true>(x, y, first + lane, vectors_end, maps, bits, order);
  const int64_t singles = head_end - begin + end - vectors_end;
  for (int64_t i = threadIdx.x; i < singles; i += blockDim.x) {
    const int64_t e = begin + i < head_end ? begin + i : begin + i - head_end + vectors_end, at = order.At(e);
    y[at] = MapElement<T>(x[at], bits.Keep(e, 1) & 1, maps);
  }
}

}  // namespace dropkit::cuda

#endif  // DROPKIT_SRC_CUDA_APPLY_RANGE_H_

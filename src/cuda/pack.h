// Elements in 16-byte vectors: the type that each computes in, the conversions at both ends, and contract 5 of
// dropkit.h on one element or on a whole vector.
//
// Assumes that nvcc neither contracts nor flushes (-fmad=false, no -ftz). The card converts f16 and bf16 where it has
// the instruction; bits.h does elsewhere and when emulated. All are round to nearest even and keep subnormals, so they
// agree but for a NaN's payload. Which elements are kept is mask_bits.h's.
#ifndef DROPKIT_SRC_CUDA_PACK_H_
#define DROPKIT_SRC_CUDA_PACK_H_

#include <cstdint>
#include <limits>

#include "bits.h"
#include "cuda/grid.h"

#if defined(__CUDACC__) && !defined(__CUDACC_RELAXED_CONSTEXPR__)
#error "compile with --expt-relaxed-constexpr: without it nvcc only warns, and makes bits.h's std::bit_cast wrong"
#endif

namespace dropkit::cuda {

inline constexpr int kVectorBytes = 16;
template <typename T>
inline constexpr int kLanes = kVectorBytes / static_cast<int>(sizeof(T));

// What an element is computed in: f64 for itself, f32 for all others.
template <typename T>
struct WideOf {
  using Type = float;
};
template <>
struct WideOf<double> {
  using Type = double;
};
template <typename T>
using Wide = typename WideOf<T>::Type;

// The two maps: kept y = gain * x, dropped y = fill (already rounded to Wide). NaN twice makes every output NaN.
template <typename T>
struct Maps {
  Wide<T> gain, fill;
};

// Of a gain in f64, what dropped elements become, and a T that may say that p was bad.
template <typename T>
DROPKIT_DEVICE Maps<T> MakeMaps(double gain, double fill, uint64_t threshold) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const bool bad = threshold > kOne;
  return {static_cast<Wide<T>>(bad ? nan : gain), static_cast<Wide<T>>(bad ? nan : fill)};
}

template <typename T>
DROPKIT_DEVICE Wide<T> MapWide(Wide<T> x, bool keep, const Maps<T>& maps) {
  return keep ? x * maps.gain : maps.fill;
}

// ---------------------------------------------------------------- one element

DROPKIT_DEVICE float Widen(float value) { return value; }
DROPKIT_DEVICE double Widen(double value) { return value; }
DROPKIT_DEVICE float Widen(BFloat16 value) { return ToFloat(value); }
DROPKIT_DEVICE float Widen(Float16 value) {
#if defined(__CUDA_ARCH__)
  float wide;
  asm("cvt.f32.f16 %0, %1;" : "=f"(wide) : "h"(value.bits));
  return wide;
#else
  return ToFloat(value);
#endif
}

template <typename T>
DROPKIT_DEVICE T Narrow(Wide<T> value) {
  return value;
}
template <>
DROPKIT_DEVICE Float16 Narrow<Float16>(float value) {
#if defined(__CUDA_ARCH__)
  Float16 narrow;
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(narrow.bits) : "f"(value));
  return narrow;
#else
  return ToFloat16(value);
#endif
}
template <>
DROPKIT_DEVICE BFloat16 Narrow<BFloat16>(float value) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  BFloat16 narrow;
  asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(narrow.bits) : "f"(value));
  return narrow;
#else
  return ToBFloat16(value);
#endif
}

template <typename T>
DROPKIT_DEVICE T MapElement(T x, bool keep, const Maps<T>& maps) {
  return Narrow<T>(MapWide<T>(Widen(x), keep, maps));
}

// ---------------------------------------------------------------- 4 bytes of a vector: one f32, or two of 16 bits

template <typename T>
DROPKIT_DEVICE uint32_t NarrowPair(float low, float high) {
  return Narrow<T>(low).bits | uint32_t{Narrow<T>(high).bits} << 16;
}
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
template <>
DROPKIT_DEVICE uint32_t NarrowPair<Float16>(float low, float high) {
  uint32_t pair;
  asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
  return pair;
}
template <>
DROPKIT_DEVICE uint32_t NarrowPair<BFloat16>(float low, float high) {
  uint32_t pair;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
  return pair;
}
#endif

// `keep` has the bits of these elements lowest.
template <typename T>
DROPKIT_DEVICE uint32_t MapWord(uint32_t word, uint32_t keep, const Maps<T>& maps) {
  const float low = Widen(T{static_cast<uint16_t>(word)}), high = Widen(T{static_cast<uint16_t>(word >> 16)});
  return NarrowPair<T>(MapWide<T>(low, keep & 1, maps), MapWide<T>(high, keep & 2, maps));
}
template <>
DROPKIT_DEVICE uint32_t MapWord<float>(uint32_t word, uint32_t keep, const Maps<float>& maps) {
  return BitsOfFloat(MapWide<float>(FloatOfBits(word), keep & 1, maps));
}

// ---------------------------------------------------------------- a vector

// In assembly, because nvcc may take an assignment apart into four narrow stores.
DROPKIT_DEVICE void StoreVector(void* to, uint4 vector) {
#if defined(__CUDA_ARCH__)
  asm volatile("st.global.v4.b32 [%0], {%1, %2, %3, %4};"
               :
               : "l"(__cvta_generic_to_global(to)), "r"(vector.x), "r"(vector.y), "r"(vector.z), "r"(vector.w)
               : "memory");
#else
  *static_cast<uint4*>(to) = vector;
#endif
}

template <typename T>
DROPKIT_DEVICE uint4 MapVector(uint4 x, uint32_t keep, const Maps<T>& maps) {
  constexpr int kOfWord = kLanes<T> / 4;
  uint4 y;
  y.x = MapWord<T>(x.x, keep, maps);
  y.y = MapWord<T>(x.y, keep >> kOfWord, maps);
  y.z = MapWord<T>(x.z, keep >> 2 * kOfWord, maps);
  y.w = MapWord<T>(x.w, keep >> 3 * kOfWord, maps);
  return y;
}
template <>
DROPKIT_DEVICE uint4 MapVector<double>(uint4 x, uint32_t keep, const Maps<double>& maps) {
  const uint64_t low = x.x | uint64_t{x.y} << 32, high = x.z | uint64_t{x.w} << 32;
  const uint64_t a = std::bit_cast<uint64_t>(MapWide<double>(std::bit_cast<double>(low), keep & 1, maps));
  const uint64_t b = std::bit_cast<uint64_t>(MapWide<double>(std::bit_cast<double>(high), keep & 2, maps));
  uint4 y;
  y.x = Low32(a);
  y.y = High32(a);
  y.z = Low32(b);
  y.w = High32(b);
  return y;
}

}  // namespace dropkit::cuda

#endif  // DROPKIT_SRC_CUDA_PACK_H_

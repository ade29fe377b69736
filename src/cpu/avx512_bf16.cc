// What processors have beyond the first with AVX-512 (Cooper Lake's bf16 and Ice Lake's bit counts, together from Zen 4
// and Sapphire Rapids on), and Highway 1.0.3 does not: two kernels on the compiler's own vectors, in place of those of
// rows.cc and words.cc.
#include "cpu/kernels.h"

#if defined(__x86_64__)
#if defined(__GNUC__) && !defined(__clang__)
// GCC 12's own header has vectors that are undefined by design.
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif
#include <immintrin.h>

#include <bit>
#include <cstring>

#define DROPKIT_LATE __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,avx512vpopcntdq")))
#define DROPKIT_LATE_INLINE DROPKIT_LATE __attribute__((always_inline)) inline

namespace dropkit::cpu {
namespace {

constexpr int64_t kLanes = 32;  // elements of a vector

DROPKIT_LATE int64_t PopCount(const uint64_t* words, int64_t count) {
  int64_t ones = 0;
  for (int64_t i = 0; i < count; ++i) ones += std::popcount(words[i]);
  return ones;
}

struct Constants {
  __m512 gain;
  __m512i fill, upper_half, interleaved;
};

// Two elements are one 32-bit lane: the upper half is an f32 but for its lowest bits, the lower half one after a shift.
struct Scaled {
  __m512 upper, lower;
};
DROPKIT_LATE_INLINE Scaled Scale(__m512i both, const Constants& c) {
  return {_mm512_mul_ps(_mm512_castsi512_ps(_mm512_and_si512(both, c.upper_half)), c.gain),
          _mm512_mul_ps(_mm512_castsi512_ps(_mm512_slli_epi32(both, 16)), c.gain)};
}

// Which the processor's conversion takes for zeros.
DROPKIT_LATE_INLINE bool HasSubnormals(const Scaled& scaled) {
  constexpr int kSubnormal = 0x20;
  return !_kortestz_mask16_u8(_mm512_fpclass_ps_mask(scaled.upper, kSubnormal),
                              _mm512_fpclass_ps_mask(scaled.lower, kSubnormal));
}

DROPKIT_LATE_INLINE __m512i Rounded(__m512 value) {
  const __m512i bits = _mm512_castps_si512(value);
  const __mmask16 odd = _mm512_test_epi32_mask(bits, _mm512_set1_epi32(0x10000));
  return _mm512_add_epi32(bits, _mm512_mask_blend_epi32(odd, _mm512_set1_epi32(0x7FFF), _mm512_set1_epi32(0x8000)));
}

// All of it by integers, for a vector with subnormals.
DROPKIT_LATE __attribute__((noinline)) __m512i ScaledWhole(__m512i both, __mmask32 keep, const Constants& c) {
  const Scaled scaled = Scale(both, c);
  const __m512i low = _mm512_srli_epi32(Rounded(scaled.lower), 16);
  const __m512i rounded = _mm512_or_si512(_mm512_and_si512(Rounded(scaled.upper), c.upper_half), low);
  return _mm512_mask_blend_epi16(keep, c.fill, rounded);
}

DROPKIT_LATE_INLINE __m512i Result(__m512i both, __mmask32 keep, const Constants& c) {
  const Scaled scaled = Scale(both, c);
  if (HasSubnormals(scaled)) [[unlikely]]
    return ScaledWhole(both, keep, c);
  const __m512bh packed = _mm512_cvtne2ps_pbh(scaled.upper, scaled.lower);  // all lower ones, then all upper ones
  __m512i halves;
  std::memcpy(&halves, &packed, sizeof halves);
  return _mm512_mask_permutexvar_epi16(c.fill, keep, c.interleaved, halves);
}

DROPKIT_LATE_INLINE uint64_t BitsOf(const DenseRow& row, int64_t i, int64_t count) {
  return row.bits ? LoadBits(row.bits, row.bit + i, count) : LowMask(count);
}

// Fewer elements than a vector has, or as many.
DROPKIT_LATE_INLINE void Few(const DenseRow& row, int64_t i, int64_t count, const Constants& c) {
  const auto present = static_cast<__mmask32>(LowMask(count));
  const __m512i both = _mm512_maskz_loadu_epi16(present, static_cast<const uint16_t*>(row.x) + i);
  const auto keep = static_cast<__mmask32>(BitsOf(row, i, count));
  _mm512_mask_storeu_epi16(static_cast<uint16_t*>(row.y) + i, present, Result(both, keep, c));
}

template <bool kStream>
DROPKIT_LATE_INLINE void Store(uint16_t* y, __m512i value) {
  if constexpr (kStream) {
    _mm512_stream_si512(reinterpret_cast<__m512i*>(y), value);
  } else {
    _mm512_storeu_si512(y, value);
  }
}

template <bool kStream>
DROPKIT_LATE_INLINE void Word(const DenseRow& row, int64_t i, const Constants& c) {
  const uint64_t bits = BitsOf(row, i, 64);
  for (int64_t j = 0; j < 64; j += kLanes) {
    const __m512i both = _mm512_loadu_si512(static_cast<const uint16_t*>(row.x) + i + j);
    Store<kStream>(static_cast<uint16_t*>(row.y) + i + j, Result(both, static_cast<__mmask32>(bits >> j), c));
  }
}

DROPKIT_LATE void ApplyBF16(const DenseRow& row) {
  alignas(64) uint16_t order[kLanes];
  for (int i = 0; i < kLanes; ++i) order[i] = static_cast<uint16_t>(i / 2 + i % 2 * 16);
  const auto fill = static_cast<int16_t>(ToBFloat16(static_cast<float>(row.fill)).bits);
  const Constants c = {_mm512_set1_ps(static_cast<float>(row.gain)), _mm512_set1_epi16(fill),
                       _mm512_set1_epi32(static_cast<int>(0xFFFF0000u)), _mm512_load_si512(order)};
  int64_t i = 0;
  const auto past = static_cast<int64_t>(reinterpret_cast<uintptr_t>(row.y) % 64);
  if (row.past_cache && past % 2 == 0 && row.count >= 2 * 64) {
    i = (64 - past) % 64 / 2;
    if (i > 0) Few(row, 0, i, c);
    for (; i + 64 <= row.count; i += 64) Word<true>(row, i, c);
    _mm_sfence();
  }
  for (; i + 64 <= row.count; i += 64) Word<false>(row, i, c);
  for (; i < row.count; i += kLanes) Few(row, i, row.count - i < kLanes ? row.count - i : kLanes, c);
}

}  // namespace

void AddAvx512Bf16(Kernels* kernels) {
  kernels->popcount = PopCount;
  kernels->apply[static_cast<int>(DType::kBF16)] = ApplyBF16;
}

}  // namespace dropkit::cpu

#endif
